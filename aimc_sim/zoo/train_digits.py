"""Train ResNet-32 on the digits: ``python -m aimc_sim.zoo.train_digits --out PATH``.

Writes the weights (float16) to PATH and a record of the training beside it. The test images serve
the printed curve only: the last epoch is kept whatever their accuracy. After each epoch
everything is saved in ``PATH.checkpoint``; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.zoo.datasets import DIGITS_MEAN, DIGITS_STD, ImageSet, digits
from aimc_sim.zoo.resnet import resnet32
from aimc_sim.zoo.training import (
    EpochRow,
    accuracy,
    checkpoint_of,
    epoch_generator,
    half,
    one_cycle,
    reset,
    run_epochs,
    save,
    set_rate,
    write_record,
)

BATCH = 64
PEAK_RATE = 0.1
MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4
_WARM_UP_EPOCHS = 3
_MAX_BYTES = 2_000_000

# Limits of the random changes to a training image, uniform in +- the value.
_SHIFT = 3 / 16  # of half the width: 3 of 32 pixels
_ZOOM = 0.1
_TURN = math.radians(10)
_NOISE = 0.1  # standard deviation, in units of the pixels' own


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the weights (.pt)")
    parser.add_argument("--epochs", type=int, default=60, help="at least 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs {options.epochs}: wanted at least 1")
    torch.set_num_threads(options.threads)
    network, curve = train(options.out, options.epochs, options.seed)
    export(network, options.out, options.epochs, options.seed, curve)


def train(out: Path, epochs: int, seed: int) -> tuple[nn.Module, list[EpochRow]]:
    """Return the network after the last epoch, and one row an epoch."""
    train_set, test_set = digits("train"), digits("test")
    network = resnet32()
    reset(network, seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=PEAK_RATE,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=_WEIGHT_DECAY,
    )
    run = {"epochs": epochs, "seed": seed}

    def one_epoch(epoch: int) -> EpochRow:
        loss = _one_epoch(network, optimizer, train_set, epoch, run)
        scores = {"train": accuracy(network, train_set), "test": accuracy(network, test_set)}
        return {"loss": round(loss, 4), **scores}

    curve = run_epochs(one_epoch, network, optimizer, run, checkpoint_of(out))
    return network.eval(), curve


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, zoom, turn and roughen each image at random; background comes into view.

    Parameters
    ----------
    images : (N, C, H, W) float32 tensor
        Normalised images, dimensionless.
    generator : torch.Generator
        Source of the draws.

    Returns
    -------
    (N, C, H, W) float32 tensor
        Changed images.
    """

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=generator) - 1) * limit

    turn, zoom = uniform(_TURN), 1 + uniform(_ZOOM)
    cos, sin = zoom * torch.cos(turn), zoom * torch.sin(turn)
    rows = [
        torch.stack([cos, -sin, uniform(_SHIFT)], 1),
        torch.stack([sin, cos, uniform(_SHIFT)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    background = (0 - DIGITS_MEAN) / DIGITS_STD
    moved = F.grid_sample(images - background, grid, align_corners=False) + background
    return moved + _NOISE * torch.randn(moved.shape, generator=generator)


def learning_rate(progress: float, epochs: int) -> float:
    """Linear warm-up, then half a cosine down to zero; ``progress`` counts epochs."""
    return one_cycle(progress, epochs, PEAK_RATE, min(_WARM_UP_EPOCHS, epochs / 4))


def export(network: nn.Module, out: Path, epochs: int, seed: int, curve: list[EpochRow]) -> None:
    """Round to float16, write the weights and the record, remove the checkpoint."""
    save(half(network.state_dict()), out)
    if out.stat().st_size > _MAX_BYTES:
        raise ValueError(f"'{out}' has {out.stat().st_size} bytes, wanted at most {_MAX_BYTES}")
    rounded = accuracy(resnet32(weights=out), digits("test"))
    record = {
        "command": f"python -m aimc_sim.zoo.train_digits --out {out.name} "
        f"--epochs {epochs} --seed {seed}",
        "seed": seed,
        "epochs": epochs,
        "torch": torch.__version__,
        "test_accuracy": rounded,
        "test_images": len(digits("test")),
    }
    write_record(record, curve, out)
    checkpoint_of(out).unlink(missing_ok=True)
    print(f"{out.name}: {out.stat().st_size} bytes, test accuracy of the rounded weights {rounded}")


def _one_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageSet,
    epoch: int,
    run: dict[str, int],
) -> float:
    """Return the mean loss; all randomness follows from the seed and the epoch alone."""
    generator = epoch_generator(run["seed"], epoch)
    batches = torch.split(torch.randperm(len(images), generator=generator), BATCH)
    network.train()
    total = 0.0
    for step, chosen in enumerate(batches):
        set_rate(optimizer, learning_rate(epoch + (step + 1) / len(batches), run["epochs"]))
        scores = network(augment(images.images[chosen], generator))
        loss = F.cross_entropy(scores, images.labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(images)


if __name__ == "__main__":
    main()
