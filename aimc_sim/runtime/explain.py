"""The fate of every layer and operation of a network: nothing is skipped silently."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from .. import markup, patterns
from ..chip.program import AnalogLayer, DigitalStep, Program, WrittenProduct
from ..core import converters
from ..errors import CapacityError, UnsupportedLayerError
from ..mapping import compile_network
from ..mapping.graph import Network
from ..mapping.lower import lower
from ..mapping.split import split
from ..mapping.where import WEIGHTED, Where
from ..mapping.written import write_products
from ..ops import OPERATIONS
from ..spec import ChipSpec
from . import written

if TYPE_CHECKING:
    from ..frontend.walk import LoggedCall, Walk

UNITS = {
    "codes": "selects or orders integers",
    "integer": "local digital unit, integers",
    "float": "digital unit, floating point",
    "exact": "digital unit, whole numbers",
}
"""Where each kind of digital operation is computed, in words."""


@dataclass(frozen=True)
class Row:
    """One layer or operation.

    Attributes
    ----------
    name : str
        Path of the torch module, or name of the operation.
    kind : str
        Class of the module or name of the function.
    fate : "analog", "digital", "merged", "vanishes", "unused" or "refused"
        Place of its computation: crossbars, a digital unit, the unit of another layer, or none.
    where : str
        Cores, unit, the layer that it is merged into, or why it was refused.
    weights : int
        On crossbars.
    """

    name: str
    kind: str
    fate: str
    where: str
    weights: int = 0


@dataclass(frozen=True)
class Explanation:
    """See :meth:`aimc_sim.Chip.explain`.

    Attributes
    ----------
    rows : tuple of Row
        In the order of execution.
    problem : str or None
        Why the network as a whole does not go on the chip.
    cores_used, cores_available : int
        ``cores_used`` counts blocks if something was refused.
    """

    rows: tuple[Row, ...]
    problem: str | None
    cores_used: int
    cores_available: int

    @property
    def refused(self) -> tuple[Row, ...]:
        """The rows that stand in the way."""
        return tuple(row for row in self.rows if row.fate == "refused")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        name = max([5, *(len(row.name) for row in self.rows)])
        kind = max([4, *(len(row.kind) for row in self.rows)])
        lines = [f"{'layer':<{name}}  {'kind':<{kind}}  fate      where"]
        lines += [
            f"{row.name:<{name}}  {row.kind:<{kind}}  {row.fate:<8}  {row.where}"
            for row in self.rows
        ]
        return "\n".join([*lines, "", *self._verdict()])

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        rows = [(row.name, row.kind, row.fate, row.where) for row in self.rows]
        table = markup.table(("layer", "kind", "fate", "where"), rows, rest=".rows")
        words = [markup.paragraph(line) for line in self._verdict()]
        return markup.display("Explanation", "fate of every layer and operation", table, *words)

    def _verdict(self) -> list[str]:
        """Return the sums below the table, and why the network does not go on the chip."""
        weights = sum(row.weights for row in self.rows)
        lines = [f"{self.cores_used} of {self.cores_available} cores, {weights:,} weights"]
        return lines + [f"does not go on the chip: {self.problem}"] * bool(self.problem)


def explain(model: nn.Module, spec: ChipSpec, where: Where, example: Any) -> Explanation:
    """Return the fate of a network's parts, see :meth:`aimc_sim.Chip.explain`."""
    from ..frontend import Source

    try:
        source = Source(model, where)
        walk = source.walked(example)
    except UnsupportedLayerError as error:
        row = Row(type(model).__name__, type(model).__name__, "refused", str(error))
        return Explanation((row,), str(error), 0, spec.cores)
    problem = None
    refused = [entry for entry in walk.log if entry.refused]
    network = walk.network()
    if not refused:
        walk.chosen.check()
        try:
            compiled = compile_network(network, spec)
        except (CapacityError, ValueError) as error:
            problem = str(error)
            compiled = _without_places(network, spec)
    else:
        problem = f"{len(refused)} of its layers or operations: see 'refused'"
        compiled = _without_places(network, spec)
    nodes = {node.name: node for node in network.nodes}
    rows = [row for entry in walk.log for row in _rows(entry, compiled, nodes)]
    rows = _with_idle(walk, _once(rows))
    rows += _unused(source.model, walk, rows)
    placed = problem is None
    used = compiled.cores_used if placed else len(compiled.blocks)
    return Explanation(tuple(rows), problem, used, spec.cores)


def _once(rows: list[Row]) -> list[Row]:
    """Return the rows without those of calls that left nothing, where others of the name did."""
    left = [row.name for row in rows if row.fate != "vanishes"]
    kept: dict[str, Row] = {}
    for row in rows:
        others = any(name == row.name or name.startswith(f"{row.name}.") for name in left)
        if row.fate != "vanishes" or not others:
            kept.setdefault(row.name, row)
    return list(kept.values())


def _with_idle(walk: Walk, rows: list[Row]) -> list[Row]:
    """Return the rows with those of modules that were called and left nothing behind."""
    seen = {row.name.partition("#")[0] for row in rows}
    called = list(dict.fromkeys(walk.recording.called))
    order = [path for path, _ in called]
    for place, (path, kind) in enumerate(called):
        if any(name == path or name.startswith(f"{path}.") for name in seen):
            continue
        row = Row(path, kind, "vanishes", "does nothing in evaluation")
        after = [i for i, one in enumerate(rows) if one.name in order[:place]]
        rows.insert(after[-1] + 1 if after else 0, row)
    return rows


def _unused(model: nn.Module, walk: Walk, rows: list[Row]) -> list[Row]:
    """Return a row for every layer with weights that the forward method never calls."""
    seen = {row.name for row in rows} | {path for path, _ in walk.recording.called}
    return [
        Row(name, type(module).__name__, "unused", "the forward method never calls it")
        for name, module in model.named_modules()
        if name
        and any(True for _ in module.parameters(recurse=False))
        and not any(found == name or found.startswith(f"{name}.") for found in seen)
        and not any(name.startswith(f"{found}.") for found in seen)
    ]


def _without_places(network: Network, spec: ChipSpec) -> Program:
    """Return the network's blocks, on no cores."""
    steps, results = lower(network)
    steps = write_products(steps, spec)
    return Program("input", "", split(steps, spec), (), spec.cores, results=results)


def _rows(entry: LoggedCall, compiled: Program, nodes: dict[str, Any]) -> list[Row]:
    if entry.refused:
        return [Row(entry.name, entry.kind, "refused", entry.refused)]
    rows = [row for name in entry.nodes for row in _of_node(name, entry, compiled, nodes)]
    if not rows:
        return [Row(entry.name, entry.kind, "vanishes", "does nothing in evaluation")]
    return rows


def _of_node(name: str, entry: LoggedCall, compiled: Program, nodes: dict[str, Any]) -> list[Row]:
    """Return the rows of one node of the graph: its matrices, and its digital steps."""
    node = nodes.get(name)
    if node is None:  # nobody reads it
        return []
    matrices = [*node.attrs.get("layers", {}).values(), name]
    rows = []
    for step in compiled.steps:
        if isinstance(step, AnalogLayer) and step.name in matrices:
            rows.append(Row(step.name, entry.kind, "analog", _cores(step), _weights(step)))
        elif isinstance(step, WrittenProduct) and (step.name == name or _belongs(step.name, name)):
            rows.append(Row(step.name, entry.kind, "analog", _written(step)))
        elif isinstance(step, DigitalStep) and (step.name == name or _belongs(step.name, name)):
            unit = UNITS[OPERATIONS[step.op].kind]
            rows.append(Row(step.name, f"{entry.kind}", "digital", f"{step.op}: {unit}"))
    if not rows:
        into = _merged_into(name, compiled, nodes)
        rows.append(Row(name, entry.kind, "merged", f"into '{into}'"))
    return rows


def _belongs(step: str, node: str) -> bool:
    """Whether a step is one of those in the place of one node."""
    ends = (".map", ".pixels", ".crop", ".line", ".residual", ".scores", ".weights", ".left",
            ".right", ".product")  # fmt: skip
    return step.startswith(node) and step.removeprefix(node) in ends


def _merged_into(name: str, compiled: Program, nodes: dict[str, Any]) -> str:
    """Return the analog layer upstream whose digital unit does the node's work."""
    waiting = [name]
    while waiting:
        found = waiting.pop(0)
        for step in compiled.layers:
            if step.name == found:
                return found
        if found in nodes:
            waiting += nodes[found].inputs
    return "?"


def _cores(layer: AnalogLayer) -> str:
    cores = sorted({block.core for block in layer.blocks})
    rows, cols = layer.weight.shape
    size = f"{rows} x {cols}"
    if any(block.footprint != block.shape for block in layer.blocks):
        heads = (block for block in layer.blocks if block.row_index == 0)
        size += f" weights in {sum(block.footprint[1] for block in heads)} columns of cells"
    if cores == [-1]:
        needed = len(layer.blocks)
        return f"{needed} core{'s' * (needed > 1)} needed ({size})"
    many = "s" * (len(cores) > 1)
    return f"core{many} {', '.join(map(str, cores))} ({size})"


def _written(step: WrittenProduct) -> str:
    cores = sorted({block.core for block in step.blocks})
    rows, cols = step.largest
    size = f"{step.heads} matrices of {rows} x {cols} written per image"
    if cores == [-1]:
        return f"{len(step.blocks)} blocks ({size})"
    many = "s" * (len(cores) > 1)
    return f"core{many} {', '.join(map(str, cores))} ({size})"


def _weights(layer: AnalogLayer) -> int:
    return layer.macs if layer.patch == 1 else layer.weight.size


def check_layers(spec: ChipSpec, compiled: Program) -> None:
    """Raise ValueError if a pattern of ``spec.layers`` matches no layer, or cores cannot work.

    Every layer's converters must work with its inputs, read mode and encoding.
    """
    names = [layer.name for layer in compiled.layers]
    for pattern, _ in spec.layers:
        patterns.check("layers", pattern, names, WEIGHTED)
    for own in {spec.for_layer(name).id(): spec.for_layer(name) for name in names}.values():
        converters.check(own.core)
    written.check(compiled, spec)
