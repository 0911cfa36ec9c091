"""Replay of measured traces against the law that made them: 3, 8, 80 levels, continuous targets.

    python validation/replay_against_law.py [--mutate follow-another|never-age]

Devices of the 25 uS law are programmed and read as a lab would; the file is replayed on the chip
with ``presets.replay`` and compared with the same chip whose devices follow the law itself. A
perceptron on handwritten digits (scikit-learn's) is programmed many times, every time from a
file of its own, so that the standard errors hold what one finite file does not know. Writes
``replay_against_law/`` beside this script: ``rows.csv``, ``table.md``, ``accuracy.png``.
``--mutate`` breaks the replay in one of two ways and expects rows to fail; nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.device import measured, synthetic
from aimc_sim.device.measured import reach, replay
from aimc_sim.figures.canvas import DASHES, MARKERS, PALETTE
from aimc_sim.rng import Key
from aimc_sim.spec import ChipSpec
from aimc_sim.zoo import digits

sys.path.insert(0, str(Path(__file__).parent))
from comparison import Row, write
from replay_in_chip import MUTATIONS, elements, mutated, perceptron

G_MAX = 25e-6
# The clock of the chip starts 20 s after programming; two of its moments are times of reads, as
# between two reads their noise is averaged.
TIMES = np.array([20, 60, 200, 600, 1200, 3620, 12e3, 40e3, 12e4, 3e5, 604_820, 1e6])
MOMENTS = ("0", "1 h", "1 week")
PROGRAMMINGS, OF_THE_LAW = 32, 64
TRACES = 4_000  # about, of every file


def law() -> ChipSpec:
    """Return the chip under the law, with RESET devices and noise as a replay has them."""
    device = presets.pcm_25_microsiemens().with_(
        {"reset.mean_siemens": 0.0, "reset.std_siemens": 0.0, "read_noise.band": "frozen"}
    )
    return presets.hermes("odp").with_({"core.pcm": device})


def levels(count: int) -> np.ndarray:
    """Return evenly spaced targets up to g_max; of 3 levels the lowest is a third of it."""
    return G_MAX * np.arange(1, count + 1) / count


def files(folder: Path, seed: int) -> dict[str, Path]:
    """Measure the law on 3, 8, 80 levels and on continuous targets."""
    device = law().core.pcm
    made = {
        f"{n} levels": synthetic.generate(device, levels(n), TIMES, TRACES // n, Key(seed, (n,)))
        for n in (3, 8, 80)
    }
    targets = Key(seed, (0,)).generator().uniform(0.04 * G_MAX, G_MAX, TRACES)
    targets[-1] = G_MAX
    made["continuous targets"] = synthetic.scattered(device, targets, TIMES, Key(seed, (1,)))
    paths = {name: folder / f"{name.replace(' ', '_')}-{seed}.h5" for name in made}
    for name, data in made.items():
        measured.write(paths[name], data)
    return paths


def look(specs: Sequence[ChipSpec], model: nn.Module) -> dict[str, np.ndarray]:
    """Program a chip of every specification; return what it is worth and what its devices do.

    Returns
    -------
    dict
        "accuracy" (chips, moments); "course" (chips, moments): mean share that is left of the
        devices above half of g_max; "error" (chips,): their spread at the start, in siemens;
        "memory" (chips,): correlation of the logarithms between the last two moments, of those
        devices.
    """
    test, calibration = digits("test"), digits("train").images[:256]
    accuracy, shares, errors, memory = [], [], [], []
    for seed, spec in enumerate(specs):
        chip = aimc_sim.Chip.from_model(model, spec).calibrate(calibration)
        chip.program(seed).compensate("gdc")
        looks, rows = [], []
        for moment in MOMENTS:
            scores = chip.at(moment)(test.images)
            rows.append((scores.argmax(1) == test.labels).float().mean().item())
            looks.append(elements(chip))
        accuracy.append(rows)
        state = next(iter(chip.state.tiles.values())).devices
        target = state.target.ravel()
        use = (target > G_MAX / 2) & state.programmed.ravel()
        start, hour, week = (now[use].astype(float) for now in looks)
        shares.append([(now / start).mean() for now in (start, hour, week)])
        errors.append((start - target[use]).std())
        memory.append(np.corrcoef(np.log(hour / start), np.log(week / start))[0, 1])
    return {
        "accuracy": np.array(accuracy),
        "course": np.array(shares),
        "error": np.array(errors),
        "memory": np.array(memory),
    }


def compare(name: str, ours: dict, true: dict) -> list[Row]:
    """Return the rows of one file: accuracy, course, spread and memory, within twice the error."""
    rows = []

    def row(what: str, a: np.ndarray, b: np.ndarray, scale: float, rejects: float) -> None:
        error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        rows.append(Row(
            f"{name}: {what}", float(b.mean() * scale), float(a.mean() * scale),
            float(2 * error * scale),
            "the law; tolerance: twice the standard error of the difference", "self-consistency",
            rejects,
        ))  # fmt: skip

    for i, moment in enumerate(MOMENTS):
        row(f"accuracy after {moment} (%)", ours["accuracy"][:, i], true["accuracy"][:, i], 100,
            10.0)  # chance # fmt: skip
    row("share of the conductance left after a week (%)", ours["course"][:, 2],
        true["course"][:, 2], 100, 100.0)  # no drift # fmt: skip
    row("spread of the conductance at the start (uS)", ours["error"], true["error"], 1e6, 0.0)
    row("correlation of ln G(1 h) and ln G(1 week)", ours["memory"], true["memory"], 1, 0.0)
    return rows


def draw(path: Path, found: dict[str, dict]) -> None:
    """Draw accuracy against time, law and replays."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    for i, (name, one) in enumerate(found.items()):
        accuracy = 100 * one["accuracy"]
        error = accuracy.std(axis=0, ddof=1) / np.sqrt(len(accuracy))
        x = np.arange(len(MOMENTS)) + 0.07 * (i - 2)
        colour = "black" if i == 0 else PALETTE[i - 1]
        ax.errorbar(x, accuracy.mean(axis=0), 2 * error, marker=MARKERS[i], ls=DASHES[i],
                    color=colour, label=name)  # fmt: skip
    ax.set_xticks(range(len(MOMENTS)), ["right after", *MOMENTS[1:]])
    ax.set(ylabel="accuracy (%)", title="bars: twice the standard error over programmings")
    ax.grid(color="0.92")
    ax.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutate", choices=MUTATIONS, help="break the replay; rows must fail")
    args = parser.parse_args()
    model = perceptron()
    found = {"law": look([law()] * OF_THE_LAW, model)}
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, mutated(args.mutate):
        paths: dict[str, list[Path]] = {}
        for seed in range(args.seed, args.seed + PROGRAMMINGS):
            for name, path in files(Path(folder), seed).items():
                paths.setdefault(name, []).append(path)
        for name, of_one in paths.items():
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "replay of measured traces")
                found[name] = look([presets.replay(path) for path in of_one], model)
            its = reach.reach(replay.load(of_one[0]))
            said[name] = "; ".join(text for text in (its.below(), its.between()) if text)
    rows = [r for name in found if name != "law" for r in compare(name, found[name], found["law"])]
    if args.mutate:
        failed = [r.quantity for r in rows if not r.passed]
        print(f"{args.mutate}: {len(failed)} of {len(rows)} rows fail")
        print("\n".join(failed))
        sys.exit(0 if failed else 1)
    args.out.mkdir(parents=True, exist_ok=True)
    draw(args.out / "accuracy.png", found)
    notes = (
        f"About {TRACES:,} traces per file, a file for every programming, read at 12 times from "
        "20 s to 1e6 s (1 h and 1 week among them); perceptron 64-48-10, "
        f"{PROGRAMMINGS} programmings ({OF_THE_LAW} of the law), 450 images, GDC. Devices counted "
        "are those above half of g_max. Twice the standard error is exceeded by chance in one row "
        "of twenty. What the replay says of its own reach (the first file):\n\n"
        + "\n".join(f"- {name}: {text}" for name, text in said.items())
        + "\n\n![Accuracy](accuracy.png)"
    )
    command = "python validation/replay_against_law.py"
    if not write(args.out, "Replay against the law that made the traces", command, rows, notes):
        sys.exit(1)


if __name__ == "__main__":
    main()
