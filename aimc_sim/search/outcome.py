"""Results of a search: the table of designs, and its front as a study to run again.

Columns of ``designs.parquet`` and ``designs.csv``, one row per different design:

==========================  ====================================================================
design                      number of its first proposal
status, rivals              see :mod:`.front`; rivals are numbers of designs, " " between them
setting, preset, spec_id    as in the tables of a study (``aimc_sim.results.load``)
compensation, time_seconds  of drift; after programming, s
programmings, images        behind the metric's value; 0 if no image was run
accuracy                    mean over programmings, 0..1; of other metrics ``value``, and
metric_data                 their description, JSON for :func:`aimc_sim.metrics.of`
low, high                   its 95 % interval over other programmings (Wilson over images where
                            there is only one)
wide_low, wide_high         over other programmings and other images
energy, latency             J per inference; s, of the first inference
throughput, cores           inferences per second; cores in use
missed                      constraints that are missed, " " between them; "accuracy?" or
                            "value?" if its interval contains the bound
reason                      why there is no machine, or a trial failed
knobs                       one column each
==========================  ====================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .. import files
from ..metrics import Metric
from ..studies import results, statistics
from . import front
from .feed import Candidate, SearchFeed
from .objectives import ACCURACY, COSTS

TABLE, CSV, AGAIN = "designs.parquet", "designs.csv", "front.yaml"

_SUMMARY = ("programmings", "images", "mean", "low", "high", "wide_low", "wide_high")


def table(feed: SearchFeed, folder: Path) -> pd.DataFrame:
    """Return the table of all designs of a finished search, see the module.

    Parameters
    ----------
    feed : SearchFeed
        At its end.
    folder : Path
        With its results.
    """
    search, candidates, metric = feed.search, feed.candidates, feed.inputs.metric
    rows_of = _results(candidates, folder)
    summaries = [_summary(rows, search.quality) for rows in rows_of]
    missed = [_missed(feed, c, s) for c, s in zip(candidates, summaries, strict=True)]
    places = _standings(feed, rows_of, missed)
    described = (
        {}
        if search.quality == ACCURACY
        else {"metric_data": json.dumps(metric.described(), sort_keys=True)}
    )
    found = []
    for candidate, summary, miss, place in zip(candidates, summaries, missed, places, strict=True):
        design, costs = candidate.design, candidate.costs
        found.append(
            {
                "design": candidate.number,
                "status": place.status,
                "rivals": " ".join(str(candidates[i].number) for i in place.rivals),
                "setting": design.name,
                "preset": design.preset,
                "spec_id": "" if candidate.spec is None else candidate.spec.id(),
                "compensation": design.compensation,
                "time_seconds": search.time,
                **summary,
                **described,
                **{n: math.nan if costs is None else getattr(costs, n) for n in COSTS},
                "missed": " ".join(miss),
                "reason": candidate.reason,
                **design.knobs,
            }
        )
    return pd.DataFrame(found)


def _results(candidates: list[Candidate], folder: Path) -> list[pd.DataFrame | None]:
    """Return the rows of every design, by seed; None where one is missing."""
    loaded = results.load(folder)
    by_identity = {row.identity: i for i, row in enumerate(loaded.itertuples())}
    found: list[pd.DataFrame | None] = []
    for candidate in candidates:
        places = [by_identity.get(candidate.identities[s]) for s in sorted(candidate.identities)]
        whole = bool(places) and None not in places
        rows = loaded.iloc[places].assign(setting=candidate.design.name) if whole else None
        found.append(rows)  # an older study may have run the same trials under another name
    return found


def _summary(rows: pd.DataFrame | None, quality: str) -> dict[str, Any]:
    """Return the metric's statement of a design; ``quality`` is the column of its mean."""
    if rows is None:
        found = {n: 0 if n in ("programmings", "images") else math.nan for n in _SUMMARY}
    else:
        (found,) = statistics.summary(rows).to_dict("records")
    return {quality if name == "mean" else name: found[name] for name in _SUMMARY}


def _missed(feed: SearchFeed, candidate: Candidate, summary: Mapping[str, Any]) -> list[str]:
    search, name = feed.search, feed.search.quality
    missed = candidate.excess(search, feed.goals)
    found = [known for known, miss in missed.items() if miss > 0]
    bound = search.constraints.get(name)
    if bound is not None:
        goal = feed.goals[name]
        least, most = sorted(goal.gain(summary[end]) for end in ("low", "high"))
        if least < goal.gain(bound) <= most:
            found = [known for known in found if known != name] + [f"{name}?"]
    return found


def _standings(
    feed: SearchFeed, rows_of: list[pd.DataFrame | None], missed: list[list[str]]
) -> list[front.Standing]:
    """Return where the designs stand; one below a bound by no more than its interval counts."""
    search, candidates, metric = feed.search, feed.candidates, feed.inputs.metric
    exact = [feed.goals[name] for name in search.objectives if name != search.quality]
    gains = np.full((len(candidates), len(exact)), np.nan)
    allowed = [
        not c.reason and c.costs is not None and all(name.endswith("?") for name in m)
        for c, m in zip(candidates, missed, strict=True)
    ]
    for i, candidate in enumerate(candidates):
        if allowed[i]:
            gains[i] = [goal.gain(candidate.value(goal.name)) for goal in exact]
    if search.quality not in search.objectives:
        return front.standings(gains, None)
    scores = [
        _larger_is_better(metric, statistics.linear(rows)) if ok and rows is not None else None
        for ok, rows in zip(allowed, rows_of, strict=True)
    ]
    return front.standings(gains, scores, metric.bits)


def _larger_is_better(metric: Metric, scores: np.ndarray) -> np.ndarray:
    """Return scores of which more are better; those of right and wrong stay 0 or 1."""
    if metric.larger:
        return scores
    return 1 - scores if metric.bits else -scores


def write(found: pd.DataFrame, feed: SearchFeed, folder: Path) -> list[Path]:
    """Write the table and the front as a study; those of an earlier run are replaced.

    Returns
    -------
    list of Path
    """
    plain = found.copy()
    for name in feed.search.knobs:
        if plain[name].map(type).nunique() > 1:
            plain[name] = plain[name].map(lambda value: "" if value is None else str(value))
    results.write_parquet(plain, folder / TABLE)
    written = [folder / TABLE, _replace(folder / CSV, plain.to_csv(index=False))]
    again = _again_study(found, feed)
    if again is not None:
        written.append(_replace(folder / AGAIN, _HEAD + yaml.safe_dump(again, sort_keys=False)))
    return written


_HEAD = (
    "# The front of a search, with programmings that had no part in choosing it:\n"
    "# 'aimc-sim sweep' with this file says how good these designs are.\n"
)


def _again_study(found: pd.DataFrame, feed: SearchFeed) -> dict[str, Any] | None:
    """Return the study of the designs on the front with fresh seeds; None if there are none."""
    numbers = set(found.loc[found["status"].isin((front.FRONT, front.LIKELY)), "design"])
    chosen = [c for c in feed.candidates if c.number in numbers]
    if not chosen:
        return None
    # Of equal machines the first; a design on the front has one.
    machines = {c.spec.id(): c for c in reversed(chosen) if c.spec is not None}
    search = feed.search
    study: dict[str, Any] = search.study().model_dump(mode="json", exclude_unset=True)
    return study | {
        "name": f"front of {search.name}",
        "compensations": sorted({c.design.compensation for c in chosen}),
        "first_seed": search.first_seed + search.programmings,
        "programmings": max(5, search.programmings),
        "settings": [
            {"name": f"design {c.number}", "preset": c.design.preset,
             "changes": dict(c.design.changes)}
            for c in reversed(machines.values())
        ],
    }  # fmt: skip


def _replace(path: Path, text: str) -> Path:
    files.write_text(path, text, "the table")
    return path
