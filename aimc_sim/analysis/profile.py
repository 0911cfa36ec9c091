"""A forward, part by part and layer by layer, against the limits of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import markup
from ..machine.formats import formats
from ..machine.limits import Limits, measure
from ..runtime.chip import Chip
from ..runtime.images import images_in
from .profile_parts import CLOCKS, PARTS, Sum, Sums, recording

LEGEND = (
    "ms: of the forward's time; on several threads their mean, and 'waiting' is what a thread is "
    "idle.\nPython: the rest of every step, with torch's small operations between the parts; MB: "
    "read and written.\nlimit: time at the limits of the machine (copy and product, whichever "
    "takes longer) / time taken."
)


@dataclass(frozen=True)
class Profile:
    """Where the time of a forward goes.

    Attributes
    ----------
    images : int
        Of the batch.
    seconds : float
        Median time of a forward without clocks.
    torch_seconds : float
        Median time of the same batch in torch, float32.
    recorded_seconds : float
        Time of the forward that was recorded, its clocks left out; the parts are of this one.
    sums : dict
        By step and part, all threads together, see :mod:`.profile_parts`.
    limits : Limits
        Rates that the machine reaches.
    """

    images: int
    seconds: float
    torch_seconds: float
    recorded_seconds: float
    sums: Sums
    limits: Limits

    @property
    def steps(self) -> list[str]:
        """Layers and digital steps, in the order in which they run."""
        return list(dict.fromkeys(step for step, _ in self.sums))

    def total(self, step: str | None = None, part: str | None = None) -> Sum:
        """Return the sum over steps and parts; None stands for all."""
        found = Sum()
        for (own_step, own_part), one in self.sums.items():
            if step in (None, own_step) and part in (None, own_part):
                found.add(one.seconds, one.bytes, one.operations)
        return found

    @property
    def waiting(self) -> float:
        """Seconds that threads were idle or shared out images, all threads together."""
        return self.limits.threads * self.recorded_seconds - self.total().seconds

    def least_seconds(self, step: str | None = None, part: str | None = None) -> float:
        """Return the time at the machine's limits, all threads at work; Python takes none."""
        found = 0.0
        for (own_step, own_part), one in self.sums.items():
            if step in (None, own_step) and part in (None, own_part):
                own = formats()
                rate = self.limits.product(own.variance if own_part == "variance" else own.charge)
                found += max(one.bytes / self.limits.copy, one.operations / rate)
        return found

    def share_of_limit(self, step: str | None = None, part: str | None = None) -> float:
        """Return the least time over the time taken: 1 where nothing can be gained."""
        return self.least_seconds(step, part) * self.limits.threads / self.total(step, part).seconds

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values: seconds, bytes, operations."""
        return {
            "images": self.images,
            "threads": self.limits.threads,
            "seconds": self.seconds,
            "torch_seconds": self.torch_seconds,
            "ratio_to_torch": self.seconds / self.torch_seconds,
            "recorded_seconds": self.recorded_seconds,
            "waiting_thread_seconds": self.waiting,
            "least_seconds": self.least_seconds(),
            "limits": vars(self.limits) | {"unit": "bytes or operations per second"},
            "parts": [
                {
                    "step": step, "part": part, "thread_seconds": one.seconds,
                    "bytes": one.bytes, "operations": one.operations,
                    "least_seconds": self.least_seconds(step, part),
                }
                for (step, part), one in self.sums.items()
            ],
        }  # fmt: skip

    def layers(self) -> str:
        """Return a table with a line for every step."""
        width = max(map(len, (*self.steps, "layer or step")))
        names = "".join(f"{part:>11}" for part in PARTS)
        lines = [f"{'layer or step':<{width}}       ms{names}       MB  limit"]
        for step in self.steps:
            cells = "".join(f"{self._ms(self.total(step, part)):11.2f}" for part in PARTS)
            whole = self.total(step)
            lines.append(
                f"{step:<{width}} {self._ms(whole):8.2f}{cells} {whole.bytes * 1e-6:8.1f} "
                f"{self.share_of_limit(step):6.0%}"
            )
        return "\n".join(lines)

    def _ms(self, one: Sum) -> float:
        return 1e3 * one.seconds / self.limits.threads

    def _headline(self) -> str:
        many = "1 thread" if self.limits.threads == 1 else f"{self.limits.threads} threads"
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return (
            f"forward of {images}, {many}: {1e3 * self.seconds:.1f} ms "
            f"({self.images / self.seconds:,.0f} images/s), torch float32 "
            f"{1e3 * self.torch_seconds:.1f} ms: {self.seconds / self.torch_seconds:.1f}x"
        )

    def _parts(self) -> list[tuple[str, ...]]:
        """Return the cells of the table of parts, those of all of them last; "" for none."""
        threads, whole, rows = self.limits.threads, self.recorded_seconds, []
        for part in PARTS:
            one = self.total(part=part)
            if one.seconds == 0.0:
                continue
            rates = [f"{r * 1e-9 * threads / one.seconds:.1f}" if r else "-"
                     for r in (one.bytes, one.operations)]  # fmt: skip
            moved = f"{one.bytes * 1e-6:.1f}" if one.bytes else "-"
            share = f"{self.share_of_limit(part=part):.0%}" if one.bytes else "-"
            own = f"{self._ms(one) / whole * 1e-3:.0%}"
            rows.append((part, f"{self._ms(one):.1f}", own, moved, *rates, share))
        if threads > 1:
            idle = self.waiting / threads
            rows.append(("waiting", f"{1e3 * idle:.1f}", f"{idle / whole:.0%}", "", "", "", ""))
        return [*rows, ("all", f"{1e3 * whole:.1f}", "100%", "", "", "", "")]

    def _verdict(self) -> str:
        least = self.least_seconds()
        return (
            f"at the limits of the machine the forward would take {1e3 * least:.1f} ms; it takes "
            f"{self.recorded_seconds / least:.1f} times as long"
        )

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        columns = ("part", ">ms", ">share", ">MB", ">GB/s", ">GFLOP/s", ">limit")
        return markup.display(
            "Profile", "time of a forward", markup.paragraph(self._headline()),
            markup.paragraph(self.limits, soft=True), markup.table(columns, self._parts()),
            markup.paragraph(self._verdict()), markup.folded("meaning of the columns",
            markup.bullets(LEGEND.replace("\n", " ").split("; "))),
        )  # fmt: skip

    def __str__(self) -> str:
        lines = [
            self._headline(),
            str(self.limits),
            "",
            "part              ms  share        MB    GB/s  GFLOP/s  limit",
        ]
        for part, ms, share, moved, copied, computed, limit in self._parts():
            line = f"{part:<11} {ms:>8} {share:>6} {moved:>9} {copied:>7} {computed:>8} {limit:>6}"
            lines.append(line.rstrip())
        return "\n".join([*lines, f"\n{self._verdict()}"])


def profile(chip: Chip, model: nn.Module, inputs: Tensor, threads: int, rounds: int = 5) -> Profile:
    """Measure where a forward's time goes, and the limits of the machine.

    Parameters
    ----------
    chip : Chip
        Programmed, on a processor.
    model : nn.Module
        The network on the chip, for torch's time.
    inputs : (B, ...) tensor
        One batch of the network's input.
    threads : int
        Torch is given so many meanwhile.
    rounds : int
        Forwards of each kind (torch, chip without clocks, chip with clocks), in turn. Of those with
        clocks the one of median time is kept, so that its parts add up.

    Raises
    ------
    ValueError
        If the chip is on another device than a processor.
    """

    def timed(action: Callable[[Tensor], Any]) -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            action(inputs)
        return time.perf_counter() - began

    def forward(x: Tensor) -> Any:
        return chip(x, first_image=0)

    plain, reference, recorded = [], [], []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        timed(model), timed(forward)  # plans are made and kernels compiled
        for _ in range(rounds):
            reference.append(timed(model))
            plain.append(timed(forward))
            with recording() as recorder:
                seconds = timed(forward)
            sums = recorder.sums()
            clocks = sum(sums.pop(key).seconds for key in list(sums) if key[1] == CLOCKS)
            recorded.append((seconds - clocks / threads, sums))
    finally:
        torch.set_num_threads(before)
    recorded.sort(key=lambda pair: pair[0])
    seconds, sums = recorded[len(recorded) // 2]
    images = images_in(chip.compiled, (inputs,))
    usual, in_torch = statistics.median(plain), statistics.median(reference)
    return Profile(images, usual, in_torch, seconds, sums, measure(threads))
