"""Where the time of a forward goes: exact sums, untouched results, functions put back."""

import dataclasses
import itertools
import json
import sys
from types import SimpleNamespace

import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis import profile_parts as parts
from aimc_sim.analysis.profile import Profile, profile
from aimc_sim.cli import main
from aimc_sim.cli.profile import FILES
from aimc_sim.machine import formats, limits
from aimc_sim.runtime import chunk, convert
from aimc_sim.zoo import char_lstm

LIMITS = limits.Limits(1, 1e9, 2e9, 1e10, 1e11)

NETWORK = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.conv(x) + x)
        return self.head(x.mean((2, 3)))

def build():
    torch.manual_seed(1)
    return Residual().eval()

def tokens():
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(4, 6), nn.Flatten(), nn.Linear(30, 5)).eval()
"""


@pytest.fixture
def network():
    scope = {}
    exec(NETWORK, scope)
    return scope["build"]()


@pytest.fixture
def images():
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def chip(network, images):
    spec = presets.hermes("odp", "1-phase")
    chip = aimc_sim.Chip.from_model(network, spec).calibrate(images).program(0)
    chip(images, first_image=0)
    return chip


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def recorded(chip, images):
    with parts.recording() as recorder:
        chip(images, first_image=0)
    return recorder.sums()


@pytest.mark.parametrize("make", ["network", "lstm"])
def test_parts_add_up_to_the_whole(make, chip, images, monkeypatch):
    """Every tick of a clock that counts its readings is in one part of one step."""
    if make == "lstm":
        images = torch.arange(24).remainder(5).view(4, 6)
        chip = aimc_sim.Chip.from_model(char_lstm(), presets.hermes("odp"))
        chip.calibrate(images).program(0)(images)
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(parts, "time", clock)
    sums = recorded(chip, images)
    assert sum(one.seconds for one in sums.values()) == next(ticks) - 1
    assert all(one.seconds > 0 for one in sums.values())


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_results_are_those_without_clocks(threads, chip, images):
    plain, before = chip(images, first_image=0), chip.counts["conv"].mvms
    with parts.recording() as recorder:
        clocked = chip(images, first_image=0)
    assert torch.equal(plain, clocked)
    assert recorder.sums()
    assert chip.counts["conv"].mvms - before == len(images) * 64


def test_every_layer_has_its_parts(chip, images):
    sums = recorded(chip, images)
    names = [layer.name for layer in chip.compiled.layers]
    assert [step for step in dict.fromkeys(s for s, _ in sums) if step in names] == names
    for name in names:
        for part in ("product", "variance", "fused pass", "Python"):
            assert sums[name, part].seconds > 0, (name, part)
    assert sums[parts.WHOLE, "digital"].bytes == 2 * images.nbytes + 2 * 8 * 5 * 4


@pytest.mark.parametrize("variance", [torch.float32, None])
def test_bytes_and_operations_are_those_of_the_formula(
    network, images, monkeypatch, variance
):  # fmt: skip
    """Also where charges and variances have one format and are told apart by their memory."""
    if variance is not None:
        own = dataclasses.replace(formats.formats(), variance=variance)
        monkeypatch.setattr(formats, "_decided", lambda kind, index: own)
    spec = presets.hermes("odp", "1-phase")
    chip = aimc_sim.Chip.from_model(network, spec).calibrate(images).program(0)
    sums = recorded(chip, images)
    wide = formats.formats().variance.itemsize
    pixels = len(images) * 8 * 8
    product, noise, fused = (sums["conv", part] for part in ("product", "variance", "fused pass"))
    # Inputs of a ReLU: no second product for negative ones.
    assert product.operations == noise.operations == 2 * pixels * 8 * 8 * 9
    assert product.bytes == 4 * (2 * pixels * 8 + 8 * 8 * 9)
    assert noise.bytes == wide * (2 * pixels * 8 + 8 * 8 * 9)
    # Charge, variance, what is added, codes; nobody squares the codes of a layer read by digits.
    assert fused.bytes == pixels * 8 * (4 + wide + 4 + 4)


def test_digital_cells_are_digital():
    tokens = torch.arange(24).remainder(5).view(4, 6)
    chip = aimc_sim.Chip.from_model(char_lstm(), presets.hermes("odp"))
    chip.calibrate(tokens).program(0)(tokens)
    sums = recorded(chip, tokens)
    loops = [step.name for step in chip.compiled.steps if getattr(step, "op", "") == "lstm"]
    assert loops
    assert all(sums[name, "digital"].seconds > 0 for name in loops)


def test_what_was_replaced_is_put_back(chip, images, monkeypatch):
    def looked_up():
        return [getattr(hook.owner, hook.name) for hook in parts.HOOKS]

    before = looked_up()
    with parts.recording():
        assert all(new is not old for new, old in zip(looked_up(), before, strict=True))
        with pytest.raises(RuntimeError, match="are being recorded already"), parts.recording():
            pass
    with pytest.raises(ZeroDivisionError), parts.recording():
        raise ZeroDivisionError
    assert all(new is old for new, old in zip(looked_up(), before, strict=True))

    def fails(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(convert, "epilogue", fails)
        with pytest.raises(ZeroDivisionError):
            recorded(chip, images)
    assert all(new is old for new, old in zip(looked_up(), before, strict=True))
    assert recorded(chip, images)["stem", "fused pass"].seconds > 0


def test_a_function_that_is_gone_is_told(monkeypatch):
    """Inner code that moves without its hook must not be timed as Python in silence."""
    monkeypatch.delattr(chunk, "apply")
    with pytest.raises(AttributeError, match="apply"), parts.recording():
        pass


def test_other_devices_are_refused():
    plan = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(ValueError, match=r"this chip is on 'cuda'.*chip.to\('cpu'\)"):
        parts.Recorder().see(plan)


def test_shares_of_the_limit():
    sums = {
        ("a", "product"): parts.Sum(2.0, 2 * 10**9, 10**10),  # bytes and operations take 1 s each
        ("a", "variance"): parts.Sum(1.0, 10**9, 10),
        ("b", "Python"): parts.Sum(1.0),
    }
    found = Profile(8, 4.0, 2.0, 4.0, sums, LIMITS)
    assert found.share_of_limit("a", "product") == pytest.approx(0.5)
    assert found.share_of_limit(part="variance") == pytest.approx(0.5)
    assert found.least_seconds() == pytest.approx(1.5)
    assert found.waiting == pytest.approx(0.0)
    assert "it takes 2.7 times as long" in str(found)
    assert "2.0x" in str(found)


def test_limits_are_measured():
    found = limits.measure(1, seconds=0.01)
    assert min(found.memory_copy, found.cache_copy, found.float32) > 1e7
    narrow = formats.formats().variance != torch.float32
    assert (found.bfloat16 is not None) == narrow
    assert found.product(torch.float32) == found.float32
    assert "GFLOP/s" in str(found)


def test_profile_of_a_chip(chip, network, images, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.01)
    before = torch.get_num_threads()
    found = profile(chip, network, images, threads=1, rounds=1)
    assert torch.get_num_threads() == before
    assert found.images == 8
    assert 0 <= found.waiting < found.recorded_seconds
    assert 0 < found.share_of_limit() < 1
    assert all(name in found.layers() for name in ("stem", "conv", "head"))


# ------------------------------------------------------------------------- the command


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    (tmp_path / "toy_profile.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "toy_profile", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main(["profile", *arguments])
        return done.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(("model", "shape"), [("build", "3,8,8"), ("tokens", "5")])
def test_the_command_prints_and_writes(call, tmp_path, model, shape):
    options = ("--input", shape, "--batch", "4", "--rounds", "1", "--threads", "1", "--out", "p")
    code, out, err = call(f"toy_profile:{model}", *options)
    assert (code, err) == (0, "")
    assert [path.name for path in (tmp_path / "p").iterdir()] == list(FILES)
    found = json.loads((tmp_path / "p" / FILES[0]).read_text())
    assert found["command"] == f"aimc-sim profile toy_profile:{model} {' '.join(options)}"
    assert found["images"] == 4
    assert {row["part"] for row in found["parts"]} <= set(parts.PARTS)
    spent = sum(row["thread_seconds"] for row in found["parts"])
    assert spent + found["waiting_thread_seconds"] == pytest.approx(found["recorded_seconds"])
    assert "at the limits of the machine the forward would take" in out
    assert "forward of 4 images, 1 thread" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet31",), "no network named 'resnet31'; did you mean 'resnet32'?"),
        (("toy_profile:build",), "give the shape of one image for toy_profile:build"),
        (("toy_profile:build", "--input", "0"), "--input '0': wanted sizes above zero"),
        (("toy_profile:build", "--input", "4,8,8"), "cannot read inputs of the shape (4, 8, 8)"),
        (("resnet32", "--batch", "0"), "--batch = 0: wanted a whole number from 1 to 4096"),
        (("resnet32", "--threads", "0"), "--threads = 0: wanted a whole number from 1 to"),
        (("resnet32", "--rounds", "1001"), "--rounds = 1001: wanted a whole number from 1 to 1000"),
        (("resnet32", "--preset", "hermez"), "did you mean"),
        (("resnet32", "--set", "core.adc.bits=x"), "core.adc.bits"),
        (("toy_profile:build", "--input", "99999,99", "--batch", "64"), "make --batch or --input"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, tmp_path, arguments, message):
    code, out, err = call(*arguments, "--out", "p")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "p").exists()
