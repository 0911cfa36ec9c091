"""g_max is a range of the same devices; other devices have another name; nothing beyond the fit."""

import numpy as np
import pytest
from checks import assert_std

from aimc_sim import presets
from aimc_sim.device import pcm
from aimc_sim.rng import Key

ADDRESS = (256, 65536)
N = 40_000
DEVICES = {
    "two devices": presets.pcm_hermes_two_devices(),
    "one device": presets.pcm_hermes_one_device(),
    "25 uS": presets.pcm_25_microsiemens(),
}


def written(spec, siemens, key=None):
    target = np.full((1, 200, N // 200), siemens, np.float32)
    key = key or Key(3)
    return pcm.program(target, np.ones(target.shape, bool), spec, ADDRESS, key)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_a_smaller_range_uses_the_same_devices(name, share):
    """One target, two ranges: the same error, drift exponent and noise, bit for bit."""
    spec = DEVICES[name]
    small = spec.with_(g_max_siemens=share * spec.g_reference_siemens)
    siemens = 0.9 * small.g_max_siemens
    one, other = written(spec, siemens), written(small, siemens)
    np.testing.assert_array_equal(one.g, other.g)
    np.testing.assert_array_equal(one.nu, other.nu)
    a, b = (
        pcm.evaluate(state, s, 86400.0, ADDRESS, Key(3))
        for state, s in ((one, spec), (other, small))
    )
    np.testing.assert_array_equal(a.g, b.g)
    np.testing.assert_array_equal(a.fresh, b.fresh)


def test_error_of_a_quarter_of_the_range():
    """Two devices at a quarter of their range: sigma of the law there, 17.2 %; stretched, 5.3 %.

    n = 40,000: standard error of a spread 0.35 %; the two readings differ threefold.
    """
    spec = DEVICES["two devices"].with_(g_max_siemens=20.7e-6 / 4)
    siemens = spec.g_max_siemens
    law = np.polynomial.polynomial.polyval(0.25, spec.programming.polynomial_siemens)
    assert law / siemens == pytest.approx(0.1717, abs=5e-5)
    errors = written(spec, siemens).g.ravel() - siemens
    assert_std(errors, law)
    stretched = np.polynomial.polynomial.polyval(1.0, spec.programming.polynomial_siemens) / 4
    with pytest.raises(AssertionError):
        assert_std(errors, stretched)


def test_another_material_has_its_own_name():
    """material_scale: the same relative errors, drift and noise, RESET with them."""
    spec = DEVICES["two devices"]
    other = spec.with_(material_scale=0.25, g_max_siemens=20.7e-6 / 4)
    one, two = written(spec, 20.7e-6), written(other, 20.7e-6 / 4)
    np.testing.assert_allclose(two.g * 4, one.g, rtol=1e-5)
    np.testing.assert_allclose(two.nu, one.nu, rtol=1e-5)
    assert pcm.reset_level(other) == pytest.approx(pcm.reset_level(spec) / 4)
    assert spec.id() != other.id()
    larger = spec.with_({"material_scale": 2.0, "g_max_siemens": 40e-6})
    assert larger.fitted_siemens == pytest.approx(41.4e-6)
    closed = presets.pcm_hermes_closed_loop()
    with pytest.raises(ValueError, match="have conductances of their own"):
        closed.with_(material_scale=2.0)


@pytest.mark.parametrize("name", DEVICES)
def test_nothing_is_asked_for_beyond_the_fit(name):
    spec = DEVICES[name]
    top = spec.g_reference_siemens
    with pytest.raises(ValueError, match=r"lies above the range of the fit, 0 to .* \(\["):
        spec.with_(g_max_siemens=1.01 * top)
    assert spec.with_(g_max_siemens=top).g_max_siemens == top
    assert presets.pcm_ideal(0.25).with_(g_max_siemens=0.5)  # no law, no range
