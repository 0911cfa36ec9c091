"""A chip whose devices are those that were trained: drift, compensation, files as of any chip."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aimc_sim.chip.state import ChipState
from aimc_sim.core.tile import TileState
from aimc_sim.device.family import DeviceState
from aimc_sim.device.programming_report import ProgrammingReport
from aimc_sim.frontend.examples import derived
from aimc_sim.learning.crossbars import Matrix
from aimc_sim.learning.layers import PLAIN, ArrayLayer
from aimc_sim.runtime.chip import Chip
from aimc_sim.spec import ChipSpec, CoreSpec, DifferentialEncoding, SeveralDevicesEncoding

_KINDS = {analog: kind for kind, analog in PLAIN.items()}


class WithOne(nn.Module):
    """A dense layer whose bias is the weight of an input that is always 1.

    Parameters
    ----------
    linear : nn.Linear
        With one input more, and without a bias.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Return the product of the inputs and 1."""
        y: Tensor = self.linear(functional.pad(x, (0, 1), value=1.0))
        return y


def plain(model: nn.Module) -> nn.Module:
    """Return a network of torch with the weights that the arrays have now.

    Parameters
    ----------
    model : nn.Module
        On arrays; untouched. A bias on the array of a dense layer becomes an input of 1.

    Returns
    -------
    nn.Module
        With torch's own layers.

    Raises
    ------
    ValueError
        If the bias of a convolution lies on its array.
    """
    made = copy.deepcopy(model)
    for path, layer in list(made.named_modules()):
        if not isinstance(layer, ArrayLayer):
            continue
        weights = torch.from_numpy(layer.array.weights())
        found = cast(nn.Module, layer)
        del found.array, found.weight
        found.__class__ = _KINDS[type(layer)]
        if not layer.bias_on_array:
            shape = _shape(found)
            found.weight = nn.Parameter(weights.reshape(shape))
            continue
        if not isinstance(found, nn.Linear):
            raise ValueError(
                f"layer '{path}' is a convolution with its bias on the array, which a chip has in "
                "its digital unit: prepare the network with bias='digital'"
            )
        linear = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
        linear.weight = nn.Parameter(weights)
        if not path:
            return WithOne(linear)
        parent, _, name = path.rpartition(".")
        setattr(made.get_submodule(parent), name, WithOne(linear))
    return made


def inputs_of(model: nn.Module) -> Any:
    """Return inputs that a network on arrays takes, from its layers.

    Parameters
    ----------
    model : nn.Module
        On arrays; untouched.

    Returns
    -------
    tuple
        Arguments of its forward method.

    Raises
    ------
    UnsupportedLayerError
        If none of those tried fits; the message asks for an example.
    """
    made = copy.deepcopy(model)
    for layer in made.modules():
        if isinstance(layer, ArrayLayer):
            found = cast(nn.Module, layer)
            del found.array, found.weight
            found.__class__ = _KINDS[type(layer)]
            found.weight = nn.Parameter(torch.zeros(_shape(found)))
    return derived(made.eval()).args


def _shape(layer: nn.Module) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    held: Any = layer
    return held.out_channels, held.in_channels, *held.kernel_size


def chip_of(model: nn.Module, spec: ChipSpec, seed: int, example: Any) -> Chip:
    """Return a programmed chip whose devices are those of the arrays, at the arrays' time.

    Parameters
    ----------
    model : nn.Module
        On arrays.
    spec : ChipSpec
        Its devices are those of the arrays.
    seed : int
        Of the draws of the chip's converters and products.
    example : object
        As of :meth:`Chip.from_model`.

    Raises
    ------
    ValueError
        If a layer has devices, cells or conductances that a chip cannot have; names it.
    """
    on_chip = spec.with_({"core.g_max_rule": "device"})
    if example is None:  # the layers of a chip have one input more where the bias is on the array
        example = inputs_of(model)
    chip = Chip.from_model(plain(model).eval(), on_chip, example=example)
    matrices = {}
    for path, layer in model.named_modules():
        if isinstance(layer, ArrayLayer):
            name = path or _KINDS[type(layer)].__name__  # as a chip names a network of one layer
            matrices[f"{path}.linear".lstrip(".") if layer.bias_on_array else name] = layer.array
    tiles, lowest = {}, {}
    for step in chip.compiled.layers:
        matrix = matrices.get(step.owner)
        if matrix is None:
            raise ValueError(
                f"layer '{step.owner}' learned in the digital unit and would lie on crossbars of "
                "the chip: to_chip takes networks whose matrices are all on arrays"
            )
        core = on_chip.for_layer(step.owner).core
        try:
            _demand_cells(core)
            elements, scale = _elements(matrix, core.device)
        except ValueError as error:
            raise ValueError(f"layer '{step.owner}': {error}") from None
        lowest[step.owner] = (float(elements.g.min()), int((elements.g < 0).sum()))
        for block in step.blocks if step.devices is None else ():
            place = (
                slice(None), slice(block.row_start, block.row_stop),
                slice(block.col_start, block.col_stop),
            )  # fmt: skip
            cells = (block.row_stop - block.row_start) * (block.col_stop - block.col_start)
            report = ProgrammingReport("training", 0, None, None, None, None, None, cells, 0.0)
            tiles[block.tile] = TileState(
                _part(elements, place), np.full(block.col_stop - block.col_start, scale), report
            )
    _demand_conductances(lowest)
    layer_of = {block.tile: block.layer for block in chip.compiled.blocks}
    chip.state = ChipState(seed, tiles, layer_of=layer_of)
    return chip


def _demand_cells(core: CoreSpec) -> None:
    """Raise unless a weight is one cell of two devices, as in the arrays that learn."""
    encoding = core.encoding
    one = isinstance(encoding, SeveralDevicesEncoding) and encoding.devices == 1
    if not (one or isinstance(encoding, DifferentialEncoding)):
        raise ValueError(
            f"core.encoding is '{encoding.kind}', and a weight that learned is one cell of two "
            "devices: prepare the network with core.encoding.kind = 'differential'"
        )


def _demand_conductances(lowest: Mapping[str, tuple[float, int]]) -> None:
    """Raise if a conductance is below zero, which only the straight lines of states give.

    Parameters
    ----------
    lowest : mapping from str to (float, int)
        Lowest conductance of every layer, in siemens, and the number of those below zero.
    """
    layer, (least, _) = min(lowest.items(), key=lambda item: item[1][0])
    if least < 0:
        below = sum(count for _, count in lowest.values())
        # Two digits, rounded away from zero.
        unit = 10.0 ** (math.floor(math.log10(-least)) - 1)
        more = math.ceil(-least / unit) * unit
        raise ValueError(
            f"{below:,} devices are in states whose conductance would be below zero (down to "
            f"{least:.2g} S, in layer '{layer}'), since states below the nominal lower bound "
            "conduct less than low_siemens: prepare the network with devices whose low_siemens "
            f"and g_max_siemens are both higher by {more:.2g} S, and load_state_dict of this one, "
            "whose states do not depend on them"
        )


def _elements(matrix: Matrix, device: Any) -> tuple[DeviceState, float]:
    """Return the devices of a whole matrix."""
    cuts = matrix.layout
    whole: dict[str, np.ndarray] = {}
    kind, scale = DeviceState, 0.0
    for piece in matrix.pieces:
        state, scale = piece.synapses.elements(device, matrix.clock.seconds)
        kind = type(state)
        for field in dataclasses.fields(state):
            array = getattr(state, field.name)
            if array is None:
                continue
            shape = (len(array), cuts.rows, cuts.cols)
            place = whole.setdefault(field.name, np.empty(shape, array.dtype))
            place[:, piece.rows, piece.cols] = array
    return kind(**whole), scale


def _part(state: DeviceState, place: tuple[slice, ...]) -> DeviceState:
    arrays = {
        field.name: getattr(state, field.name)[place].copy()
        for field in dataclasses.fields(state)
        if getattr(state, field.name) is not None
    }
    return type(state)(**arrays)
