"""The network as the mapper sees it: a small graph of named operations, without torch.

A node reads named values and writes one value, which carries the node's own name. Arrays are
numpy, attributes are plain JSON values, so that a graph can come from any framework.

==================  =======================================================================
operation           arrays; attributes
==================  =======================================================================
input               the batch that enters the chip
conv2d              weight (out, in, kh, kw), bias? (out,); stride, padding, dilation
linear              weight (out, in), bias? (out,)
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

Two-dimensional attributes are lists [rows, columns] in pixels of the feature map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ARRAYS = {
    "conv2d": ({"weight"}, {"bias"}),
    "linear": ({"weight"}, {"bias"}),
    "batch_norm": ({"scale", "offset"}, {"mean", "std"}),
}
_WEIGHT_NDIM = {"conv2d": 4, "linear": 2}
_ATTRS = {
    "conv2d": {"stride", "padding", "dilation"},
    "max_pool2d": {"kernel_size", "stride", "padding", "dilation", "ceil_mode"},
    "avg_pool2d": {"kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"},
    "subsample": {"slices"},
    "pad": {"pad"},
    "concat": {"dim"},
}
_INPUTS = {"input": 0, "add": 2}

OPERATIONS = (
    "input",
    "conv2d",
    "linear",
    "batch_norm",
    "relu",
    "add",
    "concat",
    "max_pool2d",
    "avg_pool2d",
    "global_avg_pool",
    "flatten",
    "subsample",
    "pad",
)
"""Every operation that a graph may hold."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; its output value has the node's name.

    Parameters
    ----------
    name : str
        Unique in the network; the torch module path where there is one.
    op : str
        One of :data:`OPERATIONS`.
    inputs : tuple of str
        Names of the values read.
    attrs : dict
        JSON values; see the table of the module.
    arrays : dict of str to numpy.ndarray
        float32, dimensionless; see the table of the module.
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
            raise ValueError(f"{where}: unknown operation '{self.op}'; known: {OPERATIONS}")
        arity = max(2, len(self.inputs)) if self.op == "concat" else _INPUTS.get(self.op, 1)
        if len(self.inputs) != arity:
            raise ValueError(f"{where} ({self.op}) reads {self.inputs}, expected {arity} values")
        required, optional = _ARRAYS.get(self.op, (set(), set()))
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
        where = f"layer '{self.name}': {key}"
        ndim = _WEIGHT_NDIM[self.op] if key == "weight" else 1
        if array.ndim != ndim or 0 in array.shape:
            raise ValueError(f"{where} has shape {array.shape}, expected {ndim} sizes above zero")
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise ValueError(
                f"{where} holds {bad} values of {array.size} that are NaN or infinite; "
                f"repair the trained model before mapping it"
            )
        channels = self.arrays["weight" if self.op in _WEIGHT_NDIM else "scale"].shape[0]
        if array.shape[0] != channels:
            raise ValueError(f"{where} has {array.shape[0]} entries for {channels} channels")


@dataclass(frozen=True, eq=False)
class Network:
    """A network with one input and one output.

    Parameters
    ----------
    nodes : tuple of Node
        In execution order: a node reads only values written before it.
    input, output : str
        Names of the value that enters and of the value that leaves.

    Raises
    ------
    ValueError
        If a name is used twice, a value is read before it is written, there is not exactly
        one input node, or the output is written by no node.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str

    def __post_init__(self) -> None:
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
            written.add(node.name)
        inputs = [node.name for node in self.nodes if node.op == "input"]
        if inputs != [self.input]:
            raise ValueError(f"the network has the inputs {inputs}, expected only '{self.input}'")
        if self.output not in written:
            raise ValueError(f"the output '{self.output}' is written by no node")

    def readers(self) -> dict[str, int]:
        """Return how often each value is read, the network's output being one reading."""
        counts = {node.name: 0 for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                counts[name] += 1
        counts[self.output] += 1
        return counts
