"""The statistical scheme: every element gets the error that a fitted law gives its target."""

from __future__ import annotations

import numpy as np

from ...rng import Key
from ...spec import PcmSpec
from .. import faults, pcm
from .report import ProgrammingReport, error_sum
from .request import Request, elements_per_polarity


def allocate(request: Request, spec: PcmSpec) -> tuple[np.ndarray, np.ndarray]:
    """Give the first element of a polarity the target and leave the others in RESET.

    Returns
    -------
    target : (E, R, C) float32, siemens
    programmed : (E, R, C) bool
    """
    n, level = elements_per_polarity(spec), pcm.reset_level(spec)
    shape = (2, n, *request.g.shape[1:])
    target, programmed = np.full(shape, level), np.zeros(shape, bool)
    tuned = np.clip(request.g - (n - 1) * level, 0.0, spec.g_max_siemens)
    target[:, 0] = np.where(request.programmed, tuned, level)
    programmed[:, 0] = request.programmed
    flat = (2 * n, *shape[2:])
    return target.reshape(flat).astype(np.float32), programmed.reshape(flat)


def write(
    request: Request, spec: PcmSpec, address: pcm.Address, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Draw a programmed block from the law of ``spec``; see :func:`aimc_sim.device.pcm.program`."""
    target, programmed = allocate(request, spec)
    drawn = pcm.program(target, programmed, spec, address, pcm.cycle_key(key, cycle))
    state = faults.stick(drawn, spec, address, key)
    half = state.g.shape[0] // 2
    net = state.g[:half].sum(axis=0) - state.g[half:].sum(axis=0)
    cells, squares = error_sum(net - request.net(), request.programmed)
    tuned = int(programmed.sum())
    report = ProgrammingReport("statistical", tuned, None, None, None, None, None, cells, squares)
    return state, report
