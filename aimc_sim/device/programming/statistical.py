"""The statistical scheme: every element gets the error that a fitted law gives its target."""

from __future__ import annotations

import numpy as np

from ...rng import Key
from ...spec import PcmSpec
from .. import faults, pcm
from ..family import Address, cycle_key, drawn_report
from ..programming_report import ProgrammingReport
from ..request import Request
from ..request import allocate as to_elements
from .cells import elements_per_polarity


def allocate(request: Request, spec: PcmSpec) -> tuple[np.ndarray, np.ndarray]:
    """Give the first element of a polarity the target and leave the others in RESET.

    Returns
    -------
    target : (E, R, C) float32, siemens
        Wanted conductance of every element; the RESET level where nothing is written.
    programmed : (E, R, C) bool
        Whether an element is written; False for elements left in RESET.
    """
    level, top = pcm.reset_level(spec), spec.g_max_siemens
    return to_elements(request, elements_per_polarity(spec), level, 0.0, top)


def write(
    request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Draw a programmed block from the law of ``spec``; see :func:`aimc_sim.device.pcm.program`."""
    target, programmed = allocate(request, spec)
    drawn = pcm.program(target, programmed, spec, address, cycle_key(key, cycle))
    state = faults.stick(drawn, spec, address, key)
    return state, drawn_report(request, state)
