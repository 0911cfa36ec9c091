"""Torch as a chip needs it, whatever the process has set: the same bits under all settings.

:func:`own` wraps the functions that users call. Inside, every operation of torch runs in float32,
on one thread (parallel work is shared out by images, see :mod:`aimc_sim.kernels.threads`: libraries
sum in another order on another number of threads), with the libraries that were chosen once
(:mod:`.formats`). Behind it everything is as the user left it.

Some settings belong to a thread, others to the process. Where several threads run chips at once,
the first one changes those of the process and the last one puts them back; they are changed for a
thread that runs something else meanwhile.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import torch

from . import trials

Function = TypeVar("Function", bound=Callable[..., Any])
AnyClass = TypeVar("AnyClass", bound=type)
TorchSetting = tuple[Callable[[], Any], Callable[[Any], Any], Any]
"""How to get a setting of the process, how to change it, and the value a chip needs."""


class _SettledThread(threading.local):
    """Depth of the calls that settle this thread, and its number of threads before them."""

    depth = 0
    threads = 1


_here = _SettledThread()
_lock = threading.Lock()
_inside = 0  # threads inside own()
_found: list[tuple[Callable[[Any], None], Any]] = []  # how to put the process back
_onednn: tuple[bool, str] | None = None


def onednn() -> tuple[bool, str]:
    """Return whether oneDNN computes products in this process, and why.

    The first chip decides, for good: with ``torch.backends.mkldnn`` switched off by then, or where
    oneDNN's sums are not float32's or depend on the batch, ATen does.
    """
    with settled():
        assert _onednn is not None  # settled with the process
        return _onednn


def threads() -> int:
    """Return the number of threads that the user gave torch, for sharing out images."""
    return _here.threads if _here.depth else torch.get_num_threads()


def own(function: Function) -> Function:
    """Run a function with torch's settings as a chip needs them."""

    @functools.wraps(function)
    def inside(*arguments: Any, **named: Any) -> Any:
        if _here.depth:
            return function(*arguments, **named)
        with settled():
            return function(*arguments, **named)

    return cast("Function", inside)


def own_methods(kind: AnyClass) -> AnyClass:
    """Run all public methods of a class, ``__init__`` and ``__call__`` too, as :func:`own` does."""
    for name, member in list(vars(kind).items()):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        if isinstance(member, (classmethod, staticmethod)):
            setattr(kind, name, type(member)(own(member.__func__)))
        elif inspect.isfunction(member):
            setattr(kind, name, own(member))
    return kind


@contextmanager
def settled() -> Iterator[None]:
    """Settle torch's settings for a while, see :mod:`aimc_sim.machine.settings`."""
    if _here.depth:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_thread_settled())
        stack.enter_context(_process_settled())
        yield


# ------------------------------------------------------------------------- of a thread


@contextmanager
def _thread_settled() -> Iterator[None]:
    before = torch.get_num_threads()
    flushes = _flushes_denormals()
    _here.depth, _here.threads = 1, before
    try:
        with ExitStack() as stack:
            # Tensors made in inference mode could not be trained with outside.
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            torch.set_num_threads(1)
            if flushes:
                torch.set_flush_denormal(False)
            yield
    finally:
        if flushes:
            torch.set_flush_denormal(True)
        torch.set_num_threads(before)
        _here.depth = 0


def _flushes_denormals() -> bool:
    """Return whether numbers below 1.2e-38 become zero in this thread; torch does not tell."""
    return bool(_DENORMAL * _ONE == 0)


_DENORMAL, _ONE = np.float32(1e-40), np.float32(1.0)


# ------------------------------------------------------------------------- of the process


@contextmanager
def _process_settled() -> Iterator[None]:
    global _inside
    with _lock:
        if _inside == 0:
            _settle_process()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _put_back()


def _settle_process() -> None:
    global _onednn
    _settle(_wanted())
    if _onednn is None:
        _onednn = trials.onednn()
    _settle([_attribute(torch.backends.mkldnn, "enabled", _onednn[0])])


def _settle(wanted: list[TorchSetting]) -> None:
    for get, change, value in wanted:
        before = get()
        if before != value:
            change(value)
            _found.append((change, before))


@functools.cache
def _wanted() -> list[TorchSetting]:
    """Return the settings of the process that a chip needs."""
    backends = torch.backends
    wanted: list[TorchSetting] = [
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        # Its Winograd convolutions take over from 16 images on and round differently.
        (torch._C._get_nnpack_enabled, backends.nnpack.set_flags, False),
        _attribute(backends.cudnn, "benchmark", False),  # would choose algorithms by their time
    ]
    # Ten or seven bits are too few for a charge.
    precise = [
        _attribute(part, "fp32_precision", "ieee")
        for library in (backends.mkldnn, backends.cuda)
        for name in ("conv", "matmul", "rnn")
        if hasattr(part := getattr(library, name, None), "fp32_precision")
    ]
    if precise:
        precise.append((_cudnn_precision, _set_cudnn_precision, ("none", "none")))
    else:  # a torch that has no such settings yet
        matmul = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
        precise = [matmul, _attribute(backends.cudnn, "allow_tf32", False)]
    return wanted + precise


def _cudnn_precision() -> tuple[str, str]:
    cudnn: Any = torch.backends.cudnn
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision


def _set_cudnn_precision(wanted: tuple[str, str]) -> None:
    """Set cuDNN's formats by its older switch, which torch.export still asks for."""
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = wanted == ("tf32", "tf32")
    if _cudnn_precision() != wanted:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = wanted


def _put_back() -> None:
    while _found:
        change, before = _found.pop()
        change(before)


def _attribute(owner: Any, name: str, value: Any) -> TorchSetting:
    return lambda: getattr(owner, name), lambda new: setattr(owner, name, new), value


def _forked() -> None:
    """Begin anew in a child: threads that were inside did not come along, nor did torch's own.

    GNU OpenMP waits for its threads for ever there. The children of torch's data
    loaders have one thread too.
    """
    global _lock, _inside
    _lock = threading.Lock()
    if _inside:
        _inside = 0
        _put_back()
    if _onednn is not None:  # a chip was here
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
