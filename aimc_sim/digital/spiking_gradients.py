"""Sequences of soft spiking units with gradients of their own: fewer, larger matrix products.

Sigmoid units with the delayed reset to zero, with or without the axo-axonic gate, step by step as
:mod:`aimc_sim.digital.spiking` has them. The products of the inputs are one product over all steps;
per step, the matrices of state and gate are one product forward and one backward, and the gradients
of the matrices are one product over all steps. With d the argument of g, h the sigmoid of the
excess, o the gate, and the bar a gradient, the steps backward are::

    y' <- y' + R^T d'(t+1) + R_o^T p'(t+1) - l s d'(t+1)      (the last term unless detached)
    p' = y' h o (1 - o)
    e' = y' o h (1 - h)
    d' = g'(d) (e' + l (1 - y) d'(t+1))

where p is the argument of the gate and e the excess, whose gradient is also minus that of theta.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

Plain = Callable[..., tuple[Tensor, Tensor]]
"""The same sequence by single steps, of the same tensors: for gradients of gradients."""


def soft_sequence(
    made: Tensor, recurrent: Tensor | None, threshold: Tensor, s: Tensor, y: Tensor,
    decay: float, negative: float, detached: bool, plain: Plain,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the outputs of all steps and the last state.

    Parameters
    ----------
    made : (T, B, units) or (T, B, 2 units) tensor
        Sums of the inputs, and behind them those of the gate, with its bias.
    recurrent : (units or 2 units, units) tensor or None
        R, and below it R_o; None without recurrence.
    threshold : (units,) tensor
        theta.
    s, y : (B, units) tensors
        State and output before the first step.
    decay : float
        l.
    negative : float
        Slope of g below zero: 1 (identity), 0 (ReLU) or another (leaky ReLU).
    detached : bool
        Whether gradients stop at the reset.
    plain : callable
        Slow twin, of ``(made, recurrent, threshold, s, y)``.

    Returns
    -------
    (T, B, units) tensor, (B, units) tensor
        Outputs; the state of the last step.
    """
    found: tuple[Tensor, Tensor] = cast(Any, _Soft).apply(
        made, recurrent, threshold, s, y, decay, negative, detached, plain
    )
    return found


class _Soft(torch.autograd.Function):
    """See :func:`soft_sequence`."""

    @staticmethod
    def forward(
        ctx: Any, made: Tensor, recurrent: Tensor | None, threshold: Tensor, s: Tensor, y: Tensor,
        decay: float, negative: float, detached: bool, plain: Plain,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(made, recurrent, threshold, s, y)
        ctx.settings = decay, negative, detached, plain
        steps, batch, _ = made.shape
        units = y.shape[-1]
        fires, gates, states, outputs = (made.new_empty(steps, batch, units) for _ in range(4))
        gated = made.shape[-1] > units
        # Arguments of g and of the gate, together; g' needs the sign of the first only.
        sums = made.clone()
        for t in range(steps):
            sum_ = sums[t]
            own = sum_[:, :units]
            own.add_(torch.mul(s, decay).mul_(1 - y))
            if recurrent is not None:
                sum_.add_(y @ recurrent.t())
            s = torch.mul(own.clamp(max=0), negative, out=states[t]).add_(own.clamp(min=0))
            torch.sub(s, threshold, out=fires[t]).sigmoid_()
            if gated:
                torch.sigmoid(sum_[:, units:], out=gates[t])
                y = torch.mul(fires[t], gates[t], out=outputs[t])
            else:
                y = outputs[t].copy_(fires[t])
        ctx.kept = sums[..., :units], fires, gates if gated else None, states, outputs
        return outputs.clone(), states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        made, recurrent, _, s, y = given = ctx.saved_tensors
        decay, negative, detached, plain = ctx.settings
        if torch.is_grad_enabled():  # a gradient of this gradient may be asked for
            return (*_twice(plain, given, gradients), *(None,) * 4)
        drives, fires, gates, states, outputs = ctx.kept
        outer, last = gradients
        steps, units = len(outputs), outputs.shape[-1]
        back = torch.zeros_like(made)
        theta = torch.zeros_like(y)
        to_y, to_s = torch.zeros_like(y), torch.zeros_like(y)
        if last is not None:
            to_s = to_s + last
        for t in reversed(range(steps)):
            if outer is not None:
                to_y = to_y + outer[t]
            fire = fires[t]
            excess = to_y * fire
            if gates is not None:
                gate = gates[t]
                excess = excess * gate
                torch.mul(excess, 1 - gate, out=back[t, :, units:])
            excess.mul_(1 - fire)
            theta.sub_(excess)
            own = back[t, :, :units]
            torch.add(to_s, excess, out=own)
            if negative != 1:
                own.copy_(torch.where(drives[t] > 0, own, own * negative))
            before_s, before_y = (states[t - 1], outputs[t - 1]) if t else (s, y)
            to_s = torch.mul(own, 1 - before_y).mul_(decay)
            to_y = back[t] @ recurrent if recurrent is not None else torch.zeros_like(to_s)
            if not detached:
                to_y.sub_(torch.mul(own, before_s), alpha=decay)
        matrix = None
        if recurrent is not None and ctx.needs_input_grad[1]:
            before = torch.cat([y[None], outputs[:-1]])
            matrix = back.flatten(0, 1).t() @ before.flatten(0, 1)
        return back, matrix, theta.sum(0), to_s, to_y, None, None, None, None


def _twice(
    plain: Plain, given: tuple[Tensor | None, ...], gradients: tuple[Any, ...]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the slow twin, which torch can differentiate again."""
    asked = [one for one in given if one is not None and one.requires_grad]
    pairs = [
        (one, gradient)
        for one, gradient in zip(plain(*given), gradients, strict=True)
        if gradient is not None
    ]
    found = iter(
        torch.autograd.grad(
            [one for one, _ in pairs], asked, [gradient for _, gradient in pairs],
            create_graph=True, allow_unused=True,
        )
    )  # fmt: skip
    return tuple(next(found) if one is not None and one.requires_grad else None for one in given)
