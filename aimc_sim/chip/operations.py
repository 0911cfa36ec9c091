"""What digital units compute between crossbars: the list of operations, without any framework.

An operation belongs to one of four kinds, by what it makes of integer codes:

- "codes": selects, orders or clears numbers; the result has the scale of its input.
- "integer": what a core's local unit computes; its result is rounded to integers of a calibrated
  range, unless an operand is kept in floating point already.
- "float": arithmetic of the global units, kept in floating point until a core reads it.
- "exact": whole numbers and truth values: masks, positions.

``work`` counts arithmetic operations per number of the result: additions, multiplications,
comparisons and function values (exponential, tanh, square root) count one each, a product of
matrices two per multiplication. It is the usual count of floating-point operations, derived here
from the formulas; where a formula sums over a dimension, ``along`` names what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

Kind = Literal["codes", "integer", "float", "exact"]
Sizes = tuple[int, ...]
Count = Callable[[Sequence[Sizes], Sizes, Mapping], float]
"""Sizes of the sources, sizes of the result, attributes -> operations."""


@dataclass(frozen=True)
class Operation:
    """How an operation treats codes, and what it costs.

    Attributes
    ----------
    kind : "codes", "integer", "float" or "exact"
    work : float or callable
        Operations per number of the result, or in all from sizes and attributes.
    by_step : bool
        Whether it looks at one time step at a time, so that sequences can be streamed.
    """

    kind: Kind
    work: float | Count = 0.0
    by_step: bool = False

    def operations(self, sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
        """Return the operations behind a result of some size."""
        if callable(self.work):
            return self.work(sources, result, attrs)
        return self.work * prod(result)


def _window(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    kernel = attrs["kernel_size"]
    return prod(kernel if isinstance(kernel, list) else [kernel]) * prod(result)


def _inputs(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    return prod(sources[0])


def _product(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    return 2.0 * sources[0][-1] * prod(result)


def _attention(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    """Scores and weighted values are products; scaling and softmax are five per score."""
    query, key = sources[0], sources[1]
    scores = prod(query[:-1]) * key[-2]
    return scores * (2.0 * query[-1] + 5.0 + 2.0 * result[-1])


def _einsum(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    letters = attrs["args"][0].partition("->")[0].split(",")
    size = {c: n for names, sizes in zip(letters, sources, strict=False)
            for c, n in zip(names, sizes, strict=False)}  # fmt: skip
    return 2.0 * prod(size.values())


def _digital_layer(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    counted = sources[0] if attrs.get("transposed") else result
    return 2.0 * attrs["macs_per_output"] * prod(counted)


def _interpolation(sources: Sequence[Sizes], result: Sizes, attrs: Mapping) -> float:
    return 0.0 if attrs["kwargs"].get("mode", "nearest") == "nearest" else 7.0 * prod(result)


def _table() -> dict[str, Operation]:
    found: dict[str, Operation] = {}

    def add(kind: Kind, work: float | Count, names: str, by_step: bool = False) -> None:
        for name in names.split():
            found[name] = Operation(kind, work, by_step)

    add("codes", 1.0, "relu", by_step=True)
    add("codes", _window, "max_pool2d max_pool1d")
    add("codes", 0.0, "flatten subsample pad pixel_shuffle pixel_unshuffle upsample")
    add("codes", 0.0, "reshape permute transpose unsqueeze squeeze expand movedim flip roll repeat")
    add("codes", 0.0, "index", by_step=True)
    add("integer", 1.0, "add", by_step=True)
    add("integer", 0.0, "concat stack", by_step=True)
    add("integer", 2.0, "affine")
    add("integer", _window, "avg_pool2d avg_pool1d")
    add("integer", _inputs, "global_avg_pool adaptive_avg_pool")
    add("integer", _interpolation, "interpolate")
    add("codes", _inputs, "adaptive_max_pool amax")
    add("float", 1.0, "mul sub div pow sqrt rsqrt exp log neg abs reciprocal square clamp", True)
    add("float", 1.0, "maximum minimum masked_fill where", by_step=True)
    add("float", _inputs, "mean sum")
    add("float", lambda s, r, a: 3.0 * prod(s[0]), "var std")
    add("float", _product, "matmul")
    add("float", _einsum, "einsum")
    add("float", _attention, "attention")
    add("float", 1.0, "attention_bias")
    add("float", 0.0, "constant full arange embedding lengths", by_step=True)
    # Mean, variance (three per number), normalisation and affine (four).
    add("float", 8.0, "layer_norm rms_norm", by_step=True)
    add("float", 8.0, "group_norm instance_norm batch_norm_nd")
    # Maximum, difference, exponential, sum, quotient.
    add("float", 5.0, "softmax log_softmax softmin logsumexp", by_step=True)
    add("float", 1.0, "sigmoid tanh leaky_relu prelu relu6 hardtanh sin cos", by_step=True)
    add("float", 3.0, "elu selu celu softplus softsign logsigmoid hardsigmoid", by_step=True)
    add("float", 3.0, "silu hardswish", by_step=True)
    add("float", 4.0, "gelu mish", by_step=True)
    add("float", 2.0, "glu", by_step=True)
    add("float", _digital_layer, "convolution")
    add("float", _digital_layer, "linear_digital", by_step=True)
    add("float", _digital_layer, "recurrence")
    # Per hidden unit: four gates of one FMA and one function value each, the state, its tanh.
    add("float", 19.0, "lstm", by_step=True)
    add("float", 17.0, "gru", by_step=True)
    add("float", 3.0, "rnn", by_step=True)
    add("exact", 1.0, "eq ne lt le gt ge logical_not logical_and logical_or tril triu", True)
    add("exact", 0.0, "trim", by_step=False)
    return found


OPERATIONS = _table()
"""Every digital operation by name."""

RECURRENT = frozenset({"lstm", "gru", "rnn"})
"""Operations that run cores once per time step; they write NAME, NAME.h and NAME.c."""
