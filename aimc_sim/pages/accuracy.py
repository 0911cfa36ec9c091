"""Values of the metric against time, and differences between settings on the same seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from .. import metrics, results
from ..figures import accuracy as drawn
from ..figures import axes
from ..figures.axes import when as shown_time
from ..figures.lines import Chart, ChartCurve
from ..spec import ChipSpec
from ..studies import attribute
from .headline import Headline, is_attribution, same_place
from .tables import Table, TableCell

MOST_COMPARED = 24
"""Settings that are compared with the one in front."""


def in_front(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the settings that an attribution adds, which have a section."""
    return frame[~frame["setting"].map(is_attribution)]


_SAME = ["mean", "low", "high", "wide_low", "wide_high", "spread", "programmings", "images"]
"""Columns of a summary that agree where neither time nor compensation change anything."""


def constant(
    summary: pd.DataFrame, front: pd.DataFrame, specs: Mapping[str, ChipSpec]
) -> list[str]:
    """Return the settings with perfect devices whose results are the same at all times.

    Parameters
    ----------
    summary : DataFrame
        Labelled, without attribution.
    front : DataFrame
        The results behind it, labelled.
    specs : mapping
        Machines by identity.
    """
    machine = front.drop_duplicates("label").set_index("label")["spec_id"]
    found = []
    for label, part in summary.groupby("label", sort=False):
        perfect = not attribute.has_imperfect_devices(specs[machine[label]])
        if perfect and len(part) > 1 and not part[_SAME].drop_duplicates().iloc[1:].size:
            found.append(str(label))
    return found


def once(
    summary: pd.DataFrame, front: pd.DataFrame, specs: Mapping[str, ChipSpec], head: Headline
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the summary of the curves, and the levels of settings that do not change.

    Parameters
    ----------
    summary, front, specs
        As in :func:`constant`.
    head : Headline
        The setting in front stays a curve.
    """
    level = [label for label in constant(summary, front, specs) if label != head.label]
    rows = summary[summary["label"].isin(level)].drop_duplicates("label")
    levels = dict(zip(rows["label"], rows["mean"], strict=True))
    return summary[~summary["label"].isin(level)], levels


def chart(
    summary: pd.DataFrame, head: Headline, levels: Mapping[str, float] | None = None
) -> Chart:
    """Return the metric against time, a curve per setting and compensation.

    Parameters
    ----------
    summary : DataFrame
        Labelled, without attribution.
    head : Headline
        Its curves come first.
    levels : mapping of str to float, optional
        Values that do not depend on time, drawn as lines.

    Returns
    -------
    Chart
        With a single time: points beside the settings.
    """
    times = summary["time_seconds"].unique()
    name = capital(metrics.of(summary).name)
    title = f"{name} against time after programming"
    if len(times) == 1:
        title = f"{name}, {shown_time(times[0])}"
    front = head.label, head.compensation
    return drawn.chart(summary, by="label", front=front, title=title, references=levels)


def capital(text: str) -> str:
    """Return a text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def table(summary: pd.DataFrame, front: pd.DataFrame, specs: Mapping[str, ChipSpec]) -> Table:
    """Return every mean value with its intervals; a setting that does not change has one row.

    Parameters
    ----------
    summary, front, specs
        As in :func:`constant`.
    """
    rows, metric = [], metrics.of(summary)
    same = set(constant(summary, front, specs))
    again = summary["label"].isin(same) & summary.duplicated("label")
    for row in summary[~again].itertuples():
        digits = metric.digits_of(row.images)
        rows.append(
            [
                TableCell(row.label),
                TableCell("any" if row.label in same else row.compensation),
                TableCell("any", -1.0)
                if row.label in same
                else TableCell(shown_time(row.time_seconds), row.time_seconds),
                TableCell(
                    f"{metric.show(row.mean, digits)} {metric.span(row.low, row.high, digits)}",
                    row.mean,
                ),
                TableCell(metric.span(row.wide_low, row.wide_high, digits), row.wide_low),
                TableCell(metric.show(row.spread, digits + 1), row.spread),
                TableCell(f"{row.programmings:,}", row.programmings),
                TableCell(f"{row.images:,}", row.images),
            ]
        )
    return Table(
        f"{capital(metric.heading)}, mean and 95 % interval",
        ("setting", "compensation", ">time", f">{metric.name}", ">with other images", ">spread",
         ">programmings", ">images"),
        rows,
    )  # fmt: skip


def differences(table: pd.DataFrame, head: Headline) -> pd.DataFrame:
    """Return paired differences: settings, compensations, and last against first time.

    Parameters
    ----------
    table : DataFrame
        Results, labelled, without attribution.
    head : Headline
        The setting in front, with which others are compared.

    Returns
    -------
    DataFrame
        ``kind`` ("setting", "compensation", "time") and ``question``, before the columns of
        :func:`aimc_sim.results.compare`. Settings without a common seed are left out.
    """
    near = same_place(table, head.first)
    found = []
    for kind, question, before, after in _questions(near, head):
        try:
            rows = results.compare(near, before, after)
        except (KeyError, ValueError):  # no seeds or times in common
            continue
        rows.insert(0, "kind", kind)
        rows.insert(1, "question", question)
        found.append(rows)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _questions(near: pd.DataFrame, head: Headline) -> Iterator[tuple[str, str, Any, Any]]:
    settings = near["setting"].unique().tolist()
    others = [name for name in settings if name != head.setting]
    for name in others[:MOST_COMPARED]:
        yield "setting", f"'{name}' minus '{head.setting}'", head.setting, name
    front = {"setting": head.setting}
    for method in near.loc[near["setting"] == head.setting, "compensation"].unique():
        if method != head.compensation:
            yield (
                "compensation",
                f"{head.compensation} minus {method}, in '{head.setting}'",
                front | {"compensation": method},
                front | {"compensation": head.compensation},
            )
    first, last = (float(row["time_seconds"]) for row in (head.first, head.last))
    if first < last:
        for name in [head.setting, *others[:MOST_COMPARED]]:
            chosen = {"setting": name, "compensation": head.compensation}
            yield (
                "time",
                f"{shown_time(last)} minus {shown_time(first)}, in '{name}'",
                chosen | {"time_seconds": first},
                chosen | {"time_seconds": last},
            )


def difference_chart(rows: pd.DataFrame, head: Headline) -> Chart | None:
    """Return differences between settings and compensations against time; None without any.

    Parameters
    ----------
    rows : DataFrame
        From :func:`differences`.
    head : Headline
        The curves of its compensation come first.
    """
    rows = rows[rows["kind"] != "time"] if len(rows) else rows
    if not len(rows):
        return None
    metric = metrics.of(rows)
    times = sorted(rows["time_seconds"].unique())
    questions = rows["question"].unique().tolist()
    methods = sorted(rows["compensation"].unique(), key=lambda m: m != head.compensation)
    found = {
        (row.question, row.compensation, row.time_seconds): tuple(
            metric.scale * x for x in (row.difference, row.low, row.high)
        )
        for row in rows.itertuples()
    }
    between = set(rows.loc[rows["kind"] == "compensation", "question"])
    title = f"Paired differences of {metric.name}"
    joined = len(times) > 1
    if not joined and len(questions) == 1:
        return None
    if joined:
        across = axes.times(times)
        curves = [
            ChartCurve(question, "" if question in between else method, values)
            for method in methods
            for question in questions
            if any(values := [found.get((question, method, t)) for t in times])
        ]
    else:
        title += f", {shown_time(times[0])}"
        across = axes.names(questions, "question")
        curves = [
            ChartCurve(m, "", [found.get((q, m, times[0])) for q in questions]) for m in methods
        ]
    return Chart(
        title, across, "difference", metric.difference_unit, curves,
        digits=metric.digits_of(int(rows["images"].max())), larger=metric.larger, zero=True,
        joined=joined, dashes=drawn.DASHES, meanings=drawn.MEANINGS,
    )  # fmt: skip


def difference_table(rows: pd.DataFrame) -> Table:
    """Return the paired differences with intervals, p-values and effect sizes."""
    found, metric = [], metrics.of(rows)
    for row in rows.itertuples():
        digits = metric.digits_of(row.images)
        size = row.effect_size
        found.append(
            [
                TableCell(row.question),
                TableCell(row.compensation),
                TableCell(shown_time(row.time_seconds), row.time_seconds),
                TableCell(
                    f"{metric.show(row.difference, digits, True)} "
                    f"{metric.span(row.low, row.high, digits, True)}",
                    row.difference,
                ),
                TableCell(metric.span(row.same_low, row.same_high, digits, True), row.same_low),
                _p_value(row),
                TableCell("-" if size != size else f"{size:+.1f}", size),
                TableCell(f"{row.lost:,} / {row.gained:,}", row.lost),
                TableCell(f"{row.programmings:,}", row.programmings),
            ]
        )
    return Table(
        f"Differences of {metric.difference_heading}, mean and 95 % interval over other "
        "programmings and images",
        ("question", "compensation", ">time", ">difference", ">on these images", ">p",
         ">effect size", ">images worse / better", ">programmings"),
        found,
    )  # fmt: skip


def _p_value(row: Any) -> TableCell:
    if row.p_value != row.p_value:  # of a single image
        return TableCell("-", float("nan"))
    return TableCell("< 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}", row.p_value)
