"""Hooks of the documentation site: pages of the API, files of the repository, links between them.

Pages are written as they are read in the repository: a link to ``../validation/README.md`` or to
``../examples/01_one_device.py`` is relative to the page's own file. Here every file outside
``docs`` that a page links to becomes a part of the site, below ``repository/``: pages as pages,
sources as pages that show them, pictures and data as they are. Links are rewritten accordingly, so
that the site is whole without the repository and without a network.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "aimc_sim"

SHOWN_AS = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "sh", ".cff": "yaml",
    ".txt": "text", ".json": "json", "": "text",
}  # fmt: skip
"""Suffixes of files that are shown on a page of their own, and the language of their text."""

LINK = re.compile(r"(?P<open>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)(?P<close>\))")
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
TERM = re.compile(r"^(?P<terms>[^\n:<#|-][^\n]*)\n:   (?P<text>[^\n]+)", re.M)

log = logging.getLogger("mkdocs.hooks.aimc_sim")


# ------------------------------------------------------------------------- files of the repository


def home(path: Path) -> str | None:
    """Return the address inside the site's sources of a file or folder of the repository."""
    if path.is_relative_to(DOCS) and path.is_file() and path.suffix not in (".py",):
        return path.relative_to(DOCS).as_posix()
    inside = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        page = "README.md" if (path / "README.md").is_file() else "index.md"
        return f"repository/{inside}/{page}"
    if not path.is_file():
        return None
    return f"repository/{inside}" + (".md" if path.suffix in SHOWN_AS else "")


def content(path: Path) -> str | bytes:
    """Return what the site shows of a file or folder of the repository."""
    inside = path.relative_to(ROOT).as_posix()
    if path.is_dir() and not (path / "README.md").is_file():
        names = sorted(p for p in path.iterdir() if p.name[0] not in "._")
        lines = "\n".join(f"- [`{p.name}`]({p.name})" for p in names if p.is_file())
        return f"# {inside}\n\nFiles of this folder:\n\n{lines}\n"
    if path.is_dir():
        path = path / "README.md"
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if path.suffix in SHOWN_AS:
        text = path.read_text(encoding="utf-8")
        fence = "````" if "```" in text else "```"
        return f"# {path.name}\n\n`{inside}`\n\n{fence}{SHOWN_AS[path.suffix]}\n{text}\n{fence}\n"
    return path.read_bytes()


def links(text: str) -> list[str]:
    """Return the targets of a page's relative links, those inside blocks of code left out."""
    plain = FENCE.sub("", text)
    found = [match["target"] for match in LINK.finditer(plain)]
    return [target for target in found if not re.match(r"[a-z]+:|#|/", target)]


def origin(address: str) -> Path:
    """Return the folder that links of a page are relative to."""
    if address.startswith("repository/"):
        return ROOT / posixpath.dirname(address.removeprefix("repository/"))
    return DOCS / posixpath.dirname(address)


def target_of(address: str, link: str) -> Path:
    """Return the file that a link of a page leads to."""
    return Path(posixpath.normpath((origin(address) / link.partition("#")[0]).as_posix()))


def on_files(files: Files, config: Any) -> Files:
    """Add pages of the API, and every file of the repository that is linked to."""
    for address, text in api_pages():
        files.append(File.generated(config, address, content=text))
    waiting = [file.src_uri for file in files.documentation_pages()]
    texts = {uri: files.get_file_from_path(uri).content_string for uri in waiting}
    while waiting:
        address = waiting.pop()
        for link in links(texts[address]):
            path = target_of(address, link)
            if not link.partition("#")[0] or not path.is_relative_to(ROOT) or not path.exists():
                continue
            place = home(path)
            if place is None or files.get_file_from_path(place) is not None:
                continue
            made = File.generated(config, place, content=content(path))
            files.append(made)
            if made.is_documentation_page():
                texts[place] = made.content_string
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where their targets are in the site; explain abbreviations."""
    address = page.file.src_uri
    if address == "index.md":
        page.meta["hide"] = ["navigation", "toc"]

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if re.match(r"[a-z]+:|#|/", target):
            return match[0]
        path, mark, anchor = target.partition("#")
        there = target_of(address, path)
        if not there.is_relative_to(ROOT) or not there.exists():
            return match[0]  # mkdocs complains
        place = home(there)
        if place is None:
            return match[0]
        relative = posixpath.relpath(place, posixpath.dirname(address) or ".")
        return f"{match['open']}{relative}{mark}{anchor}{match['close']}"

    pieces, last = [], 0
    for block in FENCE.finditer(markdown):
        pieces += [LINK.sub(moved, markdown[last : block.start()]), block[0]]
        last = block.end()
    pieces.append(LINK.sub(moved, markdown[last:]))
    text = "".join(pieces)
    if address.startswith(("api/", "repository/", "glossary", "commands")):
        return text
    return text + "\n\n" + abbreviations()


def abbreviations() -> str:
    """Return the abbreviations of the glossary as Markdown's own: they explain themselves."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    lines = []
    for match in TERM.finditer(text):
        for term in match["terms"].split(", "):
            if re.fullmatch(r"[A-Z0-9][A-Za-z0-9]*[A-Z]{1}[A-Za-z0-9]*", term):
                lines.append(f"*[{term}]: {re.sub(r'[`*]|[(].*?[)]', '', match['text'])}")
    return "\n".join(lines)


# ------------------------------------------------------------------------- pages of the API


def packages() -> dict[str, list[str]]:
    """Return the packages, each with its public modules, in the order of their names."""
    found: dict[str, list[str]] = {}
    for init in sorted(PACKAGE.rglob("__init__.py")):
        name = ".".join(init.parent.relative_to(ROOT).parts)
        modules = [
            f"{name}.{path.stem}"
            for path in sorted(init.parent.glob("*.py"))
            if not path.stem.startswith("_")
        ]
        found[name] = modules
    return found


def api_pages() -> list[tuple[str, str]]:
    """Return address and text of a page for every package."""
    found = []
    for name, modules in packages().items():
        tree = ast.parse((ROOT / name.replace(".", "/") / "__init__.py").read_text("utf-8"))
        own = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        members = "[" + ", ".join(own) + "]" if own else "false"
        lines = [
            f"# {name} {{#{name}}}",
            f"::: {name}\n    options:\n      heading_level: 2\n      show_root_heading: false\n"
            f"      show_root_toc_entry: false\n      members: {members}",
        ]
        lines += [f"::: {module}\n    options:\n      heading_level: 2" for module in modules]
        found.append((f"api/{name}.md", "\n\n".join(lines) + "\n"))
    return found


def on_config(config: Any) -> Any:
    """Put the pages of the API below their heading in the list of pages."""
    for entry in config.nav:
        if "API" in entry:
            entry["API"] += [{name: f"api/{name}.md"} for name in packages()]
    return config
