"""Work shared out among threads of our own; none of a threading layer of numba.

Numba's own layers do not serve: GNU OpenMP's threads do not survive a fork, the workqueue aborts
the process when two threads use it at once, TBB is not there on every machine. Loops compiled
without the interpreter's lock need no more than Python's threads, which both allow.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba

_chosen = threading.local()


def get_threads() -> int:
    """Return how many threads the loops that this thread calls are shared out among.

    At first ``NUMBA_NUM_THREADS`` of the environment, else the processors of this process.
    """
    chosen: int = getattr(_chosen, "threads", numba.config.NUMBA_NUM_THREADS)
    return chosen


def set_threads(n: int) -> None:
    """Set the same; results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1.
    """
    if n < 1:
        raise ValueError(f"{n} threads: wanted at least 1")
    _chosen.threads = int(n)


def run(work: Callable[[Any], Any], items: Iterable[Any], threads: int) -> list[Any]:
    """Return ``work(item)`` of all items, in their order, on up to so many threads.

    Parameters
    ----------
    work : callable
        Must not call this function with the same number of threads itself.
    items : iterable
        Arguments of ``work``, one call each.
    threads : int
        1 runs in the calling thread.
    """
    items = list(items)
    if min(threads, len(items)) < 2:
        return [work(item) for item in items]
    return list(_pool(os.getpid(), threads).map(work, items))


@lru_cache(maxsize=8)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # By process: after a fork the child has the object, but not its threads.
    return ThreadPoolExecutor(threads, thread_name_prefix="aimc-sim")
