"""Inputs as a user gives them: checked and made tensors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from .. import arguments
from ..chip.image import AnalogLayer, ChipImage, DigitalStep
from .quantisers import as_integers


def as_inputs(image: ChipImage, given: Sequence[Any]) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Return inputs as the tensors that a network reads, and the lengths of packed sequences.

    Parameters
    ----------
    image : ChipImage
    given : sequence
        Tensors or arrays, one for every input of the network; or one packed sequence.

    Returns
    -------
    inputs : tuple of tensors
        float32; whole numbers and truth values stay what they are where no core reads them.
    lengths : (B,) int64 tensor or None

    Raises
    ------
    TypeError
        If something is no dense tensor of real numbers.
    ValueError
        If a shape does not fit, there is no image, one holds NaN or infinity, or a token is not
        in the vocabulary.
    """
    if len(given) == 1 and isinstance(given[0], PackedSequence):
        arguments.dense(given[0].data, f"input '{image.input}'")
        x, lengths = pad_packed_sequence(given[0], batch_first=image.axis == 0)
        return (_checked(image, image.input, x, None),), lengths
    if len(given) != len(image.inputs):
        raise ValueError(
            f"the network has {len(image.inputs)} inputs ({', '.join(image.inputs)}), "
            f"got {len(given)}; give one tensor for each"
        )
    tensors: list[Tensor] = []
    for name, x in zip(image.inputs, given, strict=True):
        batch = None if not tensors else tensors[0].shape[image.axis]
        tensors.append(_checked(image, name, _tensor(name, x), batch))
    return tuple(tensors), None


def as_input(image: ChipImage, images: Tensor | np.ndarray) -> Tensor:
    """Return :func:`as_inputs` of a network with one input."""
    return as_inputs(image, (images,))[0][0]


def split_batch(image: ChipImage, batch: Any) -> tuple[Any, ...]:
    """Return the inputs in a batch as a data loader gives it: labels, if any, come after them."""
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
        return tuple(batch[: len(image.inputs)])
    return (batch,)


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device of torch on which numbers can be computed here.

    Raises
    ------
    TypeError
        If it is neither a text nor a ``torch.device``.
    ValueError
        If torch knows no such device, or this machine or installation has none.
    """
    wanted = "wanted 'cpu', or a device that torch has here, such as 'cuda'"
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device = {arguments.shown(device)}: {wanted}")
    try:
        found = torch.device(device)
        if found.type == "meta":
            raise RuntimeError("the device meta holds no numbers")
        torch.zeros(1, device=found)
    except Exception as error:  # torch answers with RuntimeError, AssertionError, ImportError, ...
        reason = " ".join(str(error).split()).split(". ")[0][:160].rstrip(".")
        raise ValueError(f"device = '{device}' cannot be used ({reason}): {wanted}") from error
    return found


def built_model(model: Any) -> nn.Module:
    """Return a network, calling what is given if it makes one.

    Raises
    ------
    TypeError
        If it is none, or a parameter or buffer of it holds no dense real numbers.
    """
    if isinstance(model, type) or not (isinstance(model, nn.Module) or callable(model)):
        raise TypeError(
            f"model is {arguments.shown(model)}; give a torch.nn.Module, or a function without "
            "arguments that returns one"
        )
    if not isinstance(model, nn.Module):
        try:
            inspect.signature(model).bind()
        except ValueError:
            pass  # a builtin that does not tell
        except TypeError as error:
            raise TypeError(
                f"model is a function that cannot be called without arguments ({error}); give a "
                "torch.nn.Module, or a function without arguments that returns one"
            ) from None
        model = model()
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model returns a {type(model).__name__}; give a torch.nn.Module, or a function "
            "without arguments that returns one"
        )
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(value, nn.parameter.UninitializedTensorMixin):
            raise TypeError(f"'{name}' of the network has no size yet: run the model once first")
        arguments.dense(value, f"'{name}' of the network")
    return model


def _tensor(name: str, given: Any) -> Tensor:
    """Return what a user gives as a dense tensor of real numbers."""
    if isinstance(given, Tensor):
        return arguments.dense(given, f"input '{name}'")
    try:
        return arguments.dense(torch.as_tensor(given), f"input '{name}'")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if "wanted a dense tensor" in str(error):
            raise
        raise TypeError(
            f"input '{name}' = {arguments.shown(given)}: wanted a tensor or array of numbers"
        ) from error


def _checked(image: ChipImage, name: str, x: Tensor, batch: int | None) -> Tensor:
    readers = [s for s in image.steps if name in s.sources]
    first = next((s for s in readers if isinstance(s, AnalogLayer)), None)
    fits, wanted = _shape(image, first, x)
    axis = image.axis if x.ndim > 1 else 0
    if not fits or x.ndim == 0 or x.numel() == 0:
        subject = "images have" if name == image.input else f"input '{name}' has"
        raise ValueError(
            f"{subject} the shape {tuple(x.shape)}; the network's first layer wants {wanted} "
            "with at least one image"
        )
    if batch is not None and x.shape[axis] != batch:
        raise ValueError(
            f"input '{name}' has the shape {tuple(x.shape)}: {x.shape[axis]} in the batch, where "
            f"'{image.input}' has {batch}; give as many of both"
        )
    for step in readers:
        if isinstance(step, DigitalStep) and step.op == "embedding":
            _check_tokens(step, x)
    if as_integers(image, name) or x.is_floating_point():
        x = x.to(torch.float32)
    if x.is_floating_point() and not torch.isfinite(x).all():
        rows = (~torch.isfinite(x)).movedim(axis, 0).flatten(1).any(1)
        raise ValueError(
            f"image {int(rows.nonzero()[0])} holds NaN or infinity; clean the images first"
        )
    return x


def _shape(image: ChipImage, first: AnalogLayer | None, x: Tensor) -> tuple[bool, str]:
    """Return whether a shape fits the first layer that reads it, and which ones would."""
    if first is None:
        return x.ndim > image.axis, "(batch, ...)"
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
