"""Activations at chosen places of a network, for rotations that are learned from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from aimc_sim.frontend import examples
from aimc_sim.frontend.recording import Recording, evaluated_copy, record
from aimc_sim.transforms.flow import ChannelFlow


class _Watcher(fx.Interpreter):
    """Runs a record and keeps the values of some calls."""

    def __init__(self, recording: Recording, wanted: set[fx.Node]) -> None:
        super().__init__(recording.module, graph=recording.graph)
        self.wanted = wanted
        self.kept: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one call."""
        value = super().run_node(n)
        if n in self.wanted:
            self.kept[n] = value.detach().double()
        return value


def collect(
    model: nn.Module, flow: ChannelFlow, nodes: Sequence[fx.Node], data: Iterable[Any]
) -> list[Tensor]:
    """Return the values of some calls for batches of inputs.

    Parameters
    ----------
    model : nn.Module
        The model that was recorded, or one of the same layers with other numbers.
    flow : ChannelFlow
        The channels of the model that was recorded.
    nodes : sequence of fx.Node
        The calls.
    data : iterable of inputs of the forward method
        Batches (dimensionless), of the sizes of the recorded example.

    Returns
    -------
    list of float64 tensors
        For each call its values, of the recorded shape, batches end to end along a new first
        dimension.

    Raises
    ------
    ValueError
        If a batch has other sizes than the example, or there is none.
    """
    recording = flow.recording
    shared = evaluated_copy(model)
    found: list[list[Tensor]] = [[] for _ in nodes]
    for number, batch in enumerate(data):
        given = examples.given(shared, batch)
        if given.shapes != recording.example.shapes:
            raise ValueError(
                f"batch {number} of data has the sizes {given.shapes}, but the example "
                f"{recording.example.shapes}; give batches of the example's sizes"
            )
        inputs: list[Any] = []
        tensors = given.tensors()
        for node in recording.graph.nodes:
            if node.op == "placeholder":
                if node.name in recording.constants:
                    inputs.append(_present(shared, *recording.constants[node.name]))
                else:
                    place = recording.placeholders.get(node.name)
                    inputs.append(None if place is None else tensors[place])
        watcher = _Watcher(recording, set(nodes))
        with torch.no_grad():
            watcher.run(*inputs, enable_io_processing=False)
        for values, node in zip(found, nodes, strict=True):
            values.append(watcher.kept[node])
    if not found or not found[0]:
        raise ValueError("data holds no batch; give at least one batch of inputs")
    return [torch.stack(values) for values in found]


def _present(model: nn.Module, path: str, recorded: Tensor) -> Tensor:
    """Return a parameter or buffer of a model by its path; constants as they were recorded."""
    above, _, name = path.rpartition(".")
    try:
        held = getattr(model.get_submodule(above), name, recorded)
    except AttributeError:
        return recorded
    return held if isinstance(held, Tensor) else recorded


def reopened(model: nn.Module, flow: ChannelFlow) -> ChannelFlow:
    """Return the channels of a transformed model, for the example of the first record.

    Parameters
    ----------
    model : nn.Module
        The transformed model.
    flow : ChannelFlow
        The channels of the model before.

    Returns
    -------
    ChannelFlow
        The channels.
    """
    return ChannelFlow(record(evaluated_copy(model), flow.recording.example, free="none"))
