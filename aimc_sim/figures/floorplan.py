"""Which block sits on which core, how full it is; how busy cores and links are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ..chip.program import Block, Program
from ..spec import ChipSpec, CoreSpec
from .canvas import LINE, PALETTE, PANEL, PAPER, SOFT, TEXT, cut, figure_of, say
from .output import written

_GAP = 0.04  # between a core and its cell of the grid, in cells
_FILL = 0.45  # opacity of the part in use: text on it stays readable
_LANES = (0.13, 0.24)  # heights in a core where arrows of alternate layers run
_BETWEEN = 0.6  # between two chips, in cells
_MARGIN = 0.16  # around a core where links run, in cells
_TEXT_WIDTH = 7.6  # of title and legend, in inches
_COLUMNS = 7  # of the legend
_NAME_WIDTH = 15  # letters that fit into a core


def floorplan(
    compiled: Program,
    spec: ChipSpec,
    *,
    busy: Mapping[int, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw which block sits on which core, and how much of each crossbar it fills.

    Parameters
    ----------
    compiled : Program
        For example ``chip.compiled``.
    spec : ChipSpec
        The machine that the program was compiled for.
    busy : mapping from core to share of time, 0 to 1, optional
        Told at the pointer.
    title : str, optional
        Default: the number of cores in use; "" for none.
    ax : Axes, optional
        Draw here; default a new figure.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    stages = {_stage(layer.name) for layer in compiled.layers}
    below = 0.4 + 0.24 * math.ceil((len(stages) + 1) / _COLUMNS)
    figure, ax = _canvas(ax, spec, above=0.0 if title == "" else 0.4, below=below)
    of: dict[int, list[tuple[Block, str]]] = {}
    colours: dict[str, str] = {}
    for layer in compiled.layers:
        colours.setdefault(_stage(layer.name), PALETTE[len(colours) % len(PALETTE)])
        for number, block in enumerate(layer.blocks, 1):
            text = f"{number} of {len(layer.blocks)}" * (len(layer.blocks) > 1)
            of.setdefault(block.core, []).append((block, text))
    for core in range(spec.cores):
        _draw_core(ax, _corner(core, spec), core, of.get(core, []), spec.core, colours)
        x, y = _corner(core, spec)
        over = Rectangle((x + _GAP, y + _GAP), 1 - 2 * _GAP, 1 - 2 * _GAP, fc="none", ec="none",
                         zorder=9)  # fmt: skip
        say(over, _value(core, [block for block, _ in of.get(core, [])], spec.core, busy))
        ax.add_patch(over)
    lanes = {layer.name: _LANES[i % len(_LANES)] for i, layer in enumerate(compiled.layers)}
    for transfer in compiled.transfers:
        ends = transfer.producer, transfer.consumer
        if transfer.kind == "partial_sum" and ends[0] != ends[1]:
            start, end = (_corner(core, spec) for core in ends)
            _arrow(ax, start, end, lanes[transfer.value])
    cells = sum(math.prod(block.footprint) for block in compiled.blocks)
    share = cells / (spec.core.rows * spec.core.cols * max(1, compiled.cores_used))
    told = (
        f"{spec.name}: {compiled.cores_used} of {compiled.cores_available} cores in use; "
        f"weights fill {100 * share:.0f} % of their cells"
    )
    ax.set_title(told if title is None else title, fontsize=12, loc=_side(spec))
    _floorplan_legend(ax, colours, spec.core)
    return written(figure, path)


def heat_map(
    compiled: Program,
    spec: ChipSpec,
    *,
    links: Mapping[tuple[int, int], float],
    cores: Mapping[int, float],
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw how busy cores and links are.

    Parameters
    ----------
    compiled : Program
        For example ``chip.compiled``.
    spec : ChipSpec
    links : mapping from (sender, receiver) to share of time, 0 to 1
        The busier direction of two cores is drawn.
    cores : mapping from core to share of time, 0 to 1
        With an MVM under way.
    title, ax, path : optional
        As in :func:`floorplan`.

    Returns
    -------
    Figure
    """
    figure, ax = _canvas(ax, spec, beside=2.6, above=0.4)
    used = {block.core for block in compiled.blocks}
    top = max([*cores.values(), 1e-12])
    shade = ScalarMappable(Normalize(0, 100 * top), "Blues")
    for core in range(spec.cores):
        x, y = _corner(core, spec)
        corner, side = (x + _MARGIN, y + _MARGIN), 1 - 2 * _MARGIN
        share = cores.get(core, 0.0)
        look: dict[str, Any] = {"fc": shade.cmap(share / top), "ec": SOFT, "lw": 0.8}
        if core not in used:
            look = {"fc": PANEL, "ec": LINE, "lw": 0.8, "ls": "--"}
        ax.add_patch(Rectangle(corner, side, side, zorder=3, **look))
        text = f"{100 * share:.0f} %" if core in used else "empty"
        dark = share > 0.6 * top
        ax.text(x + 0.5, y + 0.5, f"{core}\n{text}", ha="center", va="center", fontsize=7.5,
                color=PAPER if dark else TEXT, zorder=4)  # fmt: skip
    hottest = max([*links.values(), 1e-12])
    heat = ScalarMappable(Normalize(0, 100 * hottest), "YlOrRd")
    busiest: dict[tuple[int, int], float] = {}
    for (a, b), share in links.items():
        if max(a, b) < spec.cores and min(a, b) >= 0:
            ends = min(a, b), max(a, b)
            busiest[ends] = max(share, busiest.get(ends, 0.0))
    for ends, share in sorted(busiest.items(), key=lambda item: item[1]):
        _link(ax, _corner(ends[0], spec), _corner(ends[1], spec), heat.cmap(share / hottest))
    for mappable, name in ((shade, "core: MVM under way (% of time)"),
                           (heat, "link: bytes under way (% of time)")):  # fmt: skip
        figure.colorbar(mappable, ax=ax, label=name, shrink=0.6, pad=0.02)
    told = f"{spec.name}: cores and links at work"
    ax.set_title(told if title is None else title, fontsize=12, loc=_side(spec))
    return written(figure, path)


def _canvas(
    ax: Axes | None, spec: ChipSpec, *, above: float, beside: float = 0.0, below: float = 0.0
) -> tuple[Figure, Axes]:  # fmt: skip
    """Return a figure with the cells of all chips side by side, row 0 at the top.

    ``above``, ``beside``, ``below``: room for title, colour bars and legend, in inches.
    """
    grid = spec.fabric
    width = spec.chips * (grid.cols + _BETWEEN) - _BETWEEN
    across = max(1.25 * width + 0.6 + beside, _TEXT_WIDTH)
    figure, (ax,) = figure_of(ax, (across, 1.25 * grid.rows + above + below + 0.1))
    ax.set_xlim(-0.05, width + 0.05)
    ax.set_ylim(grid.rows + 0.05, -0.05)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return figure, ax


def _side(spec: ChipSpec) -> Literal["left", "center"]:
    """Return where a title begins: over the first core, if the grid is as wide as a title."""
    return "left" if 1.25 * spec.chips * spec.fabric.cols >= _TEXT_WIDTH else "center"


def _corner(core: int, spec: ChipSpec) -> tuple[float, float]:
    """Return the upper left corner of a core's cell."""
    chip, local = divmod(core, spec.fabric.cores)
    row, col = divmod(local, spec.fabric.cols)
    return col + chip * (spec.fabric.cols + _BETWEEN), float(row)


def _link(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: Any) -> None:
    """Draw a link: straight to a neighbour, in an arc around the core between others."""
    (x0, y0), (x1, y1) = ((x + 0.5, y + 0.5) for x, y in (start, end))
    far = max(abs(x1 - x0), abs(y1 - y0)) > 1.5
    # Arcs run in the margin between cores, over the edges of the one in the middle.
    bend = 0.0 if not far else -0.95 / max(abs(x1 - x0), abs(y1 - y0))
    for width, ink, order in ((4.5, LINE, 1), (3.4, colour, 2)):
        ax.annotate(
            "", (x1, y1), (x0, y0), zorder=order,
            arrowprops={"arrowstyle": "-", "color": ink, "lw": width, "shrinkA": 0, "shrinkB": 0,
                        "connectionstyle": f"arc3,rad={bend}"},
        )  # fmt: skip


def _stage(layer: str) -> str:
    return layer.split(".")[0]


def _draw_core(
    ax: Axes, corner: tuple[float, float], core: int, blocks: Sequence[tuple[Block, str]],
    spec: CoreSpec, colours: Mapping[str, str],
) -> None:  # fmt: skip
    """Draw one core: its frame, the parts in use to scale, and what they hold."""
    x, y, side = corner[0] + _GAP, corner[1] + _GAP, 1 - 2 * _GAP
    if not blocks:
        ax.add_patch(Rectangle((x, y), side, side, fc=PANEL, ec=LINE, lw=0.8, ls="--"))
        _lines(ax, (x + side / 2, y + side / 2), ["empty"], color=SOFT, fontsize=8.5)
    else:
        ax.add_patch(Rectangle((x, y), side, side, fc=PAPER, ec="none"))
        for block, _ in blocks:
            rows, cols = block.footprint
            start = x + side * block.col_offset / spec.cols, y + side * block.row_offset / spec.rows
            used = side * cols / spec.cols, side * rows / spec.rows
            colour = colours[_stage(block.layer)]
            # Neighbours in a core are told apart by their outlines.
            edge = SOFT if len(blocks) > 1 else "none"
            ax.add_patch(Rectangle(start, *used, fc=(colour, _FILL), ec=edge, lw=0.5))
        ax.add_patch(Rectangle((x, y), side, side, fc="none", ec=SOFT, lw=0.8))
        _lines(ax, (x + side / 2, y + 0.6 * side), _label(blocks), fontsize=8.5)
    ax.text(x + side - 0.03, y + side - 0.02, str(core), fontsize=7, color=SOFT, ha="right",
            va="bottom")  # fmt: skip


def _lines(ax: Axes, centre: tuple[float, float], lines: Sequence[str], **look: Any) -> None:
    """Write lines below each other, each by itself: centred in any font that a page has."""
    for n, line in enumerate(lines):
        down = 10.5 * ((len(lines) - 1) / 2 - n)
        ax.annotate(line, centre, xytext=(0, down), textcoords="offset points", ha="center",
                    va="center", **look)  # fmt: skip


def _value(
    core: int, blocks: Sequence[Block], spec: CoreSpec, busy: Mapping[int, float] | None
) -> str:  # fmt: skip
    """Return what a core holds, as text."""
    if not blocks:
        return f"core {core}: empty"
    names = ", ".join(
        f"{b.layer} (rows {b.row_start} to {b.row_stop - 1}, columns {b.col_start} to "
        f"{b.col_stop - 1} of its matrix)" for b in blocks
    )  # fmt: skip
    cells = sum(math.prod(b.footprint) for b in blocks) / (spec.rows * spec.cols)
    text = f"core {core}: {names}; {100 * cells:.0f} % of the cells"
    if busy is not None:
        text += f", busy with MVMs {100 * busy.get(core, 0.0):.0f} % of the time"
    return text


def _label(blocks: Sequence[tuple[Block, str]]) -> list[str]:
    if len(blocks) == 1:
        block, of = blocks[0]
        rows, cols = block.footprint
        return [*_wrapped(block.layer), *([of] if of else []), f"{rows}×{cols}"]
    names = [_wrapped(block.layer)[-1] for block, _ in blocks]
    return names if len(names) <= 4 else [*names[:3], f"and {len(names) - 3} more"]


def _wrapped(name: str) -> list[str]:
    """Break a layer name at dots so that it fits into a core."""
    lines = [""]
    for part in name.split("."):
        joined = f"{lines[-1]}.{part}" if lines[-1] else part
        if len(joined) <= _NAME_WIDTH:
            lines[-1] = joined
        else:
            lines.append(part)
    lines = [line for line in lines if line][-2:]
    return [cut(line, _NAME_WIDTH) for line in lines]


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], lane: float) -> None:
    """Draw a partial sum that crosses from one core to another, above the text of the cores."""
    (x0, y0), (x1, y1) = start, end
    right, down = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    # Along a row: in a lane of its own. Else: out at one edge of the core, in at the other.
    dx, dy = (0.25 * right, lane - 0.5) if not down else (0.4 * right, 0.36 * down)
    aside = 0.0 if right else 0.28
    begin = x0 + 0.5 + dx + aside, y0 + 0.5 + dy
    tip = x1 + 0.5 - dx + aside, y1 + 0.5 - (dy if down else -dy)
    ax.annotate(
        "", tip, begin,
        arrowprops={"arrowstyle": "-|>", "color": TEXT, "lw": 0.9, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


def _floorplan_legend(ax: Axes, colours: Mapping[str, str], spec: CoreSpec) -> None:
    handles: list[Patch | Line2D] = [
        Patch(fc=(colour, _FILL), label=stage) for stage, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=TEXT, marker=">", ms=4, lw=0.9, label="partial sums"))
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0),
        ncols=min(len(handles), _COLUMNS), frameon=False, fontsize=9,
        title=f"a square is a crossbar of {spec.rows} rows (down) × {spec.cols} columns (across); "
        "the filled part holds weights",
        title_fontsize=9,
    )  # fmt: skip
