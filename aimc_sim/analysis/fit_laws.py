"""One function per law: estimates with standard errors, or the lack of the data."""

from __future__ import annotations

import math

import numpy as np

from ..device.measured.traces import Traces
from ..spec import ResetState, StateCurve
from . import fit_clusters, fit_curves, fit_traces
from .fit_estimates import (
    FEWEST_DEVICES,
    FEWEST_LEVELS,
    FEWEST_TRACES,
    Estimate,
    Law,
    mean_of,
    std_of,
)
from .fit_forms import Forms
from .fit_noise import Growth, LevelTraces, Noise, Usable


def drift(
    found: Traces, groups: fit_traces.Levels, regression: fit_traces.Regression, parts: Usable,
    forms: Forms,
) -> Law:  # fmt: skip
    """Return mean and standard deviation of the drift exponent per level; curves against state."""
    if not parts.levels:
        return Law("drift", times_lacking(found) or _few(found, parts))
    rows: list[Estimate] = []
    for level in parts.levels:
        noise = level.noise
        # Noise that grows with time bends the mean of ln G by half the growth of its variance.
        bend = 0.0 if math.isnan(noise.q) else noise.q**2 / 2
        nu = -regression.slope[level.rows] - bend
        own = float(
            noise.of(1 / regression.sum_xx[level.rows], regression.slope_grown[level.rows]).mean()
        )
        own_error = own * _relative(noise)
        n = len(nu)
        rows.append(
            mean_of("nu mean", level.siemens, fit_clusters.moments(nu, level.device), "1", n)
        )
        around = fit_clusters.moments(_within(nu, level, groups), level.device)
        rows.append(
            std_of(
                "nu spread", level.siemens, around, "1", n, own, own_error
            )
        )  # fmt: skip
    notes = [
        f"G = G0 (t/t0)^-nu with t0 = {regression.t0_seconds:.4g} s, reads from there to "
        f"{np.median(found.last_seconds):.4g} s; regression of ln G on ln t per trace, its own "
        "error taken from the spread; errors are those of devices"
    ]
    if regression.without.any():
        notes.append(
            f"{int(regression.without.sum())} trace(s) with a read of zero or below left out here "
            "(they have no logarithm)"
        )
    notes += _noisy(parts) + list(forms.drift_notes())
    curves = _curves(rows, {"nu mean": "log", "nu spread": "log"}) if len(parts.levels) > 1 else {}
    return Law("drift", forms.misfit_text(), tuple(rows), tuple(notes), curves=curves)


def read_noise(found: Traces, regression: fit_traces.Regression, parts: Usable,
               read_seconds: float | None) -> Law:  # fmt: skip
    """Return the relative noise about the power law per level, its growth, and the 1/f Q_s."""
    if not parts.levels:
        return Law("read noise", times_lacking(found) or _few(found, parts))
    rows: list[Estimate] = []
    for level in parts.levels:
        noise, n = level.noise, len(level.rows)
        size = math.sqrt(noise.variance)
        error = noise.variance_error / (2 * size) if size > 0 else 0.0
        freedom = noise.devices - 1
        rows.append(
            Estimate(
                "relative noise", level.siemens, "S", size, error, "1", n, noise.devices, freedom,
                "factor",
            )
        )  # fmt: skip
        if noise.q > 0:
            rows.append(
                Estimate(
                    "Q_s", level.siemens, "S", noise.q, noise.q_error, "1", n, noise.devices,
                    freedom, "factor",
                )
            )  # fmt: skip
    growth, reason = parts.growth, ""
    notes = [
        "rms about the power law of each trace, with what a power law misses; errors are those of "
        "devices, so slow noise that the reads of one share counts"
    ]
    if growth is not None:
        rows.append(
            Estimate(
                "growth of the variance per factor e of time", math.nan, "", growth.rate,
                growth.error, "1", sum(len(level.rows) for level in parts.levels),
                growth.freedom + 1, growth.freedom,
            )
        )  # fmt: skip
    amplitudes = [row for row in rows if row.quantity == "Q_s"]
    if read_seconds is not None:
        notes.append("Q_s from the size of the noise and the duration of a read")
        reason = _colour(growth, read_seconds, notes)
    elif amplitudes:
        assert growth is not None  # the amplitudes come from it
        t_read = growth.centre_seconds / 2 * math.exp(-1 / growth.rate)
        notes.append(
            "Q_s from the growth of the noise with ln t, one test for all levels; 1/f noise would "
            f"have it with reads of about {t_read:.2g} s"
        )
    else:
        reason = (
            "over all levels the noise does not grow with time beyond three standard errors, so "
            "Q_s needs read_seconds, the duration of a read"
        )
    if not amplitudes and not reason:
        reason = "the reads show no noise"
    curves = _curves(amplitudes, {"Q_s": "power"}) if len(amplitudes) > 1 else {}
    return Law("read noise", reason, tuple(rows), tuple(notes), curves=curves)


def _colour(growth: Growth | None, read_seconds: float, notes: list[str]) -> str:
    """Say whether the noise is 1/f; return a reason where it is not."""
    if growth is None or math.isnan(growth.expected):
        notes.append("whether the noise is 1/f cannot be seen in these data: assumed")
        return ""
    seen = (
        f"its variance grows by {growth.rate:.3g} +- {growth.error:.2g} of itself per factor e of "
        f"time, where 1/f noise of reads of {read_seconds:.3g} s would grow by "
        f"{growth.expected:.3g}"
    )
    if growth.is_not_flicker:
        kind = "is not 1/f" if growth.is_not_white else "is white, not 1/f"
        return f"the noise {kind}: {seen}; the amplitude of a 1/f law would be wrong elsewhere"
    if growth.is_not_white:
        notes.append(f"the noise grows as 1/f noise does: {seen}")
    else:
        notes.append(f"1/f or white cannot be told apart: {seen}; 1/f is an assumption")
    return ""


def programming(
    found: Traces, groups: fit_traces.Levels, regression: fit_traces.Regression, parts: Usable
) -> Law:
    """Return standard deviation and bias of the programmed conductance against the target."""
    name = "programming"
    if not np.isfinite(found.target_siemens).any():
        return Law(name, "no targets; needs the conductance that was asked for")
    by_number = {level.number: level for level in parts.levels}
    rows: list[Estimate] = []
    sigmas: list[tuple[Estimate, fit_clusters.Moments]] = []
    raw, few = 0, 0
    for i, target in enumerate(groups.siemens):
        here = np.flatnonzero(groups.number == i)
        if target == 0 or len(here) < FEWEST_TRACES:  # RESET is no point of this law
            continue
        if i in by_number:
            level = by_number[i]
            g, own, own_error = _at_start(regression, level.rows, level.noise)
            here = regression.trace[level.rows]
        else:  # too few reads for a power law: the first read as it is
            g, own, own_error = found.first_siemens[here], 0.0, 0.0
            raw += 1
        device = found.device[here]
        if len(np.unique(device)) < FEWEST_DEVICES:
            few += 1
            continue
        error = g - found.target_siemens[here]
        bias = fit_clusters.moments(error, device)
        if groups.width_siemens[i] > 0:
            error = fit_clusters.detrended(error, found.target_siemens[here])
        around = fit_clusters.moments(error, device)
        n = len(g)
        sigma = std_of("sigma", float(target), around, "S", n, own, own_error)
        sigmas.append((sigma, around))
        rows += [sigma, mean_of("bias", float(target), bias, "S", n)]
    notes = [f"{raw} level(s) from the first read, which holds read noise too"] * bool(raw)
    notes += _noisy(parts)
    if len(sigmas) < FEWEST_LEVELS:
        lone = f", {few} more with fewer than {FEWEST_DEVICES} devices" * bool(few)
        reason = (
            f"{len(sigmas)} level(s) with {FEWEST_TRACES} or more traces{lone}; needs at least "
            f"{FEWEST_LEVELS} target levels"
        )
        return Law(name, reason, tuple(rows), tuple(notes))
    g_max = float(np.nanmax(found.target_siemens))
    x = np.array([row.level for row, _ in sigmas]) / g_max
    polynomial, curve_rows, text = _sigma_polynomial(x, sigmas)
    notes.append(f"x = target / {g_max:.4g} S; {text}")
    return Law(
        name, "", (*rows, *curve_rows), tuple(notes), polynomial=polynomial,
        states=(float(x.min()), float(x.max())),
    )  # fmt: skip


def _sigma_polynomial(
    x: np.ndarray, sigmas: list[tuple[Estimate, fit_clusters.Moments]]
) -> tuple[tuple[float, float, float, float], list[Estimate], str]:
    """Return the coefficients of sigma(x), as a polynomial and as estimates, and a note on them."""
    values, errors = _arrays([row for row, _ in sigmas])
    fitted = fit_curves.std_polynomial(x, values, errors)
    # A variance pulls at a standard deviation by 1 / (2 sigma).
    pulls = [m.variance_pull / (2 * max(row.value, 1e-30)) for row, m in sigmas]
    shared = fit_clusters.covariance([m.ids for _, m in sigmas], pulls, fitted.weights_error)
    deviations = np.sqrt(np.maximum(0, np.diag(fitted.solver @ shared @ fitted.solver.T)))
    devices = min(m.devices for _, m in sigmas)
    n = sum(row.n for row, _ in sigmas)
    rows = [
        Estimate(f"c{i}", math.nan, "", float(c), float(e), "S", n, devices, devices - 1)
        for i, (c, e) in enumerate(zip(fitted.values, deviations, strict=True))
    ]
    c0, c1, c2, c3 = (*map(float, fitted.values), *(4 - len(fitted.values)) * (0.0,))
    terms = " + ".join(["c0", "c1 x", "c2 x^2", "c3 x^3"][: len(fitted.values)])
    text = (
        f"sigma = {terms}, the lowest order that no higher one improves on at 1 %; chi2 = "
        f"{fitted.chi2:.1f} for {fitted.freedom} degrees of freedom; it ends at the lowest and "
        "highest level"
    )
    return (c0, c1, c2, c3), rows, text


def reset(found: Traces) -> ResetState | None:
    """Return the state of devices with target zero, without the noise of their reads."""
    here = np.flatnonzero(found.target_siemens == 0)
    if len(here) < FEWEST_TRACES:
        return None
    first, device = found.first_siemens[here], found.device[here]
    around = fit_clusters.moments(first, device)
    noise, freedom = _noise_about_lines(found, here)
    how = f"read noise of {math.sqrt(noise):.2g} S taken off" if freedom else "with read noise"
    mean = max(0.0, around.mean)
    low = "" if around.mean >= 0 else f", found at {around.mean:.2g} S"
    return ResetState(
        mean_siemens=mean,
        std_siemens=math.sqrt(max(0.0, around.variance - noise)) if around.devices > 1 else 0.0,
        source=f"first reads of {len(here)} traces of {around.devices} devices with target zero, "
        f"mean to {around.mean_error:.2g} S{low}, spread {how}",
    )


def _noise_about_lines(found: Traces, here: np.ndarray) -> tuple[float, int]:
    """Return the variance of reads about a line in ln t through each trace, and its freedom."""
    squares, freedom = 0.0, 0
    for i in here:
        part = slice(found.offsets[i], found.offsets[i + 1])
        t, g = found.time_seconds[part], found.conductance_siemens[part]
        t, g = t[t > 0], g[t > 0]
        if len(np.unique(t)) < 3:
            continue
        line = np.polynomial.Polynomial.fit(np.log(t), g, 1)
        squares += float(((g - line(np.log(t))) ** 2).sum())
        freedom += len(t) - 2
    return (squares / freedom, freedom) if freedom >= FEWEST_TRACES else (0.0, 0)


def _at_start(
    regression: fit_traces.Regression, here: np.ndarray, noise: Noise
) -> tuple[np.ndarray, float, float]:
    """Return the conductances at t0, the variance of their own error and its standard error."""
    # Of the logarithm at t0, which is low by half the variance of the noise.
    g = np.exp(regression.intercept[here] + max(0.0, noise.at_t0) / 2)
    own = noise.of(regression.start_band[here], regression.start_grown[here])
    size = float((g**2 * own).mean())
    return g, size, size * _relative(noise)


def _relative(noise: Noise) -> float:
    """Return the relative error of the variance of a level's noise."""
    return noise.variance_error / noise.variance if noise.variance > 0 else 0.0


def _within(sample: np.ndarray, level: LevelTraces, groups: fit_traces.Levels) -> np.ndarray:
    """Return a sample without its trend inside a level that is a bin of targets."""
    if groups.by != "target" or groups.width_siemens[level.number] == 0:
        return sample
    return fit_clusters.detrended(sample, level.covariate)


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
        errors = np.maximum(errors, 1e-9)  # of exact data; these quantities have no dimension
        fit_one = fit_curves.power if form == "power" else fit_curves.clipped_log
        if len(mine) > 1 and (form == "log" or (values > 0).all()):
            result[quantity] = fit_one(x, values, errors)[0]
    return result


def times_lacking(found: Traces) -> str:
    """Return why the times do not serve a power law; empty if they do."""
    later = found.time_seconds[found.time_seconds > 0]
    if not len(later):
        return "no reads after time 0; needs at least 3 reads of a trace at different times"
    if found.reads.max() < 3:
        return f"{found.reads.max()} read(s) per trace; needs at least 3 at different times"
    if later.max() < 10 * later.min():
        return f"times from {later.min():.4g} to {later.max():.4g} s; needs at least a factor of 10"
    return ""


def _noisy(parts: Usable) -> list[str]:
    if not parts.too_noisy:
        return []
    levels = ", ".join(f"{value:.3g} S" for value in parts.too_noisy[:5])
    return [f"too noisy for a power law in logarithms: {len(parts.too_noisy)} level(s), {levels}"]


def _few(found: Traces, parts: Usable) -> str:
    noisy = "; ".join(_noisy(parts))
    return (
        f"needs a level with at least {FEWEST_TRACES} traces of {FEWEST_DEVICES} or more devices, "
        f"with 3 or more reads above zero and less than {100 * fit_traces.NOISIEST:.0f} % noise; "
        f"there are {len(found)} traces of {len(np.unique(found.device))} device(s)"
    ) + (f"; {noisy}" if noisy else "")
