"""Tables that a core's controller runs on, and the state machine itself.

For firing i of a consumer, in raster order of its output pixels, and one input object:

- ``need[i]``: elements that must have been written before it may run,
  ``max over j <= i of (last element read by j) + 1``. The running maximum is D' of
  arXiv:2003.04293; firings run in order, so firing i waits for every element that an earlier
  firing needed.
- ``free[i]``: elements that no later firing reads once it has run,
  ``min over j > i of (first element read by j)``, and all elements after the last firing. A line
  buffer may overwrite these elements; that work lists overwrite protection as open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aimc_sim.ops.geometry import PixelReads


@dataclass(frozen=True, eq=False)
class NeedTable:
    """Elements that one consumer needs of one producer, per image.

    Attributes
    ----------
    elements : int
        Pixels that the producer writes per image.
    need : (firings,) int64
        Elements that must have been written before each firing; never falling.
    free : (firings,) int64
        Elements that are not read any more after each firing; never falling.
    """

    elements: int
    need: np.ndarray
    free: np.ndarray

    @property
    def window(self) -> int:
        """Most elements that are live at once: the smallest buffer that does not deadlock.

        2 W + 3 for a 3 x 3 convolution with stride 1 and padding 1 on W columns.
        """
        before = np.concatenate([[0], self.free[:-1]])
        return max(1, int((self.need - before).max()))


def table(paths: Iterable[PixelReads]) -> NeedTable:
    """Return the table of a consumer that reads a producer along one or more paths.

    Parameters
    ----------
    paths : iterable of PixelReads
        Relations from the consumer's output pixels to the producer's, one per path; at least one.

    Returns
    -------
    NeedTable
        The elements needed and released along all paths together.
    """
    paths = tuple(paths)
    elements = paths[0].rows.shape[1] * paths[0].cols.shape[1]
    last = np.max([path.last() for path in paths], axis=0)
    first = np.min([path.first() for path in paths], axis=0)
    need = np.maximum.accumulate(last) + 1
    free = np.append(np.minimum.accumulate(first[:0:-1])[::-1], elements)
    return NeedTable(elements, need, free)


def conv_need(
    size: tuple[int, int], outputs: tuple[int, int], kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int] = (1, 1),
) -> np.ndarray:  # fmt: skip
    """Return ``need`` of a convolution in closed form.

    Parameters
    ----------
    size, outputs : (int, int)
        Rows and columns of the input and of the output map, pixels.
    kernel, stride, padding, dilation : (int, int)
        Geometry of the convolution along rows and columns, pixels.

    Returns
    -------
    (output pixels,) int64
        Elements that must have been written before each firing, see :class:`NeedTable`.

    Notes
    -----
    The last tap of output y along an axis is ``y S - p + d min(K - 1, floor((H - 1 - y S + p) /
    d))``, so with dilation 1 the last element is ``min(y S + K - 1 - p, H - 1) W + min(x S + K - 1
    - p, W - 1)``. An output whose window lies in the padding needs nothing itself.
    """
    axes = zip(size, outputs, kernel, stride, padding, dilation, strict=True)
    rows, cols = (_last_tap(*axis) for axis in axes)
    last = np.where((rows[:, None] < 0) | (cols < 0), -1, rows[:, None] * size[1] + cols)
    return np.maximum.accumulate(last.ravel()) + 1


def conv_free(
    size: tuple[int, int], outputs: tuple[int, int], kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int] = (1, 1),
) -> np.ndarray:  # fmt: skip
    """Return ``free`` of a convolution in closed form.

    Parameters
    ----------
    size, outputs : (int, int)
        Rows and columns of the input and of the output map, pixels.
    kernel, stride, padding, dilation : (int, int)
        Geometry of the convolution along rows and columns, pixels.

    Returns
    -------
    (output pixels,) int64
        Elements that are not read any more after each firing, see :class:`NeedTable`.

    Notes
    -----
    The first tap of output y is ``y S - p`` moved into the map by whole dilations,
    ``y S - p + d ceil((p - y S) / d)`` where that is negative: the mirror image of the last tap.
    """
    axes = zip(size, outputs, kernel, stride, padding, dilation, strict=True)
    rows, cols = (_first_tap(*axis) for axis in axes)
    elements = size[0] * size[1]
    none = (rows[:, None] < 0) | (cols < 0)
    first = np.where(none, elements, rows[:, None] * size[1] + cols).ravel()
    return np.append(np.minimum.accumulate(first[:0:-1])[::-1], elements)


def _last_tap(size: int, outputs: int, k: int, s: int, p: int, d: int) -> np.ndarray:
    """Return the last pixel along one axis that every output reads, -1 for none, int64."""
    start = np.arange(outputs, dtype=np.int64) * s - p
    tap = start + d * np.minimum(k - 1, (size - 1 - start) // d)
    # A window that begins behind the map, or whose taps jump over it, reads nothing.
    return np.where((start <= size - 1) & (tap >= 0), tap, -1)


def _first_tap(size: int, outputs: int, k: int, s: int, p: int, d: int) -> np.ndarray:
    """Return the first pixel along one axis that every output reads, -1 for none, int64."""
    start = np.arange(outputs, dtype=np.int64) * s - p
    jump = np.maximum(0, -(start // d))
    tap = start + d * jump
    return np.where((jump <= k - 1) & (tap < size), tap, -1)


def unlocked(need: np.ndarray, elements: int) -> np.ndarray:
    """Return the state machine's table from the last element written to the firings allowed.

    Parameters
    ----------
    need : (firings,) int64
        Elements that must have been written before each firing; never falling.
    elements : int
        Elements written per image.

    Returns
    -------
    (elements,) int64
        Firings of the image that may run once this element has been written, as far as this
        input is concerned: O -> S2 of arXiv:2003.04293, plus one.
    """
    return np.searchsorted(need, np.arange(1, elements + 1), side="right")


class Controller:
    """The state machine of one core, which counts writes into its memory and allows firings.

    Parameters
    ----------
    tables : mapping of str to Table
        Elements needed of every input object, by its name.

    Attributes
    ----------
    firings : int
        Firings per image.
    fired : int
        Firings run so far, over all images.

    Raises
    ------
    ValueError
        If there is no input object, or two of them have different numbers of firings.

    Notes
    -----
    For every input the controller counts the writes and reads the last firing that they allow
    from a table; firing i may run when every input allows it. Images stream back to back.
    """

    def __init__(self, tables: Mapping[str, NeedTable]) -> None:
        if not tables:
            raise ValueError("a controller needs at least one input object, got none")
        counts = {name: len(each.need) for name, each in tables.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"the inputs disagree on the firings per image: {counts}")
        self.firings = next(iter(counts.values()))
        self.fired = 0
        self._unlock = {name: unlocked(each.need, each.elements) for name, each in tables.items()}
        # Firings that need nothing of an image run even before its first element.
        self._gift = {
            name: int(np.searchsorted(each.need, 0, side="right")) for name, each in tables.items()
        }
        self._written = dict.fromkeys(tables, 0)

    def write(self, name: str) -> None:
        """Count the next write into an input object; elements come in raster order.

        Parameters
        ----------
        name : str
            Name of the input object.
        """
        self._written[name] += 1

    def max_iter(self, name: str) -> int:
        """Return the firings that one input allows.

        Parameters
        ----------
        name : str
            Name of the input object.

        Returns
        -------
        int
            Firings, counted over all images.
        """
        images, rest = divmod(self._written[name], len(self._unlock[name]))
        allowed = self._unlock[name][rest - 1] if rest else self._gift[name]
        return images * self.firings + int(allowed)

    def ready(self) -> bool:
        """Whether the next firing may run."""
        return self.fired < min(self.max_iter(name) for name in self._written)

    def fire(self) -> int:
        """Run the next firing.

        Returns
        -------
        int
            Number of the firing, counted over all images.

        Raises
        ------
        RuntimeError
            If an input it needs has not been written.
        """
        if not self.ready():
            late = min(self._written, key=self.max_iter)
            raise RuntimeError(
                f"firing {self.fired} would read '{late}' before it is written; wait for ready()"
            )
        self.fired += 1
        return self.fired - 1
