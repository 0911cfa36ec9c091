"""``aimc-sim optimise``: designs for a metric against energy, time and cores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import arguments, own, units
from ..progress import status
from . import inputs, options
from .errors import refusing
from .output import Output, add_row, complain
from .sweep import FAILED, check_pool, run_study

if TYPE_CHECKING:
    import pandas as pd

    from ..metrics import Metric
    from ..search.optimise import SearchPlan
    from ..search.schema import Search
    from ..studies.sweep import Progress

EXAMPLES = """
Examples:

  aimc-sim examples --out examples

  aimc-sim optimise examples/searches/energy.yaml --out front

  aimc-sim optimise search.yaml --out front --trials 200 --data my_script.py:data

  aimc-sim optimise search.yaml --out front --scheduler tcp://10.0.0.1:8786
"""

PICTURES = ("pareto.png", "pareto.svg")


def optimise(
    search: Annotated[Path, typer.Argument(help="YAML or Python file, see 'aimc-sim examples'.")],
    out: options.Results,
    model: options.StudyModel = None,
    weights: options.Weights = None,
    data: options.StudyData = None,
    data_dir: options.DataFolder = None,
    images: options.StudyImages = None,
    metric: options.StudyMetric = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Designs to propose, in place of the file's number.")
    ] = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    yes: options.Yes = False,
) -> None:
    """Search the knobs of a machine: accuracy, or another metric, against energy, time and cores.

    Prints the Pareto front; writes designs.parquet and .csv, pareto.png and .svg, and front.yaml,
    a study that runs the front again with fresh programmings. The same command goes on after
    Ctrl-C or a crash, and the number of workers changes no result.
    """
    output = Output()
    check_pool(workers, scheduler, memory)
    from ..studies import folder

    with refusing(OSError, ValueError, prefix="--out: "):
        arguments.path(str(out), "--out")
    with folder.removed_if_empty(out):
        wanted = _wanted(search, trials, metric, model, weights, data, data_dir, images)
        progress, plan = _search(wanted, search, out, workers, scheduler, memory, yes)
    scored, feed = plan.inputs.metric, plan.feed
    assert feed is not None  # the sweep has run
    from ..figures.pareto import pareto
    from ..search import outcome

    found = outcome.table(feed, out)
    with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
        files = outcome.write(found, feed, out)
        files += [out / name for name in PICTURES]
        pareto(found, wanted.objectives, title=_title(wanted, found, scored), paths=files[-2:])
    _print(output, wanted, found, scored)
    output.line(
        f"{progress.done} trials run, {progress.reused} found in {out}. Written: "
        f"{', '.join(path.name for path in files)}"
    )
    if progress.failed:
        complain(f"error: {progress.failed} trials failed: {'; '.join(progress.reasons[:3])}")
        raise typer.Exit(FAILED)


def _wanted(
    path: Path, trials: int | None, metric: str | None, *given: Any
) -> Search:  # fmt: skip
    """Return the search of a file with the options in place of its own keys."""
    with refusing():
        from ..search import schema, space

        wanted = schema.load_search(path)
        if metric is not None:
            wanted = schema.scored_by(wanted, own.absolute(metric, Path.cwd()))
        changes = inputs.in_place(wanted, *given)
        if trials is not None:
            changes["trials"] = trials
        if changes:
            wanted = schema.changed(wanted, **changes)
        space.check(wanted)  # before images are read
        return wanted


def _search(
    wanted: Search, path: Path, out: Path, workers: int | None, scheduler: str | None,
    memory: str | None, yes: bool,
) -> tuple[Progress, SearchPlan]:  # fmt: skip
    with status("reading the search, loading network and images"), refusing():
        from ..search.optimise import SearchPlan
        from ..studies import inputs as studied

        plan = SearchPlan(wanted, studied.gather(wanted.study(), path.parent), out)
        if not yes:
            plan.announce()
    if not wanted.needs_images and scheduler is None:
        workers = 0  # nothing to hand out
    progress = run_study(plan.study, plan.inputs, out, workers, scheduler, memory, yes, plan.source)
    return progress, plan


def _title(search: Search, found: pd.DataFrame, metric: Metric) -> str:
    text = f"{search.name}: {own.label(search.network.name)}, {len(found)} designs"
    if search.needs_images:
        when = units.show_time(search.time) if search.time else "now"
        text += f", {metric.name} at {when}, {search.programmings} programmings of each"
    return text


def _print(output: Output, search: Search, found: pd.DataFrame, metric: Metric) -> None:
    """Print the front, values of the metric with their intervals."""
    from rich.table import Table

    from ..search import front

    counts = found["status"].value_counts()
    text = ", ".join(f"{counts[s]} {s}" for s in front.STATUSES if s in counts)
    heading = metric.heading[:1].upper() + metric.heading[1:]
    good = "accurate" if metric.name == search.quality else "good"
    output.line(
        f"{_title(search, found, metric)}: {text}.\n{heading}, mean and 95 % interval over "
        "programmings (of one: over images); rivals: designs that cost no more and may be as "
        f"{good}."
    )
    on = found[found["status"].isin((front.FRONT, front.LIKELY))]
    if on.empty:
        output.line("No design meets the constraints.")
        return
    names = list(dict.fromkeys([*search.objectives, *search.constraints]))
    printed = Table()
    printed.add_column("design", justify="right")
    printed.add_column("status")
    for name in names:
        shown = metric.name if name == search.quality else name
        printed.add_column(shown, justify="right", no_wrap=True)
    printed.add_column("knobs", overflow="fold")
    printed.add_column("rivals")
    for _, row in on.sort_values(names[-1]).iterrows():
        knobs = "\n".join(f"{name}={_show(row[name])}" for name in search.knobs)
        cells = [_cell(name, row, metric) for name in names]
        add_row(printed, (row["design"], row["status"], *cells, knobs, _few(row["rivals"])))
    output.table(printed)


def _cell(name: str, row: pd.Series, metric: Metric) -> str:
    from ..search.objectives import COSTS

    if name not in COSTS:
        digits = metric.digits_of(row["images"])
        return f"{metric.show(row[name], digits)} {metric.span(row['low'], row['high'], digits)}"
    unit = COSTS[name].unit
    return units.show(row[name], unit) if unit in ("J", "s") else f"{row[name]:,.4g}"


def _show(value: object) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _few(rivals: str, most: int = 5) -> str:
    each = rivals.split()
    return " ".join(each[:most]) + (f" and {len(each) - most} more" if len(each) > most else "")
