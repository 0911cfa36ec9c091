"""Measured devices in HDF5: one table of reads, its units and where it comes from.

Layout (format "aimc_sim measured", version 2; version 1 lacks the columns marked *).
Attributes of the root: ``format``, ``version`` and ``provenance`` (JSON). One dataset per column,
all of the same length N, one row per read; each has the attribute ``unit`` and a checksum
(fletcher32):

=======================  ====  ================================================================
dataset                  unit  meaning
=======================  ====  ================================================================
``device``               1     whole number, the same for all reads of a physical device
``cycle``                1     repeat of the same condition on the same device
``target_siemens``       S     conductance asked for; NaN or no dataset: none
``pulse_volts``          V     amplitude of the programming pulse; no dataset: not known
``pulse_amperes``        A     the same as a current
``pulse_seconds`` *      s     width of the programming pulse
``pulse_count``          1     pulses since the last RESET
``pulse_number`` *       1     number of the pulse before this read in a train of pulses; with this
                               column the table is a pulse record: amplitude, width and direction
                               belong to that pulse, a trace is the train of a device and cycle
``pulse_direction`` *    1     1: the pulse was to raise the conductance, -1: to lower it, 0: none
``device_row`` *         1     place of the device in its array
``device_column`` *      1     the same
``device_names`` *       text  name of device number i (no dataset: they have none)
``time_seconds``         s     time since programming; 0 if only one read was made; several reads
                               of a trace may share a time
``conductance_siemens``  S     conductance of the read; noise around zero may make it negative
``temperature_kelvin``   K     one number, or one per read; no dataset: not known
``read_seconds``         s     duration of a read: one number; no dataset: not known
=======================  ====  ================================================================
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ... import arguments, files, markup, shipped, units
from . import columns as rules

FORMAT = "aimc_sim measured"
VERSION = 2


class Provenance(BaseModel):
    """Where a measurement comes from; texts, empty where unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str = ""
    source: str = ""
    doi: str = ""
    licence: str = ""
    instrument: str = ""
    notes: str = ""
    original_units: str = ""


class MeasuredData(BaseModel):
    """Reads of devices: columns of equal length N in SI units, one row per read.

    Checked whenever one is made, so also on writing and reading; the arrays are read-only. The
    columns are those of the module's docstring; None is a column that was not measured.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )

    device: np.ndarray
    cycle: np.ndarray
    time_seconds: np.ndarray
    conductance_siemens: np.ndarray
    target_siemens: np.ndarray | None = None
    pulse_volts: np.ndarray | None = None
    pulse_amperes: np.ndarray | None = None
    pulse_seconds: np.ndarray | None = None
    pulse_count: np.ndarray | None = None
    pulse_number: np.ndarray | None = None
    pulse_direction: np.ndarray | None = None
    device_row: np.ndarray | None = None
    device_column: np.ndarray | None = None
    temperature_kelvin: np.ndarray | None = None
    read_seconds: float | None = None
    device_names: tuple[str, ...] | None = None
    provenance: Provenance = Provenance()

    @model_validator(mode="before")
    @classmethod
    def _plain_and_sound(cls, given: Any) -> Any:
        fields = dict(given)
        found = {k: rules.plain(k, fields[k]) for k in rules.UNITS if fields.get(k) is not None}
        missing = [name for name in rules.REQUIRED if name not in found]
        if missing:
            raise ValueError(f"no column '{missing[0]}'; wanted {', '.join(rules.REQUIRED)}")
        reads = len(found["device"])
        for name, values in found.items():
            if values.ndim and len(values) != reads:
                raise ValueError(
                    f"column '{name}' has {len(values)} reads but 'device' has {reads}; all "
                    "columns are of equal length"
                )
        problem = next(rules.problems(found), None)
        if problem is not None:
            raise ValueError(problem.text())
        names = fields.get("device_names")
        if names is not None and not 0 <= found["device"].max() < len(names):
            raise ValueError(
                f"device_names has {len(names)} names, but there is a device number "
                f"{found['device'].max()}; name every device, the first of them is number 0"
            )
        single: dict[str, float] = {}
        if "read_seconds" in found:
            if found["read_seconds"].ndim:
                raise ValueError("column 'read_seconds' must be one number for all reads")
            single["read_seconds"] = float(found["read_seconds"])
        return fields | found | single

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Return checked data; ValueError has one sentence, with row and column."""
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            reason = first["msg"].removeprefix("Value error, ")
            where = "".join(f"{part}: " for part in first["loc"])
            raise ValueError(f"{where}{reason}") from None

    def __len__(self) -> int:
        return len(self.device)

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        rows = []
        for name, values in self.columns().items():
            unit, known = rules.UNITS[name], values[np.isfinite(values)]
            ends = (known.min(), known.max()) if known.size else ()
            show = units.show_time if unit == "s" else functools.partial(_shown, unit=unit)
            shown = [show(float(end)) for end in ends]
            rows.append((name, *(shown or ("-", "-")), f"{known.size:,}"))
        told = [
            (name, value)
            for name, value in self.provenance.model_dump().items()
            if value and name != "title"
        ]
        counts = f"{len(self):,} reads of {len(np.unique(self.device)):,} devices"
        columns = ("column", ">smallest", ">largest", ">values")
        return markup.display(
            "MeasuredData", self.provenance.title or "untitled", markup.paragraph(counts),
            markup.table(columns, rows),
            *([markup.folded("provenance", markup.facts(told))] if told else []),
        )  # fmt: skip

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns that are there, by name."""
        values = {name: getattr(self, name) for name in rules.UNITS}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}


def _shown(value: float, unit: str) -> str:
    return f"{value:.6g}" if unit in "1K" else units.show(value, unit)


def write(path: str | Path, data: MeasuredData, *, force: bool = False) -> None:
    """Write a measurement; the file appears complete or not at all.

    Parameters
    ----------
    path : path
    data : MeasuredData
        Checked reads and their provenance.
    force : bool
        Replace a file that is there already.

    Raises
    ------
    FileExistsError
        If the file is there and ``force`` is False.
    FileNotFoundError
        If the folder is missing.
    ValueError
        If the data break the rules of the format.
    """
    from ... import hdf5

    path = Path(path)
    refuse_existing(path, force)
    fields = {
        **data.columns(), "provenance": data.provenance, "device_names": data.device_names,
    }  # fmt: skip
    checked = MeasuredData.of(**fields)  # once more: a copy could have been made past the checks
    with hdf5.writing(path, "the measurement") as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["provenance"] = checked.provenance.model_dump_json()
        for name, values in checked.columns().items():
            packed = {} if values.ndim == 0 else _PACKED
            dataset = file.create_dataset(name, data=values, **packed)
            dataset.attrs["unit"] = rules.UNITS[name]
        if checked.device_names is not None:
            file.create_dataset("device_names", data=list(checked.device_names))


def refuse_existing(path: Path, force: bool) -> None:
    """Raise unless a file can be written at a path, see :func:`aimc_sim.files.refuse_target`."""
    files.refuse_target(path)
    if files.kind_of(path) is not None and not force:
        raise FileExistsError(
            f"{path} is there already; give --force (in Python: force=True) to replace it"
        )


SETS = ("generated_25us",)
"""Data sets that come with this package, by name."""


def find(path: str | Path) -> Path:
    """Return the file of a measurement.

    Parameters
    ----------
    path : path
        A file, or a name of :data:`SETS`: these are found from any folder.

    Raises
    ------
    FileNotFoundError
        If there is no file, but a data set of that name.
    """
    path = arguments.path(path)
    if str(path) in SETS:
        return shipped.folder("device_data") / f"{path}.h5"
    if path.stem in SETS and not path.exists():
        raise FileNotFoundError(
            f"there is no file '{path}'; the data set that comes with aimc_sim is named "
            f"'{path.stem}', without a folder and an ending"
        )
    return path


def read(path: str | Path) -> MeasuredData:
    """Read and check a measurement.

    Parameters
    ----------
    path : path
        A file, or the name of a data set of this package, see :func:`find`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, damaged, of a newer version, or breaks the rules of the format.
    """
    from ... import hdf5

    path = find(path)
    with hdf5.reading(path, "file") as file:
        try:
            fields = _read(file)
        except (OSError, KeyError, RuntimeError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise ValueError(f"'{path}' is damaged or not an HDF5 file ({first})") from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{path}': {error}") from None
    try:
        return MeasuredData.of(**fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{path}': {error}") from None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, 64 hex digits."""
    return files.sha256(path)


_PACKED = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}


def _read(file: Any) -> dict[str, Any]:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(
            "an HDF5 file, but not measured devices; make one with 'aimc-sim device import'"
        )
    version = int(file.attrs["version"])
    if version > VERSION:
        raise ValueError(
            f"format version {version}, this aimc_sim reads up to {VERSION}; update aimc_sim"
        )
    fields: dict[str, Any] = {}
    for name, dataset in file.items():
        if name == "device_names":
            fields[name] = tuple(dataset.asstr()[()].tolist())
            continue
        if name not in rules.UNITS or not hasattr(dataset, "shape"):  # a group has none
            raise ValueError(f"unknown column '{name}'; known: {', '.join(rules.UNITS)}")
        unit, wanted = dataset.attrs.get("unit"), rules.UNITS[name]
        unit = unit.decode() if isinstance(unit, bytes) else unit  # as some tools write text
        if unit is None:
            raise ValueError(f"column '{name}' has no unit; set its attribute unit to '{wanted}'")
        if unit != wanted:
            raise ValueError(f"column '{name}' has the unit '{unit}'; the format wants '{wanted}'")
        fields[name] = dataset[()]
    fields["provenance"] = Provenance.model_validate_json(file.attrs["provenance"])
    return fields
