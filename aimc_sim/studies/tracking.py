"""Results of studies in MLflow, which many laboratories keep their experiments in.

Every trial becomes a run, below one run for the studies of the folder. Nothing is written twice: a
run holds the identity of its trial, so that an export of the same folder, or of one that has grown,
adds the missing trials. A run that an interrupted export left unfinished is removed and written
again.

==============  ==============================================================================
in MLflow       from the results
==============  ==============================================================================
experiment      name of the study, or as given; of several studies it has to be given
run             one trial; nested in a run of the folder
parameters      setting, preset, network, data, layers, seed, and what the study changes
metrics         ``accuracy.gdc`` and so on: metric and compensation, one step per time;
                ``adc_saturated_fraction.gdc``, ``output_clipped_fraction.gdc``
step            time after programming in whole seconds; its number where two times share one
tags            ``aimc_sim.identity``, ``.spec_id``, ``.network_id``, ``.data_id``, ``.physics``,
                ``.version``, ``.environment``, ``.times``, ``.steps``
artefacts       machine and environment of the trial as JSON; in the run of the folder the studies
                and the pages (``*.html``) that ``aimc-sim report`` wrote into it
==============  ==============================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import __version__, arguments, files
from . import folder as results_folder
from . import identity
from .records import metric_of
from .results import rows_of

IDENTITY = "aimc_sim.identity"
"""Tag that says which trial, or which folder, a run is."""

_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
_LONGEST = 5000
"""Characters of a parameter's or tag's value; MLflow takes 6,000 of parameters."""


class Exported(NamedTuple):
    """Numbers of runs after an export.

    Attributes
    ----------
    experiment : str
        Its name.
    added : int
        Trials written now.
    present : int
        Trials that were there already.
    again : int
        Of those added, how many an earlier export had left unfinished.
    """

    experiment: str
    added: int
    present: int
    again: int


class _Entry(NamedTuple):
    """Content of one run."""

    identity: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[tuple[str, float, int]]
    artefacts: list[Path]


def to_mlflow(folder: str | Path, uri: str, experiment: str | None = None) -> Exported:
    """Write the results of a folder to MLflow, each trial once.

    Parameters
    ----------
    folder : path
        ``--out`` of ``aimc-sim sweep``, ``attribute`` or ``optimise``.
    uri : str
        Of the tracking server or database: ``http://...``, ``sqlite:///runs.db``.
    experiment : str, optional
        Its name. Default: that of the study, where the folder holds one.

    Returns
    -------
    Exported

    Raises
    ------
    ModuleNotFoundError
        If MLflow is not installed.
    FileNotFoundError
        If the folder holds no results.
    ValueError
        If MLflow refuses the address or an entry, the folder is damaged, or the experiment is not
        given for a folder of several studies.
    """
    folder = arguments.path(folder, "folder")
    uri = arguments.text(uri, "uri")
    if not urlsplit(uri).scheme:
        raise ValueError(
            f"uri = {arguments.shown(uri)}: wanted the address of an MLflow server or database, "
            "such as http://localhost:5000 or sqlite:///runs.db"
        )
    contents = results_folder.read([folder])
    studies = _studies(folder)
    names = {study["name"] for study in studies.values()}
    if experiment is None and len(names) > 1:
        # None of them, nor a name that is none: an earlier export of this folder, when it held one
        # study, went to the experiment of that one, and its trials would be written again.
        raise ValueError(
            f"'{folder}' holds the studies {', '.join(sorted(names))}: name the experiment that "
            "their trials go into (--experiment); one that they are in already gets the others"
        )
    if experiment is None:
        experiment = names.pop() if names else folder.resolve().name
    runs = [_trial(folder, record) for record in contents.trials.values()]
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ModuleNotFoundError(
            "writing to MLflow needs mlflow; install it (pip install 'aimc-sim[tracking]')"
        ) from None
    try:
        store = _Store(MlflowClient(uri), uri, arguments.text(experiment, "experiment"))
        head = store.head(_head(folder, studies))
        again = sum([store.add(run, head) for run in store.missing(runs)])
    except MlflowException as error:
        raise ValueError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error
    return Exported(experiment, store.added, len(runs) - store.added, again)


def _studies(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the studies that were run in a folder, by their files."""
    found = {}
    for path in sorted((folder / "studies").glob("*.json")):
        if files.kind_of(path) != "a file":
            continue
        study = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(study, dict) or not isinstance(study.get("name"), str):
            raise ValueError(f"'{path}' is no study: it has no name; take the file away")
        found[path] = study
    return found


def _head(folder: Path, studies: dict[Path, dict[str, Any]]) -> _Entry:
    """Return the run that holds what belongs to a folder as a whole."""
    names = sorted({study["name"] for study in studies.values()})
    pages = [path for path in sorted(folder.glob("*.html")) if files.kind_of(path) == "a file"]
    params = {"studies": ", ".join(names), "networks": _each(studies, "network")}
    return _Entry(
        identity=identity.digest(sorted(path.name for path in studies) or folder.resolve().name),
        name=names[0] if len(names) == 1 else folder.resolve().name,
        params=params,
        tags={"aimc_sim.version": __version__},
        metrics=[],
        artefacts=[*studies, *pages],
    )


def _each(studies: dict[Path, dict[str, Any]], key: str) -> str:
    return ", ".join(sorted({str(study.get(key)) for study in studies.values()}))


def _trial(folder: Path, record: dict[str, Any]) -> _Entry:
    """Return the run of one trial."""
    rows = list(rows_of(record))
    metric = metric_of(record)
    times = sorted({row["time_seconds"] for row in rows})
    whole = [round(time) for time in times]
    seconds = len(set(whole)) == len(times)
    step = dict(zip(times, whole if seconds else range(len(times)), strict=True))
    shown = ("setting", "preset", "network", "data", "layers", "seed")
    params = {name: rows[0][name] for name in shown} | record["changes"]
    measured = (metric.name, "adc_saturated_fraction", "output_clipped_fraction")
    metrics = [
        (_key(f"{name}.{row['compensation']}"), value, step[row["time_seconds"]])
        for row in rows
        for name, value in zip(
            measured, (row["value"], *(row[name] for name in measured[1:])), strict=True
        )
    ]
    tags = {name: record[name] for name in ("spec_id", "network_id", "data_id", "physics")}
    tags |= {"version": record["aimc_sim"], "environment": record["environment"]}
    tags |= {"times": " ".join(map(str, times)), "steps": "seconds" if seconds else "numbers"}
    parts = {"specs": record["spec_id"], "environments": record["environment"]}
    paths = [
        folder / kind / f"{name}.json"
        for kind, name in parts.items() if re.fullmatch("[0-9a-f]{1,64}", name)
    ]  # fmt: skip
    return _Entry(
        identity=record["identity"],
        name=f"{record['setting']}, seed {record['seed']}",
        params={_key(name): _short(value) for name, value in params.items()},
        tags={f"aimc_sim.{name}": _short(value) for name, value in tags.items()},
        metrics=metrics,
        artefacts=[path for path in paths if files.kind_of(path) == "a file"],
    )


def _key(name: str) -> str:
    """Return a name as MLflow takes it: letters, digits, ``_ - . : /`` and spaces."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)[:250]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class _Store:
    """An experiment of MLflow, and its runs by the identity of their trials.

    Parameters
    ----------
    client : MlflowClient
        Connected to a store.
    uri : str
        Of the store.
    experiment : str
        Made where it is missing; one that was deleted is refused by MLflow.
    """

    def __init__(self, client: Any, uri: str, experiment: str) -> None:
        self._client = client
        found = client.get_experiment_by_name(experiment)
        self._experiment = (
            found.experiment_id
            if found is not None
            else client.create_experiment(experiment, artifact_location=_artefacts(uri))
        )
        self._runs = self._read()
        self.added = 0

    def _read(self) -> dict[str, Any]:
        """Return the runs that are there, page by page; of two with one identity the finished."""
        found: dict[str, Any] = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            for run in page:
                name = run.data.tags.get(IDENTITY)
                if name is not None and (name not in found or _finished(run)):
                    found[name] = run
            token = page.token
            if not token:
                return found

    def missing(self, runs: Iterable[_Entry]) -> list[_Entry]:
        """Return the runs that are not there, or not finished."""
        return [
            run for run in runs
            if run.identity not in self._runs or not _finished(self._runs[run.identity])
        ]  # fmt: skip

    def head(self, run: _Entry) -> str:
        """Write the run of the folder where it is missing, and files that changed; return its id.

        A file's tag holds its checksum, so that a page that was made anew is written again.
        """
        there = self._runs.get(run.identity)
        if there is None:
            there = self._create(run, None)
        name = str(there.info.run_id)
        for path in run.artefacts:
            tag, checksum = f"aimc_sim.sha256.{_key(path.name)}", files.sha256(path)
            if there.data.tags.get(tag) != checksum:
                self._client.log_artifact(name, str(path))
                self._client.set_tag(name, tag, checksum)
        self._client.set_terminated(name)
        return name

    def add(self, run: _Entry, head: str) -> bool:
        """Write the run of a trial; return whether it took the place of an unfinished one."""
        there = self._runs.get(run.identity)
        if there is not None:
            self._client.delete_run(there.info.run_id)
        name = self._create(run, head).info.run_id
        for path in run.artefacts:
            self._client.log_artifact(name, str(path))
        self._client.set_terminated(name)
        self.added += 1
        return there is not None

    def _create(self, run: _Entry, head: str | None) -> Any:
        """Write a run with its parameters and metrics; it is not finished yet."""
        from mlflow.entities import Metric, Param

        tags = {_NAME: run.name, IDENTITY: run.identity, **run.tags}
        if head is not None:
            tags[_PARENT] = head
        made = self._client.create_run(self._experiment, tags=tags)
        now = made.info.start_time
        metrics = [Metric(key, value, now, step) for key, value, step in run.metrics]
        params = [Param(key, value) for key, value in run.params.items()]
        name = made.info.run_id
        for first in range(0, len(params), 100):  # as many as MLflow takes at once
            self._client.log_batch(name, params=params[first : first + 100])
        for first in range(0, len(metrics), 1000):
            self._client.log_batch(name, metrics=metrics[first : first + 1000])
        return made


def _finished(run: Any) -> bool:
    return bool(run.info.status == "FINISHED")


def _artefacts(uri: str) -> str | None:
    """Return where files go: beside a database on this disk; else the server says."""
    parts = urlsplit(uri)
    if parts.scheme != "sqlite" or len(parts.path) < 2:
        return None
    return (Path(parts.path[1:]).resolve().parent / "mlruns").as_uri()
