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
    levels, times = np.asarray(levels_siemens, float), np.asarray(times_seconds, float)
    if times.min() < spec.t0_seconds:
        raise ValueError(
            f"times from {times.min():g} s: the law starts at t0 = {spec.t0_seconds:g} s; give "
            "later times"
        )
    if spec.read_noise is not None:
        spec = spec.with_({"read_noise.band": "frozen"})  # the whole band, in one conductance
    shape = (1, len(levels), devices)
    address = (devices, len(levels) * devices)
    target = np.broadcast_to(levels[None, :, None], shape).astype(np.float32)
    state = pcm.program(target, np.ones(shape, bool), spec, address, key)
    reads = [pcm.evaluate(state, spec, t - spec.t0_seconds, address, key).g[0] for t in times]
    level, device, _ = np.indices((len(levels), devices, len(times)))
    return MeasuredData.of(
        device=device.ravel(),
        cycle=np.zeros(device.size, int),
        target_siemens=levels[level.ravel()],
        time_seconds=np.tile(times, len(levels) * devices),
        conductance_siemens=np.stack(reads, axis=-1).ravel(),
        read_seconds=None if spec.read_noise is None else spec.read_noise.t_read_seconds,
        provenance=provenance or Provenance(title="generated with a statistical law"),
    )
