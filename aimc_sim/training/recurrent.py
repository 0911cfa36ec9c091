"""LSTM, GRU and RNN on crossbars: one for the input gates and one for the hidden gates, per layer.

Where only weights are noisy, torch's own fused layers run on the noisy weights. Converters act on
the hidden state in every time step, so with them the steps run one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.utils.rnn import PackedSequence

from aimc_sim.spec import CoreSpec
from aimc_sim.training.crossbar import Crossbar
from aimc_sim.training.geometry import matrix_layout
from aimc_sim.training.layers import Crossbars, PreparedLayer
from aimc_sim.training.options import TrainingSpec

CellFunction = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""(input gates, hidden gates, state) to the new state, the hidden part first."""


class AnalogRecurrent(PreparedLayer):
    """The part that LSTM, GRU and RNN share."""

    _flat_weights: Any  # torch's
    _flat_weights_names: Any

    if TYPE_CHECKING:
        num_layers: int
        bidirectional: bool
        batch_first: bool
        proj_size: int
        hidden_size: int
        dropout: float

        def _cell(
            self, given: Tensor, fed: Tensor, state: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            """Return the state after a step."""

    def matrices(self) -> dict[str, nn.Parameter]:
        """Return the weights by torch's names: weight_ih_l0, weight_hh_l0, ..."""
        return {
            name: value
            for name, value in self._parameters.items()
            if "weight" in name and value is not None
        }

    def biases(self, name: str) -> list[nn.Parameter]:
        """Return the bias of the same gates."""
        bias = self._parameters.get(name.replace("weight", "bias"))
        return [] if bias is None else [bias]

    @_disable_dynamo
    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """Return what torch's layer returns, through the crossbars."""
        self.settle()
        noisy = {name: self.analog[name].weight(value) for name, value in self.matrices().items()}
        if not self._by_steps():
            return self._fused(noisy, input, hx)
        order = input.sorted_indices if isinstance(input, PackedSequence) else None
        data, sizes, plain_shape = _unpacked(input, self.batch_first)
        state = self._state(hx, data, sizes[0], order)
        layer_input, finals = data, []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(2 if self.bidirectional else 1):
                k = layer * (2 if self.bidirectional else 1) + direction
                own = tuple(part[k] for part in state)
                y, last = self._run(layer_input, sizes, layer, direction, own, noisy)
                outputs.append(y)
                finals.append(last)
            layer_input = torch.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                layer_input = nn.functional.dropout(layer_input, self.dropout, self.training)
        stacked = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return self._packed_again(layer_input, stacked, input, plain_shape)

    def _by_steps(self) -> bool:
        """Return whether converters act on the hidden state in every time step."""
        if self.analog.options.hidden_limit is not None:
            return True
        return any(crossbar.converts for crossbar in self.analog.values())

    def _fused(self, noisy: dict[str, Tensor], input: Tensor | PackedSequence, hx: Any) -> Any:
        """Run torch's layer on other weights."""
        plain = self._flat_weights
        try:
            self._flat_weights = [
                noisy.get(name, weight)
                for name, weight in zip(self._flat_weights_names, plain, strict=True)
            ]
            return cast(Any, super()).forward(input, hx)
        finally:
            self._flat_weights = plain

    def _state(self, hx: Any, data: Tensor, batch: int, order: Tensor | None) -> tuple[Tensor, ...]:
        """Return the state as (layers x directions, N, features) each; zero if none is given."""
        directions = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            sizes = [self.proj_size or self.hidden_size, self.hidden_size]
            sizes = sizes if isinstance(self, nn.LSTM) else sizes[:1]
            return tuple(data.new_zeros(directions, batch, size) for size in sizes)
        parts = hx if isinstance(hx, tuple) else (hx,)
        parts = tuple(part.unsqueeze(1) if part.dim() == 2 else part for part in parts)
        return tuple(part if order is None else part[:, order] for part in parts)

    def _run(
        self, data: Tensor, sizes: list[int], layer: int, direction: int,
        state: tuple[Tensor, ...], noisy: dict[str, Tensor],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """Run one direction of one layer over (sum of sizes, features), time after time."""
        name = f"l{layer}{'_reverse' if direction else ''}"
        into, again = self.analog[f"weight_ih_{name}"], self.analog[f"weight_hh_{name}"]
        back = self.analog[f"weight_hr_{name}"] if self.proj_size else None
        biases = [self._parameters.get(f"bias_{kind}_{name}") for kind in ("ih", "hh")]
        gates = into.output(nn.functional.linear(into.input(data), noisy[f"weight_ih_{name}"]))
        gates = gates if biases[0] is None else gates + biases[0].to(gates.dtype)
        limit, outputs = self.analog.options.hidden_limit, []
        pieces = list(torch.split(gates, sizes))
        for piece in reversed(pieces) if direction else pieces:
            n = len(piece)
            running = tuple(part[:n] for part in state)
            hidden = running[0] if limit is None else running[0].clamp(-limit, limit)
            fed = nn.functional.linear(again.input(hidden), noisy[f"weight_hh_{name}"])
            fed = again.output(fed)
            fed = fed if biases[1] is None else fed + biases[1].to(fed.dtype)
            new = self._cell(piece, fed, running)
            if back is not None:
                shorter = nn.functional.linear(back.input(new[0]), noisy[f"weight_hr_{name}"])
                new = (back.output(shorter), *new[1:])
            outputs.append(new[0])
            # Sequences that have ended, or not begun (backwards), keep their state.
            state = tuple(
                part if n == len(old) else torch.cat([part, old[n:]])
                for part, old in zip(new, state, strict=True)
            )
        return torch.cat(outputs[::-1] if direction else outputs), state

    def _packed_again(
        self, data: Tensor, finals: tuple[Tensor, ...], input: Tensor | PackedSequence,
        plain_shape: tuple[int, int],
    ) -> Any:  # fmt: skip
        """Return outputs and last states in the form of the input."""
        output: Tensor | PackedSequence
        if isinstance(input, PackedSequence):
            output = input._replace(data=data)
            if input.unsorted_indices is not None:
                finals = tuple(part[:, input.unsorted_indices] for part in finals)
        else:
            output = data.reshape(*plain_shape, data.shape[-1])
            if input.dim() == 2:
                output, finals = output[:, 0], tuple(part[:, 0] for part in finals)
            elif self.batch_first:
                output = output.transpose(0, 1)
        return output, finals if isinstance(self, nn.LSTM) else finals[0]


class AnalogLSTM(AnalogRecurrent, nn.LSTM):
    """LSTM on crossbars, projections included."""

    def _cell(self, given: Tensor, fed: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        i, f, g, o = (given + fed).chunk(4, -1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class AnalogGRU(AnalogRecurrent, nn.GRU):
    """GRU on crossbars."""

    def _cell(self, given: Tensor, fed: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (ri, zi, ni), (rh, zh, nh) = given.chunk(3, -1), fed.chunk(3, -1)
        reset, keep = (ri + rh).sigmoid(), (zi + zh).sigmoid()
        new = (ni + reset * nh).tanh()
        return (new + keep * (state[0] - new),)


class AnalogRNN(AnalogRecurrent, nn.RNN):
    """Elman network on crossbars."""

    def _cell(self, given: Tensor, fed: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        total = given + fed
        return (total.tanh() if self.nonlinearity == "tanh" else total.relu(),)


PLAIN: dict[type[nn.Module], type[AnalogRecurrent]] = {
    nn.LSTM: AnalogLSTM,
    nn.GRU: AnalogGRU,
    nn.RNN: AnalogRNN,
}
"""Analog form of each recurrent layer."""


def attach(
    layer: nn.Module, path: str, cores: Callable[[str], CoreSpec], options: TrainingSpec, seed: int
) -> None:
    """Turn a recurrent layer into its analog form, in place.

    Parameters
    ----------
    layer : nn.LSTM, nn.GRU or nn.RNN
        The layer.
    path : str
        Path of the layer in the network.
    cores : callable
        From the name of a matrix to devices, converters and size of its crossbars.
    options : TrainingSpec
        Effects of the training.
    seed : int
        Seed of all noise.
    """
    layer.__class__ = PLAIN[type(layer)]
    analog = cast(AnalogRecurrent, layer)
    crossbars = {}
    for name, weight in analog.matrices().items():
        core = cores(name)
        layout = matrix_layout(weight.shape[0], weight.shape[1], core)
        crossbars[name] = Crossbar(f"{path}.{name}", layout, core, options, seed)
        crossbars[name].refuse_levels("recurrent layers")
    device = layer.get_parameter("weight_ih_l0").device
    analog.analog = Crossbars(crossbars, options).to(device)


def _unpacked(
    input: Tensor | PackedSequence, batch_first: bool
) -> tuple[Tensor, list[int], tuple[int, int]]:
    """Return (sum of sizes, features) in the order of time, sizes, and (T, N)."""
    if isinstance(input, PackedSequence):
        return input.data, input.batch_sizes.tolist(), (0, 0)
    if input.dim() == 2:
        input = input.unsqueeze(1)
    elif batch_first:
        input = input.transpose(0, 1)
    times, batch = input.shape[:2]
    return input.reshape(times * batch, -1), [batch] * times, (times, batch)
