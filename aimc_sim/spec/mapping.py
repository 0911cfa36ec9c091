"""How a network is laid out on the cores."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from .base import Spec, quantity

_MOST_PATCH = 64
"""Pixels across a patch at most: a patch of 64 x 64 pixels fills the columns of a crossbar of the
largest size with a single channel."""


class MappingSpec(Spec):
    """Choices of the mapper that change cores, time and devices."""

    placement: Literal["search", "one-hop", "relays"] = quantity(
        "-", "short ways, over several links where needed; or one link for everything, exact; or "
        "that with free cores in between", "search",
    )  # fmt: skip
    carry_inputs: bool = quantity(
        "-", "inputs of a layer travel along its chain of cores, beside the partial sums", False
    )
    blocks_per_core: int = quantity("-", "small blocks that may share a core", 1, ge=1, le=4096)
    replicate: tuple[tuple[str, int], ...] = quantity(
        "-", "(pattern of layer names, n): n x n output pixels of a convolution per MVM", ()
    )
    cores: tuple[tuple[str, tuple[int, ...]], ...] = quantity(
        "-", "(layer, cores of its blocks in order): fixed places; the others are searched", ()
    )
    products: tuple[tuple[str, Literal["digital", "written"]], ...] = quantity(
        "-", "(pattern of names, how): products of values with values, such as attention, in the "
        "digital units, or with one of them written into devices (written); the name is that of "
        "the operation, of its module, or both with a dot between", (), later=True,
    )  # fmt: skip
    source: str = "1 and none as on the chip (arXiv:2212.02872)"

    @field_validator("replicate")
    @classmethod
    def _patches(cls, value: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        for pattern, patch in value:
            if not 1 <= patch <= _MOST_PATCH:
                raise ValueError(
                    f"'{pattern}' asks for {patch} x {patch} pixels; give 1 to {_MOST_PATCH}"
                )
        return value
