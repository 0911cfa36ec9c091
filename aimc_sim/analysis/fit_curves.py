"""Weighted least squares for the shapes that a specification can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spec import StateCurve


@dataclass(frozen=True)
class Fitted:
    """Coefficients of a shape.

    Attributes
    ----------
    values, errors : (K,) float64
        Coefficients and their standard errors.
    chi2, freedom : float, int
        Sum of squared residuals over squared errors, and its degrees of freedom.
    """

    values: np.ndarray
    errors: np.ndarray
    chi2: float
    freedom: int


def linear(design: np.ndarray, y: np.ndarray, errors: np.ndarray) -> Fitted:
    """Fit ``y = design @ values``.

    Parameters
    ----------
    design : (N, K) float64, dimensionless
        Value of every coefficient's function at every state.
    y, errors : (N,) float64, in the unit of the quantity
        Values and their standard errors, > 0.

    Returns
    -------
    Fitted
    """
    weight = 1 / errors
    a, b = design * weight[:, None], y * weight
    covariance = np.linalg.pinv(a.T @ a, hermitian=True)  # states may coincide
    values = covariance @ (a.T @ b)
    chi2 = float(((a @ values - b) ** 2).sum())
    return Fitted(values, np.sqrt(np.diag(covariance)), chi2, len(y) - design.shape[1])


def polynomial(x: np.ndarray, y: np.ndarray, errors: np.ndarray, order: int) -> Fitted:
    """Fit ``c0 + c1 x + ... + c_order x^order``; arguments as in :func:`linear`."""
    return linear(np.vander(x, order + 1, increasing=True), y, errors)


@dataclass(frozen=True)
class StdPolynomial:
    """A polynomial through standard deviations, nowhere negative between the end states.

    Attributes
    ----------
    values : (K,) float64
        Coefficients, in the unit of the standard deviations.
    chi2, freedom : float, int
        Sum of squared residuals over squared errors, and its degrees of freedom.
    solver : (K, N) float64
        Turns a change of the standard deviations into one of the coefficients.
    weights_error : (N,) float64
        Errors of the standard deviations at the values of the polynomial.
    """

    values: np.ndarray
    chi2: float
    freedom: int
    solver: np.ndarray
    weights_error: np.ndarray


_HIGHEST_ORDER = 3
_IMPROVES = 0.01
_PLACES = 101  # states between the ends at which the polynomial must not be negative


def std_polynomial(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> StdPolynomial:
    """Fit the lowest order (up to the third) that no higher one improves on at the 1 % level.

    Parameters
    ----------
    x, y : (N,) float64
        States and standard deviations.
    errors : (N,) float64
        Of the standard deviations; taken as relative errors, so that one that came out small by
        chance gets no more weight than another.
    """
    from scipy import stats

    small = 1e-3 * max(float(np.abs(y).max()), 1e-300)
    relative = np.maximum(errors, 1e-3 * small) / np.maximum(y, small)
    orders = range(min(_HIGHEST_ORDER, len(x) - 1) + 1)
    fits = [_std_polynomial(x, y, relative, order, small) for order in orders]
    for order, one in enumerate(fits):
        gains = [
            stats.chi2.sf(one.chi2 - higher.chi2, more)
            for more, higher in enumerate(fits[order + 1 :], start=1)
        ]
        if all(chance > _IMPROVES for chance in gains):
            return one
    raise AssertionError("the highest order has nothing above it")


def _std_polynomial(
    x: np.ndarray, y: np.ndarray, relative: np.ndarray, order: int, small: float
) -> StdPolynomial:
    from scipy import optimize

    design = np.vander(x, order + 1, increasing=True)
    size = np.maximum(y, small) * relative
    for _ in range(4):  # weights from the curve itself
        a = design / size[:, None]
        solver = np.linalg.pinv(a) / size
        values = solver @ y
        size = np.maximum(design @ values, small) * relative
    places = np.vander(np.linspace(x.min(), x.max(), _PLACES), order + 1, increasing=True)
    if (places @ values).min() < 0:
        scale = max(float(np.abs(y).max()), 1e-300)
        found = optimize.minimize(
            lambda c: float((((design @ c) * scale - y) / size) ** 2 @ np.ones(len(y))),
            np.eye(order + 1)[0], method="SLSQP",
            constraints={"type": "ineq", "fun": lambda c: places @ c},
        )  # fmt: skip
        values = found.x * scale
        values[0] -= min(0.0, float((places @ values).min()))  # the solver's last rounding
    chi2 = float((((design @ values - y) / size) ** 2).sum())
    return StdPolynomial(values, chi2, len(x) - order - 1, solver, size)


def power(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[StateCurve, Fitted]:
    """Fit ``a x^b`` in logarithms; values of the curve stop at those of the end states.

    Returns the curve and the fit of (ln a, b).
    """
    found = linear(np.stack([np.ones_like(x), np.log(x)], axis=1), np.log(y), errors / y)
    a, b = float(np.exp(found.values[0])), float(found.values[1])
    ends = a * np.array([x.min(), x.max()]) ** b
    curve = StateCurve(form="power", a=a, b=b, low=float(min(ends)), high=float(max(ends)))
    return curve, found


def clipped_log(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[StateCurve, Fitted]:
    """Fit ``clip(a ln x + b, low, high)``: a slope below, and a constant from some state on.

    The number of states on the constant is the one with the least Akaike criterion. Outside the
    states that were measured the curve keeps the value at their end. Returns the curve and the
    fit of (a, b, constant), or of the constant alone.
    """
    order = np.argsort(x)
    x, y, errors = x[order], y[order], errors[order]
    best: tuple[float, StateCurve, Fitted] | None = None
    for flat in (len(x), *range(len(x) - 1)):  # states on the constant; at least two on the slope
        found = _candidate(x, y, errors, flat)
        if found is None:
            continue
        curve, fitted = found
        criterion = fitted.chi2 + 2 * len(fitted.values)
        if best is None or criterion < best[0]:
            best = criterion, curve, fitted
    assert best is not None  # the constant alone always fits
    return best[1], best[2]


def value(curve: StateCurve, x: np.ndarray) -> np.ndarray:
    """Return a curve without knee at states x, (N,) float64."""
    raw = curve.a * np.log(x) + curve.b if curve.form == "log" else curve.a * x**curve.b
    return np.clip(raw, curve.low, curve.high)


def _candidate(
    x: np.ndarray, y: np.ndarray, errors: np.ndarray, flat: int
) -> tuple[StateCurve, Fitted] | None:
    steep = len(x) - flat
    constant = linear(np.ones((flat, 1)), y[steep:], errors[steep:]) if flat else None
    if not steep:
        assert constant is not None  # all states are on it
        level = max(0.0, float(constant.values[0]))
        return StateCurve(form="log", a=0.0, b=level, low=level, high=level), constant
    if np.ptp(x[:steep]) <= 1e-9 * x[steep - 1]:
        return None  # levels of one conductance have no slope
    design = np.stack([np.log(x[:steep]), np.ones(steep)], axis=1)
    slope = linear(design, y[:steep], errors[:steep])
    a, b = map(float, slope.values)
    start = a * np.log(x[0]) + b
    end = a * np.log(x[-1]) + b if constant is None else float(constant.values[0])
    if min(start, end) < 0 or (constant is not None and (start - end) * a >= 0):
        return None  # below zero, or the slope leads away from the constant
    curve = StateCurve(form="log", a=a, b=b, low=min(start, end), high=max(start, end))
    chi2 = float((((value(curve, x) - y) / errors) ** 2).sum())
    values, deviations = slope.values, slope.errors
    if constant is not None:
        values = np.append(values, constant.values)
        deviations = np.append(deviations, constant.errors)
    return curve, Fitted(values, deviations, chi2, len(x) - len(values))
