"""Lowering: operations of a core's digital unit are merged into the analog layer before them.

A core ends in an affine per output channel, the addition of one link input and a ReLU (facts:
chip paper arXiv:2212.02872, local digital processing unit). So batch normalisation, bias, one
residual addition and one ReLU cost no step of their own when nobody else reads the value
between them; everything else becomes a :class:`DigitalStep`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from aimc_sim.chip.program import AnalogLayer, DigitalStep, with_names
from aimc_sim.mapping.graph import Network, Node
from aimc_sim.mapping.matrices import crossbar_matrix, transposed_as_convolution
from aimc_sim.ops import GATES, OPERATIONS, RECURRENT

Step = AnalogLayer | DigitalStep


def lower(network: Network) -> tuple[tuple[Step, ...], Any]:
    """Turn a graph into the chip's steps, with blocks still missing.

    Parameters
    ----------
    network : Network
        The graph.

    Returns
    -------
    steps : tuple of AnalogLayer or DigitalStep
        Steps in execution order. A merged layer keeps its own name; an addition that was merged
        moves the layer to the place of the addition, where its residual is available.
    results : tree
        Values that leave the chip, see :class:`aimc_sim.chip.program.Program`.

    Raises
    ------
    ValueError
        If a batch normalisation has another number of channels than the layer before it.
    """
    lowering = _Lowering(network.readers())
    for node in network.nodes:
        if node.op != "input":
            lowering.visit(node)
    renamed = lowering.renamed
    return lowering.finished(), with_names(network.results, lambda name: renamed.get(name, name))


class _Lowering:
    """The steps made so far, while the nodes of a graph are visited in order.

    Parameters
    ----------
    readers : dict of str to int
        Number of readers of each value of the graph.

    Attributes
    ----------
    steps : dict of str to Step
        Steps by name, in execution order.
    renamed : dict of str to str
        Step that writes each merged value of the graph.
    expanded : dict of str to str
        Analog layer of a transposed convolution, by the name of its last step.
    floating : set of str
        Values that are not integer codes.
    """

    def __init__(self, readers: dict[str, int]) -> None:
        self.readers = readers
        self.steps: dict[str, Step] = {}
        self.renamed: dict[str, str] = {}
        self.expanded: dict[str, str] = {}
        self.floating: set[str] = set()

    def visit(self, node: Node) -> None:
        sources = tuple(self.renamed.get(name, name) for name in node.inputs)
        if node.op in ("conv2d", "conv1d", "linear"):
            self.steps[node.name] = analog_layer(node, sources[0])
        elif node.op.startswith("conv_transpose"):
            self._transposed(node, sources[0])
        elif node.op == "spiking":
            self._spiking(node, sources)
        elif node.op in RECURRENT:
            self._recurrent(node, sources)
        elif node.op == "batch_norm":
            self._batch_norm(node, sources[0])
        elif node.op == "relu":
            self._relu(node, sources[0])
        elif node.op == "add":
            self._add(node, sources)
        else:
            self._digital(node.name, node.op, sources, dict(node.attrs), node)

    def finished(self) -> tuple[Step, ...]:
        """Return the steps; sizes of merged values are read under their last names."""
        return tuple(
            replace(step, attrs=_with_sizes(step.attrs, self.renamed))
            if isinstance(step, DigitalStep)
            else step
            for step in self.steps.values()
        )

    def _digital(
        self, name: str, op: str, sources: tuple[str, ...], attrs: dict[str, Any], node: Node
    ) -> None:
        """Add a digital step; arrays go along if the node's own operation stays."""
        arrays = dict(node.arrays) if op == node.op else {}
        self.steps[name] = DigitalStep(name, op, sources, attrs, arrays, node.modules)
        kind = OPERATIONS[op].kind
        if kind in ("float", "exact") or not self.floating.isdisjoint(sources):
            self.floating.add(name)

    def _open_layer(self, value: str, name: str) -> AnalogLayer | None:
        """Return the layer behind `name` if nobody else reads the graph value `value`."""
        step = self.steps.get(self.expanded.get(name, name))
        if isinstance(step, AnalogLayer) and not step.relu and self.readers[value] == 1:
            return step
        return None

    def _merge(self, node: Node, layer: AnalogLayer, **changes: Any) -> None:
        """Replace a layer by one that does a node's operation as well."""
        self.steps[layer.name] = replace(layer, folded=layer.folded + node.modules, **changes)
        ends = {start: end for end, start in self.expanded.items()}
        self.renamed[node.name] = ends.get(layer.name, layer.name)

    def _batch_norm(self, node: Node, source: str) -> None:
        scale, offset = (node.arrays[key].astype(np.float64) for key in ("scale", "offset"))
        layer = self._open_layer(node.inputs[0], source)
        # After a residual addition the factor would have to act on the residual as well.
        if layer is None or layer.residual is not None or not node.attrs.get("merge", True):
            attrs = {
                "scale": node.arrays["scale"].tolist(),
                "offset": node.arrays["offset"].tolist(),
            }
            self._digital(node.name, "affine", (source,), attrs, node)
            return
        copies = layer.scale.size // scale.size if source in self.expanded else 1
        scale, offset = np.repeat(scale, copies), np.repeat(offset, copies)
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
            norm=np.repeat(
                np.stack([node.arrays["mean"], node.arrays["std"]]), copies, axis=1
            ).astype(np.float32)
            if "mean" in node.arrays
            else None,
        )

    def _relu(self, node: Node, source: str) -> None:
        layer = self._open_layer(node.inputs[0], source)
        if layer is None:
            self._digital(node.name, "relu", (source,), {}, node)
        else:
            self._merge(node, layer, relu=True)

    def _add(self, node: Node, sources: tuple[str, ...]) -> None:
        order = {name: i for i, name in enumerate(self.steps)}
        whole = node.attrs.get("merge", True)
        whole = whole if isinstance(whole, list) else [whole, whole]
        choices = [
            (order[source], i)
            for i, (value, source) in enumerate(zip(node.inputs, sources, strict=True))
            if (layer := self._open_layer(value, source)) is not None
            and layer.residual is None
            and source not in self.expanded
            and sources[1 - i] not in self.floating
            and whole[i]
        ]
        if not choices:
            self._digital(node.name, "add", sources, {}, node)
            return
        _, chosen = max(choices)
        step = self.steps.pop(sources[chosen])  # re-inserted last: its residual is ready there
        assert isinstance(step, AnalogLayer)
        self._merge(node, step, residual=sources[1 - chosen])

    def _transposed(self, node: Node, source: str) -> None:
        """Add a convolution for all pixels of a stride at once, and steps that order and crop."""
        convolution, factor, crop = transposed_as_convolution(node)
        last = node.name
        self.steps[last] = analog_layer(convolution, source)
        flat = convolution.op == "conv1d"
        if flat:
            self._digital(f"{node.name}.map", "unsqueeze", (last,), {"args": [_SOURCE, 2]}, node)
            last = f"{node.name}.map"
        if factor != [1, 1]:
            self._digital(f"{node.name}.pixels", "pixel_shuffle", (last,), {"factor": factor}, node)
            last = f"{node.name}.pixels"
        if crop != [[None, None, 1], [None, None, 1]]:
            slices = [[None, None, None], [None, None, None], *crop]
            self._digital(f"{node.name}.crop", "subsample", (last,), {"slices": slices}, node)
            last = f"{node.name}.crop"
        if flat:
            self._digital(f"{node.name}.line", "squeeze", (last,), {"args": [_SOURCE, 2]}, node)
            last = f"{node.name}.line"
        if last != node.name:
            self.expanded[last] = node.name
        self.renamed[node.name] = last

    def _recurrent(self, node: Node, sources: tuple[str, ...]) -> None:
        """Add the input matrix, for all time steps, and the hidden one (and projection), per step.

        The hidden matrix of an LSTM adds the output of the input matrix, which reaches it by
        link; a GRU multiplies one by a gate before the sum, so its two products meet in the
        digital unit.
        """
        names, arrays, axis = node.attrs["layers"], node.arrays, int(node.attrs.get("axis", 0))
        zero = np.zeros(len(arrays["weight_ih"]), np.float32)
        bias_ih, bias_hh = (arrays.get(key, zero) for key in ("bias_ih", "bias_hh"))
        joined = node.op != "gru"
        if joined:
            bias_ih, bias_hh = zero, bias_ih + bias_hh

        owners = node.attrs.get("devices", {})

        def layer(key: str, source: str, bias: np.ndarray | None, **more: Any) -> AnalogLayer:
            name = names[key]
            more["devices"] = owners.get(key)
            matrix = {"weight": arrays[f"weight_{key}"]}
            if bias is not None:
                matrix["bias"] = bias
            return replace(
                analog_layer(Node(name, "linear", (source,), {}, matrix, node.modules), source),
                **more,
            )  # fmt: skip

        first = layer("ih", sources[0], bias_ih, axis=axis)
        hidden = layer(
            "hh", node.name, bias_hh, loop=node.name, residual=first.name if joined else None
        )
        self.steps[first.name], self.steps[hidden.name] = first, hidden
        attrs = {**node.attrs, "hidden": len(arrays["weight_hh"]) // GATES[node.op]}
        if "weight_hr" in arrays:
            projection = layer("hr", f"{node.name}.raw", None, loop=node.name)
            self.steps[projection.name] = projection
        self.steps[node.name] = DigitalStep(
            node.name, node.op, (first.name, *sources[1:]), attrs, {}, node.modules
        )
        self.floating.add(f"{node.name}.c")

    def _spiking(self, node: Node, sources: tuple[str, ...]) -> None:
        """Add spiking neurons, and the matrix of their outputs where these come back.

        Sums of inputs and of outputs meet in the digital unit, as those of a GRU.
        """
        attrs, arrays = dict(node.attrs), dict(node.arrays)
        name, matrix = attrs["layers"].get("hh"), arrays.pop("weight_hh", None)
        if name is not None and matrix is not None:
            fed = Node(name, "linear", (node.name,), {}, {"weight": matrix}, node.modules)
            devices = attrs.get("devices", {}).get("hh")
            self.steps[name] = replace(
                analog_layer(fed, node.name), loop=node.name, devices=devices
            )  # fmt: skip
        self.steps[node.name] = DigitalStep(
            node.name, node.op, sources, attrs, arrays, node.modules
        )
        self.floating.add(f"{node.name}.c")


_SOURCE = {"value": 0}


def _with_sizes(tree: Any, renamed: Mapping[str, str]) -> Any:
    """Return attributes in which sizes are those of the values' last names."""
    if isinstance(tree, list):
        return [_with_sizes(part, renamed) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"size"}:
        name, dim = tree["size"]
        return {"size": [renamed.get(name, name), dim]}
    return {key: _with_sizes(part, renamed) for key, part in tree.items()}


def analog_layer(node: Node, source: str) -> AnalogLayer:
    """Return the analog layer of a convolution or linear node, without blocks.

    Parameters
    ----------
    node : Node
        The node; its weight has the shape (out, in / groups, kh, kw) or (out, in),
        dimensionless.
    source : str
        Name of the value that the layer reads.

    Returns
    -------
    AnalogLayer
        The layer, with a weight (in * kh * kw, out) float32, the scale one, and the bias (or
        zero) as offset.
    """
    weight, groups = node.arrays["weight"], int(node.attrs.get("groups", 1))
    outputs = weight.shape[0]
    geometry: dict[str, Any] = {}
    if node.op != "linear":
        geometry = {key: tuple(node.attrs[key]) for key in ("stride", "padding", "dilation")}
        geometry["kernel_size"] = weight.shape[2:]
    return AnalogLayer(
        name=node.name,
        kind=node.op,
        source=source,
        weight=crossbar_matrix(weight, groups),
        scale=np.ones(outputs, np.float32),
        offset=node.arrays.get("bias", np.zeros(outputs)).astype(np.float32),
        relu=False,
        groups=groups,
        axis=int(node.attrs.get("axis", 0)),
        devices=node.attrs.get("devices"),
        patch_macs=weight.size if groups > 1 else None,
        **geometry,
    )
