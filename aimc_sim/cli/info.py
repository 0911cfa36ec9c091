"""``aimc-sim info``: every parameter of a preset with value, unit and source; the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import refusing
from .output import Output, add_row

if TYPE_CHECKING:
    from ..spec import ChipSpec
    from ..spec.parameters import Parameter

EXAMPLES = """
Examples:

  aimc-sim info

  aimc-sim info --preset hermes

  aimc-sim info --machine
"""

WIDTH = 100
"""Columns of the output where there is no terminal."""


def info(
    preset: Annotated[
        str | None, typer.Option(help="Name of a preset; without it, they are listed.")
    ] = None,
    machine: Annotated[
        bool,
        typer.Option("--machine", help="Number formats chosen for this computer, and why."),
    ] = False,
) -> None:
    """Print every parameter of a preset with its value, unit and source, or list the presets."""
    from .. import presets

    console = Output(WIDTH)
    if machine:
        with refusing():
            if preset is not None:
                raise ValueError("--machine is about this computer; leave --preset out")
        _describe_machine(console)
        return
    if preset is None:
        _list(console)
        return
    with refusing():
        spec = presets.by_name(preset)
    _describe(console, preset, spec)


def _list(console: Output) -> None:
    from .. import presets
    from ..device import family

    table = _table("preset", "cores", "devices per polarity", "read", "DAC", "ADC", "spec id")
    for name, build in presets.PRESETS.items():
        spec = build()
        core = spec.core
        devices = family.of(core.device).summary(core.device)
        add_row(table, (
            name, str(spec.fabric.cores), devices, core.read.mode,
            _bits(core.dac.bits), _bits(core.adc.bits), spec.id(),
        ))  # fmt: skip
    console.table(table)
    console.wrapped("All parameters of one: aimc-sim info --preset NAME")


def _describe_machine(console: Output) -> None:
    from ..machine.about import facts

    table = _table("", "", "")
    table.show_header = False
    for fact in facts():
        add_row(table, (fact.name, fact.value, fact.why))
    console.table(table)
    console.wrapped(
        "On this machine results are equal bit for bit whatever the threads, batches and order; "
        "another one may round float32 otherwise."
    )


def _describe(console: Output, preset: str, spec: ChipSpec) -> None:
    from ..spec.parameters import parameters

    console.wrapped((preset, "bold"), f"  (spec id {spec.id()})")
    rows = list(parameters(spec))
    sections: list[tuple[str, list[Parameter]]] = []
    for row in rows:
        if not sections or sections[-1][0] != row.source:
            sections.append((row.source, []))
        sections[-1][1].append(row)
    # One width for all sections, so that the columns stand below each other.
    widths = [max(len(text) for text in column) for column in zip(*map(_texts, rows), strict=True)]
    widths[1] = min(widths[1], 22)
    for number, (source, members) in enumerate(sections):
        console.wrapped("\n", ("source:", "bold"), f" {source or '-'}")
        table = _table("parameter", "value", "unit", "meaning", widths=widths)
        table.show_header = number == 0
        for row in members:
            add_row(table, (*_texts(row), row.about))
        console.table(table)
    console.line()
    _bibliography(console, rows)
    console.wrapped(
        "Values are in SI units; none = the effect is absent. Change one with, for example, "
        "aimc-sim run --set core.adc.bits=9"
    )


def _texts(row: Parameter) -> tuple[str, str, str]:
    from ..spec.parameters import shown

    return row.key, shown(row.value), "" if row.unit == "-" else row.unit


def _bits(bits: int | None) -> str:
    return "ideal" if bits is None else f"{bits} bit"


def _table(*columns: str, widths: list[int] | None = None) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for i, name in enumerate(columns):
        fixed = widths[i : i + 1] if widths is not None else []
        table.add_column(name, width=max(*fixed, len(name)) if fixed else None)
    return table


def _bibliography(console: Output, rows: list[Parameter]) -> None:
    """Print the full references of the short ones in use."""
    from .. import presets

    for mark, text in presets.references(row.source for row in rows):
        console.wrapped((mark, "bold"), f" {text}")
