"""Tables of results: one row per trial, time and compensation; one per layer.

Columns of :func:`load` (and of ``table.parquet``):

==========================  ====================================================================
identity                    of the trial, 64 hex digits
setting, preset             names of the study
spec_id                     of the machine: ``specs/<spec_id>.json`` has all of it
layers                      physical layers, " | " between them; "" = all
network, network_id         name; start of the SHA-256 of operations and weights
data, data_id               name; start of the SHA-256 of images, labels, calibration images
seed                        of the programming
time_seconds                after programming, s
compensation                none, gdc, column, adabs
metric, metric_data         name; description, JSON for :func:`aimc_sim.metrics.of`
value                       of the metric
images                      how many
correct, accuracy           of a metric of right and wrong: how many are right, and which share
adc_saturated_fraction      of the conversions
output_clipped_fraction     of the conversions
correct_bits                bytes: one bit per image, ``numpy.unpackbits(..., count=images)``
scores                      of other metrics, bytes: a little-endian float32 per image
physics, aimc_sim           version of the code
environment                 ``environments/<environment>.json``: versions, processor
dotted keys                 one column per parameter that the study changes
==========================  ====================================================================

Columns of :func:`load_layers` (``layers.parquet``): identity, setting, spec_id, layers, network,
network_id, data, data_id, seed, time_seconds, compensation, physics as above; layer, position
(in order of execution), ``sqnr_db`` (infinite without any error), ``effective_bits``.

The reference of a layer's error is the same chip with perfect devices and wires, on the first
``probe_images`` images; errors of the layers before are in it. ``effective_bits`` is
``(sqnr_db - 1.76) / 6.02``, the number of bits of an ideal converter with that ratio for a
full-scale sine (IEEE Std 1241): a convention for signals that are none.
"""

from __future__ import annotations

import base64
import json
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .. import arguments, files
from . import folder as results_folder
from .folder import ConflictError, Contents
from .records import Damage, metric_of, value_of

__all__ = ["ConflictError", "Damage", "check", "export", "load", "load_layers", "read_table"]

TABLE, LAYERS = "table.parquet", "layers.parquet"

_TRIAL = (
    "identity", "setting", "preset", "spec_id", "layers", "network", "network_id", "data",
    "data_id", "seed",
)  # fmt: skip
_CODE = ("physics", "aimc_sim", "environment")
COLUMNS = (
    *_TRIAL, "time_seconds", "compensation", "metric", "value", "images", "correct", "accuracy",
    "adc_saturated_fraction", "output_clipped_fraction", "correct_bits", "scores", "metric_data",
    *_CODE,
)  # fmt: skip
_OF_ACCURACY = tuple(name for name in COLUMNS if name != "scores")
_LAYER_COLUMNS = (
    *(name for name in _TRIAL if name != "preset"), "time_seconds", "compensation", "physics",
    "layer", "position", "sqnr_db", "effective_bits",
)  # fmt: skip

Folders = str | Path | Iterable[str | Path]


def load(folders: Folders) -> pd.DataFrame:
    """Return the results of one or several folders as one table.

    Equal trials merge. Damaged lines are left out with a warning; half-written ones, which a
    process leaves that was killed, without: both are in ``table.attrs["damage"]``.

    Parameters
    ----------
    folders : path, or several
        ``--out`` of ``aimc-sim sweep``.

    Returns
    -------
    DataFrame
        See the module for its columns; sorted, so that the same trials give the same table.

    Raises
    ------
    FileNotFoundError
        If a folder holds no results.
    ConflictError
        If two results of the same trial differ.
    """
    contents = _read(folders)
    rows = [row for record in _sorted(contents) for row in rows_of(record)]
    table = pd.DataFrame(rows)
    first = [name for name in COLUMNS if name in table]
    table = table[first + sorted(set(table) - set(first))] if rows else _empty(_OF_ACCURACY)
    for name in ("correct_bits", "scores"):
        if name in table and table[name].isna().any():  # several metrics in one table
            table[name] = [value if isinstance(value, bytes) else b"" for value in table[name]]
    return _told(table, contents)


def load_layers(folders: Folders) -> pd.DataFrame:
    """Return the error of every layer: one row per trial, time, compensation and layer.

    Parameters, warnings and errors as in :func:`load`.
    """
    contents = _read(folders)
    rows = [row for record in _sorted(contents) for row in _layers(record)]
    return _told(pd.DataFrame(rows, columns=list(_LAYER_COLUMNS)), contents)


def check(folders: Folders) -> list[Damage]:
    """Return every line of a folder's files that cannot be used: half-written or damaged."""
    return results_folder.read(_several(folders), keep_rows=False).damage


def export(folder: str | Path) -> tuple[Path, Path]:
    """Write ``table.parquet`` and ``layers.parquet`` into a folder, from its records.

    Both are views that can be made again at any time: those of an earlier export are replaced.
    Their pages carry checksums, and beside each stands the SHA-256 of the whole file.

    Returns
    -------
    (Path, Path)
        The two files.
    """
    folder = arguments.path(folder, "folder")
    for name, table in ((TABLE, load(folder)), (LAYERS, load_layers(folder))):
        table.attrs = {}
        write_parquet(table, folder / name)
    return folder / TABLE, folder / LAYERS


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a Parquet file that :func:`export` wrote, checking its checksums.

    Raises
    ------
    ValueError
        If the file is damaged or no Parquet file.
    FileNotFoundError
        If there is none.
    """
    import pyarrow
    from pyarrow import parquet

    path = files.require_file(arguments.path(path))
    seal = _seal_of(path)
    if files.kind_of(seal) == "a file":
        if seal.read_bytes()[:64] != files.sha256(path).encode():
            raise ValueError(
                f"'{path}' is damaged or no Parquet file of ours (its SHA-256 is not the one in "
                f"'{seal.name}'); make it again with aimc_sim.results.export"
            )
    try:
        table = parquet.read_table(path, page_checksum_verification=True, memory_map=False)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"'{path}' is damaged or no Parquet file ({' '.join(str(error).split())}); make it "
            "again with aimc_sim.studies.results.export"
        ) from error
    try:
        return table.to_pandas()
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"'{path}' is damaged: it holds no table ({' '.join(str(error).split())[:160]}); make "
            "it again with aimc_sim.results.export"
        ) from error


def effective_bits(sqnr_db: float) -> float:
    """Return ``(sqnr_db - 1.76) / 6.02``, with the exact logarithms behind these numbers."""
    return (sqnr_db - 10 * math.log10(1.5)) / (20 * math.log10(2))


def _read(folders: Folders) -> Contents:
    return results_folder.read(_several(folders))


def _several(folders: Folders) -> list[Path]:
    if isinstance(folders, (str, Path)) or not isinstance(folders, Iterable):
        folders = [folders]
    found = [arguments.path(folder, "folder") for folder in folders]
    if not found:
        raise ValueError("no folder is given; wanted one or several that a sweep wrote")
    return found


def _sorted(contents: Contents) -> Iterator[dict[str, Any]]:
    yield from sorted(
        contents.trials.values(), key=lambda r: (r["setting"], r["seed"], r["identity"])
    )


def _place(record: dict[str, Any]) -> dict[str, Any]:
    found = {name: record[name] for name in _TRIAL}
    return found | {"layers": " | ".join(record["layers"] or ())}


def rows_of(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a trial's record as they stand in the table, see the module."""
    place = _place(record)
    changes = {key: _cell(value) for key, value in record["changes"].items()}
    code = {name: record[name] for name in _CODE}
    metric = metric_of(record)
    data = json.dumps(metric.described(), sort_keys=True)
    for row in record["rows"]:
        conversions = max(1, row["conversions"])
        yield {
            **place,
            "time_seconds": row["time_seconds"],
            "compensation": row["compensation"],
            "metric": metric.name,
            "value": value_of(metric, row),
            "images": row["images"],
            **_stored(row),
            "adc_saturated_fraction": row["adc_saturated"] / conversions,
            "output_clipped_fraction": row["output_clipped"] / conversions,
            "metric_data": data,
            **code,
            **changes,
        }


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of a row as they stand in a table."""
    if "scores" in row:
        return {"scores": base64.b64decode(row["scores"])}
    return {
        "correct": row["correct"],
        "accuracy": row["correct"] / row["images"],
        "correct_bits": base64.b64decode(row["correct_bits"]),
    }


def _layers(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = _place(record)
    for row in record["rows"]:
        for position, (layer, sqnr) in enumerate(
            zip(record["layer_names"], row["sqnr_db"], strict=True)
        ):
            ratio = math.inf if sqnr is None else sqnr
            yield {
                **{name: place[name] for name in _LAYER_COLUMNS if name in place},
                "time_seconds": row["time_seconds"],
                "compensation": row["compensation"],
                "physics": record["physics"],
                "layer": layer,
                "position": position,
                "sqnr_db": ratio,
                "effective_bits": effective_bits(ratio),
            }


def _cell(value: Any) -> Any:
    """Return a value that fits into a column: numbers and texts as they are, others as JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, sort_keys=True)


def _empty(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


def _told(table: pd.DataFrame, contents: Contents) -> pd.DataFrame:
    table.attrs["damage"] = [str(damage) for damage in contents.damage]
    damaged = [str(damage) for damage in contents.damage if damage.kind == "damaged"]
    if damaged:
        warnings.warn(
            f"{len(damaged)} record(s) were changed after they were written and are left out "
            f"({damaged[0]}); run the sweep again to compute their trials anew",
            stacklevel=3,
        )
    return table


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a whole Parquet file with checksums, or nothing; replaces an older one.

    Beside it goes ``<name>.sha256`` as ``sha256sum -c`` reads it: the checksums inside a Parquet
    file guard its pages, not its footer, which holds the names of the columns.
    """
    plain = table.copy()
    for name in plain.columns:
        if plain[name].dtype == object and plain[name].map(type).nunique() > 1:
            mixed = not all(isinstance(v, bytes) for v in plain[name])
            plain[name] = plain[name].map(str) if mixed else plain[name]
    with files.replacing(path, "the table") as temporary:
        plain.to_parquet(temporary, index=False, engine="pyarrow", write_page_checksum=True)
        # Before the table: killed in between, the pair does not fit, which is noticed.
        line = f"{files.sha256(temporary)}  {path.name}\n"
        files.write_text(_seal_of(path), line, "the table's checksum")


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
