"""Everything that the sections of a page speak of, found once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from .. import metrics, results
from ..studies.folder import TRIALS
from . import accuracy, costs, loss, machine, rivals
from .costs import Attribution
from .headline import Headline, choose, labelled
from .loss import FloatScore
from .machine import Machine, Unavailable
from .material import ATTRIBUTION, Material, read


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
    score : FloatScore or str
        The network in floating point and the losses against it, or why there is none.
    ideal : str or None
        Setting of the machine in front with perfect devices.
    rivals : DataFrame
        Other settings minus the one in front, from :func:`.rivals.compare`.
    attribution : Attribution
        Of the machine in front, if there is one.
    differences : DataFrame
        Paired differences, from :func:`.accuracy.differences`.
    """

    material: Material
    head: Headline
    front: pd.DataFrame
    summary: pd.DataFrame
    machines: list[Machine]
    unavailable: str
    score: FloatScore | str
    ideal: str | None
    rivals: pd.DataFrame
    attribution: Attribution
    differences: pd.DataFrame

    @property
    def metric(self) -> metrics.Metric:
        """The metric of the results."""
        return metrics.of(self.summary)

    @property
    def losses(self) -> FloatScore | None:
        """The score in floating point, or None."""
        return None if isinstance(self.score, str) else self.score

    @property
    def machine(self) -> Machine | None:
        """The machine of the setting in front; None if the network cannot be placed here."""
        return self.machines[0] if self.machines else None


def find(
    material: Material, setting: str | None = None, metric: str | None = None,
    attribution: Material | None = None,
) -> Facts:  # fmt: skip
    """Choose the setting in front, place its network and simulate it: a few seconds.

    Parameters
    ----------
    material : Material
        From :func:`.material.read`; its tables are labelled.
    setting : str, optional
        The one in front, see :func:`.headline.choose`.
    metric : str, optional
        Of several in the folder the one that the page is about; default: the first by name.
    attribution : Material, optional
        A folder of ``aimc-sim attribute``. Default: the folder's own attribution, or that of its
        folder :data:`.material.ATTRIBUTION`.

    Returns
    -------
    Facts

    Raises
    ------
    KeyError
        If there is no such setting or metric.
    ValueError
        If two trials of the folder contradict each other, or the attribution is of another
        machine or network.
    """
    material = of_metric(material, metric)
    material.table["label"] = labelled(material.table)["label"]
    front = accuracy.in_front(material.table)
    front = front if len(front) else material.table
    summary = labelled(results.summary(front))
    head = choose(summary, front, material.specs, setting)
    machines: list[Machine] = []
    unavailable, given = "", None
    try:
        given = machine.load(material, head)
        machines = machine.build(material, head, given)
    except Unavailable as error:
        unavailable = (
            f"The network could not be placed and simulated here: {error}. Run 'aimc-sim report' "
            "where the study was run, or use 'aimc-sim map' and 'aimc-sim perf'."
        )
    ideal = rivals.ideal_setting(front, material, head)
    demanded = attribution is not None
    return Facts(
        material, head, front, summary, machines, unavailable,
        loss.find(material, head, metrics.of(summary), given), ideal,
        rivals.compare(front, material, head, ideal),
        costs.find(material, head, attribution or _inside(material), demanded),
        accuracy.differences(front, head),
    )  # fmt: skip


def _inside(material: Material) -> Material | None:
    """Return what the folder of an attribution inside a folder of results holds, if there is one.

    One without a finished trial is left out: it is interrupted, and goes on with its command.
    """
    folder = material.folder / ATTRIBUTION
    if not (folder / TRIALS).is_dir():
        return None
    try:
        return read(folder)
    except ValueError:
        return None


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
