"""One function per law: estimates with standard errors, or what the data lack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..device.measured.traces import Traces
from ..spec import StateCurve
from . import fit_curves, fit_traces

FEWEST_TRACES = 10
"""Traces per level that a spread needs: its standard error is then a quarter of it."""
FEWEST_LEVELS = 3


@dataclass(frozen=True)
class Estimate:
    """One number.

    Attributes
    ----------
    quantity : str
    level : float
        Conductance or pulse it belongs to; NaN for a number of the whole law.
    level_unit : str
    value, standard_error : float
        In ``unit``.
    unit : str
        SI, "1" or "decades".
    n : int
        Traces behind it.
    """

    quantity: str
    level: float
    level_unit: str
    value: float
    standard_error: float
    unit: str
    n: int


@dataclass(frozen=True)
class Law:
    """What the data say about one law.

    Attributes
    ----------
    name : str
    reason : str
        Empty if the law is identified; else what is missing.
    estimates : tuple of Estimate
    notes : tuple of str
        What stands behind the numbers.
    polynomial : tuple of float or None
        Coefficients in siemens, of the programming law.
    curves : dict
        Curves by the name of their quantity, for a specification.
    """

    name: str
    reason: str = ""
    estimates: tuple[Estimate, ...] = ()
    notes: tuple[str, ...] = ()
    polynomial: tuple[float, ...] | None = None
    curves: dict[str, StateCurve] = field(default_factory=dict)

    @property
    def identified(self) -> bool:
        """Whether the data determine the law."""
        return not self.reason


_NOISIEST_VARIANCE = fit_traces.NOISIEST**2


@dataclass(frozen=True)
class Noise:
    """Noise of the reads of one level: variance of ln G about the power law, and Q_s."""

    variance: float
    freedom: int
    q: float
    q_error: float


def level_noise(
    regression: fit_traces.Regression, here: np.ndarray, read_seconds: float | None
) -> Noise | None:
    """Return the noise of the traces ``here`` (rows of the regression); None if too few."""
    freedom = int((regression.reads[here] - 2).sum())
    if freedom < FEWEST_TRACES:
        return None
    squares = float(regression.squares[here].sum())
    variance = squares / freedom
    # ln(1 + e) has the variance s^2 + 5/2 s^4 for a normal e of variance s^2: taken back here.
    linear = 1 - 2.5 * min(variance, _NOISIEST_VARIANCE)
    if read_seconds is not None:
        # The 1/f law: variance Q^2 ln((t + t_read) / (2 t_read)); t_read is far below any t.
        offset = math.log(regression.t0_seconds / (2 * read_seconds))
        expected = float((regression.grown[here] + offset * regression.band[here]).sum())
        q2 = squares / expected * linear
        q = math.sqrt(max(0.0, q2))
        return Noise(variance * linear, freedom, q, q / math.sqrt(2 * freedom))
    rows = np.zeros(len(regression.trace), bool)
    rows[here] = True
    parts = regression.residual
    use = rows[parts.row]
    design = np.stack([parts.band[use], parts.grown[use]], axis=1)
    size = np.maximum(design[:, 0] * variance, 1e-6 * variance) * math.sqrt(2)
    if variance == 0 or np.ptp(design[:, 1]) < 1e-9:
        return Noise(variance, freedom, math.nan, math.nan)
    found = fit_curves.linear(design, parts.square[use], size)
    q2, error = float(found.values[1]) * linear, float(found.errors[1])
    if q2 < 3 * error:
        return Noise(variance * linear, freedom, math.nan, math.nan)
    return Noise(variance * linear, freedom, math.sqrt(q2), error / (2 * math.sqrt(q2)))


def usable(
    found: Traces, regression: fit_traces.Regression, read_seconds: float | None
) -> list[tuple[float, np.ndarray, Noise]]:
    """Return (level in siemens, rows, noise) of the levels whose traces a power law can serve."""
    number, values, _ = fit_traces.levels(found)
    result = []
    for i, value in enumerate(values):
        here = np.flatnonzero((number[regression.trace] == i) & (regression.reads >= 3))
        if len(here) < FEWEST_TRACES:
            continue
        noise = level_noise(regression, here, read_seconds)
        if noise is not None and noise.variance <= _NOISIEST_VARIANCE:
            result.append((float(value), here, noise))
    return result


def spread(sample: np.ndarray, own_variance: float, own_error: float) -> tuple[float, float]:
    """Return a spread without the error of the estimates themselves, and its standard error.

    Parameters
    ----------
    sample : (N,) float64
    own_variance, own_error : float
        Mean squared error of the members of the sample, and its standard error.
    """
    raw = float(sample.var(ddof=1))
    variance = max(0.0, raw - own_variance)
    error = math.hypot(raw * math.sqrt(2 / (len(sample) - 1)), own_error)
    result = math.sqrt(variance)
    return result, error / (2 * max(result, math.sqrt(error / 2)))


def drift(found: Traces, regression: fit_traces.Regression, read_seconds: float | None) -> Law:
    """Mean and spread of the drift exponent per level; curves against the state."""
    lacking = _times_lacking(found)
    parts = [] if lacking else usable(found, regression, read_seconds)
    if lacking or not parts:
        return Law("drift", lacking or _few(found))
    rows: list[Estimate] = []
    for level, here, noise in parts:
        # Noise that grows with time bends the mean of ln G by half the growth of its variance.
        bend = 0.0 if math.isnan(noise.q) else noise.q**2 / 2
        nu = -regression.slope[here] - bend
        own = float((noise.variance / regression.sum_xx[here]).mean())
        std, error = spread(nu, own, own * math.sqrt(2 / noise.freedom))
        mean_error = nu.std(ddof=1) / math.sqrt(len(nu))
        rows.append(Estimate("nu mean", level, "S", float(nu.mean()), mean_error, "1", len(nu)))
        rows.append(Estimate("nu spread", level, "S", std, error, "1", len(nu)))
    notes = [
        f"G = G0 (t/t0)^-nu with t0 = {regression.t0_seconds:.4g} s, reads from there to "
        f"{np.median(found.last_seconds):.4g} s; regression of ln G on ln t per trace, its own "
        "error taken from the spread"
    ]
    if regression.left_out:
        notes.append(f"{regression.left_out} trace(s) with a read of zero left out")
    curves = _curves(rows, {"nu mean": "log", "nu spread": "log"}) if len(parts) > 1 else {}
    return Law("drift", "", tuple(rows), tuple(notes), curves=curves)


def read_noise(found: Traces, regression: fit_traces.Regression, read_seconds: float | None) -> Law:
    """Relative noise about the power law per level, and the 1/f amplitude Q_s."""
    lacking = _times_lacking(found)
    parts = [] if lacking else usable(found, regression, read_seconds)
    if lacking or not parts:
        return Law("read noise", lacking or _few(found))
    rows: list[Estimate] = []
    for level, here, noise in parts:
        size = math.sqrt(noise.variance)
        error = size / math.sqrt(2 * noise.freedom)
        rows.append(Estimate("relative noise", level, "S", size, error, "1", len(here)))
        if not math.isnan(noise.q):
            rows.append(Estimate("Q_s", level, "S", noise.q, noise.q_error, "1", len(here)))
    amplitudes = [row for row in rows if row.quantity == "Q_s"]
    how = (
        "Q_s from the size of the noise and the duration of a read"
        if read_seconds is not None
        else "Q_s from the growth of the noise with ln t (the duration of a read is not known)"
    )
    notes = (
        "rms about the power law of each trace, with what a power law misses; reads are taken as "
        "independent: slow noise that they share makes the standard errors too small",
        how,
    )
    if not amplitudes:
        reason = (
            "the noise does not grow with time beyond its error, so Q_s needs read_seconds, the "
            "duration of a read"
        )
        return Law("read noise", reason, tuple(rows), notes)
    curves = _curves(amplitudes, {"Q_s": "power"}) if len(amplitudes) > 1 else {}
    return Law("read noise", "", tuple(rows), notes, curves=curves)


def programming(
    found: Traces, regression: fit_traces.Regression, read_seconds: float | None
) -> Law:
    """Spread and bias of the programmed conductance against the target."""
    name = "programming"
    if not np.isfinite(found.target_siemens).any():
        return Law(name, "no targets; needs the conductance that was asked for")
    number, targets, _ = fit_traces.levels(found)
    noises = {
        level: (here, noise) for level, here, noise in usable(found, regression, read_seconds)
    }
    rows: list[Estimate] = []
    raw = 0
    for i, target in enumerate(targets):
        if target == 0:  # RESET, which is no point of this law
            continue
        if target in noises:
            here, noise = noises[target]
            g, own = _at_start(regression, here, noise, read_seconds)
            own_error = own * math.sqrt(2 / noise.freedom)
        else:  # too few reads for a power law: the first read as it is
            g, own, own_error = found.first_siemens[number == i], 0.0, 0.0
            raw += len(g) >= FEWEST_TRACES
        if len(g) < FEWEST_TRACES:
            continue
        std, error = spread(g, own, own_error)
        n = len(g)
        rows.append(Estimate("sigma", float(target), "S", std, error, "S", n))
        bias_error = float(g.std(ddof=1)) / math.sqrt(n)
        rows.append(
            Estimate("bias", float(target), "S", float(g.mean() - target), bias_error, "S", n)
        )
    sigmas = [row for row in rows if row.quantity == "sigma"]
    notes = [f"{raw} level(s) from the first read, which holds read noise too"] * bool(raw)
    if len(sigmas) < FEWEST_LEVELS:
        reason = (
            f"{len(sigmas)} level(s) with {FEWEST_TRACES} or more traces; needs at least "
            f"{FEWEST_LEVELS} target levels"
        )
        return Law(name, reason, tuple(rows), tuple(notes))
    g_max = float(targets.max())
    x = np.array([row.level for row in sigmas]) / g_max
    values, errors = _arrays(sigmas)
    fitted = fit_curves.polynomial(x, values, errors, 2)
    n = sum(row.n for row in sigmas)
    rows += [
        Estimate(f"c{i}", math.nan, "", float(c), float(e), "S", n)
        for i, (c, e) in enumerate(zip(fitted.values, fitted.errors, strict=True))
    ]
    notes.append(
        f"sigma = c0 + c1 x + c2 x^2, x = target / {g_max:.4g} S; chi2 = {fitted.chi2:.1f} for "
        f"{fitted.freedom} degrees of freedom"
    )
    return Law(name, "", tuple(rows), tuple(notes), polynomial=(*map(float, fitted.values), 0.0))


def _at_start(
    regression: fit_traces.Regression, here: np.ndarray, noise: Noise, read_seconds: float | None
) -> tuple[np.ndarray, float]:
    """Return the conductances at t0 and the variance of their own error."""
    start = noise.variance  # of ln G at t0
    if not math.isnan(noise.q) and read_seconds is not None:
        start = noise.q**2 * math.log(regression.t0_seconds / (2 * read_seconds))
    g = np.exp(regression.intercept[here] + start / 2)
    own = 1 / regression.reads[here] + regression.mean_x[here] ** 2 / regression.sum_xx[here]
    return g, float((g**2 * noise.variance * own).mean())


def _arrays(rows: list[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([row.value for row in rows])
    return values, np.array([row.standard_error for row in rows])


def _curves(rows: list[Estimate], forms: dict[str, str]) -> dict[str, StateCurve]:
    """Fit curves against x = level / highest level, by the name of the quantity."""
    highest = max(row.level for row in rows)
    result = {}
    for quantity, form in forms.items():
        mine = [row for row in rows if row.quantity == quantity and row.level > 0]
        x = np.array([row.level for row in mine]) / highest
        values, errors = _arrays(mine)
        fit_one = fit_curves.power if form == "power" else fit_curves.clipped_log
        if len(mine) > 1 and (form == "log" or (values > 0).all()):
            result[quantity] = fit_one(x, values, errors)[0]
    return result


def _times_lacking(found: Traces) -> str:
    """Return what the times lack for a power law; empty if nothing."""
    later = found.time_seconds[found.time_seconds > 0]
    if not len(later):
        return "no reads after time 0; needs at least 3 reads of a trace at different times"
    if found.reads.max() < 3:
        return f"{found.reads.max()} read(s) per trace; needs at least 3 at different times"
    if later.max() < 10 * later.min():
        return f"times from {later.min():.4g} to {later.max():.4g} s; needs at least a factor of 10"
    return ""


def _few(found: Traces) -> str:
    return (
        f"needs a level with at least {FEWEST_TRACES} traces of 3 or more reads above zero and "
        f"with less than {100 * fit_traces.NOISIEST:.0f} % noise; there are {len(found)} traces"
    )
