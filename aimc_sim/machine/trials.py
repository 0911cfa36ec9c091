"""Small products that are tried once: results of this machine's libraries, and their order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_CHARGE_ERROR = 1e-5
"""Largest error of a float32 product of 64 terms, as a share of the largest result."""

VARIANCE_ERROR = 0.01
"""Largest error of a bfloat16 product of 64 terms, as a share of the largest result."""

FULL = 16
"""Rows and columns of products are filled up to multiples of this: kernels for the rest sum in
another order, so that a row's bits would depend on its place."""


def onednn() -> tuple[bool, str]:
    """Return whether oneDNN can compute charges, and why."""
    if not torch.backends.mkldnn.is_available():
        return False, "this build of torch has no oneDNN"
    if not torch.backends.mkldnn.enabled:
        return False, "torch.backends.mkldnn was switched off when the first chip was made"
    fault = convolution_fault(torch.float32, _CHARGE_ERROR)
    if fault:
        return False, f"in a float32 convolution oneDNN {fault}"
    return True, f"its float32 convolution was within {_CHARGE_ERROR:g} of the largest value"


def convolution_fault(dtype: torch.dtype, largest: float) -> str:
    """Return the fault of oneDNN's convolutions in a format, or an empty text.

    Parameters
    ----------
    dtype : torch.dtype
        Format of inputs and weights.
    largest : float
        Error allowed, as a share of the largest result.
    """
    x, kernel = _numbers(8, 64, 5, 5), _numbers(7, 64, 3, 3)
    exact = F.conv2d(x.double(), kernel.double())
    try:
        y = _convolve(x.to(dtype), kernel.to(dtype))
        one = _convolve(x[:1].to(dtype), kernel.to(dtype))
    except RuntimeError as refusal:
        return f"refused ({str(refusal).splitlines()[0][:120]})"
    error = ((y - exact).abs().amax() / exact.abs().amax()).item()
    if not error <= largest:
        return f"was off by {error:.1g} of the largest value"
    return "" if torch.equal(y[:1], one) else "summed one image in another order than eight"


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    return torch.mkldnn_convolution(x, kernel, None, (0, 0), (1, 1), (1, 1), groups=1)


def filled_product(rows: Tensor, weight: Tensor) -> Tensor:
    """Return ``rows @ weight.T``, (N, R) and (C, R), computed on multiples of :data:`FULL`."""
    n, columns = len(rows), len(weight)
    if n % FULL:
        rows = F.pad(rows, (0, 0, 0, -n % FULL))
    if columns % FULL:
        weight = F.pad(weight, (0, 0, 0, -columns % FULL))
    return F.linear(rows, weight)[:n, :columns]


def rows_alike() -> bool:
    """Return whether :func:`filled_product` sums a row alike, wherever it stands among others."""
    for width in (5, 17, 255, 256):
        for columns in (3, 10, 64, 255):
            x, weight = _numbers(40 * FULL, width), _numbers(columns, width)
            whole = filled_product(x, weight)
            for first, last in ((0, 1), (5, 9), (3, 20), (7, 100), (16, 17), (64, 640)):
                if not torch.equal(filled_product(x[first:last], weight), whole[first:last]):
                    return False
    return True


def lstm_refusal() -> str:
    """Return why a step of training an LSTM in bfloat16 is refused, or nothing."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        lstm = torch.nn.LSTM(4, 4, batch_first=True)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                y, _ = lstm(torch.zeros(2, 3, 4))
            y.float().sum().backward()
        except RuntimeError as refusal:
            return str(refusal).splitlines()[0][:120]
    return ""


def _numbers(*sizes: int) -> Tensor:
    """Return numbers in (-1, 1) that need all 24 bits; maps with channels last."""
    n = torch.arange(1, 1 + torch.Size(sizes).numel(), dtype=torch.float64)
    x = (n.sqrt() % 1 * 2 - 1).float().view(sizes)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
