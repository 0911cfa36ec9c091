"""Errors of layers: ratio of signal to error, effective bits."""

from __future__ import annotations

import math

import pandas as pd

from .. import results
from .headline import Headline, labelled, same_place
from .tables import PageChart, Series, Table, TableCell, even_stops
from .tables import when as shown_time


def summary(layers: pd.DataFrame, head: Headline) -> pd.DataFrame:
    """Return the mean error of every layer, for results of the headline's network and data.

    Parameters
    ----------
    layers : DataFrame
        From :func:`aimc_sim.results.load_layers`; may be empty.

    Returns
    -------
    DataFrame
        As from :func:`aimc_sim.results.layer_summary`, with ``label``.
    """
    near = same_place(layers, head.first)
    return labelled(results.layer_summary(near)) if len(near) else near


def chart(found: pd.DataFrame, head: Headline) -> PageChart:
    """Return the errors along the network: the setting in front at all times, others at the last.

    Parameters
    ----------
    found : DataFrame
        From :func:`summary`, not empty.
    head : Headline
    """
    found = found[found["compensation"] == head.compensation]
    names = found.drop_duplicates("position").sort_values("position")["layer"].tolist()
    last = found["time_seconds"].max()
    front = found["setting"] == head.setting
    series = []
    for t_seconds, part in found[front].groupby("time_seconds"):
        series.append((f"{head.setting}, {shown_time(t_seconds)}", "in front", 0, part))
    for setting, part in found[~front & (found["time_seconds"] == last)].groupby("setting"):
        series.append((f"{setting}, {shown_time(last)}", "other settings", 1, part))
    made = []
    for i, (name, group, dash, part) in enumerate(series):
        at = {row.layer: _span(row) for row in part.itertuples()}
        values = [at.get(layer) for layer in names]
        if any(v is not None for v in values):
            made.append(Series(name, group, i, dash, values))
    return PageChart(
        "layers", "Errors of layers", "layer, in order of execution", "SQNR", "dB",
        even_stops(names), made,
    )  # fmt: skip


def table(found: pd.DataFrame, head: Headline) -> Table:
    """Return SQNR and effective bits of every layer, first and last time, setting in front.

    Parameters
    ----------
    found : DataFrame
        From :func:`summary`, not empty.
    head : Headline
    """
    rows = found[
        (found["setting"] == head.setting) & (found["compensation"] == head.compensation)
    ]  # fmt: skip
    times = sorted({rows["time_seconds"].min(), rows["time_seconds"].max()})
    made = []
    for (position, layer), part in rows.groupby(["position", "layer"], sort=True):
        cells = [TableCell(str(position + 1), float(position)), TableCell(layer)]
        by = {row.time_seconds: row for row in part.itertuples()}
        for t_seconds in times:
            row = by[t_seconds]
            cells.append(_cell(row.sqnr_db, row.low, row.high))
            cells.append(_cell(row.effective_bits, row.bits_low, row.bits_high))
        made.append(cells)
    heads = [f">{what}, {shown_time(t)}" for t in times for what in ("SQNR (dB)", "effective bits")]
    return Table(
        f"Errors of layers, {head.setting}, {head.compensation}: mean and 95 % interval over "
        "programmings", (">no.", "layer", *heads), made,
    )  # fmt: skip


def _span(row) -> tuple[float, float, float] | None:
    if not math.isfinite(row.sqnr_db):
        return None
    known = row.low == row.low
    return row.sqnr_db, row.low if known else row.sqnr_db, row.high if known else row.sqnr_db


def _cell(mean: float, low: float, high: float) -> TableCell:
    if not math.isfinite(mean):
        return TableCell("no error", mean)
    interval = f" [{low:.1f}, {high:.1f}]" if low == low else ""
    return TableCell(f"{mean:.1f}{interval}", mean)
