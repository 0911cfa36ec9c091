"""Devices under statistical laws; the keys [..] of the sources stand in the room's docstring."""

from __future__ import annotations

from .. import arguments
from ..spec import (
    SPANS,
    DriftLaw,
    PcmSpec,
    ProgrammingLaw,
    ReadNoiseLaw,
    ResetState,
    StateCurve,
)

_uS = 1e-6

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
            "read in its re-implementation [pulses]",
        ),
        source="[25uS]",
    )


def pcm_ideal(g_max_siemens: float = 25 * _uS) -> PcmSpec:
    """Return a device that keeps every conductance exactly and is zero when in RESET.

    Raises
    ------
    TypeError, ValueError
        If ``g_max_siemens`` is no number above zero, up to 1 S.
    """
    span = SPANS["S"]
    g_max_siemens = arguments.number(g_max_siemens, "g_max_siemens", span.least, span.most)
    return PcmSpec.perfect(g_max_siemens)
