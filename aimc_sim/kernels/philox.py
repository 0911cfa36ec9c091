"""Philox4x32: four random 32-bit words as a function of a counter and a key.

J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
doi:10.1145/2063384.2063405. Ten rounds, the published default, serve everything that stays with
a device. The noise of single MVMs takes seven, which is free of statistical defects according
to that paper (cited, not re-tested here; the tests check the normals made from them).
"""

from __future__ import annotations

import numpy as np

from . import point

_M0, _M1 = np.uint32(0xD2511F53), np.uint32(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)


@point
def _round(c0, c1, c2, c3, k0, k1):
    p0 = np.uint64(_M0) * np.uint64(c0)
    p1 = np.uint64(_M1) * np.uint64(c2)
    h0, l0 = np.uint32(p0 >> np.uint64(32)), np.uint32(p0)
    h1, l1 = np.uint32(p1 >> np.uint64(32)), np.uint32(p1)
    return np.uint32(h1 ^ c1 ^ k0), l1, np.uint32(h0 ^ c3 ^ k1), l0


@point
def philox10(c0, c1, c2, c3, k0, k1):
    """Return four words for counter (c0, c1, c2, c3) and key (k0, k1), all uint32."""
    for _ in range(10):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + _W0), np.uint32(k1 + _W1)
    return c0, c1, c2, c3


@point
def philox7(c0, c1, c2, c3, k0, k1):
    """Return four words after seven rounds, see the module's docstring."""
    for _ in range(7):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + _W0), np.uint32(k1 + _W1)
    return c0, c1, c2, c3
