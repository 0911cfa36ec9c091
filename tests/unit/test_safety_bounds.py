"""Every quantity has bounds, files of studies do not explode, failures have a code."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import toy_study
import yaml

import aimc_sim
from aimc_sim import arguments, presets, units
from aimc_sim.kernels import NO_CACHE
from aimc_sim.spec import SPANS, Spec, parameters
from aimc_sim.studies import schema, settings, text
from aimc_sim.studies import trial as trials

ROOT = Path(aimc_sim.__file__).parent

# ---------------------------------------------------------------------------- specifications


def numbers(spec: Spec):
    for row in parameters.parameters(spec):
        if isinstance(row.value, (int, float)) and not isinstance(row.value, bool):
            yield row


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_no_number_of_a_machine_is_without_an_upper_bound(name):
    spec = presets.by_name(name)
    rows = list(numbers(spec))
    assert len(rows) > 30
    for row in rows:
        huge = 10**30 if isinstance(row.value, int) else 1e300
        with pytest.raises(ValueError, match="is not allowed"):
            spec.with_({row.key: huge})
        if isinstance(row.value, float):
            with pytest.raises(ValueError, match="is not allowed"):
                spec.with_({row.key: -huge})


def test_quantities_that_divide_have_a_lower_bound():
    spec = presets.hermes()
    for key in ("core.pcm.g_max_siemens", "core.pcm.t0_seconds", "core.adc.full_scale_amperes"):
        with pytest.raises(ValueError, match="wanted at least"):
            spec.with_({key: 1e-300})


def test_every_unit_has_a_span_with_a_reason():
    found = {row.unit for name in presets.PRESETS for row in numbers(presets.by_name(name))}
    assert found <= SPANS.keys()
    assert all(0 <= span.least < span.most and span.reason for span in SPANS.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"chips": 10_000},
        {"chips": 1_000_000},
        {"fabric.rows": 100_000},
        {"chips": 65},
        {"fabric.rows": 1000, "fabric.cols": 1000},
    ],
)
def test_more_cores_than_can_be_placed_are_refused(changes):
    with pytest.raises(ValueError, match=r"(at most|less than or equal)"):
        presets.hermes().with_(changes)


def test_numbers_of_numpy_are_numbers():
    assert presets.hermes().with_({"core.rows": np.int64(128)}).core.rows == 128
    with pytest.raises(ValueError, match=r"core\.rows"):
        presets.hermes().with_({"core.rows": np.float64(128)})


# ---------------------------------------------------------------------------- arguments

SENTENCE = r"^seed = .*: wanted a whole number from 0 to 9223372036854775807$"


@pytest.mark.parametrize(
    "value",
    [-1, 1.5, float("nan"), 2**63, 1e30, None, "5", True, [3], 1j, np.zeros(1), np.float32(2)],
)
def test_what_is_no_seed_is_refused_in_the_same_sentence_everywhere(value):
    from torch import nn

    from aimc_sim import training

    chip = aimc_sim.Chip.from_model(nn.Linear(3, 2), presets.ideal())
    for call in (
        lambda: arguments.seed(value),
        lambda: chip.program(value),
        lambda: training.prepare(nn.Linear(3, 2), presets.hermes(), seed=value),
    ):
        with pytest.raises((TypeError, ValueError), match=SENTENCE):
            call()


def test_numpy_integers_are_seeds():
    assert arguments.seed(np.uint8(7)) == 7
    assert type(arguments.seed(np.int64(7))) is int


@pytest.mark.parametrize(
    "value", [1e308, 10**400, "1e308", "9" * 400, "1e99999999999 ms", -1, float("nan"), "4000 y"]
)
def test_times_have_an_end(value):
    with pytest.raises(ValueError, match="time = "):
        units.seconds(value)


@pytest.mark.parametrize("value", [None, [], True, 1j, object()])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(TypeError, match=r"time = .*wanted a finite number"):
        units.seconds(value)


# ---------------------------------------------------------------------------- YAML


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(12), "values with its aliases written out"),
        (bomb(5), "values with its aliases written out"),
        ("a: " + "[" * 3000 + "]" * 3000, "deeper than 50"),
        ("a: " + "{b: " * 100 + "1" + "}" * 100, "deeper than 50"),
        ("a: &a [*a]", "stands inside itself"),
        ("a: &a {b: *a}", "stands inside itself"),
        ("a: " + "x" * 2**21, "has 2,097,155 bytes"),
        ("a: !!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_a_file_of_a_study_does_not_explode(tmp_path, content, words):
    path = tmp_path / "study.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        schema.load_study(path)
    assert str(path) in str(error.value)


def test_a_few_aliases_are_fine(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert text.read_yaml(path) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"times": None}, "wanted a time or a list of times"),
        ({"times": [10**400]}, "about 400 digits"),
        ({"first_seed": 10**30}, "first_seed"),
        ({"programmings": 10**9}, "programmings"),
        ({"name": "x" * 501}, "at most 500"),
    ],
)
def test_bounds_of_studies(data, words):
    with pytest.raises(ValueError, match=words):
        schema.make_study({**toy_study.STUDY, **data})


def test_a_grid_has_an_end():
    grid = {key: list(range(1, 101)) for key in ("core.rows", "core.cols", "core.ldpu.link_bits")}
    study = schema.make_study({**toy_study.STUDY, "grid": grid, "programmings": 1000})
    with pytest.raises(ValueError, match="wanted at most 100,000,000"):
        settings.check(study)


# ---------------------------------------------------------------------------- commands


def write(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**toy_study.STUDY, "programmings": 1, **changes}))
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "--programmings", "9" * 40), "wanted a whole number from 1 to 1000"),
        (("run", "--programmings", 1000, "--times", "1,2,3,4,5,6"), "more than 20,000 runs"),
        (("perf", "--images", 10**9), "wanted a whole number from 1 to 10000"),
        (("map", "--replicate", "*=100"), "give 1 to 64"),
        (("map", "--replicate", "*=64"), "at most 268,435,456"),
        (("map", "--input", "99999,99999"), "numbers at most"),
        (("map", "--set", "chips=10000"), "chips"),
        (("map", "--set", "core.dac.bits=" + "[" * 20000), "nested too deeply"),
        (("map", "--set", "core.pcm.g_max_siemens=1e+-300"), "g_max_siemens"),
        (("map", "--out", "x" * 300), "too long"),
    ],
)
def test_bounds_of_options(call, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory", ["-1 GB", "0", "1 B", "nan GB", "1e400 GB", "", "lots"])
def test_bounds_of_memory(call, tmp_path, memory):
    code, _, err = call("sweep", write(tmp_path), "--out", tmp_path / "o", "--memory", memory)
    assert (code, err.count("\n")) == (2, 1)
    assert "wanted a size" in err


def test_bounds_of_workers(call, tmp_path):
    code, _, err = call("sweep", write(tmp_path), "--out", tmp_path / "o", "--workers", 100_000)
    assert (code, err.count("\n")) == (2, 1)
    assert "--workers 100000: wanted 0 to" in err
    assert not (tmp_path / "o").exists()


LEAVES = "import sys\ndef build():\n    sys.exit(0)\n"


@pytest.mark.parametrize("place", ["study", "import", "call", "network", "data"])
def test_a_file_that_leaves_is_a_failure(call, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    name = f"leaves_{place}"
    Path(f"{name}.py").write_text("import sys; sys.exit(0)" if place == "import" else LEAVES)
    if place == "study":
        Path("study.py").write_text("import sys; sys.exit(0)")
        code, out, err = call("sweep", "study.py", "--out", "o", "--workers", 0)
    elif place in ("import", "call"):
        code, out, err = call("map", f"{name}:build", "--out", "o")
    else:
        choice = f"{name}:build"
        path = write(tmp_path, **{place: choice if place == "network" else {"name": choice}})
        code, out, err = call("sweep", path, "--out", "o", "--workers", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "SystemExit" in err
    assert not Path("o").exists()


def test_a_network_that_leaves_while_it_runs_is_a_failure(call, monkeypatch):
    from aimc_sim.cli import info

    monkeypatch.setitem(info.KINDS, "presets", lambda console: sys.exit(0))
    code, _, err = call("info")
    assert (code, err.count("\n")) == (1, 1)
    assert "ended the process" in err


def test_a_refused_study_leaves_no_folder(call, tmp_path):
    path = write(tmp_path, programmings=10**6, seconds_per_trial=1.0)
    code, _, err = call("sweep", path, "--out", tmp_path / "a" / "b", "--workers", 0)
    assert code == 2
    assert "give --yes" in err
    assert not (tmp_path / "a").exists()


def test_names_are_printed_as_they_are(call, tmp_path):
    name = "[/x] ADC [8] [bold red]y \x1b]0;owned\x07 $\\frac$ :smile:"
    path = write(tmp_path, grid={}, name=name, settings=[{"name": name, "changes": {}}])
    code, out, err = call("sweep", path, "--out", tmp_path / "o", "--workers", 0)
    assert code == 0, err
    assert "\x1b" not in out + err
    for part in ("[/x] ADC [8]", "[bold red]y", r"\x1b]0;owned\x07", ":smile:"):
        assert part in " ".join(out.replace("│", " ").split()), part
    assert call("report", tmp_path / "o")[0] == 0


def test_pictures_draw_names_as_they_are(tmp_path):
    from aimc_sim.figures import canvas, output

    figure, (ax,) = canvas.figure_of(None, (4, 3))
    ax.set_title(r"$\frac{x}$" + "y" * 5000)
    output.written(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


# ---------------------------------------------------------------------------- read-only


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    """The package where no compiled code can be kept, also not by root."""
    root = tmp_path_factory.mktemp("read_only")
    shutil.copytree(
        ROOT, root / "aimc_sim", ignore=shutil.ignore_patterns("__pycache__", "weights", "*.html")
    )
    (root / "aimc_sim" / "kernels" / "__pycache__").touch()  # a file: no folder can be made
    (root / "home").touch()
    return root


def python(root, code, **more):
    home = str(root / "home")
    env = os.environ | {
        "PYTHONPATH": str(root),
        "HOME": home,
        "XDG_CACHE_HOME": home + "/c",
        "NUMBA_CACHE_DIR": "",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        env=env,
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


_KERNELS = """
import pkgutil, importlib, numpy as np, aimc_sim.kernels as kernels
assert "read_only" in kernels.__file__
for part in pkgutil.iter_modules(kernels.__path__):
    importlib.import_module(f"aimc_sim.kernels.{part.name}")
from aimc_sim.kernels import anneal, normal
found = np.empty(8 * normal.LANES, np.float32)
normal.fill(found, 0, np.uint32(1), np.uint32(2))
print(found[0], type(anneal.anneal._cache).__name__)
"""


def test_a_read_only_installation_compiles_without_a_cache(read_only):
    done = python(read_only, _KERNELS)
    assert done.returncode == 0, done.stderr
    assert "NullCache" in done.stdout
    assert done.stderr.count(NO_CACHE) == 1


def test_a_folder_for_compiled_code_is_used(read_only, tmp_path):
    done = python(read_only, _KERNELS, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert NO_CACHE not in done.stderr
    assert list(tmp_path.rglob("*.code"))


def test_every_kept_kernel_is_declared_in_one_place():
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if "njit(" in path.read_text(encoding="utf-8")
    }
    assert found == {"kernels/__init__.py"}


# ---------------------------------------------------------------------------- clocks


def test_no_clock_enters_a_result(monkeypatch, tmp_path):
    """The wall clock jumps by a century and back during a sweep: the same table."""
    import itertools
    import time

    from aimc_sim import results

    toy_study.run(tmp_path / "plain", 1)
    jumps = itertools.cycle([0, 3 * 10**9, -(10**9)])
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 10**9 * next(jumps))
    toy_study.run(tmp_path / "jumping", 1)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b = (results.load(tmp_path / name) for name in ("plain", "jumping"))
    assert a.drop(columns="environment").equals(b.drop(columns="environment"))


def test_another_release_is_refused_by_the_worker():
    """The physics of a trial is the client's; a worker of another release says so."""
    from aimc_sim.studies import inputs, work

    study = schema.make_study({**toy_study.STUDY})
    given = inputs.gather(study)
    work.install(given)
    first = trials.first_trial(study, next(settings.settings(study)), given)
    import dataclasses

    with pytest.raises(work.VersionMismatch, match="install the same release"):
        work.execute(dataclasses.replace(first, physics="0" * 64))
