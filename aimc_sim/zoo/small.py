"""Small untrained networks for examples that train."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class DigitsPerceptron(nn.Module):
    """A perceptron for the digits: their 8 x 8 pixels, hidden units, ten classes.

    Parameters
    ----------
    hidden : int
        Hidden units.
    """

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, hidden)
        self.output = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes; x : (N, 3, 32, 32), of which one channel is read."""
        pixels = functional.avg_pool2d(x[:, :1], 4).flatten(1)
        y: Tensor = self.output(self.hidden(pixels).relu())
        return y
