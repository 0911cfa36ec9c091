"""Weights of one array programmed by gradients: six updates, two devices, three reference offsets.

    python validation/learning/weight_programming.py [--seeds 3] [--work FOLDER]

A 20 x 20 array learns a target of standard deviation 0.3 from 20,000 vectors, in batches of 10, by
the gradient of the squared error: stochastic pulses (SGD), mixed precision, Tiki-Taka 1 and 2,
chopped, AGAD. Devices have soft bounds, 20 or 1,000 states; the fast array's weights are counted
from a reference of standard deviation 0, 0.1 or 0.5. The number is rms(W - target) / 2, in percent
of the range, a mean over the last 2,000 vectors. The experiment and its conditions are those of
M. J. Rasch et al., Nature Communications 15, 7133 (2024), which was read at second hand: order and
ratios are compared, not numbers (the paper: SGD above 25 %, TTv2 5 %, 9 % from an offset of 0.1;
c-TTv2 as good at 0.5 as at 0). Writes ``weight_programming/`` beside this script:
``rows.csv``, ``table.md``, ``results.csv``. FOLDER keeps finished runs, so that a run that was
stopped goes on.

Where AIHWKit can be imported its tiles get the same vectors, and means over 20 seeds are compared
within two standard errors; elsewhere, unless FOLDER has these runs, such rows are left out, which
the table says. About four minutes of one core without AIHWKit.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write

from aimc_sim import presets
from aimc_sim.learning import AGAD, MixedPrecision, StepDevices, StochasticPulses, TikiTaka, Update
from aimc_sim.learning.engine import Engine
from aimc_sim.learning.synapses import Synapses
from aimc_sim.rng import Key

HERE = Path(__file__).parent / "weight_programming"
SIZE, VECTORS, BATCH, LAST, LR = 20, 20_000, 10, 2_000, 0.05
STATES, OFFSETS = (20, 1000), (0.0, 0.1, 0.5)
FAST_LR, GRANULARITY, CHOPPED = 5 / 31, 5 / 3, 0.05
"""Five pulses or so for the most driven device of A; lr / (granularity g) = 0.3 at 20 states; a
flip in 20 reads of a row."""

KIT_SEEDS, KIT_VECTORS, KIT_OFFSETS = 20, 6_000, (0.0, 0.5)
"""AIHWKit draws its pulses anew in every run, and a run in forty ends far off: the mean of ten
seeds of TTv2 at offset 0 came out as 3.35 and as 3.08 %, ours is 2.98 %."""

BUFFER = {"auto_granularity": 0.0, "granularity": GRANULARITY, "fast_lr": FAST_LR}

UPDATES: dict[str, Callable[[StepDevices], Update]] = {
    "SGD": lambda fast: StochasticPulses(),
    "mixed precision": lambda fast: MixedPrecision(),
    "TTv1": lambda fast: TikiTaka(version=1, per_batch=False, fast=fast),
    "TTv2": lambda fast: TikiTaka(fast=fast, **BUFFER),
    "c-TTv2": lambda fast: TikiTaka(fast=fast, chopped=CHOPPED, **BUFFER),
    "AGAD": lambda fast: AGAD(fast=fast, chopped=CHOPPED, **BUFFER),
}
ONE_ARRAY = ("SGD", "mixed precision")
"""Updates without a fast array, which the offset is of."""

FACTS = {
    ("SGD", 0.0): 8.2, ("mixed precision", 0.0): 2.0, ("TTv2", 0.0): 3.4, ("TTv2", 0.1): 3.6,
    ("TTv2", 0.5): 35.4, ("c-TTv2", 0.0): 3.4, ("c-TTv2", 0.1): 3.6, ("c-TTv2", 0.5): 9.7,
    ("AGAD", 0.0): 4.65, ("AGAD", 0.1): 4.65, ("AGAD", 0.5): 4.6,
}  # fmt: skip
"""An independent simulation of this project's own (vectors one at a time, capped rate of A, one or
two seeds), 20 states."""

SOURCE = "claim of the paper, at second hand"
OURS = "an independent simulation of the same devices and updates"


def vectors(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the target, (SIZE, SIZE), and the inputs, (steps, BATCH, SIZE), of a seed."""
    rng = np.random.default_rng(seed)
    target = (0.3 * rng.standard_normal((SIZE, SIZE))).astype(np.float32)
    x = 0.5 * rng.standard_normal((count // BATCH, BATCH, SIZE))
    return target, np.clip(x, -1, 1).astype(np.float32)


def error(
    weights: Callable[[], np.ndarray], step: Callable[[np.ndarray, np.ndarray, int], None],
    seed: int, count: int,
) -> float:  # fmt: skip
    """Return the error in percent of an array that is read and stepped by two functions."""
    target, inputs = vectors(seed, count)
    left = []
    for number, x in enumerate(inputs):
        w = weights()
        if number * BATCH >= count - LAST:
            left.append(float(np.sqrt(np.mean((w - target) ** 2))))
        step(x, x @ (w - target), number)
    return 100 * float(np.mean(left)) / 2


def own_array(
    name: str, states: int, offset: float, seed: int, size: int
) -> tuple[Synapses, Engine]:
    """Return an array of ours, size x size, weights 0, and what steps it."""
    slow = StepDevices(presets.soft_bounds(states), scale=1.0)
    fast = StepDevices(presets.soft_bounds(states, reference_std=offset), scale=1.0)
    array = slow.synapses(np.zeros((size, size), np.float32), 1.0, Key(seed).child(0))
    return array, UPDATES[name](fast).engine(array, Key(seed).child(1))


def at_once(engine: Engine, x: np.ndarray, d: np.ndarray, number: int) -> None:
    """Step an engine by a batch."""
    engine.step(x, d, LR, 0.0, number)


def run(
    name: str, states: int, offset: float, seed: int, count: int = VECTORS,
    step: Callable[[Engine, np.ndarray, np.ndarray, int], None] = at_once,
) -> float:  # fmt: skip
    """Return our error in percent."""
    array, engine = own_array(name, states, offset, seed, SIZE)
    return error(lambda: array.weights(0.0), lambda x, d, n: step(engine, x, d, n), seed, count)


def late_run(name: str, states: int, offset: float, seed: int, count: int) -> float:
    """Return our error in percent, each batch's pulses held back as in AIHWKit's mixed precision.

    A compound that moves its accumulator once in ten vectors does so after the first of the next
    ten: constant steps and errors of +0.15 and -0.15 in turn, which cancel in a batch of ten, gave
    a pulse (1.2.0).
    """
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def late(engine: Engine, x: np.ndarray, d: np.ndarray, number: int) -> None:
        d = d.astype(np.float32)
        if held:
            x0, d0 = held.pop()
            engine.step(np.concatenate([x0, x[:1]]), np.concatenate([d0, d[:1]]), LR, 0.0, number)
            x, d = x[1:], d[1:]
        held.append((x, d))

    return run(name, states, offset, seed, count, late)


def kit_tile(name: str, states: int, offset: float, seed: int, size: int) -> Any:
    """Return such a tile of AIHWKit."""
    from aihwkit.simulator.configs import configs, devices
    from aihwkit.simulator.configs.compounds import (
        ChoppedTransferCompound,
        DynamicTransferCompound,
        MixedPrecisionCompound,
        TransferCompound,
    )
    from aihwkit.simulator.configs.utils import IOParameters, UpdateParameters
    from aihwkit.simulator.tiles import AnalogTile
    from torch import from_numpy

    def device(reference: float) -> devices.SoftBoundsReferenceDevice:
        return devices.SoftBoundsReferenceDevice(
            dw_min=2 / states, up_down=0.0, w_max=1.0, w_min=-1.0, dw_min_dtod=0.3,
            w_max_dtod=0.3, w_min_dtod=0.3, up_down_dtod=0.05, dw_min_std=0.3, mult_noise=True,
            reference_std=reference, construction_seed=seed + 1,
        )  # fmt: skip

    perfect = IOParameters(is_perfect=True)
    single = UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)
    managed = UpdateParameters(desired_bl=31, update_bl_management=True, update_management=True)
    pair = {"unit_cell_devices": [device(offset), device(0.0)], "transfer_forward": perfect}
    own = {
        **pair, "transfer_update": single, "units_in_mbatch": False, "fast_lr": FAST_LR,
        "auto_scale": True, "auto_granularity": 0.0, "buffer_granularity": GRANULARITY,
    }  # fmt: skip
    if name == "SGD":
        config = configs.SingleRPUConfig(device=device(0.0))
    elif name == "mixed precision":
        config = configs.DigitalRankUpdateRPUConfig(
            device=MixedPrecisionCompound(device=device(0.0), granularity=2 / states)
        )
    else:
        compound = {
            "TTv1": lambda: TransferCompound(
                **pair, transfer_update=managed, units_in_mbatch=False, transfer_every=1
            ),
            "TTv2": lambda: ChoppedTransferCompound(**own, in_chop_prob=0.0),
            "c-TTv2": lambda: ChoppedTransferCompound(**own, in_chop_prob=CHOPPED),
            "AGAD": lambda: DynamicTransferCompound(**own, in_chop_prob=CHOPPED),
        }[name]()
        config = configs.UnitCellRPUConfig(device=compound)
    config.update, config.forward, config.backward = managed, perfect, perfect
    tile = AnalogTile(size, size, config, bias=False)
    tile.set_weights(from_numpy(np.zeros((size, size), np.float32)))
    tile.set_learning_rate(LR)
    return tile


def kit_run(name: str, states: int, offset: float, seed: int, count: int) -> float:
    """Return the error in percent of an AIHWKit tile with the same vectors."""
    tile = kit_tile(name, states, offset, seed, SIZE)
    from torch import from_numpy

    def step(x: np.ndarray, d: np.ndarray, number: int) -> None:
        tile.update(from_numpy(x), from_numpy(np.ascontiguousarray(d, np.float32)))

    return error(lambda: tile.get_weights()[0].numpy().T, step, seed, count)


class Kept:
    """Numbers of finished runs, in a file where there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / "weight_programming.json"
        kept = self.path is not None and self.path.exists()
        self.values: dict[str, float] = json.loads(self.path.read_text()) if kept else {}

    def get(self, call: Callable[..., float], *arguments: object) -> float:
        """Return a number, computed if it is not there."""
        name = " ".join([call.__name__, *map(str, arguments)])
        if name not in self.values:
            self.values[name] = call(*arguments)
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(self.values, indent=0))
        return self.values[name]


def cells() -> list[tuple[str, int, float]]:
    """Return update, states and offset of all cells of the table."""
    return [
        (name, states, offset)
        for states in STATES
        for name in UPDATES
        for offset in ((0.0,) if name in ONE_ARRAY else OFFSETS)
    ]


def rows_of(mean: dict[tuple[str, int, float], float]) -> list[Row]:
    """Return the rows of our own numbers."""

    def holds(text: str, condition: bool, ours: bool = False) -> Row:
        source, kind, whose = SOURCE, "predicted", "Rasch 2024"
        if ours:
            source, kind, whose = OURS, "self-consistency", ""
        return Row(f"{text} (1: yes)", 1, int(condition), 0, source, kind, 0, whose)

    few = {key[::2]: value for key, value in mean.items() if key[1] == STATES[0]}
    drift = [few["AGAD", offset] for offset in OFFSETS]
    found = [
        holds("SGD is at least twice TTv2, 20 states", few["SGD", 0.0] >= 2 * few["TTv2", 0.0]),
        holds("TTv2 at offset 0.5 is at least three times that at 0, 20 states",
              few["TTv2", 0.5] >= 3 * few["TTv2", 0.0]),
        holds("TTv2 at offset 0.1 is at least one and a half times that at 0, 20 states",
              few["TTv2", 0.1] >= 1.5 * few["TTv2", 0.0]),
        holds("c-TTv2 changes by less than 1 point from offset 0 to 0.5, 20 states",
              abs(few["c-TTv2", 0.5] - few["c-TTv2", 0.0]) < 1),
        holds("c-TTv2 at offset 0.5 is below TTv2 there, 20 states",
              few["c-TTv2", 0.5] < few["TTv2", 0.5]),
        holds("AGAD changes by less than 1 point over offsets, 20 states",
              max(drift) - min(drift) < 1),
        holds("AGAD is best of all with a fast array at offset 0.5, 20 states",
              few["AGAD", 0.5] < min(few[name, 0.5] for name in ("TTv1", "TTv2", "c-TTv2"))),
        holds("mixed precision is best at offset 0, 20 states",
              few["mixed precision", 0.0] == min(few[name, 0.0] for name in UPDATES), True),
    ]  # fmt: skip
    many = {key[::2]: value for key, value in mean.items() if key[1] == STATES[1]}
    found += [
        holds("AGAD at offset 0.5 is below TTv2 there, 1,000 states",
              many["AGAD", 0.5] < many["TTv2", 0.5]),
        holds("SGD gains from more states", many["SGD", 0.0] < few["SGD", 0.0], True),
    ]  # fmt: skip
    for (name, offset), wanted in FACTS.items():
        # Two of the many differences between the two programs: batches, and the cap of A's rate.
        tolerance = max(1.0, 0.2 * wanted)
        found.append(
            Row(f"{name}, 20 states, offset {offset:g}: error (%)", wanted, few[name, offset],
                tolerance, OURS,
                "self-consistency", wanted + 2 * tolerance)
        )  # fmt: skip
    return found


def against_the_kit(kept: Kept) -> tuple[list[Row], str]:
    """Return rows against AIHWKit and a note; no rows where a run is neither kept nor possible."""
    found, states = [], STATES[0]
    for name in UPDATES:
        for offset in (0.0,) if name in ONE_ARRAY else KIT_OFFSETS:
            own = late_run if name == "mixed precision" else run
            try:
                samples = [
                    np.array([kept.get(call, name, states, offset, seed, KIT_VECTORS)
                              for seed in range(KIT_SEEDS)])
                    for call in (kit_run, own)
                ]  # fmt: skip
            except ImportError as reason:
                return [], f"No rows against AIHWKit: {reason}."
            theirs, ours = (float(sample.mean()) for sample in samples)
            spread = np.sqrt(sum(s.var(ddof=1) for s in samples) / KIT_SEEDS)
            # Targets are shared; the devices of every seed are not, so errors are of two samples.
            found.append(
                Row(f"{name}, 20 states, offset {offset:g}, 6,000 vectors: error (%)", theirs,
                    ours, 2 * float(spread), f"as run here, mean of {KIT_SEEDS} seeds; tolerance: "
                    "two standard errors of the difference", "predicted",
                    theirs + 5 * float(spread),
                    "AIHWKit")
            )  # fmt: skip
    return found, (
        "AIHWKit's tiles got the same vectors. Its mixed precision gives the pulses of a batch "
        "after the first vector of the next, and so does ours in that row; its counts are random "
        "besides."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    kept, table, mean = Kept(options.work), [], {}
    for cell in cells():
        values = [kept.get(run, *cell, seed) for seed in range(options.seeds)]
        mean[cell] = float(np.mean(values))
        table.append([*cell, round(mean[cell], 3), round(float(np.std(values)), 3)])
        print(*table[-1], flush=True)
    HERE.mkdir(exist_ok=True)
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["update", "states", "offset", "error_percent", "std_percent"])
        writer.writerows(table)
    others, note = against_the_kit(kept)
    lines = "\n".join(f"| {n} | {s} | {o:g} | {e:.2f} | {d:.2f} |" for n, s, o, e, d in table)
    notes = (
        f"{options.seeds} seeds. {note} An offset is a property of the fast array; updates without "
        "one have none. At 1,000 states the constants of the buffer are those of 20 states: "
        "chopped Tiki-Taka is not tuned there.\n\n"
        "| update | states | offset | error (%) | standard deviation over seeds |\n"
        f"|---|---|---|---|---|\n{lines}"
    )
    command = "python validation/learning/weight_programming.py"
    title = "Weights of one array programmed by gradients"
    if not write(HERE, title, command, rows_of(mean) + others, notes):
        raise SystemExit("a row is off that is no prediction")


if __name__ == "__main__":
    main()
