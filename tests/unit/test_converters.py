"""Converters: levels, ranges, physical full scale."""

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.core.converters import adc, integer_range


def test_eight_bits_are_255_levels_and_zero_is_one():
    q = integer_range(8, 2.54)
    codes = q.codes(np.linspace(-3, 3, 10_001))
    assert sorted(set(codes.tolist())) == list(range(-127, 128))
    assert q.step == pytest.approx(0.02)
    assert q.codes(np.array([0.0, 0.0099, -0.0101])).tolist() == [0, 0, -1]


def test_none_is_ideal():
    q = integer_range(None, 5.0)
    values = np.array([-1e9, 0.123456789, 3e9])
    np.testing.assert_array_equal(q.codes(values), values)
    np.testing.assert_array_equal(adc(presets.ideal().core).codes(values), values)


def test_adc_full_scale_is_a_current():
    """All rows at full pulse: V_read times the summed conductance reaches 100 uA at the limit."""
    core = presets.hermes("tdp").core
    q = adc(core)
    relative = q.step * q.limit / 127  # sum of g / g_max at full amplitude
    amperes = relative * core.pcm.g_max_siemens * core.read.v_read_volts
    assert amperes == pytest.approx(100e-6)
    assert q.limit == 1023
    assert q.codes(np.array([1e9, -1e9])).tolist() == [1023, -1023]


def test_analog_saturation_without_rounding():
    core = presets.hermes("tdp").with_({"core.adc.bits": None}).core
    q = adc(core)
    assert q.codes(np.array([0.3 * q.step, 7 * q.step])).tolist() == pytest.approx([0.3, 1.0])
