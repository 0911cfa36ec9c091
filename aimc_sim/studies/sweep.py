"""Running a study: from its file to a folder of results that survives everything.

Results are written as they arrive. Whatever ends the process (Ctrl-C, a killed process, a lost
scheduler, a full disk, power), every trial that was written stays, and running the same study
into the same folder goes on with the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__, arguments, mapping, markup
from ..spec import ChipSpec
from . import folder as results_folder
from . import reference, settings
from .feed import Feed, MakeSource, TrialSource
from .folder import Contents
from .inputs import Inputs
from .pools import IN_FLIGHT, Answer, Pool
from .records import Segment, values
from .schema import Study
from .settings import Setting

MANY_TRIALS, LONG_HOURS = 10_000, 1.0
"""Above either, a study is announced and must be confirmed."""

_PROBES = 2
"""Trials that are run to measure how long one takes; the first of them also compiles."""

_FAILURES = 8
"""So many failed trials without a single good one end the study."""


class TooLarge(ValueError):
    """The study takes long and was not confirmed."""


class Stopped(RuntimeError):
    """The study could not go on; the results written so far are safe."""


@dataclass
class Progress:
    """Where a sweep stands; given to the caller after every trial.

    Attributes
    ----------
    total : int
        Trials of the study, as far as known.
    reused : int
        Of them, found in the folder.
    done, failed : int
        Of them, run now.
    seconds : float
        Computing time of the trials run now, on their workers.
    reasons : list of str
        Why trials failed.
    """

    total: int = 0
    reused: int = 0
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def _repr_html_(self) -> str:
        facts = [
            ("trials", f"{self.total:,}"),
            ("run now", f"{self.done:,}"),
            ("found in the folder", f"{self.reused:,}"),
            ("failed", f"{self.failed:,}"),
            ("computing time", f"{self.seconds:,.1f} s on the workers"),
        ]
        reasons = [markup.bullets(self.reasons)] if self.reasons else []
        return markup.display("Progress", "", markup.facts(facts), *reasons)


ProgressReport = Callable[[Progress], Any]


def open_folder(out: Path) -> Contents:
    """Make or accept the folder of results and return what it holds.

    Raises
    ------
    OSError, ConflictError
        See :mod:`aimc_sim.studies.folder`.
    """
    results_folder.prepare(out)
    return results_folder.read([out], keep_rows=False)


def sweep(
    study: Study,
    inputs: Inputs,
    pool: Pool,
    out: Path,
    *,
    confirmed: bool = False,
    report: ProgressReport = lambda progress: None,
    source: MakeSource | None = None,
) -> Progress:
    """Run the trials of a study that a folder does not hold yet.

    Parameters
    ----------
    study : Study
    inputs : Inputs
        Of the study, see :func:`.inputs.gather`.
    pool : Pool
        Where to run, see :mod:`aimc_sim.studies.pools`.
    out : Path
        The folder; made if it is missing.
    confirmed : bool
        Run a large study without asking.
    report : callable
        Called with the :class:`Progress` at the start and after every trial.
    source : callable, optional
        Makes what hands out the trials in place of the study's grid and settings.

    Returns
    -------
    Progress

    Raises
    ------
    KeyError, ValueError
        If a setting of the study cannot be; before anything is run.
    TooLarge
        If the study is large and not confirmed; says how many trials and how long.
    Stopped
        If the disk is full, or every trial fails.
    ClusterError, VersionMismatch
        See :mod:`aimc_sim.studies.pools`.
    """
    check(study, inputs)
    held = open_folder(out)
    with results_folder.locked(out):
        run = _Run(study, inputs, pool, out, held, report, source)
        with run.segment:
            if not confirmed:
                run.announce()
            problem = run.refer()
            run.go()
    if problem and run.progress.done + run.progress.reused:
        # Else the trials failed for the same reason, and said it.
        warnings.warn(
            "the network could not be scored in floating point, so that losses against it are "
            f"unknown: {problem}",
            stacklevel=2,
        )
    return run.progress


class _Run:
    """A sweep on its way."""

    def __init__(
        self, study: Study, inputs: Inputs, pool: Pool, out: Path, held: Contents,
        report: ProgressReport, source: MakeSource | None = None,
    ) -> None:  # fmt: skip
        self.study, self.inputs, self.pool, self.out = study, inputs, pool, out
        self.report, self.in_flight = report, 0
        shares = {name: record["shares"] for name, record in held.trials.items()}
        self.progress, self.safe_before = Progress(), len(shares)
        self.references = held.references
        self._keep("studies", study.model_dump(mode="json"))
        self.feed: TrialSource
        with self._disk():
            self.feed = (
                Feed(study, inputs, shares, self._new_setting)
                if source is None
                else source(shares, self._new_setting)
            )
        self.progress.total = self.feed.total
        self.segment: Segment = results_folder.new_segment(out)

    def announce(self) -> None:
        """Raise TooLarge if the study takes long, after two trials if need be."""
        most = self.feed.most
        if most <= _PROBES * 10:
            return
        seconds = self.study.seconds_per_trial
        how, known = "as the study states", len(self.feed.held)
        if seconds is None:
            found = self._probe()
            if found is None and self.progress.failed and most > MANY_TRIALS:
                raise Stopped(f"the first trials failed: {self.progress.reasons[0]}")
            if found is None:
                return
            # The folder may hold trials of other studies; those of this one came before the probe.
            seconds, how, known = found, "measured now", self.feed.reused
        left = max(0, most - self.progress.done - known)
        hours = left * seconds / self.pool.workers / 3600
        if most > MANY_TRIALS or hours > LONG_HOURS:
            raise TooLarge(
                f"{self.feed.describe()}; at {seconds:.3g} s each ({how}) and "
                f"{self.pool.workers} at a time the {left:,} that are left take about "
                f"{_duration(hours)}; give --yes to run it, or make it smaller"
            )

    def refer(self) -> str:
        """Write what the network scores in floating point, unless the folder holds it.

        Returns
        -------
        str
            Why it has no score; "" if it has one, or needs none.
        """
        given = self.inputs
        if not reference.exists(given.metric) or reference.key_of(given) in self.references:
            return ""
        if not self.feed.most:  # a search for costs alone runs no images
            return ""
        try:
            found = reference.record(given)
        except (ValueError, RuntimeError) as error:
            return " ".join(str(error).split())
        self._write(found)
        return ""

    def go(self, most: int | None = None) -> None:
        """Run trials until there are none left, or `most` of them."""
        begun = 0
        self.report(self.progress)
        while True:
            room = IN_FLIGHT * self.pool.workers - self.in_flight
            while room > 0 and (most is None or begun < most):
                trial = self.feed.next()
                if trial is None:
                    break
                self.pool.submit(trial)
                self.in_flight, begun, room = self.in_flight + 1, begun + 1, room - 1
            self.progress.total, self.progress.reused = self.feed.total, self.feed.reused
            if self.in_flight == 0:
                self.report(self.progress)
                return
            answer = self.pool.answer()
            self.in_flight -= 1
            self._take(answer)
            self.report(self.progress)

    def _probe(self) -> float | None:
        """Run the first trials and return the seconds of the last one; None if none is left."""
        before, last = self.progress.done, 0.0
        for _ in range(_PROBES):
            last = self.progress.seconds
            self.go(1)
        if self.progress.done == before:
            return None
        return max(self.progress.seconds - last, 1e-3)

    def _take(self, answer: Answer) -> None:
        """Write what came of a trial."""
        trial, result = answer.trial, answer.result
        base = {
            "identity": trial.id, "setting": trial.setting, "preset": trial.preset,
            "changes": trial.changes, "spec_id": trial.spec_id, "seed": trial.seed,
            "layers": None if trial.layers is None else list(trial.layers),
            "network": self.inputs.network_name, "network_id": trial.network_id[:16],
            "data": self.inputs.data_name, "data_id": trial.data_id[:16],
            "physics": trial.physics[:16], "aimc_sim": __version__, "host": answer.host,
        }  # fmt: skip
        if result is None:
            self._write({"kind": "failure", **base, "reason": answer.reason})
            self.progress.failed += 1
            if answer.reason not in self.progress.reasons:
                self.progress.reasons.append(answer.reason)
            self.feed.done(trial, None)
            if self.progress.failed >= _FAILURES and not self.progress.done:
                raise Stopped(f"the first {_FAILURES} trials all failed: {answer.reason}")
            return
        environment = self._keep("environments", result.pop("environment"))
        self._write({"kind": "trial", **base, **result, "environment": environment})
        self.progress.done += 1
        self.progress.seconds += result["seconds"]["prepare"] + result["seconds"]["run"]
        self.feed.done(trial, values(result))

    def _new_setting(self, setting: Setting) -> None:
        self._keep("specs", setting.spec.model_dump(mode="json"), setting.spec.id())

    def _write(self, record: dict[str, Any]) -> None:
        with self._disk():
            self.segment.append(record)

    def _keep(self, kind: str, value: Any, name: str | None = None) -> str:
        with self._disk():
            return results_folder.keep(self.out, kind, value, name)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn an error of the disk into Stopped, which names the results that are safe."""
        try:
            yield
        except OSError as error:
            safe = self.progress.done + self.safe_before
            raise Stopped(
                f"'{self.out}' cannot be written ({error.strerror or error}); {safe} trials are "
                "safe there: make room and run the same command again to go on"
            ) from error


def check(study: Study, inputs: Inputs) -> None:
    """Raise for what cannot be run, as far as can be told: see :func:`.settings.check`.

    Raises
    ------
    KeyError, ValueError
        Also if a setting names a layer that the network does not have.
    """
    settings.check(study)
    if not any(choice.layers for choice in study.settings):
        return
    known = analog_layers(inputs, next(settings.settings(study)).spec)
    for choice in study.settings:
        for layer in choice.layers or ():
            if layer not in known:
                fault = f"setting '{choice.name}': the network has no analog layer '{layer}'"
                raise KeyError(arguments.unknown(fault, layer, known))


def analog_layers(inputs: Inputs, spec: ChipSpec) -> list[str]:
    """Return the names of the layers that a network has on the cores of a machine.

    Of a recurrent layer each matrix is one.

    Parameters
    ----------
    inputs : Inputs
        With the network.
    spec : ChipSpec
        The machine that it is placed on.

    Raises
    ------
    ValueError
        If the network does not fit the machine.
    """
    return [layer.name for layer in mapping.compile_network(inputs.network, spec).layers]


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
