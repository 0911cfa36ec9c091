"""Tiki-Taka: gradients on a fast array, whose readings move the weights on a slow one.

A is the fast array, C the slow one, which the network uses. A vector gives A the pulses of
:mod:`.trains`; then one row of A (an input; a column in the notation of the papers) is read, in
order, and

- version 1 writes ``transfer_lr lr a`` into the row of C as pulse trains with a one-hot input;
- version 2 adds ``c transfer_lr lr a / g_b`` to a digital buffer H and gives C whole pulses:
  ``n = clip(trunc(H), +-most)`` where ``|H| >= 1``, after which H is ``momentum H``;
- chopped version 2 writes gradients to A with the sign ``c = +-1`` of the row, which flips after a
  read with a probability, so that offsets of A's symmetry point average out;
- AGAD flips c after a whole number of passes, ``P = max(ceil(1 / probability), 2)``, and takes the
  reading relative to its own mean of the period before: ``H += c (a - mu_past) ...``, with the
  running mean ``mu <- (1 - b) mu + b a``, ``b = min(tail / P, 1)``, which is not reset; at the
  first read after a flip, ``mu_past <- mu``. Nothing is written in the first P + 1 passes.

With ``auto_scale`` the learning rate of A is ``fast_lr length g_A / (m_x m_d)``, with running means
m of the largest input and error: the most driven device gets ``fast_lr length`` pulses or so. The
granularity of the buffer is ``g_b = granularity g_A``, times ``auto_granularity / (R every)``.
``g_A`` and ``g_C`` are the mean steps of the devices at the weight zero.

Sources: T. Gokmen and W. Haensch, Front. Neurosci. 14, 103 (2020), doi:10.3389/fnins.2020.00103
(version 1); M. J. Rasch et al., Nature Communications 15, 7133 (2024),
doi:10.1038/s41467-024-51221-z (chopped, AGAD), both not opened; forms and constants READ in AIHWKit
at commit 4545f11 (``rpu_transfer_device.cpp``, ``rpu_chopped_transfer_device.cpp``,
``rpu_dynamic_transfer_device.cpp``, ``presets/configs.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from aimc_sim import arguments
from aimc_sim.device import steps as devices
from aimc_sim.kernels import transfer as kernels
from aimc_sim.learning import trains
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.reading import Reading
from aimc_sim.learning.steps import StepDevices, StepSynapses, stepped
from aimc_sim.learning.stochastic import both_directions, vectors, warn_of_reach
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import DeviceSpec

Chopper = Literal["none", "random", "regular"]


@dataclass(frozen=True)
class TikiTaka(Update):
    """Tiki-Taka, version 1 or 2, chopped or not.

    Defaults are those of AIHWKit's presets for version 2 on ReRAM; :meth:`preset` has the others.

    Attributes
    ----------
    version : 1 or 2
        1: readings go to C as they come; 2: through a buffer.
    chopped : float
        Probability that the chopper of a row flips after a read; 0: no choppers. Version 2 only.
    chopper : "random" or "regular"
        Random flips, or one after every ``max(ceil(1 / chopped), 2)`` reads.
    fast : StepDevices, optional
        Devices of A. Default: those of C.
    length : int
        Slots of A's trains at most.
    fast_lr : float, optional
        A's learning rate: with ``auto_scale`` in units of ``length g_A / (m_x m_d)``, else in
        version 1 in units of the learning rate, in version 2 as it is. Default: 1 in version 1, 0.5
        in version 2.
    auto_scale : bool, optional
        Whether A's learning rate follows the largest inputs and errors. Default: in version 2.
    auto_momentum : float
        Share of the running means that a batch leaves, 0 ... 1.
    transfer_every : int
        Vectors (or batches) between two reads.
    per_batch : bool, optional
        Whether it counts batches. Default: in version 1.
    transfer_lr : float
        Factor on the learning rate, of the readings.
    granularity : float
        Factor on g_A, of the buffer's granularity.
    auto_granularity : float
        Multiplies it by this over the vectors between two reads of a row; 0: does not.
    correct_gradient : bool
        Whether the granularity follows C's steps and the readings are divided by A's learning rate,
        so that C moves by ``-lr`` times the gradient.
    momentum : float
        Share of the buffer that stays after a pulse.
    forget : bool
        Whether that is all that stays; else pulses take ``(1 - momentum) n`` of it.
    most_pulses : int
        Pulses of a device of C per transfer at most, in version 2; trains of them if
        ``pulses_at_once`` is more than one.
    pulses_at_once : int
        Pulses of a train on C, in version 2: the buffer counts in trains. More than one suits
        devices whose every write redraws a noise that is larger than a step. Not in AIHWKit.
    reading : Reading
        Converter of the rows that are read.
    refresh_every : int
        Steps between two checks of C for saturated devices; 0 for none.
    """

    examples: ClassVar[tuple[str, ...]] = ("learning.StepDevices(presets.ecram())",)

    version: Literal[1, 2] = 2
    chopped: float = 0.0
    chopper: Literal["random", "regular"] = "random"
    fast: StepDevices | None = None
    length: int = 31
    fast_lr: float | None = None
    auto_scale: bool | None = None
    auto_momentum: float = 0.99
    transfer_every: int = 1
    per_batch: bool | None = None
    transfer_lr: float = 1.0
    granularity: float = 1.0
    auto_granularity: float = 1000.0
    correct_gradient: bool = False
    momentum: float = 0.0
    forget: bool = True
    most_pulses: int = 1
    pulses_at_once: int = 1
    reading: Reading = field(default_factory=Reading)
    refresh_every: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that are none."""
        if self.version not in (1, 2):
            raise ValueError(f"version = {self.version!r} of TikiTaka: wanted 1 or 2")
        arguments.number(self.chopped, "chopped", 0.0, 1.0)
        if self.version == 1 and self.chopped:
            raise ValueError(
                "TikiTaka(version=1, chopped=...): choppers are read through the buffer of version "
                "2; take version=2"
            )
        arguments.choice(self.chopper, "chopper", ("random", "regular"))
        arguments.whole(self.length, "length", 1, trains.MOST_SLOTS)
        arguments.whole(self.transfer_every, "transfer_every", 1, 2**31)
        arguments.whole(self.most_pulses, "most_pulses", 1, 2**20)
        arguments.whole(self.pulses_at_once, "pulses_at_once", 1, 2**10)
        if self.version == 1 and self.pulses_at_once > 1:
            raise ValueError(
                "TikiTaka(version=1, pulses_at_once=...): the buffer of version 2 counts trains, "
                "and version 1 has none; take version=2"
            )
        arguments.number(self.auto_momentum, "auto_momentum", 0.0, 1.0)
        arguments.number(self.momentum, "momentum", 0.0, 1.0)
        arguments.whole(self.refresh_every, "refresh_every", 0, 2**31)
        for name in ("fast_lr", "transfer_lr", "granularity"):
            if name == "fast_lr" and self.fast_lr is None:
                continue
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)!r} of TikiTaka must be > 0")
        arguments.number(self.auto_granularity, "auto_granularity", 0.0)

    @classmethod
    def preset(cls, device: str, *, chopped: bool = False) -> TikiTaka:
        """Return version 2 with the constants of AIHWKit's presets for a device.

        Parameters
        ----------
        device : str
            "reram-es", "reram-sb", "capacitor", "ecram", "ecram-mo" or "idealized".
        chopped : bool
            Their chopped version.
        """
        arguments.choice(device, "device", PRESETS)
        constants = PRESETS[device]
        return cls(
            chopped=constants.chopped if chopped else 0.0,
            fast_lr=constants.chopped_fast_lr if chopped else constants.fast_lr,
            length=constants.length, auto_granularity=constants.granularity,
        )  # fmt: skip

    @property
    def own_lr(self) -> float:
        """Learning rate of A, in the units of ``fast_lr``."""
        if self.fast_lr is None:
            return 1.0 if self.version == 1 else 0.5
        return self.fast_lr

    @property
    def kind(self) -> int:
        """Kind of the reads, as the kernel names it."""
        return kernels.READ if self.version == 1 else kernels.BUFFER

    @property
    def period(self) -> int:
        """Reads of a row between two flips of a regular chopper; 0: it does not flip so."""
        if self.chopper == "random" or not self.chopped:
            return 0
        return max(math.ceil(1 / self.chopped), 2)

    @property
    def tail_share(self) -> float:
        """Share of a reading in the running mean; only AGAD has one."""
        return 0.0

    def engine(self, synapses: Synapses, key: Key) -> TransferEngine:
        """Return the update of an array; see :meth:`Update.engine`."""
        both_directions(synapses, type(self).__name__)
        fast = None if self.fast is None else self.fast.device
        if fast is None and isinstance(synapses, StepSynapses):
            fast = synapses.kind.device
        if fast is None or fast.directions == "up":
            raise ValueError(
                f"the fast array of {type(self).__name__} needs single devices of both directions, "
                f"and those of {type(synapses).__name__} are not; give it some, for example "
                "fast=learning.StepDevices(presets.reram_sb())"
            )
        return TransferEngine(self, synapses, key)

    def device(self, chip: DeviceSpec) -> Device | None:
        """Return the chip's devices where they move step by step; see :meth:`Update.device`."""
        return stepped(chip)


@dataclass(frozen=True)
class AGAD(TikiTaka):
    """Analog gradient accumulation with dynamic reference: Tiki-Taka whose readings are relative.

    Attributes
    ----------
    tail : float
        Weight of late readings of a period in the running mean; 1: all alike.
    """

    chopped: float = 0.02
    chopper: Literal["random", "regular"] = "regular"
    tail: float = 5.0

    def __post_init__(self) -> None:
        """Refuse numbers that are none."""
        super().__post_init__()
        if self.version != 2 or self.chopper != "regular" or not self.chopped:
            raise ValueError(
                "AGAD is a version 2 with regular choppers: the mean of a period is its reference; "
                "take TikiTaka for other choppers"
            )
        if not self.tail > 0:
            raise ValueError(f"tail = {self.tail!r} of AGAD must be > 0")

    @classmethod
    def preset(cls, device: str, *, chopped: bool = True) -> AGAD:
        """Return AGAD with the constants of AIHWKit's presets for a device.

        Parameters
        ----------
        device : str
            "reram-es", "reram-sb", "capacitor", "ecram", "ecram-mo" or "idealized".
        chopped : bool
            Always: AGAD has choppers.
        """
        arguments.choice(device, "device", PRESETS)
        if not chopped:
            raise ValueError("AGAD without choppers has no reference; take TikiTaka.preset(device)")
        constants = PRESETS[device]
        return cls(
            chopped=constants.agad_chopped, fast_lr=constants.fast_lr, tail=constants.tail,
            length=constants.agad_length, auto_granularity=constants.agad_granularity,
        )  # fmt: skip

    @property
    def kind(self) -> int:
        """Kind of the reads, as the kernel names it."""
        return kernels.DYNAMIC

    @property
    def tail_share(self) -> float:
        """Share of a reading in the running mean."""
        return min(self.tail / self.period, 1.0)


@dataclass(frozen=True)
class Constants:
    """Constants of AIHWKit's presets for one device (``presets/configs.py`` at commit 4545f11).

    Attributes
    ----------
    fast_lr, chopped_fast_lr : float
        Of version 2 and AGAD; of the chopped version.
    granularity, agad_granularity : float
        ``auto_granularity`` of version 2, chopped or not, and of AGAD.
    chopped, agad_chopped : float
        Probability of a flip.
    tail : float
        Of AGAD.
    length, agad_length : int
        Slots of A's trains at most.
    """

    fast_lr: float
    granularity: float
    chopped: float
    agad_chopped: float
    tail: float
    chopped_fast_lr: float
    length: int = 31
    agad_length: int = 31
    agad_granularity: float = 1000.0


PRESETS = {
    "reram-es": Constants(0.5, 1000.0, 0.01, 0.02, 5.0, 0.5),
    "reram-sb": Constants(0.5, 1000.0, 0.01, 0.02, 5.0, 0.5),
    "capacitor": Constants(0.1, 1000.0, 0.01, 0.01, 20.0, 0.1),
    "ecram": Constants(0.1, 500.0, 0.01, 0.005, 50.0, 1.0, 100, 31, 750.0),
    "ecram-mo": Constants(0.1, 500.0, 0.001, 0.005, 50.0, 0.1, 100, 100, 500.0),
    "idealized": Constants(0.1, 500.0, 0.001, 0.005, 50.0, 0.1, 100, 100, 500.0),
}
"""Constants by name of the device."""


class TransferEngine(Engine):
    """The fast array, buffers and choppers of one array of weights.

    Parameters
    ----------
    rule : TikiTaka
        Specification.
    synapses : Synapses
        C, the array of weights.
    key : Key
        Of trains, reads and choppers.

    Attributes
    ----------
    fast : StepSynapses
        A.
    buffer : (R, C) float32
        H, in pulses, or in trains of ``pulses_at_once``.
    mean, past : (R, C) float32
        Running mean of readings, mean of the period before; AGAD's.
    chopper : (R,) int8
        Signs.
    """

    def __init__(self, rule: TikiTaka, synapses: Synapses, key: Key) -> None:
        self.rule, self.synapses, self.key = rule, synapses, key
        rows, columns = synapses.shape
        own, zero = key.child(Purpose.LEARNING_DEVICE), np.zeros(synapses.shape, np.float32)
        if rule.fast is None:
            assert isinstance(synapses, StepSynapses)  # checked by the rule
            self.fast = synapses.sibling(own)
        else:
            self.fast = rule.fast.synapses(zero, max(map(abs, synapses.bounds)), own)
        self.step_size = (self.fast.up + self.fast.down) / 2
        self.slow_step = (synapses.up + synapses.down) / 2
        self.buffer, self.mean, self.past = np.zeros((3, rows, columns), np.float32)
        self.chopper, self.switched = np.ones(rows, np.int8), np.zeros(rows, bool)
        self.reads = np.zeros(rows, np.int64)
        self.largest = np.zeros(2)  # running means of the largest |x| and |d|
        self.vectors = self.steps = self.transfers = 0
        self._told = False

    @property
    def others(self) -> tuple[Synapses, ...]:
        """The fast array."""
        return (self.fast,)

    def step(self, x: np.ndarray, d: np.ndarray, lr: float, t_seconds: float, number: int) -> Spent:
        """Give the pulses of a batch, and transfer; see :meth:`Engine.step`.

        With ``auto_scale`` the running means move by ``(1 - auto_momentum) / B`` per vector.
        """
        x, d, lr = vectors(x, d, lr)
        rule, width = self.rule, self.synapses.shape[1]
        fast_lr = self._fast_lr(x, d, lr)
        scale = trains.scales(x, d, fast_lr, self.step_size, rule.length)
        if not self._told:
            self._told = warn_of_reach(scale.driven, lr, self.step_size)
        due, slot = self._due(len(x))
        count = int(slot.max(initial=-1)) + 1
        if lr == 0:  # no gradient and no transfer, as the rates of both say
            count, due = 0, np.full_like(due, -1)
        found = np.zeros((max(count, 1), width), np.float32)
        pulses = np.zeros(found.shape, np.int32)
        drawn = trains.draw(x, d, scale, self.key, self.vectors)
        given = self._rows(drawn, due, slot, self._factors(fast_lr, lr), t_seconds, found, pulses)
        spent = self.fast._spent(given, drawn.slots)
        read_seconds = count * rule.reading.seconds
        spent = spent + Spent(reads=count, seconds=read_seconds)
        pulses *= np.int32(rule.pulses_at_once)
        rows = due[due >= 0]
        if rule.version == 1:
            spent = spent + self._write_trains(rows, found[:count], lr, t_seconds)
        else:
            spent = spent + self._write_pulses(rows, pulses[:count], t_seconds)
        self.vectors += len(x)
        self.steps += 1
        self.transfers += count
        if rule.refresh_every and self.steps % rule.refresh_every == 0:
            spent = spent + self.synapses.refresh(t_seconds)
        return spent

    # --------------------------------------------------------------------- rates

    def _fast_lr(self, x: np.ndarray, d: np.ndarray, lr: float) -> np.ndarray:
        """Return the learning rate of A for every vector."""
        rule = self.rule
        automatic = rule.version == 2 if rule.auto_scale is None else rule.auto_scale
        if not automatic or lr == 0:
            own = lr if rule.version == 1 else float(lr > 0)
            return np.full(len(x), rule.own_lr * own)
        most = np.stack([np.abs(x).max(axis=1), np.abs(d).max(axis=1)], axis=1).astype(float)
        share, found = (1 - rule.auto_momentum) / max(len(x), 1), np.empty(len(x))
        for b, new in enumerate(most):
            moved = (1 - share) * self.largest + share * new
            started = np.where(self.largest > 0, moved, new)
            self.largest = np.where(new > 0, started, self.largest)
            product = float(self.largest.prod())
            found[b] = rule.own_lr * rule.length * self.step_size / (product or 1.0)
        return found

    def _factors(self, fast_lr: np.ndarray, lr: float) -> np.ndarray:
        """Return the factor on readings, in weights of A's device, into the buffer."""
        rule = self.rule
        size = rule.granularity * self.step_size * rule.pulses_at_once
        if rule.auto_granularity:
            size *= rule.auto_granularity / (self.synapses.shape[0] * rule.transfer_every)
        scale = np.full(len(fast_lr), rule.transfer_lr * lr / size)
        if rule.correct_gradient:
            scale *= self.step_size / self.slow_step
            scale = np.where(fast_lr > 0, scale / np.where(fast_lr > 0, fast_lr, 1.0), 0.0)
        return scale * self.fast.scale

    def _due(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the row that is read after every vector, or -1, and the number of the read."""
        rule = self.rule
        per_batch = rule.version == 1 if rule.per_batch is None else rule.per_batch
        every = np.arange(size)
        if per_batch:
            reads = (every == size - 1) & ((self.steps + 1) % rule.transfer_every == 0)
        else:
            reads = (self.vectors + every + 1) % rule.transfer_every == 0
        slot = np.cumsum(reads) - 1
        due = np.where(reads, (self.transfers + slot) % self.synapses.shape[0], -1)
        return due.astype(np.int64), slot.astype(np.int64)

    # --------------------------------------------------------------------- pulses

    def _rows(
        self, drawn: trains.Trains, due: np.ndarray, slot: np.ndarray, factors: np.ndarray,
        t_seconds: float, found: np.ndarray, pulses: np.ndarray,
    ) -> int:  # fmt: skip
        """Give A its pulses and read the rows that are due; return the pulses."""
        rule, state = self.rule, self.fast.state
        devices.check_time(state, t_seconds)
        active, actives = devices.listed_columns(drawn.columns)
        given = np.zeros(len(self.chopper), np.int64)
        random = 0.0 if rule.chopper == "regular" else rule.chopped
        kernels.rows(
            drawn.rows, drawn.columns, *drawn.signs, active, actives, drawn.words, due, slot,
            factors, rule.kind, np.array([random, rule.period, rule.tail_share]),
            np.array([
                rule.most_pulses, rule.momentum, rule.forget, rule.reading.noise,
                rule.reading.step, rule.reading.bound, state.spec.read_noise,
            ], float),
            self.vectors, float(t_seconds), *state.arguments(),
            np.array(self.key.child(Purpose.LEARNING_CYCLE).words()),
            np.array(self.key.child(Purpose.LEARNING_UPDATE).words()),
            self.buffer, self.mean, self.past, self.chopper, self.switched, self.reads, given,
            found, pulses,
        )  # fmt: skip
        return int(given.sum())

    def _write_trains(
        self, rows: np.ndarray, found: np.ndarray, lr: float, t_seconds: float
    ) -> Spent:
        """Write readings into rows of C as pulse trains with one-hot inputs."""
        if not len(rows):
            return Spent()
        hot = np.zeros((len(rows), self.synapses.shape[0]), np.float32)
        hot[np.arange(len(rows)), rows] = 1.0
        # Readings are in weights of A's device; C moves along them, against its errors.
        errors = -found * np.float32(self.fast.scale)
        scale = trains.scales(
            hot, errors, self.rule.transfer_lr * lr, self.slow_step, _TRANSFER_SLOTS
        )
        if not scale.length.any():
            return Spent()
        own = self.key.child(Purpose.PROGRAM)
        drawn = trains.draw(hot, errors, scale, own, self.transfers)
        return self.synapses.coincide(drawn.rows, drawn.columns, drawn.signs, t_seconds)

    def _write_pulses(self, rows: np.ndarray, pulses: np.ndarray, t_seconds: float) -> Spent:
        """Give C whole pulses; a row that was read twice gets them one after the other."""
        spent, start, height = Spent(), 0, self.synapses.shape[0]
        while start < len(rows):
            part = slice(start, start + height)
            order = np.argsort(rows[part], kind="stable")
            counts = pulses[part][order]
            row, column = np.nonzero(counts)
            if len(row):
                index = rows[part][order][row] * self.synapses.shape[1] + column
                spent = spent + self.synapses.pulse(index, counts[row, column], t_seconds)
            start += height
        return spent

    # --------------------------------------------------------------------- state

    def arrays(self) -> dict[str, np.ndarray]:
        """Return buffers, choppers, counts, and the state of the fast array."""
        own = {
            name: getattr(self, name).copy()
            for name in ("buffer", "mean", "past", "chopper", "switched", "reads", "largest")
        }
        counts = np.array([self.vectors, self.steps, self.transfers])
        fast = {f"fast_{name}": array for name, array in self.fast.arrays().items()}
        return {**own, "counts": counts, **fast}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        for name in ("buffer", "mean", "past", "chopper", "switched", "reads", "largest"):
            getattr(self, name)[...] = arrays[name]
        self.vectors, self.steps, self.transfers = (int(n) for n in arrays["counts"])
        fast = {n.removeprefix("fast_"): a for n, a in arrays.items() if n.startswith("fast_")}
        self.fast.load(fast)


_TRANSFER_SLOTS = 31
"""Slots of the trains that write readings of version 1, as in AIHWKit's presets."""
