"""Sequences of soft units with gradients of their own equal the single steps of the unit."""

import itertools

import pytest
import torch

from aimc_sim.digital import spiking, spiking_gradients
from aimc_sim.spiking import SoftSNU

CASES = [
    {"recurrent": recurrent, "axo_axonic": gate, "transfer": transfer, "detached": detached}
    for recurrent, gate, transfer, detached in itertools.product(
        (False, True), (False, True), ("identity", "relu", "leaky"), (False, True)
    )
]


def made(**options):
    """Return a unit of 5 inputs, inputs of 6 steps, and states of before them, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        unit = SoftSNU(5, 4, 0.7, threshold=0.2, **options).double()
        x = torch.randn(6, 3, 5, dtype=torch.float64, requires_grad=True)
        states = [torch.rand(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        if options.get("axo_axonic"):
            torch.nn.init.normal_(unit.gate_bias)
    return unit, x, tuple(states)


def results(unit, x, states, twice=False):
    """Return outputs, last states, and all gradients of a function of them."""
    y, last = unit(x, states)
    value = (y**2).sum() + last[0].sin().sum() + last[1].cos().sum()
    own = [*unit.parameters(), x, *states]
    asked = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad(value, own, create_graph=twice, **asked)
    if twice:
        size = sum((one**2).sum() for one in found)
        found += torch.autograd.grad(size, own, **asked)
    return y, *last, *found


def by_steps(*arguments, **options):
    """Return the same from single steps, differentiated by torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spiking, "_lean", lambda neuron: False)
        return results(*arguments, **options)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_values_and_gradients_are_those_of_single_steps(options, twice):
    """In float64 both differ by the order of sums only, of 6 steps."""
    given = made(**options)
    for mine, theirs in zip(results(*given, twice), by_steps(*given, twice=twice), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_a_wrong_term_is_found():
    """Without the path through the reset, gradients are others: what the test above looks at."""
    given = made(recurrent=True)
    right = by_steps(*given)
    unit, *rest = given
    other = SoftSNU(5, 4, 0.7, True, threshold=0.2, detached=True).double()
    other.load_state_dict(unit.state_dict())
    wrong = results(other, *rest)
    assert torch.equal(wrong[0].detach(), results(*given)[0].detach())
    far = max(float((a - b).detach().abs().max()) for a, b in zip(wrong, right, strict=True))
    assert far > 1e-3


@pytest.mark.parametrize("batch_first", [False, True])
def test_whole_sequences_take_the_lean_way(monkeypatch, batch_first):
    """Outputs of all steps from one call, also in inference, state handed on from part to part."""
    calls, plain = [], spiking.soft_sequence

    def counted(*arguments):
        calls.append(arguments[0].shape)
        return plain(*arguments)

    monkeypatch.setattr(spiking, "soft_sequence", counted)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unit = SoftSNU(5, 4, recurrent=True, axo_axonic=True, batch_first=batch_first)
        x = torch.randn(7, 7, 5)
    with torch.inference_mode():
        whole, last = unit(x)
        state, pieces = None, []
        for piece in x.split((2, 4, 1), 1 if batch_first else 0):
            y, state = unit(piece, state)
            pieces.append(y)
    assert calls == [(7, 7, 8), (2, 7, 8), (4, 7, 8), (1, 7, 8)]
    torch.testing.assert_close(torch.cat(pieces, 1 if batch_first else 0), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize(
    "options",
    [{"reset": "subtract"}, {"delayed": False}, {"inhibition": True}, {"axo_somatic": 0.5}],
    ids=str,
)
def test_other_units_go_step_by_step(monkeypatch, options):
    monkeypatch.setattr(spiking, "soft_sequence", None)
    y, _ = SoftSNU(5, 4, recurrent=True, **options)(torch.ones(3, 2, 5))
    assert y.shape == (3, 2, 4)


def test_transforms_compilers_and_mixed_precision_see_single_steps(monkeypatch):
    unit, x, _ = made(recurrent=True, axo_axonic=True)
    unit, x = unit.float(), x.detach().float()
    wanted = unit(x)[0]
    monkeypatch.setattr(spiking, "soft_sequence", None)
    torch.testing.assert_close(torch.func.vmap(lambda one: unit(one)[0])(x[None])[0], wanted)
    torch.testing.assert_close(torch.export.export(unit, (x,)).module()(x)[0], wanted)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(unit(x)[0].float(), wanted.detach(), rtol=0.1, atol=0.02)


def test_half_of_the_gradients_may_be_asked_for():
    """Outputs or the last state alone; matrices or inputs alone."""
    unit, x, states = made(recurrent=True, axo_axonic=True)
    for pick in (lambda y, s: y.sum(), lambda y, s: s[0].sum()):
        for own in ([x], [unit.recurrent_weight], [unit.threshold, states[1]]):
            mine = torch.autograd.grad(pick(*unit(x, states)), own)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(spiking, "_lean", lambda neuron: False)
                theirs = torch.autograd.grad(pick(*unit(x, states)), own)
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_inputs_are_left_as_they_were():
    made_ = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1))
    kept = made_.clone()
    s, y = torch.ones(2, 4), torch.full((2, 4), 0.5)
    fed = torch.eye(8)[:, :4].contiguous()
    spiking_gradients.soft_sequence(
        made_, fed, torch.zeros(4), s, y, 0.5, 0.0, False, lambda *given: given
    )
    assert torch.equal(made_, kept)
    assert torch.equal(s, torch.ones(2, 4))
    assert torch.equal(y, torch.full((2, 4), 0.5))
