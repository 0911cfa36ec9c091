"""Spiking neural units: the recursion by hand, spikes of other libraries, gradients."""

import math

import pytest
import torch

from aimc_sim.spiking import SNU, SoftSNU


def unit_of_one(kind, **options):
    """Return a unit with one input and the weight 1."""
    unit = kind(1, 1, **options)
    with torch.no_grad():
        unit.weight.fill_(1.0)
    return unit


def test_by_hand():
    """0.6 each step, decay 0.5, threshold 1: 0.6, 0.9, 1.05 spikes, then from zero again."""
    unit = unit_of_one(SNU, decay=0.5)
    y, (s, last) = unit(torch.full((5, 1, 1), 0.6))
    assert y.flatten().tolist() == [0, 0, 1, 0, 0]
    assert s.item() == pytest.approx(0.9)
    assert last.item() == 0
    # The reset acts in the next step: 0.6 and not 0.6 + 0.5 * 1.05.
    _, (s, _) = unit(torch.full((4, 1, 1), 0.6))
    assert s.item() == pytest.approx(0.6)


def test_soft_by_hand():
    unit = unit_of_one(SoftSNU, decay=0.5, transfer="relu", threshold=0.0)
    y, (s, _) = unit(torch.tensor([1.0, -3.0, 0.2]).reshape(3, 1, 1))
    first = 1 / (1 + math.exp(-1.0))
    second = max(0.0, -3.0 + 0.5 * (1 - first))
    third = 0.2 + 0.5 * second * 0.5
    assert s.item() == pytest.approx(third)
    assert y.flatten().tolist() == pytest.approx([first, 0.5, 1 / (1 + math.exp(-third))])


def test_recurrence_and_transfer_by_hand():
    unit = unit_of_one(SNU, decay=0.0, recurrent=True, transfer="leaky", threshold=0.5)
    with torch.no_grad():
        unit.recurrent_weight.fill_(-2.0)
    y, (s, _) = unit(torch.ones(3, 1, 1))
    assert y.flatten().tolist() == [1, 0, 1]
    assert s.item() == 1.0
    _, (s, _) = unit(torch.ones(2, 1, 1))
    assert s.item() == pytest.approx(-0.1)  # 0.1 (1 - 2)


@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_parts_equal_the_whole(kind):
    unit = kind(4, 6, recurrent=True)
    x = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(1)) * 2
    whole, last = unit(x)
    first, state = unit(x[:4])
    second, end = unit(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(one, other) for one, other in zip(end, last, strict=True))
    assert 0 < whole.mean() < 1


@pytest.mark.parametrize("transfer", ["identity", "relu", "leaky"])
def test_smooth_gradient_is_the_derivative(transfer):
    """The soft unit against differences, all parameters; the step's surrogate against tanh."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unit = SoftSNU(3, 4, recurrent=True, transfer=transfer).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    names, values = zip(*unit.named_parameters(), strict=True)

    def outputs(*parameters):
        return torch.func.functional_call(unit, dict(zip(names, parameters, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(outputs, values)


def test_surrogate():
    excess = torch.tensor([-1.5, 0.0, 0.3], dtype=torch.float64, requires_grad=True)
    unit = SNU(1, 1)
    y = unit.output(excess)
    assert y.tolist() == [0, 0, 1]
    y.sum().backward()
    wanted = [1 - math.tanh(v) ** 2 for v in (-1.5, 0.0, 0.3)]
    assert excess.grad.tolist() == pytest.approx(wanted, rel=1e-12)
    assert unit.slope(excess).tolist() == pytest.approx(wanted, rel=1e-12)


def spikes(decay=0.75):
    """Return inputs that are sixteenths, so that sums are exact, and the spikes of the SNU."""
    x = torch.randint(-4, 16, (200, 4, 1), generator=torch.Generator().manual_seed(5)) / 16
    y, _ = unit_of_one(SNU, decay=decay)(x)
    assert 0.05 < y.mean() < 0.6
    return x, y


def test_spikes_are_those_of_snntorch():
    snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed")
    x, wanted = spikes()
    neuron = snntorch.Leaky(beta=0.75, threshold=1.0, reset_mechanism="zero")
    memory = neuron.init_leaky()
    for one, y in zip(x, wanted, strict=True):
        found, memory = neuron(one, memory)
        assert torch.equal(found, y)


def test_spikes_are_those_of_norse():
    """lif_box resets in the same step; its input is scaled by dt / tau, here 1 / 4."""
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    x, wanted = spikes()
    box = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(250.0)), dt=1e-3)
    state = None
    for one, y in zip(x, wanted, strict=True):
        found, state = box(4 * one, state)
        assert torch.equal(found, y)


def test_refusals():
    with pytest.raises(ValueError, match="decay"):
        SNU(2, 2, decay=1.5)
    with pytest.raises(ValueError, match="transfer = 'tanh' is unknown"):
        SNU(2, 2, transfer="tanh")
    with pytest.raises(
        ValueError, match=r"SNU got inputs of the shape \(4, 2\): wanted \(T, B, 2\)"
    ):
        SNU(2, 2)(torch.ones(4, 2))
