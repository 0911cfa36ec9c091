"""GRAPES: factors and modulated gradients, written down again layer by layer."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aimc_sim.learning.grapes import Grapes


def perceptron(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
        ).double()


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 6, dtype=torch.float64, generator=generator), torch.arange(7) % 3


def factors(weight):
    """Return M of the nodes that a matrix reads."""
    strength = weight.abs().sum(0)
    return 1 + strength / strength.max()


def gradients(model, rule=None):
    x, labels = data()
    model.zero_grad()
    F.cross_entropy(model(x), labels).backward()
    if rule is not None:
        rule.apply()
    return {name: one.grad.clone() for name, one in model.named_parameters()}


def by_hand(model, damping):
    """Return modulated gradients: errors of every layer, from the last one to the first."""
    x, labels = data()
    a = model[0](x)
    h = a.relu()
    t = model[2](h).tanh()
    last = (model[4](t).softmax(1) - F.one_hot(labels, 3)) / 7
    second = (last @ model[4].weight) * (1 - t**2)
    m2, m1 = factors(model[4].weight), factors(model[2].weight)
    first = ((second * (1 + damping * (m2 - 1))) @ model[2].weight) * (a > 0)
    errors = {"0": (first * m1, x), "2": (second * m2, h), "4": (last, t)}
    return {f"{k}.weight": (d.t() @ i).detach() for k, (d, i) in errors.items()} | {
        f"{k}.bias": d.sum(0).detach() for k, (d, _) in errors.items()
    }


@pytest.mark.parametrize("damping", [0.0, 0.3, 1.0])
def test_gradients_by_hand(damping):
    model = perceptron()
    plain = gradients(model)
    rule = Grapes(model, damping=damping)
    found, wanted = gradients(model, rule), by_hand(model, damping)
    for name in wanted:
        # M is computed in float32.
        torch.testing.assert_close(found[name], wanted[name], rtol=3e-7, atol=1e-9)
    assert torch.equal(found["4.weight"], plain["4.weight"])
    local = by_hand(model, 0.0)
    assert torch.allclose(local["0.weight"], wanted["0.weight"], rtol=1e-3) == (damping == 0)
    rule.remove()
    for name, one in gradients(model).items():
        assert torch.equal(one, plain[name])


def test_factors():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, -2.0, 0.0], [1.0, 2.0, 0.0]]))
    assert Grapes(model).modulation("0").tolist() == [1.5, 2.0, 1.0]
    assert Grapes(model, control=True).modulation("0").tolist() == [1.5, 1.5, 1.5]
    with torch.no_grad():
        model[2].weight.zero_()
    assert Grapes(model).modulation("0").tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("damping", [0.0, 1.0])
def test_control_is_a_learning_rate(damping):
    """Local: every layer's gradient times its mean factor; propagating: times the product."""
    model = perceptron()
    plain = gradients(model)
    means = [float(factors(model[i].weight.detach()).mean()) for i in (2, 4)]
    found = gradients(model, Grapes(model, damping=damping, control=True))
    first = means[0] * (means[1] if damping else 1)
    torch.testing.assert_close(found["0.weight"], first * plain["0.weight"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        found["2.bias"], means[1] * plain["2.bias"], rtol=1e-6, atol=1e-12
    )  # fmt: skip


def test_convolutions():
    """Channels are nodes; a dense layer behind maps reads each of them at all pixels."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 16, 4)
    )
    first = model[2].weight.detach().abs().sum((0, 2, 3))
    second = model[4].weight.detach().abs().reshape(4, 2, 16).sum((0, 2))
    rule = Grapes(model, damping=1.0)
    np.testing.assert_allclose(rule.modulation("0"), 1 + first / first.max(), rtol=1e-6)
    np.testing.assert_allclose(rule.modulation("2"), 1 + second / second.max(), rtol=1e-6)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    plain = copy.deepcopy(model)
    plain[0]._forward_hooks.clear()
    plain[2]._forward_hooks.clear()
    for one in (plain, model):
        one(x).square().sum().backward()
    rule.apply()
    wanted = plain[2].weight.grad * torch.from_numpy(rule.modulation("2"))[:, None, None, None]
    torch.testing.assert_close(model[2].weight.grad, wanted)


class Free(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(3, 2), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(self.a(x).relu())


def test_refusals():
    with pytest.raises(ValueError, match="Free does not say in which order"):
        Grapes(Free())
    assert Grapes(Free(), ["a", "b"]).layers == ["a", "b"]
    wrong = nn.ModuleDict({"b": nn.Linear(2, 3), "a": nn.Linear(4, 2)})
    with pytest.raises(ValueError, match="'a' has 4 inputs, which 3 nodes of 'b' do not divide"):
        Grapes(wrong, ["b", "a"])
    with pytest.raises(ValueError, match="no layer 'c'"):
        Grapes(Free(), ["a", "c"])
    with pytest.raises(ValueError, match="1 layers: wanted two"):
        Grapes(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="'0' is a ReLU"):
        Grapes(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), ["0", "1"])
    with pytest.raises(ValueError, match="damping"):
        Grapes(perceptron(), damping=2)


class Wrapped(nn.Module):
    """A network whose part has the name of that of a network on arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.head = perceptron(), nn.Linear(3, 2)


def test_a_part_that_is_called_model_is_not_the_network():
    with pytest.raises(ValueError, match="Wrapped does not say in which order"):
        Grapes(Wrapped())
    layers = ["model.0", "model.2", "model.4", "head"]
    assert Grapes(Wrapped(), layers).layers == layers


def test_an_image_without_a_batch():
    model = nn.Sequential(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3))
    Grapes(model, damping=1.0)
    x = torch.randn(1, 7, generator=torch.Generator().manual_seed(1))
    found = []
    for one in (x, x[None]):
        model.zero_grad()
        model(one).square().sum().backward()
        found.append(model[0].weight.grad)
    torch.testing.assert_close(*found)
