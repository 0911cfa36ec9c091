"""Run a plan on images: the fast path.

Images go through in chunks that fit a memory budget (:mod:`aimc_sim.runtime.chunk`); since every
random draw is addressed by the number of its image, and sums do not depend on the batch
(:mod:`.products`), chunks and threads do not change a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from ..chip.program import DigitalStep, leaves
from ..machine import settings
from ..machine.products import SMALLEST_BATCH
from .calls import layer_calls
from .chunk import Run
from .counts import Tally, new_counts
from .plan import Plan
from .recurrent import Span, padded

_LOOP_BYTES = 128 * 2**20
"""Aim for the activations of a recurrent layer in a chunk, over all its time steps."""

_CHUNK_BYTES = {"cpu": 4 * 2**20, "other": 64 * 2**20}
"""Aim for the activations of one layer of a chunk: the size of a processor's cache, and on other
devices enough to keep them busy."""


@settings.own
def run(
    plan: Plan, images: Tensor | Sequence[Tensor], first_event: int, counts: Tally,
    chunk: int | None, span: Span | None = None,
) -> Any:  # fmt: skip
    """Return the network's outputs, in its own numbers.

    Parameters
    ----------
    plan : Plan
        The network at one evaluation time.
    images : (B, ...) float32 tensor, or one for every input of the network
        The batch may lie along another dimension, see :class:`aimc_sim.chip.program.Program`.
    first_event : int
        Number of the first image; the noise of an image belongs to its number.
    counts : dict
        Added to, by layer name.
    chunk : int or None
        Images at a time; None chooses by :data:`_CHUNK_BYTES`.
    span : Span, optional
        Where in a sequence the inputs begin, with which states, and how long each is.

    Returns
    -------
    (B, outputs) float32 tensor, or a tuple, list or dictionary of tensors as the network's own
    """
    inputs = (images,) if isinstance(images, Tensor) else tuple(images)
    axis, axes = plan.compiled.axis, plan.compiled.axes
    total = 1 if axis is None else inputs[0].shape[axis]
    threads = settings.threads()  # a small batch is split, or all but one would idle
    size = (
        total
        if axis is None
        else chunk or min(_chunk_size(plan, inputs[0]), max(SMALLEST_BATCH, -(-total // threads)))
    )
    if any(isinstance(step, DigitalStep) and step.op == "trim" for step in plan.compiled.steps):
        size = total  # the longest sequence of all decides how long the results are
    starts = range(0, total, size)
    spans = {
        start: Span() if span is None else span.part(start, min(size, total - start))
        for start in starts
    }

    def one(start: int) -> tuple[list[Tensor], Tally]:
        n = min(size, total - start)
        parts = [
            x if own is None else x.narrow(own, start, n)
            for x, own in zip(inputs, axes, strict=True)
        ]
        return _run_chunk(plan, parts, first_event + start, spans[start])

    if plan.device.type != "cpu" or min(threads, len(starts)) < 2:
        results = [one(start) for start in starts]
    else:
        # A thread per chunk, each with single-threaded operations: nothing waits for anybody
        # between two layers, which beats threads inside operations.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            results = list(pool.map(one, starts))
    for _, tally in results:
        for name, seen in tally.items():
            counts[name].add(seen)
    if span is not None:
        span.join(list(spans.values()))
    by_output = zip(*(outputs for outputs, _ in results), strict=True)
    outputs = [
        parts[0] if axis is None else torch.cat(parts, axis)
        for parts, (_, axis) in zip(by_output, leaves(plan.compiled.results), strict=True)
    ]
    return _as_tree(plan.compiled.results, iter(outputs))


def _as_tree(results: Any, outputs: Iterator[Tensor]) -> Any:
    """Return tensors in the structure that the network itself returns."""
    kind, content, *_ = results
    if kind == "none":
        return None
    if kind == "value":
        return next(outputs)
    if kind == "dict":
        return {key: _as_tree(part, outputs) for key, part in content.items()}
    parts = [_as_tree(part, outputs) for part in content]
    return tuple(parts) if kind == "tuple" else parts


def _run_chunk(
    plan: Plan, parts: list[Tensor], first_event: int, span: Span
) -> tuple[list[Tensor], Tally]:
    axis = plan.compiled.axis
    n = 1 if axis is None else parts[0].shape[axis]
    parts = [part.to(plan.device) for part in parts]
    if axis is not None and n < SMALLEST_BATCH and plan.device.type != "cpu":
        parts = [
            part if own is None else padded(part, own, SMALLEST_BATCH - n)
            for part, own in zip(parts, plan.compiled.axes, strict=True)
        ]
        span.pad(SMALLEST_BATCH - n)
    batch, tally = 1 if axis is None else parts[0].shape[axis], new_counts()
    with torch.inference_mode():
        outputs = Run(plan, n, first_event, tally, span)(*parts)
        span.cut(n)
    # Where the network merged other dimensions with the batch, an image has several rows.
    return [
        (output if axis is None else output.narrow(axis, 0, output.shape[axis] // batch * n)).cpu()
        for output, (_, axis) in zip(outputs, leaves(plan.compiled.results), strict=True)
    ], tally


def _chunk_size(plan: Plan, images: Tensor) -> int:
    """Return how many images go through at once."""
    assert plan.compiled.axis is not None  # there is a batch to be cut
    batch = images.shape[plan.compiled.axis]
    widest = max(call.layer.weight.shape[1] for call in layer_calls(plan.calls))
    budget = _CHUNK_BYTES.get(plan.device.type, _CHUNK_BYTES["other"])
    if plan.compiled.recurrent:
        # Every time step is a pass of its own, so that large batches make it fast.
        steps = (
            images[0].numel() if images.ndim < 3 else images.numel() // images.shape[-1] // batch
        )
        return int(max(SMALLEST_BATCH, min(1024, _LOOP_BYTES // (4 * max(1, steps) * widest))))
    pixels = images[0, 0].numel() if images.ndim > 2 else 1
    channels = min(widest, 16) if images.ndim > 2 else widest
    return int(max(SMALLEST_BATCH, min(1024, budget // (4 * pixels * channels))))
