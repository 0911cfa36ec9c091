"""Values that hold spikes only, and the machine whose layers read them as pulses of one bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aimc_sim.chip import membranes
from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.mapping.lower import Step
from aimc_sim.ops import OPERATIONS
from aimc_sim.spec import ChipSpec

_ATTENTION = "spiking_attention"
_TRUTHS = frozenset((
    "gt", "ge", "lt", "le", "eq", "ne", "not_equal", "logical_and", "logical_or", "logical_xor",
    "logical_not", "isnan", "isinf", "isfinite", "isclose", "isin", "any", "all",
))  # fmt: skip
"""Operations whose results are true or false, of whatever numbers."""

_BITWISE = frozenset((
    "__and__", "__or__", "__xor__", "bitwise_and", "bitwise_or", "bitwise_xor",
))  # fmt: skip
_CHOICES = _BITWISE | {"mul", "multiply", "maximum", "minimum", "fmax", "fmin"}
"""Operations of several numbers that make 0 and 1 of 0 and 1; the former truths of truths."""

_FILLED = frozenset(("zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones"))
"""Operations that make zeros, or ones."""

_FILLS = {"full": 1, "full_like": 1, "new_full": 2, "masked_fill": 2, "constant_pad_nd": 2}
"""Operations that fill in a number, and which of their arguments that is."""

_CASTS = frozenset(("_to_copy", "to", "type_as", "concat", "stack", "max_pool2d", "flatten"))
"""Operations beside those that keep codes whose results are 0 and 1 where all that they read is."""

_SELECTIONS = frozenset(("index", "index_select", "gather", "take", "take_along_dim"))
"""Operations that pick out numbers of the first argument; the others say which."""

_TWOFOLD = frozenset((
    "cummax", "cummin", "max_pool1d_with_indices", "max_pool2d_with_indices",
    "max_pool3d_with_indices",
))  # fmt: skip
"""Operations that keep codes but give places too."""


def binary_values(steps: Sequence[Step]) -> set[str]:
    """Return the names of the values whose numbers are all 0 or 1, by what makes them.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps in execution order.

    Returns
    -------
    set of str
        Outputs of spiking neurons and of comparisons, zeros and ones, what chooses among these and
        what passes them on.
    """
    found: set[str] = set()
    truths: set[str] = set()
    for step in steps:
        if isinstance(step, AnalogLayer):
            continue
        if step.op == "spiking":
            if membranes.binary(step.attrs["neuron"]):
                found |= {step.name, f"{step.name}.h"}
        elif _true_or_false(step, truths):
            found.add(step.name)
            truths.add(step.name)
        elif _made(step, found) or _passes(step, found):
            found.add(step.name)
    return found


def _true_or_false(step: DigitalStep, truths: set[str]) -> bool:
    """Return whether a step makes values of type bool."""
    if step.op in _TRUTHS or {"dtype": "bool"} in step.attrs.get("args", ()):
        return True
    passes = step.op in _BITWISE | {"bitwise_not", "concat", "stack"} or _keeps(step)
    return passes and bool(step.sources) and not step.arrays and truths.issuperset(step.sources)


def _made(step: DigitalStep, found: set[str]) -> bool:
    """Return whether a step makes 0 and 1 by its arguments, of values that are 0 and 1."""
    args = step.attrs.get("args", ())
    if step.op in _FILLED:
        return True
    if step.op in _FILLS:
        place = _FILLS[step.op]
        first = step.op in ("full", "full_like", "new_full") or _holds(args[0], step, found)
        return first and (len(args) <= place or _holds(args[place], step, found))
    if step.op == "where":
        return len(args) == 3 and all(_holds(one, step, found) for one in args[1:])
    if step.op == "heaviside":
        return _holds(args[1], step, found)
    if step.op == "rsub":  # 1 - y
        return list(args[1:]) == [1] and not step.attrs["kwargs"] and _holds(args[0], step, found)
    if step.op in _SELECTIONS:
        return bool(args) and _holds(args[0], step, found)
    return step.op in _CHOICES and all(_holds(one, step, found) for one in args)


def _holds(argument: Any, step: DigitalStep, found: set[str]) -> bool:
    """Return whether an argument of a step is 0 or 1: a value, a constant array, a number."""
    if isinstance(argument, dict):
        if "value" in argument:
            return step.sources[argument["value"]] in found
        return "array" in argument and bool(np.isin(step.arrays[argument["array"]], (0, 1)).all())
    return isinstance(argument, bool | int | float) and argument in (0, 1)


def _keeps(step: DigitalStep) -> bool:
    """Return whether a step selects, orders or clears numbers, and gives nothing else."""
    return OPERATIONS[step.op].kind == "codes" and step.op not in _SELECTIONS | _TWOFOLD


def _passes(step: DigitalStep, found: set[str]) -> bool:
    """Return whether a step makes 0 and 1 of 0 and 1."""
    if not step.sources or not found.issuperset(step.sources):
        return False
    constants = all(np.isin(array, (0, 1)).all() for array in step.arrays.values())
    return constants and (step.op in _CASTS or _keeps(step))


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
