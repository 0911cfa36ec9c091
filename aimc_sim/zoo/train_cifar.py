"""Train a CIFAR-10 network: ``python -m aimc_sim.zoo.train_cifar --model resnet32 --data DIR ...``.

Writes the weights to ``--out`` and a record of the training beside it. The test images serve the
curve only: the last epoch is kept whatever their accuracy. After each epoch everything is saved in
``OUT.checkpoint``; the same command goes on from there.

``--hardware-aware FLOAT.pt`` fine-tunes trained float weights for a chip instead (see
:mod:`aimc_sim.zoo.aware`): the curve then shows the accuracy with converters and without noise,
and plain weights are written, clipped.

Two schedules: ``short`` (a few dozen epochs, rising then falling rate; the only one of ``vit``,
which is trained by AdamW) and ``paper``, the chip
paper's 300 epochs (SGD, rate 0.05 on a cosine, batch 128, random crops, 4 x 4 Cutout; its weight
decay is not printed, ours is).

Speed: ``--precision bfloat16`` computes convolutions in bfloat16 and keeps weights, batch
statistics and the loss in float32; it is the default on a processor with bfloat16 instructions;
``--compile`` lets torch fuse the rest (needs a C++ compiler). With glibc, the environment
``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000`` keeps freed memory in the process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim.training import finalize
from aimc_sim.zoo.augment import crop_and_flip, cutout
from aimc_sim.zoo.aware import OPTIONS, Aware
from aimc_sim.zoo.datasets import ImageSet, cifar10
from aimc_sim.zoo.paper_resnet import resnet9
from aimc_sim.zoo.resnet import resnet32
from aimc_sim.zoo.training import (
    EpochRow,
    accuracy,
    add_precision,
    checkpoint_of,
    chosen_precision,
    epoch_generator,
    half,
    one_cycle,
    reset,
    run_epochs,
    save,
    set_rate,
    write_record,
)
from aimc_sim.zoo.transformers import redraw, vit

MODELS = {"resnet32": resnet32, "resnet9": resnet9, "vit": vit}
REDRAWN: dict[str, Callable[[Any, int], None]] = {
    "resnet32": reset, "resnet9": reset, "vit": redraw,
}  # fmt: skip
"""Function that draws each network's first weights from a seed."""
_MARGIN = 4
"""Pixels of the random crop, as in K. He et al., CVPR 2016, section 4.2."""
MOMENTUM = 0.9
HALF_COST = 0.001
"""Accuracy that rounding the weights to float16 may cost; if more, float32 is written."""


@dataclass(frozen=True)
class CifarRecipe:
    """The settings of a training, besides the network and the seed.

    Attributes
    ----------
    epochs, batch : int
        Number of epochs, and of images in a step.
    rate : float
        Peak learning rate.
    warm_up : float
        Epochs of linear rise before the cosine.
    weight_decay : float
        Decay of convolution and dense weights; normalisation and biases have none.
    label_smoothing : float
        Share of the target that all classes divide, 0 to 1.
    cutout : int
        Side of the blanked square, pixels; 0 for none.
    precision : {"bfloat16", "float32"}
        Number format of the convolutions in training; evaluation at the end is float32.
    optimizer : {"sgd", "adamw"}
        SGD with Nesterov momentum 0.9, or Adam with decoupled decay and torch's other settings.
    """

    epochs: int
    batch: int = 128
    rate: float = 0.2
    warm_up: float = 5.0
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    cutout: int = 0
    precision: str = "float32"
    optimizer: str = "sgd"


_TRANSFORMER = CifarRecipe(
    epochs=30, rate=1e-3, warm_up=2, weight_decay=0.05, label_smoothing=0.1, optimizer="adamw"
)

SCHEDULES = {
    ("resnet32", "short"): CifarRecipe(epochs=40),
    ("resnet32", "paper"): CifarRecipe(epochs=300, rate=0.05, warm_up=0, cutout=4),
    ("resnet9", "short"): CifarRecipe(epochs=16, warm_up=1.5, cutout=4, label_smoothing=0.1),
    ("resnet9", "paper"): CifarRecipe(epochs=300, rate=0.05, warm_up=0, cutout=4),
    ("vit", "short"): _TRANSFORMER,
}
"""Recipe of each network and schedule; the transformer is of no chip's paper."""

_AWARE = {
    "short": CifarRecipe(epochs=8, rate=0.02, warm_up=0.5),
    "paper": CifarRecipe(epochs=200, rate=0.05, warm_up=0, cutout=4),
}
AWARE = {
    **{(model, name): recipe for model in ("resnet32", "resnet9")
       for name, recipe in _AWARE.items()},
    ("vit", "short"): replace(_TRANSFORMER, epochs=4, rate=1e-4, warm_up=0.5),
}  # fmt: skip
"""Recipe of the hardware-aware phase; the paper's 200 epochs follow its 300 float ones."""


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--out", type=Path, required=True, help="file of the weights (.pt)")
    parser.add_argument("--schedule", choices=("short", "paper"), default="short")
    parser.add_argument("--epochs", type=int, help="at least 1; default: of the schedule")
    parser.add_argument("--seed", type=int, default=1)
    add_precision(parser)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--compile", action="store_true", help="fuse operations (torch.compile)")
    parser.add_argument("--take", type=int, help="only the first images, for a trial")
    parser.add_argument("--hardware-aware", type=Path, metavar="FLOAT", help="weights to fine-tune")
    parser.add_argument("--chip", default="hermes-tdp", help="preset for --hardware-aware")
    options = parser.parse_args()
    chosen = options.model, options.schedule
    if chosen not in SCHEDULES:
        parser.error(f"--schedule {options.schedule}: {options.model} has only --schedule short")
    recipe, aware = SCHEDULES[chosen], None
    if options.hardware_aware is not None:
        recipe, effects = AWARE[chosen], OPTIONS["cifar", options.schedule]
        aware = Aware(options.hardware_aware, options.chip, effects, adc_bits=8)
        if options.compile:
            parser.error("--compile: noisy layers are not compiled; leave it out here")
    recipe = replace(recipe, precision=chosen_precision(parser, options.precision))
    if options.epochs is not None:
        if options.epochs < 1:
            parser.error(f"--epochs {options.epochs}: wanted at least 1")
        warm_up = min(recipe.warm_up, options.epochs / 4)
        recipe = replace(recipe, epochs=options.epochs, warm_up=warm_up)
    torch.set_num_threads(options.threads)
    train_set, test_set = (cifar10(options.data, part, options.take) for part in ("train", "test"))
    network, curve = train(
        options.model, recipe, options.seed, train_set, test_set, options.out, options.compile,
        aware,
    )  # fmt: skip
    command = (
        f"python -m aimc_sim.zoo.train_cifar --model {options.model} --data DIR --out "
        f"{options.out.name} --schedule {options.schedule} --epochs {recipe.epochs} "
        f"--seed {options.seed} --precision {recipe.precision} --threads {options.threads}"
        + (" --compile" if options.compile else "")
        + (f" --take {options.take}" if options.take else "")
        + (f" --hardware-aware {aware.start.name} --chip {aware.preset}" if aware else "")
    )
    run = {"command": command, "seed": options.seed, **asdict(recipe)}
    run |= aware.told() if aware else {}
    export(network, options.model, run, curve, test_set, options.out)


def _in_format(network: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Bring the weights of a network into a memory format, in place."""
    # Any: torch's types have no overload for the memory format alone.
    found: nn.Module = cast(Any, network).to(memory_format=memory_format)
    return found


def train(
    model: str,
    recipe: CifarRecipe,
    seed: int,
    train_set: ImageSet,
    test_set: ImageSet,
    out: Path,
    compiled: bool = False,
    aware: Aware | None = None,
) -> tuple[nn.Module, list[EpochRow]]:
    """Return the network after the last epoch (evaluation mode), and one row an epoch.

    Parameters
    ----------
    model : str
        A key of :data:`MODELS`.
    recipe : CifarRecipe
        Settings of the training.
    seed : int
        Seed of the first weights, the order and the changes of the images.
    train_set, test_set : ImageSet
        Images; the test set is for the curve only.
    out : path
        File of the weights; the checkpoint is ``OUT.checkpoint``.
    compiled : bool
        Whether torch compiles the training step.
    aware : Aware, optional
        Phase that fine-tunes float weights for a chip; its noise has the seed as well.

    Raises
    ------
    ValueError
        If there are fewer training images than one batch has, or the checkpoint belongs to
        another training.
    """
    if len(train_set) < recipe.batch:
        raise ValueError(
            f"{len(train_set)} training images of '{train_set.name}': wanted at least one batch "
            f"of {recipe.batch}; give more images"
        )
    network = MODELS[model](len(train_set.classes), aware.start if aware else None)
    if aware is None:
        REDRAWN[model](network, seed)
    _in_format(network, torch.channels_last)
    if aware is not None:
        network = aware.prepared(network, seed)
    forward = cast(nn.Module, torch.compile(network)) if compiled else network
    optimizer = _optimizer(network, recipe)

    def one_epoch(epoch: int) -> EpochRow:
        loss = _one_epoch(forward, optimizer, train_set, recipe, epoch, seed)
        with _autocast(recipe):
            return {"loss": round(loss, 4), "test": accuracy(network, test_set)}

    run = {"model": model, "seed": seed, "images": len(train_set), **asdict(recipe)}
    run |= aware.told() if aware else {}
    curve = run_epochs(one_epoch, network, optimizer, run, checkpoint_of(out))
    return (finalize(network) if aware else network).eval(), curve


def export(
    network: nn.Module,
    model: str,
    run: dict[str, Any],
    curve: list[EpochRow],
    test_set: ImageSet,
    out: Path,
) -> None:
    """Write the weights, in float16 unless that costs accuracy, and the record; tidy up.

    Parameters
    ----------
    network : module
        After the last epoch.
    model : str
        A key of :data:`MODELS`.
    run : dict
        The command, the seed and the recipe, for the record.
    curve : list of dict
        One row an epoch.
    test_set : ImageSet
        On which float32 and float16 weights are compared, computing in float32.
    out : path
        File of the weights; the record gets the suffix ``.json``.
    """
    full = _in_format(network, torch.contiguous_format).state_dict()
    save(full, out)
    scores = {"float32": accuracy(MODELS[model](len(test_set.classes), out), test_set)}
    save(half(full), out)
    scores["float16"] = accuracy(MODELS[model](len(test_set.classes), out), test_set)
    kept = "float16" if scores["float16"] >= scores["float32"] - HALF_COST else "float32"
    if kept == "float32":
        save(full, out)
    record = {
        **run,
        **({"momentum": MOMENTUM} if run.get("optimizer", "sgd") == "sgd" else {}),
        "crop_margin": _MARGIN,
        "torch": torch.__version__,
        "stored_as": kept,
        "test_accuracy": scores[kept],
        "test_accuracy_float32": scores["float32"],
        "test_images": len(test_set),
        "seconds": round(sum(row["seconds"] for row in curve), 1),
    }
    write_record(record, curve, out)
    checkpoint_of(out).unlink(missing_ok=True)
    print(f"{out.name}: {out.stat().st_size} bytes, {kept}, test accuracy {scores[kept]}")


def _optimizer(network: nn.Module, recipe: CifarRecipe) -> torch.optim.Optimizer:
    """Weight decay acts on weights alone, as is usual where a normalisation follows."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=MOMENTUM, nesterov=True)


def _one_epoch(
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageSet,
    recipe: CifarRecipe,
    epoch: int,
    seed: int,
) -> float:
    """Return the mean loss; a last batch that is not full waits for another epoch's order."""
    generator = epoch_generator(seed, epoch)
    order = torch.randperm(len(images), generator=generator)
    batches = torch.split(order[: len(order) // recipe.batch * recipe.batch], recipe.batch)
    forward.train()
    total = 0.0
    for step, chosen in enumerate(batches):
        progress = epoch + (step + 1) / len(batches)
        set_rate(optimizer, one_cycle(progress, recipe.epochs, recipe.rate, recipe.warm_up))
        x = crop_and_flip(images.images[chosen], _MARGIN, generator)
        x = cutout(x, recipe.cutout, generator)
        with _autocast(recipe):
            scores = forward(x)
        loss = F.cross_entropy(
            scores.float(), images.labels[chosen], label_smoothing=recipe.label_smoothing
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item()
    return total / len(batches)


def _autocast(recipe: CifarRecipe) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16")


if __name__ == "__main__":
    main()
