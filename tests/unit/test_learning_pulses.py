"""Updates by pulse trains and Tiki-Taka on stepped devices: slow twins, order, state, bad input."""

import warnings

import naive_learning
import numpy as np
import pytest
import torch

from aimc_sim import learning, presets
from aimc_sim.device import steps
from aimc_sim.kernels import threads
from aimc_sim.learning import trains
from aimc_sim.learning.reading import AIHWKIT_READING, Reading
from aimc_sim.learning.steps import StepDevices
from aimc_sim.learning.stochastic import StochasticPulses
from aimc_sim.learning.transfer import AGAD, PRESETS, TikiTaka
from aimc_sim.rng import Key

SHAPE = (5, 4)
QUIET = presets.soft_bounds(100).with_(variation=None, cycle=None)
RULES = {
    "pulses": StochasticPulses(),
    "plain pulses": StochasticPulses(
        length=10, pulse_length_management=False, update_management=False
    ),
    "version 1": TikiTaka(version=1),
    "version 2": TikiTaka(auto_granularity=20.0),
    "chopped": TikiTaka(chopped=0.3, auto_granularity=20.0, momentum=0.5),
    "agad": AGAD(chopped=0.4, auto_granularity=20.0, tail=1.0),
}


def batch(rng, n, shape=SHAPE):
    x = rng.standard_normal((n, shape[0])).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = 0
    return x, (0.3 * rng.standard_normal((n, shape[1]))).astype(np.float32)


def array(spec=None, shape=SHAPE, seed=3):
    device = StepDevices(presets.soft_bounds(100) if spec is None else spec, scale=1.0)
    return device.synapses(np.zeros(shape, np.float32), 1.0, Key(seed))


# ----------------------------------------------------------------- pulse trains


@pytest.mark.parametrize(("x", "x_most", "d", "d_most", "lr", "managed", "slots", "p", "q"), [
    (0.6, 1, 0.02, 0.1, 0.01, True, 1, 0.474, 0.158),
    (0.6, 1, 0.02, 0.1, 0.01, False, 31, 0.269 * 0.32, 0.00898),
    (0.6, 1, 8, 10, 0.01, True, 31, 0.6, 1.0),
])  # fmt: skip
def test_scales_of_published_examples(x, x_most, d, d_most, lr, managed, slots, p, q):
    """dw 0.0016: managed BL 1, p_x 0.474, p_d 0.158; unmanaged 31 slots; k = 62.5 is clipped.

    Of the unmanaged example the facts give p_x 0.269, which is B x with x = 0.6; ``p q`` is what
    enters its mean: E = 31 p q dw = 1.2e-4 fixes the product.
    """
    found = trains.scales(np.array([[x, x_most]], np.float32), np.array([[d, d_most]], np.float32),
                          lr, 0.0016, 31, managed, managed)  # fmt: skip
    assert found.length[0] == slots
    row, column = min(1, found.rows[0] * x), min(1, found.columns[0] * d)
    if managed:
        assert row == pytest.approx(p, abs=6e-4)
        assert column == pytest.approx(q, abs=6e-4)
    clipped = found.driven[0] > 31
    wanted = 0.02976 if clipped else lr * x * d
    assert slots * row * column * 0.0016 == pytest.approx(wanted, rel=1e-4)


def test_trains_are_the_slow_twin(key, rng):
    for length, managed in ((31, True), (50, False), (100, False)):
        x, d = batch(rng, 3)
        scale = trains.scales(x, d, 0.05, 0.001, length, managed, managed)
        found = trains.draw(x, d, scale, key, first=2**33 + 5)
        assert found.words == -(-max(scale.length) // 64)
        for b in range(3):
            own = (int(scale.length[b]), float(scale.rows[b]), float(scale.columns[b]))
            by_hand = naive_learning.scales(
                x[b].tolist(), d[b].tolist(), 0.05, 0.001, length, managed
            )
            assert own == pytest.approx(by_hand, rel=1e-6)
            wanted = naive_learning.trains(x[b].tolist(), d[b].tolist(), own, key, 2**33 + 5 + b)
            for side, bits in zip((found.rows, found.columns), wanted, strict=True):
                for i, slots in enumerate(bits):
                    value = sum(one << k for k, one in enumerate(slots))
                    ours = sum(int(side[b * found.words + w, i]) << 64 * w
                               for w in range(found.words))  # fmt: skip
                    assert ours == value


def test_stochastic_pulses_are_the_slow_twin(key, rng):
    spec = presets.reram_sb()
    synapses = StepDevices(spec, scale=1.0).synapses(np.zeros(SHAPE, np.float32), 1.0, key)
    engine = StochasticPulses().engine(synapses, key.child(9))
    twins = [[naive_learning.Device(spec, key, r * 4 + c) for c in range(4)] for r in range(5)]
    x, d = batch(rng, 6)
    spent = engine.step(x, d, 0.02, 0.0, 0)
    given = 0
    for b in range(6):
        scale = naive_learning.scales(x[b].tolist(), d[b].tolist(), 0.02, 0.002, 31)
        rows, columns = naive_learning.trains(x[b].tolist(), d[b].tolist(), scale, engine.key, b)
        signs = np.where(x[b] < 0, -1, 1), np.where(-d[b] < 0, -1, 1)
        given += naive_learning.coincide(twins, rows, columns, signs)
    assert spent.pulses == given > 50
    wanted = [[device.weight() for device in row] for row in twins]
    np.testing.assert_allclose(synapses.weights(0.0), wanted, atol=3e-6)


# ----------------------------------------------------------------- Tiki-Taka


@pytest.mark.parametrize("rule", [
    TikiTaka(auto_granularity=15.0, momentum=0.3),
    TikiTaka(auto_granularity=15.0, forget=False, most_pulses=3, transfer_every=2),
    TikiTaka(chopped=0.3, auto_granularity=15.0, reading=AIHWKIT_READING),
    TikiTaka(chopped=0.3, chopper="regular", auto_granularity=0.0, granularity=3.0),
    TikiTaka(auto_granularity=15.0, correct_gradient=True),
    AGAD(chopped=0.3, auto_granularity=4.0, reading=Reading(noise=0.02)),
    AGAD(chopped=0.5, auto_granularity=4.0, tail=1.0),
    AGAD(chopped=0.5, auto_granularity=2.0, forget=False, most_pulses=2, pulses_at_once=5),
], ids=[
    "momentum", "remainder", "chopped", "regular", "corrected", "agad with noise", "agad",
    "agad in trains",
])  # fmt: skip
def test_transfers_are_the_slow_twin(rule, key, rng):
    """60 vectors, one at a time: buffers, choppers and pulses on C."""
    fast = presets.soft_bounds(60)
    synapses = array(fast)
    engine = rule.engine(synapses, key)
    twin = naive_learning.Transfer(rule, fast, key, SHAPE, synapses.up)
    total = 0
    for number in range(60):
        x, d = batch(rng, 1)
        before = synapses.writes().astype(int)
        engine.step(x, d, 0.5, 0.0, number)
        given = synapses.writes() - before
        wanted = np.zeros(SHAPE, int)
        done = twin.step(x[0].tolist(), d[0].tolist(), 0.5)
        if done is not None:
            wanted[done[0]] = np.abs(done[1])
        np.testing.assert_array_equal(given, wanted)
        total += int(wanted.sum())
        np.testing.assert_array_equal(engine.chopper, twin.chopper)
    assert total > 10
    np.testing.assert_allclose(engine.buffer, twin.h, atol=1e-3)
    fast_weights = [[device.weight() for device in row] for row in twin.fast]
    np.testing.assert_allclose(engine.fast.weights(0.0), fast_weights, atol=1e-5)


def test_rows_are_read_in_order(rng):
    """Version 1 reads a row per batch, version 2 one per vector; both wrap around."""
    one = TikiTaka(version=1).engine(array(), Key(1))
    two = TikiTaka().engine(array(), Key(1))
    every = TikiTaka(transfer_every=3).engine(array(), Key(1))
    seen = []
    for number in range(7):
        x, d = batch(rng, 4)
        seen.append(one._due(4)[0].tolist())
        for engine in (one, two, every):
            engine.step(x, d, 0.1, 0.0, number)
    assert seen == [[-1, -1, -1, number % 5] for number in range(7)]
    assert two.reads.tolist() == [6, 6, 6, 5, 5]  # 28 reads
    assert every.reads.tolist() == [2, 2, 2, 2, 1]  # 9
    assert one.reads.tolist() == [2, 2, 1, 1, 1]  # 7


def test_choppers_write_and_read_with_one_sign(key):
    """A constant gradient: A's weights have the chopper's sign, and C moves one way only."""
    spec = presets.idealized().with_(variation=None, cycle=None)
    synapses = array(spec.with_(step=0.01), (4, 3))
    rule = TikiTaka(chopped=0.25, chopper="regular", auto_granularity=4.0, transfer_every=4,
                    fast_lr=1 / 31)  # fmt: skip
    engine = rule.engine(synapses, key)
    x, d = np.ones((1, 4), np.float32), np.full((1, 3), 0.5, np.float32)
    flips, weights = [], []
    for number in range(400):
        engine.step(x, d, 1.0, 0.0, number)
        flips.append(engine.chopper.copy())
        weights.append(synapses.weights(0.0))
    flips = np.array(flips)
    assert (np.abs(np.diff(flips, axis=0)).sum(axis=0) // 2 == 400 // 4 // 4 // 4).all()
    # Readings hold the gradient of the period before with the other sign, too, but C goes down.
    assert (np.diff(np.array(weights)[50:], axis=0).mean(axis=0) < 0).all()
    plain = TikiTaka(auto_granularity=4.0, transfer_every=4, fast_lr=1 / 31)
    fast = plain.engine(array(spec.with_(step=0.01), (4, 3)), key)
    for number in range(40):
        fast.step(x, d, 1.0, 0.0, number)
    assert (fast.fast.weights(0.0) < 0).all()


def test_agad_writes_nothing_in_its_first_periods(key, rng):
    rule = AGAD(chopped=0.25, auto_granularity=0.5)
    synapses = array()
    engine = rule.engine(synapses, key)
    assert rule.period == 4
    written = []
    for number in range(5 * 12):
        x, d = batch(rng, 1)
        engine.step(x, d, 0.5, 0.0, number)
        written.append(int(synapses.writes().sum()))
    first = (rule.period + 1) * SHAPE[0]
    assert written[first - 1] == 0
    assert written[first + SHAPE[0] - 1] > 0
    other = TikiTaka(chopped=0.25, chopper="regular", auto_granularity=0.5)
    chopped = other.engine(array(), key)
    for number in range(10):
        chopped.step(*batch(rng, 1), 0.5, 0.0, number)
    assert int(chopped.synapses.writes().sum()) > 0


def test_constants_of_presets():
    """Facts 2.5, the table of presets."""
    assert set(PRESETS) == {"reram-es", "reram-sb", "capacitor", "ecram", "ecram-mo", "idealized"}
    two = TikiTaka.preset("ecram-mo")
    assert (two.chopped, two.fast_lr, two.auto_granularity, two.length) == (0.0, 0.1, 500.0, 100)
    two = TikiTaka.preset("capacitor")
    assert (two.fast_lr, two.auto_granularity, two.length) == (0.1, 1000.0, 31)
    chopped = TikiTaka.preset("ecram", chopped=True)
    assert (chopped.chopped, chopped.fast_lr, chopped.length) == (0.01, 1.0, 100)
    assert TikiTaka.preset("idealized", chopped=True).chopped == 0.001
    agad = AGAD.preset("ecram")
    assert (agad.chopped, agad.fast_lr, agad.auto_granularity, agad.tail, agad.length) == (
        0.005, 0.1, 750.0, 50.0, 31
    )  # fmt: skip
    agad = AGAD.preset("reram-sb")
    assert (agad.chopped, agad.tail, agad.period) == (0.02, 5.0, 50)
    assert AGAD.preset("capacitor").tail == 20.0


# ----------------------------------------------------------------- state, splits, threads


@pytest.mark.parametrize("name", list(RULES))
def test_an_update_is_kept_and_goes_on(name, rng):
    rule = RULES[name]
    data = [batch(rng, 3) for _ in range(12)]
    whole, first, second = (rule.engine(array(), Key(7)) for _ in range(3))
    for number, (x, d) in enumerate(data):
        whole.step(x, d, 0.2, 0.0, number)
        engine = first if number < 6 else second
        if number == 6:
            second.load(first.arrays())
            second.synapses.load(first.synapses.arrays())
        engine.step(x, d, 0.2, 0.0, number)
    for one, two in ((whole, second), (whole.synapses, second.synapses)):
        for key, value in one.arrays().items():
            np.testing.assert_array_equal(value, two.arrays()[key], err_msg=f"{name}: {key}")
    assert whole.synapses.weights(0.0).any()


@pytest.mark.parametrize("name", ["pulses", "plain pulses"])
def test_parts_of_a_batch_give_the_pulses_of_the_whole(name, rng):
    x, d = batch(rng, 9)
    one, two = (RULES[name].engine(array(), Key(7)) for _ in range(2))
    one.step(x, d, 0.1, 0.0, 0)
    two.step(x[:4], d[:4], 0.1, 0.0, 0)
    two.step(x[4:], d[4:], 0.1, 0.0, 1)
    np.testing.assert_array_equal(one.synapses.weights(0.0), two.synapses.weights(0.0))


@pytest.mark.parametrize("name", list(RULES))
def test_threads_change_nothing(name, two_threads):
    def run():
        rng, shape = np.random.default_rng(1), (30, 20)
        engine = RULES[name].engine(array(shape=shape), Key(7))
        for number in range(5):
            engine.step(*batch(rng, 40, shape), 0.2, 0.0, number)
        return {**engine.arrays(), **engine.synapses.arrays()}

    two = run()
    threads.set_threads(1)
    for key, value in run().items():
        np.testing.assert_array_equal(value, two[key])


# ----------------------------------------------------------------- pairs


def test_pairs_raise_and_lower_by_pulses_up(key):
    spec = presets.pcm_step().with_(variation=None, cycle=None)
    spec = spec.with_({"reset.device_std": 0.0, "reset.cycle_std": 0.0})
    pairs = StepDevices(spec, scale=0.5).synapses(np.zeros((2, 3), np.float32), 1.0, key)
    assert not pairs.weights(0.0).any()
    pairs.pulse(np.array([1, 4]), np.array([1, -3]), 0.0)
    curve = (0.2856 - 0.01, 0.5322 - 0.01)
    found = pairs.weights(0.0).ravel()
    np.testing.assert_allclose(found[[1, 4]], [0.5 * curve[0], -0.5 * curve[1]], atol=1e-4)
    assert pairs.writes().tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 3, 0]]]
    np.testing.assert_allclose(pairs.up, 0.5 * 0.03236, rtol=1e-3)
    start = np.array([[0.4, -0.7, 0.0]], np.float32)
    exact = StepDevices(spec, scale=0.5).synapses(start, 1.0, key)
    np.testing.assert_allclose(exact.weights(0.0), start, atol=1e-6)


def test_saturated_pairs_are_refreshed(key):
    """Larger above 0.75 and smaller above 0.25 of 2: reset, and the difference written again."""
    spec = presets.pcm_step().with_(variation=None, cycle=None)
    spec = spec.with_({"reset.device_std": 0.0, "reset.cycle_std": 0.0})
    pairs = StepDevices(spec, scale=1.0).synapses(np.zeros((1, 4), np.float32), 1.0, key)
    state = pairs.state
    up, down = [1.6, 1.6, 1.4, 0.9], [0.6, 0.4, 0.6, 1.7]
    steps.put(state, np.array(up + down, np.float32), np.ones(8, bool), 0.0)
    before = pairs.weights(0.0).ravel()
    spent = pairs.refresh(0.0)
    assert (spent.refreshed, spent.resets, spent.reads) == (2, 4, 2)
    after = pairs.weights(0.0).ravel()
    np.testing.assert_array_equal(before[1:3], after[1:3])
    # 1.0 and -0.8 by whole pulses of the curve: within half a step there, 0.035 and 0.05.
    np.testing.assert_allclose(after[[0, 3]], [1.0, -0.8], atol=0.05)
    assert state.p[[0 + 4, 3]].tolist() == pytest.approx([0.01, 0.01])
    assert spent.pulses == int(pairs.writes().sum())
    assert pairs.refresh(0.0).refreshed == 0
    two_way = array()
    assert two_way.refresh(0.0).reads == 0


def test_pairs_learn_by_trains(key, rng):
    pairs = StepDevices(presets.pcm_step()).synapses(np.zeros(SHAPE, np.float32), 1.0, key)
    engine = StochasticPulses().engine(pairs, key)
    assert pairs.bounds == (-1.0, 1.0)
    x, d = np.ones((1, 5), np.float32), np.ones((1, 4), np.float32)
    total = 0
    for number in range(200):
        sign = 1 if number % 3 else -1
        total += engine.step(x, sign * d, 0.02, 0.0, number).refreshed
    assert total > 0
    assert pairs.weights(0.0).mean() < 0


# ----------------------------------------------------------------- warnings, bad input


def test_a_learning_rate_below_the_reach_warns_with_the_number(rng):
    engine = StochasticPulses().engine(array(), Key(1))
    x, d = batch(rng, 2)
    wanted = (
        r"lr = 1e-09 is below the reach of the pulses: a pulse changes a weight by 0\.02, and "
        r".* one in .* vectors; from lr = "
    )
    with pytest.warns(UserWarning, match=wanted):
        engine.step(x, d, 1e-9, 0.0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.step(x, d, 1e-9, 0.0, 1)  # told once
        StochasticPulses().engine(array(), Key(1)).step(x, d, 0.0, 0.0, 0)


def test_bad_input(rng):
    one_way = StepDevices(presets.pcm_step()).synapses(np.zeros(SHAPE, np.float32), 1.0, Key(1))
    one_way.down = 0.0
    with pytest.raises(ValueError, match=r"StochasticPulses needs .* both directions.*down"):
        StochasticPulses().engine(one_way, Key(1))
    one_way.down = one_way.up
    with pytest.raises(ValueError, match="fast array of AGAD needs single devices"):
        AGAD().engine(one_way, Key(1))
    mixed = AGAD(fast=StepDevices(presets.reram_sb())).engine(one_way, Key(1))
    mixed.step(*batch(rng, 3), 0.1, 0.0, 0)
    with pytest.raises(ValueError, match="version = 3"):
        TikiTaka(version=3)
    with pytest.raises(ValueError, match="version=1, chopped"):
        TikiTaka(version=1, chopped=0.1)
    with pytest.raises(ValueError, match="version=1, pulses_at_once"):
        TikiTaka(version=1, pulses_at_once=2)
    with pytest.raises(ValueError, match="pulses_at_once = 0"):
        learning.MixedPrecision(pulses_at_once=0)
    with pytest.raises(ValueError, match="regular choppers"):
        AGAD(chopper="random")
    with pytest.raises(ValueError, match="fast_lr = 0"):
        TikiTaka(fast_lr=0)
    with pytest.raises(ValueError, match="length = 0"):
        StochasticPulses(length=0)
    with pytest.raises(ValueError, match="did you mean 'ecram'"):
        TikiTaka.preset("ecam")
    with pytest.raises(TypeError, match="PcmSpec: wanted a StepSpec"):
        StepDevices(presets.pcm_nandakumar_2018())
    with pytest.raises(ValueError, match="no writing loop"):
        StepDevices(presets.ecram().with_(programming=None), start="pulses")
    engine = StochasticPulses().engine(array(), Key(1))
    x, d = batch(rng, 2)
    with pytest.raises(ValueError, match="not finite"):
        engine.step(x, d * np.float32(np.nan), 0.1, 0.0, 0)
    with pytest.raises(ValueError, match="wanted \\(B, R\\) and \\(B, C\\)"):
        engine.step(x, d[:1], 0.1, 0.0, 0)


def test_weights_to_begin_with(key):
    start = np.linspace(-0.5, 0.5, 20, dtype=np.float32).reshape(SHAPE)
    exact = StepDevices(presets.ecram()).synapses(start, 1.0, key)
    np.testing.assert_allclose(exact.weights(0.0), start, atol=1e-6)
    assert exact.bounds == pytest.approx((-1.0, 1.1724 / 0.8276))
    written = StepDevices(presets.ecram(), start="pulses").synapses(start, 1.0, key)
    error = written.weights(0.0) - start
    assert 0 < np.abs(error).max() < 0.02 / 0.8276 * 1.01
    assert written.writes().max() > 10


def test_a_descent_is_a_climb_of_the_other_rate(rng):
    x, d = batch(rng, 5)
    one, two = (StochasticPulses().engine(array(QUIET), Key(7)) for _ in range(2))
    one.step(x, d, -0.1, 0.0, 0)
    two.step(x, -d, 0.1, 0.0, 0)
    np.testing.assert_array_equal(one.synapses.weights(0.0), two.synapses.weights(0.0))


# ----------------------------------------------------------------- a torch network


def blobs(n, seed):
    """Three clouds of points in six dimensions."""
    torch.manual_seed(0)
    centres = torch.randn(3, 6)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    return centres[labels] + 0.5 * torch.randn(n, 6, generator=generator), labels


@pytest.mark.parametrize(("device", "update"), [
    (presets.ecram(), learning.StochasticPulses()),
    (presets.soft_bounds(60), learning.TikiTaka(fast_lr=0.2, auto_granularity=10.0)),
    (presets.soft_bounds(60), learning.AGAD(chopped=0.2, fast_lr=0.2, auto_granularity=5.0)),
    (presets.pcm_step(), learning.StochasticPulses()),
    (presets.ecram(), learning.MixedPrecision()),
    (presets.pcm_step(), learning.MixedPrecision()),
])  # fmt: skip
def test_a_network_learns_on_the_devices_of_the_chip(device, update):
    spec = presets.ideal().with_({"core.device": device})
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    net = learning.prepare(model, spec, update=update)
    optimiser = learning.SGD(net.parameters(), lr=0.1)
    x, labels = blobs(400, 1)
    test, wanted = blobs(300, 2)

    def accuracy():
        with torch.no_grad():
            return float((net(test).argmax(1) == wanted).float().mean())

    start = accuracy()
    for _ in range(3):
        for part in torch.arange(400).split(10):
            loss = torch.nn.functional.cross_entropy(net(x[part]), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert accuracy() > max(0.8, start + 0.1)


def test_prepare_asks_for_devices_where_the_chip_has_none():
    model = torch.nn.Linear(6, 3)
    with pytest.raises(ValueError, match="AGAD takes no devices of itself"):
        learning.prepare(model, presets.hermes("odp"), update=learning.AGAD())
    own = learning.StepDevices(presets.ecram())
    net = learning.prepare(model, presets.hermes("odp"), update=learning.AGAD(), device=own)
    assert net.spec.core.device == presets.ecram()
