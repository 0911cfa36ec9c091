"""Small products that are tried once: what the libraries of this machine compute, and how."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHARGE_ERROR = 1e-5
"""Largest error of a float32 product of 64 terms, as a share of the largest result."""

VARIANCE_ERROR = 0.01
"""The same in bfloat16."""

ROWS = 16
"""Products of fewer rows are computed by kernels that sum in another order."""


def onednn() -> tuple[bool, str]:
    """Return whether oneDNN can compute charges, and why."""
    if not torch.backends.mkldnn.is_available():
        return False, "this build of torch has no oneDNN"
    if not torch.backends.mkldnn.enabled:
        return False, "torch.backends.mkldnn was switched off when the first chip was made"
    fault = convolution_fault(torch.float32, CHARGE_ERROR)
    if fault:
        return False, f"in a float32 convolution oneDNN {fault}"
    return True, f"its float32 convolution was within {CHARGE_ERROR:g} of the largest value"


def convolution_fault(dtype: torch.dtype, largest: float) -> str:
    """Return what is wrong with oneDNN's convolutions in a format, or nothing.

    Parameters
    ----------
    dtype : torch.dtype
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


def rows_alike() -> bool:
    """Return whether a product of matrices sums a row alike, however many rows there are.

    For multiples of :data:`ROWS`.
    """
    for width in (17, 256):
        for outputs in (3, 64, 255):
            x, weight = _numbers(64 * ROWS, width), _numbers(outputs, width)
            whole = F.linear(x, weight)
            for n in (ROWS, 3 * ROWS, 16 * ROWS):
                if not torch.equal(F.linear(x[:n], weight), whole[:n]):
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
