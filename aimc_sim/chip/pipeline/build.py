"""Parts of a schedule, timed by a chip's specification."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from aimc_sim.chip.ledger import mvm_seconds
from aimc_sim.chip.pipeline.plan import Edge, Link, Schedule, Stage
from aimc_sim.chip.program import HOST, AnalogLayer, Block
from aimc_sim.spec import ChipSpec

_HOP_CLOCKS = 1
"""Latency of a link, clocks of its bytes: one register. Assumption; the digital unit's published
latency includes the first link, so it shows on longer routes only."""


class Needs(Protocol):
    """Elements of one stage that another needs, see :class:`aimc_sim.mapping.control.NeedTable`."""

    @property
    def elements(self) -> int:
        """Pixels that the producer writes per image."""

    @property
    def need(self) -> np.ndarray:
        """Elements that must have been written before each firing, (firings,) int64."""

    @property
    def free(self) -> np.ndarray:
        """Elements that are not read any more after each firing, (firings,) int64."""


def _to_ps(seconds: float) -> int:
    """Return a time in whole picoseconds."""
    return round(seconds * 1e12)


def core_stage(
    name: str, spec: ChipSpec, columns: int, firings: int = 1, core: int | None = None,
    layer: str = "", cells: int | None = None,
) -> Stage:  # fmt: skip
    """Return the stage of a block of some outputs: one per clock, or per link slot.

    Where ``cells``, the columns of the crossbar that they take, are more, the digital unit takes
    one of those per clock (assumption), and outputs are as much slower.
    """
    clock = _to_ps(1 / spec.core.ldpu.clock_hertz)
    hop = _HOP_CLOCKS * _to_ps(1 / spec.fabric.link_hertz)
    return Stage(
        name, "core", firings, _to_ps(mvm_seconds(spec)), columns,
        max(
            round(clock * (columns if cells is None else cells) / max(1, columns)),
            _to_ps(1 / spec.fabric.link_hertz),
        ),
        max(0, spec.cost.ldpu_latency_clocks * clock - hop), core, layer,
    )  # fmt: skip


def _gdpu_stage(name: str, spec: ChipSpec, outputs: int, firings: int = 1) -> Stage:
    """Return the stage of a slice of the global digital unit that writes some hidden states."""
    clock = _to_ps(1 / spec.gdpu.clock_hertz)
    return Stage(
        name, "gdpu", firings, 0, outputs, spec.gdpu.clocks_per_output * clock,
        spec.cost.gdpu_latency_clocks * clock,
    )  # fmt: skip


def unit_stage(
    name: str, spec: ChipSpec, outputs: int, firings: int, streamed: int | None
) -> Stage:
    """Return the stage of the digital unit of a recurrent layer, or of spiking neurons.

    Parameters
    ----------
    name : str
        Of the step.
    spec : ChipSpec
        Clocks and latencies.
    outputs : int
        Hidden states or neurons of the layer.
    firings : int
        Time steps per image.
    streamed : int or None
        Of neurons in the local unit: sums that its core streams, one per clock, with which they
        keep pace. None: in the global unit, whose slices share the outputs.
    """
    if streamed is None:
        return _gdpu_stage(name, spec, -(-outputs // spec.gdpu.slices), firings)
    clock = _to_ps(1 / spec.core.ldpu.clock_hertz)
    return Stage(
        name, "gdpu", firings, 0, streamed, clock, spec.cost.membrane_latency_clocks * clock
    )


def _core_link(name: str, spec: ChipSpec) -> Link:
    """Return a link of the fabric: one byte per clock."""
    return Link(
        name, 1e12 / spec.fabric.link_hertz, _HOP_CLOCKS * _to_ps(1 / spec.fabric.link_hertz)
    )


def chain_schedule(
    spec: ChipSpec, cores: int, columns: int, hidden: int = 0, inputs: int = 1
) -> Schedule:
    """Return the schedule of one chain of row blocks, as in Table I of the chip paper.

    Parameters
    ----------
    spec : ChipSpec
    cores : int
        Row blocks; each adds its result to the partial sum of the one before it.
    columns : int
        Outputs of each.
    hidden : int
        Hidden states that a slice of the global digital unit makes of the outputs; 0 for none.
    inputs : int
        Vectors per image.

    Returns
    -------
    Schedule
        From the inputs being there to the last output's arrival at the next core:
        ``t_mvm + cores latency + columns clock`` for one input. Chains of a layer that run side by
        side take the same time.
    """
    build = Builder(spec)
    one = _one_by_one(inputs)
    stages = [build.stage(Stage("source", "source", inputs))]
    for number in range(cores):
        stages.append(build.stage(core_stage(f"core {number}", spec, columns, inputs)))
        build.edge(stages[0], stages[-1], "input", one)
    if hidden:
        stages.append(build.stage(_gdpu_stage("gdpu", spec, hidden, inputs)))
    stages.append(build.stage(Stage("sink", "sink", inputs)))
    for first, second in pairwise(stages[1:]):
        kind = "output" if build.stages[second].kind == "sink" else "partial_sum"
        size = build.stages[first].outputs
        is_core = build.stages[first].kind == "core"
        route = build.links_of((first, second)) if is_core else ()
        joins: Literal["mvm", "ldpu"] = "mvm" if kind == "output" else "ldpu"
        build.edge(first, second, kind, one, size, route, joins)
    return build.done()


class _OneByOne:
    def __init__(self, count: int) -> None:
        self.elements = count
        self.need = self.free = np.arange(1, count + 1, dtype=np.int64)


def _one_by_one(count: int) -> Needs:
    return _OneByOne(count)


class Builder:
    """Collects stages, edges and links; numbers them in the order in which they come.

    Parameters
    ----------
    spec : ChipSpec, optional
        Times of links and host; not needed without them.

    Attributes
    ----------
    made : dict of str to list of int
        The stages that write a value, by its name.
    numbers : dict of (str, Block) to int
        Stage of each block, call by call of its layer.
    """

    def __init__(self, spec: ChipSpec | None = None) -> None:
        self.spec = spec
        self.stages: list[Stage] = []
        self.edges: list[Edge] = []
        self.links: dict[tuple[int | str, int | str], int] = {}
        self.made: dict[str, list[int]] = {}
        self.numbers: dict[tuple[str, Block], int] = {}
        self._link_list: list[Link] = []

    @property
    def _timed(self) -> ChipSpec:
        if self.spec is None:
            raise ValueError("this schedule has no specification, so its links have no times")
        return self.spec

    @property
    def host_byte_ps(self) -> int:
        """Time of a byte between host and chip, ps."""
        return _to_ps(1 / self._timed.host.bytes_per_second)

    @property
    def host_latency_ps(self) -> int:
        """Latency between host and chip, ps."""
        return _to_ps(self._timed.host.latency_seconds)

    @property
    def to_host(self) -> tuple[int, ...]:
        """The host's port for what leaves the chip, as a route."""
        return self.links_of(("chip", HOST))

    @property
    def from_host(self) -> tuple[int, ...]:
        """The host's port for what enters the chip, as a route."""
        return self.links_of((HOST, "chip"))

    def links_of(self, route: Sequence[int | str]) -> tuple[int, ...]:
        """Return the links along a list of cores; the host shares one port per direction."""
        found = []
        for ends in pairwise(route):
            if HOST in ends:
                ends = ("chip", HOST) if ends[1] == HOST else (HOST, "chip")
            if ends not in self.links:
                self.links[ends] = len(self._link_list)
                self._link_list.append(self._link(ends))
            found.append(self.links[ends])
        return tuple(found)

    def _link(self, ends: tuple[int | str, int | str]) -> Link:
        if HOST not in ends:
            return _core_link(f"{ends[0]} -> {ends[1]}", self._timed)
        name = "chip -> host" if ends[1] == HOST else "host -> chip"
        return Link(name, 1e12 / self._timed.host.bytes_per_second, self.host_latency_ps)

    def stage(self, stage: Stage) -> int:
        """Add a stage and return its number."""
        self.stages.append(stage)
        return len(self.stages) - 1

    @staticmethod
    def block_name(layer: AnalogLayer, block: Block) -> str:
        """Return "layer", or "layer[row,col]" if the layer has several blocks."""
        if len(layer.blocks) == 1:
            return layer.name
        return f"{layer.name}[{block.row_index},{block.col_index}]"

    def edge(
        self, producer: int, consumer: int, kind: str, needs: Needs,
        element_bytes: int = 1, route: Sequence[int] = (), joins: Literal["mvm", "ldpu"] = "mvm",
    ) -> None:  # fmt: skip
        """Add an edge; its buffer has no limit yet."""
        self.edges.append(
            Edge(producer, consumer, kind, needs.elements, needs.need, needs.free,
                 int(element_bytes), tuple(route), joins)
        )  # fmt: skip

    def done(
        self, claim: Literal["stream", "mvm"] = "stream", unit: str = "ps",
        sequential: bool = False,
    ) -> Schedule:  # fmt: skip
        """Return the schedule; buffers have no limit yet."""
        return Schedule(
            tuple(self.stages), tuple(self.edges), tuple(self._link_list), claim, unit, sequential
        )
