"""OSTL: gradients of spiking units step by step, forward in time, without a stored past.

T. Bohnstingl et al., "Online spatio-temporal learning", arXiv:2007.12723 (IEEE TNNLS 2022): the
abstract was read, which separates spatial and temporal gradients and says that they equal
backpropagation through time for one layer. Equations DERIVED for the units of
:mod:`aimc_sim.spiking`, with p any parameter of the layer::

    e^s_t = ds_t/dp = g' [l (1 - y_{t-1}) e^s_{t-1} + (R - diag(l s_{t-1})) e^y_{t-1} + direct_t]
    e^y_t = dy_t/dp = h' (e^s_t - dtheta/dp)                        dE/dp = sum_t L_t e^y_t

The term ``-diag(l s)`` is the gradient through the reset. ``with-h`` keeps R e^y: exact for a
recurrent layer, traces of units x parameters numbers. ``without-h`` drops it, which is exact
without recurrence and an approximation with it; traces of as many numbers as parameters. In a
deep network every layer gets the errors of the layer above at the same step (:meth:`OSTL.back`);
the part that would reach it through the state of the layers above is dropped: an approximation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aimc_sim import arguments
from aimc_sim.spiking.units import SLOPE, Unit, UnitState

Regime = Literal["with-h", "without-h"]


class OSTL:
    """Eligibility traces of one layer.

    Parameters
    ----------
    unit : Unit
        The layer; its parameters are read at every step, so they may change between two.
    regime : "with-h", "without-h" or None
        Whether the traces go through R. None: with it for a recurrent layer, without it else.

    Attributes
    ----------
    state : UnitState or None
        State and output of the last step; None before the first one.

    Examples
    --------
    >>> import torch
    >>> from aimc_sim.spiking import SNU
    >>> rule = OSTL(SNU(3, 2))
    >>> for x in torch.ones(4, 1, 3):  # four steps
    ...     y = rule.step(x)
    ...     gradients = rule.gradients(y - 1)  # of the sum of squares / 2
    >>> gradients["weight"].shape
    torch.Size([2, 3])
    """

    state: UnitState | None

    def __init__(self, unit: Unit, regime: Regime | None = None) -> None:
        if not isinstance(unit, Unit):
            raise TypeError(f"unit is a {type(unit).__name__}: wanted an SNU or a SoftSNU")
        if not unit.plain:
            raise ValueError(
                "OSTL has traces for the delayed reset to zero and the matrices W and R: the unit "
                "has another reset, lateral inhibition, axo-axonic or axo-somatic inputs, or a "
                "detached reset; train it by backpropagation through time"
            )
        self.unit = unit
        self.full = unit.recurrent_weight is not None
        if regime is not None:
            arguments.choice(regime, "regime", ("with-h", "without-h"))
            if regime == "with-h" and not self.full:
                raise ValueError(
                    "regime = 'with-h' for a layer without recurrence, which has no H: wanted "
                    "'without-h', which is exact for it"
                )
            self.full = regime == "with-h"
        self.restart()

    def restart(self) -> None:
        """Clear the traces: the next step is the first of a sequence."""
        self.state = None
        self._traces: dict[str, Tensor] = {}
        self._slope = self._transfer = torch.empty(0)

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """Return the outputs of one more step; traces follow.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of the step.

        Returns
        -------
        (B, units) tensor
            Outputs.
        """
        unit = self.unit
        first = self.state is None
        s, y = before = unit.start(x) if self.state is None else self.state
        drive = unit.drive(x, before)
        after = unit.transferred(drive)
        excess = after - unit.threshold
        self._transfer = _transfer_slope(unit, drive)
        direct = {"weight": x, "threshold": x.new_zeros(len(x), 1)}
        if unit.recurrent_weight is not None:
            direct["recurrent_weight"] = y
        for name, inputs in direct.items():
            if first:
                self._traces[name] = self._zeros(inputs)
            self._traces[name] = self._traced(name, self._traces[name], inputs, s, y)
        self._slope = unit.slope(excess)
        self.state = after, unit.output(excess)
        return self.state[1]

    @torch.no_grad()
    def gradients(self, signal: Tensor) -> dict[str, Tensor]:
        """Return what this step adds to the gradients of the parameters, summed over the batch.

        Parameters
        ----------
        signal : (B, units) tensor
            Gradient of the step's loss by the outputs of the step, with nothing of later steps.

        Returns
        -------
        dict of str to tensor
            ``weight`` (units, inputs), ``threshold`` (units,) and, with recurrence,
            ``recurrent_weight`` (units, units).
        """
        found = {}
        for name in self._traces:
            trace = self._output_trace(name)
            if self.full:
                found[name] = torch.einsum("bk,bkij->ij", signal, trace)
            else:
                found[name] = torch.einsum("bi,bij->ij", signal, trace)
        found["threshold"] = found["threshold"][:, 0]
        return found

    @torch.no_grad()
    def back(self, signal: Tensor) -> Tensor:
        """Return the learning signal of the layer below, through this step only.

        Parameters
        ----------
        signal : (B, units) tensor
            Learning signal of this layer.

        Returns
        -------
        (B, inputs) tensor
            ``W^T (g' h' L)``.
        """
        return (signal * self._slope * self._transfer) @ self.unit.weight

    def _zeros(self, inputs: Tensor) -> Tensor:
        """Return the first trace of a parameter: (B, units, units, N) in full, (B, units, N)."""
        between = (self.unit.units,) * (2 if self.full else 1)
        return inputs.new_zeros(len(inputs), *between, inputs.shape[1])

    def _output_trace(self, name: str) -> Tensor:
        """Return e^y of the present step, of the shape of the trace."""
        trace, slope = self._traces[name], self._slope
        if name == "threshold":
            own = torch.eye(self.unit.units, dtype=slope.dtype)[None, :, :, None]
            trace = trace - (own if self.full else 1)
        return _spread(slope, trace) * trace

    def _traced(self, name: str, trace: Tensor, inputs: Tensor, s: Tensor, y: Tensor) -> Tensor:
        """Return e^s of the new step from that of the step before, and from s and y of it."""
        unit, decay = self.unit, self.unit.decay
        total = _spread(decay * (1 - y), trace) * trace
        if len(self._slope):  # not the first step
            outputs = self._output_trace(name)
            total = total - _spread(decay * s, trace) * outputs
            if self.full and unit.recurrent_weight is not None:
                total += torch.einsum("kl,blij->bkij", unit.recurrent_weight, outputs)
        if name != "threshold":
            if self.full:
                diagonal = torch.arange(unit.units)
                total[:, diagonal, diagonal] += inputs[:, None]
            else:
                total += inputs[:, None]
        return _spread(self._transfer, trace) * total


def vectors(gradient: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return a gradient as inputs and errors, whose outer products add up to it.

    Engines take those; a gradient of traces is no product of two vectors, so a row of the matrix
    is a vector of its own.

    Parameters
    ----------
    gradient : (units, inputs) tensor
        As :meth:`OSTL.gradients` returns it.

    Returns
    -------
    x : (inputs, inputs) float32
        Unit vectors.
    d : (inputs, units) float32
        The gradient, one row per input.
    """
    d = gradient.detach().t().contiguous().numpy().astype(np.float32)
    return np.eye(len(d), dtype=np.float32), d


def _spread(values: Tensor, trace: Tensor) -> Tensor:
    """Return values (B, units) so that they multiply a trace from the left."""
    return values.reshape(*values.shape, *(1,) * (trace.ndim - 2))


def _transfer_slope(unit: Unit, drive: Tensor) -> Tensor:
    """Return g' at a drive, (B, units), as torch takes it at zero."""
    one = torch.ones_like(drive)
    if unit.transfer == "identity":
        return one
    return torch.where(drive > 0, one, 0.0 if unit.transfer == "relu" else SLOPE * one)
