"""``aimc-sim run``: accuracy of a network on the chip, from now to a year later."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import units
from ..progress import bars, status
from ..zoo import catalogue
from . import inputs, options
from .errors import BadInput, refusing
from .output import Output, add_row
from .results import results_folder

if TYPE_CHECKING:
    from .. import metrics
    from .drift import StudyOutcome

FILES = ("results.csv", "drift_accuracy.png", "floorplan.png", "report.json", "chip.h5")
"""Files that a run writes into its output folder."""

MOST_SEEDS, MOST_RUNS = 1000, 20_000
"""Programmings, and passes over the images: results are written at the end, so what takes days is
for ``aimc-sim sweep``."""

EXAMPLES = """
Examples:

  aimc-sim run

  aimc-sim run --preset hermes-tdp --set core.adc.bits=9 --times 0,1h,1y --programmings 5 --out adc9

  aimc-sim run --data-dir cifar-10-batches-py --weights resnet32.th --images 1000

  aimc-sim run --model my_script.py:network --data my_script.py:data --compensation gdc,column

  aimc-sim run lstm-ptb --data-dir DIR --images 50
"""


def run(
    context: typer.Context,
    model: options.NetworkArgument = None,
    model_: options.ModelOption = None,
    weights: options.Weights = None,
    data: options.DataName = None,
    data_dir: options.DataFolder = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="Machines; a comma list, or given several times. See 'aimc-sim info'.",
            autocompletion=options.complete_presets,
        ),
    ] = None,
    set_: options.Set = None,
    times: options.Times = "0,1h,1d,30d,1y",
    programmings: options.ProgrammingsOption = 3,
    images: Annotated[
        int | None,
        typer.Option(help="First test items to use.  [default: 200 of the digits, else all]"),
    ] = None,
    compensation: options.Compensation = "none,gdc",
    metric: options.MetricOption = None,
    out: options.Out = Path("aimc_sim_results"),
    force: options.Force = False,
) -> None:
    """Put a network on the chip and see what its accuracy does with time.

    Without options: ResNet-32 on handwritten digits, one and two devices per polarity, with and
    without drift compensation. Writes results.csv, drift_accuracy.png, floorplan.png,
    report.json and chip.h5.
    """
    name = inputs.model_of(model, model_)
    seeds = programmings or 0
    inputs.count(
        "--programmings", seeds, MOST_SEEDS, "'aimc-sim sweep' keeps results as they arrive"
    )
    inputs.count("--images", images, inputs.MOST_IMAGES)
    changes = inputs.settings(set_ or [])
    specs = inputs.specs(preset or ["hermes-odp", "hermes-tdp"], changes)
    evaluation_times = inputs.times(times or "")
    methods = inputs.methods(compensation or "")
    if len(evaluation_times) * len(methods) * len(specs) * seeds > MOST_RUNS:
        raise BadInput(
            f"{len(specs)} presets, {seeds} programmings, {len(evaluation_times)} times and "
            f"{len(methods)} compensations are more than {MOST_RUNS:,} runs over the images; "
            "make them fewer, or use 'aimc-sim sweep', which keeps results as they arrive"
        )
    choice = inputs.data_choice(data, data_dir, images, name)
    inputs.refuse_digits_weights(name, weights, choice)
    with results_folder(out, FILES, force) as scratch:
        with status("loading network and images"):
            with refusing(prefix="--metric: "):
                from .. import metrics, own

                own.look_in()
                scored = metrics.named(inputs.metric_of(metric, choice))
            network = inputs.network(name, weights)
            loaded = inputs.data(choice)
        with status("placing the network on the chip, calibrating"):
            from . import drift

            ready = drift.prepare(
                name, network, loaded, scored, specs, times=evaluation_times, methods=methods,
                seeds=range(seeds),
            )  # fmt: skip
        with bars("images", "{task.description:<18}") as progress:
            tasks = {
                name: progress.add_task(name, total=total, start=False)
                for name, total in ready.work().items()
            }

            def step(name: str, n: int) -> None:
                progress.start_task(tasks[name])  # its clock runs from the first step
                progress.advance(tasks[name], n)

            outcome = drift.compute(ready, step)
        trained = catalogue.listed(name)
        request = {
            "command": shlex.join(["aimc-sim", *(context.obj or [])]),
            "model": own.label(name),
            "weights": weights or (None if trained is None else trained.weights),
            "settings": changes,
            "seeds": seeds,
            "calibration_images": len(loaded.calibration),
            "specs": {name: spec.model_dump(mode="json") for name, spec in specs.items()},
        }
        with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
            drift.write(scratch, outcome, request)
    told = f"{outcome.images:,} test images of {loaded.name}"
    _print(Output(), outcome, told, out)


def _print(output: Output, outcome: StudyOutcome, data: str, out: Path) -> None:
    """Print the table and where the files are."""
    from rich.table import Table

    summary, metric = outcome.summary, outcome.metric
    digits = metric.digits_of(outcome.images)
    law = " (Wilson)" if metric.bits else ""
    n = int(summary["programmings"].iloc[0])
    what = (
        f"mean and 95 % interval over {n} programmings"
        if n > 1
        else f"one programming; the 95 % interval is over images{law}"
    )
    heading = metric.heading[:1].upper() + metric.heading[1:]
    output.line(f"{heading}, {data}: {what}")
    table = Table()
    methods = list(summary["compensation"].unique())
    for column in ("preset", "time"):
        table.add_column(column, no_wrap=True)
    for method in methods:
        name = "no compensation" if method == "none" else method
        table.add_column(name, justify="right", no_wrap=True)
    for column in (outcome.ideal_name, "float"):
        table.add_column(column, justify="right", no_wrap=True)
    for preset, group in summary.groupby("preset", sort=False):
        references = (outcome.ideal[preset], outcome.float_value)
        for seconds, cells in group.groupby("time_seconds"):
            by_method = {row.compensation: row for row in cells.itertuples()}
            add_row(table, (
                preset,
                units.show_time(seconds) if seconds else "now",
                *(_cell(metric, by_method[method], digits) for method in methods),
                *(metric.show(value, digits) for value in references),
            ))  # fmt: skip
        table.add_section()
    output.table(table)
    output.line(_closing(outcome.ideal_name, outcome.held, out))


def _cell(metric: metrics.Metric, row: Any, digits: int) -> str:
    return f"{metric.show(row.mean, digits)} {metric.span(row.low, row.high, digits)}"


def _closing(ideal_name: str, held: dict[str, Any], out: Path) -> str:
    return (
        f"{ideal_name}: the same converters and integers with perfect devices. float: torch.\n"
        f"Written to {out}: {', '.join(FILES)}\n"
        f"chip.h5 holds {held['preset']}, seed {held['seed']}, at "
        f"{units.show_time(held['time_seconds'])}, compensation {held['compensation']}; "
        "open it with aimc_sim.Chip.load."
    )
