"""MNIST learned on pairs of phase-change devices by mixed precision, and kept for 1e6 seconds.

    python validation/learning/mnist_mixed_precision.py --data-dir DIR [--work DIR] [--epochs 10]

784-250-10 with sigmoids and biases (198,760 weights, 397,520 devices), squared error, one image at
a time, a rate of 0.4 that is halved every three epochs; accumulated gradients give pulses of
``presets.pcm_nandakumar_2018()``, pairs are checked every 100 images. Beside it: float in torch,
and pulses that are all equal. After training the arrays become a chip, which drifts.

Every run is a state in the work folder after each 20,000 images, and goes on from there.
Runs (``--only``): float, ideal, pcm, which have one random order of images.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write
from mnist_perceptron import Images, read_mnist

from aimc_sim import learning, presets

HERE = Path(__file__).parent / "mnist_mixed_precision"
SIZES, RATE, HALVED_EVERY, EPOCHS, SEED = (784, 250, 10), 0.4, 3, 10, 0
KEPT_EVERY = 20_000
"""Images between two states on disk; a divisor of an epoch."""
SECONDS_PER_IMAGE = 1.0
"""Assumption: in the microseconds of the cores the law of drift, measured from seconds on, would be
extrapolated, to twice the conductance."""
RUNS = ("float", "ideal", "pcm")
TIMES = (1.0, 1e2, 1e4, 1e6)
"""Seconds after the last image."""


def network() -> nn.Sequential:
    """Return the untrained perceptron, with weights as of random pairs of devices.

    Smaller ones do not do: units that are alike reach their pulses in one and the same step.
    """
    torch.manual_seed(SEED)
    model = nn.Sequential(
        nn.Linear(784, 250), nn.Sigmoid(), nn.Linear(250, 10), nn.Sigmoid()
    )  # fmt: skip
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=math.sqrt(2) * 0.83 / 8)
    return model


def machine(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the network of a run and its optimiser."""
    if name == "float":
        model: nn.Module = network()
        return model, torch.optim.SGD(model.parameters(), lr=RATE)
    spec = presets.hermes("odp")
    about = {
        "bias": "array", "weight_range": 1.0, "seed": SEED,
        "clock": learning.Clock(seconds_per_step=SECONDS_PER_IMAGE),
    }  # fmt: skip
    device = learning.IdealDevice() if name == "ideal" else learning.PcmPairs()
    net = learning.prepare(network(), spec, learning.MixedPrecision(), device=device, **about)
    return net, learning.SGD(net.parameters(), lr=RATE)


def accuracy(net: nn.Module, test: Images) -> float:
    """Return the accuracy on the test images (%)."""
    net.eval()
    with torch.no_grad():
        right = sum(
            int((net(x).argmax(1) == y).sum())
            for x, y in zip(test.images.split(500), test.labels.split(500), strict=True)
        )
    net.train()
    return 100 * right / len(test.labels)


def images(net, optimiser, data: Images, order: torch.Tensor) -> None:
    """Train on images one at a time."""
    wanted = torch.eye(10)
    for i in order.tolist():
        optimiser.zero_grad()
        y = net(data.images[i : i + 1])
        (0.5 * (y - wanted[data.labels[i]]).square().sum()).backward()
        optimiser.step()


def trained(
    name: str, train: Images, test: Images, epochs: int, kept: Path, limit: int | None = None
) -> tuple[nn.Module, dict]:
    """Train a run, or go on with it; return the network and its record."""
    net, optimiser = machine(name)
    path, record = kept / f"{name}.pt", {"curve": [], "pulses": [], "images": 0, "seconds": 0.0}
    if path.exists():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        record = json.loads(state["record"])
    size = len(train.labels)
    total = epochs * size if limit is None else limit
    while record["images"] < total:
        epoch, place = divmod(record["images"], size)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(epoch))
        for group in optimiser.param_groups:
            group["lr"] = RATE / 2 ** (epoch // HALVED_EVERY)
        start = time.process_time()
        step = min(KEPT_EVERY, total - record["images"])
        images(net, optimiser, train, order[place : place + step])
        record["seconds"] += time.process_time() - start
        record["images"] += step
        record["pulses"].append(pulses(net))
        if record["images"] % size == 0:
            record["curve"].append(accuracy(net, test))
        print(name, record["images"], record["curve"][-1:], pulses(net), record["seconds"],
              flush=True)  # fmt: skip
        state = {"net": net.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(state | {"record": json.dumps(record)}, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)
    if limit is not None:
        record["curve"] = [accuracy(net, test)]
    return net, record


def pulses(net: nn.Module) -> list[int]:
    """Return pulses and refreshes of all arrays."""
    if not isinstance(net, learning.ArrayNetwork):
        return [0, 0]
    spent = [layer.array.book.spent for _, layer in net.layers()]
    return [sum(one.pulses for one in spent), sum(one.refreshed for one in spent)]


def aged(net: learning.ArrayNetwork, train: Images, test: Images) -> dict[str, list[float]]:
    """Return the accuracies (%) of the chip at all times, by compensation."""
    chip = net.to_chip().calibrate(train.images[:500])
    found: dict[str, list[float]] = {}
    for method in ("none", "gdc"):
        found[method] = []
        for t in TIMES:
            chip.at(t).compensate(method)
            right = int((chip(test.images).argmax(1) == test.labels).sum())
            found[method].append(100 * right / len(test.labels))
    return found


def short(found: dict, train: Images, test: Images, count: int) -> bool:
    """Write the table of a short training; return whether its rows hold."""
    last = {name: record["curve"][-1] for name, (_, record) in found.items()}
    why = "our float run of the same network, images and rates"
    rows = [
        Row(
            f"accuracy below float, {what}, {count:,} images (points)", 0.0,
            last["float"] - last[name], 2.0, why, "self-consistency", 5.0,
        )
        for name, what in (
            ("pcm", "pulses of phase-change devices"), ("ideal", "all pulses equal"),
        )
    ]  # fmt: skip
    return write(
        HERE / "short", f"MNIST by mixed precision on pairs of devices, {count:,} images",
        f"python validation/learning/mnist_mixed_precision.py --data-dir DIR --images {count}",
        rows, notes(found, aged(found["pcm"][0], train, test), "all images"),
    )  # fmt: skip


def tables(found: dict, train: Images, test: Images, epochs: int) -> bool:
    """Write the table; return whether its rows hold."""
    last = {name: record["curve"][-1] for name, (_, record) in found.items()}
    drift = aged(found["pcm"][0], train, test)
    why = "our float run of the same network, images and rates"
    rows = [
        Row(
            "accuracy below float, pulses of phase-change devices (points)", 0.57,
            last["float"] - last["pcm"], 1.0, f"98.30 % and 97.73 % (second hand); ours: {why}",
            "predicted", 5.0, "Nandakumar 2020",
        ),
        Row(
            "accuracy below float, all pulses equal (points)", 0.0,
            last["float"] - last["ideal"], 0.3, why, "self-consistency", 1.0,
        ),
        Row(
            "accuracy on the hardware's network (%)", 97.73, last["pcm"], 1.0,
            "abstract: array in the loop, ten epochs", "predicted", 95.0, "Nandakumar 2020",
        ),
        Row(
            "accuracy of the model (%)", 97.40, last["pcm"], 1.0,
            "abstract of arXiv:1712.01192: model of the devices", "predicted", 95.0,
            "Nandakumar 2020",
        ),
    ]  # fmt: skip
    return write(
        HERE, f"MNIST by mixed precision on pairs of devices, {epochs} epochs",
        "python validation/learning/mnist_mixed_precision.py --data-dir DIR", rows,
        notes(found, drift),
    )  # fmt: skip


def notes(found: dict, drift: dict[str, list[float]], only: str = "") -> str:
    """Return the tables of epochs and of times."""
    lines = ["| accuracy (%) after epoch | " + " | ".join(found) + " |",
             "|---|" + "---|" * len(found)]  # fmt: skip
    curves = [record["curve"] for _, record in found.values()]
    for epoch, values in enumerate(zip(*curves, strict=True), 1):
        lines.append(
            f"| {only or epoch} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
        )
    lines += ["", "| after training | " + " | ".join(drift) + " |",
              "|---|" + "---|" * len(drift)]  # fmt: skip
    for t, values in zip(TIMES, zip(*drift.values(), strict=True), strict=True):
        lines.append(f"| {t:g} s | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    cost = ", ".join(
        f"{name} {record['seconds'] / 60:.0f} min ({1e3 * record['seconds'] / record['images']:.2f}"
        " ms an image)" for name, (_, record) in found.items()
    )  # fmt: skip
    report = found["pcm"][0].report()
    return (
        f"{SECONDS_PER_IMAGE:g} s an image (assumption: the drift law is measured from seconds "
        f"on). Processor time: {cost}.\n\n" + "\n".join(lines) + f"\n\n```text\n{report}\n```"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("mnist_mixed_precision_work"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, help="a short training, with a table of its own")
    parser.add_argument("--only", choices=RUNS, help="this run alone, no table")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    train, test = (read_mnist(options.data_dir, part) for part in ("train", "test"))
    names = RUNS if options.only is None else (options.only,)
    found = {
        name: trained(name, train, test, options.epochs, options.work, options.images)
        for name in names
    }
    if options.only is not None:
        return
    if options.images is not None:
        sys.exit(not short(found, train, test, options.images))
    sys.exit(not tables(found, train, test, options.epochs))


if __name__ == "__main__":
    main()
