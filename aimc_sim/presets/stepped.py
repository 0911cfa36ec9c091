"""Devices that pulses move step by step; keys [..] of sources stand in the room's docstring.

Weights are dimensionless in [kit]: conductances, pulse duration and pulse voltage of all devices
here are assumptions, and set heat and duration of pulses only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import arguments
from ..spec import (
    ConstantStep,
    CycleNoise,
    ExponentialStep,
    LinearStep,
    SoftBounds,
    StepLeak,
    StepReset,
    StepSpec,
    StepVariation,
    StepWriting,
)
from ..spec.steps import StepForm

_uS = 1e-6
_KIT = "READ in [kit]"
_ASSUMED = (
    "conductances 0.1 to 10 uS, pulses of 5 ns and 1 V: assumptions; writing loop on a chip: "
    "assumption"
)


def _device(source: str, shape: StepForm, states_margin: float = 0.02, **fields: Any) -> StepSpec:
    """Return a device with the conductances and pulses that are assumed for all."""
    loop = StepWriting(
        margin=states_margin, most_iterations=100,
        source="assumption: margin 1 % of a range of two, or a step where that is more",
    )  # fmt: skip
    return StepSpec(
        g_max_siemens=10 * _uS, low_siemens=0.1 * _uS, t0_seconds=1.0, pulse_seconds=5e-9,
        pulse_volts=1.0, programming=loop, shape=shape, source=f"{source}; {_ASSUMED}", **fields,
    )  # fmt: skip


def gokmen_vlasov() -> StepSpec:
    """Return the constant step of the specifications of Gokmen and Vlasov, 1,250 states."""
    return _device(
        f"{_KIT}: presets.devices.GokmenVlasovPresetDevice; after [rpu], range scaled to +-1",
        ConstantStep(source=_KIT),
        step=0.0016, lower=-1.0, upper=1.0,
        variation=StepVariation(
            step_std=0.3, up_down_std=0.01, upper_std=0.3, lower_std=0.3, source=_KIT
        ),
        cycle=CycleNoise(std=0.3, step=1.0, source=_KIT),
    )  # fmt: skip


def idealized() -> StepSpec:
    """Return a constant step of 10,000 states without mean asymmetry of devices."""
    return _device(
        f"{_KIT}: presets.devices.IdealizedPresetDevice",
        ConstantStep(source=_KIT),
        step=0.0002, lower=-1.0, upper=1.0,
        variation=StepVariation(step_std=0.3, upper_std=0.3, lower_std=0.3, source=_KIT),
        cycle=CycleNoise(std=0.3, step=1.0, source=_KIT),
    )  # fmt: skip


def reram_es() -> StepSpec:
    """Return resistive memory with an exponential step, fitted there to [gong]."""
    return _device(
        f"{_KIT}: presets.devices.ReRamESPresetDevice, a fit to [gong]",
        ExponentialStep(
            a=-0.5, b=-0.5, rate_up=5.0, rate_down=5.0, factor_up=-1.18445,
            factor_down=-0.081404, source=_KIT,
        ),
        step=0.00135, up_down=0.259359, lower=-1.0, upper=1.0,
        variation=StepVariation(
            step_std=0.2, up_down_std=0.05, upper_std=0.3, lower_std=0.3, source=_KIT
        ),
        cycle=CycleNoise(std=5.0, step=1.0, source=_KIT),
        write_noise=75.0,
    )  # fmt: skip


def reram_sb(*, subtract_symmetry_point: bool = False) -> StepSpec:
    """Return resistive memory with soft bounds, 1,000 states, a loose fit there to [gong].

    Parameters
    ----------
    subtract_symmetry_point : bool
        Whether every device's symmetry point is subtracted, as the presets of Tiki-Taka there do.
    """
    return _device(
        f"{_KIT}: presets.devices.ReRamSBPresetDevice, a loose fit to [gong]",
        SoftBounds(subtract_symmetry_point=subtract_symmetry_point, source=_KIT),
        step=0.002, lower=-0.75, upper=1.25,
        variation=StepVariation(
            step_std=0.3, up_down_std=0.01, upper_std=0.3 / 1.25, lower_std=0.3 / 0.75, source=_KIT
        ),
        cycle=CycleNoise(std=3.75, scale=1.0, source=_KIT),
        write_noise=56.0,
    )  # fmt: skip


def capacitor(batch_seconds: float = 1e-6) -> StepSpec:
    """Return a capacitor cell: a nearly constant step, and charge that leaks away.

    Parameters
    ----------
    batch_seconds : float, seconds
        Duration of a mini-batch: [kit] gives the time constant of leakage as 10^6 of them.
        Default: an assumption.
    """
    return _device(
        f"{_KIT}: presets.devices.CapacitorPresetDevice, a fit to Li et al., VLSI 2018",
        LinearStep(
            decrease_up=0.05, decrease_down=0.05, device_std_up=0.01, device_std_down=0.01,
            source=_KIT,
        ),
        step=0.005, lower=-1.0, upper=1.0,
        variation=StepVariation(
            step_std=0.1, up_down_std=0.06, upper_std=0.07, lower_std=0.07, source=_KIT
        ),
        cycle=CycleNoise(std=0.3, scale=1.0, source=_KIT),
        leak=StepLeak(
            seconds=1e6 * batch_seconds, device_std=0.3,
            source="READ in [kit]: 10^6 mini-batches; their duration is an assumption",
        ),
    )  # fmt: skip


def ecram() -> StepSpec:
    """Return lithium-based electrochemical memory."""
    return _device(
        f"{_KIT}: presets.devices.EcRamPresetDevice, a fit to Tang et al., IEDM 2018",
        LinearStep(
            decrease_up=0.1153, decrease_down=0.5085, device_std_up=0.05, device_std_down=0.05,
            source=_KIT,
        ),
        step=0.002, lower=-0.8276, upper=1.1724,
        variation=StepVariation(
            step_std=0.1, up_down_std=0.01, upper_std=0.05, lower_std=0.05, source=_KIT
        ),
        cycle=CycleNoise(std=0.3, step=1.0, source=_KIT),
    )  # fmt: skip


def ecram_mo() -> StepSpec:
    """Return metal-oxide electrochemical memory, about 7,100 states."""
    return _device(
        f"{_KIT}: presets.devices.EcRamMOPresetDevice, after Kim et al., IEDM 2019",
        LinearStep(
            decrease_up=0.4152, decrease_down=0.7342, device_std_up=0.05, device_std_down=0.05,
            source=_KIT,
        ),
        step=2.8214e-4, lower=-0.8286, upper=1.1714,
        variation=StepVariation(
            step_std=0.1, up_down_std=0.01, upper_std=0.05, lower_std=0.05, source=_KIT
        ),
        cycle=CycleNoise(std=2.0, step=1.0, source=_KIT),
    )  # fmt: skip


def pcm_step() -> StepSpec:
    """Return phase-change memory as an exponential step upward, with RESET.

    Two of them are the pair of :func:`PCMPresetUnitCell` in [kit]; phase-change memory with the
    dependence on the number of pulses is :func:`pcm_nandakumar_2018`.
    """
    return _device(
        f"{_KIT}: presets.devices.PCMPresetDevice, after S. R. Nandakumar et al., "
        "doi:10.3389/fnins.2020.00406",
        ExponentialStep(
            a=-1.0, b=0.0, rate_up=2.5, rate_down=2.5, factor_up=-27.235, factor_down=-2.235,
            source=_KIT,
        ),
        0.25,
        step=0.01, lower=0.0, upper=2.0, directions="up",
        variation=StepVariation(step_std=0.2, up_down_std=0.05, upper_std=0.1, source=_KIT),
        cycle=CycleNoise(std=0.6, step=1.0, offset=0.042, state=0.108, source=_KIT),
        reset=StepReset(
            mean=0.01, device_std=0.02, cycle_std=0.01,
            source="mean and variation between devices READ in [kit]; from RESET to RESET 0.01: "
            "its default",
        ),
    )  # fmt: skip


def _array(name: str, step: float, variation: StepVariation, noise: float,
           write_noise: float) -> StepSpec:  # fmt: skip
    return _device(
        f"{_KIT}: presets.devices.{name}, fits to an array: Gong, Rasch et al., IEDM 2022",
        SoftBounds(
            reference_std=0.05, subtract_symmetry_point=True,
            source=f"{_KIT}: the symmetry point is subtracted up to 5 % of the upper bound",
        ),
        max(0.02, step),
        step=step, lower=-1.0, upper=1.0, variation=variation,
        cycle=CycleNoise(std=noise, scale=1.0, source=_KIT), write_noise=write_noise,
    )  # fmt: skip


def reram_array_om(dead_fraction: float = 0.0) -> StepSpec:
    """Return the array of resistive memory of an optimised material, about 21 states.

    Parameters
    ----------
    dead_fraction : float
        Share of devices that do not move; 0.1348 in the measured array, 0 in the preset there.
    """
    return _array(
        "ReRamArrayOMPresetDevice", 0.0949,
        StepVariation(
            step_std=0.7829, step_law="lognormal", up_down_std=0.01, upper_std=0.3499,
            lower_std=0.5695, dead_fraction=dead_fraction, dead_range=0.01, source=_KIT,
        ),
        0.4158, 1.4113,
    )  # fmt: skip


def reram_array_hfo2(dead_fraction: float = 0.0) -> StepSpec:
    """Return the array of resistive memory of baseline HfO2, about 4 states.

    Parameters
    ----------
    dead_fraction : float
        Share of devices that do not move; 0.0977 in the measured array, 0 in the preset there.
    """
    return _array(
        "ReRamArrayHfO2PresetDevice", 0.4622,
        StepVariation(
            step_std=0.7125, step_law="lognormal", up_down_std=0.01, upper_std=0.4295,
            lower_std=0.599, dead_fraction=dead_fraction, dead_range=0.01, source=_KIT,
        ),
        0.2174, 0.5841,
    )  # fmt: skip


def soft_bounds(states: float, *, reference_std: float = 0.0) -> StepSpec:
    """Return soft bounds at +-1 with a given number of states, and the usual variation.

    Parameters
    ----------
    states : float
        Nominal steps in the range, 1 to 2^20.
    reference_std : float, dimensionless
        Standard deviation of the reference that every device's weight is counted from.
    """
    states = arguments.number(states, "states", 1, 2**20)
    return _device(
        "assumption: a family of devices for experiments; step 2 / states; variation of step, "
        "bounds and pulses 0.3, up-down 0.05",
        SoftBounds(reference_std=reference_std),
        max(0.02, 2.0 / states),
        step=2.0 / states, lower=-1.0, upper=1.0,
        variation=StepVariation(step_std=0.3, up_down_std=0.05, upper_std=0.3, lower_std=0.3),
        cycle=CycleNoise(std=0.3, step=1.0),
    )  # fmt: skip


def _levels(source: str, levels: int, leak: StepLeak | None = None) -> StepSpec:
    """Return equal devices of constant steps between hard ends at +-1."""
    arguments.whole(levels, "levels", 2, 2**20)
    step = 2.0 / (levels - 1)
    return _device(
        source, ConstantStep(), max(0.02, step), step=step, lower=-1.0, upper=1.0, leak=leak
    )


def mosfet_synapse(levels: int = 256, leak_seconds: float | None = None) -> StepSpec:
    """Return a transistor whose gate charge is the weight: a linear and symmetric response.

    Parameters
    ----------
    levels : int
        Levels between the bounds, >= 2; not found in the source.
    leak_seconds : float, seconds, optional
        Time constant with which the charge leaks away; not found in the source, default none.
    """
    return _levels(
        "DERIVED from the abstract of arXiv:1907.00625 (linear, symmetric response; weight in the "
        "charge of a gate); number of levels and leakage are assumptions, no numbers were found",
        levels,
        None if leak_seconds is None else StepLeak(seconds=leak_seconds),
    )


def domain_wall_synapse(levels: int = 256) -> StepSpec:
    """Return a domain wall that spin-orbit torque moves: equal steps between hard ends.

    Parameters
    ----------
    levels : int
        Levels between the ends, >= 2: length of the track over pulse length times velocity; not
        found in the source.
    """
    return _levels(
        "DERIVED from the abstract of arXiv:1811.09966 (conductance linear in the position of the "
        "wall, write current pulses); no noise and the number of levels are assumptions, no "
        "numbers were found",
        levels,
    )


STEPPED: dict[str, Callable[[], StepSpec]] = {
    "gokmen-vlasov": gokmen_vlasov,
    "idealized": idealized,
    "reram-es": reram_es,
    "reram-sb": reram_sb,
    "capacitor": capacitor,
    "ecram": ecram,
    "ecram-mo": ecram_mo,
    "pcm-step": pcm_step,
    "reram-array-om": reram_array_om,
    "reram-array-hfo2": reram_array_hfo2,
    "mosfet": mosfet_synapse,
    "domain-wall": domain_wall_synapse,
}
"""Stepped devices by name."""
