"""ResNet-32 on CIFAR-10: accuracy against time on the simulated chip, with float-trained weights.

    python validation/resnet32_cifar10.py --data-dir DIR --weights FILE [--device cuda]

DIR holds ``cifar-10-batches-py``; FILE is a state dict of the standard ResNet-32 with option A
shortcuts, trained for inputs normalised with mean .485/.456/.406 and std .229/.224/.225. Writes
``resnet32_cifar10/`` beside this script: ``rows.csv`` (one row per programming, time and
setting), ``checks.json``, ``table.md``, ``stamp.json`` and ``drift_accuracy.png``. A run that was
stopped goes on where it was when started again; ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from comparison import write_stamp
from torch import Tensor

import aimc_sim
from aimc_sim import presets, units, zoo
from aimc_sim.figures import accuracy
from aimc_sim.studies import drift

SPECS = {
    "hermes-odp": presets.hermes("odp"),
    "hermes-tdp": presets.hermes("tdp"),
    "generic-pcm": presets.generic_pcm(),
}
TIMES = ("0", "1 h", "1 d", "30 d", "1 y")
METHODS = ("none", "gdc", "column")
CALIBRATION_IMAGES = 512
EXPECTED_FLOAT = 9263
CONVERTER_TOLERANCE = 0.5  # points


@dataclass(frozen=True)
class Subset:
    """Images and labels to count."""

    images: Tensor
    labels: Tensor


def reference_checks(model, test: Subset, calibration: Tensor, device: str) -> dict:
    """Return the counts that need no random device: float, ideal chip, converters only."""
    n = len(test.labels)
    with torch.inference_mode():
        logits = [model(part) for part in test.images.split(500)]
    predicted = torch.cat(logits).argmax(1)
    checks = {
        "images": n,
        "float_correct": int((predicted == test.labels).sum()),
    }
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).to(device).program(0)
    chip.calibrate(calibration)
    ideal = chip(test.images).argmax(1)
    checks["ideal_correct"] = int((ideal == test.labels).sum())
    checks["ideal_predictions_that_differ"] = int((ideal != predicted).sum())
    for name, spec in SPECS.items():
        chip = aimc_sim.Chip.from_model(model, presets.ideal_devices(spec)).to(device)
        found = chip.calibrate(calibration).program(0)(test.images).argmax(1)
        checks[f"converters_only_correct {name}"] = int((found == test.labels).sum())
    return checks


def spec_ids() -> dict:
    """Return the identity of every machine in the study."""
    return {name: spec.id() for name, spec in SPECS.items()}


def kept_checks(path: Path, images: int) -> dict | None:
    """Return the counts of an earlier run of the same machines on as many images."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    same = kept and kept["specs"] == spec_ids() and kept["counts"]["images"] == images
    return kept["counts"] if same else None


def study(model, test: Subset, calibration: Tensor, args) -> pd.DataFrame:
    """Return all rows, computing those that the file does not hold yet."""
    path = args.out / "rows.csv"
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=drift.COLUMNS)
    few = Subset(test.images[: args.images], test.labels[: args.images])
    given = drift.given_of(model, few, calibration)
    for seed, (name, spec), moment in itertools.product(range(args.seeds), SPECS.items(), TIMES):
        # At time 0 every factor is exactly 1 (tests/unit/test_chip.py): one row serves.
        methods = METHODS if units.seconds(moment) else ("none",)
        done = rows[
            (rows["preset"] == name) & (rows["seed"] == seed)
            & (rows["time_seconds"] == units.seconds(moment))
            & (rows["spec_id"] == spec.id()) & (rows["images"] == args.images)
        ]["compensation"].tolist()  # fmt: skip
        todo = [method for method in methods if method not in done]
        if not todo:
            continue
        found = drift.drift_rows(
            given, {name: spec}, times=[moment], methods=todo, seeds=[seed], device=args.device
        )
        new = pd.DataFrame(found, columns=drift.COLUMNS)
        rows = new if rows.empty else pd.concat([rows, new], ignore_index=True)
        rows.to_csv(path.with_suffix(".part"), index=False)
        path.with_suffix(".part").replace(path)
        print(
            new[["preset", "seed", "time_seconds", "compensation", "accuracy"]].to_string(
                index=False, header=False
            ),
            flush=True,
        )
    now = list(spec_ids().values())  # an earlier run may have left others
    return rows[(rows["images"] == args.images) & rows["spec_id"].isin(now)]


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the common start of the curves repeated for every method."""
    start = rows[rows["time_seconds"] == 0]
    copies = [start.assign(compensation=method) for method in METHODS[1:]]
    return pd.concat([rows, *copies], ignore_index=True)


def in_float(model, test: Subset, images: int) -> float:
    """Return the accuracy in float32 on the images of the curves."""
    with torch.inference_mode():
        scores = torch.cat([model(part) for part in test.images[:images].split(500)])
    return float((scores.argmax(1) == test.labels[:images]).float().mean())


def table(rows: pd.DataFrame, checks: dict, float_accuracy: float, args) -> str:
    """Return the Markdown table of the study."""
    summary = drift.summarise(shown(rows))
    moments = sorted(summary["time_seconds"].unique())
    n = checks["images"]
    lines = [
        "# ResNet-32, CIFAR-10, float-trained weights",
        "",
        "Made by `python validation/resnet32_cifar10.py --data-dir DIR --weights FILE "
        f"--seeds {args.seeds} --images {args.images}`.",
        "",
        "| check | expected | ours | pass |",
        "|---|---|---|---|",
    ]
    for row in check_rows(checks):
        lines.append(
            f"| {row['quantity']} | {row['expected']} | {row['ours']} | "
            f"{'yes' if row['pass'] else 'NO'} |"
        )
    lines += [
        "",
        f"The checks count all {n:,} test images. Below: accuracy in % on the first "
        f"{args.images:,}, mean over {args.seeds} programmings and 95 % interval (Student t). "
        f"In float32 it is {100 * float_accuracy:.2f} on these images. Right after programming "
        "every compensation factor is exactly 1.",
        "",
        "| devices | compensation | " + " | ".join(
            "now" if t == 0 else units.show_time(t) for t in moments) + " |",
        "|---|---|" + "---|" * len(moments),
    ]  # fmt: skip
    for (preset, method), group in summary.groupby(["preset", "compensation"], sort=False):
        cells = [
            f"{100 * r['mean']:.2f} [{100 * r['low']:.2f}, {100 * r['high']:.2f}]"
            for _, r in group.sort_values("time_seconds").iterrows()
        ]
        lines.append(f"| {preset} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def check_rows(checks: dict) -> list[dict]:
    """Return the checks as expected / ours / tolerance / pass."""
    n, correct = checks["images"], checks["float_correct"]
    full = n == 10_000
    rows = [
        {"quantity": "float, correct images", "expected": EXPECTED_FLOAT if full else "-",
         "ours": correct, "tolerance": 0, "pass": correct == EXPECTED_FLOAT or not full},
        {"quantity": "ideal chip, correct images", "expected": correct,
         "ours": checks["ideal_correct"], "tolerance": 0,
         "pass": checks["ideal_correct"] == correct},
    ]  # fmt: skip
    for name in SPECS:
        ours = checks[f"converters_only_correct {name}"]
        points = 100 * (ours - correct) / n
        rows.append(
            {"quantity": f"converters and INT8 only, {name}, points from float",
             "expected": f"within {CONVERTER_TOLERANCE}", "ours": round(points, 2),
             "tolerance": CONVERTER_TOLERANCE, "pass": abs(points) <= CONVERTER_TOLERANCE}
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=10, help="programmings per machine")
    parser.add_argument("--images", type=int, default=1000, help="of the curves; checks count all")
    parser.add_argument("--fresh", action="store_true", help="do not continue an earlier run")
    default = Path(__file__).with_suffix("")
    parser.add_argument("--out", type=Path, default=default)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.fresh:
        (args.out / "rows.csv").unlink(missing_ok=True)
        (args.out / "checks.json").unlink(missing_ok=True)

    began = time.time()
    model = zoo.resnet32(10, args.weights)
    data = zoo.cifar10(args.data_dir, "test")
    test = Subset(data.images, data.labels)
    calibration = zoo.cifar10(args.data_dir, "train", CALIBRATION_IMAGES).images
    checks = kept_checks(args.out / "checks.json", len(test.labels))
    if checks is None:
        checks = reference_checks(model, test, calibration, args.device)
    kept = {"specs": spec_ids(), "counts": checks, "rows": check_rows(checks)}
    (args.out / "checks.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(checks, indent=1), flush=True)
    rows = study(model, test, calibration, args)
    write_stamp(args.out)
    float_accuracy = in_float(model, test, args.images)
    text = table(rows, checks, float_accuracy, args)
    (args.out / "table.md").write_text(text)
    accuracy.drift_accuracy(
        shown(rows),
        {"float": float_accuracy},
        chance=0.1,
        title=f"ResNet-32 for CIFAR-10, float-trained; {args.seeds} programmings; "
        f"first {args.images:,} images",
        path=args.out / "drift_accuracy.png",
    )
    print(text)
    print(f"{time.time() - began:.0f} s on {args.device}")


if __name__ == "__main__":
    main()
