"""Constants of a record: operations on them are computed at once, their numbers become arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor, fx

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend.values import Constant, Value, unsupported

CONVERT = "supported now: float32 and float64; convert the model with model.float()"
"""End of the sentence about a number format that is not supported."""

NO_DATA = "on the meta device and has no data; load the weights first"
"""End of the sentence about a tensor without numbers."""

_RESHAPES: dict[Any, Any] = dict.fromkeys(
    (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default),
    torch.ops.aten.reshape.default,
)


def is_constant(args: Any, kwargs: Any) -> bool:
    """Return whether arguments hold no value and no size of the inputs.

    Parameters
    ----------
    args, kwargs
        Arguments of a recorded call: values, constants, sizes, and containers of them.

    Returns
    -------
    bool
        True if the result of the call does not depend on the inputs.
    """
    found = True

    def visit(part: Any) -> Any:
        nonlocal found
        if isinstance(part, Value | sympy.Basic):
            found = False
        return part

    fx.node.map_aggregate((args, kwargs), visit)
    return found


def computed(where: str, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Return the result of an operation on constants.

    Parameters
    ----------
    where : str
        The words that name the call in a message.
    node : fx.Node
        The recorded call.
    args, kwargs
        Arguments of the call, with constants in place of tensors.

    Returns
    -------
    Constant, number, or tuple of them
        Results of the call; a tensor has the path of the (first trained) constant behind it.

    Raises
    ------
    UnsupportedLayerError
        If a constant has no data.
    """
    behind: list[Constant] = []

    def use(part: Any) -> Any:
        if isinstance(part, Constant):
            if part.tensor is None or part.tensor.device.type == "meta":
                raise unsupported(where, node.name, f"'{part.path}' is {NO_DATA}")
            behind.append(part)
            return part.tensor.detach()
        return part

    args, kwargs = fx.node.map_aggregate((args, kwargs), use)
    kwargs = {k: v for k, v in kwargs.items() if k != "device"}
    # Copies that only put numbers in order were dropped, so a view may need one.
    target: Any = _RESHAPES.get(node.target, node.target)
    with torch.no_grad():
        result = target(*args, **kwargs)
    trained = next((c for c in behind if c.trained), None)
    path = (trained or behind[0]).path if behind else ""

    def keep(part: Any) -> Any:
        if isinstance(part, Tensor):
            return Constant(part, path, trained is not None, stored=False)
        return part

    if isinstance(result, tuple | list):
        return tuple(keep(part) for part in result)
    return keep(result)


def as_array(where: str, held: Constant, kind: str = "") -> np.ndarray:
    """Return a constant as an array.

    Parameters
    ----------
    where : str
        The words that name the layer or operation in a message.
    held : Constant
        The constant.
    kind : str
        Name of the constant in a message; "": its path.

    Returns
    -------
    numpy.ndarray of the constant's shape
        A copy; floating-point numbers are float32, others keep their type.

    Raises
    ------
    UnsupportedLayerError
        If the constant has no data, or a number format without a counterpart.
    """
    tensor, kind = held.tensor, kind or held.path or "constant"
    if tensor is None or tensor.device.type == "meta":
        raise unsupported(where, kind, f"it is {NO_DATA}")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise _wrong_type(where, kind, tensor)
    if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
        raise unsupported(
            where, kind, "it is complex, quantised or sparse; convert it to dense float32"
        )
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy().copy()


def weights(where: str, **parameters: Any) -> dict[str, np.ndarray]:
    """Return the parameters of a layer as arrays.

    Parameters
    ----------
    where : str
        The words that name the layer in a message.
    **parameters : Constant or None
        Parameters by name; None for those that the layer does not have.

    Returns
    -------
    dict of str to numpy.ndarray
        Float32 copies, of the parameters' shapes, of those that are there.

    Raises
    ------
    UnsupportedLayerError
        If a parameter has no data, or another type than float32 and float64.
    """
    arrays = {}
    for key, held in parameters.items():
        if held is None or held.tensor is None:
            continue
        on_meta = held.tensor.device.type == "meta"
        if not on_meta and held.tensor.dtype not in (torch.float32, torch.float64):
            raise _wrong_type(where, key, held.tensor)
        arrays[key] = as_array(where, held, key)
    return arrays


def _wrong_type(where: str, kind: str, tensor: Tensor) -> UnsupportedLayerError:
    """Return the error for a number format that is not supported."""
    name = str(tensor.dtype).removeprefix("torch.")
    return unsupported(where, kind, f"its type is {name}, {CONVERT}")
