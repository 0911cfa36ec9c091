"""Networks of snntorch and norse, which run one step at a time, as networks over sequences.

Neurons that coincide with :class:`aimc_sim.spiking.LIF` are taken over with their numbers:
``Leaky`` of snntorch 1.0.0 and ``LIFBoxCell`` of norse 1.1.0 (READ). Neither library is needed, or
imported: modules are told by their class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.spiking.units import LIF

_STEPWISE = (nn.Linear, nn.Identity, nn.Dropout, nn.ReLU, nn.LayerNorm)
"""Layers that act on the last dimension, so that they act on all steps at once."""


class OverTime(nn.Module):
    """Layers one behind the other, over sequences.

    Parameters
    ----------
    layers : sequence of (str, nn.Module)
        Layers of the last dimension and neurons over time, by name.
    """

    def __init__(self, layers: list[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(dict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all steps.

        Parameters
        ----------
        x : (T, B, inputs) tensor
            Inputs, step by step.
        """
        for layer in self.layers.values():
            x = layer(x)[0] if isinstance(layer, LIF) else layer(x)
        return x


def over_time(model: nn.Module) -> OverTime:
    """Return a sequential network of snntorch or norse as one that takes whole sequences.

    Parameters
    ----------
    model : nn.Module
        ``nn.Sequential`` of layers and ``snntorch.Leaky(init_hidden=True)``, or
        ``norse.torch.SequentialState`` of layers (also in ``Lift``) and ``LIFBoxCell``. Its linear
        layers are shared, its neurons copied.

    Returns
    -------
    OverTime
        From (T, B, inputs) to (T, B, outputs), equal to the network called step by step from its
        first state; ready for :meth:`aimc_sim.Chip.from_model`.

    Raises
    ------
    UnsupportedLayerError
        If a layer has no counterpart over sequences; names it.
    """
    if not isinstance(model, nn.Sequential):
        raise UnsupportedLayerError(
            f"over_time got a {type(model).__name__}: wanted an nn.Sequential (snntorch) or a "
            "SequentialState (norse); other forward methods are recorded step by step as they are "
            "written: Chip.from_model(model)"
        )
    found = [(name, _layer(name, module)) for name, module in _flat(model)]
    return OverTime([(name.replace(".", "_"), module) for name, module in found])


def _flat(model: nn.Sequential, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested sequential modules with their paths; Lift is taken off."""
    for name, module in model.named_children():
        if type(module).__name__ == "Lift" and _library(module) == "norse":
            module = module.lifted_module  # type: ignore[assignment]
        if isinstance(module, nn.Sequential):
            yield from _flat(module, f"{before}{name}.")
        else:
            yield before + name, module


def _library(module: nn.Module) -> str:
    return type(module).__module__.partition(".")[0]


def _layer(name: str, module: Any) -> nn.Module:
    kind = type(module).__name__
    if _library(module) == "snntorch" and kind == "Leaky":
        return _leaky(name, module)
    if _library(module) == "norse" and kind == "LIFBoxCell":
        return _box(name, module)
    if isinstance(module, _STEPWISE):
        return module
    raise _refused(
        name, kind, "over sequences there are Leaky, LIFBoxCell and layers of the last dimension "
        "(Linear, LayerNorm, ReLU, Dropout)",
    )  # fmt: skip


def _refused(name: str, kind: str, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(f"layer '{name}' ({kind}) cannot run over a sequence: {reason}")


def _leaky(name: str, module: Any) -> LIF:
    """Return snntorch's neurons: reset in the next step, gradients stop at it."""
    faults = {
        "inhibition": bool(module.inhibition),
        "state_quant": bool(module.state_quant),
        "graded_spikes_factor other than 1": bool((module.graded_spikes_factor != 1).any()),
        "reset_delay = False": not getattr(module, "reset_delay", True),
        "several betas": module.beta.numel() != 1,
        "output = True, which returns the state beside the spikes,": bool(module.output),
    }
    for fault, there in faults.items():
        if there:
            raise _refused(name, "Leaky", f"{fault} has no counterpart in aimc_sim.spiking.LIF")
    beta = float(module.beta.detach().clamp(0, 1))
    return LIF(
        beta, module.threshold, reset=module.reset_mechanism, surrogate="atan", detached=True
    )  # fmt: skip


def _box(name: str, module: Any) -> LIF:
    """Return norse's neurons: reset in the same step, inputs scaled by dt / tau."""
    p = module.p
    resets = {"reset_value": "zero", "reset_subtract": "subtract"}
    reset = resets.get(p.reset_method.__name__)
    if float(p.v_leak) or float(p.v_reset) or reset is None or p.method != "super":
        raise _refused(
            name, "LIFBoxCell", "v_leak and v_reset must be 0, the reset to a value or by "
            "subtraction, and the method 'super', as norse's defaults are",
        )  # fmt: skip
    share = float(module.dt * p.tau_mem_inv)
    # norse 1.1.0 leaves alpha out of its SuperSpike: 1 / (1 + |x|)^2.
    return LIF(
        1 - share, p.v_th, reset=reset, delayed=False, gain=share,  # type: ignore[arg-type]
        surrogate="fast-sigmoid", sharpness=1.0,
    )  # fmt: skip
