"""The differential cell with any number of devices per polarity, under a law of single devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...device import family
from ...device.request import Request
from ...spec import CoreSpec, SeveralDevicesEncoding
from .interface import Array, Targets, largest_weights, top_siemens
from .pair import OneColumn, polarity_shares


@dataclass(frozen=True)
class Several(OneColumn):
    """``core.encoding.kind`` "several-devices".

    Attributes
    ----------
    devices : int
        Of one polarity.
    fills : bool
        Whether devices are brought to g_max one after the other, instead of sharing equally.
    """

    devices: int = 1
    fills: bool = False

    @classmethod
    def of(cls, spec: SeveralDevicesEncoding) -> Several:
        """Return the encoding of a specification."""
        return cls(devices=spec.devices, fills=spec.order == "fill")

    @property
    def text(self) -> str:
        """The encoding in words."""
        how = "filled one after the other" if self.fills else "with equal shares"
        many = "s" * (self.devices > 1)
        return f"differential, {self.devices} device{many} per polarity {how}"

    def targets(self, weight: Array, core: CoreSpec, g_max_siemens: float | None) -> Targets:
        """Return the targets of a block; parameters as of :meth:`.pair.Pair.targets`.

        Notes
        -----
        The n devices of a polarity add up to ``|W| s`` plus the background of the other polarity,
        n idle devices (or n at the lowest target, where a family writes zeros). Equal shares: every
        device has ``1 / n`` of it. Fill: of the first devices each adds all it can, the next one
        the rest, and those that follow stay idle: with two devices the order of max-SET-fill
        (chip paper, arXiv:2212.02872). Other numbers of devices, equal shares, and a statistical
        law for each device of a fill are assumptions.
        """
        device, laws, n = core.device, family.of(core.device), self.devices
        zeros_too = laws.writes_zeros(device)
        # Of an element that holds nothing.
        low = laws.lowest_siemens(device) if zeros_too else laws.idle_siemens(device)
        top = top_siemens(core, g_max_siemens)
        each = max(0.0, top - low)
        weight = np.asarray(weight, np.float64)
        largest = largest_weights(weight, core)
        per_weight = np.divide(n * each, largest, out=np.ones_like(largest), where=largest > 0)
        own = np.stack([weight > 0, weight < 0])
        added = np.where(own, np.abs(weight) * per_weight, 0.0)
        if self.fills:
            # A weight that fills devices exactly must not leave a rest of rounding behind.
            before = np.arange(n)[:, None, None] * each
            share = np.clip(added[:, None] - before, 0.0, each)
            share[share < 1e-9 * each] = 0.0
            programmed = share > 0
        else:
            share = np.repeat(added[:, None] / n, n, axis=1)
            programmed = np.repeat((own | zeros_too)[:, None], n, axis=1)
        flat = (2 * n, *weight.shape)
        elements = (low + share).reshape(flat).astype(np.float32), programmed.reshape(flat)
        request = Request(added + n * low, own | zeros_too, elements)
        return Targets(request, per_weight)

    def per_g_max(self, weight: Array, core: CoreSpec) -> Array:
        """Return the siemens that every polarity gains per siemens of g_max, (2, R, C) float64."""
        return polarity_shares(weight, core, self.devices)
