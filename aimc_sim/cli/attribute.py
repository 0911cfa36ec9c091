"""``aimc-sim attribute``: where the accuracy goes, effect by effect and layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import files, units
from ..progress import status
from .errors import refusing
from .options import MetricOption
from .output import Output, add_row, complain
from .sweep import FAILED, check_pool, run_study

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """
Examples:

  aimc-sim attribute --out where

  aimc-sim attribute --preset hermes-odp --time "30 d" --layers --out where

  aimc-sim attribute --study study.yaml --out where --scheduler tcp://10.0.0.1:8786
"""


def attribute(
    out: Annotated[Path, typer.Option(help="Folder for the results; goes on with what it holds.")],
    study: Annotated[
        Path | None, typer.Option(help="A study of one machine, in place of the options below.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Machine, see 'aimc-sim info'.")] = "hermes-tdp",
    network: Annotated[
        str, typer.Option(help="Of the zoo, or package.module:callable.")
    ] = "resnet32-digits",
    images: Annotated[int, typer.Option(min=2, help="First test images of the digits.")] = 300,
    time: Annotated[str, typer.Option(help="Time after programming.")] = "1 d",
    compensation: Annotated[str, typer.Option(help="none, gdc, column, gdc-signs or ls.")] = "gdc",
    programmings: Annotated[int, typer.Option(min=1, help="Programmings of each machine.")] = 5,
    metric: MetricOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also every layer by itself.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes here; 0: only this one.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    memory: Annotated[str | None, typer.Option(help="Most memory of a local worker.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run a large study without asking.")] = False,
) -> None:
    """Show where the accuracy goes: effects on and off one at a time, with intervals.

    All machines share seeds and images. Writes the results of the study, attribution.csv and
    a waterfall picture per time and compensation.
    """
    output = Output()
    check_pool(workers, scheduler, memory)
    with status("loading network and images"), refusing():
        from ..studies import attribute as parts
        from ..studies import inputs, schema, settings
        from ..studies import sweep as engine

        if study is None:
            whole = schema.make_study(
                {
                    "name": f"{network} on {preset}", "network": network, "presets": preset,
                    "data": {"name": "digits", "images": images}, "times": time,
                    "compensations": compensation, "programmings": programmings,
                    "metric": metric or "accuracy",
                },
                "attribute",
            )  # fmt: skip
        else:
            whole = schema.scored_by(schema.load_study(study), metric)
        settings.check(whole)
        given = inputs.gather(whole, None if study is None else study.parent)
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
