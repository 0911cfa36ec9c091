"""The whole machine: cores, fabric, digital units, host, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from .. import patterns
from .base import FORMER_NAMES, Spec, _identity, _plain, current_path, quantity
from .core import CoreSpec
from .cost import CostSpec, HostSpec
from .family import FIRST_FAMILY
from .gdpu import GdpuSpec
from .mapping import MappingSpec
from .written import WrittenSpec

Topology = Literal[
    "prism_grid", "prism_strip", "mesh", "torus", "hypercube", "tree", "ring", "bus", "complete"
]


MOST_CORES = 4096
"""Cores of all chips at most, 64 of the published chip: placing a network takes the distance of
every pair and the length of every block at every place (100 MB), and time that grows alike."""


class FabricSpec(Spec):
    """Cores on a grid and the links between them."""

    topology: Topology = quantity("-", "link predicate", "prism_grid")
    rows: int = quantity("-", "rows of cores", 8, ge=1, le=MOST_CORES)
    cols: int = quantity("-", "columns of cores", 8, ge=1, le=MOST_CORES)
    link_hertz: float = quantity("Hz", "bytes per second on a link", 400e6, later=True, gt=0)
    source: str = ""

    @property
    def cores(self) -> int:
        """Number of cores of one chip."""
        return self.rows * self.cols


class CalibrationSpec(Spec):
    """How integer ranges and drift compensation are measured."""

    percentile: float = quantity(
        "%", "share of calibration values inside an activation range", 100.0, gt=50, le=100
    )
    range_method: Literal["percentile", "mse"] = quantity(
        "-", "ranges hold that share, or make the squared rounding and clipping error smallest",
        "percentile", later=True,
    )  # fmt: skip
    clip_warning_fraction: float = quantity(
        "-", "warn once if a layer clips a larger share of its outputs or conversions", 0.05,
        later=True, ge=0, le=1,
    )  # fmt: skip
    compensation_vectors: int = quantity(
        "-", "random inputs per core of the compensations 'gdc-signs' and 'ls'", 64, ge=1, le=65_536
    )
    compensation_windows: int = quantity(
        "-", "windows for which the compensations 'gdc' and 'column' hold each row. ASSUMED: 2 us; "
        "the chip's verify read lasts four windows, in which RESET devices round to whole counts, "
        "a bias of 3 % of the factor after a year", 16, later=True, ge=1, le=65_536,
    )  # fmt: skip
    compensation_reads: int = quantity(
        "-", "reads of each row that they add up", 1, later=True, ge=1, le=65_536
    )
    source: str = ""


class ChipSpec(Spec):
    """The whole machine."""

    name: str = "chip"
    core: CoreSpec = quantity("-", "every core")
    fabric: FabricSpec = quantity("-", "cores and links")
    gdpu: GdpuSpec = quantity(
        "-", "global digital unit: gates of recurrent layers", GdpuSpec(), later=True
    )
    host: HostSpec = quantity("-", "what feeds the chip", HostSpec(), later=True)
    cost: CostSpec = quantity("-", "time and energy of digital work", CostSpec(), later=True)
    mapping: MappingSpec = quantity("-", "layout of a network", MappingSpec(), later=True)
    written: WrittenSpec = quantity(
        "-", "devices that are written during inference (mapping.products)", WrittenSpec(),
        later=True,
    )  # fmt: skip
    chips: int = quantity("-", "chips that share a network", 1, later=True, ge=1, le=MOST_CORES)
    layers: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = quantity(
        "-", "(pattern of layer names, fields of core and their values): cores of other layers "
        "stay as they are", (), later=True,
    )  # fmt: skip
    calibration: CalibrationSpec = quantity("-", "calibration procedures")
    source: str = ""

    @model_validator(mode="after")
    def _not_too_many_cores(self) -> Self:
        if self.cores > MOST_CORES:
            raise ValueError(
                f"chips x fabric.rows x fabric.cols are {self.cores:,} cores; at most "
                f"{MOST_CORES:,} can be placed and routed here"
            )
        return self

    @field_validator("layers", mode="before")
    @classmethod
    def _changes_as_pairs(cls, value: Any) -> Any:
        """Accept ``{"conv1": {"core.adc.bits": 6}}`` and lists; they are kept as pairs."""
        if not isinstance(value, (Mapping, list, tuple)):
            return value
        items = value.items() if isinstance(value, Mapping) else value
        pairs = ((p, c.items() if isinstance(c, Mapping) else c) for p, c in items)
        return tuple(
            (p, tuple((_current(path), _plain(v)) for path, v in changes)) for p, changes in pairs
        )

    @model_validator(mode="after")
    def _layers_change_cores_only(self) -> Self:
        for pattern, changes in self.layers:
            for path, _ in changes:
                if not path.startswith("core.") or path in ("core.rows", "core.cols"):
                    raise ValueError(
                        f"layers: '{pattern}' changes '{path}'; a layer may have its own fields "
                        "below 'core', but not another size of crossbar"
                    )
            try:
                CoreSpec.with_(self.core, {p.removeprefix("core."): v for p, v in changes})
            except KeyError as error:
                raise ValueError(f"layers: '{pattern}': {error.args[0]}") from None
        return self

    def _identified(self) -> dict[str, Any]:
        """Return the fields with the layers' changes by the former names of fields.

        Devices that are written at inference play no part where nothing is written.
        """
        found = super()._identified()
        if not self.mapping.products:
            found.pop("written", None)
        if self.layers:
            found["layers"] = [
                [pattern, [[_former(path), _as_before(v)] for path, v in changes]]
                for pattern, changes in self.layers
            ]
        return found

    def for_layer(self, name: str) -> ChipSpec:
        """Return the specification that the cores of a layer have.

        Parameters
        ----------
        name : str
            The layer's path in the torch module. Of several patterns that match, later ones
            overrule earlier ones field by field.
        """
        changes: dict[str, Any] = {}
        for own in patterns.every(self.layers, name):
            changes.update(own)
        return self.with_({"layers": (), **changes}) if changes else self

    @property
    def cores(self) -> int:
        """Number of cores of all chips."""
        return self.chips * self.fabric.cores


def _current(path: Any) -> Any:
    return current_path(path) if isinstance(path, str) else path


def _former(path: str) -> str:
    former = {now: name for name, now in FORMER_NAMES.items()}
    return ".".join(former.get(part, part) for part in path.split("."))


def _as_before(value: Any) -> Any:
    """Return the value of a change as it was written before devices had families."""
    if isinstance(value, dict) and value.get("family") == FIRST_FAMILY:
        return {name: part for name, part in value.items() if name != "family"}
    return _identity(value)
