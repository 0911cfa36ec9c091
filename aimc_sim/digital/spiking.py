"""Spiking neurons over time steps: from what arrives to the state and the output.

One recursion serves torch modules (:mod:`aimc_sim.spiking`), the record of a network, calibration
and the reference of the digital units. With d what arrives from the inputs (d = W x) and f what
comes back from the outputs of the step before (f = R y)::

    delayed reset                            reset in the same step
    zero      k = l s (1 - y)                k = l s,  after the output  s <- s (1 - y)
    subtract  k = l s, less theta y          k = l s,  after the output  s <- s - theta y
    none      k = l s                        k = l s

    s <- g(gain d + k + f)      y <- h(s - theta)

s and y on the right are those of the step before. h is a step (a spike where s is above theta) or
the sigmoid. Sources: S. Wozniak et al., Nature Machine Intelligence 2, 325 (2020),
arXiv:1812.07040, READ as implemented in IBM/neuroaikit (953a408b): delayed reset to zero, g, and
lateral inhibition, which puts the largest output of the layer in the place of y in the reset. The
other resets: ``Leaky`` of snntorch 1.0.0 (delayed: zero, subtract, none) and ``lif_box`` of norse
1.1.0 (the same step; gain = dt / tau and l = 1 - dt / tau), READ.

Two further inputs, from arXiv:2110.02743 (ICASSP 2022), whose abstract was READ; the equations are
RECALLED and unchecked. Axo-axonic: ``y <- h(s - theta) sigmoid(W_o x + R_o y + b_o)``. Axo-somatic:
``b <- rho b + (1 - rho) (W_a x + R_a y)`` and ``y <- h(s - theta + c b)``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from aimc_sim.digital.spiking_gradients import soft_sequence

Firing = Literal["spike", "sigmoid"]
"""h: a step, or the sigmoid."""

Reset = Literal["zero", "subtract", "none"]
"""Effect of a spike on the state."""

Nonlinearity = Literal["identity", "relu", "leaky"]
"""g: the identity (default of the unit read), ReLU (the paper's, RECALLED), or ReLU with a slope of
0.1 below zero (of the tutorials read)."""

SLOPE = 0.1
"""Slope of the leaky ReLU below zero."""

SURROGATES: dict[str, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "tanh": (1.0, lambda x, k: 1 - torch.tanh(k * x) ** 2),
    "sigmoid": (25.0, lambda x, k: k * torch.sigmoid(k * x) * torch.sigmoid(-k * x)),
    "fast-sigmoid": (25.0, lambda x, k: 1 / (1 + k * x.abs()) ** 2),
    "atan": (2.0, lambda x, k: k / 2 / (1 + (math.pi / 2 * k * x) ** 2)),
    "triangle": (1.0, lambda x, k: k * (1 - (k * x).abs()).clamp(min=0)),
    "straight-through": (1.0, lambda x, k: k * torch.ones_like(x)),
}
"""Stand-ins for the derivative of the step, of the excess x and a sharpness k, with the default of
k. tanh: neuroaikit; sigmoid, fast sigmoid (F. Zenke and S. Ganguli, Neural Computation 30, 1514
(2018), doi:10.1162/neco_a_01086), atan, straight-through: snntorch 1.0.0, READ; triangle: G. Bellec
et al., NeurIPS 2018, arXiv:1803.09574, RECALLED."""


@dataclass(frozen=True)
class Neuron:
    """How the neurons of a layer work; the same for all.

    Attributes
    ----------
    output : "spike" or "sigmoid"
        h.
    decay : float
        l, the share of the state that is left after a step.
    transfer : "identity", "relu" or "leaky"
        g.
    reset : "zero", "subtract" or "none"
        Effect of a spike on the state.
    delayed : bool
        Whether the reset acts in the next step, not in the step of the spike.
    inhibition : bool
        Whether the largest output of the layer resets every neuron.
    gain : float
        With which inputs enter the state.
    gate : bool
        Whether there are axo-axonic inputs.
    adaptation : float or None
        rho of axo-somatic inputs; None: there are none.
    surrogate : str
        Name in :data:`SURROGATES`.
    sharpness : float
        Of the surrogate.
    detached : bool
        Whether gradients stop at the reset.
    """

    output: Firing = "spike"
    decay: float = 0.8
    transfer: Nonlinearity = "identity"
    reset: Reset = "zero"
    delayed: bool = True
    inhibition: bool = False
    gain: float = 1.0
    gate: bool = False
    adaptation: float | None = None
    surrogate: str = "tanh"
    sharpness: float = 1.0
    detached: bool = False

    @property
    def parts(self) -> int:
        """Sums of inputs per neuron: its own, and those of gate and threshold."""
        return 1 + self.gate + (self.adaptation is not None)

    @property
    def binary(self) -> bool:
        """Whether every output is 0 or 1."""
        return self.output == "spike" and not self.gate

    def attrs(self) -> dict[str, Any]:
        """Return the fields as JSON values; those of gradients are left out."""
        found = dataclasses.asdict(self)
        return {k: v for k, v in found.items() if k not in ("surrogate", "sharpness", "detached")}

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Neuron:
        """Return the neurons of :meth:`attrs`."""
        return cls(**attrs)


class NeuronWeights(NamedTuple):
    """Arrays of a layer; matrices of the own input, the gate and the threshold, as there are.

    Attributes
    ----------
    inputs : tuple of (units, inputs) tensors
        W, W_o, W_a; none where the layer reads sums that others made.
    recurrent : tuple of (units, units) tensors
        R, R_o, R_a; none without recurrence.
    threshold : (units,) or () tensor
        theta.
    bias : (units,) tensor or None
        b_o of the gate.
    strength : (units,) tensor or None
        c, with which the axo-somatic state lowers the threshold.
    """

    inputs: tuple[Tensor, ...]
    recurrent: tuple[Tensor, ...]
    threshold: Tensor
    bias: Tensor | None = None
    strength: Tensor | None = None


NeuronStates = tuple[Tensor, ...]
"""State s and output y of the last step, and the axo-somatic state b where there is one."""


def slope(neuron: Neuron, excess: Tensor) -> Tensor:
    """Return the derivative of h that the backward pass takes, of the shape of the excess."""
    if neuron.output == "sigmoid":
        y = torch.sigmoid(excess)
        return y * (1 - y)
    return SURROGATES[neuron.surrogate][1](excess, neuron.sharpness)


def fired(neuron: Neuron, excess: Tensor) -> Tensor:
    """Return h of how far the state is above the threshold, with its surrogate derivative."""
    if neuron.output == "sigmoid":
        return torch.sigmoid(excess)
    y: Tensor = cast(Any, _Step).apply(excess, neuron)
    return y


class _Step(torch.autograd.Function):
    """A step in the forward pass, a surrogate in the backward pass."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor, neuron: Neuron) -> Tensor:
        ctx.save_for_backward(excess)
        ctx.neuron = neuron
        return (excess > 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (excess,) = ctx.saved_tensors
        return gradients[0] * slope(ctx.neuron, excess), None


def transferred(neuron: Neuron, drive: Tensor) -> Tensor:
    """Return g of its argument."""
    if neuron.transfer == "identity":
        return drive
    return F.relu(drive) if neuron.transfer == "relu" else F.leaky_relu(drive, SLOPE)


def kept(neuron: Neuron, s: Tensor, y: Tensor) -> Tensor:
    """Return k, the rest of the state before the next inputs come; arguments of one shape."""
    if neuron.reset != "zero" or not neuron.delayed:
        return neuron.decay * s
    return neuron.decay * s * (1 - _resetting(neuron, y))


def _resetting(neuron: Neuron, y: Tensor) -> Tensor:
    """Return the outputs that reset a state."""
    y = y.detach() if neuron.detached else y
    return y.amax(-1, keepdim=True) if neuron.inhibition else y


def total(
    neuron: Neuron, made: Tensor, fed: Tensor | None, s: Tensor, y: Tensor, threshold: Tensor
) -> Tensor:
    """Return the argument of g.

    Parameters
    ----------
    neuron : Neuron
        How they work.
    made, fed : (B, units) tensors
        Sums of the inputs, and of the outputs of the step before (None without recurrence).
    s, y : (B, units) tensors
        State and output of the step before.
    threshold : (units,) or () tensor
        theta.
    """
    found = (made if neuron.gain == 1 else neuron.gain * made) + kept(neuron, s, y)
    if neuron.reset == "subtract" and neuron.delayed:
        found = found - _resetting(neuron, y) * threshold
    return found if fed is None else found + fed


def advance(
    neuron: Neuron, made: tuple[Tensor, ...], fed: tuple[Tensor, ...], states: NeuronStates,
    threshold: Tensor, strength: Tensor | None,
) -> NeuronStates:  # fmt: skip
    """Return the states after a step.

    Parameters
    ----------
    neuron : Neuron
        How they work.
    made : tuple of (B, units) tensors
        Sums of the inputs: own, gate, threshold, as there are; the gate's with its bias.
    fed : tuple of (B, units) tensors
        Sums of the outputs of the step before; none without recurrence.
    states : NeuronStates
        Of the step before.
    threshold, strength : (units,) or () tensors
        See :class:`NeuronWeights`.
    """
    s, y = states[:2]
    s = transferred(
        neuron, total(neuron, made[0], fed[0] if fed else None, s, y, threshold)
    )  # fmt: skip
    others = tuple(x + z for x, z in zip(made[1:], fed[1:], strict=True)) if fed else made[1:]
    excess, more = s - threshold, states[2:]
    if neuron.adaptation is not None:
        rho = neuron.adaptation
        b = rho * states[2] + (1 - rho) * others[-1]
        assert strength is not None  # comes with the adaptation
        excess, more = excess + strength * b, (b,)
    y = fired(neuron, excess)
    if neuron.gate:
        y = y * torch.sigmoid(others[0])
    if not neuron.delayed and neuron.reset != "none":
        back = s if neuron.reset == "zero" else threshold
        s = s - _resetting(neuron, y) * back
    return (s, y, *more)


def step(x: Tensor, states: NeuronStates, weights: NeuronWeights, neuron: Neuron) -> NeuronStates:
    """Return the states after a step.

    Parameters
    ----------
    x : (B, inputs) tensor, or the sums of the inputs in any shape
        Inputs of the step.
    states : NeuronStates
        Of the step before.
    weights : NeuronWeights
        Arrays of the layer.
    neuron : Neuron
        How its neurons work.
    """
    biases = _biases(weights, neuron)
    made: tuple[Tensor, ...] = (x,)
    if weights.inputs:
        made = tuple(F.linear(x, w, b) for w, b in zip(weights.inputs, biases, strict=True))
    fed = tuple(F.linear(states[1], r) for r in weights.recurrent)
    return advance(neuron, made, fed, states, weights.threshold, weights.strength)


def _biases(weights: NeuronWeights, neuron: Neuron) -> list[Tensor | None]:
    found: list[Tensor | None] = [None] * neuron.parts
    if neuron.gate:
        found[1] = weights.bias
    return found


def start(x: Tensor, weights: NeuronWeights, neuron: Neuron) -> NeuronStates:
    """Return the states before the first step: zeros.

    Parameters
    ----------
    x : (B, inputs) tensor, or the sums of the inputs in any shape
        Inputs of a step: sizes, number format and device.
    weights : NeuronWeights
        Arrays of the layer.
    neuron : Neuron
        How its neurons work.
    """
    shape = (*x.shape[:-1], len(weights.inputs[0])) if weights.inputs else tuple(x.shape)
    zeros = x.new_zeros(shape)
    return (zeros,) * (3 if neuron.adaptation is not None else 2)


def sequence(
    x: Tensor, states: NeuronStates | None, weights: NeuronWeights, neuron: Neuron, batch: int = 1
) -> tuple[Tensor, NeuronStates]:
    """Return the outputs of all steps and the last states.

    A mode of torch that records functions meets this one whole (:mod:`aimc_sim.frontend`).

    Parameters
    ----------
    x : (T, B, ...) or (B, T, ...) tensor
        Inputs, step by step.
    states : NeuronStates or None
        Before the first step; None: zeros.
    weights : NeuronWeights
        Arrays of the layer.
    neuron : Neuron
        How its neurons work.
    batch : 0 or 1
        Dimension that counts the batch; the other one counts steps.

    Returns
    -------
    tensor like x with (..., units), NeuronStates
        Outputs, and the states of the last step.
    """
    if has_torch_function((x,)):
        found: tuple[Tensor, NeuronStates] = handle_torch_function(
            sequence, (x,), x, states, weights, neuron, batch
        )
        return found
    steps = x.unbind(1 - batch)
    states = start(steps[0], weights, neuron) if states is None else states
    if weights.inputs and x.ndim == 3 and _lean(neuron):
        y, states = _soft(torch.stack(steps), states, weights, neuron)
        return y.transpose(0, 1 - batch), states
    outputs = []
    for one in steps:
        states = step(one, states, weights, neuron)
        outputs.append(states[1])
    return torch.stack(outputs, 1 - batch), states


def _lean(neuron: Neuron) -> bool:
    """Whether a sequence has gradients of its own: units of a matrix, soft, of the first paper.

    Transforms of functions, compilers and mixed precision see the single steps.
    """
    return (
        neuron.output == "sigmoid" and neuron.reset == "zero" and neuron.delayed
        and not neuron.inhibition and neuron.gain == 1 and neuron.adaptation is None
        and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )  # fmt: skip


def _soft(
    x: Tensor, states: NeuronStates, weights: NeuronWeights, neuron: Neuron
) -> tuple[Tensor, NeuronStates]:
    """Return outputs (T, B, units) and last states of inputs (T, B, inputs)."""
    made = torch.cat(
        [F.linear(x, w, b) for w, b in zip(weights.inputs, _biases(weights, neuron), strict=True)],
        -1,
    )
    fed = torch.cat(weights.recurrent) if weights.recurrent else None

    def plain(
        made: Tensor, fed: Tensor | None, threshold: Tensor, s: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs, parts = [], neuron.parts
        for one in made:
            back = () if fed is None else F.linear(y, fed).chunk(parts, -1)
            s, y = advance(neuron, one.chunk(parts, -1), back, (s, y), threshold, None)
            outputs.append(y)
        return torch.stack(outputs), s

    negative = {"identity": 1.0, "relu": 0.0, "leaky": SLOPE}[neuron.transfer]
    s, y = states
    y, s = soft_sequence(
        made, fed, weights.threshold, s, y, neuron.decay, negative, neuron.detached, plain
    )
    return y, (s, y[-1])


def packed(states: NeuronStates) -> tuple[Tensor, Tensor]:
    """Return states as the pair (outputs, states side by side) of recurrent layers."""
    s, y, *more = states
    return y, torch.cat([s, *more], -1) if more else s


def unpacked(state: tuple[Tensor, Tensor], neuron: Neuron) -> NeuronStates:
    """Return the states in a pair of :func:`packed`."""
    y, s = state
    if neuron.adaptation is None:
        return s, y
    s, b = s.chunk(2, -1)
    return s, y, b
