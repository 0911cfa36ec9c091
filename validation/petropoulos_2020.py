"""The emulator experiment: 397,520 PCM devices that hold an MNIST perceptron, followed in time.

    python validation/petropoulos_2020.py --data-dir DIR [--work-dir DIR] [--quick]

A. Petropoulos et al., "Accurate Emulation of Memristive Crossbar Arrays for In-Memory Computing",
ISCAS 2020 (arXiv:2004.03073), followed about 400,000 devices that hold a trained network. DIR holds
the four ``*-ubyte.gz`` files of MNIST. A 784-250-10 perceptron is trained, its 198,760 weights and
biases go to differential pairs of the 25 uS model, and the conductances are compared with closed
forms of the published laws (``pcm_25us_law.moments``), level by level and over time. Then images
are classified with these conductances, and with the whole simulated chip.

Writes ``petropoulos_2020/`` beside this script: ``rows.csv``, ``table.md``, ``accuracy.csv``,
``conductance_vs_time.png``, ``quantiles.png`` and ``accuracy.png``. Trained weights are kept in the
work directory, if one is given, and read from there by the next run. ``--quick`` needs no data:
random weights and images, fewer programmings.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from comparison import Row, write
from differential_pairs import (
    Array,
    array_spec,
    classify,
    conductances,
    matrices,
    program_array,
    program_network,
    states,
)
from mnist_perceptron import Images, kept, perceptron, read_mnist, train
from pcm_25us_law import Check, check, draw_from_law, moments
from petropoulos_figures import draw_accuracy, draw_quantiles, draw_time, seconds
from torch import Tensor, nn

from aimc_sim import presets
from aimc_sim.rng import Key
from aimc_sim.studies import drift, inputs

LAYERS = (784, 250, 10)
QUICK_LAYERS = (120, 100, 10)
SELF = "self-consistency"
"""The law's coefficients are the same on both sides: such rows test the code."""
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Edges of the bins of targets, x = G / 25 uS; the value 0 is a level of its own."""
TIMES_SECONDS = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(13))
ROW_TIMES_SECONDS = (1.0, 1e3, 1e6)
ACCURACY_TIMES_SECONDS = (0.0, *(10.0**k for k in range(7)))
SIGMAS = 5.0
KS_BOUND = math.sqrt(-0.5 * math.log(1e-6 / 2))
"""Two samples of n and m from one law exceed KS_BOUND sqrt(1/n + 1/m) once in a million times."""
LEAST_DEVICES = 100
"""Bins with fewer devices are left out: five standard errors would not mean much."""
CALIBRATION_IMAGES = 512
REFERENCE_SEED = 3073


def levels(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices of the devices of every level, by its name."""
    found = {"x = 0": np.flatnonzero(x == 0)}
    for low, high in itertools.pairwise(LEVELS):
        found[f"x = {low:g} to {high:g}"] = np.flatnonzero((x > low) & (x <= high * (1 + 1e-6)))
    return {name: index for name, index in found.items() if index.size >= LEAST_DEVICES}


# -------------------------------------------------------------------------------- comparison


def follow(arrays: Sequence[Array]) -> dict[tuple[str, float], Check]:
    """Return the checks of all levels at all times."""
    x = states(arrays)
    groups = levels(x)
    found = {}
    for t in TIMES_SECONDS:
        g = conductances(arrays, t)
        for name, index in groups.items():
            found[name, t] = check(g[index], x[index], t)
    return found


def level_rows(checks: dict[tuple[str, float], Check]) -> list[Row]:
    """Return mean and spread per level at a few times, and the worst deviation of all times."""
    worst = max(checks.items(), key=lambda item: item[1].worst)
    (name, t), found = worst
    rows = [
        Row(f"largest deviation of {2 * len(checks)} means and spreads (standard errors)",
            0, found.worst, SIGMAS, f"{name} at {seconds(t)} [a]; rejects devices that stand still",
            SELF, _still(checks))
    ]  # fmt: skip
    for (name, t), c in checks.items():
        if t in ROW_TIMES_SECONDS:
            about = f"{name}, {seconds(t)}, n = {c.devices:,}"
            tolerance = 1e6 * SIGMAS * c.mean_error
            first = t == TIMES_SECONDS[0]
            other = 1e6 * checks[name, TIMES_SECONDS[-1 if first else 0]].law_mean
            seen = abs(other - 1e6 * c.law_mean) > tolerance
            wrong = "devices as at the end" if first else "devices that stand still"
            rows += [
                Row(f"mean, {about} (uS)", 1e6 * c.law_mean, 1e6 * c.mean, tolerance,
                    "closed form [a]" + (f"; rejects {wrong}" if seen else ""),
                    SELF, other if seen else None),
                Row(f"spread, {about} (uS)", 1e6 * c.law_spread, 1e6 * c.spread,
                    1e6 * SIGMAS * c.spread_error, "closed form [a]; rejects devices that are "
                    "alike", SELF, 0.0),
            ]  # fmt: skip
    return rows


def _still(checks: dict[tuple[str, float], Check]) -> float:
    """Return the largest deviation, in standard errors, if the mean stayed as at the first time."""
    return max(
        abs(checks[name, TIMES_SECONDS[0]].law_mean - c.law_mean) / c.mean_error
        for (name, _), c in checks.items()
    )


def drawn_quantiles(arrays: Sequence[Array], draws: int) -> dict[tuple[str, float], tuple]:
    """Return per level, at the first and last time, samples of ours and of the law in siemens.

    The law is drawn with plain numpy, ``draws`` times for the target of every device.
    """
    x, found = states(arrays), {}
    rng = np.random.default_rng(REFERENCE_SEED)
    for t in (TIMES_SECONDS[0], TIMES_SECONDS[-1]):
        g = conductances(arrays, t)
        for name, index in levels(x).items():
            reference = draw_from_law(np.tile(x[index], draws), t, rng)
            found[name, t] = np.sort(g[index]), np.sort(reference)
    return found


def distance_rows(samples: dict[tuple[str, float], tuple]) -> list[Row]:
    """Return the largest distances of the distribution functions (Kolmogorov-Smirnov)."""
    rows = []
    for (name, t), (ours, law) in samples.items():
        other = next(v[1] for k, v in samples.items() if k[0] == name and k[1] != t)
        rows.append(
            Row(f"distance of distributions, {name}, {seconds(t)} (-)", 0, _distance(ours, law),
                KS_BOUND * math.sqrt(1 / ours.size + 1 / law.size),
                "draws from the law [b]; rejects the law at the other time", SELF,
                _distance(other, law))
        )  # fmt: skip
    return rows


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance of two ascending samples."""
    at = np.concatenate([a, b])
    below = (np.searchsorted(x, at, "right") / x.size for x in (a, b))
    return float(np.abs(next(below) - next(below)).max())


def mapping_rows(model: nn.Sequential, arrays: Sequence[Array], test: Images) -> list[Row]:
    """Check the count of devices, the mapping and the factors of the drift compensation."""
    devices = sum(array.state.g.size for array in arrays)
    ideal = presets.pcm_ideal()
    exact = [program_array(m, ideal, Key(0, (i,))) for i, m in enumerate(matrices(model))]
    labels = test.labels.numpy()
    ours = int((classify(exact, test.images.numpy(), 0.0, False) == labels).sum())
    with torch.inference_mode():
        right = int((model(test.images).argmax(1) == test.labels).sum())
    rows = [
        Row("correct images with the target conductances", right, ours, 1,
            "torch model; tolerance: single precision may move one image; rejects chance", SELF,
            0.1 * len(labels)),
    ]  # fmt: skip
    if devices == 2 * sum((a + 1) * b for a, b in itertools.pairwise(LAYERS)):
        source = (
            "abstract: approximately 400,000; tolerance: half a unit of its last digit; the "
            "network was chosen by this number; rejects one device per weight"
        )
        rows.insert(0, Row("devices", 400_000, devices, 50_000, source, "given", devices / 2,
                           "Petropoulos 2020"))  # fmt: skip
    last = TIMES_SECONDS[-1]
    for number, array in enumerate(arrays, 1):
        x = states([array])
        (s0, v0), (s1, v1) = (_sum_of_law(x, t) for t in (0.0, last))
        ours = array.at(0.0).sum() / array.at(last).sum()
        # Both sums share programming errors, which cancels in part: adding errors is cautious.
        error = s0 / s1 * (math.sqrt(v0) / s0 + math.sqrt(v1) / s1)
        rows.append(
            Row(f"drift compensation of layer {number} at {seconds(last)} (-)", s0 / s1, ours,
                SIGMAS * error, "closed form [a]; rejects no drift", SELF, 1.0)
        )  # fmt: skip
    return rows


def _sum_of_law(x: np.ndarray, t_seconds: float) -> tuple[float, float]:
    """Return mean and variance of the total conductance of devices."""
    m = moments(x, t_seconds)
    return float(m[0].sum()), float((m[1] - m[0] ** 2).sum())


# ---------------------------------------------------------------------------------- accuracy


def accuracy(model: nn.Sequential, test: Images, calibration: Tensor, args) -> pd.DataFrame:
    """Return one row per path, programming, time and compensation, as a drift study has them."""
    images, labels = test.images.numpy(), test.labels.numpy()
    rows = []
    for seed in range(args.seeds):
        arrays = program_network(model, seed)
        for t in args.times:
            for method in ("none", "gdc"):
                correct = int((classify(arrays, images, t, method == "gdc") == labels).sum())
                rows.append(
                    {"preset": "conductances, float arithmetic", "spec_id": array_spec().id(),
                     "compensation": method, "time_seconds": t, "seed": seed,
                     "images": len(labels), "correct": correct, "accuracy": correct / len(labels)}
                )  # fmt: skip
    given = drift.given_of(model, test, calibration)
    rows += drift.drift_rows(
        given, {"whole chip (generic-pcm)": presets.generic_pcm()},
        times=args.times, methods=("none", "gdc"), seeds=range(args.seeds),
    )  # fmt: skip
    return pd.DataFrame(rows, columns=drift.COLUMNS[:8])


def accuracy_table(rows: pd.DataFrame) -> str:
    """Return mean accuracies and intervals as Markdown."""
    summary = drift.summarise(rows)
    times = sorted(summary["time_seconds"].unique())
    lines = [
        "| path | compensation | " + " | ".join(map(seconds, times)) + " |",
        "|---|---|" + "---|" * len(times),
    ]
    for (path, method), group in summary.groupby(["preset", "compensation"], sort=False):
        cells = [
            f"{100 * r.mean:.2f} [{100 * r.low:.2f}, {100 * r.high:.2f}]"
            for r in group.sort_values("time_seconds").itertuples()
        ]
        lines.append(f"| {path} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# -------------------------------------------------------------------------------------- main


def prepare(args) -> tuple[nn.Sequential, Images, Tensor, str]:
    """Return the network, test images, calibration images, and how the network was made."""
    if args.quick:
        model = perceptron(QUICK_LAYERS).eval()
        generator = torch.Generator().manual_seed(REFERENCE_SEED)
        images = torch.rand((600, QUICK_LAYERS[0]), generator=generator)
        with torch.inference_mode():
            labels = model(images).argmax(1)
        return model, Images(images, labels), images, "Random weights and images (`--quick`)."
    model, training = perceptron(LAYERS), read_mnist(args.data_dir, "train")
    file = args.work_dir and args.work_dir / "mnist_perceptron.pt"
    if not kept(model, file):
        train(model, training)
        if file:
            args.work_dir.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), file)
    test = read_mnist(args.data_dir, "test")
    with torch.inference_mode():
        share = (model(test.images).argmax(1) == test.labels).float().mean()
    made = MADE.format(accuracy=100 * share)
    return model, test, training.images[:CALIBRATION_IMAGES], made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder with the MNIST files")
    parser.add_argument("--work-dir", type=Path, help="keeps the trained weights between runs")
    parser.add_argument("--seeds", type=int, default=5, help="programmings for the accuracy")
    parser.add_argument("--quick", action="store_true", help="random weights and images, no data")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    args = parser.parse_args()
    if args.data_dir is None and not args.quick:
        parser.error("--data-dir is missing (or use --quick, which needs no data)")
    args.times = ACCURACY_TIMES_SECONDS
    draws = 20
    if args.quick:
        args.seeds, args.times, draws = min(args.seeds, 2), (0.0, 1e3), 5
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(min(2, torch.get_num_threads()))

    began = time.time()
    model, test, calibration, made = prepare(args)
    arrays = program_network(model, 0)
    checks = follow(arrays)
    samples = drawn_quantiles(arrays, draws)
    found = accuracy(model, test, calibration, args)
    found.to_csv(args.out / "accuracy.csv", index=False)
    rows = mapping_rows(model, arrays, test) + level_rows(checks) + distance_rows(samples)
    draw_time(checks, args.out / "conductance_vs_time.png")
    draw_quantiles(samples, args.out / "quantiles.png")
    share = inputs.float_value(model, drift.given_of(model, test, calibration))
    draw_accuracy(drift.summarise(found), share, args.out / "accuracy.png")
    passed = write(
        args.out,
        "397,520 devices that hold an MNIST perceptron, followed in time",
        "python validation/petropoulos_2020.py " + ("--quick" if args.quick else "--data-dir DIR"),
        rows,
        NOTES.format(made=made, table=accuracy_table(found), seeds=args.seeds),
    )
    print(f"{time.time() - began:.0f} s")
    if not passed:
        raise SystemExit("some rows are off")


MADE = """
784-250-10 with ReLU, {accuracy:.2f} % of the test images in float. Trained with noise on the
weights (3.8 % of the largest weight of a layer) and weights kept within 2.5 standard deviations,
seeds fixed (`mnist_perceptron.py`). With ReLU and the biases on the arrays a common factor of a
layer scales all scores alike: that drift hardly moves the accuracy of the float path, compensated
or not, is a property of this network. On the whole chip biases are digital and integer ranges are
fixed."""

NOTES = """
{made}

"Paper" means the published laws: the abstract of A. Petropoulos et al. (ISCAS 2020,
arXiv:2004.03073) says that the evolution of about 400,000 devices was captured; its measured
numbers could not be read and are not compared with. That its network is this perceptron is inferred
from the number of devices.

Every weight and bias is a differential pair of single devices, the largest of a layer at 25 uS.
Both devices of a pair are programmed; the target of the one that does not carry the weight is 0, so
that it follows the law there (half of them end at exactly 0), as with `zero_target = "programmed"`.
Time counts from programming, and the law's clock is t + 20 s. All read noise since programming is
in the conductances (`read_noise.band = "frozen"`), none is drawn per image; laws at single times
are compared, not the correlation of the noise between times. One programming for the levels, with
every device of the bin; `quantiles.png` shows five levels.

[a] Mean: over the devices of a bin. Spread: root mean square distance of devices from the mean that
the law gives for their own targets. The closed forms hold programming error, drift and read noise
with their cuts at zero exactly (`pcm_25us_law.moments`). Tolerance: 5 standard errors, from the
law's second and fourth moments (for the compensation: errors of both sums added). [b]
Kolmogorov-Smirnov distance to draws with plain numpy for the same targets; tolerance: exceeded once
in a million.

Accuracy in %, mean of {seeds} programmings and 95 % interval (Student t). "Conductances, float
arithmetic": both layers with biases on the arrays, no converters, one factor per layer from the
total current as compensation (gdc). "Whole chip": `presets.generic_pcm()` with its converters,
INT8, digital biases, four devices per cell of which one is programmed, a part of the read noise
drawn in every MVM, one factor per core.

{table}
"""


if __name__ == "__main__":
    main()
