"""Drift compensation from reads: what a chip can measure, not what the simulator knows.

Right after programming, a core is read with a fixed set of random inputs of full amplitude and
the mean magnitude of its output codes is kept. Later the same inputs are read again; the ratio
rescales the core's digital output, for the whole core ("gdc": V. Joshi et al., Nature
Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9; chip paper, Methods) or for each
column ("column"). Differs from the toolkits' one-hot inputs, whose single-device currents are
close to one ADC step; random signs at full amplitude use the converter's range.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..rng import Key, Purpose
from ..spec import ChipSpec, CoreSpec
from . import tile

Method = Literal["none", "gdc", "column"]
METHODS: tuple[Method, ...] = ("none", "gdc", "column")


def calibration_inputs(rows: int, core: CoreSpec, vectors: int, key: Key) -> np.ndarray:
    """Return the (vectors, rows) float64 input codes: +-full scale, random, fixed per core."""
    generator = key.child(Purpose.COMPENSATION_VECTORS).generator()
    return core.dac.max_code * (2.0 * generator.integers(0, 2, (vectors, rows)) - 1.0)


def mean_magnitude(now: tile.TileNow, spec: ChipSpec, t_seconds: float, key: Key) -> np.ndarray:
    """Return the (C,) mean magnitude of the ADC codes over the calibration inputs."""
    vectors = spec.calibration.compensation_vectors
    inputs = calibration_inputs(now.net.shape[0], spec.core, vectors, key)
    noise = key.child(Purpose.COMPENSATION_READ).at_time(t_seconds).generator()
    return np.abs(tile.read(now, inputs, spec.core, noise)).mean(axis=0)


def factors(reference: np.ndarray, later: np.ndarray, method: Method) -> np.ndarray:
    """Return the (C,) factors that the digital unit applies to the core's output.

    Parameters
    ----------
    reference, later : (C,) float64
        Mean magnitudes right after programming and now.
    method : "none", "gdc" or "column"

    Notes
    -----
    A column (or core) whose reads are all zero keeps the factor 1.
    """
    if method == "none":
        return np.ones_like(reference)
    if method == "gdc":
        total = later.sum()
        return np.full_like(reference, reference.sum() / total if total > 0 else 1.0)
    return np.divide(reference, later, out=np.ones_like(reference), where=later > 0)
