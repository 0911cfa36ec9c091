"""Names of settings on the page, and which setting stands in front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from .. import arguments, metrics
from ..spec import ChipSpec
from ..studies import attribute

PLACE = ["network", "network_id", "data", "data_id", "physics"]
"""Columns that must agree where settings are compared."""


@dataclass(frozen=True)
class Headline:
    """The setting in front: its machine is placed and simulated, others are compared with it.

    Attributes
    ----------
    label, setting, spec_id, compensation : str
        Of its rows.
    first, last : Series
        Rows of the summary at its first and last time.
    why : str
        How it was chosen.
    rivals : tuple of (setting, compensation)
        The other candidates, if it was chosen as the best of several on the same images.
    """

    label: str
    setting: str
    spec_id: str
    compensation: str
    first: pd.Series
    last: pd.Series
    why: str
    rivals: tuple[tuple[str, str], ...] = ()


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the column ``label``: the setting, and what else tells it apart.

    Network, data and version of the code are named only if the table has several of them.
    """
    parts = []
    for name, identity in (("network", "network_id"), ("data", "data_id"), ("", "physics")):
        if frame[identity].nunique() > 1:
            ambiguous = not name or frame.groupby(name)[identity].nunique().max() > 1
            shown = frame[name] + " " if name else "code "
            parts.append(shown + frame[identity].str[:8] if ambiguous else frame[name])
    label = frame["setting"].astype(str)
    if parts:
        more = parts[0].str.cat(parts[1:], sep=", ") if len(parts) > 1 else parts[0]
        label = label + " (" + more.str.strip() + ")"
    return frame.assign(label=label)


def is_attribution(setting: str) -> bool:
    """Whether a setting was made by ``aimc-sim attribute`` to ask about one effect or layer."""
    prefixes = (attribute.ALONE, attribute.MISSING, attribute.LAYER)
    return setting.startswith(prefixes) or setting == attribute.NO_LAYER


def choose(
    summary: pd.DataFrame, table: pd.DataFrame, specs: Mapping[str, ChipSpec],
    wanted: str | None = None,
) -> Headline:  # fmt: skip
    """Return the setting that stands in front.

    Parameters
    ----------
    summary : DataFrame
        From :func:`aimc_sim.results.summary`, with :func:`labelled`.
    table : DataFrame
        The results behind it, labelled.
    specs : mapping
        Machines by identity.
    wanted : str, optional
        Name of the setting. Default: the whole machine of an attribution, else the setting with
        imperfect devices whose mean is best at the last time.

    Raises
    ------
    KeyError
        If no setting has that name; gives the nearest.
    """
    methods = summary["compensation"].nunique()
    machine = table.drop_duplicates("label").set_index("label")["spec_id"]
    labels = summary["label"].unique().tolist()
    if wanted is not None:
        chosen = [n for n in labels if n == wanted] or sorted(
            set(summary.loc[summary["setting"] == wanted, "label"])
        )
        if not chosen:
            raise KeyError(
                arguments.unknown(f"no setting '{wanted}' in the results", wanted, labels)
            )
        why = "chosen with --setting"
    elif attribute.EVERYTHING in set(summary["setting"]):
        chosen = summary.loc[summary["setting"] == attribute.EVERYTHING, "label"].tolist()
        why = "the whole machine of the attribution"
    else:
        real = [n for n in labels if attribute.has_imperfect_devices(specs[machine[n]])]
        chosen = real or labels
        why = f"best mean at the last time, of {len(chosen)} settings"
        why += f" and {methods} compensations" if methods > 1 else ""
        if real and len(real) < len(labels):
            why += " with imperfect devices"
        if len(chosen) == 1:
            why = "the only setting with imperfect devices"
            why += f", the best of {methods} compensations" if methods > 1 else ""
    rows = summary[summary["label"].isin(chosen)]
    latest = rows[rows["time_seconds"] == rows["time_seconds"].max()]
    larger = metrics.of(summary).larger
    best = latest.sort_values("mean", ascending=not larger, kind="stable").iloc[0]
    same = rows[(rows["label"] == best["label"]) & (rows["compensation"] == best["compensation"])]
    same = same.sort_values("time_seconds")
    others = same_place(latest, best)
    pairs = zip(others["setting"], others["compensation"], strict=True)
    rivals = tuple(p for p in pairs if p != (best["setting"], best["compensation"]))
    return Headline(
        best["label"], best["setting"], machine[best["label"]], best["compensation"],
        same.iloc[0], same.iloc[-1], why, rivals,
    )  # fmt: skip


def same_place(frame: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """Return the rows with the network, data and code of one row."""
    return frame[(frame[PLACE] == row[PLACE]).all(axis=1)]
