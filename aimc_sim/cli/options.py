"""Options that several commands share: the words, the help and the completion of each, once.

A name that an option had before is taken for one release: :data:`OLD`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from .output import complain

OLD = {"--network": "--model", "--seeds": "--programmings", "--time": "--times"}
"""Earlier names of options, and their present ones."""


class Command(TyperCommand):
    """A command that takes the earlier names of its options too, and says so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; earlier names before a lone ``--`` become the present ones."""
        known = {word for parameter in self.params for word in parameter.opts}
        end = args.index("--") if "--" in args else len(args)
        found = list(args)
        for place, word in enumerate(args[:end]):
            name, equals, value = word.partition("=")
            now = OLD.get(name)
            if now in known and name not in known:
                found[place] = f"{now}{equals}{value}"
                if not ctx.resilient_parsing:
                    complain(f"note: {name} is {now} now; the next release takes only {now}")
        parsed: list[str] = super().parse_args(ctx, found)
        return parsed


# ------------------------------------------------------------------ completion


def _completed(names: Iterable[str], incomplete: str, several: bool = False) -> list[str]:
    """Return the names that a text can become; of a comma list its last part."""
    before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
    given = before.split(",")
    return [f"{before}{comma}{n}" for n in names if n.startswith(last) and n not in given]


def complete_presets(incomplete: str) -> list[str]:
    """Return presets, of a comma list too."""
    from ..presets import PRESETS

    return _completed(PRESETS, incomplete, several=True)


def complete_networks(incomplete: str) -> list[str]:
    """Return networks of the zoo."""
    from ..zoo.catalogue import NAMES

    return _completed(NAMES, incomplete)


def complete_places(incomplete: str) -> list[str]:
    """Return networks of the zoo and layouts of the chip paper."""
    from ..mapping.named import PAPER, names

    return [
        *complete_networks(incomplete),
        *_completed([PAPER + name for name in names()], incomplete),
    ]


def complete_data(incomplete: str) -> list[str]:
    """Return data that have a name."""
    from ..zoo.catalogue import DATA

    return _completed(DATA, incomplete)


def complete_metrics(incomplete: str) -> list[str]:
    """Return metrics of this simulator."""
    from ..metrics import BY_NAME

    return _completed(BY_NAME, incomplete)


def complete_compensations(incomplete: str) -> list[str]:
    """Return drift compensations, of a comma list too."""
    from .inputs import compensations

    return _completed(compensations(), incomplete, several=True)


# ------------------------------------------------------------------ network and data


def _named(flag: str, complete: Callable[[str], list[str]], told: str) -> OptionInfo:
    """Return an option whose value is a name that a shell can complete.

    Parameters
    ----------
    flag : str
        The option, with its dashes.
    complete : callable
        Takes the typed text and returns the names that begin with it.
    told : str
        Help; says the default.
    """
    found: OptionInfo = typer.Option(flag, show_default=False, autocompletion=complete, help=told)
    return found


OWN = "package.module:function or path/to/file.py:function of your own"

_NETWORK = (
    "resnet32, resnet9, lstm, spiking or a longer name of the zoo "
    f"('aimc-sim info --list networks'), or {OWN} that returns a torch module."
)
NetworkArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help=f"{_NETWORK}  [default: resnet32]", show_default=False,
        autocompletion=complete_networks,
    ),
]  # fmt: skip
PlaceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help=f"{_NETWORK} Or paper:resnet9, paper:char-lstm, "
        "paper:captioning-lstm: layouts of the chip paper.  [default: resnet32]",
        show_default=False, autocompletion=complete_places,
    ),
]  # fmt: skip
ModelOption = Annotated[
    str | None,
    _named("--model", complete_networks, "The network, if not as the argument."),
]
StudyModel = Annotated[
    str | None,
    _named("--model", complete_networks, f"In place of the file's network: {_NETWORK}"),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Path of a state dict for the network.  [default: its own weights]"),
]
_DATA = f"digits, cifar10, ptb, or {OWN} that returns (inputs, targets, calibration inputs)."
DataName = Annotated[
    str | None,
    _named(
        "--data", complete_data, f"{_DATA}  [default: those of the zoo's network; else digits, or "
        "cifar10 with --data-dir]",
    ),
]  # fmt: skip
ShapeData = Annotated[str | None, _named("--data", complete_data, f"Gives the inputs: {_DATA}")]
StudyData = Annotated[
    str | None, _named("--data", complete_data, f"In place of the file's data: {_DATA}")
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder that holds cifar-10-batches-py or ptb.char.test.txt."),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="C,H,W",
        help="Shape of one input.  [default: of --data; of the zoo's data (3,32,32 for resnet32); "
        "of your own network: its attribute example_input, or the only shape that its layers take]",
    ),
]  # fmt: skip
StudyImages = Annotated[
    int | None,
    typer.Option("--images", help="First test items to use, in place of the file's number."),
]
_METRIC = (
    "accuracy, top-5, bits-per-character, perplexity, rmse, mean-iou, sqnr, or package.module:name "
    "or path/to/file.py:name of your own."
)
MetricOption = Annotated[
    str | None,
    _named(
        "--metric", complete_metrics,
        f"Scored: {_METRIC}  [default: accuracy, bits-per-character of ptb]",
    ),
]  # fmt: skip
StudyMetric = Annotated[
    str | None,
    _named("--metric", complete_metrics, f"Scored in place of the file's: {_METRIC}"),
]

# ------------------------------------------------------------------ machine

Preset = Annotated[
    str, typer.Option(help="Machine; see 'aimc-sim info'.", autocompletion=complete_presets)
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of every preset."),
]

# ------------------------------------------------------------------ trials

Times = Annotated[
    str | None, typer.Option("--times", help="Times after programming, a comma list: 0,1h,30d.")
]
ProgrammingsOption = Annotated[
    int | None,
    typer.Option("--programmings", help="Programmings of each machine; their seeds are 0, 1, ..."),
]
Compensation = Annotated[
    str | None,
    typer.Option(
        "--compensation", autocompletion=complete_compensations,
        help="Drift compensations, a comma list of: none, gdc (per core), column, gdc-signs, ls, "
        "adabs.",
    ),
]  # fmt: skip

# ------------------------------------------------------------------ results and workers

Out = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Force = Annotated[bool, typer.Option("--force", help="Replace results in that folder.")]
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
