"""``aimc-sim device``: measured devices in; laws, checks and pictures out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import files
from .errors import BadInput, refusing
from .output import Output, add_row, say

if TYPE_CHECKING:
    from ..analysis.fit_estimates import Law, LawReport
    from ..device.measured import MeasuredData

app = typer.Typer(
    invoke_without_command=True,
    help="Measured devices: import tables of reads, check them, fit laws, draw, simulate.",
)

_FIT_EXAMPLES = """
Examples:

  aimc-sim device fit reads.h5

  aimc-sim device fit drift.h5 --csv estimates.csv
"""

_SHOW_EXAMPLES = """
Example:

  aimc-sim device show reads.h5 --out reads.png
"""

_SHOWN_LEVELS = 12
"""Of more levels than this, an even choice is printed; ``--csv`` has all."""

_CHECK_EXAMPLES = """
Example:

  aimc-sim device check reads.h5 --out check.png
"""

_File = Annotated[Path, typer.Argument(help="File from 'aimc-sim device import'.")]


@app.callback()
def _options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("fit", epilog=_FIT_EXAMPLES)
def fit_(
    file: _File,
    csv: Annotated[Path | None, typer.Option(help="Also write all estimates here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
) -> None:
    """Print the device laws that the data determine, with standard errors."""
    data = read_measured(file)
    from ..analysis.fit import fit
    from ..analysis.fit_pulses import fit_pulses

    with refusing(ValueError, prefix=f"{file}: "):
        report = fit(data) if data.pulse_number is None else fit_pulses(data)
    if csv is not None:
        _write(csv, force, lambda path: report.table().to_csv(path, index=False))
    _print(Output(), report, size(data))
    if csv is not None:
        say(f"All estimates written to {csv}")


@app.command("show", epilog=_SHOW_EXAMPLES)
def show(
    file: _File,
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .pdf or .svg).")],
    force: Annotated[bool, typer.Option("--force", help="Replace that picture.")] = False,
) -> None:
    """Draw the data: conductance against time and pulse, and its standard deviation per level."""
    _refuse_other_pictures(out)
    data = read_measured(file)
    from ..figures import devices

    _write(out, force, lambda path: devices.measured(data, path=path))
    say(f"{size(data)} drawn to {out}")


@app.command("check", epilog=_CHECK_EXAMPLES)
def check(
    file: _File,
    out: Annotated[
        Path | None, typer.Option(help="Picture of every part to write (.png, .pdf or .svg).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that picture.")] = False,
) -> None:
    """Say what the data can tell and what not: range, laws, goodness of fit, reach of a replay."""
    if out is not None:
        _refuse_other_pictures(out)
    data = read_measured(file)
    from ..analysis import device_check

    with refusing(ValueError, prefix=f"{file}: "):
        found = device_check.check(data)
    say(found.text())
    if out is not None:
        from ..figures import devices

        _write(out, force, lambda path: devices.checked(data, found, path=path))
        say(f"drawn to {out}")


def _refuse_other_pictures(out: Path) -> None:
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise BadInput(f"--out {out}: wanted a name that ends in .png, .pdf or .svg")


def read_measured(file: Path) -> MeasuredData:
    """Read a measured file; its faults become one line."""
    from ..device import measured

    with refusing():
        return measured.read(file)


def _write(path: Path, force: bool, write: Callable[[Path], object]) -> None:
    """Write a file that appears complete or not at all."""
    from ..device.measured import schema

    with refusing():
        schema.refuse_existing(path, force)
    with refusing(OSError, prefix=f"'{path}' cannot be written: "):
        with files.replacing(path) as temporary:
            write(temporary)


def size(data: MeasuredData) -> str:
    """Return how much there is, for a person."""
    from ..device.measured.traces import traces

    found = traces(data)
    devices = len(set(found.device.tolist()))
    return f"{len(data):,} reads, {len(found):,} traces, {devices:,} device(s)"


def _print(output: Output, report: LawReport, how_much: str) -> None:
    from rich.table import Table

    output.line(f"{report.title}: {how_much}, {report.levels_text}")
    for law in report.laws:
        state = "identified" if law.identified else f"not identified: {law.reason}"
        output.line(f"\n{law.name}: {state}")
        for note in law.notes:
            output.line(f"  {note}")
        if not law.estimates:
            continue
        table = Table()
        for name in ("quantity", "level"):
            table.add_column(name, no_wrap=True)
        for name in ("value", "standard error", "traces"):
            table.add_column(name, justify="right", no_wrap=True)
        rows, left_out = _chosen(law)
        for row in rows:
            add_row(table, row)
        output.table(table)
        if left_out:
            text = f"  {left_out} level(s) in between are not shown; --csv FILE writes all"
            output.line(text)


def _chosen(law: Law) -> tuple[list[tuple[str, ...]], int]:
    """Return the rows to print, grouped by quantity, and how many levels are left out."""
    from .. import units

    levels = sorted({e.level for e in law.estimates if e.level == e.level})  # NaN: no level
    keep = set(levels)
    if len(levels) > _SHOWN_LEVELS:
        steps = (len(levels) - 1) / (_SHOWN_LEVELS - 1)
        keep = {levels[round(i * steps)] for i in range(_SHOWN_LEVELS)}

    def shown(value: float, unit: str) -> str:
        prefixed = unit in ("S", "V", "A", "s")
        return units.show(value, unit) if prefixed else f"{value:.4g} {unit}".removesuffix(" 1")

    order = {name: i for i, name in enumerate(dict.fromkeys(e.quantity for e in law.estimates))}
    chosen = [e for e in law.estimates if e.level != e.level or e.level in keep]
    rows: list[tuple[str, ...]] = [
        (
            e.quantity,
            "" if e.level != e.level else shown(e.level, e.level_unit),
            shown(e.value, e.unit),
            shown(float(f"{e.standard_error:.2g}"), e.unit),
            f"{e.n:,}",
        )
        for e in sorted(chosen, key=lambda e: order[e.quantity])
    ]
    return rows, len(levels) - len(keep)
