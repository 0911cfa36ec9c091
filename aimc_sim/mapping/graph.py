"""The network that the mapper reads: a small graph of named operations, without torch.

A node reads named values and writes one value, which carries the node's own name. Arrays are
numpy, attributes are plain JSON values, so that a graph can come from any framework.

==================  =======================================================================
operation           arrays; attributes
==================  =======================================================================
input               the batch that enters the chip
conv2d              weight (out, in / groups, kh, kw), bias? (out,); stride, padding, dilation,
                    groups?, axis?
conv1d              as conv2d with kh = 1 and pairs that begin with 1, 0, 1, for (N, C, L)
conv_transpose2d    weight (in, out / groups, kh, kw), bias?; as conv2d, and output_padding
conv_transpose1d    as conv_transpose2d with kh = 1 and pairs that begin with 1, 0, 1, 0
linear              weight (out, in), bias? (out,); axis?
lstm, gru, rnn      weight_ih, weight_hh, bias_ih?, bias_hh?, weight_hr?; reverse, function, axis,
                    initial (values given for hidden and cell state), lengths (whether the last
                    value read holds them), layers: names of its matrices; writes NAME,
                    NAME.h and NAME.c
spiking             threshold (units,), strength? (units,), weight_hh? (sums, units); reverse,
                    neuron (:class:`aimc_sim.digital.spiking.Neuron`), axis, initial, layers: reads
                    the sums of inputs that a layer before it made; writes as lstm
spiking_attention   --; reads Q, K and V, which hold spikes; steps, heads, scale, axis
                    (:mod:`aimc_sim.digital.attention`)
batch_norm          scale (channels,), offset (channels,): y = scale x + offset;
                    mean, std (channels,), optional: of y during training
relu, add           --
concat              dim: 1; two or more values become one, channel after channel
max_pool2d          kernel_size, stride, padding, dilation, ceil_mode
avg_pool2d          kernel_size, stride, padding, ceil_mode, count_include_pad
global_avg_pool     mean of each map, kept as a 1x1 map
flatten             all dimensions after the batch become one
subsample           slices: [start, stop, step] of each dimension, the batch one being full
pad                 pad: pairs (before, after) from the last dimension backwards, with zeros
==================  =======================================================================

Two-dimensional attributes are lists [rows, columns] in pixels of the feature map; ``axis`` is the
dimension that counts the batch, 0 if absent. Every other operation of
:mod:`aimc_sim.ops` may stand in a graph as well, with its attributes and arrays.

An analog node with ``devices`` (name of another node; for recurrent ones a name per matrix) is a
further call of that layer, with the weights on its devices. An addition with ``merge`` =
false, or a pair of truth values for its two operands, says which of them has every number of
the result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aimc_sim.chip.program import leaves
from aimc_sim.ops import OPERATIONS as DIGITAL
from aimc_sim.ops import RECURRENT

_MATRICES = ({"weight"}, {"bias"})
_GATES = ({"weight_ih", "weight_hh"}, {"bias_ih", "bias_hh", "weight_hr"})
_ARRAYS = {
    "conv2d": _MATRICES,
    "conv1d": _MATRICES,
    "conv_transpose2d": _MATRICES,
    "conv_transpose1d": _MATRICES,
    "linear": _MATRICES,
    "batch_norm": ({"scale", "offset"}, {"mean", "std"}),
    **dict.fromkeys(RECURRENT, _GATES),
    "spiking": ({"threshold"}, {"weight_hh", "strength"}),
}
_WEIGHT_NDIM = {
    "conv2d": 4, "conv1d": 4, "conv_transpose2d": 4, "conv_transpose1d": 4, "linear": 2,
}  # fmt: skip
_GEOMETRY = {"stride", "padding", "dilation"}
_ATTRS = {
    "conv2d": _GEOMETRY,
    "conv1d": _GEOMETRY,
    "conv_transpose2d": _GEOMETRY | {"output_padding"},
    "conv_transpose1d": _GEOMETRY | {"output_padding"},
    **{op: {"reverse", "layers"} for op in RECURRENT},
    "spiking": {"reverse", "layers", "neuron"},
    "spiking_attention": {"steps", "heads", "scale", "axis"},
    "max_pool2d": {"kernel_size", "stride", "padding", "dilation", "ceil_mode"},
    "avg_pool2d": {"kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"},
    "subsample": {"slices"},
    "pad": {"pad"},
    "concat": {"dim"},
}
_ARITY = {
    "input": (0, 0), "add": (2, 2), "concat": (2, 1000), "batch_norm": (1, 1),
    **dict.fromkeys(_WEIGHT_NDIM, (1, 1)),
    **dict.fromkeys(("relu", "max_pool2d", "avg_pool2d", "global_avg_pool", "flatten"), (1, 1)),
    **dict.fromkeys(("subsample", "pad"), (1, 1)),
    **dict.fromkeys(RECURRENT, (1, 4)),
    "spiking_attention": (3, 3),
}  # fmt: skip
"""Fewest and most values read."""

ANALOG = frozenset({*_WEIGHT_NDIM, *RECURRENT} - {"spiking"})
"""Operations whose weights go on crossbars; spiking neurons stand behind one of them."""

OPERATIONS = frozenset({"input", "batch_norm", *ANALOG, *DIGITAL})
"""Every operation that a graph may hold."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; its output value has the node's name.

    Parameters
    ----------
    name : str
        Unique in the network; the torch module path where there is one.
    op : str
        The operation, one of :data:`OPERATIONS`.
    inputs : tuple of str
        Names of the values read.
    attrs : dict of str to JSON values
        Attributes of the operation; see the table of the module.
    arrays : dict of str to numpy.ndarray
        Trained numbers, float32 and dimensionless, with the shapes in the table of the module.
    modules : tuple of str
        Paths of the torch modules behind the node; empty for a function.

    Raises
    ------
    ValueError
        If the operation is unknown, or its inputs, attributes or arrays are not as in the
        table, or an array holds NaN or infinity.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"node '{self.name}'"
        if self.op not in OPERATIONS:
            raise ValueError(
                f"{where}: unknown operation '{self.op}'; known: {', '.join(sorted(OPERATIONS))}"
            )
        arity = _ARITY.get(self.op, (0, 1000))
        if not arity[0] <= len(self.inputs) <= arity[1]:
            raise ValueError(
                f"{where} ({self.op}) reads {self.inputs}, expected {arity[0]} to {arity[1]} values"
            )
        required, optional = _ARRAYS.get(self.op, (set(), set(self.arrays)))
        if not required <= set(self.arrays) <= required | optional:
            raise ValueError(
                f"{where} ({self.op}) has arrays {sorted(self.arrays)}, expected "
                f"{sorted(required)} and perhaps {sorted(optional)}"
            )
        missing = _ATTRS.get(self.op, set()) - set(self.attrs)
        if missing:
            raise ValueError(f"{where} ({self.op}) lacks the attributes {sorted(missing)}")
        json.dumps(self.attrs)  # a TypeError here names the value that is not JSON
        for key, array in self.arrays.items():
            self._check_array(key, array)

    def _check_array(self, key: str, array: np.ndarray) -> None:
        """Raise ValueError if an array has a shape or numbers that do not fit the operation."""
        where = f"layer '{self.name}': {key}"
        ndim = _WEIGHT_NDIM.get(self.op, array.ndim) if key == "weight" else 1
        if self.op not in _ARRAYS or self.op in RECURRENT:
            ndim = array.ndim
        if array.ndim != ndim or 0 in array.shape:
            if self.op in _ARRAYS or array.ndim != ndim:
                raise ValueError(
                    f"{where} has shape {array.shape}, expected {ndim} sizes above zero"
                )
        # Masks hold minus infinity; in trained numbers it is a fault.
        trained = self.op in _ARRAYS or key in ("weight", "bias")
        bad = int(np.count_nonzero(~np.isfinite(array))) if trained else 0
        if bad:
            raise ValueError(
                f"{where} holds {bad} values of {array.size} that are NaN or infinite; "
                f"repair the trained model before mapping it"
            )
        if self.op not in _ARRAYS or self.op in RECURRENT:
            return
        channels = self.arrays["weight" if self.op in _WEIGHT_NDIM else "scale"].shape[0]
        if self.op.startswith("conv_transpose"):
            channels = self.arrays["weight"].shape[1] * int(self.attrs.get("groups", 1))
        if key != "weight" and array.shape[0] != channels:
            raise ValueError(f"{where} has {array.shape[0]} entries for {channels} channels")

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values written: the node's own, and the states of a recurrent one."""
        if self.op in RECURRENT:
            return self.name, f"{self.name}.h", f"{self.name}.c"
        return (self.name,)


@dataclass(frozen=True, eq=False)
class Network:
    """A network.

    Parameters
    ----------
    nodes : tuple of Node
        Operations in execution order: a node reads only values written before it.
    input, output : str
        Names of the (first) value that enters and of the (first) value that leaves.
    axis : int or None
        Dimension of the first input that counts the batch; None: the inputs of a call are one
        image.
    results : tree, optional
        All values that leave, see :class:`aimc_sim.chip.program.Program`; None: ``output``.
    axes : tuple of (int or None), optional
        Dimension of every input that counts the batch, None for an input without a batch; empty:
        ``axis`` for all.
    conditions : tuple of trees
        Conditions on the sizes of the inputs, see :mod:`aimc_sim.frontend.sizes`.

    Raises
    ------
    ValueError
        If a name is used twice, a value is read before it is written, there is not exactly
        one input node, or the output is written by no node.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str
    axis: int | None = 0
    results: Any = None
    axes: tuple[int | None, ...] = ()
    conditions: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.results is None:
            object.__setattr__(self, "results", ["value", self.output, 0])
        if not self.axes:
            object.__setattr__(self, "axes", (self.axis,) * len(self.inputs))
        written: set[str] = set()
        for node in self.nodes:
            if node.name in written:
                raise ValueError(f"two nodes are named '{node.name}'; names must be unique")
            for name in node.inputs:
                if name not in written:
                    raise ValueError(
                        f"node '{node.name}' reads '{name}', which no earlier node writes; "
                        f"put the nodes in execution order"
                    )
            written.update(node.values)
        if self.inputs[:1] != (self.input,):
            raise ValueError(
                f"the network has the inputs {list(self.inputs)}, expected '{self.input}' first"
            )
        missing = [name for name, _ in leaves(self.results) if name not in written]
        if missing or self.output not in written:
            raise ValueError(f"the output '{(missing or [self.output])[0]}' is written by no node")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values that enter."""
        return tuple(node.name for node in self.nodes if node.op == "input")

    def readers(self) -> dict[str, int]:
        """Return how often each value is read; leaving the network counts as one reading.

        Returns
        -------
        dict of str to int
            Number of readings by name of the value.
        """
        counts = {name: 0 for node in self.nodes for name in node.values}
        for node in self.nodes:
            for name in node.inputs:
                counts[name] += 1
        for name, _ in leaves(self.results):
            counts[name] += 1
        return counts
