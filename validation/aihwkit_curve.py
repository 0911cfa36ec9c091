"""ResNet-32 over time against AIHWKit on the same weights: one effect after the other.

    python validation/aihwkit_curve.py --cifar DIR [--programmings 5 --images 1000]

AIHWKit 1.2 was run elsewhere on the same float-trained ResNet-32 (perfect converters, device laws
only, blocks of at most 256 x 256, global drift compensation with one factor per block, first 1,000
test images, ten programmings); it is no requirement of this project, and its numbers stand in
:data:`PUBLISHED`. Here the same network runs on our devices with perfect converters, and what the
two simulators do differently is switched to AIHWKit's choice one at a time:

- *frozen noise*: read noise drawn once per time, not anew in every product;
- *zero-target devices with error*: the idle polarity of every cell is programmed to zero, with the
  error that the law has there, instead of left in RESET;
- *both*.

The clock (``t + t0``), blocks, images and the number of factors are the same in both already. Rows
are kept in ``aihwkit_curve/runs.csv``; a run that was stopped goes on where it was. Tolerance: two
standard errors of both.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import torch
from comparison import Row, write

import aimc_sim
from aimc_sim import presets, zoo
from aimc_sim.spec import ChipSpec

HERE = Path(__file__).with_suffix("")
TIMES = {"now": 0.0, "1 d": 86400.0, "30 d": 30 * 86400.0, "1 y": 365 * 86400.0}
PUBLISHED = {
    "25 uS": ((90.8, 0.2), (89.3, 0.7), (86.7, 0.7), (85.0, 0.8)),
    "two devices": ((89.7, 0.2), (84.0, 0.9), (69.6, 1.6), (55.0, 2.8)),
    "one device": ((84.3, 0.7), (76.6, 1.8), (58.2, 2.8), (46.0, 3.7)),
}
"""AIHWKit 1.2: accuracy and standard error over ten programmings, %, at :data:`TIMES`."""

DEVICES = {
    "25 uS": presets.pcm_25_microsiemens, "two devices": presets.pcm_hermes_two_devices,
    "one device": presets.pcm_hermes_one_device,
}  # fmt: skip
FROZEN = {"core.pcm.read_noise.band": "frozen"}
ZEROS = {"core.pcm.zero_target": "programmed", "core.pcm.reset.mean_siemens": 0.0}
EFFECTS = {
    "ours": {}, "frozen noise": FROZEN, "zero-target devices with error": ZEROS,
    "both": {**FROZEN, **ZEROS},
}  # fmt: skip


def machine(device: str, effect: str) -> ChipSpec:
    """Return perfect converters around a device, with some choices of AIHWKit."""
    return presets.ideal().with_({"core.pcm": DEVICES[device](), **EFFECTS[effect]})


def runs(options: argparse.Namespace) -> list[dict[str, str]]:
    """Return all runs, those of before and those that were missing."""
    path = HERE / "runs.csv"
    path.parent.mkdir(exist_ok=True)
    done = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    have = {(r["device"], r["effect"], r["seed"], r["time"], r["images"]) for r in done}
    model = zoo.load("resnet32-cifar10")
    test = zoo.cifar10(options.cifar, "test", options.images)
    for seed in range(options.programmings):
        for device in options.devices:
            for effect in EFFECTS:
                keys = [(device, effect, str(seed), time, str(options.images)) for time in TIMES]
                if all(key in have for key in keys):
                    continue
                chip = aimc_sim.Chip.from_model(model, machine(device, effect)).program(seed)
                for key in keys:
                    if key in have:
                        continue
                    chip.at(TIMES[key[3]]).compensate("gdc")
                    correct = 0
                    for first in range(0, options.images, 200):
                        part = slice(first, first + 200)
                        found = chip(test.images[part]).argmax(1)
                        correct += int((found == torch.as_tensor(test.labels[part])).sum())
                    row = dict(
                        zip(("device", "effect", "seed", "time", "images"), key, strict=True)
                    )
                    row["accuracy"] = f"{100 * correct / options.images:.3f}"
                    done.append(row)
                    new = not path.exists()
                    with path.open("a", newline="") as file:
                        writer = csv.DictWriter(file, list(row), lineterminator="\n")
                        if new:
                            writer.writeheader()
                        writer.writerow(row)
                    print(row, flush=True)
    return done


def compare(found: list[dict[str, str]], images: str) -> list[Row]:
    """Return one row per device, effect and time: mean over programmings."""
    rows = []
    for device, published in PUBLISHED.items():
        for effect in EFFECTS:
            for time, (paper, error) in zip(TIMES, published, strict=True):
                values = np.array([
                    float(r["accuracy"]) for r in found
                    if (r["device"], r["effect"], r["time"], r["images"])
                    == (device, effect, time, images)
                ])  # fmt: skip
                if len(values) < 2:
                    continue
                own = values.std(ddof=1) / np.sqrt(len(values))
                text = f"AIHWKit 1.2 +- {error}; ours +- {own:.2f} over {len(values)} programmings"
                # Their choices, taken over one at a time, explain; they predict nothing.
                kind = "predicted" if effect == "ours" else "fitted"
                rows.append(Row(
                    f"{device}, {effect}, {time} (%)", paper, float(values.mean()),
                    2 * float(np.hypot(error, own)), text, kind, 10.0, "AIHWKit",
                ))  # fmt: skip
    return rows


def main() -> int:
    """Run what is missing, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--programmings", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--devices", nargs="+", choices=list(DEVICES), default=list(DEVICES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = compare(runs(options), str(options.images))
    write(HERE, "ResNet-32 over time: AIHWKit on the same weights",
          "python validation/aihwkit_curve.py --cifar DIR", rows)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
