"""The whole chip: ideal is exact; threads, batches, processes and clock order do not matter."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.kernels import threads

NETS = small_nets()


def noisy_chip(name, spec=None):
    model, shape = NETS[name]
    chip = aimc_sim.Chip.from_model(model, spec or presets.hermes("odp"))
    images = torch.randn((40, *shape), generator=torch.Generator().manual_seed(5))
    return chip.calibrate(images).program(3), images


@pytest.mark.parametrize("name", NETS)
def test_ideal_is_exact(name):
    model, shape = NETS[name]
    x = torch.randn((9, *shape), generator=torch.Generator().manual_seed(1))
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    with torch.inference_mode():
        expected = model(x)
    for time in (0, "1 year"):
        found = chip.at(time)(x)
        # float32: weights are mapped to conductances and back, sums are split over cores
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def test_ideal_is_exact_on_the_shipped_resnet(digits_model, digits_test):
    chip = aimc_sim.Chip.from_model(digits_model, presets.ideal()).program(0)
    x = digits_test.images[:64]
    with torch.inference_mode():
        torch.testing.assert_close(chip(x), digits_model(x), rtol=1e-4, atol=1e-4)
    assert chip.compiled.cores_used == 60


@pytest.mark.parametrize("name", NETS)
def test_integers_only_stay_close(name):
    """Ideal devices, real converters: 8-bit numbers cost a few per cent at most, not nothing."""
    model, _ = NETS[name]
    chip, images = noisy_chip(name, presets.ideal_devices(presets.hermes()))
    with torch.inference_mode():
        expected = model(images)
    error = (chip(images) - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.06


@pytest.mark.filterwarnings("ignore:layer")  # few images: some clip more than 5 %
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", ["none", "gdc", "column"])
def test_batches_do_not_matter(name, method):
    chip, images = noisy_chip(name)
    chip.compensate(method).at("1 day")
    whole = chip(images)
    chip.at("1 day")
    parts = torch.cat([chip(images[:16]), chip(images[16:17]), chip(images[17:])])
    assert torch.equal(whole, parts)
    assert torch.equal(whole[20:31], chip(images[20:31], first_image=20))
    assert torch.equal(whole, chip(images, first_image=0, chunk=7))
    again = chip(images)  # the next 40 images: other noise
    assert not torch.equal(whole, again)


@pytest.mark.parametrize("name", NETS)
def test_threads_do_not_matter(name, two_threads):
    chip, images = noisy_chip(name)
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        threads.set_threads(n)
        chip.program(3).at("1 h")
        results.append(chip(images))
    assert torch.equal(*results)


def test_shipped_resnet_threads_and_batches(digits_model, digits_test, two_threads):
    """The promise on the real network: 48 at once, two of 24, one thread."""
    images = digits_test.images[:48]
    chip = aimc_sim.Chip.from_model(digits_model, presets.hermes("odp"))
    chip.calibrate(digits_test.images[-64:]).program(1).at("1 day").compensate("gdc")
    torch.set_num_threads(2)
    whole = chip(images)
    chip.at("1 day")
    halves = torch.cat([chip(images[:24]), chip(images[24:])])
    assert torch.equal(whole, halves)
    torch.set_num_threads(1)
    threads.set_threads(1)
    assert torch.equal(whole, chip.at("1 day")(images))


def test_clock_runs_both_ways():
    chip, images = noisy_chip("odd_conv")
    core = chip.compiled.blocks[-1].core
    seen = {}
    for time in ("1 h", "1 year", 0, "1 h", 3600, "1 year"):
        chip.at(time)
        found = chip.conductances(core)
        seconds = chip.time_seconds
        if seconds in seen:
            np.testing.assert_array_equal(found, seen[seconds])
        seen[seconds] = found
    assert len(seen) == 3
    day = chip.at("1 day")(images)
    chip.at(7.5)(images)
    assert torch.equal(day, chip.at(86400)(images))


def test_programming_is_a_function_of_the_seed():
    chip, _ = noisy_chip("linear_only")
    core = chip.compiled.blocks[0].core
    one, two = (chip.program(seed).conductances(core) for seed in (1, 2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, chip.program(1).conductances(core))


SCRIPT = """
import sys, numpy as np, torch, aimc_sim
chip = aimc_sim.Chip.load(sys.argv[1])
images = torch.from_numpy(np.load(sys.argv[2]))
np.save(sys.argv[3], chip(images).numpy())
"""


@pytest.mark.parametrize("name", ["odd_conv"])
def test_saved_chip_in_a_fresh_process(name, tmp_path):
    chip, images = noisy_chip(name)
    chip.at("30 d").compensate("gdc-signs")
    chip.save(tmp_path / "chip.h5")
    expected = chip(images).numpy()
    np.save(tmp_path / "x.npy", images.numpy())
    args = [str(tmp_path / n) for n in ("chip.h5", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, *args], check=True, timeout=300)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


def test_save_and_load_keep_everything(tmp_path):
    chip, images = noisy_chip("odd_conv")
    chip.at("1 h").compensate("gdc")(images)
    chip.save(tmp_path / "chip.h5")
    back = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert back.spec == chip.spec
    assert back.ranges == chip.ranges
    assert back.time_seconds == 3600
    assert back.compensation == "gdc"
    assert torch.equal(chip(images), back(images))  # both go on with image 40
    assert [b for b in back.compiled.blocks] == [b for b in chip.compiled.blocks]
    assert back.compiled.transfers == chip.compiled.transfers
    unprogrammed = aimc_sim.Chip.from_model(NETS["linear_only"][0])
    unprogrammed.save(tmp_path / "empty.h5")
    with pytest.raises(aimc_sim.NotProgrammedError, match=r"call chip.program\(\) first"):
        aimc_sim.Chip.load(tmp_path / "empty.h5")(images[:, 0, 0, :1].repeat(1, 520))
