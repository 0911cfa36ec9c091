"""Time and energy of single pulses."""

import pytest

from aimc_sim import presets
from aimc_sim.device import pulses
from aimc_sim.device.pulses import Pulse


def test_cost_of_a_pulse():
    """Duration and heat by hand: 90 uA, 50 ns, 2.5 V; RESET 700 uA, 125 ns."""
    published = presets.pcm_nandakumar_2018()
    assert pulses.cost(published, Pulse.ACCUMULATE) == pytest.approx((50e-9, 90e-6 * 2.5 * 50e-9))
    chip = presets.pcm_hermes_closed_loop()
    assert pulses.cost(chip, Pulse.RESET) == pytest.approx((125e-9, 700e-6 * 2.5 * 125e-9))
    assert pulses.cost(chip, Pulse.SQUARE, 3e-4) == pytest.approx((125e-9, 3e-4 * 2.5 * 125e-9))
    assert pulses.cost(chip, Pulse.NONE) == (0.0, 0.0)
    with pytest.raises(ValueError, match="a square pulse needs an amplitude"):
        pulses.cost(chip, Pulse.SQUARE)
    with pytest.raises(ValueError, match="accumul"):
        pulses.cost(chip, Pulse.ACCUMULATE)
