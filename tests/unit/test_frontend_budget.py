"""The export with all sizes free has a budget; what follows is the same network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aimc_sim import Chip, presets
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import recording


class Windows(nn.Module):
    """A convolution and a mean over the image: every size may differ."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)).mean((2, 3)))


class Chooses(Windows):
    """Takes a decision that depends on the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


def _exports(monkeypatch: pytest.MonkeyPatch) -> list:
    budgets = []
    export = torch.export.export

    def noted(caller, *args, **kwargs):
        budgets.append(caller.budget_seconds)
        return export(caller, *args, **kwargs)

    monkeypatch.setattr(torch.export, "export", noted)
    return budgets


def test_a_spent_budget_frees_the_batch_only_and_other_sizes_still_equal_torch(monkeypatch):
    """With no time at all, the second export is taken; another image size is recorded again."""
    budgets = _exports(monkeypatch)
    monkeypatch.setattr(recording, "FREE_SECONDS", -1.0)
    torch.manual_seed(0)
    model = Windows().eval()
    chip = Chip.from_model(model, presets.ideal(), example=torch.randn(2, 3, 8, 8)).program(0)
    assert budgets[:2] == [-1.0, None]
    for shape in ((2, 3, 8, 8), (5, 3, 8, 8), (3, 3, 12, 10)):
        x = torch.randn(shape)
        assert torch.allclose(torch.as_tensor(chip(x)), model(x), atol=1e-5)


def test_a_refusal_names_the_model_and_not_the_budget(monkeypatch):
    """When nothing can be recorded, the reason is the one the user can act on."""
    monkeypatch.setattr(recording, "FREE_SECONDS", -1.0)
    with pytest.raises(UnsupportedLayerError, match="depend on the data"):
        Chip.from_model(Chooses().eval(), presets.ideal(), example=torch.randn(2, 3, 8, 8))
