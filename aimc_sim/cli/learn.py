"""``aimc-sim learn``: train in the arrays, pulse by pulse, beside float."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import arguments, files, own
from ..progress import status
from . import inputs, options
from .errors import BadInput, refusing
from .output import say
from .results import results_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..learning.engine import Update

FILES = ("learning.json", "learning.png", "learning.html")
UPDATES = ("mixed-precision", "essop", "exact")
MOST_EPOCHS, MOST_BATCH = 1000, 1297
TIMES = "1,1h,1d,30d,1y"

EXAMPLES = """
Examples:

  aimc-sim learn

  aimc-sim learn --update essop --epochs 3

  aimc-sim learn --model my_script.py:network --rate 0.01 --out trained
"""


def learn(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            show_default=False,
            help=f"{options.OWN} that returns a torch module for images (3, 32, 32).  [default: a "
            "perceptron 64-48-10 on pixels averaged to 8 x 8]",
        ),
    ] = None,
    data: Annotated[str, typer.Option("--data", help="Training and test images: digits.")] = (
        "digits"
    ),
    preset: options.Preset = "hermes-odp",
    set_: options.Set = None,
    update: Annotated[
        str,
        typer.Option(
            help=f"From gradients to pulses: {', '.join(UPDATES)} (the control, on ideal devices)."
        ),
    ] = "mixed-precision",
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 6,
    batch: Annotated[int, typer.Option(help="Images of a step.")] = 8,
    rate: Annotated[float, typer.Option(help="Learning rate, on arrays and in float.")] = 0.03,
    weight_range: Annotated[
        float, typer.Option(help="Weight at the end of the range of the devices.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of weights, devices and batches.")] = 0,
    times: options.Times = TIMES,
    out: options.Out = Path("aimc_sim_learn"),
    force: options.Force = False,
) -> None:
    """Train a network in simulated devices, pulse by pulse, and in float beside it.

    Forward and backward products run on the arrays of the preset with its converters; gradients
    become pulses; afterwards the devices drift as a chip does. Writes learning.json (all numbers),
    learning.png and learning.html (accuracy and pulses by epoch, writes per device, weights,
    accuracy after training).
    """
    inputs.count("--epochs", epochs, MOST_EPOCHS)
    inputs.count("--batch", batch, MOST_BATCH, "there are 1,297 training images")
    with refusing(ValueError, TypeError):
        arguments.choice(data, "--data", ("digits",))
        arguments.choice(update, "--update", UPDATES)
        arguments.seed(seed)
    if not 0 < rate < float("inf"):
        raise BadInput(f"--rate {rate:g}: wanted a number above 0")
    later = inputs.times(times or TIMES)
    (spec,) = inputs.specs([preset], inputs.settings(set_ or [])).values()
    if update == "exact":  # no device can follow it
        from ..presets import ideal_devices

        spec = ideal_devices(spec)
    with results_folder(out, FILES, force) as scratch:
        with status("preparing the arrays"):
            import torch

            from .. import learning
            from ..learning import course

            torch.manual_seed(seed)
            network = perceptron() if model is None else inputs.network(model)
            with refusing(ValueError, TypeError):
                net = learning.prepare(
                    network, spec, _update(update), seed, weight_range=weight_range
                )
            train, test = _digits()
        with status("training"), refusing(ValueError, TypeError, RuntimeError):
            found = course.train(
                network, net, course.TrainingData(*train), course.TrainingData(*test),
                epochs=epochs, batch=batch, rate=rate, seed=seed, times=later, told=say,
            )  # fmt: skip
        command = shlex.join(["aimc-sim", *(context.obj or ["learn"])])
        name = "perceptron" if model is None else own.label(model)
        _write(scratch, found, f"{name} on {preset}, {update}", str(net.report()), command)
    say(str(net.report()))
    say(
        f"\n{name}: {found.accuracy[-1]:.1%} on arrays after {epochs} epochs, "
        f"{found.float_accuracy[-1]:.1%} in float"
    )
    say(f"Written to {out}: {', '.join(FILES)}")


def perceptron() -> nn.Module:
    """Return the untrained perceptron of the example: 64 averaged pixels, 48 units, 10 classes."""
    from ..zoo.small import DigitsPerceptron

    return DigitsPerceptron()


def _update(name: str) -> Update:
    from .. import learning

    made: dict[str, Callable[[], Any]] = {
        "mixed-precision": learning.MixedPrecision, "essop": learning.ESSOP,
        "exact": learning.Exact,
    }  # fmt: skip
    found: Update = made[name]()
    return found


def _digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    from ..zoo.datasets import digits

    train, test = digits("train"), digits("test")
    return (train.images, train.labels), (test.images, test.labels)


def _write(scratch: Path, found: Any, title: str, text: str, command: str) -> None:
    from ..figures.learning import learning as picture
    from ..pages import learning as page

    with refusing(OSError, prefix="the results cannot be written: "):
        files.write_json(
            scratch / FILES[0], {"command": command, "title": title, **found.to_dict()}
        )
        picture(found, title=title, path=scratch / FILES[1])
        page.write(found, scratch / FILES[2], title, text, command)
