"""Lowering: merge what a core's digital unit can do into the analog layer before it.

A core ends in an affine per output channel, the addition of one link input and a ReLU (facts:
chip paper arXiv:2212.02872, local digital processing unit). So batch normalisation, bias, one
residual addition and one ReLU cost no step of their own when nobody else reads the value
between them; everything else becomes a :class:`DigitalStep`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aimc_sim.chip.image import AnalogLayer, DigitalStep
from aimc_sim.mapping.graph import Network, Node

Step = AnalogLayer | DigitalStep


def lower(network: Network) -> tuple[tuple[Step, ...], str]:
    """Turn a graph into the chip's steps, with blocks still missing.

    Parameters
    ----------
    network : Network
        The graph.

    Returns
    -------
    steps : tuple of AnalogLayer or DigitalStep
        In execution order. A merged layer keeps its own name; an addition that was merged
        moves the layer to the place of the addition, where its residual is available.
    output : str
        Name of the value that leaves the chip.
    """
    lowering = _Lowering(network.readers())
    for node in network.nodes:
        if node.op != "input":
            lowering.visit(node)
    return tuple(lowering.steps.values()), lowering.renamed.get(network.output, network.output)


class _Lowering:
    """Steps so far (in order), the readers of each graph value, and merged values' names."""

    def __init__(self, readers: dict[str, int]) -> None:
        self.readers = readers
        self.steps: dict[str, Step] = {}
        self.renamed: dict[str, str] = {}

    def visit(self, node: Node) -> None:
        sources = tuple(self.renamed.get(name, name) for name in node.inputs)
        if node.op in ("conv2d", "linear"):
            self.steps[node.name] = analog_layer(node, sources[0])
        elif node.op == "batch_norm":
            self._batch_norm(node, sources[0])
        elif node.op == "relu":
            self._relu(node, sources[0])
        elif node.op == "add":
            self._add(node, sources)
        else:
            self.steps[node.name] = DigitalStep(node.name, node.op, sources, dict(node.attrs))

    def _open_layer(self, value: str, name: str) -> AnalogLayer | None:
        """Return the layer behind `name` if only this reader of graph value `value` sees it."""
        step = self.steps.get(name)
        if isinstance(step, AnalogLayer) and not step.relu and self.readers[value] == 1:
            return step
        return None

    def _merge(self, node: Node, layer: AnalogLayer, **changes: object) -> None:
        self.steps[layer.name] = replace(layer, folded=layer.folded + node.modules, **changes)
        self.renamed[node.name] = layer.name

    def _batch_norm(self, node: Node, source: str) -> None:
        scale, offset = (node.arrays[key].astype(np.float64) for key in ("scale", "offset"))
        layer = self._open_layer(node.inputs[0], source)
        # After a residual addition the factor would have to act on the residual as well.
        if layer is None or layer.residual is not None:
            attrs = {
                "scale": node.arrays["scale"].tolist(),
                "offset": node.arrays["offset"].tolist(),
            }
            self.steps[node.name] = DigitalStep(node.name, "affine", (source,), attrs)
            return
        if scale.shape != layer.scale.shape:
            raise ValueError(
                f"layer '{node.name}' normalises {scale.size} channels, but '{layer.name}' "
                f"before it has {layer.scale.size} outputs"
            )
        self._merge(
            node,
            layer,
            scale=(scale * layer.scale).astype(np.float32),
            offset=(scale * layer.offset + offset).astype(np.float32),
            norm=np.stack([node.arrays["mean"], node.arrays["std"]]).astype(np.float32)
            if "mean" in node.arrays
            else None,
        )

    def _relu(self, node: Node, source: str) -> None:
        layer = self._open_layer(node.inputs[0], source)
        if layer is None:
            self.steps[node.name] = DigitalStep(node.name, "relu", (source,))
        else:
            self._merge(node, layer, relu=True)

    def _add(self, node: Node, sources: tuple[str, ...]) -> None:
        order = {name: i for i, name in enumerate(self.steps)}
        choices = [
            (order[source], i)
            for i, (value, source) in enumerate(zip(node.inputs, sources, strict=True))
            if (layer := self._open_layer(value, source)) is not None and layer.residual is None
        ]
        if not choices:
            self.steps[node.name] = DigitalStep(node.name, "add", sources)
            return
        _, chosen = max(choices)
        layer = self.steps.pop(sources[chosen])  # re-inserted last: its residual is ready there
        assert isinstance(layer, AnalogLayer)
        self._merge(node, layer, residual=sources[1 - chosen])


def analog_layer(node: Node, source: str) -> AnalogLayer:
    """Return the analog layer of a conv2d or linear node, without blocks.

    Parameters
    ----------
    node : Node
        With weight (out, in, kh, kw) or (out, in), dimensionless.
    source : str
        Name of the value read.

    Returns
    -------
    AnalogLayer
        Weight (in * kh * kw, out), scale one, offset the bias or zero.
    """
    weight = node.arrays["weight"]
    outputs = weight.shape[0]
    geometry = {}
    if node.op == "conv2d":
        geometry = {key: tuple(node.attrs[key]) for key in ("stride", "padding", "dilation")}
        geometry["kernel_size"] = weight.shape[2:]
    return AnalogLayer(
        name=node.name,
        kind=node.op,
        source=source,
        weight=np.ascontiguousarray(weight.reshape(outputs, -1).T, dtype=np.float32),
        scale=np.ones(outputs, np.float32),
        offset=node.arrays.get("bias", np.zeros(outputs)).astype(np.float32),
        relu=False,
        **geometry,
    )
