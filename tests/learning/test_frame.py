"""Networks on arrays that learn: products, gradients, pulses, state."""

import copy
import io
import re

import numpy as np
import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import learning, presets
from aimc_sim.device import pulses
from aimc_sim.device.pulses import Pulse
from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import threads
from aimc_sim.rng import Key

IDEAL = presets.ideal()
ODP = presets.hermes("odp")


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(300, 20), nn.Sigmoid(), nn.Linear(20, 5))


def cnn(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, (1, 3), dilation=(1, 2), padding_mode="circular", padding=(0, 2)),
        nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip


def batches(shape, n=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((n, *shape), generator=generator)
    return list(zip(x, torch.randint(5, (n, shape[0]), generator=generator), strict=True))


def trained(net, optimizer, data, after=lambda: None):
    for x, label in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), label).backward()
        optimizer.step()
        after()
    return net


# --------------------------------------------------------------------- against torch


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize(("make", "shape"), [(mlp, (7, 300)), (cnn, (4, 2, 9, 8))])
def test_exact_control_equals_torch(make, shape, bias):
    model = make()
    model(torch.zeros(shape))
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    net = learning.prepare(model, IDEAL, learning.Exact(), bias=bias)
    data = batches(shape)
    trained(net, learning.SGD(net.parameters(), lr=0.3), data)
    trained(model, torch.optim.SGD(model.parameters(), lr=0.3), data)
    for name, _ in net.layers():
        plain = model.get_submodule(name)
        wanted = plain.weight.flatten(1)
        if bias == "array":
            wanted = torch.cat([wanted, plain.bias[:, None]], dim=1)
        torch.testing.assert_close(torch.from_numpy(net.weights(name)), wanted, atol=2e-6, rtol=0)
    x = data[0][0]
    torch.testing.assert_close(net.eval()(x), model.eval()(x), atol=5e-6, rtol=1e-5)


def test_gradients_of_inputs_and_repeated_layers_equal_torch():
    layer = nn.Linear(6, 6)
    net = learning.prepare(layer, IDEAL, learning.Exact())
    x, y = (torch.randn(4, 6, requires_grad=True) for _ in range(2))
    y.data.copy_(x.data)
    for module, v in ((net, x), (layer, y)):
        module(module(v).tanh()).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-6, rtol=1e-5)
    learning.SGD(net.parameters(), lr=0.1).step()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    torch.testing.assert_close(
        torch.from_numpy(net.weights("")), layer.weight.detach(), atol=1e-6, rtol=1e-5
    )


def test_clipped_norm_and_accumulated_gradients_equal_torch():
    model = mlp()
    net = learning.prepare(model, IDEAL, learning.Exact())
    own = learning.SGD(net.parameters(), lr=0.2, clip_norm=0.5)
    plain = torch.optim.SGD(model.parameters(), lr=0.2)
    for x, label in batches((5, 300)):
        for module in (net, model):
            nn.functional.cross_entropy(module(x[:2]), label[:2]).backward()
            nn.functional.cross_entropy(module(x[2:]), label[2:]).backward()
        own.step(), own.zero_grad()
        assert nn.utils.clip_grad_norm_(model.parameters(), 0.5) > 0.5
        plain.step(), plain.zero_grad()
    torch.testing.assert_close(
        torch.from_numpy(net.weights("0")), model[0].weight.detach(), atol=2e-6, rtol=1e-5
    )


# ------------------------------------------------------------------- mixed precision


def test_weights_and_accumulators_conserve_the_updates():
    """Ideal pulses: W + chi is the float trajectory of the updates that were asked for."""
    net = learning.prepare(mlp(), IDEAL, learning.MixedPrecision(refresh_every=0))
    block = net.model[0].array.pieces[0]
    total = block.synapses.weights(0.0).astype(np.float64)
    asked, steps, given = [], 0, block.engine.step

    def watched(x, d, lr, t, number):
        asked.append(-lr * (x.astype(np.float64).T @ d))
        return given(x, d, lr, t, number)

    block.engine.step = watched

    def check():
        nonlocal total, steps
        total, steps = total + asked[-1], steps + 1
        held = block.synapses.start + block.synapses.up * block.synapses.count + block.engine.chi
        # A rounding of chi (below a step of 0.03) in float32 per step, and those of the sum.
        bound = steps * (np.abs(asked[-1]).max() * 2**-20 + 2.0**-29)
        assert np.abs(held - total).max() < bound
        assert np.abs(block.engine.chi).max() < block.engine.epsilon

    trained(net, learning.SGD(net.parameters(), lr=1.0), batches((3, 300), 60), check)
    assert np.abs(block.synapses.count).sum() > 300  # pulses were given, so the check has power


@pytest.mark.parametrize("gradient", [0.013, -0.2])
def test_constant_gradient_gives_whole_pulses(gradient):
    device = learning.IdealDevice()
    synapses = device.synapses(np.zeros((1, 1), np.float32), 1.0, Key(0))
    engine = learning.MixedPrecision(epsilon=0.09625).engine(synapses, Key(0))
    x, d = np.ones((1, 1), np.float32), np.full((1, 1), gradient, np.float32)
    for n in range(1, 400):
        engine.step(x, d, 0.5, 0.0, n)
        assert abs(int(synapses.count[0, 0]) - np.trunc(-n * 0.5 * gradient / 0.09625)) <= 1
        assert abs(engine.chi[0, 0]) < 0.09625


@pytest.mark.parametrize("gradient", [0.013, -0.2])
def test_trains_of_pulses_are_whole(gradient):
    """Seven pulses at once: none before the accumulator holds seven steps, and none is lost."""
    synapses = learning.IdealDevice().synapses(np.zeros((1, 1), np.float32), 1.0, Key(0))
    rule = learning.MixedPrecision(epsilon=0.01, pulses_at_once=7)
    engine = rule.engine(synapses, Key(0))
    x, d = np.ones((1, 1), np.float32), np.full((1, 1), gradient, np.float32)
    for n in range(1, 200):
        before = int(synapses.count[0, 0])
        engine.step(x, d, 0.5, 0.0, n)
        count, wanted = int(synapses.count[0, 0]), -n * 0.5 * gradient
        assert (count - before) % 7 == 0
        assert abs(count * 0.01 + engine.chi[0, 0] - wanted) < 1e-4
        assert abs(engine.chi[0, 0]) < 0.07 * (1 + 1e-6)
    assert abs(count) >= 126  # 1.3 of 0.01 each, in whole trains


def test_mixed_precision_learns_on_devices_of_the_chip():
    """All physics on: the loss falls; pulses, refreshes and time are counted."""
    net = learning.prepare(mlp(), ODP, learning.MixedPrecision(refresh_every=5), weight_range=1.0)
    data = batches((16, 300), 4) * 25
    before = nn.functional.cross_entropy(net(data[0][0]), data[0][1]).item()
    trained(net, learning.SGD(net.parameters(), lr=0.2), data)
    after = nn.functional.cross_entropy(net.eval()(data[0][0]), data[0][1]).item()
    assert after < 0.5 * before
    spent = net.model[0].array.book.spent
    assert spent.pulses > 0
    assert spent.joules > 0
    assert net.clock.seconds > 100 * 2 * 16 * 520e-9  # both directions of 16 vectors, 100 steps


# ----------------------------------------------------------------------------- devices


def test_sparse_trains_have_the_bits_of_the_pulse_emulator():
    spec, key = presets.pcm_nandakumar_2018(), Key(5).child(1)
    dense = pulses.fresh((2, 40, 30), spec, key)
    sparse = copy.deepcopy(dense)
    index = np.sort(np.random.default_rng(0).choice(2400, 200, replace=False))
    counts, trains = np.full(200, 3, np.int32), pulses.PulseTrains(spec, key)
    where = np.zeros(2400, bool)
    where[index] = True
    for n in range(4):
        where_now = where.reshape(dense.g.shape)
        pulses.apply_(dense, spec, Pulse.ACCUMULATE, float(n), key, where=where_now, repeats=3)
        trains.accumulate(sparse, index, counts, float(n))
    pulses.apply_(dense, spec, Pulse.RESET, 9.0, key, where=where.reshape(dense.g.shape))
    trains.reset(sparse, index, 9.0)
    for name in ("g", "pulses", "events", "last_seconds"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(sparse, name))


def test_drifted_rows_equal_the_pulse_emulator():
    """Fast rows against float64 conductances, and their noise against many reads."""
    key = Key(2)
    start = np.random.default_rng(1).uniform(-0.15, 0.15, (6, 70)).astype(np.float32)
    pairs = learning.PcmPairs().synapses(start, 1.0, key)
    np.testing.assert_allclose(pairs.weights(0.0), start, atol=3e-6)
    pairs.pulse(np.arange(0, 420, 3), np.resize([1, -2, 4], 140).astype(np.int32), 1.0)
    for t in (1.0, 1.5, 3e4):
        up, down = pulses.conductance(pairs.state, pairs.kind.device, t, key)
        wanted = (up.astype(np.float64) - down) / pairs.siemens_per_weight
        np.testing.assert_allclose(pairs.weights(t), wanted, atol=4e-6)
    reads = np.stack([pairs.read(3e4, n) for n in range(2000)])
    ratio = reads.var(axis=0) / pairs.variances(3e4)
    # n = 2000 reads of 420 weights: the mean ratio has a standard deviation of 0.0015, and an error
    # of 1 % is caught. All devices conduct far more than their noise: no read is clipped at zero.
    assert abs(ratio.mean() - 1) < 0.0075


def test_both_ways_of_products_have_the_same_bits(monkeypatch):
    start = np.random.default_rng(4).uniform(-0.3, 0.3, (90, 70)).astype(np.float32)
    x = np.random.default_rng(5).normal(size=(5, 90)).astype(np.float32) * (np.arange(90) % 3 > 0)
    found = []
    for enough in (2**20, 0):  # one call, or rows first
        monkeypatch.setattr("aimc_sim.learning.pairs.ENOUGH", enough)
        pairs = learning.PcmPairs().synapses(start, 1.0, Key(2))
        pairs.pulse(np.arange(0, 6300, 7), np.ones(900, np.int32), 1.0)
        found.append(pairs.products(x, 2.5))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_products_have_the_noise_of_their_devices():
    """Sample variance of noisy products against x^2 V; n = 4000: 2.2 % standard deviation."""
    model = nn.Linear(40, 3, bias=False)
    net = learning.prepare(model, ODP.with_({"core.adc.bits": None, "core.dac.bits": None}))
    x = torch.rand(1, 40).expand(4000, 40)
    y = net.eval()(x).detach().numpy()
    block = net.model.array.pieces[0]
    variance = block.synapses.products(x[:1].numpy(), 0.0)[1][0]
    np.testing.assert_allclose(y.var(axis=0) / variance, 1, atol=0.1)
    np.testing.assert_allclose(
        y.mean(axis=0), x[0].numpy() @ block.synapses.weights(0.0),
        atol=4 * float(np.sqrt(variance.max() / 4000)),
    )  # fmt: skip


def test_refresh_keeps_the_difference_and_restarts_devices():
    key = Key(3)
    kind = learning.PcmPairs()
    pairs = kind.synapses(np.full((10, 50), 0.05, np.float32), 1.0, key)
    everyone = np.arange(500)
    for n in range(14):  # both devices grow
        for sign in (1, -1):
            pairs.pulse(everyone, np.full(500, sign, np.int32), float(n))
    before, events = pairs.weights(60.0), pairs.state.events.copy()
    spent = pairs.refresh(60.0)
    assert spent.refreshed > 100
    assert spent.resets == 2 * spent.refreshed
    after = pairs.weights(60.0)
    changed = (pairs.state.events != events).any(axis=0)
    assert changed.sum() == spent.refreshed
    assert (after == before)[~changed].all()
    # RESET and at most three pulses: no device of a refreshed pair is saturated any more.
    assert pairs.state.pulses[:, changed].max() <= 3
    # The written difference is ceil(|dG| / 0.77 uS) pulses, at most three, of known mean.
    sign = np.sign(before[changed])
    assert np.mean(after[changed] * sign) > 0.05


# ------------------------------------------------------------------------------- state


@pytest.mark.parametrize("spec", [IDEAL, ODP])
def test_training_resumes_bit_for_bit(spec):
    def fresh():
        net = learning.prepare(mlp(), spec, learning.MixedPrecision(refresh_every=3), seed=4)
        return net, learning.SGD(net.parameters(), lr=0.5)

    data = batches((8, 300), 12)
    whole, optimizer = fresh()
    trained(whole, optimizer, data)
    first, optimizer = fresh()
    trained(first, optimizer, data[:5])
    first.eval()(data[0][0])  # evaluation changes nothing
    first.train()
    file = io.BytesIO()
    torch.save({"net": first.state_dict(), "opt": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second, optimizer = fresh()
    second.load_state_dict(state["net"])
    optimizer.load_state_dict(state["opt"])
    trained(second, optimizer, data[5:])
    for name in ("0", "2"):
        np.testing.assert_array_equal(whole.weights(name), second.weights(name))
    assert whole.clock.seconds == second.clock.seconds
    first.clock.seconds = 0.0
    assert first.state_dict().keys() == whole.state_dict().keys()


def test_threads_change_nothing(monkeypatch):
    def run(n):
        before = threads.get_threads()
        threads.set_threads(n)
        try:
            net = learning.prepare(mlp(), ODP, learning.MixedPrecision(refresh_every=2))
            trained(net, learning.SGD(net.parameters(), lr=0.5), batches((8, 300), 4))
            return net.weights("0"), net.model[0].array.pieces[0].engine.chi
        finally:
            threads.set_threads(before)

    alone = run(1)
    monkeypatch.setattr("aimc_sim.kernels.ENOUGH", 1)
    for one, several in zip(alone, run(3), strict=True):
        np.testing.assert_array_equal(one, several)


def test_evaluation_of_a_batch_equals_that_of_its_parts():
    net = learning.prepare(mlp(), ODP)
    x = torch.rand(8, 300)
    net(x)  # sets the ranges
    net.eval()
    copied = copy.deepcopy(net)
    with torch.no_grad():
        together, parts = net(x), torch.cat([copied(x[:3]), copied(x[3:])])
    assert torch.equal(together, parts)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.LSTM(4, 4)), "'0' is a LSTM.*digital"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "'0' has groups = 2"),
        (nn.Sequential(nn.ReLU()), "no analog layer"),
    ],
)
def test_layers_that_cannot_learn_are_refused_by_name(model, words):
    with pytest.raises(ValueError, match=words):
        learning.prepare(model, ODP)


def test_shared_weights_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"'1\.weight' is the parameter '0\.weight'"):
        learning.prepare(model, ODP)


def test_devices_and_options_that_do_not_fit_are_refused():
    model = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="takes no devices of itself on 'generic-rram'"):
        learning.prepare(model, presets.generic_rram())
    with pytest.raises(ValueError, match="Exact"):
        learning.prepare(model, ODP, learning.Exact(), device=learning.PcmPairs())
    with pytest.raises(ValueError, match="no law of accumulating pulses"):
        learning.PcmPairs(presets.pcm_25_microsiemens())
    with pytest.raises(ValueError, match="beyond the devices"):
        learning.prepare(model, ODP, weight_range=0.01)
    net = learning.prepare(model, ODP)
    with pytest.raises(ValueError, match=r"momentum = 0\.9 for 'model\.weight'"):
        learning.SGD(net.parameters(), lr=0.1, momentum=0.9)
    groups = [{"params": net.arrays()}, {"params": net.digital(), "momentum": 0.9}]
    learning.SGD(groups, lr=0.1)
    with pytest.raises(ValueError, match="on arrays already"):
        learning.prepare(net, ODP)

    class OneWay(learning.IdealDevice):
        def synapses(self, *arguments):
            made = super().synapses(*arguments)
            made.down = 0.0
            return made

    with pytest.raises(ValueError, match="no 'down'"):
        learning.prepare(model, ODP, device=OneWay())


def test_gradients_of_arrays_cannot_be_read_or_forgotten():
    net = learning.prepare(nn.Linear(4, 4), IDEAL)
    optimizer = learning.SGD(net.parameters(), lr=0.1)
    net(torch.ones(1, 4)).sum().backward()
    with pytest.raises(RuntimeError, match="clip_norm"):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    with pytest.raises(ValueError, match="no step has used"):
        net.state_dict()
    optimizer.zero_grad()
    assert net.state_dict()
    x = torch.ones(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_learning_rate_below_the_reach_warns_with_the_number():
    net = learning.prepare(nn.Linear(4, 4), IDEAL)
    optimizer = learning.SGD(net.parameters(), lr=1e-12)
    net(torch.ones(1, 4)).sum().backward()
    with pytest.warns(UserWarning, match="largest update of this step is 1e-12"):
        optimizer.step()


def test_the_clock_goes_forward_only():
    net = learning.prepare(nn.Linear(4, 4), ODP, clock=learning.Clock(seconds_per_step=2.0))
    optimizer = learning.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        net(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert net.clock.seconds == 4.0
    net.at("1 day")
    with pytest.raises(ValueError, match="before the last pulse at 2 s"):
        net.at(1.0)


def test_learning_rate_schedules_of_torch_act():
    net = learning.prepare(nn.Linear(1, 1, bias=False), IDEAL, learning.Exact())
    optimizer = learning.SGD(net.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    found = [net.weights("")[0, 0]]
    for _ in range(3):
        net(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        found.append(net.weights("")[0, 0])
    np.testing.assert_allclose(-np.diff(found), [0.5, 0.05, 0.005], rtol=1e-4)


def test_coincidences_are_counted_by_sign():
    rows = np.array([[0b1011, 0b0000], [0b0001, 0b1111]], np.uint64)
    columns = np.array([[0b0011, 0b1000], [0b0001, 0b0110]], np.uint64)
    signs = np.array([[1, 1], [-1, 1]], np.int8), np.array([[1, -1], [1, 1]], np.int8)
    ups, downs = np.empty((2, 2, 2), np.int32)
    kernels.coincidences(rows, columns, *signs, ups, downs)
    np.testing.assert_array_equal(ups, [[2, 0], [1, 2]])
    np.testing.assert_array_equal(downs, [[1, 1], [0, 0]])


# ----------------------------------------------------------------- chips, reports, files


@pytest.mark.parametrize("bias", ["digital", "array"])
def test_a_chip_has_the_devices_that_learned(bias, tmp_path):
    net = learning.prepare(mlp(), ODP, bias=bias, weight_range=1.0)
    trained(net, learning.SGD(net.parameters(), lr=0.3), batches((8, 300), 10))
    chip = net.eval().to_chip(seed=3)
    name = "0.linear" if bias == "array" else "0"
    np.testing.assert_allclose(chip.effective_weights(name), net.weights("0"), atol=1e-6)
    x = batches((8, 300))[0][0]
    chip.calibrate(x)
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5").at("1 day")
    chip.at("1 day")
    net.at(net.clock.seconds + 86400)
    # Drift goes on from every device's own last pulse.
    np.testing.assert_allclose(chip.effective_weights(name), net.weights("0"), atol=1e-6)
    np.testing.assert_array_equal(chip.effective_weights(name), loaded.effective_weights(name))
    assert torch.equal(chip(x, first_image=0), loaded(x, first_image=0))
    drifted = np.abs(chip.effective_weights(name)).mean()
    chip.compensate("gdc")
    assert np.abs(chip.effective_weights(name)).mean() > 1.05 * drifted


@pytest.mark.parametrize("bias", ["digital", "array"])
def test_a_network_of_one_layer_has_a_chip(bias):
    net = learning.prepare(nn.Linear(6, 4), ODP, bias=bias).eval()
    net(torch.ones(1, 6))
    name = "linear" if bias == "array" else "Linear"
    found = net.to_chip().effective_weights(name)
    np.testing.assert_allclose(found, net.weights(""), atol=1e-6)


@pytest.mark.parametrize("bias", ["digital", "array"])
def test_a_network_that_has_seen_no_input_has_a_chip(bias, tmp_path):
    net = learning.prepare(mlp(), ODP, bias=bias)
    learning.save(net, tmp_path / "net.pt")
    fresh = learning.prepare(mlp(), ODP, bias=bias)
    learning.load(fresh, tmp_path / "net.pt")
    assert fresh.to_chip().effective_weights("0" if bias == "digital" else "0.linear").any()


def test_a_chip_of_convolutions_and_norms_that_learned_is_their_network():
    """The norms' averages of training scale the outputs: ideal devices, equal scores."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    net = learning.prepare(model, IDEAL, learning.MixedPrecision(), device=learning.IdealDevice())
    data = batches((16, 2, 8, 8), 20)
    trained(net, learning.SGD(net.parameters(), lr=0.3), data)
    assert net.report().pulses > 100
    x = data[0][0]
    scores = net.eval()(x)
    torch.testing.assert_close(net.to_chip()(x), scores, atol=1e-4, rtol=1e-4)
    assert (scores - model.eval()(x)).abs().max() > 0.1  # the untrained network has others


def test_chips_that_cannot_be_are_refused():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    net = learning.prepare(model, ODP, where={"1": "digital"})
    net(torch.ones(1, 6))
    with pytest.raises(ValueError, match="layer '1' learned in the digital unit"):
        net.to_chip()
    with pytest.raises(ValueError, match="ideal_devices"):
        learning.prepare(model, ODP, device=learning.IdealDevice()).to_chip()
    with pytest.raises(ValueError, match="bias='digital'"):
        learning.prepare(nn.Conv2d(1, 1, 2), ODP, bias="array").to_chip()


def test_the_report_counts_pulses_and_writes():
    net = learning.prepare(mlp(), ODP, learning.MixedPrecision(refresh_every=2), weight_range=1.0)
    trained(net, learning.SGD(net.parameters(), lr=0.5), batches((4, 300), 8))
    report = net.report()
    assert report.steps == 8
    assert report.vectors == 32
    assert report.multiplications == 32 * (300 * 20 + 20 * 5)
    assert sum(row.devices for row in report.layers) == 2 * (300 * 20 + 20 * 5)
    writes = [
        np.concatenate([piece.synapses.writes().ravel() for piece in net.model[i].array.pieces])
        for i in (0, 2)
    ]
    assert sum(int(one.sum()) for one in writes) == report.pulses > 0
    for row in report.layers:
        assert sum(row.writes) == row.devices
    assert report.layers[1].most_writes == writes[1].max()
    assert re.search(r"^steps +8, 32 updates by a vector", str(report), re.M)
    assert "FP16 multipliers" in str(report)
    assert report.to_dict()["pulse_joules"] == pytest.approx(report.pulse_joules)


def test_files_hold_the_training_and_refuse_another_network(tmp_path):
    def fresh(seed=0):
        net = learning.prepare(cnn_ready(), ODP, seed=seed)
        groups = [{"params": net.arrays()}, {"params": net.digital(), "momentum": 0.9}]
        return net, learning.SGD(groups, lr=0.2)

    def cnn_ready():
        model = cnn()
        model(torch.zeros(2, 2, 9, 8))
        return model

    data = batches((4, 2, 9, 8), 6)
    whole, optimizer = fresh()
    trained(whole, optimizer, data)
    first, optimizer = fresh()
    trained(first, optimizer, data[:3])
    learning.save(first, tmp_path / "net.pt", optimizer)
    second, optimizer = fresh()
    learning.load(second, tmp_path / "net.pt", optimizer)
    trained(second, optimizer, data[3:])
    for one, other in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        for name in one if isinstance(one, dict) else []:
            assert torch.equal(one[name], other[name]), name
        if not isinstance(one, dict):
            assert torch.equal(one, other)
    with pytest.raises(ValueError, match="seed = 0, and this one has 1"):
        learning.load(fresh(1)[0], tmp_path / "net.pt")
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot be read as a file of learning\.save"):
        learning.load(second, tmp_path / "other.pt")


# ------------------------------------------------------------------ numbers given by callers


@pytest.mark.parametrize(
    ("model", "x", "words"),
    [
        (nn.Linear(4, 3), torch.ones(2, 4, dtype=torch.int64), r"numbers of torch\.int64"),
        (nn.Conv2d(3, 2, 3), torch.ones(1, 1, 5, 5), "vectors of 9 numbers .* wanted 27"),
        (nn.Conv2d(3, 2, 3), torch.ones(1, 4, 5, 5), "vectors of 36 numbers .* wanted 27"),
    ],
)
@pytest.mark.parametrize("bias", ["digital", "array"])
def test_inputs_that_torch_refuses_are_refused(model, x, words, bias):
    net = learning.prepare(model, ODP, bias=bias)
    with pytest.raises(ValueError, match=words):
        net(x)


def test_a_buffer_that_is_filled_again_changes_no_gradient():
    """Inputs written over between two backward passes, and errors that torch clips in place."""
    model = nn.Linear(4, 3)
    net = learning.prepare(model, IDEAL, learning.Exact())
    own = learning.SGD(net.parameters(), lr=1.0, clip_norm=0.5)
    plain = torch.optim.SGD(model.parameters(), lr=1.0)
    x = torch.empty(4)
    for value in (1.0, -2.0):
        for module in (net, model):
            module(x.fill_(value)).square().sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    own.step(), plain.step()
    torch.testing.assert_close(
        torch.from_numpy(net.weights("")), model.weight.detach(), atol=1e-6, rtol=1e-5
    )


def test_updates_that_diverge_are_refused():
    net = learning.prepare(nn.Linear(4, 3), IDEAL)
    optimizer = learning.SGD(net.parameters(), lr=1e12)
    net(torch.ones(1, 4)).sum().backward()
    with pytest.raises(ValueError, match="pulses in one step: the training has diverged"):
        optimizer.step()
    net(torch.ones(1, 4)).sum().mul(float("nan")).backward()
    with pytest.raises(ValueError, match="not finite: the training has diverged"):
        optimizer.step()
    model = nn.Linear(4, 3)
    nn.init.constant_(model.weight, float("nan"))
    with pytest.raises(ValueError, match="layer 'model' has 12 weights that are not finite"):
        learning.prepare(model, ODP, weight_range=1.0)


def test_an_adc_without_a_range_of_inputs_is_refused():
    with pytest.raises(ValueError, match=r"core\.dac\.bits = None with an ADC"):
        learning.prepare(nn.Linear(4, 3), ODP.with_({"core.dac.bits": None}))


def test_schedules_of_momentum_are_refused():
    net = learning.prepare(nn.Linear(4, 3), IDEAL)
    optimizer = learning.SGD(net.parameters(), lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    net(torch.ones(1, 4)).sum().backward()
    with pytest.raises(ValueError, match=r"momentum = 0\.95 for 'model\.weight'"):
        optimizer.step()


def test_files_of_another_clock_are_refused(tmp_path):
    model = nn.Linear(4, 3)

    def fresh(seconds):
        return learning.prepare(model, ODP, clock=learning.Clock(seconds))

    learning.save(fresh(1e-3), tmp_path / "net.pt")
    learning.load(fresh(1e-3), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"seconds_per_step = 0\.001, and this one has None"):
        learning.load(fresh(None), tmp_path / "net.pt")


def test_reads_before_refreshes_are_counted():
    net = learning.prepare(mlp(), ODP, learning.MixedPrecision(refresh_every=2), weight_range=1.0)
    trained(net, learning.SGD(net.parameters(), lr=0.5), batches((4, 300), 4))
    # Two checks of all rows of the crossbars: 300 inputs cut in two, then 20.
    assert net.report().reads == 2 * (300 + 20)
