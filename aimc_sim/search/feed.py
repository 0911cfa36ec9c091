"""Which trial comes next: the designs of a batch, each with all its programmings."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..spec import ChipSpec
from ..studies.feed import Shares
from ..studies.inputs import Inputs
from ..studies.settings import Setting
from ..studies.trial import Trial, first_trial
from .costs import CostBook, Costs
from .objectives import COSTS, Objective, goals
from .proposals import Proposals
from .schema import Search
from .space import Design


@dataclass
class Candidate:
    """A design with its costs and values.

    Attributes
    ----------
    number : int
        Of its first proposal, from 0.
    design : Design
        Preset, compensation and settings of the knobs.
    spec : ChipSpec or None
        None if these values cannot be together.
    costs : Costs or None
        None if the network does not fit.
    reason : str
        Why there is no machine, or a trial failed; "" if all is well.
    identities : dict
        Trial by seed.
    shares : dict
        Value of the metric by seed, of the trials that are done; accuracies are 0..1.
    """

    number: int
    design: Design
    spec: ChipSpec | None = None
    costs: Costs | None = None
    reason: str = ""
    identities: dict[int, str] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """Mean of the metric over programmings, NaN if no image was run; accuracies are 0..1."""
        if not self.shares:
            return math.nan
        return math.fsum(self.shares[seed] for seed in sorted(self.shares)) / len(self.shares)

    def value(self, name: str) -> float:
        """Return one of the objectives; NaN if it is not known."""
        if name not in COSTS:
            return self.quality
        return math.nan if self.costs is None else float(getattr(self.costs, name))

    def excess(self, search: Search, known: Mapping[str, Objective]) -> dict[str, float]:
        """Return by how much each constraint is missed (<= 0: met); NaN if not known.

        Parameters
        ----------
        search : Search
            With the constraints.
        known : mapping
            Objectives by name, see :func:`.objectives.goals`.
        """
        return {n: known[n].excess(self.value(n), b) for n, b in search.constraints.items()}


class SearchFeed:
    """Hands out the trials of a search: a :class:`aimc_sim.studies.feed.TrialSource`.

    Parameters
    ----------
    search : Search
        The search.
    inputs : Inputs
        Network, data and metric.
    costs : CostBook
        Computes what designs cost.
    held : mapping from identity to shares
        Finished trials: not handed out.
    on_setting : callable, optional
        Called with the machine of every design before its first trial.

    Attributes
    ----------
    candidates : list of Candidate
        Different designs, in the order of their first proposals.
    goals : mapping
        Objectives by name, see :func:`.objectives.goals`.
    """

    def __init__(
        self, search: Search, inputs: Inputs, costs: CostBook, held: Mapping[str, Shares],
        on_setting: Callable[[Setting], Any] = lambda setting: None,
    ) -> None:  # fmt: skip
        self.search, self.inputs, self.held = search, inputs, held
        self.on_setting, self._costs = on_setting, costs
        self.reused = 0
        self.candidates: list[Candidate] = []
        self.goals = goals(inputs.metric)
        self._proposals = Proposals(search, self.goals)
        self._proposed = self._spared = 0
        self._known: dict[Any, Candidate] = {}
        self._batch: list[Candidate] = []
        self._new: deque[Candidate] = deque()
        self._queue: deque[Trial] = deque()
        self._waiting: dict[str, tuple[Candidate, int]] = {}

    @property
    def most(self) -> int:
        """Trials at most: every design another machine, and all worth running."""
        return self.search.trials * self._each

    @property
    def total(self) -> int:
        """Trials at most, without those of designs that turned out to need none."""
        return self.most - self._spared

    @property
    def _each(self) -> int:
        return self.search.programmings if self.search.needs_images else 0

    def describe(self) -> str:
        """Return how large the search is, as the beginning of a sentence."""
        return (
            f"this search has up to {self.most:,} trials ({self.search.trials:,} designs of "
            f"{self._each} programmings)"
        )

    def next(self) -> Trial | None:
        """Return a trial to run; None if there is none, or none before others are done.

        Costs are computed here, one design at a time, while workers are busy with the trials
        of those before.
        """
        while not self._queue:
            if self._new:
                self._begin(self._new.popleft())
            elif self._waiting:
                return None
            else:
                self._tell()
                if self._proposed >= self.search.trials:
                    return None
                self._ask()
        return self._queue.popleft()

    def done(self, trial: Trial, shares: Shares | None) -> None:
        """Take note of a finished trial; None if it failed, which takes its design out."""
        candidate, seed = self._waiting.pop(trial.id)
        if shares is None:
            candidate.reason = candidate.reason or "a trial failed"
        else:
            (candidate.shares[seed],) = shares

    def _ask(self) -> None:
        count = min(self.search.batch, self.search.trials - self._proposed)
        for turn, design in enumerate(self._proposals.ask(count), start=self._proposed):
            candidate = Candidate(turn, design)
            key: Any = design.name, design.compensation
            try:
                candidate.spec = design.spec(self.search)
                key = candidate.spec.id_text(), design.compensation
            except ValueError as error:
                candidate.reason = str(error)
            known = self._known.setdefault(key, candidate)
            self._batch.append(known)
            if known is candidate:
                self.candidates.append(candidate)
                self._new.append(candidate)
            else:
                self._spared += self._each
        self._proposed += count

    def _begin(self, candidate: Candidate) -> None:
        """Find the costs of a design, and its trials if it is worth them."""
        if candidate.spec is not None:
            try:
                candidate.costs = self._costs.of(candidate.spec)
            except ValueError as error:
                candidate.reason = str(error)
        missed = any(miss > 0 for miss in candidate.excess(self.search, self.goals).values())
        if candidate.reason or missed or not self.search.needs_images:
            self._spared += self._each
            return
        design = candidate.design
        assert candidate.spec is not None  # without one there is a reason
        setting = Setting(design.name, design.preset, dict(design.changes), candidate.spec)
        self.on_setting(setting)
        study = self.search.study(design.compensation, design.preset)
        first = first_trial(study, setting, self.inputs)
        for turn in range(self.search.programmings):
            seed = self.search.first_seed + turn
            trial = first.with_seed(seed)
            candidate.identities[seed] = trial.id
            if trial.id in self.held:
                self.reused += 1
                (candidate.shares[seed],) = self.held[trial.id]
            else:
                self._waiting[trial.id] = candidate, seed
                self._queue.append(trial)

    def _tell(self) -> None:
        """Answer the batch; a design over a limit of its costs was not run: see `_worst`."""
        answers: list[tuple[dict[str, float], dict[str, float]] | None] = []
        worst = self._worst()
        for candidate in self._batch:
            if candidate.reason:
                answers.append(None)
                continue
            values = {n: candidate.value(n) for n in self.search.objectives}
            values = {n: worst if math.isnan(v) else v for n, v in values.items()}
            excess = candidate.excess(self.search, self.goals)
            excess = {n: 0.0 if math.isnan(miss) else miss for n, miss in excess.items()}
            answers.append((values, excess))
        if self._batch:
            self._proposals.tell(answers)
        self._batch = []

    def _worst(self) -> float:
        """Return a value of the metric that is no better than that of any design so far.

        That is the end of its bounds, and of a metric without one the worst value there is.
        """
        metric = self.inputs.metric
        end = metric.bounds[0] if metric.larger else metric.bounds[1]
        if math.isfinite(end):
            return end
        found = [c.quality for c in self.candidates if math.isfinite(c.quality)]
        return min(found, key=metric.better, default=0.0)
