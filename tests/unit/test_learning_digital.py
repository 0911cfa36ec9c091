"""Plain torch networks that learn by outer products from random bits."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aimc_sim.learning.digital import with_product
from aimc_sim.learning.products import StochasticProduct


class Network(nn.Module):
    """Convolutions with stride, dilation and padding, batch norm, a dense layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 3, (1, 2), dilation=(1, 2), padding=(0, 1))
        self.c = nn.Linear(3, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.a(x)))
        return self.c(self.b(x).flatten(2).transpose(1, 2))


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Network()


def images(n=3):
    return torch.randn(n, 2, 8, 10, generator=torch.Generator().manual_seed(2))


def gradients(model, x):
    model.zero_grad()
    F.mse_loss(model(x), torch.ones(())).backward()
    return {name: one.grad.clone() for name, one in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_only_weight_gradients_change_and_their_mean_is_the_gradient(network):
    """n = 400 steps of 64 slots, 16 bits; bound: 5.5 standard errors of 124 entries and 1e-3.

    The standard error is 1 to 3 % of the largest gradient of a layer: a lost sign, a transposed
    kernel or a stride that is not followed is far outside.
    """
    x = images()
    exact = gradients(copy.deepcopy(network), x)
    learner = with_product(network, StochasticProduct(16, 64), seed=3)
    y = learner(x)
    torch.testing.assert_close(y, copy.deepcopy(network)(x))
    found = [gradients(learner, x) for _ in range(400)]
    for name, wanted in exact.items():
        samples = torch.stack([one[name] for one in found]).double()
        if name in {"a.weight", "b.weight", "c.weight"}:
            error = samples.std(0) / 20
            assert error.max() < 0.05 * wanted.abs().max()
            assert error.max() > 0
            off = (samples.mean(0) - wanted).abs()
            assert (off <= 5.5 * error + 1e-3 * wanted.abs().max()).all(), name
            flipped = (samples.mean(0) - wanted.flip(-1)).abs()
            assert (flipped > 10 * error).any()
        else:
            torch.testing.assert_close(samples[0].float(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_goes_on_bit_for_bit(network):
    product, x = StochasticProduct(8, 2), images()

    def train(model, steps):
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(steps):
            optimiser.zero_grad()
            F.mse_loss(model(x), torch.ones(())).backward()
            optimiser.step()
        return model

    whole = train(with_product(network, product, 5), 4).state_dict()
    half = train(with_product(network, product, 5), 2).state_dict()
    rest = with_product(network, product, 5)
    rest.load_state_dict(half)
    for name, value in train(rest, 2).state_dict().items():
        assert torch.equal(value, whole[name]), name
    assert int(whole["a.steps"]) == 4
    other = train(with_product(network, product, 6), 4).state_dict()
    assert not torch.equal(other["a.weight"], whole["a.weight"])
    assert network.a.weight.grad is None
    assert type(network.a) is nn.Conv2d


def test_number_formats():
    """bfloat16 and float64 get the gradient of float32, rounded or not; other layers are exact."""
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = {}
    for kind in (torch.float32, torch.float64, torch.bfloat16):
        layer = nn.Linear(4, 3)
        nn.init.constant_(layer.weight, 0.25)
        model = with_product(nn.Sequential(layer).to(kind), StochasticProduct(8, 4))
        model(x.to(kind)).sum().backward()
        assert model[0].weight.grad.dtype == kind
        found[kind] = model[0].weight.grad
    assert torch.equal(found[torch.float32].double(), found[torch.float64])
    assert torch.equal(found[torch.float32].bfloat16(), found[torch.bfloat16])
    mixed = with_product(nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 2)), StochasticProduct())
    assert type(mixed[1]) is nn.LSTM


def test_learns(key):
    """Two classes of noisy vectors: a dense layer of one slot separates what a float one does."""
    rng = key.generator()
    x = torch.from_numpy(rng.normal(size=(256, 12)).astype(np.float32))
    labels = (x[:, :4].sum(1) > 0).long()
    plain = nn.Linear(12, 2)
    nn.init.zeros_(plain.weight)
    model = with_product(plain, StochasticProduct(8, 1))
    optimiser = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimiser.step()
    assert (model(x).argmax(1) == labels).float().mean() > 0.9


def test_refusals(network):
    product = StochasticProduct()
    with pytest.raises(ValueError, match=r"no nn\.Linear and no nn\.Conv2d"):
        with_product(nn.Sequential(nn.ReLU()), product)
    with pytest.raises(ValueError, match="layer '0' has 2 groups"):
        with_product(nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), product)
    with pytest.raises(TypeError, match="product is a int"):
        with_product(network, 8)
    diverged = with_product(nn.Linear(2, 2), product)
    with pytest.raises(ValueError, match="d holds 2 numbers that are not finite"):
        diverged(torch.ones(1, 2)).sum().mul(float("nan")).backward()


def test_an_image_without_a_batch_and_second_derivatives():
    model = with_product(nn.Conv2d(2, 3, 3), StochasticProduct(8, 4))
    x = images(1)
    found = []
    for one in (x, x[0]):
        model.zero_grad()
        model.steps.zero_()
        model(one).square().sum().backward()
        found.append(model.weight.grad)
    torch.testing.assert_close(*found)
    (gradient,) = torch.autograd.grad(model(x).square().sum(), model.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
