"""From values to codes with torch: ``clip(round(x per_step), +-limit)``, ties to even.

The form of numpy is :func:`aimc_sim.core.quantise.codes`, that of the compiled loops
:mod:`aimc_sim.kernels.rounding`. All multiply by the codes per unit, as a register of a digital
unit does and as torch divides by a number on a GPU.
"""

from __future__ import annotations

from torch import Tensor


def whole(values: Tensor, per_step: float | Tensor, rounds: bool = True) -> Tensor:
    """Return the codes of values before they are clipped.

    Parameters
    ----------
    values : (...) tensor, floating point
        Of any shape and unit.
    per_step : float or () tensor
        Codes per unit, 1 / step.
    rounds : bool
        False leaves fractions of codes.

    Returns
    -------
    (...) tensor like values
        Codes.
    """
    codes = values * per_step
    return codes.round() if rounds else codes


def codes(values: Tensor, per_step: float | Tensor, limit: float, rounds: bool = True) -> Tensor:
    """Return the codes of values.

    Parameters
    ----------
    values : (...) tensor, floating point
        Of any shape and unit.
    per_step : float or () tensor
        Codes per unit, 1 / step.
    limit : float
        Largest code; may be infinite.
    rounds : bool
        False leaves fractions of codes.

    Returns
    -------
    (...) tensor like values
        Codes from -limit to limit.
    """
    return whole(values, per_step, rounds).clamp(-limit, limit)
