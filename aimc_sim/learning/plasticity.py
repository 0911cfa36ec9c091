"""Unsupervised plasticity: spike-timing-dependent, with synaptic fatigue or without it.

Every input keeps a trace of its spikes. At a spike of the neuron each synapse grows by its input's
trace and shrinks by a constant::

    trace_i <- trace_i exp(-dt / window) + x_i [spike of input i]
    dw_i = potentiation trace_i - depression                           at a spike of the neuron

With fatigue a spike leaves the trace only the input's resource x_i, of which it uses a share U::

    x_i <- 1 - (1 - x_i) exp(-dt / recovery),    x_i <- x_i (1 - U) after a spike of input i

so that spikes of a Poisson input of the rate r leave ``1 / (1 + U r recovery)`` on average, and a
fast input no more per second than ``1 / (U recovery)`` (DERIVED). Without fatigue x_i is 1.

Sources: T. Moraitis et al., "Fatiguing STDP", IJCNN 2017, arXiv:1706.05563, abstract READ:
long-term plasticity is gated by short-term fatigue, so that correlations are learned in spite of
different rates. Its formulas were not found; resource and use are in the form of M. Tsodyks and H.
Markram (1997), which is our choice: FSTDP (Tsodyks-Markram form). The constant depression is a
choice, too: synapses of silent inputs lose. The neuron's threshold adapts to a wanted rate, which
is homeostasis of the usual kind and our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aimc_sim import arguments
from aimc_sim.learning.engine import Update
from aimc_sim.learning.synapses import Spent, Synapses
from aimc_sim.rng import Key, Purpose


@dataclass(frozen=True)
class STDP:
    """Constants of the rule.

    Attributes
    ----------
    potentiation, depression : float, dimensionless
        Change of a weight by a trace of 1, and by every spike of the neuron.
    window_seconds : float, seconds
        Time constant of the traces.
    used : float
        U, the share of the resource that a spike uses, 0 to 1; 0: no fatigue.
    recovery_seconds : float, seconds
        Time constant with which the resource recovers.
    step_seconds : float, seconds
        Time step.
    """

    potentiation: float = 0.05
    depression: float = 0.005
    window_seconds: float = 20e-3
    used: float = 0.0
    recovery_seconds: float = 0.5
    step_seconds: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse constants that are no rule."""
        for name in ("potentiation", "depression"):
            arguments.number(getattr(self, name), name, 0)
        for name in ("window_seconds", "recovery_seconds", "step_seconds"):
            if arguments.number(getattr(self, name), name, 0) == 0:
                raise ValueError(f"{name} = 0 of STDP must be > 0")
        arguments.number(self.used, "used", 0, 1)


class InputTraces:
    """Traces and resources of some inputs.

    Parameters
    ----------
    rule : STDP
        Constants.
    inputs : int
        Number of inputs.

    Attributes
    ----------
    trace, resource : (inputs,) float64, dimensionless
        State after the last step; zeros and ones at first.
    """

    def __init__(self, rule: STDP, inputs: int) -> None:
        self.rule = rule
        self.trace, self.resource = np.zeros(inputs), np.ones(inputs)
        self._fade = math.exp(-rule.step_seconds / rule.window_seconds)
        self._rest = math.exp(-rule.step_seconds / rule.recovery_seconds)

    def step(self, spikes: np.ndarray) -> None:
        """Go on by a step.

        Parameters
        ----------
        spikes : (inputs,) bool
            Inputs that spike in it.
        """
        self.trace *= self._fade
        if self.rule.used:
            self.resource += (1 - self.resource) * (1 - self._rest)
        self.trace[spikes] += self.resource[spikes]
        self.resource[spikes] *= 1 - self.rule.used

    def change(self) -> np.ndarray:
        """Return the change of all weights by a spike of the neuron now, (inputs,) float32."""
        rule = self.rule
        return (rule.potentiation * self.trace - rule.depression).astype(np.float32)


class PlasticNeuron:
    """One integrate-and-fire neuron whose synapses follow the rule.

    Parameters
    ----------
    synapses : Synapses
        (inputs, 1) array of weights.
    update : Update
        From changes to pulses, such as :class:`~aimc_sim.learning.MixedPrecision`.
    rule : STDP
        Constants of the plasticity.
    key : Key
        Of the noise of products and of the update's draws.
    threshold : float
        Sum of weights of inputs that spike in one step, from which the resting neuron spikes;
        adapts from there on.
    rate_hertz : float, hertz
        Wanted rate of the neuron.
    adaptation : float
        Relative rise of the threshold at a spike; it falls in every step so that both are equal at
        the wanted rate. 0: the threshold is held constant.
    membrane_seconds : float, seconds
        Time constant of the membrane.

    Attributes
    ----------
    spent : Spent
        Pulses, time and energy so far.
    spikes : int
        Spikes of the neuron so far.
    """

    def __init__(
        self, synapses: Synapses, update: Update, rule: STDP, key: Key,
        threshold: float, rate_hertz: float = 5.0, adaptation: float = 0.01,
        membrane_seconds: float = 2e-3,
    ) -> None:  # fmt: skip
        if synapses.shape[1] != 1:
            raise ValueError(
                f"the array has {synapses.shape[1]} columns: PlasticNeuron is one neuron, (inputs, "
                "1)"
            )
        self.synapses, self.rule = synapses, rule
        self.engine = update.engine(synapses, key.child(Purpose.LEARNING_UPDATE))
        self.traces = InputTraces(rule, synapses.shape[0])
        self.threshold = arguments.number(threshold, "threshold", 0)
        wanted = arguments.number(rate_hertz, "rate_hertz", 0, 1 / rule.step_seconds)
        self._rise = 1 + arguments.number(adaptation, "adaptation", 0)
        self._fall = self._rise ** (-wanted * rule.step_seconds)
        membrane = arguments.number(membrane_seconds, "membrane_seconds", 0)
        self._leak = math.exp(-rule.step_seconds / membrane) if membrane else 0.0
        self._key, self._membrane, self._steps, self.spikes = key, 0.0, 0, 0
        self.spent = Spent()

    def step(self, spikes: np.ndarray, t_seconds: float) -> bool:
        """Go on by a step, with plasticity where the neuron spikes; return whether it does.

        Parameters
        ----------
        spikes : (inputs,) bool
            Inputs that spike in it.
        t_seconds : float, seconds
            Time of the step, not before the last one.
        """
        self.traces.step(spikes)
        self._membrane *= self._leak
        if spikes.any():
            y, variance = self.synapses.products(spikes[None].astype(np.float32), t_seconds)
            xi = 0.0
            if variance[0, 0] > 0:
                generator = self._key.child(Purpose.MVM_NOISE, self._steps).generator()
                xi = generator.standard_normal() * math.sqrt(variance[0, 0])
            self._membrane += float(y[0, 0]) + xi
        self._steps += 1
        fires = self._membrane >= self.threshold
        self.threshold *= self._fall
        if not fires:
            return False
        self._membrane, self.threshold = 0.0, self.threshold * self._rise
        x, d = self.traces.change()[None], np.full((1, 1), -1, np.float32)
        self.spent = self.spent + self.engine.step(x, d, 1.0, t_seconds, self.spikes)
        self.spikes += 1
        return True
