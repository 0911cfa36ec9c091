"""In which number format, and by which library, each product of a chip is computed.

Decided once per process and device, from the description of the machine and a small product
that is tried: a run meets no surprise. Nothing is timed, so that the same machine always decides
the same. The charge is float32 everywhere. The variance of its noise, and the corrections for
floating idle lines, need two digits: they are bfloat16 where the processor has instructions for
it, which halves their memory and their time, and float32 elsewhere.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache

import torch

from . import settings, trials


@dataclass(frozen=True)
class Formats:
    """How a device computes.

    Attributes
    ----------
    convolution : str
        "oneDNN" or "ATen" on a processor, else the device's own ("cuda", ...).
    charge : torch.dtype
        Of input codes times conductances.
    variance : torch.dtype
        Of squared codes times variances, and of the charge of floating idle lines.
    whole_rows : bool
        Matrices are multiplied at once; else row by row, because the library sums a row in
        another order where there are others.
    why_convolution, why_variance : str
        The reasons, for people.
    """

    convolution: str
    charge: torch.dtype
    variance: torch.dtype
    whole_rows: bool
    why_convolution: str
    why_variance: str


def formats(device: torch.device | str = "cpu") -> Formats:
    """Return how a device computes products.

    Parameters
    ----------
    device : torch.device or str
        Where the products are computed.

    Returns
    -------
    Formats
        Number formats and libraries; they do not change during the life of the process.
    """
    device = torch.device(device)
    return _decided(device.type, device.index)


@cache
def _decided(kind: str, index: int | None) -> Formats:
    with settings.settled(), torch.inference_mode():
        if kind == "cpu":
            return _of_processor()
        return _of_device(torch.device(kind, index) if index is not None else torch.device(kind))


def _of_processor() -> Formats:
    used, why = settings.onednn()
    rows = trials.rows_alike()
    if not used:
        return Formats("ATen", torch.float32, torch.float32, rows, why, "bfloat16 needs oneDNN")
    variance, reason = _variance_of_processor()
    return Formats("oneDNN", torch.float32, variance, rows, why, reason)


def _variance_of_processor() -> tuple[torch.dtype, str]:
    if not _is_x86():
        return torch.float32, f"bfloat16 is not used on {platform.machine()}"
    native = _native_bfloat16()
    if not native:
        return torch.float32, "the processor has no bfloat16 instructions (AMX or AVX512_BF16)"
    if not onednn_takes_bfloat16():
        return torch.float32, f"oneDNN is held below AVX-512, though the processor has {native}"
    fault = trials.convolution_fault(torch.bfloat16, trials.VARIANCE_ERROR)
    if fault:
        return torch.float32, f"in a bfloat16 convolution oneDNN {fault}"
    return torch.bfloat16, f"the processor has {native}"


def _is_x86() -> bool:
    """Return whether this is an x86-64 processor."""
    return platform.machine().lower() in ("x86_64", "amd64")


def _native_bfloat16() -> str:
    """Return the processor's instructions for bfloat16, or nothing."""
    names = {"_is_amx_tile_supported": "AMX", "_is_avx512_bf16_supported": "AVX512_BF16"}
    has = [text for name, text in names.items() if getattr(torch.cpu, name, lambda: False)()]
    return " and ".join(has)


def onednn_takes_bfloat16() -> bool:
    """Return whether oneDNN convolves bfloat16 with the instructions that it may use."""
    library = torch.ops.mkldnn
    return hasattr(library, "_is_mkldnn_bf16_supported") and library._is_mkldnn_bf16_supported()


def _of_device(device: torch.device) -> Formats:
    why = f"the only one on '{device.type}'"
    if device.type != "cuda":
        reason = f"bfloat16 is not used on '{device.type}'"
        return Formats(device.type, torch.float32, torch.float32, True, why, reason)
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name()
    if native:
        return Formats("cuda", torch.float32, torch.bfloat16, True, why, f"{name} has bfloat16")
    return Formats("cuda", torch.float32, torch.float32, True, why, f"{name} has no bfloat16")


# ------------------------------------------------------------------------- training


@cache
def training_precision() -> tuple[str, str]:
    """Return the format of the products in the zoo's trainings, and the reason.

    Returns
    -------
    precision : {"bfloat16", "float32"}
        bfloat16 where the processor has instructions for it and oneDNN's LSTM takes it.
    reason : str
        One clause for the record of a training.
    """
    native = _native_bfloat16() if _is_x86() else ""
    if not native:
        return "float32", "the processor has no bfloat16 instructions"
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return "float32", "bfloat16 needs oneDNN, which is switched off or missing"
    if not onednn_takes_bfloat16():
        return "float32", f"oneDNN is held below AVX-512, though the processor has {native}"
    with settings.settled():
        refusal = trials.lstm_refusal()
    if refusal:
        return "float32", f"oneDNN's LSTM refused bfloat16 ({refusal})"
    return "bfloat16", f"the processor has {native}"
