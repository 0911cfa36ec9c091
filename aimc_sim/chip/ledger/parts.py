"""Energy of one MVM of one core, part by part: each follows what causes it.

============  ======================================================================
part          what it follows
============  ======================================================================
array         charge through the devices x supply voltage: conductances that are there,
              inputs that are applied, read voltage, pulse lengths
modulators    rows x time of the pulses' clock, and every pulse
converters    columns x integration time of all phases (or bit planes), and every count; of
              sense amplifiers every comparison
============  ======================================================================

Constants: :class:`aimc_sim.spec.CostSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aimc_sim.core import converters, inputs
from aimc_sim.spec import ChipSpec, CoreSpec


@dataclass(frozen=True)
class Parts:
    """Energy of an MVM by part, J."""

    array: float
    modulators: float
    converters: float

    @property
    def joules(self) -> float:
        """The sum."""
        return self.array + self.modulators + self.converters


def phases(core: CoreSpec) -> int:
    """Return how many modulations an MVM has."""
    return inputs.modulations(core)


def _drive_seconds(core: CoreSpec) -> float:
    """Return how long a row is on, in one MVM, for a full-scale input."""
    dac = core.dac
    if inputs.is_bit_serial(dac):
        return inputs.magnitude_bits(dac) * dac.bit_seconds
    return dac.max_code * dac.pulse_seconds


def coulombs(core: CoreSpec, siemens: float, drive: float) -> float:
    """Return the charge that flows through an array in one MVM.

    Parameters
    ----------
    core : CoreSpec
        Read voltage and input window of the core.
    siemens : float
        Sum of the conductances of all devices, of both polarities.
    drive : float
        Mean magnitude of the inputs, as a share of full scale.

    Notes
    -----
    Every input meets the devices of both polarities once, in whatever number of phases.
    """
    return siemens * core.read.v_read_volts * drive * _drive_seconds(core)


def _nominal_coulombs(spec: ChipSpec) -> float:
    """Return the charge of a whole array under the load of the published measurement."""
    core = spec.core
    most = core.rows * core.cols * core.device.g_max_siemens
    return coulombs(core, most, spec.cost.signal_share)


def mvm_parts(
    spec: ChipSpec, rows: int | None = None, cols: int | None = None, charge: float | None = None
) -> Parts:
    """Return the energy of one MVM of one core, without any static power.

    Parameters
    ----------
    spec : ChipSpec
    rows, cols : int, optional
        Modulators and converters that work; all of the core by default.
    charge : float, coulombs, optional
        Through the array; by default that of the published measurement.
    """
    core, cost = spec.core, spec.cost
    rows, cols = rows or core.rows, cols or core.cols
    charge = _nominal_coulombs(spec) if charge is None else charge
    seconds = phases(core) * inputs.integration_seconds(core.dac)
    pulses = phases(core) * (
        inputs.magnitude_bits(core.dac) if inputs.is_bit_serial(core.dac) else 1
    )
    return Parts(
        array=charge * cost.supply_volts,
        modulators=rows
        * (cost.modulator_watts * seconds + cost.modulator_joules_per_pulse * pulses),
        converters=converters.joules(core, cost, cols, seconds, charge),
    )
