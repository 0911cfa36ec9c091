"""Files of arrays: NPY, NPZ, MAT, HDF5, JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import headers
from .sheet import Sheet, cell_text, decoded


@dataclass(frozen=True)
class Arrays:
    """A file of arrays.

    Attributes
    ----------
    path : Path
    values : dict of array
        Numeric arrays by name (by their path inside, where arrays are in groups).
    unused : tuple of str
        Names of the other contents of the file.
    units : dict of str
        Units that the file states, by name of the array.
    """

    path: Path
    values: dict[str, np.ndarray]
    unused: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)


def _numpy_file(path: Path) -> Arrays:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an array: {error}") from None
    if isinstance(found, np.ndarray):
        return _sorted(path, {path.name.split(".")[0]: found})
    with found:
        return _sorted(path, {name: found[name] for name in found.files})


def _matlab_file(path: Path) -> Arrays:
    from scipy import io as scipy_io

    try:
        found = scipy_io.loadmat(path, squeeze_me=False)
    except NotImplementedError:  # version 7.3 is HDF5, with its axes turned round
        return _hdf5_file(path, turned=True)
    except Exception as error:  # scipy raises many kinds on damaged files
        raise ValueError(f"{path} cannot be read as a MAT file: {error}") from None
    return _sorted(path, {k: np.asarray(v) for k, v in found.items() if not k.startswith("__")})


def _hdf5_file(path: Path, turned: bool = False) -> Arrays:
    import h5py

    found: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.dtype.names:  # a table: its fields are columns
            rows = item[()]
            found.update({f"{name}/{part}": rows[part] for part in item.dtype.names})
            return
        found[name] = item[()].T if turned else item[()]
        given = item.attrs.get("unit", item.attrs.get("units"))
        if given is not None:
            units[name] = given.decode() if isinstance(given, bytes) else str(given)

    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") == "aimc_sim measured":
                raise ValueError(
                    f"{path} is in the format of measured devices already; use it as it is, with "
                    "'aimc-sim device check', 'fit' or 'show'"
                )
            file.visititems(visit)  # does not follow links into other files
    except OSError as error:
        raise ValueError(f"{path} is damaged or not an HDF5 file: {error}") from None
    arrays = _sorted(path, found)
    return Arrays(arrays.path, arrays.values, arrays.unused, units)


def _json_file(path: Path) -> list[Sheet] | Arrays:
    text, _ = decoded(path)
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        import pandas as pd

        frame = pd.DataFrame(found).map(cell_text)
        names = tuple(headers.parse(str(name)) for name in frame.columns)
        frame.columns = range(frame.shape[1])
        return [Sheet(path, "", names, frame, np.arange(1, len(frame) + 1))]
    values: dict[str, np.ndarray] = {}
    unused: list[str] = []

    def walk(part: Any, name: str) -> None:
        if isinstance(part, dict):
            for key, inner in part.items():
                walk(inner, f"{name}/{key}" if name else str(key))
            return
        try:
            array = np.array([float("nan") if x is None else x for x in part]) if isinstance(
                part, list
            ) else np.asarray(part)  # fmt: skip
        except ValueError:
            raise ValueError(
                f"{path}, '{name}': lists of different length; wanted a table with rows as long as "
                "each other"
            ) from None
        if array.dtype.kind in "iuf":
            values[name] = array
        else:
            unused.append(name)

    walk(found, "" if isinstance(found, dict) else "values")
    return Arrays(path, values, tuple(unused))


def _sorted(path: Path, found: dict[str, np.ndarray]) -> Arrays:
    values = {k: np.asarray(v) for k, v in found.items() if np.asarray(v).dtype.kind in "iuf"}
    return Arrays(path, values, tuple(k for k in found if k not in values))


READERS = {
    ".npy": _numpy_file,
    ".npz": _numpy_file,
    ".mat": _matlab_file,
    ".h5": _hdf5_file,
    ".hdf5": _hdf5_file,
    ".json": _json_file,
}
"""Reader of every suffix."""
