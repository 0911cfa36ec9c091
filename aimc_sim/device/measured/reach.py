"""The reach of a replay: targets that were never measured, and the errors of replaying them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import decompose, replay

MATERIAL = 0.05
"""A miss below this share (of a standard deviation, or of a course) is not worth a word."""
_SIGMAS = 4.0


@dataclass(frozen=True)
class Gap:
    """A measured level, and the errors of interpolating it from its neighbours.

    Attributes
    ----------
    level_siemens : float, siemens
        The level.
    std_miss, course_miss : float
        Difference, relative to the measured value, of the standard deviation of the programming
        error and of the mean course at the last time: interpolated from the two neighbours less
        measured. 0 where the difference is within four of its standard errors.
    """

    level_siemens: float
    std_miss: float
    course_miss: float


@dataclass(frozen=True)
class Reach:
    """The conductances that a library can replay, and where it has to extrapolate.

    Attributes
    ----------
    lowest_siemens, highest_siemens : float
        Targets between are interpolated, below extrapolated, above refused.
    width_siemens : float
        Distance over which neighbours are taken, for continuous targets and first reads; else 0.
    t_first_seconds, t_last_seconds : float
        Medians over traces of the times of the first and last read; later the replay is constant.
    std_at_lowest, std_at_zero : float
        Of the programming error in siemens, measured and along the trend of the levels.
    course_at_lowest, course_at_zero : float
        Mean share that is left at the last time, measured and along the trend; the replay uses
        the first of them for all targets below the lowest level.
    gaps : tuple of Gap
        For every level with two neighbours.
    """

    lowest_siemens: float
    highest_siemens: float
    width_siemens: float
    t_first_seconds: float
    t_last_seconds: float
    std_at_lowest: float
    std_at_zero: float
    course_at_lowest: float
    course_at_zero: float
    gaps: tuple[Gap, ...]

    def below(self) -> str:
        """Return a sentence on the errors of targets below the lowest level."""
        return (
            f"targets below the lowest measured level, {self.lowest_siemens:.3g} S, are "
            f"extrapolated: the spread of the programming error falls from "
            f"{self.std_at_lowest:.2g} S there to {self.std_at_zero:.2g} S at zero along the "
            f"trend of the levels, and at {self.t_last_seconds:.3g} s they keep "
            f"{100 * self.course_at_lowest:.1f} % of their conductance, where that trend would "
            f"say {100 * self.course_at_zero:.1f} % at zero; measure lower levels to know"
        )

    def between(self) -> str:
        """Return a sentence on the errors of too coarse levels; empty if they are fine."""
        worst = [g for g in self.gaps if max(abs(g.std_miss), abs(g.course_miss)) > MATERIAL]
        if not worst:
            return ""
        gap = max(worst, key=lambda g: max(abs(g.std_miss), abs(g.course_miss)))
        return (
            f"levels are far apart for how the device changes with its level: from its neighbours "
            f"the level {gap.level_siemens:.3g} S would have a spread of the programming error "
            f"{100 * gap.std_miss:+.0f} % off and a course {100 * gap.course_miss:+.1f} % off; "
            "halfway between two levels expect about a quarter of that; measure levels in between"
        )


def reach(library: replay.Library) -> Reach:
    """Return what a library of traces can replay."""
    level, error = library.trace_level_siemens, library.error_siemens
    last = replay.parts(library, library.t_last_seconds)[0]
    use = library.has_ratio
    group = library.groups
    course = decompose.stds(level[use], last[use], group[use])
    std = decompose.stds(level[use], error[use], group[use])
    at_lowest = float(std[2][0]) if len(std[2]) else 0.0
    left, trend = (float(course[1][0]),) * 2 if len(course[1]) else (1.0, 1.0)
    if len(course[1]) > 1:
        weight = np.sqrt(course[3]) / np.maximum(course[2], 1e-9)
        order = 1 if len(course[1]) < 4 else 2
        fitted = np.polynomial.Polynomial.fit(course[0], course[1], order, w=weight)
        trend = float(fitted(0.0))
    return Reach(
        lowest_siemens=library.lowest_siemens,
        highest_siemens=library.g_max_siemens,
        width_siemens=library.width_siemens,
        t_first_seconds=library.t_first_seconds,
        t_last_seconds=library.t_last_seconds,
        std_at_lowest=at_lowest,
        std_at_zero=at_lowest * library.shrunk,
        course_at_lowest=left,
        course_at_zero=trend,
        gaps=() if library.neighbours else tuple(_gaps(course, std)),
    )


def _gaps(course: tuple[np.ndarray, ...], std: tuple[np.ndarray, ...]) -> list[Gap]:
    place, mean, sd, n = course
    found = []
    for i in range(1, len(place) - 1):
        share = (place[i] - place[i - 1]) / (place[i + 1] - place[i - 1])
        weights = np.array([1 - share, -1.0, share])
        beside = slice(i - 1, i + 2)
        miss = float(weights @ mean[beside])
        error = float(np.sqrt((weights**2) @ (sd[beside] ** 2 / n[beside])))
        level_std = std[2]
        wide = float(weights @ level_std[beside])
        wide_error = float(np.sqrt((weights**2) @ (level_std[beside] ** 2 / (2 * std[3][beside]))))
        found.append(
            Gap(
                float(place[i]),
                wide / level_std[i] if abs(wide) > _SIGMAS * wide_error else 0.0,
                miss / mean[i] if abs(miss) > _SIGMAS * error else 0.0,
            )
        )
    return found
