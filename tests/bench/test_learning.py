"""Pulses on a large array of stepped devices: batched updates of which few devices get a pulse.

    pytest tests/bench/test_learning.py

The best of a few rounds is quoted; the slow twins of all paths run in ``tests/unit``.
"""

from __future__ import annotations

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.device import steps
from aimc_sim.learning import StepDevices, StochasticPulses
from aimc_sim.rng import Key

SIDE = 4096
DEVICES = SIDE * SIDE


@pytest.fixture(scope="module")
def array():
    start = np.zeros((SIDE, SIDE), np.float32)
    return StepDevices(presets.ecram()).synapses(start, 1.0, Key(0))


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("batch", [1, 64])
def test_pulse_trains(array, threads, batch, figure, best):
    """Target: <= 0.5 s with 2 threads for 16.8 M devices of which 1 % get a pulse, by a batch."""
    rng = np.random.default_rng(0)
    x = rng.random((batch, SIDE), np.float32)
    d = rng.standard_normal((batch, SIDE)).astype(np.float32)
    # A vector gives lr |x| |d| / dw pulses in the mean: 0.5 * 0.8 lr / dw of them per device.
    lr = 0.01 * array.up / (0.4 * batch)
    engine, given = StochasticPulses().engine(array, Key(1)), []

    def update():
        given.append(engine.step(x, d, lr, 0.0, len(given)).pulses)

    seconds = best(update)
    share = given[-1] / DEVICES
    assert 0.008 < share < 0.012
    figure(f"update of 16.8 M devices, batch {batch}, 1 % of them pulsed, {threads} threads",
           f"{seconds:.2f} s")  # fmt: skip
    if threads == 2:
        assert seconds <= 0.5


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_lists_of_pulses(array, threads, figure, best):
    index = np.arange(0, DEVICES, 100)
    counts = np.where(np.arange(len(index)) % 2, 1, -1).astype(np.int32)
    seconds = best(lambda: steps.pulse(array.state, index, counts, 0.0))
    figure(f"a pulse for 1 % of 16.8 M devices, by a list, {threads} threads", f"{seconds:.3f} s")
