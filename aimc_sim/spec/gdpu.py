"""The global digital unit: look-up tanh and sigmoid, and the tail of an LSTM."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from .base import Spec, quantity


class GdpuSpec(Spec):
    """Slices that each turn the four gates of 64 hidden units into 64 outputs.

    The defaults are the chip's (arXiv:2212.02872); the table itself is not published.
    """

    bins: int = quantity("-", "linear pieces of tanh; one comparator fewer", 18, ge=4, le=1024)
    exact_tanh: bool = quantity("-", "true tanh instead of the table", False)
    bit_true: bool = quantity("-", "float16 at every step, or float32", True)
    input_bits: int | None = quantity("bit", "gate inputs; None = float", 8, ge=2, le=12)
    output_bits: int | None = quantity("bit", "hidden state; None = float", 8, ge=2, le=12)
    clocks_per_output: int = quantity("-", "clocks between two outputs of a slice", 4, ge=1)
    clock_hertz: float = quantity("Hz", "clock", 400e6, gt=0)
    hidden_per_slice: int = quantity("-", "cell states that a slice holds", 64, ge=1)
    slices: int = quantity("-", "slices, each fed by one core", 8, ge=1)
    source: str = (
        "chip paper, arXiv:2212.02872: 17 comparators, 4 clocks, 8 slices of 64; "
        "edges, slopes and offsets of the bins are derived here (least largest error)"
    )

    @model_validator(mode="after")
    def _is_odd_function(self) -> Self:
        if self.bins % 2:
            raise ValueError("bins must be even: tanh is odd, and one comparator is at zero")
        return self

    @property
    def hidden(self) -> int:
        """Largest number of hidden units (512 on the chip)."""
        return self.hidden_per_slice * self.slices
