"""Wires of a crossbar: closed forms, conservation, symmetry, a second circuit solver."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from aimc_sim.core import idle, wires
from aimc_sim.kernels import threads
from aimc_sim.spec.wires import WireSpec

UNEQUAL = WireSpec(row_ohm=900.0, col_ohm=2500.0, driver_ohm=700.0, sense_ohm=1200.0)
"""So large that every resistor matters in an array of a few cells."""

SHAPES = [(1, 1), (1, 6), (6, 1), (2, 5), (7, 4), (9, 9)]


def cells(rng, shape, empty=0.2):
    """Conductances up to 20 uS, some cells without any."""
    g = rng.uniform(0.1e-6, 20e-6, shape)
    return g * (rng.random(shape) >= empty)


def circuit(g, volts, wires, floating=()):
    """Nodal analysis by plain loops over cells; all resistances > 0. Return output currents."""
    rows, cols = g.shape
    matrix, right = np.zeros((2 * rows * cols, 2 * rows * cols)), np.zeros(2 * rows * cols)

    def resistor(a, b, siemens):
        for i, k in ((a, b), (b, a)):
            matrix[i, i] += siemens
            matrix[i, k] -= siemens

    for r in range(rows):
        for c in range(cols):
            inner, outer = r * cols + c, rows * cols + r * cols + c
            resistor(inner, outer, g[r, c])
            if c + 1 < cols:
                resistor(inner, inner + 1, 1 / wires.row_ohm)
            if r + 1 < rows:
                resistor(outer, outer + cols, 1 / wires.col_ohm)
            if c == 0 and r not in floating:
                matrix[inner, inner] += 1 / wires.driver_ohm
                right[inner] += volts[r] / wires.driver_ohm
            if r == rows - 1:
                matrix[outer, outer] += 1 / wires.sense_ohm
    return np.linalg.solve(matrix, right)[-cols:] / wires.sense_ohm


@pytest.mark.parametrize("shape", SHAPES)
def test_solve_against_plain_loops(shape, rng):
    g, volts = cells(rng, shape), rng.normal(0, 0.2, (3, shape[0]))
    found = wires.solve(g, volts, np.ones(shape[0], bool), UNEQUAL)
    expected = [circuit(g, v, UNEQUAL) for v in volts]
    np.testing.assert_allclose(found.output_amperes, expected, rtol=1e-9, atol=1e-18)


def test_solve_against_plain_loops_with_floating_lines(rng):
    g, volts = cells(rng, (6, 5), empty=0), rng.normal(0, 0.2, 6)
    active = np.array([True, False, True, True, False, True])
    floats = UNEQUAL.with_(idle="high-impedance")
    found = wires.solve(g, volts[None], active, floats).output_amperes[0]
    expected = circuit(g, volts * active, UNEQUAL, floating=(1, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    grounded = wires.solve(g, volts[None], active, UNEQUAL).output_amperes[0]
    assert np.abs(grounded / found - 1).max() > 0.01


def test_one_cell():
    g, spec = np.array([[10e-6]]), UNEQUAL
    expected = 1 / (1 / 10e-6 + spec.driver_ohm + spec.sense_ohm)
    np.testing.assert_allclose(wires.effective_matrix(g, spec), [[expected]], rtol=1e-9)


def ladder(g, step_ohm, end_ohm):
    """Return node voltages of a ladder fed with 1 V through end_ohm, by transfer matrices."""
    volt, ampere = 1.0, 0.0  # start at the far end with any voltage
    volts = []
    for siemens in g[::-1]:
        volt += step_ohm * ampere if volts else 0.0
        volts.append(volt)
        ampere += siemens * volt
    return np.array(volts[::-1]) / (volt + end_ohm * ampere)


def test_single_row_is_a_ladder(rng):
    g, spec = cells(rng, (1, 40), empty=0), WireSpec(row_ohm=200.0, driver_ohm=500.0)
    expected = g * ladder(g[0], 200.0, 500.0)
    np.testing.assert_allclose(wires.effective_matrix(g, spec), expected, rtol=1e-10)


def test_single_column_is_a_ladder(rng):
    """Read backwards: what a cell gives the converter is what the converter would give it."""
    g, spec = cells(rng, (40, 1), empty=0), WireSpec(col_ohm=200.0, sense_ohm=500.0)
    expected = g * ladder(g[::-1, 0], 200.0, 500.0)[::-1, None]
    np.testing.assert_allclose(wires.effective_matrix(g, spec), expected, rtol=1e-10)


def test_long_uniform_ladder_shows_its_characteristic_conductance():
    """A ladder without end: Y = g + Y / (1 + rho Y)."""
    g, rho = 20e-6, 500.0
    expected = g / 2 * (1 + math.sqrt(1 + 4 / (g * rho)))
    tail, _ = wires._input_ladder(np.full((1, 400), g), WireSpec(row_ohm=rho))
    np.testing.assert_allclose(tail, [expected], rtol=1e-12)


def test_zero_resistance_is_exact(rng):
    g = cells(rng, (20, 13))
    np.testing.assert_array_equal(wires.effective_matrix(g, WireSpec()), g)
    volts = rng.normal(0, 0.2, (2, 20))
    found = wires.solve(g, volts, np.ones(20, bool), WireSpec()).output_amperes
    np.testing.assert_allclose(found, volts @ g, rtol=1e-12, atol=1e-20)
    np.testing.assert_array_equal(wires.attenuation(g, WireSpec()), np.ones_like(g))


@pytest.mark.parametrize("shape", [*SHAPES, (20, 31), (31, 20)])
@pytest.mark.parametrize(
    "ohms",
    [
        (0, 0, 0, 0), (300, 0, 0, 0), (0, 300, 0, 0), (0, 0, 300, 400), (300, 200, 0, 0),
        (0.35, 0.7, 10, 20), (90, 250, 700, 120), (250, 40, 0, 2000),
    ],
)  # fmt: skip
def test_effective_matrix_is_the_exact_solution(shape, ohms, rng):
    names = ("row_ohm", "col_ohm", "driver_ohm", "sense_ohm")
    spec = WireSpec(**dict(zip(names, map(float, ohms), strict=True)))
    g, volts = cells(rng, shape), rng.normal(0, 0.2, (3, shape[0]))
    exact = wires.solve(g, volts, np.ones(shape[0], bool), spec)
    terminals = wires.ports(g, spec)
    scale = max(np.abs(exact.output_amperes).max(), 1e-9)  # a lone cell may be empty
    for matrix in (wires.effective_matrix(g, spec), terminals.sensed):
        np.testing.assert_allclose(
            volts @ matrix, exact.output_amperes, rtol=0, atol=2e-8 * scale  # tolerance 1e-7
        )  # fmt: skip
    np.testing.assert_allclose(
        volts @ terminals.drawn.T, exact.input_amperes, rtol=0, atol=2e-8 * scale
    )


def test_small_conductances_are_right_too(rng):
    """Element by element over two decades of conductance: 1e-6 of each element's own."""
    g = 10 ** rng.uniform(-7, -5, (48, 64))
    spec = WireSpec(row_ohm=20.0, col_ohm=30.0, driver_ohm=100.0, sense_ohm=50.0)
    exact = wires.solve(g, np.eye(48), np.ones(48, bool), spec).output_amperes
    np.testing.assert_allclose(wires.effective_matrix(g, spec), exact, rtol=1e-6)


def test_charge_and_energy_are_conserved(rng):
    g, volts = cells(rng, (8, 11)), rng.normal(0, 0.2, (2, 8))
    found = wires.solve(g, volts, np.ones(8, bool), UNEQUAL)
    into, out = found.input_amperes, found.output_amperes
    np.testing.assert_allclose(into.sum(1), out.sum(1), rtol=0, atol=1e-12 * np.abs(into).sum())
    u, w, s = found.input_volts, found.output_volts, UNEQUAL
    watts = (
        (g * (u - w) ** 2).sum((1, 2))
        + (np.diff(u, axis=2) ** 2).sum((1, 2)) / s.row_ohm
        + (np.diff(w, axis=1) ** 2).sum((1, 2)) / s.col_ohm
        + (into**2).sum(1) * s.driver_ohm
        + (out**2).sum(1) * s.sense_ohm
    )
    np.testing.assert_allclose((volts * into).sum(1), watts, rtol=1e-9)


def test_reciprocity_and_transposition(rng):
    g = cells(rng, (9, 14))
    turned = wires.ports(g.T[::-1, ::-1], UNEQUAL.transposed())
    terminals = wires.ports(g, UNEQUAL)
    np.testing.assert_allclose(turned.sensed, terminals.sensed.T[::-1, ::-1], rtol=1e-6)
    np.testing.assert_allclose(terminals.drawn, terminals.drawn.T, rtol=1e-6, atol=1e-15)


def test_the_cell_far_from_both_ends_loses_most():
    """Drivers at column 0, converters at row R - 1, whatever the shape and the resistances."""
    for shape in ((5, 8), (8, 5)):
        g = np.full(shape, 10e-6)
        ratio = wires.effective_matrix(g, WireSpec(row_ohm=300.0, col_ohm=40.0)) / g
        assert ratio.argmin() == shape[1] - 1  # row 0, last column
        assert ratio.argmax() == (shape[0] - 1) * shape[1]  # last row, column 0
        assert (np.diff(ratio, axis=1) < 0).all()
        assert (np.diff(ratio, axis=0) > 0).all()
    only_rows = wires.effective_matrix(g, WireSpec(row_ohm=300.0)) / g
    assert (np.diff(only_rows, axis=1) < 0).all()
    np.testing.assert_allclose(only_rows, only_rows[:1].repeat(8, 0), rtol=1e-12)
    only_cols = wires.effective_matrix(g, WireSpec(col_ohm=300.0)) / g
    assert (np.diff(only_cols, axis=0) > 0).all()
    np.testing.assert_allclose(only_cols, only_cols[:, :1].repeat(5, 1), rtol=1e-12)


def test_more_resistance_means_less_current(rng):
    """All inputs on: no resistor can be raised without lowering the total current."""
    g = cells(rng, (12, 9))
    before = wires.effective_matrix(g, UNEQUAL).sum()
    for name in ("row_ohm", "col_ohm", "driver_ohm", "sense_ohm"):
        after = wires.effective_matrix(g, UNEQUAL.with_({name: 1.2 * getattr(UNEQUAL, name)}))
        assert after.sum() < before, name
    assert before < g.sum()


def test_first_order_in_the_resistance(rng):
    """Every output loses, per ohm of the sense resistor, conductances times its own current."""
    g = cells(rng, (12, 9))
    loss = (g - wires.effective_matrix(g, WireSpec(sense_ohm=1e-3))) / 1e-3
    np.testing.assert_allclose(loss, g * g.sum(0), rtol=1e-5, atol=1e-19)


def test_stack_and_threads_change_nothing(rng, two_threads):
    g = cells(rng, (3, 2, 19, 21))
    together = wires.effective_matrix(g, UNEQUAL.with_(row_ohm=50.0, col_ohm=90.0))
    threads.set_threads(1)
    again = wires.effective_matrix(g, UNEQUAL.with_(row_ohm=50.0, col_ohm=90.0))
    np.testing.assert_array_equal(together, again)
    one = wires.effective_matrix(g[2, 1], UNEQUAL.with_(row_ohm=50.0, col_ohm=90.0))
    np.testing.assert_allclose(together[2, 1], one, rtol=1e-6)
    assert wires.effective_matrix(g[:0], UNEQUAL).shape == (0, 2, 19, 21)


def test_empty_lines_conduct_nothing(rng):
    g = cells(rng, (6, 7), empty=0)
    g[2], g[:, 3] = 0, 0
    for held in ("grounded", "high-impedance"):
        spec = UNEQUAL.with_(idle=held)
        active = np.array([True, False, False, True, True, True])
        out = wires.solve(g, np.ones((1, 6)), active, spec).output_amperes[0]
        assert np.isfinite(out).all()
        assert abs(out[3]) < 1e-18
    terminals = wires.ports(g[None], UNEQUAL)
    assert np.abs(terminals.sensed[0, 2]).max() == 0
    prepared = idle.idle_lines(terminals, signs=(1,))
    assert np.isfinite(idle.high_impedance_correction(prepared, np.ones((1, 6)), 127)).all()


def test_bad_inputs_are_refused_with_a_sentence():
    with pytest.raises(ValidationError, match="no negative resistance"):
        WireSpec(row_ohm=-1.0)
    with pytest.raises(ValueError, match="no negative resistance"):
        WireSpec().with_(sense_ohm=-1e-9)
    with pytest.raises(ValidationError, match="finite"):
        WireSpec(col_ohm=math.inf)
    g = np.full((4, 5), 10e-6)
    for bad in (math.nan, math.inf, -1e-9):
        broken = g.copy()
        broken[1, 2] = bad
        for function in (wires.effective_matrix, wires.attenuation, wires.ports):
            with pytest.raises(ValueError, match="finite and >= 0"):
                function(broken, UNEQUAL)
    with pytest.raises(ValueError, match="a crossbar is"):
        wires.effective_matrix(g[0], UNEQUAL)
    with pytest.raises(ValueError, match="one crossbar"):
        wires.solve(g[None], np.ones((1, 4)), np.ones(4, bool), UNEQUAL)
    with pytest.raises(ValueError, match="do not fit"):
        wires.solve(g, np.ones((1, 5)), np.ones(4, bool), UNEQUAL)
    with pytest.raises(ValueError, match="do not fit"):
        wires.solve(g, np.ones((1, 4)), np.ones((1, 4), bool), UNEQUAL)
    with pytest.raises(ValueError, match="lower wire resistances"):
        wires.effective_matrix(g, WireSpec(row_ohm=1e6))
