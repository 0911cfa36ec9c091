"""Where trials run: in this process, on processes of this machine, on a cluster of the user's.

A pool is given a few trials more than it has workers and answers them in the order in which they
finish, so that neither the scheduler nor this process ever holds a large study.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dask.system import CPU_COUNT
from distributed import (
    Client,
    KilledWorker,
    WorkerPlugin,
    as_completed,
    get_worker,
)
from distributed.system import MEMORY_LIMIT

from .. import __version__
from . import closed, identity, work
from .inputs import Inputs
from .trial import Trial
from .work import VersionMismatch

_WORKER_BYTES = 2 * 2**30
"""Memory that a local worker should have: torch, compiled kernels, chips and images."""

_LEAST_WORKER_BYTES = 2**29
"""Below, a worker that was asked for by number cannot even load torch and the kernels."""

IN_FLIGHT = 2
"""Trials per worker that are handed out at once: one runs, one waits beside it."""

PATIENCE_SECONDS = 60
"""How long to wait for a scheduler, and for its first worker."""


_ASK_SECONDS = 1.0
"""How often the scheduler is asked how many workers there are."""


_DIED = (
    "its worker died, also when the trial was alone: perhaps a trial needs more memory than a "
    "worker may have"
)


class ClusterError(RuntimeError):
    """The cluster cannot be used, or was lost."""


@dataclass(frozen=True)
class Answer:
    """A trial that ended: the result of :func:`.work.execute`, or why there is none."""

    trial: Trial
    result: dict[str, Any] | None
    reason: str = ""
    host: str = ""


class Pool(Protocol):
    """Something that runs trials."""

    @property
    def workers(self) -> int:
        """Trials at a time."""

    def submit(self, trial: Trial) -> None:
        """Hand out a trial."""

    def answer(self) -> Answer:
        """Wait for one of the trials that were handed out."""


class InProcess:
    """Runs every trial here, when it is asked for."""

    def __init__(self, inputs: Inputs, threads: int = CPU_COUNT) -> None:
        work.install(inputs)
        self.workers, self._threads = 1, threads
        self._waiting: deque[Trial] = deque()

    def submit(self, trial: Trial) -> None:
        """Hand out a trial."""
        self._waiting.append(trial)

    def answer(self) -> Answer:
        """Run the trial that waited longest."""
        trial = self._waiting.popleft()
        return Answer(trial, **_attempt(trial, self._threads))


class OnDask:
    """Runs trials on the workers of a scheduler.

    Parameters
    ----------
    client : Client
        Connected to the scheduler.
    inputs : Inputs
        Sent to every worker, also to those that join later.
    threads : int, optional
        Of each trial; default: those of the worker.

    Raises
    ------
    ClusterError
        If there is no worker, or one computes with other code than this process.
    """

    def __init__(self, client: Client, inputs: Inputs, threads: int | None = None) -> None:
        self._client, self._threads, self._run = client, threads, _on_worker
        try:
            client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
        except TimeoutError:
            address = getattr(client.scheduler, "address", "?")  # None while it is away
            raise ClusterError(
                f"the scheduler at {address} had no worker for {PATIENCE_SECONDS} s; start some "
                f"with 'dask worker {address}'"
            ) from None
        _same_code(client)
        client.register_plugin(_Bring(inputs), name=f"aimc-sim-{inputs.id}")
        self._trials: dict[str, Trial] = {}
        self._suspects: deque[Trial] = deque()
        self._suspected: set[str] = set()
        self._workers, self._asked = 1, -_ASK_SECONDS
        self._completed = as_completed([], loop=client.loop, with_results=True, raise_errors=False)

    @property
    def workers(self) -> int:
        """Workers, asked for once in a while: asking takes as long as a short trial."""
        if time.monotonic() > self._asked + _ASK_SECONDS:
            self._workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
            self._asked = time.monotonic()
        return self._workers

    def submit(self, trial: Trial) -> None:
        """Hand out a trial."""
        self._trials[trial.id] = trial
        # The identity as key: two clients with the same trial share one computation.
        future = self._client.submit(
            self._run, trial, self._threads, key=f"aimc-sim-{trial.id}", pure=True
        )
        self._completed.add(future)

    def answer(self) -> Answer:
        """Wait for the next trial that ends.

        A trial whose worker died may be guilty of it, or have waited beside the guilty one: it
        gets a second chance, alone, once nothing else is running.

        Raises
        ------
        ClusterError
            If the connection to the scheduler is lost.
        VersionMismatch
            If a worker that joined computes with other code.
        """
        while True:
            if not self._trials and self._suspects:
                self.submit(self._suspects.popleft())
            future, result = next(self._completed)
            trial = self._trials.pop(future.key.removeprefix("aimc-sim-"))
            if future.status == "finished":
                return Answer(trial, **result)
            if future.status != "error":
                raise ClusterError("the connection to the scheduler was lost")
            error = future.exception()
            if isinstance(error, VersionMismatch):
                raise error
            if not isinstance(error, KilledWorker):
                return Answer(trial, None, f"{type(error).__name__}: {error}")
            if trial.id in self._suspected:
                return Answer(trial, None, _DIED)
            self._suspected.add(trial.id)
            self._suspects.append(trial)


@contextmanager
def local(inputs: Inputs, workers: int | None, memory: str | None) -> Iterator[OnDask]:
    """Give a pool on processes of this machine.

    Parameters
    ----------
    inputs : Inputs
        Of the study.
    workers : int or None
        None: one per core, as far as each has :data:`_WORKER_BYTES`. The cores are shared among
        the workers: each trial runs on ``cores // workers`` threads.
    memory : str or None
        Of one worker, that is of one trial ("2 GB"); a worker above it is ended and its trial
        given to another. None: an equal share.

    Yields
    ------
    OnDask
    """
    if workers is None:
        workers = max(1, min(CPU_COUNT, MEMORY_LIMIT // _WORKER_BYTES))
    threads = max(1, CPU_COUNT // workers)
    with (
        closed.cluster(workers, memory or MEMORY_LIMIT // workers) as cluster,
        closed.client(cluster, cluster.security, PATIENCE_SECONDS) as client,
    ):
        yield OnDask(client, inputs, threads)


def most_workers() -> int:
    """Return how many local workers there may be: 8 per core, as far as each can load torch."""
    return max(1, min(8 * CPU_COUNT, MEMORY_LIMIT // _LEAST_WORKER_BYTES))


@contextmanager
def remote(inputs: Inputs, address: str) -> Iterator[OnDask]:
    """Give a pool on a running scheduler.

    Parameters
    ----------
    inputs : Inputs
        Of the study.
    address : str
        For example ``tcp://10.0.0.1:8786``; with ``tls://`` the certificates of Dask's
        configuration are shown, see :mod:`.closed`.

    Raises
    ------
    ClusterError
        If nobody answers there, or certificates are missing or wrong.
    """
    try:
        security = closed.security_for(address)
    except ValueError as error:
        raise ClusterError(str(error)) from None
    logs = logging.getLogger("distributed")
    before, logs.level = logs.level, logging.CRITICAL  # what fails is said below, in one sentence
    try:
        client = closed.client(address, security, PATIENCE_SECONDS // 4)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at '{address}' ({closed.reason_of(error)}); start one with "
            "'dask scheduler' and give the address that it prints; with tls:// both sides need "
            "certificates of the same authority, see docs/safety.md of the sources"
        ) from error
    finally:
        logs.level = before
    with client:
        yield OnDask(client, inputs)


class _Bring(WorkerPlugin):
    """Gives every worker, now and later, the network and the images."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def setup(self, worker: Any) -> None:
        work.install(self._inputs)


def _on_worker(trial: Trial, threads: int | None) -> dict[str, Any]:
    worker = get_worker()
    answer = _attempt(trial, threads or worker.state.nthreads)
    return answer | {"host": worker.address}


def _attempt(trial: Trial, threads: int) -> dict[str, Any]:
    try:
        return {"result": work.execute(trial, threads)}
    except VersionMismatch:
        raise
    except Exception as error:  # a trial that cannot be run must not end the study
        where = traceback.extract_tb(error.__traceback__)[-1]
        plain = error.args[0] if isinstance(error, KeyError) and error.args else error
        reason = f"{type(error).__name__}: {plain} ({where.filename}:{where.lineno})"
        return {"result": None, "reason": reason}


def _versions() -> tuple[str, str]:
    return __version__, identity.physics()


def _same_code(client: Client) -> None:
    own = _versions()
    try:
        found = client.run(_versions)
    except OSError as error:  # CommClosedError is one
        raise ClusterError(
            f"a worker ended while it loaded aimc_sim ({type(error).__name__}): give each at "
            f"least {_WORKER_BYTES / 2**30:.0f} GB, and look at its own messages"
        ) from error
    except Exception as error:  # a worker without this package
        raise ClusterError(
            f"a worker cannot load aimc_sim {__version__} ({type(error).__name__}: {error}); "
            "install the same release on every worker"
        ) from error
    for address, theirs in found.items():
        if tuple(theirs) != own:
            raise ClusterError(
                f"the worker {address} has aimc_sim {theirs[0]}, physics {theirs[1][:12]}, this "
                f"client {own[0]}, physics {own[1][:12]}; install the same release on both"
            )
