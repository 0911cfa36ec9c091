"""The notebooks of examples/notebooks: run again, compared with their outputs, made to HTML.

``python tests/tools/notebooks.py`` names cells whose committed outputs are not those of the present
code; ``--write`` runs the notebooks and keeps the new outputs; ``--html FOLDER`` converts them, as
they are, for a page that loads nothing from elsewhere (``--theme dark`` for a dark one).

A notebook is run in a fresh kernel, in an empty folder. A cell may not write on standard error, and
none may fail. Outputs are compared in form: their number and kinds, and their texts with every
number replaced, since accuracies may differ by single images between processors. A cell with the
tag ``exact`` has to give the same text. Pictures are compared by their kind only.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "notebooks"
MOST_BYTES = 400_000
"""Size of the largest notebook, with its outputs."""

LONGEST_SECONDS = 600
"""For one cell: a bound against cells that never end, far above what they take."""

_NUMBER = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?")
_TEMPLATE = """
{%- extends 'index.html.j2' -%}
{% block data_png %}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
width="{{ output | get_metadata('width', 'image/png') }}"
alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}">
</div>
{% endblock %}
"""  # JupyterLab's own, with the alternative texts that pictures bring along
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"[\s-]+")  # widths of columns follow their numbers


def names() -> list[Path]:
    """Return the notebooks, in the order of their names."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    """Return a notebook as nbformat reads it."""
    import nbformat

    return nbformat.read(path, as_version=4)


def run(book: Any, folder: Path, package: Path = ROOT) -> Any:
    """Run a copy of a notebook in a fresh kernel and return it, with outputs.

    Parameters
    ----------
    book : notebook
        Left as it is.
    folder : Path
        Working directory of the kernel.
    package : Path
        Folder from which the kernel imports this project.
    """
    import copy

    import nbclient
    import traitlets.config

    fresh = copy.deepcopy(book)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    surroundings = {
        **os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1",
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets of the file system, near its root since their paths are short: no port is opened.
        ways = {"transport": "ipc", "ip": str(Path(sockets) / "k")}
        nbclient.NotebookClient(
            fresh, timeout=LONGEST_SECONDS, kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            config=traitlets.config.Config({"KernelManager": ways}),
        ).execute(env=surroundings)  # fmt: skip
    return fresh


def complaints(book: Any) -> Iterator[str]:
    """Yield a line for every cell that says something on standard error, or failed."""
    for place, cell in _code(book):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {place}: {output.ename}: {output.evalue}"
            elif output.output_type == "stream" and output.name == "stderr":
                yield f"cell {place} writes on standard error: {output.text.strip()[:500]}"


def differences(committed: Any, fresh: Any) -> Iterator[str]:
    """Yield a line for every cell whose outputs differ in form."""
    for (place, old), (_, new) in zip(_code(committed), _code(fresh), strict=True):
        exact = "exact" in old.metadata.get("tags", ())
        for was, now in zip(_forms(old, exact), _forms(new, exact), strict=False):
            if was != now:
                yield f"cell {place}: committed {_short(was, now)}, now {_short(now, was)}"
                break
        else:
            if len(old.outputs) != len(new.outputs):
                yield f"cell {place}: {len(old.outputs)} outputs, now {len(new.outputs)}"


def clean(book: Any) -> Any:
    """Return the notebook without the traces of one run: times, versions, identities."""
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    for place, cell in enumerate(book.cells):
        cell.id = f"cell-{place}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
    return book


def html(path: Path, theme: str = "light") -> str:
    """Return a notebook as one HTML file that needs no network.

    Parameters
    ----------
    path : Path
        The notebook; it is not run.
    theme : "light" or "dark"
        Of JupyterLab.
    """
    import traitlets.config
    from nbconvert import HTMLExporter

    settings = traitlets.config.Config({"HTMLExporter": {"theme": theme, "embed_images": True}})
    exporter = HTMLExporter(config=settings, raw_template=_TEMPLATE)
    text, _ = exporter.from_filename(str(path))
    # The template's scripts (formulae, diagrams, widgets) come from other sites; no notebook here
    # has anything for them, and what is left needs none.
    return _SCRIPT.sub("", str(text))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if outputs differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", nargs="*", help="of a notebook, without .ipynb; default: all")
    parser.add_argument("--write", action="store_true", help="keep the new outputs")
    parser.add_argument("--html", type=Path, help="folder for HTML; nothing is run")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.name) - {path.stem for path in names()}):
        parser.error(f"no notebook {', '.join(unknown)}; there are {[p.stem for p in names()]}")
    wrong = 0
    for path in names():
        if options.name and path.stem not in options.name:
            continue
        if options.html is not None:
            options.html.mkdir(parents=True, exist_ok=True)
            target = options.html / f"{path.stem}.html"
            target.write_text(html(path, options.theme), encoding="utf-8")
            continue
        book = read(path)
        with tempfile.TemporaryDirectory() as folder:
            fresh = run(book, Path(folder))
        found = [*complaints(fresh), *([] if options.write else differences(book, fresh))]
        wrong += len(found)
        for line in found:
            print(f"{path.stem}: {line}")
        if options.write and not found:
            import nbformat

            nbformat.write(clean(fresh), path)
            print(f"{path.stem}: {path.stat().st_size:,} bytes")
    return int(wrong > 0)


def _code(book: Any) -> Iterator[tuple[int, Any]]:
    return ((place, cell) for place, cell in enumerate(book.cells) if cell.cell_type == "code")


def _forms(cell: Any, exact: bool) -> list[Any]:
    """Return the outputs of a cell without numbers, and without pictures."""
    forms = []
    for output in cell.outputs:
        if output.output_type == "stream":
            forms.append(["stream", output.name, _form(output.text, exact)])
            continue
        data = output.get("data", {})
        texts = {k: _form(v, exact) for k, v in data.items() if k.startswith("text/")}
        forms.append([output.output_type, sorted(data), texts])
    return forms


def _form(text: str, exact: bool) -> str:
    text = re.sub(r"\bat 0x[0-9a-f]+", "at an address", text)
    if exact:
        return text
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,16}\b", "identity", text)
    return _SPACE.sub(" ", _NUMBER.sub("#", text))


def _short(form: Any, other: Any) -> str:
    """Return the place of a form at which it differs from another one."""
    one, two = repr(form), repr(other)
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0)
    return one[max(0, start - 60) : start + 120]


if __name__ == "__main__":
    sys.exit(main())
