"""From a plain network to one that trains for the chip, and back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import TypeVar, cast

from torch import nn

from aimc_sim import arguments
from aimc_sim.machine import settings
from aimc_sim.mapping.where import Where
from aimc_sim.spec import ChipSpec
from aimc_sim.training import attention, layers, recurrent
from aimc_sim.training.checks import HOME, check_model, check_patterns, choose, cores_of
from aimc_sim.training.layers import PreparedLayer
from aimc_sim.training.options import TrainingSpec

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
"""Class of a network, which preparing and finalizing keep."""


@settings.own
def prepare(
    model: AnyNetwork,
    spec: ChipSpec,
    options: TrainingSpec | None = None,
    seed: int = 0,
    where: Where = None,
) -> AnyNetwork:
    """Return a copy of a network that trains for a chip.

    In training mode its convolutions, dense and recurrent layers and attention see the noise and
    the converters of the chip, with gradients through all of it; in evaluation mode the
    converters only. Parameters keep their names, so every optimiser and training loop works.

    Parameters
    ----------
    model : module
        float32 or float64, on any device; untouched.
    spec : ChipSpec
        Devices, converters and size of the crossbars; ``spec.layers`` gives layers their own, by
        the names that :meth:`aimc_sim.Chip.from_model` has for them.
    options : TrainingSpec, optional
        Which effects, how strong.
    seed : int
        >= 0. All noise is a function of the seed, the path of the layer and its number of steps.
    where : mapping from pattern to "analog" or "digital", or list of patterns, optional
        The same as for :meth:`aimc_sim.Chip.from_model`: patterns of layer names as in
        :mod:`fnmatch`; the last one that fits decides, layers that none fits are analog:
        ``{"*": "digital", "stage3.*": "analog"}``; a list names the analog ones. The matrices of
        an attention are ``path.in_proj`` (or ``path.q_proj``, ...) and ``path.out_proj``.

    Returns
    -------
    module
        Of the same class, in the same mode.

    Raises
    ------
    TypeError
        If ``model``, ``spec`` or ``options`` is something else.
    ValueError
        If a tensor is half precision or on the meta device, a layer has no analog form or more
        than torch's own code (replaced methods, hooks, parametrisations), a pattern of ``where``
        or ``spec.layers`` fits no layer, or no layer is analog.

    Notes
    -----
    Weights lie on crossbars as the mapper cuts them for this specification, one copy of each
    (``mapping.replicate`` makes several on the chip). Every call of a layer in training is a step
    of its own: a layer that is called twice in one forward pass has two draws of its noise.
    Activation checkpointing would draw again in the backward pass and is not supported. Functions
    that read a layer's ``weight`` past its ``forward`` see the plain weights; :func:`finalize`
    warns of layers that were trained and never ran.
    """
    options = TrainingSpec() if options is None else options
    check_model(model)
    if not isinstance(spec, ChipSpec):
        raise TypeError(
            f"spec is a {type(spec).__name__}: wanted a ChipSpec, for example "
            "aimc_sim.presets.hermes('tdp')"
        )
    if not isinstance(options, TrainingSpec):
        raise TypeError(f"options is a {type(options).__name__}: wanted a TrainingSpec")
    seed = arguments.seed(seed)
    chosen = choose(model, where)
    check_patterns(model, spec, chosen)
    prepared = copy.deepcopy(model)
    for path, matrices in chosen.items():
        layer = prepared.get_submodule(path)
        about = (layer, path or "model", cores_of(layer, path, spec), options, seed)
        if type(layer) in layers.PLAIN:
            layers.attach(*about)
        elif type(layer) in recurrent.PLAIN:
            recurrent.attach(*about)
        else:
            attention.attach(*about, matrices)
        cast(PreparedLayer, layer).analog.train(layer.training)
    attention.block_fused_paths(prepared)
    return prepared


@settings.own
def finalize(prepared: AnyNetwork) -> AnyNetwork:
    """Return a plain copy of a prepared network: torch's own layers, weights clipped.

    Parameters
    ----------
    prepared : module
        As returned by :func:`prepare`; untouched.

    Returns
    -------
    module
        With the classes and the state-dict keys of the network that was prepared.

    Raises
    ------
    ValueError
        If the network was not prepared.
    """
    if not isinstance(prepared, nn.Module) or not dict(analog_layers(prepared)):
        raise ValueError(
            f"finalize got {type(prepared).__name__} without analog layers: wanted what "
            "aimc_sim.training.prepare returned"
        )
    plain = copy.deepcopy(prepared)
    kinds = {analog: kind for kind, analog in HOME.items()}
    attention.allow_fused_paths(plain)
    _warn_of_idle(prepared)
    originals = [layer for _, layer in analog_layers(prepared)]
    for original, (_, layer) in zip(originals, list(analog_layers(plain)), strict=True):
        clipped = {
            name: original.analog.bounded.get(name) == weight._version
            for name, weight in original.matrices().items()
        }
        layer.analog.bounded = {  # a second clip to k sigma would be a narrower one
            name: weight._version for name, weight in layer.matrices().items() if clipped[name]
        }
        layer.bound()
        layer.analog.hold()
        for parameter in layer.parameters(recurse=False):
            parameter._backward_hooks = None  # of channels that were held
        del layer.analog
        cast(nn.Module, layer).__class__ = kinds[type(layer)]
    return plain


def analog_layers(prepared: nn.Module) -> Iterator[tuple[str, PreparedLayer]]:
    """Yield path and layer of everything that lies on crossbars."""
    for path, layer in prepared.named_modules():
        if isinstance(layer, PreparedLayer):
            yield path, layer


def _warn_of_idle(prepared: nn.Module) -> None:
    """Warn of layers whose weights were trained while their forward never ran."""
    ran = {
        path: any(crossbar.steps for crossbar in layer.analog.values())
        for path, layer in analog_layers(prepared)
    }
    for path, layer in analog_layers(prepared):
        moved = any(weight._version for weight in layer.matrices().values())
        if moved and not ran[path] and any(ran.values()):
            warnings.warn(
                f"layer '{path}' never ran in training, though its weights changed: something "
                "reads them past its forward, so they have not felt the chip; call the layer",
                stacklevel=3,
            )
