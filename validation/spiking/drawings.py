"""Six small drawings, of which one differs by a relation: trials of visual oddity, made by seed.

A drawing is 24 x 24 pixels, ink from 0 to 1. Six concepts, each with two sides: two lines parallel
or at right angles; a dot inside a circle or outside; three dots or four; dots mirrored at a
vertical axis or moved away from it; a square or a circle; two discs of one size or of two. A
trial draws concept, side and place of the odd drawing; five drawings show one side and one shows
the other. Place, size and angle are drawn anew for every drawing, so that no two are alike and
the relation alone tells the odd one. Ours: the drawings of no publication.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SIZE, DRAWINGS = 24, 6
HALF_WIDTH, EDGE = 0.9, 1.0
"""Of a line, pixels; over which the ink falls from 1 to 0, pixels."""
MIDDLE = (SIZE - 1) / 2


class Trials(NamedTuple):
    """Trials.

    Attributes
    ----------
    drawings : (N, 6, 24, 24) float32
        Ink.
    odd, concepts : (N,) int64
        Which drawing differs, and which concept it is, a place in :data:`CONCEPTS`.
    """

    drawings: Tensor
    odd: Tensor
    concepts: Tensor


def _uniform(low: float, high: float, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=draw)


def _pixels() -> Tensor:
    """Return the places of all pixels, (24, 24, 2)."""
    line = torch.arange(SIZE, dtype=torch.float32)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)


def _ink(distances: Tensor, half_width: float | Tensor = HALF_WIDTH) -> Tensor:
    """Return the ink of lines (N, K, 24, 24) by distance from them, on one sheet, (N, 24, 24)."""
    return ((half_width + EDGE - distances) / EDGE).clamp(0, 1).amax(1)


def _offsets(centres: Tensor) -> Tensor:
    """Return the pixels' places relative to centres (N, K, 2): (N, K, 24, 24, 2)."""
    return _pixels() - centres[:, :, None, None]


def _discs(centres: Tensor, radii: Tensor) -> Tensor:
    """Return sheets with discs at (N, K, 2) of radii (N, K)."""
    return _ink(_offsets(centres).norm(dim=-1) - radii[:, :, None, None], 0.0)


def _circle(centres: Tensor, radii: Tensor) -> Tensor:
    """Return sheets with a circle each, at (N, 2) of radius (N,)."""
    away = _offsets(centres[:, None]).norm(dim=-1)
    return _ink((away - radii[:, None, None, None]).abs())


def _segments(centres: Tensor, angles: Tensor, half_lengths: Tensor) -> Tensor:
    """Return sheets with straight lines at (N, K, 2), of angles and half lengths (N, K)."""
    way = torch.stack([angles.sin(), angles.cos()], -1)[:, :, None, None]
    away = _offsets(centres)
    along = (away * way).sum(-1)
    limit = half_lengths[:, :, None, None]
    beyond = away - torch.maximum(torch.minimum(along, limit), -limit)[..., None] * way
    return _ink(beyond.norm(dim=-1))


def _lines(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return two lines, parallel or (side 1) at right angles."""
    n = len(sides)
    angle, apart = _uniform(0, math.pi, (n,), draw), _uniform(2.5, 4.0, (n, 1), draw)
    across = torch.stack([angle.cos(), -angle.sin()], -1)
    middle = MIDDLE + _uniform(-2.5, 2.5, (n, 2), draw)
    centres = torch.stack([middle + apart * across, middle - apart * across], 1)
    angles = torch.stack([angle, angle + sides * math.pi / 2], 1)
    lengths = torch.stack([_uniform(4, 7, (n,), draw), _uniform(3, 5, (n,), draw)], 1)
    return _segments(centres, angles, lengths)


def _inside(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return a circle with a dot inside or (side 1) outside."""
    n = len(sides)
    radius, where = _uniform(4.5, 6.0, (n,), draw), _uniform(0, 2 * math.pi, (n,), draw)
    way = torch.stack([where.sin(), where.cos()], -1)
    depth = torch.where(sides > 0, radius + 4, _uniform(0, 1, (n,), draw) * (radius - 3.5))
    # A dot outside needs room: the circle moves the other way.
    centre = MIDDLE - 3.0 * sides[:, None] * way + _uniform(-2, 2, (n, 2), draw)
    dot = (centre + depth[:, None] * way).clamp(1.5, SIZE - 2.5)
    return torch.maximum(
        _circle(centre, radius), _discs(dot[:, None], torch.full((n, 1), 1.6))
    )  # fmt: skip


def _places(count: int, cells: int, draw: torch.Generator) -> Tensor:
    """Return the first numbers of random orders of all cells, (N, cells)."""
    return torch.rand(count, cells, generator=draw).argsort(1)


def _number(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return three dots, or (side 1) four, in cells of a 3 x 3 grid."""
    n = len(sides)
    cells = _places(n, 9, draw)[:, :4]
    centres = torch.stack([cells // 3, cells % 3], -1) * 7.0 + MIDDLE - 7.0
    centres = centres + _uniform(-1.2, 1.2, (n, 4, 2), draw)
    fourth = torch.tensor([False, False, False, True]) & (sides[:, None] == 0)
    radii = torch.where(fourth, -2.0, _uniform(1.4, 2.2, (n, 4), draw))
    return _discs(centres, radii)


def _mirrored(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return three dots and their mirror images, or (side 1) others in place of these."""
    n = len(sides)
    cells = _places(n, 8, draw)
    rows, cols = cells // 2 * 5.5 + MIDDLE - 8.25, cells % 2 * 4.5 + 2.5
    axis = MIDDLE + _uniform(-1.5, 1.5, (n, 1), draw)
    jitter = _uniform(-0.6, 0.6, (n, 3, 2), draw)
    first = torch.stack([rows[:, :3], axis - cols[:, :3]], -1) + jitter
    # Side 1: three of the other five cells of that half, and none of their mirror images.
    same = torch.stack([first[..., 0], 2 * axis - first[..., 1]], -1)
    other = torch.stack([rows[:, 3:6], axis + cols[:, 3:6]], -1) + jitter
    second = torch.where(sides[:, None, None] > 0, other, same)
    return _discs(torch.cat([first, second], 1), torch.full((n, 6), 1.6))


def _shape(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return a square, or (side 1) a circle."""
    n = len(sides)
    centre = MIDDLE + _uniform(-3, 3, (n, 2), draw)
    size, angle = _uniform(4.5, 7, (n,), draw), _uniform(0, math.pi / 2, (n,), draw)
    way = torch.stack([angle.sin(), angle.cos()], -1)
    across = torch.stack([angle.cos(), -angle.sin()], -1)
    edges = torch.stack([way, -way, across, -across], 1)
    angles = torch.stack([angle, angle, angle, angle], 1)
    angles = angles + torch.tensor([0.5, 0.5, 0.0, 0.0]) * math.pi
    square = _segments(
        centre[:, None] + 0.85 * size[:, None, None] * edges, angles,
        0.85 * size[:, None].expand(n, 4),
    )  # fmt: skip
    return torch.where(sides[:, None, None] > 0, _circle(centre, size), square)


def _sizes(sides: Tensor, draw: torch.Generator) -> Tensor:
    """Return two discs of one size, or (side 1) one of them smaller by half."""
    n = len(sides)
    where = _uniform(0, 2 * math.pi, (n, 1), draw)
    way = torch.stack([where.sin(), where.cos()], -1)
    centres = MIDDLE + 5.5 * torch.cat([way, -way], 1) + _uniform(-1.2, 1.2, (n, 2, 2), draw)
    large = _uniform(2.4, 4.4, (n, 1), draw)
    radii = torch.cat([large, large * (1 - 0.5 * sides[:, None])], 1)
    return _discs(centres, radii)


CONCEPTS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "parallel": _lines, "inside": _inside, "number": _number, "mirrored": _mirrored,
    "shape": _shape, "size": _sizes,
}  # fmt: skip
"""Sheets (N, 24, 24) by concept, of sides (N,), 0 or 1."""


def trials(count: int, draw: torch.Generator) -> Trials:
    """Return trials.

    Parameters
    ----------
    count : int
        How many.
    draw : torch.Generator
        All that is random in them.
    """
    concepts = torch.randint(len(CONCEPTS), (count,), generator=draw)
    odd = torch.randint(DRAWINGS, (count,), generator=draw)
    sides = torch.randint(2, (count, 1), generator=draw).expand(count, DRAWINGS).clone()
    sides[torch.arange(count), odd] ^= 1
    found = torch.empty(count, DRAWINGS, SIZE, SIZE)
    for place, sheet in enumerate(CONCEPTS.values()):
        own = concepts == place
        found[own] = sheet(sides[own].flatten(), draw).view(-1, DRAWINGS, SIZE, SIZE)
    return Trials(found, odd, concepts)
