"""The pulse emulator: errors, the drift clock, the knobs, addresses, and the slow twin."""

import math

import naive_pulses
import numba
import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.device import pulses, synapse
from aimc_sim.device.pulses import Pulse
from aimc_sim.kernels import pulses as kernels
from aimc_sim.kernels import threads

US = 1e-6
KINDS = (Pulse.ACCUMULATE, Pulse.RESET, Pulse.SQUARE, Pulse.SET)


@pytest.fixture
def spec():
    """Every kind of pulse, every spread, drift with spread, noise."""
    chip = presets.pcm_hermes_one_device()
    accumulation = presets.pcm_nandakumar_2018().pulses.accumulation
    return chip.with_(
        {
            "pulses": presets.pulses_hermes().with_(
                {"accumulation": accumulation.with_(device_std_fraction=0.2)}
            ),
            "reset.std_siemens": 0.01 * US,
        }
    )


@pytest.fixture
def published():
    return presets.pcm_nandakumar_2018()


def same(a, b):
    for name in ("g", "pulses", "events", "last_seconds"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


@pytest.mark.parametrize("band", ["split", "frozen", "per_mvm"])
def test_equals_the_slow_twin(spec, key, rng, band):
    """A random life of 50 devices, every kind of pulse, amplitudes, drift and reads."""
    spec = spec.with_({"read_noise.band": band})
    n, first = 50, 1234
    state = pulses.fresh(n, spec, key, first=first)
    twins = [naive_pulses.Device(spec, key, first + i) for i in range(n)]
    t = 0.0
    for number in range(40):
        t += rng.exponential(10.0)
        kind = rng.integers(0, 5, n)
        amperes = rng.uniform(100e-6, 600e-6, n)
        state = pulses.apply(state, spec, kind, t, key, amperes=amperes)
        for i, twin in enumerate(twins):
            twin.pulse(kind[i], t, amperes[i])
        # single-precision normals against double: 3e-7 of a normal, more of a small conductance
        np.testing.assert_allclose(state.g, [d.g for d in twins], rtol=2e-5)
        np.testing.assert_array_equal(state.pulses, [d.p for d in twins])
        np.testing.assert_array_equal(state.events, [d.events for d in twins])
        np.testing.assert_array_equal(state.last_seconds, [d.last for d in twins])
        later = t + rng.exponential(1000.0)
        now = pulses.conductance(state, spec, later, key)
        np.testing.assert_allclose(now, [d.conductance(later) for d in twins], rtol=3e-5)
        seen = pulses.read(state, spec, later, key, number)
        wanted = [d.read(later, number) for d in twins]
        np.testing.assert_allclose(seen, wanted, rtol=3e-5, atol=1e-12)


def test_point_laws():
    """The bare formulae, by hand."""
    c = np.array([-0.084, 0.88, 1.4, 0.091, 0.26, 2.15, 2.6])
    early = math.exp(-1 / 2.6)
    step = 0.1 * -0.084 + 0.88 + 1.4 * early
    spread = 0.1 * 0.091 + 0.26 + 2.15 * early
    assert (step, spread) == pytest.approx((1.83300 - 0.0084, 1.72353 + 0.0091), abs=2e-5)
    set_step, full_set, square = map(
        numba.njit, (kernels.set_step, kernels.full_set, kernels.square)
    )
    assert set_step(0.1, 1, 0.0, 1.0, c) == pytest.approx(0.1 + step)
    assert set_step(0.1, 1, 2.0, 0.5, c) == pytest.approx(0.1 + step / 2 + 2 * spread)
    assert full_set(16.2, 0.1, -0.2, 0.1) == pytest.approx(16.2)
    assert square(350.0, 10.0, 0.1, 350.0, 45.0, 0.0) == pytest.approx(1.0)
    assert square(350.0, 10.0, 0.1, 350.0, 45.0, 1.0) == pytest.approx(10.0)
    assert square(1e6, 10.0, 0.1, 350.0, 45.0, 0.0) == pytest.approx(0.1)
    assert square(0.0, 10.0, 0.1, 350.0, 1e-6, 0.0) == pytest.approx(10.0)


def life(state, spec, key, where=None):
    """A few pulses of every kind."""
    for t, kind in enumerate((*KINDS, Pulse.ACCUMULATE)):
        state = pulses.apply(state, spec, kind, float(t), key, amperes=3.4e-4, where=where)
    return state


def test_threads_do_not_matter(spec, key, two_threads):
    threads.set_threads(1)
    one = life(pulses.fresh(5001, spec, key), spec, key)
    reads = pulses.read(one, spec, 9.0, key)
    threads.set_threads(2)
    two = life(pulses.fresh(5001, spec, key), spec, key)
    same(one, two)
    np.testing.assert_array_equal(pulses.read(two, spec, 9.0, key), reads)


def test_splits_do_not_matter(spec, key):
    whole = life(pulses.fresh((7, 11), spec, key), spec, key)
    rows = [life(pulses.fresh(11, spec, key, first=11 * r), spec, key) for r in range(7)]
    for field in ("g", "pulses", "events", "last_seconds"):
        parts = np.stack([getattr(row, field) for row in rows])
        np.testing.assert_array_equal(getattr(whole, field), parts)
    reads = np.stack([pulses.read(row, spec, 9.0, key) for row in rows])
    np.testing.assert_array_equal(pulses.read(whole, spec, 9.0, key), reads)


def test_order_and_masks_do_not_matter(spec, key, rng):
    """Half first, the other half later, or all at once: a device's life is its own."""
    mask = rng.random(1000) < 0.5
    fresh = pulses.fresh(1000, spec, key)
    at_once = pulses.apply(fresh, spec, Pulse.ACCUMULATE, 1.0, key)
    halves = pulses.apply(fresh, spec, Pulse.ACCUMULATE, 1.0, key, where=mask)
    np.testing.assert_array_equal(halves.g[~mask], fresh.g[~mask])
    np.testing.assert_array_equal(halves.last_seconds, np.where(mask, 1.0, 0.0))
    same(pulses.apply(halves, spec, Pulse.ACCUMULATE, 1.0, key, where=~mask), at_once)
    kinds = np.where(mask, Pulse.ACCUMULATE, Pulse.NONE)
    same(pulses.apply(fresh, spec, kinds, 1.0, key), halves)


@pytest.mark.parametrize("kind", KINDS)
def test_trains_equal_single_pulses(kind, spec, key):
    fresh = pulses.fresh(1000, spec, key)
    train = pulses.apply(fresh, spec, kind, 1.0, key, amperes=3e-4, repeats=7)
    for _ in range(7):
        fresh = pulses.apply(fresh, spec, kind, 1.0, key, amperes=3e-4)
    same(train, fresh)


def test_apply_is_pure_and_its_twin_is_not(spec, key):
    state = pulses.fresh(10, spec, key)
    before = state.g.copy()
    new = pulses.apply(state, spec, Pulse.SET, 1.0, key)
    np.testing.assert_array_equal(state.g, before)
    assert pulses.apply_(state, spec, Pulse.SET, 1.0, key) is state
    same(state, new)


def test_keys_and_reads_differ(spec, key):
    spec = spec.with_({"read_noise.band": "per_mvm"})
    a, b = (pulses.fresh(1000, spec, k) for k in (key, key.child(1)))
    assert (a.g != b.g).all()
    reads = [pulses.read(a, spec, t, key, k) for t, k in ((9.0, 0), (9.0, 1), (10.0, 0))]
    assert (reads[0] != reads[1]).any()
    noise = [
        r - pulses.conductance(a, spec, t, key) for r, t in zip(reads, (9, 9, 10), strict=True)
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(noise[i], noise[j])[0, 1]) < 5 / math.sqrt(1000)
    np.testing.assert_array_equal(reads[0], pulses.read(a, spec, 9.0, key, 0))


def test_memory(spec, key):
    state = pulses.fresh(1000, spec, key)
    arrays = (state.g, state.pulses, state.events, state.last_seconds)
    assert sum(a.nbytes for a in arrays) <= 24 * 1000


@pytest.mark.parametrize("kind", KINDS)
def test_every_pulse_restarts_the_drift_clock(kind, spec, key):
    """Also RESET: a device pulsed at 10^6 s is as young then as a fresh one."""
    state = pulses.fresh(100, spec, key)
    state = pulses.apply(state, spec, kind, 1e6, key, amperes=3e-4)
    assert (state.last_seconds == 1e6).all()
    t0 = spec.t0_seconds
    np.testing.assert_array_equal(pulses.conductance(state, spec, 1e6 + t0, key), state.g)
    later = pulses.conductance(state, spec, 1e6 + 10 * t0, key)
    assert (later < state.g).all()


def test_drift_factors(published, key):
    """((t - t_p) / t0)^-0.04 for every device: the values derived from the source."""
    state = pulses.apply(pulses.fresh(50, published, key), published, 1, 7.0, key, repeats=5)
    t0 = published.t0_seconds
    factors = {1.0: 1.15735, t0: 1.0, t0 + 3600: 0.83373, t0 + 86400: 0.73451, 31536000: 0.58011}
    for age, factor in factors.items():
        found = pulses.conductance(state, published, 7.0 + age, key) / state.g
        np.testing.assert_allclose(found, factor, rtol=2e-5)


def test_youngest_age(published, key):
    state = pulses.fresh(5, published, key)
    assert pulses.shortest_age_seconds(published) == published.read_noise.t_read_seconds
    assert pulses.shortest_age_seconds(published.with_(read_noise=None)) == 1e-6
    now = pulses.conductance(state, published, 0.0, key)
    np.testing.assert_allclose(now / state.g, (250e-9 / 38.6) ** -0.04, rtol=1e-5)
    assert np.isfinite(pulses.read(state, published, 0.0, key)).all()


def test_no_laws_no_change(published, key):
    still = published.with_({"drift": None, "read_noise": None})
    state = pulses.fresh(5, still, key)
    now = pulses.read(state, still, 1e5, key)
    np.testing.assert_array_equal(now, state.g)
    assert now is not state.g


def test_pulses_since_melting(spec, key):
    """Counted by crystallising pulses, to 0 by melting ones, and it does not roll over."""
    state = pulses.fresh(1, spec, key)
    counts = []
    for kind in (1, 1, 4, 3, 1, 2):
        state = pulses.apply(state, spec, kind, 0.0, key, amperes=3e-4)
        counts.append(int(state.pulses[0]))
    assert counts == [1, 2, 3, 0, 1, 0]
    state = pulses.apply(state, spec, Pulse.ACCUMULATE, 0.0, key, repeats=70_000)
    assert (state.pulses[0], state.events[0]) == (65_535, 70_007)


def repeats(spec, key, kind, n=20_000):
    """ln G of the same devices after the same history, twice, RESET in between."""
    state, found = pulses.fresh(n, spec, key), []
    for _ in range(2):
        state = pulses.apply(state, spec, Pulse.RESET, 0.0, key)
        state = pulses.apply(state, spec, kind, 0.0, key, amperes=3.5e-4)
        found.append(np.log(state.g.astype(float)))
    return found


KNOBS = [
    (Pulse.SET, "set.device_std", "set.cycle_std"),
    (Pulse.SQUARE, "curve.device_std_amperes", "curve.cycle_std_decades"),
    (Pulse.ACCUMULATE, "accumulation.device_std_fraction", "accumulation.cycle_scale"),
]


@pytest.mark.parametrize(("kind", "device", "cycle"), KNOBS)
def test_device_spread_repeats_and_cycle_spread_does_not(kind, device, cycle, spec, key):
    quiet = {f"pulses.{name}": 0.0 for knob in KNOBS for name in knob[1:]}
    quiet["reset.std_siemens"] = 0.0
    none = spec.with_(quiet)
    one, two = repeats(none, key, kind)
    assert one.std() < 1e-6
    assert np.abs(one - two).max() < 1e-6

    only_device = none.with_({f"pulses.{device}": 20e-6 if "amperes" in device else 0.2})
    one, two = repeats(only_device, key, kind)
    assert one.std() > 0.05
    np.testing.assert_array_equal(one, two)

    only_cycle = none.with_({f"pulses.{cycle}": 0.05})
    one, two = repeats(only_cycle, key, kind)
    assert one.std() > 0.02
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / math.sqrt(one.size)


def test_core_spread_is_one_number_per_key(spec, key):
    quiet = {"pulses.set.device_std": 0.0, "pulses.set.cycle_std": 0.0, "pulses.set.core_std": 0.2}
    spec = spec.with_(quiet)
    levels = set()
    for core in range(3):
        k = key.child(core)
        g = pulses.apply(pulses.fresh(100, spec, k), spec, Pulse.SET, 0.0, k).g
        assert len(np.unique(g)) == 1
        levels.add(float(g[0]))
    assert len(levels) == 3


def test_drift_spread_stays_with_a_device(spec, key):
    wide = spec.with_({"pulses.set.device_std": 0.0, "pulses.set.cycle_std": 0.0})
    state = pulses.apply(pulses.fresh(1000, wide, key), wide, Pulse.SET, 0.0, key)
    factors = [pulses.conductance(state, wide, 1e6, key) / state.g]
    state = pulses.apply(state, wide, Pulse.SET, 2e6, key)
    factors.append(pulses.conductance(state, wide, 3e6, key) / state.g)
    assert factors[0].std() > 0.01
    np.testing.assert_array_equal(*factors)


def test_range_of_pulses(published, key):
    state = pulses.apply(pulses.fresh(20_000, published, key), published, 1, 0.0, key)
    assert state.g.min() == np.float32(0.1 * US)
    state = pulses.apply(state, published, Pulse.ACCUMULATE, 0.0, key, repeats=30)
    assert state.g.max() == np.float32(12 * US)


def test_time_does_not_go_backwards(published, key):
    state = pulses.fresh(3, published, key, t_seconds=5.0)
    with pytest.raises(ValueError, match=r"t_seconds = 4.0 .* at 5.0 s: time does not go back"):
        pulses.apply(state, published, Pulse.ACCUMULATE, 4.0, key)
    with pytest.raises(ValueError, match="time does not go backwards"):
        pulses.conductance(state, published, 4.0, key)
    for t in (math.nan, math.inf):
        with pytest.raises(ValueError, match="must be finite"):
            pulses.read(state, published, t, key)


@pytest.mark.parametrize("kind", [5, -1, 1.0, np.array([0, 1, 9])])
def test_unknown_kinds(kind, published, key):
    with pytest.raises(ValueError, match=r"unknown pulse; there are: 0 none, 1 accumulate, 2 res"):
        pulses.apply(pulses.fresh(3, published, key), published, kind, 0.0, key)


def test_missing_laws(published, key):
    state = pulses.fresh(3, published, key)
    for kind, field in ((Pulse.SQUARE, "curve"), (Pulse.SET, "set")):
        with pytest.raises(ValueError, match=rf"{kind.name.lower()} .* \(pulses.{field} = None\)"):
            pulses.apply(state, published, kind, 0.0, key, amperes=1e-4)
    chip = presets.pcm_hermes_one_device()
    with pytest.raises(ValueError, match="no pulse laws"):
        pulses.fresh(3, chip, key)
    chip = chip.with_({"pulses": presets.pulses_hermes()})
    with pytest.raises(ValueError, match=r"pulses.accumulation = None"):
        pulses.apply(state, chip, np.array([0, 1, 2]), 0.0, key)


def test_amplitudes(spec, key):
    state = pulses.fresh(3, spec, key)
    with pytest.raises(ValueError, match="square pulses need an amplitude; give amperes"):
        pulses.apply(state, spec, np.array([1, 2, 3]), 0.0, key)
    with pytest.raises(ValueError, match=r"amperes has shape \(2,\); wanted a number or .* \(3,\)"):
        pulses.apply(state, spec, Pulse.SQUARE, 0.0, key, amperes=[1e-4, 2e-4])
    for bad in (-1e-4, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite and >= 0"):
            pulses.apply(state, spec, Pulse.SQUARE, 0.0, key, amperes=bad)


def test_shapes(published, key):
    state = pulses.fresh((2, 3), published, key)
    with pytest.raises(ValueError, match=r"kind has shape \(6,\); wanted .* \(2, 3\)"):
        pulses.apply(state, published, np.ones(6, int), 0.0, key)
    for where in (np.ones((3, 2), bool), np.ones((2, 3), int)):
        with pytest.raises(ValueError, match=r"where has shape .* wanted bool of the state's"):
            pulses.apply(state, published, 1, 0.0, key, where=where)
    turned = pulses.PulseState(
        state.g.T, state.pulses.T, state.events.T, state.last_seconds.T, state.first
    )
    with pytest.raises(ValueError, match="C-contiguous"):
        pulses.apply_(turned, published, 1, 0.0, key)


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_repeats(bad, published, key):
    with pytest.raises(ValueError, match=rf"repeats = {bad} must be an integer >= 1"):
        pulses.apply(pulses.fresh(3, published, key), published, 1, 0.0, key, repeats=bad)


def test_counter_selects_one_device_per_event(published, key):
    state = synapse.fresh((4, 5), 3, published, key, increment=2)
    seen = []
    for event in range(6):
        before = state
        state = synapse.potentiate(state, published, float(event), key)
        changed = [
            k for k in range(3) if (state.devices[k].events != before.devices[k].events).any()
        ]
        seen += changed
        assert len(changed) == 1
    assert seen == [0, 2, 1, 0, 2, 1]
    assert all((d.events == 3).all() for d in state.devices)  # RESET and two events each


def test_counter_is_global(published, key):
    """It advances for all synapses, also for those that an event leaves alone."""
    state = synapse.fresh(2, 4, published, key)
    where = np.array([True, False])
    state = synapse.potentiate(state, published, 0.0, key, where=where)
    assert state.counter == 1
    np.testing.assert_array_equal(state.devices[0].events, [2, 1])


def test_weight_is_the_sum(published, key):
    still = published.with_(drift=None)
    state = synapse.potentiate(synapse.fresh(9, 4, still, key), still, 0.0, key, repeats=3)
    total = synapse.weight(state, still, 1.0, key)
    np.testing.assert_allclose(total, sum(d.g.astype(float) for d in state.devices), rtol=1e-6)
    addresses = [d.first for d in state.devices]
    assert addresses == [0, 9, 18, 27]


def test_synapse_errors(published, key):
    with pytest.raises(ValueError, match="devices = 0 must be >= 1"):
        synapse.fresh(3, 0, published, key)
    with pytest.raises(ValueError, match=r"increment = 2 .* no common divisor with the 4 devices"):
        synapse.fresh(3, 4, published, key, increment=2)


def test_presets_are_devices(published):
    """They validate, keep an identity, and the clip is theirs to choose."""
    assert published.id() != presets.pcm_nandakumar_2018(20 * US).id()
    assert presets.pcm_nandakumar_2018(20 * US).pulses.high_siemens == 20 * US
    chip = presets.pcm_hermes_one_device().with_({"pulses": presets.pulses_hermes()})
    assert chip.pulses.reset.amperes == 700e-6
    assert published.programming is None
