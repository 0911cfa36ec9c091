"""Operations that only order, cut or join numbers: what happens to dimensions and the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aimc_sim.bridge.trace_digital import counts_batch, emit, on_sizes
from aimc_sim.bridge.trace_values import (
    Expression,
    Parameter,
    Pieces,
    Size,
    Value,
    as_dim,
    as_integer,
    as_tensor,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk


def _listed(sizes: tuple[Any, ...]) -> list[Any]:
    """Return sizes given one by one or as one sequence."""
    if len(sizes) == 1 and isinstance(sizes[0], Sequence):
        return list(sizes[0])
    return list(sizes)


def permute(walk: Walk, name: str, input: Any, *order: Any, dims: Any = None) -> Any:
    """Dimensions in another order."""
    where = f"operation '{name}'"
    dims = order if dims is None else dims
    if isinstance(input, Parameter):
        return Parameter(input.path, input.tensor.permute(*_listed(dims)))
    value = as_tensor(input, where, "permute")
    order = [as_integer(where, dim) % len(_listed(dims)) for dim in _listed(dims)]
    axis = order.index(value.axis) if value.axis in order else None
    return emit(walk, name, "permute", (value, order), ndim=len(order), axis=axis)


def transpose(walk: Walk, name: str, input: Any, dim0: Any, dim1: Any) -> Any:
    """Two dimensions swapped."""
    where = f"operation '{name}'"
    if isinstance(input, Parameter):
        return Parameter(input.path, input.tensor.transpose(dim0, dim1))
    value = as_tensor(input, where, "transpose")
    first, second = as_dim(where, value, dim0), as_dim(where, value, dim1)
    axis = {first: second, second: first}.get(value.axis, value.axis)
    return emit(
        walk, name, "transpose", (value, first, second), ndim=value.ndim,
        axis=axis if axis is None or axis >= 0 else None,
    )  # fmt: skip


def swapaxes(walk: Walk, name: str, input: Any, axis0: Any, axis1: Any) -> Any:
    """The same under numpy's name."""
    return transpose(walk, name, input, axis0, axis1)


def transposed(walk: Walk, name: str, input: Any) -> Any:
    """``x.T``, ``x.mT`` and ``x.t()``: the last two dimensions swapped."""
    return transpose(walk, name, input, -2, -1)


def unsqueeze(walk: Walk, name: str, input: Any, dim: Any) -> Any:
    """A dimension of size 1 more."""
    where = f"operation '{name}'"
    if isinstance(input, Parameter):
        return Parameter(input.path, input.tensor.unsqueeze(dim))
    value = as_tensor(input, where, "unsqueeze")
    dim = as_integer(where, dim)
    ndim = None if value.ndim is None else value.ndim + 1
    at = dim + ndim if dim < 0 and ndim is not None else dim
    axis = value.axis
    if axis is not None and 0 <= at <= axis:
        axis += 1
    return emit(walk, name, "unsqueeze", (value, dim), ndim=ndim, axis=axis)


def squeeze(walk: Walk, name: str, input: Any, dim: Any = None) -> Value:
    """A dimension of size 1 less."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "squeeze")
    if dim is None or isinstance(dim, Sequence):
        raise unsupported(where, "squeeze", "name one dimension; which are 1 depends on the data")
    at = as_dim(where, value, dim)
    if at == value.axis:
        raise unsupported(where, "squeeze", "it drops the batch; keep it")
    axis = value.axis
    if axis is not None and 0 <= at < axis:
        axis -= 1
    ndim = None if value.ndim is None else value.ndim - 1
    return emit(walk, name, "squeeze", (value, at), ndim=ndim, axis=axis)


def flatten_some(walk: Walk, name: str, value: Value, start: int, end: int) -> Value:
    """Some neighbouring dimensions become one."""
    where = f"operation '{name}'"
    start, end = as_dim(where, value, start), as_dim(where, value, end)
    axis, ndim = value.axis, value.ndim
    if axis is not None and start >= 0 and (end < 0 or end >= axis):
        if start < axis:
            raise unsupported(
                where, "flatten", "other dimensions lie before the batch; keep it apart"
            )
    elif axis is not None and 0 <= end < axis:
        axis -= end - start
    if ndim is not None and end >= 0:
        ndim -= end - start
    attrs = {"start_dim": start, "end_dim": end}
    return walk.emit(name, "flatten", (value,), ndim=ndim, attrs=attrs, axis=axis)


def reshape(walk: Walk, name: str, input: Any, *sizes: Any, modules: Any = ()) -> Any:
    """Any other sizes: the batch is where its size stands."""
    where = f"operation '{name}'"
    wanted = _listed(sizes)
    if isinstance(input, Parameter):
        return Parameter(input.path, input.tensor.reshape([as_integer(where, s) for s in wanted]))
    value = as_tensor(input, where, "reshape")
    axis: int | None = None
    for place, size in enumerate(wanted):
        if counts_batch(walk, size):
            axis = place
    if axis is None and value.axis == 0 and wanted and wanted[0] == -1:
        axis = 0  # merged with others, image after image
    if axis is None and value.axis is not None:
        raise unsupported(
            where, "reshape", "no size in it is that of the batch; write x.shape[0] there"
        )
    return emit(
        walk, name, "reshape", (value, wanted), ndim=len(wanted), axis=axis, modules=modules
    )  # fmt: skip


def unflatten(walk: Walk, name: str, input: Any, dim: Any, sizes: Any, modules: Any = ()) -> Value:
    """One dimension becomes several."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "unflatten")
    at = as_dim(where, value, dim)
    if at < 0:
        raise unsupported(where, "unflatten", "count the dimension from the front")
    shape: list[Any] = [Size(value.name, (d,)) for d in range(at)] + list(sizes)
    if value.ndim is None:
        raise unsupported(where, "unflatten", "the number of dimensions is not known here")
    shape += [Size(value.name, (d,)) for d in range(at + 1, value.ndim)]
    return reshape(walk, name, value, *shape, modules=modules)


def expand(walk: Walk, name: str, input: Any, *sizes: Any) -> Value:
    """Dimensions of size 1 repeated."""
    where = f"operation '{name}'"
    wanted = _listed(sizes)
    axis = input.axis if isinstance(input, Value) else None
    if axis is not None and input.ndim is not None:
        axis += len(wanted) - input.ndim  # new dimensions stand in front
    named = [place for place, size in enumerate(wanted) if counts_batch(walk, size)]
    if named:
        axis = named[-1]
    elif axis is not None and (axis >= len(wanted) or wanted[axis] != -1):
        raise unsupported(where, "expand", "no size in it is that of the batch; write -1 there")
    if not isinstance(input, Value | Parameter):
        raise unsupported(where, "expand", f"its operand {input!r:.60} is not a tensor")
    return emit(walk, name, "expand", (input, wanted), ndim=len(wanted), axis=axis)


def repeat(walk: Walk, name: str, input: Any, *times: Any) -> Value:
    """Copies side by side; the batch only where there was one of it."""
    wanted = _listed(times)
    batch = [place for place, size in enumerate(wanted) if counts_batch(walk, size)]
    if isinstance(input, Value) and input.axis is not None:
        at = input.axis + (0 if input.ndim is None else len(wanted) - input.ndim)
        if wanted[at] != 1:
            raise unsupported(f"operation '{name}'", "repeat", "it repeats the batch; keep it")
        batch = [at]
    return emit(
        walk, name, "repeat", (input, wanted), ndim=len(wanted), axis=batch[0] if batch else None
    )


def stack(walk: Walk, name: str, tensors: Any, dim: Any = 0) -> Value:
    """Values side by side along a new dimension."""
    where = f"operation '{name}'"
    parts = tuple(as_tensor(value, where, "stack") for value in tensors)
    ndim = None if parts[0].ndim is None else parts[0].ndim + 1
    dim = as_integer(where, dim)
    at = dim + ndim if dim < 0 and ndim is not None else dim
    axis = parts[0].axis
    if axis is not None and 0 <= at <= axis:
        axis += 1
    return walk.emit(name, "stack", parts, ndim=ndim, attrs={"dim": dim}, axis=axis)


def chunk(walk: Walk, name: str, input: Any, chunks: int, dim: int = 0) -> Pieces:
    """Equal pieces of a dimension."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "chunk")
    total = Size(value.name, (dim,))
    size = on_sizes(where, "floordiv", on_sizes(where, "add", total, chunks - 1), chunks)
    return _cut(walk, name, value, dim, size)


def split(
    walk: Walk, name: str, tensor: Any, split_size_or_sections: Any = None, dim: int = 0, *,
    split_size: Any = None,
) -> Pieces:  # fmt: skip
    """Pieces of given sizes along a dimension."""
    value = as_tensor(tensor, f"operation '{name}'", "split")
    size = split_size_or_sections if split_size is None else split_size
    if isinstance(size, Sequence):
        starts = [sum(size[:i]) for i in range(len(size))]

        def piece(i: int) -> Value:
            return _narrow(walk, f"{name}.{i}", value, dim, starts[i], starts[i] + size[i])

        return Pieces(value, piece)
    return _cut(walk, name, value, dim, size)


def unbind(walk: Walk, name: str, input: Any, dim: int = 0) -> Pieces:
    """All that lies along a dimension, one by one."""
    value = as_tensor(input, f"operation '{name}'", "unbind")

    def piece(i: int) -> Value:
        at = as_dim(name, value, dim)
        if at < 0:
            raise unsupported(f"operation '{name}'", "unbind", "count the dimension from the front")
        return index(walk, f"{name}.{i}", value, (*[slice(None)] * at, i))

    return Pieces(value, piece)


def _cut(walk: Walk, name: str, value: Value, dim: int, size: Any) -> Pieces:
    where = f"operation '{name}'"

    def piece(i: int) -> Value:
        if isinstance(size, int) and i >= 0:
            return _narrow(walk, f"{name}.{i}", value, dim, size * i, size * (i + 1))
        number: Any = i
        if i < 0:  # counted from the end: how many there are depends on the size
            whole = on_sizes(
                where, "add", Size(value.name, (dim,)), on_sizes(where, "sub", size, 1)
            )
            number = on_sizes(where, "add", on_sizes(where, "floordiv", whole, size), i)
        start = on_sizes(where, "mul", size, number)
        return _narrow(walk, f"{name}.{i}", value, dim, start, on_sizes(where, "add", start, size))

    return Pieces(value, piece)


def _narrow(walk: Walk, name: str, value: Value, dim: int, start: Any, stop: Any) -> Value:
    if dim < 0 and value.ndim is None:
        if dim != -1:
            raise unsupported(f"operation '{name}'", "split", "count the dimension from the front")
        return index(walk, name, value, (Ellipsis, slice(start, stop)))
    at = as_dim(name, value, dim)
    return index(walk, name, value, (*[slice(None)] * at, slice(start, stop)))


def narrow(walk: Walk, name: str, input: Any, dim: int, start: Any, length: Any) -> Value:
    """Part of a dimension."""
    value = as_tensor(input, f"operation '{name}'", "narrow")
    stop = start + length if isinstance(length, int) else on_sizes(name, "add", start, length)
    return _narrow(walk, name, value, dim, start, stop)


def index(walk: Walk, name: str, source: Any, parts: Any) -> Value:
    """Indices, slices, new dimensions and masks, of a value or of a parameter."""
    where = f"operation '{name}'"
    parts = list(parts) if isinstance(parts, tuple | list) else [parts]
    if isinstance(source, Parameter):
        axis: int | None = None
        if any(isinstance(part, Value) for part in parts):
            axis = next(p.axis for p in parts if isinstance(p, Value))
        return emit(walk, name, "index", (source, parts), ndim=None, axis=axis)
    value = as_tensor(source, where, "indexing")
    gathered = [part for part in parts if isinstance(part, Value)]
    axis, at, removed, after = value.axis, 0, 0, 0
    counted = sum(part is not None for part in parts)
    for part in parts:
        if part is Ellipsis:
            if value.ndim is None:
                at = -100  # behind it dimensions count from the end; the batch is before it
                continue
            at += value.ndim - (counted - 1)
            continue
        if part is None:
            after += axis is not None and 0 <= at <= axis
            continue
        if at == axis and not isinstance(part, Value) and part != slice(None):
            whole = isinstance(part, slice) and part == slice(0, None)
            if not whole:
                raise unsupported(
                    where, "indexing", "it takes part of the batch; keep all of it ([:])"
                )
        if not isinstance(part, slice | Value):
            if not isinstance(part, int | Size | Expression):
                raise unsupported(where, "indexing", f"[{part!r:.40}] is not an index or a slice")
            removed += axis is not None and 0 <= at < axis
        at += 1
    axis = None if axis is None else axis - removed + after
    if gathered:
        axis = 0
    lost = sum(isinstance(p, int | Size | Expression) and p is not None for p in parts)
    lost += max(0, len(gathered) - 1)
    ndim = None if value.ndim is None else value.ndim - lost + sum(p is None for p in parts)
    return emit(walk, name, "index", (value, parts), ndim=ndim, axis=axis, memory=value.memory)


def interpolate(
    walk: Walk, name: str, input: Any, size: Any = None, scale_factor: Any = None,
    mode: str = "nearest", align_corners: Any = None, recompute_scale_factor: Any = None,
    antialias: bool = False, modules: Any = (),
) -> Value:  # fmt: skip
    """Larger or smaller maps; nearest neighbours keep codes, other modes average."""
    value = as_tensor(input, f"operation '{name}'", "interpolate")
    op = "upsample" if mode in ("nearest", "nearest-exact") else "interpolate"
    if not isinstance(size, Size | Expression | int | type(None)):
        size = list(size)
    kwargs = {
        "size": size,
        "scale_factor": scale_factor,
        "mode": mode,
        "align_corners": align_corners,
        "recompute_scale_factor": recompute_scale_factor,
        "antialias": antialias or None,
    }
    return emit(walk, name, op, (value,), kwargs, modules=modules, ndim=value.ndim, axis=value.axis)
