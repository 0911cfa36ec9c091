"""Inputs as a user gives them: checked and made tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from .. import arguments
from ..chip.image import AnalogLayer, ChipImage, DigitalStep
from .given import tensor
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
        tensors.append(_checked(image, name, tensor(name, x), batch))
    return tuple(tensors), None


def as_input(image: ChipImage, images: Tensor | np.ndarray) -> Tensor:
    """Return :func:`as_inputs` of a network with one input."""
    return as_inputs(image, (images,))[0][0]


def split_batch(image: ChipImage, batch: Any) -> tuple[Any, ...]:
    """Return the inputs in a batch as a data loader gives it: labels, if any, come after them."""
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
        return tuple(batch[: len(image.inputs)])
    return (batch,)


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
