"""The global digital unit: tables, the scalar twin bit for bit, torch's LSTM cell."""

import math

import naive_digital
import numpy as np
import pytest
import torch

from aimc_sim.chip import gdpu
from aimc_sim.spec.gdpu import GdpuSpec

HALF, SINGLE = GdpuSpec(), GdpuSpec(bit_true=False)
BITS = np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16)
FINITE = np.unique(BITS[np.isfinite(BITS)]).astype(np.float32)
GRID = (np.arange(-4096, 4097) / 1024).astype(np.float16).astype(np.float32)  # -4 ... 4


def logistic(x):
    return 0.5 + 0.5 * np.tanh(x / 2)


# Largest error over all float16, and rms over -4 ... 4: what validation/digital_units.py reports.
ERRORS = [
    (gdpu.tanh, np.tanh, SINGLE, 0.00252, 0.00160),
    (gdpu.tanh, np.tanh, HALF, 0.00291, 0.00157),
    (gdpu.sigmoid, logistic, SINGLE, 0.00126, 0.00086),
    (gdpu.sigmoid, logistic, HALF, 0.00170, 0.00086),
]


@pytest.mark.parametrize(("ours", "true", "spec", "largest", "rms"), ERRORS)
def test_errors_of_the_18_bins(ours, true, spec, largest, rms):
    error = ours(FINITE, spec) - true(FINITE.astype(float))
    assert np.abs(error).max() == pytest.approx(largest, abs=1e-5)
    error = ours(GRID, spec) - true(GRID.astype(float))
    assert np.sqrt((error**2).mean()) == pytest.approx(rms, abs=1e-5)


def test_errors_are_equal_in_all_bins():
    """The mark of the best piecewise line; what remains is the rounding of the edges."""
    table = gdpu.tanh_table(18, False)
    assert len(table.edges) == 17
    assert len(table.slopes) == len(table.offsets) == 18
    # from 0 to a little beyond the last edge (2.998), where the constant is reached
    x = np.linspace(0, 8, 80001)
    which = np.searchsorted(table.edges, x, side="right")
    error = np.abs(table.slopes[which] * x + table.offsets[which] - np.tanh(x))
    largest = [error[which == b].max() for b in range(9, 18)]
    np.testing.assert_allclose(largest, 0.00249, rtol=0, atol=4e-5)


@pytest.mark.parametrize("spec", [HALF, SINGLE])
def test_odd_and_monotonic(spec):
    y = gdpu.tanh(FINITE, spec)
    np.testing.assert_array_equal(gdpu.tanh(-FINITE, spec), -y)
    assert (np.diff(y) >= 0).all()
    assert gdpu.tanh(np.zeros(1, np.float32), spec) == 0
    assert np.abs(y).max() < 1
    assert (np.diff(gdpu.sigmoid(FINITE, spec)) >= 0).all()


@pytest.mark.parametrize("bins", [10, 34, 128])
def test_error_falls_with_the_square_of_the_bins(bins):
    spec = GdpuSpec(bins=bins, bit_true=False)
    error = np.abs(gdpu.tanh(FINITE, spec) - np.tanh(FINITE.astype(float))).max()
    # E -> (integral of sqrt|tanh''| over x > 0 = 1.69)^2 / 16 / (bins / 2)^2; edges are rounded
    assert error == pytest.approx(1.69**2 / 16 / (bins / 2) ** 2, rel=0.3, abs=1e-4)


def registers(rng):
    return gdpu.GdpuRegisters(rng.uniform(0.01, 0.08, 4), rng.normal(0, 0.5, 4), 125.3, 0.7)


@pytest.mark.parametrize("lstm_step", [gdpu.lstm_step, gdpu.lstm_step_by_arrays])
def test_lstm_against_the_twin(rng, lstm_step):
    """Bit for bit over three time steps, edges included."""
    units, batch = 5, 60
    r, table = registers(rng), gdpu.tanh_table(18, True)
    cell = np.zeros((batch, units), np.float32)
    twin = np.zeros((batch, units), np.float16)
    for step in range(3):
        codes = rng.integers(-127, 128, (batch, 4 * units))
        codes[0], codes[1], codes[2] = 127, -127, 0
        done = lstm_step(codes, cell, r, HALF)
        expected, cuts = np.empty(twin.shape), 0
        for n, k in np.ndindex(twin.shape):
            code, twin[n, k], cut = naive_digital.lstm_unit(
                codes[n, 4 * k : 4 * k + 4], twin[n, k], r.input_scale, r.input_offset,
                r.output_scale, r.output_offset, table,
            )  # fmt: skip
            expected[n, k], cuts = code, cuts + cut
        np.testing.assert_array_equal(done.codes, expected, err_msg=f"step {step}")
        np.testing.assert_array_equal(done.cell, twin.astype(np.float32))
        assert done.saturated == cuts
        cell = done.cell


@pytest.mark.parametrize("bits", [{}, {"input_bits": None, "output_bits": None}])
def test_the_kernel_is_the_arrays(rng, bits):
    """At the chip's size, with and without integers, and from states that saturate."""
    spec = HALF.with_(**bits)
    codes = rng.integers(-127, 128, (40, 4 * 504)).astype(np.float32)
    codes = codes if spec.input_bits else codes + rng.normal(0, 0.3, codes.shape)
    cell = rng.normal(0, 4, (40, 504)).astype(np.float32)
    r = gdpu.GdpuRegisters(rng.uniform(0.01, 0.08, 4), rng.normal(0, 0.5, 4), 140.0, 0.7)
    fast, slow = (f(codes, cell, r, spec) for f in (gdpu.lstm_step, gdpu.lstm_step_by_arrays))
    np.testing.assert_array_equal(fast.codes, slow.codes)
    np.testing.assert_array_equal(fast.cell, slow.cell)
    assert fast.saturated == slow.saturated
    assert fast.saturated > 0 or spec.output_bits is None


def test_table_against_the_twin():
    table = gdpu.tanh_table(18, True)
    sample = np.concatenate([FINITE[::29], table.edges, np.nextafter(np.float16(table.edges),
                             np.float16(-9))]).astype(np.float16)  # fmt: skip
    expected = [naive_digital.table_tanh(x, table) for x in sample]
    np.testing.assert_array_equal(gdpu.tanh(np.float32(sample), HALF), np.float32(expected))


def torch_cell(hidden):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.nn.LSTMCell(7, hidden)


def run_beside_torch(spec, rng, steps=10, hidden=12, batch=6):
    """Return hidden and cell states of torch and of the unit, fed by float pre-activations."""
    cell = torch_cell(hidden)
    order = gdpu.gate_columns(hidden)
    r = gdpu.GdpuRegisters(np.ones(4), np.zeros(4), output_scale=1.0)
    h, c, ours = *torch.zeros(2, batch, hidden), np.zeros((batch, hidden), np.float32)
    for _ in range(steps):
        x = torch.from_numpy(rng.normal(0, 2, (batch, 7)).astype(np.float32))
        with torch.no_grad():
            before = torch.nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
            before += torch.nn.functional.linear(h, cell.weight_hh, cell.bias_hh)
            h, c = cell(x, (h, c))
        done = gdpu.lstm_step(before.numpy()[:, order], ours, r, spec)
        ours = done.cell
    return h.numpy(), c.numpy(), done.codes, ours


def test_exact_option_is_torch(rng):
    spec = GdpuSpec(exact_tanh=True, bit_true=False, input_bits=None, output_bits=None)
    h, c, ours_h, ours_c = run_beside_torch(spec, rng)
    np.testing.assert_allclose(ours_h, h, rtol=0, atol=2e-6)  # float32, ten steps
    np.testing.assert_allclose(ours_c, c, rtol=0, atol=4e-6)


def test_table_stays_near_torch(rng):
    spec = GdpuSpec(input_bits=None, output_bits=None)
    h, c, ours_h, ours_c = run_beside_torch(spec, rng)
    assert 0 < np.abs(ours_h - h).max() < 0.02  # a few table errors of 0.003
    assert 0 < np.abs(ours_c - c).max() < 0.05


def test_gate_columns():
    np.testing.assert_array_equal(gdpu.gate_columns(2), [0, 4, 2, 6, 1, 5, 3, 7])


def test_saturation_is_counted():
    r = gdpu.GdpuRegisters(np.full(4, 0.1), np.zeros(4), output_scale=300.0)
    codes = np.array([[127, 127, 127, 127, 127, -127, 127, 127, 0, 0, 0, 0]])
    done = gdpu.lstm_step(codes, np.array([[5.0, -5.0, 0.0]]), r, HALF)
    np.testing.assert_array_equal(done.codes, [[127, -127, 0]])
    assert done.saturated == 2


def test_time():
    """504 units, 63 per slice, four clocks of 2.5 ns each."""
    assert gdpu.cycles(504, HALF) == 252
    assert gdpu.cycles(1, HALF) == 4
    assert gdpu.cycles(512, HALF) == 256
    assert math.isclose(gdpu.seconds(512, HALF), 640e-9)


@pytest.mark.parametrize(
    ("codes", "cell", "spec", "sentence"),
    [
        (np.zeros((2, 7)), np.zeros((2, 2)), HALF, r"shape \(2, 7\); a cell state of shape"),
        (np.zeros((1, 2052)), np.zeros((1, 513)), HALF, "513 hidden units; the 8 slices hold 1 to"),
        (np.full((1, 4), 128), np.zeros((1, 1)), HALF, "integers from -127 to 127 .8 bits"),
        (np.full((1, 4), 0.5), np.zeros((1, 1)), HALF, "integers from -127 to 127"),
        (np.full((1, 4), np.nan), np.zeros((1, 1)), HALF, "must be finite"),
        (np.zeros((1, 4)), np.full((1, 1), np.inf), HALF, "must be finite"),
    ],
)
def test_bad_input(codes, cell, spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        gdpu.lstm_step(codes, cell, gdpu.GdpuRegisters(np.ones(4), np.zeros(4)), spec)


def test_bad_registers_and_specs():
    codes, cell = np.zeros((1, 4)), np.zeros((1, 1))
    with pytest.raises(ValueError, match=r"register output_scale holds 70000, .* 65504"):
        gdpu.lstm_step(codes, cell, gdpu.GdpuRegisters(np.ones(4), np.zeros(4), 7e4), HALF)
    with pytest.raises(ValueError, match="register input_scale holds 1e"):
        gdpu.lstm_step(codes, cell, gdpu.GdpuRegisters(np.full(4, 1e6), np.zeros(4)), HALF)
    with pytest.raises(ValueError, match="bins must be even"):
        HALF.with_(bins=17)
    assert HALF.id() != SINGLE.id()
