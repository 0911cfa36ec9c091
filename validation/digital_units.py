"""Errors of the digital units: the 18-bin tanh and sigmoid, float16 against float32.

    python validation/digital_units.py

Needs no data. The chip paper (arXiv:2212.02872) gives the format and the number of bins, not the
table: "paper" is what theory or the neighbouring INT8 asks for, as each row says. Writes
``digital_units/`` beside this script: ``rows.csv``, ``table.md`` and ``tables.png``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from comparison import Row, write
from matplotlib.figure import Figure

from aimc_sim.chip import gdpu
from aimc_sim.core import ldpu
from aimc_sim.figures.canvas import PALETTE
from aimc_sim.rng import Key
from aimc_sim.spec.gdpu import GdpuSpec

FOLDER = Path(__file__).with_suffix("")
SEED = 20
HALF_STEP = 0.5 / 127
"""Half an INT8 step of a value in -1 ... 1."""
RMS_RANGE = 4.0
"""The rms of a table is taken over -4 ... 4, evenly."""
SPECS = {"float32": GdpuSpec(bit_true=False), "float16": GdpuSpec()}
OUTPUTS, CHANNELS = 4000, 256
CODE_STD, VALUE_STD, OFFSET_STD, LINK_SCALE = 60.0, 30.0, 20.0, 0.37
"""Of the random layer: ADC codes; then in output codes: values, channel offsets, link codes."""


def logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(x / 2)


FUNCTIONS = {"tanh": (gdpu.tanh, np.tanh), "sigmoid": (gdpu.sigmoid, logistic)}


def table_errors(ours: Callable, true: Callable, spec: GdpuSpec) -> tuple[float, float]:
    """Return the largest error over all finite float16, and the rms over -4 ... 4."""
    every = np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16)
    every = every[np.isfinite(every)].astype(np.float32)
    even = np.linspace(-RMS_RANGE, RMS_RANGE, 8193).astype(np.float16).astype(np.float32)
    largest = np.abs(ours(every, spec) - true(every.astype(float))).max()
    squares = (ours(even, spec) - true(even.astype(float))) ** 2
    return float(largest), float(np.sqrt(squares.mean()))


def affine(step: float) -> tuple[float, float]:
    """Return how float16 differs from float32 in the local unit: rms in codes, share of codes.

    ``step`` is the value of one output code: the registers hold values, so that a small one
    takes them towards the subnormal float16.
    """
    rng = Key(SEED).generator()
    codes = np.rint(rng.normal(0, CODE_STD, (OUTPUTS, CHANNELS))).clip(-511, 511)
    link = rng.integers(-127, 128, codes.shape)
    scale = step * rng.uniform(0.5, 1.5, CHANNELS) * VALUE_STD / CODE_STD
    registers = ldpu.LdpuRegisters(
        scale, step * rng.normal(0, OFFSET_STD, CHANNELS), link_scale=step * LINK_SCALE,
        per_step=1 / step, limit=np.inf, rounds=False,
    )  # fmt: skip
    counts = ldpu.split(codes)
    exact, near = (ldpu.run(registers, *counts, link, bit_true=b)[0] for b in (False, True))
    registers = replace(registers, limit=127.0, rounds=True)
    sent = [ldpu.run(registers, *counts, link, bit_true=b)[0] for b in (False, True)]
    return float(np.sqrt(((near - exact) ** 2).mean())), float((sent[0] != sent[1]).mean())


def rows() -> list[Row]:
    """Return all comparisons; nothing of the chip's table is published, so all are our own."""
    found, ours_both = [], "self-consistency"
    top = 1 - float(gdpu.tanh_table(18, False).offsets[-1])
    for name, (ours, true) in FUNCTIONS.items():
        # The sigmoid halves the table's error; rounded edges move each bin a little.
        bound = top if name == "tanh" else top / 2
        for number_format, spec in SPECS.items():
            largest, rms = table_errors(ours, true, spec)
            what = f"{name}, 18 bins, {number_format}"
            if number_format == "float32":
                note = (
                    "least largest error of 18 bins, derived; tolerance: edges are float16; "
                    "rejects 17 bins"
                )
                fewer = bound * (18 / 17) ** 2  # the error of chords goes with width squared
                found.append(Row(f"{what}: largest error", bound, largest, 2**-13, note,
                                 ours_both, fewer))  # fmt: skip
            else:
                note = "an error below half an INT8 step; rejects bins without slopes"
                found.append(Row(f"{what}: largest error", 0.0, largest, HALF_STEP, note,
                                 ours_both, flat_bins(true)))  # fmt: skip
            note = "an error below a quarter of an INT8 step; rejects bins without slopes"
            found.append(Row(f"{what}: rms error, -4 ... 4", 0.0, rms, HALF_STEP / 2, note,
                             ours_both, flat_bins(true) / np.sqrt(3)))  # fmt: skip
    rms, share = affine(1.0)
    note = "two roundings of 2^-11 at most, of values below 256 and 128; rejects two bits fewer"
    found.append(Row("local unit, float16 - float32: rms, output codes", 0.0, rms, 0.05, note,
                     ours_both, 4 * rms))  # fmt: skip
    note = "a value is on the other side of a tie with probability E abs(error): below 5 %"
    note += "; rejects two bits fewer"
    found.append(Row("local unit: share of INT8 codes that differ, step 1", 0.0, share, 0.05, note,
                     ours_both, 4 * share))  # fmt: skip
    other = affine(2.0**-6)[1]
    note = "the same values in steps of 2^-6, as in a layer whose outputs reach 2: same bits left"
    note += "; rejects subnormal registers (step 2^-15)"
    found.append(Row("local unit: the same, step 2^-6", share, other, 0.1 * share, note,
                     ours_both, affine(2.0**-15)[1]))  # fmt: skip
    spec = SPECS["float16"]
    note = "64 outputs per slice, one every 4 clocks, as stated; rejects one unit for all 512"
    found.append(Row("LSTM tail of 512 units, clocks", 256, gdpu.cycles(512, spec), 0, note,
                     "given", 2048, "Le Gallo 2023"))  # fmt: skip
    return found


def flat_bins(true: Callable) -> float:
    """Return the largest error of 18 levels without slopes: half a step of the range."""
    return 0.5 * float(np.ptp(true(np.array([-9.0, 9.0])))) / 17


def draw(path: Path) -> None:
    """Draw the error of both tables in both formats."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    x = np.unique(np.linspace(-6, 6, 12001).astype(np.float16)).astype(np.float32)
    edges = gdpu.tanh_table(18, True).edges
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (name, (ours, true)) in zip(panels, FUNCTIONS.items(), strict=True):
        for line in edges * (1 if name == "tanh" else 2):
            ax.axvline(line, color="0.88", lw=0.8, zorder=0)
        for (label, spec), colour, width in zip(
            reversed(SPECS.items()), (PALETTE[1], PALETTE[0]), (0.6, 1.4), strict=True
        ):
            error = ours(x, spec) - true(x.astype(float))
            ax.plot(x, 1e3 * error, color=colour, lw=width, label=label)
        for sign in (-1, 1):
            ax.axhline(sign * 1e3 * HALF_STEP, color="0.4", lw=1, ls="--",
                       label="half an INT8 step" if sign > 0 else None)  # fmt: skip
        ax.set_title(f"{name} by 18 linear bins (edges: grey lines)", fontsize=10)
        ax.set_xlabel("x")
        ax.set_xlim(-6, 6)
    panels[0].set_ylabel("error (thousandths)")
    panels[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=160)


def main() -> None:
    notes = (
        "The table of the chip is not published; this one has the least largest error that 18 "
        "bins allow, the two bins at zero through (0, 0). Both tables are odd and monotonic over "
        "all float16. The local unit: random ADC codes (standard deviation "
        f"{CODE_STD:g}), channel scales and offsets, and a link input; {OUTPUTS * CHANNELS:,} "
        "outputs. Registers in very small steps lose bits: with scales near 2^-16, which are "
        f"subnormal float16 (step 2^-15), {affine(2.0**-15)[1]:.1%} of the codes differ.\n\n"
        "![errors](tables.png)"
    )
    write(FOLDER, "Digital units", "python validation/digital_units.py", rows(), notes)
    draw(FOLDER / "tables.png")


if __name__ == "__main__":
    main()
