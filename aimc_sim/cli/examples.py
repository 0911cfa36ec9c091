"""``aimc-sim examples``: the scripts, studies and searches to start from."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Annotated

import typer

from .. import files, shipped
from .errors import BadInput, refusing
from .output import Output, add_row, say

EXAMPLES = """
Examples:

  aimc-sim examples

  aimc-sim examples --out examples
"""


def examples(
    out: Annotated[
        Path | None, typer.Option(help="Folder to copy them to; without it, they are listed.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files of their names that are there.")
    ] = False,
) -> None:
    """List the examples that come with this package, or copy them to a folder of yours.

    Scripts for Python, notebooks for Jupyter, studies for 'aimc-sim sweep' and searches for
    'aimc-sim optimise': the first lines of each say what it does and how it is run.
    """
    with refusing():
        texts = {
            name: path.read_text(encoding="utf-8")
            for name, path in shipped.contents("examples").items()
        }
    if out is None:
        _list(texts)
        return
    with refusing(OSError, ValueError, prefix=f"the examples cannot be copied to '{out}': "):
        there = [name for name in texts if files.kind_of(out / name) is not None]
        if there and not force:
            raise BadInput(
                f"'{out}' already holds {', '.join(there)}; give --force to replace them, or "
                "another folder with --out"
            )
        for name, text in texts.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_text(out / name, text, "the example")
    say(f"{len(texts)} examples in {out}")


def _list(texts: dict[str, str]) -> None:
    from rich.table import Table

    table = Table("example", "what it is", box=None, pad_edge=False)
    for name, text in texts.items():
        add_row(table, (name, _first_sentence(name, text)))
    output = Output()
    output.table(table)
    output.line("\n'aimc-sim examples --out DIR' copies them.")


def _first_sentence(name: str, text: str) -> str:
    """Return what a file says first about itself."""
    if name.endswith(".py"):
        text = ast.get_docstring(ast.parse(text)) or ""
    elif name.endswith(".ipynb"):
        title, *paragraphs = "".join(json.loads(text)["cells"][0]["source"]).split("\n\n")
        text = f"{title.lstrip('# ')}: {paragraphs[0]}"
    else:
        comment = [line for line in text.splitlines() if line.startswith("#")]
        text = " ".join(line.lstrip("# ") for line in comment)
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
