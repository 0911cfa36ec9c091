"""The numbered examples: each runs as a reader would run it, prints what it promises and draws."""

import io
import re
import runpy
import struct
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

PICTURES = {
    "01_one_device.py": ["one_device.png"],
    "02_drift_curve.py": ["drift_curve.png"],
    "03_your_own_network.py": ["your_own_network.png"],
    "04_your_own_device.py": ["your_own_device.png"],
    "05_lstm.py": ["lstm.png"],
    "06_where_does_my_accuracy_go.py": ["waterfall.png"],
    "07_what_does_it_cost.py": ["energy.png", "pipeline.png"],
    "08_train_for_the_chip.py": ["trained_for_the_chip.png"],
    "09_your_own_data.py": ["your_own_data.png"],
    "10_learn_on_the_chip.py": ["learned_on_the_chip.png"],
    "11_spikes_on_the_chip.py": ["spikes.png"],
}


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Run an example, without a network, the first time that a test asks for it."""
    out = tmp_path_factory.mktemp("examples")

    @cache
    def run(name):
        folder = out / Path(name).stem
        folder.mkdir()
        code, said, complained = 0, io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(said), redirect_stderr(complained),
        ):  # fmt: skip
            for proxy in ("http_proxy", "https_proxy", "all_proxy"):
                patch.setenv(proxy, "http://127.0.0.1:9")
            patch.chdir(folder)
            patch.setattr(sys, "argv", [str(EXAMPLES / name), "--quick", "--out", "files"])
            patch.syspath_prepend(EXAMPLES)
            try:
                runpy.run_path(str(EXAMPLES / name), run_name="__main__")
            except SystemExit as done:
                code = done.code or 0
        return folder, Done(code, said.getvalue(), complained.getvalue())

    return run


def output(printed, name):
    done = printed(name)[1]
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def share(text):
    """Return the percentages of a text, 0 to 100."""
    return [float(number) for number in re.findall(r"([\d.]+)%", text)]


def test_the_numbered_examples_are_these():
    found = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert found == sorted(PICTURES)
    assert [name[:2] for name in found] == [f"{n:02}" for n in range(1, 12)]


@pytest.mark.parametrize("name", PICTURES)
def test_scripts_are_small_and_say_what_they_teach(name):
    text = (EXAMPLES / name).read_text()
    assert 30 <= len(text.splitlines()) <= 120
    doc = text.split('"""')[1]
    for promise in ("You learn", "rints", f"python examples/{name}", "--quick", *PICTURES[name]):
        assert promise in doc, promise


@pytest.mark.parametrize("name", PICTURES)
def test_it_runs_and_draws(printed, name):
    """Exit code 0, nothing on stderr, pictures of a size that can be read, no other pictures."""
    text = output(printed, name)
    folder = printed(name)[0]
    assert sorted(path.name for path in folder.rglob("*.png")) == PICTURES[name]
    assert [path.name for path in folder.iterdir()] == ["files"]
    for picture in PICTURES[name]:
        data = (folder / "files" / picture).read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert data.startswith(b"\x89PNG")
        assert min(width / 600, height / 400) >= 1
        assert str(Path("files") / picture) in text


def test_devices_drift_and_spread(printed):
    text = output(printed, "01_one_device.py")
    means = [float(x) for x in re.findall(r"mean ([\d.]+) uS", text)]
    assert 4.5 < means[0] < 5.5
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.8 * means[0]


def test_compensation_saves_the_network(printed):
    text = output(printed, "02_drift_curve.py")
    assert "60 of 64 cores" in text
    now, later = (share(line) for line in text.splitlines() if line[:3] in ("0  ", "1 h"))
    assert now[0] == now[1] >= 80
    assert later[0] <= 40
    assert later[1] >= 80


def test_every_layer_is_explained_and_a_refusal_names_the_layer(printed):
    text = output(printed, "03_your_own_network.py")
    for fate in ("analog    core", "merged    into 'first.0'", "digital   gelu"):
        assert fate in text
    right = share(text[text.index("torch  ") :])
    assert len(right) == 4
    assert min(right) > 75
    assert re.findall(r"%  (\d) cores", text) == ["5", "2", "5"]
    assert re.search(r"'1'.*rand.*no counterpart", text)


def test_laws_are_found_again(printed):
    """The data were generated with a drift exponent of 0.05 (its source: device_data)."""
    text = output(printed, "04_your_own_device.py")
    found = re.findall(r"exponent at .* uS: ([\d.]+) \+- ([\d.]+)", text)
    assert len(found) == 2
    assert all(abs(float(value) - 0.05) < 4 * float(error) for value, error in found)
    for name in ("fitted laws", "replayed traces"):
        right = share(next(line for line in text.splitlines() if line.startswith(name)))
        assert len(right) == 3
        assert min(right) >= 80
    (perfect, *_) = share(next(x for x in text.splitlines() if x.startswith("perfect devices")))
    assert right[-1] < perfect <= 99  # a difference that means something
    assert re.search(r"laws and traces differ by [+-]\d\.\d\d \+- \d\.\d\d", text)


def test_pieces_and_packed_sequences_are_the_whole_sequence(printed):
    text = output(printed, "05_lstm.py")
    assert re.findall(r"True|False", text) == ["True", "True"]
    torch, now, later = share(text[text.index("right after") :])
    assert torch > 60
    assert max(abs(now - torch), abs(later - torch)) < 15
    assert "24 core MVMs per image" in text  # 8 lines on 3 cores


def test_effects_are_taken_apart(printed):
    text = output(printed, "06_where_does_my_accuracy_go.py")
    assert "14 trials run, 0 found" in text
    effects = ("programming error", "drift", "read noise", "RESET state", "ADC", "INT8")
    for effect in effects:
        assert len(re.findall(rf"^{effect}.* (?:alone|against all but it) ", text, re.M)) == 2
    without, with_all = share(text[text.index("without") : text.index("with all") + 20])
    (whole,) = re.findall(r"^all effects .*? ([+-][\d.]+) points", text, re.M)
    assert with_all - without == pytest.approx(float(whole), abs=0.11)


def test_variants_trade_time_for_cores(printed):
    text = output(printed, "07_what_does_it_cost.py")
    lines = text.splitlines()[1:5]
    cores = [int(re.search(r"  (\d+)  ", line).group(1)) for line in lines]
    speed = [float(re.findall(r"([\d,]+)  +[\d.]+ [um]J", x)[0].replace(",", "")) for x in lines]
    assert cores == [60, 60, 60, 15]
    assert speed[2] > speed[1] > max(speed[0], speed[3])
    # The report of a chip and the closed account of the same placement agree.
    reported = re.search(r"per [\d.]+ us \(([\d,]+)/s\)", text).group(1)
    assert float(reported.replace(",", "")) == pytest.approx(speed[0], rel=1e-3)


def test_both_trainings_work_on_the_chip(printed):
    text = output(printed, "08_train_for_the_chip.py")
    for name in ("trained for the chip", "trained in float"):
        right = share(next(line for line in text.splitlines() if line.startswith(name)))
        assert len(right) == 4
        assert min(right) > 80


def test_wines_are_told_apart_on_the_chip(printed):
    text = output(printed, "09_your_own_data.py")
    (torch,) = share(text.splitlines()[0])
    rows = [share(line) for line in text.splitlines() if line[:4] in ("none", "gdc ")]
    assert torch > 95
    assert [len(row) for row in rows] == [2, 2]  # --quick: now and a year later
    assert min(rows[0][0], *rows[1]) > 90


def test_spikes_are_counted_and_gated(printed):
    text = output(printed, "11_spikes_on_the_chip.py")
    torch_share, *chip = (share(line)[-1] for line in text.splitlines()[:4])
    assert torch_share > 90
    assert min(chip) > 85
    assert re.search(r"^units\.recurrent_weight +8\.0", text, re.M)
    assert 5 < share(re.search(r"spikes .*", text)[0])[0] < 50
