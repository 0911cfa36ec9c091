"""``aimc-sim device``: measured devices in; laws, checks and pictures out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import BadInput, refusing

if TYPE_CHECKING:
    from ..analysis.fit_estimates import Law, Report
    from ..device.measured import MeasuredData

app = typer.Typer(
    invoke_without_command=True,
    help="Measured devices: import tables of reads, check them, fit laws, draw, simulate.",
)

_IMPORT_EXAMPLES = """
Examples:

  aimc-sim device import reads.csv     (what it seems to be, its first reads, the command to run)

  aimc-sim device import reads.csv --map "device=Device,pulse_volts=V[V],resistance=R[ohm]" --out reads.h5

  aimc-sim device import wide.csv --wide time --map "device=cell,target=aim[uS],conductance=*[uS]" --out w.h5

  aimc-sim device import book.xlsx --file-is device --map "time=t[s],conductance=G[uS]" --out b.h5

A map names what a column is, which column (name, or number from 0) and its unit, which may be left
out where the header states it; @ is one number for all reads, as in device=@0 or
temperature=@25[C]. Names: device, cycle, target, target_resistance, pulse_volts, pulse_amperes,
pulse_seconds, pulse_count, pulse_number, pulse_direction, time, conductance, resistance, current,
read_volts, temperature, read_seconds, row, column. More: docs/measured.md.
"""  # noqa: E501

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

_SIMULATE_EXAMPLES = """
Examples:

  aimc-sim device simulate --law hermes-odp --levels 2,4,6,8,10 --times 300,3000,30000 --devices 30

  aimc-sim device simulate --law reads.h5 --like reads.h5 --repeat 100
"""

_MOST_READS = 20_000_000
"""Reads of a simulated data set at most: ten columns of them are 1.6 GB."""

_FIRST = 5
"""Reads that a preview prints."""

_File = Annotated[Path, typer.Argument(help="File from 'aimc-sim device import'.")]


@app.callback()
def _options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("import", epilog=_IMPORT_EXAMPLES)
def import_(
    table: Annotated[
        list[Path],
        typer.Argument(help="CSV and relatives (also .gz), XLSX, NPY, NPZ, MAT, HDF5, JSON."),
    ],
    column_map: Annotated[
        str | None,
        typer.Option("--map", help="Which column is what, in which unit; see below."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HDF5 file to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    wide: Annotated[
        str | None, typer.Option(help="Each column of values is a: time, device, cycle; or array.")
    ] = None,
    file_is: Annotated[
        str | None, typer.Option(help="Each file (or sheet) is a: device, time or target.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The one sheet of a workbook.")] = None,
    header: Annotated[
        int | None, typer.Option(help="Line of the header; 0: there is none.")
    ] = None,
    leave_out: Annotated[
        str,
        typer.Option(
            help="Kinds of cells to leave out and count: missing, overflow, text, "
            "infinite, or all. Others are refused."
        ),
    ] = "",
    ignore: Annotated[
        list[str] | None, typer.Option(help="A column of a wide table that holds no reads.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign.")] = None,
    thousands: Annotated[str | None, typer.Option(help="Sign between thousands.")] = None,
    start: Annotated[
        str | None, typer.Option(help="When programming ended, for clock times.")
    ] = None,
    read_volts: Annotated[
        float | None, typer.Option(help="Voltage of the reads, for currents.")
    ] = None,
    negative_read: Annotated[
        bool, typer.Option("--negative-read", help="Reads at a negative voltage: turn their sign.")
    ] = False,
    repeats: Annotated[
        str | None, typer.Option(help="Times that come again are: reads, or cycles.")
    ] = None,
    title: Annotated[str, typer.Option(help="What was measured.")] = "",
    source: Annotated[str, typer.Option(help="Who measured it; where it was published.")] = "",
    doi: Annotated[str, typer.Option(help="DOI of the publication.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    instrument: Annotated[str, typer.Option(help="What it was measured with.")] = "",
    notes: Annotated[str, typer.Option(help="Anything else.")] = "",
) -> None:
    """Turn tables of reads into a checked HDF5 file; without --out, show what they seem to be."""
    from ..device.measured import Provenance, cells, recognise, schema
    from ..device.measured.importer import Options, read_table

    kinds = tuple(k.strip() for k in leave_out.split(",") if k.strip())
    if "all" in kinds:
        kinds = tuple(cells.KINDS)
    options = Options(
        wide, file_is, sheet, header, decimal, thousands, start, read_volts, negative_read, kinds,
        tuple(ignore or ()), repeats,
    )  # fmt: skip
    with refusing():
        options.check()
        if out is not None:
            with refusing(prefix="--out: "):
                schema.refuse_existing(out, force)
        if column_map is None:
            found = recognise.recognise(table, sheet, header)
            if out is None:
                _preview(found, table, options)
                return
            if not found.complete:
                raise BadInput(
                    f"{table[0]}: not everything is stated in its headers "
                    f"({'; '.join(n for n in found.notes if n.startswith('not stated'))}); run "
                    f"'aimc-sim device import {table[0]}' to see it, then: {found.command(table)}"
                )
            column_map, options = found.column_map, _recognised(found, options)
    provenance = Provenance(
        title=title or ", ".join(path.name for path in table), source=source, doi=doi,
        licence=licence, instrument=instrument, notes=notes,
    )  # fmt: skip
    with refusing():
        imported = read_table(table, column_map, provenance=provenance, options=options)
        if out is None:
            _rows(imported.data)
            typer.echo(f"{imported.summary}; give --out FILE.h5 to write it")
            return
        schema.write(out, imported.data, force=force)
    for note in imported.notes:
        typer.echo(note)
    typer.echo(imported.summary)
    typer.echo(f"{_size(imported.data)} written to {out}")


def _recognised(found, options):
    """Return options with those that a guess at the table added."""
    from dataclasses import replace

    words = [part for option in found.options for part in option.split(" ", 1)]
    given = dict(zip(words[::2], words[1::2], strict=True))
    return replace(
        options,
        wide=options.wide or given.get("--wide"),
        file_is=options.file_is or given.get("--file-is"),
    )


def _preview(found, table: list[Path], options) -> None:
    """Print what a table seems to be, its first reads, and the command to run."""
    from ..device.measured import recognise
    from ..device.measured.importer import read_table

    for note in found.notes:
        typer.echo(note)
    typer.echo(f"seems to be: {found.column_map}")
    if found.complete and recognise.UNSURE not in found.column_map:
        imported = read_table(table, found.column_map, options=_recognised(found, options))
        _rows(imported.data)
        typer.echo(imported.summary)
        typer.echo("to import it:")
    else:
        for row in found.rows:
            typer.echo(f"  {row}")
        typer.echo("fill in what is not stated, then:")
    typer.echo(f"  {found.command(table)}")


def _rows(data: MeasuredData) -> None:
    """Print the first reads as they were taken."""
    import pandas as pd

    columns = {k: v for k, v in data.columns().items() if v.ndim}
    frame = pd.DataFrame(columns).head(_FIRST)
    if data.device_names is not None:
        frame["device"] = [data.device_names[i] for i in frame["device"]]
    typer.echo(frame.to_string(index=False))


@app.command("fit", epilog=_FIT_EXAMPLES)
def fit_(
    file: _File,
    csv: Annotated[Path | None, typer.Option(help="Also write all estimates here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
) -> None:
    """Print the device laws that the data determine, with standard errors."""
    data = _read(file)
    from rich.console import Console

    from ..analysis.fit import fit
    from ..analysis.fit_pulses import fit_pulses

    with refusing(ValueError, prefix=f"{file}: "):
        report = fit(data) if data.pulse_number is None else fit_pulses(data)
    if csv is not None:
        _write(csv, force, lambda path: report.table().to_csv(path, index=False))
    output = Console()
    if not output.is_terminal:
        output = Console(width=120)  # a pipe or file has no width of its own
    _print(output, report, _size(data))
    if csv is not None:
        typer.echo(f"All estimates written to {csv}")


@app.command("show", epilog=_SHOW_EXAMPLES)
def show(
    file: _File,
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .pdf or .svg).")],
    force: Annotated[bool, typer.Option("--force", help="Replace that picture.")] = False,
) -> None:
    """Draw the data: conductance against time and pulse, and its spread per level."""
    _refuse_other_pictures(out)
    data = _read(file)
    from ..analysis import device_plots

    _write(out, force, lambda path: device_plots.measured(data, path=path))
    typer.echo(f"{_size(data)} drawn to {out}")


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
    data = _read(file)
    from ..analysis import device_check

    with refusing(ValueError, prefix=f"{file}: "):
        found = device_check.check(data)
    typer.echo(found.text())
    if out is not None:
        from ..analysis import device_plots

        _write(out, force, lambda path: device_plots.checked(data, found, path=path))
        typer.echo(f"drawn to {out}")


@app.command("simulate", epilog=_SIMULATE_EXAMPLES)
def simulate(
    law: Annotated[
        str,
        typer.Option(help="25uS, hermes-odp, hermes-tdp, or a measured file to take the fit of."),
    ] = "25uS",
    like: Annotated[
        Path | None,
        typer.Option(help="Measured file whose shape to take: devices, targets, times."),
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Targets in uS, by commas; of the shape, without --like.")
    ] = "5,10,15,20,25",
    times: Annotated[str, typer.Option(help="Times in s, by commas.")] = "20,200,2000,20000,200000",
    devices: Annotated[int, typer.Option(min=1, max=1_000_000, help="Devices.")] = 100,
    cycles: Annotated[int, typer.Option(min=1, max=10_000, help="Programmings of each.")] = 1,
    between: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the variance that stays with a device.")
    ] = 0.0,
    repeat: Annotated[
        int, typer.Option(min=0, max=100_000, help="Repetitions, to count what a fit would find.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
    out: Annotated[Path | None, typer.Option(help="HDF5 file for one data set.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
) -> None:
    """Draw a data set of a law, and say what measurements of that shape would identify."""
    from ..device.measured import schema, synthetic
    from ..rng import Key

    spec = _law(law)
    with refusing():
        if out is not None:
            with refusing(prefix="--out: "):
                schema.refuse_existing(out, force)
        if like is not None:
            shape = synthetic.Shape.of(_read(like))
        else:
            targets, clock = _numbers("--levels", levels), _numbers("--times", times)
            shape = synthetic.Shape.grid([1e-6 * g for g in targets], clock, devices, cycles)
        reads = sum(len(t) for t in shape.times)
        if reads > _MOST_READS:
            raise BadInput(
                f"{reads:,} reads are more than {_MOST_READS:,}; take fewer devices or times"
            )
        highest = float(shape.target_siemens.max())
        if highest > spec.g_max_siemens * (1 + 1e-6):
            raise BadInput(
                f"a target of {highest:.3g} S is above what the law knows, "
                f"{spec.g_max_siemens:.3g} S; take lower --levels"
            )
        if out is not None:
            data = synthetic.simulate(spec, shape, Key(seed), between)
            schema.write(out, data, force=force)
            typer.echo(f"{_size(data)} written to {out}")
        if not repeat:
            return
        from ..analysis.fit_design import design

        table = design(spec, shape, repeat, Key(seed, (1,)), between)
    typer.echo(
        f"{reads:,} reads of {len(set(shape.device.tolist())):,} device(s), {repeat} repetitions; "
        "medians over levels; coverage: how often the interval holds the truth"
    )
    shown = table.assign(**{c: table[c].map(lambda v: f"{v:.3g}") for c in table.columns[2:5]})
    for name in ("identified", "coverage_68", "coverage_95"):
        shown[name] = [f"{100 * v:.0f} %" if v == v else "-" for v in table[name]]
    typer.echo(shown.replace("nan", "-").to_string(index=False))


def _law(name: str):
    """Return the device of a preset, or the fit of a measured file."""
    from .. import presets

    known = {
        "25uS": presets.pcm_25_microsiemens,
        "hermes-odp": presets.pcm_hermes_one_device,
        "hermes-tdp": presets.pcm_hermes_two_devices,
    }
    if name in known:
        return known[name]()
    if not Path(name).is_file():
        raise BadInput(f"--law {name}: wanted {', '.join(known)}, or a measured file")
    from ..analysis.fit import fit

    data = _read(Path(name))
    with refusing(ValueError, prefix=f"--law {name}: "):
        return fit(data).to_pcm_spec()


def _numbers(option: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise BadInput(f"{option} {text}: wanted numbers, separated by commas") from None
    if not values or not all(0 <= value < float("inf") for value in values):
        raise BadInput(f"{option} {text}: wanted one or more numbers of 0 or above")
    return values


def _refuse_other_pictures(out: Path) -> None:
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise BadInput(f"--out {out}: wanted a name that ends in .png, .pdf or .svg")


def _read(file: Path) -> MeasuredData:
    from ..device import measured

    with refusing():
        return measured.read(file)


def _write(path: Path, force: bool, write: Callable[[Path], object]) -> None:
    """Write a file that appears complete or not at all."""
    from ..device.measured import schema

    with refusing():
        schema.refuse_existing(path, force)
    with (
        refusing(OSError, prefix=f"'{path}' cannot be written: "),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
    ):
        write(Path(folder) / path.name)
        os.replace(Path(folder) / path.name, path)


def _size(data: MeasuredData) -> str:
    from ..device.measured.traces import traces

    found = traces(data)
    devices = len(set(found.device.tolist()))
    return f"{len(data):,} reads, {len(found):,} traces, {devices:,} device(s)"


def _print(console, report: Report, size: str) -> None:
    from rich.table import Table

    console.print(
        f"{report.title}: {size}, {report.levels_text}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    for law in report.laws:
        state = "identified" if law.identified else f"not identified: {law.reason}"
        console.print(f"\n{law.name}: {state}", highlight=False, markup=False, soft_wrap=True)
        for note in law.notes:
            console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)
        if not law.estimates:
            continue
        table = Table()
        for name in ("quantity", "level"):
            table.add_column(name, no_wrap=True)
        for name in ("value", "standard error", "traces"):
            table.add_column(name, justify="right", no_wrap=True)
        rows, left_out = _chosen(law)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        if left_out:
            text = f"  {left_out} level(s) in between are not shown; --csv FILE writes all"
            console.print(text, highlight=False)


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
    rows = [
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
