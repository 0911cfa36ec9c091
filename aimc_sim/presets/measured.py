"""Devices that replay a measured file."""

from __future__ import annotations

from pathlib import Path

from .. import arguments
from ..spec import SPANS, ChipSpec, PcmSpec, Replay, ResetState
from .chips import hermes


def pcm_replay(path: str | Path, reset_siemens: float = 0.0) -> PcmSpec:
    """Return a device whose conductances, and their change in time, are measured traces.

    Parameters
    ----------
    path : path
        A file of the measured-data format (``aimc-sim device import`` makes one), or
        "generated_25us", the small data set of this package.
    reset_siemens : float
        Conductance of devices left in RESET; a measurement of programmed devices has none.

    Notes
    -----
    ``g_max`` is the highest measured level; ``t0`` the time of the first read. The identity of
    the specification holds the checksum of the file, not its place.
    """
    from ..device.measured import find, sha256
    from ..device.measured import replay as library  # compiles kernels

    path = arguments.path(path)
    reset_siemens = arguments.number(reset_siemens, "reset_siemens", 0.0, SPANS["S"].most)
    place = find(path)
    checksum = sha256(place)
    found = library.load(path, checksum)
    return PcmSpec(
        g_max_siemens=found.g_max_siemens,
        g_reference_siemens=found.g_max_siemens,
        devices_per_element=1,
        # A clock needs a start above zero; the difference is far below any read.
        t0_seconds=max(found.t_first_seconds, 1e-9),
        programming=Replay(
            path=str(path), sha256=checksum, source=f"measured traces in {place.name}"
        ),
        drift=None,
        read_noise=None,
        reset=ResetState(mean_siemens=reset_siemens, std_siemens=0.0, source="given by the user"),
        source=f"replay of {place.name}",
    )


def replay(path: str | Path, reset_siemens: float = 0.0) -> ChipSpec:
    """Return the 64-core machine with devices that replay measured traces, one per polarity.

    Parameters
    ----------
    path : path
        See :func:`pcm_replay`.
    reset_siemens : float
        Conductance of devices left in RESET.
    """
    device = pcm_replay(path, reset_siemens)
    return hermes("odp").with_({"core.device": device, "name": f"replay of {Path(path).stem}"})
