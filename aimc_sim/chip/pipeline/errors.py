"""Deadlock: nothing can move, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import networkx as nx

from aimc_sim.chip.pipeline.plan import Schedule
from aimc_sim.kernels.events import Record


class Wait(NamedTuple):
    """Stage `waiter` waits for stage `cause`: for an element of an edge, or for a slot."""

    waiter: int
    cause: int
    edge: int
    wants: str  # "element" | "slot"


class DeadlockError(ValueError):
    """Buffers so small that the pipeline stops for good.

    Attributes
    ----------
    cycle : tuple of str
        One sentence per stage of the cycle: who waits for what.
    edges : tuple of int
        The edges of the cycle; those whose slots are missing are too small.
    """

    def __init__(self, message: str, cycle: tuple[str, ...], edges: tuple[int, ...]) -> None:
        super().__init__(message)
        self.cycle = cycle
        self.edges = edges


def waits(schedule: Schedule, record: Record) -> list[Wait]:
    """Return what every stage waits for that has not finished."""
    count = len(schedule.edges)
    found = []
    for unit in (1, 0):
        for stage, code in enumerate(record.waits[unit]):
            if 0 < code <= count:
                edge = int(code) - 1
                found.append(Wait(stage, schedule.edges[edge].producer, edge, "element"))
            elif count < code <= 2 * count:
                edge = int(code) - 1 - count
                found.append(Wait(stage, schedule.edges[edge].consumer, edge, "slot"))
    return found


def explain(schedule: Schedule, record: Record, images: int) -> DeadlockError:
    """Return the error for a run that got stuck.

    Parameters
    ----------
    schedule : Schedule
        The schedule that was run.
    record : Record
        State of all stages when the run got stuck.
    images : int
        Number of images sent through.
    """
    found = waits(schedule, record)
    graph = nx.DiGraph()
    for wait in found:
        if not graph.has_edge(wait.waiter, wait.cause):
            graph.add_edge(wait.waiter, wait.cause, wait=wait)
    try:
        steps = [graph.edges[pair]["wait"] for pair in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        steps = found
    cycle = tuple(_sentence(schedule, record, wait) for wait in steps)
    small = [wait.edge for wait in steps if wait.wants == "slot"]
    cure = "; ".join(
        f"give {schedule.edge_name(edge)} more than {schedule.edges[edge].capacity} elements"
        for edge in dict.fromkeys(small)
    )
    done = int(record.done.all(axis=0).sum())
    message = (
        f"the pipeline deadlocks at {record.totals[1]} {schedule.unit}, with {done} of {images} "
        f"images finished: {'; '.join(cycle)}. {cure or 'Some firing needs more than is written'}"
    )
    return DeadlockError(message, cycle, tuple(wait.edge for wait in steps))


def _sentence(schedule: Schedule, record: Record, wait: Wait) -> str:
    name, edge = schedule.stages[wait.waiter].name, schedule.edges[wait.edge]
    other = schedule.stages[wait.cause].name
    if wait.wants == "slot":
        taken = record.claimed[wait.edge] - record.freed[wait.edge]
        return (
            f"'{name}' waits for a slot at '{other}' "
            f"({edge.kind}: {taken} of {edge.capacity} taken)"
        )
    return f"'{name}' waits for an element of '{other}' ({edge.kind})"


def check_buffers(schedule: Schedule) -> None:
    """Refuse buffers that cannot hold what one firing reads.

    Raises
    ------
    DeadlockError
        Names the edge.
    """
    small: Sequence[int] = [
        number
        for number, edge in enumerate(schedule.edges)
        if edge.capacity is not None and edge.capacity < edge.smallest
    ]
    if small:
        number = small[0]
        edge = schedule.edges[number]
        sentence = (
            f"'{schedule.stages[edge.consumer].name}' needs {edge.smallest} elements at once on "
            f"{schedule.edge_name(number)}, whose buffer holds {edge.capacity}"
        )
        raise DeadlockError(
            f"the pipeline would deadlock: {sentence}; give it {edge.smallest} or more",
            (sentence,), (number,),
        )  # fmt: skip
