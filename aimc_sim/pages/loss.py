"""How much is lost: the chip against the network itself in floating point, on the same images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import results
from ..figures.axes import when
from ..metrics import Metric
from ..studies import reference
from ..studies.inputs import Inputs
from ..studies.records import metric_id
from .headline import Headline, same_place
from .material import Material
from .tables import Table, TableCell


@dataclass(frozen=True, eq=False)
class FloatScore:
    """The score of the network in floating point, and the loss of every setting against it.

    Attributes
    ----------
    row : DataFrame
        One row, as from :func:`aimc_sim.results.load_reference` with the interval over other
        images (``low``, ``high``).
    lost : DataFrame
        As from :func:`aimc_sim.results.against_reference`, of all settings that share network,
        data and code with the one in front.
    stored : bool
        Whether the folder held it; else it was computed for the page.
    """

    row: pd.DataFrame
    lost: pd.DataFrame
    stored: bool

    @property
    def value(self) -> float:
        """The metric's value."""
        return float(self.row["value"].iloc[0])


def find(
    material: Material, head: Headline, metric: Metric, given: Inputs | None
) -> FloatScore | str:
    """Return the score in floating point, or why there is none.

    Parameters
    ----------
    material : Material
        Of one metric.
    head : Headline
        The setting in front.
    metric : Metric
        Of the results.
    given : Inputs or None
        The study's network and images, if they could be loaded: then a score that the folder does
        not hold is computed.
    """
    if not reference.exists(metric):
        return (
            f"The metric {metric.name} compares with the network in floating point itself: there "
            "is no score of it to lose against."
        )
    found, stored = _stored(material, head, metric), True
    if len(found) > 1:
        return (
            f"The folder holds results of {len(found)} versions of the metric {metric.name}, and "
            "the network in floating point scores differently by each: run the study with an "
            "--out of its own."
        )
    if found.empty:
        stored = False
        problem = _problem(head, metric, given)
        if problem or given is None:
            return (
                f"The folder does not hold what the network scores in floating point, {problem}. "
                "Run 'aimc-sim sweep' with this --out again, which adds it and repeats nothing."
            )
        try:
            found = pd.DataFrame([reference.row_of(reference.record(given))])
        except (ValueError, RuntimeError) as error:
            return f"The network could not be run in floating point: {error}."
    rows = same_place(material.table, head.first)
    lost = results.against_reference(rows, found)
    return FloatScore(results.within(found), lost, stored)


def _stored(material: Material, head: Headline, metric: Metric) -> pd.DataFrame:
    rows = results.load_reference(material.folder)
    if rows.empty:
        return rows
    same = (
        (rows["network_id"] == head.first["network_id"])
        & (rows["data_id"] == head.first["data_id"])
        & (rows["metric_data"] == json.dumps(metric.described(), sort_keys=True))
    )
    return rows[same]


def _problem(head: Headline, metric: Metric, given: Inputs | None) -> str:
    """Return why the score cannot be computed here; "" if it can."""
    if given is None:
        return "and network and images cannot be loaded here"
    if not given.data_id.startswith(head.first["data_id"]):
        return "and the data are other ones now"
    if metric_id(given.metric) != metric_id(metric):
        return "and the study of this network has another metric"
    return ""


def of_front(found: FloatScore, head: Headline) -> pd.DataFrame:
    """Return what the setting in front loses, one row per time."""
    rows = found.lost
    same = (rows["setting"] == head.setting) & (rows["compensation"] == head.compensation)
    return rows[same].sort_values("time_seconds")


def sentence(found: FloatScore, head: Headline, metric: Metric) -> str:
    """Return how much is lost at the last time, in a sentence.

    Parameters
    ----------
    found : FloatScore
        Float score and losses.
    head : Headline
        The setting in front.
    metric : Metric
        Of the results.
    """
    row = of_front(found, head).iloc[-1]
    digits = metric.digits_of(int(row["images"]))
    value = _changed(metric, row, digits)
    seconds = float(row["time_seconds"])
    later = f"after {when(seconds)}" if seconds else "right after programming"
    method = "without drift compensation"
    if head.compensation != "none":
        method = f"with {head.compensation.upper()} compensation"
    own, chip = (
        f"{metric.show(x, digits)} {metric.unit}".rstrip()
        for x in (found.value, float(head.last["mean"]))
    )
    sure = "" if row["low"] > 0 or row["high"] < 0 else (
        "; with these programmings and images this is no established difference"
    )  # fmt: skip
    return (
        f"{head.first['network']} on '{head.label}' {value} {later} {method}: {own} in floating "
        f"point, {chip} on the chip{sure}."
    )


def _changed(metric: Metric, row: pd.Series, digits: int) -> str:
    """Return the change of a row as a verb with a number and its interval."""
    unit = f" {metric.difference_unit}" if metric.difference_unit else ""
    change, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    if metric.larger:
        change, low, high = -change, -high, -low
    verb = ("loses", "gains") if metric.larger else ("raises", "lowers")
    of = f" of {metric.name}" if metric.larger else ""
    if change < 0:
        change, low, high = -change, -high, -low
        verb = verb[::-1]
    size = f"{metric.show(change, digits)}{unit}"
    span = f"({metric.show(low, digits)} to {metric.show(high, digits)})"
    if metric.larger:
        return f"{verb[0]} {size}{of} {span}"
    return f"{verb[0]} {metric.name} by {size} {span}"


def table(
    head: Headline, summary: pd.DataFrame, metric: Metric, found: FloatScore | None,
    ideal: str | None,
) -> Table:  # fmt: skip
    """Return value and loss at every time, in a few rows.

    Parameters
    ----------
    head : Headline
        The setting in front.
    summary : DataFrame
        Labelled.
    metric : Metric
        Of the results.
    found : FloatScore or None
        Float score and losses; None leaves their column and row out.
    ideal : str or None
        Setting of the same machine with perfect devices, which is shown once: at its last time.
    """
    made: list[list[TableCell]] = []
    digits = metric.digits_of(int(head.last["images"]))
    if found is not None:
        score = found.row.iloc[0]
        text = _value(metric, score["value"], score["low"], score["high"], digits)
        made.append(
            [
                TableCell("floating point"),
                TableCell(text, found.value),
                TableCell("-", float("nan")),
            ]
        )
    if ideal is not None:
        rows = same_place(summary, head.last)
        rows = rows[rows["setting"] == ideal].sort_values("time_seconds", ascending=False)
        own = rows[rows["compensation"] == head.compensation]
        one = (own if len(own) else rows).iloc[0]
        place = ideal, str(one["compensation"])
        made.append(_row("perfect devices", one, *place, metric, digits, found))
    front = summary[
        (summary["label"] == head.label) & (summary["compensation"] == head.compensation)
    ].sort_values("time_seconds")
    for _, one in front.iterrows():
        name = f"chip, {when(one['time_seconds'])}"
        made.append(_row(name, one, head.setting, head.compensation, metric, digits, found))
    unit = f" ({metric.unit})" if metric.unit else ""
    columns = ["run", f">{metric.name}{unit}"]
    caption = [f"{metric.name} with 95 % intervals"]
    if found is not None:
        loss = " (points)" if metric.unit == "%" else f" ({metric.unit})" if metric.unit else ""
        name = "lost" if metric.larger else "more"
        columns.append(f">{name}{loss}")
        caption.append(
            f"The column '{name}' is the difference from floating point on the same images; its "
            "interval covers other programmings and other images"
        )
    if ideal is not None:
        caption.append("Perfect devices have the same converters")
    told = ". ".join(caption)
    return Table(told[:1].upper() + told[1:], columns, made)


def _row(
    name: str, one: Any, setting: str, compensation: str, metric: Metric, digits: int,
    found: FloatScore | None,
) -> list[TableCell]:  # fmt: skip
    cells = [
        TableCell(name),
        TableCell(_value(metric, one["mean"], one["low"], one["high"], digits), float(one["mean"])),
    ]
    if found is None:
        return cells
    rows = found.lost
    (row,) = rows[
        (rows["setting"] == setting) & (rows["compensation"] == compensation)
        & (rows["time_seconds"] == one["time_seconds"])
    ].itertuples()  # fmt: skip
    change, low, high = row.difference, row.low, row.high
    if metric.larger:
        change, low, high = -change, -high, -low
    return [*cells, TableCell(_value(metric, change, low, high, digits), float(change))]


def _value(metric: Metric, mean: float, low: float, high: float, digits: int) -> str:
    return f"{metric.show(mean, digits)} {metric.span(low, high, digits)}"
