"""The integers that hold the values of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeGuard

from ..chip import membranes
from ..chip.program import AnalogLayer, DigitalStep, Program
from ..chip.state import Ranges
from ..core import converters
from ..core.quantise import Quantiser
from ..ops import OPERATIONS, RECURRENT
from ..spec import ChipSpec
from .adc import AS_IT_IS


def value_quantisers(compiled: Program, spec: ChipSpec, ranges: Ranges) -> dict[str, Quantiser]:
    """Return the quantiser of every value of the network.

    Values that digital units keep in floating point, and whole numbers such as tokens, pass as
    they are; they become integers where a core reads them.
    """
    bits, unit = spec.core.ldpu.output_bits, spec.gdpu
    found = {
        name: converters.integer_range(bits, range_of(ranges, name))
        if as_integers(compiled, name)
        else AS_IT_IS
        for name in compiled.inputs
    }
    loops = [step for step in compiled.steps if _is_recurrent(step)]
    gates = {step.attrs["layers"]["hh"] for step in loops if "hh" in step.attrs["layers"]}
    gates |= {step.sources[0] for step in loops}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer):
            own = spec.for_layer(step.owner).core.ldpu.output_bits
            width = _fewest(own, unit.input_bits) if step.name in gates else own
            found[step.name] = converters.integer_range(width, range_of(ranges, step.owner))
        elif _is_recurrent(step):
            found |= _state_quantisers(step, spec, ranges)
        else:
            found[step.name] = _digital_quantiser(step, found, bits, ranges)
    return found


def stem(name: str) -> str:
    """Return a name without the number that tells calls of the same thing apart."""
    return re.sub(r"(#\d+|_\d+)$", "", name)


def has_range(ranges: Ranges, name: str) -> bool:
    """Whether a value, or another call of the same layer or operation, was calibrated."""
    return name in ranges.values or any(stem(other) == stem(name) for other in ranges.values)


def range_of(ranges: Ranges, name: str) -> float:
    """Return the calibrated range of a value.

    A program for longer sequences makes more calls than the one that was calibrated: these have
    the largest range of the calls that were.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name in ranges.values:
        return ranges.values[name]
    alike = [size for other, size in ranges.values.items() if stem(other) == stem(name)]
    if not alike:
        raise ValueError(
            f"the value '{name}' has no integer range: inputs of this size were not calibrated; "
            "call chip.calibrate(batches) with some of them"
        )
    return max(alike)


def full_input(
    compiled: Program, name: str, quantisers: Mapping[str, Quantiser], ranges: Ranges
) -> float:
    """Return the number, of a value that cores read, which is a pulse of full length.

    Parameters
    ----------
    compiled : Program
        Whose value it is.
    name : str
        Name of the value.
    quantisers : mapping from name to Quantiser
        Of :func:`value_quantisers`.
    ranges : Ranges
        Calibrated ranges; of a value that is no integer, its own or that of the source of steps
        that keep codes.
    """
    held = quantisers[name]
    if held.rounds:
        return held.step * held.limit
    while name not in ranges.values:
        if name.endswith((".raw", ".h")):  # of a recurrent step
            return 1.0
        step = next((s for s in compiled.steps if s.name == name), None)
        # Another call of an operation that moves codes may have moved other codes.
        if step is None or (not _moves_codes(step) and has_range(ranges, name)):
            break
        name = step.sources[0]
    return range_of(ranges, name) or 1.0


def _moves_codes(step: AnalogLayer | DigitalStep) -> bool:
    """Return whether a step passes the codes of its one source."""
    return (
        isinstance(step, DigitalStep)
        and step.op not in ("concat", "stack")
        and OPERATIONS[step.op].kind == "codes"
    )


def _digital_quantiser(
    step: DigitalStep, found: Mapping[str, Quantiser], bits: int | None, ranges: Ranges
) -> Quantiser:
    kind, sources = OPERATIONS[step.op].kind, [found[name] for name in step.sources]
    if kind in ("float", "exact") or not sources or any(source is AS_IT_IS for source in sources):
        return AS_IT_IS
    if keeps_codes(step, found):
        return sources[0]
    return converters.integer_range(bits, range_of(ranges, step.name))


def _state_quantisers(
    step: DigitalStep, spec: ChipSpec, ranges: Ranges
) -> dict[str, Quantiser]:  # fmt: skip
    """Return the quantisers of the hidden state, of the value projected to it and of the cell."""
    name, bits = step.name, spec.gdpu.output_bits
    if step.op == "spiking" and membranes.binary(step.attrs["neuron"]):
        spikes = Quantiser(1.0, 1, True)
        return {name: spikes, f"{name}.h": spikes, f"{name}.c": AS_IT_IS}
    bounded = step.op != "rnn" or step.attrs.get("function", "tanh") == "tanh"
    projected = "hr" in step.attrs["layers"]
    unit = converters.integer_range(bits, 1.0)
    hidden = unit if bounded else converters.integer_range(bits, range_of(ranges, name))
    raw = {}
    if projected:
        raw = {f"{name}.raw": unit}
        layer = step.attrs["layers"]["hr"]
        own = spec.for_layer(layer).core.ldpu.output_bits
        hidden = converters.integer_range(_fewest(own, bits), range_of(ranges, layer))
    return {name: hidden, f"{name}.h": hidden, f"{name}.c": AS_IT_IS, **raw}


def _fewest(*bits: int | None) -> int | None:
    """Return the narrowest of some widths; None is unlimited."""
    return min((b for b in bits if b is not None), default=None)


def _is_recurrent(step: AnalogLayer | DigitalStep) -> TypeGuard[DigitalStep]:
    return isinstance(step, DigitalStep) and step.op in RECURRENT


def keeps_codes(step: DigitalStep, found: Mapping[str, Quantiser]) -> bool:
    """Return whether codes pass a digital step unchanged; joined ones do if they are alike."""
    if step.op in ("concat", "stack"):
        return len({found[name] for name in step.sources}) == 1
    return OPERATIONS[step.op].kind == "codes"


def as_integers(compiled: Program, name: str) -> bool:
    """Return whether an input is turned into integers: whether cores or local units read it."""
    for step in compiled.steps:
        if name not in step.sources:
            continue
        if isinstance(step, AnalogLayer):
            return True
        kind = OPERATIONS[step.op].kind
        if kind == "integer" or (kind == "codes" and as_integers(compiled, step.name)):
            return True
    return False
