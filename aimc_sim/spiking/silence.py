"""Fine-tuning for silence: words with a single spike are masked while a network is trained.

A word holds the spikes of one neuron at all time steps of one input. A row of a crossbar whose word
is silent (no spike) is never driven, and a word with a single spike carries little: a network that
has been trained without such words for a short while makes more silent ones. The mask is dropped
afterwards.

Source: LoAS, arXiv:2407.14073 (MICRO 2024). READ: words, and shares of silent ones with and without
masks and fine-tuning; the schedule of the fine-tuning is ours. The paper packs words for its own
accelerator; here :meth:`aimc_sim.Chip.spiking_report` counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.spiking.units import LIF, Unit

__all__ = ["Words", "masked_single_spikes", "silencing", "words"]


@dataclass(frozen=True)
class Words:
    """Numbers of words of spikes.

    Attributes
    ----------
    total, silent, single : int
        Words, those without a spike, and those with exactly one.
    """

    total: int
    silent: int
    single: int

    @property
    def silent_share(self) -> float:
        """Share of the words without a spike; 0 where there are no words."""
        return self.silent / self.total if self.total else 0.0


def _spikes(spikes: Tensor, time: int) -> Tensor:
    """Return checked spikes; raise ValueError unless all are 0 or 1 and there is a step."""
    time = arguments.whole(time, "time", -spikes.ndim, spikes.ndim - 1)
    if not spikes.shape[time]:
        raise ValueError(f"spikes of the shape {tuple(spikes.shape)} have no step along {time}")
    if not bool(((spikes == 0) | (spikes == 1)).all()):
        raise ValueError("spikes hold numbers other than 0 and 1: give the outputs of neurons")
    return spikes


def words(spikes: Tensor, time: int) -> Words:
    """Count the words of a layer's spikes.

    Parameters
    ----------
    spikes : any shape float tensor, 0 and 1
        Outputs of neurons at all time steps.
    time : int
        Dimension that counts steps.

    Returns
    -------
    Words
        As :class:`aimc_sim.runtime.spiking_report.NeuronRow` has them of a chip.

    Examples
    --------
    >>> import torch
    >>> words(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]), 0)
    Words(total=3, silent=1, single=1)
    """
    per_word = _spikes(spikes, time).sum(time)
    return Words(per_word.numel(), int((per_word == 0).sum()), int((per_word == 1).sum()))


def masked_single_spikes(spikes: Tensor, time: int) -> Tensor:
    """Return spikes without the words that have exactly one.

    Parameters
    ----------
    spikes : any shape float tensor, 0 and 1
        Outputs of neurons at all time steps.
    time : int
        Dimension that counts steps.

    Returns
    -------
    tensor
        Of the same shape; gradients pass where a word is kept.

    Examples
    --------
    >>> import torch
    >>> masked_single_spikes(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]), 0)
    tensor([[0., 0., 1.],
            [0., 0., 1.]])
    """
    kept = _spikes(spikes, time).detach().sum(time, keepdim=True) != 1
    return spikes * kept


@contextmanager
def silencing(network: nn.Module, layers: Sequence[str] | None = None) -> Iterator[nn.Module]:
    """Yield a network whose layers of spiking neurons leave words with a single spike out.

    Parameters
    ----------
    network : nn.Module
        Has layers of neurons (:class:`LIF`, :class:`SNU`) over sequences.
    layers : sequence of str, optional
        Names of the layers; default: all of them.

    Yields
    ------
    nn.Module
        The network; behind the block it is as it was before.

    Raises
    ------
    ValueError
        If the network has no such layer, or one that cannot be masked: a recurrent one reads its
        own spikes before a word is complete, and outputs other than 0 and 1 are no spikes.
    """
    found = {name: one for name, one in network.named_modules() if isinstance(one, LIF | Unit)}
    chosen = list(found) if layers is None else list(layers)
    unknown = [name for name in chosen if name not in found]
    if unknown or not chosen:
        wanted = f"layers named {unknown}" if unknown else "layers of spiking neurons"
        raise ValueError(f"the network has no {wanted}; it has these: {list(found)}")
    for name in chosen:
        _check(name, found[name])
    hooks = []
    try:
        for name in chosen:
            time = 1 if found[name].batch_first else 0
            hooks.append(found[name].register_forward_hook(_hook(time)))
        yield network
    finally:
        for hook in hooks:
            hook.remove()


def _check(name: str, layer: LIF | Unit) -> None:
    if not layer.neuron.binary:
        raise ValueError(
            f"layer '{name}' makes outputs between 0 and 1, not spikes; name the layers that spike"
        )
    if isinstance(layer, Unit) and layer.recurrent_weight is not None:
        raise ValueError(
            f"layer '{name}' is recurrent: its spikes come back as inputs before the last time "
            "step shows how many there are; name the other layers"
        )


def _hook(time: int) -> Any:
    def masked(_: nn.Module, __: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        return masked_single_spikes(output[0], time), output[1]

    return masked
