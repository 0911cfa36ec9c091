"""Colours, markers and dashes; values at the pointer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C6D31")
"""Colours that stay apart for colour-blind readers: M. Okabe and K. Ito, Color Universal Design
(2008), https://jfly.uni-koeln.de/color/, without yellow and black; grey and brown are added, which
only curves with a marker and a dash of their own get."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""One for each colour, for readers without colours."""

DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.2, 1.6)),
    (0, (6, 2, 1.2, 2)),
    (0, (9, 3)),
    (0, (4, 1.5, 1.2, 1.5, 1.2, 1.5)),
)
"""Dash patterns that stay apart, as matplotlib takes them."""

HATCHES = ("", "///", "\\\\\\", "xxx", "---", "|||", "+++", "//")
"""Fillings of bars, one for each colour."""

TEXT, SOFT, LINE, GRID, PANEL, PAPER = (
    "#000000", "#4d4d4d", "#b3b3b3", "#ebebeb", "#f2f2f2", "#ffffff",
)  # fmt: skip
"""Inks beside the palette: text, side notes, frames, grids, empty areas, background."""

VALUE = "value: "
"""How the identity (``gid``) of an artist begins that carries a value for the pointer."""

DPI = 160
"""Pixels per inch of pictures in files."""

_PAGE_DPI, _SHARP = 80, 1.5  # of a notebook's page, and how many pixels a picture has for each

_TITLES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")

LONGEST = 200
"""Characters of a line of text in a picture: a name of thousands would make it metres wide."""


@dataclass(frozen=True)
class Look:
    """How a curve is drawn.

    Attributes
    ----------
    colour : str
        Of line and marker, as ``#rrggbb``.
    marker : str
        As matplotlib's ``marker``.
    dash : str or tuple
        As matplotlib's ``linestyle``.
    filled : bool
        Whether markers are filled.
    """

    colour: str
    marker: str
    dash: Any = "-"
    filled: bool = True

    def line(self) -> dict[str, Any]:
        """Return the keywords of ``Axes.plot``."""
        face = self.colour if self.filled else PAPER
        return {"color": self.colour, "marker": self.marker, "ls": self.dash, "mfc": face}


def look(number: int, dash: int = 0) -> Look:
    """Return colour and marker of a curve by its number, and its dash by another one."""
    n, d = number % len(PALETTE), dash % len(DASHES)
    return Look(PALETTE[n], MARKERS[n], DASHES[d], filled=d % 2 == 0)


class Drawing(Figure):
    """A figure that shows itself in a notebook, with or without pyplot.

    The picture has half as many pixels again as its place in the page, at most 256 colours, and
    the titles and axes of the figure as its alternative text.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        from PIL import Image

        plain(self)
        # The layout of axes with a fixed aspect needs a first drawing, as in files.
        self.draw_without_rendering()
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=_PAGE_DPI * _SHARP)
        picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(small, "PNG", optimize=True)
        return small.getvalue(), {"width": round(picture.width / _SHARP), "alt": self.described()}

    def described(self) -> str:
        """Return titles and axes in words: the alternative text of the picture."""
        title = self.get_suptitle()
        panels = []
        for ax in self.axes:
            above = " ".join(filter(None, (ax.get_title(loc) for loc in _TITLES)))
            axes = " against ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
            panels.append(": ".join(filter(None, (above, axes))))
        said = "; ".join(dict.fromkeys(filter(None, (title, *panels))))
        return shorter(" ".join(f"Figure. {said}".split()), 2 * LONGEST)


def figure_of(
    ax: Axes | None, size: tuple[float, float], rows: int = 1
) -> tuple[Figure, Sequence[Axes]]:
    """Return the figure of `ax`, or a new one of `rows` panels below each other, and the axes."""
    if ax is not None:
        return cast(Figure, ax.figure), [ax]
    figure = Drawing(figsize=size, layout="constrained")
    return figure, list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])


def grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Draw a light grid behind everything else."""
    ax.grid(axis=axis, color=GRID)
    ax.set_axisbelow(True)


def say(artist: Artist, value: str) -> None:
    """Give an artist a value: in SVG it is shown at the pointer, elsewhere it is not there.

    Parameters
    ----------
    artist : Artist
        Its ``gid`` is set.
    value : str
        Lines are separated by "; ".
    """
    artist.set_gid(VALUE + shorter(value.replace("\n", "; "), 40 * LONGEST))


def plain(figure: Figure) -> None:
    """Have every text drawn as it is: a ``$`` begins no formula, no line is endless.

    Powers of ten along a logarithmic axis stay formulae: the axis writes them, nobody else.
    """
    powers = {
        id(label)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        if isinstance(axis.get_major_formatter(), LogFormatter)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if id(text) in powers:
            continue
        text.set_parse_math(False)
        text.set_text(shorter(text.get_text()))


_SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit


def shorter(text: str, longest: int = LONGEST) -> str:
    """Return a text whose control characters are visible and whose lines are not endless."""
    mark = "\N{REPLACEMENT CHARACTER}"
    lines = ("".join(c if c.isprintable() or c == _SPACE else mark for c in line)
             for line in text.split("\n"))  # fmt: skip
    return "\n".join(s if len(s) <= longest else f"{s[:longest]}..." for s in lines)


def cut(name: str, letters: int) -> str:
    """Return the end of a name that has too many letters."""
    return name if len(name) <= letters else f"…{name[1 - letters :]}"
