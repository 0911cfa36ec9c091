"""``aimc-sim export``: results of a study, for tools that keep those of many experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..progress import status
from .errors import refusing
from .output import say

EXAMPLES = """
Examples:

  aimc-sim export drift --mlflow http://localhost:5000

  aimc-sim export drift --mlflow sqlite:///runs.db --experiment "drift of two chips"
"""


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of 'aimc-sim sweep' or 'attribute'.")
    ],
    mlflow: Annotated[
        str,
        typer.Option(metavar="URI", help="MLflow server (http://...) or database (sqlite:///)."),
    ],
    experiment: Annotated[
        str | None, typer.Option(help="Its name in MLflow.  [default: that of the study]")
    ] = None,
) -> None:
    """Write every trial of a study to MLflow, once; a later export adds missing trials.

    Needs the extra 'tracking': pip install 'aimc-sim[tracking]'.
    """
    from ..studies import tracking

    with (
        status("writing to MLflow"),
        refusing(ModuleNotFoundError, ValueError, KeyError, TypeError, OSError),
    ):
        found = tracking.to_mlflow(folder, mlflow, experiment)
    mended = f" ({found.again} of them had been left unfinished)" if found.again else ""
    say(
        f"experiment '{found.experiment}' at {mlflow}: {found.added} trials added{mended}, "
        f"{found.present} were there"
    )
