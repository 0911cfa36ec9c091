"""Program-and-verify: square pulses, each followed by a read, until the error fits the margin.

Scheme: M. Le Gallo et al., Nature Electronics 6, 680 (2023), doi:10.1038/s41928-023-01010-1
(read as arXiv:2212.02872): current step proportional to the error, verify reads in ADC counts,
margin, at most 30 iterations, one device per weight (ODP) or max-SET-fill with two (TDP).
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels import verify as kernels
from ...rng import Key, Purpose
from ...spec import PcmSpec
from .. import faults, pcm
from ..draws import noise_bands
from ..family import Address, cycle_key
from ..programming_report import ProgrammingReport, error_sum
from ..request import Request
from . import cost
from .cells import DEVICES_PER_CELL, Written


def laws(spec: PcmSpec) -> np.ndarray:
    """Return the laws of the pulses as :func:`aimc_sim.kernels.verify.program` takes them."""
    _, pulses, full, curve = spec.closed_loop()
    return np.array([
        full.median_siemens, full.core_std, full.device_std, full.cycle_std,
        curve.half_amperes, curve.width_amperes, curve.device_std_amperes,
        curve.cycle_std_decades,
        spec.reset.mean_siemens, spec.reset.std_siemens, pulses.reset.low_siemens,
        pulses.low_siemens, pulses.high_siemens,
    ])  # fmt: skip


def stuck_levels(spec: PcmSpec) -> np.ndarray:
    """Return what stuck-SET and stuck-RESET devices conduct, (2,) float64, siemens."""
    in_set = 0.0 if spec.faults is None else spec.faults.stuck_set_siemens
    return np.array([in_set, spec.reset.mean_siemens])


def words(key: Key) -> np.ndarray:
    """Return the key words of a stream as an array."""
    return np.array(key.words())


def pulse_all(request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int) -> Written:
    """Run the loop on every cell and return the devices as they were last read."""
    scheme, noise = spec.closed_loop().scheme, spec.read_noise
    verify = scheme.verify
    age = verify.precharge_seconds + verify.seconds
    band = 0.0 if noise is None else math.sqrt(sum(noise_bands(noise, age)))
    shape = (DEVICES_PER_CELL, *request.g.shape[1:])
    written = Written(
        *(np.empty(shape, kind) for kind in (np.float32, np.float32, np.float32, np.uint16, bool))
    )
    kernels.program(
        request.g, request.programmed, scheme.fill == "max-set-fill",
        faults.stuck(shape, spec, address, key), laws(spec),
        np.array([
            scheme.start_amperes, scheme.step_amperes_per_count, scheme.low_amperes,
            scheme.high_amperes, scheme.margin_counts, scheme.max_iterations,
            verify.count_siemens, band, spec.fitted_siemens,
        ]),
        np.array(pcm.curve_table(None if noise is None else noise.amplitude)),
        stuck_levels(spec), *address, words(key.child(Purpose.PULSE_DEVICE)),
        words(cycle_key(key, cycle).child(Purpose.PULSE_CYCLE)),
        written.g, written.aim, written.amperes, written.iterations, written.reached,
    )  # fmt: skip
    return written


def settled(
    g: np.ndarray, aim: np.ndarray, spec: PcmSpec, address: Address, key: Key,
    from_seconds: float, to_seconds: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return conductances after the devices drifted apart, and their drift exponents.

    The mean drift of a state before t0 belongs to the definition of its conductance; the
    difference between devices remains: ``g exp(-(nu - mean nu) ln(to / from))``.
    """
    g, nu, drift = g.copy(), np.empty_like(g), spec.drift
    kernels.settle(
        g, aim, spec.fitted_siemens, math.log(to_seconds / from_seconds),
        np.array(pcm.curve_table(None if drift is None else drift.exponent_mean)),
        np.array(pcm.curve_table(None if drift is None else drift.exponent_std)),
        0.0 if drift is None else drift.scale,
        *address, words(key.child(Purpose.PULSE_DEVICE)), nu,
    )  # fmt: skip
    return g, nu


def to_state(written: Written, spec: PcmSpec, address: Address, key: Key) -> pcm.PcmState:
    """Return written devices as a state at t0."""
    from_seconds = spec.closed_loop().scheme.settled_seconds
    g, nu = settled(written.g, written.aim, spec, address, key, from_seconds, spec.t0_seconds)
    return pcm.PcmState(written.aim, written.iterations > 0, g, nu)


def write(
    request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Program and verify every cell of a block.

    Parameters
    ----------
    request : Request
        Wanted conductances of the block.
    spec : PcmSpec
        With ``pulses`` and a :class:`~aimc_sim.spec.ProgramVerify` scheme.
    address : (int, int)
        Columns and cells of the core.
    key : Key
        Of this core.
    cycle : int
        Number of the programming: later ones draw new pulses on the same devices.

    Returns
    -------
    PcmState, ProgrammingReport
        ``state.programmed`` marks the devices that were tuned.
    """
    written = pulse_all(request, spec, address, key, cycle)
    state = to_state(written, spec, address, key)
    return state, report(request, written, state, spec, "program-and-verify")


def report(
    request: Request, written: Written, state: pcm.PcmState, spec: PcmSpec, name: str
) -> ProgrammingReport:
    """Return cost and result of a block that was written by the loop."""
    net = state.g[:2].sum(axis=0, dtype=np.float64) - state.g[2:].sum(axis=0, dtype=np.float64)
    tuned = written.iterations > 0
    spent = cost.of_loop(request, written, spec)
    return ProgrammingReport(
        name, int(tuned.sum()), int(written.reached.sum()),
        int(written.iterations.sum(dtype=np.int64)), spent.pulses, spent.seconds, spent.joules,
        *error_sum(net - request.net(), request.programmed),
    )  # fmt: skip
