"""A schedule: stages that fire, edges with line buffers between them, links that edges share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import networkx as nx
import numpy as np

UNBOUNDED = 2**62
"""Capacity of a buffer without limit, elements."""


@dataclass(frozen=True)
class Stage:
    """One block of a layer on its core; or a digital unit, or the host's end of the chip.

    Attributes
    ----------
    name : str
        Unique in the schedule.
    kind : str
        "core", "gdpu", "source", "sink" or "host".
    firings : int
        Per image.
    mvm_ps : int
        Duration of one MVM, ps; 0 where there is none.
    outputs : int
        Values streamed per firing.
    output_ps : int
        Time between two of them, ps.
    latency_ps : int
        Begin of a stream to its head at the first link, ps.
    core : int or None
        Stages with the same number share an MVM unit and an output; None: its own.
    layer : str
        The layer computed; empty for a stage that computes none.
    lanes : int
        Copies of the stage, each with an MVM unit and an output, that take turns.
    """

    name: str
    kind: str
    firings: int
    mvm_ps: int = 0
    outputs: int = 0
    output_ps: int = 0
    latency_ps: int = 0
    core: int | None = None
    layer: str = ""
    lanes: int = 1

    @property
    def stream_ps(self) -> int:
        """Duration of one stream, ps."""
        return self.outputs * self.output_ps

    @property
    def step_ps(self) -> int:
        """Shortest time between two firings of a copy, ps: its MVM, or its stream if longer."""
        return max(self.mvm_ps, self.stream_ps)

    @property
    def busy_ps(self) -> int:
        """Shortest time for the firings of one image, ps."""
        return -(-self.firings // self.lanes) * self.step_ps


@dataclass(frozen=True)
class Link:
    """Carrier of bytes, one after another: a link of the fabric, or the host's port.

    Attributes
    ----------
    name : str
        Both ends, as a message shows them.
    byte_ps : float
        Time per byte, ps.
    latency_ps : int
        A byte's way through, ps.
    """

    name: str
    byte_ps: float
    latency_ps: int = 0


@dataclass(frozen=True, eq=False)
class Edge:
    """Data from one stage to another, with the buffer at its end.

    Attributes
    ----------
    producer, consumer : int
        Numbers of stages; the producer's is the smaller one, but of a feedback.
    kind : str
        "activation", "partial_sum", "residual", "input" or "output"; "feedback" of outputs that a
        later firing reads. The first firing of an image waits for all elements of the image before.
    elements : int
        Per image, one by each firing of the producer: an output pixel's share of bytes.
    need, free : (firings of the consumer,) int64
        Elements that must have arrived before, and are not read any more after, each firing.
    element_bytes : int
        Bytes of one element on a link.
    route : tuple of int
        Links in order; empty inside a core.
    joins : "mvm" or "ldpu"
        Needed when the consumer's MVM begins, or when its stream does.
    capacity : int or None
        Elements that the buffer holds; None: no limit.
    """

    producer: int
    consumer: int
    kind: str
    elements: int
    need: np.ndarray
    free: np.ndarray
    element_bytes: int = 1
    route: tuple[int, ...] = ()
    joins: Literal["mvm", "ldpu"] = "mvm"
    capacity: int | None = None

    @cached_property
    def smallest(self) -> int:
        """Elements that some firing needs at once: a smaller buffer blocks for sure."""
        before = np.concatenate([[0], self.free[:-1]])
        return max(1, int((self.need - before).max()))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Everything that :func:`aimc_sim.chip.pipeline.simulate` runs.

    Attributes
    ----------
    stages : tuple of Stage
        Producers before consumers.
    edges : tuple of Edge
        Data between stages.
    links : tuple of Link
        Links that the routes of the edges name by number.
    claim : "stream" or "mvm"
        When a producer takes the slots that it will write: when its stream begins, or already
        when its MVM does (the idealised model in which both are one tick).
    unit : str
        Of all times: "ps", or "tick".
    sequential : bool
        An image enters when the one before it has left.

    Raises
    ------
    ValueError
        If an edge does not fit its stages, or a link or stage does not exist; names it.
    """

    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...]
    links: tuple[Link, ...] = ()
    claim: Literal["stream", "mvm"] = "stream"
    unit: str = "ps"
    sequential: bool = False

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two stages are named '{twice}'; names must be unique")
        for stage in self.stages:
            if (
                min(stage.firings, stage.lanes) < 1
                or min(stage.mvm_ps, stage.stream_ps, stage.latency_ps) < 0
            ):
                raise ValueError(
                    f"stage '{stage.name}' fires {stage.firings} times, with times "
                    f"{stage.mvm_ps}, {stage.stream_ps}, {stage.latency_ps} {self.unit}, on "
                    f"{stage.lanes} lanes; wanted at least one firing and lane, no negative time"
                )
        for number, edge in enumerate(self.edges):
            self._check(number, edge)

    def _check(self, number: int, edge: Edge) -> None:
        ends = 0 <= edge.producer < len(self.stages) and 0 <= edge.consumer < len(self.stages)
        if not ends or (edge.producer >= edge.consumer and edge.kind != "feedback"):
            raise ValueError(
                f"edge {number} ({edge.kind}) leads from stage {edge.producer} to {edge.consumer} "
                f"of {len(self.stages)}; producers must come before consumers"
            )
        if edge.kind == "feedback":
            self._check_feedback(number, edge)
        where = f"edge {self.edge_name(number)}"
        for name in ("need", "free"):
            array, firings = getattr(edge, name), self.stages[edge.consumer].firings
            if array.shape != (firings,) or (np.diff(array) < 0).any():
                raise ValueError(
                    f"{where}: '{name}' has {array.shape} entries, wanted {firings} that never "
                    f"fall, one per firing of '{self.stages[edge.consumer].name}'"
                )
            if array[0] < 0 or array[-1] > edge.elements:
                raise ValueError(f"{where}: '{name}' leaves 0 to {edge.elements} elements")
        if edge.elements != self.stages[edge.producer].firings or edge.free[-1] != edge.elements:
            raise ValueError(
                f"{where}: an image has {edge.elements} elements, but its producer fires "
                f"{self.stages[edge.producer].firings} times and {edge.free[-1]} are freed"
            )
        if edge.capacity is not None and edge.capacity < 1:
            raise ValueError(f"{where}: a buffer of {edge.capacity} elements; give at least 1")
        if any(not 0 <= link < len(self.links) for link in edge.route):
            raise ValueError(f"{where} uses links {edge.route} of {len(self.links)}")

    def _check_feedback(self, number: int, edge: Edge) -> None:
        """Raise ValueError unless every firing reads what earlier firings lead to."""
        firings = self.stages[edge.consumer].firings
        later = edge.need.shape == (firings,) and bool((edge.need > np.arange(firings)).any())
        if firings != self.stages[edge.producer].firings or later:
            raise ValueError(
                f"edge {self.edge_name(number)}: a feedback needs a producer that fires as often "
                "as its consumer, and before firing i no more than i elements"
            )

    def edge_name(self, number: int) -> str:
        """Return "producer -> consumer (kind)" of an edge."""
        edge = self.edges[number]
        ends = self.stages[edge.producer].name, self.stages[edge.consumer].name
        return f"{ends[0]} -> {ends[1]} ({edge.kind})"

    def stage(self, name: str) -> int:
        """Return the number of a stage; KeyError if there is none of that name."""
        for number, stage in enumerate(self.stages):
            if stage.name == name:
                return number
        raise KeyError(f"no stage named '{name}'; there are {len(self.stages)}")

    @cached_property
    def graph(self) -> nx.MultiDiGraph:
        """Stages and edges by number."""
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(range(len(self.stages)))
        for number, edge in enumerate(self.edges):
            graph.add_edge(edge.producer, edge.consumer, key=number)
        return graph

    def tail_ps(self, number: int) -> int:
        """Return the time from a stream's head at the consumer to what the consumer waits for.

        An MVM waits for the whole stream; an addition keeps pace with it, and waits only for as
        long as its own stream would overtake.
        """
        edge = self.edges[number]
        stream = self.stages[edge.producer].stream_ps
        if edge.joins == "mvm":
            return stream
        return max(0, stream - self.stages[edge.consumer].stream_ps)

    def hop_busy_ps(self, number: int) -> list[int]:
        """Return the time that one element of an edge takes on each link of its route, ps."""
        edge = self.edges[number]
        return [round(edge.element_bytes * self.links[link].byte_ps) for link in edge.route]
