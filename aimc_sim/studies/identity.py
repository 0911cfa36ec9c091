"""Identity of results: hashes of inputs, of the physics, of the machine.

``physics()`` is the SHA-256 over the bytes of every source file that can change an answer:
:data:`ROOMS` and :data:`FILES`. A changed comment counts as a change: results that might differ
must never be merged, and results that are computed twice cost only time. Every copy of one
release has the same value.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..mapping.graph import Network

ROOMS = (
    "kernels",
    "device",
    "core",
    "chip",
    "mapping",
    "ops",
    "frontend",
    "digital",
    "runtime",
    "spec",
)
"""Rooms of the package whose code computes results."""

FILES = ("patterns.py", "rng.py", "units.py", "metrics.py", "studies/work.py")
"""Single files that do."""

_PACKAGES = ("numpy", "numba", "scipy", "torch")
_PACKAGE = Path(__file__).resolve().parents[1]


def digest(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of JSON values, in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of named arrays: names, shapes, types and bytes."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name}|{array.shape}|{little.dtype.str}|".encode())
        found.update(little.tobytes())
    return found.hexdigest()


def of_network(network: Network) -> str:
    """Return the SHA-256 of a traced network: its operations, their order and all weights."""
    return digest(
        {
            "input": network.input,
            "output": network.output,
            "nodes": [
                [node.name, node.op, list(node.inputs), node.attrs, of_arrays(node.arrays)]
                for node in network.nodes
            ],
        }
    )


@functools.cache
def physics() -> str:
    """Return the version of the code that computes results (64 hex digits)."""
    found = hashlib.sha256()
    files = [path for room in ROOMS for path in (_PACKAGE / room).rglob("*.py")]
    files += [_PACKAGE / name for name in FILES]
    for path in sorted(files, key=lambda path: path.relative_to(_PACKAGE).as_posix()):
        found.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


@functools.cache
def environment() -> dict[str, str]:
    """Return what this process computes with: versions, physics, processor.

    The host's name is not part of it: equal machines share an environment.
    """
    return {
        "aimc_sim": __version__,
        "physics": physics(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    """Return the model of the processor, as Linux names it, or what the platform says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
