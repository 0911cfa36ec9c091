"""Pairs of phase-change devices that pulses can only make more conductive.

A weight is the difference of two devices. A pulse up goes to the first, one down to the second,
blind: nothing is read back. Both only grow, so a pair is refreshed when it saturates: it is read,
both devices are RESET, and the difference is written again.

Several devices per polarity (multi-memristive synapses) count with their mean, and pulses go to
them in turn: one counter for the whole array says which device is next. I. Boybat et al., Nature
Communications 9, 2514 (2018), arXiv:1711.06507, RECALLED (high certainty).

Source of the scheme: S. R. Nandakumar et al., "Mixed-precision deep learning based on computational
memory", Frontiers in Neuroscience 14, 406 (2020), doi:10.3389/fnins.2020.00406; its abstract was
read. Numbers of ranges, of the mean step and of the refresh are recalled from the paper
(medium certainty), not read in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aimc_sim.arguments import choice, whole
from aimc_sim.device import pulses
from aimc_sim.device.pcm import PcmState, PulsedClock, curve_table
from aimc_sim.device.pulses import Pulse, PulseState
from aimc_sim.kernels import ENOUGH, sized
from aimc_sim.kernels import learning as kernels
from aimc_sim.learning.ideal import IdealDevice
from aimc_sim.learning.synapses import Device, Spent, Synapses, demand_device
from aimc_sim.presets import pcm_nandakumar_2018
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import DeviceSpec, PcmSpec

_uS = 1e-6


@dataclass(frozen=True)
class PcmPairs(Device):
    """Weights on pairs of devices with a law of accumulating pulses.

    Attributes
    ----------
    device : PcmSpec
        With ``pulses.accumulation``. Default: that of Nandakumar et al. 2018.
    working_siemens : float, siemens
        Difference of the pair that stands for the end of the range of weights. RECALLED (medium):
        8 uS.
    step_siemens : float, siemens
        Mean change by a pulse, as updates count on it. RECALLED (medium): 0.77 uS.
    start : "written" or "random"
        The weights of the network, as a program-and-verify loop without error would leave them
        ``t0`` before the start (assumption); or conductances of a normal distribution around
        ``base_siemens``, whatever the weights of the network.
    base_siemens, base_std_siemens : float, siemens
        Conductance of the devices of a weight of zero, and its standard deviation for a random
        start. RECALLED (medium): 1.6 and 0.83 uS.
    refresh_above_siemens, refresh_below_siemens : float, siemens
        A pair is refreshed if a read finds the larger device above the first and the difference
        below the second. RECALLED (medium): 8 and 6 uS.
    refresh_pulses : int
        Most pulses, of each device, that write the difference again. RECALLED (medium): 3.
    devices : int
        Devices per polarity; conductances above are then the mean of those of a polarity, and a
        pulse changes the weight by one share of ``step_siemens``.
    """

    device: PcmSpec = field(default_factory=pcm_nandakumar_2018)
    working_siemens: float = 8 * _uS
    step_siemens: float = 0.77 * _uS
    start: Literal["written", "random"] = "written"
    base_siemens: float = 1.6 * _uS
    base_std_siemens: float = 0.83 * _uS
    refresh_above_siemens: float = 8 * _uS
    refresh_below_siemens: float = 6 * _uS
    refresh_pulses: int = 3
    devices: int = 1

    def __post_init__(self) -> None:
        """Refuse devices that cannot be pairs."""
        choice(self.start, "start", ("written", "random"))
        check_device(self.device)
        law = self.device.pulses
        assert law is not None  # checked
        top = law.high_siemens - law.low_siemens
        for name in ("working_siemens", "step_siemens", "base_siemens"):
            value = getattr(self, name)
            if not 0 < value <= top * (1 + 1e-9):
                raise ValueError(
                    f"{name} = {value:.3g} S of PcmPairs must lie above 0 and in the range of the "
                    f"device's pulses, {top:.3g} S"
                )
        if self.refresh_pulses < 1:
            raise ValueError(f"refresh_pulses = {self.refresh_pulses} of PcmPairs must be >= 1")
        whole(self.devices, "devices of PcmPairs", 1, 2**10)

    def synapses(
        self, start: np.ndarray, weight_range: float, key: Key, t_seconds: float = 0.0
    ) -> PairSynapses:
        """Return an array of pairs; see :meth:`Device.synapses`."""
        return PairSynapses(self, start, weight_range, key, t_seconds)

    def on_chip(self, chip: DeviceSpec) -> PcmSpec:
        """Return the device of the pairs; see :meth:`Device.on_chip`."""
        return self.device


def pairs_of(chip: DeviceSpec) -> Device | None:
    """Return the pairs that a chip's devices make; None if they are of another family.

    Parameters
    ----------
    chip : DeviceSpec
        With a law of accumulating pulses, pairs are made of them. Phase-change devices without
        one get that of Nandakumar et al. 2018: the 64-core chip's own publication describes full
        SET, RESET and partial RESET, and no accumulation. Ideal ones get ideal steps.
    """
    if not isinstance(chip, PcmSpec):
        return None
    if chip.pulses is not None and chip.pulses.accumulation is not None:
        return PcmPairs(chip)
    if (chip.programming, chip.drift, chip.read_noise, chip.reset.std_siemens) == (
        None, None, None, 0.0,
    ):  # fmt: skip
        return IdealDevice()
    return PcmPairs()


def check_device(device: PcmSpec) -> None:
    """Raise if a device lacks pulses that accumulate, or has what pulses have no law for."""
    if not isinstance(device, PcmSpec):
        raise TypeError(
            f"device of PcmPairs is a {type(device).__name__}: wanted a PcmSpec, for example "
            "presets.pcm_nandakumar_2018()"
        )
    if device.pulses is None or device.pulses.accumulation is None:
        raise ValueError(
            "the device of PcmPairs has no law of accumulating pulses (pulses.accumulation = "
            "None); take one that has, for example presets.pcm_nandakumar_2018()"
        )
    noise = device.read_noise
    if noise is not None and noise.band != "per_mvm":
        raise ValueError(
            f"the device of PcmPairs has read noise of the band '{noise.band}'; products of "
            "arrays that learn take the noise that is fresh in each (read_noise.band = 'per_mvm')"
        )
    for name in ("faults", "temperature"):
        if getattr(device, name) is not None:
            raise ValueError(
                f"the device of PcmPairs has '{name}', which the laws of pulses do not know; set "
                "it to None"
            )


class PairSynapses(Synapses):
    """An array of pairs; devices (2 N, R, C) with N per polarity, those that go up first.

    Parameters
    ----------
    kind : PcmPairs
        Specification.
    start : (R, C) float32, dimensionless
        Weights to begin with.
    weight_range : float, dimensionless
        Weight that ``working_siemens`` stand for.
    key : Key
        Of all draws.
    t_seconds : float, seconds
        Time of the start.
    """

    def __init__(
        self, kind: PcmPairs, start: np.ndarray, weight_range: float, key: Key, t_seconds: float
    ) -> None:
        self.kind, self.key = kind, key
        self.shape = (int(start.shape[0]), int(start.shape[1]))
        self.siemens_per_weight = kind.working_siemens / weight_range
        self._per_siemens = np.float32(1 / (self.siemens_per_weight * kind.devices))
        self.up = self.down = kind.step_siemens / (self.siemens_per_weight * kind.devices)
        law = kind.device.pulses
        assert law is not None  # checked with the specification
        top = (law.high_siemens - law.low_siemens) / self.siemens_per_weight
        self.bounds = (-top, top)
        self._law = law
        self._trains = pulses.PulseTrains(kind.device, key)
        self._accumulating = pulses.cost(kind.device, Pulse.ACCUMULATE)
        self._device_words = np.array(key.child(Purpose.PULSE_DEVICE).words())
        self._tables()
        g = self._start(start, t_seconds)
        self.state = PulseState(
            g,
            self._pulses_to(g),
            np.zeros(g.shape, np.uint32),
            np.full(g.shape, t_seconds - kind.device.t0_seconds),
        )
        self.refreshes = 0
        self.turn = 0
        self._nu = self._exponents()
        self._w, self._v = np.zeros((2, *self.shape), np.float32)
        self._valid, self._at = np.zeros(self.shape[0], bool), -np.inf

    @property
    def full_weight(self) -> float:
        """Weight of one device at the largest conductance of its specification."""
        return self.kind.device.g_max_siemens / (self.siemens_per_weight * self.kind.devices)

    # ------------------------------------------------------------------------- start

    def _start(self, start: np.ndarray, t_seconds: float) -> np.ndarray:
        kind, low = self.kind, self._law.low_siemens
        if kind.start == "random":
            generator = self.key.child(Purpose.LEARNING_DEVICE).generator()
            shape = (2 * kind.devices, *self.shape)
            g = generator.normal(kind.base_siemens, kind.base_std_siemens, shape)
            return np.clip(g, low, self._law.high_siemens).astype(np.float32)
        wanted = np.abs(start, dtype=np.float64) * self.siemens_per_weight
        worst = float(wanted.max(initial=0.0))
        if worst > self._law.high_siemens - low:
            raise ValueError(
                f"a weight of {worst / self.siemens_per_weight:.3g} is beyond the devices: pairs "
                f"reach {self.bounds[1]:.3g}; choose a larger weight_range in prepare"
            )
        smaller = np.maximum(kind.base_siemens - wanted / 2, low)
        smaller = np.minimum(smaller, self._law.high_siemens - wanted)
        larger = smaller + wanted
        positive = start >= 0
        pair = [np.where(positive, larger, smaller), np.where(positive, smaller, larger)]
        return np.repeat(np.stack(pair), kind.devices, axis=0).astype(np.float32)

    def _pulses_to(self, g: np.ndarray) -> np.ndarray:
        """Return the pulses that bring a mean device from RESET to conductances, uint16."""
        a = self._law.accumulation
        assert a is not None  # checked with the specification
        level, levels = self.kind.device.reset.mean_siemens, [0.0]
        for p in range(1, 64):
            early = np.exp(-p / a.decay_pulses)
            level += a.mean_slope * level + a.mean_offset_siemens + a.mean_first_siemens * early
            levels.append(max(level, levels[-1]))
        middles = (np.array(levels[1:]) + np.array(levels[:-1])) / 2
        return np.searchsorted(middles, g).astype(np.uint16)

    # ----------------------------------------------------------------------- products

    def _tables(self) -> None:
        drift = self.kind.device.drift
        self._laws = PulsedClock.of(self.kind.device)
        self._noise_scale = self._laws.noise_scale
        self._curves = tuple(
            np.array(curve_table(curve))
            for curve in (
                (None, None) if drift is None else (drift.exponent_mean, drift.exponent_std)
            )
        )

    def _exponents(self) -> np.ndarray:
        """Return the drift exponent of every device; of one where all are equal."""
        drift = self.kind.device.drift
        if drift is None:
            return np.zeros((1, 1, 1), np.float32)
        mean, std = drift.exponent_mean, drift.exponent_std
        still = mean.low == mean.high and mean.knee is None
        if still and std.high == 0 and std.knee is None:
            return np.full((1, 1, 1), drift.scale * mean.low, np.float32)
        nu = np.empty(self.state.g.shape, np.float32)
        self._renew(nu, np.arange(nu.size))
        return nu

    def _renew(self, nu: np.ndarray, index: np.ndarray) -> None:
        drift = self.kind.device.drift
        if nu.size > 1 and drift is not None:
            renew = sized(kernels.exponents, 100 * index.size)
            renew(
                index, self.state.g.reshape(-1), self.kind.device.fitted_siemens, *self._curves,
                drift.scale, self.state.first, self._device_words, nu.reshape(-1),
            )  # fmt: skip

    def _evaluate(self, rows: np.ndarray, t_seconds: float) -> None:
        if t_seconds != self._at:
            self._valid[:], self._at = False, t_seconds
        missing = rows[~self._valid[rows]]
        if missing.size == 0:
            return
        evaluate = sized(kernels.pair_rows, 16 * missing.size * self.shape[1])
        evaluate(
            missing, self.state.g, self.state.last_seconds, self._nu, float(t_seconds),
            *self._laws, self._per_siemens, self._w, self._v,
        )  # fmt: skip
        self._valid[missing] = True

    def weights(self, t_seconds: float) -> np.ndarray:
        """Return the weights at a time; see :meth:`Synapses.weights`."""
        self._evaluate(np.arange(self.shape[0]), t_seconds)
        return self._w.copy()

    def variances(self, t_seconds: float) -> np.ndarray | None:
        """Return the variance of fresh noise; see :meth:`Synapses.variances`."""
        if self._noise_scale == 0:
            return None
        self._evaluate(np.arange(self.shape[0]), t_seconds)
        return self._v.copy()

    def products(self, x: np.ndarray, t_seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return products; only rows with an input other than zero are evaluated."""
        x = np.ascontiguousarray(x, np.float32)
        y, s = np.empty((2, len(x), self.shape[1]), np.float32)
        if (16 + len(x)) * self._w.size < ENOUGH:  # one call in place of a few
            if t_seconds != self._at:
                self._valid[:], self._at = False, t_seconds
            kernels.pair_products(
                x, self._valid, self.state.g, self.state.last_seconds, self._nu, float(t_seconds),
                *self._laws, self._per_siemens, self._w, self._v, y, s,
            )  # fmt: skip
            return y, s
        self._evaluate(np.flatnonzero(x.any(axis=0)), t_seconds)
        v = self._v if self._noise_scale else _NONE
        sized(kernels.products, x.size * self.shape[1])(x, self._w, v, y, s)
        return y, s

    def transposed(self, d: np.ndarray, t_seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return products with the transposed weights; see :meth:`Synapses.transposed`."""
        d = np.ascontiguousarray(d, np.float32)
        self._evaluate(np.arange(self.shape[0]), t_seconds)
        y, s = np.empty((2, len(d), self.shape[0]), np.float32)
        v = np.ascontiguousarray(self._v.T) if self._noise_scale else _NONE
        work = d.size * self.shape[0]
        sized(kernels.products, work)(d, np.ascontiguousarray(self._w.T), v, y, s)
        return y, s

    def read(self, t_seconds: float, number: int = 0) -> np.ndarray:
        """Return one noisy read of all weights; see :meth:`Synapses.read`."""
        found = pulses.read(self.state, self.kind.device, t_seconds, self.key, number)
        up, down = self._means(found)
        weights: np.ndarray = (up - down) / np.float32(self.siemens_per_weight)
        return weights.astype(np.float32)

    def _means(self, of_devices: np.ndarray) -> np.ndarray:
        """Return the means of both polarities, (2, ...), of numbers (2 N, ...) of the devices."""
        shape = (2, self.kind.devices, *of_devices.shape[1:])
        found: np.ndarray = of_devices.reshape(shape).mean(axis=1)
        return found

    # ------------------------------------------------------------------------- pulses

    def pulse(self, index: np.ndarray, counts: np.ndarray, t_seconds: float) -> Spent:
        """Give pulses: those up to the first devices of a weight, those down to the others."""
        return self._pulse(index, counts <= 0, np.abs(counts), t_seconds)

    def _pulse(
        self, index: np.ndarray, down: np.ndarray, counts: np.ndarray, t_seconds: float
    ) -> Spent:
        """Share pulses among the devices of a polarity, in turn from the array's counter on."""
        several, size = self.kind.devices, self.shape[0] * self.shape[1]
        devices = index + down * (several * size)
        if several == 1 or index.size == 0:
            return self._train(devices, counts, t_seconds)
        place = np.arange(several)[:, None]
        shares = (counts - (place - self.turn) % several + several - 1) // several
        chosen = shares > 0
        self.turn = (self.turn + 1) % several
        return self._train(
            (devices + place * size)[chosen], shares[chosen].astype(np.int32), t_seconds
        )

    def _train(self, devices: np.ndarray, counts: np.ndarray, t_seconds: float) -> Spent:
        if devices.size == 0:
            return Spent()
        self._trains.accumulate(self.state, devices, counts, t_seconds)
        self._renew(self._nu, devices)
        self._valid[:] = False
        seconds, joules = self._accumulating
        total = int(counts.sum())
        return Spent(
            pulses=total, seconds=seconds * self._turns(devices, counts), joules=joules * total
        )

    def _turns(self, devices: np.ndarray, counts: np.ndarray) -> int:
        """Return the length of all trains: rows one after the other, devices of a row at once."""
        longest = np.zeros(self.shape[0], np.int64)
        kernels.turns(devices, counts, self.shape[1], longest)
        return int(longest.sum())

    def coincide(
        self, rows: np.ndarray, columns: np.ndarray, signs: tuple[np.ndarray, np.ndarray],
        t_seconds: float,
    ) -> Spent:  # fmt: skip
        """Give a pulse for each coincidence; the order in a batch is no matter to pairs."""
        both = np.empty((2, *self.shape), np.int32)
        kernels.coincidences(rows, columns, *signs, both[0], both[1])
        found = np.flatnonzero(both)
        down, index = np.divmod(found, self.shape[0] * self.shape[1])
        return self._pulse(index, down, both.reshape(-1)[found], t_seconds)

    def refresh(self, t_seconds: float) -> Spent:
        """Read all pairs once, RESET those that are saturated, write their differences again.

        The read has its noise: it decides, and the difference that it found is written.
        """
        kind, spec, several = self.kind, self.kind.device, self.kind.devices
        state = self.state
        number = self.refreshes
        self.refreshes += 1
        shape = (2 * several, self.shape[0] * self.shape[1])
        now, variance = np.empty((2, *shape), np.float32)
        kernels.devices_now(
            state.g.reshape(-1), state.last_seconds.reshape(-1), self._nu.reshape(-1),
            float(t_seconds), *self._laws, now.reshape(-1), variance.reshape(-1),
        )  # fmt: skip
        # Noise is at most 6.7 standard deviations (kernels.normal): the others need no draw.
        most = self._means(now + np.float32(6.7) * np.sqrt(variance))
        likely = most > kind.refresh_above_siemens
        pairs = np.flatnonzero(likely.any(axis=0))
        reads = self.shape[0]
        if pairs.size == 0:
            return Spent(reads=reads)
        xi = np.empty((several, 2, pairs.size), np.float32)
        for at in range(several):
            more = (at,) if at else ()  # the first pair has the address of a single one
            words = np.array(self.key.child(Purpose.LEARNING_CYCLE, number, *more).words())
            sized(kernels.normals, 100 * pairs.size)(pairs, words, xi[at])
        each = xi.swapaxes(0, 1).reshape(2 * several, pairs.size)
        found = self._means(np.maximum(now[:, pairs] + each * np.sqrt(variance[:, pairs]), 0))
        difference = found[0] - found[1]
        chosen = (found.max(axis=0) > kind.refresh_above_siemens) & (
            np.abs(difference) < kind.refresh_below_siemens
        )
        pairs, difference = pairs[chosen], difference[chosen]
        if pairs.size == 0:
            return Spent(reads=reads)
        every = (pairs + np.arange(2 * several)[:, None] * shape[1]).reshape(-1)
        self._trains.reset(state, every, t_seconds)
        self._renew(self._nu, every)
        self._valid[:] = False
        seconds, joules = pulses.cost(spec, Pulse.RESET)
        turns = self._turns(pairs, np.ones(pairs.size, np.int64))
        spent = Spent(
            pulses=every.size, resets=every.size, refreshed=pairs.size, reads=reads,
            seconds=seconds * turns, joules=joules * every.size,
        )  # fmt: skip
        counts = np.ceil(np.abs(difference) * several / kind.step_siemens)
        counts = np.minimum(counts, kind.refresh_pulses * several).astype(np.int32)
        again = counts > 0
        return spent + self._pulse(pairs[again], difference[again] <= 0, counts[again], t_seconds)

    def elements(self, chip: DeviceSpec, t_seconds: float) -> tuple[PcmState, float]:
        """Return the devices as a chip keeps them; see :meth:`Synapses.elements`."""
        if self.kind.devices > 1:
            raise ValueError(
                f"weights of PcmPairs with devices = {self.kind.devices} have no counterpart on a "
                "chip, whose cells are pairs: evaluate the network itself, with at(), or learn "
                "with devices = 1"
            )
        demand_device(chip, self.kind.device)
        state = self.state
        nu = np.broadcast_to(self._nu, state.g.shape).copy()
        written = np.ones(state.g.shape, bool)
        age = t_seconds - state.last_seconds
        found = PcmState(state.g.copy(), written, state.g.copy(), nu, age=age)
        return found, self.siemens_per_weight

    # -------------------------------------------------------------------------- state

    def writes(self) -> np.ndarray:
        """Return the pulses in the life of every device, (2 N, R, C) uint32."""
        return self.state.events.copy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state: devices, how often they were checked, and which is next."""
        turn = {"turn": np.array(self.turn)} if self.kind.devices > 1 else {}
        return turn | {
            "g": self.state.g.copy(), "pulses": self.state.pulses.copy(),
            "events": self.state.events.copy(), "last_seconds": self.state.last_seconds.copy(),
            "refreshes": np.array(self.refreshes),
        }  # fmt: skip

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        for name in ("g", "pulses", "events", "last_seconds"):
            getattr(self.state, name)[:] = arrays[name]
        self.refreshes = int(arrays["refreshes"])
        self.turn = int(arrays.get("turn", 0))
        self._nu = self._exponents()
        self._valid[:] = False


_NONE = np.empty((0, 0), np.float32)
