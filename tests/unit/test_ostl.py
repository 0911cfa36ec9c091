"""Online gradients of spiking units against backpropagation through time."""

import copy

import numpy as np
import pytest
import torch

from aimc_sim.learning.ostl import OSTL, vectors
from aimc_sim.spiking import SNU, SoftSNU

T, B, N, UNITS = 12, 3, 5, 7


def layer(kind, recurrent, transfer="identity", inputs=N, units=UNITS, seed=0):
    """Return a layer in float64, weights large enough for spikes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = kind(inputs, units, 0.8, recurrent, transfer, 0.4).double()
        with torch.no_grad():
            for one in found.parameters():
                one.add_(0.3 * torch.randn(one.shape, dtype=torch.float64))
    return found


def data(units=UNITS):
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(T, B, N, dtype=torch.float64, generator=generator)
    return x, torch.rand(T, B, units, dtype=torch.float64, generator=generator)


def online(unit, x, target, regime=None, rule=None):
    """Return the sum of the gradients of all steps; loss: squared error / 2 of every step."""
    rule = OSTL(unit, regime) if rule is None else rule
    total = {name: torch.zeros_like(one) for name, one in unit.named_parameters()}
    for one, wanted in zip(x, target, strict=True):
        for name, part in rule.gradients(rule.step(one) - wanted).items():
            total[name] += part
    return total


def through_time(unit, x, target, forward=None):
    """Return the gradients of torch."""
    unit = copy.deepcopy(unit)
    y = unit(x)[0] if forward is None else forward(unit, x)
    ((y - target) ** 2).sum().div(2).backward()
    return {name: one.grad for name, one in unit.named_parameters()}


def distance(found, wanted):
    """Return the largest relative distance of a parameter's gradients."""
    return max(float((found[k] - wanted[k]).norm() / wanted[k].norm()) for k in wanted)


@pytest.mark.parametrize("transfer", ["identity", "relu", "leaky"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_equals_backpropagation_through_time(kind, recurrent, transfer):
    unit, (x, target) = layer(kind, recurrent, transfer), data()
    assert distance(online(unit, x, target), through_time(unit, x, target)) < 1e-12


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_the_gradient_through_the_reset_is_in(kind, recurrent):
    """Torch's gradient with the reset cut off is another one, by 1 % at least: 1e10 times more."""

    def cut(unit, x):
        s, y = unit.start(x[0])
        outputs = []
        for one in x:
            drive = unit.drive(one, (s, y.detach()))
            if unit.recurrent_weight is not None:
                drive = drive + torch.nn.functional.linear(y - y.detach(), unit.recurrent_weight)
            s = unit.transferred(drive)
            y = unit.output(s - unit.threshold)
            outputs.append(y)
        return torch.stack(outputs)

    unit, (x, target) = layer(kind, recurrent), data()
    # Sequences have one product of all inputs: another order of sums, in float64.
    torch.testing.assert_close(cut(unit, x), unit(x)[0], rtol=0, atol=1e-14)
    found = online(unit, x, target)
    assert distance(found, through_time(unit, x, target, cut)) > 0.01
    assert distance(found, through_time(unit, x, target)) < 1e-12


@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_without_h_is_backpropagation_with_the_recurrence_cut(kind):
    """Exactly: R y counts in the forward pass and for R; no gradient goes back through it."""

    def cut(unit, x):
        state, outputs = unit.start(x[0]), []
        for one in x:
            s, y = state
            drive = torch.nn.functional.linear(one, unit.weight) + unit.decay * s * (1 - y)
            drive = drive + torch.nn.functional.linear(y.detach(), unit.recurrent_weight)
            s = unit.transferred(drive)
            state = s, unit.output(s - unit.threshold)
            outputs.append(state[1])
        return torch.stack(outputs)

    unit, (x, target) = layer(kind, recurrent=True), data()
    found, exact = online(unit, x, target, "without-h"), through_time(unit, x, target)
    assert distance(found, through_time(unit, x, target, cut)) < 1e-12
    assert distance(found, exact) > 0.01  # an approximation, of the right direction
    for name, gradient in exact.items():
        assert torch.nn.functional.cosine_similarity(
            found[name].flatten(), gradient.flatten(), 0
        ) > (0.5 if kind is SoftSNU else 0)


def deep(rules, readout, x, target):
    """Return the sum of gradients of two layers and a readout of their last output."""
    total = [{n: torch.zeros_like(p) for n, p in rule.unit.named_parameters()} for rule in rules]
    for one, wanted in zip(x, target, strict=True):
        y = one
        for rule in rules:
            y = rule.step(y)
        signal = (y @ readout.t() - wanted) @ readout
        for rule, sums in zip(reversed(rules), reversed(total), strict=True):
            for name, part in rule.gradients(signal).items():
                sums[name] += part
            signal = rule.back(signal)
    return total


def test_deep_is_exact_on_top_and_an_approximation_below():
    """Below, exactly: backpropagation in which the upper state passes no gradient down in time."""
    low, high = layer(SoftSNU, False), layer(SoftSNU, False, inputs=UNITS, units=4, seed=1)
    readout = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x, target = data(2)

    def torch_gradients(same_step_only):
        lower, upper = copy.deepcopy(low), copy.deepcopy(high)
        hidden, loss = lower(x)[0], 0.0
        state = upper.start(hidden[0])
        for y, wanted in zip(hidden, target, strict=True):
            if same_step_only:
                state = tuple(one.detach() for one in state)
            state = upper.step(y, state)
            loss = loss + ((state[1] @ readout.t() - wanted) ** 2).sum() / 2
        loss.backward()
        return [{n: p.grad for n, p in one.named_parameters()} for one in (lower, upper)]

    below, above = deep([OSTL(low), OSTL(high)], readout, x, target)
    exact, spatial = torch_gradients(False), torch_gradients(True)
    assert distance(above, exact[1]) < 1e-12
    assert distance(below, spatial[0]) < 1e-12
    assert distance(below, exact[0]) > 0.01
    similar = torch.nn.functional.cosine_similarity
    assert similar(below["weight"].flatten(), exact[0]["weight"].flatten(), 0) > 0.8


def test_a_new_sequence_starts_from_nothing():
    unit, (x, target) = layer(SNU, True), data()
    rule = OSTL(unit)
    first = online(unit, x, target, rule=rule)
    rule.restart()
    second = online(unit, x, target, rule=rule)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert distance(online(unit, x, target, rule=rule), first) > 0.01


def test_vectors_add_up_to_the_gradient():
    gradient = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    x, d = vectors(gradient)
    np.testing.assert_array_equal(x.T @ d, gradient.numpy().T)


def test_refusals():
    with pytest.raises(ValueError, match="without recurrence, which has no H"):
        OSTL(SNU(2, 2), "with-h")
    with pytest.raises(TypeError, match="unit is a Linear"):
        OSTL(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="regime = 'exact' is unknown"):
        OSTL(SNU(2, 2), "exact")
