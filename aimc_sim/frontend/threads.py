"""Exports that other threads do not feel.

torch.export replaces methods of every module of the process, and functions of Python itself,
while it runs; another thread that runs a plain network meanwhile would go through its tracer. Here
the replacements act in the exporting thread only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.export import _trace
from torch.fx import _symbolic_trace


@contextmanager
def alone() -> Iterator[None]:
    """Let an export replace methods and functions for this thread only; one thread at a time."""
    owner = threading.get_ident()
    # Any: torch's own parts are exchanged while an export runs.
    patcher: Any = _symbolic_trace._Patcher
    export: Any = _trace
    patch_method = patcher.patch_method
    builtin_operations = getattr(export, "_override_builtin_ops", None)

    def patch(
        self: Any, cls: type, name: str, new: Callable[..., Any], deduplicate: bool = True
    ) -> None:
        original = getattr(cls, name)

        def either(*arguments: Any, **named: Any) -> Any:
            function = new if threading.get_ident() == owner else original
            return function(*arguments, **named)

        patch_method(self, cls, name, either, deduplicate)

    patcher.patch_method = patch
    if builtin_operations is not None:
        # max() and min() of sizes then compare them, which is a condition on sizes like others.
        export._override_builtin_ops = nullcontext
    try:
        yield
    finally:
        patcher.patch_method = patch_method
        if builtin_operations is not None:
            export._override_builtin_ops = builtin_operations
