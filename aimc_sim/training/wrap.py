"""From a plain network to one that trains for the chip, and back."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.spec import ChipSpec
from aimc_sim.training import attention, layers, recurrent
from aimc_sim.training.layers import AnalogLayer
from aimc_sim.training.options import TrainingSpec

HOME = {**layers.PLAIN, **recurrent.PLAIN, **attention.PLAIN}
"""Analog form of every layer type."""
_ATTACH = (
    (layers.PLAIN, layers.attach),
    (recurrent.PLAIN, recurrent.attach),
    (attention.PLAIN, attention.attach),
)
_MATRICES = (nn.RNNCellBase, nn.Bilinear, *HOME)
_WHERE = ("analog", "digital")


def prepare(
    model: nn.Module,
    spec: ChipSpec,
    options: TrainingSpec | None = None,
    seed: int = 0,
    where: Mapping[str, str] | None = None,
) -> nn.Module:
    """Return a copy of a network that trains for a chip.

    In training mode its convolutions, dense and recurrent layers and attention see the noise and
    the converters of the chip, with gradients through all of it; in evaluation mode the
    converters only. Parameters keep their names, so every optimiser and training loop works.

    Parameters
    ----------
    model : module
        float32 or float64, on any device; untouched.
    spec : ChipSpec
        Devices, converters and size of the crossbars.
    options : TrainingSpec, optional
        Which effects, how strong.
    seed : int
        >= 0. All noise is a function of the seed, the path of the layer and its number of steps.
    where : mapping from pattern to "analog" or "digital", optional
        Patterns of module paths as in :mod:`fnmatch`; the last one that fits decides, layers that
        none fits are analog: ``{"*": "digital", "stage3.*": "analog"}``.

    Returns
    -------
    module
        Of the same class, in the same mode.

    Raises
    ------
    TypeError
        If ``model``, ``spec`` or ``options`` is something else.
    ValueError
        If a tensor is half precision or on the meta device, a layer has no analog form, a
        pattern fits no layer, or no layer is analog.

    Notes
    -----
    Every call of a layer in training is a step of its own: a layer that is called twice in one
    forward pass has two draws of its noise. Activation checkpointing would draw again in the
    backward pass and is not supported. Functions that read a layer's ``weight`` past its
    ``forward`` see the plain weights.
    """
    options = TrainingSpec() if options is None else options
    _check(model, spec, options)
    seed = arguments.seed(seed)
    chosen = _choose(model, {} if where is None else arguments.patterns(where, "where"))
    prepared = copy.deepcopy(model)
    for path in chosen:
        layer = prepared.get_submodule(path) if path else prepared
        attach = next(attach for plain, attach in _ATTACH if type(layer) in plain)
        attach(layer, path or "model", spec.core, options, seed)
        layer.analog.train(layer.training)
    attention.block_fused_paths(prepared)
    return prepared


def finalize(prepared: nn.Module) -> nn.Module:
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
        layer.__class__ = kinds[type(layer)]
    return plain


def analog_layers(prepared: nn.Module) -> Iterator[tuple[str, AnalogLayer]]:
    """Yield path and layer of everything that lies on crossbars."""
    for path, layer in prepared.named_modules():
        if isinstance(layer, AnalogLayer):
            yield path, layer


def _check(model: nn.Module, spec: ChipSpec, options: TrainingSpec) -> None:
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"model is a {type(model).__name__}: wanted a torch.nn.Module that is not scripted"
        )
    if not isinstance(spec, ChipSpec):
        raise TypeError(
            f"spec is a {type(spec).__name__}: wanted a ChipSpec, for example "
            "aimc_sim.presets.hermes('tdp')"
        )
    if not isinstance(options, TrainingSpec):
        raise TypeError(f"options is a {type(options).__name__}: wanted a TrainingSpec")
    if dict(analog_layers(model)):
        raise ValueError("the model is prepared already: prepare the plain one, or finalize first")
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            raise ValueError(f"'{name}' has no shape yet: run one batch through the model first")
        if tensor.is_meta:
            raise ValueError(
                f"'{name}' is on the meta device and holds no numbers: load the weights first"
            )
        arguments.dense(tensor, f"'{name}' of the model")
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"'{name}' is {str(tensor.dtype)[6:]}: wanted float32; call model.float(), and "
                "train under torch.autocast for speed"
            )


def _choose(model: nn.Module, where: Mapping[str, str]) -> list[str]:
    """Return the paths of the layers to turn analog."""
    if not isinstance(where, Mapping):
        raise TypeError(
            f"where is a {type(where).__name__}: wanted a mapping from pattern to 'analog' or "
            "'digital', for example {'fc': 'digital'}"
        )
    parents = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            parents[f"{path}.out_proj".lstrip(".")] = path  # belongs to the attention
    found = [
        path
        for path, module in model.named_modules()
        if isinstance(module, _MATRICES) and path not in parents
    ]
    for pattern, choice in where.items():
        if choice not in _WHERE:
            raise ValueError(f"where['{pattern}'] = {choice!r}: wanted 'analog' or 'digital'")
        if not any(fnmatchcase(path, pattern) for path in found):
            near = difflib.get_close_matches(pattern, found, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(
                f"where: the pattern '{pattern}' fits no layer; {hint}There are: "
                f"{', '.join(found) or 'none'}"
            )
    chosen = []
    for path in found:
        choices = [choice for pattern, choice in where.items() if fnmatchcase(path, pattern)]
        if (choices or ["analog"])[-1] == "digital":
            continue
        _check_layer(path, model.get_submodule(path))
        chosen.append(path)
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has no analog layer: wanted at least one convolution, dense "
            "or recurrent layer or attention that `where` does not leave digital"
        )
    return chosen


def _check_layer(path: str, layer: nn.Module) -> None:
    advice = f"leave it digital with where={{'{path}': 'digital'}}"
    if type(layer) not in HOME:
        bases = [kind.__name__ for kind in HOME if isinstance(layer, kind)]
        what = f"a subclass of {bases[0]} with its own code" if bases else "not supported"
        raise ValueError(
            f"layer '{path}' is a {type(layer).__name__}, {what}: use the plain layer (without "
            f"parametrizations), or {advice}"
        )
    for name, tensor in vars(layer).items():
        if "weight" in name and isinstance(tensor, Tensor):
            raise ValueError(
                f"'{path}.{name}' is computed by a hook, not a parameter: remove the weight "
                f"normalisation first, or {advice}"
            )
