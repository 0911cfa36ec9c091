"""Resistive memory devices; the keys [..] of the sources stand in the room's docstring."""

from __future__ import annotations

from .. import arguments
from ..spec import RelaxationLaw, RramNoiseLaw, RramProgramming, RramSpec

_uS = 1e-6

_ACCEPTANCE = {
    0.2: (0.00106879, 0.00081107 * _uS),
    2.0: (0.01129027418, 0.0112185391 * _uS),
}
"""Slope and offset of the error by acceptance in percent, [cmo]."""


def rram_cmo_hfox(acceptance_percent: float = 0.2) -> RramSpec:
    """Return the law of conductive-metal-oxide/HfOx devices: 9 to 88.2 uS, t0 = 1 s.

    Parameters
    ----------
    acceptance_percent : 0.2 or 2
        Relative error at which program-and-verify stops.

    Raises
    ------
    ValueError
        If no error was characterised for that acceptance.
    """
    if acceptance_percent not in _ACCEPTANCE:
        known = " and ".join(f"{one:g}" for one in _ACCEPTANCE)
        raise ValueError(
            f"acceptance_percent = {arguments.shown(acceptance_percent)}: errors were "
            f"characterised for {known}; choose one of them, or give RramProgramming your own"
        )
    slope, offset = _ACCEPTANCE[acceptance_percent]
    return RramSpec(
        g_max_siemens=88.2 * _uS,
        low_siemens=9.0 * _uS,
        high_siemens=88.2 * _uS,
        t0_seconds=1.0,
        programming=RramProgramming(slope=slope, offset_siemens=offset, source="[cmo]"),
        relaxation=RelaxationLaw(
            reference_seconds=1.0,
            mean_siemens=-0.08900206 * _uS,
            std_siemens=0.41183342 * _uS,
            std_growth_siemens=0.04201137 * _uS,
            source="[cmo]; one place per device in the distribution at all times: assumption",
        ),
        read_noise=RramNoiseLaw(
            per_decade_siemens=0.0277316483 * _uS,
            t_read_seconds=1e-6,
            source="[cmo]; band edge: 1,024 pixels x 0.64 us for a CIFAR image, rounded up "
            "(assumption)",
        ),
        source="[cmo]",
    )
