"""Data in the measured format, made with a statistical law: the truth behind them is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...rng import Key
from ...spec import PcmSpec
from .. import pcm
from .schema import MeasuredData, Provenance


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
    targets_siemens : (N,) float
        Of every device.
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
