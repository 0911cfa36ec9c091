"""Contents of a chip: conductances, effective weights, and the file that holds all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from .. import store
from ..core import compensation, tile
from ..device import family
from ..mapping.matrices import grouped_weight
from .held import Held


def conductances(chip: Held, core: int) -> np.ndarray:
    """Return the devices of a core, see :meth:`aimc_sim.Chip.conductances`."""
    state = chip.check_written()
    if core not in state.tiles:
        used = sorted(state.tiles)
        raise KeyError(f"core {core} holds no weights; cores in use: {used}")
    key = state.key(core)
    age = state.age(chip.time_seconds)
    own = state.spec_of(core, chip.spec).core
    now = tile.elements_at(state.tiles[core], own, age, key)
    return family.of(own.device).devices(now.g, own.device)


def effective_weights(chip: Held, layer: str) -> np.ndarray:
    """Return a layer's weights, see :meth:`aimc_sim.Chip.effective_weights`."""
    step, evaluation = chip.compiled.layer(layer), chip.evaluation
    tiles, gains = evaluation.tiles, evaluation.factors
    state = chip.check_written()
    matrix = np.zeros_like(step.weight)
    for block in step.blocks:
        device = chip.spec.for_layer(layer).core.device
        net = tiles[block.tile].nets * device.g_max_siemens
        net = net / state.tiles[block.tile].siemens_per_weight
        net = net * gains.get(block.tile, 1.0)
        matrix[block.row_start : block.row_stop, block.col_start : block.col_stop] = net
    if step.kind == "linear":
        return matrix.T
    kernel = step.kernel_size if step.kind == "conv2d" else step.kernel_size[1:]
    return grouped_weight(matrix, kernel, step.groups)


def save(chip: Held, path: str | Path) -> None:
    """Write a chip to a file, see :meth:`aimc_sim.Chip.save`."""
    if chip.pending is not None:
        chip.check_written()  # a file would not know that devices were asked for
    store.save(
        path, chip.spec, chip.compiled, chip.ranges, chip.state,
        {
            "time_seconds": chip.time_seconds,
            "compensation": chip.compensation,
            "images_seen": chip.images_seen,
            "adapted_images": chip.adapted_images,
            "corrections": {
                name: [part.tolist() for part in parts]
                for name, parts in chip.corrections.items()
            },
        },
    )  # fmt: skip


def restore(chip: Held, clock: Mapping[str, Any]) -> None:
    """Set the clock of a chip from a file: time, compensation, corrections."""
    chip.time_seconds = float(clock["time_seconds"])
    chip.compensation = cast("compensation.Method", str(clock["compensation"]))
    chip.images_seen = int(clock["images_seen"])
    chip.adapted_images = int(clock.get("adapted_images", 0))
    chip.corrections = {
        name: (torch.tensor(factor), torch.tensor(shift))
        for name, (factor, shift) in clock["corrections"].items()
    }
