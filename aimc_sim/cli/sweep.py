"""``aimc-sim sweep`` runs a study; ``aimc-sim merge`` puts folders of results together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import arguments, own, units
from ..progress import status, trials
from . import inputs, options
from .errors import BadInput, Interrupted, refusing
from .output import Output, add_row, complain, say

if TYPE_CHECKING:
    import pandas as pd

    from ..studies.feed import MakeSource
    from ..studies.inputs import Inputs
    from ..studies.pools import Pool
    from ..studies.schema import Study
    from ..studies.sweep import Progress

SWEEP_EXAMPLES = """
Examples:

  aimc-sim examples --out examples

  aimc-sim sweep examples/studies/adc_bits.yaml --out adc_bits

  aimc-sim sweep study.yaml --model my_script.py:network --data my_script.py:data --out results

  aimc-sim sweep study.yaml --out results --scheduler tcp://10.0.0.1:8786
"""

MERGE_EXAMPLES = """
Example:

  aimc-sim merge results_of_one_machine results_of_another --out together
"""

FAILED = 1

MANY = 50_000
"""Trials up to which the sweep ends with tables: their layers take 70 kB of memory a trial."""


LEAST_BYTES, MOST_BYTES = 100 * 10**6, 10**15
"""Of a worker: below, Python and torch do not even start."""


def sweep(
    study: Annotated[Path, typer.Argument(help="YAML or Python file, see 'aimc-sim examples'.")],
    out: options.Results,
    model: options.StudyModel = None,
    weights: options.Weights = None,
    data: options.StudyData = None,
    data_dir: options.DataFolder = None,
    images: options.StudyImages = None,
    metric: options.StudyMetric = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    yes: options.Yes = False,
) -> None:
    """Run a study: many machines, programmings and times, with intervals.

    Results are written as they arrive. After Ctrl-C, a crash or a power cut the same command
    goes on where it stopped.
    """
    check_pool(workers, scheduler, memory)
    with status("reading the study, loading network and images"):
        from ..studies import inputs as studied
        from ..studies import schema, settings
        from ..studies import sweep as engine

        with refusing():
            wanted = schema.load_study(study)
            if metric is not None:
                wanted = schema.scored_by(wanted, own.absolute(metric, Path.cwd()))
            changes = inputs.in_place(wanted, model, weights, data, data_dir, images)
            wanted = schema.changed(wanted, changes)
            settings.check(wanted)  # before images are read
            given = studied.gather(wanted, study.parent)
            engine.check(wanted, given)
    progress = run_study(wanted, given, out, workers, scheduler, memory, yes)
    _report(Output(), out, wanted, progress)
    if progress.failed:
        complain(f"error: {progress.failed} trials failed: {'; '.join(progress.reasons[:3])}")
        raise typer.Exit(FAILED)


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders written by 'aimc-sim sweep'.")],
    out: Annotated[Path, typer.Option(help="Folder for all of it; what it holds stays.")],
) -> None:
    """Put the results of several folders into one; equal trials become one.

    Nothing is copied if two results of the same trial differ.
    """
    from ..studies import folder, results

    with refusing():
        for place in (*folders, out):
            arguments.path(str(place), "folder")
        found = folder.merge(folders, out)
        results.export(out)
    for damage in found.damage:
        complain(f"left out: {damage}")
    say(f"{out} holds {len(found.trials)} trials")


def memory_bytes(text: str | None) -> int | None:
    """Return the bytes of ``--memory``."""
    if text is None:
        return None
    from dask.utils import parse_bytes

    try:
        found = parse_bytes(text)
    except (ValueError, OverflowError, AttributeError):
        found = 0
    if not LEAST_BYTES <= found <= MOST_BYTES:
        raise BadInput(f"--memory {text[:60]}: wanted a size such as '2 GB', from 100 MB to 1 PB")
    return found


def check_pool(workers: int | None, scheduler: str | None, memory: str | None) -> None:
    """Raise BadInput for options of workers that cannot be, alone or together."""
    memory_bytes(memory)
    if scheduler is not None and (workers is not None or memory is not None):
        raise BadInput("--scheduler brings its own workers; leave --workers and --memory out")
    if scheduler is not None:
        from ..studies.closed import check_address

        with refusing(ValueError, prefix="--scheduler: "):
            check_address(scheduler)
    if workers is not None:
        from ..studies.pools import most_workers

        most = most_workers()
        if workers > most:
            raise BadInput(
                f"--workers {workers}: wanted 0 to {most} on this machine, by its cores and "
                "memory; --scheduler runs on others"
            )


def run_study(
    study: Study, given: Inputs, out: Path, workers: int | None,
    scheduler: str | None, memory: str | None, yes: bool, source: MakeSource | None = None,
) -> Progress:  # fmt: skip
    """Run the study, with one line for everything that can end it.

    A folder of results that was made for a study that is refused is taken away.

    ``source`` hands out the trials in place of the study's own settings, as in
    :func:`aimc_sim.studies.sweep.sweep`.
    """
    from ..studies import folder

    with refusing(OSError, ValueError, prefix="--out: "):
        arguments.path(str(out), "--out")
    with folder.removed_if_empty(out):
        return _run_study(study, given, out, workers, scheduler, memory, yes, source)


def _run_study(
    study: Study, given: Inputs, out: Path, workers: int | None, scheduler: str | None,
    memory: str | None, yes: bool, source: MakeSource | None,
) -> Progress:  # fmt: skip
    from ..studies import pools
    from ..studies import sweep as engine
    from ..studies.work import VersionMismatch

    with refusing(OSError, ValueError, prefix="--out: "):
        held = engine.open_folder(out)
    for damage in held.damage:
        complain(f"{damage}; its trial is run again")
    safe = len(held.trials)
    try:
        with _pool(given, workers, scheduler, memory) as pool, trials() as report:

            def counted(progress: Progress) -> None:
                nonlocal safe
                safe = len(held.trials) + progress.done
                report(progress)

            return engine.sweep(
                study, given, pool, out, confirmed=yes, report=counted, source=source
            )
    except KeyboardInterrupt:
        complain(
            f"interrupted: {safe} trials are safe in '{out}'; the same command goes on from there"
        )
        raise Interrupted from None
    except (engine.TooLarge, engine.Stopped, BlockingIOError, KeyError) as error:
        raise BadInput(str(error.args[0] if error.args else error)) from error
    except (pools.ClusterError, VersionMismatch) as error:
        more = f"; {safe} trials are safe in '{out}'" if safe else ""
        raise BadInput(f"{error}{more}") from error


@contextmanager
def _pool(
    given: Inputs, workers: int | None, scheduler: str | None, memory: str | None
) -> Iterator[Pool]:
    from ..studies import pools

    if scheduler is not None:
        with pools.remote(given, scheduler) as pool:
            yield pool
    elif workers == 0:
        yield pools.InProcess(given)
    else:
        with pools.local(given, workers, memory) as pool:
            yield pool


def _report(output: Output, out: Path, study: Study, progress: Progress) -> None:
    """Print the summary and where the files are."""
    from ..studies import results, statistics

    if progress.reused + progress.done > MANY:
        output.line(
            f"{progress.done} trials run, {progress.reused} found in {out}: too many for one "
            "table at the end of a sweep; docs/planning.md of the sources says how they are "
            "read in parts"
        )
        return
    with refusing(OSError, prefix=f"the tables cannot be written to '{out}': "):
        files = results.export(out)
    table = results.load(out)
    if len(table):
        for _, part in statistics.summary(table).groupby("metric", sort=True):
            print_summary(output, part, study.name)
    output.line(
        f"{progress.done} trials run, {progress.reused} found in {out}. Written: "
        f"{', '.join(path.name for path in files)}; open them with aimc_sim.results.load('{out}')."
    )


def print_summary(output: Output, summary: pd.DataFrame, title: str) -> None:
    """Print the values of a summary of one metric, never without their intervals."""
    from rich.table import Table

    from .. import metrics

    metric = metrics.of(summary)
    single = (summary["programmings"] == 1).all()
    how = "over images (Wilson)" if metric.bits else "over images"
    what = how if single else "over programmings"
    output.line(
        f"{title}: {metric.heading}, mean and 95 % interval {what}; spread: standard deviation "
        "between programmings"
    )
    printed = Table()
    for name in ("setting", "time", "compensation"):
        printed.add_column(name, no_wrap=name != "setting")
    for name in (metric.name, "with other images", "spread", "programmings", "images"):
        printed.add_column(name, justify="right", no_wrap=True)
    for _, group in summary.groupby(["setting", "layers"], sort=False):
        for row in group.itertuples():
            digits = metric.digits_of(row.images)
            add_row(printed, (
                row.setting,
                units.show_time(row.time_seconds) if row.time_seconds else "now",
                row.compensation,
                f"{metric.show(row.mean, digits)} {metric.span(row.low, row.high, digits)}",
                metric.span(row.wide_low, row.wide_high, digits),
                metric.show(row.spread, digits + 1),
                row.programmings,
                row.images,
            ))  # fmt: skip
        printed.add_section()
    output.table(printed)
