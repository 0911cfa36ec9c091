"""Recurrent layers in float32 with exact functions: the loop over time, and one step of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aimc_sim.digital import spiking

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


_CELLS: dict[str, Callable[[Tensor, Tensor, State, str], State]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
}


def cell_of(
    op: str, attrs: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Callable[[Tensor, Tensor | None, State], State]:
    """Return one time step of a recurrent layer.

    Parameters
    ----------
    op : "lstm", "gru", "rnn" or "spiking"
        The layer.
    attrs : mapping of str to JSON values
        Attributes of its node.
    arrays : mapping of str to numpy.ndarray
        Arrays of its node.

    Returns
    -------
    callable
        Function from the input gates (B, G), the hidden gates (with the input's, but for a GRU and
        spiking neurons; None without any) and the state to the next state.
    """
    if op == "spiking":
        return _spiking(attrs, arrays)
    known, function = _CELLS[op], attrs.get("function", "tanh")

    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        assert made is not None  # these layers have a hidden matrix
        return known(x, made, state, function)

    return cell


def _spiking(
    attrs: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Callable[[Tensor, Tensor | None, State], State]:
    neuron = spiking.Neuron.of(attrs["neuron"])
    known = {k: torch.from_numpy(arrays[k]) for k in ("threshold", "strength") if k in arrays}

    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        drives = x.chunk(neuron.parts, -1)
        fed = () if made is None else made.chunk(neuron.parts, -1)
        own = {name: array.to(x.device) for name, array in known.items()}
        states = spiking.unpacked(state, neuron)
        after = spiking.advance(neuron, drives, fed, states, own["threshold"], own.get("strength"))
        return spiking.packed(after)

    return cell
