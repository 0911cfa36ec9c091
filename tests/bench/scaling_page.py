"""The page about speed: ``docs/speed.md`` and its pictures, from the tables of ``scaling.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from aimc_sim.figures.canvas import PALETTE, figure_of
from aimc_sim.figures.output import save

Rows = Sequence[Mapping[str, str]]

PAGE = """# Speed and memory

Written by `python tests/bench/scaling.py`; the tables are in [`scaling/`](scaling).{trial}

| measured with | |
|---|---|
{machine}

Network: ResNet-32 for 32 x 32 images, preset hermes-odp (4-phase reads, read noise fresh in every
MVM, converters, INT8 between layers). The machine may be shared with others: ratios to torch were
measured in turn with it and move by a few tenths, times by more.

## Where a forward goes

`{command}`:

```text
{profile}
```

## Threads and batch

Images of a batch are shared out among threads in chunks that fit the caches, so that a batch of one
chunk runs on one thread. Small batches pay the interpreter for every layer.

![Images per second against the batch, chip and torch, one and two threads](scaling/speed.png)

{speed}

## Memory

Largest resident set of a process, libraries included. A chip computes a batch chunk by chunk, so
that only its images and outputs grow with it.

![Peak memory against the batch, torch alone and chip](scaling/memory.png)

{memory}

## Studies

{trials} trials, each one programming of ResNet-32, 20 images and one look. One worker runs a trial
on all cores, two share them; the time includes placing and calibrating once per worker.

{study}

## Devices

Linear layers in one-device mode: four devices for every weight, of which one is written. `program`
writes them by the law, `at` evaluates them at another time, `compensate` reads and compares them
(global drift compensation); on all cores.

![Time of program, at and compensate against the number of devices](scaling/devices.png)

{devices}
"""


NAMES = {"load": "processes at work on average, those of the command included"}
"""What the page calls a fact, where its own name is too short."""


def write(out: Path, found: Mapping[str, Rows], here: Mapping[str, Any]) -> None:
    """Write the page and its pictures.

    Parameters
    ----------
    out : Path
        Folder of ``speed.md``; pictures go into its ``scaling``.
    found : mapping from table name to rows
    here : mapping
        What the figures depend on, and the load of the last quarter of an hour.
    """
    pictures = out / "scaling"
    speed_picture(found["speed"], pictures / "speed.png")
    memory_picture(found["memory"], pictures / "memory.png")
    devices_picture(found["devices"], pictures / "devices.png")
    profile = found["profile"][0]
    page = PAGE.format(
        trial=_reservation(here),
        machine="\n".join(f"| {NAMES.get(k, k)} | {v} |" for k, v in here.items() if k != "quick"),
        command=profile["command"], profile=profile["text"].rstrip(),
        speed=speed_table(found["speed"]), memory=memory_table(found["memory"]),
        study=study_table(found["study"]), trials=found["study"][0]["trials"],
        devices=devices_table(found["devices"]),
    )  # fmt: skip
    (out / "speed.md").write_text(page)


def _reservation(here: Mapping[str, Any]) -> str:
    """Return what a reader must know before the figures, or nothing."""
    if here["quick"]:
        return " **A trial of the command: sizes are tiny.**"
    if float(here["load"]) > here["cores"] + 1:
        return " **The machine was busy with other work: times are too long.**"
    return ""


# ------------------------------------------------------------------------- pictures


def speed_picture(rows: Rows, path: Path) -> None:
    """Images per second against the batch; chip in full lines, torch dashed."""
    figure, (ax,) = figure_of(None, (6.4, 4.0))
    for colour, threads in zip(
        PALETTE, dict.fromkeys(row["threads"] for row in rows), strict=False
    ):
        own = [row for row in rows if row["threads"] == threads]
        batch = [int(row["batch"]) for row in own]
        for what, style in (("torch", "--"), ("chip", "-")):
            rate = [float(row[f"{what}_images_per_second"]) for row in own]
            name = "torch float32" if what == "torch" else "chip"
            label = f"{name}, {threads} thread{'s' if threads != '1' else ''}"
            ax.plot(batch, rate, style, color=colour, marker="o", markersize=4, label=label)
    _logarithmic(ax, "images in a batch", "images per second")
    ax.xaxis.set_major_locator(FixedLocator(sorted({int(row["batch"]) for row in rows})))
    save(figure, path)


def memory_picture(rows: Rows, path: Path) -> None:
    """Peak memory against the batch."""
    figure, (ax,) = figure_of(None, (6.4, 3.6))
    for colour, what in zip(PALETTE, ("chip", "torch"), strict=False):
        own = [row for row in rows if row["what"] == what]
        ax.plot(
            [int(row["batch"]) for row in own], [float(row["mebibytes"]) for row in own],
            "-" if what == "chip" else "--", color=colour, marker="o", markersize=4,
            label="process with a chip" if what == "chip" else "process with torch alone",
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(_whole))
    ax.xaxis.set_major_locator(FixedLocator(sorted({int(row["batch"]) for row in rows})))
    ax.set_ylim(bottom=0)
    ax.set(xlabel="images in a batch", ylabel="peak memory, MiB")
    _finish(ax)
    save(figure, path)


def devices_picture(rows: Rows, path: Path) -> None:
    """Seconds against devices, logarithmic."""
    figure, (ax,) = figure_of(None, (6.4, 4.0))
    own = [row for row in rows if not row["left_out"]]
    for colour, name in zip(PALETTE, ("program", "at", "compensate"), strict=False):
        ax.plot(
            [int(row["devices"]) for row in own],
            [float(row[f"{name}_seconds"]) for row in own],
            color=colour, marker="o", markersize=4, label=name,
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="devices", ylabel="seconds")
    ax.xaxis.set_major_formatter(FuncFormatter(_whole))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _finish(ax)
    save(figure, path)


def _logarithmic(ax: Axes, x: str, y: str) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(_whole))
    ax.set(xlabel=x, ylabel=y)
    _finish(ax)


def _finish(ax: Axes) -> None:
    ax.grid(alpha=0.3, which="major")
    ax.legend(frameon=False)


def _whole(value: float, _: int | None = None) -> str:
    return f"{value:,.0f}"


# ------------------------------------------------------------------------- tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def speed_table(rows: Rows) -> str:
    """A line per batch, chip, torch and ratio for every number of threads."""
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    head = ["batch"]
    for n in threads:
        head += [f"chip, {n} thread{'s' if n != '1' else ''}, images/s", "torch", "ratio"]
    by_key = {(row["threads"], row["batch"]): row for row in rows}
    lines = []
    for batch in dict.fromkeys(row["batch"] for row in rows):
        cells = [batch]
        for n in threads:
            row = by_key[n, batch]
            cells += [
                f"{float(row['chip_images_per_second']):,.0f}",
                f"{float(row['torch_images_per_second']):,.0f}",
                f"{float(row['ratio']):.1f}x",
            ]
        lines.append(cells)
    return _table(head, lines)


def memory_table(rows: Rows) -> str:
    """A line per batch."""
    peak = {(row["what"], row["batch"]): float(row["mebibytes"]) for row in rows}
    batches = dict.fromkeys(row["batch"] for row in rows)
    lines = [[b, f"{peak['chip', b]:,.0f}", f"{peak['torch', b]:,.0f}"] for b in batches]
    return _table(["batch", "with a chip, MiB", "torch alone, MiB"], lines)


def study_table(rows: Rows) -> str:
    """A line per number of workers."""
    lines = [
        [row["workers"], f"{float(row['seconds']):.0f} s",
         f"{int(row['trials']) / float(row['seconds']):.2f}"]
        for row in rows
    ]  # fmt: skip
    return _table(["workers", "time", "trials per second"], lines)


def devices_table(rows: Rows) -> str:
    """A line per number of devices; what did not fit says why."""
    lines = []
    for row in rows:
        times = [row[f"{name}_seconds"] for name in ("program", "at", "compensate")]
        cells = [_seconds(float(t)) for t in times] if not row["left_out"] else ["-"] * 3
        last = f"{float(row['mebibytes']):,.0f} MiB" if not row["left_out"] else row["left_out"]
        lines.append([f"{int(row['devices']):,}", *cells, last])
    return _table(["devices", "program", "at", "compensate", "peak memory"], lines)


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
