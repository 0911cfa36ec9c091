"""Inputs for recording: those the user gives, or such as the first layer with weights reads."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend.recording import Example
from aimc_sim.frontend.sequences import Sequences

_SIDES = (32, 28, 64, 224, 16, 8, 48, 96, 128, 256, 299, 12, 10)
"""Rows and columns of maps that are tried first, pixels; then all up to :data:`_LARGEST_SIDE`."""

_LARGEST_SIDE = 80
"""Rows and columns of the largest maps, and length of the longest lines, that are tried."""

LENGTHS = (32, 64, 100, 128, 256, 512, 1024, 4096, 16000)
"""Lengths of lines that are tried first."""

STEPS = 5
"""Time steps of sequences that are tried."""


def given(model: nn.Module, example: Any) -> Example:
    """Return a user's ``example`` as arguments of the forward method.

    Parameters
    ----------
    model : nn.Module
        The model.
    example : inputs of the forward method, or a batch of a DataLoader
        Tensors and arrays, in tuples, lists and mappings. A mapping whose keys are arguments of
        the forward method is given by name; of a tuple or list with more parts than the method
        takes, the last ones (labels) are left out; so is a vector of whole numbers behind the
        arguments that it needs, where it could also take more.

    Returns
    -------
    Example
        The arguments; arrays become tensors.

    Raises
    ------
    TypeError
        If there is no tensor in it.
    """
    if isinstance(example, PackedSequence):
        first = not any(getattr(m, "batch_first", True) is False for m in model.modules())
        example = pad_packed_sequence(example, batch_first=first)[0]
    required, most, names = arguments(model)
    if isinstance(example, Mapping) and example and all(key in names for key in example):
        found = Example((), {key: _tensors(part) for key, part in example.items()})
    elif isinstance(example, list | tuple) and not hasattr(example, "_fields"):
        parts = [_tensors(part) for part in example]
        if most is not None and len(parts) > most:
            parts = parts[:most]
        elif most is not None and required + 1 == len(parts) < most and _labels(parts[-1]):
            parts = parts[:required]
        found = Example(tuple(parts))
    else:
        found = Example((_tensors(example),))
    if not found.tensors():
        raise TypeError(
            f"example holds no tensor (got {type(example).__name__}); give what "
            f"{type(model).__name__}.forward takes, such as example=torch.randn(2, 3, 32, 32)"
        )
    return found


def _labels(part: Any) -> bool:
    """Return whether a part of a batch can be the labels of its images."""
    return isinstance(part, Tensor) and part.ndim == 1 and not part.is_floating_point()


def _tensors(part: Any) -> Any:
    """Return a part of an example with tensors in place of arrays."""
    import numpy as np

    return pytree.tree_map(
        lambda x: torch.from_numpy(x) if isinstance(x, np.ndarray) else x, part
    )  # fmt: skip


def arguments(model: nn.Module) -> tuple[int, int | None, set[str]]:
    """Return the arguments of a forward method.

    Parameters
    ----------
    model : nn.Module
        The model.

    Returns
    -------
    required : int
        Number of arguments that it needs.
    most : int or None
        Number of arguments that it takes by place; None: any number.
    names : set of str
        Names of its arguments.
    """
    kinds = inspect.Parameter
    parameters = inspect.signature(model.forward).parameters.values()
    by_place = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY,
                                                    kinds.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    required = sum(p.default is kinds.empty for p in by_place)
    anything = any(p.kind == kinds.VAR_POSITIONAL for p in parameters)
    names = {p.name for p in parameters if p.kind != kinds.VAR_KEYWORD}
    return required, None if anything else len(by_place), names


def prepared(example: Example, axis: int) -> Example:
    """Return an example with at least two different images along a dimension.

    The sizes of one image tell nothing about a batch, and equal images hide operations that mix
    them.

    Parameters
    ----------
    example : Example
        Arguments of a forward method.
    axis : int
        Dimension of the first tensor that is taken for the batch.

    Returns
    -------
    Example
        The arguments, with further images where there was one or all were equal.
    """
    tensors = example.tensors()
    for place, x in enumerate(tensors):
        # One tensor given twice would be recorded as one input.
        if any(x is other for other in tensors[:place]):
            tensors[place] = _other(x, place + 1).clone()
    first = tensors[0]
    if axis >= first.ndim:
        return example.with_tensors(tensors)
    batch = first.shape[axis]
    made = []
    for x in tensors:
        at = axis if x.ndim > axis else 0
        if batch == 1 and x.ndim and x.shape[at] == 1:
            x = torch.cat([x, _other(x)], at)
        elif batch > 1 and x.ndim and x.shape[at] == batch and x.is_floating_point():
            one = x.narrow(at, 0, 1)
            if bool((x == one).all()):
                x = torch.cat([one, *(_other(one, place) for place in range(1, batch))], at)
        made.append(x)
    return example.with_tensors(made)


def _other(x: Tensor, number: int = 1) -> Tensor:
    """Return numbers of the same kind, others if possible."""
    if not x.is_floating_point():
        return x.roll(number, -1) if x.ndim > 1 else x
    generator = torch.Generator().manual_seed(number)
    noise = torch.rand(x.shape, generator=generator).to(x)
    varied = x.std() if x.numel() > 1 else x.abs().sum()
    return x * (0.5 + noise) if float(varied) > 0 else noise


def derived(model: nn.Module) -> Example:
    """Return inputs that a model takes, from the first layers with weights.

    Parameters
    ----------
    model : nn.Module
        The model, in evaluation mode.

    Returns
    -------
    Example
        Inputs on which the model runs, for two images.

    Raises
    ------
    UnsupportedLayerError
        If none of those tried fits; the message asks for an example.
    """
    required, _, _ = arguments(model)
    required = max(1, required)
    first, failures = None, []
    for tensor in _candidates(model):
        parts = [tensor, *(_beside(tensor, name) for name in _names(model)[1:required])]
        example = _distinct(Example(tuple(parts), given=False))
        problem = _problem(model, example)
        if problem is None:
            return example
        first = first or example
        failures.append(f"{tuple(tensor.shape)}: {problem}")
    if first is not None and _runs(model, first):
        return first  # operations that stand-ins lack, such as numpy's, are refused when recorded
    shown = f" (the last one tried: {failures[-1][:200]})" if failures else ""
    names = ", ".join(_names(model)[:required])
    line = "torch.randn(2, 3, 32, 32)"
    if required > 1:
        line = "(" + ", ".join(["torch.randn(...)"] * required) + ")"
    raise UnsupportedLayerError(
        f"{type(model).__name__}: which inputs it takes ({names}) does not follow from its "
        f"layers{shown}; give some: from_model(model, example={line})"
    )


def _names(model: nn.Module) -> list[str]:
    """Return the names of the arguments of forward."""
    return list(inspect.signature(model.forward).parameters) or ["input"]


def _beside(tensor: Tensor, name: str) -> Tensor:
    """Return a further argument: lengths of sequences by their name, else one like the first."""
    if "len" in name and tensor.ndim > 1:
        steps = max(tensor.shape[:2])
        return torch.arange(steps, steps - min(tensor.shape[:2]), -1)
    return tensor


def _distinct(example: Example) -> Example:
    """Return an example in which several arguments do not hold the same numbers."""
    tensors = example.tensors()
    return example.with_tensors(
        [x if place == 0 else _other(x, place + 1) for place, x in enumerate(tensors)]
    )


def _candidates(model: nn.Module) -> Iterator[Tensor]:
    """Yield inputs that the first layers with weights could read."""
    carried = getattr(model, "example_input", None)
    if carried is not None:
        yield carried() if callable(carried) else carried
        return
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    batch_first = not any(getattr(m, "batch_first", True) is False for m in model.modules())
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    def sequence(features: int) -> Tensor:
        return normal(2, STEPS, features) if batch_first else normal(STEPS, 2, features)

    layers = [
        m for m in model.modules()
        if any(True for _ in m.parameters(recurse=False)) or isinstance(m, nn.LayerNorm)
    ]  # fmt: skip
    for layer in layers[:6]:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            tried = [*_SIDES, *(n for n in range(1, _LARGEST_SIDE) if n not in _SIDES)]
            yield from (normal(2, layer.in_channels, n, n) for n in tried)
        elif isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            tried = [*LENGTHS, *(n for n in range(1, _LARGEST_SIDE) if n not in LENGTHS)]
            yield from (normal(2, layer.in_channels, n) for n in tried)
        elif isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):  # refused, but by its name
            yield from (normal(2, layer.in_channels, n, n, n) for n in (8, 16, 32))
        elif isinstance(layer, nn.Linear):
            yield normal(2, layer.in_features)
            yield sequence(layer.in_features)
        elif isinstance(layer, nn.RNNBase):
            yield sequence(layer.input_size)
        elif isinstance(layer, nn.RNNCellBase):
            yield normal(2, layer.input_size)
            yield sequence(layer.input_size)
        elif isinstance(layer, nn.MultiheadAttention):
            yield sequence(layer.embed_dim)
        elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            shapes = [(2, STEPS), (STEPS, 2)] if batch_first else [(STEPS, 2), (2, STEPS)]
            for shape in (*shapes, (2,)):
                yield torch.randint(0, layer.num_embeddings, shape, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            yield from (normal(2, layer.num_features, n, n) for n in _SIDES)
        elif isinstance(layer, nn.BatchNorm1d):
            yield normal(2, layer.num_features)
            yield normal(2, layer.num_features, LENGTHS[0])
        elif isinstance(layer, nn.LayerNorm):
            yield normal(2, *layer.normalized_shape)
            if len(layer.normalized_shape) == 1:
                yield sequence(layer.normalized_shape[0])
        elif hasattr(layer, "batch_first") and hasattr(layer, "inputs"):  # spiking units
            yield sequence(int(cast(int, layer.inputs)))
        else:
            for parameter in layer.parameters(recurse=False):
                if parameter.ndim == 2:
                    yield normal(2, parameter.shape[1])
                    yield normal(2, parameter.shape[0])
                    yield sequence(parameter.shape[0])
                elif parameter.ndim == 4:
                    yield from (normal(2, parameter.shape[1], n, n) for n in _SIDES)


def _runs(model: nn.Module, example: Example) -> bool:
    """Return whether a model takes some inputs; on numbers."""
    try:
        with torch.no_grad():
            model(*example.args, **example.kwargs)
    except Exception:  # the user's code runs here: any error is possible
        return False
    return True


def _problem(model: nn.Module, example: Example) -> str | None:
    """Return why a model does not take some inputs, or None if it does; on stand-ins."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    try:
        log.setLevel(logging.CRITICAL)  # sizes that do not fit are the question here, not news
        with mode, torch.no_grad(), Sequences():
            fake = example.with_tensors([mode.from_tensor(x) for x in example.tensors()])
            model(*fake.args, **fake.kwargs)
    except Exception as error:  # the user's code runs here: any error is possible
        name = type(error).__name__
        if "DataDependent" in name or "DynamicOutputShape" in name:
            return None
        return f"{name}: {' '.join(str(error).split())}"
    finally:
        log.setLevel(level)
    return None
