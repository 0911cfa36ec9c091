"""A small recurrent layer in one compiled pass over all time steps.

Step by step, a layer of some hundred units costs fifty calls per time step, of which each takes
longer than its computation. Whether a layer is small enough depends on the layer alone, so that
an image gets the same bits in any batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..chip import gdpu, gdpu_cells
from ..core.quantise import Quantiser
from ..digital.cells import State
from ..kernels import recurrent as kernel
from ..spec.gdpu import GdpuSpec
from .calls import CoreCall, LayerCall, LoopCall
from .convert import COMPILED
from .counts import Counts

PASSES = COMPILED
"""The twin that this pass belongs to: where another is in use, steps are run one by one."""

LARGEST = 2**17
"""Weights of the hidden matrix beyond which the libraries' products are faster."""


@dataclass(frozen=True, eq=False)
class Whole:
    """Arguments of the kernel for a layer: cores side by side, one behind the other in memory.

    Attributes
    ----------
    kind : int
        ``LSTM`` or ``GRU`` of :mod:`aimc_sim.kernels.recurrent`.
    hidden : tuple
        ``weights ... bit_true`` of :func:`aimc_sim.kernels.recurrent.run`.
    unit : tuple
        ``registers ... rounds``.
    """

    kind: int
    hidden: tuple[Any, ...]
    unit: tuple[Any, ...]


def prepare(call: LoopCall, quantisers: Mapping[str, Quantiser], unit: GdpuSpec) -> Whole | None:
    """Return a recurrent layer for the compiled pass, or None where it takes another path.

    That is: where it is large, split over rows, projected or padded; where a core does more than
    one product and one conversion (bit planes, weights in several columns, floating
    lines, phases that an image may saturate, counting circuits); and where the digital unit
    computes in float32.
    """
    if call.step.op not in ("lstm", "gru") or call.hidden is None:
        return None
    cores = [core for chain in call.hidden.chains for core in chain]
    layer = call.hidden.layer
    if (
        not cores[0].kernel.is_cpu
        or call.projection is not None
        or call.hidden.dac is not None
        or layer.weight.size > LARGEST
        or layer.relu
        or call.step.attrs["hidden"] > unit.hidden
        or not unit.bit_true
        or unit.exact_tanh
        or layer.residual not in (None, call.step.sources[0])
        or any(len(chain) > 1 for chain in call.hidden.chains)
        or len({(core.variance is None, core.bit_true) for core in cores}) > 1
        or not all(_plain(core) for core in cores)
    ):
        return None
    weights = np.concatenate([core.kernel[:, :, 0, 0].numpy().T for core in cores], axis=1)
    variances = np.zeros((0, 0), np.float32)
    own = [core.variance for core in cores if core.variance is not None]  # of all, or none
    if own:
        parts = [variance[:, :, 0, 0].float().numpy().T for variance in own]
        variances = np.ascontiguousarray(np.concatenate(parts, axis=1))
    arrays = [core.arrays for core in cores]
    gain, offset, adc, _, _, _, link_gain, requantise = zip(*arrays, strict=True)
    stops = np.cumsum([0] + [len(one) for one in gain])
    if [core.block.col_start for core in cores] != stops[:-1].tolist():
        return None
    rounding = [core.phases.rounding if core.phases is not None else -1.0 for core in cores]
    hidden = (
        np.ascontiguousarray(weights), variances, stops, np.concatenate(gain),
        np.concatenate(offset), np.stack(adc), np.array(link_gain, np.float32),
        np.stack(requantise), np.stack([core.noise_key for core in cores]),
        np.array(rounding, np.float32), cores[0].bit_true,
    )  # fmt: skip
    kind = kernel.LSTM if call.step.op == "lstm" else kernel.GRU
    return Whole(kind, hidden, _unit(call, call.hidden, quantisers, unit))


def _plain(core: CoreCall) -> bool:
    """Return whether one product and one conversion are all that a core does."""
    return not (
        core.planes
        or core.parts
        or core.negative is not None
        or core.floating is not None
        or core.adc.table is not None
        or core.adc.jitter is not None
        or (core.phases is not None and (core.phases.guard is None or core.phases.bounded))
    )


def _unit(
    call: LoopCall, hidden: LayerCall, quantisers: Mapping[str, Quantiser], spec: GdpuSpec
) -> tuple[Any, ...]:
    step = call.step
    gates = quantisers[hidden.layer.name].step
    per_code = 1 / quantisers[step.name].step
    size = step.attrs["hidden"]
    if step.op == "lstm":
        loaded = gdpu.GdpuRegisters(np.full(4, gates), np.zeros(4), per_code)
        registers, order = gdpu.lstm_registers(loaded, size, spec), gdpu.gate_columns(size)
    else:
        inputs = quantisers[step.sources[0]].step
        registers = gdpu_cells.gru_registers(inputs, gates, per_code, spec)
        order = np.zeros(0, np.int64)
    edges, slopes, offsets = gdpu.tanh_table(spec.bins, True).arrays
    table = np.stack([np.append(edges, np.float32(np.inf)), slopes, offsets])
    limit = np.float32(gdpu.largest_code(spec))
    return registers, order, table, limit, spec.output_bits is not None


def run(
    whole: Whole, call: LoopCall, inputs: Tensor, state: State, first_event: int, time_step: int,
    start: int, seen: Counts,
) -> tuple[Tensor, State]:  # fmt: skip
    """Return the outputs (B, T, H) and the state after the last time step; count.

    Parameters
    ----------
    whole : Whole
        Arguments of the kernel, from :func:`prepare`.
    call : LoopCall
        The recurrent step.
    inputs : (B, T, G) float32, codes
        Inputs of all time steps; G is the number of gate columns of the projection.
    state : State
        Hidden state in codes and cell state before the first time step, (B, H) float32 each.
    first_event, time_step, start : int
        See :func:`aimc_sim.kernels.recurrent.run`.
    seen : Counts
        Of the hidden matrix.
    """
    batch, times = inputs.shape[:2]
    codes, cell = (np.array(part.numpy(), np.float32, order="C") for part in state)
    steps = np.arange(times)[::-1] if call.step.attrs["reverse"] else np.arange(times)
    outputs = np.empty((batch, times, codes.shape[1]), np.float32)
    columns = whole.hidden[2]
    magnitudes = np.zeros(batch)
    counts = np.zeros((len(columns) - 1, batch, 3), np.int64)
    kernel.run(
        whole.kind, np.ascontiguousarray(inputs.numpy(), dtype=np.float32),
        np.ascontiguousarray(steps), codes, cell, *whole.hidden, first_event, time_step, start,
        *whole.unit, outputs, magnitudes, counts,
    )  # fmt: skip
    seen.magnitudes.append(torch.from_numpy(magnitudes).sum())
    seen.inputs += batch * times * codes.shape[1]
    seen.misses += [torch.from_numpy(part) for part in counts]
    seen.mvms += batch * times * len(counts)
    seen.outputs += batch * times * int(columns[-1])
    return torch.from_numpy(outputs), (torch.from_numpy(codes), torch.from_numpy(cell))
