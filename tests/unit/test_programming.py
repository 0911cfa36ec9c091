"""Programming schemes: what the loop must do cell by cell, reports, faults, gradient steps."""

import dataclasses

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.core import programming as core_programming
from aimc_sim.core import tile, weights
from aimc_sim.device import faults, pcm, programming
from aimc_sim.device.programming import cost, verify
from aimc_sim.spec import FaultSpec

US = 1e-6
COUNT = 10.35 / 80 * US
ADDRESS = (256, 65536)
QUIET = {"drift": None, "read_noise": None}


def request(g_us, programmed=None):
    """A request for the positive polarity; the negative one stays in RESET."""
    g = np.stack([np.asarray(g_us, float) * US, np.full(np.shape(g_us), 0.2 * US)])
    wanted = np.ones(g[0].shape, bool) if programmed is None else programmed
    return programming.Request(g, np.stack([wanted, np.zeros_like(wanted)]))


@pytest.fixture
def targets(rng):
    return rng.uniform(0.3, 10.35, (64, 100))


def test_reached_devices_are_inside_the_margin(targets, key):
    """Without noise and drift the last read is the truth: |error| < 5.5 counts (5 and rounding)."""
    spec = presets.pcm_hermes_closed_loop().with_(QUIET)
    asked = request(targets)
    written = verify.pulse_all(asked, spec, ADDRESS, key, 0)
    state, report = programming.write(asked, spec, ADDRESS, key)
    np.testing.assert_array_equal(state.g, written.g)
    error = (written.g[0] - (targets - 0.1) * US) / COUNT
    assert np.abs(error[written.reached[0]]).max() < 5.5
    assert not written.reached[1:].any()
    assert report.converged / report.tuned > 0.99
    assert (report.tuned, report.cells) == (targets.size, targets.size)
    # the margin is used: a smaller one gives a smaller error and takes longer
    tight = spec.with_({"programming.margin_counts": 2})
    _, better = programming.write(asked, tight, ADDRESS, key)
    assert better.rms_error_siemens < 0.7 * report.rms_error_siemens
    assert better.iterations > 1.5 * report.iterations


def test_the_loop_gives_up(key):
    """30 uS from a device whose SET state is at most about 30 uS: 30 iterations, not reached."""
    spec = presets.pcm_hermes_closed_loop().with_({**QUIET, "g_max_siemens": 100 * US})
    written = verify.pulse_all(request(np.full((4, 50), 90.0)), spec, ADDRESS, key, 0)
    assert (written.iterations[0] == 30).all()
    assert not written.reached.any()
    assert written.amperes[0].max() == np.float32(spec.programming.low_amperes)


def test_max_set_fill(rng, key):
    """One device is tuned; the other is in SET if one device cannot do it, else in RESET."""
    spec = presets.pcm_hermes_closed_loop("max-set-fill").with_(QUIET)
    wanted = rng.uniform(1, 30, (64, 100))
    written = verify.pulse_all(request(wanted), spec, ADDRESS, key, 0)
    tuned = written.iterations[:2] > 0
    assert (tuned.sum(axis=0) == 1).all()
    rest = np.where(tuned[0], written.g[1], written.g[0]) / US
    in_set = rest > 1.0
    assert 0.1 < in_set.mean() < 0.9
    assert (rest[~in_set] == np.float32(0.1)).all()
    # a device stays in SET only where its own SET state is too small for the whole target
    assert (rest[in_set] < wanted[in_set] + 0.07).all()
    assert wanted[in_set].min() > 7.0
    total = written.g[:2].sum(axis=0) / US
    reached = written.reached[:2].any(axis=0)
    assert np.abs(total - wanted)[reached].max() < 6.1 * COUNT / US
    alone = spec.with_({"programming.fill": "one-device"})
    one = verify.pulse_all(request(wanted), alone, ADDRESS, key, 0)
    assert one.reached[0][wanted > 25].mean() < 0.1 < written.reached[:2].any(axis=0).mean()


def test_negative_polarity_and_unprogrammed_cells(key):
    spec = presets.pcm_hermes_closed_loop().with_(QUIET)
    asked = request(np.full((8, 8), 5.0))
    swapped = programming.Request(asked.g[::-1].copy(), asked.programmed[::-1].copy())
    state, _ = programming.write(swapped, spec, ADDRESS, key)
    assert (state.g[:2] == np.float32(0.1 * US)).all()
    assert np.abs(state.g[2] / US - 4.9).max() < 6 * COUNT / US
    nothing = request(np.full((8, 8), 0.2), np.zeros((8, 8), bool))
    state, report = programming.write(nothing, spec, ADDRESS, key)
    assert (report.tuned, report.cells, report.rms_error_siemens) == (0, 0, 0.0)
    assert not state.programmed.any()


def test_a_part_is_programmed_like_the_whole(targets, key, two_threads):
    spec = presets.pcm_hermes_closed_loop("max-set-fill")
    whole, _ = programming.write(request(targets), spec, ADDRESS, key)
    part, _ = programming.write(request(targets[:9, :13]), spec, ADDRESS, key)
    for name in ("g", "nu", "target", "programmed"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, :9, :13])


def test_later_programming_keeps_the_devices(targets, key):
    """Another cycle draws new pulses, but SET levels and drift exponents stay with the device."""
    spec = presets.pcm_hermes_closed_loop()
    first, _ = programming.write(request(targets), spec, ADDRESS, key, cycle=0)
    second, _ = programming.write(request(targets), spec, ADDRESS, key, cycle=1)
    assert not np.array_equal(first.g, second.g)
    error = [(s.g[0] - s.target[0]).ravel() for s in (first, second)]
    # the shared part is the devices' own drift before t0, most of the error
    assert np.corrcoef(*error)[0, 1] > 0.5
    np.testing.assert_array_equal(first.nu[0], second.nu[0])
    quiet = spec.with_({"drift": None})
    error = [
        (s.g[0] - s.target[0]).ravel()
        for s in (programming.write(request(targets), quiet, ADDRESS, key, c)[0] for c in (0, 1))
    ]
    # what is left in common: a device is approached from the same side each time
    assert abs(np.corrcoef(*error)[0, 1]) < 0.3


def test_time_and_energy_by_hand(key):
    """A 2 x 3 block, one tuned device that needs n iterations."""
    spec = presets.pcm_hermes_closed_loop().with_(QUIET)
    chosen = np.zeros((2, 3), bool)
    chosen[1, 2] = True
    asked = request(np.where(chosen, 6.0, 0.2), chosen)
    written = verify.pulse_all(asked, spec, ADDRESS, key, 0)
    _, report = programming.write(asked, spec, ADDRESS, key)
    n = int(written.iterations.sum())
    # every device once: 4 devices per cell x 3 diagonals x 1 turn of 300 ns; then the loop
    assert report.seconds == pytest.approx(12 * 300e-9 + n * (125e-9 + 768e-9))
    assert (report.pulses, report.iterations) == (24 + n, n)
    amperes, g = float(written.amperes.sum()), float(written.g[0, 1, 2])
    charge = 24 * 700e-6 * 125e-9 + n * amperes * 125e-9
    assert report.joules == pytest.approx(2.5 * charge + n * 0.04 * g * 512e-9, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4), (4, 1)])
def test_diagonals_hold_every_cell_once(shape):
    rows, cols = np.indices(shape)
    lines = cost.diagonals(rows * 10 + cols)
    assert lines.shape == (max(shape), min(shape))
    assert sorted(lines.ravel()) == sorted((rows * 10 + cols).ravel())
    for line in lines:  # one device per row and per column
        assert len(set(line // 10)) == len(set(line % 10)) == len(line)


def test_reports_add_up():
    one = programming.ProgrammingReport("a", 10, 9, 30, 50, 1.0, 2.0, 10, 1e-12)
    two = dataclasses.replace(one, seconds=None, squared_error=3e-12)
    total = one + two
    assert (total.scheme, total.tuned, total.pulses, total.seconds) == ("a", 20, 100, None)
    assert total.rms_error_siemens == pytest.approx(np.sqrt(4e-12 / 20))
    assert str(one).startswith("a: 10 tuned, 90.00 % converged, 3.0 iterations each, error 316")
    assert (one + dataclasses.replace(one, scheme="b")).scheme == "a, b"


FAULTS = FaultSpec(stuck_set_fraction=0.01, stuck_reset_fraction=0.03, stuck_set_siemens=15 * US)


@pytest.mark.parametrize(
    "spec",
    [presets.pcm_hermes_one_device(), presets.pcm_hermes_closed_loop()],
    ids=["statistical", "program-and-verify"],
)
def test_stuck_cells(spec, key):
    """Fractions within 5 standard errors (n = 262,144); the same devices in every programming."""
    spec = spec.with_({"faults": FAULTS, "drift": None, "read_noise": None})
    shape = (4, 256, 256)
    kind = faults.stuck(shape, spec, ADDRESS, key)
    for value, share in ((faults.STUCK_SET, 0.01), (faults.STUCK_RESET, 0.03)):
        bound = 5 * np.sqrt(share * (1 - share) / kind.size)
        assert abs((kind == value).mean() - share) < bound
        assert abs((kind == value).mean() - 1.2 * share) > bound
    asked = request(np.full((256, 256), 6.0))
    for cycle in (0, 1):
        state, _ = programming.write(asked, spec, ADDRESS, key, cycle)
        assert (state.g[kind == faults.STUCK_SET] == np.float32(15 * US)).all()
        assert (state.g[kind == faults.STUCK_RESET] == np.float32(0.1 * US)).all()
        assert (np.abs(state.g[0][kind[0] == 0] / US - 5.9) < 4.5).all()


def test_stuck_cells_do_not_converge(key):
    spec = presets.pcm_hermes_closed_loop().with_({**QUIET, "faults": FAULTS})
    asked = request(np.full((256, 256), 6.0))
    written = verify.pulse_all(asked, spec, ADDRESS, key, 0)
    kind = faults.stuck(written.g.shape, spec, ADDRESS, key)
    assert not written.reached[0][kind[0] != 0].any()
    assert written.reached[0][kind[0] == 0].mean() > 0.99
    assert (written.iterations[0][kind[0] != 0] == 30).all()


@pytest.mark.parametrize(("mode", "share"), [("odp", 0.7), ("tdp", 0.9)])
def test_gradient_steps_lower_the_error_of_products(mode, share, key, rng):
    """Less so with two devices: the one in SET drifts and is read with noise of its own."""
    weight = rng.uniform(-1, 1, (64, 48))
    errors = {}
    for scheme in ("program-and-verify", "gradient"):
        core = presets.hermes(mode, programming=scheme).core
        state = core_programming.program(weight, core, key)
        now = tile.at(state, core, 0.0, key)
        x = rng.uniform(-1, 1, (200, 64))
        exact = x @ (weight * state.siemens_per_weight / core.pcm.g_max_siemens)
        errors[scheme] = np.linalg.norm(x @ now.net - exact) / np.linalg.norm(exact)
        assert state.report.scheme == scheme
    assert errors["gradient"] < share * errors["program-and-verify"], errors


def test_gradient_needs_the_whole_crossbar(key):
    spec = presets.pcm_hermes_closed_loop(scheme="gradient")
    with pytest.raises(ValueError, match=r"use aimc_sim\.core\.programming\.program"):
        programming.write(request(np.ones((2, 2))), spec, ADDRESS, key)


def test_specs_that_cannot_be_programmed():
    loop = presets.program_and_verify()
    with pytest.raises(ValueError, match="writes with pulses; give pulses"):
        presets.pcm_hermes_one_device().with_(programming=loop)
    with pytest.raises(ValueError, match="set devices_per_element to 1"):
        presets.pcm_hermes_two_devices().with_(programming=loop, pulses=presets.pulses_hermes())
    with pytest.raises(ValueError, match=r"start_amperes = 0\.0003 must lie between"):
        loop.with_(low_amperes=4e-4)
    with pytest.raises(ValueError, match="there are: program-and-verify, gradient"):
        presets.pcm_hermes_closed_loop(scheme="magic")


def test_refill_uses_twice_the_range(rng):
    """Max-SET-fill spreads the largest weight over two devices: half the relative error."""
    block = rng.uniform(-1, 1, (10, 10))
    scales = [
        weights.to_targets(block, presets.hermes(mode, programming="program-and-verify").core)
        .siemens_per_weight[0]
        for mode in ("odp", "tdp")
    ]  # fmt: skip
    assert scales[1] / scales[0] == pytest.approx((20.7 - 0.2) / (10.35 - 0.1))


def test_states_are_at_t0(key):
    """The clock starts where the statistical law starts it: evaluate(0) has no drift."""
    spec = presets.pcm_hermes_closed_loop().with_({"read_noise": None})
    state, _ = programming.write(request(np.full((8, 8), 5.0)), spec, ADDRESS, key)
    now = pcm.evaluate(state, spec, 0.0, ADDRESS, key)
    np.testing.assert_array_equal(now.g, state.g)
    later = pcm.evaluate(state, spec, 86400.0, ADDRESS, key)
    assert (later.g[0] < now.g[0]).all()
