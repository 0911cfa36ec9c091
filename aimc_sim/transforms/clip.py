"""Clipping of conductances before they are written (ClipFormer)."""

from __future__ import annotations

import torch
from torch import Tensor

from aimc_sim import arguments


def clip_conductances(
    g: Tensor, g_min_siemens: float, g_max_siemens: float, *, alpha: float = 2.0, beta: float = 0.25
) -> Tensor:
    """Return target conductances with small ones raised less and large ones cut.

    ``G <- max(G - alpha G_min, G_min)``, then ``G <- min(G, beta G_max)``. Where write noise grows
    with conductance, as in ``sqrt((G - G_min)(G_max - G_min))``, lower conductances have less of
    it; values above the cut are lost. It pays for values with heavy tails, cut into slices of a few
    bits, under strong write noise; elsewhere it only loses.

    Parameters
    ----------
    g : tensor of any shape, siemens
        Target conductances, from `g_min_siemens` to `g_max_siemens`.
    g_min_siemens, g_max_siemens : float, siemens
        Range of the devices, 0 <= G_min < G_max.
    alpha : float
        Multiples of G_min that are subtracted, >= 1 (dimensionless).
    beta : float
        Share of G_max that is left, above G_min / G_max and at most 1 (dimensionless).

    Returns
    -------
    tensor of the shape of `g`, siemens
        Clipped conductances.

    Raises
    ------
    ValueError
        If a bound, `alpha`, `beta` or a conductance is out of range.

    Source
        "ClipFormer: key-value clipping of transformers on memristive crossbars for write noise
        mitigation" (2024), arXiv:2402.02586; the two steps are known here from notes
        on the paper.

    Examples
    --------
    >>> clip_conductances(torch.tensor([1.0, 5.0, 100.0]), 1.0, 100.0).tolist()
    [1.0, 3.0, 25.0]
    """
    low = arguments.number(g_min_siemens, "g_min_siemens", 0.0)
    high = arguments.number(g_max_siemens, "g_max_siemens", 0.0)
    alpha = arguments.number(alpha, "alpha", 1.0)
    if not low < high:
        raise ValueError(
            f"g_max_siemens = {high:g} is not above g_min_siemens = {low:g}; give the range of the "
            "devices in siemens"
        )
    beta = arguments.number(beta, "beta", 0.0, 1.0)
    if not beta * high > low:
        raise ValueError(
            f"beta = {beta:g} leaves nothing of the range: beta * g_max_siemens = {beta * high:g} "
            f"is not above g_min_siemens = {low:g}"
        )
    g = arguments.dense(g, "g")
    slack = 1e-6 * high  # float32 rounding of the caller's own scaling
    if not bool(((g >= low - slack) & (g <= high + slack)).all()):
        raise ValueError(
            f"g holds conductances from {float(g.min()):g} to {float(g.max()):g} S, outside of "
            f"{low:g} to {high:g} S"
        )
    return (g - alpha * low).clamp(min=low).clamp(max=beta * high)


def clip_values(
    values: Tensor, g_min_siemens: float, g_max_siemens: float, *, alpha: float = 2.0,
    beta: float = 0.25,
) -> Tensor:  # fmt: skip
    """Return signed values as pairs of clipped devices hold them.

    The largest magnitude of all values is G_max, as when keys and values are written without
    clipping; the device of the other sign rests at G_min.

    Parameters
    ----------
    values : tensor of any shape
        Keys or values (dimensionless).
    g_min_siemens, g_max_siemens : float, siemens
        Range of the devices.
    alpha, beta : float
        See :func:`clip_conductances`.

    Returns
    -------
    tensor of the shape of `values`
        The values that conductances stand for after clipping, on the scale of `values`
        (dimensionless): magnitudes up to ``(alpha - 1) G_min`` of the range vanish.

    Raises
    ------
    ValueError
        As of :func:`clip_conductances`.

    Examples
    --------
    >>> clip_values(torch.tensor([-8.0, 1.0, 0.0]), 0.0, 25e-6, alpha=1.0).tolist()
    [-2.0, 1.0, 0.0]
    """
    values = arguments.dense(values, "values")
    largest = values.abs().max() if values.numel() else values.sum()
    if not bool(largest > 0):
        clip_conductances(values.abs() + g_min_siemens, g_min_siemens, g_max_siemens, alpha=alpha,
                          beta=beta)  # fmt: skip
        return values.clone()
    span = g_max_siemens - g_min_siemens
    g = g_min_siemens + values.abs().double() / largest.double() * span
    kept = clip_conductances(g, g_min_siemens, g_max_siemens, alpha=alpha, beta=beta)
    held = (kept - g_min_siemens) / span * largest
    return (torch.sign(values) * held).to(values.dtype)
