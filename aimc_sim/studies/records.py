"""Files of records that only grow, and that tell when they are damaged.

A segment is a text file. Every line is ``<sha256 of the payload, 32 hex digits> <payload>``,
the payload being one JSON object without line breaks. One process writes a segment, line by
line, each forced to the disk before the next trial counts as done; a later process writes a
segment of its own and touches no old one. A process that dies while it writes leaves a last line
without its line break: *half-written*. A complete line whose checksum is wrong is *damaged*:
something changed the file later.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from .. import files, metrics
from ..metrics import Metric

_DIGITS = 32


@dataclass(frozen=True)
class Damage:
    """A line that cannot be used: "half-written" by a process that died, or "damaged" later."""

    kind: Literal["half-written", "damaged"]
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.kind}: line {self.line} of '{self.path}'"


class Segment:
    """A new file of records; use as a context manager.

    Parameters
    ----------
    path : Path
        Must not exist.

    Raises
    ------
    FileExistsError
        If it does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        files.force_folder(path.parent)
        self._size = 0

    def append(self, value: dict[str, Any]) -> None:
        """Write one record and force it to the disk.

        Raises
        ------
        OSError
            If that is not possible, for example on a full disk. The file is cut back to the
            records before.
        """
        data = line_of(value)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        os.close(self._file)
        if self._size == 0:
            self.path.unlink(missing_ok=True)


def line_of(value: dict[str, Any]) -> bytes:
    """Return the line of a record, its line break included."""
    payload = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return _checksum(payload) + b" " + payload + b"\n"


def read_segment(path: Path) -> Iterator[dict[str, Any] | Damage]:
    """Yield the records of a file in order, and its faults.

    Parameters
    ----------
    path : Path

    Yields
    ------
    dict or Damage
        A record, or a line that cannot be used.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                yield Damage("half-written", path, number)
                return
            checksum, _, payload = line[:-1].partition(b" ")
            if checksum != _checksum(payload):
                yield Damage("damaged", path, number)
                continue
            try:
                record = json.loads(payload)
            except (ValueError, RecursionError):
                record = None
            yield record if _sound(record) else Damage("damaged", path, number)


def packed(scores: np.ndarray) -> dict[str, Any]:
    """Return the scores of a row as it is stored.

    Parameters
    ----------
    scores : (N,) bool or float32 array
        One per image.

    Returns
    -------
    dict
        Of truth values ``correct``, their number, and ``correct_bits``, base64 of one bit each
        (``numpy.packbits``); of numbers ``scores``, base64 of little-endian float32.
    """
    if scores.dtype == bool:
        return {
            "correct": int(scores.sum()),
            "correct_bits": base64.b64encode(np.packbits(scores).tobytes()).decode(),
        }
    return {"scores": base64.b64encode(scores.astype("<f4").tobytes()).decode()}


def unpacked(row: dict[str, Any]) -> np.ndarray:
    """Return the scores of a stored row, (N,) bool or float32."""
    if "correct_bits" in row:
        data = np.frombuffer(base64.b64decode(row["correct_bits"]), np.uint8)
        return np.unpackbits(data, count=row["images"]).astype(bool)
    return np.frombuffer(base64.b64decode(row["scores"]), "<f4").astype(np.float32)


def metric_of(record: dict[str, Any]) -> Metric:
    """Return the metric of a trial's record; one of before there were others is of the accuracy."""
    return metrics.read(record["metric"]) if "metric" in record else metrics.ACCURACY


def metric_id(metric: Metric, code: str = "") -> str:
    """Return the identity of a metric: that of everything but its functions.

    Parameters
    ----------
    metric : Metric
        The metric.
    code : str
        SHA-256 of the file of a user's own metric, where results of two versions of it are to be
        told apart.
    """
    text = json.dumps(metric.described(), sort_keys=True, allow_nan=False) + code
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def reference_key(record: dict[str, Any]) -> tuple[str, str, str]:
    """Return what tells records of references apart: network, data and metric."""
    metric = metric_id(metric_of(record), str(record.get("metric_code", "")))
    return record["network_id"], record["data_id"], metric


def value_of(metric: Metric, row: dict[str, Any]) -> float:
    """Return the metric's value of a stored row."""
    if "correct" in row:
        return float(row["correct"] / row["images"])
    return float(metric.value(unpacked(row)))


def values(record: dict[str, Any]) -> tuple[float, ...]:
    """Return the metric's values of a trial's record, one per time and compensation."""
    metric = metric_of(record)
    return tuple(value_of(metric, row) for row in record["rows"])


_NUMBER = (int, float)
_WANTED: dict[str, dict[str, Any]] = {
    "failure": {"identity": str, "setting": str, "seed": int, "reason": str},
    "trial": {
        "identity": str, "setting": str, "preset": str, "spec_id": str, "network": str,
        "network_id": str, "data": str, "data_id": str, "seed": int, "physics": str,
        "aimc_sim": str, "environment": str, "changes": dict, "layers": (list, type(None)),
        "layer_names": list, "rows": list,
    },
    "reference": {
        "network": str, "network_id": str, "data": str, "data_id": str, "aimc_sim": str,
        "images": int,
    },
}  # fmt: skip
_ROW = {
    "time_seconds": _NUMBER, "compensation": str, "images": int, "conversions": int,
    "adc_saturated": int, "output_clipped": int, "sqnr_db": list,
}  # fmt: skip
_BITS, _SCORES = {"correct": int, "correct_bits": str}, {"scores": str}
"""Keys of a record and of its rows, with their types; the tables are made of them."""


def _sound(record: Any) -> bool:
    """Return whether a record can be used; its checksum says only that nobody changed it."""
    if not isinstance(record, dict) or not isinstance(record.get("kind", ""), str):
        return False
    wanted = _WANTED.get(record.get("kind", ""))
    if wanted is None:
        return True  # of a later release: left alone
    if not _holds(record, wanted):
        return False
    if record["kind"] == "failure":
        return True
    try:
        scores = _BITS if metric_of(record).bits else _SCORES
    except (KeyError, TypeError, ValueError):
        return False
    if record["kind"] == "reference":
        return record["images"] > 0 and _holds(record, scores) and _scores_fit(record)
    names = record["layer_names"]
    return (
        all(isinstance(name, str) for name in (*names, *(record["layers"] or ())))
        and bool(record["rows"])
        and all(isinstance(row, dict) and _holds(row, _ROW | scores) for row in record["rows"])
        and all(row["images"] > 0 and _scores_fit(row) for row in record["rows"])
        and all(len(row["sqnr_db"]) == len(names) for row in record["rows"])
        and all(
            value is None or isinstance(value, _NUMBER)
            for row in record["rows"] for value in row["sqnr_db"]
        )
    )  # fmt: skip


def _holds(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(
        isinstance(found.get(name), kind) and not isinstance(found.get(name), bool)
        for name, kind in wanted.items()
        if name in found or type(None) not in (kind if isinstance(kind, tuple) else (kind,))
    )


def _scores_fit(row: dict[str, Any]) -> bool:
    """Return whether there is a score for every image, and as many true ones as the row says."""
    try:
        data = base64.b64decode(row.get("correct_bits", row.get("scores", "")), validate=True)
    except ValueError:
        return False
    if "scores" in row:
        return len(data) == 4 * row["images"] and bool(
            np.isfinite(np.frombuffer(data, "<f4")).all()
        )
    right = sum(byte.bit_count() for byte in data)
    return len(data) == -(-row["images"] // 8) and bool(right == row["correct"] <= row["images"])


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest()[:_DIGITS].encode()
