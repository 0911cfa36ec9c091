"""Parts of all training scripts: epochs that can be broken off, learning rates, the record.

After each epoch everything is saved in ``OUT.checkpoint``; the same command goes on from there.
All randomness of an epoch follows from the seed and the number of the epoch
(:func:`epoch_generator`), so a resumed training gives what an uninterrupted one gives.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aimc_sim import files
from aimc_sim.machine import trials
from aimc_sim.machine.formats import training_precision
from aimc_sim.zoo.datasets import ImageSet

EpochRow = dict[str, float]
"""The record of one epoch: its number, losses, scores, learning rate."""


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the generator of one epoch.

    Parameters
    ----------
    seed : int
        Seed of the training.
    epoch : int
        Number of the epoch, from 0.

    Returns
    -------
    torch.Generator
        The generator at its beginning.
    """
    return torch.Generator().manual_seed(1_000_003 * (seed + 1) + epoch)


def reset(network: nn.Module, seed: int) -> None:
    """Draw new He-normal weights of all convolutions and dense layers from the seed."""
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)


def one_cycle(progress: float, epochs: float, peak: float, warm_up: float) -> float:
    """Return the learning rate: linear up to ``peak``, then half a cosine down to zero.

    Parameters
    ----------
    progress : float
        Epochs done, 0 to ``epochs``; fractions count.
    epochs : float
        Length of the training.
    peak : float
        The largest rate.
    warm_up : float
        Epochs of the rise, below ``epochs``; 0 starts at the peak.

    Returns
    -------
    float
        The learning rate.
    """
    if progress < warm_up:
        return peak * progress / warm_up
    return peak * (1 + math.cos(math.pi * (progress - warm_up) / (epochs - warm_up))) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def accuracy(network: nn.Module, images: ImageSet, batch: int = 128) -> float:
    """Return the share of images (0 to 1) whose largest score is at their label."""
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        right = sum(
            int((network(x).argmax(1) == y).sum())
            for x, y in zip(
                torch.split(images.images, batch), torch.split(images.labels, batch), strict=True
            )
        )
    network.train(was_training)
    return right / len(images)


def run_epochs(
    one_epoch: Callable[[int], EpochRow],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: dict[str, Any],
    checkpoint: Path,
) -> list[EpochRow]:
    """Train to the end, from the checkpoint if there is one.

    Parameters
    ----------
    one_epoch : callable
        Function that trains the epoch of a number (from 0) and returns its record.
    network, optimizer : nn.Module, torch.optim.Optimizer
        Network and optimiser that ``one_epoch`` changes, in place.
    run : dict
        Settings of the training, ``"epochs"`` among them; a checkpoint of another training is
        refused.
    checkpoint : path
        Written after each epoch.

    Returns
    -------
    list of dict
        One row an epoch; ``"seconds"`` is its wall-clock time.

    Raises
    ------
    ValueError
        If the checkpoint belongs to another training.
    """
    curve = _resume(checkpoint, run, network, optimizer)
    for epoch in range(len(curve), run["epochs"]):
        began = time.perf_counter()
        row = {"epoch": epoch + 1, **one_epoch(epoch)}
        row["seconds"] = round(time.perf_counter() - began, 1)
        curve.append(row)
        state = {
            "run": run,
            "curve": curve,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save(state, checkpoint)
        told = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        print(f"epoch {epoch + 1:3d}/{run['epochs']}  {told}", flush=True)
    return curve


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with its floating-point tensors rounded to float16.

    Raises
    ------
    ValueError
        If a value does not fit float16.
    """
    rounded = {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }
    for key, value in rounded.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"'{key}' does not fit float16: train with another --seed")
    return rounded


def write_record(record: dict[str, Any], curve: list[EpochRow], out: Path) -> None:
    """Write the record of a training beside its weights, as JSON with one line an epoch."""
    rows = ",\n    ".join(json.dumps(row) for row in curve)
    text = json.dumps(record, indent=2)[:-2] + f',\n  "curve": [\n    {rows}\n  ]\n}}\n'
    files.write_text(out.with_suffix(".json"), text, "the record of the training")


def checkpoint_of(out: Path) -> Path:
    """Return the path of the checkpoint that belongs to a weight file."""
    return out.with_name(out.name + ".checkpoint")


def save(content: Any, path: Path) -> None:
    """Write under another name first: a break never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, "the checkpoint") as temporary:
        torch.save(content, temporary)


def _resume(
    checkpoint: Path, run: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer
) -> list[EpochRow]:
    if not checkpoint.is_file():
        return []
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if state["run"] != run:
        raise ValueError(
            f"'{checkpoint}' belongs to a training with {state['run']}, this one has {run}: "
            "remove it to start anew"
        )
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    curve: list[EpochRow] = state["curve"]
    return curve


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--precision``, for :func:`chosen_precision`."""
    parser.add_argument(
        "--precision", choices=("auto", "bfloat16", "float32"), default="auto",
        help="of the products; auto: bfloat16 if the processor has instructions for it",
    )  # fmt: skip


def chosen_precision(parser: argparse.ArgumentParser, wanted: str) -> str:
    """Return "bfloat16" or "float32", and print which and why where the machine chooses.

    Ends the program with one line where bfloat16 is wanted and oneDNN refuses it.
    """
    if wanted == "float32":
        return wanted
    found, reason = training_precision()
    if wanted == "auto":
        print(f"training in {found}: {reason}")
        return found
    refusal = trials.lstm_refusal()
    if refusal:
        parser.error(
            f"--precision bfloat16: this machine cannot train in it ({refusal}); use float32"
        )
    return wanted
