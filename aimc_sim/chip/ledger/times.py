"""How long things take, from the clocks and windows of the specification."""

from __future__ import annotations

from aimc_sim.core import converters, inputs
from aimc_sim.spec import ChipSpec


def mvm_seconds(spec: ChipSpec) -> float:
    """Return the time of one MVM: its pulses, and converters that need time behind them.

    See :func:`aimc_sim.core.inputs.mvm_seconds`.
    """
    core = spec.core
    behind = inputs.modulations(core) * converters.settling_seconds(core)
    return inputs.mvm_seconds(core) + behind


def step_seconds(columns: int, spec: ChipSpec) -> float:
    """Return the time a core needs per input: its MVM, or one column per clock if longer.

    Where several columns make one output, the digital unit takes the code of one of them per
    clock, as it takes one output per clock elsewhere (assumption).
    """
    return max(mvm_seconds(spec), columns / spec.core.ldpu.clock_hertz)


def ldpu_latency_seconds(spec: ChipSpec) -> float:
    """Return the time from the first result of a core to its first byte at the next one."""
    return spec.cost.ldpu_latency_clocks / spec.core.ldpu.clock_hertz


def gdpu_seconds(outputs: int, spec: ChipSpec, gates: int = 4) -> float:
    """Return the time that the global digital units add to a stream of gate inputs.

    Every slice takes one input per clock while its core streams, ``gates`` of them per output; the
    last output follows ``gdpu_latency_clocks`` after the last input. A slice slower than its inputs
    adds the rest.
    """
    if outputs == 0:
        return 0.0
    unit = spec.gdpu
    per_slice = -(-outputs // unit.slices)
    inputs = gates * per_slice  # one clock each
    late = max(0, per_slice * unit.clocks_per_output - inputs)
    return (spec.cost.gdpu_latency_clocks + late) / unit.clock_hertz


def membrane_seconds(neurons: int, sums: int, spec: ChipSpec) -> float:
    """Return the time that spiking neurons add to a stream of their inputs, in s.

    Parameters
    ----------
    neurons : int
        Neurons of a layer; 0 for none.
    sums : int
        Inputs of each: its own, and those of gate and threshold.
    spec : ChipSpec
        ``cost.membrane_unit`` says where they are.

    Notes
    -----
    A local unit takes one input per clock, as its core streams them: only its latency is added.
    """
    if neurons == 0:
        return 0.0
    if spec.cost.membrane_unit == "global":
        return gdpu_seconds(neurons, spec, sums)
    return spec.cost.membrane_latency_clocks / spec.core.ldpu.clock_hertz


def operation_seconds(columns: int, chain: int, spec: ChipSpec, gdpu_outputs: int = 0) -> float:
    """Return the latency of one input to a layer.

    Parameters
    ----------
    columns : int
        Outputs that each core streams.
    chain : int
        Cores that accumulate one after the other; those beside them work at the same time.
    spec : ChipSpec
        Clocks, latencies and windows of the chip.
    gdpu_outputs : int
        Hidden units that the global digital units compute from the result.

    Notes
    -----
    All MVMs run at once; then partial sums pass along the chain, every core adding its own one
    latency behind the one before; then the last core streams its columns.

    Examples
    --------
    >>> from aimc_sim import presets
    >>> round(operation_seconds(256, 1, presets.hermes()) * 1e9)  # ns, a full core
    1215
    """
    stream = columns / spec.core.ldpu.clock_hertz
    cascade = chain * ldpu_latency_seconds(spec)
    return mvm_seconds(spec) + cascade + stream + gdpu_seconds(gdpu_outputs, spec)
