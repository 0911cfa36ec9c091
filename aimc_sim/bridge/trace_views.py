"""Flattening, views, padding and slices: what every network does between its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aimc_sim.bridge import trace_shapes as shapes
from aimc_sim.bridge.trace_values import (
    Parameter,
    Pieces,
    Shape,
    Size,
    Value,
    as_integer,
    as_tensor,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

_EVERYTHING = [None, None, None]


def flatten(
    walk: Walk, name: str, input: Any, start_dim: int = 0, end_dim: int = -1, modules: Any = ()
) -> Value:
    """Vectors from feature maps; vectors stay as they are."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "flatten")
    whole = end_dim == -1 or (value.ndim is not None and end_dim == value.ndim - 1)
    if start_dim == 0 and value.axis is not None:
        raise unsupported(
            where, "flatten", f"start_dim = 0, end_dim = {end_dim} merge the batch with the rest; "
            "supported now: start_dim = 1 (the batch stays)",
        )  # fmt: skip
    if start_dim != 1 or not whole or value.axis != 0:
        return shapes.flatten_some(walk, name, value, start_dim, end_dim)
    if value.ndim == 2:
        return value
    return walk.emit(
        name, "flatten", (value,), ndim=2, attrs={"start_dim": 1}, modules=modules,
        memory=value.memory,
    )  # fmt: skip


def view(walk: Walk, name: str, input: Any, *shape: Any) -> Any:
    """``x.view(x.size(0), -1)`` and its equivalents are a flattening; others reshape."""
    if isinstance(input, Parameter):
        return shapes.reshape(walk, name, input, *shape)
    where = f"operation '{name}'"
    value = as_tensor(input, where, "view")
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if len(sizes) == 2 and value.axis == 0:
        batch, rest = sizes
        is_batch = isinstance(batch, Size) and batch.dims == (0,)
        if isinstance(rest, Size):
            is_rest = rest.size_of == value.size_of and sorted(rest.dims) in ([1], [1, 2, 3])
        else:
            is_rest = isinstance(rest, int)
        flat = value.ndim in (2, 4) or rest == -1 or isinstance(rest, Size)
        if flat and ((is_batch and is_rest) or (batch == -1 and is_rest and rest != -1)):
            return flatten(walk, name, value, 1)
    return shapes.reshape(walk, name, value, *sizes)


def pad(
    walk: Walk, name: str, input: Any, pad: Any, mode: str = "constant", value: Any = None,
    modules: Any = (),
) -> Value:  # fmt: skip
    """Zeros around the map, or before and after its channels."""
    where = f"operation '{name}'"
    source = as_tensor(input, where, "pad")
    if mode == "constant" and value not in (None, 0):
        raise unsupported(where, "pad", f"value = {value}, supported now: 0")
    sizes = [as_integer(where, size) for size in pad]
    if len(sizes) >= 2 * (source.ndim or 4) and any(sizes[2 * (source.ndim or 4) - 2 :]):
        raise unsupported(where, "pad", f"it pads the batch ({sizes}); pad the other dimensions")
    attrs = {"pad": sizes} if mode == "constant" else {"pad": sizes, "mode": mode}
    return walk.emit(name, "pad", (source,), ndim=source.ndim, attrs=attrs, modules=modules)


def get_item(walk: Walk, name: str, source: Any, index: Any) -> Any:
    """Index of a tensor, of a shape, of what split it, or of a plain tuple."""
    if isinstance(source, Shape):
        if isinstance(index, int) and index < 0 and source.ndim is None:
            return Size(source.size_of, (index,))
        dims = range(source.ndim or 4)[index]  # open ends need it; maps are the rule
        if isinstance(index, slice):
            return tuple(Size(source.size_of, (dim,)) for dim in dims)
        return Size(source.size_of, (dims,))
    if isinstance(source, Pieces):
        if not isinstance(index, int):
            raise unsupported(f"operation '{name}'", "indexing", "pieces are taken one by one")
        return source.cut(index)
    if isinstance(source, tuple | list):
        return source[index]
    if isinstance(source, Parameter):
        return shapes.index(walk, name, source, index)
    where = f"operation '{name}'"
    value = as_tensor(source, where, "indexing")
    parts = list(index) if isinstance(index, tuple | list) else [index]
    if Ellipsis in parts and value.ndim is not None and None not in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (value.ndim - len(parts) + 1)
    strided = [
        [p.start, p.stop, p.step]
        for p in parts
        if isinstance(p, slice)
        and all(type(e) is int or e is None for e in (p.start, p.stop, p.step))
    ]
    first = strided[:1] in ([_EVERYTHING], [[0, None, None]])
    if len(strided) == len(parts) and first and value.axis == 0:
        strided[0] = _EVERYTHING
        return walk.emit(
            name, "subsample", (value,), ndim=value.ndim, attrs={"slices": strided},
            memory=value.memory,
        )  # fmt: skip
    return shapes.index(walk, name, value, index)


def size(walk: Walk, name: str, input: Any, dim: int | None = None) -> Any:
    """``x.size()`` and ``x.size(d)``."""
    shape = get_attribute(walk, name, input, "shape")
    return shape if dim is None else get_item(walk, name, shape, dim)


def get_attribute(walk: Walk, name: str, source: Any, attribute: str) -> Any:
    """Shape of a value, its last dimensions swapped; devices and types play no part."""
    if attribute in ("device", "dtype", "is_cuda"):
        return None
    if attribute == "mT" or (attribute == "T" and isinstance(source, Parameter)):
        return shapes.transposed(walk, name, source)
    if isinstance(source, Parameter) and attribute == "shape":
        return tuple(source.tensor.shape)
    if isinstance(source, Value) and attribute == "ndim" and source.ndim is not None:
        return source.ndim
    if not isinstance(source, Value) or attribute != "shape":
        raise unsupported(f"operation '{name}'", f".{attribute}", "supported now: .shape and .mT")
    return Shape(source.size_of, source.ndim)


def dimensions(walk: Walk, name: str, source: Any) -> int:
    """``x.dim()``, where it is known."""
    return get_attribute(walk, name, source, "ndim")


def pixel_shuffle(
    walk: Walk, name: str, input: Any, upscale_factor: int, modules: Any = ()
) -> Value:
    """Channels become neighbouring pixels."""
    value = as_tensor(input, f"operation '{name}'", "pixel_shuffle", ndim=4)
    attrs = {"factor": int(upscale_factor)}
    return walk.emit(name, "pixel_shuffle", (value,), ndim=4, attrs=attrs, modules=modules)


def zero_pad_module(walk: Walk, path: str, module: Any, x: Value) -> Value:
    """Zeros around the map, as a layer."""
    return pad(walk, path, x, module.padding, "constant", module.value, (path,))
