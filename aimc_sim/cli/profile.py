"""``aimc-sim profile``: where the time of a forward goes, against what this machine can do."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import files, own
from ..progress import status
from ..zoo import catalogue
from . import inputs, options
from .errors import BadInput, refusing
from .output import say
from .results import results_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..runtime.chip import Chip
    from ..studies.inputs import Data

FILES = ("profile.json",)

MOST_BATCH, MOST_ROUNDS = 4096, 1000

EXAMPLES = """
Examples:

  aimc-sim profile resnet32

  aimc-sim profile resnet32 --batch 1 --threads 1

  aimc-sim profile my_script.py:network --input 784 --preset hermes-odp --out profile
"""


def profile(
    context: typer.Context,
    model: options.NetworkArgument = None,
    model_: options.ModelOption = None,
    weights: options.Weights = None,
    data: options.ShapeData = None,
    data_dir: options.DataFolder = None,
    input_: options.InputShape = None,
    batch: Annotated[int, typer.Option(help="Images of a forward.")] = 128,
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch.  [default: as torch chooses]")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Forwards of each kind that are timed.")] = 5,
    preset: options.Preset = "hermes-tdp",
    set_: options.Set = None,
    out: options.Out = Path("aimc_sim_profile"),
    force: options.Force = False,
) -> None:
    """Show where the time of a forward goes, layer by layer and part by part.

    Parts are the product, the variance of read noise, the fused pass behind the converters, digital
    steps, and Python. Prints milliseconds, bytes moved and the share of this machine's limits (a
    copy, a product in each format), which are measured. Runs the inputs of --data, else digits
    through resnet32 and random numbers through other networks. Writes profile.json.
    """
    cores = os.cpu_count() or 1
    inputs.count("--batch", batch, MOST_BATCH, "times per image settle long before")
    inputs.count("--threads", threads, cores, f"this machine has {cores} processors")
    inputs.count("--rounds", rounds, MOST_ROUNDS)
    name = inputs.model_of(model, model_)
    (spec,) = inputs.specs([preset], inputs.settings(set_ or [])).values()
    with results_folder(out, FILES, force) as scratch:
        with status("placing and programming the network"):
            network = inputs.network(name, weights)
            if data is None and data_dir is None and input_ is None and _reads_digits(name):
                data = "digits"
            given = inputs.data_of(data, data_dir, name, network)
            chip = inputs.chip(network, spec, given)
            shape = inputs.demanded(name, inputs.shape(name, input_, chip, network, given))
            if batch * math.prod(shape) > inputs.MOST_NUMBERS:
                raise BadInput(
                    f"--batch {batch} of images of {math.prod(shape):,} numbers: wanted at most "
                    f"{inputs.MOST_NUMBERS:,} numbers in all; make --batch or --input smaller"
                )
            if given is None:
                images = calibration = _images(chip, network, shape, batch)
            else:
                images, calibration = _repeated(given, batch)
            with refusing(ValueError, TypeError, RuntimeError):
                chip.calibrate(calibration).program(0)
        with status("measuring"):
            import torch

            from ..analysis import profile as parts

            found = parts.profile(chip, network, images, threads or torch.get_num_threads(), rounds)
        request = {
            "command": shlex.join(["aimc-sim", *(context.obj or [])]), "model": own.label(name),
            "preset": preset, "spec_id": spec.id(), "machine": _machine(),
        }  # fmt: skip
        with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
            files.write_json(scratch / FILES[0], {**request, **found.to_dict()})
    say(f"{found.layers()}\n\n{parts.LEGEND}\n\n{own.label(name)} on {preset}, {found}")
    say(f"Written to {out}: {', '.join(FILES)}")


def _reads_digits(name: str) -> bool:
    trained = catalogue.listed(name)
    return trained is not None and trained.data == "digits"


def _repeated(given: Data, batch: int) -> tuple[Tensor, Tensor]:
    """Return a batch of the data's inputs, again from the first if there are fewer."""
    import torch

    n = len(given.images)
    return (
        torch.from_numpy(given.images[[i % n for i in range(batch)]]),
        torch.from_numpy(given.calibration),
    )


def _images(chip: Chip, network: nn.Module, shape: tuple[int, ...], batch: int) -> Tensor:
    """Return random inputs: numbers, or the tokens 0 and 1 where torch takes no others."""
    import torch

    from ..rng import Key
    from ..runtime.sizes import output_pixels

    with refusing(ValueError):
        output_pixels(chip.compiled, shape)
    sizes = list(shape)
    sizes.insert(chip.compiled.axis or 0, batch)
    generator = Key(0).generator()
    numbers = torch.from_numpy(generator.standard_normal(sizes, "float32"))
    try:
        with torch.inference_mode():
            network(numbers)
        return numbers
    except (RuntimeError, IndexError):  # what the dry run could read, but not as numbers
        return torch.from_numpy(generator.integers(2, size=sizes))


def _machine() -> dict[str, str]:
    from ..machine.about import facts

    return {fact.name: fact.value for fact in facts()}
