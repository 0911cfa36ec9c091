"""Results as HTML in notebooks: one small language for every ``_repr_html_``.

A display is a title and parts: :func:`facts`, :func:`table`, :func:`bullets`, :func:`paragraph`
and :func:`folded`. Text of any origin is escaped where it enters (``markupsafe``), so that a layer
may be called ``<script>``. A display stands alone: it holds its style sheet, no script and no
identities (two displays of one page cannot clash), takes colours from the notebook around it,
light or dark, and scrolls wide tables in boxes of their own. Without the style sheet, as on sites
that remove it, tables and folded parts stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

MOST_ROWS = 50
"""Rows of a table in a notebook; a line below says how many there are."""

LONGEST = 600
"""Characters of one text; the rest of a longer one is left out and an ellipsis stands for it."""

_STYLE = """
.aimc-sim.aimc-sim{max-width:64rem;line-height:1.45;font-size:.9em;color:inherit}
.aimc-sim.aimc-sim p{margin:.25em 0 .4em;max-width:60rem;overflow-wrap:anywhere}
.aimc-sim.aimc-sim .title{font-size:1.1em;margin:.1em 0 .4em}
.aimc-sim.aimc-sim .soft{opacity:.8}
.aimc-sim.aimc-sim .scroll{overflow-x:auto;max-width:100%;margin:.2em 0 .6em}
.aimc-sim.aimc-sim table{border-collapse:collapse;border:0;margin:0;width:auto;table-layout:auto;
font-size:inherit;color:inherit;background:none;font-variant-numeric:tabular-nums}
.aimc-sim.aimc-sim thead{border:0;background:none}
.aimc-sim.aimc-sim tbody tr:nth-child(n){background:none;border:0;color:inherit}
.aimc-sim.aimc-sim tbody tr:nth-child(n):hover{background:rgba(128,128,128,.14)}
.aimc-sim.aimc-sim :is(td,th){text-align:left;vertical-align:top;padding:.16em 1em .16em 0;border:0;
border-bottom:1px solid rgba(128,128,128,.3);background:none;color:inherit;white-space:nowrap;
max-width:none;font-size:inherit;line-height:inherit}
.aimc-sim.aimc-sim th{font-weight:600}
.aimc-sim.aimc-sim tbody th{font-weight:400}
.aimc-sim.aimc-sim .facts tbody th{opacity:.8}
.aimc-sim.aimc-sim :is(.facts td,.long){white-space:normal;min-width:13em;max-width:44em;
overflow-wrap:anywhere}
.aimc-sim.aimc-sim .number{text-align:right}
.aimc-sim.aimc-sim details{margin:.2em 0}
.aimc-sim.aimc-sim details>:not(summary){margin-left:1.1em}
.aimc-sim.aimc-sim summary{cursor:pointer;overflow-wrap:anywhere}
.aimc-sim.aimc-sim ul{margin:.2em 0 .5em;padding-left:1.3em}
.aimc-sim.aimc-sim progress{width:14em;max-width:60%;vertical-align:middle}
""".strip()

_DOI = re.compile(r"\b(?:doi:|https://doi\.org/)(10\.\d{4,9}/[^\s,;()]*[^\s,;().])")
_WIDE = 40  # letters of a cell from which on its lines are broken


def printed(shown: object, printer: Any, cycle: bool) -> None:
    """Keep the printed text beside a display: ``_repr_pretty_`` of results whose text has lines.

    IPython would keep the ``repr`` of the record, with every array and event in it.

    Parameters
    ----------
    shown : object
        The result.
    printer : IPython.lib.pretty.RepresentationPrinter
        Takes the text.
    cycle : bool
        Whether the result holds itself; none does.
    """
    printer.text(str(shown))


def named(shown: object, printer: Any, cycle: bool) -> None:
    """Keep a short line beside a display: ``_repr_pretty_`` of results that hold arrays.

    Parameters
    ----------
    shown, printer, cycle
        As of :func:`printed`.
    """
    printer.text(f"<{type(shown).__module__}.{type(shown).__name__}>")


def display(kind: str, name: str, *parts: Markup) -> str:
    """Return a whole display.

    Parameters
    ----------
    kind : str
        Class of the thing that is shown: "Chip", "Report"; without it and a name, no title.
    name : str
        Its own name; "" for none.
    *parts : Markup
        From the other functions of this module.

    Returns
    -------
    str
        HTML, as ``_repr_html_`` gives it to a notebook.
    """
    title = Markup('<p class="title"><b>{}</b> {}</p>').format(text(kind), text(name))
    body = Markup("\n").join([*([title] if kind or name else []), *parts])
    return str(
        Markup('<div class="aimc-sim">\n<style>{}</style>\n{}\n</div>').format(Markup(_STYLE), body)
    )


def text(value: object) -> Markup:
    """Return a value as escaped text: control characters are visible, endless texts are cut.

    Parameters
    ----------
    value : object
        ``Markup`` stays as it is; everything else is written as by ``str``.
    """
    if isinstance(value, Markup):
        return value
    whole = str(value)
    if len(whole) > LONGEST:
        whole = f"{whole[:LONGEST]}…"
    return escape(visible(whole))


def visible(text: str) -> str:
    r"""Return a text whose control characters are written out, line breaks and tabs kept.

    Escape sequences that a terminal would obey become ``\x1b`` and the like; a surrogate
    of a strange file name, which cannot be encoded, becomes ``\udc80``.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def linked(value: str) -> Markup:
    """Return a text, escaped, in which digital object identifiers are links.

    Parameters
    ----------
    value : str
        For example a source: "M. Le Gallo et al. (2023), doi:10.1038/s41928-023-01010-1".
    """
    link = Markup('<a href="https://doi.org/{0}" rel="noopener">doi:{0}</a>')
    parts: list[Markup] = []
    end = 0
    for match in _DOI.finditer(value):
        parts += [text(value[end : match.start()]), link.format(match[1])]
        end = match.end()
    return Markup("").join([*parts, text(value[end:])])


def facts(rows: Iterable[tuple[str, object]]) -> Markup:
    """Return names with their values below each other.

    Parameters
    ----------
    rows : iterable of (str, object)
        Names, and values of any kind.
    """
    row = Markup('<tr><th scope="row">{}</th><td>{}</td></tr>')
    body = Markup("\n").join(row.format(text(name), text(value)) for name, value in rows)
    return _scrolled(Markup('<table class="facts"><tbody>\n{}\n</tbody></table>').format(body))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, most: int = MOST_ROWS,
    rest: str = "",
) -> Markup:  # fmt: skip
    """Return a table; the first cell of a row names it.

    Parameters
    ----------
    columns : sequence of str
        Names; one that begins with ">" stands over numbers, which are aligned to the right.
    rows : iterable of sequences
        One cell of any kind for each column.
    most : int
        Rows that are shown; of more, a line below says how many there are.
    rest : str
        Ends that line with the place of all rows, for example ".rows".
    """
    found = list(rows)
    heads = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(_kind(name), text(name.removeprefix(">")))
        for name in columns
    )
    lines = Markup("\n").join(_row(columns, row) for row in found[:most])
    whole = _scrolled(
        Markup("<table><thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table>").format(
            heads, lines
        )
    )
    if len(found) <= most:
        return whole
    where = f"; {rest} has all of them" if rest else ""
    return whole + paragraph(f"{most:,} of {len(found):,} rows are shown{where}.", soft=True)


def _row(columns: Sequence[str], row: Sequence[object]) -> Markup:
    cells = []
    for place, (name, value) in enumerate(zip(columns, row, strict=True)):
        shown = text(value)
        form = "<td{}>{}</td>" if place else '<th scope="row"{}>{}</th>'
        cells.append(Markup(form).format(_kind(name, len(shown.striptags())), shown))
    return Markup("<tr>{}</tr>").format(Markup("").join(cells))


def _kind(column: str, letters: int = 0) -> Markup:
    """Return the class of a cell as an attribute."""
    if column.startswith(">"):
        return Markup(' class="number"')
    return Markup(' class="long"') if letters > _WIDE else Markup("")


def _scrolled(content: Markup) -> Markup:
    return Markup('<div class="scroll">{}</div>').format(content)


def bullets(lines: Iterable[object]) -> Markup:
    """Return a list with an entry for each line."""
    entries = Markup("\n").join(Markup("<li>{}</li>").format(text(line)) for line in lines)
    return Markup("<ul>\n{}\n</ul>").format(entries)


def paragraph(line: object, *, soft: bool = False) -> Markup:
    """Return a paragraph.

    Parameters
    ----------
    line : object
        Its text.
    soft : bool
        Whether it is a side note.
    """
    kind = Markup(' class="soft"') if soft else Markup("")
    return Markup("<p{}>{}</p>").format(kind, text(line))


def bar(done: float, total: float | None) -> Markup:
    """Return a bar for the share of work that is done; one without a length for no total."""
    if total is None:
        return Markup("<progress></progress>")
    return Markup('<progress max="{}" value="{}"></progress>').format(
        f"{max(total, 1):g}", f"{min(done, total):g}"
    )


def folded(title: object, *parts: Markup, unfolded: bool = False) -> Markup:
    """Return parts that can be folded away below a title.

    Parameters
    ----------
    title : object
        Text that stays when they are folded away.
    *parts : Markup
        From the other functions of this module.
    unfolded : bool
        Whether they are shown at first.
    """
    opened = Markup(" open") if unfolded else Markup("")
    return Markup("<details{}><summary>{}</summary>\n{}\n</details>").format(
        opened, text(title), Markup("\n").join(parts)
    )


def lines(found: Sequence[tuple[str, Any]], width: int = 16) -> list[str]:
    """Return facts as lines of plain text, names in a column of a width, as ``str`` prints them."""
    return [f"{name:<{width}}{value}" for name, value in found]
