"""How targets become conductances of phase-change memory, with a report of what that took.

- :mod:`statistical`: the error is drawn from a fitted law
- :mod:`verify`: program-and-verify with pulses, one device per weight or max-SET-fill;
  :mod:`cost`: its time and energy
- :mod:`replayed`: every element follows a measured trace
- gradient-descent programming needs the matrix-vector product and lives in
  :mod:`aimc_sim.core.gradient`
"""

from __future__ import annotations

from ...rng import Key
from ...spec import PcmSpec
from .. import pcm
from ..family import Address
from ..programming_report import ProgrammingReport
from ..request import Request
from . import replayed, statistical, verify
from .cells import DEVICES_PER_CELL, elements_per_polarity

__all__ = [
    "DEVICES_PER_CELL",
    "ProgrammingReport",
    "Request",
    "elements_per_polarity",
    "write",
]


def write(
    request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int = 0
) -> tuple[pcm.PcmState, ProgrammingReport]:
    """Write a block with the scheme of its device.

    Parameters
    ----------
    request : Request
        Wanted conductances of the block.
    spec : PcmSpec
    address : (int, int)
        Columns and cells of the core.
    key : Key
        Of the core.
    cycle : int
        Number of the programming (0 the first): later ones draw anew, on the same devices.

    Returns
    -------
    state : PcmState
        Devices at the start of the clock.
    report : ProgrammingReport
        Cost and error of writing them.
    """
    scheme = "statistical" if spec.programming is None else spec.programming.scheme
    if scheme == "gradient":
        raise ValueError(
            "gradient programming works on whole crossbars; use aimc_sim.core.programming.program"
        )
    how = {
        "statistical": statistical.write,
        "program-and-verify": verify.write,
        "replay": replayed.write,
    }
    return how[scheme](request, spec, address, key, cycle)
