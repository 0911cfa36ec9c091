"""Does a power law describe the course in time, or another form? Tested, not assumed.

The mean of ln G over devices is taken at the times that the traces of a level share. A power law is
a straight line in ln t there: Hotelling's test asks whether the rest (a parabola, a cubic, ...) is
zero, with the standard deviation between devices as its yardstick. Other forms are fitted to the
same means and compared by Akaike's criterion; where forms that describe the data equally well part
beyond the last read, an extrapolation is not supported by the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg, optimize, stats

from ..device.measured.traces import Traces
from .fit_estimates import Estimate, Law
from .fit_noise import LevelTraces, Usable

NAME = "course in time"
POWER, _LATE, OFFSET, STRETCHED, LOGARITHMIC = (
    "power law", "power law with a late clock", "power law with an offset",
    "stretched exponential", "logarithmic",
)  # fmt: skip
_SIGNIFICANT = 1e-3
MATERIAL = 0.01
"""A misfit counts if it is significant and at least this share of the conductance."""
_AS_GOOD = 6.0
"""Forms whose criterion is this near the best are taken as possible."""
YEAR = 365 * 86400.0

_MOST_LEVELS, _MOST_TIMES, _FEWEST_TIMES = 8, 24, 4
_MOST_CONTRASTS = 4
_SHARED = 0.8  # share of the traces that must have a time


@dataclass(frozen=True)
class _Curve:
    """Mean ln G of a level at shared times, and its covariance."""

    level: LevelTraces
    times: np.ndarray
    mean: np.ndarray
    root: np.ndarray  # inverse Cholesky factor of the covariance
    chance: float
    misfit: float  # largest deviation of the mean from a line, by the tested contrasts


@dataclass(frozen=True)
class Forms:
    """The forms that were compared.

    Attributes
    ----------
    reason : str
        Why nothing could be compared; empty else.
    chance : float
        That a power law would leave this much over, by chance; over all levels.
    misfit : float
        Largest deviation of a mean from its power law, relative.
    criterion : dict
        Akaike's criterion above that of the best form, by name.
    offset_seconds, offset_error : float
        By how much the clock seems to start late, with its standard error; NaN if not fitted.
    late_nu : float
        Change of the mean drift exponent with that clock.
    last_seconds : float
        Time of the last read, median over the levels that were compared.
    extrapolated : dict
        Mean share of the conductance of the last read that is left at other times, by name of the
        form: (ten times later, after a year).
    """

    reason: str = ""
    chance: float = math.nan
    misfit: float = math.nan
    criterion: dict[str, float] = field(default_factory=dict)
    offset_seconds: float = math.nan
    offset_error: float = math.nan
    late_nu: float = math.nan
    last_seconds: float = math.nan
    extrapolated: dict[str, tuple[float, float]] = field(default_factory=dict)

    def misfit_is_real(self) -> bool:
        """Return whether a power law misses the data, for sure and by more than a trifle."""
        return self.chance < _SIGNIFICANT and self.misfit > MATERIAL

    def misfit_text(self) -> str:
        """Return why a power law is no law of these data; empty if it may be."""
        if not self.misfit_is_real():
            return ""
        best = "another form"
        if self.criterion:
            best = min(self.criterion, key=self.criterion.__getitem__)
        return (
            f"a power law misses the means by up to {100 * self.misfit:.1f} % (chance "
            f"{self.chance:.1g}); the best form is: {best}; use the numbers inside the measured "
            "times only, or replay the traces"
        )

    def late_clock(self) -> bool:
        """Whether the clock of the measurement is off by more than three standard errors."""
        return abs(self.offset_seconds) > 3 * self.offset_error

    def drift_notes(self) -> tuple[str, ...]:
        """Return the notes on these forms for the drift law."""
        notes = []
        if self.reason:
            notes.append(f"whether a power law fits was not tested: {self.reason}")
        elif not self.misfit_is_real():
            notes.append(
                f"a power law fits: largest deviation of a mean {100 * self.misfit:.2g} %, chance "
                f"{self.chance:.2g}"
            )
        if self.late_clock():
            notes.append(
                f"the clock seems to start {self.offset_seconds:.3g} +- {self.offset_error:.2g} s "
                f"late: with it exponents would be {self.late_nu:+.4f} on average; if you know "
                "when programming ended, shift the times and import again"
            )
        return tuple(notes)

    def law(self) -> Law:
        """Return the comparison as a part of a report."""
        if self.reason:
            return Law(NAME, self.reason)
        rows = [
            _number("chance of a power law", self.chance),
            _number("largest deviation from a power law", self.misfit),
            *(_number(f"criterion above the best: {name}", value)
              for name, value in self.criterion.items()),
        ]  # fmt: skip
        if not math.isnan(self.offset_seconds):
            rows.append(
                Estimate("late clock", math.nan, "", self.offset_seconds, self.offset_error, "s", 0)
            )
        notes = [
            "mean of ln G over devices at shared times; Akaike's criterion: forms within "
            f"{_AS_GOOD:g} of the best describe the data about as well"
        ]
        good = [name for name, value in self.criterion.items() if value <= _AS_GOOD]
        for i, when in enumerate((f"{10 * self.last_seconds:.3g} s", "a year")):
            left = {name: self.extrapolated[name][i] for name in good}
            if i == 1 and self.last_seconds >= YEAR:
                continue
            low, high = min(left, key=left.__getitem__), max(left, key=left.__getitem__)
            span = f"from {100 * left[low]:.0f} % ({low}) to {100 * left[high]:.0f} % ({high})"
            if left[high] - left[low] > 0.05:
                notes.append(
                    f"extrapolation to {when} is not supported: of the last read is left {span}, "
                    "by forms that describe the data about as well"
                )
            else:
                notes.append(f"extrapolated to {when}, {span} of the last read is left")
        return Law(NAME, "", tuple(rows), tuple(notes))


def _number(name: str, value: float) -> Estimate:
    return Estimate(name, math.nan, "", value, 0.0, "1", 0)


def compare(found: Traces, parts: Usable, lacking: str) -> Forms:
    """Test the power law and compare other forms with it.

    Parameters
    ----------
    found : Traces
        All traces of the measurement.
    parts : Usable
        Levels that power laws can serve, with their noise.
    lacking : str
        Reason why the times do not serve a power law, from the laws; empty if they do.
    """
    if not parts.levels:
        return Forms(lacking or "no level with enough quiet traces")
    chosen = np.unique(
        np.linspace(0, len(parts.levels) - 1, min(_MOST_LEVELS, len(parts.levels))).astype(int)
    )
    curves = [c for i in chosen if (c := _curve(found, parts, parts.levels[i])) is not None]
    if not curves:
        return Forms(f"needs {_FEWEST_TIMES} or more times that the traces of a level share")
    chance = min(1.0, min(c.chance for c in curves) * len(curves))
    misfit = max(c.misfit for c in curves)
    results = {name: [fit(c) for c in curves] for name, fit in _FORMS.items()}
    late, offset, error = _late(curves)
    results[_LATE] = late
    extra = {name: 0 for name in results} | {_LATE: 1}  # the clock is common to all levels
    total = {
        name: sum(r.chi2 + 2 * r.parameters for r in each) + 2 * extra[name]
        for name, each in results.items()
    }
    least = min(total.values())
    last = float(np.median([c.times[-1] for c in curves]))

    def share(each: list[_Result], when: float) -> float:
        """Return the mean share of the last read's conductance at a time."""
        shares = [r.at(when) / r.at(c.times[-1]) for r, c in zip(each, curves, strict=True)]
        return float(np.mean(shares))

    left = {
        name: (share(each, 10 * last), share(each, max(YEAR, last)))
        for name, each in results.items()
    }
    order = (POWER, _LATE, OFFSET, STRETCHED, LOGARITHMIC)
    change = [a.values[1] - b.values[1] for a, b in zip(late, results[POWER], strict=True)]
    return Forms(
        "", chance, misfit, {name: total[name] - least for name in order}, offset, error,
        float(np.mean(change)), last, left,
    )  # fmt: skip


# ---------------------------------------------------------------------------- the means


def _curve(found: Traces, parts: Usable, level: LevelTraces) -> _Curve | None:
    trace = parts.trace_of(level)
    rows = np.concatenate([np.arange(found.offsets[i], found.offsets[i + 1]) for i in trace])
    owner = np.repeat(np.arange(len(trace)), found.reads[trace])
    use = found.time_seconds[rows] > 0
    rows, owner = rows[use], owner[use]
    rounded = np.array([float(f"{t:.3g}") for t in found.time_seconds[rows]])
    times, column = np.unique(rounded, return_inverse=True)
    table = np.full((len(trace), len(times)), np.nan)
    table[owner, column] = np.log(found.conductance_siemens[rows])  # of repeats the last
    shared = np.flatnonzero(np.isfinite(table).mean(axis=0) >= _SHARED)
    if len(shared) > _MOST_TIMES:
        x = np.log(times[shared])
        wanted = np.linspace(x[0], x[-1], _MOST_TIMES)
        shared = shared[np.unique(np.abs(x[:, None] - wanted).argmin(axis=0))]
    if len(shared) < _FEWEST_TIMES:
        return None
    times, table = times[shared], table[:, shared]
    whole = np.isfinite(table).all(axis=1)
    table, device = table[whole], level.device[whole]
    ids, number = np.unique(device, return_inverse=True)
    d = len(ids)
    count = min(len(times) - 2, _MOST_CONTRASTS, (d - 1) // 3)
    if count < 1:
        return None
    means = np.zeros((d, len(times)))
    np.add.at(means, number, table)
    means /= np.bincount(number)[:, None]
    mean = means.mean(axis=0)
    x = np.log(times)
    basis, _ = np.linalg.qr(np.vander((x - x.mean()) / np.ptp(x), 2 + count, increasing=True))
    contrasts = basis[:, 2:]
    chance, misfit = _hotelling(means @ contrasts, contrasts)
    # Covariance of the means: noise of each time, and level and slope of every device.
    line = basis[:, :2]
    part = means @ line
    left = means - part @ line.T
    noise = (left**2).sum(axis=0) / (d - 1) * len(times) / (len(times) - 2)
    noise = np.maximum(noise, 1e-12 + 1e-6 * noise.max())
    covariance = (np.diag(noise) + line @ np.atleast_2d(np.cov(part.T)) @ line.T) / d
    root = linalg.solve_triangular(
        linalg.cholesky(covariance, lower=True), np.eye(len(x)), lower=True
    )
    return _Curve(level, times, mean, root, chance, misfit)


def _hotelling(values: np.ndarray, contrasts: np.ndarray) -> tuple[float, float]:
    """Return the chance that contrasts of devices, (D, P), have mean zero; their largest effect."""
    d, p = values.shape
    mean = values.mean(axis=0)
    effect = float(np.abs(contrasts @ mean).max())
    covariance = np.atleast_2d(np.cov(values.T))
    if np.trace(covariance) <= 1e-24:
        return (1.0 if effect < 1e-9 else 0.0), math.expm1(effect)
    square = d * float(mean @ np.linalg.pinv(covariance) @ mean)
    return float(stats.f.sf((d - p) / (p * (d - 1)) * square, p, d - p)), math.expm1(effect)


# ---------------------------------------------------------------------------- the forms


@dataclass(frozen=True)
class _Result:
    chi2: float
    parameters: int
    values: np.ndarray
    at: Callable[[float], float]  # conductance at a time, in any unit


def _line(curve: _Curve, x: np.ndarray, at: Callable[[float], float]) -> _Result:
    """Fit ``ln G = a - nu x``; ``at`` gives x at a time."""
    design = curve.root @ np.stack([np.ones_like(x), -x], axis=1)
    values, *_ = np.linalg.lstsq(design, curve.root @ curve.mean, rcond=None)
    chi2 = float(((design @ values - curve.root @ curve.mean) ** 2).sum())
    return _Result(chi2, 2, values, lambda t: math.exp(values[0] - values[1] * at(t)))


def _power(curve: _Curve) -> _Result:
    return _line(curve, np.log(curve.times), math.log)


def _late(curves: list[_Curve]) -> tuple[list[_Result], float, float]:
    """Fit a clock that starts late by the same time at all levels; the time and its error."""
    earliest = min(c.times[0] for c in curves)

    def results(offset: float) -> list[_Result]:
        return [_line(c, np.log(c.times + offset), lambda t: math.log(t + offset)) for c in curves]

    def chi2(offset: float) -> float:
        return sum(r.chi2 for r in results(offset))

    # The scale of an offset is that of the first reads.
    grid = earliest * np.concatenate([np.linspace(-0.9, 1, 20), np.geomspace(1.2, 30, 12)])
    values = [chi2(offset) for offset in grid]
    i = int(np.argmin(values))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    best = float(optimize.minimize_scalar(chi2, bounds=(low, high), method="bounded").x)
    step = max(0.02 * earliest, 0.02 * abs(best))
    bend = (chi2(best + step) - 2 * chi2(best) + chi2(best - step)) / step**2
    error = math.sqrt(2 / bend) if bend > 0 else math.inf
    return results(best), best, error


def _shaped(
    curve: _Curve,
    model: Callable[[np.ndarray, np.ndarray], np.ndarray],
    starts: Sequence[tuple[float, ...]],
    bounds: tuple[list[float], list[float]],
) -> _Result:
    """Fit a form ``ln G = model(values, t)`` by least squares."""
    target = curve.root @ curve.mean
    best = None
    for start in starts:
        found = optimize.least_squares(
            lambda v: curve.root @ model(v, curve.times) - target, start, bounds=bounds,
            x_scale="jac", max_nfev=200,
        )  # fmt: skip
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None  # every form has starts
    values = best.x
    return _Result(
        2 * float(best.cost), len(values), values,
        lambda t: math.exp(float(model(values, np.array([t]))[0])),
    )  # fmt: skip


def _offset(curve: _Curve) -> _Result:
    """Fit ``G = A ((1 - w) + w (t / t1)^-nu)``."""
    first = curve.times[0]

    def model(v: np.ndarray, t: np.ndarray) -> np.ndarray:
        course: np.ndarray = v[0] + np.log((1 - v[1]) + v[1] * (t / first) ** -v[2])
        return course

    starts = [(curve.mean[0], 0.9, 0.05), (curve.mean[0], 0.3, 0.3)]
    return _shaped(curve, model, starts, ([-np.inf, 0.0, -0.5], [np.inf, 1.0, 3.0]))


def _stretched(curve: _Curve) -> _Result:
    """Fit ``G = A exp(-(t / t_last)^beta s)``."""
    last = curve.times[-1]
    fall = max(1e-3, float(curve.mean[0] - curve.mean[-1]))

    def model(v: np.ndarray, t: np.ndarray) -> np.ndarray:
        course: np.ndarray = v[0] - v[1] * (t / last) ** v[2]
        return course

    starts = [(curve.mean[0] + fall, 2 * fall, 0.05), (curve.mean[0], fall, 0.4)]
    return _shaped(curve, model, starts, ([-np.inf, -np.inf, 1e-4], [np.inf, np.inf, 2.0]))


def _logarithmic(curve: _Curve) -> _Result:
    """Fit ``G = A (1 - b ln(t / t1))``; nothing is left where that is negative."""
    first = curve.times[0]
    span = math.log(curve.times[-1] / first)

    def model(v: np.ndarray, t: np.ndarray) -> np.ndarray:
        course: np.ndarray = v[0] + np.log(np.maximum(1 - v[1] * np.log(t / first), 1e-9))
        return course

    return _shaped(curve, model, [(curve.mean[0], 0.03)], ([-np.inf, -1.0], [np.inf, 0.999 / span]))


_FORMS: dict[str, Callable[[_Curve], _Result]] = {
    POWER: _power,
    OFFSET: _offset,
    STRETCHED: _stretched,
    LOGARITHMIC: _logarithmic,
}
