"""The setting in front against its rivals: the choice among several, and changes that help."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .. import metrics, presets, results
from ..figures.axes import when
from ..metrics import Metric
from ..spec import ChipSpec
from ..studies import attribute
from .headline import Headline, same_place
from .machine import Machine
from .material import Material
from .tables import Table, TableCell, shown

MOST = 40
"""Rivals that are compared with the one in front: those of the best means."""

GAINS, LOSES, OPEN, BOUND = "better", "worse", "not told apart", "bound: perfect devices"
"""The answers of a paired interval."""


def ideal_setting(front: pd.DataFrame, material: Material, head: Headline) -> str | None:
    """Return the setting that is the machine in front with perfect devices; None without one.

    Parameters
    ----------
    front : DataFrame
        Results without attribution.
    material : Material
        With the machines.
    head : Headline
        The setting in front.
    """
    spec = material.specs[head.spec_id]
    perfect = presets.ideal_devices(spec)
    wanted = {perfect.id(), perfect.with_({"core.wires": None}).id()} - {head.spec_id}
    near = same_place(front, head.first)
    names = near.loc[near["spec_id"].isin(wanted), "setting"].unique().tolist()
    return names[0] if names else None


def compare(
    front: pd.DataFrame, material: Material, head: Headline, ideal: str | None
) -> pd.DataFrame:
    """Return every setting and compensation minus the one in front, at the last time.

    Parameters
    ----------
    front : DataFrame
        Results, labelled, without attribution.
    material : Material
        With the machines.
    head : Headline
        The setting in front.
    ideal : str or None
        From :func:`ideal_setting`.

    Returns
    -------
    DataFrame
        Columns of :func:`aimc_sim.results.compare`, and ``label``, ``setting``, ``spec_id``,
        ``answer``, ``rival`` (whether it was a candidate for the front, see
        :class:`.headline.Headline`), ``same_machine`` (whether it is that machine with perfect
        devices); best first. Machines with perfect devices whose results depend neither on the
        programming nor on the compensation stand once, with ``compensation`` "any"; others, whose
        converters differ from chip to chip, are paired like every rival. Settings without a seed
        in common are left out, and of more than :data:`MOST` those of the worst means.
    """
    near = same_place(front, head.first)
    last = near[near["time_seconds"] == head.last["time_seconds"]]
    names = ["label", "setting", "compensation", "spec_id"]
    means = last.groupby(names, sort=False, as_index=False)["value"].mean()
    places = means.sort_values("value", ascending=not metrics.of(last).larger, kind="stable")
    chosen = {"setting": head.setting, "compensation": head.compensation}
    others = places[
        (places["setting"] != head.setting) | (places["compensation"] != head.compensation)
    ]
    found: list[pd.DataFrame] = []
    levels: set[str] = set()
    for place in others.head(MOST).itertuples():
        other = {"setting": place.setting, "compensation": place.compensation}
        perfect = not attribute.has_imperfect_devices(material.specs[place.spec_id])
        level = perfect and _is_level(last[last["setting"] == place.setting])
        if level and place.label in levels:
            continue
        try:
            rows = (
                _minus_front(last, head, other) if level else results.compare(last, chosen, other)
            )
        except (KeyError, ValueError):  # no seeds in common
            continue
        levels |= {place.label} if level else set()
        rows = rows.assign(
            label=place.label, setting=place.setting, spec_id=place.spec_id,
            answer=BOUND if perfect else answer(rows.iloc[0]),
            rival=(place.setting, place.compensation) in head.rivals,
            same_machine=place.setting == ideal
            and (level or place.compensation == head.compensation),
        )  # fmt: skip
        found.append(rows.assign(compensation="any") if level else rows)
    if not found:
        return pd.DataFrame()
    whole = pd.concat(found, ignore_index=True)
    sign = 1.0 if bool(whole["larger"].iloc[0]) else -1.0
    order = (sign * whole["difference"]).sort_values(ascending=False, kind="stable").index
    return whole.loc[order].reset_index(drop=True)


def _is_level(rows: pd.DataFrame) -> bool:
    """Return whether every programming and compensation of a setting has the same scores."""
    kept = [name for name in ("correct_bits", "scores") if name in rows]
    return all(rows[name].nunique(dropna=False) == 1 for name in kept)


def _minus_front(last: pd.DataFrame, head: Headline, other: dict[str, str]) -> pd.DataFrame:
    """Return a machine that programming does not change, minus the one in front."""
    one = last[(last["setting"] == other["setting"])]
    one = one[one["compensation"] == other["compensation"]].iloc[:1]
    own = last[(last["setting"] == head.setting) & (last["compensation"] == head.compensation)]
    found = results.against_reference(own, one).drop(columns="setting")
    turned = {"difference": -found["difference"], "low": -found["high"], "high": -found["low"],
              "same_low": -found["same_high"], "same_high": -found["same_low"],
              "effect_size": -found["effect_size"], "lost": found["gained"],
              "gained": found["lost"]}  # fmt: skip
    return found.assign(**turned)


def answer(row: pd.Series) -> str:
    """Return whether a difference is an improvement, as far as its interval tells.

    Parameters
    ----------
    row : Series
        ``low``, ``high`` and ``larger`` of a paired difference.
    """
    low, high = (row["low"], row["high"]) if row["larger"] else (-row["high"], -row["low"])
    if low > 0:
        return GAINS
    return LOSES if high < 0 else OPEN


def choice(found: pd.DataFrame, head: Headline, metric: Metric) -> str:
    """Return that the setting in front is the best of several, with its nearest rivals; or "".

    Parameters
    ----------
    found : DataFrame
        From :func:`compare`.
    head : Headline
        The setting in front.
    metric : Metric
        Of the results.
    """
    if not head.rivals:
        return ""
    text = (
        f"'{head.label}' with compensation {head.compensation} is the best of "
        f"{len(head.rivals) + 1} candidates on the same images, so that chance is on its side: "
        "the best of several looks better here than it would on new images and programmings."
    )
    rivals = found[found["rival"]] if len(found) else found
    if not len(rivals):
        return f"{text} No rival shares a programming with it."
    unit = f" {metric.difference_unit}" if metric.difference_unit else ""
    near = rivals[rivals["answer"] != LOSES]
    told = [
        f"'{row.label}', {row.compensation}: {difference(row, metric)}{unit}"
        for row in (near if len(near) else rivals).head(3 if len(near) else 1).itertuples()
    ]
    left = len(rivals) - len(told)
    more = f"; {left} more stand{'s' * (left == 1)} under What would help" if left else ""
    return f"{text} Nearest rivals, minus it: {'; '.join(told)}{more}."


def difference(row: object, metric: Metric) -> str:
    """Return a difference with its interval."""
    digits = metric.digits_of(row.images)  # type: ignore[attr-defined]
    mean, low, high = (getattr(row, name) for name in ("difference", "low", "high"))
    return f"{metric.show(mean, digits, True)} {metric.span(low, high, digits, True)}"


def table(
    found: pd.DataFrame, head: Headline, metric: Metric, machines: Sequence[Machine],
    specs: dict[str, ChipSpec],
) -> Table:  # fmt: skip
    """Return every rival with its difference, and what it costs in cores, energy and time.

    Parameters
    ----------
    found : DataFrame
        From :func:`compare`, not empty.
    head : Headline
        The setting in front, which has the first row.
    metric : Metric
        Of the results.
    machines : sequence of Machine
        Those that were simulated; others have no costs.
    specs : dict
        Machines by identity.
    """
    own = cost_of(machines, specs[head.spec_id])
    rows = [
        [TableCell(head.label), TableCell(head.compensation), TableCell("in front", 0.0),
         TableCell("-"), *_costs(own, None)]
    ]  # fmt: skip
    for row in found.itertuples():
        rows.append(
            [
                TableCell(row.label),
                TableCell(row.compensation),
                TableCell(difference(row, metric), float(row.difference)),
                TableCell(row.answer),
                *_costs(cost_of(machines, specs[row.spec_id]), own),
            ]
        )
    at = "right after programming"
    if head.last["time_seconds"]:
        at = f"after {when(head.last['time_seconds'])}"
    return Table(
        f"Other settings minus the one in front {at}, {metric.difference_heading}: mean and 95 % "
        "interval over other programmings and images; costs are a model",
        ("setting", "compensation", ">difference", "answer", ">cores", ">energy per image",
         ">first image", ">images/s"),
        rows,
    )  # fmt: skip


def cost_of(machines: Sequence[Machine], spec: ChipSpec) -> Machine | None:
    """Return the simulated machine that has the costs of a specification; None without one.

    Devices change neither places nor times nor energies.
    """
    for one in machines:
        if spec.with_({"core.device": one.spec.core.device}).id() == one.spec.id():
            return one
    return None


def _costs(found: Machine | None, own: Machine | None) -> list[TableCell]:
    """Return cores, energy, latency and throughput, with factors against the one in front."""
    if found is None:
        return [TableCell("-", float("nan"))] * 4
    values = [_numbers(found), _numbers(own or found)]
    texts = [
        f"{values[0][0]:.0f}", shown(values[0][1], "J"), shown(values[0][2], "s"),
        f"{values[0][3]:,.0f}",
    ]  # fmt: skip
    cells = []
    for text, value, base in zip(texts, *values, strict=True):
        factor = value / base
        more = "" if own is None or abs(factor - 1) < 0.005 else f" (× {factor:.2f})"
        cells.append(TableCell(text + more, value))
    return cells


def _numbers(one: Machine) -> tuple[float, float, float, float]:
    speed = one.performance
    return (
        float(one.layout.cores_used), speed.energies.joules,
        speed.pipeline.first_image_seconds, 1 / speed.ledger.seconds,
    )  # fmt: skip
