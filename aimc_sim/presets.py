"""Named machines, with the source of every number.

[chip]  M. Le Gallo et al., "A 64-core mixed-signal in-memory compute chip based on phase-change
        memory for deep neural network inference", Nature Electronics 6, 680 (2023),
        doi:10.1038/s41928-023-01010-1, read as arXiv:2212.02872v1.
[core]  R. Khaddam-Aljameh et al., "HERMES-Core ...", IEEE JSSC 57, 1027 (2022),
        doi:10.1109/JSSC.2022.3140414.
[fits]  The chip's device statistics as fitted in IBM's AIHWKit, ``inference/noise/hermes.py``
        at commit 4545f11.
[25uS]  S. R. Nandakumar et al., ICECS 2019, and V. Joshi et al., Nature Communications 11, 2473
        (2020), doi:10.1038/s41467-020-16108-9, coefficients as in AIHWKit
        ``inference/noise/pcm.py`` at commit 4545f11.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Literal

from .spec import (
    AdcSpec,
    CalibrationSpec,
    ChipSpec,
    CoreSpec,
    DacSpec,
    DriftLaw,
    FabricSpec,
    LdpuSpec,
    PcmSpec,
    PolaritySpec,
    ProgrammingLaw,
    ReadNoiseLaw,
    ReadSpec,
    ResetState,
    StateCurve,
)

_uS = 1e-6

# ------------------------------------------------------------------------------ devices

_CHIP_DRIFT_MEAN = StateCurve(
    form="log", a=-0.0387, b=-0.0182, low=0.0720, high=0.13, knee=0.0945,
    polynomial=(0.0736, -0.0126, -0.0436, 0.0),
)  # fmt: skip


def pcm_hermes_one_device() -> PcmSpec:
    """Return the chip's law for one tuned device per polarity (ODP): 10.35 uS, t0 = 200 s."""
    return PcmSpec(
        g_max_siemens=10.35 * _uS,
        g_reference_siemens=10.35 * _uS,
        devices_per_element=1,
        t0_seconds=200.0,
        programming=ProgrammingLaw(
            polynomial_siemens=(
                0.15781817 * _uS, 2.32443916 * _uS, -2.16310839 * _uS, 0.68841818 * _uS,
            ),
            source="[fits] one device",
        ),
        drift=DriftLaw(
            exponent_mean=_CHIP_DRIFT_MEAN,
            exponent_std=StateCurve(
                form="log", a=-0.0120, b=-0.0023, low=0.0124, high=0.04, knee=0.3039,
                polynomial=(0.0104, 0.0116, -0.0165, 0.0),
            ),
            source="[fits] one device",
        ),
        read_noise=ReadNoiseLaw(
            amplitude=StateCurve(
                form="log", a=-0.0078, b=0.0038, low=0.0179, high=0.04, knee=0.1591,
                polynomial=(0.0088, 0.0768, -0.1352, 0.0664),
            ),
            t_read_seconds=512e-9,
            source="[fits] one device; band edge: 1,024 pixels x 0.64 us for a CIFAR image, "
            "rounded up (assumption)",
        ),
        reset=_CHIP_RESET,
        source="[fits]; g_max = 80 ADC counts [chip]",
    )  # fmt: skip


def pcm_hermes_two_devices() -> PcmSpec:
    """Return the chip's law for two devices per polarity (TDP): 20.7 uS, t0 = 300 s.

    The fit treats both devices of a polarity as one element that drifts as a whole; its source
    calls the drift pessimistic against the chip's max-SET-fill programming.
    """
    return PcmSpec(
        g_max_siemens=20.7 * _uS,
        g_reference_siemens=20.7 * _uS,
        devices_per_element=2,
        t0_seconds=300.0,
        programming=ProgrammingLaw(
            polynomial_siemens=(
                0.16603222 * _uS, 4.71806468 * _uS, -8.48101252 * _uS, 4.68961419 * _uS,
            ),
            source="[fits] two devices (max-SET-fill)",
        ),
        drift=DriftLaw(
            exponent_mean=_CHIP_DRIFT_MEAN,
            exponent_std=StateCurve(
                form="log", a=-0.0117, b=-0.0057, low=0.0091, high=0.04, knee=0.3055,
                polynomial=(0.0073, 0.0093, -0.0118, 0.0),
            ),
            source="[fits] two devices",
        ),
        read_noise=ReadNoiseLaw(
            amplitude=StateCurve(
                form="log", a=-0.0117, b=-0.0069, low=0.015, high=0.04, knee=0.16,
                polynomial=(0.0123, 0.0211, -0.0280, 0.0069),
            ),
            t_read_seconds=512e-9,
            source="[fits] two devices; band edge: 1,024 pixels x 0.64 us for a CIFAR image, "
            "rounded up (assumption)",
        ),
        reset=_CHIP_RESET,
        source="[fits]; g_max = 160 ADC counts [chip]",
    )  # fmt: skip


_CHIP_RESET = ResetState(
    mean_siemens=0.1 * _uS,
    std_siemens=0.0,
    source="[chip] Extended Data Table I: up to 10 Mohm; spread 'essentially zero'",
)


def pcm_25_microsiemens() -> PcmSpec:
    """Return the 25 uS model: one device per polarity, t0 = 20 s, t_read = 250 ns."""
    return PcmSpec(
        g_max_siemens=25 * _uS,
        g_reference_siemens=25 * _uS,
        devices_per_element=1,
        t0_seconds=20.0,
        programming=ProgrammingLaw(
            polynomial_siemens=(0.26348 * _uS, 1.9650 * _uS, -1.1731 * _uS, 0.0),
            source="[25uS]",
        ),
        drift=DriftLaw(
            exponent_mean=StateCurve(form="log", a=-0.0155, b=0.0244, low=0.049, high=0.1),
            exponent_std=StateCurve(form="log", a=-0.0125, b=-0.0059, low=0.008, high=0.045),
            source="[25uS]",
        ),
        read_noise=ReadNoiseLaw(
            amplitude=StateCurve(form="power", a=0.0088, b=-0.65, low=0.0, high=0.2),
            t_read_seconds=250e-9,
            source="[25uS]; band edge: 1,024 pixels x 0.64 us for a CIFAR image, rounded up "
            "(assumption)",
        ),
        reset=ResetState(
            mean_siemens=0.1 * _uS,
            std_siemens=0.01 * _uS,
            source="RESET state of the pulse model of Nandakumar et al., J. Appl. Phys. 2018, as "
            "read in its re-implementation YigitDemirag/srnn-pcm",
        ),
        source="[25uS]",
    )


def pcm_ideal(g_max_siemens: float = 25 * _uS) -> PcmSpec:
    """Return a device that keeps every conductance exactly and is zero when in RESET."""
    return PcmSpec(
        g_max_siemens=g_max_siemens,
        g_reference_siemens=g_max_siemens,
        devices_per_element=1,
        t0_seconds=1.0,
        programming=None,
        drift=None,
        read_noise=None,
        reset=ResetState(mean_siemens=0.0, std_siemens=0.0),
        source="no physical effect",
    )


# -------------------------------------------------------------------------------- chips

_FABRIC = FabricSpec(
    topology="prism_grid",
    rows=8,
    cols=8,
    source="[chip] 8 x 8 cores; links: 5PP (reconstructed) from the core labels of Extended "
    "Data Fig. 1",
)


def _read(mode: str) -> ReadSpec:
    if mode == "4-phase":
        return ReadSpec(
            mode="4-phase", mvm_seconds=520e-9, mvm_joules=3.38e-6 / 64, v_read_volts=0.2,
            source="[chip] Extended Data Table I: 520 ns, 3.38 uJ for 64 cores; 0.2 V is the "
            "verify-read voltage, assumed for MVMs too",
        )  # fmt: skip
    if mode == "1-phase":
        return ReadSpec(
            mode="1-phase", mvm_seconds=133e-9, mvm_joules=0.86e-6 / 64, v_read_volts=0.2,
            polarity=PolaritySpec(
                mean_fraction=0.05,
                std_fraction=0.02,
                source="assumption, not measured: [chip] names polarity-dependent conduction "
                "and gives no magnitude",
            ),
            source="[chip] Extended Data Table I: 133 ns, 0.86 uJ for 64 cores; 0.2 V is the "
            "verify-read voltage, assumed for MVMs too",
        )  # fmt: skip
    raise ValueError(f"read = {mode!r} is unknown; choose '4-phase' or '1-phase'")


def _hermes_core(pcm: PcmSpec, read: str) -> CoreSpec:
    return CoreSpec(
        pcm=pcm,
        dac=DacSpec(bits=8, lsb_seconds=1e-9, source="[core] sign + 7-bit PWM, 1 ns per step"),
        adc=AdcSpec(
            bits=11, full_scale_amperes=100e-6,
            source="[chip] saturation near 100 uA; 80 counts at 10.35 uS in the 512 ns, 0.2 V "
            "verify read make 966 counts per polarity at 100 uA in 128 ns: the nearest sign + "
            "magnitude width is 11 bits ([core] alone gives 420 to 448 counts, 10 bits)",
        ),
        read=_read(read),
        ldpu=LdpuSpec(source="[chip] INT8 links and outputs, 400 MHz, one output per clock"),
        source="[chip] 256 x 256 unit cells of four devices",
    )  # fmt: skip


def hermes(
    mode: Literal["tdp", "odp"] = "tdp", read: Literal["4-phase", "1-phase"] = "4-phase"
) -> ChipSpec:
    """Return the 64-core 14-nm PCM chip.

    Parameters
    ----------
    mode : "tdp" or "odp"
        Two or one programmed device per polarity of a cell.
    read : "4-phase" or "1-phase"
        All accuracies in the chip paper are 4-phase. In 1-phase mode the size of the
        polarity-dependent conduction is an assumption: the paper gives none.
    """
    devices = {"tdp": pcm_hermes_two_devices, "odp": pcm_hermes_one_device}
    if mode not in devices:
        raise ValueError(f"mode = {mode!r} is unknown; choose 'tdp' or 'odp'")
    return ChipSpec(
        name=f"hermes-{mode}" + ("" if read == "4-phase" else "-1-phase"),
        core=_hermes_core(devices[mode](), read),
        fabric=_FABRIC,
        calibration=CalibrationSpec(source="procedure of this simulator"),
        source="[chip]",
    )


def generic_pcm() -> ChipSpec:
    """Return the same machine with the 25 uS devices, one per polarity.

    The model comes with no chip; converters, cores and fabric are those of :func:`hermes`.
    """
    chip = hermes("odp")
    return chip.with_({"core.pcm": pcm_25_microsiemens(), "name": "generic-pcm"})


def ideal() -> ChipSpec:
    """Return the same cores and fabric with every non-ideality off: equals torch."""
    core = CoreSpec(
        pcm=pcm_ideal(),
        dac=DacSpec(bits=None),
        adc=AdcSpec(bits=None, full_scale_amperes=None),
        read=_read("4-phase"),
        ldpu=LdpuSpec(output_bits=None, link_bits=None),
    )
    return ChipSpec(
        name="ideal", core=core, fabric=_FABRIC, calibration=CalibrationSpec(), source="-"
    )


def ideal_devices(spec: ChipSpec) -> ChipSpec:
    """Return ``spec`` with perfect devices: what is left are converters and integers."""
    return spec.with_(
        {
            "core.pcm": pcm_ideal(spec.core.pcm.g_max_siemens),
            "core.read.polarity": None,
            "name": f"{spec.name}, ideal devices",
        }
    )


PRESETS: dict[str, Callable[[], ChipSpec]] = {
    "hermes": hermes,
    "hermes-tdp": lambda: hermes("tdp"),
    "hermes-odp": lambda: hermes("odp"),
    "hermes-tdp-1-phase": lambda: hermes("tdp", "1-phase"),
    "hermes-odp-1-phase": lambda: hermes("odp", "1-phase"),
    "generic-pcm": generic_pcm,
    "ideal": ideal,
}
"""Presets by the name the command line uses."""


def by_name(name: str) -> ChipSpec:
    """Return a preset by name; KeyError gives the nearest name and all there are."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise KeyError(f"no preset named '{name}'; {hint}There are: {', '.join(PRESETS)}")
    return PRESETS[name]()
