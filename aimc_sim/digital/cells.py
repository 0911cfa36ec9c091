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
    inputs : (B, T, G) tensor
    state : State
    cell : callable
    reverse : bool
        From the last time step to the first.
    lengths : (B,) tensor or None
        Past its length a sequence keeps its state and its output is zero.

    Returns
    -------
    outputs : (B, T, H) tensor
    state : State
        After the last step that was run.
    """
    steps = range(inputs.shape[1])
    outputs: list[Tensor] = []
    for t in reversed(steps) if reverse else steps:
        after = cell(t, inputs[:, t], state)
        shown = after[0]
        if lengths is not None:
            alive = (t < lengths)[:, None]
            after = tuple(
                torch.where(alive, new, old) for new, old in zip(after, state, strict=True)
            )
            shown = torch.where(alive, after[0], torch.zeros_like(after[0]))
        state = after
        outputs.append(shown)
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1), state


def lstm(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the states after a step; the input gates are in the hidden ones already."""
    i, f, g, o = made.chunk(4, dim=1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the state after a step, twice."""
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, dim=1), made.chunk(3, dim=1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    h = (1 - z) * (xn + r * hn).tanh() + z * state[1]
    return h, h


def rnn(x: Tensor, made: Tensor, state: State, function: str) -> State:
    """Return the state after a step."""
    return (made.relu() if function == "relu" else made.tanh()), state[1]


CELLS = {"lstm": lstm, "gru": gru, "rnn": rnn}
"""Input gates, hidden gates (with the input's, but for a GRU), state, function -> state."""
