"""Stepped devices: published steps without noise, the slow twin, splits, threads, bad input."""

import naive_learning
import numpy as np
import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.device import families, steps
from aimc_sim.rng import Key
from aimc_sim.spec import ChipSpec, StepLeak, StepReset, StepVariation, StepWriting

STEPPED = presets.STEPPED


def walk(state, ups, t=0.0):
    """Give every device single pulses: (N, n) bools, True is up."""
    everyone = np.arange(len(state.p))
    for up in ups:
        steps.pulse(state, everyone, np.where(up, 1, -1).astype(np.int32), t)


# ------------------------------------------------------------------ published numbers


@pytest.mark.parametrize(("name", "states", "up", "down"), [
    ("gokmen-vlasov", (-1, 0, 1), (1.6e-3,) * 3, (1.6e-3,) * 3),
    ("idealized", (-1, 0, 1), (2e-4,) * 3, (2e-4,) * 3),
    ("reram-es", (-1, -0.5, 0, 0.5, 1), (2.949e-3, 1.808e-3, 1.481e-3, 1.388e-3, 1.361e-3),
     (1.081e-3, 1.284e-3, 1.991e-3, 4.461e-3, 1.308e-2)),
    ("reram-sb", (-0.75, 0, 1.25), (2e-3 * 1.6, 2e-3, 0), (0, 2e-3, 2e-3 * (1 + 1.25 / 0.75))),
    ("capacitor", (-1, 0, 1), (5.25e-3, 5e-3, 4.75e-3), (4.75e-3, 5e-3, 5.25e-3)),
    ("ecram", (-0.8276, 0, 1.1724), (2.163e-3, 2e-3, 1.769e-3), (9.83e-4, 2e-3, 3.441e-3)),
    ("ecram-mo", (-0.8286, 0, 1.1714), (3.65e-4, 2.82e-4, 1.65e-4), (7.5e-5, 2.82e-4, 5.75e-4)),
    ("pcm-step", (0, 0.1, 0.25, 0.5, 1, 1.5, 2),
     (0.28235, 0.22211, 0.15578, 0.08803, 0.03236, 0.01641, 0.01184), (0,) * 7),
    ("reram-array-om", (-1, 0, 1), (2 * 0.0949, 0.0949, 0), (0, 0.0949, 2 * 0.0949)),
    ("reram-array-hfo2", (-1, 0, 1), (2 * 0.4622, 0.4622, 0), (0, 0.4622, 2 * 0.4622)),
    ("mosfet", (-1, 0, 1), (2 / 255,) * 3, (2 / 255,) * 3),
    ("domain-wall", (-1, 0, 1), (2 / 255,) * 3, (2 / 255,) * 3),
])  # fmt: skip
def test_steps_without_noise(name, states, up, down):
    """Tolerance: the digits of the published numbers. Both the law and a pulsed device."""
    spec = STEPPED[name]()
    for found, wanted in zip(steps.mean_steps(spec, np.array(states)), (up, down), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-8)
    quiet = steps.nominal_device(spec)
    for way, wanted in ((1, up), (-1, down)):
        if way < 0 and spec.directions == "up":
            continue
        state = steps.fresh(len(states), quiet, Key(1))
        steps.put(state, np.array(states, np.float32), np.ones(len(states), bool), 0.0)
        before = state.p.astype(float)
        steps.pulse(state, np.arange(len(states)), np.full(len(states), way, np.int32), 0.0)
        moved = way * (state.p - before)
        reach = (spec.upper - before) if way > 0 else (before - spec.lower)
        np.testing.assert_allclose(moved, np.minimum(wanted, reach), rtol=2e-3, atol=2e-7)


def test_open_loop_of_the_pcm_step():
    """From its RESET mean of 0.01, pulses 1, 2, 3, 5, 10, 20, 30."""
    state = steps.fresh(1, steps.nominal_device(presets.STEPPED["pcm-step"]()), Key(0))
    found = []
    for _ in range(30):
        steps.pulse(state, np.array([0]), np.array([1]), 0.0)
        found.append(float(state.p[0]))
    wanted = [0.2856, 0.4290, 0.5322, 0.6828, 0.9251, 1.2178, 1.4210]
    picked = [found[p - 1] for p in (1, 2, 3, 5, 10, 20, 30)]
    np.testing.assert_allclose(picked, wanted, atol=6e-5)


def test_asymmetry_shrinks_one_side_only():
    spec = STEPPED["gokmen-vlasov"]()
    assert spec.with_(up_down=0.25).scales == pytest.approx((0.0016, 0.0012))
    assert spec.with_(up_down=-0.25).scales == pytest.approx((0.0012, 0.0016))


# ------------------------------------------------------------------ twin, splits, threads


@pytest.mark.parametrize("name", list(STEPPED))
def test_a_device_is_its_slow_twin(name, key, rng):
    """40 pulses of 12 devices; arithmetic in double, kept in single precision: 1e-6."""
    spec = STEPPED[name]()
    if name == "reram-array-om":
        spec = STEPPED[name]().with_({"variation.dead_fraction": 0.4})
    if name == "capacitor":
        spec = spec.with_({"leak.seconds": 30.0})
    n, ups = 12, rng.random((40, 12)) < 0.55
    if spec.directions == "up":
        ups[:] = True
    state = steps.fresh(n, spec, key, first=1000)
    twins = [naive_learning.Device(spec, key, 1000 + i) for i in range(n)]
    for t, up in enumerate(ups):
        walk(state, [up], float(t))
        for twin, way in zip(twins, up, strict=True):
            twin.pulse(way, float(t))
        if spec.reset is not None and t == 20:
            steps.reset(state, np.array([2, 5]), 20.0)
            twins[2].reset(20.0)
            twins[5].reset(20.0)
    weights = steps.states(state, 50.0) - steps.references(state)
    np.testing.assert_allclose(weights, [t.weight(50.0) for t in twins], atol=3e-6)
    assert list(state.events) == [t.events for t in twins]
    assert len({round(float(w), 6) for w in weights}) > 2


def test_trains_splits_and_order_change_nothing(key):
    spec = STEPPED["reram-sb"]()
    counts = (np.arange(60) % 7 - 3).astype(np.int32)
    whole = steps.fresh(60, spec, key)
    steps.pulse(whole, np.arange(60), counts, 0.0)
    parts = steps.fresh(60, spec, key)
    for first in (40, 0, 20):
        steps.pulse(parts, np.arange(first, first + 20), counts[first : first + 20], 0.0)
    np.testing.assert_array_equal(whole.p, parts.p)
    ones = steps.fresh(60, spec, key)
    for k in range(1, 4):
        here = np.flatnonzero(np.abs(counts) >= k)
        steps.pulse(ones, here, np.sign(counts[here]), 0.0)
    np.testing.assert_array_equal(whole.p, ones.p)
    np.testing.assert_array_equal(whole.shown[counts != 0], ones.shown[counts != 0])
    moved = steps.fresh(20, spec, key, first=40)
    steps.pulse(moved, np.arange(20), counts[40:], 0.0)
    np.testing.assert_array_equal(whole.p[40:], moved.p)


def test_threads_change_nothing(key, rng, two_threads):
    def run():
        state = steps.fresh(50 * 40, STEPPED["reram-es"](), key)
        rows = rng_words((3, 50), 1)
        columns = rng_words((3, 40), 2)
        signs = np.ones((3, 50), np.int8), np.where(rng_words((3, 40), 3) & 1, 1, -1)
        given = steps.coincide(state, rows, columns, (signs[0], signs[1].astype(np.int8)), 0.0)
        return given, state.p, state.shown, state.events

    def rng_words(shape, seed):
        return np.random.default_rng(seed).integers(0, 2**31, shape, np.uint64)

    from aimc_sim.kernels import threads

    two = run()
    threads.set_threads(1)
    one = run()
    assert one[0] == two[0] > 1000
    for a, b in zip(one[1:], two[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_coincidences_are_counted_pulses(key):
    """A coincidence is a pulse: the loop over trains equals the loop over lists, bit for bit."""
    spec, shape = STEPPED["ecram"](), (6, 5)
    rng = key.generator()
    rows = rng.integers(0, 2**12, (4, 6), np.uint64)
    columns = rng.integers(0, 2**12, (4, 5), np.uint64)
    rows[1, 2] = columns[2, 3] = 0
    signs = tuple(rng.choice([-1, 1], (4, n)).astype(np.int8) for n in shape)
    for pairs, device in ((0, spec), (30, STEPPED["pcm-step"]())):
        a = steps.fresh(30 + pairs, device, key)
        b = steps.fresh(30 + pairs, device, key)
        given = steps.coincide(a, rows, columns, signs, 0.0, pairs)
        total = 0
        for v in range(4):
            hits = np.bitwise_count(rows[v][:, None] & columns[v]).astype(int)
            counts = (hits * np.outer(signs[0][v], signs[1][v])).astype(np.int32).ravel()
            total += steps.pulse(b, np.arange(30), counts, 0.0, pairs)
        assert given == total > 50
        np.testing.assert_array_equal(a.p, b.p)


def test_leakage_acts_between_pulses_and_reads(key):
    spec = STEPPED["domain-wall"]().with_(leak=StepLeak(seconds=10.0))
    state = steps.fresh(3, spec, key)
    steps.pulse(state, np.arange(3), np.array([100, 100, 100]), 0.0)
    at_start = float(state.p[0])
    np.testing.assert_allclose(steps.states(state, 5.0), at_start * np.exp(-0.5), rtol=1e-6)
    steps.pulse(state, np.array([1]), np.array([1]), 5.0)
    assert state.p[1] == pytest.approx(at_start * np.exp(-0.5) + spec.step, rel=1e-6)
    np.testing.assert_allclose(steps.states(state, 5.0)[[0, 2]], at_start * np.exp(-0.5), rtol=1e-6)
    with pytest.raises(ValueError, match="time does not go backwards"):
        steps.pulse(state, np.array([1]), np.array([1]), 4.0)


def test_a_state_is_kept_and_goes_on(key):
    spec = STEPPED["reram-sb"]()
    a = steps.fresh(30, spec, key)
    walk(a, np.ones((5, 30), bool))
    b = steps.fresh(30, spec, key)
    b.load(a.arrays())
    walk(a, np.zeros((5, 30), bool))
    walk(b, np.zeros((5, 30), bool))
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name])
    with pytest.raises(ValueError, match=r"'p' has shape \(30,\).*wanted \(31,\).*other devices"):
        steps.fresh(31, spec, key).load(a.arrays())


# ------------------------------------------------------------------ on a chip

torch.manual_seed(0)
MODEL = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.ReLU(), torch.nn.Linear(12, 6))
IMAGES = torch.randn(16, 20, generator=torch.Generator().manual_seed(1))


def chip_of(device):
    spec = presets.ideal().with_({"core.device": device, "core.g_max_rule": "device"})
    chip = aimc_sim.Chip.from_model(MODEL, spec)
    chip.calibrate([IMAGES])
    return chip.program(seed=4)


def error_of(chip):
    with torch.no_grad():
        exact = MODEL(IMAGES)
        return float((chip(IMAGES) - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def test_a_chip_of_stepped_devices():
    ideal = chip_of(STEPPED["ecram"]().ideal())
    assert error_of(ideal) < 1e-5
    written = chip_of(STEPPED["ecram"]())
    assert 0.003 < error_of(written) < 0.1  # margin of 1 % of the range
    report = str(written.report())
    assert "steps, closed loop" in report
    assert "closed loop" not in str(ideal.report())


@pytest.mark.parametrize("name", ["ecram", "capacitor"])
def test_a_chip_of_stepped_devices_comes_back_from_its_file(name, tmp_path):
    chip = chip_of(STEPPED[name]())  # without leakage, and with it
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5")
    for one in (chip, loaded):
        one.at(0.5)
    np.testing.assert_array_equal(chip.conductances(0), loaded.conductances(0))
    assert torch.equal(chip(IMAGES, first_image=0), loaded(IMAGES, first_image=0))
    chip.refresh()  # devices of its own


def test_margin_and_bounds_of_written_devices(key):
    spec = STEPPED["ecram"]()
    target = np.linspace(1e-6, 8e-6, 2 * 8 * 10).reshape(2, 8, 10).astype(np.float32)
    programmed = np.ones(target.shape, bool)
    programmed[1, 2] = False
    laws = families.Steps()
    state = laws.program(target, programmed, spec, (16, 256), key)
    unit = (spec.g_max_siemens - spec.low_siemens) / (spec.upper - spec.lower)
    error = np.abs(state.g - target)[programmed]
    assert error.max() < 1.001 * spec.programming.margin * unit
    assert error.mean() > 0.1 * spec.programming.margin * unit
    again = laws.program(target, programmed, spec, (16, 256), key)
    np.testing.assert_array_equal(state.g, again.g)
    other = laws.program(target, programmed, spec, (16, 256), key, cycle=1)
    assert (other.g != state.g).any()
    part = laws.program(target[:, :, :4], programmed[:, :, :4], spec, (16, 256), key)
    np.testing.assert_array_equal(part.g, state.g[:, :, :4])  # the place in the core decides


def test_one_sided_devices_are_reset_where_they_overshoot(key):
    spec = STEPPED["pcm-step"]()
    target = np.full((1, 16, 16), 2e-6, np.float32)
    state = families.Steps().program(target, np.ones(target.shape, bool), spec, (16, 256), key)
    within = np.abs(state.g - target) < 1.01 * spec.programming.margin * 4.95e-6
    assert within.mean() > 0.95


def test_leaking_devices_fall_to_the_weight_zero(key):
    spec = STEPPED["capacitor"]().with_(programming=None, variation=None)
    spec = spec.with_({"leak.device_std": 0.0})
    laws, target = families.Steps(), np.full((1, 4, 4), 9e-6, np.float32)
    state = laws.program(target, np.ones(target.shape, bool), spec, (16, 256), key)
    np.testing.assert_array_equal(state.g, target)
    zero = 0.5 * (spec.low_siemens + spec.g_max_siemens)
    found = laws.at(state, spec, 2.0, (16, 256), key).g
    np.testing.assert_allclose(found, zero + (9e-6 - zero) * np.exp(-2.0), rtol=1e-5)


def test_specifications_come_back_from_files():
    for make in STEPPED.values():
        spec = presets.ideal().with_({"core.device": make()})
        again = ChipSpec.model_validate_json(spec.model_dump_json())
        assert again == spec
        assert again.id() == spec.id()


# ------------------------------------------------------------------ bad input


def test_bad_specifications():
    spec = STEPPED["ecram"]()
    with pytest.raises(ValueError, match="'both' with lower = 0"):
        spec.with_(lower=0.0)
    with pytest.raises(ValueError, match="without reset"):
        spec.with_(directions="up")
    with pytest.raises(ValueError, match=r"low_siemens .* must be below"):
        spec.with_(low_siemens=1e-4)
    with pytest.raises(ValueError, match="form"):
        spec.with_({"shape": {"form": "cubic"}})
    with pytest.raises(ValueError, match=r"states = 0: wanted a finite number from 1 to"):
        presets.soft_bounds(0)


def test_bad_pulses(key):
    state = steps.fresh(4, STEPPED["ecram"](), key)
    with pytest.raises(ValueError, match=r"ascending, each once, within 0 \.\.\. 3"):
        steps.pulse(state, np.array([1, 1]), np.array([1, 1]), 0.0)
    with pytest.raises(ValueError, match="two lists of one length"):
        steps.pulse(state, np.array([1, 2]), np.array([1]), 0.0)
    with pytest.raises(ValueError, match="no RESET pulse"):
        steps.reset(state, np.array([1]), 0.0)
    with pytest.raises(ValueError, match="no writing loop"):
        steps.write(steps.fresh(4, STEPPED["ecram"]().ideal(), key), np.zeros(4), np.ones(4), 0.0)
    up = steps.fresh(4, STEPPED["pcm-step"](), key)
    with pytest.raises(ValueError, match=r"go up only.*use pairs"):
        steps.pulse(up, np.array([1]), np.array([-1]), 0.0)
    assert StepReset(mean=0.0).cycle_std == 0
    assert StepVariation().dead_fraction == 0
    with pytest.raises(ValueError, match="margin"):
        StepWriting(margin=0.0, most_iterations=5)
