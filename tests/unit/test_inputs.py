"""Pulse widths, phases, bit planes: what a core's inputs are in time."""

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.core import adc as adcs
from aimc_sim.core import converters, inputs
from aimc_sim.rng import Key
from aimc_sim.spec import DacSpec
from aimc_sim.spec.cco import CcoAdcSpec

DAC = DacSpec()
VOLTS = 0.2


@pytest.fixture
def problem(rng):
    """Return codes (N, R) and the conductances (R, C) of two polarities."""
    codes = rng.integers(-127, 128, (9, 40))
    codes[0, :5] = [0, 1, -1, 127, -127]
    weight = rng.normal(0, 3e-6, (40, 6))
    return codes, np.maximum(weight, 0) + 1e-7, np.maximum(-weight, 0) + 1e-7


def test_times_of_the_chip():
    assert inputs.window_seconds(DAC) == pytest.approx(128e-9)
    assert inputs.magnitude_bits(DAC) == 7
    assert inputs.bit_serial_seconds(DAC) == pytest.approx(35e-9)
    assert inputs.pulse_ends(np.array([[-127, 3]]), DAC)[0] == pytest.approx([127e-9, 3e-9])


@pytest.mark.parametrize(("read", "pwm", "serial"), [("4-phase", 520, 148), ("1-phase", 133, 40)])
def test_time_of_an_mvm(read, pwm, serial):
    """Windows of the encoding that is set, and the published overhead of 8 or 5 ns."""
    core = presets.hermes("tdp", read).core
    assert inputs.mvm_seconds(core) == pytest.approx(pwm * 1e-9)
    bits = core.with_({"dac.encoding": "bit-serial"})
    assert inputs.mvm_seconds(bits) == pytest.approx(serial * 1e-9)
    slower = bits.with_({"dac.bit_seconds": 10e-9})
    phases = 4 if read == "4-phase" else 1
    added = inputs.mvm_seconds(slower) - inputs.mvm_seconds(bits)
    assert added == pytest.approx(phases * 35e-9)
    wide = core.with_({"dac.lsb_seconds": 2e-9})  # windows longer than what was published
    assert inputs.mvm_seconds(wide) == pytest.approx(phases * 256e-9)
    assert inputs.integration_seconds(bits.dac) == pytest.approx(35e-9)
    assert inputs.integration_seconds(core.dac) == pytest.approx(128e-9)


def test_charge_per_code_is_that_of_the_pulse_widths():
    """A plain ADC has 5/127 of its codes left for a plane, and not more than all of them."""
    core = presets.hermes("tdp").with_({"core.dac.encoding": "bit-serial"}).core
    pwm, plane = converters.adc(presets.hermes("tdp").core), converters.adc(core)
    assert (pwm.limit, plane.limit) == (1023, 40)
    # one code of a plane for 5 ns is the charge of one code of a window
    assert plane.step * 5 == pytest.approx(pwm.step)
    full = 1023 * 5 / 127  # 100 uA in codes, not rounded
    assert plane.step * full * 127 == pytest.approx(pwm.step * 1023)
    slow = converters.adc(core.with_({"dac.bit_seconds": 1e-6}))
    assert slow.limit == 1023
    unrounded = converters.adc(core.with_({"adc.bits": None}))
    assert unrounded.step * unrounded.limit * 127 == pytest.approx(pwm.step * 1023)


def test_slices_add_up_to_the_code(problem):
    codes, *_ = problem
    on = inputs.active(codes, DAC)
    assert on.shape == (9, 128, 40)
    np.testing.assert_array_equal(on.sum(axis=1, dtype=int), codes)
    assert not on[:, -1].any()  # all pulses are over in the last slice
    np.testing.assert_array_equal(on[:, 0], np.sign(codes))  # and all start together


def test_mean_current_is_the_average_of_the_slices(problem):
    codes, positive, negative = problem
    net = positive - negative
    sliced = inputs.sliced_amperes(codes, net, VOLTS, DAC).mean(axis=1)
    mean = inputs.mean_amperes(codes, net, VOLTS, DAC)
    np.testing.assert_allclose(sliced, mean, rtol=1e-12, atol=1e-18)


def test_four_phases_make_the_signed_product(problem):
    codes, positive, negative = problem
    four = inputs.phases(codes, positive, negative)
    total = sum(sign * x @ g for sign, x, g in four)
    np.testing.assert_allclose(total, codes @ (positive - negative), rtol=1e-12, atol=1e-15)
    assert all((x >= 0).all() and (g >= 0).all() for _, x, g in four)  # one read polarity
    assert sum(sign for sign, *_ in four) == 0  # constant offsets cancel


def test_bit_planes_make_the_code(problem):
    codes, *_ = problem
    planes = inputs.bit_planes(codes, DAC)
    assert planes.shape == (7, 9, 40)
    assert set(np.unique(planes)) == {-1, 0, 1}
    np.testing.assert_array_equal(np.tensordot(2 ** np.arange(7), planes, 1), codes)


def test_bit_serial_is_exact_with_an_ideal_converter(problem):
    codes, positive, negative = problem
    net = positive - negative
    serial = inputs.bit_serial(codes, net, VOLTS, DAC, lambda i: i)
    np.testing.assert_allclose(serial, codes @ net * VOLTS, rtol=1e-12, atol=1e-15)


def test_bit_serial_rounds_every_plane(problem):
    """Rounding errors of a plane count 2^b times: root of (4^7 - 1) / 3, 74 steps of a plane."""
    codes, positive, negative = problem
    step = 1e-6

    def rounded(amperes):
        return step * np.rint(amperes / step)

    rng = np.random.Generator(np.random.Philox(7))
    codes = rng.integers(-127, 128, (4000, 40))
    net = positive - negative
    error = inputs.bit_serial(codes, net, VOLTS, DAC, rounded) - codes @ net * VOLTS
    expected = step / np.sqrt(12) * np.sqrt((4**7 - 1) / 3)
    assert error.std() == pytest.approx(expected, rel=0.05)  # 24,000 errors, planes not independent


def test_bit_serial_against_pulse_widths(rng):
    """The same calibrated circuit, 35 ns instead of 128 ns: seven roundings of coarser codes.

    A plane is worth 37.7 counts at 100 uA, and its rounding counts 2^b times.
    """
    spec = CcoAdcSpec()
    key = Key(3)
    state = adcs.draw(spec, 64, key)
    window = inputs.window_seconds(DAC)
    settings = adcs.calibrate(state, spec, window, key.generator())
    curve = adcs.curve(state, settings, spec)
    g = presets.hermes("tdp").core.pcm.g_max_siemens
    net = g * np.clip(rng.normal(0, 0.3, (128, 64)), -1, 1)
    codes = np.clip(np.rint(rng.normal(0, 40, (200, 128))), -127, 127)
    exact = codes @ net * VOLTS

    def read(amperes, seconds):
        return adcs.corrected(adcs.convert(amperes, curve, spec, seconds), settings, seconds)

    pwm = 128 * read(inputs.mean_amperes(codes, net, VOLTS, DAC), window) - exact
    serial = inputs.bit_serial(
        codes, net, VOLTS, DAC, lambda i: read(i, inputs.BIT_SECONDS)
    ) - exact  # fmt: skip
    step = 1 / (spec.counts_per_coulomb * inputs.BIT_SECONDS)
    rounding = step / np.sqrt(12) * np.sqrt((4**7 - 1) / 3)
    assert serial.std() == pytest.approx(rounding, rel=0.1)  # gains of single ADCs: +-7 %
    assert 10 < serial.std() / pwm.std() < 20


def test_bad_codes():
    with pytest.raises(ValueError, match="exceeds the modulator's largest magnitude 127"):
        inputs.active(np.array([[128]]), DAC)
    with pytest.raises(ValueError, match="must be integers"):
        inputs.bit_planes(np.array([[0.5]]), DAC)
