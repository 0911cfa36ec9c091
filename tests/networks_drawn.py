"""Small random networks on small random chips, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import ChipSpec

BATCH = 9


class Shortcut(nn.Module):
    """A residual block with batch norm, its statistics far from 0 and 1."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.norm.running_mean.uniform_(-0.5, 0.5)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.first(x)) + x)


class Attending(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 1, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.out(self.norm(x + y).mean(1))


class Remembering(nn.Module):
    def __init__(self, kind: type[nn.Module], width: int, hidden: int) -> None:
        super().__init__()
        self.loop = kind(width, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.loop(x)[0])


@dataclass(frozen=True, repr=False)
class Drawn:
    """A network, its chip, and images for it; ``recurrent`` ones take time steps."""

    name: str
    model: nn.Module
    spec: ChipSpec
    images: Tensor
    recurrent: bool
    where: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def chip(self) -> aimc_sim.Chip:
        """Return the chip, calibrated on all images and programmed."""
        chip = aimc_sim.Chip.from_model(
            self.model, self.spec, where=self.where, example=self.images
        )
        return chip.calibrate(self.images).program(1).at("1 h").compensate("gdc")


CHIPS = {
    "odp": presets.hermes("odp"),
    "tdp": presets.hermes("tdp"),
    "1-phase": presets.hermes("odp").with_({"core.read.mode": "1-phase"}),
    "bit-serial": presets.hermes("odp").with_({"core.dac.encoding": "bit-serial"}),
    "half": presets.hermes("odp").with_({"core.ldpu.bit_true": True}),
}


@st.composite
def drawn(draw) -> Drawn:
    """Draw a network with random weights, a chip, and BATCH images."""
    chip = draw(st.sampled_from(sorted(CHIPS)))
    kind = draw(st.sampled_from(["maps", "lines", "rows", "attention", "lstm", "gru"]))
    width, kernel = draw(st.integers(1, 40)), draw(st.sampled_from([1, 3, 5]))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    side, digital = draw(st.integers(9, 13)), draw(st.booleans())
    seed, where = draw(st.integers(0, 99)), None
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        if kind == "maps":
            model = nn.Sequential(
                nn.Conv2d(3, width, kernel, stride, 1, dilation), Shortcut(width, 3),
                nn.AvgPool2d(2), nn.Flatten(1), nn.LazyLinear(5),
            )  # fmt: skip
            x = torch.randn(BATCH, 3, side, side + 2)
            where = {"*": "analog", "0": "digital"} if digital else None
        elif kind == "lines":
            model = nn.Sequential(
                nn.Conv1d(width, 7, kernel, stride), nn.ReLU(), nn.Flatten(1), nn.LazyLinear(300)
            )
            x = torch.randn(BATCH, width, side)
        elif kind == "rows":
            model = nn.Sequential(nn.Linear(10 * width, 33), nn.SiLU(), nn.Linear(33, 4))
            x = torch.randn(BATCH, 10 * width)
            where = {"*": "analog", "2": "digital"} if digital else None
        elif kind == "attention":
            model, x = Attending(width), torch.randn(BATCH, 5, width)
        else:
            cell = nn.LSTM if kind == "lstm" else nn.GRU
            model, x = Remembering(cell, width, side), torch.randn(BATCH, 4, width)
        model.eval()(x)
    name = f"{kind} {width} {kernel} {stride} {dilation} {side} {digital} {seed} on {chip}"
    return Drawn(name, model, CHIPS[chip], x, kind in ("lstm", "gru"), where)
