"""ESSOP on arrays: the accumulator gets the stochastic products, pulses follow; GRAPES and OSTL."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aimc_sim import learning, presets
from aimc_sim.learning.ostl import vectors
from aimc_sim.rng import Key
from aimc_sim.spiking import SNU

IDEAL = presets.ideal()


def data(n=6, inputs=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 8, inputs, generator=generator), torch.arange(8) % 3


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3))


def trained(net, lr=0.1, modulation=None, steps=6):
    optimizer = learning.SGD(net.parameters(), lr=lr)
    x, labels = data()
    for one in x[:steps]:
        optimizer.zero_grad()
        F.cross_entropy(net(one), labels).backward()
        if modulation is not None:
            modulation.apply()
        optimizer.step()
    return net


@pytest.mark.parametrize("length", [1, 16])
def test_conservation(rng, key, length):
    """W + chi is the start minus lr times the sum of the products, at every step; ideal pulses."""
    start = rng.normal(size=(10, 6)).astype(np.float32) * 0.1
    device = learning.IdealDevice(steps=40)
    synapses = device.synapses(start, 1.0, key)
    rule = learning.ESSOP(bits=8, length=length, refresh_every=0)
    engine, wanted = rule.engine(synapses, key), start.astype(float)
    product, given = learning.StochasticProduct(8, length), 0
    for number in range(30):
        x = np.maximum(rng.normal(size=(5, 10)), 0).astype(np.float32)
        d = rng.normal(size=(5, 6)).astype(np.float32)
        given += engine.step(x, d, 0.02, 0.0, number).pulses
        wanted -= np.float32(0.02) * product.sum(x, d, key, number)
        found = synapses.weights(0.0) + engine.arrays()["chi"]
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        assert np.abs(engine.arrays()["chi"]).max() < synapses.up
    assert given > 20


def test_is_mixed_precision_with_another_product():
    nets = [
        trained(learning.prepare(network(), IDEAL, rule, seed=4, device=learning.IdealDevice(200)))
        for rule in (
            learning.ESSOP(6, 4, epsilon=0.002),
            learning.MixedPrecision(0.002, product=learning.StochasticProduct(6, 4)),
            learning.MixedPrecision(0.002),
        )
    ]
    weights = [net.weights("0") for net in nets]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    assert np.abs(weights[0] - network()[0].weight.detach().numpy()).max() > 0.005


def test_resumes_bit_for_bit():
    def made():
        return learning.prepare(network(), IDEAL, learning.ESSOP(length=2), seed=3)

    whole = trained(trained(made()))
    half = trained(made())
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    rest = made()
    rest.load_state_dict(torch.load(file, weights_only=True))
    trained(rest)
    for layer in ("0", "2"):
        np.testing.assert_array_equal(rest.weights(layer), whole.weights(layer))


def test_bad_settings_are_those_of_the_parts():
    with pytest.raises(ValueError, match="bits = 20"):
        learning.ESSOP(bits=20)
    with pytest.raises(ValueError, match="epsilon = -1"):
        learning.ESSOP(epsilon=-1)


@pytest.mark.parametrize("damping", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bias", ["digital", "array"])
def test_grapes_on_arrays_is_grapes_in_torch(damping, bias):
    model = network()
    plain = copy.deepcopy(model)
    rule = learning.Grapes(plain, damping=damping)
    net = learning.prepare(model, IDEAL, learning.Exact(), bias=bias)
    trained(net, modulation=learning.Grapes(net, damping=damping))
    optimizer = torch.optim.SGD(plain.parameters(), 0.1)
    x, labels = data()
    for one in x:
        optimizer.zero_grad()
        F.cross_entropy(plain(one), labels).backward()
        rule.apply()
        optimizer.step()
    for layer in ("0", "2"):
        found = net.weights(layer)[:, : plain.get_submodule(layer).in_features]
        wanted = plain.get_submodule(layer).weight.detach().numpy()
        np.testing.assert_allclose(found, wanted, atol=3e-6)
    unmodulated = trained(learning.prepare(model, IDEAL, learning.Exact())).weights("0")
    assert np.abs(unmodulated - plain[0].weight.detach().numpy()).max() > 1e-3


def test_ostl_learns_on_an_array_step_by_step(key):
    """With ideal pulses, W + chi follows online descent in float, updated at every step."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        unit = SNU(6, 4, decay=0.7, threshold=0.4)
    generator = torch.Generator().manual_seed(3)
    x, target = (
        torch.randn(25, 2, 6, generator=generator),
        torch.rand(25, 2, 4, generator=generator),
    )
    start = unit.weight.detach().t().contiguous().numpy()
    synapses = learning.IdealDevice(steps=60).synapses(start, 1.0, key)
    engine = learning.MixedPrecision(refresh_every=0).engine(synapses, Key(1))
    rule, floating, given = learning.OSTL(unit), start.astype(float), 0
    for number, (one, wanted) in enumerate(zip(x, target, strict=True)):
        gradient = rule.gradients(rule.step(one) - wanted)["weight"]
        given += engine.step(*vectors(gradient), 0.05, 0.0, number).pulses
        floating -= 0.05 * gradient.t().numpy()
        found = synapses.weights(0.0) + engine.arrays()["chi"]
        np.testing.assert_allclose(found, floating, atol=1e-6)
        with torch.no_grad():  # the next step runs on the array's weights
            unit.weight.copy_(torch.from_numpy(synapses.weights(0.0).T))
    assert given > 20
