"""Cost of effects and layers: the attribution, if the folder holds one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from .. import metrics
from ..figures.axes import when as shown_time
from ..studies import attribute
from . import parameters
from .headline import PLACE, Headline
from .material import Material
from .tables import Table, TableCell

KINDS = {
    "whole": "together",
    "alone": "this effect alone",
    "missing": "against everything but this",
    "layer": "this layer only",
}
"""The question of each kind of row."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """The attribution that stands beside the results.

    Attributes
    ----------
    rows : DataFrame
        As from :func:`.attribute.table`; empty without one.
    about : str
        Which machine, network and images it took apart, and how they differ from those in front.
    of_front : bool
        Whether it took the machine and network in front apart.
    """

    rows: pd.DataFrame
    about: str
    of_front: bool = True


def find(material: Material, head: Headline, extra: Material | None, demanded: bool) -> Attribution:
    """Return the attribution of the machine in front, from the folder itself or from another one.

    Parameters
    ----------
    material : Material
        With the results, of one metric, labelled.
    head : Headline
        The setting in front.
    extra : Material or None
        Another folder, of ``aimc-sim attribute``.
    demanded : bool
        Whether the user named the other folder: then one of another machine is refused.

    Raises
    ------
    ValueError
        If the other folder was demanded and took another machine or network apart, or scores
        another metric.
    """
    inside = [] if demanded else _parts(material.table)
    for part in inside:
        if _same(part, head):
            return Attribution(attribute.table(part), _about(part, head))
    if extra is not None:
        table = extra.table[extra.table["metric"] == material.table["metric"].iloc[0]]
        outside = _parts(table)
        for part in outside:
            if _same(part, head):
                return Attribution(attribute.table(part), _about(part, head))
        fault = _other(extra, table, outside, material, head)
        if demanded:
            raise ValueError(fault)
        return Attribution(pd.DataFrame(), f"{fault}.")
    if inside:  # of another machine: still the only one that the folder holds
        return Attribution(attribute.table(inside[0]), _about(inside[0], head), of_front=False)
    return Attribution(pd.DataFrame(), "")


def _parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the results of every attribution in a table: network, data and code by themselves."""
    found = []
    for _, part in table.groupby(PLACE, sort=True):
        if {attribute.NOTHING, attribute.EVERYTHING} <= set(part["setting"]):
            found.append(part)
    return found


def _whole(part: pd.DataFrame) -> pd.Series:
    row: pd.Series = part[part["setting"] == attribute.EVERYTHING].iloc[0]
    return row


def _same(part: pd.DataFrame, head: Headline) -> bool:
    row = _whole(part)
    return bool(
        row["spec_id"] == head.spec_id and row["network_id"] == head.first["network_id"]
    )  # fmt: skip


def _about(part: pd.DataFrame, head: Headline) -> str:
    row = _whole(part)
    runs = part["seed"].nunique()
    text = (
        f"Taken apart: {row['preset']} with {row['network']} on {row['data']}, "
        f"{int(row['images']):,} images, {runs} programming{'s' * (runs != 1)} of every machine."
    )
    if row["spec_id"] != head.spec_id:
        text += f" That is another machine than '{head.label}'."
    if row["network_id"] != head.first["network_id"]:
        text += " The network has other weights than that in front."
    if row["data_id"] != head.first["data_id"]:
        text += " The images are not those of the numbers above."
    if row["physics"] != head.first["physics"]:
        text += " It was made by another version of the code than the numbers above."
    return text


def _other(
    extra: Material, table: pd.DataFrame, parts: list[pd.DataFrame], material: Material,
    head: Headline,
) -> str:  # fmt: skip
    """Return why an attribution is none of the machine in front, and what to do."""
    where = f"the attribution in '{extra.folder}'"
    if not len(table):
        return (
            f"{where} scores {extra.table['metric'].iloc[0]}, the results "
            f"{material.table['metric'].iloc[0]}; wanted the same metric"
        )
    if not parts:
        return (
            f"'{extra.folder}' holds no attribution; give the --out folder of 'aimc-sim attribute'"
        )
    row = _whole(parts[0])
    if row["network_id"] != head.first["network_id"]:
        return (
            f"{where} took apart {row['network']} with other weights (network id "
            f"{row['network_id']}) than '{head.label}' has ({head.first['network_id']}); "
            "attribute the network of this study"
        )
    known = material.table.loc[material.table["spec_id"] == row["spec_id"], "setting"].unique()
    way = f"give --setting '{known[0]}'" if len(known) else "attribute the machine in front"
    found = parameters.changes(
        material.specs[head.spec_id], extra.specs[row["spec_id"]]
    )  # fmt: skip
    return f"{where} took apart another machine than '{head.label}' ({'; '.join(found[:3])}); {way}"


def table(found: pd.DataFrame) -> Table:
    """Return the costs as a table.

    Parameters
    ----------
    found : DataFrame
        Rows of :func:`find`, not empty.
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
