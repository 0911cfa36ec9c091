"""The networks that the front end must take: how each is built, fed, and how closely compared."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Inputs = tuple | dict
"""Positional arguments, or keyword arguments."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One network.

    Attributes
    ----------
    name : str
    build : callable
        Returns the network with random weights.
    inputs : callable
        ``inputs(batch, size)``: arguments of one call for that many images.
    sizes : tuple
        What ``inputs`` takes as size; more than one where the network leaves it free.
    needs : str
        Top-level package that must be installed, "" if none.
    slow : bool
        More than a few seconds.
    tolerance : float
        Largest error, in units of the largest output of its kind.
    run : bool
        False: too many devices to program in a test; placed only.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, object], Inputs]
    sizes: tuple = (None,)
    needs: str = ""
    slow: bool = False
    tolerance: float = 1e-4
    run: bool = True

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None


def offline() -> None:
    """Make the libraries importable: no downloads, torchvision beside a CPU build of torch.

    torchvision's wheel is compiled for torch with CUDA, so beside the CPU build its operators do
    not load. No network here needs them, but ``import torchvision`` registers the shapes of two
    and fails if nobody has declared these.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in ("nms", "qnms"):
            DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


DECLARED = torch.library.Library("torchvision", "FRAGMENT")
"""Kept: the declarations would go with it."""


def settled(model: nn.Module, args: tuple = (), kwargs: dict | None = None) -> nn.Module:
    """Give every part of the network something to say; returns it in evaluation mode.

    Freshly made networks hide faults: batch norms are the identity, layer scales are 1e-6, the
    last norm of a residual branch and many biases are zero, and after many layers of such weights
    the logits no longer depend on the image. Whatever parameter has all entries equal gets
    entries of its own, matrices of small numbers grow, and batch norms get the statistics of one
    batch, moved a little.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [
        module for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if isinstance(parameter, nn.UninitializedParameter) or not parameter.numel():
                continue
            first = parameter.flatten()[0]
            if parameter.is_floating_point() and (parameter == first).all():
                noise = torch.rand(parameter.shape, generator=generator)
                size = first.abs().clamp(max=2).item()
                parameter.copy_(first * (0.5 + noise) if size > 0.3 else 0.6 * noise - 0.3)
            elif parameter.is_floating_point() and parameter.dim() > 1:
                wanted = (parameter.numel() / parameter.shape[0]) ** -0.5
                parameter *= max(1.0, 0.6 * wanted / parameter.std().item())
        if norms:
            model.eval()
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.train()
                norm.momentum = 1.0
            model(*args, **(kwargs or {}))
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
                moved = torch.rand(2, *norm.running_mean.shape, generator=generator)
                norm.running_var.clamp_(min=0.3 * norm.running_var.mean().item() + 1e-3)
                norm.running_mean += 0.2 * (moved[0] - 0.5) * norm.running_var.sqrt()
                norm.running_var *= 0.7 + 0.6 * moved[1]
    return model.eval()


def made(case: Case) -> nn.Module:
    """Return the network of a case, the same at every call."""
    offline()
    torch.manual_seed(3)
    model = case.build()
    args, kwargs = fed(case, 8, case.sizes[0])
    return settled(model, args, kwargs)


def fed(case: Case, batch: int, size: object) -> tuple[tuple, dict]:
    """Return positional and keyword arguments of one call."""
    torch.manual_seed(100 * batch + 7)
    inputs = case.inputs(batch, size)
    return ((), inputs) if isinstance(inputs, dict) else (tuple(inputs), {})


def leaves(result: object) -> list[Tensor]:
    """Return the tensors of nested tuples, dictionaries and data classes, in order."""
    if isinstance(result, Tensor):
        return [result]
    if result is None or isinstance(result, (bool, int, float, str)):
        return []
    if isinstance(result, Mapping):
        return [leaf for part in result.values() for leaf in leaves(part)]
    if isinstance(result, Sequence):
        return [leaf for part in result for leaf in leaves(part)]
    if dataclasses.is_dataclass(result):
        return [
            leaf for f in dataclasses.fields(result) for leaf in leaves(getattr(result, f.name))
        ]
    raise TypeError(f"no idea what is inside a {type(result).__name__}")


# --------------------------------------------------------------------------------- inputs


def images(channels: int = 3) -> Callable:
    """Return images of ``size`` (rows, columns), or square ones."""

    def inputs(batch, size):
        shape = size if isinstance(size, tuple) else (size, size)
        return (torch.randn(batch, channels, *shape),)

    return inputs


def vectors(*shape: int) -> Callable:
    """Return inputs of one fixed shape."""
    return lambda batch, _: (torch.randn(batch, *shape),)


def series(features: int) -> Callable:
    """Return (batch, length, features), the length being the size."""
    return lambda batch, size: (torch.randn(batch, size, features),)


def lines(channels: int) -> Callable:
    """Return (batch, channels, length), the length being the size."""
    return lambda batch, size: (torch.randn(batch, channels, size),)


def words(highest: int, name: str | None = None, **fixed) -> Callable:
    """Return (batch, length) word numbers from 1, by position or by name."""

    def inputs(batch, size):
        found = torch.randint(1, highest, (batch, size))
        return (found,) if name is None else {name: found, **fixed}

    return inputs


def all_cases() -> list[Case]:
    """Return every case there is, of every file."""
    from networks import language, vision, written

    cases = [*written.CASES, *vision.CASES, *language.CASES]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases of one name"
    return cases
