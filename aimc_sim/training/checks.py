"""Which layers turn analog, and the networks that are refused, whose noise would never act.

A prepared layer runs a forward method of its own. Whatever else torch would have run for it (a
method replaced on the instance or on torch's class, a hook, a parametrisation) is refused by
name; in modules around the layers such things go on acting, unless they reach back to the
network that was copied.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aimc_sim import arguments, patterns
from aimc_sim.mapping.where import WEIGHTED, Chosen, Where
from aimc_sim.spec import ChipSpec, CoreSpec
from aimc_sim.training import attention, layers, recurrent
from aimc_sim.training.layers import PreparedLayer

HOME: dict[type[nn.Module], type[PreparedLayer]] = {
    **layers.PLAIN,
    **recurrent.PLAIN,
    **attention.PLAIN,
}
"""Analog form of every layer type."""
_MATRICES = (nn.RNNCellBase, nn.Bilinear, nn.Conv3d, nn.ConvTranspose3d, *HOME)
_HARMLESS = {"extra_repr", "flatten_parameters"}
"""Methods that compute nothing."""


def check_model(model: nn.Module) -> None:
    """Raise if a network cannot be copied and trained at all."""
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"model is a {type(model).__name__}: wanted a torch.nn.Module that is not scripted"
        )
    if any(isinstance(module, PreparedLayer) for module in model.modules()):
        raise ValueError("the model is prepared already: prepare the plain one, or finalize first")
    for path, module in model.named_modules():
        for name, tensor in vars(module).items():
            if isinstance(tensor, Tensor) and not tensor.is_leaf:
                raise ValueError(
                    f"'{path + '.' if path else ''}{name}' is computed by a hook, and torch cannot "
                    f"copy it: call torch.nn.utils.prune.remove(layer, '{name}') or "
                    f"torch.nn.utils.remove_weight_norm(layer, '{name}') first"
                )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        if isinstance(tensor, cast(Any, nn.parameter).UninitializedTensorMixin):
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


def choose(model: nn.Module, where: Where) -> dict[str, list[str]]:
    """Return path and analog matrices of the layers to turn analog.

    Names are the chip's, see :mod:`aimc_sim.mapping.where`: the path of the layer; those of an
    attention are its projections, path.in_proj (or path.q_proj, ...) and path.out_proj.
    """
    chosen = Chosen.of(where)
    attentions = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    inner = {id(module.out_proj) for module in attentions}
    found: dict[str, list[str]] = {}
    for path, layer in model.named_modules():
        if not isinstance(layer, _MATRICES) or id(layer) in inner:
            continue
        name = path or type(layer).__name__
        if isinstance(layer, nn.MultiheadAttention):
            parts = attention.projections(layer)
            kept = [part for part in parts if chosen.analog(f"{name}.{part}")]
        else:
            kept = ["weight"] if chosen.analog(name) else []
        if kept:
            found[path] = kept
    chosen.check()
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no analog layer: wanted at least one convolution, dense "
            "or recurrent layer or attention that `where` does not leave digital"
        )
    for path in found:
        _check_layer(path, model.get_submodule(path))
    _check_surroundings(model, set(found))
    return found


def cores_of(layer: nn.Module, path: str, spec: ChipSpec) -> Callable[[str], CoreSpec]:
    """Return the specification of the cores of a layer, by the name of its matrix.

    Parameters
    ----------
    layer : nn.Module
        Plain, of a type in :data:`HOME`.
    path : str
        Its path in the network.
    spec : ChipSpec
        The machine, with ``layers``.
    """
    named = _on_chip(layer, path)  # at once: the layer turns into one of another type
    return lambda matrix: spec.for_layer(named(matrix)).core


def _on_chip(layer: nn.Module, path: str) -> Callable[[str], str]:
    """Return the chip's name of a matrix: the layer's, but where a layer has several."""
    name = path or type(layer).__name__
    several = isinstance(layer, nn.RNNBase | nn.MultiheadAttention)
    return lambda matrix: f"{name}.{matrix}" if several else name


def check_patterns(model: nn.Module, spec: ChipSpec, chosen: dict[str, list[str]]) -> None:
    """Raise ValueError if a pattern of ``spec.layers`` fits no layer that lies on crossbars.

    Parameters
    ----------
    model : nn.Module
        The plain network.
    spec : ChipSpec
        The machine, with ``layers``.
    chosen : dict of str to list of str
        Layers that turn analog and their matrices, from :func:`choose`.
    """
    names: list[str] = []
    for path, matrices in chosen.items():
        layer = model.get_submodule(path)
        if isinstance(layer, nn.RNNBase):
            matrices = [name for name, one in layer.named_parameters() if one.ndim > 1]
        names += map(_on_chip(layer, path), matrices)
    # Matrices of modules that are trained as they are, such as spiking units, may be on the chip.
    for path, module in model.named_modules():
        if type(module) not in HOME:
            own = [name for name, one in module.named_parameters(recurse=False) if one.ndim > 1]
            names += [path, *(f"{path}.{name}" for name in own)] if own else []
    for pattern, _ in spec.layers:
        patterns.check("layers", pattern, list(dict.fromkeys(names)), WEIGHTED)


def _check_layer(path: str, layer: nn.Module) -> None:
    """Raise if what computes a layer's output is not torch's own code on its own weights."""
    name = path or type(layer).__name__
    pattern = f"{name}.*" if isinstance(layer, nn.MultiheadAttention) else name
    advice = f"leave it digital with where={{'{pattern}': 'digital'}}"
    parts = {name: layer}
    if isinstance(layer, nn.MultiheadAttention):
        parts[f"{name}.out_proj"] = layer.out_proj
    for part, module in parts.items():
        if parametrize.is_parametrized(module):
            tensor = next(iter(cast(nn.ModuleDict, module.parametrizations)))
            raise ValueError(
                f"'{part}.{tensor}' is parametrised, computed anew in every step: call "
                f"torch.nn.utils.parametrize.remove_parametrizations(layer, '{tensor}') first, or "
                f"{advice}"
            )
    if type(layer) not in HOME:
        bases = [kind.__name__ for kind in HOME if isinstance(layer, kind)]
        what = f"a subclass of {bases[0]} with its own code" if bases else "not supported"
        raise ValueError(
            f"layer '{name}' is a {type(layer).__name__}, {what}: use the plain layer, or {advice}"
        )
    for part, module in parts.items():
        for key, tensor in vars(module).items():
            if "weight" in key and isinstance(tensor, Tensor):
                raise ValueError(
                    f"'{part}.{key}' is computed by a hook, not a parameter: remove the weight "
                    f"normalisation or pruning first, or {advice}"
                )
    replaced = [*_replaced(layer), *_replaced_in_torch(type(layer))]
    if replaced:
        raise ValueError(
            f"the method '{replaced[0]}' of layer '{name}' was replaced, and prepared layers do "
            f"not run it: write what it adds as a module beside the plain layer, or {advice}"
        )
    for key, what in (("_forward_pre_hooks", "pre-hook"), ("_forward_hooks", "hook")):
        for hook in vars(layer)[key].values():
            raise ValueError(
                f"layer '{name}' has a forward {what} ({_called(hook)}), which may read or change "
                "its weights past the noise: remove it, and put one that only looks on the "
                f"prepared network; or {advice}"
            )


def _check_surroundings(model: nn.Module, analog: set[str]) -> None:
    """Raise if replaced methods and hooks of other modules would run the network of before."""
    own = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        name = path or type(module).__name__
        pattern = f"{path}.*" if path else "*"
        around = any(not path or layer.startswith(f"{path}.") for layer in analog)
        for key in _replaced(module):
            method = vars(module)[key]
            if _reaches(method, own):
                raise ValueError(
                    f"the method '{key}' of '{name}' was replaced by a function that holds layers "
                    "of this very network, so a copy would go on running the original: bind it "
                    f"with types.MethodType(function, module) and reach the layers through self"
                )
            if around and _reads_weights(method):
                raise ValueError(
                    f"the method '{key}' of '{name}' was replaced by one that reads weights "
                    "itself, past the noise of the layers: call the layers, or leave them digital "
                    f"with where={{'{pattern}': 'digital'}}"
                )
        passed_over = _passed_over(module) if around else None
        if passed_over is not None:
            raise ValueError(
                f"'{name}' has a '{passed_over}' of its own, which torch's fused evaluation passes "
                "over: without gradients it computes the plain encoder layer, with them another "
                "one; write a forward method of its own instead, or leave its layers digital with "
                f"where={{'{pattern}': 'digital'}}"
            )
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        for hook in hooks:
            if _reaches(hook, own):
                raise ValueError(
                    f"'{name}' has a forward hook ({_called(hook)}) that holds layers of this very "
                    "network, so a copy would go on running the original: remove it, and put one "
                    "on the prepared network"
                )


def _passed_over(module: nn.Module) -> str | None:
    """Return a method of an encoder layer that torch runs with gradients only, if it was changed.

    Known upstream: the fused kernels of ``nn.TransformerEncoderLayer`` read its weights directly.
    """
    plain = nn.TransformerEncoderLayer
    if not isinstance(module, plain) or type(module).forward is not plain.forward:
        return None
    for key in ("_sa_block", "_ff_block"):
        if key in vars(module) or getattr(type(module), key) is not getattr(plain, key):
            return key
    return None


def _replaced(module: nn.Module) -> Iterator[str]:
    """Yield the names of methods that stand on the instance instead of its class."""
    for key, value in vars(module).items():
        shadowed = inspect.getattr_static(type(module), key, None)
        if callable(value) and isinstance(shadowed, FunctionType) and key not in _HARMLESS:
            yield key


def _replaced_in_torch(kind: type) -> Iterator[str]:
    """Yield the names of methods of a torch class that come from another file than the class."""
    for base in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        home = cast(Any, base).__init__.__code__.co_filename
        for key, value in vars(base).items():
            if key not in _HARMLESS and isinstance(value, FunctionType):
                if value.__code__.co_filename != home:
                    yield key


def _function(hook: Any) -> Any:
    """Return the function behind a partial one or a method."""
    hook = getattr(hook, "func", hook)  # functools.partial
    return getattr(hook, "__func__", hook)


def _called(hook: Any) -> str:
    """Return the name of a function, for messages."""
    function = _function(hook)
    return getattr(function, "__qualname__", type(function).__name__)


def _reaches(hook: Callable[..., Any], own: set[int]) -> bool:
    """Return whether a function holds a module of the network, in its closure or as a global."""
    function = _function(hook)
    if not isinstance(function, FunctionType):
        return False
    held = inspect.getclosurevars(function)
    for value in (*held.nonlocals.values(), *held.globals.values()):
        for part in value if isinstance(value, list | tuple | set) else [value]:
            part = getattr(part, "__self__", part)  # the method of before
            if isinstance(part, nn.Module) and id(part) in own:
                return True
    return False


def _reads_weights(method: Callable[..., Any]) -> bool:
    """Return whether a method's code names an attribute that torch's layers keep weights in."""
    code = [getattr(_function(method), "__code__", None)]
    while code:
        one = code.pop()
        if one is None:
            continue
        if any(name == "weight" or name.endswith("_weight") for name in one.co_names):
            return True
        code += [part for part in one.co_consts if inspect.iscode(part)]
    return False
