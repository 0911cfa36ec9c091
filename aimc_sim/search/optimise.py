"""The search as a sweep: the same workers, records and promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..studies import folder as results_folder
from ..studies.feed import Shares
from ..studies.inputs import Inputs
from ..studies.settings import Setting
from ..studies.sweep import LONG_HOURS, MANY_TRIALS, TooLarge
from . import objectives, space
from .costs import CostBook
from .feed import SearchFeed
from .proposals import VERSION
from .schema import Search, changed

COSTS, _SEARCHES = "costs", "searches"
"""Folders of costs by identity, and of every search that was run here with Optuna's version."""


class SearchPlan:
    """A search that is ready to be run by :func:`aimc_sim.studies.sweep.sweep`.

    Parameters
    ----------
    search : Search
    inputs : Inputs
        Of ``search.study()``, see :func:`aimc_sim.studies.inputs.gather`.
    out : Path
        The folder of results.

    Attributes
    ----------
    study : Study
        Network, data, time and seeds of all designs; give it to the sweep.
    feed : SearchFeed
        Once the sweep has begun.

    Raises
    ------
    KeyError, ValueError
        If a knob turns nothing or to a value that cannot be, or a constraint is no possible value
        of the metric; before anything is run.
    """

    def __init__(self, search: Search, inputs: Inputs, out: Path) -> None:
        space.check(search)
        for name, bound in search.constraints.items():
            objectives.demand_possible(name, bound, inputs.metric)
        self.search, self.inputs, self.out = search, inputs, out
        self.study = search.study()
        self.feed: SearchFeed | None = None

    def source(
        self, held: Mapping[str, Shares], on_setting: Callable[[Setting], Any]
    ) -> SearchFeed:
        """Make what hands out the trials: ``source`` of the sweep."""
        (self.out / _SEARCHES).mkdir(exist_ok=True)
        asked = {"search": self.search.asked(), "optuna": VERSION}
        results_folder.keep(self.out, _SEARCHES, asked)
        book = CostBook(self.inputs, self.search.mode, self.out / COSTS)
        self.feed = SearchFeed(self.search, self.inputs, book, held, on_setting)
        return self.feed

    def announce(self) -> None:
        """Raise TooLarge for a search without images that is long or large: one design is timed.

        One with images is announced by the sweep.

        Raises
        ------
        TooLarge
            Says how many designs and how long.
        OSError
            If the folder of results cannot be made.
        """
        if self.search.needs_images:
            return
        results_folder.prepare(self.out)
        begin = time.perf_counter()
        feed = SearchFeed(
            changed(self.search, trials=1),
            self.inputs,
            CostBook(self.inputs, self.search.mode, self.out / COSTS),
            {},
        )
        feed.next()
        seconds = time.perf_counter() - begin
        hours = self.search.trials * seconds / 3600
        if hours > LONG_HOURS or self.search.trials > MANY_TRIALS:
            raise TooLarge(
                f"this search has {self.search.trials:,} designs; at {seconds:.3g} s each "
                f"(measured now) they take about {hours:,.1f} hours; give --yes to run it, or make "
                "it smaller"
            )
