"""Recurrent layers: cores run once per time step, state stays in the digital units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..chip import gdpu, gdpu_cells, membranes
from ..chip.program import AnalogLayer, DigitalStep
from ..digital import rounding
from ..digital.cells import State, cell_of, unroll
from ..ops import spiking_states
from ..spec.gdpu import GdpuSpec
from .calls import LayerCall, LoopCall
from .convert import CodedValue
from .plan import Plan


@dataclass
class Span:
    """Where inputs lie in longer sequences.

    Attributes
    ----------
    start : int
        Number of the first time step: the noise of an MVM belongs to its step.
    states : mapping
        By name of the recurrent step, the state after the time steps before; zero if absent.
    lengths : (B,) tensor or None
        Time steps of every sequence, where they differ; later steps are padding.
    final : dict
        Written: the states after the last time step.
    traces : dict or None
        Written, unless it is None: the states after every time step, by name of the recurrent step.
    """

    start: int = 0
    states: Mapping[str, State] = field(default_factory=dict)
    lengths: Tensor | None = None
    final: dict[str, State] = field(default_factory=dict)
    traces: dict[str, list[State]] | None = None

    def part(self, start: int, n: int) -> Span:
        """Return the span of a part of the batch."""
        states = {
            k: (h[start : start + n], c[start : start + n]) for k, (h, c) in self.states.items()
        }
        lengths = None if self.lengths is None else self.lengths[start : start + n]
        return Span(self.start, states, lengths)

    def pad(self, rows: int) -> None:
        """Append sequences of zeros."""
        self.states = {
            k: (padded(h, 0, rows), padded(c, 0, rows)) for k, (h, c) in self.states.items()
        }
        self.lengths = None if self.lengths is None else padded(self.lengths, 0, rows)

    def cut(self, n: int) -> None:
        """Keep the final states of the first n sequences."""
        self.final = {k: (h[:n], c[:n]) for k, (h, c) in self.final.items()}

    def join(self, parts: Sequence[Span]) -> None:
        """Take over the final states of the parts."""
        for name in parts[0].final:
            pairs = (part.final[name] for part in parts)
            h, c = (torch.cat(columns) for columns in zip(*pairs, strict=True))
            self.final[name] = h, c


def padded(x: Tensor, axis: int, rows: int) -> Tensor:
    """Return a tensor with zeros behind it along one dimension; vectors along their only one."""
    shape = list(x.shape)
    axis = axis if x.ndim > 1 else 0
    shape[axis] = rows
    return torch.cat([x, x.new_zeros(shape)], axis)


def run_loop(
    plan: Plan, span: Span, call: LoopCall, values: Mapping[str, CodedValue],
    layer: Callable[[LayerCall, dict[str, CodedValue], int], CodedValue],
    whole: Callable[[LoopCall, Tensor, State], tuple[Tensor, State]] | None = None,
) -> dict[str, CodedValue]:  # fmt: skip
    """Return the results of a recurrent step: outputs, hidden and cell state, in codes.

    Parameters
    ----------
    plan : Plan
        The network at one evaluation time.
    span : Span
        Where the inputs lie; takes the final state.
    call : LoopCall
        The recurrent step and the layers inside it.
    values : mapping
        Codes by name.
    layer : callable
        Runs the cores of a layer on values by name, at the time step of a number.
    whole : callable, optional
        Runs all time steps at once, from input codes (B, T, G) and the state, where it can.
    """
    step = call.step
    name, first = step.name, step.sources[0]
    hidden = plan.quantisers[name]
    gates = 1.0 if call.hidden is None else plan.quantisers[call.hidden.layer.name].step
    raw = plan.quantisers[name if call.projection is None else f"{name}.raw"]
    inputs = _batch_first(step, values[first].codes)
    real = {s: plan.real(values[s].codes, s) for s in step.sources[1:]}
    lengths = _lengths(step, real, span.lengths)

    if name in span.states:
        state = span.states[name]
    else:
        h, c = _initial_state(
            step, None if call.hidden is None else call.hidden.layer, real, inputs
        )
        state = rounding.codes(h, hidden.per_step, hidden.limit, hidden.rounds), c
    digital = _DIGITAL[step.op](step, plan.gdpu, plan.quantisers[first].step, gates, 1 / raw.step)

    def cell(t: int, x: Tensor, state: State) -> State:
        time = span.start + t
        made = None
        if call.hidden is not None:
            inner = {name: CodedValue(state[0]), first: CodedValue(x)}
            made = layer(call.hidden, inner, time).codes
        h, c = digital(x, made, state)
        if call.projection is not None:
            h = layer(call.projection, {f"{name}.raw": CodedValue(h)}, time).codes
        if span.traces is not None:
            span.traces.setdefault(name, []).append((h, c))
        return h, c

    if whole is not None and lengths is None:
        outputs, state = whole(call, inputs, state)
    else:
        outputs, state = unroll(inputs, state, cell, step.attrs["reverse"], lengths)
    span.final[name] = state
    return {
        name: CodedValue(_as_given(step, outputs)),
        f"{name}.h": CodedValue(state[0]),
        f"{name}.c": CodedValue(state[1]),
    }


def float_loop(
    step: DigitalStep, layers: Mapping[str, AnalogLayer], values: Mapping[str, Tensor],
    product: Callable[[AnalogLayer, Mapping[str, Tensor]], Tensor], lengths: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the results of a recurrent step, in float32 with exact functions.

    Parameters
    ----------
    step : DigitalStep
        The recurrent step.
    layers : mapping
        The analog layers by name.
    values : mapping
        Values by name.
    product : callable
        From a layer and its inputs by name to its output.
    lengths : (B,) tensor, optional
        Time steps of every sequence; default: all that the inputs have.
    """
    hidden = layers.get(step.attrs["layers"].get("hh", ""))
    projection = layers.get(step.attrs["layers"].get("hr", ""))
    first, name = step.sources[0], step.name
    inputs = _batch_first(step, values[first])
    lengths = _lengths(step, values, lengths)
    state = _initial_state(step, hidden, values, inputs)
    one = cell_of(step.op, step.attrs, step.arrays)

    def cell(t: int, x: Tensor, state: State) -> State:
        made = None if hidden is None else product(hidden, {name: state[0], first: x})
        h, c = one(x, made, state)
        return (h if projection is None else product(projection, {f"{name}.raw": h})), c

    outputs, (h, c) = unroll(inputs, state, cell, step.attrs["reverse"], lengths)
    return {name: _as_given(step, outputs), f"{name}.h": h, f"{name}.c": c}


def _initial_state(
    step: DigitalStep, hidden: AnalogLayer | None, values: Mapping[str, Tensor], inputs: Tensor
) -> State:
    """Return the state before the first time step: as given, or zero."""
    if step.op == "spiking":
        sizes = spiking_states(step.attrs, tuple(inputs.shape))
    else:
        assert hidden is not None  # these layers have a hidden matrix
        sizes = (len(inputs), hidden.weight.shape[0]), (len(inputs), step.attrs["hidden"])
    given = [values[name] for name in step.sources[1 : 1 + int(step.attrs.get("initial", 0))]]
    h = given[0] if given else inputs.new_zeros(sizes[0])
    c = given[1] if len(given) > 1 else inputs.new_zeros(sizes[1])
    return h, (h if step.op == "gru" else c)


def _lengths(
    step: DigitalStep, values: Mapping[str, Tensor], given: Tensor | None
) -> Tensor | None:
    if step.attrs.get("lengths"):
        return values[step.sources[-1]].long()
    return given


def _batch_first(step: DigitalStep, x: Tensor) -> Tensor:
    return x.movedim(1, 0) if step.attrs.get("axis", 0) else x


def _as_given(step: DigitalStep, y: Tensor) -> Tensor:
    return y.movedim(0, 1) if step.attrs.get("axis", 0) else y


# ------------------------------------------------------------- the cells, in the digital units


def _numpy(*tensors: Tensor) -> list[np.ndarray]:
    return [np.ascontiguousarray(tensor.cpu().numpy(), dtype=np.float32) for tensor in tensors]


def _tensors(codes: np.ndarray, cell: np.ndarray, device: torch.device) -> State:
    return torch.from_numpy(codes).to(device), torch.from_numpy(cell).to(device)


UnitCell = Callable[[Tensor, "Tensor | None", State], State]
"""Input codes, codes of the hidden gates (None: there are none) and state -> state, in a digital
unit."""


def _lstm(
    step: DigitalStep, unit: GdpuSpec, input_step: float, gate_step: float, per_code: float
) -> UnitCell:
    """Return the cell; the input gates came over the link and are in the hidden ones already."""
    size = step.attrs["hidden"]
    order = gdpu.gate_columns(size)
    registers = gdpu.GdpuRegisters(np.full(4, gate_step), np.zeros(4), per_code)

    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        assert made is not None  # the layer has a hidden matrix
        codes, before = _numpy(made, state[1])
        after = gdpu.lstm_passes(codes[:, order], before, registers, unit)
        return _tensors(after.codes, after.cell, made.device)

    return cell


def _gru(
    step: DigitalStep, unit: GdpuSpec, input_step: float, gate_step: float, per_code: float
) -> UnitCell:
    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        assert made is not None  # the layer has a hidden matrix
        inputs, codes, before = _numpy(x, made, state[1])
        after = gdpu_cells.gru_step(inputs, codes, before, input_step, gate_step, per_code, unit)
        return _tensors(after.codes, after.cell, made.device)

    return cell


def _rnn(
    step: DigitalStep, unit: GdpuSpec, input_step: float, gate_step: float, per_code: float
) -> UnitCell:
    function = step.attrs.get("function", "tanh")

    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        assert made is not None  # the layer has a hidden matrix
        (codes,) = _numpy(made)
        after = gdpu_cells.rnn_step(codes, gate_step, per_code, unit, function)
        return torch.from_numpy(after.codes).to(made.device), state[1]

    return cell


def _spiking(
    step: DigitalStep, unit: GdpuSpec, input_step: float, gate_step: float, per_code: float
) -> UnitCell:
    neuron, learned = step.attrs["neuron"], step.arrays
    loaded = membranes.registers(
        neuron, learned["threshold"], learned.get("strength"), input_step, gate_step, per_code, unit
    )

    def cell(x: Tensor, made: Tensor | None, state: State) -> State:
        inputs, sent, before = _numpy(x, state[0], state[1])
        codes = None if made is None else _numpy(made)[0]
        after = membranes.step(neuron, loaded, inputs, codes, sent, before, unit)
        return _tensors(after.codes, after.cell, x.device)

    return cell


_DIGITAL: dict[str, Callable[[DigitalStep, GdpuSpec, float, float, float], UnitCell]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
    "spiking": _spiking,
}
