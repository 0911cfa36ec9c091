"""The one place that prints: names of the user's are printed as they are.

Names of settings, layers, files and studies come from files that somebody else may have written.
rich would read ``[...]`` in them as markup, and a terminal would obey an escape sequence; so every
text passes :func:`plain`, and nothing else in this package prints.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..markup import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDTH = 120
"""Columns where the output is a pipe or a file, which have no width of their own."""


def plain(text: object, style: str = "") -> Text:
    """Return a text that rich prints without reading markup in it."""
    from rich.text import Text

    return Text(visible(str(text)), style=style)


class Output:
    """Standard output as a user reads it: texts and tables.

    Parameters
    ----------
    width : int
        Columns where there is no terminal.
    """

    def __init__(self, width: int = WIDTH) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, markup=False, emoji=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, markup=False, emoji=False, width=width)

    def line(self, text: object = "") -> None:
        """Print a text; only a terminal wraps it."""
        self._console.print(plain(text), soft_wrap=True)

    def wrapped(self, *parts: tuple[object, str] | str) -> None:
        """Print a line of parts, some with a style, broken at the width of the output."""
        whole = plain("")
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            whole.append_text(plain(text, style))
        self._console.print(whole)

    def table(self, table: Table) -> None:
        """Print a table whose cells were added by :func:`add_row`."""
        self._console.print(table)


def add_row(table: Table, cells: Iterable[object]) -> None:
    """Add a row of texts to a table."""
    table.add_row(*(plain(cell) for cell in cells))


def say(text: object) -> None:
    """Print a line on standard output, exactly."""
    print(visible(str(text)))


def complain(text: object) -> None:
    """Print a line on standard error."""
    print(visible(str(text)), file=sys.stderr)


def show_warnings_in_a_line() -> None:
    """Let warnings be one line each, as everything else that this command says."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: Any = None, line: str | None = None,
    ) -> None:  # fmt: skip
        complain(f"warning: {' '.join(str(message).split())}")

    warnings.showwarning = show


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names with commas; of many the first ones and how many there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
