"""Laws that a measurement of a given shape would identify: simulated, fitted, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..device import pcm, synthetic
from ..rng import Key
from ..spec import PcmSpec, ProgrammingLaw
from .fit import fit

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = {
    "sigma": "programming", "bias": "programming", "nu mean": "drift", "nu spread": "drift",
    "Q_s": "read noise",
}  # fmt: skip
"""Quantities that are counted, and the law that each belongs to."""
COLUMNS = (
    "quantity", "identified", "value", "standard_error", "relative_error", "coverage_68",
    "coverage_95",
)  # fmt: skip


def design(
    spec: PcmSpec, shape: synthetic.MeasurementShape, repeats: int, key: Key, between: float = 0.0
) -> pd.DataFrame:
    """Return the statistics of fits to measurements of a shape, over repetitions.

    Parameters
    ----------
    spec : PcmSpec
    shape : Shape
        Devices, cycles, targets and times of the measurement.
    repeats : int
        Number of simulated measurements.
    key : Key
    between : float
        See :func:`aimc_sim.device.synthetic.simulate`.

    Returns
    -------
    DataFrame
        One row per quantity, columns as in :data:`COLUMNS`: share of the repetitions that identify
        its law; median over levels and repetitions of value, standard error and their ratio; share
        of the intervals that hold the truth.
    """
    import pandas as pd

    named: dict[str, list[bool]] = {q: [] for q in QUANTITIES}
    found: dict[str, list[tuple[float, float, bool, bool]]] = {q: [] for q in QUANTITIES}
    for repeat in range(repeats):
        data = synthetic.simulate(spec, shape, key.child(repeat), between)
        try:
            report = fit(data)
        except ValueError:  # too little to say anything
            for q in QUANTITIES:
                named[q].append(False)
            continue
        for q, law in QUANTITIES.items():
            one = report.law(law)
            named[q].append(one.identified)
            for e in one.estimates:
                if e.quantity == q:
                    true = truth(spec, q, e.level)
                    in_68, in_95 = (
                        low <= true <= high for low, high in map(e.interval, (0.68, 0.95))
                    )
                    found[q].append((e.value, e.standard_error, in_68, in_95))
    rows = []
    for q in QUANTITIES:
        table = np.array(found[q], float).reshape(-1, 4)
        if not len(table):
            rows.append((q, float(np.mean(named[q])), *[np.nan] * 5))
            continue
        size = np.abs(table[:, 0])
        relative = table[size > 0, 1] / size[size > 0]
        rows.append(
            (
                q, float(np.mean(named[q])), float(np.median(table[:, 0])),
                float(np.median(table[:, 1])),
                float(np.median(relative)) if len(relative) and q != "bias" else np.nan,
                *table[:, 2:].mean(axis=0),
            )
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def truth(spec: PcmSpec, quantity: str, level_siemens: float) -> float:
    """Return the value of a law at a level, which a fit of its devices should give."""
    x = np.array([level_siemens / spec.g_max_siemens])
    if quantity == "bias":
        return 0.0
    if quantity == "sigma":
        law = spec.programming
        if law is None:
            return 0.0
        assert isinstance(law, ProgrammingLaw)  # other kinds have no polynomial
        inside = x if law.states is None else np.clip(x, *law.states)
        scale = law.scale * spec.g_max_siemens / spec.g_reference_siemens
        return scale * float(np.polynomial.polynomial.polyval(inside, law.polynomial_siemens)[0])
    drift, noise = spec.drift, spec.read_noise
    found = {
        "nu mean": drift and (drift.exponent_mean, drift.scale),
        "nu spread": drift and (drift.exponent_std, drift.scale),
        "Q_s": noise and (noise.amplitude, noise.scale),
    }[quantity]
    if not found:
        return 0.0
    curve, factor = found
    return factor * float(pcm.curve_values(curve, x)[0])
