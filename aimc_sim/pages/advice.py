"""Pointers from the results of a page: facts with intervals, each with a command that tests it.

A rule speaks only where a result supports it; it says which number that is and how another study
would answer, never that a change helps.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from ..figures.axes import when
from ..metrics import Metric
from ..runtime.clipping import ADVICE
from ..spec import ChipSpec
from ..studies import attribute, settings
from ..studies.schema import LONGEST_NAME, Study, StudyMethod, make_study
from . import reproduce
from .headline import Headline
from .loss import FloatScore, of_front
from .material import ATTRIBUTION, Material
from .rivals import GAINS, LOSES, answer, difference


@dataclass(frozen=True)
class Pointer:
    """One fact, and how to test what follows from it.

    Attributes
    ----------
    fact : str
        A sentence with the numbers of the results.
    test : str
        Keys of a study, or a command.
    """

    fact: str
    test: str


def pointers(
    head: Headline, front: pd.DataFrame, spec: ChipSpec, metric: Metric,
    found: FloatScore | None, differences: pd.DataFrame, rivals: pd.DataFrame, costs: pd.DataFrame,
) -> list[Pointer]:  # fmt: skip
    """Return the pointers that the results support, the largest questions first.

    Parameters
    ----------
    head : Headline
        The setting in front.
    front : DataFrame
        Results without attribution, labelled.
    spec : ChipSpec
        The machine in front.
    metric : Metric
        Of the results.
    found : FloatScore or None
        Float score and losses.
    differences : DataFrame
        From :func:`.accuracy.differences`.
    rivals : DataFrame
        From :func:`.rivals.compare`.
    costs : DataFrame
        Of an attribution of this machine; empty without one.
    """
    rows = front[
        (front["label"] == head.label) & (front["compensation"] == head.compensation)
        & (front["time_seconds"] == head.last["time_seconds"])
    ]  # fmt: skip
    return [
        *_by_effect(costs, spec, metric, head),
        *_by_devices(rivals, metric),
        *_by_time(differences, front, head, metric),
        *_by_clipping(rows, spec),
        *_by_width(found, head, metric),
    ]


def _by_effect(
    costs: pd.DataFrame, spec: ChipSpec, metric: Metric, head: Headline
) -> Iterator[Pointer]:
    """Yield the effect without which the machine would be best, if the interval tells."""
    if not len(costs):
        return
    rows = costs[
        (costs["kind"] == "missing") & (costs["time_seconds"] == costs["time_seconds"].max())
    ]
    if head.compensation in set(rows["compensation"]):
        rows = rows[rows["compensation"] == head.compensation]
    sure = rows[[answer(row) == LOSES for _, row in rows.iterrows()]]
    if not len(sure):
        return
    worst = sure.loc[(sure["difference"] * (1 if metric.larger else -1)).idxmin()]
    keys = ", ".join(attribute.switches(spec).get(worst["effect"], {}))
    yield Pointer(
        f"Of the effects whose interval excludes no change, '{worst['effect']}' costs the whole "
        f"machine most: {_told(worst, metric)}, {when(worst['time_seconds'])}, compensation "
        f"{worst['compensation']}.",
        f"Vary the numbers behind it ({keys}) under 'grid' of a study.",
    )


def _by_devices(rivals: pd.DataFrame, metric: Metric) -> Iterator[Pointer]:
    """Yield how much perfect devices would change, if the study ran them."""
    rows = rivals[rivals["same_machine"]] if len(rivals) else rivals
    for _, row in rows.iterrows():
        if answer(row) == GAINS:
            yield Pointer(
                f"With perfect devices and the converters as they are, the change would be "
                f"{_told(row, metric)}: that much is within reach of devices, of how they are "
                "written, and of training for them.",
                "Settings with other presets or core.device.*; a network trained with "
                "aimc_sim.training.prepare(model, spec), as 'network:' of the same study.",
            )
        elif answer(row) == LOSES:
            yield Pointer(
                f"The machine is better than with perfect devices ({_told(row, metric)}): that is "
                "chance of these programmings, or the noise helps.",
                "More programmings under 'programmings'.",
            )


def _by_time(
    differences: pd.DataFrame, front: pd.DataFrame, head: Headline, metric: Metric
) -> Iterator[Pointer]:
    """Yield the loss between the first and the last time, with the methods that were not run."""
    if not len(differences):
        return
    rows = differences[
        (differences["kind"] == "time")
        & differences["question"].str.endswith(f"in '{head.setting}'")
    ]
    for _, row in rows.iterrows():
        if answer(row) != LOSES:
            continue
        left = [m for m in get_args(StudyMethod) if m not in set(front["compensation"])]
        test = f"compensations: [{', '.join([head.compensation, *left])}] in a study."
        if not left:
            test = "Every drift compensation was run; later times, or writing anew, are left."
        yield Pointer(
            f"Time costs: {row['question']} is {_told(row, metric)} under compensation "
            f"{head.compensation}.",
            test,
        )


def _by_clipping(rows: pd.DataFrame, spec: ChipSpec) -> Iterator[Pointer]:
    """Yield shares of numbers that did not fit, above the limit of warnings."""
    limit = spec.calibration.clip_warning_fraction
    columns = ("adc_saturated_fraction", "output_clipped_fraction")
    for column, (what, advice) in zip(columns, ADVICE.items(), strict=True):
        share = float(rows[column].mean())
        if share > limit:
            text = f"{100 * share:.2g} % of the {what} (warnings begin at {100 * limit:.2g} %)."
            yield Pointer(text, f"{advice[:1].upper()}{advice[1:]}, as a setting of a study.")


def _by_width(found: FloatScore | None, head: Headline, metric: Metric) -> Iterator[Pointer]:
    """Yield that the loss is not known well, if its interval holds zero or is as wide as itself."""
    if found is None:
        return
    row = of_front(found, head).iloc[-1]
    half = (row["high"] - row["low"]) / 2
    if half >= abs(row["difference"]):
        runs = int(row["programmings"])
        yield Pointer(
            f"The interval of the loss is wide: {_told(row, metric)}, from {runs} "
            f"programming{'s' * (runs != 1)} and {int(row['images']):,} images.",
            f"programmings: {4 * max(runs, 2)} and more data.images in the study, then "
            "'aimc-sim sweep' with this --out again: what is there is kept.",
        )


def _told(row: Any, metric: Metric) -> str:
    unit = f" {metric.difference_unit}" if metric.difference_unit else ""
    return f"{difference(row, metric)}{unit}"


def attribution_command(material: Material, head: Headline, study: Study | None) -> str:
    """Return the command that takes the machine in front apart; "" if the folder does not say how.

    Parameters
    ----------
    material : Material
        With the results; its table is labelled.
    head : Headline
        The setting in front.
    study : Study or None
        Of the folder, the one that holds this setting; None if the folder has none.

    Returns
    -------
    str
        Lines of a shell: a study of one machine as a file, and two commands. "" where the changes
        of the machine stand in no study of the folder.
    """
    row = material.table[material.table["label"] == head.label].iloc[0]
    data: dict[str, Any] = {"network": row["network"], "data": row["data"]}
    changes: dict[str, Any] = {}
    if study is not None:
        data, changes = study.model_dump(exclude_unset=True), _changes(study, head)
    data |= {
        "name": f"why {head.setting}"[:LONGEST_NAME], "presets": row["preset"],
        "changes": changes, "grid": {}, "settings": [], "times": float(head.last["time_seconds"]),
        "compensations": head.compensation, "programmings": int(head.last["programmings"]),
        "probe_images": 0,
    }  # fmt: skip
    made = make_study(data)
    if [setting.spec.id() for setting in settings.settings(made)] != [head.spec_id]:
        return ""
    text = reproduce.study_text(made)
    out = shlex.quote(material.folder.resolve().name)
    return (
        f"cat > why.yaml <<'END'\n{text}END\n"
        f"aimc-sim attribute --study why.yaml --out {out}/{ATTRIBUTION}\n"
        f"aimc-sim report {out}\n"
    )


def _changes(study: Study, head: Headline) -> dict[str, Any]:
    """Return the changes of the setting in front, the study's own included."""
    for setting in settings.settings(study):
        if setting.name == head.setting:
            return {**study.changes, **setting.changes}
    return dict(study.changes)
