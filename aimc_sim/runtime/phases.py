"""4-phase reads in the executor: four conversions, or one where nobody can tell the difference.

A 4-phase read converts the currents of four sign combinations of input and weight by themselves
(:func:`aimc_sim.core.tile.phases`). Where no phase can reach its limit, codes of the net charge
have the same law over inputs if the other roundings are added as noise: one convolution instead
of two or four. That no phase can is shown image by image, from the largest code of every input
channel in each of some overlapping parts of the map, of which one holds any window of the kernel:

``charge <= sum over channels (largest code x sum of the channel's kernel)``, plus
:data:`SIGMAS` standard deviations of the read noise, bounded in the same way.

Spikes are another matter: nearly every channel has one somewhere in a part, whatever few there are
at a time. Of binary inputs that the bound leaves open, the charges of one polarity are computed;
those of the other are its difference from the net charge.

An image for which this does not hold is converted phase by phase; so is every image where a
rounding would have no noise to hide in, where converters differ from column to column, or where
idle lines float. The result of an image depends on itself alone, never on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..kernels.survey import beyond as beyond_kernel
from ..kernels.survey import charged_beyond as charged_kernel
from .adc import Adc
from .floating import FloatingLines

SIGMAS = 6.0
"""Distance of a phase from its limit, in standard deviations: one conversion in 1e9 is beyond."""

_NOTHING = np.zeros((0, 0), np.float32)

SIGNS = ((1, 0), (1, 1), (-1, 0), (-1, 1))
"""(sign of the input, polarity of the weight) of the modulations, in order of their noise keys."""


@dataclass(frozen=True)
class Guard:
    """Bounds on the phases of an image.

    Attributes
    ----------
    reach : (channels, 2 C) float32
        Largest charge of both polarities' outputs per code of a channel.
    noise : (channels, 2 C) float32 or None
        Largest variance per squared code.
    limit : float
        Largest charge that is not clipped.
    never : bool
        No legal input comes near the limit: nothing to check.
    spikes : bool
        Inputs are binary: charges decide where bounds do not.
    """

    reach: Tensor
    noise: Tensor | None
    limit: float
    never: bool
    spikes: bool = False

    def exceeded(self, spans: tuple[Tensor, ...], columns: bool = True) -> Tensor:
        """Return the (B,) bool images that may come near the limit.

        Parameters
        ----------
        spans : one or two (B, P, channels) float32
            See :class:`aimc_sim.runtime.survey.Survey`.
        columns : bool
            False: by sums over channels alone on a processor, so that more images may.
        """
        beyond = torch.zeros(len(spans[0]), dtype=torch.bool, device=spans[0].device)
        for codes in spans:
            if codes.is_cpu:
                beyond_kernel(codes.numpy(), *self._arrays, columns, beyond.numpy())
                continue
            charge = codes @ self.reach
            if self.noise is not None:
                charge = charge + SIGMAS * (codes.square() @ self.noise).sqrt()
            beyond |= (charge > self.limit).flatten(1).any(1)
        return beyond

    def charged(self, first: Tensor, net: Tensor | None, variance: Tensor | None) -> Tensor:
        """Return the (B,) bool images whose phases come near the limit, from their charges.

        Parameters
        ----------
        first : (B, C, H, W) float32, channels last
            Charges of the first polarity of images without a negative code.
        net : (B, C, H, W) float32, channels last, or None
            Those less the charges of the second polarity; None: there is no second one.
        variance : (B, C, H, W) in the format of variances, channels last, or None
            Variance of the noise of both polarities together, no less than that of either.
        """
        if not first.is_cpu:
            most = first if net is None else torch.maximum(first, first - net)
            if variance is not None:
                most = most + SIGMAS * variance.float().sqrt()
            return (most > self.limit).flatten(1).any(1)
        found = torch.empty(len(first), dtype=torch.bool)
        rows = (
            _NOTHING if x is None else x.float().permute(0, 2, 3, 1).reshape(len(x), -1).numpy()
            for x in (first, net, variance)
        )
        charged_kernel(*rows, np.float32(SIGMAS), np.float32(self.limit), found.numpy())
        return found

    @cached_property
    def _arrays(self) -> tuple[np.ndarray | np.float32, ...]:
        """Arguments of the kernel between the codes and the answer."""
        reach = self.reach.numpy()
        noise = np.zeros((1, 1), np.float32) if self.noise is None else self.noise.numpy()
        peak, rows = reach.max(axis=1, initial=0), len(reach)
        noise_peak = np.zeros(rows, np.float32) if self.noise is None else noise.max(axis=1)
        norm = np.sqrt(np.square(reach, dtype=np.float64).sum(axis=0).max(initial=0))
        limits = np.float32(SIGMAS), np.float32(self.limit)
        return reach, noise, peak, noise_peak, np.float32(norm), *limits


@dataclass(frozen=True)
class Phases:
    """A core that is read in four phases.

    Attributes
    ----------
    kernel : (P C, channels, kh, kw) float32
        Conductance of either polarity / g_max, one after the other; P is 2, or 1 where cells have
        one polarity.
    variance : (P C, channels, kh, kw) in the format of variances, or None
        Variance of the fresh read noise, in units of g_max squared.
    floating : FloatingLines or None
        Of both polarities.
    noise_keys : four (2,) uint32
        Keys of the noise of every phase, in the order of :data:`SIGNS`.
    guard : Guard or None
        None: every image is converted phase by phase.
    adc : Adc
        The converters of a phase; those of net charges, which no phase's limit limits, are the
        core's.
    rounding : float
        Variance of one rounding, charge squared.
    polarities : int
        P.
    """

    kernel: Tensor
    variance: Tensor | None
    floating: FloatingLines | None
    noise_keys: tuple[np.ndarray, ...]
    guard: Guard | None
    adc: Adc
    rounding: float
    polarities: int = 2

    @property
    def bounded(self) -> bool:
        """Whether an image's codes decide how it is converted."""
        return self.guard is not None and not self.guard.never
