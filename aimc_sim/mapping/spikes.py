"""Values that hold spikes only, and the machine whose layers read them as pulses of one bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aimc_sim.chip import membranes
from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.mapping.lower import Step
from aimc_sim.ops import OPERATIONS
from aimc_sim.spec import ChipSpec

_ATTENTION = "spiking_attention"
_COMPARISONS = frozenset(("gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_not"))
_CASTS = frozenset(("_to_copy", "to", "type_as", "concat", "stack", "max_pool2d", "flatten"))
"""Operations beside those that keep codes whose results are 0 and 1 where all that they read is."""


def binary_values(steps: Sequence[Step]) -> set[str]:
    """Return the names of the values whose numbers are all 0 or 1, by what makes them.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps in execution order.

    Returns
    -------
    set of str
        Outputs of spiking neurons and of comparisons, and what passes them on.
    """
    found: set[str] = set()
    for step in steps:
        if isinstance(step, AnalogLayer):
            continue
        if step.op == "spiking":
            if membranes.binary(step.attrs["neuron"]):
                found |= {step.name, f"{step.name}.h"}
        elif step.op in _COMPARISONS or _passes(step, found):
            found.add(step.name)
    return found


def _passes(step: DigitalStep, found: set[str]) -> bool:
    """Return whether a step makes 0 and 1 of 0 and 1."""
    if not step.sources or not found.issuperset(step.sources):
        return False
    if step.op == "mul":
        return all(np.isin(array, (0, 1)).all() for array in step.arrays.values()) and all(
            isinstance(part, dict) for part in step.attrs.get("args", ())
        )
    return not step.arrays and (step.op in _CASTS or OPERATIONS[step.op].kind == "codes")


def check_attention(steps: Sequence[Step]) -> None:
    """Raise UnsupportedLayerError if attention of spikes reads values that may be others.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps in execution order.
    """
    read = [step for step in steps if isinstance(step, DigitalStep) and step.op == _ATTENTION]
    binary = binary_values(steps) if read else set()
    for step in read:
        for name, source in zip("QKV", step.sources, strict=True):
            if source not in binary:
                raise UnsupportedLayerError(
                    f"attention of spikes '{step.name}' reads '{source}' as {name}, which need not "
                    "be 0 or 1, and its counters count spikes; put spiking neurons before it, or "
                    "use torch's own attention"
                )


def spiking_layers(compiled: Program) -> tuple[str, ...]:
    """Return the layers on crossbars whose inputs are spikes, by the names of their devices."""
    binary = binary_values(compiled.steps)
    every: dict[str, bool] = {}
    for layer in compiled.layers:
        every[layer.owner] = every.get(layer.owner, True) and _reads(layer, binary, compiled)
    return tuple(name for name, reads in every.items() if reads)


def _reads(layer: AnalogLayer, binary: set[str], compiled: Program) -> bool:
    if layer.source in binary:
        return True
    # The matrix inside a loop reads the outputs of a step that comes after it.
    step = next((one for one in compiled.steps if one.name == layer.source), None)
    return isinstance(step, DigitalStep) and step.name in binary


def machine_of(compiled: Program, spec: ChipSpec) -> ChipSpec:
    """Return the machine that a program runs on: layers that read spikes send pulses of one bit.

    Parameters
    ----------
    compiled : Program
        The placed program.
    spec : ChipSpec
        The machine as it was asked for.

    Returns
    -------
    ChipSpec
        With ``core.dac.binary`` for every layer whose inputs are spikes by what makes them, unless
        ``core.dac.spikes`` is "codes" or its modulator is ideal; the specification itself if there
        is none.
    """
    more = []
    for name in spiking_layers(compiled):
        dac = spec.for_layer(name).core.dac
        if dac.spikes == "pulses" and dac.bits is not None and not dac.binary:
            pattern = "".join(f"[{c}]" if c in "*?[" else c for c in name)
            more.append((pattern, (("core.dac.binary", True),)))
    return spec.with_({"layers": (*spec.layers, *more)}) if more else spec
