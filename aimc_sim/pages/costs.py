"""Cost of effects and layers: the attribution, if the folder holds one."""

from __future__ import annotations

import pandas as pd

from .. import metrics
from ..figures.axes import when as shown_time
from ..studies import attribute
from .headline import PLACE
from .tables import Table, TableCell

KINDS = {
    "whole": "together",
    "alone": "this effect alone",
    "missing": "against everything but this",
    "layer": "this layer only",
}
"""The question of each kind of row."""


def rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return what every effect and layer costs; empty if the results hold no attribution.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.results.load`.

    Returns
    -------
    DataFrame
        As from :func:`.attribute.table`; of several networks, data or versions of the code only
        the first one that was taken apart.
    """
    for _, part in table.groupby(PLACE, sort=True):
        if {attribute.NOTHING, attribute.EVERYTHING} <= set(part["setting"]):
            return attribute.table(part)
    return pd.DataFrame()


def table(found: pd.DataFrame) -> Table:
    """Return the costs as a table.

    Parameters
    ----------
    found : DataFrame
        From :func:`rows`, not empty.
    """
    made, metric = [], metrics.of(found)
    for row in found.itertuples():
        digits, size = metric.digits_of(row.images) + 1, row.effect_size
        made.append(
            [
                TableCell(row.effect),
                TableCell(KINDS[row.kind]),
                TableCell(shown_time(row.time_seconds), row.time_seconds),
                TableCell(row.compensation),
                TableCell(
                    f"{metric.show(row.difference, digits, True)} "
                    f"{metric.span(row.low, row.high, digits, True)}",
                    row.difference,
                ),
                TableCell(metric.span(row.same_low, row.same_high, digits, True), row.same_low),
                TableCell("-" if size != size else f"{size:+.1f}", size),
            ]
        )
    return Table(
        f"Change of {metric.difference_heading}, mean and 95 % interval over other programmings "
        "and images",
        ("effect", "question", ">time", "compensation", ">change", ">on these images",
         ">effect size"),
        made,
    )  # fmt: skip
