"""Recurrent layers and cells: their matrices are layers, what they do over time is one node.

Rules are as in :mod:`.layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from aimc_sim.frontend.calls import location, owner
from aimc_sim.frontend.cells import CELLS
from aimc_sim.frontend.constants import weights
from aimc_sim.frontend.draft import Draft, Rule
from aimc_sim.frontend.layers import linear
from aimc_sim.frontend.sizes import expressions
from aimc_sim.frontend.values import BatchAxisError, Constant, Value, unsupported
from aimc_sim.ops import GATES


def _recurrent(
    draft: Draft, node: fx.Node, x: Any, states: Sequence[Any], stored: Sequence[Any], lengths: Any,
    kind: str, biases: bool, layers: int, bidirectional: bool, batch_first: bool,
) -> Any:  # fmt: skip
    """Add one recurrent node per layer and direction.

    Input weights of all time steps are one product, hidden ones are computed step by step. Names
    of the matrices are those of the parameters (``lstm.weight_ih_l0``).
    """
    path = stored[0].path.rpartition(".")[0] if isinstance(stored[0], Constant) else ""
    path = path or type(draft.recording.model).__name__
    where = f"layer '{path}'{location(node)}"
    if not all(isinstance(part, Constant) for part in stored):
        raise unsupported(where, kind, "its weights depend on the input; use constant ones")
    axis = 0 if batch_first else 1
    if draft.axis is not None and x.axis != axis:
        raise BatchAxisError(
            f"{where} ({kind}) reads the batch along dimension {axis}, but it is dimension "
            f"{x.axis} of its input; transpose it, or use batch_first={not batch_first}"
        )
    if isinstance(lengths, Constant):
        lengths = draft.constant(node, lengths, f"{path}.lengths")
    directions = 2 if bidirectional else 1
    each = len(stored) // (layers * directions)
    keys = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biases else [])]
    keys += ["weight_hr"] * (each - len(keys))
    first = [
        _given(draft, node, path, letter, state)
        for letter, state in zip("hc", states, strict=False)
    ]
    if all(state is None for state in first):
        first = []
    y, h, c = node.meta["val"]
    if not draft.chosen.analog(path):
        return _off_cores(draft, node, path, x, first, stored, keys, kind, layers, bidirectional,
                          batch_first, biases, lengths)  # fmt: skip
    hidden: list[Value] = []
    cells: list[Value] = []
    for layer in range(layers):
        made = []
        for direction in range(directions):
            number = layer * directions + direction
            suffix = f"l{layer}" + "_reverse" * direction
            parts = dict(zip(keys, stored[number * each : (number + 1) * each], strict=True))
            given = [
                _state(draft, node, f"{path}.{letter}0_{number}", state, number)
                for letter, state in zip("hc", first, strict=False)
            ]
            one = _one(draft, node, path, suffix, kind, x, given, parts, axis, lengths,
                       (*y.shape[:2], h.shape[2]))  # fmt: skip
            made.append(one)
            for ends, part, like in ((hidden, "h", h), (cells, "c", c)):
                batch = None if draft.axis is None else 0
                sizes = expressions(like.shape[1:])
                ends.append(Value(f"{one.name}.{part}", sizes, torch.float32, batch, one.moves))
        x = made[0]
        if directions == 2:
            x = draft.emit(
                f"{path}.l{layer}.both", "concat", made,
                expressions((*y.shape[:2], 2 * h.shape[2])), node=node, attrs={"dim": 2},
                modules=(path,),
            )  # fmt: skip

    def stacked(letter: str, ends: list[Value], like: torch.Tensor) -> Value:
        return draft.emit(f"{path}.{letter}", "stack", ends, like, node=node, attrs={"dim": 0},
                         modules=(path,))  # fmt: skip

    return x, stacked("h", hidden, h), stacked("c", cells, c)


def _one(
    draft: Draft, node: fx.Node, path: str, suffix: str, kind: str, x: Value, given: list[Value],
    parts: dict[str, Constant], axis: int, lengths: Value | None, sizes: Any,
) -> Value:  # fmt: skip
    """Add one layer in one direction."""
    names = {
        key.removeprefix("weight_"): f"{path}.{key}_{suffix}"
        for key in parts if key.startswith("weight")
    }  # fmt: skip
    attrs: dict[str, Any] = {
        "reverse": suffix.endswith("_reverse"), "axis": axis, "initial": len(given),
        "lengths": lengths is not None, "layers": names,
    }  # fmt: skip
    name, again = f"{path}.{suffix}", 1
    held = draft.owners.get(name)
    while name in draft.taken:
        again += 1
        name = f"{path}.{suffix}#{again}"
    if held is not None:
        if not torch.equal(held[1], parts["weight_hh"].tensor.detach()):
            raise unsupported(
                f"layer '{path}'", kind, "it is called with other weights under the same name"
            )
        attrs["layers"] = {key: f"{one}#{again}" for key, one in names.items()}
        attrs["devices"] = names
    else:
        draft.owners[name] = name, parts["weight_hh"].tensor.detach()
    if kind.startswith("rnn"):
        attrs["function"] = kind.partition("_")[2]
    sources = [x, *given, *([] if lengths is None else [lengths])]
    return draft.emit(
        name, kind.partition("_")[0], sources, expressions(sizes), node=node, attrs=attrs,
        arrays=weights(f"layer '{path}'", **parts), modules=(path,),
    )  # fmt: skip


def _given(draft: Draft, node: fx.Node, path: str, letter: str, state: Any) -> Any:
    """Return an initial state, or None where it is zero."""
    if isinstance(state, Constant):
        if not bool(state.tensor.any()):
            return None
        return draft.constant(node, state, f"{path}.{letter}0")
    made = draft.node_of(state)
    if made is not None and made.op in ("zeros", "new_zeros", "zeros_like"):
        return None
    return state


def _state(draft: Draft, node: fx.Node, name: str, state: Any, number: int) -> Value:
    """Return the initial state of one layer and direction, (B, H)."""
    if state is None:
        raise unsupported(
            f"layer '{name.rpartition('.')[0]}'", "LSTM",
            "only one of its states is given; give both",
        )  # fmt: skip
    return draft.emit(
        name, "select", (state,), tuple(state.sizes[1:]), node=node,
        attrs={"args": [{"value": 0}, 0, number]},
    )  # fmt: skip


def _off_cores(
    draft: Draft, node: fx.Node, path: str, x: Value, first: list[Any], stored: Sequence[Constant],
    keys: list[str], kind: str, layers: int, bidirectional: bool, batch_first: bool, biases: bool,
    lengths: Any,
) -> Any:  # fmt: skip
    """Add the whole layer off the cores, in floating point."""
    if lengths is not None or first:
        raise unsupported(
            f"layer '{path}'", kind.partition("_")[0].upper(), "off the cores it takes neither "
            "packed sequences nor initial states; choose 'analog' for it",
        )  # fmt: skip
    suffixes = [
        f"l{layer}{'_reverse' * direction}"
        for layer in range(layers) for direction in range(2 if bidirectional else 1)
    ]  # fmt: skip
    named = {
        f"{key}_{suffix}": stored[place * len(keys) + i]
        for place, suffix in enumerate(suffixes) for i, key in enumerate(keys)
    }  # fmt: skip
    arrays = weights(f"layer '{path}'", **named)
    hidden = arrays["weight_hh_l0"].shape[0] // GATES[kind.partition("_")[0]]
    options: dict[str, Any] = {
        "input_size": arrays["weight_ih_l0"].shape[1], "hidden_size": hidden,
        "num_layers": layers, "bias": biases, "batch_first": batch_first,
        "bidirectional": bidirectional,
    }  # fmt: skip
    shown = hidden
    if kind == "lstm":
        options["proj_size"] = len(arrays["weight_hr_l0"]) if "weight_hr" in keys else 0
        shown = options["proj_size"] or hidden
    if kind.startswith("rnn"):
        options["nonlinearity"] = kind.partition("_")[2]
    macs = sum(a.size for a in arrays.values() if a.ndim == 2)
    attrs = {"kind": {"lstm": "LSTM", "gru": "GRU"}.get(kind, "RNN"), "options": options}
    attrs["macs_per_output"] = macs // ((2 if bidirectional else 1) * shown)
    y, h, c = node.meta["val"]
    names = ((path, "outputs", y), (f"{path}.h", "h", h), (f"{path}.c", "c", c))
    return tuple(
        draft.emit(name, "recurrence", (x,), like, node=node, attrs={**attrs, "part": part},
                  arrays=arrays, modules=(path,))
        if part != "c" or kind == "lstm" else None
        for name, part, like in names
    )  # fmt: skip


def _trim(draft: Draft, node: fx.Node, x: Any, lengths: Any, dim: int) -> Any:
    """Cut padded sequences to the length of the longest."""
    if isinstance(lengths, Constant):
        lengths = draft.constant(node, lengths, "lengths")
    return draft.emit("trim", "trim", (x, lengths), node.meta["val"], node=node, attrs={"dim": dim})


def _cell(kind: str) -> Rule:
    """Return the rule of one step of a recurrent layer."""

    def rule(
        draft: Draft, node: fx.Node, x: Any, state: Any, weight_ih: Any, weight_hh: Any,
        bias_ih: Any = None, bias_hh: Any = None,
    ) -> Any:  # fmt: skip
        states = list(state) if isinstance(state, tuple | list) else [state]
        name = owner(draft.recording.model, node)
        states = [
            draft.constant(node, part, f"{name}.state") if isinstance(part, Constant) else part
            for part in states
        ]
        value = node.meta["val"]
        like = value[0] if isinstance(value, tuple | list) else value
        gates = (*like.shape[:-1], weight_ih.tensor.shape[0])
        made = linear(draft, node, x, weight_ih, bias_ih, gates)
        kept = linear(draft, node, states[0], weight_hh, bias_hh, gates)
        return CELLS[kind](draft, node, name, made, kept, states, expressions(like.shape))

    return rule


RULES: dict[str, Rule] = {
    "recurrent": _recurrent,
    "trim": _trim,
    "lstm_cell": _cell("lstm"),
    "gru_cell": _cell("gru"),
    "rnn_tanh_cell": _cell("tanh"),
    "rnn_relu_cell": _cell("relu"),
}
"""Rules by the name of the operation."""
