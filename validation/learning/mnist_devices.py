"""MNIST on arrays of three devices: 784-256-128-10, three epochs, against the same in float.

    python validation/learning/mnist_devices.py --data-dir DIR --work FOLDER [--images 60000]
    python validation/learning/mnist_devices.py --digits --work FOLDER

Resistive memory with soft bounds, lithium electrochemical memory (``presets.reram_sb``,
``presets.ecram``: AIHWKit's devices, one weight of the device to a weight of the network) and
pairs of phase-change devices (``learning.PcmPairs``) learn by AGAD with the constants of AIHWKit's
presets, by mixed precision, and by stochastic pulses. Batches of 10, learning rate 0.1 halved
every epoch, sigmoids, cross-entropy; products are exact, so that the devices alone make the
difference. AGAD has no pairs: the fast array needs devices of both directions.

``--digits`` is the small version: 64-32-10 on the 8 x 8 digits of scikit-learn, 20 epochs at a
learning rate of 0.5 halved every 8, written into ``mnist_devices/digits/``.

DIR holds MNIST's four files. FOLDER keeps the state after every epoch; a run that was stopped goes
on from there, setting by setting (``--only NAME`` runs one of them). Writes ``mnist_devices/``
beside this script. The notes of the table state the cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write
from mnist_perceptron import Images, read_mnist

from aimc_sim import learning, presets
from aimc_sim.learning import AGAD, MixedPrecision, PcmPairs, StepDevices, StochasticPulses
from aimc_sim.zoo.datasets import digits_indices

HERE = Path(__file__).parent / "mnist_devices"
BATCH, SEED = 10, 1


@dataclass(frozen=True)
class Task:
    """A data set's network and schedule."""

    name: str
    sizes: tuple[int, ...]
    epochs: int
    lr: float
    halved_every: int


MNIST = Task("mnist", (784, 256, 128, 10), 3, 0.1, 1)
DIGITS = Task("digits", (64, 32, 10), 20, 0.5, 8)

Made = tuple[nn.Module, torch.optim.Optimizer]


def plain(task: Task) -> nn.Sequential:
    """Return the untrained network; equal weights every time."""
    torch.manual_seed(SEED)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(task.sizes):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def in_float(task: Task) -> Made:
    """Return the network in float."""
    model = plain(task)
    return model, torch.optim.SGD(model.parameters(), task.lr)


def on(device: learning.Device, update: learning.Update) -> Callable[[Task], Made]:
    """Return a function that makes the network on devices."""

    def make(task: Task) -> Made:
        net = learning.prepare(plain(task), presets.ideal(), update, SEED, device=device,
                               weight_range=1.0)  # fmt: skip
        return net, learning.SGD(net.parameters(), task.lr)

    return make


RERAM = StepDevices(presets.reram_sb(subtract_symmetry_point=True), scale=1.0)
ASYMMETRIC = StepDevices(presets.reram_sb(), scale=1.0)
ECRAM = StepDevices(presets.ecram(), scale=1.0)

SETTINGS: dict[str, Callable[[Task], Made]] = {
    "float": in_float,
    "mixed precision, PCM pairs": on(PcmPairs(), MixedPrecision()),
    "mixed precision, ReRamSB": on(ASYMMETRIC, MixedPrecision()),
    "mixed precision, EcRam": on(ECRAM, MixedPrecision()),
    "SGD, ReRamSB": on(ASYMMETRIC, StochasticPulses()),
    "SGD, EcRam": on(ECRAM, StochasticPulses()),
    "AGAD, ReRamSB": on(RERAM, AGAD.preset("reram-sb")),
    "AGAD, EcRam": on(ECRAM, AGAD.preset("ecram")),
}


def read(task: Task, folder: Path | None, part: str) -> Images:
    """Return the images of a task as rows of pixels."""
    if task is MNIST:
        assert folder is not None  # checked with the arguments
        return read_mnist(folder, part)
    bundle = load_digits()
    here = digits_indices(bundle.target, "train" if part == "train" else "test")
    pixels = torch.from_numpy(bundle.data[here] / 16).float()
    return Images(pixels, torch.from_numpy(bundle.target[here]).long())


def accuracy(model: nn.Module, data: Images) -> float:
    """Return the share of right answers in percent."""
    right = 0
    with torch.no_grad():
        for first in range(0, len(data.labels), 500):
            part = slice(first, first + 500)
            right += int((model(data.images[part]).argmax(1) == data.labels[part]).sum())
    return 100 * right / len(data.labels)


def epoch(made: Made, task: Task, data: Images, number: int) -> None:
    """Train for an epoch, in the order of a generator of its own."""
    model, optimiser = made
    for group in optimiser.param_groups:
        group["lr"] = task.lr / 2 ** (number // task.halved_every)
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(number))
    for pick in order.split(BATCH):
        loss = F.cross_entropy(model(data.images[pick]), data.labels[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def train(name: str, task: Task, parts: dict[str, Images], work: Path) -> dict[str, list[float]]:
    """Return accuracies and CPU seconds of the epochs of a setting; goes on in ``work``."""
    size = len(parts["train"].labels)
    stem = work / f"{task.name}_{name.replace(', ', '_').replace(' ', '-')}_{size}"
    book, state = stem.with_suffix(".json"), stem.with_suffix(".pt")
    found = {"accuracy": [], "seconds": []}
    if book.exists():
        found = json.loads(book.read_text())
    if len(found["accuracy"]) == task.epochs:
        return found
    made = SETTINGS[name](task)
    if state.exists():
        made[0].load_state_dict(torch.load(state, weights_only=False))
    for number in range(len(found["accuracy"]), task.epochs):
        begin = time.process_time()
        epoch(made, task, parts["train"], number)
        found["seconds"].append(round(time.process_time() - begin, 1))
        found["accuracy"].append(accuracy(made[0], parts["test"]))
        torch.save(made[0].state_dict(), state)
        book.write_text(json.dumps(found))
        print(name, number + 1, found["accuracy"][-1], found["seconds"][-1], flush=True)
    return found


def rows_of(last: dict[str, float]) -> list[Row]:
    """Return the rows: gaps to float, in points."""
    source = "Rasch et al. 2024, at second hand: near floating point"
    found = []
    for name, value in last.items():
        gap = last["float"] - value
        if name.startswith(("AGAD", "mixed")):
            reference = "Rasch 2024" if name.startswith("AGAD") else "Nandakumar 2020"
            found.append(
                Row(f"{name}: gap to float (points)", 0.0, gap, 1.5, source, "predicted", 5.0,
                    reference)
            )  # fmt: skip
    if "SGD, ReRamSB" in last:
        far = int(last["float"] - last["SGD, ReRamSB"] >= 5)
        found.append(Row("SGD on ReRamSB is at least 5 points below float (1: yes)", 1, far, 0,
                         source, "predicted", 0, "Rasch 2024"))  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--only", choices=SETTINGS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.digits == (options.data_dir is not None):
        parser.error("give either --digits or --data-dir")
    task, folder = (DIGITS, HERE / "digits") if options.digits else (MNIST, HERE)
    parts = {part: read(task, options.data_dir, part) for part in ("train", "test")}
    whole = parts["train"]
    parts["train"] = Images(whole.images[: options.images], whole.labels[: options.images])
    names = [options.only] if options.only else list(SETTINGS)
    found = {name: train(name, task, parts, options.work) for name in names}
    if options.only:
        return
    last = {name: one["accuracy"][-1] for name, one in found.items()}
    table = {
        name: (" / ".join(f"{a:.2f}" for a in one["accuracy"][-3:]), sum(one["seconds"]))
        for name, one in found.items()
    }
    lines = "\n".join(f"| {name} | {a} | {seconds:.0f} |" for name, (a, seconds) in table.items())
    notes = (
        f"{len(parts['train'].labels):,} images, {task.epochs} epochs, one seed. Seconds are "
        "those of one core, of a machine that others used too.\n\n"
        "| setting | test accuracy after the last three epochs (%) | CPU seconds |\n"
        f"|---|---|---|\n{lines}"
    )
    command = "python validation/learning/mnist_devices.py --data-dir DIR --work FOLDER"
    if options.digits:
        command = "python validation/learning/mnist_devices.py --digits --work FOLDER"
    if options.images != 60_000:
        command += f" --images {options.images}"
    title = f"{'Digits' if options.digits else 'MNIST'} on arrays of three devices"
    if not write(folder, title, command,
                 rows_of(last), notes):  # fmt: skip
        raise SystemExit("a row is off that is no prediction")
    print(np.round(list(last.values()), 2))


if __name__ == "__main__":
    main()
