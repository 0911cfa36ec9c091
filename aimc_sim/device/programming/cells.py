"""The unit cell of the chip: four phase-change devices, two per polarity."""

from __future__ import annotations

from ...spec import PcmSpec

DEVICES_PER_CELL = 4


def elements_per_polarity(spec: PcmSpec) -> int:
    """Return how many elements of one polarity a cell holds: 2, or 1 if they are pairs."""
    return DEVICES_PER_CELL // 2 // spec.devices_per_element
