"""``aimc-sim device import``: tables of a lab to measured data, and what they seem to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .device import size
from .errors import BadInput, refusing
from .output import say

if TYPE_CHECKING:
    from ..device.measured import MeasuredData
    from ..device.measured.importer import ReadOptions
    from ..device.measured.recognise import Recognised

EXAMPLES = """
Examples:

  aimc-sim device import reads.csv     (what it seems to be, its first reads, the command to run)

  aimc-sim device import reads.csv --map "device=Device,pulse_volts=V[V],resistance=R[ohm]" --out reads.h5

  aimc-sim device import wide.csv --wide time --map "device=cell,target=aim[uS],conductance=*[uS]" --out w.h5

  aimc-sim device import book.xlsx --file-is device --map "time=t[s],conductance=G[uS]" --out b.h5

A map names what a column is, which column (name, or number from 0) and its unit, which may be left
out where the header states it; @ is one number for all reads, as in device=@0 or
temperature=@25[C]. Names: device, cycle, target, target_resistance, pulse_volts, pulse_amperes,
pulse_seconds, pulse_count, pulse_number, pulse_direction, time, conductance, resistance, current,
read_volts, temperature, read_seconds, row, column. More: docs/measured.md of the sources.
"""  # noqa: E501

_FIRST = 5
"""Reads that a preview prints."""


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
    every: Annotated[
        float | None, typer.Option(help="Seconds between the columns of --wide time.")
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
    from ..device.measured.importer import ReadOptions, read_table

    kinds = tuple(k.strip() for k in leave_out.split(",") if k.strip())
    if "all" in kinds:
        kinds = tuple(cells.KINDS)
    free: Any = (wide, file_is, repeats)  # check() refuses other words than it takes
    options = ReadOptions(
        free[0], free[1], sheet, header, decimal, thousands, start, read_volts, negative_read,
        kinds, tuple(ignore or ()), free[2], every,
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
            say(f"{imported.summary}; give --out FILE.h5 to write it")
            return
        schema.write(out, imported.data, force=force)
    for note in imported.notes:
        say(note)
    say(imported.summary)
    say(f"{size(imported.data)} written to {out}")


def _recognised(found: Recognised, options: ReadOptions) -> ReadOptions:
    """Return options with those that a guess at the table added."""
    from dataclasses import replace

    words = [part for option in found.options for part in option.split(" ", 1)]
    given: dict[str, Any] = dict(zip(words[::2], words[1::2], strict=True))
    return replace(
        options,
        wide=options.wide or given.get("--wide"),
        file_is=options.file_is or given.get("--file-is"),
    )


def _preview(found: Recognised, table: list[Path], options: ReadOptions) -> None:
    """Print what a table seems to be, its first reads, and the command to run."""
    from ..device.measured import recognise
    from ..device.measured.importer import read_table

    for note in found.notes:
        say(note)
    say(f"seems to be: {found.column_map}")
    if found.complete and recognise.UNSURE not in found.column_map:
        imported = read_table(table, found.column_map, options=_recognised(found, options))
        _rows(imported.data)
        say(imported.summary)
        say("to import it:")
    else:
        for row in found.rows:
            say(f"  {row}")
        say("fill in what is not stated, then:")
    say(f"  {found.command(table)}")


def _rows(data: MeasuredData) -> None:
    """Print the first reads as they were taken."""
    import pandas as pd

    columns = {k: v for k, v in data.columns().items() if v.ndim}
    frame = pd.DataFrame(columns).head(_FIRST)
    if data.device_names is not None:
        frame["device"] = [data.device_names[i] for i in frame["device"]]
    say(frame.to_string(index=False))
