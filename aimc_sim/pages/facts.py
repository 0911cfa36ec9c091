"""Everything that the sections of a page speak of, found once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from .. import metrics, results
from . import accuracy, machine
from .headline import Headline, choose, labelled
from .machine import Machine, Unavailable
from .material import Material


@dataclass(frozen=True, eq=False)
class Facts:
    """A folder of results with the setting in front, and its machine.

    Attributes
    ----------
    material : Material
        Its tables have the column ``label``.
    head : Headline
        The setting in front.
    front : DataFrame
        Results, labelled, without the settings that an attribution adds.
    summary : DataFrame
        Means and intervals of them, labelled.
    machines : list of Machine
        That of the setting in front, and others that differ in more than devices; empty if the
        network cannot be placed here.
    unavailable : str
        Why it cannot, and a way around it; "" if it can.
    """

    material: Material
    head: Headline
    front: pd.DataFrame
    summary: pd.DataFrame
    machines: list[Machine]
    unavailable: str

    @property
    def metric(self) -> metrics.Metric:
        """The metric of the results."""
        return metrics.of(self.summary)

    @property
    def machine(self) -> Machine | None:
        """The machine of the setting in front; None if the network cannot be placed here."""
        return self.machines[0] if self.machines else None


def find(material: Material, setting: str | None = None, metric: str | None = None) -> Facts:
    """Choose the setting in front, place its network and simulate it: a few seconds.

    Parameters
    ----------
    material : Material
        From :func:`.material.read`; its tables are labelled.
    setting : str, optional
        The one in front, see :func:`.headline.choose`.
    metric : str, optional
        Of several in the folder the one that the page is about; default: the first by name.

    Returns
    -------
    Facts

    Raises
    ------
    KeyError
        If there is no such setting or metric.
    ValueError
        If two trials of the folder contradict each other.
    """
    material = of_metric(material, metric)
    material.table["label"] = labelled(material.table)["label"]
    front = accuracy.in_front(material.table)
    front = front if len(front) else material.table
    summary = labelled(results.summary(front))
    head = choose(summary, front, material.specs, setting)
    machines: list[Machine] = []
    unavailable = ""
    try:
        machines = machine.build(material, head)
    except Unavailable as error:
        unavailable = (
            f"The network could not be placed and simulated here: {error}. Run 'aimc-sim report' "
            "where the study was run, or use 'aimc-sim map' and 'aimc-sim perf'."
        )
    return Facts(material, head, front, summary, machines, unavailable)


def of_metric(material: Material, name: str | None) -> Material:
    """Return the material with the results of one metric only.

    Parameters
    ----------
    material : Material
        From :func:`.material.read`.
    name : str or None
        Of the metric; None for the first by name.

    Raises
    ------
    KeyError
        If there are none of that metric; lists those there are.
    """
    known = sorted(material.table["metric"].unique())
    if name is not None and name not in known:
        raise KeyError(f"no results of the metric '{name}'; there are: {', '.join(known)}")
    rows = material.table["metric"] == (name or known[0])
    return replace(material, table=material.table[rows].copy())
