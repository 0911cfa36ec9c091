"""Weights to target conductances and back, under the encoding of a core.

A law of a device describes an element: one device, or the two devices of a polarity taken together.
Elements of a cell are stored along the first axis, the positive polarity first: (p1, p2,
n1, n2), or (p, n). How weights share out columns, polarities and elements is the matter of
:mod:`.encodings`; which elements of a cell carry a target, where the encoding leaves that open,
is the matter of the device's family.
"""

from __future__ import annotations

from ..device.request import net_of
from ..spec import CoreSpec
from . import encodings
from .encodings import Targets
from .encodings.interface import Array

__all__ = ["Targets", "net", "to_targets"]


def to_targets(weight: Array, core: CoreSpec, g_max_siemens: float | None = None) -> Targets:
    """Map a block of weights to target conductances.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
        A block of weights.
    core : CoreSpec
        Its ``encoding`` decides which cells there are.
    g_max_siemens : float, siemens, optional
        Of this core, where it is lower than the device's, to keep bit-line currents in range.

    Returns
    -------
    Targets
        Of (R, K) cells, K physical columns.
    """
    return encodings.of(core).targets(weight, core, g_max_siemens)


def net(elements: Array, core: CoreSpec | None = None) -> Array:
    """Return the net conductance behind every weight.

    Parameters
    ----------
    elements : (E, R, K) float, siemens
        Of the cells of a block.
    core : CoreSpec, optional
        Its encoding combines columns; default: differential cells, one column per output.

    Returns
    -------
    (R, C) float, siemens
        In units of ``siemens_per_weight`` of :class:`Targets` it is the weight.
    """
    if core is None:
        return net_of(elements, 2)
    encoding = encodings.of(core)
    return encodings.combined(
        net_of(elements, encoding.polarities), encoding.groups(elements.shape[-1])
    )
