"""Images as a user gives them: checked and made a tensor."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..chip.image import AnalogLayer, ChipImage


def as_input(image: ChipImage, images: Tensor | np.ndarray) -> Tensor:
    """Return images as the (B, ...) float32 tensor that a network's first layer takes.

    Raises
    ------
    ValueError
        If the shape does not fit, there is no image, or one holds NaN or infinity.
    """
    x = torch.as_tensor(images)
    readers = [s for s in image.steps if image.input in s.sources]
    first = next((s for s in readers if isinstance(s, AnalogLayer)), None)
    is_conv = first is not None and first.kind == "conv2d"
    if is_conv:
        wanted = first.weight.shape[0] // math.prod(first.kernel_size)
        fits, shape = x.ndim == 4 and x.shape[1] == wanted, f"(batch, {wanted}, height, width)"
    elif first is not None:
        wanted = first.weight.shape[0]
        fits, shape = x.ndim == 2 and x.shape[1] == wanted, f"(batch, {wanted})"
    else:
        fits, shape = x.ndim >= 2, "(batch, ...)"
    if not fits or len(x) == 0:
        raise ValueError(
            f"images have the shape {tuple(x.shape)}; the network's first layer wants {shape} "
            "with at least one image"
        )
    x = x.to(torch.float32)
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"image {bad} holds NaN or infinity; clean the images first")
    return x
