"""Optuna, asked for a batch of designs and told all of its results in order.

Source: T. Akiba et al., "Optuna", KDD 2019, doi:10.1145/3292500.3330701; NSGA-II: K. Deb et al.,
IEEE Trans. Evol. Comput. 6, 182 (2002), doi:10.1109/4235.996017; TPE: J. Bergstra et al., NeurIPS
24 (2011), for several objectives Y. Ozaki et al., J. Artif. Intell. Res. 73, 1209 (2022),
doi:10.1613/jair.1.13188.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import Trial, TrialState

from . import space
from .objectives import Objective
from .schema import Search
from .space import Design

VERSION = optuna.__version__
"""Another version may propose other designs."""


class Proposals:
    """Designs to try, one batch after the other; the same ones for the same answers.

    Parameters
    ----------
    search : Search
        The search.
    goals : mapping
        Its objectives by name, see :func:`.objectives.goals`.
    """

    def __init__(self, search: Search, goals: Mapping[str, Objective]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search = search
        self._space = {name: space.distribution(knob) for name, knob in search.knobs.items()}
        self._study = optuna.create_study(
            sampler=_sampler(search),
            directions=[
                "maximize" if goals[name].larger else "minimize" for name in search.objectives
            ],
        )
        self._asked: list[Trial] = []

    def ask(self, count: int) -> list[Design]:
        """Return the designs of a new batch; some may be the same, or known."""
        self._asked = [self._study.ask(self._space) for _ in range(count)]
        return [space.design(self._search, trial.params) for trial in self._asked]

    def tell(
        self, answers: Sequence[tuple[Mapping[str, float], Mapping[str, float]] | None]
    ) -> None:
        """Answer the batch, in its order.

        Parameters
        ----------
        answers : sequence
            Of every design its objectives and by how much it misses each constraint, both by
            name; None if there is no such machine.
        """
        for trial, answer in zip(self._asked, answers, strict=True):
            if answer is None:
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            values, excess = answer
            for name, miss in excess.items():
                trial.set_constraint(name, miss)
            self._study.tell(trial, [values[name] for name in self._search.objectives])
        self._asked = []


def _sampler(search: Search) -> optuna.samplers.BaseSampler:
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=search.seed, n_startup_trials=search.batch)
    return optuna.samplers.NSGAIISampler(seed=search.seed, population_size=search.batch)
