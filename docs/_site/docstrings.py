"""Docstrings for the site: roles, tables and literal blocks of reStructuredText as Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|data|mod|meth|attr|exc):`(~?)([^`]+)`")
TABLE = re.compile(r"^(=+(?: +=+)+)\n(.*?)\n\1\n(.*?)\n\1$", re.M | re.S)


def cell(text: str) -> str:
    """Return one cell of a table."""
    return text.strip().replace("|", "\\|")


def table(match: re.Match[str]) -> str:
    """Return a simple table of reStructuredText as one of Markdown."""
    starts = [rule.start() for rule in re.finditer("=+", match[1])]
    columns = list(zip(starts, [*starts[1:], None], strict=True))

    def cells(line: str) -> list[str]:
        return [cell(line[a:b]) for a, b in columns]

    rows: list[list[str]] = []
    for line in match[3].split("\n"):
        parts = cells(line)
        if not parts[0] and rows:  # a row goes on
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], parts, strict=True)]
        else:
            rows.append(parts)
    lines = [cells(match[2]), ["---"] * len(columns), *rows]
    return "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def literal(text: str) -> str:
    """Return a text with its literal blocks fenced."""
    lines, found, at = text.split("\n"), [], 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not re.search(r"[^\s:]::$", line):
            found.append(line)
            continue
        depth = len(line) - len(line.lstrip())
        block: list[str] = []
        while at < len(lines):
            inside = len(lines[at]) - len(lines[at].lstrip()) > depth
            if lines[at].strip() and not inside:
                break
            block.append(lines[at])
            at += 1
        body = textwrap.dedent("\n".join(block)).strip("\n")
        fenced = f"```python\n{body}\n```"
        found += [line[:-1], "", textwrap.indent(fenced, " " * depth), ""]
    return "\n".join(found)


class Docstrings(griffe.Extension):
    """Rewrites every docstring once all modules are there."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go over a package, its modules and what they hold."""
        if pkg.parent is None:
            self.walk(pkg, pkg)

    def walk(self, thing: Any, package: griffe.Module) -> None:
        """Rewrite the docstring of an object and of its members."""
        if thing.docstring is not None:
            text = TABLE.sub(table, thing.docstring.value)
            text = literal(text)
            thing.docstring.value = ROLE.sub(lambda m: self.link(m, thing, package), text)
        for member in thing.members.values():
            if not member.is_alias:
                self.walk(member, package)

    def link(self, match: re.Match[str], thing: Any, package: griffe.Module) -> str:
        """Return a link to a public object of the package; code where there is none."""
        short, name = match[1], match[2].strip()
        path = self.path(name, thing, package)
        words = name.rpartition(".")[2] if short else name.lstrip(".")
        if path is None or any(part.startswith("_") for part in path.split(".")):
            return f"`{words}`"
        return f"[`{words}`][{path}]"

    def path(self, name: str, thing: Any, package: griffe.Module) -> str | None:
        """Return the whole path of an object that a docstring names, or None."""
        module = thing if thing.is_module else thing.module
        tries = []
        if name.startswith("."):
            base = module
            dots = len(name) - len(name.lstrip("."))
            if not base.is_init_module:
                base = base.parent
            for _ in range(dots - 1):
                base = base.parent
            tries.append(f"{base.path}.{name.lstrip('.')}")
        else:
            tries.append(name)
            scope = thing
            while scope is not None:
                tries.append(f"{scope.path}.{name}")
                scope = scope.parent
        for candidate in tries:
            found = self.get(candidate, package)
            if found is not None:
                return found
        return None

    def get(self, path: str, package: griffe.Module) -> str | None:
        """Return where an object is defined, if it is one of the package and is shown."""
        if not path.startswith(f"{package.path}."):
            return package.path if path == package.path else None
        here: Any = package
        for part in path.removeprefix(f"{package.path}.").split("."):
            try:
                here = here.members[part]
                if here.is_alias:
                    here = here.final_target
            except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
                return None
        if here.is_attribute and here.docstring is None:
            return None
        return here.path
