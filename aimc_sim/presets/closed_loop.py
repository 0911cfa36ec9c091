"""Chip devices that are written pulse by pulse; keys of the sources in the room's docstring."""

from __future__ import annotations

from typing import Literal

from .. import arguments
from ..spec import GradientProgramming, PcmSpec, ProgramVerify, VerifyRead
from .devices import pcm_hermes_one_device
from .pulsed import pulses_hermes

_uS, _uA, _ns = 1e-6, 1e-6, 1e-9

_SETTLED_SECONDS = 5e-4
"""Age from which the devices' own drift counts in the error at t0; the only fitted number."""

Fill = Literal["one-device", "max-set-fill"]


def program_and_verify(fill: Fill = "one-device") -> ProgramVerify:
    """Return the chip's closed loop, for one device per weight or max-SET-fill with two."""
    return ProgramVerify(
        fill=fill,
        verify=VerifyRead(
            count_siemens=10.35 / 80 * _uS, volts=0.2, precharge_seconds=256 * _ns,
            seconds=512 * _ns,
            source="[chip] 0.2 V, 512 ns after 256 ns; 80 counts [chip] are 10.35 uS [fits]",
        ),
        margin_counts=5, max_iterations=30, write_channels=32,
        low_amperes=125 * _uA, high_amperes=700 * _uA, start_amperes=300 * _uA,
        step_amperes_per_count=1 * _uA,
        settled_seconds=_SETTLED_SECONDS,
        source="[chip] margin 5 counts, at most 30 iterations, square pulses of 125 to 700 uA, "
        "step proportional to the error, 32 current sources, one diagonal at a time. "
        "Assumption: first amplitude, size of the step. Fitted here: settled_seconds, to the "
        "chip's weight-error polynomials (validation/weight_error.py)",
    )  # fmt: skip


def pcm_hermes_closed_loop(
    fill: Fill = "one-device",
    scheme: Literal["program-and-verify", "gradient"] = "program-and-verify",
) -> PcmSpec:
    """Return the chip's device under pulses; drift and noise as in the one-device law.

    Parameters
    ----------
    fill : "one-device" (ODP) or "max-set-fill" (TDP)
        Devices that are tuned per polarity: one, or two that share the target.
    scheme : "program-and-verify" or "gradient"
        Loop that follows the first pulse: single verify reads, or products with random inputs.
    """
    pulses = program_and_verify(fill)
    loop: ProgramVerify | GradientProgramming = pulses
    if arguments.choice(scheme, "scheme", ("program-and-verify", "gradient")) == "gradient":
        loop = GradientProgramming(
            start=pulses, steps=30, inputs=512, threshold_counts=4, threshold_fraction=0.07,
            measured_seconds=1.0,
            step_amperes_per_count=1 * _uA,
            source="idea: gradient-descent programming (arXiv:2305.16647, "
            "doi:10.1109/IEDM45625.2022.10019486, abstract read); every "
            "number here is an assumption",
        )  # fmt: skip
    return pcm_hermes_one_device().with_(
        programming=loop,
        pulses=pulses_hermes(),
        source="[chip] for the scheme, [fits] for drift and noise of one device",
    )
