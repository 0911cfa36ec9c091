"""The chip paper's two networks right after programming, effect by effect.

    python validation/legallo_2023/networks.py --cifar DIR --ptb DIR [--network lstm-ptb]

The paper (arXiv:2212.02872) shows, for its ResNet-9 on CIFAR-10 and its character LSTM on Penn
Treebank: software in floating point; its model of the chip with quantisation only (8-bit inputs
and outputs, ADC), with weight noise only, and with both; and the chip. Its networks were trained
for 300 and 200 epochs and then with noise; ours, of the zoo, for as many as their record says. So
drops from one's own floating-point result are compared, not results. Networks whose weights are
not installed are left out, and said. Writes ``networks/``: ``bars.csv``, ``rows.csv``,
``table.md``, ``bars.png``. A run that was stopped goes on where it was. The LSTM reads 51,000
characters, all but the first of every stream are predicted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write

import aimc_sim
from aimc_sim import presets, zoo
from aimc_sim.figures.canvas import PALETTE
from aimc_sim.spec import PHYSICS_VERSION

HERE = Path(__file__).with_suffix("")
PIECE = 50
"""Time steps of a piece of text."""

PAPER = {
    "resnet9-cifar10": {
        "float": 93.67, "quantisation": 93.43,
        "weight noise, TDP": 93.18, "both, TDP": 92.91, "chip, TDP": 92.81,
        "weight noise, ODP": 92.49, "both, ODP": 92.28, "chip, ODP": 92.23,
    },
    "lstm-ptb": {
        "float": 1.336, "quantisation": 1.358,
        "weight noise, TDP": 1.383, "both, TDP": 1.406, "chip, TDP": 1.433,
        "weight noise, ODP": 1.412, "both, ODP": 1.439, "chip, ODP": 1.456,
    },
}  # fmt: skip
"""Accuracy in %, bits per character; the order of the paper's bars is inferred in the facts."""

COMPARED = {
    # published bar: ours, and the bar whose change must not do
    "quantisation": ("quantisation", "both, TDP"),
    "weight noise, TDP": ("weight noise, TDP", "weight noise, ODP"),
    "weight noise, ODP": ("weight noise, ODP", "weight noise, TDP"),
    "chip, TDP": ("both, TDP", "chip, ODP"),
    "chip, ODP": ("both, ODP", "chip, TDP"),
}
TOLERANCE = {"resnet9-cifar10": 0.5, "lstm-ptb": 0.02}

UNITS = {"resnet9-cifar10": "%", "lstm-ptb": "bits per character"}
COUNTED = {
    "resnet9-cifar10": "test images",
    "lstm-ptb": "characters of the test text, in pieces that start without a state",
}


def machines() -> dict[str, aimc_sim.ChipSpec]:
    """Return the machine behind every bar that is simulated."""
    found = {"quantisation": presets.ideal_devices(presets.hermes("tdp"))}
    ideal = presets.ideal()
    for scheme in ("tdp", "odp"):
        real = presets.hermes(scheme)
        found[f"weight noise, {scheme.upper()}"] = real.with_(
            {"core.dac": ideal.core.dac, "core.adc": ideal.core.adc, "core.ldpu": ideal.core.ldpu,
             "core.pcm.read_noise": None, "gdpu": ideal.gdpu}
        )  # fmt: skip
        found[f"both, {scheme.upper()}"] = real
    return found


def accuracy(run: Callable[[Tensor], Tensor], data: zoo.ImageSet) -> float:
    """Return the share of right answers in %."""
    scores = torch.cat([run(x) for x in data.images.split(250)])
    return 100 * float((scores.argmax(1) == data.labels).float().mean())


def bits(run: Callable[[Tensor], Tensor], tokens: Tensor) -> float:
    """Return bits per character of streams that run side by side, (B, T) tokens."""
    total, count = 0.0, 0
    for start in range(0, tokens.shape[1] - 1, PIECE):
        x = tokens[:, start : start + PIECE + 1]
        scores = run(x[:, :-1])
        total += float(F.cross_entropy(scores.flatten(0, 1), x[:, 1:].flatten(), reduction="sum"))
        count += x[:, 1:].numel()
    return total / count / math.log(2)


class Resnet9:
    """Bars of the ResNet-9."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.test = zoo.cifar10(options.cifar, "test", options.images)
        self.size = len(self.test)
        self.calibration = zoo.cifar10(options.cifar, "train", 256).images

    def float(self, model: nn.Module) -> float:
        """Return what torch gives."""
        with torch.inference_mode():
            return accuracy(model, self.test)

    def on(self, chip: aimc_sim.Chip) -> float:
        """Return what a programmed chip gives."""
        return accuracy(chip, self.test)


class Lstm:
    """Bars of the character LSTM: many streams side by side, state kept between pieces."""

    def __init__(self, options: argparse.Namespace) -> None:
        text, train = (zoo.ptb_characters(options.ptb, part) for part in ("test", "train"))
        length = options.characters // options.streams
        self.test = text.tokens[: options.streams * length].view(options.streams, length)
        self.size = self.test[:, 1:].numel()
        self.calibration = train.tokens[: 32 * 150].view(32, 150)

    def float(self, model: nn.Module) -> float:
        """Return what torch gives, its state kept between pieces."""
        state: list = [None]

        def run(x: Tensor) -> Tensor:
            scores, state[0] = model(x, state[0])
            return scores

        with torch.inference_mode():
            return bits(run, self.test)

    def on(self, chip: aimc_sim.Chip) -> float:
        """Return what a programmed chip gives."""
        stream = chip.stream(first_image=0)
        return bits(lambda x: stream(x)[0], self.test)


SUBJECTS = {"resnet9-cifar10": Resnet9, "lstm-ptb": Lstm}


def measure(name: str, options: argparse.Namespace) -> list[dict]:
    """Return one row per bar and run of a network; aware weights are used where there are."""
    subject, rows = SUBJECTS[name](options), []
    try:
        kind, model = f"{name}-aware", zoo.load(f"{name}-aware")
    except FileNotFoundError:
        kind, model = name, zoo.load(name)
    known = {"network": name, "weights": kind, "size": subject.size}
    rows.append({**known, "bar": "float", "run": 0, "value": subject.float(model)})
    for bar, spec in machines().items():
        runs, chip = range(1 if bar == "quantisation" else options.runs), None
        for run in runs:
            row = {**known, "bar": bar, "run": run}
            key = json.dumps({**row, "spec": spec.id(), "physics": PHYSICS_VERSION})
            kept = begun(options.out).get(key)
            if kept is None:
                chip = chip or aimc_sim.Chip.from_model(model, spec).calibrate(
                    [subject.calibration]
                )
                kept = float(subject.on(chip.program(run)))
                with (options.out / BEGUN).open("a") as file:
                    file.write(json.dumps({"key": key, "value": kept}) + "\n")
                print({**row, "value": kept}, flush=True)
            rows.append({**row, "value": kept})
    return rows


BEGUN = "begun.jsonl"
"""Values of a run that is under way, so that it goes on where it was stopped."""


def begun(folder: Path) -> dict[str, float]:
    """Return what an earlier run of the same machines and physics has measured."""
    found, path = {}, folder / BEGUN
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            one = json.loads(line)
        except json.JSONDecodeError:  # it was stopped while it wrote
            continue
        found[one["key"]] = one["value"]
    return found


def training(weights: str) -> str:
    """Return how long a network was trained."""
    record = zoo.record(weights)
    if not weights.endswith("-aware"):
        return f"{record['epochs']} epochs in float"
    before = zoo.record(weights.removesuffix("-aware"))["epochs"]
    return f"{before} epochs in float, then {record['epochs']} for the chip"


def table(rows: pd.DataFrame) -> str:
    """Return the Markdown table: values, and drops from the own floating-point result."""
    found = ["Mean +- standard deviation over programmings; drop: from the own float result.", ""]
    for name, part in rows.groupby("network", sort=False):
        weights, size = part["weights"].iloc[0], part["size"].iloc[0]
        runs = part["run"].max() + 1
        found += [
            f"## {name} ({UNITS[name]})", "",
            f"Weights `{weights}`: {training(weights)}. {runs} programmings, "
            f"{size:,} {COUNTED[name]}.", "",
            "| bar | paper | drop | ours | drop |", "|---|---|---|---|---|",
        ]  # fmt: skip
        own = float(part.loc[part["bar"] == "float", "value"].iloc[0])
        for bar, value in PAPER[name].items():
            values = part.loc[part["bar"] == bar, "value"].to_numpy()
            ours = drop = "-"
            if len(values):
                spread = f" +- {values.std(ddof=1):.3f}" if len(values) > 1 else ""
                ours, drop = f"{values.mean():.3f}{spread}", f"{values.mean() - own:+.3f}"
            found.append(
                f"| {bar} | {value} | {value - PAPER[name]['float']:+.3f} | {ours} | {drop} |"
            )
        found.append("")
    return "\n".join(found)


def compared(rows: pd.DataFrame) -> list[Row]:
    """Return the changes from one's own float result beside the paper's."""
    found = []
    for name, part in rows.groupby("network", sort=False):
        paper, values = PAPER[name], part.groupby("bar")["value"].mean()
        for bar, (own, wrong) in COMPARED.items():
            found.append(
                Row(f"{name}, {bar}: change from float ({UNITS[name]})",
                    paper[bar] - paper["float"], float(values[own] - values["float"]),
                    TOLERANCE[name], "bars, their order inferred; another training; no number of "
                    f"ours was chosen for an accuracy; ours: {own}; rejects {wrong}", "predicted",
                    paper[wrong] - paper["float"], "Le Gallo 2023")
            )  # fmt: skip
    return found


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw drops beside each other, paper and ours."""
    names = list(dict.fromkeys(rows["network"]))
    figure, axes = plt.subplots(
        1, len(names), figsize=(5.2 * len(names), 3.6), squeeze=False, layout="constrained"
    )
    for ax, name in zip(axes[0], names, strict=True):
        part, bars = rows[rows["network"] == name], list(PAPER[name])[1:]
        own = float(part.loc[part["bar"] == "float", "value"].iloc[0])
        found = [part.loc[part["bar"] == bar, "value"].to_numpy() - own for bar in bars]
        x = np.arange(len(bars))
        paper = [PAPER[name][bar] - PAPER[name]["float"] for bar in bars]
        ax.bar(x - 0.2, paper, 0.4, color="0.7", label="paper")
        ours = [v.mean() if len(v) else 0.0 for v in found]
        errors = [v.std(ddof=1) if len(v) > 1 else 0.0 for v in found]
        ax.bar(x + 0.2, ours, 0.4, yerr=errors, color=PALETTE[0],
               label="here: mean, std of programmings")  # fmt: skip
        ax.set_xticks(x, bars, rotation=35, ha="right", fontsize=8)
        ax.set_ylabel(f"change from own float ({UNITS[name]})", fontsize=8)
        ax.set_title(name, fontsize=10)
        ax.axhline(0, color="0.2", lw=0.8)
        ax.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Run what there are weights for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--ptb", type=Path, required=True)
    parser.add_argument("--network", action="append", choices=SUBJECTS, help="only this one")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--characters", type=int, default=51_000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    for name in options.network or SUBJECTS:
        try:
            rows += measure(name, options)
        except FileNotFoundError as error:
            print(f"left out: {error}")
    if not rows:
        return
    found, kept = pd.DataFrame(rows), options.out / "bars.csv"
    if kept.exists():
        before = pd.read_csv(kept)
        found = pd.concat([before[~before["network"].isin(found["network"])], found])
    found.to_csv(kept, index=False)
    draw(found, options.out / "bars.png")
    write(options.out, "The chip paper's networks right after programming",
          "python validation/legallo_2023/networks.py --cifar DIR --ptb DIR", compared(found),
          table(found))  # fmt: skip
    (options.out / BEGUN).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
