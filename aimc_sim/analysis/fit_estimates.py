"""Results of a fit: numbers with their errors and intervals, and the laws they belong to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from .. import arguments, markup, units
from ..spec import StateCurve
from .fit_clusters import Moments
from .intervals import student

if TYPE_CHECKING:
    import pandas as pd

FEWEST_TRACES = 10
"""Traces per level that a standard deviation needs: its error is then a quarter of it."""
FEWEST_LEVELS = 3
FEWEST_DEVICES = 5
"""Devices that a law needs: traces of one device are alike, whatever their number."""


@dataclass(frozen=True)
class Estimate:
    """One number.

    Attributes
    ----------
    quantity : str
        Name of the quantity, such as "nu mean".
    level : float
        Conductance or pulse it belongs to; NaN for a number of the whole law.
    level_unit : str
        Unit of the level.
    value, standard_error : float
        In ``unit``.
    unit : str
        SI, "1" or "decades".
    n : int
        Traces behind it.
    devices : int
        Devices that those come from; 0 where they do not matter.
    freedom : float
        Degrees of freedom of the error.
    shape : "mean", "factor" or "spread"
        Form of an interval: even about the value, even about its logarithm, or that of a standard
        deviation.
    parts : tuple of (float, float)
        Of a standard deviation: the variances that were added up, each with its degrees of freedom.
    own, own_error : float
        Of a standard deviation: the part of the variance that comes from the errors of its members
        and was taken off, and its standard error.
    """

    quantity: str
    level: float
    level_unit: str
    value: float
    standard_error: float
    unit: str
    n: int
    devices: int = 0
    freedom: float = math.inf
    shape: Literal["mean", "factor", "spread"] = "mean"
    parts: tuple[tuple[float, float], ...] = ()
    own: float = 0.0
    own_error: float = 0.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the ends of the interval that holds the truth with a confidence (0..1)."""
        if self.shape == "spread":
            return self._std_interval((1 - confidence) / 2)
        if not math.isfinite(self.standard_error) or self.freedom <= 0:
            return -math.inf, math.inf
        t = student(self.freedom, confidence)
        if self.shape == "factor" and self.value > 0:
            factor = math.exp(t * self.standard_error / self.value)
            return self.value / factor, self.value * factor
        return self.value - t * self.standard_error, self.value + t * self.standard_error

    def _std_interval(self, tail: float) -> tuple[float, float]:
        from scipy import stats

        if any(freedom <= 0 for _, freedom in self.parts):
            return 0.0, math.inf
        # The variance is a sum of variances less another one: its interval joins theirs (MOVER,
        # which for sums is the interval of Graybill and Wang).
        extra = float(stats.norm.isf(tail)) * self.own_error
        down, up = extra, extra
        for variance, freedom in self.parts:
            low, high = (
                variance * freedom / float(stats.chi2.ppf(p, freedom)) for p in (1 - tail, tail)
            )
            down, up = math.hypot(down, variance - low), math.hypot(up, high - variance)
        variance = sum(part for part, _ in self.parts) - self.own
        return math.sqrt(max(0.0, variance - down)), math.sqrt(max(0.0, variance + up))


@dataclass(frozen=True)
class Law:
    """Estimates of one law.

    Attributes
    ----------
    name : str
        Name of the law, such as "drift".
    reason : str
        Empty if the law is identified; else the lack of the data.
    estimates : tuple of Estimate
        Numbers of the law, level by level; may be present without identification.
    notes : tuple of str
        Methods and conditions behind the numbers, a sentence each.
    polynomial : tuple of float or None
        Coefficients in siemens, of the programming law.
    states : tuple of float or None
        Lowest and highest state that the polynomial was fitted to.
    curves : dict
        Curves by the name of their quantity, for a specification.
    """

    name: str
    reason: str = ""
    estimates: tuple[Estimate, ...] = ()
    notes: tuple[str, ...] = ()
    polynomial: tuple[float, float, float, float] | None = None
    states: tuple[float, float] | None = None
    curves: dict[str, StateCurve] = field(default_factory=dict)

    @property
    def identified(self) -> bool:
        """Whether the data determine the law."""
        return not self.reason


COLUMNS = (
    "law", "identified", "quantity", "level", "level_unit", "value", "standard_error", "low_95",
    "high_95", "unit", "n", "devices",
)  # fmt: skip
"""Columns of the table of a report."""


class LawReport:
    """Base of all reports of a fit: access to ``laws``, a tuple of :class:`Law`.

    Attributes
    ----------
    title : str
        Of the data.
    levels_text : str
        How many levels there are, and which.
    laws : tuple of Law
        All laws, also those that the data do not determine.
    """

    title: str
    levels_text: str
    laws: tuple[Law, ...]

    def law(self, name: str) -> Law:
        """Return a law by name; KeyError names those there are."""
        for law in self.laws:
            if law.name == name:
                return law
        known = [law.name for law in self.laws]
        raise KeyError(arguments.unknown(f"no law named '{name}'", name, known))

    def value(self, law: str, quantity: str, level: float | None = None) -> Estimate:
        """Return one estimate, for a quantity per level that of the nearest level."""
        found = [row for row in self.law(law).estimates if row.quantity == quantity]
        if not found:
            raise KeyError(f"the law '{law}' has no estimate '{quantity}'")
        return found[0] if level is None else min(found, key=lambda row: abs(row.level - level))

    def table(self) -> pd.DataFrame:
        """Return all estimates, one row each; columns as in :data:`COLUMNS`."""
        import pandas as pd

        rows = [
            (law.name, law.identified, e.quantity, e.level, e.level_unit, e.value,
             e.standard_error, *e.interval(0.95), e.unit, e.n, e.devices)
            for law in self.laws
            for e in law.estimates
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=COLUMNS)

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        found = sum(law.identified for law in self.laws)
        summary = f"{found} of {len(self.laws)} laws are identified, from {self.levels_text}"
        parts = [_shown(law) for law in self.laws]
        return markup.display(type(self).__name__, self.title, markup.paragraph(summary), *parts)


def _shown(law: Law) -> Markup:
    """Return a law for a notebook: its estimates, or the lack of the data."""
    columns = ("quantity", ">at", ">value", ">standard error", ">95 % interval", ">traces",
               ">devices")  # fmt: skip
    rows = [
        (
            one.quantity, _quantity(one.level, one.level_unit), _quantity(one.value, one.unit),
            _quantity(one.standard_error, one.unit),
            " to ".join(_quantity(end, one.unit) for end in one.interval()), f"{one.n:,}",
            f"{one.devices:,}" if one.devices else "-",
        )
        for one in law.estimates
    ]  # fmt: skip
    parts = [markup.table(columns, rows, rest=".table()")] if rows else []
    parts += [markup.paragraph(note, soft=True) for note in law.notes]
    if not parts:
        parts.append(markup.paragraph(law.reason))
    state = "identified" if law.identified else f"not identified: {law.reason}"
    return markup.folded(f"{law.name}: {state}", *parts, unfolded=law.name == "drift")


def _quantity(value: float, unit: str) -> str:
    """Return a number with its unit; "-" for none."""
    if math.isnan(value):
        return "-"
    return (
        units.show(value, unit) if unit in ("S", "s") else f"{value:.4g} {unit}".removesuffix(" 1")
    )


def mean_of(
    quantity: str, level: float, found: Moments, unit: str, n: int, level_unit: str = "S",
    shift: float = 0.0,
) -> Estimate:  # fmt: skip
    """Return the mean of :class:`~.fit_clusters.Moments` as an estimate, less ``shift``."""
    return Estimate(
        quantity, level, level_unit, found.mean - shift, found.mean_error, unit, n,
        found.devices, found.devices - 1,
    )  # fmt: skip


def std_of(
    quantity: str, level: float, found: Moments, unit: str, n: int, own: float, own_error: float,
    level_unit: str = "S",
) -> Estimate:  # fmt: skip
    """Return a standard deviation without the errors of the members of the sample themselves.

    Parameters
    ----------
    quantity : str
        Name of the quantity.
    level : float
        Conductance or pulse it belongs to, in ``level_unit``.
    found : ``Moments``
        Mean and variance of the sample, by :func:`.fit_clusters.moments`.
    unit : str
        Unit of the standard deviation.
    n : int
        Traces in the sample.
    own, own_error : float
        Mean squared error of the members of the sample, and its standard error.
    level_unit : str
        Unit of the level.
    """
    variance = max(0.0, found.variance - own)
    error = math.hypot(found.variance * math.sqrt(2 / max(found.freedom, 1e-9)), own_error)
    value = math.sqrt(variance)
    below = max(value, math.sqrt(error / 2))
    return Estimate(
        quantity, level, level_unit, value, error / (2 * below) if below > 0 else 0.0, unit, n,
        found.devices, found.freedom, "spread", found.parts, own, own_error,
    )  # fmt: skip
