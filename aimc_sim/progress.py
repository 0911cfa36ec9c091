"""Progress of long work: a bar in a terminal, a table that is updated in place in a notebook.

A script or notebook that runs a study shows its progress by::

    from aimc_sim import progress

    with progress.trials() as report:
        sweep.sweep(study, given, pool, folder, report=report)

In a terminal rich draws the bar, on standard error. In the kernel of a notebook no widgets are
needed, and the last state stays in the notebook as HTML. Where output goes to a pipe or a file, or
through ``!command`` to a notebook, no line is drawn twice: escape sequences would be left there.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import markup

if TYPE_CHECKING:
    from rich.console import Console

PAUSE_SECONDS = 0.2
"""Shortest time between two updates in a notebook."""


class Bars(Protocol):
    """A few tasks and how far each of them is; rich's ``Progress`` is one."""

    def add_task(self, description: str, start: bool = True, total: float | None = None) -> Any:
        """Add a task and return its number; without ``start`` its clock does not run yet."""
        ...

    def start_task(self, task_id: Any) -> None:
        """Start the clock of a task."""
        ...

    def update(
        self, task_id: Any, *, total: float | None = None, completed: float | None = None,
        description: str | None = None, before: float | None = None,
    ) -> None:  # fmt: skip
        """Set how far a task is; `before` of it took none of its time."""
        ...

    def advance(self, task_id: Any, advance: float = 1) -> None:
        """Move a task on."""
        ...


class TrialCounts(Protocol):
    """How far a study is: :class:`aimc_sim.studies.sweep.Progress`."""

    total: int
    reused: int
    done: int
    failed: int


def in_kernel() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not loaded for it."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return getattr(shell, "kernel", None) is not None


def console() -> Console:
    """Return rich's console for standard error, which draws only where lines can be redrawn."""
    from rich.console import Console

    # A kernel names itself to its children. They are given a terminal, but what they print is kept
    # as text, without the movements of the cursor.
    below_kernel = "JPY_PARENT_PID" in os.environ
    terminal = False if below_kernel else None
    return Console(stderr=True, markup=False, force_terminal=terminal, force_jupyter=False)


@contextmanager
def bars(unit: str, description: str = "{task.description}", **options: Any) -> Iterator[Bars]:
    """Give progress bars; they end with the context.

    Parameters
    ----------
    unit : str
        Things that are counted: "images".
    description : str
        Form of the descriptions in a terminal, as of rich.
    **options
        Of ``rich.progress.Progress``.
    """
    if in_kernel():
        shown = _KernelBars(unit)
        try:
            yield shown
        finally:
            shown.draw(last=True)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn(description, markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn(unit), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn(),
        console=console(), **options,
    ) as bar:  # fmt: skip
        yield bar


@contextmanager
def trials() -> Iterator[Callable[[TrialCounts], Any]]:
    """Give a function that shows how far a study is: ``report`` of ``studies.sweep.sweep``."""
    with bars("trials", speed_estimate_period=600) as bar:
        task = bar.add_task("running", total=None)

        def report(state: TrialCounts) -> None:
            done = state.reused + state.done + state.failed
            text = f"running ({state.failed} failed)" if state.failed else "running"
            bar.update(
                task, total=state.total, completed=done, description=text, before=state.reused
            )

        yield report


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show the present step of the work: in a terminal until it ends, in a notebook as a line.

    Parameters
    ----------
    text : str
        Names the step.
    """
    if in_kernel():
        _show(_Shown(markup.display("", "", markup.paragraph(text, soft=True)), text))
        yield
        return
    from rich.text import Text

    with console().status(Text(markup.visible(text))):
        yield


@dataclass
class _Task:
    description: str
    total: float | None
    completed: float = 0.0
    began: float | None = None
    seconds: float = 0.0  # from its beginning to its last step
    before: float = 0.0  # completed without any of these seconds

    def left(self) -> str:
        own = self.completed - self.before
        if not self.total or own <= 0 or self.completed >= self.total:
            return "-"
        return f"{self.seconds * (self.total - self.completed) / own:,.0f} s"


@dataclass(frozen=True)
class _Shown:
    """HTML with a text for front ends that show none."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def _show(shown: _Shown) -> Any:
    """Display something in a notebook; return its handle, with ``update``."""
    return importlib.import_module("IPython.display").display(shown, display_id=True)


class _KernelBars:
    """Bars as a table of HTML that the front end replaces."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._tasks: list[_Task] = []
        self._drawn = -1.0
        self._handle: Any = None

    def add_task(self, description: str, start: bool = True, total: float | None = None) -> int:
        self._tasks.append(_Task(description, total))
        if start:
            self.start_task(len(self._tasks) - 1)
        self.draw()
        return len(self._tasks) - 1

    def start_task(self, task_id: int) -> None:
        task = self._tasks[task_id]
        task.began = time.monotonic() if task.began is None else task.began

    def update(
        self, task_id: int, *, total: float | None = None, completed: float | None = None,
        description: str | None = None, before: float | None = None,
    ) -> None:  # fmt: skip
        task = self._tasks[task_id]
        task.before = task.before if before is None else before
        task.total = task.total if total is None else total
        task.completed = task.completed if completed is None else completed
        task.description = task.description if description is None else description
        if task.began is not None:
            task.seconds = time.monotonic() - task.began
        self.draw()

    def advance(self, task_id: int, advance: float = 1) -> None:
        self.update(task_id, completed=self._tasks[task_id].completed + advance)

    def draw(self, last: bool = False) -> None:
        """Show the present state, unless the last one was shown just now."""
        now = time.monotonic()
        if not last and self._handle is not None and now - self._drawn < PAUSE_SECONDS:
            return
        self._drawn = now
        if self._handle is None:
            self._handle = _show(self._shown())
        else:
            self._handle.update(self._shown())

    def _shown(self) -> _Shown:
        rows, texts = [], []
        for task in self._tasks:
            total = "?" if task.total is None else f"{task.total:,.0f}"
            count = f"{task.completed:,.0f} of {total} {self._unit}"
            bar = markup.bar(task.completed, task.total)
            rows.append((task.description, bar, count, f"{task.seconds:,.1f} s", task.left()))
            texts.append(f"{task.description}: {count}, {task.seconds:,.1f} s")
        columns = ("task", "progress", ">done", ">time", ">left")
        return _Shown(markup.display("", "", markup.table(columns, rows)), "\n".join(texts))
