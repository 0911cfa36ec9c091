"""The replay scheme: every element follows a whole measured trace."""

from __future__ import annotations

import warnings

import numpy as np

from ...rng import Key, Purpose
from ...spec import PcmSpec, Replay
from .. import faults, pcm
from ..family import Address, cycle_key
from ..measured import reach, replay
from ..programming_report import ProgrammingReport, error_sum
from ..request import Request, net_of
from .statistical import allocate


def write(
    request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Give every element a trace of its level; see :mod:`aimc_sim.device.measured.replay`.

    Raises
    ------
    ValueError
        If the file was changed, or a target is outside the measured range.
    """
    target, programmed = allocate(request, spec)
    scheme = spec.programming
    assert isinstance(scheme, Replay)  # other schemes do not come here
    library = replay.load(scheme.path, scheme.sha256)
    _warn(library, target[programmed])
    words = np.array(cycle_key(key, cycle).child(Purpose.REPLAY).words())
    trace = replay.draw(library, target, programmed, address, words)
    kind = faults.stuck(target.shape, spec, address, key)
    if spec.faults is not None:
        # A stuck device follows no trace: it stays where it is.
        trace[kind != faults.GOOD] = -1
        target[kind == faults.STUCK_SET] = spec.faults.stuck_set_siemens
        target[kind == faults.STUCK_RESET] = pcm.reset_level(spec)
    g = replay.conductance(library, target, trace, spec.t0_seconds)
    state = pcm.PcmState(target, programmed, g, np.zeros_like(g), trace)
    net = net_of(g, request.polarities, np.float64)
    cells, squares = error_sum(net - request.net(), request.programmed)
    tuned = int(programmed.sum())
    return state, ProgrammingReport("replay", tuned, None, None, None, None, None, cells, squares)


def _warn(library: replay.Library, targets: np.ndarray) -> None:
    """Warn of targets beyond the measurement; every core has the same words, shown once."""
    found = reach.reach(library)
    sentences = []
    if library.levels_by != "first read" and (targets < found.lowest_siemens * (1 - 1e-6)).any():
        sentences.append(found.below())
    if found.between():
        sentences.append(found.between())
    for sentence in sentences:
        warnings.warn(f"replay of measured traces: {sentence}", stacklevel=2)
