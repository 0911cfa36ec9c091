"""Time of an update against AIHWKit's tiles: one array, one batch, in turn in one process.

    python validation/learning/update_speed.py [--rounds 20]

An array of 512 x 512 soft-bounds devices of 1,000 states (that of ``weight_programming.py``, 256
times as large) is stepped by batches of 1, 10 and 64 normal vectors by each of six updates, at
a rate at which plain descent gives a device about a pulse per vector, and at a hundredth of it, on
one thread; quoted are medians of the rounds, and the median ratio of both within a round. Tiles and
arrays get equal numbers. Needs AIHWKit; where it cannot be imported the reason is printed and
nothing is written. Writes ``update_speed/`` beside this script.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from weight_programming import UPDATES, kit_tile, own_array

from aimc_sim.kernels import threads

HERE = Path(__file__).parent / "update_speed"
SIZE, STATES, BATCHES, RATES = 512, 1000, (1, 10, 64), (0.05, 0.0005)


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def both(name: str, batch: int, rate: float, rounds: int) -> tuple[float, float, float]:
    """Return median seconds of AIHWKit and of ours, and the median ratio of the two."""
    _, engine = own_array(name, STATES, 0.0, 0, SIZE)
    tile = kit_tile(name, STATES, 0.0, 0, SIZE)
    tile.set_learning_rate(rate)
    rng, taken = np.random.default_rng(0), []
    for number in range(rounds + 2):
        x = (0.5 * rng.standard_normal((batch, SIZE))).clip(-1, 1).astype(np.float32)
        d = (0.1 * rng.standard_normal((batch, SIZE))).astype(np.float32)
        x_kit, d_kit = torch.from_numpy(x), torch.from_numpy(d)
        theirs = timed(lambda x=x_kit, d=d_kit: tile.update(x, d))
        ours = timed(lambda x=x, d=d, n=number: engine.step(x, d, rate, 0.0, n))
        taken.append((theirs, ours))
    times = np.array(taken[2:])  # the first rounds compile and warm up
    return *np.median(times, 0), float(np.median(times[:, 1] / times[:, 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    try:
        import aihwkit
    except ImportError as reason:
        print(f"nothing to compare with: {reason}")
        return
    torch.set_num_threads(1)
    threads.set_threads(1)
    lines = [
        "| update | rate | batch | AIHWKit (ms) | ours (ms) | ratio |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, rate, batch in itertools.product(UPDATES, RATES, BATCHES):
        theirs, ours, ratio = both(name, batch, rate, options.rounds)
        lines.append(
            f"| {name} | {rate:g} | {batch} | {1e3 * theirs:.2f} | {1e3 * ours:.2f} | {ratio:.2f} |"
        )
        print(lines[-1], flush=True)
    text = (
        "# Time of an update against AIHWKit's tiles\n\n"
        f"`python validation/learning/update_speed.py --rounds {options.rounds}`\n\n"
        f"AIHWKit {aihwkit.__version__}, torch {torch.__version__}, {platform.machine()} "
        f"({torch.backends.cpu.get_cpu_capability()}), one thread, {options.rounds} rounds; ratio "
        "below 1: ours is faster.\n\n" + "\n".join(lines) + "\n"
    )
    HERE.mkdir(exist_ok=True)
    (HERE / "times.md").write_text(text)


if __name__ == "__main__":
    main()
