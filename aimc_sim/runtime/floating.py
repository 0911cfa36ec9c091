"""Input lines that float while they have no pulse, as convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FloatingLines:
    """Kernels of :func:`aimc_sim.core.idle.high_impedance_correction` as convolutions.

    Attributes
    ----------
    reach : (C, channels, kh, kw) bfloat16
    lengths : (3, channels, kh, kw) bfloat16
        One, share and weight, for the pulse lengths.
    signs : (2, channels, kh, kw) bfloat16
        Weight and one, for their signs.
    one : (1, channels, kh, kw) bfloat16
    reach_sum : (C,) float32
    share_sum, max_code : float
    both_signs : bool
        1-phase: inputs of both signs float together; else one sign after the other.
    """

    reach: Tensor
    lengths: Tensor
    signs: Tensor
    one: Tensor
    reach_sum: Tensor
    share_sum: float
    max_code: float
    both_signs: bool
