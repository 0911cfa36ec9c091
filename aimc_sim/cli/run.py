"""``aimc-sim run``: accuracy of a network on the chip, from now to a year later."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import units
from ..progress import bars, status
from . import inputs
from .errors import BadInput, refusing
from .options import MetricOption
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

  aimc-sim run --preset hermes-tdp --set core.adc.bits=9 --times 0,1h,1y --seeds 5 --out adc9

  aimc-sim run --data-dir cifar-10-batches-py --weights resnet32.th --images 1000

  aimc-sim run --model my_network:build --compensation gdc,column

  aimc-sim run --model lstm-ptb --data ptb --data-dir DIR --images 50 --metric bits-per-character
"""


def run(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(help="resnet32, another of the zoo, or package.module:callable."),
    ] = inputs.RESNET32,
    weights: Annotated[
        str | None, typer.Option(help="'digits' (shipped), or the path of a state dict.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, cifar10, ptb, or package.module:callable.  [default: digits, or cifar10 "
            "with --data-dir]"
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder with cifar-10-batches-py: CIFAR-10 in place of the digits."),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Machines; a comma list, or given several times. See 'aimc-sim info'."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of every preset."),
    ] = None,
    times: Annotated[str, typer.Option(help="Times after programming.")] = "0,1h,1d,30d,1y",
    seeds: Annotated[
        int, typer.Option(help="Number of programmings; they use the seeds 0, 1, ...")
    ] = 3,
    images: Annotated[
        int | None,
        typer.Option(help="First test images to use.  [default: 200 digits, or all of CIFAR-10]"),
    ] = None,
    compensation: Annotated[
        str, typer.Option(help="Drift compensations: none, gdc (per core), column.")
    ] = "none,gdc",
    metric: MetricOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("aimc_sim_results"),
    force: Annotated[bool, typer.Option("--force", help="Replace results in that folder.")] = False,
) -> None:
    """Put a network on the chip and see what its accuracy does with time.

    Without options: ResNet-32 on handwritten digits, one and two devices per polarity, with and
    without drift compensation. Writes results.csv, drift_accuracy.png, floorplan.png,
    report.json and chip.h5.
    """
    inputs.count("--seeds", seeds, MOST_SEEDS, "'aimc-sim sweep' keeps results as they arrive")
    inputs.count("--images", images, inputs.MOST_IMAGES)
    changes = inputs.settings(set_ or [])
    specs = inputs.specs(preset or ["hermes-odp", "hermes-tdp"], changes)
    evaluation_times, methods = inputs.times(times), inputs.methods(compensation)
    if len(evaluation_times) * len(methods) * len(specs) * seeds > MOST_RUNS:
        raise BadInput(
            f"{len(specs)} presets, {seeds} seeds, {len(evaluation_times)} times and "
            f"{len(methods)} compensations are more than {MOST_RUNS:,} runs over the images; "
            "make them fewer, or use 'aimc-sim sweep', which keeps results as they arrive"
        )
    if model == inputs.RESNET32 and weights is None and data_dir is not None:
        raise BadInput(
            "--data-dir puts CIFAR-10 in place of the digits, and the shipped weights are for "
            "digits: give --weights PATH of a ResNet-32 that was trained on CIFAR-10"
        )
    with results_folder(out, FILES, force) as scratch:
        with status("loading network and images"):
            with refusing(prefix="--metric: "):
                from .. import metrics, own

                own.look_in()
                scored = metrics.named(metric or metrics.ACCURACY.name)
            network = inputs.network(model, weights)
            loaded = inputs.data(inputs.data_choice(data, data_dir, images))
        with status("placing the network on the chip, calibrating"):
            from . import drift

            ready = drift.prepare(
                model, network, loaded, scored, specs, times=evaluation_times, methods=methods,
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
        request = {
            "command": shlex.join(["aimc-sim", *(context.obj or [])]),
            "model": model,
            "weights": weights or ("digits" if model == inputs.RESNET32 else None),
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
