"""``aimc-sim sweep`` and ``merge``: what they print, write and refuse; the examples."""

from pathlib import Path

import pytest
import toy_study
import yaml

from aimc_sim import results
from aimc_sim.studies import inputs, pools, schema, settings, sweep

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples/studies").glob("*.yaml"))


def study(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**toy_study.STUDY, "programmings": 2, **changes}))
    return path


def test_a_sweep_prints_intervals_and_goes_on(tmp_path, call):
    path, out = study(tmp_path), tmp_path / "a" / "out"
    code, text, _ = call("sweep", path, "--out", out, "--workers", 0)
    assert code == 0
    assert "4 trials run, 0 found" in text
    for word in ("core.adc.bits=6", "now", "1 h", "gdc", "over programmings", "with other images"):
        assert word in text
    assert text.count("[") >= 2 * 8  # never a bare number
    names = {p.name for p in out.iterdir()}
    assert {"table.parquet", "layers.parquet", "specs", "studies", "environments"} <= names
    code, text, _ = call("sweep", path, "--out", out, "--workers", 0)
    assert (code, "0 trials run, 4 found" in text) == (0, True)
    assert len(results.read_table(out / "table.parquet")) == 16
    half = tmp_path / "half"
    call("sweep", study(tmp_path, programmings=1), "--out", half, "--workers", 0)
    code, text, _ = call("merge", out, half, "--out", tmp_path / "both")
    assert (code, text) == (0, f"{tmp_path / 'both'} holds 4 trials\n")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"tims": [0]}, (), "no key 'tims'; did you mean 'times'?"),
        ({"grid": {"core.adc.bit": [7]}}, (), "did you mean 'bits'?"),
        ({"network": "resnet32-digit"}, (), "did you mean 'resnet32-digits'?"),
        ({"network": "toy_study:netwrk"}, (), "has no callable 'netwrk'"),
        ({"data": "digit"}, (), "did you mean 'digits'?"),
        ({"data": {"name": "digits", "images": 501}}, (), "'digits' has only 500"),
        ({"settings": [{"name": "x", "layers": ["1"]}]}, (), "no analog layer '1'; there are: 0"),
        ({}, ("--memory", "lots"), "--memory lots: wanted a size"),
        ({}, ("--scheduler", "tcp://x:1", "--workers", 2), "--scheduler brings its own"),
        ({"programmings": 10**6, "seconds_per_trial": 1}, (), "give --yes to run it"),
    ],
)
def test_bad_input_is_one_line(tmp_path, call, changes, options, words):
    workers = () if options else ("--workers", 0)
    out = tmp_path / "out"
    code, _, err = call("sweep", study(tmp_path, **changes), "--out", out, *workers, *options)
    assert code == 2
    assert words in err
    *bar, line = err.splitlines()
    assert line.startswith("error: ")
    assert not bar or "trials" in bar[0]  # the bar had begun
    assert len(bar) <= 1


def test_failed_trials_are_told(tmp_path, call):
    path = study(tmp_path, settings=[{"name": "small", "changes": {"core.rows": 1}}], grid={})
    code, text, err = call("sweep", path, "--out", tmp_path / "out", "--workers", 0)
    assert code == 1
    assert "error: 2 trials failed: CapacityError: the network needs" in err
    assert "0 trials run" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_studies_run_in_small(path, tmp_path):
    """Every setting of the file, on the toy; the file's own network and images can be had."""
    wanted = schema.load_study(path)
    settings.check(wanted)
    if wanted.data.folder is None:  # data of a folder are not shipped
        inputs.gather(wanted)
    few = {"times": ["0", "1 h"], "programmings": 1, "probe_images": 2}
    toy = {name: toy_study.STUDY[name] for name in ("network", "data")}
    small = wanted.model_dump(exclude_unset=True) | few | toy
    if small.get("grid"):
        small["grid"] = {key: values[:1] for key, values in small["grid"].items()}
    small = schema.make_study(small)
    given = inputs.gather(small)
    progress = sweep.sweep(small, given, pools.InProcess(given), tmp_path / "out")
    assert (progress.failed, progress.reasons) == (0, [])
    summary = results.summary(results.load(tmp_path / "out"))
    assert set(summary["setting"]) == {s.name for s in settings.settings(small)}
    assert len(results.layer_summary(results.load_layers(tmp_path / "out")))
