"""``aimc-sim attribute``: where the accuracy goes, effect by effect and layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files, own, units
from ..progress import status
from ..zoo import catalogue
from . import inputs, options
from .errors import BadInput, refusing
from .output import Output, add_row, complain
from .sweep import FAILED, check_pool, run_study

if TYPE_CHECKING:
    import pandas as pd

    from ..studies.schema import Study

IMAGES = 300
"""First test items of data that have a name, unless told otherwise."""

EXAMPLES = """
Examples:

  aimc-sim attribute --out where

  aimc-sim attribute --preset hermes-odp --times 30d --layers --out where

  aimc-sim attribute --model my_script.py:network --data my_script.py:data --out where

  aimc-sim attribute --study study.yaml --out where --scheduler tcp://10.0.0.1:8786
"""


def attribute(
    out: options.Results,
    model: options.NetworkArgument = None,
    model_: options.ModelOption = None,
    weights: options.Weights = None,
    data: options.DataName = None,
    data_dir: options.DataFolder = None,
    study: Annotated[
        Path | None,
        typer.Option(help="A study of one machine; network, data and metric may replace its own."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Machine; see 'aimc-sim info'.  [default: hermes-tdp]",
            autocompletion=options.complete_presets,
        ),
    ] = None,
    set_: options.Set = None,
    images: Annotated[
        int | None,
        typer.Option(help="First test items to use.  [default: 300, of your own data all]"),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(help="Times after programming, a comma list: 0,1h,30d.  [default: 1d]"),
    ] = None,
    compensation: options.Compensation = None,
    programmings: options.ProgrammingsOption = None,
    metric: options.MetricOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also every layer by itself.")] = False,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    yes: options.Yes = False,
) -> None:
    """Show where the accuracy goes: effects on and off one at a time, with intervals.

    All machines share seeds and images. Writes the results of the study, attribution.csv and
    a waterfall picture per time and compensation.
    """
    inputs.count("--images", images, inputs.MOST_IMAGES, low=2)
    output = Output()
    check_pool(workers, scheduler, memory)
    with status("loading network and images"), refusing():
        from ..studies import attribute as parts
        from ..studies import inputs as studied
        from ..studies import schema, settings
        from ..studies import sweep as engine

        name = None if study and model is model_ is None else inputs.model_of(model, model_)
        if study is None:
            whole = _made(
                str(name), weights, data, data_dir, images, metric, preset=preset, set_=set_,
                times=times, compensation=compensation, programmings=programmings,
            )  # fmt: skip
        else:
            _refuse_beside_a_study(
                preset=preset, set=set_, times=times, compensation=compensation,
                programmings=programmings,
            )  # fmt: skip
            whole = schema.scored_by(schema.load_study(study), _absolute(metric))
            changes = inputs.in_place(whole, name, weights, data, data_dir, images)
            whole = schema.changed(whole, changes)
        settings.check(whole)
        given = studied.gather(whole, None if study is None else study.parent)
        names = engine.analog_layers(given, next(settings.settings(whole)).spec) if layers else ()
        wanted = parts.make(whole, layers=tuple(names))
        sources = parts.sources(next(settings.settings(whole)).spec)
    progress = run_study(wanted, given, out, workers, scheduler, memory, yes)
    if progress.failed:
        complain(f"error: {progress.failed} trials failed: {'; '.join(progress.reasons[:3])}")
        raise typer.Exit(FAILED)
    with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
        _write(output, out, wanted.name)
    for label, text in sources.items():
        output.line(f"Source of {label}: {text}")


def _made(
    name: str, weights: str | None, data: str | None, folder: Path | None, images: int | None,
    metric: str | None, *, preset: str | None, set_: list[str] | None, times: str | None,
    compensation: str | None, programmings: int | None,
) -> Study:  # fmt: skip
    """Return the study that the options describe."""
    from ..studies import schema

    preset = "hermes-tdp" if preset is None else preset
    few = dict.fromkeys(catalogue.DATA, IMAGES)
    choice = inputs.data_choice(data, folder, images, name, few)
    inputs.refuse_digits_weights(name, weights, choice)
    inputs.count("--programmings", programmings, schema.MOST_PROGRAMMINGS)
    here = Path.cwd()
    chosen = choice.model_dump(exclude_unset=True) | {"name": own.absolute(choice.name, here)}
    return schema.make_study(
        {
            "name": f"{own.label(name)} on {preset}",
            "network": {"name": own.absolute(name, here), "weights": weights},
            "presets": preset, "changes": inputs.settings(set_ or []), "data": chosen,
            "times": inputs.times("1 d" if times is None else times),
            "compensations": inputs.methods("gdc" if compensation is None else compensation),
            "programmings": 5 if programmings is None else programmings,
            "metric": inputs.metric_of(_absolute(metric), choice),
        },
        "attribute",
    )  # fmt: skip


def _absolute(metric: str | None) -> str | None:
    return None if metric is None else own.absolute(metric, Path.cwd())


def _refuse_beside_a_study(**given: Any) -> None:
    """Raise BadInput for an option that says what the study says."""
    for name, value in given.items():
        if value is not None:
            raise BadInput(f"--{name} is part of the study; change the study, or leave one out")


def _write(output: Output, out: Path, title: str) -> None:
    from ..figures.waterfall import waterfall
    from ..studies import attribute as parts
    from ..studies import results

    results.export(out)
    rows = parts.table(results.load(out))
    files.write_text(out / "attribution.csv", rows.to_csv(index=False), "the table")
    for (t_seconds, method), part in rows.groupby(["time_seconds", "compensation"]):
        when = units.show_time(t_seconds) if t_seconds else "now"
        name = f"{title}: {when}, compensation {method}"
        picture = out / f"waterfall_{when.replace(' ', '')}_{method}.png"
        waterfall(part, title=name, path=picture)
        _print(output, part, name)
        output.line(f"Written: {picture}")


def _print(output: Output, rows: pd.DataFrame, title: str) -> None:
    from rich.table import Table

    from .. import metrics

    metric = metrics.of(rows)
    output.line(
        f"{title}: change of {metric.difference_heading}, with 95 % intervals over other "
        "programmings and other images (one programming: over images)"
    )
    printed = Table()
    for name in ("effect", "how"):
        printed.add_column(name)
    for name in ("change", "on these images", "effect size"):
        printed.add_column(name, justify="right", no_wrap=True)
    how = {
        "whole": "together", "alone": "alone", "missing": "against all but it",
        "layer": "this layer only",
    }  # fmt: skip
    for kind, group in rows.groupby("kind", sort=False):
        for row in group.itertuples():
            size = "-" if row.effect_size != row.effect_size else f"{row.effect_size:+.1f}"
            digits = metric.digits_of(row.images) + 1
            change = metric.show(row.difference, digits, True)
            change += f" {metric.span(row.low, row.high, digits, True)}"
            same = metric.span(row.same_low, row.same_high, digits, True)
            add_row(printed, (row.effect, how[kind], change, same, size))
        printed.add_section()
    output.table(printed)
