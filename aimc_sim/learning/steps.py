"""Weights on devices that pulses move step by step: one of both directions, or a pair going up.

One device and a fixed reference make a weight ``w = scale (p - r)``; a pair of devices that go up
only makes ``w = scale (p+ - p-)``, and is refreshed where both have grown: it is read, both devices
are RESET, and the difference is written again, open loop.

Refresh: as AIHWKit's unit cell of one-sided devices (``rpu_onesided_device.cpp`` at commit
4545f11): larger device above 0.75 and smaller above 0.25 of the nominal upper bound. Difference:
there the write is a random train that counts on a constant step; here it is the number of pulses
that the nominal device's own curve asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aimc_sim import arguments
from aimc_sim.device import steps
from aimc_sim.device.families.steps import SteppedState, siemens, siemens_per_weight
from aimc_sim.learning.reading import Reading
from aimc_sim.learning.synapses import Device, Spent, Synapses, demand_device
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec, StepSpec


@dataclass(frozen=True)
class StepDevices(Device):
    """Devices of :class:`~aimc_sim.spec.StepSpec` behind the weights of an array.

    Attributes
    ----------
    device : StepSpec
        Of both directions, or upward only: then two make a weight.
    scale : float, dimensionless, optional
        Weight of the network per weight of the device. Default: such that the nominal device
        reaches both ends of the range of weights.
    start : "exact" or "pulses"
        How the weights to begin with are written: without error within the bounds of every device
        (an assumption), or by the loop of the device (``device.programming``).
    refresh_above, refresh_below : float
        A pair is refreshed if a read finds the larger device above the first and the smaller above
        the second, in nominal upper bounds.
    reading : Reading
        Converter of the reads before a refresh.
    """

    device: StepSpec
    scale: float | None = None
    start: Literal["exact", "pulses"] = "exact"
    refresh_above: float = 0.75
    refresh_below: float = 0.25
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        """Refuse a specification that cannot be an array."""
        if not isinstance(self.device, StepSpec):
            raise TypeError(
                f"device of StepDevices is a {type(self.device).__name__}: wanted a StepSpec, for "
                "example presets.ecram()"
            )
        arguments.choice(self.start, "start", ("exact", "pulses"))
        if self.start == "pulses" and self.device.programming is None:
            raise ValueError(
                "start = 'pulses' with a device that has no writing loop (programming = None); "
                "give it one, or take start = 'exact'"
            )
        if self.scale is not None:
            arguments.number(self.scale, "scale", 1e-9, 1e9)

    def synapses(
        self, start: np.ndarray, weight_range: float, key: Key, t_seconds: float = 0.0
    ) -> StepSynapses:
        """Return an array of such devices; see :meth:`Device.synapses`."""
        spec = self.device
        reach = spec.upper if spec.directions == "up" else min(spec.upper, -spec.lower)
        scale = weight_range / reach if self.scale is None else self.scale
        return StepSynapses(self, scale, start, key, t_seconds)

    def on_chip(self, chip: DeviceSpec) -> StepSpec:
        """Return the device; see :meth:`Device.on_chip`."""
        return self.device


class StepSynapses(Synapses):
    """An array of stepped devices, or of pairs of them.

    Parameters
    ----------
    kind : StepDevices
        Specification.
    scale : float, dimensionless
        Weight of the network per weight of the device.
    start : (R, C) float32, dimensionless
        Weights of the network to begin with; those out of reach end at the device's bound.
    key : Key
        Of all draws.
    t_seconds : float, seconds
        Time of the start.

    Attributes
    ----------
    state : StepState
        The devices; of pairs first all that raise weights, then all that lower them.
    pairs : int
        Weights behind pairs: their number, or 0.
    """

    def __init__(
        self, kind: StepDevices, scale: float, start: np.ndarray, key: Key, t_seconds: float = 0.0
    ) -> None:
        spec = kind.device
        self.kind, self.scale, self.key = kind, float(scale), key
        self.shape = (int(start.shape[0]), int(start.shape[1]))
        n = self.shape[0] * self.shape[1]
        self.pairs = n if spec.directions == "up" else 0
        self.state = steps.fresh(n + self.pairs, spec, key, t_seconds=t_seconds)
        if self.pairs:
            middle = float(steps.mean_steps(spec, spec.upper / 2)[0])
            self.up = self.down = self.scale * middle
            self.bounds = (-self.scale * spec.upper, self.scale * spec.upper)
        else:
            up, down = steps.mean_steps(spec, 0.0)
            self.up, self.down = self.scale * float(up), self.scale * float(down)
            self.bounds = (self.scale * spec.lower, self.scale * spec.upper)
        self._reference: np.ndarray = np.zeros((1, 1), np.float32)
        if not self.pairs:
            self._reference = steps.references(self.state).reshape(self.shape)
        self.checks = 0
        self._begin(np.asarray(start, np.float32), t_seconds)

    @property
    def full_weight(self) -> float:
        """Weight of one device at the largest conductance of its specification."""
        device = self.kind.device
        return self.scale * device.g_max_siemens / siemens_per_weight(device)

    def _begin(self, start: np.ndarray, t_seconds: float) -> None:
        wanted = (start / np.float32(self.scale)).astype(np.float32)
        if self.pairs:
            base = np.clip(self.state.p.reshape(2, *self.shape), 0.0, None)
            target = np.stack([np.maximum(wanted, 0.0), np.maximum(-wanted, 0.0)])
            # A device that carries nothing stays in RESET; the other makes the difference.
            idle = base[::-1]
            target = np.where(target > 0, target + idle, base).astype(np.float32)
        else:
            target = wanted + self._reference
        everyone = np.ones(self.state.p.shape, bool)
        if self.kind.start == "exact":
            steps.put(self.state, target.ravel(), everyone, t_seconds)
        else:
            steps.write(self.state, target.ravel(), everyone, t_seconds)

    # ------------------------------------------------------------------------- weights

    def _weights(self, states: np.ndarray) -> np.ndarray:
        if self.pairs:
            up, down = states.reshape(2, *self.shape)
            found: np.ndarray = np.float32(self.scale) * (up - down)
        else:
            found = np.float32(self.scale) * (states.reshape(self.shape) - self._reference)
        kept: np.ndarray = found.astype(np.float32)
        return kept

    def weights(self, t_seconds: float) -> np.ndarray:
        """Return the weights at a time; see :meth:`Synapses.weights`."""
        return self._weights(steps.states(self.state, t_seconds))

    def variances(self, t_seconds: float) -> np.ndarray | None:
        """Return the variance of fresh noise; see :meth:`Synapses.variances`."""
        std = self.kind.device.read_noise * self.scale
        if std == 0:
            return None
        return np.full(self.shape, std**2 * (2 if self.pairs else 1), np.float32)

    def read(self, t_seconds: float, number: int = 0) -> np.ndarray:
        """Return one noisy read of all weights; see :meth:`Synapses.read`."""
        return self._weights(steps.states(self.state, t_seconds, number))

    # ------------------------------------------------------------------------- pulses

    def pulse(self, index: np.ndarray, counts: np.ndarray, t_seconds: float) -> Spent:
        """Give pulses to some synapses, rows one after the other; see :meth:`Synapses.pulse`."""
        given = steps.pulse(self.state, index, counts, t_seconds, self.pairs)
        longest = 0
        if given:
            rows = np.asarray(index) // self.shape[1]
            first = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
            longest = int(np.maximum.reduceat(np.abs(counts), first).sum())
        return self._spent(given, longest)

    def coincide(
        self, rows: np.ndarray, columns: np.ndarray, signs: tuple[np.ndarray, np.ndarray],
        t_seconds: float,
    ) -> Spent:  # fmt: skip
        """Give pulses by coincidence, all at once in each slot; see :meth:`Synapses.coincide`."""
        given = steps.coincide(self.state, rows, columns, signs, t_seconds, self.pairs)
        used = np.bitwise_or.reduce(rows, axis=1) & np.bitwise_or.reduce(columns, axis=1)
        return self._spent(given, int(np.bitwise_count(used).sum()))

    def _spent(self, pulses: int, slots: int) -> Spent:
        seconds, joules = steps.cost(self.kind.device)
        return Spent(pulses=pulses, seconds=slots * seconds, joules=pulses * joules)

    def refresh(self, t_seconds: float) -> Spent:
        """Refresh pairs of which both devices have grown; nothing for other devices."""
        if not self.pairs:
            return Spent()
        kind, spec, n = self.kind, self.kind.device, self.pairs
        number, self.checks = self.checks, self.checks + 1
        # Numbers of reads from 2^32 on are those of checks: callers' own reads stay below.
        found = steps.states(self.state, t_seconds, number + 2**32)
        found = kind.reading.converted(found, self.key, number)
        up, down = found[:n], found[n:]
        larger, smaller = np.maximum(up, down), np.minimum(up, down)
        due = (larger > kind.refresh_above * spec.upper) & (
            smaller > kind.refresh_below * spec.upper
        )
        pairs = np.flatnonzero(due)
        reads = 2 * self.shape[0]
        spent = Spent(reads=reads, seconds=reads * kind.reading.seconds)
        if pairs.size == 0:
            return spent
        resets = steps.reset(self.state, np.concatenate([pairs, pairs + n]), t_seconds)
        rows = len(np.unique(pairs // self.shape[1]))
        spent = spent + self._spent(resets, 2 * rows)
        spent = spent + Spent(resets=resets, refreshed=len(pairs))
        difference = (up - down)[pairs]
        counts = np.sign(difference) * self._pulses_to(np.abs(difference))
        again = counts != 0
        return spent + self.pulse(pairs[again], counts[again].astype(np.int32), t_seconds)

    def _pulses_to(self, states: np.ndarray) -> np.ndarray:
        """Return the pulses that bring the nominal device from RESET nearest to states above it."""
        spec = self.kind.device
        assert spec.reset is not None  # devices that go up only have one
        nominal = steps.fresh(1, steps.nominal_device(spec), Key(0))
        base, levels = float(nominal.p[0]), [0.0]
        most = float(np.max(states, initial=0.0))
        while levels[-1] < most and len(levels) < _MOST_PULSES:
            steps.pulse(nominal, np.array([0]), np.array([1], np.int32), 0.0)
            levels.append(float(nominal.p[0]) - base)
            if levels[-1] <= levels[-2]:
                break
        middles = (np.array(levels[1:]) + np.array(levels[:-1])) / 2
        return np.searchsorted(middles, states)

    def sibling(self, key: Key, t_seconds: float = 0.0) -> StepSynapses:
        """Return another array of such devices, with weights of zero.

        Parameters
        ----------
        key : Key
            Of its draws.
        t_seconds : float, seconds
            Time of its start.
        """
        return StepSynapses(self.kind, self.scale, np.zeros(self.shape, np.float32), key, t_seconds)

    def elements(self, chip: DeviceSpec, t_seconds: float) -> tuple[SteppedState, float]:
        """Return the devices as a chip keeps them; see :meth:`Synapses.elements`.

        A single device and its reference, or the two devices of a pair, are the elements of a
        cell. Conductances follow the straight line of the specification, below zero as well.
        """
        demand_device(chip, self.kind.device)
        lead = (-1, *self.shape)
        found = steps.states(self.state, t_seconds).reshape(lead)
        rates = None
        if self.kind.device.leak is not None:
            rates = self.state.rates[: self.state.p.size].reshape(lead)
        if not self.pairs:
            found = np.stack([found[0], self._reference])
            rates = None if rates is None else np.stack([rates[0], np.zeros_like(rates[0])])
        fixed = np.zeros(found.shape, bool)
        fixed[1] = not self.pairs
        g = siemens(found, self.kind.device)
        g[np.abs(g) < 2.0**-22 * chip.g_max_siemens] = 0.0  # states are rounded to float32
        g = g.astype(np.float32)
        state = SteppedState(g, np.ones(g.shape, bool), g.copy(), rates, fixed)
        return state, siemens_per_weight(self.kind.device) / self.scale

    # ------------------------------------------------------------------------- state

    def writes(self) -> np.ndarray:
        """Return the pulses in the life of every device, (R, C) or (2, R, C) uint32."""
        lead = (2,) if self.pairs else ()
        return self.state.events.reshape(*lead, *self.shape).copy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state: devices, and the number of checks."""
        return {**self.state.arrays(), "checks": np.array(self.checks)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        self.state.load(arrays)
        self.checks = int(arrays["checks"])


def stepped(chip: DeviceSpec) -> Device | None:
    """Return the devices of a chip as those of an array, if they move step by step."""
    return StepDevices(chip) if isinstance(chip, StepSpec) else None


_MOST_PULSES = 10_000
"""Pulses of a write in a refresh at most."""
