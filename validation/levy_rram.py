"""Measured RRAM relaxation (Levy et al.): import, fit, show and replay, with the same commands.

    python validation/levy_rram.py --data-dir DIR

DIR holds ``rram_levy_techC_relaxation.tsv.gz`` (16,292 cells, read up to 1e5 s), from the authors'
repository akashlevy/RRAM-Relaxation-Master-Model. Writes ``levy_rram/`` beside this script:
``rows.csv``, ``table.md`` and ``relaxation.png``. Nothing here knows that the cells are no PCM.
The cells are also replayed in a chip: their course in time, how much one moment says of another,
and the accuracy of a perceptron, against draws from the table by plain numpy. ``--mutate`` breaks
the replay and expects rows to fail; nothing is written then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import aimc_sim
from aimc_sim import presets
from aimc_sim.cli import main as run_command
from aimc_sim.device import measured
from aimc_sim.device.measured import replay
from aimc_sim.device.measured.traces import traces
from aimc_sim.figures.canvas import PALETTE
from aimc_sim.rng import Key
from aimc_sim.zoo import digits

sys.path.insert(0, str(Path(__file__).parent))
from comparison import Row, write
from replay_in_chip import MUTATIONS, elements, mutated, perceptron

TABLE = "rram_levy_techC_relaxation.tsv.gz"
MAP = "device=0,time=1[s],conductance=3[S]"
TIMES = (0.01, 0.1, 1.0, 1e5)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEVEL_SIEMENS, LEVELS = 1.25e-6, 32
REPEATS = 64  # elements per cell
CHIP_TIMES = (1.0, 1e5)
PROGRAMMINGS = 12
SELF = "self-consistency"
ISSUE = (
    "the same file, independently: mean and standard deviation over all cells of G(1e5 s) - G(0)"
)


def command(*arguments: str) -> None:
    """Run a command of aimc-sim; stop if it fails."""
    try:
        run_command(arguments)
    except SystemExit as done:
        if done.code:
            raise


def changes(data: measured.MeasuredData, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Return first reads and changes at the read nearest to a time, in siemens, per cell."""
    found = traces(data)
    owner = np.repeat(np.arange(len(found)), found.reads)
    near = np.abs(found.time_seconds / t - 1) < 0.3
    first, now = found.first_siemens[owner[near]], found.conductance_siemens[near]
    return first, now - first


def replayed(lib: replay.Library, first: np.ndarray, seed: int, t: float) -> np.ndarray:
    """Return changes in siemens, (REPEATS, cells): every cell is asked for its own first read."""
    target = np.tile(first, (REPEATS, 1))[None].astype(np.float32)
    words = np.array(Key(seed).words())
    address = (target.shape[2], target[0].size)
    trace = replay.draw(lib, target, np.ones(target.shape, bool), address, words)
    return (replay.conductance(lib, target, trace, t).astype(float) - target)[0]


def courses(data: measured.MeasuredData) -> tuple[np.ndarray, np.ndarray]:
    """Return first reads, (N,) siemens ascending, and what is left at CHIP_TIMES, (N, 2)."""
    found = traces(data)
    owner = np.repeat(np.arange(len(found)), found.reads)
    left = np.full((len(found), len(CHIP_TIMES)), np.nan)
    for i, t in enumerate(CHIP_TIMES):
        near = np.abs(found.time_seconds / t - 1) < 0.3
        left[owner[near], i] = found.conductance_siemens[near]
    use = np.isfinite(left).all(axis=1) & (found.first_siemens > 0)
    order = np.flatnonzero(use)[np.argsort(found.first_siemens[use], kind="stable")]
    first = found.first_siemens[order]
    return first, left[order] / first[:, None]


def plain_draw(
    table: tuple[np.ndarray, np.ndarray], target: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return what is left of targets, (..., 2), of one of the 64 cells with the nearest reads."""
    first, left = table
    place = np.searchsorted(first, target.ravel()) + rng.integers(-32, 32, target.size)
    return left[np.clip(place, 0, len(first) - 1)].reshape(*target.shape, -1)


def in_a_chip(file: str, data: measured.MeasuredData, seed: int) -> list[Row]:
    """Return rows of a chip whose devices are the cells, against plain draws from the table."""
    model, spec = perceptron(), presets.replay(file)
    test, rng = digits("test"), np.random.default_rng(seed)
    table = courses(data)
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(digits("train").images[:256])
    weights = [w for w in model.parameters() if w.ndim == 2]
    trained = [w.detach().clone() for w in weights]

    def accuracy(ours: list[np.ndarray]) -> float:
        """Accuracy in percent of the float network with other weights."""
        with torch.no_grad():
            for w, new in zip(weights, ours, strict=True):
                w.copy_(torch.from_numpy(new).float())
            right = (model(test.images).argmax(1) == test.labels).float().mean().item()
            for w, old in zip(weights, trained, strict=True):
                w.copy_(old)
        return 100 * right

    layers = [layer.name for layer in chip.compiled.layers]
    played, drawn = [], []
    for number in range(PROGRAMMINGS):
        chip.program(number)
        state = next(iter(chip.state.tiles.values())).devices
        target = state.target.ravel()
        use = state.programmed.ravel() & (target > 5e-6)
        start = elements(chip)[use].astype(float)
        left, scores = [], []
        for t in CHIP_TIMES:
            chip.at(t)
            left.append(elements(chip)[use] / start)
            scores.append(
                accuracy([effective(chip, n, w) for n, w in zip(layers, trained, strict=True)])
            )
        played.append([*summary(np.array(left).T), *scores])
        left = plain_draw(table, target[use].astype(float), rng)
        scores = []
        shares = [plain_draw(table, g_of(w, spec.core.pcm.g_max_siemens), rng) for w in trained]
        for i in range(len(CHIP_TIMES)):
            scores.append(
                accuracy([w.numpy() * s[..., i] for w, s in zip(trained, shares, strict=True)])
            )
        drawn.append([*summary(left), *scores])
    ours, true = np.array(played), np.array(drawn)
    error = np.sqrt((ours.var(axis=0, ddof=1) + true.var(axis=0, ddof=1)) / PROGRAMMINGS)
    late = CHIP_TIMES[-1]
    names = (
        *(f"mean share left at {t:g} s" for t in CHIP_TIMES),
        *(f"spread of the share left at {t:g} s" for t in CHIP_TIMES),
        f"correlation of the shares at {CHIP_TIMES[0]:g} s and {late:g} s",
        *(f"accuracy at {t:g} s (%)" for t in CHIP_TIMES),
    )
    source = "plain draws from the table; tolerance: three standard errors of the difference"
    moments = len(CHIP_TIMES)
    # cells that never age; cells that follow another trace at every look; chance
    wrong = (*(1.0,) * moments, *(0.0,) * moments, 0.0, *(10.0,) * moments)
    return [
        Row(f"chip: {name}", float(b), float(a), float(max(3 * e, 1e-4)), source, SELF,
            w if abs(w - b) > max(3 * e, 1e-4) else None, "Levy")
        for name, a, b, e, w in zip(
            names, ours.mean(axis=0), true.mean(axis=0), error, wrong, strict=True
        )
    ]  # fmt: skip


def halves(data: measured.MeasuredData) -> tuple[measured.MeasuredData, ...]:
    """Return every second cell, and the others."""
    number = np.unique(data.device, return_inverse=True)[1]
    return tuple(
        measured.MeasuredData.of(
            device=data.device[part], cycle=data.cycle[part],
            time_seconds=data.time_seconds[part],
            conductance_siemens=data.conductance_siemens[part],
        )
        for part in (number % 2 == 0, number % 2 == 1)
    )  # fmt: skip


def held_out(data: measured.MeasuredData, seed: int) -> list[Row]:
    """Return rows of cells that a replay of the other half of the cells predicts."""
    known, asked = halves(data)
    last = 1e6 * float(changes(asked, TIMES[-1])[1].mean())
    lib, rows = replay.library(known), []
    source = "half of the cells, by a replay of the others; tolerance: five standard errors"
    for t in TIMES:
        first, true = changes(asked, t)
        use = first <= lib.g_max_siemens
        ours = replayed(lib, first[use], seed, t)
        error = 5e6 * true[use].std() * np.sqrt(2 / use.sum())
        for name, a, b in (("mean", true[use].mean(), ours.mean()),
                           ("spread", true[use].std(ddof=1), ours.std(ddof=1))):  # fmt: skip
            text = f"held out: {name} of the change at {t:g} s (uS)"
            seen = 1e6 * abs(a) > error
            wrong = 0.0 if seen else last
            why = f"{source}; rejects " + ("no change" if seen else f"the mean at {TIMES[-1]:g} s")
            rows.append(Row(text, 1e6 * a, 1e6 * b, error, why, "predicted", wrong, "Levy"))
    worst = worst_quantile(first[use], true[use], ours)
    fewest = min(((first[use] / LEVEL_SIEMENS).astype(int) == i).sum() for i in range(LEVELS))
    # 160 quantiles: three standard errors of one of the smallest level
    rows.append(Row("held out: worst of 160 quantiles at 1e5 s, distance in probability", 0.0,
                    worst, 3 * 0.5 * np.sqrt(2 / fewest), "half of the cells, by a replay of the "
                    f"others; at least {fewest} cells per level; rejects no change", "predicted",
                    worst_quantile(first[use], true[use], 0 * ours), "Levy"))  # fmt: skip
    return rows


def summary(left: np.ndarray) -> tuple[float, ...]:
    """Return means, spreads and correlation of shares at two times, (N, 2)."""
    return (*left.mean(axis=0), *left.std(axis=0), float(np.corrcoef(left.T)[0, 1]))


def g_of(weight: torch.Tensor, g_max: float) -> np.ndarray:
    """Return the conductances that the chip asks for, siemens: columns scaled to g_max."""
    size = np.abs(weight.numpy())
    return size / size.max(axis=1, keepdims=True) * g_max


def effective(chip: aimc_sim.Chip, layer: str, weight: torch.Tensor) -> np.ndarray:
    """Return the weights that a layer's devices stand for, in the shape of the model's."""
    found = np.asarray(chip.effective_weights(layer), float)
    return found if found.shape == tuple(weight.shape) else found.T


def worst_quantile(first: np.ndarray, change: np.ndarray, ours: np.ndarray) -> float:
    """Return the largest distance in probability of a replayed quantile, over the levels."""
    level, off = (first / LEVEL_SIEMENS).astype(int), 0.0
    for i in range(LEVELS):
        here = level == i
        found = np.quantile(ours[:, here], QUANTILES)
        share = (change[here][:, None] <= found).mean(axis=0)
        off = max(off, float(np.abs(share - QUANTILES).max()))
    return off


def draw(path: Path, first: np.ndarray, change: np.ndarray, ours: np.ndarray, spread) -> None:
    """Draw the change at 1e5 s per level and its growth with time, measured and replayed."""
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    level = (first / LEVEL_SIEMENS).astype(int)
    x = (np.arange(LEVELS) + 0.5) * LEVEL_SIEMENS * 1e6
    q = np.array([np.quantile(change[level == i], QUANTILES) for i in range(LEVELS)]) * 1e6
    r = np.array([np.quantile(ours[:, level == i], QUANTILES) for i in range(LEVELS)]) * 1e6
    left.fill_between(x, q[:, 0], q[:, 4], color=PALETTE[0], alpha=0.15, lw=0)
    left.fill_between(x, q[:, 1], q[:, 3], color=PALETTE[0], alpha=0.3, lw=0)
    left.plot(x, q[:, 2], color=PALETTE[0])
    left.plot(x, r, ls="", marker=".", ms=4, color="black")
    left.set(xlabel="first read (uS)", ylabel="change after 1e5 s (uS)")
    left.set_title("32 levels: 5, 25, 50, 75, 95 % quantiles", fontsize=10, loc="left")
    times = list(spread)
    for i, name in enumerate(("standard deviation", "mean")):
        right.plot(times, [spread[t][0][i] * 1e6 for t in times], color=PALETTE[i])
        right.plot(times, [spread[t][1][i] * 1e6 for t in times], ls="", marker=".", color="black")
        right.annotate(name, (times[2], spread[times[2]][0][i] * 1e6), (-6, 12), ha="right",
                       textcoords="offset points", color=PALETTE[i])  # fmt: skip
    right.set_xscale("log")
    right.set(xlabel="time after programming (s)", ylabel="change of all cells (uS)")
    right.set_title("growth with time", fontsize=10, loc="left")
    handles = [
        Line2D([], [], color="0.3", label="measured"),
        Line2D([], [], ls="", marker=".", color="black", label="replayed"),
    ]
    for ax in (left, right):
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
        ax.legend(handles=handles, frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutate", choices=MUTATIONS, help="break the replay; rows must fail")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        file = f"{scratch}/levy.h5"
        command("device", "import", str(args.data_dir / TABLE), "--map", MAP, "--out", file,
                "--title", "RRAM relaxation, Levy et al., technology C",
                "--licence", "MIT")  # fmt: skip
        if not args.mutate:
            command("device", "fit", file)
            command("device", "show", file, "--out", f"{scratch}/levy.png")
        data, lib = measured.read(file), replay.load(file)
        with mutated(args.mutate), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cells whose last read is missing stand still
            chip_rows = in_a_chip(file, data, args.seed)
    if args.mutate:
        failed = [row.quantity for row in chip_rows if not row.passed]
        print(f"{args.mutate}: {len(failed)} of {len(chip_rows)} rows fail")
        print("\n".join(failed))
        sys.exit(0 if failed else 1)

    first, change = changes(data, 1e5)
    inside = first <= lib.g_max_siemens
    rows = [
        Row("cells", 16_292, len(first), 0, "the file; rejects a cell less", SELF, 16_291, "Levy"),
        Row("mean change at 1e5 s, data (uS)", -1.45, 1e6 * change.mean(), 0.005, ISSUE, SELF, 0.0,
            "Levy"),
        Row("spread of the change at 1e5 s, data (uS)", 3.64, 1e6 * change.std(ddof=1), 0.005,
            ISSUE, SELF, 0.0, "Levy"),
    ]  # fmt: skip
    spread = {}
    for t in TIMES:
        start, true = changes(data, t)
        use = start <= lib.g_max_siemens
        ours = replayed(lib, start[use], args.seed, t)
        spread[t] = (true[use].std(ddof=1), true[use].mean()), (ours.std(ddof=1), ours.mean())
        # Five standard errors of the mean over the cells that there are.
        error = 5e6 * true.std() / np.sqrt(true.size)
        for name, i in (("mean", 1), ("spread", 0)):
            true_value, our_value = (1e6 * part[i] for part in spread[t])
            text = f"{name} of the change at {t:g} s, replay (uS)"
            rows.append(Row(text, true_value, our_value, error,
                            "the data, same cells; rejects no change", SELF, 0.0,
                            "Levy"))  # fmt: skip
    ours = replayed(lib, first[inside], args.seed, 1e5)
    worst = worst_quantile(first[inside], change[inside], ours)
    text = "worst of 160 replayed quantiles at 1e5 s, distance in probability"
    source = "the data; tolerance: a tenth of the distance between quantiles; rejects no change"
    still = worst_quantile(first[inside], change[inside], 0 * ours)
    rows.append(Row(text, 0.0, worst, 0.025, source, SELF, still, "Levy"))
    rows += chip_rows + held_out(data, args.seed + 1)
    draw(args.out / "relaxation.png", first[inside], change[inside], ours, spread)
    notes = (
        "Data: akashlevy/RRAM-Relaxation-Master-Model (MIT), technology C. One of 89,115 reads is "
        "negative (-0.12 uS, line 65,556, at 4 s) and is kept, as noise. The table has no "
        "targets, so "
        f"the replay draws among the {lib.neighbours} cells around the first read that is asked "
        f"for, up to {1e6 * lib.g_max_siemens:.1f} uS ({(~inside).sum()} of {len(inside):,} cells "
        f"lie above); {REPEATS} elements per cell. "
        "Held out: a library of every second cell is asked for the first reads of the other "
        "cells.\n\n![Relaxation](relaxation.png)"
    )
    text = "python validation/levy_rram.py --data-dir DIR"
    if not write(args.out, "Measured RRAM relaxation, Levy et al.: import and replay", text, rows,
                 notes):  # fmt: skip
        sys.exit(1)


if __name__ == "__main__":
    main()
