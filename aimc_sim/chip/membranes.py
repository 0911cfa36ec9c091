"""Spiking neurons in a digital unit: leak, reset, threshold, one rounding per operation.

The recursion is that of :mod:`aimc_sim.digital.spiking`, in the number format of the unit. That the
chip's digital units could run it is an assumption of this simulator: the chip paper's unit computes
an LSTM (:mod:`aimc_sim.chip.gdpu`). The state is kept in the unit's format, and outputs leave as
integers: spikes as 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.ldpu import Arithmetic, arithmetic, quantise, register
from ..spec.gdpu import GdpuSpec
from .gdpu import LstmStep, largest_code, sigmoid

_SLOPE = 0.1
"""Slope of the leaky ReLU, as :data:`aimc_sim.digital.spiking.SLOPE`."""

NeuronFields = Mapping[str, Any]
"""Fields of :class:`aimc_sim.digital.spiking.Neuron`, by name."""


@dataclass(frozen=True)
class Registers:
    """Contents of the unit's registers, float32 that its format holds.

    Attributes
    ----------
    input_scale, other_scale, fed_scale : float32
        Value per code of the own inputs (with their gain), of those of gate and threshold, and of
        what comes back from the outputs.
    per_code, per_value : float32
        Output per output code, and output codes per output.
    decay : float32
        l.
    threshold, strength : (units,) or () float32
        theta and c.
    rho : float32
        Of the axo-somatic state.
    """

    input_scale: np.ndarray
    other_scale: np.ndarray
    fed_scale: np.ndarray
    per_code: np.ndarray
    per_value: np.ndarray
    decay: np.ndarray
    threshold: np.ndarray
    strength: np.ndarray
    rho: np.ndarray


def registers(
    neuron: NeuronFields, threshold: np.ndarray, strength: np.ndarray | None, input_step: float,
    fed_step: float, codes_per_value: float, spec: GdpuSpec,
) -> Registers:  # fmt: skip
    """Return what the registers are loaded with.

    Parameters
    ----------
    neuron : mapping
        How the neurons work.
    threshold : (units,) or () float32
        theta.
    strength : (units,) float32 or None
        c.
    input_step, fed_step : float
        Value per code of the sums of the inputs, and of the outputs of the step before.
    codes_per_value : float
        Codes per unit of the outputs.
    spec : GdpuSpec
        Number format of the unit.
    """
    unit = arithmetic(spec.bit_true)

    def load(value: Any, name: str) -> np.ndarray:
        return register(np.asarray(value, np.float32), name, unit)

    rho = neuron["adaptation"]
    return Registers(
        load(input_step * neuron["gain"], "input_scale"), load(input_step, "other_scale"),
        load(fed_step, "fed_scale"), load(1 / codes_per_value, "per_code"),
        load(codes_per_value, "per_value"), load(neuron["decay"], "decay"),
        load(threshold, "threshold"), load(0.0 if strength is None else strength, "strength"),
        load(0.0 if rho is None else rho, "rho"),
    )  # fmt: skip


def step(
    neuron: NeuronFields, loaded: Registers, inputs: np.ndarray, fed: np.ndarray | None,
    sent: np.ndarray, state: np.ndarray, spec: GdpuSpec,
) -> LstmStep:  # fmt: skip
    """Take one time step.

    Parameters
    ----------
    neuron : mapping
        How the neurons work.
    loaded : Registers
        From :func:`registers`.
    inputs : (N, ..., sums) float32, codes
        Sums of the inputs; those of gate and threshold behind the own ones.
    fed : (N, ..., sums) float32, codes, or None
        Sums of the outputs of the step before; None without recurrence.
    sent : (N, ..., units) float32, codes
        Outputs of the step before.
    state : (N, ..., numbers of state) float32, dimensionless
        s, and the axo-somatic state behind it.
    spec : GdpuSpec
        Number format and tables of the unit.

    Returns
    -------
    LstmStep
        ``codes`` are the outputs, ``cell`` is the state.

    Source
        See :mod:`aimc_sim.digital.spiking`; the order of roundings is an assumption.
    """
    unit = arithmetic(spec.bit_true)
    adapts = neuron["adaptation"] is not None
    parts = 1 + bool(neuron["gate"]) + adapts
    s, *more = np.split(unit.convert(state), 1 + adapts, axis=-1)
    x, *others = np.split(unit.convert(inputs), parts, axis=-1)
    back = [] if fed is None else np.split(unit.convert(fed), parts, axis=-1)
    total = _total(neuron, loaded, x, s, unit.multiply(sent, loaded.per_code), unit)
    if back:
        total = unit.fma(back[0], loaded.fed_scale, total)
    s = _transferred(neuron, total, unit)
    sums = [unit.multiply(one, loaded.other_scale) for one in others]
    if back:
        sums = [unit.fma(z, loaded.fed_scale, one) for z, one in zip(back[1:], sums, strict=True)]
    one = np.float32(1)
    excess = unit.fma(-one, loaded.threshold, s)
    if adapts:
        rest = unit.fma(-one, loaded.rho, one)
        more = [unit.fma(loaded.rho, more[0], unit.multiply(rest, sums[-1]))]
        excess = unit.fma(loaded.strength, more[0], excess)
    y = (excess > 0).astype(np.float32) if neuron["output"] == "spike" else sigmoid(excess, spec)
    if neuron["gate"]:
        y = unit.multiply(y, sigmoid(sums[0], spec))
    if not neuron["delayed"] and neuron["reset"] != "none":
        what = s if neuron["reset"] == "zero" else loaded.threshold
        s = unit.fma(-_resetting(neuron, y), what, s)
    rounds = spec.output_bits is not None
    codes, beyond = quantise(y, loaded.per_value, _limit(neuron, spec), rounds, unit)
    return LstmStep(codes, np.concatenate([s, *more], axis=-1), beyond)


def _limit(neuron: NeuronFields, spec: GdpuSpec) -> float:
    """Return the largest output code."""
    return 1.0 if binary(neuron) else largest_code(spec)


def binary(neuron: NeuronFields) -> bool:
    """Return whether every output is 0 or 1, as of :class:`aimc_sim.digital.spiking.Neuron`."""
    return neuron["output"] == "spike" and not neuron["gate"]


def _resetting(neuron: NeuronFields, y: np.ndarray) -> np.ndarray:
    """Return the outputs that reset a state."""
    return y.max(axis=-1, keepdims=True) if neuron["inhibition"] else y


def _total(
    neuron: NeuronFields, loaded: Registers, x: np.ndarray, s: np.ndarray, y: np.ndarray,
    unit: Arithmetic,
) -> np.ndarray:  # fmt: skip
    """Return what leak, delayed reset and inputs leave; y is the output of the step before."""
    one, y = np.float32(1), _resetting(neuron, y)
    left = unit.multiply(loaded.decay, s)
    if neuron["reset"] == "zero" and neuron["delayed"]:
        left = unit.multiply(left, unit.fma(-one, y, one))
    total = unit.fma(x, loaded.input_scale, left)
    if neuron["reset"] == "subtract" and neuron["delayed"]:
        total = unit.fma(-y, loaded.threshold, total)
    return total


def _transferred(neuron: NeuronFields, total: np.ndarray, unit: Arithmetic) -> np.ndarray:
    if neuron["transfer"] == "identity":
        return total
    return np.where(total > 0, total, unit.multiply(total, _slope(neuron, unit)))


def slope(neuron: NeuronFields, spec: GdpuSpec) -> np.ndarray:
    """Return the slope of g below zero as the unit holds it, float32."""
    return _slope(neuron, arithmetic(spec.bit_true))


def _slope(neuron: NeuronFields, unit: Arithmetic) -> np.ndarray:
    return register({"identity": 1.0, "relu": 0.0}.get(neuron["transfer"], _SLOPE), "slope", unit)
