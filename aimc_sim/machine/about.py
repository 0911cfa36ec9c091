"""Facts about the machine for people: hardware, libraries, choices, and their reasons."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass

import llvmlite.binding as llvm
import numba
import numpy as np
import torch

from ..kernels import threads
from . import formats


@dataclass(frozen=True)
class Fact:
    """One line of ``aimc-sim info --machine``; ``why`` may be empty."""

    name: str
    value: str
    why: str = ""


_INSTRUCTIONS = {
    "SSE4.1": "sse4_1", "AVX2": "avx2", "FMA": "fma3", "AVX-512": "avx512_f",
    "AVX-512 BF16": "avx512_bf16", "AMX": "amx_tile", "AVX_NE_CONVERT": "avx_ne_convert",
}  # fmt: skip
"""By their names here, the names in ``torch.cpu.get_capabilities()``."""

HELD_DOWN = (
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
)  # fmt: skip
"""Variables of the environment that change what the libraries choose."""


def facts() -> list[Fact]:
    """Return all facts about this machine, in the order of reading."""
    return [*_hardware(), *_libraries(), *_chosen(), *_held_down()]


def _hardware() -> list[Fact]:
    cores = os.cpu_count() or 1
    found = [
        Fact("processor", f"{platform.machine()}, {llvm.get_host_cpu_name()}", f"{cores} cores"),
        Fact("instruction sets", _instructions()),
        Fact("threads of torch", str(torch.get_num_threads()), "images are shared out among them"),
        Fact("threads of the kernels", str(threads.get_threads()), "devices are"),
    ]
    if torch.cuda.is_available():
        found += [
            Fact(f"cuda:{i}", torch.cuda.get_device_name(i))
            for i in range(torch.cuda.device_count())
        ]
    return found


def _instructions() -> str:
    if not hasattr(torch.cpu, "get_capabilities"):
        return torch.backends.cpu.get_cpu_capability()
    has = torch.cpu.get_capabilities()
    return ", ".join(name for name, key in _INSTRUCTIONS.items() if has.get(key)) or "none listed"


def _libraries() -> list[Fact]:
    built = torch.__config__.show()
    version = re.search(r"MKL-DNN v([0-9.]+)", built)
    blas = re.search(r"BLAS_INFO=(\w+)", built)
    return [
        Fact("python", platform.python_version()),
        Fact("torch", torch.__version__, f"kernels for {torch.backends.cpu.get_cpu_capability()}"),
        Fact("oneDNN", version[1] if version else "none", "built into torch" if version else ""),
        Fact("matrices", blas[1] if blas else "unknown", "BLAS of torch"),
        Fact("numba", numba.__version__, f"compiles for {_numba_processor()}"),
        Fact("numpy", np.__version__),
    ]


def _numba_processor() -> str:
    name: str = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    return name


def _chosen() -> list[Fact]:
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    found = []
    for device in devices:
        one = formats.formats(device)
        rows = "at once" if one.whole_rows else "row by row"
        found += [
            Fact(f"convolutions on {device}", one.convolution, one.why_convolution),
            Fact(f"charge on {device}", _name(one.charge), "24 bits, for every device"),
            Fact(f"variance on {device}", _name(one.variance), one.why_variance),
            Fact(f"matrices on {device}", rows, "tried: bits of a row must not depend on others"),
        ]
    precision, reason = formats.training_precision()
    return [*found, Fact("training scripts", precision, reason)]


def _held_down() -> list[Fact]:
    return [
        Fact(name, os.environ[name], "set in the environment")
        for name in HELD_DOWN
        if name in os.environ
    ]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
