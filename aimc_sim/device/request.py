"""Targets that a programming circuit is given, and their division among elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Request:
    """Target conductances of the cells of one block, per polarity.

    Attributes
    ----------
    g : (P, R, C) float64, siemens
        Conductance that all devices of a polarity together shall have, positive polarity first;
        with every device idle this is the idle level of the polarity. P is 2, or 1 where cells
        have one polarity only.
    programmed : (P, R, C) bool
        False where all devices of the polarity stay idle.
    elements : tuple of (E, R, C) float32, siemens, and (E, R, C) bool, or None
        Target of every element and whether it is written, where the encoding of weights decides
        it; None: the family shares a target out among the elements of a cell.
    """

    g: np.ndarray
    programmed: np.ndarray
    elements: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def polarities(self) -> int:
        """Polarities of a cell: 2, or 1."""
        return len(self.g)

    def net(self) -> np.ndarray:
        """Return the (R, C) float64 net conductance that is asked for, in siemens."""
        net: np.ndarray = self.g[0] if self.polarities == 1 else self.g[0] - self.g[1]
        return net


def net_of(elements: np.ndarray, polarities: int, dtype: npt.DTypeLike | None = None) -> np.ndarray:
    """Return the net conductance of cells.

    Parameters
    ----------
    elements : (E, R, C) float, siemens
        Of the positive polarity first.
    polarities : int
        2, or 1 where cells have one polarity only.
    dtype : dtype, optional
        Of the sums; default that of ``elements``.

    Returns
    -------
    (R, C) float, siemens
        Positive minus negative polarity.
    """
    each = len(elements) // polarities
    net: np.ndarray = elements[:each].sum(axis=0, dtype=dtype)
    return net if polarities == 1 else net - elements[each:].sum(axis=0, dtype=dtype)


def allocate(
    request: Request, elements: int, idle_siemens: float, low_siemens: float, top_siemens: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give the first element of a polarity the target and leave the others idle.

    Elements whose targets the request holds itself get those.

    Parameters
    ----------
    request : Request
        Targets of the polarities.
    elements : int
        Elements of a polarity.
    idle_siemens : float, siemens
        Conductance of an element that is not written.
    low_siemens, top_siemens : float, siemens
        Ends of the range that an element can be asked for.

    Returns
    -------
    target : (E, R, C) float32, siemens
        The idle level where nothing is written.
    programmed : (E, R, C) bool
        Whether an element is written.
    """
    if request.elements is not None:
        own, written = request.elements
        return own.copy(), written.copy()
    shape = (len(request.g), elements, *request.g.shape[1:])
    target, programmed = np.full(shape, idle_siemens), np.zeros(shape, bool)
    tuned = np.clip(request.g - (elements - 1) * idle_siemens, low_siemens, top_siemens)
    target[:, 0] = np.where(request.programmed, tuned, idle_siemens)
    programmed[:, 0] = request.programmed
    flat = (shape[0] * elements, *shape[2:])
    return target.reshape(flat).astype(np.float32), programmed.reshape(flat)
