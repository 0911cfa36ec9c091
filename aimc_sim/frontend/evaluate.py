"""Run a graph with torch, node by node, in float32: the record itself, without any chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aimc_sim.digital.apply import Dims, apply
from aimc_sim.digital.cells import cell_of, unroll
from aimc_sim.mapping.graph import Network, Node
from aimc_sim.ops import GATES, RECURRENT, spiking_states


def run_network(network: Network, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return every value of a graph.

    Parameters
    ----------
    network : Network
        The graph.
    inputs : sequence of tensors
        One for every input; floating-point ones become float32.

    Returns
    -------
    dict of str to tensors
        Values by name, the inputs included.
    """
    values = {
        name: x.float() if x.is_floating_point() else x
        for name, x in zip(network.inputs, inputs, strict=True)
    }
    sizes = {name: tuple(x.shape) for name, x in values.items()}
    with torch.no_grad():
        for node in network.nodes:
            if node.op != "input":
                values |= _run(node, [values[name] for name in node.inputs], sizes)
    return values


def _run(node: Node, inputs: list[Tensor], sizes: Dims) -> dict[str, Tensor]:
    """Return the values that a node writes."""
    if node.op in RECURRENT:
        return _recurrent(node, inputs)
    if node.op in _ANALOG:
        arrays = {key: torch.from_numpy(array) for key, array in node.arrays.items()}
        attrs = {k: v for k, v in node.attrs.items() if k not in ("axis", "devices")}
        return {node.name: _ANALOG[node.op](inputs[0], **arrays, **attrs)}
    if node.op == "batch_norm":
        x = inputs[0]
        shape = (1, -1, *(1,) * (x.ndim - 2))
        scale, offset = (torch.from_numpy(node.arrays[k]).view(shape) for k in ("scale", "offset"))
        return {node.name: x * scale + offset}
    attrs = {k: v for k, v in node.attrs.items() if not (node.op == "add" and k == "merge")}
    return {node.name: apply(node.op, inputs, attrs, node.arrays, sizes)}


def _lines(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a convolution of maps that reads and gives lines."""

    def run(x: Tensor, **more: Any) -> Tensor:
        return function(x[:, :, None], **more)[:, :, 0]

    return run


_ANALOG: dict[str, Callable[..., Tensor]] = {
    "conv2d": lambda x, **more: F.conv2d(x, **more),
    "conv1d": _lines(F.conv2d),
    "conv_transpose2d": lambda x, **more: F.conv_transpose2d(x, **more),
    "conv_transpose1d": _lines(F.conv_transpose2d),
    "linear": lambda x, **more: F.linear(x, **more),
}


def _recurrent(node: Node, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Return the outputs and the last states of a recurrent node."""
    attrs, axis = node.attrs, int(node.attrs.get("axis", 0))
    arrays = {k: torch.from_numpy(a) for k, a in node.arrays.items()}
    x = inputs[0].movedim(axis, 0)
    spiking = node.op == "spiking"  # its input is made by a layer of its own
    gates = x if spiking else F.linear(x, arrays["weight_ih"], arrays.get("bias_ih"))
    weight, projection = arrays.get("weight_hh"), arrays.get("weight_hr")
    given = inputs[1 : 1 + int(attrs.get("initial", 0))]
    if weight is None or spiking:
        sizes = spiking_states(attrs, tuple(gates.shape))
    else:
        sizes = (len(x), weight.shape[1]), (len(x), len(weight) // GATES[node.op])
    h = given[0] if given else x.new_zeros(sizes[0])
    c = given[1] if len(given) > 1 else x.new_zeros(sizes[1])
    lengths = inputs[-1].long() if attrs.get("lengths") else None
    one = cell_of(node.op, attrs, node.arrays)

    def cell(t: int, now: Tensor, state: Any) -> Any:
        made = None
        if weight is not None:
            made = F.linear(state[0], weight, arrays.get("bias_hh"))
            made = made if node.op == "gru" or spiking else made + now
        h, c = one(now, made, state)
        return (h if projection is None else F.linear(h, projection)), c

    y, (h, c) = unroll(gates, (h, h if node.op == "gru" else c), cell, attrs["reverse"], lengths)
    return {node.name: y.movedim(0, axis), f"{node.name}.h": h, f"{node.name}.c": c}


def largest(array: Tensor | np.ndarray) -> float:
    """Return the largest magnitude of the finite numbers in an array.

    Parameters
    ----------
    array : tensor or numpy.ndarray of any shape
        The numbers.

    Returns
    -------
    float
        The largest magnitude; 0 if there is no finite number.
    """
    x = torch.as_tensor(array).float()
    x = x[x.isfinite()].abs()
    return float(x.max()) if x.numel() else 0.0
