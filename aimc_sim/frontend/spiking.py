"""Layers of spiking neurons: their matrices are layers, what they do over time is one node.

So is the attention of their spikes.

Rules are as in :mod:`.layers`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from aimc_sim.digital.spiking import Neuron
from aimc_sim.frontend.calls import location, owner
from aimc_sim.frontend.constants import weights
from aimc_sim.frontend.draft import Draft, Rule
from aimc_sim.frontend.layers import linear
from aimc_sim.frontend.sizes import expressions
from aimc_sim.frontend.values import BatchAxisError, Constant, Value, unsupported


def _spiking(
    draft: Draft, node: fx.Node, x: Any, states: Sequence[Any], inputs: Sequence[Any],
    recurrent: Sequence[Any], threshold: Any, bias: Any, strength: Any, neuron: str, batch: int,
) -> Any:  # fmt: skip
    """Add the product of the inputs, for all time steps, and the neurons that read it.

    Matrices of a gate and a threshold stand beside that of the inputs: they read the same rows.
    """
    how = Neuron.of(json.loads(neuron))
    path = owner(draft.recording.model, node)
    where = f"layer '{path}'{location(node)}"
    kind = "spiking neurons"
    held = [*inputs, *recurrent, threshold, bias, strength]
    if not all(isinstance(part, Constant | None) for part in held):
        raise unsupported(where, kind, "their weights depend on the input; use constant ones")
    if draft.axis is not None and x.axis != batch:
        raise BatchAxisError(
            f"{where} ({kind}) reads the batch along dimension {batch}, but it is dimension "
            f"{x.axis} of its input; transpose it, or use batch_first={not batch}"
        )
    y, s, *_ = node.meta["val"]
    if inputs:
        whole = _beside(inputs)
        offset = None
        if bias is not None:
            zeros = torch.zeros_like(bias.tensor)
            parts = [Constant(zeros), bias, *[Constant(zeros)] * (how.parts - 2)]
            offset = _beside(parts, bias.path)
        gates = (*y.shape[:-1], len(whole.tensor))
        x = linear(draft, node, x, whole, offset, gates)
    arrays = weights(where, threshold=threshold, strength=strength)
    arrays["threshold"] = np.atleast_1d(arrays["threshold"])
    attrs: dict[str, Any] = {
        "reverse": False, "axis": batch, "lengths": False, "layers": {}, "neuron": how.attrs(),
    }  # fmt: skip
    if recurrent:
        name = recurrent[0].path or f"{path}.recurrent_weight"
        if not draft.chosen.analog(name):
            raise unsupported(
                f"layer '{name}'", kind, "the matrix of a recurrence runs on crossbars only; "
                "choose 'analog' for it",
            )  # fmt: skip
        matrix = _beside(recurrent)
        arrays |= weights(where, weight_hh=matrix)
        attrs["layers"] = {"hh": name}
        known = draft.owners.get(name)
        if known is None:
            draft.owners[name] = name, matrix.tensor.detach()
        elif torch.equal(known[1], matrix.tensor.detach()):
            calls = 2 + sum("devices" in one.attrs and one.attrs["devices"].get("hh") == name
                            for one in draft.nodes if one.op == "spiking")  # fmt: skip
            attrs["layers"], attrs["devices"] = {"hh": f"{name}#{calls}"}, {"hh": name}
        else:
            raise unsupported(where, kind, "it is called with other weights under the same name")
    given = _given(draft, node, where, path, how, states)
    attrs["initial"] = len(given)
    made = draft.emit(
        f"{path}.neurons", "spiking", [x, *given], expressions(y.shape), node=node, attrs=attrs,
        arrays=arrays, modules=(path,),
    )  # fmt: skip
    return (made, *_ends(draft, node, made, how, s))


def _beside(parts: Sequence[Constant], path: str | None = None) -> Constant:
    """Return matrices or vectors behind each other, as one constant of the first one's path."""
    whole = parts[0].tensor if len(parts) == 1 else torch.cat([one.tensor for one in parts])
    return Constant(whole, parts[0].path if path is None else path, True, stored=len(parts) == 1)


def _given(
    draft: Draft, node: fx.Node, where: str, path: str, how: Neuron, states: Sequence[Any]
) -> list[Value]:
    """Return outputs and state before the first step; none where they are zero."""
    found = [
        _one(draft, node, f"{path}.{name}0", state)
        for name, state in zip("syb", states, strict=False)
    ]
    if all(state is None for state in found):
        return []
    if any(state is None for state in found):
        raise unsupported(
            where, "spiking neurons", "only some of their states are given; give all of them, or "
            "none",
        )  # fmt: skip
    s, y, *more = found
    if more:
        sizes = (*s.sizes[:-1], 2 * s.sizes[-1])
        s = draft.emit(f"{path}.state0", "concat", (s, *more), sizes, node=node,
                       attrs={"dim": len(sizes) - 1})  # fmt: skip
    return [y, s]


def _one(draft: Draft, node: fx.Node, name: str, state: Any) -> Any:
    """Return a state as a value, or None where it is zero."""
    if isinstance(state, Constant):
        if not bool(state.tensor.any()):
            return None
        return draft.constant(node, state, name)
    made = draft.node_of(state)
    if made is not None and made.op in ("zeros", "new_zeros", "zeros_like"):
        return None
    return state


def _ends(
    draft: Draft, node: fx.Node, made: Value, how: Neuron, like: torch.Tensor
) -> tuple[Value, ...]:
    """Return the last states s, y and b."""
    batch = None if draft.axis is None else 0
    sizes = expressions(like.shape)
    y = Value(f"{made.name}.h", sizes, torch.float32, batch, made.moves)
    adapts = how.adaptation is not None
    both = (*sizes[:-1], sizes[-1] * (1 + adapts))
    c = Value(f"{made.name}.c", both, torch.float32, batch, made.moves)
    if not adapts:
        return c, y, c
    s, b = (
        draft.emit(
            f"{made.name}.{name}", "slice", (c,), sizes, node=node,
            attrs={"args": [{"value": 0}, -1, place * sizes[-1], (place + 1) * sizes[-1]],
                   "overload": "Tensor"},
        )
        for place, name in enumerate("sb")
    )  # fmt: skip
    return s, y, b


def _attention(
    draft: Draft, node: fx.Node, q: Any, k: Any, v: Any, steps: int, heads: int, scale: float,
    batch: int,
) -> Any:  # fmt: skip
    """Add the attention of spikes: one node, of counters in the digital units."""
    path = owner(draft.recording.model, node)
    where = f"layer '{path}'{location(node)}"
    kind = "attention of spikes"
    for name, part in (("Q", q), ("K", k), ("V", v)):
        if not isinstance(part, Value) or (part.axis is None and draft.axis is not None):
            raise unsupported(where, kind, f"{name} does not depend on the input; make it of it")
        if draft.axis is not None and part.axis != batch:
            raise BatchAxisError(
                f"{where} ({kind}) reads the batch along dimension {batch}, but it is dimension "
                f"{part.axis} of {name}; transpose it, or use batch_first={not batch}"
            )
    attrs = {"steps": steps, "heads": heads, "scale": scale, "axis": batch}
    return draft.emit(
        f"{path}.counters", "spiking_attention", (q, k, v), node.meta["val"], node=node,
        attrs=attrs, modules=(path,),
    )  # fmt: skip


RULES: dict[str, Rule] = {"spiking": _spiking, "spiking_attention": _attention}
"""Rules by the name of the operation."""
