"""ESSOP: outer products from random bits, against closed forms, and a ResNet trained by them.

    python validation/learning/essop.py --data-dir DIR [--work FOLDER] [--rounds N N]

(i) Mean and standard deviation of the estimate of ``p q`` for random numbers of 1 to 16 bits and
1 to 64 slots. (ii) A ResNet-8 (three stages of one block, width 16) and a CNN of three convolutions
(16-32-32) on the first 10,000 images of CIFAR-10: in float, and with the weight gradients of all
layers made from 1, 4 and 16 slots of 8-bit numbers, all by one schedule. DIR holds
``cifar-10-batches-py``. The settings take turns, epoch by epoch; FOLDER keeps the state after each,
and a run that was stopped goes on from there. ``--rounds`` ends both networks after so many epochs
of their schedules.

The paper (arXiv:2003.11256) trained a ResNet-32; of its results only the abstract was read:
"baseline comparable". Depth, images and epochs are fewer here (16 minutes of one core).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write

from aimc_sim import zoo
from aimc_sim.learning.digital import with_product
from aimc_sim.learning.products import StochasticProduct
from aimc_sim.rng import Key
from aimc_sim.zoo.resnet import BasicBlock
from aimc_sim.zoo.training import accuracy, epoch_generator, one_cycle, reset, set_rate

HERE = Path(__file__).parent / "essop"
IMAGES, BATCH, PEAK, WARM_UP, SEED = 10_000, 128, 0.1, 1.0, 1
EPOCHS = {"ResNet-8": 3, "CNN": 4}
SETTINGS = {"float": None, "L = 1": 1, "L = 4": 4, "L = 16": 16}
EARLY, SAMPLES = 2_000, 20_000
"""Test images after an epoch; samples of an estimate."""
NOTE = (
    "Accuracy on test images of networks trained on 10,000 images in batches of 128, SGD with "
    "momentum 0.9, rate 0.1 on one cycle with one epoch of rise, no augmentation, one seed; ESSOP "
    "with 8-bit numbers and a power of two for every vector."
)


class ResNet8(nn.Module):
    """Three stages of one residual block each: seven convolutions and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stages = nn.Sequential(
            BasicBlock(16, 16, 1), BasicBlock(16, 32, 2), BasicBlock(32, 64, 2)
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        y = self.stages(F.relu(self.bn1(self.conv1(x))))
        scores: Tensor = self.linear(y.mean((2, 3)))
        return scores


class CNN(nn.Sequential):
    """Three convolutions with batch normalisation, 16, 32 and 32 channels, and a dense layer."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, channels in itertools.pairwise((3, 16, 32, 32)):
            layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False),
                       nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]  # fmt: skip
        super().__init__(*layers, nn.Flatten(), nn.Linear(32 * 16, 10))


def network(kind: str, slots: int | None) -> nn.Module:
    """Return an untrained network; the first weights are those of all settings."""
    found: nn.Module = ResNet8() if kind == "ResNet-8" else CNN()
    reset(found, SEED)
    for one in found.modules():
        if isinstance(one, nn.Linear):
            nn.init.zeros_(one.bias)
    if slots is not None:
        found = with_product(found, StochasticProduct(bits=8, length=slots), SEED)
    return found.to(memory_format=torch.channels_last)


def train(kind: str, data_dir: Path, work: Path, rounds: int) -> dict[str, list[dict]]:
    """Return one row an epoch of every setting; epochs that were done before are read."""
    work.mkdir(parents=True, exist_ok=True)
    train_set = zoo.cifar10(data_dir, "train", IMAGES)
    tested = zoo.cifar10(data_dir, "test", EARLY)
    curves: dict[str, list[dict]] = {}
    for epoch in range(rounds):
        for name, slots in SETTINGS.items():
            model, kept = network(kind, slots), kept_in(work, name)
            optimiser = torch.optim.SGD(model.parameters(), PEAK, momentum=0.9, weight_decay=1e-4)
            curve: list[dict] = []
            if kept.exists():
                state = torch.load(kept, weights_only=True)
                model.load_state_dict(state["network"])
                optimiser.load_state_dict(state["optimiser"])
                curve = state["curve"]
            if len(curve) <= epoch:
                curve.append(one_epoch(model, optimiser, epoch, EPOCHS[kind], train_set, tested))
                state = {
                    "network": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "curve": curve,
                }
                torch.save(state, kept.with_suffix(".new"))
                kept.with_suffix(".new").replace(kept)
                print(kind, name, curve[-1], flush=True)
            curves[name] = curve
    return curves


def kept_in(work: Path, name: str) -> Path:
    """Return the file of a setting's state."""
    return work / f"{name.replace(' ', '')}.pt"


def final(kind: str, data_dir: Path, work: Path) -> dict[str, float]:
    """Return the accuracies (%) of the states that are kept, on all test images."""
    found, test_set = {}, zoo.cifar10(data_dir, "test")
    for name, slots in SETTINGS.items():
        model = network(kind, slots)
        model.load_state_dict(torch.load(kept_in(work, name), weights_only=True)["network"])
        found[name] = round(100 * accuracy(model, test_set), 2)
    return found


def one_epoch(model, optimiser, epoch: int, epochs: int, train_set, test_set) -> dict:
    """Train for an epoch; return loss, accuracy on the test images (%) and processor time (s)."""
    began, losses = time.process_time(), []
    model.train()
    order = torch.randperm(IMAGES, generator=epoch_generator(SEED, epoch))
    picks = order[: IMAGES // BATCH * BATCH].split(BATCH)
    for i, pick in enumerate(picks):
        set_rate(optimiser, one_cycle(epoch + (i + 1) / len(picks), epochs, PEAK, WARM_UP))
        x = train_set.images[pick].contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(x), train_set.labels[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    seconds = time.process_time() - began
    return {
        "epoch": epoch + 1,
        "loss": round(float(np.mean(losses)), 4),
        "accuracy": round(100 * accuracy(model, test_set), 2),
        "seconds": round(seconds, 1),
    }


def moments() -> list[Row]:
    """Return rows of mean (p = q = 0.7) by bits and standard deviation (0.6, 0.3) by slots."""
    rows = []
    for bits in (1, 2, 3, 4, 6, 8, 12, 16):
        product, level = StochasticProduct(bits, 64), np.floor(0.7 * 2**bits) / 2**bits
        found = samples(product, 0.7, 0.7, SAMPLES // 4)
        error = np.sqrt(level**2 * (1 - level**2) / 64 / len(found))
        # The mean of one bit fewer or more, whichever is nearer and differs.
        others = [(np.floor(0.7 * 2**b) / 2**b) ** 2 for b in (bits - 1, bits + 1)]
        wrong = [one for one in others if abs(one - level**2) > 5 * error]
        rows.append(
            Row(
                f"mean of the estimate, p = q = 0.7, {bits} bits", level**2, found.mean(),
                5 * error,
                "floor(p 2^b)^2 / 4^b, DERIVED; 5 standard errors; rejects "
                + ("another number of bits" if wrong else "u = v"),
                "self-consistency", min(wrong, key=lambda one: abs(one - level**2), default=0.7),
            )
        )  # fmt: skip
    for slots in (1, 2, 4, 8, 16, 32, 64):
        found = samples(StochasticProduct(16, slots), 0.6, 0.3, SAMPLES)
        wanted = np.sqrt(0.18 * 0.82 / slots)
        rows.append(
            Row(
                f"standard deviation, p = 0.6, q = 0.3, {slots} slots", wanted, found.std(),
                0.04 * wanted, "sqrt(p q (1 - p q) / L), DERIVED; 20,000 samples; rejects u = v",
                "self-consistency", np.sqrt(0.3 * 0.7 / slots),
            )
        )  # fmt: skip
    return rows


def samples(product: StochasticProduct, p: float, q: float, n: int) -> np.ndarray:
    """Return estimates of p q; a 1 on either side makes the common power of two 1."""
    x, d = np.array([[p, 1]], np.float32), np.array([[q, 1]], np.float32)
    return np.array([product.sum(x, d, Key(SEED), i)[0, 0] for i in range(n)], float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("essop_work"), help="states of trainings")
    parser.add_argument(
        "--rounds", type=int, nargs=2, default=list(EPOCHS.values()), metavar="N",
        help="epochs of the ResNet and of the CNN; default: all of their schedules",
    )  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, notes, curves = moments(), [NOTE], {}
    for (kind, epochs), rounds in zip(EPOCHS.items(), options.rounds, strict=True):
        work = options.work / kind
        curves[kind] = train(kind, options.data_dir, work, rounds)
        best = final(kind, options.data_dir, work)
        rows += rows_of(kind, best)
        head = (f"{kind}, {rounds} of {epochs} epochs", "loss of the epochs", "on 2,000 images (%)",
                "on 10,000 at the end (%)", "CPU s")  # fmt: skip
        lines = ["| " + " | ".join(head) + " |", "|---|---|---|---|---|"]
        for name, curve in curves[kind].items():
            losses = ", ".join(f"{row['loss']:.3f}" for row in curve)
            cells = ", ".join(f"{row['accuracy']:.1f}" for row in curve)
            seconds = sum(row["seconds"] for row in curve)
            lines.append(f"| {name} | {losses} | {cells} | {best[name]:.2f} | {seconds:.0f} |")
        notes.append("\n".join(lines))
    HERE.mkdir(exist_ok=True)
    (HERE / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")
    command = "python validation/learning/essop.py --data-dir DIR"
    if options.rounds != list(EPOCHS.values()):
        command += " --rounds " + " ".join(map(str, options.rounds))
    done = write(HERE, "ESSOP: outer products from random bits", command, rows,
                 "\n\n".join(notes))  # fmt: skip
    sys.exit(not done)


def rows_of(kind: str, best: dict[str, float]) -> list[Row]:
    """Return the rows of a network: more slots against fewer, and the most against float."""
    rows = [
        Row(
            f"{kind}: accuracy of {fewer} above {more}, 0 if it is not (points)", 0.0,
            max(0.0, best[fewer] - best[more]), 2.0,
            "more slots are not worse, within 2 points of one seed", "self-consistency", 5.0,
        )
        for fewer, more in (("L = 1", "L = 4"), ("L = 4", "L = 16"))
    ]  # fmt: skip
    rows.append(
        Row(
            f"{kind}: accuracy of L = 16 against float (points)", 0.0,
            best["L = 16"] - best["float"], 1.0,
            'the abstract says "baseline comparable" of a ResNet-32; 1 point is our reading',
            "predicted", -5.0, "ESSOP",
        )
    )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
