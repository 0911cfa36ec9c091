"""Attention and transformer blocks of spikes, over space or over blocks of time steps.

The attention itself with its sources: :mod:`aimc_sim.digital.attention`. Around it is a block with
shortcuts between membrane inputs, as of spike-driven transformers (RECALLED; the arrangement here
is ours)::

    x <- x + proj(LIF(A)),   Q, K, V = LIF(dense(LIF(x)))
    x <- x + dense(LIF(dense(LIF(x))))

Only spikes enter matrices; x itself, the sum that runs past them, is a membrane input and never a
spike. Every dense layer is a matrix with batch norm, which is folded into it for evaluation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aimc_sim import arguments
from aimc_sim.digital.attention import Attending, attention
from aimc_sim.spiking.units import LIF


class NormedLinear(nn.Linear):
    """A matrix with batch norm behind it, over all dimensions but the last.

    In evaluation both are one matrix with an offset, which is computed from the running statistics
    and goes on crossbars as one layer.

    Parameters
    ----------
    inputs, outputs : int
        Numbers of both, at least 1.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=True)
        with torch.no_grad():
            self.bias.zero_()
        self.gain = nn.Parameter(torch.ones(outputs))
        self.register_buffer("running_mean", torch.zeros(outputs))
        self.register_buffer("running_var", torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised product, (..., outputs), of (..., inputs)."""
        if not self.training:
            return F.linear(x, *self.folded())
        y = F.linear(x, self.weight)
        normed = F.batch_norm(
            y.flatten(0, -2), self.running_mean, self.running_var, self.gain, self.bias, True
        )
        return normed.view(y.shape)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return matrix (outputs, inputs) and offset (outputs,) of evaluation."""
        factor = self.gain * torch.rsqrt(self.running_var + 1e-5)
        return self.weight * factor[:, None], self.bias - self.running_mean * factor


class SpikingAttention(nn.Module):
    """Attention of spikes without softmax, over blocks of time steps.

    Parameters
    ----------
    width : int
        D, numbers of a token.
    heads : int
        Parts of the width that attend by themselves; they divide it.
    steps : int
        S, time steps of a block: 1 for attention over space alone.
    scale : float
        Factor of the sums, divided by S.
    batch_first : bool
        Whether sequences are (B, T, N, D) instead of (T, B, N, D).
    **neuron
        Arguments of :class:`LIF`, of all neurons.
    """

    def __init__(
        self, width: int, heads: int = 1, steps: int = 1, scale: float = 0.25, *,
        batch_first: bool = False, **neuron: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        width = arguments.whole(width, "width", 1, 2**31)
        heads = arguments.whole(heads, "heads", 1, width)
        if width % heads:
            raise ValueError(f"heads = {heads}: they do not divide width = {width} evenly")
        steps = arguments.whole(steps, "steps", 1, 2**31)
        self.how = Attending(steps, heads, arguments.number(scale, "scale"))
        self.width, self.batch_first = width, arguments.flag(batch_first, "batch_first")

        def neurons() -> LIF:
            return LIF(batch_first=batch_first, **neuron)

        self.query, self.query_neurons = NormedLinear(width, width), neurons()
        self.key, self.key_neurons = NormedLinear(width, width), neurons()
        self.value, self.value_neurons = NormedLinear(width, width), neurons()
        self.attended, self.proj = neurons(), NormedLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return membrane inputs of spikes.

        Parameters
        ----------
        x : (T, B, N, D) tensor, or (B, T, N, D) with ``batch_first``
            Spikes of N tokens; T is a multiple of the steps of a block.

        Returns
        -------
        tensor of the same shape
            Sums behind the last matrix.

        Raises
        ------
        ValueError
            If the shape is another one, or the steps are no whole blocks.
        """
        batch = 0 if self.batch_first else 1
        if x.ndim != 4 or x.shape[3] != self.width:
            wanted = "B, T" if self.batch_first else "T, B"
            raise ValueError(
                f"SpikingAttention got inputs of the shape {tuple(x.shape)}: wanted ({wanted}, N, "
                f"{self.width})"
            )
        q, _ = self.query_neurons(self.query(x))
        k, _ = self.key_neurons(self.key(x))
        v, _ = self.value_neurons(self.value(x))
        y, _ = self.attended(attention(q, k, v, self.how, batch))
        found: Tensor = self.proj(y)
        return found

    def extra_repr(self) -> str:
        """Return the arguments, for printing."""
        how = self.how
        return f"{self.width}, heads={how.heads}, steps={how.steps}, scale={how.scale:g}"


class SpikingBlock(nn.Module):
    """A transformer block of spikes: attention and two dense layers, with membrane shortcuts.

    Parameters
    ----------
    width : int
        D, numbers of a token.
    heads, steps, scale
        Of :class:`SpikingAttention`.
    hidden : int or None
        Neurons between the dense layers; None: four times the width.
    batch_first : bool
        Whether sequences are (B, T, N, D) instead of (T, B, N, D).
    **neuron
        Arguments of :class:`LIF`, of all neurons.
    """

    def __init__(
        self, width: int, heads: int = 1, steps: int = 1, hidden: int | None = None,
        scale: float = 0.25, *, batch_first: bool = False, **neuron: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        hidden = 4 * width if hidden is None else arguments.whole(hidden, "hidden", 1, 2**31)

        def neurons() -> LIF:
            return LIF(batch_first=batch_first, **neuron)

        self.entering = neurons()
        self.attention = SpikingAttention(
            width, heads, steps, scale, batch_first=batch_first, **neuron
        )
        self.between, self.wide = neurons(), NormedLinear(width, hidden)
        self.inner, self.narrow = neurons(), NormedLinear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return membrane inputs of membrane inputs.

        Parameters
        ----------
        x : (T, B, N, D) tensor, or (B, T, N, D) with ``batch_first``
            Sums that arrive at neurons; T is a multiple of the steps of a block.

        Returns
        -------
        tensor of the same shape
            x with what attention and dense layers add.
        """
        spikes, _ = self.entering(x)
        x = x + self.attention(spikes)
        spikes, _ = self.between(x)
        spikes, _ = self.inner(self.wide(spikes))
        found: Tensor = x + self.narrow(spikes)
        return found
