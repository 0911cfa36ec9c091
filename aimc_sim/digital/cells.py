"""Recurrent layers in float32 with exact functions: the loop over time, and one step of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

State = tuple[Tensor, Tensor]
"""Hidden and cell state, (B, H) each."""

Cell = Callable[[int, Tensor, State], State]
"""Time step, input gates (B, G) and state -> state."""


def unroll(
    inputs: Tensor, state: State, cell: Cell, reverse: bool, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Run a cell over time.

    Parameters
    ----------
    inputs : (B, T, G) float32 tensor
        Gates of the input, for every sequence and time step.
    state : (tensor, tensor)
        Hidden and cell state before the first step, (B, H) each.
    cell : callable
        Function from a time step, its input gates and the state to the next state.
    reverse : bool
        Whether steps run from the last one to the first.
    lengths : (B,) integer tensor or None
        Length of every sequence, time steps; past it a sequence keeps its state and its output is
        zero. None: all sequences have T steps.

    Returns
    -------
    outputs : (B, T, H) float32 tensor
        Hidden state after every step.
    state : (tensor, tensor)
        Hidden and cell state after the last step that was run.
    """
    steps = range(inputs.shape[1])
    outputs: list[Tensor] = []
    for t in reversed(steps) if reverse else steps:
        after = cell(t, inputs[:, t], state)
        shown = after[0]
        if lengths is not None:
            alive = (t < lengths)[:, None]
            after = (
                torch.where(alive, after[0], state[0]), torch.where(alive, after[1], state[1])
            )  # fmt: skip
            shown = torch.where(alive, after[0], torch.zeros_like(after[0]))
        state = after
        outputs.append(shown)
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1), state


def _lstm(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the states after a step; the input gates are in the hidden ones already."""
    i, f, g, o = made.chunk(4, dim=1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the state after a step, twice."""
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, dim=1), made.chunk(3, dim=1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    h = (1 - z) * (xn + r * hn).tanh() + z * state[1]
    return h, h


def _rnn(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the state after a step."""
    return (made.relu() if function == "relu" else made.tanh()), state[1]


CELLS: dict[str, Callable[[Tensor, Tensor, State, str], State]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
}
"""Input gates, hidden gates (with the input's, but for a GRU), state, function -> state."""
