"""Table I of the chip paper: time and energy from one set of constants.

The paper gives totals of three operations in two read modes (arXiv:2212.02872, Extended Data
Table I). ``--fit`` finds the constants of :class:`aimc_sim.spec.CostSpec` from them by least
squares of the relative errors, six numbers from ten energies and two from two latencies, and
prints them beside the defaults in use. Rows that took part are marked "fitted": that they agree
says that one set of constants describes them, not that a constant is what it is called.
Throughputs of the layer and of the step, and their latencies in the second read mode, are
predictions.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write

from aimc_sim import presets
from aimc_sim.chip.ledger import OperationCost, operation
from aimc_sim.spec import ChipSpec

HERE = Path(__file__).parent / "table1"
MODES = ("1-phase", "4-phase")


@dataclass(frozen=True)
class Column:
    """A column of the table: what ran, and what was printed for the two read modes."""

    name: str
    cores: int
    weights: int
    columns: int
    chain: int
    gdpu_outputs: int
    tops: tuple[float, float]
    tops_per_watt: tuple[float, float]
    tops_per_mm2: tuple[float, float]
    microjoules: tuple[float, float]
    nanoseconds: tuple[float, float]

    def ours(self, spec: ChipSpec) -> OperationCost:
        """Return what the ledger says."""
        return operation(
            spec, self.cores, self.weights, self.columns, self.chain, self.gdpu_outputs
        )


TABLE = (
    Column("MVM on 64 cores", 64, 64 * 256 * 256, 0, 1, 0,
           (63.1, 16.1), (9.76, 2.48), (1.55, 0.40), (0.86, 3.38), (133, 520)),
    Column("ResNet-9 layer, 8 cores", 8, 2016 * 224, 224, 8, 0,
           (6.79, 1.74), (6.88, 1.74), (1.34, 0.34), (0.97, 1.51), (1131, 1518)),
    Column("LSTM step, 32 cores", 32, 2 * 504 * 2016, 252, 4, 504,
           (30.6, 7.82), (9.34, 2.37), (1.50, 0.38), (3.46, 5.24), (1043, 1430)),
)  # fmt: skip
"""The layer: 2016 x 224 weights, one row of eight cores. The step: input and hidden gates of
504 units, four cores below each other in every column, then the global digital units."""

KNOBS = (
    "cost.adc_watts", "cost.signal_share", "cost.shared_watts",
    "cost.core_watts", "cost.ldpu_joules_per_output", "cost.gdpu_joules_per_output",
)  # fmt: skip


def machine(mode: str) -> ChipSpec:
    return presets.hermes("tdp", mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--fit", action="store_true", help="find the constants anew")
    if parser.parse_args().fit:
        fit()
    title = (
        "Table I of the chip paper (arXiv:2212.02872): time and energy from one set of constants"
    )
    write(HERE, title, "python validation/legallo_2023/table1.py", rows(), NOTES)


NOTES = """
Tolerances: 5 % for latencies and energies of whole operations and for the efficiencies of parts of
the chip, the printed digits for the MVM of 64 cores and for throughputs. *fitted*: the row is one
of those from which the constants of `CostSpec` were found (`--fit`); *predicted*: it is not. The
energies of single components are a model: the paper prints totals only. The two read modes tell
what a phase costs and what an MVM costs besides; how these divide is assumed (`CostSpec`).
Energies per image or per character are not published, so nothing here is compared with them.
"""


def rows() -> list[Row]:
    found = []
    for column in TABLE:
        for i, mode in enumerate(MODES):
            ours = column.ours(machine(mode))
            whole = column.columns == 0
            label, paper, chip = f"{column.name}, {mode}: ", "Table I", "Le Gallo 2023"
            latency = "predicted" if i else ("given" if whole else "fitted")
            # The time of an MVM and the area of a core are given; which weights count is not.
            counted = "given" if whole else "predicted"
            found += [
                Row(label + "TOPS", column.tops[i], ours.tops, _digits(column.tops[i]),
                    f"{paper}; operations of the weights in use, from the MVM time", counted,
                    0.9 * column.tops[i], chip),
                Row(label + "TOPS/mm2", column.tops_per_mm2[i], ours.tops_per_mm2,
                    0.005 + 1e-9,
                    f"{paper}; TOPS of the row above and the published area", "given",
                    0.9 * column.tops_per_mm2[i], chip),
                Row(label + "TOPS/W", column.tops_per_watt[i], ours.tops_per_watt,
                    _digits(column.tops_per_watt[i]) if whole else 0.05 * column.tops_per_watt[i],
                    paper, "fitted", 0.5 * column.tops_per_watt[i], chip),
                Row(label + "energy (uJ)", column.microjoules[i], ours.joules * 1e6,
                    _digits(column.microjoules[i]) if whole else 0.05 * column.microjoules[i],
                    paper, "fitted", 0.5 * column.microjoules[i], chip),
                Row(label + "latency (ns)", column.nanoseconds[i], ours.seconds * 1e9,
                    0.5 if whole else 0.05 * column.nanoseconds[i],
                    paper, "given" if whole else latency, 0.9 * column.nanoseconds[i], chip),
            ]  # fmt: skip
    return found


def _digits(printed: float) -> float:
    """Return half a unit of the last printed digit."""
    decimals = len(str(printed).partition(".")[2])
    return 0.5 * 10.0**-decimals + 1e-9


def fit() -> dict[str, float]:
    """Return and print the constants that fit the ten energies best."""
    specs = [machine(mode) for mode in MODES]
    used = np.array([getattr(specs[0].cost, knob.removeprefix("cost.")) for knob in KNOBS])
    rows = specs[0].cost.modulator_watts / specs[0].cost.adc_watts  # an assumption, kept

    def errors(factors: np.ndarray) -> np.ndarray:
        values = factors * used
        off = []
        for i, spec in enumerate(specs):
            changes = dict(zip(KNOBS, values.tolist(), strict=True))
            changed = spec.with_({**changes, "cost.modulator_watts": float(rows * values[0])})
            for column in TABLE:
                ours = column.ours(changed)
                # The chip-wide MVM is printed for the machine as a whole: it must hold.
                weight = 30.0 if column.columns == 0 else 1.0
                off.append(weight * (column.tops_per_watt[i] / ours.tops_per_watt - 1))
                if column.columns:
                    off.append(ours.joules * 1e6 / column.microjoules[i] - 1)
        return np.array(off)

    found = least_squares(errors, np.full(len(used), 1.02), bounds=(0.2, 5)).x * used
    for knob, ours, default in zip(KNOBS, found, used, strict=True):
        print(f"{knob:<32} fitted {ours:.4g}  in use {default:.4g}")
    return dict(zip(KNOBS, found.tolist(), strict=True))


if __name__ == "__main__":
    main()
