"""``aimc-sim run``: accuracy of a network on the chip, from now to a year later."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import units
from . import inputs
from .errors import BadInput, refusing
from .output import Output, add_row, status
from .output import progress as progress_bar
from .results import results_folder

if TYPE_CHECKING:
    from .study import StudyOutcome

FILES = ("results.csv", "drift_accuracy.png", "floorplan.png", "report.json", "chip.h5")
"""What a run writes into its output folder."""

MOST_SEEDS, MOST_RUNS = 1000, 20_000
"""Programmings, and passes over the images: results are written at the end, so what takes days is
for ``aimc-sim sweep``."""

EXAMPLES = """
Examples:

  aimc-sim run

  aimc-sim run --preset hermes-tdp --set core.adc.bits=9 --times 0,1h,1y --seeds 5 --out adc9

  aimc-sim run --data-dir cifar-10-batches-py --weights resnet32.th --images 1000

  aimc-sim run --model my_network:build --compensation gdc,column
"""


def run(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(help="resnet32, or package.module:callable returning a torch module.")
    ] = inputs.RESNET32,
    weights: Annotated[
        str | None, typer.Option(help="'digits' (shipped), or the path of a state dict.")
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
    moments, methods = inputs.times(times), inputs.methods(compensation)
    if len(moments) * len(methods) * len(specs) * seeds > MOST_RUNS:
        raise BadInput(
            f"{len(specs)} presets, {seeds} seeds, {len(moments)} times and {len(methods)} "
            f"compensations are more than {MOST_RUNS:,} runs over the images; make them fewer, or "
            "use 'aimc-sim sweep', which keeps results as they arrive"
        )
    with results_folder(out, FILES, force) as scratch:
        with status("loading network and images"):
            network = inputs.network(model, weights, data_dir)
            test, calibration = inputs.images(data_dir, images)
        with status("placing the network on the chip, calibrating"):
            from . import study

            ready = study.prepare(network, specs, test, calibration)
        parts = ready.work(len(moments) * len(methods) * seeds)
        with progress_bar("images", "{task.description:<18}") as progress:
            tasks = {
                name: progress.add_task(name, total=total, start=False)
                for name, total in parts.items()
            }

            def step(name: str, n: int) -> None:
                progress.start_task(tasks[name])  # its clock runs from the first step
                progress.advance(tasks[name], n)

            outcome = study.compute(
                ready, times=moments, methods=methods, seeds=range(seeds), step=step
            )
        request = {
            "command": shlex.join(["aimc-sim", *(context.obj or [])]),
            "model": model,
            "weights": weights or ("digits" if model == inputs.RESNET32 else None),
            "settings": changes,
            "seeds": seeds,
            "calibration_images": len(calibration),
            "specs": {name: spec.model_dump(mode="json") for name, spec in specs.items()},
        }
        with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
            study.write(scratch, outcome, test, request)
    _print(Output(), outcome, study.held(outcome), f"{len(test):,} test images of {test.name}", out)


def _print(
    output: Output, outcome: StudyOutcome, held: dict[str, Any], data: str, out: Path
) -> None:
    """Print the table and where the files are."""
    from rich.table import Table

    summary = outcome.summary
    digits = 1 if summary["images"].iloc[0] <= 1000 else 2
    n = int(summary["programmings"].iloc[0])
    what = (
        f"mean and 95 % interval over {n} programmings"
        if n > 1
        else "one programming; the 95 % interval is over images (Wilson)"
    )
    output.line(f"Accuracy in %, {data}: {what}")
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
        references = (outcome.ideal_accuracy[preset], outcome.float_accuracy)
        for moment, cells in group.groupby("time_seconds"):
            by_method = {row.compensation: row for row in cells.itertuples()}
            add_row(table, (
                preset,
                units.show_time(moment) if moment else "now",
                *(_cell(by_method[method], digits) for method in methods),
                *(f"{100 * accuracy:.{digits}f}" for accuracy in references),
            ))  # fmt: skip
        table.add_section()
    output.table(table)
    output.line(_closing(outcome.ideal_name, held, out))


def _cell(row: Any, digits: int) -> str:
    mean, low, high = (f"{100 * value:.{digits}f}" for value in (row.mean, row.low, row.high))
    return f"{mean} [{low}, {high}]"


def _closing(ideal_name: str, held: dict[str, Any], out: Path) -> str:
    return (
        f"{ideal_name}: the same converters and integers with perfect devices. float: torch.\n"
        f"Written to {out}: {', '.join(FILES)}\n"
        f"chip.h5 holds {held['preset']}, seed {held['seed']}, at "
        f"{units.show_time(held['time_seconds'])}, compensation {held['compensation']}; "
        "open it with aimc_sim.Chip.load."
    )
