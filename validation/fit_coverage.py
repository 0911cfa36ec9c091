"""Do the intervals of the fits hold the truth as often as they say? Three laws, many repetitions.

    python validation/fit_coverage.py [--seeds 400]

Devices of a law are measured at four levels (0.3, 0.5, 0.7 and 1 of g_max) and twelve times,
fitted, and it is counted how often the 68 % and 95 % intervals hold the truth. Independent: one
programming of every device and level. Clustered: several cycles, and 76 % of the variance of error
and drift exponent stays with the device, as in the measured PCM of Zarcone 2020. Writes
``fit_coverage/`` beside this script: ``rows.csv``, ``table.md``. Cases already in ``rows.csv`` with
``--resume`` are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm

from aimc_sim import presets
from aimc_sim.analysis import fit_laws, fit_noise, fit_traces
from aimc_sim.analysis.fit_design import truth
from aimc_sim.analysis.fit_forms import Forms
from aimc_sim.device import synthetic
from aimc_sim.device.measured import MeasuredData
from aimc_sim.device.measured.traces import traces
from aimc_sim.rng import Key
from aimc_sim.spec import PcmSpec

sys.path.insert(0, str(Path(__file__).parent))
from comparison import Row, write

LAWS = {
    "25 uS": presets.pcm_25_microsiemens,
    "hermes, one device": presets.pcm_hermes_one_device,
    "hermes, two devices": presets.pcm_hermes_two_devices,
}
STATES = (0.3, 0.5, 0.7, 1.0)
DEVICES = {12: 20, 30: 8, 200: 4, 3000: 2}  # and the cycles of each, where clustered
BETWEEN = 0.76
QUANTITIES = ("nu mean", "nu spread", "sigma", "bias", "Q_s")
CONFIDENCES = (0.68, 0.95)
SELF = "self-consistency"
"""The law that makes the data is the one that is fitted."""
SIGMAS = 3.5  # of 240 rows less than one in eight fails by chance


def estimates(data: MeasuredData) -> list:
    """Return the estimates of the three laws, without the comparison of forms."""
    found = traces(data)
    regression, groups = fit_traces.regress(found), fit_traces.levels(found)
    parts = fit_noise.usable(found, groups, regression, data.read_seconds)
    untested = Forms("not tested here")
    laws = (
        fit_laws.programming(found, groups, regression, parts),
        fit_laws.drift(found, groups, regression, parts, untested),
        fit_laws.read_noise(found, regression, parts, data.read_seconds),
    )
    return [e for law in laws for e in law.estimates if e.quantity in QUANTITIES]


def coverage(spec: PcmSpec, devices: int, cycles: int, seeds: int) -> dict[tuple, float]:
    """Return the share of intervals that hold the truth, by quantity and confidence."""
    levels = spec.g_max_siemens * np.array(STATES)
    times = np.geomspace(spec.t0_seconds, 1e6, 12)
    shape = synthetic.MeasurementShape.grid(levels, times, devices, cycles)
    hits: dict[tuple, list[bool]] = {(q, c): [] for q in QUANTITIES for c in CONFIDENCES}
    for seed in range(seeds):
        data = synthetic.simulate(spec, shape, Key(seed, (devices,)), BETWEEN * (cycles > 1))
        for e in estimates(data):
            true = truth(spec, e.quantity, e.level)
            for confidence in CONFIDENCES:
                low, high = e.interval(confidence)
                hits[e.quantity, confidence].append(low <= true <= high)
    return {key: float(np.mean(values)) for key, values in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--resume", action="store_true", help="keep the cases in rows.csv")
    args = parser.parse_args()
    known: dict[str, Row] = {}
    if args.resume and (args.out / "rows.csv").is_file():
        with (args.out / "rows.csv").open(newline="") as file:
            for r in csv.DictReader(file):
                numbers = (float(r[name]) for name in ("paper", "ours", "tolerance"))
                known[r["quantity"]] = Row(r["quantity"], *numbers, r["source"], SELF)
    rows = []
    for name, make in LAWS.items():
        for devices, cycles in DEVICES.items():
            for kind, repeats in (("independent", 1), ("clustered", cycles)):
                seeds = max(args.seeds // 4, 20) if devices > 1000 else args.seeds
                case = f"{name}, {devices:,} devices, {kind}"
                labels = {(q, c): f"{case}: {q}, {100 * c:.0f} %" for q in QUANTITIES
                          for c in CONFIDENCES}  # fmt: skip
                if not all(label in known for label in labels.values()):
                    for (q, c), share in coverage(make(), devices, repeats, seeds).items():
                        tolerance = SIGMAS * np.sqrt(c * (1 - c) / seeds)
                        source = f"nominal; {seeds} repetitions, {SIGMAS:g} binomial errors"
                        # what intervals of half the width would hold
                        half = float(2 * norm.cdf(norm.ppf((1 + c) / 2) / 2) - 1)
                        known[labels[q, c]] = Row(
                            labels[q, c], c, share, tolerance, f"{source}; rejects half the width",
                            SELF, half if c - half > tolerance else None,
                        )  # fmt: skip
                rows += [known[label] for label in labels.values()]
                write(args.out, "Coverage of the fits", "python validation/fit_coverage.py", rows)
    notes = (
        f"Levels {', '.join(f'{x:g}' for x in STATES)} of g_max, counted together; 12 times from "
        "t0 to 1e6 s. Clustered: 12 x 20, 30 x 8, 200 x 4 and 3,000 x 2 devices x cycles, and "
        f"{100 * BETWEEN:.0f} % of the variance between devices (the same device is high at every "
        "level, so the four levels count as one in the binomial error)."
    )
    command = "python validation/fit_coverage.py"
    if not write(args.out, "Coverage of the fits", command, rows, notes):
        sys.exit(1)


if __name__ == "__main__":
    main()
