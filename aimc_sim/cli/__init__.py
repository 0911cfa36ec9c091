"""The command ``aimc-sim``.

=============  ==============================================================================
file           contents
=============  ==============================================================================
``errors``     bad input: one line on stderr, exit code 2
``options``    options that several commands share: words, help, completion, earlier names
``inputs``     from the texts of the options to specifications, times, networks and images
``run``        ``aimc-sim run``: the options, the table that is printed
``drift``      the computation of ``run``, and the files of its results
``output``     the one place that prints
``results``    a folder of results that is written completely or not at all
``place``      ``aimc-sim map`` and ``aimc-sim perf``: place of a network on cores, time and energy
``profile``    ``aimc-sim profile``: time of a forward, part by part
``learn``      ``aimc-sim learn``: training in the arrays, pulse by pulse
``sweep``      ``aimc-sim sweep`` runs a study, ``aimc-sim merge`` joins folders of results
``attribute``  ``aimc-sim attribute``: cost of every effect and layer
``report``     ``aimc-sim report``: one HTML page about a folder of results
``optimise``   ``aimc-sim optimise``: designs for accuracy against energy, time and cores
``export``     ``aimc-sim export``: results of a study to MLflow
``examples``   ``aimc-sim examples``: scripts, studies and searches to start from
``info``       ``aimc-sim info``: every parameter with unit and source; the machine
``device``     ``aimc-sim device``: measured devices: check, fit, show; also ``device_import``,
               ``device_simulate``
=============  ==============================================================================

torch, pandas and matplotlib load inside the functions that need them: ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from . import (
    attribute,
    device,
    device_import,
    device_simulate,
    examples,
    export,
    info,
    learn,
    optimise,
    options,
    place,
    profile,
    report,
    run,
    sweep,
)
from .errors import BadInput, Interrupted
from .output import complain, say, show_warnings_in_a_line

__all__ = ["app", "main"]

LONGEST = 1000
"""Characters of a complaint."""

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141
"""Exit codes; after Ctrl-C and without a reader of the output as shells have them."""

_LEFT = (
    "something that was loaded ended the process (code {!r}) before the command was done; look for "
    "sys.exit in your own file"
)

# The base of typer's own complaints (unknown option, missing value) has no public name that is
# the same in all versions.
_UsageError: Any = next(
    c for c in reversed(typer.BadParameter.__mro__) if hasattr(c, "format_message")
)

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Simulation of a trained torch network on a 64-core phase-change-memory computing chip.",
    epilog="Example: `aimc-sim run`: ResNet-32 on handwritten digits, from now to "
    "a year after programming.",
)
app.command("run", cls=options.Command, epilog=run.EXAMPLES)(run.run)
app.command("map", cls=options.Command, epilog=place.MAP_EXAMPLES)(place.map_)
app.command("perf", cls=options.Command, epilog=place.PERF_EXAMPLES)(place.perf)
app.command("profile", cls=options.Command, epilog=profile.EXAMPLES)(profile.profile)
app.command("learn", cls=options.Command, epilog=learn.EXAMPLES)(learn.learn)
app.command("sweep", cls=options.Command, epilog=sweep.SWEEP_EXAMPLES)(sweep.sweep)
app.command("merge", cls=options.Command, epilog=sweep.MERGE_EXAMPLES)(sweep.merge)
app.command("attribute", cls=options.Command, epilog=attribute.EXAMPLES)(attribute.attribute)
app.command("optimise", cls=options.Command, epilog=optimise.EXAMPLES)(optimise.optimise)
app.command("report", cls=options.Command, epilog=report.EXAMPLES)(report.report)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("examples", epilog=examples.EXAMPLES)(examples.examples)
app.command("info", cls=options.Command, epilog=info.EXAMPLES)(info.info)
device.app.command("import", epilog=device_import.EXAMPLES)(device_import.import_)
device.app.command("simulate", epilog=device_simulate.EXAMPLES)(device_simulate.simulate)
app.add_typer(device.app, name="device")


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"aimc-sim {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input, 130 interrupted.

    A file or callable of the user's own that ends the process (``sys.exit(0)``) is a failure: the
    command was not carried out.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    told, completing = False, _is_completion(given)
    code: Any = 0
    show_warnings_in_a_line()
    try:
        # `obj` carries the command to the report.
        code = app(given or ["--help"], prog_name="aimc-sim", standalone_mode=False, obj=given)
    except BadInput as error:
        code = _complain(str(error))
    except _UsageError as error:
        code = _complain(error.format_message())
    except Interrupted:
        code, told = INTERRUPTED, True
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of the output went away, as 'head' does
        # What is still in the buffer has nowhere to go, and Python would complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    except MemoryError:
        code = _complain("there is not enough memory for this; make it smaller", FAILED)
    except SystemExit as error:
        code = error.code if completing else _complain(_LEFT.format(error.code), FAILED)
    if code == INTERRUPTED and not told:
        complain("interrupted: no results were written")
    sys.exit(code or 0)


def _is_completion(given: Sequence[str]) -> bool:
    """Return whether a shell asks for completions, or for the script that lets it ask.

    typer answers both and ends the process.
    """
    asked = {"--install-completion", "--show-completion"}
    return "_AIMC_SIM_COMPLETE" in os.environ or bool(asked & {w.partition("=")[0] for w in given})


def _complain(message: str, code: int = 2) -> int:
    line = " ".join(message.split())
    if len(line) > LONGEST:  # an input of thousands of characters is in it
        line = f"{line[: LONGEST - 300]} ... {line[-295:]}"
    complain(f"error: {line}")
    return code
