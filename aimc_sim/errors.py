"""The errors of this package that are not plain ValueError or TypeError."""

from __future__ import annotations


class CapacityError(ValueError):
    """The network needs more cores than the chip has."""


class MappingError(ValueError):
    """The network cannot be placed as asked: some data has no link."""


class UnsupportedLayerError(ValueError):
    """A layer or operation of the network has no counterpart on the chip."""


class NotProgrammedError(RuntimeError):
    """The chip was asked to compute before its devices were written."""
