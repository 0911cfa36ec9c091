"""What the executor runs: layers, cores and digital steps as tensors and small arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..chip.image import AnalogLayer, Block, DigitalStep
from ..core.converters import Quantiser

AS_IT_IS = Quantiser(1.0, math.inf, False)
"""Passes every number on."""

_NO_TABLE = np.zeros((1, 1, 1), np.float32)
_NO_BOUNDS = np.zeros(2, np.float32)


@dataclass(frozen=True)
class FloatingLines:
    """Kernels of :func:`aimc_sim.core.idle.high_impedance_correction` as convolutions.

    The format of variances is that of :class:`aimc_sim.machine.formats.Formats`.

    Attributes
    ----------
    reach : (C, channels, kh, kw), in the format of variances
    lengths : (3, channels, kh, kw), in the format of variances
        One, share and weight, for the pulse lengths.
    signs : (2, channels, kh, kw), in the format of variances
        Weight and one, for their signs.
    one : (1, channels, kh, kw), in the format of variances
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


@dataclass(frozen=True)
class Oscillators:
    """Converters of a core that are circuits, see :class:`aimc_sim.core.adc.AdcColumns`.

    Attributes
    ----------
    table : (5, 2, C) float32
        slope, bend, lift, gain, offset; values in nominal counts.
    bounds : (2,) float32
        limit, dead.
    rounding : (2, C) float32
        Variance of roundings and jitter, for inputs that are never and that may be negative.
    """

    table: Tensor
    bounds: Tensor
    rounding: Tensor

    @cached_property
    def noisy(self) -> bool:
        """Whether there is any rounding or jitter to add."""
        return bool(self.rounding.any())


@dataclass(frozen=True)
class Registers:
    """What a digital unit multiplies and adds, (C,) float32 each, and its output."""

    gain: Tensor
    offset: Tensor
    link_gain: float
    output: Quantiser


@dataclass(frozen=True, eq=False)
class CoreCall:
    """One core's part of a layer, ready to run.

    Attributes
    ----------
    block : Block
    channels : slice
        Input channels it reads.
    kernel : (C, channels, kh, kw) float32
        Net conductance / g_max.
    negative : the same or None
        What negative inputs see beyond ``kernel`` (1-phase reads).
    variance : (C, channels, kh, kw) or None, in the format of variances
        Variance of the fresh read noise, in units of g_max squared.
    gain, offset : (C,) float32
        Value per ADC code, and the value added.
    link_gain : float
        Value per code of the link input; 0 if there is none.
    output : Quantiser
        Of what the core sends on.
    noise_key : (2,) uint32
    adc : Quantiser
        Of its converters, in units of charge.
    bit_true : bool
        The digital unit computes in half precision.
    planes : tuple of CoreCall
        Bit-serial inputs: the analog half of the core once per bit plane, least significant
        first; this call is then the digital half, whose "charge" is the shifted sum of codes.
    """

    block: Block
    channels: slice
    kernel: Tensor
    negative: Tensor | None
    variance: Tensor | None
    gain: Tensor
    offset: Tensor
    link_gain: float
    output: Quantiser
    noise_key: np.ndarray
    adc: Quantiser
    bit_true: bool = False
    oscillators: Oscillators | None = None
    floating: FloatingLines | None = None
    planes: tuple[CoreCall, ...] = ()

    @cached_property
    def registers(self) -> Registers:
        """Registers of the digital unit; in half precision as halves, in units of output codes.

        A value per code can be far below the smallest half; codes themselves never are.
        """
        if not self.bit_true:
            return Registers(self.gain, self.offset, self.link_gain, self.output)
        unit = self.output.step

        def half(value: Tensor) -> Tensor:
            return (value / unit).to(torch.float16).float()

        link = float(half(torch.tensor(self.link_gain, dtype=torch.float32)))
        output = Quantiser(1.0, self.output.limit, self.output.rounds)
        return Registers(half(self.gain), half(self.offset), link, output)

    @cached_property
    def arrays(self) -> tuple:
        """What the fused kernel takes of all this, as arrays that share the tensors' memory.

        ``gain, offset, adc, oscillators, bounds, link_gain, requantise`` of
        :func:`aimc_sim.kernels.epilogue.epilogue`.
        """
        registers, circuits = self.registers, self.oscillators
        return (
            registers.gain.numpy(),
            registers.offset.numpy(),
            _row(self.adc),
            _NO_TABLE if circuits is None else circuits.table.numpy(),
            _NO_BOUNDS if circuits is None else circuits.bounds.numpy(),
            np.float32(registers.link_gain),
            _row(registers.output),
        )

    @cached_property
    def noisy(self) -> bool:
        """Whether a variance has to be computed for every output."""
        return self.variance is not None or bool(self.oscillators and self.oscillators.noisy)


def _row(quantiser: Quantiser) -> np.ndarray:
    return np.array([1 / quantiser.step, quantiser.limit, quantiser.rounds], np.float32)


def bit_serial(call: CoreCall, noise_keys: list[np.ndarray]) -> CoreCall:
    """Return a core that reads bit planes, one per noise key.

    The codes of a plane leave its converter as they are; gains act on the shifted sum.
    """
    plane = dataclasses.replace(
        call, gain=torch.ones_like(call.gain), offset=torch.zeros_like(call.offset),
        link_gain=0.0, output=AS_IT_IS, bit_true=False,
    )  # fmt: skip
    planes = tuple(dataclasses.replace(plane, noise_key=key) for key in noise_keys)
    return dataclasses.replace(
        call, variance=None, negative=None, floating=None, oscillators=None, adc=AS_IT_IS,
        planes=planes,
    )  # fmt: skip


@dataclass(frozen=True)
class LayerCall:
    """An analog layer: its cores, chain by chain (head to tail)."""

    layer: AnalogLayer
    dac: Quantiser | None  # re-quantisation of the input, where its codes are not the DAC's
    chains: tuple[tuple[CoreCall, ...], ...]

    @cached_property
    def needs_squares(self) -> bool:
        """Whether a core adds fresh read noise to whole inputs."""
        return any(core.variance is not None for chain in self.chains for core in chain)


@dataclass(frozen=True)
class DigitalCall:
    """A digital step; ``output`` is None where codes pass unchanged."""

    step: DigitalStep
    output: Quantiser | None


@dataclass(frozen=True)
class LoopCall:
    """A recurrent step with the cores that it runs once per time step.

    Attributes
    ----------
    step : DigitalStep
        "lstm", "gru" or "rnn".
    hidden : LayerCall
        The hidden matrix.
    projection : LayerCall or None
        From the cell's outputs to the hidden state.
    """

    step: DigitalStep
    hidden: LayerCall
    projection: LayerCall | None

    @property
    def layers(self) -> tuple[LayerCall, ...]:
        """The analog layers inside the loop."""
        return (self.hidden,) if self.projection is None else (self.hidden, self.projection)


Call = LayerCall | DigitalCall | LoopCall


def layer_calls(calls: Iterable[Call]) -> Iterator[LayerCall]:
    """Return the calls of all analog layers, those inside loops too."""
    for call in calls:
        if isinstance(call, LayerCall):
            yield call
        elif isinstance(call, LoopCall):
            yield from call.layers
