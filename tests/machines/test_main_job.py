"""The first command of the README, small, on the machine as it is held down."""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.machine import products
from aimc_sim.machine.formats import formats, onednn_takes_bfloat16
from aimc_sim.machine.settings import settled

OFF = os.environ.get("HELD_DOWN_ONEDNN") == "off"


def test_the_libraries_are_held_down():
    """Or the other tests would prove nothing."""
    isa, aten = os.environ.get("ONEDNN_MAX_CPU_ISA"), os.environ.get("ATEN_CPU_CAPABILITY")
    if aten:
        assert torch.backends.cpu.get_cpu_capability().lower() == aten
    if isa:
        assert not onednn_takes_bfloat16()
    if isa or OFF:
        assert formats().variance == torch.float32
    if OFF:
        assert formats().convolution == "ATen"
        with settled():
            assert not torch.backends.mkldnn.enabled


def test_main_job(call, tmp_path):
    code, _, err = call(
        "run", "--images", "16", "--programmings", "1", "--times", "1d", "--preset", "hermes-odp",
        "--compensation", "gdc", "--out", tmp_path / "job",
    )  # fmt: skip
    assert code == 0, err
    rows = pd.read_csv(tmp_path / "job" / "results.csv")
    assert rows["accuracy"].min() > 0.8  # of 16 images; guessing gives 0.1


def test_agrees_with_the_machine_at_its_full_height(digits_model, digits_test):
    """To the rounding of float32: exactly computed, and with noise, where single codes may move."""
    images, found = digits_test.images[:16], {}
    for name, spec in {"ideal": presets.ideal(), "noisy": presets.hermes("odp")}.items():
        chip = aimc_sim.Chip.from_model(digits_model, spec).calibrate(images).program(0)
        found[name] = chip.at("1 h")(images).numpy()
    path = Path(os.environ["HELD_DOWN_REFERENCE"])
    if os.environ["HELD_DOWN"] == "free":
        np.savez(path.with_suffix(".part.npz"), **found)
        path.with_suffix(".part.npz").rename(path)  # whole or not there
    for _ in range(3000):
        if path.exists():
            break
        time.sleep(0.1)
    full = np.load(path)
    np.testing.assert_allclose(found["ideal"], full["ideal"], rtol=1e-4, atol=1e-4)
    # One ADC code of a layer is worth 1 % of its largest output; other noise would move all.
    error = np.linalg.norm(found["noisy"] - full["noisy"]) / np.linalg.norm(full["noisy"])
    assert error < 0.05


def test_rows_that_a_library_does_not_treat_alike(monkeypatch):
    """Row by row then, with the same results to rounding."""
    x, weight = torch.randn(50, 40), torch.randn(7, 40)
    with settled():
        expected = products.linear(x, weight)
        other = dataclasses.replace(formats(), whole_rows=False)
        monkeypatch.setattr(products, "formats", lambda: other)
        found = products.linear(x, weight)
        assert torch.equal(found[9:12], products.linear(x[9:12], weight))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
