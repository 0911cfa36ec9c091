"""Options that several commands share, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[
    Path, typer.Option("--out", help="Folder for the results; goes on with what it holds.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes here; 0: only this one.  [default: one per core]"),
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler: run on its workers.")
]
Memory = Annotated[
    str | None,
    typer.Option(help="Most memory of a local worker, that is of one trial: '2 GB'."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Run what is large or takes long without asking.")]
MetricOption = Annotated[
    str | None,
    typer.Option(
        help="Scored in place of the study's: accuracy, top-5, bits-per-character, perplexity, "
        "rmse, mean-iou, sqnr, or package.module:name of your own.",
        show_default=False,
    ),
]
