"""Spiking neural units and integrate-and-fire neurons, written as recurrent layers of torch.

The recursion with its sources: :mod:`aimc_sim.digital.spiking`. A :class:`Unit` has matrices of its
own; :class:`LIF` is neurons only, behind any layer that makes their inputs. Both run over sequences
(T, B, ...), or (B, T, ...) with ``batch_first``, and go on a chip
(:meth:`aimc_sim.Chip.from_model`) for any number of steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.digital import spiking
from aimc_sim.digital.spiking import (
    SLOPE,
    SURROGATES,
    Firing,
    Neuron,
    NeuronWeights,
    Nonlinearity,
    Reset,
)

__all__ = ["LIF", "SLOPE", "SNU", "Nonlinearity", "SoftSNU", "Unit", "UnitState"]

UnitState = tuple[Tensor, ...]
"""State s and output y of the last step, (B, units) each, and the axo-somatic state where there is
one."""


def _neuron(output: Firing, **given: Any) -> Neuron:
    """Return checked neurons; messages name the arguments of the layers here."""
    arguments.choice(given["transfer"], "transfer", ("identity", "relu", "leaky"))
    arguments.choice(given["reset"], "reset", ("zero", "subtract", "none"))
    arguments.choice(given["surrogate"], "surrogate", tuple(SURROGATES))
    sharpness = given.pop("sharpness")
    if sharpness is None:
        sharpness = SURROGATES[given["surrogate"]][0]
    sharpness = arguments.number(sharpness, "sharpness")
    if sharpness <= 0:
        raise ValueError(f"sharpness = {sharpness:g}: wanted a number above 0")
    for name in ("delayed", "inhibition", "detached"):
        arguments.flag(given[name], name)
    if given["inhibition"] and given["reset"] != "zero":
        raise ValueError(
            f"inhibition with reset = '{given['reset']}': the largest output resets all neurons of "
            "a layer to zero; choose reset='zero'"
        )
    decay = arguments.number(given.pop("decay"), "decay", 0, 1)
    return Neuron(output=output, decay=decay, sharpness=sharpness, **given)


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
    reset : "zero", "subtract" or "none"
        Effect of an output on the state.
    delayed : bool
        Whether the reset acts in the next step, as in the paper, or in the same one.
    inhibition : bool
        Lateral inhibition: the largest output of the layer resets every unit.
    axo_axonic : bool
        Whether a second product of inputs (and outputs) gates the output: sSNU-o. RECALLED form.
    axo_somatic : float or None
        rho, the share of the axo-somatic state that is left after a step, 0 to 1: a third product
        moves the threshold, sSNU-a; None: none does. RECALLED form.
    surrogate : str
        Stand-in for the derivative of the step, a name in
        :data:`aimc_sim.digital.spiking.SURROGATES`; of no effect on a sigmoid.
    sharpness : float or None
        Of the surrogate; None: its own default.
    detached : bool
        Whether gradients stop at the reset, as in snntorch.
    batch_first : bool
        Whether sequences are (B, T, inputs) instead of (T, B, inputs).

    Attributes
    ----------
    weight : (units, inputs) parameter
        W, uniform within +-1 / sqrt(inputs) at first.
    recurrent_weight : (units, units) parameter or None
        R, uniform within +-1 / sqrt(units) at first.
    threshold : (units,) parameter
        theta.
    gate_weight, gate_recurrent_weight, gate_bias : parameters or None
        W_o and R_o like W and R, and b_o, (units,), zero at first: axo-axonic only.
    soma_weight, soma_recurrent_weight, soma_strength : parameters or None
        W_a and R_a like W and R, and c, (units,), one at first: axo-somatic only.
    neuron : Neuron
        All else.
    """

    _output: Firing

    def __init__(
        self,
        inputs: int,
        units: int,
        decay: float = 0.8,
        recurrent: bool = False,
        transfer: Nonlinearity = "identity",
        threshold: float = 1.0,
        *,
        reset: Reset = "zero",
        delayed: bool = True,
        inhibition: bool = False,
        axo_axonic: bool = False,
        axo_somatic: float | None = None,
        surrogate: str = "tanh",
        sharpness: float | None = None,
        detached: bool = False,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = arguments.whole(inputs, "inputs", 1, 2**31)
        self.units = arguments.whole(units, "units", 1, 2**31)
        gate = arguments.flag(axo_axonic, "axo_axonic")
        if axo_somatic is not None:
            axo_somatic = arguments.number(axo_somatic, "axo_somatic", 0, 1)
        self.neuron = _neuron(
            self._output, decay=decay, transfer=transfer, reset=reset, delayed=delayed,
            inhibition=inhibition, gate=gate, adaptation=axo_somatic, surrogate=surrogate,
            sharpness=sharpness, detached=detached,
        )  # fmt: skip
        self.batch_first = arguments.flag(batch_first, "batch_first")
        first = arguments.number(threshold, "threshold")
        fed = arguments.flag(recurrent, "recurrent")
        self.weight = self._matrix(inputs)
        self.recurrent_weight = self._matrix(units) if fed else None
        self.threshold = nn.Parameter(torch.full((units,), first))
        soma = axo_somatic is not None
        self.gate_weight = self._matrix(inputs) if gate else None
        self.gate_recurrent_weight = self._matrix(units) if gate and fed else None
        self.gate_bias = nn.Parameter(torch.zeros(units)) if gate else None
        self.soma_weight = self._matrix(inputs) if soma else None
        self.soma_recurrent_weight = self._matrix(units) if soma and fed else None
        self.soma_strength = nn.Parameter(torch.ones(units)) if soma else None

    def _matrix(self, inputs: int) -> nn.Parameter:
        """Return a first matrix, (units, inputs)."""
        made = nn.Parameter(torch.empty(self.units, inputs))
        nn.init.uniform_(made, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
        return made

    @property
    def decay(self) -> float:
        """Share l of the state that is left after a step."""
        return self.neuron.decay

    @property
    def transfer(self) -> Nonlinearity:
        """Name of g."""
        return self.neuron.transfer

    @property
    def weights(self) -> NeuronWeights:
        """All arrays, as the recursion takes them."""
        inputs = (self.weight, self.gate_weight, self.soma_weight)
        fed = (self.recurrent_weight, self.gate_recurrent_weight, self.soma_recurrent_weight)
        return NeuronWeights(
            tuple(one for one in inputs if one is not None),
            tuple(one for one in fed if one is not None),
            self.threshold, self.gate_bias, self.soma_strength,
        )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether units are those of the first paper: delayed reset to zero, W and R only."""
        neuron = self.neuron
        return (
            neuron.reset == "zero" and neuron.delayed and not neuron.inhibition
            and neuron.parts == 1 and not neuron.detached
        )  # fmt: skip

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
        return spiking.fired(self.neuron, excess)

    def slope(self, excess: Tensor) -> Tensor:
        """Return the derivative of h that the backward pass takes.

        Parameters
        ----------
        excess : any shape float tensor
            s - theta.

        Returns
        -------
        tensor
            dy / ds, of the same shape.
        """
        return spiking.slope(self.neuron, excess)

    def start(self, x: Tensor) -> UnitState:
        """Return the state before the first step: zeros.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of a step: size of the batch, number format and device.
        """
        return spiking.start(x, self.weights, self.neuron)

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
            ``W x + R y + l s (1 - y)``, or as another reset has it.
        """
        s, y = state[:2]
        fed = self.recurrent_weight
        back = None if fed is None else nn.functional.linear(y, fed)
        made = nn.functional.linear(x, self.weight)
        return spiking.total(self.neuron, made, back, s, y, self.threshold)

    def transferred(self, drive: Tensor) -> Tensor:
        """Return g of the drive, (B, units)."""
        return spiking.transferred(self.neuron, drive)

    def step(self, x: Tensor, state: UnitState) -> UnitState:
        """Return state and output after one more step.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of the step.
        state : UnitState
            Of the step before.
        """
        return spiking.step(x, state, self.weights, self.neuron)

    def forward(self, x: Tensor, state: UnitState | None = None) -> tuple[Tensor, UnitState]:
        """Return the outputs of all steps and the last state.

        Parameters
        ----------
        x : (T, B, inputs) tensor, or (B, T, inputs) with ``batch_first``
            Inputs, step by step.
        state : UnitState, optional
            Of the step before the first; zeros if it is left out. A sequence in parts, with the
            state handed on, equals the whole.

        Returns
        -------
        (T, B, units) or (B, T, units) tensor, UnitState
            Outputs, and the state of the last step.
        """
        batch = 0 if self.batch_first else 1
        if x.ndim != 3 or x.shape[2] != self.inputs or not x.shape[1 - batch]:
            wanted = "B, T" if self.batch_first else "T, B"
            raise ValueError(
                f"{type(self).__name__} got inputs of the shape {tuple(x.shape)}: wanted ({wanted},"
                f" {self.inputs}) with at least one step"
            )
        return spiking.sequence(x, state, self.weights, self.neuron, batch)

    def extra_repr(self) -> str:
        """Return the arguments, for printing."""
        return f"{self.inputs}, {self.units}, decay={self.decay:g}"


class SNU(Unit):
    """Spiking neural unit: the output is 1 where the state is above the threshold, else 0."""

    _output: Firing = "spike"


class SoftSNU(Unit):
    """Soft SNU (sSNU): the output is the sigmoid of the state above the threshold."""

    _output: Firing = "sigmoid"


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons without a matrix of their own.

    Parameters
    ----------
    decay : float
        l, the share of the state that is left after a step, 0 to 1.
    threshold : float or (units,) tensor
        First value of the threshold, one for all neurons or one each.
    reset : "zero", "subtract" or "none"
        Effect of a spike on the state.
    delayed : bool
        Whether the reset acts in the next step (snntorch's default) or in the same one (norse's).
    gain : float
        With which inputs enter the state: dt / tau of norse's ``lif_box``, whose decay is 1 - gain.
    inhibition : bool
        Whether a spike of any neuron along the last dimension resets all of them.
    surrogate, sharpness, detached, batch_first
        As of :class:`Unit`.

    Attributes
    ----------
    threshold : (units,) or () parameter
        theta.
    neuron : Neuron
        All else.

    Examples
    --------
    >>> import torch
    >>> y, state = LIF(decay=0.5)(torch.full((5, 1, 1), 0.6))
    >>> y.flatten().tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """

    def __init__(
        self,
        decay: float = 0.8,
        threshold: float | Tensor = 1.0,
        *,
        reset: Reset = "zero",
        delayed: bool = True,
        gain: float = 1.0,
        inhibition: bool = False,
        surrogate: str = "tanh",
        sharpness: float | None = None,
        detached: bool = False,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.neuron = _neuron(
            "spike", decay=decay, transfer="identity", reset=reset, delayed=delayed,
            gain=arguments.number(gain, "gain"), inhibition=inhibition, surrogate=surrogate,
            sharpness=sharpness, detached=detached,
        )  # fmt: skip
        self.batch_first = arguments.flag(batch_first, "batch_first")
        if not isinstance(threshold, Tensor):
            threshold = torch.tensor(arguments.number(threshold, "threshold"))
        self.threshold = nn.Parameter(threshold.detach().clone().float())

    def forward(self, x: Tensor, state: UnitState | None = None) -> tuple[Tensor, UnitState]:
        """Return the spikes of all steps and the last state.

        Parameters
        ----------
        x : (T, B, ...) tensor, or (B, T, ...) with ``batch_first``
            Inputs of every neuron, step by step.
        state : UnitState, optional
            Of the step before the first; zeros if it is left out.

        Returns
        -------
        (T, B, ...) or (B, T, ...) tensor, UnitState
            Spikes, and the state of the last step.
        """
        batch = 0 if self.batch_first else 1
        if x.ndim < 3 or not x.shape[1 - batch]:
            wanted = "B, T" if self.batch_first else "T, B"
            raise ValueError(
                f"LIF got inputs of the shape {tuple(x.shape)}: wanted ({wanted}, ...) with at "
                "least one step"
            )
        return spiking.sequence(x, state, NeuronWeights((), (), self.threshold), self.neuron, batch)

    def extra_repr(self) -> str:
        """Return the arguments, for printing."""
        how = self.neuron
        return f"decay={how.decay:g}, reset={how.reset}, delayed={how.delayed}"
