"""Encodings: how a weight becomes cells and columns, and how conversions become an output.

===============  ============================================================================
file             content
===============  ============================================================================
``interface``    what an encoding answers; groups of columns and their sum
``pair``         the differential cell, one column per output
``several``      the same with any number of devices per polarity
``offset``       one polarity around a middle conductance, a reference column per block
``slices``       digits of integer weights in columns of their own
===============  ============================================================================

An encoding says which elements hold a weight and at which targets; their conductances are the
matter of the device. A new kind is one file here, one class in :mod:`aimc_sim.spec.encoding`
and a line in :func:`of`.
"""

from __future__ import annotations

from ...spec import BitSlicesEncoding, CoreSpec, OffsetColumnEncoding, SeveralDevicesEncoding
from .interface import Encoding, Group, Targets, combined
from .offset import Offset
from .pair import Pair
from .several import Several
from .slices import Slices

__all__ = ["Encoding", "Group", "Targets", "combined", "of"]


def of(core: CoreSpec) -> Encoding:
    """Return the encoding of a core's weights; the only place that tells kinds apart.

    Parameters
    ----------
    core : CoreSpec
        Its ``encoding`` is a specification of one kind.
    """
    spec = core.encoding
    if isinstance(spec, SeveralDevicesEncoding):
        return Several.of(spec)
    if isinstance(spec, OffsetColumnEncoding):
        return Offset()
    if isinstance(spec, BitSlicesEncoding):
        return Slices(spec)
    return Pair()
