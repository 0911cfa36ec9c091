"""Train the spiking network on the digits: ``python -m aimc_sim.zoo.train_spiking --out PATH``.

Backpropagation through time with the surrogate of the units (Adam; cross entropy of the scores).
Every step adds Gaussian noise to the weights of matrices, ``--noise`` times the largest of each, as
devices will (V. Joshi et al., Nature Communications 11, 2473 (2020)); gradients are those at the
noisy weights. Writes the weights (float16) to PATH and a record beside it; the test images serve
the printed curve only. After each epoch everything is saved in ``PATH.checkpoint``; the same
command goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.zoo.datasets import ImageSet, digits
from aimc_sim.zoo.spiking_digits import SpikingDigits, spiking_digits
from aimc_sim.zoo.train_digits import augment
from aimc_sim.zoo.training import (
    EpochRow,
    accuracy,
    checkpoint_of,
    epoch_generator,
    half,
    one_cycle,
    run_epochs,
    save,
    set_rate,
    write_record,
)

BATCH = 32
PEAK_RATE = 4e-3
_WARM_UP_EPOCHS = 2
_LARGEST_NORM = 1.0


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the weights (.pt)")
    parser.add_argument("--epochs", type=int, default=60, help="at least 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.04, help="share of the largest weight")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs {options.epochs}: wanted at least 1")
    if not 0 <= options.noise < 1:
        parser.error(f"--noise {options.noise}: wanted 0 to below 1")
    torch.set_num_threads(options.threads)
    run = {"epochs": options.epochs, "seed": options.seed, "noise": options.noise}
    network, curve = train(options.out, run)
    export(network, options.out, run, curve)


def train(out: Path, run: dict[str, float]) -> tuple[nn.Module, list[EpochRow]]:
    """Return the network after the last epoch, and one row an epoch.

    Parameters
    ----------
    out : path
        File of the weights; the checkpoint lies beside it.
    run : dict
        Epochs, seed and noise.
    """
    train_set, test_set = digits("train"), digits("test")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(run["seed"]))
        network = SpikingDigits()
    optimizer = torch.optim.Adam(network.parameters(), lr=PEAK_RATE)

    def one_epoch(epoch: int) -> EpochRow:
        loss = _one_epoch(network, optimizer, train_set, epoch, run)
        scores = {"train": accuracy(network, train_set), "test": accuracy(network, test_set)}
        return {"loss": round(loss, 4), **scores}

    curve = run_epochs(one_epoch, network, optimizer, run, checkpoint_of(out))
    return network.eval(), curve


def export(network: nn.Module, out: Path, run: dict[str, float], curve: list[EpochRow]) -> None:
    """Round to float16, write the weights and the record, remove the checkpoint.

    Parameters
    ----------
    network : nn.Module
        Trained.
    out : path
        File of the weights.
    run : dict
        Epochs, seed and noise.
    curve : list of dict
        One row an epoch.
    """
    save(half(network.state_dict()), out)
    rounded = accuracy(spiking_digits(weights=out), digits("test"))
    record = {
        "command": f"python -m aimc_sim.zoo.train_spiking --out {out.name} "
        f"--epochs {run['epochs']:.0f} --seed {run['seed']:.0f} --noise {run['noise']:g}",
        **run,
        "torch": torch.__version__,
        "test_accuracy": rounded,
        "test_images": len(digits("test")),
    }
    write_record(record, curve, out)
    checkpoint_of(out).unlink(missing_ok=True)
    print(f"{out.name}: {out.stat().st_size} bytes, test accuracy of the rounded weights {rounded}")


def _one_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: ImageSet, epoch: int,
    run: dict[str, float],
) -> float:  # fmt: skip
    """Return the mean loss; all randomness follows from the seed and the epoch alone."""
    generator = epoch_generator(int(run["seed"]), epoch)
    batches = torch.split(torch.randperm(len(images), generator=generator), BATCH)
    network.train()
    total = 0.0
    for step, chosen in enumerate(batches):
        progress = epoch + (step + 1) / len(batches)
        warm_up = min(_WARM_UP_EPOCHS, run["epochs"] / 4)
        set_rate(optimizer, one_cycle(progress, run["epochs"], PEAK_RATE, warm_up))
        x = augment(images.images[chosen], generator)
        noisy = _noisy(network, run["noise"], generator)
        scores = torch.func.functional_call(network, noisy, (x,))
        loss = F.cross_entropy(8 * scores, images.labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_NORM)
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(images)


def _noisy(network: nn.Module, noise: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Return parameters with noise on all matrices."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        size = noise * float(parameter.detach().abs().max())
        found[name] = parameter
        if parameter.ndim > 1:
            draw = torch.empty(parameter.shape).normal_(generator=generator)
            found[name] = parameter + size * draw
    return found


if __name__ == "__main__":
    main()
