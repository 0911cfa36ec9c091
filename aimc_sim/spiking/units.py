"""Spiking neural units: a leaky integrator with a reset, written as a recurrent unit of torch.

S. Wozniak et al., Nature Machine Intelligence 2, 325 (2020), arXiv:1812.07040, READ as implemented
in IBM/neuroaikit (953a408b)::

    s_t = g(W x_t + R y_{t-1} + l s_{t-1} (1 - y_{t-1}))        y_t = h(s_t - theta)

The decay l multiplies behind the gate that resets the state; R is there with ``recurrent`` only; W
has no bias, the threshold theta is one. SNU: h is a step, whose derivative in the backward pass is
that of tanh, ``1 - tanh^2(s - theta)``. Soft SNU: h is the sigmoid. The gradient goes through the
reset as through everything else. With g the identity, SNU is a leaky integrate-and-fire neuron
whose state is set to zero in the step after a spike.
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aimc_sim import arguments

Nonlinearity = Literal["identity", "relu", "leaky"]
"""g: the identity (default of the unit read), ReLU (the paper's, RECALLED), or ReLU with a slope of
0.1 below zero (of the tutorials read)."""

UnitState = tuple[Tensor, Tensor]
"""State s and output y of the last step, (B, units) each."""

SLOPE = 0.1


class Unit(nn.Module):
    """A layer of spiking neural units; abstract: SNU and SoftSNU say what the output is.

    Parameters
    ----------
    inputs, units : int
        Numbers of both, at least 1.
    decay : float
        l, the share of the state that is left after a step, 0 to 1.
    recurrent : bool
        Whether the outputs of the layer come back as inputs, through R.
    transfer : "identity", "relu" or "leaky"
        g.
    threshold : float
        First value of all thresholds.

    Attributes
    ----------
    weight : (units, inputs) parameter
        W, uniform within +-1 / sqrt(inputs) at first.
    recurrent_weight : (units, units) parameter or None
        R, uniform within +-1 / sqrt(units) at first.
    threshold : (units,) parameter
        theta.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        decay: float = 0.8,
        recurrent: bool = False,
        transfer: Nonlinearity = "identity",
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        self.inputs = arguments.whole(inputs, "inputs", 1, 2**31)
        self.units = arguments.whole(units, "units", 1, 2**31)
        self.decay = arguments.number(decay, "decay", 0, 1)
        arguments.choice(transfer, "transfer", ("identity", "relu", "leaky"))
        self.transfer: Nonlinearity = transfer
        first = arguments.number(threshold, "threshold")
        self.weight = nn.Parameter(torch.empty(units, inputs))
        nn.init.uniform_(self.weight, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
        self.recurrent_weight: nn.Parameter | None = None
        if arguments.flag(recurrent, "recurrent"):
            self.recurrent_weight = nn.Parameter(torch.empty(units, units))
            nn.init.uniform_(self.recurrent_weight, -1 / math.sqrt(units), 1 / math.sqrt(units))
        self.threshold = nn.Parameter(torch.full((units,), first))

    def output(self, excess: Tensor) -> Tensor:
        """Return h of how far the state is above the threshold.

        Parameters
        ----------
        excess : any shape float tensor
            s - theta.

        Returns
        -------
        tensor
            y, of the same shape.
        """
        raise NotImplementedError

    def slope(self, excess: Tensor) -> Tensor:
        """Return dy / ds as the backward pass takes it; shapes as of :meth:`output`."""
        raise NotImplementedError

    def start(self, x: Tensor) -> UnitState:
        """Return the state before the first step: zeros.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of a step: size of the batch, number format and device.
        """
        zeros = x.new_zeros(len(x), self.units)
        return zeros, zeros

    def drive(self, x: Tensor, state: UnitState) -> Tensor:
        """Return the argument of g.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of the step.
        state : UnitState
            Of the step before.

        Returns
        -------
        (B, units) tensor
            ``W x + R y + l s (1 - y)``.
        """
        s, y = state
        total = F.linear(x, self.weight) + self.decay * s * (1 - y)
        if self.recurrent_weight is not None:
            total = total + F.linear(y, self.recurrent_weight)
        return total

    def transferred(self, drive: Tensor) -> Tensor:
        """Return g of the drive, (B, units)."""
        if self.transfer == "identity":
            return drive
        return F.relu(drive) if self.transfer == "relu" else F.leaky_relu(drive, SLOPE)

    def step(self, x: Tensor, state: UnitState) -> UnitState:
        """Return state and output after one more step.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of the step.
        state : UnitState
            Of the step before.
        """
        s = self.transferred(self.drive(x, state))
        return s, self.output(s - self.threshold)

    def forward(self, x: Tensor, state: UnitState | None = None) -> tuple[Tensor, UnitState]:
        """Return the outputs of all steps and the last state.

        Parameters
        ----------
        x : (T, B, inputs) tensor
            Inputs, step by step.
        state : UnitState, optional
            Of the step before the first; zeros if it is left out. A sequence in parts, with the
            state handed on, equals the whole.

        Returns
        -------
        (T, B, units) tensor, UnitState
            Outputs, and the state of the last step.
        """
        if x.ndim != 3 or x.shape[2] != self.inputs or not len(x):
            raise ValueError(
                f"{type(self).__name__} got inputs of the shape {tuple(x.shape)}: wanted (T, B, "
                f"{self.inputs}) with at least one step"
            )
        state = self.start(x[0]) if state is None else state
        outputs = []
        for one in x:
            state = self.step(one, state)
            outputs.append(state[1])
        return torch.stack(outputs), state


class SNU(Unit):
    """Spiking neural unit: the output is 1 where the state is above the threshold, else 0."""

    def output(self, excess: Tensor) -> Tensor:
        """Return 1 above the threshold and 0 elsewhere; see the base class."""
        y: Tensor = cast(Any, _Step).apply(excess)
        return y

    def slope(self, excess: Tensor) -> Tensor:
        """Return the derivative of tanh, which stands in for that of the step."""
        return _tanh_slope(excess)


class SoftSNU(Unit):
    """Soft SNU (sSNU): the output is the sigmoid of the state above the threshold."""

    def output(self, excess: Tensor) -> Tensor:
        """Return the sigmoid; see the base class."""
        return torch.sigmoid(excess)

    def slope(self, excess: Tensor) -> Tensor:
        """Return the derivative of the sigmoid."""
        y = torch.sigmoid(excess)
        return y * (1 - y)


class _Step(torch.autograd.Function):
    """A step in the forward pass, tanh in the backward pass."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor) -> Tensor:
        ctx.save_for_backward(excess)
        return (excess > 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (excess,) = ctx.saved_tensors
        return gradients[0] * _tanh_slope(excess)


def _tanh_slope(excess: Tensor) -> Tensor:
    return 1 - torch.tanh(excess) ** 2
