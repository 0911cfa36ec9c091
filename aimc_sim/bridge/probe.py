"""What every layer of a chip gives, and chips of which only some layers are physical."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from . import adapt, executor
from .calls import LayerCall
from .chip import Chip
from .images import as_input
from .plan import Plan


def layer_outputs(chip: Chip, images: Tensor | np.ndarray) -> dict[str, np.ndarray]:
    """Return what every analog layer of a programmed chip gives at its present time.

    The errors of all layers before are in it. The chip's image numbers do not move.

    Parameters
    ----------
    chip : Chip
        Calibrated and programmed.
    images : (B, ...) float
        A few; they go through in one piece, as images 0, 1, ...

    Returns
    -------
    dict from layer name to (B, channels, ...) float32, in the network's own numbers

    Raises
    ------
    ValueError
        If images do not fit or hold NaN.
    NotProgrammedError
        If nothing is programmed.
    """
    x = as_input(chip.image, images)
    return _seen(_plan(chip), x)


class Mixed:
    """A chip on which some layers have the devices of one chip and the others those of another.

    Both chips carry the same network at the same place with the same integer ranges, so that
    layers can be exchanged one by one.

    Parameters
    ----------
    chip, ideal : Chip
        Calibrated alike and programmed; looked at as they are now.
    layers : collection of str
        Names of the layers that ``chip`` gives; ``ideal`` gives the others.

    Raises
    ------
    KeyError
        If the network has no analog layer of such a name; lists those it has.
    ValueError
        If the two chips are not calibrated alike.
    """

    def __init__(self, chip: Chip, ideal: Chip, layers: Collection[str]) -> None:
        for name in layers:
            chip.image.layer(name)
        physical, perfect = _plan(chip), _plan(ideal)
        if chip.image is not ideal.image or physical.quantisers != perfect.quantisers:
            raise ValueError(
                "the two chips hold different networks or integer ranges, so their layers cannot "
                "be exchanged; make the second one from the image and ranges of the first"
            )
        chosen = set(layers)
        calls = tuple(
            one if isinstance(one, LayerCall) and one.layer.name in chosen else other
            for one, other in zip(physical.calls, perfect.calls, strict=True)
        )
        squared = physical.squared | perfect.squared
        self._plan = dataclasses.replace(physical, calls=calls, squared=squared)
        self.counts = executor.new_counts()

    def __call__(self, images: Tensor | np.ndarray) -> Tensor:
        """Return the (B, outputs) float32 outputs of images 0, 1, ..."""
        x = as_input(self._plan.image, images)
        return executor.run(self._plan, x, 0, self.counts, None)

    def layer_outputs(self, images: Tensor | np.ndarray) -> dict[str, np.ndarray]:
        """Return the same as :func:`layer_outputs`."""
        return _seen(self._plan, as_input(self._plan.image, images))


class _Seeing(executor._Run):
    """A run that keeps what every layer gives."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.seen: dict[str, np.ndarray] = {}

    def _layer(self, call: LayerCall, values):
        value = super()._layer(call, values)
        step = self.plan.quantisers[call.layer.name].step
        self.seen[call.layer.name] = (value.codes[: self.n] * step).cpu().numpy()
        return value


def _seen(plan: Plan, x: Tensor) -> dict[str, np.ndarray]:
    n = len(x)
    if n < executor.SMALLEST_BATCH:  # as the executor pads small chunks
        x = torch.cat([x, x.new_zeros((executor.SMALLEST_BATCH - n, *x.shape[1:]))])
    run = _Seeing(plan, n, 0, executor.new_counts())
    with torch.inference_mode():
        run(x.to(plan.device))
    return run.seen


def _plan(chip: Chip) -> Plan:
    if chip._plan is not None:
        return chip._plan
    return adapt.apply(chip._build_plan(), chip.corrections)
