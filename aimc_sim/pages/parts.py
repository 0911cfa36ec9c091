"""Parts of a section: paragraphs, tables, figures, code; each writes itself as HTML."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from ..figures import lines, svg
from ..figures.lines import Chart
from ..spec.parameters import shown
from .parameters import SourceGroup
from .tables import Table


class PagePart(Protocol):
    """A part of a section; plain text becomes a paragraph, ``Markup`` stays as it is."""

    def html(self) -> Markup:
        """Return the part as HTML."""
        ...


@functools.cache
def environment() -> jinja2.Environment:
    """Return the environment of the templates: names are escaped, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("aimc_sim.pages"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["shown"] = shown
    return made


def written(part: PagePart | str) -> Markup:
    """Return a part, or text, as HTML.

    Parameters
    ----------
    part : PagePart, Markup or str
        Text that is no ``Markup`` becomes a paragraph.
    """
    if isinstance(part, Markup):
        return part
    return Paragraph(part).html() if isinstance(part, str) else part.html()


def _macro(name: str, *values: Any) -> Markup:
    macros: Any = environment().get_template("macros.html.j2").module
    return Markup(getattr(macros, name)(*values))


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes
    ----------
    text : str
        Escaped, unless it is ``Markup``.
    kind : str
        Class of the style sheet: "note" for small print, "absent" in place of results that
        are missing, "" for plain text.
    """

    text: str
    kind: str = ""

    def html(self) -> Markup:
        """Return the paragraph."""
        return _macro("paragraph", self.text, self.kind)


@dataclass(frozen=True)
class TableGroup:
    """Tables below each other, or beside each other where there is room.

    Attributes
    ----------
    tables : sequence of Table
        At least one.
    title : str
        Of a part that can be folded away; "" for one that cannot.
    beside : bool
        Whether they stand beside each other.
    """

    tables: Sequence[Table]
    title: str = "All values"
    beside: bool = False

    def html(self) -> Markup:
        """Return the tables."""
        return _macro("tables", self.tables, self.title, self.beside)


@dataclass(frozen=True)
class Picture:
    """A figure: inside the page as SVG, and as a file of its own.

    Attributes
    ----------
    name : str
        Of its files, and the beginning of its identities in the page.
    title : str
        Stands above it.
    draw : callable
        From a title, and a width in inches if ``widths`` has some, to a figure.
    note : str
        Stands below it.
    widths : tuple of float
        At a desk and on a phone; empty for figures of one width, which scroll on a phone.
    """

    name: str
    title: str
    draw: Callable[..., Figure]
    note: str = ""
    widths: tuple[float, ...] = ()

    def html(self) -> Markup:
        """Return the figure as SVG; values are titles."""
        drawn = [self.draw(title="", width=width) for width in self.widths]
        drawn = drawn or [self.draw(title="")]
        kinds = ("wide", "narrow") if len(drawn) > 1 else ("whole",)
        label = f"{self.title}: values with the arrow keys"
        made = [
            (kind, Markup(svg.inside(figure, f"{self.name}-{kind}", label)))
            for kind, figure in zip(kinds, drawn, strict=True)
        ]
        return _macro("picture", self.name, self.title, made, self.note)

    def figure(self) -> Figure:
        """Return the figure as it stands in a file, with its title."""
        return self.draw(title=self.title)


def chart(name: str, content: Chart, note: str = "") -> Picture:
    """Return a line chart as a picture.

    Parameters
    ----------
    name : str
        Of its files.
    content : Chart
        Curves and axes; its title is that of the picture.
    note : str
        Stands below it.
    """
    left = len(content.curves) - lines.MOST_CURVES
    if left > 0:
        more = f"The first {lines.MOST_CURVES} of {len(content.curves)} curves; the table has all."
        note = f"{more} {note}".strip()
    draw = functools.partial(lines.draw, content)
    return Picture(name, content.title, draw, note, (lines.WIDE, lines.NARROW))


@dataclass(frozen=True)
class Code:
    """Text to be copied.

    Attributes
    ----------
    label : str
        Read out in place of the code.
    text : str
        Lines.
    """

    label: str
    text: str

    def html(self) -> Markup:
        """Return the text, which scrolls sideways."""
        return _macro("code", self.label, self.text)


@dataclass(frozen=True)
class Bullets:
    """A list.

    Attributes
    ----------
    lines : sequence of str
        Its entries.
    """

    lines: Sequence[str]

    def html(self) -> Markup:
        """Return the list."""
        return _macro("bullets", self.lines)


@dataclass(frozen=True)
class Cards:
    """Numbers in large print.

    Attributes
    ----------
    cards : sequence of (str, str, str)
        Name, value, and a remark below it.
    """

    cards: Sequence[tuple[str, str, str]]

    def html(self) -> Markup:
        """Return the cards."""
        return _macro("cards", self.cards)


@dataclass(frozen=True)
class Parameters:
    """Numbers of a machine by source, and the references in full.

    Attributes
    ----------
    groups : sequence of SourceGroup
        Numbers that share a source.
    references : sequence of (str, str)
        Short and full reference.
    """

    groups: Sequence[SourceGroup]
    references: Sequence[tuple[str, str]]

    def html(self) -> Markup:
        """Return a table that can be folded away for each source."""
        return _macro("parameters", self.groups, self.references)
