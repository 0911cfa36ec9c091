"""Checks of a user's networks, tensors and devices, before anything is done with them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from .. import arguments


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device of torch on which numbers can be computed here.

    Raises
    ------
    TypeError
        If it is neither a text nor a ``torch.device``.
    ValueError
        If torch has no such device, or this machine or installation has none.
    """
    wanted = "wanted 'cpu', or a device that torch has here, such as 'cuda'"
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device = {arguments.shown(device)}: {wanted}")
    try:
        found = torch.device(device)
        if found.type == "meta":
            raise RuntimeError("the device meta holds no numbers")
        torch.zeros(1, device=found)
    except Exception as error:  # torch answers with RuntimeError, AssertionError, ImportError, ...
        reason = " ".join(str(error).split()).split(". ")[0][:160].rstrip(".")
        raise ValueError(f"device = '{device}' cannot be used ({reason}): {wanted}") from error
    return found


def built_model(model: Any) -> nn.Module:
    """Return a network: the given one, or the one that a given function makes.

    Raises
    ------
    TypeError
        If it is none, makes none, or cannot be called without arguments.
    """
    if not (isinstance(model, nn.Module) or callable(model)):
        raise TypeError(
            f"model is a {type(model).__name__}; give a torch.nn.Module, or a function without "
            "arguments that returns one"
        )
    if not isinstance(model, nn.Module):
        try:
            inspect.signature(model).bind()
        except ValueError:
            pass  # a builtin that does not tell
        except TypeError as error:
            what = f"the class {model.__name__}" if isinstance(model, type) else "a function"
            raise TypeError(
                f"model is {what}, which cannot be called without arguments ({error}); give a "
                "torch.nn.Module, or a function without arguments that returns one"
            ) from None
        model = model()
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model returns a {type(model).__name__}; give a torch.nn.Module, or a function "
            "without arguments that returns one"
        )
    return model


def tensor(name: str, given: Any) -> Tensor:
    """Return a user's input as a dense tensor of real numbers."""
    if isinstance(given, Tensor):
        own: Tensor = arguments.dense(given, f"input '{name}'")
        return own
    try:
        made: Tensor = arguments.dense(torch.as_tensor(given), f"input '{name}'")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if "wanted a dense tensor" in str(error):
            raise
        raise TypeError(
            f"input '{name}' = {arguments.shown(given)}: wanted a tensor or array of numbers"
        ) from error
    return made
