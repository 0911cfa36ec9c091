"""Programs of one network for other sizes of its inputs, on the same programmed devices.

A record is true for the sizes that its conditions allow. Inputs of other sizes are recorded anew
when they come, and use the devices that are there: the weights must be the same, layer by layer.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..chip.program import AnalogLayer, Program, leaves
from ..digital.apply import evaluate
from ..errors import UnsupportedLayerError
from ..mapping.graph import Network
from ..mapping.lower import lower
from ..mapping.replicate import replicate
from ..mapping.written import with_blocks_of, write_products
from ..spec import ChipSpec

if TYPE_CHECKING:
    from ..frontend import Source
    from ..frontend.recording import Example


class Variants:
    """The programs of a chip: the placed one, and those for other sizes.

    Parameters
    ----------
    compiled : Program
        The placed one.
    spec : ChipSpec
    source : Source or None
        The model, which can be recorded again; None for a chip from a file.
    example : Example or None
        Arguments it was recorded with.
    """

    def __init__(
        self, compiled: Program, spec: ChipSpec, source: Source | None = None,
        example: Example | None = None,
    ) -> None:  # fmt: skip
        self.compiled, self.spec, self.source, self.example = compiled, spec, source, example
        self.others: list[Program] = []

    @functools.cached_property
    def signature(self) -> inspect.Signature | None:
        """Of the network's forward method; None for a chip from a file."""
        return None if self.source is None else inspect.signature(self.source.model.forward)

    def of(self, inputs: Sequence[Tensor]) -> Program:
        """Return the program for inputs of these sizes.

        Raises
        ------
        ValueError
            If the network is fixed to other sizes and cannot be recorded again, or its layers
            would be others.
        """
        sizes = {name: tuple(x.shape) for name, x in zip(self.compiled.inputs, inputs, strict=True)}
        broken = None
        for compiled in (self.compiled, *self.others):
            found = broken_condition(compiled, sizes)
            if found is None:
                return compiled
            broken = broken or found
        if self.source is None or self.example is None:
            raise ValueError(
                f"the inputs have the sizes {_shown(sizes)}, but the program is for inputs with "
                f"{broken}; make the chip from its model again (from_model with such an example)"
            )
        example = self.example.with_tensors(list(inputs))
        self.add(recorded(self.source, example, sizes))
        return self.others[-1]

    def add(self, network: Network) -> None:
        """Add the program of a network that was recorded for other sizes.

        Parameters
        ----------
        network : Network
            With the layers and weights of the placed program.

        Raises
        ------
        ValueError
            If a layer is missing there, or has other weights.
        """
        self.others.append(_on_same_devices(network, self.compiled, self.spec))


def recorded(source: Source, example: Any, sizes: Mapping[str, tuple[int, ...]]) -> Network:
    """Return the network of a model for inputs of some sizes.

    Parameters
    ----------
    source : Source
        The model.
    example : Example, or inputs as the forward method takes them
        Inputs of these sizes.
    sizes : mapping
        Sizes of every input by its name.

    Raises
    ------
    ValueError
        If the network cannot be recorded for them.
    """
    # A record is made with two images where one was given, which may be another branch; then the
    # network is recorded for exactly these.
    broken: str | None = None
    for exact in (False, True):
        try:
            network = source.network(example, exact)
        except UnsupportedLayerError as error:
            raise ValueError(
                f"the inputs have the sizes {_shown(sizes)}, for which the network cannot be "
                f"recorded: {error}"
            ) from error
        broken = broken_condition(network, sizes)
        if broken is None:
            return network
    raise ValueError(
        f"the inputs have the sizes {_shown(sizes)}, for which the network cannot be recorded: "
        f"its record is for inputs with {broken}"
    )


def _shown(sizes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in sizes.items())


def broken_condition(
    recording: Program | Network, sizes: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Return the first condition that sizes break, in words; None if they fit.

    Parameters
    ----------
    recording : Program or Network
        With conditions on the sizes of its inputs.
    sizes : mapping
        Sizes of every input by its name.
    """
    for condition in recording.conditions:
        try:
            fits = evaluate(condition, sizes)
        except (IndexError, ZeroDivisionError):
            fits = False
        if not fits:
            return words(condition)
    return None


def words(tree: Any) -> str:
    """Return a condition on sizes in words."""
    if not isinstance(tree, dict):
        return str(tree)
    ((key, content),) = tree.items()
    if key == "size":
        return f"size {content[1]} of '{content[0]}'"
    if key == "rank":
        return f"dimensions of '{content}'"
    if key == "not":
        return f"not ({words(content[0])})"
    parts = [words(part) for part in content]
    if len(parts) == 2 and not key.isalpha():
        return f"{parts[0]} {key} {parts[1]}"
    return (
        f" {key} ".join(parts) if key in ("and", "or", "+", "*") else f"{key}({', '.join(parts)})"
    )


def _on_same_devices(network: Network, compiled: Program, spec: ChipSpec) -> Program:
    """Return a network's program on the devices of another one.

    Parameters
    ----------
    network : Network
    compiled : Program
        Placed; holds all the layers, with the same weights.
    spec : ChipSpec

    Raises
    ------
    ValueError
        If a layer is missing, or has other weights.
    """
    steps, results = lower(network)
    if spec.mapping.replicate:
        steps, results = replicate(steps, results, spec.mapping.replicate)
    steps = with_blocks_of(write_products(steps, spec), compiled.steps)
    there = {layer.name: layer for layer in compiled.layers}
    done = []
    for step in steps:
        if isinstance(step, AnalogLayer):
            owner = there.get(step.owner)
            if owner is None or not np.array_equal(owner.weight, step.weight):
                what = "is not on the chip" if owner is None else "has other weights on the chip"
                raise ValueError(
                    f"layer '{step.owner}' {what}: with inputs of these sizes the network is "
                    "another one (or the model was changed); make a chip of its own for them"
                )
            step = dataclasses.replace(step, blocks=owner.blocks, weight=owner.weight)
        done.append(step)
    return dataclasses.replace(
        compiled, input=network.input, output=leaves(results)[0][0], steps=tuple(done),
        inputs=network.inputs, axis=network.axis, results=results, axes=network.axes,
        conditions=network.conditions,
    )  # fmt: skip
