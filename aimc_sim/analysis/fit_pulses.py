"""Pulse laws from pulse records: mean and standard deviation of a step, against state and number.

A record is a train of pulses with a read after each (``pulse_number``, ``pulse_direction``). The
step of a pulse is the difference of two reads; its mean is compared between

- a constant step;
- soft bounds: ``a + b G``, which vanishes at the bound ``-a / b`` (the conductance then runs
  exponentially in the number of pulses);
- an exponential step: ``A exp(-k G)``;
- accumulation: ``a + b G + A1 exp(-p / alpha)``, p the pulses of the run, the law of S. R.
  Nandakumar et al., J. Appl. Phys. 2018 that :class:`aimc_sim.spec.AccumulationLaw` holds.

A read stands in two steps, with both signs: its noise shows as an anticorrelation of neighbouring
steps, and is taken off their variance. It would also pull the slope of a step against its own read
down; so the state before a pulse is predicted from the read before that one, whose noise is in
neither end of the step (two-stage least squares).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from .. import markup
from ..device.measured.schema import MeasuredData
from ..device.measured.traces import traces
from ..spec import AccumulationLaw, ConstantStep, CycleNoise, LinearStep, StepSpec
from .fit_estimates import FEWEST_DEVICES, Estimate, Law, LawReport

CONSTANT, SOFT, EXPONENTIAL, ACCUMULATION = (
    "constant step", "soft bounds", "exponential step", "accumulation",
)  # fmt: skip
_FEWEST_STEPS = 15
_BINS = 5
_AS_GOOD = 2.0  # difference of Akaike's criterion that says nothing
_ROBUST = 1e-12


@dataclass(frozen=True)
class PulseReport(LawReport):
    """Laws of a step from pulse records.

    Attributes
    ----------
    title : str
        Title of the measurement.
    reads, devices, traces : int
        How much there is; traces are trains.
    levels_text : str
        Kind of the records in words.
    laws : tuple of Law
        "step up" and "step down".
    lines : tuple of (float, siemens)
        Slope and offset of the straight line through the steps of each law, whatever its form.
    reach : (float, float), siemens
        Lowest and highest conductance that a step of either law started from; NaN without steps.
    """

    title: str
    reads: int
    devices: int
    traces: int
    levels_text: str
    laws: tuple[Law, ...]
    lines: tuple[tuple[float, float], ...] = ()
    reach: tuple[float, float] = (math.nan, math.nan)

    _repr_pretty_ = markup.named

    def to_accumulation(
        self, amperes: float, seconds: float, *, of_few: bool = False
    ) -> AccumulationLaw:
        """Return the upward step as the law of an accumulating SET pulse.

        Parameters
        ----------
        amperes, seconds : float
            The pulse.
        of_few : bool
            Take the law of fewer than five devices as that of all.

        Raises
        ------
        ValueError
            If the step up is not identified.
        """
        law = self.law("step up")
        if not law.identified and not (of_few and law.estimates):
            raise ValueError(f"no law from these records: step up: {law.reason}")
        named = {e.quantity: e.value for e in law.estimates if math.isnan(e.level)}
        return AccumulationLaw(
            mean_slope=named.get("m1", 0.0),
            mean_offset_siemens=named["c1"],
            mean_first_siemens=max(0.0, named.get("A1", 0.0)),
            std_slope=max(0.0, named["m2"]),
            std_offset_siemens=max(0.0, named["c2"]),
            std_first_siemens=0.0,
            decay_pulses=named.get("alpha", 1.0),
            amperes=amperes,
            seconds=seconds,
            source=f"fitted to '{self.title}': {self.traces} trains of {self.devices} devices",
        )

    def to_steps(
        self, pulse_seconds: float, pulse_volts: float, low_siemens: float | None = None,
        high_siemens: float | None = None, *, of_few: bool = False,
    ) -> StepSpec:  # fmt: skip
        """Return steps up and down as a device that learns, with weights from -1 to 1.

        The weight is linear in the conductance: -1 at ``low_siemens`` and 1 at ``high_siemens``.
        Both steps are straight lines, or constants; the noise of pulses is that in the middle of
        the range. Differences between devices are not in it.

        Parameters
        ----------
        pulse_seconds : float, seconds
            Duration of a pulse.
        pulse_volts : float, volts
            Its voltage.
        low_siemens, high_siemens : float, siemens, optional
            Ends of the range. Default: the lowest and highest conductance that a step started
            from, :attr:`reach`; devices go no further.
        of_few : bool
            Take the law of fewer than five devices as that of all.

        Returns
        -------
        StepSpec
            Of both directions.

        Raises
        ------
        ValueError
            If a step is not identified, depends on the number of pulses, grows towards its bound,
            or has the wrong direction.
        """
        lines = {}
        for name in ("step up", "step down"):
            law = self.law(name)
            if not law.identified and not (of_few and law.estimates):
                raise ValueError(f"no step law from these records: {name}: {law.reason}")
            found = {e.quantity: e.value for e in law.estimates if math.isnan(e.level)}
            first = found.get("A1", 0.0) * math.exp(-1 / found.get("alpha", 1.0))
            mean = [e.value for e in law.estimates if e.quantity == "mean step"]
            if abs(first) > _FIRST * max(map(abs, mean)):
                raise ValueError(
                    f"no step law from these records: the {name} depends on the number of pulses "
                    "(accumulation); to_accumulation holds such a law"
                )
            lines[name] = found
        low = self.reach[0] if low_siemens is None else low_siemens
        high = self.reach[1] if high_siemens is None else high_siemens
        if not 0 <= low < high:
            raise ValueError(
                f"the range of conductances is {low:.3g} to {high:.3g} S; wanted 0 <= low < high"
            )
        scale, middle = 2 / (high - low), (low + high) / 2
        sizes, lost, stds = [], [], []
        constant = all("m1" not in line and "A" not in line for line in lines.values())
        for sign, (name, line), straight in zip((1, -1), lines.items(), self.lines, strict=True):
            slope, offset = (0.0, line["c1"]) if constant else straight
            size = sign * scale * (slope * middle + offset)
            if size <= 0:
                raise ValueError(f"the {name} goes the other way in the middle of the range")
            share = -slope / size
            if share < -_ROUND:
                raise ValueError(
                    f"the {name} grows towards its bound (by {-share:.3g} of itself); laws of "
                    "steps fall towards it"
                )
            sizes.append(size)
            lost.append(max(share, 0.0))
            stds.append(scale * (line["m2"] * middle + line["c2"]))
        up, down = sizes
        source = f"fitted to '{self.title}': {self.traces} trains of {self.devices} devices"
        shape = ConstantStep(source=source) if constant else LinearStep(
            decrease_up=lost[0], decrease_down=lost[1], source=source
        )  # fmt: skip
        return StepSpec(
            g_max_siemens=high, low_siemens=low, t0_seconds=1.0, lower=-1.0, upper=1.0,
            step=max(up, down), up_down=1 - down / up if up > down else up / down - 1,
            shape=shape, cycle=CycleNoise(std=1.0, offset=sum(stds) / 2, source=source),
            pulse_seconds=pulse_seconds, pulse_volts=pulse_volts, source=source,
        )  # fmt: skip


_ROUND = 1e-9
_FIRST = 0.2  # extra of the first pulse, against the largest mean step, that is no step law


@dataclass(frozen=True)
class _Steps:
    """Steps of one direction, (N,) each."""

    step: np.ndarray
    state: np.ndarray  # before the pulse, predicted from the read before
    number: np.ndarray  # of the pulse in its run, from 1
    device: np.ndarray
    run: np.ndarray


def fit_pulses(data: MeasuredData) -> PulseReport:
    """Fit the laws of single pulses.

    Parameters
    ----------
    data : MeasuredData
        With ``pulse_number``; without ``pulse_direction`` all pulses count as upward.

    Raises
    ------
    ValueError
        If the data are no pulse records.
    """
    if data.pulse_number is None:
        raise ValueError(
            "these are no pulse records: no column 'pulse_number'; fit reads after a programming "
            "with aimc_sim.analysis.fit.fit"
        )
    found = traces(data)
    given = {name: _steps(data, way) for name, way in (("step up", 1), ("step down", -1))}
    laws = tuple(_law(name, steps) for name, steps in given.items())
    lines = tuple(_line(steps) for steps in given.values())
    states = np.concatenate([steps.state for steps in given.values()])
    reach = (float(states.min()), float(states.max())) if len(states) else (math.nan, math.nan)
    pulses = int(found.reads.sum()) - len(found)
    return PulseReport(
        data.provenance.title or "untitled", len(data), len(np.unique(found.device)), len(found),
        f"{pulses:,} steps of pulses", laws, lines, reach,
    )  # fmt: skip


def _line(steps: _Steps) -> tuple[float, float]:
    if len(steps.step) < _FEWEST_STEPS:
        return math.nan, math.nan
    slope, offset = _soft(steps).values
    return float(slope), float(offset)


def _steps(data: MeasuredData, direction: int) -> _Steps:
    from ..device.measured.columns import trace_order

    columns = data.columns()
    order, starts = trace_order(columns)
    g, device = columns["conductance_siemens"][order], columns["device"][order]
    way = columns.get("pulse_direction", np.ones(len(g), int))[order]
    trace = np.zeros(len(g), np.int64)
    trace[starts[1:]] = 1
    trace = np.cumsum(trace)
    # A run is a piece of a train with one direction; its first step starts from the read before.
    new = np.ones(len(g), bool)
    new[1:] = (np.diff(trace) != 0) | (np.diff(way) != 0)
    run = np.cumsum(new) - 1
    parts: list[tuple[np.ndarray, ...]] = []
    for i in np.unique(run[way == direction]):
        here = np.flatnonzero(run == i)
        first = here[0]
        if first > 0 and trace[first - 1] == trace[first]:
            here = np.append(first - 1, here)
        if len(here) < 4:
            continue
        reads, n = g[here], len(here) - 1
        before = np.append(np.nan, reads[: n - 1])  # the read before the one before the pulse
        owner, number = np.full(n, device[first]), np.arange(1, n + 1)
        parts.append((np.diff(reads), reads[:-1], before, number, owner, np.full(n, i)))
    if not parts:
        empty = np.empty(0)
        return _Steps(empty, empty, empty, empty, empty)
    step, read, before, number, owner, run_of = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return _Steps(step, _predicted(read, before, number), number, owner, run_of)


def _predicted(read: np.ndarray, before: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return reads without their own noise: their mean given the read before, over all runs."""
    state = np.full(len(read), read[np.isnan(before)].mean())  # of first steps the common start
    has = ~np.isnan(before)
    scale = float(np.abs(before[has]).max()) or 1.0
    z = before[has] / scale
    design = np.stack([np.ones_like(z), z, z**2, 1 / number[has]], axis=1)
    values = np.linalg.lstsq(design, read[has], rcond=None)[0]
    state[has] = design @ values
    return state


def _law(name: str, steps: _Steps) -> Law:
    if len(steps.step) < _FEWEST_STEPS:
        return Law(name, f"{len(steps.step)} step(s); needs at least {_FEWEST_STEPS}")
    fits = {form: fit(steps) for form, fit in _FORMS.items()}
    n = len(steps.step)
    criterion = {
        form: n * math.log(max(f.squares / n, _ROBUST * np.mean(steps.step**2) + 1e-300))
        + 2 * (len(f.values) + 1)
        for form, f in fits.items()
    }
    least = min(criterion.values())
    # Of forms that describe the steps equally well, the simplest: they stand in that order.
    best = next(form for form, value in criterion.items() if value <= least + _AS_GOOD)
    devices = len(np.unique(steps.device))
    rows: list[Estimate] = []

    def add(quantity: str, value: float, error: float, unit: str, level: float = math.nan) -> None:
        rows.append(
            Estimate(quantity, level, "" if math.isnan(level) else "S", float(value), float(error),
                     unit, n, devices, max(1, devices - 1))
        )  # fmt: skip

    left = steps.step - fits[best].predicted
    noise2 = _read_noise(left, steps.run)
    for where in np.array_split(np.argsort(steps.state), min(_BINS, n // _FEWEST_STEPS)):
        level, sample = float(steps.state[where].mean()), steps.step[where]
        variance = max(0.0, float(left[where].var(ddof=1)) - 2 * noise2)
        add("mean step", sample.mean(), _mean_error(sample, steps.device[where]), "S", level)
        std = math.sqrt(variance)
        error = float(left[where].var(ddof=1)) * math.sqrt(2 / (len(where) - 1))
        error /= 2 * max(std, math.sqrt(error / 2), 1e-30)
        add("spread of the step", std, error, "S",
            level)  # fmt: skip
    add("read noise", math.sqrt(noise2), math.sqrt(noise2) / math.sqrt(2 * n), "S")
    chosen = fits[best if best != EXPONENTIAL else SOFT]
    shape = fits[best]
    errors = _errors(shape, left, steps.device)
    for label, unit, value, error in zip(
        shape.names, shape.units, shape.values, errors, strict=True
    ):
        add(label, value, error, unit)
    if best == EXPONENTIAL:  # the straight line too, which a specification can hold
        own = _errors(chosen, steps.step - chosen.predicted, steps.device)
        for label, unit, value, error in zip(
            chosen.names, chosen.units, chosen.values, own, strict=True
        ):
            add(label, value, error, unit)
    if best in (SOFT, ACCUMULATION) and shape.values[0] != 0:
        bound = -shape.values[1] / shape.values[0]
        add("bound of the conductance", bound, abs(bound * errors[0] / shape.values[0]), "S")
    m2, c2 = _variance_line(left, steps.state, noise2)
    add("m2", m2, 0.0, "1")
    add("c2", c2, 0.0, "S")
    for form, value in criterion.items():
        add(f"criterion above the best: {form}", value - least, 0.0, "1")
    notes = [
        f"{n} steps of {devices} device(s); best form by Akaike's criterion: {best}"
        f" ({_FORMULA[best]}); spread without read noise: m2 G + c2"
    ]
    anti = 2 * noise2 / max(float(left.var()), 1e-300)
    notes.append(f"read noise makes {100 * min(1.0, anti):.0f} % of the variance of a step")
    reason = ""
    if devices < FEWEST_DEVICES:
        reason = (
            f"{devices} device(s): the numbers are of these, not of others; needs "
            f"{FEWEST_DEVICES} or more devices"
        )
    return Law(name, reason, tuple(rows), tuple(notes))


# ---------------------------------------------------------------------------------- forms


@dataclass(frozen=True)
class _Fit:
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray
    predicted: np.ndarray
    jacobian: np.ndarray
    squares: float


_FORMULA = {
    CONSTANT: "c1",
    SOFT: "m1 G + c1",
    EXPONENTIAL: "A exp(-k G)",
    ACCUMULATION: "m1 G + c1 + A1 exp(-p / alpha)",
}


def _linear(
    steps: _Steps, design: np.ndarray, names: tuple[str, ...], units: tuple[str, ...]
) -> _Fit:
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    values = np.linalg.lstsq(design / scale, steps.step, rcond=None)[0] / scale
    predicted = design @ values
    squares = float(((steps.step - predicted) ** 2).sum())
    return _Fit(names, units, values, predicted, design, squares)


def _constant(steps: _Steps) -> _Fit:
    return _linear(steps, np.ones((len(steps.step), 1)), ("c1",), ("S",))


def _soft(steps: _Steps) -> _Fit:
    design = np.stack([steps.state, np.ones_like(steps.state)], axis=1)
    return _linear(steps, design, ("m1", "c1"), ("1", "S"))


def _nonlinear(
    steps: _Steps,
    model: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    names: tuple[str, ...],
    units: tuple[str, ...],
    bounds: tuple[list[float], list[float]],
) -> _Fit:
    size = float(np.abs(steps.step).mean()) or 1.0
    found = optimize.least_squares(
        lambda v: (model(v) - steps.step) / size, start, bounds=bounds, x_scale="jac", max_nfev=300
    )
    predicted = model(found.x)
    squares = float(((steps.step - predicted) ** 2).sum())
    return _Fit(names, units, found.x, predicted, found.jac * size, squares)


def _exponential(steps: _Steps) -> _Fit:
    middle = float(steps.state.mean()) or 1e-6
    mean = float(steps.step.mean())

    def model(v: np.ndarray) -> np.ndarray:
        fall = np.exp(np.clip(-v[1] * (steps.state / middle - 1), -50, 50))
        step: np.ndarray = mean * v[0] * fall
        return step

    fit = _nonlinear(steps, model, np.array([1.0, 0.1]), ("A", "k"), ("S", "1/S"),
                     ([0, -20], [np.inf, 20]))  # fmt: skip
    factor, rate = fit.values
    turned = np.array([[mean * math.exp(rate), mean * factor * math.exp(rate)], [0, 1 / middle]])
    jacobian = fit.jacobian @ np.linalg.pinv(turned)
    values = np.array([mean * factor * math.exp(rate), rate / middle])
    return _Fit(fit.names, fit.units, values, fit.predicted, jacobian, fit.squares)


def _accumulation(steps: _Steps) -> _Fit:
    def design(alpha: float) -> np.ndarray:
        first = np.exp(-steps.number / alpha)
        return np.stack([steps.state, np.ones_like(steps.state), first], axis=1)

    names, units = ("m1", "c1", "A1"), ("1", "S", "S")
    most = max(2.0, float(steps.number.max()))
    grid = np.geomspace(0.5, most, 25)
    alpha = float(min(grid, key=lambda a: _linear(steps, design(a), names, units).squares))
    fit = _linear(steps, design(alpha), names, units)
    slope = fit.values[2] * np.exp(-steps.number / alpha) * steps.number / alpha**2
    jacobian = np.column_stack([fit.jacobian, slope])
    return _Fit((*names, "alpha"), (*units, "pulses"), np.append(fit.values, alpha), fit.predicted,
                jacobian, fit.squares)  # fmt: skip


_FORMS: dict[str, Callable[[_Steps], _Fit]] = {
    CONSTANT: _constant,
    SOFT: _soft,
    EXPONENTIAL: _exponential,
    ACCUMULATION: _accumulation,
}


# ------------------------------------------------------------------------------- errors


def _read_noise(left: np.ndarray, run: np.ndarray) -> float:
    """Return the variance of a read: minus the covariance of neighbouring steps."""
    pair = run[1:] == run[:-1]
    if pair.sum() < _FEWEST_STEPS:
        return 0.0
    products = left[1:][pair] * left[:-1][pair]
    return float(np.clip(-products.mean(), 0.0, left.var() / 2))


def _mean_error(sample: np.ndarray, device: np.ndarray) -> float:
    ids, number = np.unique(device, return_inverse=True)
    if len(ids) < FEWEST_DEVICES:
        return float(sample.std(ddof=1)) / math.sqrt(len(sample))
    sums = np.bincount(number, sample - sample.mean())
    return math.sqrt(float((sums**2).sum()) * len(ids) / (len(ids) - 1)) / len(sample)


def _errors(fit: _Fit, left: np.ndarray, device: np.ndarray) -> np.ndarray:
    """Return standard errors of the values: of devices where there are enough, else of steps."""
    scale = np.maximum(np.abs(fit.jacobian).max(axis=0), 1e-300)
    a = fit.jacobian / scale
    inverse = np.linalg.pinv(a.T @ a)
    ids, number = np.unique(device, return_inverse=True)
    if len(ids) < FEWEST_DEVICES:
        freedom = max(1, len(left) - a.shape[1])
        covariance = inverse * float((left**2).sum()) / freedom
    else:
        score = np.zeros((len(ids), a.shape[1]))
        np.add.at(score, number, a * left[:, None])
        covariance = inverse @ (score.T @ score) @ inverse * len(ids) / (len(ids) - 1)
    found: np.ndarray = np.sqrt(np.maximum(0, np.diag(covariance))) / scale
    return found


def _variance_line(left: np.ndarray, state: np.ndarray, noise2: float) -> tuple[float, float]:
    """Return m2 and c2 of ``std = m2 G + c2``, both at least zero, by maximum likelihood."""
    size = float(np.sqrt(np.mean(left**2))) or 1.0
    middle = float(np.abs(state).mean()) or 1.0

    def cost(v: np.ndarray) -> float:
        std = size * (v[0] * np.maximum(state, 0) / middle + v[1])
        variance = std**2 + 2 * noise2 + 1e-12 * size**2
        return float(np.mean(left**2 / variance + np.log(variance / size**2)))

    found = optimize.minimize(cost, [0.3, 0.5], bounds=[(0, None), (0, None)], method="L-BFGS-B")
    return float(found.x[0]) * size / middle, float(found.x[1]) * size
