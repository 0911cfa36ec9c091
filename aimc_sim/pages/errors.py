"""Errors of layers: ratio of signal to error, effective bits."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from .. import results
from ..figures import axes
from ..figures.axes import when as shown_time
from ..figures.lines import Chart, ChartCurve, NumberSpan
from .headline import Headline, labelled, same_place
from .tables import Table, TableCell


def summary(layers: pd.DataFrame, head: Headline) -> pd.DataFrame:
    """Return the mean error of every layer, for results of the headline's network and data.

    Parameters
    ----------
    layers : DataFrame
        From :func:`aimc_sim.results.load_layers`; may be empty.
    head : Headline
        Its network and data are taken.

    Returns
    -------
    DataFrame
        As from :func:`aimc_sim.results.layer_summary`, with ``label``.
    """
    near = same_place(layers, head.first)
    return labelled(results.layer_summary(near)) if len(near) else near


def chart(found: pd.DataFrame, head: Headline) -> Chart:
    """Return the errors along the network: the setting in front at all times, others at the last.

    Parameters
    ----------
    found : DataFrame
        From :func:`summary`, not empty.
    head : Headline
        The setting in front.
    """
    found = found[found["compensation"] == head.compensation]
    names = found.drop_duplicates("position").sort_values("position")["layer"].tolist()
    last = found["time_seconds"].max()
    front = found["setting"] == head.setting
    parts = [
        (f"{head.setting}, {shown_time(seconds)}", "in front", part)
        for seconds, part in found[front].groupby("time_seconds")
    ]
    parts += [
        (f"{setting}, {shown_time(last)}", "other settings", part)
        for setting, part in found[~front & (found["time_seconds"] == last)].groupby("setting")
    ]
    curves = []
    for name, group, part in parts:
        at = {row.layer: _span(row) for row in part.itertuples()}
        values = [at.get(layer) for layer in names]
        if any(value is not None for value in values):
            curves.append(ChartCurve(name, group, values))
    across = axes.names(names, "layer, in order of execution")
    return Chart("Errors of layers", across, "SQNR", "dB", curves)


def table(found: pd.DataFrame, head: Headline) -> Table:
    """Return SQNR and effective bits of every layer, first and last time, setting in front.

    Parameters
    ----------
    found : DataFrame
        From :func:`summary`, not empty.
    head : Headline
        The setting in front.
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


def _span(row: Any) -> NumberSpan | None:
    if not math.isfinite(row.sqnr_db):
        return None
    known = row.low == row.low
    return row.sqnr_db, row.low if known else row.sqnr_db, row.high if known else row.sqnr_db


def _cell(mean: float, low: float, high: float) -> TableCell:
    if not math.isfinite(mean):
        return TableCell("no error", mean)
    interval = f" [{low:.1f}, {high:.1f}]" if low == low else ""
    return TableCell(f"{mean:.1f}{interval}", mean)
