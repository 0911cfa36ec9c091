"""Weights inferred from a core's inputs and products, and the error split.

As on the chip (M. Le Gallo et al., Nature Electronics 6, 680 (2023),
doi:10.1038/s41928-023-01010-1, Methods; read as arXiv:2212.02872): the weights that explain the
measured products best, ``argmin |y - W x|^2``, divide the error of a product into a linear part,
due to wrong weights, and a residual, due to noise and nonlinearity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorSplit:
    """Relative errors of products, dimensionless: norms divided by the norm of the exact ones.

    Attributes
    ----------
    total : float
        Of ``measured - exact``.
    linear : float
        Of ``W_inferred x - exact``: the part due to wrong weights.
    residual : float
        Of ``measured - W_inferred x``: noise, converters, nonlinearity.
    """

    total: float
    linear: float
    residual: float


def weights(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the matrix that maps inputs to outputs best, in the sense of least squares.

    Parameters
    ----------
    inputs : (N, R) float
        Inputs of N products, in any unit; at least as many as rows, and as varied.
    outputs : (N, C) float
        Measured products, in any unit.

    Returns
    -------
    (R, C) float64, unit of outputs per unit of inputs
        The inferred weights.

    Raises
    ------
    ValueError
        If there are fewer inputs than rows, or they do not tell the rows apart.
    """
    inputs, outputs = np.asarray(inputs, np.float64), np.asarray(outputs, np.float64)
    if len(inputs) < inputs.shape[1]:
        raise ValueError(
            f"{len(inputs)} products cannot tell {inputs.shape[1]} rows apart; measure at least "
            f"{inputs.shape[1]}, better several times as many"
        )
    found: np.ndarray
    found, _, rank, _ = np.linalg.lstsq(inputs, outputs, rcond=None)
    if rank < inputs.shape[1]:
        raise ValueError(
            f"the inputs span only {rank} of {inputs.shape[1]} rows; use random inputs"
        )
    return found


def split(inputs: np.ndarray, measured: np.ndarray, exact: np.ndarray) -> ErrorSplit:
    """Divide the error of measured products into its linear part and the rest.

    Parameters
    ----------
    inputs : (N, R) float
        Inputs of the N products, in any unit.
    measured, exact : (N, C) float
        Products with error and without, in one unit: scale the measured ones first.

    Notes
    -----
    The two parts are orthogonal over the N products, so their squares add up to the total.
    """
    explained = inputs @ weights(inputs, measured)
    size = np.linalg.norm(exact)
    return ErrorSplit(
        total=float(np.linalg.norm(measured - exact) / size),
        linear=float(np.linalg.norm(explained - exact) / size),
        residual=float(np.linalg.norm(measured - explained) / size),
    )
