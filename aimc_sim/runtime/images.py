"""Inputs as a user gives them: checked and made tensors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from .. import arguments
from ..chip.program import AnalogLayer, DigitalStep, Program
from ..ops import RECURRENT
from .given import tensor
from .quantisers import as_integers

if TYPE_CHECKING:
    from ..frontend.recording import Example


def as_inputs(
    compiled: Program, given: Sequence[Any], named: Mapping[str, Any] = MappingProxyType({}),
    example: Example | None = None, recordable: bool = False,
    signature: inspect.Signature | None = None, batch: bool = False,
) -> tuple[tuple[Tensor, ...], Tensor | None]:  # fmt: skip
    """Return inputs as the tensors that a network reads, and the lengths of packed sequences.

    Parameters
    ----------
    compiled : Program
        Program whose inputs are to be filled.
    given : sequence
        Tensors or arrays, in the structure of the network's own arguments; or one packed sequence.
    named : mapping, optional
        Arguments by name.
    example : Example, optional
        Arguments that were recorded: dictionaries are read in its order.
    recordable : bool
        Whether the network can be recorded for inputs with another number of dimensions.
    signature : Signature, optional
        Of the network's forward method.
    batch : bool
        The arguments are a batch of data, to which the options of the record belong.

    Returns
    -------
    inputs : tuple of tensors
        float32; whole numbers and truth values keep their type where no core reads them.
    lengths : (B,) int64 tensor or None
        Time steps of every sequence; None if the input is not packed.

    Raises
    ------
    TypeError
        If something is no dense tensor of real numbers.
    ValueError
        If a shape does not fit, there is no image, one holds NaN or infinity, a token is not in
        the vocabulary, or a length is not one of 1 to the number of time steps.
    """
    if len(given) == 1 and isinstance(given[0], PackedSequence) and not named:
        arguments.dense(given[0].data, f"input '{compiled.input}'")
        x, lengths = pad_packed_sequence(given[0], batch_first=compiled.axis == 0)
        return (_checked(compiled, compiled.input, x, None),), lengths
    found = _flat(compiled, given, named, example, signature, batch)
    if len(found) != len(compiled.inputs):
        raise ValueError(
            f"the network has {len(compiled.inputs)} inputs ({', '.join(compiled.inputs)}), "
            f"got {len(found)}; give one tensor for each"
        )
    tensors: list[Tensor] = []
    size: int | None = None
    for name, axis, x in zip(compiled.inputs, compiled.axes, found, strict=True):
        x = _checked(compiled, name, tensor(name, x), size, recordable)
        if size is None and axis is not None:
            size = x.shape[axis]
        tensors.append(x)
    _check_lengths(compiled, tensors)
    return tuple(tensors), None


def _flat(
    compiled: Program, given: Sequence[Any], named: Mapping[str, Any], example: Example | None,
    signature: inspect.Signature | None, batch: bool,
) -> list[Any]:  # fmt: skip
    """Return the tensors in the arguments, in the order of the network's inputs."""
    if example is None or signature is None:
        found = [x for part in given for x in _parts(compiled, part, None, example is None)]
        named = {name: x for name, x in named.items() if x is not None}
        return found + [
            x for name in _ordered(compiled.inputs, named)
            for x in _parts(compiled, named[name], None, example is None)
        ]  # fmt: skip
    recorded = _bound(signature, example.args, example.kwargs)
    try:
        bound = _bound(signature, given, named)
    except TypeError as error:
        if not named:  # the tensors of structures one by one, in their order
            return [x for part in given for x in _parts(compiled, part, None, False)]
        names = ", ".join(signature.parameters)
        raise ValueError(f"{error}: the network takes {names}") from None
    defaults = {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in signature.parameters.items()
    }
    for name, value in recorded.items():
        if _is_option(value) and name not in bound and not batch:
            _check_option(defaults.get(name), value)
    order = [*list(recorded)[: len(example.args)], *example.kwargs]
    order += [name for name in bound if name not in order]
    return [
        x for name in order if name in bound
        for x in _parts(compiled, bound[name], recorded.get(name, defaults.get(name)), False)
    ]  # fmt: skip


def _bound(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[Any, Any]:
    """Return arguments by name, those given by place first; arguments of * by number."""
    found: dict[Any, Any] = {}
    for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            found |= {(name, place): part for place, part in enumerate(value)}
        else:
            found[name] = value
    return found


def _is_option(part: Any) -> bool:
    """Return whether an argument is an option of the network, and no tensor."""
    return part is None or isinstance(part, bool | str | int | float)


def _check_option(part: Any, recorded: Any) -> None:
    """Raise ValueError unless an option is that of the record: another one is another network."""
    if type(part) is not type(recorded) or part != recorded:
        raise ValueError(
            f"an argument is {part!r} where the network was recorded with {recorded!r}; make a "
            "chip of its own for it: from_model with such an example"
        )


def _ordered(inputs: Sequence[str], names: Iterable[str], between: str = "") -> list[str]:
    """Return the names of arguments, or keys of a dictionary, in the order of the inputs.

    Inputs are called after them, all but the first; so one name may be without an input.
    """
    ends = tuple(f"{between}{name}" for name in names)
    place = {
        name: next(
            (i for i, own in enumerate(inputs) if own == end or own.startswith(f"{end}_")
             or (between and own.endswith(end))), None,
        )
        for name, end in zip(names, ends, strict=True)
    }  # fmt: skip
    strangers = [name for name, at in place.items() if at is None]
    if len(strangers) > 1 or (strangers and 0 in place.values()):
        raise ValueError(
            f"there is no input for {' and '.join(map(str, strangers))}; the network takes "
            f"{', '.join(inputs)}; give tensors in this order"
        )

    def rank(name: str) -> int:
        at = place[name]
        return -1 if at is None else at

    return sorted(names, key=rank)


def _parts(compiled: Program, part: Any, recorded: Any, unknown: bool) -> list[Any]:
    """Return the tensors in an argument; ``unknown``: how it was recorded is not known."""
    if isinstance(part, Mapping):
        if isinstance(recorded, Mapping):
            keys = list(recorded)
        elif unknown:
            keys = _ordered(compiled.inputs, part, "_")
        else:
            raise ValueError(
                f"the input is a dictionary of {sorted(map(str, part))}, the network takes a "
                "tensor there; give arguments by name as chip(**inputs)"
            )
        if set(keys) != set(part):
            raise ValueError(
                f"the input holds {sorted(map(str, part))}, the network was recorded with "
                f"{sorted(map(str, keys))}; give the same"
            )
        inner = recorded if isinstance(recorded, Mapping) else {}
        return [x for key in keys for x in _parts(compiled, part[key], inner.get(key), unknown)]
    if isinstance(part, list | tuple) and not isinstance(part, PackedSequence):
        likes = list(recorded) if isinstance(recorded, list | tuple) else [None] * len(part)
        if any(isinstance(x, Tensor | np.ndarray | Mapping | list | tuple) for x in part):
            pairs = zip(part, [*likes, *[None] * len(part)], strict=False)
            return [x for one, like in pairs for x in _parts(compiled, one, like, unknown)]
    if not _is_option(part):
        return [part]
    if unknown and part is not None:
        raise ValueError(
            f"an argument is {part!r}, and a chip from a file does not know with which options its "
            "network was recorded; leave it out, or make the chip from the model"
        )
    if not unknown and not isinstance(recorded, Tensor):
        _check_option(part, recorded)
    return []


def _check_lengths(compiled: Program, tensors: Sequence[Tensor]) -> None:
    """Raise ValueError unless lengths of sequences are whole numbers from 1 to the time steps."""
    by_name = dict(zip(compiled.inputs, tensors, strict=True))
    for step in compiled.steps:
        if not isinstance(step, DigitalStep) or not (
            step.op == "trim" or (step.op in RECURRENT and step.attrs.get("lengths"))
        ):
            continue
        name = step.sources[-1]
        if name not in by_name:
            continue
        lengths = by_name[name]
        whole = bool((lengths == lengths.round()).all()) if lengths.numel() else False
        time = step.attrs["dim"] if step.op == "trim" else 1 - step.attrs.get("axis", 0)
        longest = tensors[0].shape[time] if tensors[0].ndim > 1 else None
        if not whole or int(lengths.min()) < 1 or (longest and int(lengths.max()) > longest):
            raise ValueError(
                f"input '{name}' holds the lengths {lengths.flatten()[:6].tolist()}; give whole "
                f"numbers from 1 to the number of time steps ({longest})"
            )


def as_input(compiled: Program, images: Tensor | np.ndarray) -> Tensor:
    """Return :func:`as_inputs` of a network with one input."""
    return as_inputs(compiled, (images,))[0][0]


def split_batch(compiled: Program, batch: Any) -> tuple[Any, ...]:
    """Return the inputs in a batch as a data loader gives it: labels, if any, come after them."""
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
        whole = len(batch) <= len(compiled.inputs) or any(
            isinstance(part, Mapping | list | tuple) for part in batch
        )
        return tuple(batch) if whole else tuple(batch[: len(compiled.inputs)])
    return (batch,)


def _checked(
    compiled: Program, name: str, x: Tensor, batch: int | None, recordable: bool = False
) -> Tensor:
    readers = [s for s in compiled.steps if name in s.sources]
    first = next((s for s in readers if isinstance(s, AnalogLayer)), None)
    axis = compiled.axes[compiled.inputs.index(name)]
    fits, wanted = _shape(compiled, first, x, axis)
    fits = fits or (recordable and {"==": [{"rank": name}, x.ndim]} not in compiled.conditions)
    if not fits or 0 in x.shape or (axis is not None and axis >= x.ndim):
        subject = "images have" if name == compiled.input else f"input '{name}' has"
        raise ValueError(
            f"{subject} the shape {tuple(x.shape)}; the network's first layer wants {wanted} "
            "with at least one image"
        )
    if batch is not None and axis is not None and x.shape[axis] != batch:
        raise ValueError(
            f"input '{name}' has the shape {tuple(x.shape)}: {x.shape[axis]} in the batch, where "
            f"'{compiled.input}' has {batch}; give as many of both"
        )
    for step in readers:
        if isinstance(step, DigitalStep) and step.op == "embedding":
            _check_tokens(step, x)
    if as_integers(compiled, name) or x.is_floating_point():
        x = x.to(torch.float32)
    if x.is_floating_point() and not torch.isfinite(x).all():
        bad = ~torch.isfinite(x)
        rows = bad.flatten() if x.ndim < 2 else bad.movedim(axis or 0, 0).flatten(1).any(1)
        raise ValueError(
            f"image {int(rows.nonzero()[0])} holds NaN or infinity; clean the images first"
        )
    return x


def _shape(
    compiled: Program, first: AnalogLayer | None, x: Tensor, axis: int | None
) -> tuple[bool, str]:
    """Return whether a shape fits the first layer that reads it, and which ones would."""
    if first is None:
        return x.ndim > (axis or 0), "(batch, ...)"
    if compiled.axis is None:
        return True, "(...)"
    wanted = first.weight.shape[0] // math.prod(first.kernel_size)
    if first.kind == "linear":
        fits = x.ndim >= 2 and x.shape[-1] == wanted
        return fits, f"(batch, {wanted}) or (batch, ..., {wanted})"
    ndim, sizes = (4, "height, width") if first.kind == "conv2d" else (3, "length")
    return x.ndim == ndim and x.shape[1] == wanted, f"(batch, {wanted}, {sizes})"


def _check_tokens(step: DigitalStep, tokens: Tensor) -> None:
    known = len(step.arrays["weight"])
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise ValueError(
            f"the embedding '{step.name}' reads numbers of the type {tokens.dtype}; give whole "
            "numbers (tokens.long())"
        )
    if int(tokens.min()) < 0 or int(tokens.max()) >= known:
        raise ValueError(
            f"the embedding '{step.name}' knows the tokens 0 to {known - 1}, got "
            f"{int(tokens.min())} to {int(tokens.max())}; use the vocabulary it was trained with"
        )


def images_in(compiled: Program, inputs: Sequence[Tensor]) -> int:
    """Return how many images a call holds; one, if its inputs belong together."""
    return 1 if compiled.axis is None else inputs[0].shape[compiled.axis]
