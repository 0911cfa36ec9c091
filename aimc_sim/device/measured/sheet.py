"""A table as it stands in a file, and text and cells as files have them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import headers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in a file.

    Attributes
    ----------
    path : Path
    name : str
        Of the sheet or array; empty in a file with one table.
    headers : tuple of Header
        Empty if there are none.
    cells : (N, C) frame of str
        Cells below the header, as text.
    lines : (N,) int64
        Line (or row) of the file, from 1.
    notes : tuple of str
        Lines that were passed over: those before the header, comments.
    separator : str
        Of text files; empty for others.
    """

    path: Path
    name: str
    headers: tuple[headers.Header, ...]
    cells: pd.DataFrame
    lines: np.ndarray
    notes: tuple[str, ...] = ()
    separator: str = ""

    @property
    def where(self) -> str:
        """File and sheet, for messages."""
        return f"{self.path}" + (f", sheet '{self.name}'" if self.name else "")


def decoded(path: Path) -> tuple[str, str]:
    """Return the text of a file and its encoding, from its byte-order mark or what it can be."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            raw = file.read()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from None
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if raw.startswith(mark):
            try:
                return raw.decode(name), "utf-8" if name == "utf-8-sig" else name
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} starts as {name} and is not: {error.reason}") from None
    if raw[1:200:2].count(0) > len(raw[1:200:2]) // 2:
        return raw.decode("utf-16-le", errors="replace"), "utf-16"
    if b"\0" in raw[:1000]:
        raise ValueError(f"{path} cannot be read as a table: it holds binary data")
    for name in ("utf-8", "cp1252"):
        try:
            return raw.decode(name), name
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def cell_text(value: Any) -> str:
    """Return a cell of a workbook or of JSON as text."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return (
        value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    )
