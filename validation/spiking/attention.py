"""A spiking transformer with attention over space alone, and over space and time.

    python validation/spiking/attention.py --mnist DIR [--work FOLDER]

Two tasks are made of MNIST, four time steps each, of 16 tokens (patches of 7 x 7 pixels). Whole:
every step shows all patches of a digit, so that time has nothing to tell. Pieces: every patch is
shown in one step and dark in the others, four patches per step, drawn anew for every image, so that
a digit has to be put together over time. Membranes of the neurons keep a part of what came before
in both networks; attention over a block of four steps reads all of it at once.

Networks: patches through a matrix with batch norm, learned places, two blocks of width 64 with four
heads and 128 hidden neurons (:class:`aimc_sim.spiking.SpikingBlock`), the mean of the last spikes
over steps and tokens, a dense layer. The networks of a task differ in the steps of a block alone (1
or 4) and have the same parameters. Neurons as of TT-SNN (arXiv:2401.08001, READ): a quarter of the
state is left, threshold 0.5, reset to zero. Training: 500 steps of 64 images (Adam with decoupled
weight decay, largest rate 4e-3, falling linearly to zero), two seeds. Test: 10,000 images.

Figures of STAtten (arXiv:2409.19764, CVPR 2025) are of other data sets: no row compares with them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write
from kept import Kept, at_least
from mnist_perceptron import Images, read_mnist
from trained import kept_network

import aimc_sim
from aimc_sim import presets
from aimc_sim.spiking import LIF, NormedLinear, SpikingBlock

HERE = Path(__file__).with_suffix("")
STEPS, TOKENS, PIXELS, WIDTH, HEADS, HIDDEN, BLOCKS = 4, 16, 49, 64, 4, 128, 2
NEURONS = {"decay": 0.25, "threshold": 0.5, "surrogate": "triangle"}
TRAINING, BATCH, RATE, WARMING = 500, 64, 4e-3, 30
TASKS, SPANS, SEEDS = ("pieces", "whole"), {"space": 1, "space and time": STEPS}, (0, 1)
ON_CHIP, CALIBRATION = 500, 128
"""Test images that run on a chip, and training images for its ranges."""


class Network(nn.Module):
    """Patches (B, T, 16, 49) to scores (B, 10)."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.embedding = NormedLinear(PIXELS, WIDTH)
        self.places = nn.Parameter(0.5 * torch.randn(TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(
            SpikingBlock(WIDTH, HEADS, steps, HIDDEN, batch_first=True, **NEURONS)
            for _ in range(BLOCKS)
        ))  # fmt: skip
        self.last, self.scores = LIF(batch_first=True, **NEURONS), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        spikes, _ = self.last(self.blocks(self.embedding(x) + self.places))
        return self.scores(spikes.mean((1, 2)))


# -------------------------------------------------------------------------------- tasks


def shown(images: Tensor, task: str, draw: torch.Generator) -> Tensor:
    """Return the patches (B, T, 16, 49) of images (B, 784), step by step."""
    patches = images.view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 1, TOKENS, PIXELS)
    if task == "whole":
        return patches.expand(-1, STEPS, -1, -1).contiguous()
    order = torch.rand(len(images), TOKENS, generator=draw).argsort(1)
    when = (order % STEPS)[:, None] == torch.arange(STEPS)[:, None]
    return patches * when[..., None]


def train(net: nn.Module, task: str, seed: int, data: Images, steps: int) -> None:
    """Train a network in place."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
    net.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMING) * (1 - step / steps)
        some = torch.randint(len(data.labels), (BATCH,), generator=draw)
        scores = net(shown(data.images[some], task, draw))
        optimiser.zero_grad()
        F.cross_entropy(scores, data.labels[some]).backward()
        optimiser.step()


def accuracy(run: Any, task: str, data: Images, count: int) -> float:
    """Return the accuracy (%) on the first test images."""
    draw, right = torch.Generator().manual_seed(9), 0
    with torch.no_grad():
        for x, y in zip(data.images[:count].split(250), data.labels[:count].split(250),
                        strict=True):  # fmt: skip
            right += int((run(shown(x, task, draw)).argmax(1) == y).sum())
    return 100 * right / count


# ------------------------------------------------------------------------------- chips


def on_chip(net: nn.Module, task: str, data: dict[str, Images]) -> dict[str, Any]:
    """Return what runs of an ideal chip and of a programmed one give."""
    draw = torch.Generator().manual_seed(5)
    some = shown(data["train"].images[:CALIBRATION], task, draw)
    few = some[:16]
    ideal = aimc_sim.Chip.from_model(net, presets.ideal(), example=few).program(0)
    with torch.no_grad():
        wanted = net(few)
    chip = aimc_sim.Chip.from_model(net, presets.hermes("odp"), example=few)
    chip.calibrate(some).program(0)
    found = {
        "off": float((ideal(few) - wanted).abs().max() / wanted.abs().max()),
        "torch": accuracy(net, task, data["test"], ON_CHIP),
        "chip": accuracy(chip, task, data["test"], ON_CHIP),
    }
    report = chip.spiking_report()
    for key in ("worst", "counted", "summed", "written", "read_rows"):
        found[key] = sum(getattr(row, key) for row in report.attentions)
    rates = {row.name.rpartition(".")[0]: row.rate for row in report.neurons}
    found["rates"] = [rates[f"blocks.0.attention.{name}_neurons"]
                      for name in ("query", "key", "value")]  # fmt: skip
    return found


# ------------------------------------------------------------------------------- table


def rows_of(scores: dict[str, list[float]], chips: dict[str, Any], sizes: dict[str, int]) -> list:
    """Return the rows."""
    ours = f"ours, mean of {len(SEEDS)} seeds"
    gains = {
        task: [b - a for a, b in zip(
            scores[f"{task}, space"], scores[f"{task}, space and time"], strict=True
        )] for task in TASKS
    }  # fmt: skip
    mean = {task: sum(gain) / len(gain) for task, gain in gains.items()}
    each = BLOCKS * STEPS * TOKENS * WIDTH * WIDTH // HEADS
    space, both = (chips[f"pieces, {span}"] for span in SPANS)
    return [
        at_least("pieces: accuracy with time less without", 1.0, mean["pieces"], "points", ours, 0),
        Row("whole: accuracy with time less without (points)", 0.0, mean["whole"], 1.0, ours,
            "self-consistency", 2.0),
        Row("parameters, with time less without", 0.0,
            sizes["space and time"] - sizes["space"], 0.0, "the same modules", "self-consistency",
            64.0),
        Row("largest difference of scores, ideal chip and torch / largest score", 0.0,
            max(chip["off"] for chip in chips.values()), 1e-5,
            "16 images; a spike more or less moves scores by more than 1e-3", "self-consistency",
            1e-3),
        *(Row(f"additions of K^T V at most, {span}", each, chip["worst"], 0.0,
              "blocks T N D d: closed form", "self-consistency", each * HEADS)
          for span, chip in (("space", space), ("space and time", both))),
        *(Row(f"values of K^T V, were they written, {span}",
              BLOCKS * STEPS // SPANS[span] * WIDTH * WIDTH // HEADS, chip["written"], 0.0,
              "blocks T / S D d: closed form", "self-consistency", 1.0)
          for span, chip in (("space", space), ("space and time", both))),
        Row("additions of K^T V counted, pieces, both / at most", 0.0,
            max(space["counted"], both["counted"]) / each, 0.5,
            "real spikes, 500 test images", "self-consistency", 1.0),
    ]  # fmt: skip


def notes(scores: dict[str, list[float]], chips: dict[str, Any], kept: Kept, size: int) -> str:
    """Return the paragraphs below the table."""
    text = (
        f"Networks of {size:,} parameters. The task of pieces was chosen of two by the test "
        "accuracies of trainings of 400 steps: rows of patches shown in turn, in a random order, "
        "gave attention over time 3.6 points, pieces 7.6. Chips: 500 test images, "
        "one seed, one programming of the 64-core chip with one device per polarity, right after "
        "programming; networks were trained without noise.\n\n"
        "| task, attention over | accuracy by seed (%) | 500 images: torch, chip (%) | K^T V "
        "counted | Q (K^T V) summed | each at most | or values written | rows that read them | "
        "rates of Q, K, V in the first block |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    for name, chip in chips.items():
        each = ", ".join(f"{score:.2f}" for score in scores[name])
        rates = ", ".join(f"{rate:.0%}" for rate in chip["rates"])
        text += (
            f"| {name} | {each} | {chip['torch']:.1f}, {chip['chip']:.1f} | {chip['counted']:,.0f} "
            f"| {chip['summed']:,.0f} | {chip['worst']:,.0f} | {chip['written']:,.0f} | "
            f"{chip['read_rows']:,.0f} | {rates} |\n"
        )
    return text + (
        "\nPer image, both blocks. At most is the same for all spans: K^T V comes first, so that "
        "work grows with the number of tokens. Values written are fewer by the steps of a block; "
        "they are then counts of up to 64, of 7 bits, where one step needs 5.\n\n" + kept.cost()
    )


def main() -> None:
    """Train, run, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few steps; no table is written")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = {part: read_mnist(given.mnist, part) for part in ("train", "test")}
    kept, steps = Kept(given.work), 5 if given.quick else TRAINING
    scores: dict[str, list[float]] = {}
    nets: dict[str, nn.Module] = {}
    for seed in SEEDS:
        for task in TASKS:
            for span, block in SPANS.items():
                name = f"{task}, {span}"
                torch.manual_seed(seed)
                net = kept_network(
                    kept, f"train {name}, {seed}", Network(block),
                    lambda net, task=task, seed=seed: train(net, task, seed, data["train"], steps),
                )  # fmt: skip
                count = 500 if given.quick else 10_000
                scores.setdefault(name, []).append(kept.run(
                    f"test {name}, {seed}",
                    lambda net=net, task=task, count=count: accuracy(
                        net, task, data["test"], count
                    ),
                ))  # fmt: skip
                print(name, seed, scores[name][-1], flush=True)
                nets.setdefault(name, net)
    chips = {
        name: kept.run(f"chip {name}", lambda net=net, name=name: on_chip(
            net, name.partition(",")[0], data
        )) for name, net in nets.items()
    }  # fmt: skip
    sizes = {
        span: sum(one.numel() for one in nets[f"pieces, {span}"].parameters()) for span in SPANS
    }
    rows, text = rows_of(scores, chips, sizes), notes(scores, chips, kept, sizes["space"])
    if given.quick:
        print(text, *rows, sep="\n")
        return
    command = "python validation/spiking/attention.py --mnist DIR"
    title = "Spiking attention over space, and over space and time"
    raise SystemExit(not write(HERE, title, command, rows, text))


if __name__ == "__main__":
    main()
