"""Gradient-descent programming: write a crossbar by the error of its own matrix-vector products.

After J. Büchel et al., "Gradient descent-based programming of analog in-memory computing cores",
IEDM 2022 (arXiv:2305.16647), of which the abstract was read: stochastic gradient descent on the
error of products with random inputs, no high-resolution read of single devices. Pulse policy
(one square pulse per step to cells whose estimated error exceeds a threshold, current changed in
proportion to it, starting from program-and-verify) and all step sizes are this simulator's own.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..device import faults, pcm
from ..device.family import cycle_key
from ..device.programming import ProgrammingReport, Request, verify
from ..device.programming.cells import Written
from ..kernels import verify as kernels
from ..rng import Key, Purpose
from ..spec import CoreSpec, GradientProgramming, PcmSpec
from . import tile
from .converters import adc


def write(
    request: Request, core: CoreSpec, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Program a block, then refine it by products with random inputs.

    Parameters
    ----------
    request : Request
        Wanted conductances of the block.
    core : CoreSpec
        Its device has a :class:`~aimc_sim.spec.GradientProgramming` scheme.
    key : Key
        Of the core.
    cycle : int
        Number of the programming.

    Returns
    -------
    state : PcmState
        Devices at the start of the clock.
    report : ProgrammingReport
        Cost and error of writing them.

    Notes
    -----
    A cell's error is estimated by the mean gradient since its last pulse. Read noise slower than
    one product is taken as fresh in each: over many inputs it averages out.
    """
    spec, address, scheme = core.pcm, tile.address(core), _scheme(core)
    written = verify.pulse_all(request, spec, address, key, cycle)
    stuck = faults.stuck(written.g.shape, spec, address, key)
    later = cycle_key(key, cycle)
    device_words = verify.words(key.child(Purpose.PULSE_DEVICE))
    pulse_words = verify.words(later.child(Purpose.PULSE_CYCLE))
    read_state = _ReadState.at(written, core, key)
    counts_per_unit = np.float32(spec.g_max_siemens / scheme.start.verify.count_siemens)
    wanted = (request.net() / spec.g_max_siemens).astype(np.float32)
    tuned = written.iterations > 0
    sign = np.array([1, 1, -1, -1], np.float32)[:, None, None]
    low, high = np.float32(scheme.start.low_amperes), np.float32(scheme.start.high_amperes)
    total, products = np.zeros(wanted.shape, np.float32), np.zeros(wanted.shape, np.float32)
    pulses = np.zeros(written.g.shape, np.uint16)
    for step in range(scheme.steps):
        crossbar = read_state.crossbar(written.g, spec)
        total += _gradient(crossbar, wanted, core, later.child(Purpose.GRADIENT, step).generator())
        products += 1
        counts = total / products * counts_per_unit
        # A pulse draws a new state whose deviation grows with the conductance: it must pay.
        worth = scheme.threshold_fraction * written.g * counts_per_unit / spec.g_max_siemens
        chosen = tuned & (np.abs(counts) > np.maximum(scheme.threshold_counts, worth))
        change = np.float32(scheme.step_amperes_per_count) * sign * counts
        written.amperes[chosen] = np.clip(written.amperes + change, low, high)[chosen]
        kernels.pulse(
            chosen, written.amperes, scheme.start.max_iterations + 1 + step, stuck,
            verify.laws(spec), verify.stuck_levels(spec), *address, device_words, pulse_words,
            written.g,
        )  # fmt: skip
        pulses += chosen
        again = chosen.any(axis=0)
        total[again] = products[again] = 0
    state = verify.to_state(written, spec, address, key)
    report = verify.report(request, written, state, spec, "gradient")
    return state, _with_steps(report, pulses, written, core)


def _scheme(core: CoreSpec) -> GradientProgramming:
    scheme = core.pcm.programming
    assert isinstance(scheme, GradientProgramming)  # other schemes do not come here
    return scheme


@dataclasses.dataclass(frozen=True)
class _ReadState:
    """State of the devices while products are computed.

    Attributes
    ----------
    drift : (4, R, C) float32, dimensionless
        Factor on the conductance of the last pulse.
    noise : (4, R, C) float32, dimensionless
        Standard deviation of the read noise in one product, per conductance.
    """

    drift: np.ndarray
    noise: np.ndarray

    @classmethod
    def at(cls, written: Written, core: CoreSpec, key: Key) -> _ReadState:
        spec, address = core.pcm, tile.address(core)
        one = np.ones_like(written.g)
        drift, _ = verify.settled(
            one, written.aim, spec, address, key, _scheme(core).start.settled_seconds,
            _scheme(core).measured_seconds,
        )  # fmt: skip
        noise = np.zeros_like(one)
        if spec.read_noise is not None:
            white = spec.with_({"read_noise.band": "per_mvm", "drift": None})
            state = pcm.PcmState(written.aim, written.reached, one, noise)
            fresh = pcm.evaluate(state, white, 0.0, address, key).fresh
            noise = noise if fresh is None else fresh
        return cls(drift, noise)

    def crossbar(self, g: np.ndarray, spec: PcmSpec) -> tile.TileNow:
        """Return the crossbar that products read, of conductances of last pulses, in siemens."""
        relative = g * self.drift * np.float32(1 / spec.g_max_siemens)
        noise = tile.by_polarity((relative * self.noise) ** 2)
        return tile.TileNow(tile.by_polarity(relative), variances=noise)


def _gradient(
    crossbar: tile.TileNow, wanted: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> np.ndarray:
    """Return the (R, C) gradient, scaled to the error of the net relative conductance."""
    limit = core.dac.max_code
    shape = (_scheme(core).inputs, len(wanted))
    codes = generator.integers(-limit, limit + 1, shape).astype(np.float32)
    output = tile.read(crossbar, codes, core, generator) * adc(core).step
    error = output.astype(np.float32) - codes @ wanted
    power = np.maximum((codes**2).sum(axis=0), 1)  # a row that was never driven says nothing
    gradient: np.ndarray = codes.T @ error / power[:, None]
    return gradient


def _with_steps(
    report: ProgrammingReport, pulses: np.ndarray, written: Written, core: CoreSpec
) -> ProgrammingReport:
    """Add pulses, time and heat of the gradient steps to the report of the starting point."""
    scheme, loop = _scheme(core), core.pcm.closed_loop()
    n = int(pulses.sum(dtype=np.int64))
    charge = float((written.amperes * pulses).sum(dtype=np.float64)) * loop.curve.seconds
    reads = scheme.steps * scheme.inputs
    heat = core.read.v_read_volts**2 * float(written.g.sum(dtype=np.float64))
    mean_pulse = core.dac.max_code * core.dac.pulse_seconds / 2  # inputs are uniform
    assert report.iterations is not None  # the loop of the start counts all four
    assert report.pulses is not None
    assert report.seconds is not None
    assert report.joules is not None
    return dataclasses.replace(
        report,
        converged=None,
        iterations=report.iterations + n,
        pulses=report.pulses + n,
        seconds=report.seconds
        + reads * core.read.mvm_seconds
        + -(-n // scheme.start.write_channels) * loop.curve.seconds,
        joules=report.joules + loop.pulses.write_volts * charge + reads * heat * mean_pulse,
    )
