"""All of it into one HTML file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import jinja2
import pandas as pd

from .. import __version__, files, metrics, results
from ..spec.parameters import shown as shown_value
from . import accuracy, costs, errors, limits, machine, parameters, reproduce
from .drawings import Drawing, floorplan, pipeline, waterfall
from .headline import Headline, choose, labelled
from .machine import Machine, Unavailable
from .material import Material
from .tables import PageChart, Table, shown
from .tables import when as shown_time

MARK = "<!-- written by aimc-sim report -->"
"""Second line of every page: what has it may be replaced by a newer one."""

MOST_WATERFALLS = 4
MOST_SPECS = 200
"""Settings whose machines are listed."""


@dataclass
class Page:
    """What the template is given; the figures' files are made from the same.

    Attributes
    ----------
    material : Material
        Its tables have the column ``label``.
    head : Headline
    summary : DataFrame
        Labelled, without what an attribution adds.
    charts : dict of str to Chart
        By name: accuracy, differences, layers.
    drawings : dict of str to Drawing
        floorplan, pipeline.
    waterfalls : list of (Drawing, DataFrame)
    tables : dict of str to list of Table
        By section.
    machine : Machine or None
        Of the setting in front.
    absent : dict of str to str
        By section: why it is empty and what would fill it.
    """

    material: Material
    head: Headline
    summary: pd.DataFrame
    charts: dict[str, PageChart] = field(default_factory=dict)
    drawings: dict[str, Drawing] = field(default_factory=dict)
    waterfalls: list[tuple[Drawing, pd.DataFrame]] = field(default_factory=list)
    tables: dict[str, list[Table]] = field(default_factory=dict)
    machine: Machine | None = None
    absent: dict[str, str] = field(default_factory=dict)


def gather(material: Material, setting: str | None = None, metric: str | None = None) -> Page:
    """Put together everything that the page says.

    The network of the study is loaded, placed and simulated anew: a few seconds.

    Parameters
    ----------
    material : Material
        From :func:`.material.read`.
    setting : str, optional
        Which one stands in front, see :func:`.headline.choose`.
    metric : str, optional
        Of several in the folder the one that the page is about; default: the first by name.

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
    page = Page(material, choose(summary, front, material.specs, setting), summary)
    _accuracy(page, front)
    _costs(page)
    _errors(page)
    _machine(page)
    labels = front.drop_duplicates("label").set_index("label")["spec_id"].iloc[:MOST_SPECS]
    specs = {label: material.specs[name] for label, name in labels.items()}
    specs[page.head.label] = material.specs[page.head.spec_id]
    page.tables["settings"] = [
        parameters.settings_table(specs, page.head.label), parameters.effects_table(specs)
    ]  # fmt: skip
    page.tables["environment"] = reproduce.environment_tables(material)
    return page


def of_metric(material: Material, name: str | None) -> Material:
    """Return the material with the results of one metric only.

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


def render(page: Page) -> str:
    """Return the HTML file.

    Parameters
    ----------
    page : Page
        From :func:`gather`.
    """
    files = resources.files(__package__) / "templates"
    script = (files / "chart.js").read_text("utf-8") + (files / "page.js").read_text("utf-8")
    spec = page.material.specs[page.head.spec_id]
    groups = parameters.groups(spec)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aimc_sim.pages"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["shown"] = shown_value
    return environment.get_template("report.html.j2").render(
        mark=MARK, page=page, head=page.head, title=_title(page), version=__version__,
        style=(files / "page.css").read_text("utf-8"), script=script, script_hash=_hash(script),
        metric=metrics.of(page.summary), cards=_cards(page), lead=_lead(page),
        interval=_interval(page), groups=groups,
        references=parameters.references(groups), limits=limits.sentences(spec),
        studies=[reproduce.study_text(study) for study in page.material.studies],
        commands=reproduce.commands(page.material), progress=reproduce.progress(page.material),
    )  # fmt: skip


def write(page: Page, path: str | Path) -> None:
    """Write the HTML file; it appears whole or not at all.

    Raises
    ------
    OSError
        If that is not possible.
    """
    files.write_text(path, render(page), "the report")


def _accuracy(page: Page, front: pd.DataFrame) -> None:
    page.charts["accuracy"] = accuracy.chart(page.summary, page.head)
    page.tables["accuracy"] = [accuracy.table(page.summary)]
    found = accuracy.differences(front, page.head)
    chart = accuracy.difference_chart(found, page.head)
    if chart is not None:
        page.charts["differences"] = chart
    if len(found):
        page.tables["differences"] = [accuracy.difference_table(found)]
    else:
        page.absent["differences"] = (
            "There is one setting, one compensation and one time: nothing to compare. Give the "
            "study more of them (presets, grid, settings, times) and run 'aimc-sim sweep' again."
        )


def _costs(page: Page) -> None:
    found = costs.rows(page.material.table)
    if not len(found):
        preset = page.material.table.loc[
            page.material.table["label"] == page.head.label, "preset"
        ].iloc[0]
        page.absent["costs"] = (
            "This folder holds no attribution. 'aimc-sim attribute --preset "
            f"{preset} --network {page.head.first['network']} --out where' makes one; then "
            "'aimc-sim report where', or 'aimc-sim merge' both folders."
        )
        return
    page.tables["costs"] = [costs.table(found)]
    for (t_seconds, method), part in found.groupby(["time_seconds", "compensation"]):
        name = metrics.of(part).name
        title = f"Change of {name} by effect: {shown_time(t_seconds)}, compensation {method}"
        page.waterfalls.append((waterfall(part, title), part))
    del page.waterfalls[MOST_WATERFALLS:]


def _errors(page: Page) -> None:
    found = errors.summary(page.material.layers, page.head)
    found = found[~found["setting"].map(accuracy.is_attribution)] if len(found) else found
    if not len(found):
        page.absent["layers"] = (
            "The study has no probe images; set 'probe_images: 16' in it and run "
            "'aimc-sim sweep' again."
        )
        return
    page.charts["layers"] = errors.chart(found, page.head)
    page.tables["layers"] = [errors.table(found, page.head)]


def _machine(page: Page) -> None:
    try:
        machines = machine.build(page.material, page.head)
    except Unavailable as error:
        page.absent["machine"] = (
            f"The network could not be placed and simulated here: {error}. Run 'aimc-sim report' "
            "where the study was run, or look with 'aimc-sim map' and 'aimc-sim perf'."
        )
        return
    page.machine = machines[0]
    page.drawings["floorplan"] = floorplan(machines[0])
    page.drawings["pipeline"] = pipeline(machines[0])
    page.tables["machines"] = [machine.machine_table(machines)]
    page.tables["places"] = [machine.layer_table(machines[0])]
    page.tables["energy"] = machine.energy_tables(machines[0])


def _title(page: Page) -> str:
    names = list(dict.fromkeys(study.name for study in page.material.studies))
    return ", ".join(names[:3]) or page.material.folder.name


def _interval(page: Page) -> str:
    """Return what the narrow interval of the headline is about."""
    n, images = int(page.head.last["programmings"]), f"{int(page.head.last['images']):,} images"
    if n == 1:
        law = " (Wilson)" if page.head.last["interval"] == "wilson" else ""
        return f"one programming, {images}; 95 % interval over other images{law}"
    return f"mean of {n} programmings, {images}; 95 % interval over other programmings"


def _cards(page: Page) -> list[tuple[str, str, str]]:
    """Return the numbers in front: name, value, what stands below it."""
    cards, metric = [], metrics.of(page.summary)
    shown_rows = [page.head.first, page.head.last]
    for row in (
        shown_rows
        if shown_rows[0]["time_seconds"] < shown_rows[1]["time_seconds"]
        else shown_rows[:1]
    ):
        digits, t_seconds = metric.digits_of(int(row["images"])), row["time_seconds"]
        name = (
            f"{metric.name} now"
            if t_seconds == 0
            else f"{metric.name} after {shown_time(t_seconds)}"
        )
        value = f"{metric.show(row['mean'], digits)} {metric.unit}".rstrip()
        cards.append((name, value, metric.span(row["low"], row["high"], digits)))
    if page.machine is None:
        return cards
    place, speed = page.machine.layout, page.machine.performance
    return [
        *cards,
        ("cores", f"{place.cores_used}", f"of {place.cores_available}"),
        ("energy per image", shown(speed.ledger.joules, "J"), "model"),
        ("latency", shown(speed.pipeline.first_image_seconds, "s"), "first image, model"),
        ("throughput", f"{1 / speed.ledger.seconds:,.0f} /s", "images, model"),
    ]


def _lead(page: Page) -> str:
    """Return the sentence on top."""
    head, row = page.head, page.head.last
    several = page.summary["label"].nunique()
    others = f" It stands in front here: {head.why}." if several > 1 else ""
    return (
        f"{row['network']} on {row['data']}, setting '{head.label}', drift compensation "
        f"{head.compensation}: {_interval(page)}.{others}"
    )


def _hash(script: str) -> str:
    """Return the script's name in the page's Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
