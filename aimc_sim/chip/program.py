"""The chip's program: which block runs on which core. The mapper writes it, the chip executes it.

A program is a list of steps in execution order. A step reads named values and writes one value,
whose name is the step's own. Values are batches of feature maps or vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from .. import arguments, markup
from ..ops import RECURRENT

_SLOT = 2**16
"""Tile numbers of the blocks that share a core differ by multiples of this."""

HOST = -1
"""Number of the host in a route; data that cross it leave the chip."""


@dataclass(frozen=True)
class Block:
    """One core's share of a layer: weight rows ``row_start:row_stop``, columns likewise.

    ``row_index`` counts blocks along the inputs: their partial sums are accumulated from
    block 0 (the head of the chain) to the last one (the tail), which writes the output.
    Blocks that share a core lie at different ``row_offset, col_offset`` of its crossbar and are
    numbered by ``slot``. ``cell_columns`` is how many columns of the crossbar the weights take;
    0: as many as there are outputs.
    """

    layer: str
    core: int
    row_index: int
    col_index: int
    row_start: int
    row_stop: int
    col_start: int
    col_stop: int
    slot: int = 0
    row_offset: int = 0
    col_offset: int = 0
    cell_columns: int = 0

    @property
    def tile(self) -> int:
        """Number of the block's part of the chip: the core's own, if it has the core alone."""
        return self.core + self.slot * _SLOT

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (inputs) and columns (outputs) of weights."""
        return self.row_stop - self.row_start, self.col_stop - self.col_start

    @property
    def footprint(self) -> tuple[int, int]:
        """Rows and columns used in the crossbar."""
        rows, outputs = self.shape
        return rows, self.cell_columns or outputs


@dataclass(frozen=True)
class AnalogLayer:
    """A matrix product on the crossbars with its digital epilogue.

    ``y = relu?(scale * (x @ weight) + offset [+ residual])``, per output channel, where scale
    and offset hold bias and batch normalisation. Rows of ``weight`` run over (input channel,
    kernel row, kernel column) as in ``torch.nn.functional.unfold``; a linear layer is a
    1x1 kernel on the last dimension, a one-dimensional convolution has one kernel row.

    With ``groups`` > 1 channels are in groups that do not mix: the weight matrix is block
    diagonal, and crossbars hold pieces of the diagonal. ``axis`` is the dimension of source and
    output that counts the inputs of a batch. A layer with a ``loop`` runs once per time step,
    inside the recurrent step of that name, whose outputs it reads. A layer with ``devices`` is a
    further call of the layer of that name, whose blocks it shares.
    """

    name: str
    kind: str  # "conv2d" | "conv1d" | "linear"
    source: str
    weight: np.ndarray  # (rows, cols) float32
    scale: np.ndarray  # (cols,) float32
    offset: np.ndarray  # (cols,) float32
    relu: bool
    residual: str | None = None
    kernel_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    blocks: tuple[Block, ...] = ()
    folded: tuple[str, ...] = ()  # torch modules merged into the epilogue
    norm: np.ndarray | None = (
        None  # (2, cols) mean and standard deviation that batch norm gives its outputs
    )
    patch: int = 1  # output pixels per MVM and direction, see mapping.replicate
    patch_macs: int | None = None  # without the zeros that patches or groups add to the weights
    groups: int = 1
    axis: int = 0
    loop: str | None = None
    devices: str | None = None

    def check_patch(self, rows: int, cols: int) -> None:
        """Raise ValueError if patches do not cover the output for input maps of this size."""
        for size, window, stride, padding in zip(
            (rows, cols), self.kernel_size, self.stride, self.padding, strict=True
        ):
            pixels = (size + 2 * padding - window) // (stride // self.patch) + self.patch
            if pixels % self.patch:
                raise ValueError(
                    f"layer '{self.name}': patches of {self.patch} x {self.patch} pixels do not "
                    f"cover {pixels} pixels in a row or column of its output; choose another "
                    "number in mapping.replicate"
                )

    @property
    def owner(self) -> str:
        """Name of the layer whose devices are used: its own, but for further calls."""
        return self.devices or self.name

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network itself in one MVM of every block."""
        return self.weight.size if self.patch_macs is None else self.patch_macs

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values read."""
        return (self.source,) if self.residual is None else (self.source, self.residual)

    @property
    def chains(self) -> tuple[tuple[Block, ...], ...]:
        """Blocks grouped by column block, each group ordered head to tail."""
        groups: dict[int, list[Block]] = {}
        for block in self.blocks:
            groups.setdefault(block.col_index, []).append(block)
        return tuple(tuple(sorted(groups[i], key=lambda b: b.row_index)) for i in sorted(groups))


@dataclass(frozen=True)
class DigitalStep:
    """An operation of the digital units: pooling, addition, normalisation, softmax, ...

    ``attrs`` holds plain JSON values, ``arrays`` what the operation has learned; the operations
    are listed in :mod:`aimc_sim.ops`. ``modules`` are the torch modules behind it.
    A recurrent step ("lstm", "gru", "rnn", "spiking") writes ``NAME.h`` and ``NAME.c`` beside its
    outputs: hidden and cell state after the last time step.
    """

    name: str
    op: str
    sources: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenBlock:
    """One core's share of a matrix that is written at inference.

    Attributes
    ----------
    head : int
        Which of the matrices of an image it belongs to, such as the head of an attention.
    core : int
        Number of the core.
    row_start, row_stop : int
        Rows of the matrix, which are driven.
    col_start, col_stop : int
        Columns of the matrix.
    cell_columns : int
        Columns of the crossbar that they take: one per slice of a value.
    """

    head: int
    core: int
    row_start: int
    row_stop: int
    col_start: int
    col_stop: int
    cell_columns: int

    @property
    def rows(self) -> int:
        """Rows of the crossbar in use."""
        return self.row_stop - self.row_start


@dataclass(frozen=True)
class WrittenProduct(DigitalStep):
    """A product of two values, of which the second is written into devices.

    ``y = scale (x @ m)`` for every image and head: x, (T, R), drives the rows of the array that m,
    (R, C), is written into (or m transposed, with the attribute "transposed"). A walk in floating
    point computes it as an operation of the digital units.

    Attributes
    ----------
    blocks : tuple of WrittenBlock
        Cores that hold the matrix of one image, head by head, column by column.
    """

    blocks: tuple[WrittenBlock, ...] = ()

    @property
    def heads(self) -> int:
        """Matrices of one image."""
        return 1 + max(block.head for block in self.blocks)

    @property
    def largest(self) -> tuple[int, int]:
        """Rows and columns of the largest matrix that fits the blocks."""
        return (
            max(block.row_stop for block in self.blocks),
            max(block.col_stop for block in self.blocks),
        )

    @property
    def row_cuts(self) -> tuple[tuple[int, int], ...]:
        """First row, and row behind the last, of the blocks whose partial sums are added."""
        return tuple(sorted({(block.row_start, block.row_stop) for block in self.blocks}))


@dataclass(frozen=True)
class Transfer:
    """Data that moves from one core to another for every output pixel.

    ``kind`` is "activation", "partial_sum" or "residual"; ``route`` lists the cores passed,
    both ends included, along links of the fabric. ``channels`` is the number of bytes.
    """

    kind: str
    value: str
    producer: int
    consumer: int
    route: tuple[int, ...]
    channels: int = 0

    @property
    def hops(self) -> int:
        """Links of the fabric crossed: 0 inside a core and on the way through the host."""
        return 0 if self.off_chip else len(self.route) - 1

    @property
    def off_chip(self) -> bool:
        """Whether the data goes through the host, to another chip."""
        return HOST in self.route


def own_blocks(steps: Iterable[AnalogLayer | DigitalStep]) -> tuple[Block, ...]:
    """Return the blocks of all layers in execution order; those of several calls once."""
    return tuple(
        block
        for step in steps
        if isinstance(step, AnalogLayer) and step.devices is None
        for block in step.blocks
    )


def leaves(results: Any) -> list[tuple[str, int]]:
    """Return (value, axis) of every leaf of a tree of results, from left to right."""
    kind, content, *axis = results
    if kind == "none":
        return []
    if kind == "value":
        return [(content, axis[0])]
    parts = content.values() if kind == "dict" else content
    return [leaf for part in parts for leaf in leaves(part)]


def with_names(results: Any, rename: Callable[[str], str]) -> Any:
    """Return a tree of results with other names of values."""
    kind, content, *axis = results
    if kind == "none":
        return results
    if kind == "value":
        return [kind, rename(content), *axis]
    if kind == "dict":
        return [kind, {key: with_names(part, rename) for key, part in content.items()}]
    return [kind, [with_names(part, rename) for part in content]]


@dataclass(frozen=True)
class Program:
    """A network placed on the cores of a chip.

    ``input`` is the first of ``inputs``; ``output`` the first value in ``results``, a tree of
    ``["tuple" or "list", [trees]]``, ``["dict", {key: tree}]`` and leaves
    ``["value", name, axis]``, where axis is the dimension that counts the batch (None: there is
    none, the value is the same for all parts of a batch), and ``["none", None]``. If ``axis`` is
    None, the inputs of a call belong together and are one image.
    """

    input: str
    output: str
    steps: tuple[AnalogLayer | DigitalStep, ...]
    transfers: tuple[Transfer, ...]
    cores_available: int
    inputs: tuple[str, ...] = ()
    axis: int | None = 0  # dimension of the first input that counts the batch
    results: Any = None
    axes: tuple[int | None, ...] = ()  # of every input; None: the same for the whole batch
    conditions: tuple[Any, ...] = ()  # on the sizes of the inputs

    def __post_init__(self) -> None:
        if not self.inputs:
            object.__setattr__(self, "inputs", (self.input,))
        if not self.axes:
            object.__setattr__(self, "axes", (self.axis,) * len(self.inputs))
        if self.results is None:
            object.__setattr__(self, "results", ["value", self.output, 0])

    @property
    def recurrent(self) -> bool:
        """Whether the network has state that goes from one time step to the next."""
        return any(isinstance(step, DigitalStep) and step.op in RECURRENT for step in self.steps)

    @property
    def layers(self) -> tuple[AnalogLayer, ...]:
        """The steps that run on crossbars."""
        return tuple(step for step in self.steps if isinstance(step, AnalogLayer))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in execution order; those of several calls of a layer once."""
        return own_blocks(self.steps)

    @property
    def written(self) -> tuple[WrittenProduct, ...]:
        """The products of values whose second one is written into devices at inference."""
        return tuple(step for step in self.steps if isinstance(step, WrittenProduct))

    @property
    def cores(self) -> frozenset[int]:
        """Cores that hold weights, or are written at inference."""
        written = {block.core for step in self.written for block in step.blocks}
        return frozenset({block.core for block in self.blocks} | written)

    @property
    def cores_used(self) -> int:
        """Number of cores that hold weights, or are written at inference."""
        return len(self.cores)

    def table(self) -> Markup:
        """Return the layers on crossbars as a table for a notebook, below a fold."""
        rows = [
            (
                layer.name, layer.kind, f"{layer.weight.shape[0]}x{layer.weight.shape[1]}",
                " ".join(str(block.core) for block in layer.blocks),
            )
            for layer in self.layers
        ]  # fmt: skip
        many = "layer" if len(rows) == 1 else "layers"
        columns = ("layer", "kind", ">matrix", "cores")
        return markup.folded(
            f"{len(rows)} {many} on crossbars", markup.table(columns, rows, rest=".layers")
        )

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        digital = [
            (step.name, step.op, ", ".join(step.sources))
            for step in self.steps
            if isinstance(step, DigitalStep)
        ]
        rows = [
            ("cores", f"{self.cores_used} of {self.cores_available}"),
            ("transfers", f"{len(self.transfers):,}"),
            ("inputs", ", ".join(self.inputs)),
        ]
        return markup.display(
            "Program", "", markup.facts(rows), self.table(),
            markup.folded(
                f"{len(digital)} steps of digital units",
                markup.table(("step", "operation", "reads"), digital, rest=".steps"),
            ),
        )  # fmt: skip

    def step(self, name: str) -> AnalogLayer | DigitalStep:
        """Return the step of that name."""
        return next(step for step in self.steps if step.name == name)

    def layer(self, name: str) -> AnalogLayer:
        """Return the analog layer of that name; KeyError lists the names there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = [layer.name for layer in self.layers]
        raise KeyError(arguments.unknown(f"no analog layer named '{name}'", name, known))
