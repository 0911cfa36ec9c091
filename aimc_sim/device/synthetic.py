"""Data in the measured format, made with a statistical law: the truth behind them is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rng import Key
from ..spec import PcmSpec
from . import pcm
from .measured.schema import MeasuredData, Provenance
from .measured.traces import traces


def generate(
    spec: PcmSpec,
    levels_siemens: Sequence[float],
    times_seconds: Sequence[float],
    devices: int,
    key: Key,
    provenance: Provenance | None = None,
) -> MeasuredData:
    """Program devices once to every level and read each of them at every time.

    Parameters
    ----------
    spec : PcmSpec
        Law of the devices; its read noise is drawn anew in every read.
    levels_siemens : sequence of float
        Targets.
    times_seconds : sequence of float
        Times since programming, ascending, none before ``spec.t0_seconds``.
    devices : int
        Devices; every one is programmed to every level.
    key : Key
    provenance : Provenance, optional
        Origin that the data state; by default, that a statistical law made them.

    Returns
    -------
    MeasuredData
        ``levels * devices * times`` reads, ordered by level, device and time.
    """
    targets = np.repeat(np.asarray(levels_siemens, float), devices)
    device = np.tile(np.arange(devices), len(targets) // devices)
    return _read(spec, targets, device, times_seconds, key, provenance)


def scattered(
    spec: PcmSpec,
    targets_siemens: np.ndarray,
    times_seconds: Sequence[float],
    key: Key,
    provenance: Provenance | None = None,
) -> MeasuredData:
    """Program every device once, to a target of its own; else as :func:`generate`.

    Parameters
    ----------
    spec : PcmSpec
    targets_siemens : (N,) float, siemens
        Target of every device.
    times_seconds : sequence of float, seconds
        Times since programming, ascending, none before ``spec.t0_seconds``.
    key : Key
    provenance : Provenance, optional
        Origin that the data state.
    """
    targets = np.asarray(targets_siemens, float)
    return _read(spec, targets, np.arange(len(targets)), times_seconds, key, provenance)


def _read(
    spec: PcmSpec,
    targets: np.ndarray,
    device: np.ndarray,
    times_seconds: Sequence[float],
    key: Key,
    provenance: Provenance | None,
) -> MeasuredData:
    times = np.asarray(times_seconds, float)
    if times.min() < spec.t0_seconds:
        raise ValueError(
            f"times from {times.min():g} s: the law starts at t0 = {spec.t0_seconds:g} s; give "
            "later times"
        )
    if spec.read_noise is not None:
        spec = spec.with_({"read_noise.band": "frozen"})  # the whole band, in one conductance
    shape = (1, 1, len(targets))
    address = (len(targets), len(targets))
    target = targets.reshape(shape).astype(np.float32)
    state = pcm.program(target, np.ones(shape, bool), spec, address, key)
    reads = [pcm.evaluate(state, spec, t - spec.t0_seconds, address, key).g[0, 0] for t in times]
    return MeasuredData.of(
        device=np.repeat(device, len(times)),
        cycle=np.zeros(len(targets) * len(times), int),
        target_siemens=np.repeat(targets, len(times)),
        time_seconds=np.tile(times, len(targets)),
        conductance_siemens=np.stack(reads, axis=-1).ravel(),
        read_seconds=None if spec.read_noise is None else spec.read_noise.t_read_seconds,
        provenance=provenance or Provenance(title="generated with a statistical law"),
    )


@dataclass(frozen=True)
class MeasurementShape:
    """Shape of a measurement: devices, cycles, targets and times, without the readings.

    Attributes
    ----------
    device, cycle : (N,) int64
        Of every trace.
    target_siemens : (N,) float64, siemens
        Target of every trace.
    times : tuple of (T,) float64
        Times of the reads of every trace, in seconds since programming.
    """

    device: np.ndarray
    cycle: np.ndarray
    target_siemens: np.ndarray
    times: tuple[np.ndarray, ...]

    @classmethod
    def grid(
        cls, levels_siemens: Sequence[float], times_seconds: Sequence[float], devices: int,
        cycles: int = 1,
    ) -> MeasurementShape:  # fmt: skip
        """Return the shape in which every device is programmed to every level, several times."""
        level, device, cycle = np.indices((len(levels_siemens), devices, cycles)).reshape(3, -1)
        times = np.asarray(times_seconds, float)
        targets = np.asarray(levels_siemens, float)[level]
        return cls(device, cycle, targets, (times,) * len(device))

    @classmethod
    def of(cls, data: MeasuredData) -> MeasurementShape:
        """Return the shape of a measurement; ValueError if it has no targets."""
        found = traces(data)
        if not np.isfinite(found.target_siemens).all():
            raise ValueError(
                "the data have reads without a target; a law can only be asked for targets"
            )
        cuts = found.offsets[1:-1]
        times = tuple(np.split(found.time_seconds, cuts))
        return cls(found.device, found.cycle, found.target_siemens, times)


def simulate(
    spec: PcmSpec, shape: MeasurementShape, key: Key, between: float = 0.0,
    provenance: Provenance | None = None,
) -> MeasuredData:  # fmt: skip
    """Simulate the measurement, in a given shape, of devices under a law.

    Parameters
    ----------
    spec : PcmSpec
        Law of the devices.
    shape : MeasurementShape
        Traces to simulate.
    key : Key
    between : float, 0..1
        Share of the variance of programming error and drift exponent that stays with a device
        over its cycles and levels.
    provenance : Provenance, optional
        Origin that the data state; by default, that a statistical law made them.

    Returns
    -------
    MeasuredData
        Read noise has the law's variance at every time and is independent from read to read.
    """
    if not 0 <= between <= 1:
        raise ValueError(f"between = {between:g}; wanted a share, 0 to 1")
    earliest = min(float(t.min()) for t in shape.times)
    if earliest < spec.t0_seconds * (1 - 1e-9):
        raise ValueError(
            f"times from {earliest:g} s: the law starts at t0 = {spec.t0_seconds:g} s; give later "
            "times"
        )
    rng = key.generator()
    ids, number = np.unique(shape.device, return_inverse=True)
    own = rng.standard_normal((2, len(ids)))
    fresh = rng.standard_normal((2, len(number)))
    error, tilt = np.sqrt(between) * own[:, number] + np.sqrt(1 - between) * fresh
    x = shape.target_siemens / spec.g_max_siemens
    law = pcm.statistical_law(spec)
    sigma: np.ndarray = np.zeros_like(x)
    if law is not None:
        inside = x if law.states is None else np.clip(x, *law.states)
        scale = law.scale * spec.g_max_siemens / spec.g_reference_siemens
        sigma = scale * np.polynomial.polynomial.polyval(inside, law.polynomial_siemens)
    start = np.maximum(0.0, shape.target_siemens + sigma * error)
    nu = np.zeros_like(x)
    if spec.drift is not None:
        mean, std = (
            pcm.curve_values(c, x) for c in (spec.drift.exponent_mean, spec.drift.exponent_std)
        )
        nu = spec.drift.scale * np.abs(mean + std * tilt)
    reads = np.array([len(t) for t in shape.times])
    owner, t = np.repeat(np.arange(len(reads)), reads), np.concatenate(shape.times)
    g = start[owner] * (t / spec.t0_seconds) ** -nu[owner]
    if spec.read_noise is not None:
        read = spec.read_noise
        band = np.log((t + read.t_read_seconds) / (2 * read.t_read_seconds))
        q = read.scale * pcm.curve_values(read.amplitude, x)
        g = g * (1 + q[owner] * np.sqrt(band) * rng.standard_normal(len(t)))
    return MeasuredData.of(
        device=shape.device[owner],
        cycle=shape.cycle[owner],
        target_siemens=shape.target_siemens[owner],
        time_seconds=t,
        conductance_siemens=g,
        read_seconds=None if spec.read_noise is None else spec.read_noise.t_read_seconds,
        provenance=provenance or Provenance(title="simulated with a statistical law"),
    )
