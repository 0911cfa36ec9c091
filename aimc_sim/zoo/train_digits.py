"""Train ResNet-32 on the digits: ``python -m aimc_sim.zoo.train_digits --out PATH``.

Writes the weights (float16) to PATH and a record of the training beside it. The test images are
looked at for the printed curve only: the last epoch is kept whatever they say. After each epoch
everything is saved in ``PATH.checkpoint``; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.zoo.datasets import DIGITS_MEAN, DIGITS_STD, ImageSet, digits
from aimc_sim.zoo.resnet import resnet32

BATCH = 64
PEAK_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP_EPOCHS = 3
MAX_BYTES = 2_000_000

# Limits of the random changes to a training image, uniform in +- the value.
SHIFT = 3 / 16  # of half the width: 3 of 32 pixels
ZOOM = 0.1
TURN = math.radians(10)
NOISE = 0.1  # standard deviation, in units of the pixels' own


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


def train(out: Path, epochs: int, seed: int) -> tuple[nn.Module, list[dict[str, float]]]:
    """Return the network after the last epoch, and the accuracy after each."""
    train_set, test_set = digits("train"), digits("test")
    network = resnet32()
    reset(network, seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=PEAK_RATE,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )
    checkpoint = out.with_name(out.name + ".checkpoint")
    run = {"epochs": epochs, "seed": seed}
    curve = _resume(checkpoint, run, network, optimizer)
    for epoch in range(len(curve), epochs):
        began = time.perf_counter()
        loss = _one_epoch(network, optimizer, train_set, epoch, run)
        row = {
            "epoch": epoch + 1,
            "loss": round(loss, 4),
            "train": accuracy(network, train_set),
            "test": accuracy(network, test_set),
        }
        curve.append(row)
        state = {
            "run": run,
            "curve": curve,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        _save(state, checkpoint)
        seconds = time.perf_counter() - began
        print(
            f"epoch {row['epoch']:3d}/{epochs}  loss {loss:.4f}  train {row['train']:.4f}  "
            f"test {row['test']:.4f}  {seconds:.1f} s",
            flush=True,
        )
    return network.eval(), curve


def reset(network: nn.Module, seed: int) -> None:
    """Draw new He-normal weights from the seed."""
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)


def accuracy(network: nn.Module, images: ImageSet) -> float:
    """Return the share of images whose largest score is at their label."""
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        right = sum(
            int((network(x).argmax(1) == y).sum())
            for x, y in zip(images.images.split(128), images.labels.split(128), strict=True)
        )
    network.train(was_training)
    return right / len(images)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, zoom, turn and roughen each image at random; what comes into view is background."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=generator) - 1) * limit

    turn, zoom = uniform(TURN), 1 + uniform(ZOOM)
    cos, sin = zoom * torch.cos(turn), zoom * torch.sin(turn)
    rows = [torch.stack([cos, -sin, uniform(SHIFT)], 1), torch.stack([sin, cos, uniform(SHIFT)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    background = (0 - DIGITS_MEAN) / DIGITS_STD
    moved = F.grid_sample(images - background, grid, align_corners=False) + background
    return moved + NOISE * torch.randn(moved.shape, generator=generator)


def learning_rate(progress: float, epochs: int) -> float:
    """Linear warm-up, then half a cosine down to zero; ``progress`` counts epochs."""
    warm_up = min(WARM_UP_EPOCHS, epochs / 4)
    if progress < warm_up:
        return PEAK_RATE * progress / warm_up
    return PEAK_RATE * (1 + math.cos(math.pi * (progress - warm_up) / (epochs - warm_up))) / 2


def export(
    network: nn.Module, out: Path, epochs: int, seed: int, curve: list[dict[str, float]]
) -> None:
    """Round to float16, write the weights and the record, remove the checkpoint."""
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"'{key}' does not fit float16: train with another --seed")
    _save(state, out)
    if out.stat().st_size > MAX_BYTES:
        raise ValueError(f"'{out}' has {out.stat().st_size} bytes, wanted at most {MAX_BYTES}")
    rounded = accuracy(resnet32(weights=out), digits("test"))
    record = {
        "command": f"python -m aimc_sim.zoo.train_digits --out {out.name} "
        f"--epochs {epochs} --seed {seed}",
        "seed": seed,
        "epochs": epochs,
        "torch": torch.__version__,
        "test_accuracy": rounded,
        "test_images": len(digits("test")),
        "curve": curve,
    }
    rows = ",\n    ".join(json.dumps(row) for row in record.pop("curve"))
    text = json.dumps(record, indent=2)[:-2] + f',\n  "curve": [\n    {rows}\n  ]\n}}\n'
    out.with_suffix(".json").write_text(text, encoding="utf-8")
    out.with_name(out.name + ".checkpoint").unlink(missing_ok=True)
    print(f"{out.name}: {out.stat().st_size} bytes, test accuracy of the rounded weights {rounded}")


def _one_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageSet,
    epoch: int,
    run: dict[str, int],
) -> float:
    """Return the mean loss; all randomness follows from the seed and the epoch alone."""
    generator = torch.Generator().manual_seed(1_000_003 * (run["seed"] + 1) + epoch)
    batches = torch.randperm(len(images), generator=generator).split(BATCH)
    network.train()
    total = 0.0
    for step, chosen in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch + (step + 1) / len(batches), run["epochs"])
        scores = network(augment(images.images[chosen], generator))
        loss = F.cross_entropy(scores, images.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(images)


def _resume(
    checkpoint: Path, run: dict[str, int], network: nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict[str, float]]:
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
    return state["curve"]


def _save(content: Any, path: Path) -> None:
    """Write under another name first: a break never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)


if __name__ == "__main__":
    main()
