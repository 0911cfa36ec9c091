"""Pages of the documentation that are written from the code.

    python tests/tools/pages.py            writes all of them
    python tests/tools/pages.py limits     writes docs/limits.md

A test compares them with the code (``tests/unit/test_pages.py``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIRST = "hermes-tdp"
"""The machine whose parameters are listed in full; those of others are listed where they differ."""


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`").replace("<", "&lt;")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    names = list(head)
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(map(cell, row)) + " |"


def limits() -> str:
    """Return the list of effects that are not modelled."""
    from aimc_sim.spec import PcmSpec, omissions
    from aimc_sim.spec.converter import ALIKE, COMPARED

    devices = [effect.absence() for effect in PcmSpec.effects if effect.missing]
    options = [*map(str, omissions.OPTIONS), *devices, *ALIKE, *COMPARED]
    lines = [
        "# Limits",
        "",
        "The effects that are not modelled, from the one list that reports and the HTML page",
        "print, too (`aimc_sim.spec.omissions`). Written by `python tests/tools/pages.py limits`.",
        "",
        "## In outputs",
        "",
        *(f"- {text}" for text in omissions.OUTPUTS),
        "",
        "## In time and energy",
        "",
        *(f"- {text}" for text in omissions.COSTS),
        "",
        "## Options that are off",
        "",
        "Options of a specification, most of which the presets leave off because the chip paper",
        "gives no numbers:",
        "",
        *("- " + re.sub(r"[(]([a-z_.]+)[)]$", r"(`\1`)", text) for text in options),
        "",
        "## Assumptions",
        "",
        *(f"- {text}" for text in omissions.ASSUMPTIONS),
        "",
        "## Platforms",
        "",
        "Tested on Linux (x86-64, Python 3.11). All modules import without the modules that only",
        "Unix has, so that macOS and Windows should do; nothing is tested there, and reading",
        "foreign HDF5 files has no limit of memory there. Nothing is timed on a GPU yet.",
    ]
    return "\n".join(lines) + "\n"


def presets() -> str:
    """Return every parameter of every preset with value, unit, meaning and source."""
    from aimc_sim import presets as machines
    from aimc_sim.spec.parameters import parameters

    specs = {name: build() for name, build in machines.PRESETS.items()}
    found = {name: {row.key: row for row in parameters(spec)} for name, spec in specs.items()}
    lines = [
        "# Presets with sources",
        "",
        "Every number of every machine: value, unit, meaning, source. Values are in SI units;",
        "`none` means that the effect is absent. Marks in brackets are [references](#references).",
        "`aimc-sim info --preset NAME` prints one machine. Written by",
        "`python tests/tools/pages.py presets`.",
        "",
        "| preset | identity |",
        "|---|---|",
        *(f"| [`{name}`](#{name}) | `{spec.id()}` |" for name, spec in specs.items()),
        "",
    ]
    for name in (FIRST, *(one for one in found if one != FIRST)):
        rows = found[name]
        if name != FIRST:
            before = found[FIRST]
            same = ("value", "unit", "about", "source")
            rows = {
                key: row
                for key, row in rows.items()
                if key not in before
                or any(getattr(row, part) != getattr(before[key], part) for part in same)
            }
        lines += [f"## {name} {{#{name}}}", ""]
        if name == FIRST:
            lines += ["All parameters.", ""]
        elif not rows:
            lines += [f"All parameters are those of `{FIRST}`.", ""]
            continue
        else:
            gone = [key for key in found[FIRST] if key not in found[name]]
            text = f"Parameters that differ from those of `{FIRST}`."
            if gone:
                kinds = sorted({key.rpartition(".")[0] for key in gone})
                text += f" It has none below {', '.join(f'`{kind}`' for kind in kinds)}."
            lines += [text, ""]
        lines += by_source(rows.values())
    lines += [
        "## Single devices", "",
        "Devices that are no machine's default: `core.device` of a machine, arrays that learn, or",
        "the pulses of a closed loop. Parameters of absent effects are left out.", "",
    ]  # fmt: skip
    for name, spec in devices().items():
        rows = [row for row in parameters(spec) if row.value is not None]
        lines += [f"### {name}", "", *by_source(rows)]
        found[name] = {row.key: row for row in rows}
    cited = machines.references(row.source for rows in found.values() for row in rows.values())
    lines += ["## References", "", *(f"- **{mark}** {cell(text)}" for mark, text in cited)]
    return "\n".join(lines).rstrip() + "\n"


def by_source(rows: Iterable[Any]) -> Iterator[str]:
    """Yield a table for each source."""
    from aimc_sim.spec.parameters import shown

    sections: dict[str, list[Any]] = {}
    for row in rows:
        sections.setdefault(row.source, []).append(row)
    for source, members in sections.items():
        said = cell(source) if source and source != "-" else "that of the part above it"
        yield from (f"Source: {said}", "")
        yield from table(
            ("parameter", "value", "unit", "meaning"),
            ((f"`{row.key}`", shown(row.value), "" if row.unit == "-" else row.unit, row.about)
             for row in members),
        )  # fmt: skip
        yield ""


def devices() -> dict[str, Any]:
    """Return specifications of single devices by the words that make them."""
    from aimc_sim import presets as machines

    found: dict[str, Any] = {
        "presets.pcm_nandakumar_2018()": machines.pcm_nandakumar_2018(),
        "presets.pulses_hermes()": machines.pulses_hermes(),
    }
    return found | {
        f'presets.STEPPED["{name}"]()': build() for name, build in machines.STEPPED.items()
    }


def commands() -> str:
    """Return every command with its arguments, options and examples."""
    import typer.main

    from aimc_sim.cli import app

    lines = [
        "# Commands",
        "",
        "`aimc-sim COMMAND --help` prints each part of this page. Written by `python",
        "tests/tools/pages.py commands`. Exit codes: 0 done, 1 failed, 2 refused, 130 interrupted.",
    ]
    group: Any = typer.main.get_command(app)
    for name, command in walk(group, "aimc-sim"):
        help_text = (command.help or "").replace("\b", "").strip()
        lines += ["", f"## {name}", "", help_text, ""]
        rows = []
        for option in command.params:
            if option.name == "help" or getattr(option, "hidden", False):
                continue
            if option.param_type_name == "argument":
                shown_as = f"`{option.name.upper()}`"
            else:
                shown_as = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
            default = option.default
            given = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
            if isinstance(default, list | tuple) and default:
                given = "`" + ",".join(map(str, default)) + "`"
            rows.append((shown_as, str(getattr(option, "help", "") or ""), given))
        if rows:
            lines += [*table(("option", "meaning", "default"), rows), ""]
        examples = [
            line.strip() for line in (command.epilog or "").splitlines()
            if line.strip().startswith("aimc-sim")
        ]  # fmt: skip
        if examples:
            lines += ["```sh", *examples, "```"]
    text = "\n".join(lines).rstrip() + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


def walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield all commands below a group by their whole names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def operations() -> str:
    """Return the operations of the digital units."""
    from aimc_sim.ops.listing import listing

    return listing()


PAGES = {"commands": commands, "limits": limits, "operations": operations, "presets": presets}


def main(names: list[str]) -> None:
    """Write the pages of these names, or all."""
    for name in names or PAGES:
        (ROOT / "docs" / f"{name}.md").write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}.md")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1:])
