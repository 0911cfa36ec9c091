"""Which trial comes next: seeds round by round, settings side by side, finished trials left out.

The order is by seed and then by setting, so that a study that is cut short still has the same
seeds everywhere, as paired comparisons need.

With a stopping rule a setting stops at the first evaluation, after ``at_least``, ``at_least +
batch``, ... programmings, at which the 95 % intervals (Student's t) of all its times and
compensations are narrow enough. Only whole evaluations count, so that the trials of a study do not
depend on how many workers there were or which was faster. Several evaluations make the intervals a
little too narrow: at the end they hold somewhat less than 95 %.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..analysis import intervals
from . import settings
from .inputs import Inputs
from .schema import Stopping, Study
from .settings import Setting
from .trial import Trial, first_trial

Shares = tuple[float, ...]
"""Values of the metric of a trial, one per time and compensation; accuracies are 0..1."""


class TrialSource(Protocol):
    """Something that hands out trials, one after the other: a :class:`Feed`, or a search.

    ``held``: shares of finished trials by identity, never handed out again; ``reused``: how many
    of them belong to this study, as far as known; ``total``: trials as far as known; ``most``:
    trials at most.
    """

    held: Mapping[str, Shares]
    reused: int

    @property
    def total(self) -> int:
        """Trials as far as they are sure, those done before included."""

    @property
    def most(self) -> int:
        """Trials at most."""

    def next(self) -> Trial | None:
        """Return a trial to run; None if there is none, or none before others are done."""

    def done(self, trial: Trial, shares: Shares | None) -> None:
        """Take note of a finished trial; None if it failed."""

    def describe(self) -> str:
        """Return how large this is, as the beginning of a sentence."""


MakeSource = Callable[[Mapping[str, Shares], Callable[[Setting], Any]], TrialSource]
"""Makes a source from the shares of finished trials and a callback for new settings."""


@dataclass
class _Course:
    """The programmings of one setting under a stopping rule."""

    first: Trial
    wanted: int
    done: dict[int, Shares] = field(default_factory=dict)


class Feed:
    """Hands out the trials of a study.

    Parameters
    ----------
    study : Study
        The study.
    inputs : Inputs
        Of the study.
    held : mapping from identity to shares
        Finished trials: not handed out.
    on_setting : callable, optional
        Called with every setting before its first trial.
    """

    def __init__(
        self, study: Study, inputs: Inputs, held: Mapping[str, Shares],
        on_setting: Callable[[Setting], Any] = lambda setting: None,
    ) -> None:  # fmt: skip
        self.study, self.inputs, self.held = study, inputs, held
        self.on_setting = on_setting
        self.reused = 0
        self._kept: list[tuple[int | None, Trial]] = []
        self.rule = study.programmings if isinstance(study.programmings, Stopping) else None
        usual = study.programmings
        self._trials = self._fixed(usual) if isinstance(usual, int) else None
        self._queue: deque[Trial] = deque()
        self._courses: dict[str, _Course] = {}
        self._waiting: dict[str, tuple[_Course, int]] = {}
        if self.rule is not None:
            for setting in settings.settings(study):
                self._begin(setting, self.rule)

    @property
    def total(self) -> int:
        """Trials of the study, those done before included; with a rule: those sure so far."""
        if self.rule is None:
            return settings.trials(self.study)
        return sum(max(0, course.wanted) for course in self._courses.values())

    @property
    def most(self) -> int:
        """Trials at most."""
        return settings.trials(self.study)

    def describe(self) -> str:
        """Return how large the study is, as the beginning of a sentence."""
        return (
            f"this study has {'up to ' if self.rule else ''}{self.most:,} trials "
            f"({settings.count(self.study):,} settings)"
        )

    def next(self) -> Trial | None:
        """Return a trial to run; None if there is none, or none before others are done."""
        if self._trials is not None:
            return next(self._trials, None)
        return self._queue.popleft() if self._queue else None

    def done(self, trial: Trial, shares: Shares | None) -> None:
        """Take note of a finished trial; None if it failed, which ends its setting."""
        if self.rule is None:
            return
        course, seed = self._waiting.pop(trial.id)
        if shares is None:
            course.wanted = -1
        else:
            course.done[seed] = shares
        self._decide(course, self.rule)

    def _fixed(self, usual: int) -> Iterator[Trial]:
        """Yield the trials of a study with fixed numbers of programmings, by seed."""
        for turn in range(max([usual, *(s.programmings or 0 for s in self.study.settings)])):
            for programmings, first in self._firsts(turn):
                if turn < (programmings or usual):
                    trial = first.with_seed(self.study.first_seed + turn)
                    if trial.id in self.held:
                        self.reused += 1
                    else:
                        yield trial

    def _firsts(self, turn: int) -> Iterator[tuple[int | None, Trial]]:
        """Yield every setting's own number of programmings and its first trial.

        Those of a study of usual size are kept from the first turn on; a large grid is made
        anew in every turn.
        """
        if turn > 0 and self._kept:
            yield from self._kept
            return
        few = settings.count(self.study) <= settings.CHECKED_AT_ONCE
        for setting in settings.settings(self.study):
            if turn == 0:
                self.on_setting(setting)
            found = setting.programmings, first_trial(self.study, setting, self.inputs)
            if few:
                self._kept.append(found)
            yield found

    def _begin(self, setting: Setting, rule: Stopping) -> None:
        self.on_setting(setting)
        first = first_trial(self.study, setting, self.inputs)
        course = _Course(first, 0)
        self._courses[first.id] = course
        self._extend(course, setting.programmings or rule.at_least, rule)

    def _extend(self, course: _Course, wanted: int, rule: Stopping) -> None:
        begin, course.wanted = course.wanted, wanted
        for turn in range(begin, wanted):
            trial = course.first.with_seed(self.study.first_seed + turn)
            if trial.id in self.held:
                self.reused += 1
                course.done[turn] = self.held[trial.id]
            else:
                self._waiting[trial.id] = course, turn
                self._queue.append(trial)
        self._decide(course, rule)

    def _decide(self, course: _Course, rule: Stopping) -> None:
        """At a full evaluation, ask for more programmings if the intervals are too wide."""
        if len(course.done) < course.wanted or not rule.at_least <= course.wanted < rule.at_most:
            return
        if self._widest(course) > rule.half_width:
            self._extend(course, min(course.wanted + rule.batch, rule.at_most), rule)

    def _widest(self, course: _Course) -> float:
        images = len(self.inputs.images)
        columns = list(zip(*course.done.values(), strict=True))
        if self.inputs.metric.bits:
            found = [intervals.mean_interval(column, images) for column in columns]
        else:
            found = [intervals.of_mean(column) for column in columns]
        return max((interval.high - interval.low) / 2 for interval in found)
