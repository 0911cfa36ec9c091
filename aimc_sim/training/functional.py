"""The differentiable parts: weights replaced by a noisy draw, converters that let gradients pass.

Straight-through estimator: rounding and noise have the gradient of the identity, clipping that of
the clip (Y. Bengio et al., arXiv:1308.3432). Learned ranges have the gradient of S. K. Esser et
al., *Learned step size quantization*, ICLR 2020, arXiv:1902.08153. Comparisons have that of a
smooth step (:func:`stepped`).

Tensors in float32 or bfloat16 on a processor go through the fused loops of :mod:`.loops`; any
other dtype or device through the torch operations beside them, which say the same. Noise is the
same for any number of threads; another device draws other numbers from the same address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aimc_sim.digital import rounding
from aimc_sim.kernels import threads
from aimc_sim.training import loops

CHUNK = 1 << 16
"""Smallest piece of work for a thread; a multiple of the values that share an event."""


@dataclass(frozen=True)
class NoiseAddress:
    """The address of noise.

    Attributes
    ----------
    k0, k1 : int
        The two words of the key.
    event : int
        First event of a call.
    """

    k0: int
    k1: int
    event: int

    def words(self) -> tuple[np.uint32, np.uint32]:
        """Return the key words as the loops take them, uint32."""
        return np.uint32(self.k0), np.uint32(self.k1)

    def at(self, place: int) -> np.int64:
        """Return the event of the run that begins at a value.

        Parameters
        ----------
        place : int
            Number of the value in the tensor.

        Returns
        -------
        int64
            Event of the run.
        """
        return np.int64(self.event + place // loops.BLOCK)

    def generator(self, device: torch.device) -> torch.Generator:
        """Return torch's generator for this address."""
        mixed = np.random.SeedSequence((self.k0, self.k1, self.event)).generate_state(2, np.uint32)
        return torch.Generator(device).manual_seed(int(mixed[0]) << 31 | int(mixed[1]) >> 1)


def _chunks(n: int, work: Callable[[slice], Any]) -> list[Any]:
    """Return ``work(slice)`` of all parts of n values, on torch's number of threads."""
    wanted = min(torch.get_num_threads(), -(-n // CHUNK))
    size = -(-n // max(1, wanted) // CHUNK) * CHUNK
    parts = [slice(k, min(k + size, n)) for k in range(0, n, max(1, size))]
    return threads.run(work, parts, wanted)


def normals(shape: Sequence[int], like: Tensor, address: NoiseAddress) -> Tensor:
    """Return standard normals.

    Parameters
    ----------
    shape : sequence of int
        Shape of the result.
    like : tensor of any shape
        Its type and device are those of the result.
    address : NoiseAddress
        Address of the noise.

    Returns
    -------
    tensor of the given shape
        Standard normals, dimensionless.
    """
    n = math.prod(shape)
    if like.device.type != "cpu":
        noise = torch.empty(n, dtype=like.dtype, device=like.device)
        return noise.normal_(generator=address.generator(like.device)).reshape(shape)
    out = np.empty(n, np.float32)
    _chunks(n, lambda where: loops.draw(address.at(where.start), *address.words(), out[where]))
    return torch.from_numpy(out).to(like.dtype).reshape(shape)


# --------------------------------------------------------------------------------- weights


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, noisy: Tensor) -> Tensor:
        return noisy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def replaced(weight: Tensor, noisy: Tensor) -> Tensor:
    """Return ``noisy`` with the gradient of ``weight``.

    Parameters
    ----------
    weight, noisy : tensors of one shape
        Weights, and the draw in their place.

    Returns
    -------
    tensor of the same shape
        The draw; its gradient goes to ``weight`` unchanged.
    """
    result: Tensor = cast(Any, _Replaced).apply(weight, noisy)
    return result


# ------------------------------------------------------------------------------ converters


class _Converted(torch.autograd.Function):
    """Noise, then a converter of fixed range; the gradient is that of the clip."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: float | Tensor, limit: float, std: float | Tensor,
        address: NoiseAddress,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        out, inside, top = convert(x, step, limit, std, address)
        ctx.inside = inside
        ctx.mark_non_differentiable(top)
        return out, top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        if ctx.inside is None:
            return gradient, None, None, None, None
        return torch.where(ctx.inside, gradient, 0), None, None, None, None


def converted(
    x: Tensor, step: float | Tensor, limit: float, std: float | Tensor, address: NoiseAddress
) -> tuple[Tensor, Tensor]:
    """Return ``step clip(rint((x + std xi) / step), +-limit)`` and the largest ``|x|``.

    Parameters
    ----------
    x : floating-point tensor of any shape
        Values in front of the converter.
    step : float, or tensor of shape ()
        Step between codes, in units of x; 0 rounds and clips nothing.
    limit : float
        Largest code.
    std : float, or tensor of shape ()
        Standard deviation of the noise in front of the converter, in units of x; 0 for none.
    address : NoiseAddress
        Address of the noise.

    Returns
    -------
    out : tensor of the shape of x
        Converted values; the gradient passes where ``|x + std xi| <= limit step``.
    top : float32 tensor of shape ()
        Largest magnitude of x, without a gradient.
    """
    result: tuple[Tensor, Tensor] = cast(Any, _Converted).apply(x, step, limit, std, address)
    return result


def convert(
    x: Tensor, step: float | Tensor, limit: float, std: float | Tensor, address: NoiseAddress
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return converted values without a gradient; arguments as of :func:`converted`.

    Returns
    -------
    out : tensor of the shape of x
        Converted values.
    inside : bool tensor of the shape of x, or None
        True where a value lies inside the range; None: everywhere.
    top : float32 tensor of shape ()
        Largest magnitude of x.
    """
    x = x.detach()
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return convert_plainly(x, step, limit, std, address)
    x, order = _dense(x)
    out, inside = torch.empty_like(x), torch.empty_like(x, dtype=torch.uint8)
    flat = [_flat(tensor, order) for tensor in (x, out, inside)]
    numbers = [np.float32(float(value)) for value in (std, step, limit)]

    def work(where: slice) -> tuple[int, int]:
        source, target, mask = (part[where] for part in flat)
        event = address.at(where.start)
        found: tuple[int, int] = loops.convert(
            source, *numbers, event, *address.words(), target, mask
        )
        return found

    found = _chunks(x.numel(), work)
    top = np.array(max((bits for bits, _ in found), default=0), np.uint32).view(np.float32)
    clipped = any(beyond for _, beyond in found)
    return out, inside.view(torch.bool) if clipped else None, torch.from_numpy(top)


def convert_plainly(
    x: Tensor, step: float | Tensor, limit: float, std: float | Tensor, address: NoiseAddress
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the results of :func:`convert` by torch operations, for any dtype and device."""
    x, order = _dense(x)
    top = x.abs().amax().float() if x.numel() else x.new_zeros((), dtype=torch.float32)
    if isinstance(std, Tensor) or std > 0:
        noise = normals((x.numel(),), x, address)
        placed = noise.reshape([x.shape[i] for i in order]).permute(np.argsort(order).tolist())
        x = x + std * placed
    if not isinstance(step, Tensor) and step == 0:
        return x.clone(), None, top
    per_step = 1 / torch.as_tensor(step, dtype=torch.float32, device=x.device)
    code = rounding.whole(x, per_step, rounds=False)
    out = (rounding.codes(x, per_step, limit) * step).to(x.dtype)
    inside = code.abs() <= limit
    if isinstance(step, Tensor):  # a range that is zero converts nothing
        out, inside = torch.where(step > 0, out, x), inside | (step <= 0)
    return out, inside, top


def _dense(x: Tensor) -> tuple[Tensor, list[int]]:
    """Return the tensor without gaps in memory, and its dimensions in the order of memory."""
    order = list(range(x.ndim))
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.is_contiguous():
        return x, order
    if x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim]):
        return x, [0, *range(2, x.ndim), 1]
    return x.contiguous(), order


def _flat(x: Tensor, order: list[int]) -> np.ndarray:
    """Return a view of all values in the order of memory; bfloat16 as its bits."""
    x = x.permute(order) if order else x
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().reshape(-1).view(np.uint16)
    return x.numpy().reshape(-1)


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, largest: Tensor, limit: float) -> Tensor:
        step = largest / limit
        code = rounding.whole(x, 1 / step, rounds=False)
        inside = code.abs() <= limit
        out = rounding.codes(x, 1 / step, limit)
        ctx.save_for_backward(torch.where(inside, out - code, out) / limit, inside)
        return out * step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        slope, inside = ctx.saved_tensors
        # Of the published scale 1 / sqrt(N Q), Q is in `slope`'s unit: the range, not the step.
        total = (gradient * slope).sum() / math.sqrt(max(1, slope.numel()))
        return torch.where(inside, gradient, 0), total, None


def learned(x: Tensor, largest: Tensor, limit: float) -> Tensor:
    """Return ``x`` converted to ``2 limit + 1`` codes over a range that has a gradient.

    Parameters
    ----------
    x : floating-point tensor of any shape
        Values in front of the converter.
    largest : tensor of shape ()
        Half the range, in units of x; the step is ``largest / limit``.
    limit : float
        Largest code.

    Returns
    -------
    tensor of the shape of x
        Converted values.

    Notes
    -----
    With v = x / step, the gradient of the output against ``largest`` is ``(rint(v) - v) / limit``
    inside the range and +-1 beyond, summed over x and divided by sqrt(number of values): the
    published rule for a step s, written for the range ``limit s`` (its factor 1 / sqrt(limit)
    only rescales the learning rate and is left out).
    """
    result: Tensor = cast(Any, _Learned).apply(x, largest.to(x.dtype), limit)
    return result


@dataclass(frozen=True)
class ComparatorNoise:
    """Noise and offsets in front of comparators, in units of the sums.

    Attributes
    ----------
    std, offset : tensors that broadcast with the sums, of shape (C,) and ones behind, float32
        Standard deviation of the noise of a comparison; offset of each comparator, by which
        thresholds are too high.
    address : NoiseAddress
        Address of the noise.
    """

    std: Tensor
    offset: Tensor
    address: NoiseAddress


_SHORT = 256
"""Values of a column that lie side by side, below which columns are worked on together."""


class _Stepped(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, rows: Tensor, kind: Literal["tanh", "clip"],
        noise: ComparatorNoise | None,
    ) -> Tensor:  # fmt: skip
        out, slope = step(sums, rows, kind, noise, ctx.needs_input_grad[0])
        if slope is not None:
            ctx.save_for_backward(slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None, None


def stepped(
    sums: Tensor, rows: Tensor, kind: Literal["tanh", "clip"], noise: ComparatorNoise | None = None
) -> Tensor:
    """Return the values of the steps that sums reach, with a gradient that stands in for theirs.

    Parameters
    ----------
    sums : floating-point tensor of any shape
        Values in front of comparators.
    rows : (2 T + 1, ...) tensor that broadcasts with it
        T thresholds, then T + 1 values, as of :class:`aimc_sim.core.quantise.StepTable`; they get
        no gradient.
    kind : "tanh" or "clip"
        With ``d`` the distance from a threshold in units of half the difference of the values
        beside it, the gradient is ``1 - tanh(d)^2``, that of a tanh from the one value to the
        other, or 1 for ``|d| <= 1`` and 0 beyond; of several thresholds the largest counts. That
        the published training uses either is RECALLED (arXiv:2211.02167 could not be read).
    noise : ComparatorNoise, optional
        Noise and offsets in front of the comparators; default: none.

    Returns
    -------
    tensor of the shape of sums
        One of the T + 1 values of each column.
    """
    result: Tensor = cast(Any, _Stepped).apply(sums, rows, kind, noise)
    return result


def step(
    sums: Tensor, rows: Tensor, kind: Literal["tanh", "clip"], noise: ComparatorNoise | None,
    with_slope: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Return values of steps and, if wanted, the factor of the gradient.

    Parameters
    ----------
    sums, rows, kind, noise
        As of :func:`stepped`.
    with_slope : bool
        Whether the slope is wanted.

    Returns
    -------
    out : tensor of the shape of sums
        Values of the steps.
    slope : tensor of the shape of sums, or None
        Factor of the gradient; None if it is not wanted.
    """
    sums, rows = sums.detach(), rows.detach()
    wide = [d - rows.ndim for d in range(1, rows.ndim) if rows.shape[d] > 1]
    fused = sums.device.type == "cpu" and sums.dtype == rows.dtype == torch.float32
    if not fused or len(wide) > 1 or rows.ndim > sums.ndim + 1 or not sums.numel():
        return step_plainly(sums, rows, kind, noise, with_slope)
    sums, order = _dense(sums)
    place = order.index(sums.ndim + wide[0]) if wide else sums.ndim - 1
    inner = math.prod(sums.shape[d] for d in order[place + 1 :])
    columns = sums.shape[order[place]] if wide else 1
    if not wide:
        inner = sums.numel()
    empty = np.empty(0, np.float32)
    beside = [empty] * 3
    if noise is not None:
        own = (
            part.detach().float().reshape(-1).expand(columns) for part in (noise.std, noise.offset)
        )
        beside = [part.contiguous().numpy() for part in own]
        beside.append(normals((sums.numel(),), sums, noise.address).numpy())
    table = rows.reshape(len(rows), -1).numpy()
    if 1 < inner < _SHORT:  # columns side by side, so that runs are long
        table = np.repeat(table, inner, axis=1)
        beside[:2] = [np.repeat(part, inner) for part in beside[:2]]
        inner, columns = 1, columns * inner
    out = torch.empty_like(sums)
    slope = torch.empty_like(sums) if with_slope else None
    flat = _flat(sums, order), _flat(out, order), empty if slope is None else _flat(slope, order)
    size = columns if inner == 1 else inner  # of a run
    runs = sums.numel() // size
    wanted = max(1, min(torch.get_num_threads(), -(-sums.numel() // CHUNK)))
    edges = [runs * k // wanted for k in range(wanted + 1)]

    def work(part: tuple[int, int]) -> None:
        where = slice(part[0] * size, part[1] * size)
        loops.compare(
            flat[0][where], beside[2][where], *beside[:2], np.ascontiguousarray(table),
            kind == "clip", inner, part[0], flat[1][where], flat[2][where],
        )  # fmt: skip

    threads.run(work, [(a, b) for a, b in pairwise(edges)], wanted)
    return out, slope


def step_plainly(
    sums: Tensor, rows: Tensor, kind: Literal["tanh", "clip"], noise: ComparatorNoise | None,
    with_slope: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Return the results of :func:`step` by torch operations, for any dtype and device."""
    steps = len(rows) // 2
    if noise is not None:
        sums, order = _dense(sums)
        drawn = normals((sums.numel(),), sums, noise.address)
        drawn = drawn.reshape([sums.shape[i] for i in order])
        drawn = drawn.permute(np.argsort(order).tolist())
        sums = sums + (noise.std.to(sums.dtype) * drawn - noise.offset.to(sums.dtype))
    out = rows[steps].expand(sums.shape)
    slope = torch.zeros_like(sums)
    for t in range(steps):
        threshold, below, above = rows[t], rows[steps + t], rows[steps + t + 1]
        out = torch.where(sums >= threshold, above, out)
        half = (above - below) / 2
        place = (sums - threshold) / torch.where(half > 0, half, 1)
        one = 1 - torch.tanh(place).square() if kind == "tanh" else (place.abs() <= 1).float()
        slope = torch.maximum(slope, torch.where(half > 0, one, 0).to(sums.dtype))
    return out.to(sums.dtype), slope if with_slope else None
