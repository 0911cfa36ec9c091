"""Metrics of studies: a score per image or sequence, and how scores sum up.

A metric of one's own is a :class:`Metric` in a module, named ``package.module:name`` in a study
(``metric:``) or after ``--metric``::

    import numpy as np
    from aimc_sim.metrics import Metric

    def absolute(outputs, targets):
        return np.abs(outputs - targets).reshape(len(outputs), -1).mean(1)

    error = Metric("absolute error", absolute, larger=False, unit="V", targets="values")

The scores of items add up: their mean over all items, in float64, goes through ``sum_up``
and is the *value* of one programming. Intervals and differences need a number per item whose mean
is the value; for a curved ``sum_up`` that is the tangent at the mean (:meth:`Metric.linear`, the
infinitesimal jackknife: B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans, SIAM
1982, chapter 6, doi:10.1137/1.9781611970319).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from . import arguments, markup, own

SumUp = Literal["mean", "power of two", "root", "decibels"]
"""From the mean ``m`` of scores to the value: ``m``, ``2^m``, ``sqrt(m)``, ``-10 log10(m)``."""

TargetKind = Literal["classes", "values", "network"]
"""Whole numbers; numbers; the outputs of the network itself in floating point, by torch."""

IGNORED = -100
"""A target that is not counted: padding, borders; torch's own number for it."""

CONFIDENT = 5
"""Classes among which the right one must be for a top-5 hit."""

LARGEST_NAME = 200
"""Characters of the name of a metric, which stands in tables and titles."""

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From outputs (N, ...) float32 and targets (N, ...) of all N items to a score (N,) of each."""


@dataclass(frozen=True)
class Metric:
    """A way to score a network.

    Attributes
    ----------
    name : str
        Stands in tables and titles.
    score : callable or None
        See :data:`Score`. Of a network with several outputs it is given the first. None for a
        metric that was read from stored results, whose scores are there.
    larger : bool
        Whether a larger value is better.
    unit : str
        Of values as they are shown: "%", "bits", "dB"; "" for a plain number.
    about : str
        Text of an axis; default: the name.
    scale : float
        A value is shown as ``scale * value``: 100 for shares that are shown in percent.
    digits : int
        After the point, of values as they are shown, for up to 1,000 items; one more above.
    bounds : (float, float)
        Values that are possible.
    bits : bool
        Whether a score is true or false, and ``value`` the share of true ones.
    sum_up : str
        One of :data:`SumUp`.
    chance : callable or None
        From the number of classes to the value of guessing; None where there is none.
    targets : str
        One of :data:`TargetKind`: the kind of targets that the data of a study have to hold.
    origin, code : str
        Name of the user's own object (see :mod:`aimc_sim.own`) that it was named by, and the
        SHA-256 of the file; "" for those of this module. :func:`named` fills them in.

    Raises
    ------
    TypeError, ValueError
        If one of them is not as above.
    """

    name: str
    score: Score | None
    larger: bool
    unit: str = ""
    about: str = ""
    scale: float = 1.0
    digits: int = 3
    bounds: tuple[float, float] = (-math.inf, math.inf)
    bits: bool = False
    sum_up: SumUp = "mean"
    chance: Callable[[int], float] | None = None
    targets: TargetKind = "classes"
    origin: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > LARGEST_NAME or not self.name.isprintable():
            raise ValueError(
                f"the name of a metric is {arguments.shown(self.name)}: wanted 1 to {LARGEST_NAME} "
                "printable characters"
            )
        if self.score is not None and not callable(self.score):
            raise TypeError(
                f"metric '{self.name}': score is a {type(self.score).__name__}; wanted a function "
                "from outputs and targets to an array with a number per item"
            )
        arguments.choice(self.sum_up, f"sum_up of metric '{self.name}'", get_args(SumUp))
        arguments.choice(self.targets, f"targets of metric '{self.name}'", get_args(TargetKind))
        if self.bits and self.sum_up != "mean":
            raise ValueError(f"metric '{self.name}': shares of true scores sum up by their mean")
        if not self.about:
            object.__setattr__(self, "about", self.name)
        if self.bits:
            object.__setattr__(self, "bounds", (0.0, 1.0))

    # ------------------------------------------------------------------ scores

    def scored(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the score of every item, (N,) bool or float32.

        Parameters
        ----------
        outputs : (N, ...) float32 array
            The network's outputs for all items.
        targets : (N, ...) array
            int64 or float32, see :data:`TargetKind`.

        Raises
        ------
        ValueError
            If outputs and targets do not fit, or a score is not finite.
        """
        if self.score is None:
            raise ValueError(f"the metric '{self.name}' was read from results and cannot score")
        try:
            found = np.asarray(self.score(outputs, targets))
        except ValueError:
            raise
        except Exception as error:  # a user's own function
            raise ValueError(
                f"metric '{self.name}' failed on outputs {outputs.shape} and targets "
                f"{targets.shape}: {type(error).__name__}: {error}"
            ) from error
        if found.shape != (len(outputs),):
            raise ValueError(
                f"metric '{self.name}' gives scores of shape {found.shape} for {len(outputs)} "
                f"items; wanted one number per item, ({len(outputs)},)"
            )
        if self.bits:
            if found.dtype != bool:
                raise ValueError(f"metric '{self.name}' has bits = True and gives {found.dtype}")
            return found
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            item = int(np.flatnonzero(~np.isfinite(found))[0])
            raise ValueError(f"metric '{self.name}' gives item {item} the score {found[item]}")
        return found

    # ------------------------------------------------------------------ values

    def value(self, scores: np.ndarray) -> Any:
        """Return the value of scores (..., N): a float, or (...) float64."""
        found = self._forward(np.asarray(scores, np.float64).mean(-1))
        return float(found) if np.ndim(found) == 0 else found

    def linear(self, scores: np.ndarray) -> np.ndarray:
        """Return numbers per item, (P, N) float64, of which the mean of a row is its value.

        Parameters
        ----------
        scores : (P, N) array
            One row per programming.
        """
        x = np.asarray(scores, np.float64)
        if self.sum_up == "mean":
            return x
        mean = x.mean(1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            value, slope = self._forward(mean), self._slope(mean)
            found: np.ndarray = np.where(x == mean, value, value + slope * (x - mean))
        return found

    def better(self, value: float) -> float:
        """Return the value with the sign that makes larger better."""
        return value if self.larger else -value

    def _forward(self, mean: Any) -> Any:
        if self.sum_up == "power of two":
            return np.exp2(mean)
        if self.sum_up == "root":
            return np.sqrt(mean)
        if self.sum_up == "decibels":
            with np.errstate(divide="ignore"):
                return -10 * np.log10(mean)
        return mean

    def _slope(self, mean: Any) -> Any:
        if self.sum_up == "power of two":
            return math.log(2) * np.exp2(mean)
        if self.sum_up == "root":
            return 0.5 / np.sqrt(mean)
        return -10 / math.log(10) / mean

    # ------------------------------------------------------------------ as it is shown

    def digits_of(self, items: int) -> int:
        """Return the digits after the point that so many items carry."""
        return self.digits + (items > 1000)

    def show(self, value: float, digits: int, sign: bool = False) -> str:
        """Return a value as it stands in tables, without its unit; "-" for none."""
        if value != value:
            return "-"
        shown = round(self.scale * value, digits) + 0.0  # no negative zero
        return f"{shown:+.{digits}f}" if sign else f"{shown:.{digits}f}"

    def span(self, low: float, high: float, digits: int, sign: bool = False) -> str:
        """Return an interval of values as it stands in tables; "-" for none."""
        if low != low or high != high:
            return "-"
        return f"[{self.show(low, digits, sign)}, {self.show(high, digits, sign)}]"

    @property
    def axis(self) -> str:
        """The name of an axis of values, with the unit."""
        return f"{self.about} ({self.unit})" if self.unit else self.about

    @property
    def heading(self) -> str:
        """The name in a sentence: "accuracy in %"."""
        return f"{self.name} in {self.unit}" if self.unit else self.name

    @property
    def difference_unit(self) -> str:
        """The unit of differences."""
        return "percentage points" if self.unit == "%" else self.unit

    @property
    def difference_heading(self) -> str:
        """The name of differences in a sentence: "accuracy in percentage points"."""
        unit = self.difference_unit
        return f"{self.name} in {unit}" if unit else self.name

    # ------------------------------------------------------------------ stored

    def identity(self) -> dict[str, str] | None:
        """Return what tells results of this metric from others; None for the default one."""
        if self == ACCURACY:
            return None
        return {"name": self.name, "origin": own.label(self.origin), "code": self.code}

    def described(self) -> dict[str, Any]:
        """Return everything but the functions, as JSON values; :func:`read` takes it back."""
        return {
            "name": self.name, "larger": self.larger, "unit": self.unit, "about": self.about,
            "scale": self.scale, "digits": self.digits,
            "bounds": [None if math.isinf(x) else x for x in self.bounds],
            "bits": self.bits, "sum_up": self.sum_up, "targets": self.targets,
            "origin": own.label(self.origin),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        low, high = (self.show(bound, self.digits) for bound in self.bounds)
        rows = [
            ("axis", self.axis),
            ("better", "larger values" if self.larger else "smaller values"),
            ("values", f"{low} to {high}"),
            ("targets", self.targets),
            ("score of an item", "true or false" if self.bits else "a number"),
            ("scores sum up by", self.sum_up),
        ]
        if self.origin:
            rows.append(("named by", self.origin))
        if self.score is None:
            rows.append(("function", "none: read from stored results"))
        return markup.display("Metric", self.name, markup.facts(rows))

    def __reduce__(self) -> Any:
        """Return the parts for pickle: a metric of the user's own by value, with its code."""
        if self is BY_NAME.get(self.name):
            return named, (self.name,)
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if not self.origin:
            return _rebuilt, (fields,)
        import cloudpickle  # type: ignore[import-untyped]  # of Dask

        return _unpacked, (_by_value(cloudpickle, self.origin, fields),)


def _rebuilt(fields: dict[str, Any]) -> Metric:
    return Metric(**fields)


def _unpacked(data: bytes) -> Metric:
    import pickle

    return Metric(**pickle.loads(data))


def _by_value(cloudpickle: Any, origin: str, fields: dict[str, Any]) -> bytes:
    module = own.loaded(origin)
    if module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        return bytes(cloudpickle.dumps(fields))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(fields))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def read(data: Mapping[str, Any]) -> Metric:
    """Return the metric that :meth:`Metric.described` gave, without its functions.

    Raises
    ------
    TypeError, ValueError, KeyError
        If it is not such.
    """
    known = BY_NAME.get(data["name"])
    if known is not None and known.described() == dict(data):
        return known
    low, high = data["bounds"]
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    return Metric(**{**data, "bounds": bounds, "score": None})


def of(rows: Any) -> Metric:
    """Return the metric of the rows of a table of results or of its summary.

    Parameters
    ----------
    rows : DataFrame
        With the column ``metric_data``, as :func:`aimc_sim.results.load` gives it; without it
        the accuracy is meant.

    Raises
    ------
    ValueError
        If the rows are of several metrics.
    """
    if "metric_data" not in rows or not len(rows):
        return ACCURACY
    texts = rows["metric_data"].unique()
    if len(texts) > 1:
        names = sorted({json.loads(text)["name"] for text in texts})
        raise ValueError(
            f"the results are of several metrics ({', '.join(names)}); choose the rows of one: "
            "table[table['metric'] == NAME]"
        )
    return read(json.loads(texts[0]))


def named(name: str) -> Metric:
    """Return a metric of this module by its name, or one of the user's own.

    Parameters
    ----------
    name : str
        A key of :data:`BY_NAME`, or the name (see :mod:`aimc_sim.own`) of a :class:`Metric` or of a
        callable without arguments that returns one.

    Raises
    ------
    ValueError
        If there is none; gives the nearest name.
    TypeError
        If it is something else.
    """
    if not own.is_own(name):
        if name not in BY_NAME:
            fault = f"there is no metric named {arguments.shown(name)}"
            raise ValueError(arguments.unknown(fault, name, BY_NAME, f"or give {own.HOW}"))
        return BY_NAME[name]
    found = own.find(name, "metric")
    if not isinstance(found, Metric):
        found = own.call(name, "metric")
    if not isinstance(found, Metric):
        raise TypeError(
            f"metric: {name} is a {type(found).__name__}; wanted an aimc_sim.metrics.Metric, or a "
            "callable without arguments that returns one"
        )
    if found.name in BY_NAME and found != BY_NAME[found.name]:
        raise ValueError(f"metric: {name} is named '{found.name}', as one of ours; rename it")
    return replace(found, origin=name, code=own.code_of(name))


# ------------------------------------------------------------------ those of this module


def right(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return which items have their largest output at their class, (N,) bool."""
    _demand_classes(outputs, targets)
    return np.asarray(outputs.argmax(1) == targets)


def among_five(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return which items have their class among the five largest outputs, (N,) bool."""
    _demand_classes(outputs, targets)
    if outputs.shape[1] <= CONFIDENT:
        raise ValueError(
            f"of {outputs.shape[1]} classes the right one is always among the {CONFIDENT} "
            "largest; give the metric accuracy"
        )
    own_output = np.take_along_axis(outputs, targets[:, None], 1)
    before = (outputs > own_output).sum(1)
    equal = (outputs == own_output) & (np.arange(outputs.shape[1]) < targets[:, None])
    return np.asarray(before + equal.sum(1) < CONFIDENT)


def bits_of(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the bits that the right classes cost each item, over the mean number of its tokens.

    ``-log2 softmax(output)[target]``, summed over the tokens of an item; targets of
    :data:`IGNORED` cost nothing and do not count. The mean over items is then the mean over all
    tokens, also where items have different numbers of them.

    Parameters
    ----------
    outputs : (N, T, classes) or (N, classes) float32 array
        Logarithms of probabilities, up to a constant for each token.
    targets : (N, T) or (N,) int64 array
        Right classes, or :data:`IGNORED`.

    Returns
    -------
    (N,) float64 array
        Bits.
    """
    _demand_tokens(outputs, targets)
    counted = targets != IGNORED
    tokens = counted.reshape(len(targets), -1).sum(1)
    if not tokens.sum():
        raise ValueError("no target is counted: all of them are -100")
    found = np.empty(len(outputs))
    for i, (scores, classes, count) in enumerate(zip(outputs, targets, counted, strict=True)):
        x = scores.astype(np.float64).reshape(-1, scores.shape[-1])[np.atleast_1d(count).ravel()]
        place = np.atleast_1d(classes).ravel()[np.atleast_1d(count).ravel()]
        top = x.max(1, keepdims=True)
        whole = top[:, 0] + np.log(np.exp(x - top).sum(1))
        found[i] = (whole - np.take_along_axis(x, place[:, None], 1)[:, 0]).sum()
    return np.asarray(found / (math.log(2) * tokens.mean()))


def squares(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the mean square of ``outputs - targets`` of each item, (N,) float64."""
    error = _flat(outputs, targets) - _flat(targets, outputs)
    return np.asarray(np.square(error).mean(1))


def relative_error(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the energy of the error of each item over the mean energy of the targets.

    The mean over items is ``sum (y - r)^2 / sum r^2`` over all numbers.
    """
    reference = _flat(targets, outputs)
    power = float(np.square(reference).sum(1).mean())
    if not power > 0:
        raise ValueError("the ratio of signal to error has no signal: all targets are zero")
    return np.asarray(np.square(_flat(outputs, targets) - reference).sum(1) / power)


def overlap(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the mean intersection over union of the classes of each image, (N,) float64.

    Over classes that the image has or is given; pixels of :data:`IGNORED` are not counted. Scores
    per image: G. Csurka, D. Larlus and F. Perronnin, "What is a good evaluation measure for
    semantic segmentation?", BMVC 2013, doi:10.5244/C.27.32.

    Parameters
    ----------
    outputs : (N, classes, ...) float32 array
        A map of scores for each class; the largest decides.
    targets : (N, ...) int64 array
        Right classes, or :data:`IGNORED`.

    Returns
    -------
    (N,) float64 array
        0..1.
    """
    wanted = (len(outputs), *outputs.shape[2:])
    if outputs.ndim < 3 or targets.shape != wanted:
        raise ValueError(
            f"the network answers with the shape {outputs.shape} and the maps have "
            f"{targets.shape}; wanted (N, classes, ...) and (N, ...)"
        )
    _demand_below(targets, outputs.shape[1])
    classes = outputs.shape[1]
    found = np.empty(len(outputs))
    for i, (scores, target) in enumerate(zip(outputs, targets, strict=True)):
        counted = target != IGNORED
        if not counted.any():
            raise ValueError(f"no pixel of image {i} is counted: all of them are -100")
        given, true = scores.argmax(0)[counted], target[counted]
        both = np.bincount(true[given == true], minlength=classes)
        either = np.bincount(given, minlength=classes) + np.bincount(true, minlength=classes) - both
        found[i] = (both[either > 0] / either[either > 0]).mean()
    return found


def _demand_classes(outputs: np.ndarray, targets: np.ndarray) -> None:
    if outputs.ndim == 2 and targets.ndim != 1:
        raise ValueError(
            f"the targets have the shape {targets.shape}; wanted one class number per item, "
            f"({len(targets)},): of one-hot targets give targets.argmax(1)"
        )
    if targets.size and targets.min() < 0:
        raise ValueError(
            f"a target is {targets.min()}; wanted class numbers from 0: give items without a class "
            "no place among the data"
        )
    largest = int(targets.max()) if targets.size else 0
    fits = outputs.ndim == 2 and targets.shape == outputs.shape[:1] and largest < outputs.shape[1]
    if not fits:
        raise ValueError(
            f"the network answers {len(targets)} images with the shape {outputs.shape}; the "
            f"labels want ({len(targets)}, classes) with at least {largest + 1} classes: give a "
            "network for these classes"
        )


def _demand_tokens(outputs: np.ndarray, targets: np.ndarray) -> None:
    if outputs.ndim < 2 or outputs.shape[:-1] != targets.shape:
        raise ValueError(
            f"the network answers with the shape {outputs.shape} and the targets have "
            f"{targets.shape}; wanted a score per class behind every target, (N, T, classes) and "
            "(N, T)"
        )
    _demand_below(targets, outputs.shape[-1])


def _demand_below(targets: np.ndarray, classes: int) -> None:
    """Raise ValueError unless all targets are classes, or not counted."""
    odd = targets[(targets != IGNORED) & ((targets < 0) | (targets >= classes))]
    if odd.size:
        raise ValueError(f"a target is {odd.flat[0]}; wanted 0 to {classes - 1}, or {IGNORED}")


def _flat(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return an array as (N, numbers) float64; ValueError if the other has another shape."""
    if one.shape != other.shape:
        raise ValueError(
            f"outputs and targets have the shapes {one.shape} and {other.shape}; wanted the same"
        )
    return one.astype(np.float64).reshape(len(one), -1)


ACCURACY = Metric(
    "accuracy", right, True, "%", "classified correctly", 100.0, 1, bits=True,
    chance=lambda classes: 1 / classes,
)  # fmt: skip
TOP_5 = Metric(
    "top-5", among_five, True, "%", "class among the five largest", 100.0, 1, bits=True,
    chance=lambda classes: min(1.0, CONFIDENT / classes),
)  # fmt: skip
BITS_PER_CHARACTER = Metric(
    "bits-per-character", bits_of, False, "bits", "bits per character", digits=3,
    bounds=(0.0, math.inf), chance=lambda classes: math.log2(classes),
)  # fmt: skip
PERPLEXITY = Metric(
    "perplexity", bits_of, False, "", "perplexity per token", digits=2, bounds=(1.0, math.inf),
    sum_up="power of two", chance=float,
)  # fmt: skip
RMSE = Metric(
    "rmse", squares, False, "", "root mean square error", digits=4, bounds=(0.0, math.inf),
    sum_up="root", targets="values",
)  # fmt: skip
MEAN_IOU = Metric(
    "mean-iou", overlap, True, "%", "mean intersection over union", 100.0, 1, bounds=(0.0, 1.0),
)  # fmt: skip
SQNR = Metric(
    "sqnr", relative_error, True, "dB", "signal to error", digits=2, sum_up="decibels",
    targets="network",
)  # fmt: skip

BY_NAME: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (ACCURACY, TOP_5, BITS_PER_CHARACTER, PERPLEXITY, RMSE, MEAN_IOU, SQNR)
}
"""Metrics of this module by name; the first is the default."""
