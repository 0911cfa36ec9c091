"""Limits of a machine: bytes copied and operations done per second, measured in a second.

A share of these limits says how far a program is from the fastest that the machine allows
(:mod:`aimc_sim.analysis.profile`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..kernels import threads as own_threads
from . import settings
from .formats import formats

_MEMORY_BYTES = 256 * 2**20
"""Read, and again written, by the copy from memory to memory; shared out among the threads."""

_CACHE_BYTES = 2**20
"""Read, and again written, by the copy that stays in the cache of one core."""

_SIDE = 1024
"""Rows, columns and terms of the products."""

SECONDS = 0.25
"""Each limit is measured for about so long; the best round counts."""


@dataclass(frozen=True)
class Limits:
    """Rates that all threads together reach.

    Attributes
    ----------
    threads : int
        Number of threads that worked.
    memory_copy : float
        Bytes read and written per second, arrays larger than the caches.
    cache_copy : float
        Bytes read and written per second, arrays that stay in the cache of a core.
    float32 : float
        Operations (two per multiply-accumulate) per second of a product of square matrices.
    bfloat16 : float or None
        Operations per second in bfloat16; None where the variances of this machine are float32, see
        :mod:`aimc_sim.machine.formats`.
    """

    threads: int
    memory_copy: float
    cache_copy: float
    float32: float
    bfloat16: float | None

    @property
    def copy(self) -> float:
        """The faster of both copies, bytes per second: no part of a program moves more."""
        return max(self.memory_copy, self.cache_copy)

    def product(self, dtype: torch.dtype) -> float:
        """Return the limit of products in a format, operations per second."""
        if dtype == torch.bfloat16 and self.bfloat16 is not None:
            return self.bfloat16
        return self.float32

    def __str__(self) -> str:
        narrow = "not used here" if self.bfloat16 is None else f"{self.bfloat16 * 1e-9:.0f} GFLOP/s"
        many = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"limits, {many}: copy {self.memory_copy * 1e-9:.1f} GB/s in memory "
            f"({_MEMORY_BYTES >> 20} MiB), {self.cache_copy * 1e-9:.1f} GB/s in the cache "
            f"({_CACHE_BYTES >> 20} MiB);\nproduct of {_SIDE} x {_SIDE} matrices: float32 "
            f"{self.float32 * 1e-9:.0f} GFLOP/s, bfloat16 {narrow}"
        )


def measure(threads: int, seconds: float = SECONDS) -> Limits:
    """Measure the limits of this processor.

    Parameters
    ----------
    threads : int
        Each copies and multiplies by itself, as the threads of a chip do.
    seconds : float
        For each of the three or four limits, about.
    """
    variance = formats().variance
    with settings.settled():
        return Limits(
            threads,
            _rate(_copying(_MEMORY_BYTES // threads), threads, seconds),
            _rate(_copying(_CACHE_BYTES), threads, seconds),
            _rate(_multiplying(torch.float32), threads, seconds),
            None if variance == torch.float32 else _rate(_multiplying(variance), threads, seconds),
        )


Work = Callable[[], tuple[Callable[[], object], float]]
"""Makes what a thread repeats, in that thread, and says how much is done at a time."""


def _copying(size: int) -> Work:
    def make() -> tuple[Callable[[], object], float]:
        source, target = torch.ones(size // 4), torch.empty(size // 4)
        return (lambda: target.copy_(source)), 2.0 * size

    return make


def _multiplying(dtype: torch.dtype) -> Work:
    def make() -> tuple[Callable[[], object], float]:
        x, weight = torch.ones(_SIDE, _SIDE, dtype=dtype), torch.ones(_SIDE, _SIDE, dtype=dtype)
        return (lambda: torch.nn.functional.linear(x, weight)), 2.0 * _SIDE**3

    return make


def _rate(work: Work, threads: int, seconds: float) -> float:
    """Return the operations that all threads do per second, each at its best."""

    def one(_: int) -> float:
        torch.set_num_threads(1)  # of this thread, which may be a new one
        with torch.inference_mode():
            action, amount = work()
            action()
            fastest, end = float("inf"), time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = time.perf_counter()
                for _ in range(repeats := 1 if amount > 2**26 else 32):
                    action()
                fastest = min(fastest, (time.perf_counter() - began) / repeats)
        return amount / fastest

    total: float = sum(own_threads.run(one, range(threads), threads))
    return total
