"""Who sits where on the chip, what works and what is sent.

Plain ``Figure`` objects, no pyplot: nothing global, works without a display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ..chip.program import Block, Program
from ..spec import ChipSpec, CoreSpec
from .canvas import PALETTE, figure_of, written

_GAP = 0.04  # between a core and its cell of the grid, in cells
_FILL = 0.6  # opacity of the part in use: text on it stays readable
_LANES = (0.13, 0.24)  # heights in a core where arrows of alternate layers run
_BETWEEN = 0.6  # between two chips, in cells
_MARGIN = 0.16  # around a core where links run, in cells
_TEXT_WIDTH = 7.6  # of title and legend, in inches
_NAME_WIDTH = 15  # letters that fit into a core


def floorplan(
    compiled: Program,
    spec: ChipSpec,
    *,
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
    title : str, optional
        Default: the number of cores in use.
    ax : Axes, optional
        Draw here; default a new figure.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    figure, ax = _canvas(ax, spec)
    of: dict[int, list[tuple[Block, str]]] = {}
    colours: dict[str, str] = {}
    for layer in compiled.layers:
        colours.setdefault(_stage(layer.name), PALETTE[len(colours) % len(PALETTE)])
        for number, block in enumerate(layer.blocks, 1):
            text = f"{number} of {len(layer.blocks)}" * (len(layer.blocks) > 1)
            of.setdefault(block.core, []).append((block, text))
    for core in range(spec.cores):
        _draw_core(ax, _corner(core, spec), core, of.get(core, []), spec.core, colours)
    lanes = {layer.name: _LANES[i % len(_LANES)] for i, layer in enumerate(compiled.layers)}
    for transfer in compiled.transfers:
        ends = transfer.producer, transfer.consumer
        if transfer.kind == "partial_sum" and ends[0] != ends[1]:
            _arrow(ax, *(_corner(core, spec) for core in ends), lanes[transfer.value])
    cells = sum(math.prod(block.shape) for block in compiled.blocks)
    share = cells / (spec.core.rows * spec.core.cols * max(1, compiled.cores_used))
    ax.set_title(
        title
        or f"{spec.name}: {compiled.cores_used} of {compiled.cores_available} cores in use; "
        f"weights fill {100 * share:.0f} % of their cells",
        fontsize=12,
        loc=_side(spec),
    )
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
    spec : ChipSpec
    links : mapping from (sender, receiver) to share of time, 0 to 1
        The busier direction of two cores is drawn.
    cores : mapping from core to share of time, 0 to 1
    title, ax, path : as in :func:`floorplan`

    Returns
    -------
    Figure
    """
    figure, ax = _canvas(ax, spec, beside=2.6)
    used = {block.core for block in compiled.blocks}
    top = max([*cores.values(), 1e-12])
    shade = ScalarMappable(Normalize(0, 100 * top), "Blues")
    for core in range(spec.cores):
        x, y = _corner(core, spec)
        box = (x + _MARGIN, y + _MARGIN), 1 - 2 * _MARGIN, 1 - 2 * _MARGIN
        share = cores.get(core, 0.0)
        look = {"fc": shade.to_rgba(100 * share), "ec": "0.4", "lw": 0.8}
        if core not in used:
            look = {"fc": "0.97", "ec": "0.7", "lw": 0.8, "ls": "--"}
        ax.add_patch(Rectangle(*box, zorder=3, **look))
        text = f"{100 * share:.0f} %" if core in used else "empty"
        dark = share > 0.6 * top
        ax.text(x + 0.5, y + 0.5, f"{core}\n{text}", ha="center", va="center", fontsize=7.5,
                color="white" if dark else "0.2", zorder=4)  # fmt: skip
    heat = ScalarMappable(Normalize(0, 100 * max([*links.values(), 1e-12])), "YlOrRd")
    busiest: dict[tuple[int, int], float] = {}
    for (a, b), share in links.items():
        if max(a, b) < spec.cores and min(a, b) >= 0:
            ends = min(a, b), max(a, b)
            busiest[ends] = max(share, busiest.get(ends, 0.0))
    for ends, share in sorted(busiest.items(), key=lambda item: item[1]):
        _link(ax, *(_corner(core, spec) for core in ends), heat.to_rgba(100 * share))
    for mappable, name in ((shade, "core: MVM under way (% of time)"),
                           (heat, "link: bytes under way (% of time)")):  # fmt: skip
        figure.colorbar(mappable, ax=ax, label=name, shrink=0.6, pad=0.02)
    ax.set_title(title or f"{spec.name}: cores and links at work", fontsize=12,
                 loc=_side(spec))  # fmt: skip
    return written(figure, path)


def _canvas(ax: Axes | None, spec: ChipSpec, beside: float = 0.0) -> tuple[Figure, Axes]:
    """Return a figure with the cells of all chips side by side, row 0 at the top.

    ``beside`` is room for colour bars, in inches.
    """
    grid = spec.fabric
    width = spec.chips * (grid.cols + _BETWEEN) - _BETWEEN
    across = max(1.25 * width + 0.6 + beside, _TEXT_WIDTH)
    figure, (ax,) = figure_of(ax, (across, 1.25 * grid.rows + 1.3 * (not beside) + 0.5))
    ax.set_xlim(-0.05, width + 0.05)
    ax.set_ylim(grid.rows + 0.05, -0.05)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return figure, ax


def _side(spec: ChipSpec) -> str:
    """Return where a title begins: over the first core, if the grid is as wide as a title."""
    return "left" if 1.25 * spec.chips * spec.fabric.cols >= _TEXT_WIDTH else "center"


def _corner(core: int, spec: ChipSpec) -> tuple[float, float]:
    """Return the upper left corner of a core's cell."""
    chip, local = divmod(core, spec.fabric.cores)
    row, col = divmod(local, spec.fabric.cols)
    return col + chip * (spec.fabric.cols + _BETWEEN), float(row)


def _link(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour) -> None:
    """Draw a link: straight to a neighbour, in an arc around the core between others."""
    (x0, y0), (x1, y1) = ((x + 0.5, y + 0.5) for x, y in (start, end))
    far = max(abs(x1 - x0), abs(y1 - y0)) > 1.5
    # Arcs run in the margin between cores, over the edges of the one in the middle.
    bend = 0.0 if not far else -0.95 / max(abs(x1 - x0), abs(y1 - y0))
    for width, ink, order in ((4.5, "0.55", 1), (3.4, colour, 2)):
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
    centre = {"ha": "center", "va": "center"}
    if not blocks:
        ax.add_patch(Rectangle((x, y), side, side, fc="0.95", ec="0.7", lw=0.8, ls="--"))
        ax.text(x + side / 2, y + side / 2, "empty", fontsize=7.5, color="0.5", **centre)
    else:
        ax.add_patch(Rectangle((x, y), side, side, fc="white", ec="none"))
        for block, _ in blocks:
            rows, cols = block.shape
            start = x + side * block.col_offset / spec.cols, y + side * block.row_offset / spec.rows
            used = side * cols / spec.cols, side * rows / spec.rows
            colour = colours[_stage(block.layer)]
            # Neighbours in a core are told apart by their outlines.
            edge = "0.35" if len(blocks) > 1 else "none"
            ax.add_patch(Rectangle(start, *used, fc=colour, alpha=_FILL, ec=edge, lw=0.5))
        ax.add_patch(Rectangle((x, y), side, side, fc="none", ec="0.35", lw=0.8))
        ax.text(x + side / 2, y + 0.6 * side, "\n".join(_label(blocks)), fontsize=7,
                linespacing=1.25, **centre)  # fmt: skip
    ax.text(x + side - 0.03, y + side - 0.02, str(core), fontsize=6, color="0.45", ha="right",
            va="bottom")  # fmt: skip


def _label(blocks: Sequence[tuple[Block, str]]) -> list[str]:
    if len(blocks) == 1:
        block, of = blocks[0]
        rows, cols = block.shape
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
    return [line if len(line) <= _NAME_WIDTH else f"…{line[1 - _NAME_WIDTH :]}" for line in lines]


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
        arrowprops={"arrowstyle": "-|>", "color": "0.2", "lw": 0.9, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


def _floorplan_legend(ax: Axes, colours: Mapping[str, str], spec: CoreSpec) -> None:
    handles = [Patch(fc=colour, alpha=_FILL, label=stage) for stage, colour in colours.items()]
    handles.append(Line2D([], [], color="0.2", marker=">", ms=4, lw=0.9, label="partial sums"))
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(len(handles), 7),
        frameon=False, fontsize=9,
        title=f"a square is a crossbar of {spec.rows} rows (down) × {spec.cols} columns (across); "
        "the filled part holds weights",
        title_fontsize=9,
    )  # fmt: skip
