"""Spiking neural units: the recursion by hand, spikes of other libraries, gradients."""

import math

import pytest
import torch
from torch import nn

from aimc_sim.digital.spiking import SURROGATES
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.learning import OSTL
from aimc_sim.spiking import LIF, SNU, SoftSNU, over_time


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


@pytest.mark.parametrize("delayed", [True, False])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_resets_by_hand(reset, delayed):
    """Leaky and lif_box as closed forms: sixteenths, so that sums are exact."""
    x = torch.randint(-4, 20, (300, 4, 3), generator=torch.Generator().manual_seed(6)) / 16
    found, (last, _) = LIF(0.75, 1.0, reset=reset, delayed=delayed)(x)
    for b in range(4):
        for n in range(3):
            v, spike, spikes = 0.0, 0.0, []
            for d in x[:, b, n].tolist():
                if delayed:  # Leaky: the spike of the step before
                    v = {
                        "zero": 0.75 * v * (1 - spike) + d, "subtract": 0.75 * v + d - spike,
                        "none": 0.75 * v + d,
                    }[reset]  # fmt: skip
                    spike = float(v > 1)
                else:  # lif_box: this step's own
                    v = 0.75 * v + d
                    spike = float(v > 1)
                    v = {"zero": v * (1 - spike), "subtract": v - spike, "none": v}[reset]
                spikes.append(spike)
            assert found[:, b, n].tolist() == spikes
            assert last[b, n].item() == pytest.approx(v, abs=1e-5)
    assert 0.1 < found.mean() < 0.9


def test_lateral_inhibition_by_hand():
    """A spike of one neuron resets its neighbour, which is below the threshold."""
    unit = SNU(2, 2, decay=0.5, inhibition=True)
    with torch.no_grad():
        unit.weight.copy_(torch.eye(2))
    x = torch.tensor([[1.5, 0.75], [0.5, 0.75]])[:, None]
    _, (s, _) = unit(x)
    assert s.tolist() == [[0.5, 0.75]]  # without inhibition the second is 0.75 + 0.375
    with torch.no_grad():
        plain = SNU(2, 2, decay=0.5)
        plain.weight.copy_(torch.eye(2))
    assert plain(x)[1][0].tolist() == [[0.5, 1.125]]


@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_gate_and_threshold_by_hand(kind):
    """sSNU-o and sSNU-a together: numbers worked out again in plain Python."""
    unit = unit_of_one(
        kind, decay=0.5, recurrent=True, threshold=0.2, axo_axonic=True, axo_somatic=0.25
    )
    numbers = {"weight": 0.9, "recurrent_weight": -0.4, "gate_weight": 1.5,
               "gate_recurrent_weight": 0.3, "gate_bias": -0.2, "soma_weight": 0.7,
               "soma_recurrent_weight": -0.6, "soma_strength": 0.8}  # fmt: skip
    with torch.no_grad():
        for name, value in numbers.items():
            getattr(unit, name).fill_(value)

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    s = y = b = 0.0
    wanted, inputs = [], [1.0, -0.5, 0.8, 0.1]
    for x in inputs:
        gate, soma = 1.5 * x + 0.3 * y - 0.2, 0.7 * x - 0.6 * y
        s = 0.9 * x - 0.4 * y + 0.5 * s * (1 - y)
        b = 0.25 * b + 0.75 * soma
        excess = s - 0.2 + 0.8 * b
        y = (float(excess > 0) if kind is SNU else sigmoid(excess)) * sigmoid(gate)
        wanted.append(y)
    found, (state, _, adapted) = unit(torch.tensor(inputs).reshape(4, 1, 1))
    assert found.flatten().tolist() == pytest.approx(wanted, rel=1e-5)
    assert state.item() == pytest.approx(s, rel=1e-5)
    assert adapted.item() == pytest.approx(b, rel=1e-5)


def test_batch_first():
    unit = SNU(4, 6, recurrent=True)
    other = SNU(4, 6, recurrent=True, batch_first=True)
    other.load_state_dict(unit.state_dict())
    x = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(1)) * 2
    assert torch.equal(other(x.transpose(0, 1))[0].transpose(0, 1), unit(x)[0])


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_by_name(name):
    """The backward pass takes the derivative that is named, at its sharpness."""
    sharpness = 3.0
    wanted = {
        "tanh": lambda v: 1 - math.tanh(3 * v) ** 2,
        "sigmoid": lambda v: 3 * math.exp(-3 * v) / (1 + math.exp(-3 * v)) ** 2,
        "fast-sigmoid": lambda v: 1 / (1 + 3 * abs(v)) ** 2,
        "atan": lambda v: 1.5 / (1 + (math.pi / 2 * 3 * v) ** 2),
        "triangle": lambda v: 3 * max(0.0, 1 - 3 * abs(v)),
        "straight-through": lambda v: 3.0,
    }[name]
    points = (-1.5, -0.1, 0.0, 0.3)
    excess = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    unit = SNU(1, 1, surrogate=name, sharpness=sharpness)
    unit.output(excess).sum().backward()
    assert excess.grad.tolist() == pytest.approx([wanted(v) for v in points], rel=1e-9)
    assert unit.slope(excess).tolist() == pytest.approx(excess.grad.tolist())


def test_gradients_stop_at_a_detached_reset():
    """Of s_2 = w + l w (1 - y_1): the part through y_1 is there, or not."""
    found = []
    for detached in (False, True):
        unit = unit_of_one(SNU, decay=0.5, threshold=0.5, detached=detached)
        unit(torch.ones(2, 1, 1))[1][0].sum().backward()
        found.append(unit.weight.grad.item())
    slope = 1 - math.tanh(0.5) ** 2
    assert found == pytest.approx([1 - 0.5 * slope, 1.0])  # y_1 = 1: only the reset term is left


def test_soft_variants_have_their_derivatives():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unit = SoftSNU(
            3, 4, recurrent=True, axo_axonic=True, axo_somatic=0.6, reset="subtract", delayed=False
        ).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    names, values = zip(*unit.named_parameters(), strict=True)

    def outputs(*parameters):
        return torch.func.functional_call(unit, dict(zip(names, parameters, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(outputs, values)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_networks_of_snntorch_over_time(reset):
    snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed")
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Linear(5, 8), snntorch.Leaky(beta=0.8, init_hidden=True, reset_mechanism=reset),
        nn.Linear(8, 3), snntorch.Leaky(beta=0.9, init_hidden=True, threshold=0.3),
    )  # fmt: skip
    x = 2 * torch.rand(12, 4, 5)
    found = over_time(net)(x)
    wanted = torch.stack([net(one) for one in x])
    assert torch.equal(found, wanted)
    assert 0.02 < found.mean() < 0.9


@pytest.mark.parametrize("reset", ["reset_value", "reset_subtract"])
def test_networks_of_norse_over_time(reset):
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    resets = pytest.importorskip("norse.torch.functional.reset")
    p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(250.0), reset_method=getattr(resets, reset))
    torch.manual_seed(4)
    net = norse.SequentialState(
        norse.Lift(nn.Linear(5, 8)), norse.Lift(norse.LIFBoxCell(p, dt=1e-3)),
        norse.Lift(nn.Linear(8, 3)),
    )  # fmt: skip
    with torch.no_grad():
        for layer in (net[0].lifted_module, net[2].lifted_module):
            layer.weight.copy_((layer.weight * 64).round() / 8)
            layer.bias.copy_((layer.bias * 64).round() / 8)
    x = torch.randint(0, 3, (12, 4, 5)).float()
    found = over_time(net)(x)
    wanted, _ = net(x)
    assert torch.equal(found, wanted)
    assert found.std() > 0.1


def test_refusals_of_networks():
    with pytest.raises(UnsupportedLayerError, match="over_time got a Linear"):
        over_time(nn.Linear(2, 2))
    with pytest.raises(UnsupportedLayerError, match=r"layer '1.0' \(Conv1d\) cannot run over"):
        over_time(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv1d(2, 2, 1))))


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
    with pytest.raises(ValueError, match="reset = 'soft' is unknown"):
        LIF(reset="soft")
    with pytest.raises(ValueError, match="inhibition with reset = 'subtract'"):
        SNU(2, 2, reset="subtract", inhibition=True)
    with pytest.raises(ValueError, match="axo_somatic"):
        SNU(2, 2, axo_somatic=1.5)
    with pytest.raises(ValueError, match="sharpness = -1: wanted a number above 0"):
        LIF(sharpness=-1)
    with pytest.raises(ValueError, match=r"LIF got inputs of the shape \(3, 2\): wanted \(T, B"):
        LIF()(torch.ones(3, 2))
    for option in ({"delayed": False}, {"reset": "none"}, {"axo_axonic": True}):
        with pytest.raises(ValueError, match="OSTL has traces for the delayed reset to zero"):
            OSTL(SNU(2, 2, **option))
    with pytest.raises(
        ValueError, match=r"SNU got inputs of the shape \(4, 2\): wanted \(T, B, 2\)"
    ):
        SNU(2, 2)(torch.ones(4, 2))
