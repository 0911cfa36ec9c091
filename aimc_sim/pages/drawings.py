"""Floorplan, pipeline and waterfall as shapes with values; the template writes them as SVG.

Colours are classes of the page's style sheet (``c0`` to ``c7``), so that they follow its theme.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..analysis.performance import core_shares
from ..chip.program import Block
from .machine import Machine
from .tables import percent, shown, span

CELL, GAP = 96.0, 5.0
"""Side of a core with its margin, and the margin, in units of the drawing."""

ROW, NAMES = 20.0, 184.0
"""Height of a row and room for names on the left, in units of the drawing."""

_LETTER = 6.2  # width of a letter at the size of the drawings' text
_SPLIT = 28  # letters of a name beside a row


@dataclass(frozen=True)
class Mark:
    """One shape.

    Attributes
    ----------
    shape : "rect", "line" or "text"
    at : dict
        Attributes of the SVG element.
    look : str
        Classes of the style sheet.
    text : str
        Of a text.
    tip : str
        Value shown at the pointer and read out: "" for shapes without.
    """

    shape: Literal["rect", "line", "text"]
    at: dict[str, Any]
    look: str = ""
    text: str = ""
    tip: str = ""


@dataclass(frozen=True)
class Drawing:
    """A picture: its size, what it shows, and its shapes from back to front.

    Attributes
    ----------
    name : str
        Of the files of this figure.
    title : str
    width, height : float
    marks : list of Mark
    legend : list of (str, int)
        Names and numbers of colours.
    """

    name: str
    title: str
    width: float
    height: float
    marks: list[Mark] = field(default_factory=list)
    legend: list[tuple[str, int]] = field(default_factory=list)

    def rect(self, x: float, y: float, w: float, h: float, look: str, tip: str = "") -> None:
        """Add a rectangle."""
        at = {"x": x, "y": y, "width": max(w, 0.0), "height": max(h, 0.0)}
        self.marks.append(Mark("rect", _rounded(at), look, tip=tip))

    def line(self, x0: float, y0: float, x1: float, y1: float, look: str) -> None:
        """Add a line."""
        self.marks.append(Mark("line", _rounded({"x1": x0, "y1": y0, "x2": x1, "y2": y1}), look))

    def text(self, x: float, y: float, text: str, look: str = "", anchor: str = "start") -> None:
        """Add a text whose baseline begins, ends or is centred at a point."""
        at = _rounded({"x": x, "y": y}) | {"text-anchor": anchor}
        self.marks.append(Mark("text", at, look, text=text))


def floorplan(machine: Machine) -> Drawing:
    """Return which block sits on which core, how full the core is and how busy.

    Parameters
    ----------
    machine : Machine
    """
    spec, compiled = machine.spec, machine.compiled
    grid, place = spec.fabric, machine.layout
    stages = list(dict.fromkeys(layer.name.split(".")[0] for layer in compiled.layers))
    wide = CELL * (grid.cols * spec.chips + 0.4 * (spec.chips - 1))
    drawn = Drawing(
        "floorplan", f"Floorplan: {place.cores_used} of {place.cores_available} cores in use",
        wide, CELL * grid.rows, legend=[(name, i % 8) for i, name in enumerate(stages)],
    )  # fmt: skip
    of: dict[int, list[Block]] = {}
    for block in compiled.blocks:
        of.setdefault(block.core, []).append(block)
    busy = core_shares(machine.performance.pipeline)
    for core in range(spec.cores):
        chip, local = divmod(core, grid.cores)
        row, col = divmod(local, grid.cols)
        x = CELL * (col + chip * (grid.cols + 0.4))
        _core(drawn, machine, core, (x + GAP, CELL * row + GAP), of.get(core, []), stages, busy)
    return drawn


def _core(
    drawn: Drawing, machine: Machine, core: int, corner: tuple[float, float],
    blocks: list[Block], stages: list[str], busy: dict[int, float],
) -> None:  # fmt: skip
    (x, y), side, spec = corner, CELL - 2 * GAP, machine.spec.core
    drawn.rect(x, y, side, side, "core" if blocks else "core empty")
    for block in blocks:
        rows, cols = block.shape
        drawn.rect(
            x + side * block.col_offset / spec.cols, y + side * block.row_offset / spec.rows,
            side * cols / spec.cols, side * rows / spec.rows,
            f"used c{stages.index(block.layer.split('.')[0]) % 8}",
        )  # fmt: skip
    lines = _core_lines(blocks)
    for n, line in enumerate(lines):
        height = y + side / 2 + 13 * (n - (len(lines) - 1) / 2) + 4
        drawn.text(x + side / 2, height, line, "small", "middle")
    drawn.text(x + side - 3, y + side - 4, str(core), "small", "end")
    names = ", ".join(
        f"{b.layer} (rows {b.row_start} to {b.row_stop - 1}, columns {b.col_start} to "
        f"{b.col_stop - 1} of its matrix)" for b in blocks
    )  # fmt: skip
    cells = sum(math.prod(b.shape) for b in blocks) / (spec.rows * spec.cols)
    tip = (
        f"core {core}: {names}; {100 * cells:.0f} % of the cells, busy with MVMs "
        f"{100 * busy.get(core, 0.0):.0f} % of the time"
        if blocks
        else f"core {core}: empty"
    )
    drawn.rect(x, y, side, side, "hit", tip)


def _core_lines(blocks: list[Block]) -> list[str]:
    if not blocks:
        return ["empty"]
    fits = int((CELL - 2 * GAP) / _LETTER)
    if len(blocks) > 1:
        names = [_cut(b.layer, fits) for b in blocks]
        return names if len(names) <= 4 else [*names[:3], f"and {len(names) - 3} more"]
    lines = [""]
    for part in blocks[0].layer.split("."):
        joined = f"{lines[-1]}.{part}" if lines[-1] else part
        lines = [*lines[:-1], joined] if len(joined) <= fits else [*lines, part]
    rows, cols = blocks[0].shape
    return [*(_cut(line, fits) for line in lines[-2:] if line), f"{rows} × {cols}"]


def pipeline(machine: Machine) -> Drawing:
    """Return when every layer computes, image by image: from its first to its last MVM.

    Parameters
    ----------
    machine : Machine
        Simulated with a trace.
    """
    report = machine.performance.pipeline
    stages = report.schedule.stages
    trace = report.record.trace[: report.record.totals[2]]
    trace = trace[trace[:, 1] == 0]  # MVMs
    layers = list(dict.fromkeys(stage.layer for stage in stages if stage.layer))
    number = np.array([layers.index(s.layer) if s.layer else -1 for s in stages])
    firings = np.array([max(1, stage.firings) for stage in stages])
    stage, _, firing, begin, end = trace.T
    work = pd.DataFrame(
        {"layer": number[stage], "image": firing // firings[stage], "stage": stage,
         "begin": begin, "end": end, "busy": end - begin}
    )  # fmt: skip
    work = work[work["layer"] >= 0]
    width, plot = 900.0, 900.0 - NAMES - 10
    drawn = Drawing(
        "pipeline", f"Pipeline: when each layer computes, {report.images} images", width,
        ROW * (len(layers) + 2), legend=[(f"image {k + 1}", k % 8) for k in range(report.images)],
    )  # fmt: skip
    per = plot / report.total_ps
    for at in _ticks(report.total_ps * 1e-12):
        x = NAMES + at * 1e12 * per
        drawn.line(x, 0, x, ROW * len(layers), "grid")
        drawn.text(x, ROW * len(layers) + 15, shown(at, "s"), "small", "middle")
    for n, layer in enumerate(layers):
        drawn.text(NAMES - 8, ROW * n + 14, _cut(layer, _SPLIT), "small", "end")
    drawn.text(NAMES + plot / 2, ROW * (len(layers) + 2) - 6, "time", "small", "middle")
    for (n, k), part in work.groupby(["layer", "image"], sort=True):
        first, last = int(part["begin"].min()), int(part["end"].max())
        share = part["busy"].sum() / part["stage"].nunique() / max(1, last - first)
        tip = (
            f"{layers[n]}, image {k + 1}: first MVM at {shown(first * 1e-12, 's')}, last one ends "
            f"at {shown(last * 1e-12, 's')}; MVMs take {100 * share:.0f} % of it"
        )
        drawn.rect(NAMES + first * per, ROW * n + 3, max((last - first) * per, 2), ROW - 6,
                   f"bar c{k % 8}", tip)  # fmt: skip
    return drawn


def waterfall(rows: pd.DataFrame, title: str) -> Drawing:
    """Return what effects and layers cost at one time and compensation.

    Parameters
    ----------
    rows : DataFrame
        From :func:`.attribute.table`, of one time and one compensation.
    title : str

    Returns
    -------
    Drawing
        Bars from where the effects above ended (each effect alone, with what they have in common
        beyond the sum, down to the whole), then bars from zero; whiskers are 95 % intervals.
    """
    whole = rows[rows["kind"] == "whole"].iloc[0]
    bars: list[tuple[str, float, float, float, float, str] | str] = []
    for kind, heading in _HEADINGS.items():
        part = rows[rows["kind"] == kind]
        if not len(part):
            continue
        bars.append(heading)
        begin = 0.0
        for row in (part if kind == "layer" else part.sort_values("difference")).itertuples():
            bars.append((row.effect, begin, row.difference, row.low, row.high, kind))
            begin += row.difference if kind == "alone" else 0.0
        if kind == "alone":
            rest = whole["difference"] - begin
            bars.append(("together, beyond the sum", begin, rest, math.nan, math.nan, kind))
            bars.append(("all effects", 0.0, whole["difference"], whole["low"], whole["high"], ""))
    return _bars(bars, title)


_HEADINGS = {
    "alone": "each effect alone, one after the other",
    "missing": "everything, against everything but this effect",
    "layer": "this layer with real devices, the others perfect",
}


def _bars(bars: list, title: str) -> Drawing:
    ends = [0.0]
    for bar in bars:
        if not isinstance(bar, str):
            _, begin, size, low, high, _ = bar
            ends += [begin, begin + size]
            ends += [begin + x for x in (low, high) if x == x]
    low, high = min(ends), max(ends)
    room = 0.04 * max(high - low, 1e-3)
    low, high = low - room, high + room
    width, left = 860.0, NAMES + 10
    scale = (width - left - 90) / (high - low)

    def place(value: float) -> float:
        return left + (value - low) * scale

    drawn = Drawing("waterfall", title, width, ROW * (len(bars) + 2))
    bottom = ROW * len(bars)
    for tick in _ticks(high, low):
        drawn.line(place(tick), 0, place(tick), bottom, "axis" if tick == 0 else "grid")
        drawn.text(place(tick), bottom + 15, f"{100 * tick:+g}" if tick else "0", "small", "middle")
    drawn.text(place((low + high) / 2), bottom + 2 * ROW - 6,
               "change of accuracy (percentage points)", "small", "middle")  # fmt: skip
    for n, bar in enumerate(bars):
        y = ROW * n
        if isinstance(bar, str):
            drawn.text(4, y + 15, bar, "strong")
            continue
        name, begin, size, least, most, _ = bar
        interval = f" {span(least, most, 2, True)}" if least == least else ""
        tip = f"{name}: {percent(size, 2) if size < 0 else '+' + percent(size, 2)}{interval} points"
        drawn.text(NAMES + 2, y + 14, _cut(name, _SPLIT), "small", "end")
        drawn.rect(place(min(begin, begin + size)), y + 4, max(abs(size) * scale, 1), ROW - 8,
                   "bar c1" if size < 0 else "bar c2")  # fmt: skip
        if least == least:
            ends = place(begin + least), place(begin + most)
            drawn.line(ends[0], y + ROW / 2, ends[1], y + ROW / 2, "whisker")
        drawn.text(width - 84, y + 14, f"{100 * size:+.2f}", "small")
        drawn.rect(0, y + 1, width, ROW - 2, "hit", tip)
    return drawn


def _ticks(high: float, low: float = 0.0, wanted: int = 6) -> list[float]:
    """Return round numbers from low to high, about so many."""
    raw = max(high - low, 1e-15) / wanted
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 15) for k in range(first, last + 1)]


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else "…" + name[1 - letters :]


def _rounded(at: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 2) for key, value in at.items()}
