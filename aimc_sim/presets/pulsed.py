"""Devices pulse by pulse.

READ: in an opened source; DERIVED: computed from READ numbers; RECALLED: from memory of the
literature, not opened; assumption: chosen here. Keys [..] stand in the room's docstring.
"""

from __future__ import annotations

import math

from ..spec import (
    AccumulationLaw,
    DriftLaw,
    PcmSpec,
    ProgrammingCurve,
    PulseSpec,
    ReadNoiseLaw,
    ResetPulse,
    ResetState,
    SetState,
    StateCurve,
)

_uS = 1e-6
_uA = 1e-6
_ns = 1e-9


def pcm_nandakumar_2018(high_siemens: float = 12 * _uS) -> PcmSpec:
    """Return a device that is written by single partial-SET pulses.

    Parameters
    ----------
    high_siemens : float
        Largest conductance. The source uses 12 uS, and 20 uS for the figure it reproduces.
    """
    t0, t_read = 38.6, 250 * _ns
    band = math.sqrt(math.log((t0 + t_read) / (2 * t_read)))
    nothing = StateCurve(form="log", a=0.0, b=0.0, low=0.0, high=0.0)
    return PcmSpec(
        g_max_siemens=high_siemens,
        g_reference_siemens=high_siemens,
        devices_per_element=1,
        t0_seconds=t0,
        programming=None,
        drift=DriftLaw(
            exponent_mean=StateCurve(form="log", a=0.0, b=0.04, low=0.04, high=0.04),
            exponent_std=nothing,
            source="READ in [pulses]: nu = 0.04 for every device, clock t0 = 38.6 s, restarted by "
            "every pulse; no standard deviation",
        ),
        read_noise=ReadNoiseLaw(
            amplitude=StateCurve(
                form="inverse", a=0.13 * _uS / high_siemens / band, b=0.03 / band,
                low=0.0, high=10.0,
            ),
            t_read_seconds=t_read,
            band="per_mvm",
            source="READ in [pulses]: sigma = 0.03 G + 0.13 uS, white from read to read. DERIVED: "
            "Q(x) such that sigma has this size at the age t0; its growth with age is that of "
            "1/f noise, which the source does not have. Assumption: t_read = 250 ns",
        ),
        reset=ResetState(
            mean_siemens=0.1 * _uS, std_siemens=0.01 * _uS,
            source="READ in [pulses]",
        ),
        pulses=PulseSpec(
            low_siemens=0.1 * _uS,
            high_siemens=high_siemens,
            accumulation=AccumulationLaw(
                mean_slope=-0.084, mean_offset_siemens=0.880 * _uS,
                mean_first_siemens=1.40 * _uS,
                std_slope=0.091, std_offset_siemens=0.260 * _uS,
                std_first_siemens=2.15 * _uS,
                decay_pulses=2.6, amperes=90 * _uA, seconds=50 * _ns,
                source="coefficients READ in [pulses]; 90 uA and 50 ns RECALLED (medium); all "
                "standard deviations are from pulse to pulse there, none between devices",
            ),
            reset=ResetPulse(
                low_siemens=0.01 * _uS, amperes=450 * _uA, seconds=400 * _ns,
                source="lower clip READ in [pulses]; amplitude and duration RECALLED (medium) "
                "from a related experiment: they set the energy only",
            ),
            write_volts=2.5,
            source="range READ in [pulses]; write voltage assumed as in the 14-nm chip",
        ),
        source="[pulses]; Joule heat of a pulse is an estimate, its statistics are not",
    )  # fmt: skip


def pulses_hermes() -> PulseSpec:
    """Return the pulses of the 64-core chip: full SET, full RESET and square pulses.

    The conductances of whole distributions are known, the response of single devices to a pulse
    is not: the standard deviations of the square pulses are assumptions or come from another PCM.
    """
    return PulseSpec(
        low_siemens=0.05 * _uS,
        high_siemens=40 * _uS,
        set=SetState(
            median_siemens=16.2 * _uS, core_std=0.08, device_std=0.20, cycle_std=0.03,
            amperes=125 * _uA, seconds=300 * _ns,
            source="READ in [chip]: 125 uA, 250 ns and 50 ns trailing edge; 10th percentile of "
            "the least conductive of 64 cores = 80 counts (10.35 uS); the distributions of the "
            "cores span about 40 to 280 counts (a figure's description, low precision). "
            "DERIVED: median and standard deviations for both. Assumption: log-normal; cycle_std",
        ),
        curve=ProgrammingCurve(
            half_amperes=350 * _uA, width_amperes=45 * _uA,
            device_std_amperes=20 * _uA, cycle_std_decades=0.058, seconds=125 * _ns,
            source="READ in [chip]: 125 ns square pulses; a programming curve over 50 to 500 uA, "
            "fully SET around 10 uS, fully RESET near 0.1 uS. Assumption: a sigmoid in log G "
            "between these ends, its middle, width and device_std. DERIVED: "
            "cycle_std from measured repeats on another PCM (data of Zarcone et al., Scientific "
            "Reports 10, 6831 (2020))",
        ),
        reset=ResetPulse(
            low_siemens=0.0, amperes=700 * _uA, seconds=125 * _ns,
            source="READ in [chip]: 700 uA, 125 ns",
        ),
        write_volts=2.5,
        source="READ in [chip]'s core paper: programming needs more than 2.5 V, so energies are "
        "lower bounds. Assumption: range of conductance, wide enough to clip next to nothing",
    )  # fmt: skip
