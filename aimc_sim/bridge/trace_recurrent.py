"""LSTM, GRU and RNN layers in the graph: one recurrent node per layer and direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from aimc_sim.bridge.trace_layers import weights_of
from aimc_sim.bridge.trace_shapes import permute
from aimc_sim.bridge.trace_values import (
    BatchAxisError,
    Packed,
    Parameter,
    Value,
    as_tensor,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

OPERATIONS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


def recurrent(walk: Walk, path: str, module: nn.RNNBase, input: Any, hx: Any = None) -> Any:
    """Return (outputs, state) of a recurrent layer as torch returns them.

    Every layer and direction has matrices of its own; their names are those of the parameters
    (``lstm.weight_ih_l0``). Input weights of all time steps are one product, hidden ones are
    computed step by step.
    """
    where, kind = (
        f"layer '{path}'",
        next(k for k in OPERATIONS if isinstance(module, getattr(nn, k))),
    )
    packed = input if isinstance(input, Packed) else None
    value = as_tensor(packed.value if packed else input, where, kind, ndim=3)
    batch_first = packed.batch_first if packed else module.batch_first
    axis = 0 if batch_first else 1
    if value.axis != axis:
        raise BatchAxisError(
            f"{where} ({kind}) cannot be mapped: it has batch_first={module.batch_first}, but the "
            f"batch is dimension {value.axis} of what it reads; transpose it, or use batch_first="
            f"{not module.batch_first}"
        )
    if module.training and module.dropout:
        raise unsupported(where, kind, "it is in training mode; call model.eval()")
    directions = 2 if module.bidirectional else 1
    first = _states(walk, where, kind, path, hx, module.num_layers * directions)
    if not walk.chosen.analog(path):
        return _digital(walk, path, module, value, first, kind, packed)
    hidden: list[Value] = []
    cells: list[Value] = []
    for layer in range(module.num_layers):
        made = []
        for direction in range(directions):
            number = layer * directions + direction
            suffix = f"l{layer}" + "_reverse" * direction
            out = _one(walk, path, module, kind, suffix, value, first[number], axis, packed)
            made.append(out)
            for ends, part in ((hidden, "h"), (cells, "c")):
                state = f"{out.name}.{part}"
                walk.axes[state] = 0
                ends.append(Value(state, 2, object(), state))
        value = made[0]
        if directions == 2:
            value = walk.emit(
                f"{path}.l{layer}.both", "concat", tuple(made), ndim=3, attrs={"dim": 2},
                modules=(path,), axis=axis,
            )  # fmt: skip
    h = _stacked(walk, f"{path}.h", hidden, path)
    state = (h, _stacked(walk, f"{path}.c", cells, path)) if kind == "LSTM" else h
    outputs = Packed(value, packed.lengths, packed.batch_first) if packed else value
    return outputs, state


def _one(
    walk: Walk, path: str, module: nn.RNNBase, kind: str, suffix: str, value: Value,
    first: tuple[Value, ...], axis: int, packed: Packed | None,
) -> Value:  # fmt: skip
    """One layer in one direction."""
    keys = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]
    if module.proj_size:
        keys.append("weight_hr")
    stored = {key: Parameter(key, getattr(module, f"{key}_{suffix}")) for key in keys}
    walk.claim(f"{path}.{suffix}", path)
    sources = (value, *first, *((packed.lengths,) if packed else ()))
    attrs: dict[str, Any] = {
        "reverse": suffix.endswith("_reverse"),
        "axis": axis,
        "initial": len(first),
        "lengths": packed is not None,
        "layers": {
            key.removeprefix("weight_"): f"{path}.{key}_{suffix}"
            for key in keys
            if key.startswith("weight")
        },
    }
    if kind == "RNN":
        attrs["function"] = module.nonlinearity
    return walk.emit(
        f"{path}.{suffix}", OPERATIONS[kind], sources, ndim=3, attrs=attrs,
        arrays=weights_of(f"layer '{path}'", **stored), modules=(path,), axis=axis,
    )  # fmt: skip


def _states(
    walk: Walk, where: str, kind: str, path: str, hx: Any, count: int
) -> list[tuple[Value, ...]]:
    """Return the initial states of every layer and direction; empty where they are zero."""
    if hx is None:
        return [()] * count
    given = hx if isinstance(hx, tuple | list) else (hx,)
    if kind == "LSTM" and len(given) != 2:
        raise unsupported(where, kind, "its state is not a pair (h, c)")
    states = [as_tensor(state, where, f"{kind} state") for state in given]
    rows = []
    for number in range(count):
        row = []
        for state, letter in zip(states, "hc", strict=False):
            attrs = {"args": [{"value": 0}, [number]]}
            name = f"{path}.{letter}0[{number}]"
            row.append(
                walk.emit(name, "index", (state,), ndim=2, attrs=attrs, modules=(path,), axis=0)
            )
        rows.append(tuple(row))
    return rows


def _stacked(walk: Walk, name: str, states: list[Value], path: str) -> Value:
    return walk.emit(
        name, "stack", tuple(states), ndim=3, attrs={"dim": 0}, modules=(path,), axis=1
    )


def _digital(
    walk: Walk, path: str, module: nn.RNNBase, value: Value, first: list[tuple[Value, ...]],
    kind: str, packed: Packed | None,
) -> Any:  # fmt: skip
    """The whole layer off the cores, in floating point."""
    where = f"layer '{path}'"
    if packed is not None or any(first):
        raise unsupported(
            where, kind, "off the cores it takes neither packed sequences nor initial states; "
            "choose 'analog' for it",
        )  # fmt: skip
    options = {
        key: getattr(module, key)
        for key in (
            "input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional",
        )
    }  # fmt: skip
    if kind == "LSTM":
        options["proj_size"] = module.proj_size
    if kind == "RNN":
        options["nonlinearity"] = module.nonlinearity
    arrays = weights_of(where, **{k: Parameter(k, p) for k, p in module.named_parameters()})
    macs = sum(a.size for a in arrays.values() if a.ndim == 2)
    directions = 2 if module.bidirectional else 1
    attrs = {"kind": kind, "options": options}
    attrs["macs_per_output"] = macs // (directions * (module.proj_size or module.hidden_size))

    def part(name: str, part: str, axis: int) -> Value:
        return walk.emit(
            name, "recurrence", (value,), ndim=3, attrs={**attrs, "part": part}, arrays=arrays,
            modules=(path,), axis=axis,
        )  # fmt: skip

    outputs, h = part(path, "outputs", value.axis), part(f"{path}.h", "h", 1)
    return outputs, (h, part(f"{path}.c", "c", 1)) if kind == "LSTM" else h


def pack_padded_sequence(
    walk: Walk, name: str, input: Any, lengths: Any, batch_first: bool = False,
    enforce_sorted: bool = True,
) -> Packed:  # fmt: skip
    """Sequences of different lengths; they keep their order and stay padded."""
    where = f"operation '{name}'"
    return Packed(
        as_tensor(input, where, "pack_padded_sequence", ndim=3),
        as_tensor(lengths, where, "lengths"), bool(batch_first),
    )  # fmt: skip


def pad_packed_sequence(
    walk: Walk, name: str, sequence: Any, batch_first: bool = False, padding_value: float = 0.0,
    total_length: Any = None,
) -> Any:  # fmt: skip
    """Padded sequences, as long as the longest, and their lengths."""
    where = f"operation '{name}'"
    if not isinstance(sequence, Packed):
        raise unsupported(where, "pad_packed_sequence", "its argument was not packed here")
    if padding_value or total_length is not None:
        raise unsupported(
            where, "pad_packed_sequence", "padding_value and total_length are not supported"
        )
    value = sequence.value
    dim = 1 if sequence.batch_first else 0
    trimmed = walk.emit(
        name, "trim", (value, sequence.lengths), ndim=3, attrs={"dim": dim}, axis=value.axis
    )
    if sequence.batch_first != bool(batch_first):
        trimmed = permute(walk, f"{name}.order", trimmed, 1, 0, 2)
    return trimmed, sequence.lengths
