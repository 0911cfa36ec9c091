"""Recurrent layers, spiking neurons and packed sequences, kept whole while a network is exported.

ATen unrolls a recurrent layer over its time steps as soon as sizes are wanted, which would fix the
number of steps; and a packed sequence has a size that depends on data. So calls of torch's
recurrent functions are recorded as one operation ``aimc_sim::recurrent``, those of
:func:`aimc_sim.digital.spiking.sequence` and :func:`aimc_sim.digital.attention.attention` as
``aimc_sim::spiking`` and ``aimc_sim::spiking_attention``, and packing leaves sequences padded and
in their order, with their lengths beside them. The mode acts in the thread that exports, and
nowhere else.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import rnn as modules
from torch.nn.utils import rnn as utilities
from torch.overrides import TorchFunctionMode

from aimc_sim.digital import attention, spiking
from aimc_sim.ops import GATES

# Any: these parts of torch have no types.
_library: Any = torch.library
_check: Any = torch._check

_LIBRARY = _library.Library("aimc_sim", "DEF")
_LIBRARY.define(
    "recurrent(Tensor x, Tensor[] states, Tensor[] weights, Tensor? lengths, str kind, "
    "bool biases, int layers, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "spiking(Tensor x, Tensor[] states, Tensor[] inputs, Tensor[] recurrent, Tensor threshold, "
    "Tensor? bias, Tensor? strength, str neuron, int batch) -> (Tensor, Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "spiking_attention(Tensor q, Tensor k, Tensor v, int steps, int heads, float scale, int batch) "
    "-> Tensor"
)
_LIBRARY.define("trim(Tensor x, Tensor lengths, int dim) -> Tensor")


def _recurrent_sizes(
    x: Tensor, states: list[Tensor], weights: list[Tensor], lengths: Tensor | None, kind: str,
    biases: bool, layers: int, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return stand-ins of the outputs and of the last hidden and cell states."""
    directions = 2 if bidirectional else 1
    per_direction = len(weights) // (layers * directions)
    hidden = weights[1].shape[0] // GATES[kind.partition("_")[0]]
    projected = kind == "lstm" and per_direction == (5 if biases else 3)
    shown = weights[per_direction - 1].shape[0] if projected else hidden
    batch = x.shape[0 if batch_first else 1]
    _check(x.shape[2] == weights[0].shape[1], lambda: (
        f"the recurrent layer reads {x.shape[2]} features, expected {weights[0].shape[1]}"
    ))  # fmt: skip
    for state in states:
        _check(state.shape[1] == batch)
    if lengths is not None:
        _check(lengths.shape[0] == batch)
    y = x.new_empty((x.shape[0], x.shape[1], directions * shown))
    h = x.new_empty((layers * directions, batch, shown))
    return y, h, x.new_empty((layers * directions, batch, hidden))


def _spiking_sizes(
    x: Tensor, states: list[Tensor], inputs: list[Tensor], recurrent: list[Tensor],
    threshold: Tensor, bias: Tensor | None, strength: Tensor | None, neuron: str, batch: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return stand-ins of the outputs, and of the last states s, y and b."""
    if inputs:
        _check(x.shape[-1] == inputs[0].shape[1])
    units = inputs[0].shape[0] if inputs else x.shape[-1]
    sizes = [*x.shape[:-1], units]
    last = [*sizes[batch : batch + 1], *sizes[2:]]
    for state in states:
        _check(state.shape[0] == last[0])
    return x.new_empty(sizes), x.new_empty(last), x.new_empty(last), x.new_empty(last)


def _attention_sizes(
    q: Tensor, k: Tensor, v: Tensor, steps: int, heads: int, scale: float, batch: int
) -> Tensor:
    """Return a stand-in of the attention of spikes."""
    return torch.empty_like(q)


def _trim_sizes(x: Tensor, lengths: Tensor, dim: int) -> Tensor:
    """Return a stand-in of trimmed sequences."""
    return torch.empty_like(x)  # as long as the longest sequence, which only data tell


_library.register_fake("aimc_sim::recurrent")(_recurrent_sizes)
_library.register_fake("aimc_sim::spiking")(_spiking_sizes)
_library.register_fake("aimc_sim::spiking_attention")(_attention_sizes)
_library.register_fake("aimc_sim::trim")(_trim_sizes)


_UNKNOWN = -1
"""Stands for the length of the longest sequence, which only data tell."""

_KINDS = {
    torch.lstm: "lstm", torch.gru: "gru", torch.rnn_tanh: "rnn_tanh", torch.rnn_relu: "rnn_relu",
}  # fmt: skip
_PACK, _PAD = torch._VF._pack_padded_sequence, torch._VF._pad_packed_sequence


class Sequences(TorchFunctionMode):
    """Records recurrent layers and packing as operations of their own.

    Parameters
    ----------
    budget_seconds : float, optional
        Processor time after which TimeoutError is raised; None: no limit.
    """

    def __init__(self, budget_seconds: float | None = None) -> None:
        super().__init__()
        self.deadline = None if budget_seconds is None else time.thread_time() + budget_seconds
        self.packed: dict[int, tuple[Tensor, bool, Any]] = {}
        """By the identity of the lengths: lengths, batch first, and the batch."""
        self.padded: dict[int, Tensor] = {}
        """Values of packed sequences, which torch would hold in one row."""
        self.orders: dict[int, Any] = {}
        """Permutations that sort sequences, which stay in their order here."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Record the calls that belong to sequences, pass on the rest."""
        kwargs = kwargs or {}
        if self.deadline is not None and time.thread_time() > self.deadline:
            raise TimeoutError("the sizes of this network take too long to reason about")
        if func in _KINDS and not kwargs:
            return self._recurrent(_KINDS[func], *args)
        if func is spiking.sequence:
            return _spiking(*args)
        if func is attention.attention:
            q, k, v, how, batch = args
            return torch.ops.aimc_sim.spiking_attention(
                q, k, v, how.steps, how.heads, how.scale, batch
            )
        if func == _PACK:
            return self._pack(*args, **kwargs)
        if func == _PAD:
            return self._pad(*args, **kwargs)
        code = sys._getframe(1).f_globals
        if code is utilities.__dict__ or code is modules.__dict__:
            done, result = self._inside(getattr(func, "__name__", ""), args, kwargs)
            if done:
                return result
        return func(*args, **kwargs)

    def _recurrent(self, kind: str, x: Tensor, second: Any, *others: Any) -> Any:
        """Return the results of a recurrent layer, as one operation."""
        # Tensors, states, weights, ..., batch_first; or tensors, batch sizes, states, weights, ...
        lengths = None
        if id(second) in self.packed:
            lengths, batch_first, _ = self.packed[id(second)]
            states, weights, biases, layers, _, _, bidirectional = others
        else:
            states = second
            weights, biases, layers, _, _, bidirectional, batch_first = others
        states = [states] if isinstance(states, Tensor) else list(states)
        y, h, c = torch.ops.aimc_sim.recurrent(
            x, states, list(weights), lengths, kind, biases, layers, bidirectional, batch_first
        )
        if lengths is not None:
            self.padded[id(y)] = y
        return (y, h, c) if kind == "lstm" else (y, h)

    def _pack(self, x: Tensor, lengths: Tensor, batch_first: bool) -> Any:
        """Return padded sequences as they are, and their lengths."""
        self.packed[id(lengths)] = lengths, batch_first, x.shape[0 if batch_first else 1]
        self.padded[id(x)] = x
        return x, lengths

    def _pad(
        self, data: Tensor, lengths: Tensor, batch_first: bool, padding_value: float,
        total: Any,
    ) -> Any:  # fmt: skip
        """Return packed sequences, which are padded already, cut to the longest one."""
        if id(lengths) not in self.packed:
            raise ValueError("pad_packed_sequence got a sequence that was not packed in forward")
        if padding_value != 0:
            raise ValueError(f"pad_packed_sequence with padding_value = {padding_value}; use 0")
        lengths, first, _ = self.packed[id(lengths)]
        dim = 1 if first else 0
        if total is None or (isinstance(total, int) and total == _UNKNOWN):
            data = torch.ops.aimc_sim.trim(data, lengths, dim)
        elif total != data.shape[dim]:
            raise ValueError(
                "pad_packed_sequence with a total_length other than the length of the input; "
                "leave it out"
            )
        return (data if first == batch_first else data.transpose(0, 1)), lengths

    def _inside(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
        """Return whether a call of torch's own packing code sorts or unsorts, and its result then.

        Sequences stay in their order, so such a call returns its argument.
        """
        first: Any = args[0] if args else None
        if name == "sort":
            order = torch.arange(first.shape[0])
            self.orders[id(order)] = order
            return True, (first, order)
        if name == "size" and id(first) in self.packed and len(args) == 2:
            return True, _UNKNOWN
        if name == "dim" and id(first) in self.padded:
            return True, 2
        if id(first) in self.orders and name in ("to", "empty_like", "scatter_"):
            return True, first
        if name == "index_select" and any(id(part) in self.orders for part in args[1:]):
            return True, first
        if name == "__getitem__":
            if id(args[1]) in self.orders:
                return True, first
            if id(first) in self.packed and args[1] == 0:
                return True, self.packed[id(first)][2]  # the largest batch of all time steps
        return False, None


def _spiking(
    x: Tensor, states: spiking.NeuronStates | None, weights: spiking.NeuronWeights,
    neuron: spiking.Neuron, batch: int,
) -> tuple[Tensor, spiking.NeuronStates]:  # fmt: skip
    """Return the results of a layer of spiking neurons, as one operation."""
    y, *last = torch.ops.aimc_sim.spiking(
        x, [] if states is None else list(states), list(weights.inputs), list(weights.recurrent),
        weights.threshold, weights.bias, weights.strength, json.dumps(neuron.attrs()), batch,
    )  # fmt: skip
    return y, tuple(last[: 2 if neuron.adaptation is None else 3])
