"""Numba on bare arrays: the inner loops. No specs, no classes, no hidden randomness.

Read in this order: ``philox`` (addressed random words), ``math32`` (functions that become SIMD),
``normal`` (words to normals), ``flicker`` (1/f noise as a process), ``pcm`` (the statistical
laws), ``pulses`` and ``verify`` (devices written pulse by pulse), ``replay`` (measured traces),
``wires`` (IR drop), ``half`` and ``ldpu`` (the digital unit in half precision), ``epilogue`` (read
noise, ADC, affine, ReLU, requantisation); ``tiles`` (sums of rows) and ``learning`` (arrays that
learn by pulses); ``outer`` (gradients from random bits); ``spiking`` (neurons and trains of
spikes); ``anneal`` (placement), ``ways`` (routing) and ``events`` (the pipeline), the last two on a
``heap``.

========================  ==========================================  =========================
kernel                    formula                                     source
========================  ==========================================  =========================
philox.philox10, philox7  Philox4x32, 10 or 7 rounds                  Salmon et al., SC 2011
math32                    ln, exp, cos and sin in float32             series, derived here
normal.pair64             Box-Muller, float64                         Box and Muller 1958
normal.wide_pair          the same in float32, SIMD                   series of ``math32``
normal.fill               Box-Muller, float32, SIMD                   polynomials fitted here
flicker.add               sum of held normals, log-uniform periods    derived here
pcm.curve                 clip(a ln x + b), a x^b or a/x + b; cubic   specs in ``presets``
pcm.program               G_T + sigma(x) xi; nu = |mu + sigma xi|     specs in ``presets``
pcm.evaluate              G ((t + t0) / t0)^-nu (1 + Q_s noise(t))    specs in ``presets``
pulses.set_step           G + m1 G + c1 + A1 e^(-p/a) + sigma xi      Nandakumar et al. 2018
pulses.square             sigmoid of log G against current            assumption, see presets
verify.program            pulse, read, correct until |error| < margin chip paper
verify.settle             G e^(-(nu - mean nu) ln(t0 / t))            assumption, one fit
replay.at_time            linear in ln t between measured reads       derived here
wires                     Chebyshev iteration over two ladder families  derived here
rounding.codes            clip(rint(x per_step), +-limit)             chip paper, LDPU
tiles.add_rows            out + a[0] m[i[0]] + a[1] m[i[1]] + ...     order of plain loops
half.fma_half             a b + c, rounded once to half              exact, round to odd
membranes.run             leak, reset, threshold in half precision    as chip.membranes
ldpu                      the epilogue's loops in half precision      chip paper, LDPU
outer.vectors, patches    coincidences of shared random numbers       ESSOP's abstract, derived
spiking.fire              v <- a v + (1 - a) I; spike and reset at 1  leaky integrate-and-fire
spiking.active            geometric gaps between active processes     exact for Bernoulli draws
spiking.matches           greedy pairs of two sorted trains           largest, derived here
epilogue.epilogue         rint(z / step) clipped; affine; requantise  chip paper, LDPU
anneal.anneal             exchanges under a falling temperature       Kirkpatrick et al. 1983
anneal.polish             exchanges while one shortens the sum        derived here
ways.cheapest             Dijkstra's algorithm from both ends         as networkx has it
events.run                heap of integer times, credits              rules of chip.pipeline
========================  ==========================================  =========================

Decorators decide all compiler flags: :func:`point` for scalar formulae that are inlined into
loops, :func:`serial` for array loops, :func:`loop` for those shared out among ``threads``. Loops
are compiled through ``_kept``, the one place that decides whether their code is kept on disk.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

from . import disk, threads

__all__ = ["ENOUGH", "NO_CACHE", "SMALL", "loop", "point", "serial", "share", "sized"]

CONTRACT = {"contract", "nsz"}
"""Floating-point freedom of every kernel: fused multiply-add and the sign of zero, nothing that
reorders sums or assumes away NaN and infinity."""


SMALL = 2**12
"""Elements of the largest array below which one thread is faster than several."""

ENOUGH = 2**20
"""Additions of a sparse loop from which several threads are faster than one."""


def point(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a formula that is inlined where a kernel uses it; outside, it stays plain Python.

    Kernels compile it once for all integers, literal or not, and without the entry that only
    Python needs: with both, which ``njit`` makes, the kernels together compile half as fast.
    """
    inlined: Callable[..., Any] = register_jitable(
        fastmath=CONTRACT, error_model="numpy", forceinline=True,
        no_cpython_wrapper=True, no_cfunc_wrapper=True,
    )(function)  # fmt: skip
    return inlined


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an array loop for one thread, which lets other Python threads run meanwhile."""
    return _kept(function, nogil=True)


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an array loop whose turns are shared out among threads.

    The function takes ``part, parts`` behind its own arguments and does the turns that
    :func:`share` gives it; callers leave the two out. A turn reads nothing that another writes, so
    that results do not depend on the threads. Loops whose work is not the size of their
    arrays are called through :func:`sized`.
    """
    compiled = serial(function)

    @functools.wraps(function)
    def shared_out(*arguments):
        size = max(a.size for a in arguments if isinstance(a, np.ndarray))
        parts = 1 if size < SMALL else threads.get_threads()
        threads.run(lambda part: compiled(*arguments, part, parts), range(parts), parts)

    shared_out.compiled = compiled  # type: ignore[attr-defined]  # functions have any attribute
    return shared_out


def sized(kernel: Any, work: int) -> Callable[..., None]:
    """Return a :func:`loop` that is shared out if its work is :data:`ENOUGH` or more.

    Parameters
    ----------
    kernel : callable
        Made by :func:`loop`; for sparse loops, whose arrays are large and whose turns are few.
    work : int
        Additions that it makes, about.
    """

    def called(*arguments: Any) -> None:
        parts = 1 if work < ENOUGH else threads.get_threads()
        if parts == 1:
            kernel.compiled(*arguments, 0, 1)
        else:
            threads.run(lambda part: kernel.compiled(*arguments, part, parts), range(parts), parts)

    return called


@point
def share(turns, part, parts):
    """Return the turns, of ``range(turns)``, of one of so many parts."""
    return range(turns * part // parts, turns * (part + 1) // parts)


NO_CACHE = (
    "compiled kernels cannot be kept on disk: neither the installation nor the user's cache folder "
    "can be written, so every process compiles anew (about a minute for a whole chip); set "
    "NUMBA_CACHE_DIR to a folder of your own that can be written"
)
"""The warning of an installation that is read-only for its user (containers, clusters)."""


def _kept(function: Callable[..., Any], **flags: Any) -> Callable[..., Any]:
    """Compile a loop; keep its code on disk where there is a folder for it, else warn once.

    ``disk`` says where and under which name. A shared temporary folder is no substitute: code
    that is loaded from there could be anybody's.
    """
    flags |= {"fastmath": CONTRACT, "boundscheck": False, "error_model": "numpy"}
    compiled: Any = numba.njit(**flags)(function)
    if not hasattr(compiled, "_cache"):  # NUMBA_DISABLE_JIT
        return compiled  # type: ignore[no-any-return]
    code = disk.of(function)
    if code is not None:
        compiled._cache = code
        return compiled  # type: ignore[no-any-return]
    try:
        compiled.enable_caching()
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _tell_once()
    return compiled  # type: ignore[no-any-return]


@functools.cache
def _tell_once() -> None:
    warnings.warn(NO_CACHE, RuntimeWarning, stacklevel=4)
