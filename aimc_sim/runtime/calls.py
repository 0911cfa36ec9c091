"""Calls of the executor: layers, cores and digital steps as tensors and small arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..chip.program import AnalogLayer, Block, DigitalStep
from ..core.quantise import Quantiser
from .adc import PASSES_ALL, Adc, row
from .floating import FloatingLines
from .phases import Phases
from .written import WrittenCall

CoreArrays = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.float32, np.ndarray
]
"""Arguments of the fused kernel, see :attr:`CoreCall.arrays`."""


@dataclass(frozen=True)
class ChannelRegisters:
    """Registers of a digital unit.

    Attributes
    ----------
    gain, offset : (C,) float32
        Factor of every ADC code and summand of every column, in the unit of the output.
    link_gain : float
        Factor of the codes that arrive over the link; 0 without a link.
    output : Quantiser
        Integers of the codes that the unit sends on.
    """

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
        Rows and columns of the layer's weight on this core.
    channels : slice
        Input channels it reads.
    kernel : (C, channels, kh, kw) float32
        Net conductance / g_max.
    negative : (C, channels, kh, kw) float32 or None
        Difference that the net conductance / g_max has for negative inputs (1-phase reads).
    variance : (C, channels, kh, kw) or None, in the format of variances
        Variance of the fresh read noise, in units of g_max squared.
    gain, offset : (C,) float32
        Value per ADC code, and the value added.
    link_gain : float
        Value per code of the link input; 0 if there is none.
    output : Quantiser
        Integers of the codes that the core sends on.
    noise_key : (2,) uint32
        Key of the addressed draws of the core's fresh noise.
    adc : Adc
        Its converters, in units of charge.
    bit_true : bool
        The digital unit computes in half precision.
    phases : Phases or None
        The phases of a 4-phase read that are converted one by one; None where only the net charge
        matters.
    planes : tuple of CoreCall
        Bit-serial inputs: the analog half of the core once per bit plane, least significant
        first; this call is then the digital half, whose "charge" is the shifted sum of codes.
    parts : tuple of PartCall
        Several columns make one output: the analog half of the core once per group of columns;
        this call is then the digital half, whose "charge" is the sum of all codes.
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
    adc: Adc
    bit_true: bool = False
    floating: FloatingLines | None = None
    phases: Phases | None = None
    planes: tuple[CoreCall, ...] = ()
    parts: tuple[PartCall, ...] = ()

    @property
    def readers(self) -> tuple[CoreCall, ...]:
        """Readers of whole inputs: the core itself, or its groups of columns."""
        return tuple(part.core for part in self.parts) or (self,)

    @cached_property
    def registers(self) -> ChannelRegisters:
        """Registers of the digital unit; in half precision as halves, in units of output codes.

        A value per code can be far below the smallest half; codes themselves never are.
        """
        if not self.bit_true:
            return ChannelRegisters(self.gain, self.offset, self.link_gain, self.output)
        unit = self.output.step

        def half(value: Tensor) -> Tensor:
            return (value / unit).to(torch.float16).float()

        link = float(half(torch.tensor(self.link_gain, dtype=torch.float32)))
        output = Quantiser(1.0, self.output.limit, self.output.rounds)
        return ChannelRegisters(half(self.gain), half(self.offset), link, output)

    @cached_property
    def arrays(self) -> CoreArrays:
        """Arguments of the fused kernel, as arrays that share the tensors' memory.

        ``gain, offset, adc, oscillators, bounds, jitter, link_gain, requantise`` of
        :func:`aimc_sim.kernels.epilogue.epilogue`.
        """
        registers = self.registers
        return (
            registers.gain.numpy(),
            registers.offset.numpy(),
            *self.adc.arrays,
            np.float32(registers.link_gain),
            row(registers.output),
        )

    @cached_property
    def converted(self) -> CoreCall:
        """The digital half: its "charge" is codes, or sums of codes."""
        return dataclasses.replace(self, adc=PASSES_ALL)


@dataclass(frozen=True, eq=False)
class PartCall:
    """A group of columns of a core, ready to run.

    Attributes
    ----------
    core : CoreCall
        The analog half of these columns; a single column where all outputs share it.
    factor : float
        With which its codes enter the outputs.
    """

    core: CoreCall
    factor: float


def in_parts(call: CoreCall, parts: tuple[PartCall, ...]) -> CoreCall:
    """Return the digital half of a core whose outputs are sums over groups of columns.

    Parameters
    ----------
    call : CoreCall
        Gains and offsets of the outputs.
    parts : tuple of PartCall
        The groups whose codes are added.
    """
    return dataclasses.replace(
        call, kernel=parts[0].core.kernel, variance=None, negative=None, floating=None,
        phases=None, adc=PASSES_ALL, planes=(), parts=parts,
    )  # fmt: skip


def bit_serial(
    call: CoreCall, noise_keys: list[np.ndarray], phases: list[Phases | None]
) -> CoreCall:
    """Return a core that reads bit planes, one per noise key.

    The codes of a plane leave its converter as they are; gains act on the shifted sum.
    """
    planes = tuple(
        dataclasses.replace(call, noise_key=key, phases=own)
        for key, own in zip(noise_keys, phases, strict=True)
    )
    return dataclasses.replace(
        call, variance=None, negative=None, floating=None, phases=None, adc=PASSES_ALL,
        planes=planes,
    )  # fmt: skip


@dataclass(frozen=True)
class LayerCall:
    """An analog layer: its cores, chain by chain (head to tail)."""

    layer: AnalogLayer
    dac: Quantiser | None  # re-quantisation of the input, where its codes are not the DAC's
    chains: tuple[tuple[CoreCall, ...], ...]
    binary: bool = False  # inputs are pulses of one bit

    @cached_property
    def needs_squares(self) -> bool:
        """Whether a core adds fresh read noise to whole inputs."""
        return any(core.variance is not None for core in self._readers)

    @cached_property
    def bounded(self) -> bool:
        """Whether codes of whole inputs decide how some core converts its phases."""
        return any(core.phases is not None and core.phases.bounded for core in self._readers)

    @property
    def _readers(self) -> Iterator[CoreCall]:
        return (own for chain in self.chains for core in chain for own in core.readers)


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
        "lstm", "gru", "rnn" or "spiking".
    hidden : LayerCall or None
        The hidden matrix; None for spiking neurons whose outputs do not come back.
    projection : LayerCall or None
        From the cell's outputs to the hidden state.
    """

    step: DigitalStep
    hidden: LayerCall | None
    projection: LayerCall | None

    @property
    def layers(self) -> tuple[LayerCall, ...]:
        """The analog layers inside the loop."""
        return tuple(one for one in (self.hidden, self.projection) if one is not None)


Call = LayerCall | DigitalCall | LoopCall | WrittenCall


def layer_calls(calls: Iterable[Call]) -> Iterator[LayerCall]:
    """Return the calls of all analog layers, those inside loops too."""
    for call in calls:
        if isinstance(call, LayerCall):
            yield call
        elif isinstance(call, LoopCall):
            yield from call.layers
