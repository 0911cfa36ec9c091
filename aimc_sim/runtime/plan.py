"""From (program, spec, ranges, state, time) to tensors that the executor only has to run.

Everything that does not depend on the images is done here, once per evaluation time: conductances
become convolution kernels, calibration becomes scales, drift compensation becomes gains.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..chip.program import AnalogLayer, Block, Program, WrittenProduct, leaves
from ..chip.state import ChipState, Ranges, link_name
from ..core import converters, inputs, tile
from ..core.quantise import ColumnConverters, Quantiser
from ..machine.formats import Formats, formats
from ..ops import RECURRENT
from ..rng import Key, Purpose
from ..spec import ChipSpec, CoreSpec, GdpuSpec
from .adc import AS_IT_IS, Adc
from .blocks import block_kernel
from .calls import (
    Call,
    CoreCall,
    DigitalCall,
    LayerCall,
    LoopCall,
    PartCall,
    bit_serial,
    in_parts,
    layer_calls,
)
from .floating import FloatingLines
from .neurons import Neurons
from .neurons import prepare as prepare_neurons
from .phases import SIGMAS, SIGNS, Guard, Phases
from .quantisers import full_input, keeps_codes, value_quantisers
from .whole import Whole, prepare
from .written import build as build_written

_FIRST_PHASE = 16
"""Number of the first phase below a key of noise; smaller ones are bit planes."""

_FIRST_PART = 32
"""Number of the first group of columns below a key of noise."""

Kernel = Callable[[np.ndarray], Tensor]
"""From a block's (R, C) matrix to its convolution kernel, (C, channels, kh, kw)."""


class ChipAtTime(Protocol):
    """A programmed chip at a time, see :class:`aimc_sim.runtime.evaluation.Evaluation`."""

    @property
    def t_seconds(self) -> float:
        """Time on the chip's clock, s."""

    @property
    def tiles(self) -> Mapping[int, tile.TileNow]:
        """The crossbars in use, by core."""

    @property
    def factors(self) -> Mapping[int, np.ndarray]:
        """The (C,) factors of the drift compensation, by core; none means 1."""


@dataclass(frozen=True)
class Plan:
    """A network at one evaluation time.

    Attributes
    ----------
    compiled : Program
        The placed program.
    calls : tuple of Call
        Layers and steps, in the order in which they run.
    quantisers : mapping from value name to Quantiser
        Codes in which every value is held.
    last_use : mapping from value name to int
        Index of the last call that reads a value.
    squared : frozenset of str
        Names of the values whose squares are needed for the read noise.
    device : torch.device
        Device of torch that holds the tensors.
    gdpu : GdpuSpec
        The global digital units.
    formats : Formats
        Number formats in which the device computes products.
    """

    compiled: Program
    calls: tuple[Call, ...]
    quantisers: Mapping[str, Quantiser]
    last_use: Mapping[str, int]
    squared: frozenset[str]
    device: torch.device
    gdpu: GdpuSpec
    formats: Formats

    def whole(self, call: LoopCall) -> Whole | Neurons | None:
        """Return a recurrent step for the compiled pass over all time steps, made once."""
        name = call.step.name
        if name not in self._wholes:
            own = (call, self.quantisers, self.gdpu)
            self._wholes[name] = prepare(*own) or prepare_neurons(*own)
        return self._wholes[name]

    @cached_property
    def _wholes(self) -> dict[str, Whole | Neurons | None]:
        return {}

    def real(self, codes: Tensor, name: str) -> Tensor:
        """Return codes of a value in the network's own numbers."""
        step = self.quantisers[name].step
        return codes if step == 1.0 else codes * step


def build(
    compiled: Program,
    spec: ChipSpec,
    ranges: Ranges,
    state: ChipState,
    evaluation: ChipAtTime,
    device: torch.device | str = "cpu",
) -> Plan:
    """Return the plan of a programmed chip at an evaluation time.

    Parameters
    ----------
    compiled : Program
        The placed program.
    spec : ChipSpec
        The machine.
    ranges : Ranges
        Ranges of all integers.
    state : ChipState
        The written devices.
    evaluation : ChipAtTime
        The crossbars and the drift compensation at a time.
    device : torch.device
        Where images will be run.
    """
    quantisers = value_quantisers(compiled, spec, ranges)
    device = torch.device(device)
    found = formats(device)
    builder = _Builder(
        compiled, spec, ranges, state, evaluation, quantisers, device, found.variance
    )
    calls: list[Call] = []
    last_use = {name: len(compiled.steps) for name, _ in leaves(compiled.results)}
    inside: dict[str, LayerCall] = {}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer) and step.loop is not None:
            inside[step.name] = builder.layer(step)
            continue
        for name in step.sources:
            last_use[name] = max(last_use.get(name, 0), len(calls))
        if isinstance(step, AnalogLayer):
            calls.append(builder.layer(step))
        elif step.op in RECURRENT:
            layers = step.attrs["layers"]
            hidden, projection = (inside.get(layers.get(key)) for key in ("hh", "hr"))
            calls.append(LoopCall(step, hidden, projection))
        elif isinstance(step, WrittenProduct):
            drive, value = (full_input(compiled, name, quantisers, ranges) for name in step.sources)
            time = evaluation.t_seconds
            calls.append(build_written(step, spec, ranges, (drive, value), state.seed, time))
        else:
            passes = quantisers[step.name] is not AS_IT_IS and keeps_codes(step, quantisers)
            calls.append(DigitalCall(step, None if passes else quantisers[step.name]))
    squared = {
        call.layer.source for call in layer_calls(calls) if call.dac is None and call.needs_squares
    }
    return Plan(
        compiled, tuple(calls), quantisers, last_use, frozenset(squared), device, spec.gdpu, found
    )


@dataclass(frozen=True)
class _Builder:
    compiled: Program
    spec: ChipSpec
    ranges: Ranges
    state: ChipState
    evaluation: ChipAtTime
    quantisers: Mapping[str, Quantiser]
    device: torch.device
    dtype: torch.dtype  # of variances

    def layer(self, layer: AnalogLayer) -> LayerCall:
        core = self.spec.for_layer(layer.owner).core
        held = self.quantisers[layer.source]
        largest = full_input(self.compiled, layer.source, self.quantisers, self.ranges)
        dac = None
        if core.dac.binary and core.dac.bits is not None:
            spikes = Quantiser(1.0, 1, True)  # a spike is 1, whatever was calibrated
            dac = None if held == spikes else spikes
        elif core.dac.bits is None:
            # An ideal modulator rounds nothing; full amplitude is still the calibrated range,
            # which matters as soon as the ADC saturates somewhere.
            full = held.rounds and held.limit == core.dac.max_code
            ranged = core.adc.calibrates or core.adc.full_scale_amperes is not None
            if ranged and not full:
                dac = Quantiser(largest / core.dac.max_code, math.inf, False)
        elif not held.rounds or held.limit != core.dac.max_code:
            dac = converters.integer_range(core.dac.bits, largest)
        step = (dac or held).step
        chains = tuple(self._chain(layer, chain, step) for chain in layer.chains)
        return LayerCall(layer, dac, chains, core.dac.binary)

    def _call_number(self, layer: AnalogLayer) -> int:
        """Return which call of its devices a layer is, the first being 0."""
        calls = [one.name for one in self.compiled.layers if one.owner == layer.owner]
        return calls.index(layer.name)

    def _chain(
        self, layer: AnalogLayer, chain: tuple[Block, ...], input_step: float
    ) -> tuple[CoreCall, ...]:
        calls = []
        link_gain = self.quantisers[layer.residual].step if layer.residual is not None else 0.0
        for block in chain:
            if block is chain[-1]:
                output = self.quantisers[layer.name]
            else:
                largest = self.ranges.links[link_name(block)]
                bits = self.spec.for_layer(layer.owner).core.ldpu.link_bits
                output = converters.integer_range(bits, largest)
            is_tail = block is chain[-1]
            calls.append(self._core(layer, block, input_step, link_gain, output, is_tail))
            link_gain = output.step
        return tuple(calls)

    def _core(
        self,
        layer: AnalogLayer,
        block: Block,
        input_step: float,
        link_gain: float,
        output: Quantiser,
        is_tail: bool,
    ) -> CoreCall:
        core, key = self.spec.for_layer(layer.owner).core, self.state.key(block.tile)
        programmed = self.state.tiles[block.tile]
        now = self.evaluation.tiles[block.tile]
        cols = slice(block.col_start, block.col_stop)
        # One ADC code -> charge -> weight x input -> the layer's own numbers.
        gain = tile.unit_charge(now, core) * core.device.g_max_siemens * input_step
        gain = gain / programmed.siemens_per_weight * layer.scale[cols]
        gain = gain * self.evaluation.factors.get(block.tile, 1.0)
        offset = layer.offset[cols] if is_tail else np.zeros_like(layer.offset[cols])
        noise_key = key.child(Purpose.MVM_NOISE)
        if layer.devices is not None:  # fresh noise for every call of the layer
            noise_key = noise_key.child(self._call_number(layer))
        noise_key = noise_key.at_time(self.evaluation.t_seconds)
        digital = _Digital(gain, offset, link_gain, output)
        if not now.parts:
            return self._analog(layer, block, core, now, noise_key, digital)
        factors = tile.factors(now, core)
        parts = tuple(
            PartCall(
                self._analog(layer, block, core, part.now, noise_key.child(_FIRST_PART + i)), factor
            )
            for i, (part, factor) in enumerate(zip(now.parts, factors, strict=True))
        )
        return in_parts(digital.of(parts[0].core, self.device), parts)

    def _analog(
        self, layer: AnalogLayer, block: Block, core: CoreSpec, now: tile.TileNow, noise_key: Key,
        digital: _Digital | None = None,
    ) -> CoreCall:  # fmt: skip
        """Return columns of a core, with its digital unit or as far as their converters."""
        converter = now.converter or ColumnConverters(converters.adc(core))
        digital = digital or _Digital.none(now.net.shape[1])

        def kernel(matrix: np.ndarray) -> Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(matrix))
            return block_kernel(layer, block, tensor)[0].to(self.device)

        floating = self._floating(now, kernel)
        phased = core.read.mode == "4-phase" and not (converter.perfect and not floating)
        phases = self._phases(now, core, converter, kernel, floating) if phased else None

        def with_keys(key: Key) -> Phases | None:
            keys = tuple(_words(key.child(_FIRST_PHASE + i)) for i in range(len(SIGNS)))
            return phases and dataclasses.replace(phases, noise_keys=keys)

        # The sum of four phases may be larger than each may be.
        unlimited = dataclasses.replace(converter.quantiser, limit=math.inf)
        call = CoreCall(
            block=block,
            channels=block_kernel(layer, block, torch.from_numpy(now.net))[1],
            kernel=kernel(now.net),
            negative=None if now.net_negative is None else kernel(now.net_negative - now.net),
            variance=None if now.variance is None else kernel(now.variance).to(self.dtype),
            **digital.registers(self.device),
            noise_key=_words(noise_key),
            adc=Adc.of(converter, self.device) if phases is None else Adc(unlimited),
            bit_true=core.ldpu.bit_true,
            floating=None if phased else floating,
            phases=with_keys(noise_key),
        )
        if inputs.reads_planes(core.dac):
            keys = [noise_key.child(b) for b in range(inputs.magnitude_bits(core.dac))]
            return bit_serial(call, [_words(k) for k in keys], [with_keys(k) for k in keys])
        return call

    def _phases(
        self, now: tile.TileNow, core: CoreSpec, converter: ColumnConverters, kernel: Kernel,
        floating: FloatingLines | None,
    ) -> Phases:  # fmt: skip
        """Return a core's modulations, with the bounds that allow to convert net charges."""
        sides = kernel(np.concatenate(now.polarities, axis=1))
        variance = None
        if now.variances is not None:
            variance = kernel(np.concatenate(now.variances, axis=1)).to(self.dtype)
        hidden = not converter.quantiser.rounds or now.variances is not None
        guard = None
        if hidden and converter.table is None and not floating:
            guard = self._guard(now, core, converter, kernel)
        adc = Adc.of(converter, self.device)
        return Phases(
            sides, variance, floating, (), guard, adc, converter.rounding, len(now.polarities)
        )

    def _guard(
        self, now: tile.TileNow, core: CoreSpec, converter: ColumnConverters, kernel: Kernel
    ) -> Guard:
        def of_channels(parts: np.ndarray) -> Tensor:
            sums = [kernel(one).clamp(min=0).sum((2, 3)) for one in parts]
            return torch.cat(sums).T.contiguous()

        reach = of_channels(now.polarities)
        noise = None if now.variances is None else of_channels(now.variances)
        top = inputs.largest_drive(core.dac)
        most = top * reach.sum(0)
        if noise is not None:
            most = most + SIGMAS * top * noise.sum(0).sqrt()
        never = core.dac.bits is not None and bool((most <= converter.limit).all())
        return Guard(reach, noise, converter.limit, never, core.dac.binary)

    def _floating(self, now: tile.TileNow, kernel: Kernel) -> FloatingLines | None:
        """Return the floating lines: none, of one crossbar (1-phase), or of both polarities."""
        if now.idle is None:
            return None
        idle, every = now.idle, now.idle.lines
        one = np.ones_like(every[0].weight)
        shares, weights = [lines.share for lines in every], [lines.weight for lines in every]

        def columns(*parts: np.ndarray) -> Tensor:
            return kernel(np.column_stack(parts).astype(np.float32)).to(self.dtype)

        def row(numbers: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.array(numbers, np.float32)).to(self.device)

        return FloatingLines(
            lengths=columns(one, *shares, *weights, *(lines.reach for lines in every)),
            signs=columns(*weights, one),
            one=columns(one),
            reach_sum=row([lines.reach.sum(axis=0) for lines in every]),
            share_sum=row([share.sum() for share in shares]),
            max_code=idle.max_code,
            both_signs=idle.mode == "1-phase",
        )


@dataclass(frozen=True)
class _Digital:
    """Registers of the digital unit of a core: gains, offsets, and the output it sends on."""

    gain: np.ndarray
    offset: np.ndarray
    link_gain: float
    output: Quantiser

    @classmethod
    def none(cls, columns: int) -> _Digital:
        """Return registers that pass the codes of some columns on."""
        return cls(np.ones(columns), np.zeros(columns), 0.0, AS_IT_IS)

    def registers(self, device: torch.device) -> dict[str, Any]:
        """Return the fields of a :class:`CoreCall`."""
        return {
            "gain": torch.from_numpy(self.gain.astype(np.float32)).to(device),
            "offset": torch.from_numpy(self.offset.astype(np.float32)).to(device),
            "link_gain": self.link_gain,
            "output": self.output,
        }

    def of(self, call: CoreCall, device: torch.device) -> CoreCall:
        """Return a core's call with these registers."""
        return dataclasses.replace(call, **self.registers(device))


def _words(key: Key) -> np.ndarray:
    return np.array(key.words(), np.uint32)
