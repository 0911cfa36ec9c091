"""Voltage lost along the wires: closed forms, approximations against the exact circuit, its size.

    python validation/ir_drop.py

Closed forms of resistor ladders; the effective matrix and the correction for floating idle lines
against the exact circuit on random crossbars; error of products against wire resistance for
conductances like the chip's (0.1 to 10 uS, 256 x 256, 0.35 ohm per cell as AIHWKit assumes); and
AIHWKit's formula (``rpu_pulsed``, IR drop of the forward pass) on the same columns. Writes
``ir_drop/`` beside this script.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from comparison import Row, write

from aimc_sim.core import idle, wires
from aimc_sim.figures.canvas import HATCHES, MARKERS, PALETTE
from aimc_sim.rng import Key
from aimc_sim.spec.wires import WireSpec

OHM = 0.35  # per cell, AIHWKit's default; no number of the chip is published
FLOATS = "high-impedance"
OURS = "self-consistency"
KINDS = ("rectified", "uniform", "on or off", "signed")


LONGER = ((512, 1.0, 446.5217), (512, 0.3, 146.9379), (1024, 1.0, 646.7619))
"""Cells of a line, their weight, and the output by AIHWKit's formula with all inputs at 1."""


def lines(ohm: float, end: float = 10.0) -> WireSpec:
    """Return wires with the same resistance along rows and columns, and at both ends."""
    return WireSpec(row_ohm=ohm, col_ohm=ohm, driver_ohm=end, sense_ohm=end)


def weights(generator, size: int) -> np.ndarray:
    """Return the conductances (2, R, C) of normal weights: 0.1 uS (RESET) up to 10 uS."""
    weight = generator.normal(0, 0.3, (size, size)).clip(-1, 1)
    return 0.1e-6 + 9.9e-6 * np.maximum([weight, -weight], 0)


def pulses(generator, count: int, size: int, kind: str) -> np.ndarray:
    """Return input codes (count, size) within +-127."""
    x = generator.normal(0, 0.35, (count, size)).clip(-1, 1)
    if kind == "rectified":
        x = np.maximum(x, 0)
    elif kind == "uniform":
        x = generator.uniform(0, 1, x.shape)
    elif kind == "on or off":
        x = (generator.random(x.shape) < 0.5).astype(float)
    return np.rint(127 * x)


def exact(terminals: wires.Ports, codes: np.ndarray) -> np.ndarray:
    """Return the charge of both polarities, floating idle lines, inputs of one sign at a time."""
    return sum(
        phase * sign * idle.charge_of_pulses(wires.Ports(s, d), part, 127)
        for phase, part in ((1, np.maximum(codes, 0)), (-1, np.maximum(-codes, 0)))
        for sign, s, d in zip((1, -1), terminals.sensed, terminals.drawn, strict=True)
    )


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the rms difference over the rms value."""
    return float(np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean()))


def closed_forms() -> list[Row]:
    """Compare with ladders that can be solved on paper."""
    g, n = 5e-6, 256
    rows = []
    cell = wires.effective_matrix(np.array([[g]]), lines(0, 1000))[0, 0]
    rows.append(Row("one cell between 1 kohm and 1 kohm (uS)", 1e6 / (1 / g + 2000), cell * 1e6,
                    1e-9, "series resistors", OURS, 1e6 * g))  # fmt: skip
    theta = 2 * np.arcsinh(np.sqrt(g * OHM) / 2)  # per section of the ladder
    far = 1 / np.cosh((n - 0.5) * theta) * np.cosh(theta / 2)
    row = wires.effective_matrix(np.full((1, n), g), WireSpec(row_ohm=OHM))
    rows.append(Row("last cell of an input line, 256 x 5 uS: share left", far, row[0, -1] / g,
                    1e-9, "uniform ladder: cosh(theta/2) / cosh((n - 1/2) theta)", OURS,
                    1.0))  # fmt: skip
    column = wires.effective_matrix(np.full((n, 1), g), WireSpec(col_ohm=OHM))
    rows.append(Row("first cell of an output line, 256 x 5 uS: share left", far,
                    column[0, 0] / g, 1e-9, "the same, by reciprocity", OURS, 1.0))  # fmt: skip
    root = n * np.sqrt(g * OHM)
    rows.append(Row("whole output line, all inputs on: share left", np.tanh(root) / root,
                    column.sum() / (n * g), 1e-3, "continuous line: tanh(x) / x", OURS,
                    1.0))  # fmt: skip
    return rows


def matrices(tiles: int, large: bool) -> list[Row]:
    """Compare the effective matrix with the sparse solution of the whole circuit."""
    generator = Key(1).generator()
    worst = ideal = 0.0
    for _ in range(tiles):
        shape, ohms = generator.integers(2, 40, 2), 10 ** generator.uniform(-1, 1.5, 4)
        names = ("row_ohm", "col_ohm", "driver_ohm", "sense_ohm")
        spec = WireSpec(**dict(zip(names, map(float, ohms), strict=True)))
        g = 10 ** generator.uniform(-7, -5, shape)
        full = wires.solve(g, np.eye(len(g)), np.ones(len(g), bool), spec).output_amperes
        worst = max(worst, np.abs(wires.effective_matrix(g, spec) / full - 1).max())
        ideal = max(ideal, np.abs(g / full - 1).max())
    rows = [Row(f"effective matrix, {tiles} random crossbars, 0.1 to 30 ohm: largest error of an "
                "element", 0.0, worst, 1e-6, "sparse nodal analysis; rejects no wires", OURS,
                ideal)]  # fmt: skip
    if large:
        g, volts = weights(generator, 256)[0], generator.uniform(0, 0.2, (4, 256))
        full = wires.solve(g, volts, np.ones(256, bool), lines(OHM)).output_amperes
        found = volts @ wires.effective_matrix(g, lines(OHM))
        rows.append(Row("products, 256 x 256, 4 inputs: largest error", 0.0,
                        np.abs(found / full - 1).max(), 1e-6, "sparse nodal analysis; rejects no "
                        "wires", OURS, np.abs(volts @ g / full - 1).max()))  # fmt: skip
    return rows


def floating(size: int, tiles: int, kind: str) -> tuple[float, float, float]:
    """Return rms errors, of the exact products: ideal wires, grounded lines, with correction."""
    generator = Key(2 + size).generator()
    scale = 256 / size  # as much drop as in a line of 256 cells
    ideal, grounded, corrected, wanted = [], [], [], []
    for _ in range(tiles):
        g = weights(generator, size)
        terminals = wires.ports(g, lines(OHM * scale**2, 10.0 * scale))
        codes = pulses(generator, 2, size, kind)
        wanted.append(exact(terminals, codes))
        ideal.append(codes @ (g[0] - g[1]))
        grounded.append(codes @ (terminals.sensed[0] - terminals.sensed[1]))
        corrected.append(
            grounded[-1] + idle.high_impedance_correction(idle.idle_lines(terminals), codes, 127)
        )
    return tuple(relative(np.array(x), np.array(wanted)) for x in (ideal, grounded, corrected))


def noise(size: int) -> list[Row]:
    """Compare the attenuation of a cell's fluctuation with the exact first-order sensitivity."""
    g = weights(Key(5).generator(), size)[0]
    spec = lines(OHM * (256 / size) ** 2, 10.0 * 256 / size)
    volts = np.concatenate([np.eye(size), np.ones((1, size))])
    solved = wires.solve(g, volts, np.ones(size, bool), spec)
    across = solved.input_volts - solved.output_volts
    # By reciprocity, a current in a cell reaches converter c as 1 V at c reaches the cell.
    back = wires.solve(g.T[::-1, ::-1], np.eye(size)[::-1], np.ones(size, bool), spec.transposed())
    reach = (back.input_volts - back.output_volts)[:, ::-1, ::-1]  # converter, column, row
    own = reach[np.arange(size), np.arange(size)].T  # (row, column)
    share = wires.attenuation(g, spec)
    alone = across[np.arange(size), np.arange(size)] * own
    together = across[-1] * own
    source = "exact first-order sensitivity dI/dG; rejects no attenuation"
    return [
        Row("noise of a cell, its line alone on: largest error of the attenuation", 0.0,
            np.abs(share / alone - 1).max(), 0.01, source, OURS, np.abs(1 / alone - 1).max()),
        Row("noise of a cell, all lines on: rms error of the attenuation", 0.0,
            relative(share, together), 0.03, source, OURS,
            relative(np.ones_like(share), together)),
    ]  # fmt: skip


def aihwkit(w: np.ndarray, x: np.ndarray, ohm: float, g_max: float) -> np.ndarray:
    """Return outputs by AIHWKit's formula, as coded; w (R, C), x (N, R), one polarity."""
    n = len(w)
    a = n * ohm * g_max * (np.abs(x) @ np.abs(w))
    c = a * (0.5 + a * (-0.2 + 0.05 * a))
    position = 1 - (1 - np.arange(n) / n) ** 2
    return x @ w - c * ((x * position) @ w)


def formula() -> list[Row]:
    """Compare AIHWKit's formula with output lines alone, n = 256, 5 uS."""
    n, g = 256, 5e-6
    generator = Key(6).generator()
    w = generator.uniform(0, 1, (n, 64))
    w[:, 0] = 1
    x = np.ones((3, n))
    x[1, n // 2 :] = 0  # only the half far from our converters
    x[2, : n // 2] = 0
    effective = wires.effective_matrix(g * w, WireSpec(col_ohm=OHM)) / g
    ours, theirs = x @ effective, aihwkit(w, x, OHM, g)
    turned = aihwkit(w[::-1], x[:, ::-1], OHM, g)
    loss, coded, reverse = (100 * (1 - y / (x @ w))[:, 0] for y in (ours, theirs, turned))
    rows = [
        Row("AIHWKit's formula as coded here, all weights and inputs 1: output", 246.6768,
            theirs[0, 0], 1e-3, "the formula, evaluated by hand; rejects no drop", OURS, 256.0,
            "AIHWKit"),
        Row("loss of an output line, all inputs on (%)", reverse[0], loss[0], 0.05,
            f"formula in reverse order, as coded {coded[0]:.2f}; exact line; rejects no loss",
            "predicted", 0.0, "AIHWKit"),
        Row("loss with inputs 0-127 on, over loss with inputs 128-255 on", reverse[1] / reverse[2],
            loss[1] / loss[2], 0.05, "formula in reverse order; rejects the formula as coded",
            "predicted", coded[1] / coded[2], "AIHWKit"),
        Row("random weights, all inputs on: rms difference of outputs (% of the loss)", 0.0,
            100 * relative(turned[0] - (x @ w)[0], ours[0] - (x @ w)[0]), 5.0,
            "formula in reverse order against the exact line; rejects no loss", "predicted", 100.0,
            "AIHWKit"),
        Row("inputs 0-127 on: loss over loss by AIHWKit in reverse order",
            2.0, loss[1] / reverse[1], 0.1,
            "first order in the wire: 11/24 over 11/48 of g ohm n^2; rejects the formula's loss",
            OURS, 1.0, "AIHWKit"),
    ]  # fmt: skip
    for cells, value, output in LONGER:
        line = wires.effective_matrix(np.full((cells, 1), g * value), WireSpec(col_ohm=OHM))
        full = cells * value
        rows.append(Row(f"loss of a line of {cells} cells of {value:g} of 5 uS (%)",
                        100 * (1 - output / full), 100 * (1 - line.sum() / g / full),
                        3 * (1 - output / full), "formula; exact line; tolerance: 3 % of the "
                        "loss; rejects no loss", "predicted", 0.0, "AIHWKit"))  # fmt: skip
    return rows


def size_of_drop(ohms: np.ndarray) -> np.ndarray:
    """Return rms errors of products (4, len(ohms)): grounded, floating, each also rescaled."""
    generator = Key(7).generator()
    g, found = weights(generator, 256), []
    codes = pulses(generator, 6, 256, "rectified")
    ideal = codes @ (g[0] - g[1])
    for ohm in ohms:
        terminals = wires.ports(g, lines(float(ohm), 0.0))
        grounded = codes @ (terminals.sensed[0] - terminals.sensed[1])
        added = idle.high_impedance_correction(idle.idle_lines(terminals), codes, 127)
        both = (grounded, grounded + added)
        fitted = [y * (y * ideal).sum() / (y * y).sum() for y in both]
        found.append([relative(y, ideal) for y in (*both, *fitted)])
    return np.array(found).T


def figure(folder: Path, ohms: np.ndarray, errors: np.ndarray, residue: dict) -> None:
    """Draw where a crossbar loses current, how much, and what approximations leave."""
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    share = wires.effective_matrix(np.full((256, 256), 5e-6), lines(OHM, 0.0)) / 5e-6
    image = left.imshow(100 * (1 - share), cmap="magma_r")
    fig.colorbar(image, ax=left, label="loss, line alone on (%)")
    left.set(title=f"all cells 5 uS, {OHM:g} ohm per cell",
             xlabel="column (drivers at 0)", ylabel="row (converters below 255)")  # fmt: skip
    names = ("grounded", "floating", "grounded, rescaled", "floating, rescaled")
    for name, error, style in zip(
        names, errors, ((0, "-"), (1, "-"), (0, "--"), (1, "--")), strict=True
    ):
        number, dash = style
        middle.loglog(ohms, 100 * error, ls=dash, color=PALETTE[number], marker=MARKERS[number],
                      ms=4, label=f"idle lines {name}")  # fmt: skip
    middle.axvline(OHM, color="0.7", lw=1)
    middle.set(title="error of products, 256 x 256", xlabel="ohm per cell",
               ylabel="rms error / rms output (%)")  # fmt: skip
    middle.legend(frameon=False, fontsize=8)
    at = np.arange(len(KINDS))
    names = ("ideal wires", "idle lines grounded", "with correction")
    for k, (name, colour) in enumerate(zip(names, ("0.7", *PALETTE[:2]), strict=True)):
        right.bar(at + 0.27 * (k - 1), [100 * residue[kind][k] for kind in KINDS], 0.25,
                  label=name, color=colour, hatch=HATCHES[k], ec="white", lw=0)  # fmt: skip
    right.set(title="against exact floating lines, 256 x 256", yscale="log", xticks=at,
              ylabel="rms error / rms output (%)")  # fmt: skip
    right.set_xticks(at, KINDS)
    right.set_ylim(top=30)  # room for the legend
    right.legend(frameon=False, fontsize=8)
    for axis in (middle, right):
        axis.set_axisbelow(True)
        axis.grid(alpha=0.3, which="both", axis="y")
    fig.savefig(folder / "ir_drop.png", dpi=150)


NOTES = """
"Paper" is what the exact circuit or the closed form gives (0 for an error). Errors of products are
rms differences over the rms output, net of both polarities. Smaller crossbars have wires of higher
resistance, so that a line loses as much as one of 256 cells does at 0.35 ohm per cell with 10 ohm
at both ends; in them the correction has fewer rows to average over and is less exact. For inputs of
both signs most of what floating lines do cancels between the phases, with and without correction.
The correction must take away at least half of what floating lines change. With inputs of both signs
it does so on 256 x 256, and takes away 39 to 49 % of that on the small crossbars.

Attenuation leaves out the voltage that other driven lines build up on the output line: the second
row on noise is its error if all lines are on at once, the worst case.

AIHWKit's formula is the loss along output lines alone. Its docstring puts the first input
farthest from the output; as coded the *last* input loses most. Here converters sit behind the last
row, so that the formula agrees with its inputs in reverse order. With all inputs on both say the
same, until the polynomial in the formula leaves its range (1,024 cells). With half of them on the
formula loses half as much as grounded lines do: it spreads the driven cells' current evenly over
the line and lets idle cells draw none. No wire resistance of the chip is published.
"""


def main() -> int:
    """Compare, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small only; writes only to --out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    options = parser.parse_args()
    sizes = {32: 100} if not options.quick else {32: 5}
    if not options.quick:
        sizes |= {64: 20, 256: 2}
    table = closed_forms() + matrices(10 if options.quick else 100, not options.quick)
    residue = {}
    for size, tiles in sizes.items():
        for kind in KINDS:
            residue[kind] = floating(size, tiles, kind)
            ideal, grounded, corrected = (100 * x for x in residue[kind])
            table.append(Row(f"floating lines, {tiles} x {size} x {size}, {kind} inputs: error (%)",
                             0.0, corrected, grounded / 2,
                             "exact time slices; at least half of what floating lines change; "
                             f"rejects grounded lines; ideal wires {ideal:.2f}", OURS,
                             grounded))  # fmt: skip
    table += noise(64) + formula()
    ohms = np.geomspace(0.1, 5, 3 if options.quick else 9)
    ohms = np.sort(np.append(ohms, OHM))
    errors = size_of_drop(ohms)
    at = int(np.flatnonzero(ohms == OHM)[0])
    grounded, floats, grounded_fit, floats_fit = 100 * errors
    notes = (
        f"{NOTES}\nError of products at {OHM} ohm per cell, no resistance at the ends: "
        f"{grounded[at]:.2f} % with grounded, {floats[at]:.2f} % with floating idle lines; "
        f"after one common factor {grounded_fit[at]:.2f} % and {floats_fit[at]:.2f} %. At 5 ohm: "
        f"{grounded[-1]:.1f} % and {floats[-1]:.1f} %; {grounded_fit[-1]:.1f} % and "
        f"{floats_fit[-1]:.1f} %.\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    figure(options.out, ohms, errors, residue)
    good = write(options.out, "Voltage lost along the wires", "python validation/ir_drop.py",
                 table, notes)  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
