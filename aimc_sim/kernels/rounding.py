"""From values to codes, ``clip(rint(x per_step), +-limit)``: in every loop that makes integers.

Circuits multiply: ``per_step`` is the register "codes per unit", 1 / step. Ties go to even. The
numpy form is :func:`aimc_sim.core.quantise.codes`, that of torch
:func:`aimc_sim.digital.rounding.codes`; all three agree bit for bit.
"""

from __future__ import annotations

import numpy as np

from . import point


@point
def whole(x, per_step):
    """Return the code of a value before it is clipped."""
    return np.rint(x * per_step)


@point
def clip(z, limit):
    """Clip codes at +-limit in place; return how many lie beyond it."""
    beyond = np.int32(0)
    for j in range(z.size):
        beyond += np.int32(abs(z[j]) > limit)
    if beyond > 0:
        for j in range(z.size):
            z[j] = min(max(z[j], -limit), limit)
    return np.int64(beyond)


@point
def codes(x, per_step, limit, z):
    """Write codes of values to z, which may be x; return how many lie beyond the limit."""
    for j in range(z.size):
        z[j] = whole(x[j], per_step)
    return clip(z, limit)


@point
def scaled(z, per_step, limit):
    """Turn values into codes that are not rounded, in place; return how many lie beyond."""
    for j in range(z.size):
        z[j] = z[j] * per_step
    return clip(z, limit)


@point
def sent(z, limit, rounds):
    """Round values that are in units of codes, where wanted, and clip them in place.

    Returns how many lie beyond the limit.
    """
    if rounds:
        for j in range(z.size):
            z[j] = np.rint(z[j])
    return clip(z, limit)
