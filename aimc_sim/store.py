"""A chip in an HDF5 file: specification, program, ranges, programmed devices, clock.

Layout (format "aimc_sim chip", version 3): ``spec`` and ``clock`` (attributes of the
root), ``/image`` and ``/ranges`` are JSON; ``/layers/<n>`` the arrays of the n-th analog layer and
``/digital/<n>`` what digital steps have learned (dimensionless); ``/tiles/<core>`` the devices, as
their family keeps them (phase-change memory: ``target``, ``g`` in siemens, ``nu`` dimensionless,
``programmed``, and ``trace`` where measured traces are replayed) and ``siemens_per_weight``. Every
array carries a checksum, and the file a seal (:mod:`aimc_sim.hdf5`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import arguments, units
from .chip.program import (
    AnalogLayer,
    Block,
    DigitalStep,
    Program,
    Transfer,
    WrittenBlock,
    WrittenProduct,
)
from .chip.state import ChipState, Ranges
from .core.compensation import METHODS
from .core.tile import TileState
from .device import family
from .device.programming_report import ProgrammingReport
from .spec import ChipSpec

if TYPE_CHECKING:
    import h5py

FORMAT = "aimc_sim chip"
VERSION = 3
_LAYER_ARRAYS = ("weight", "scale", "offset", "norm")


def save(
    path: str | Path,
    spec: ChipSpec,
    compiled: Program,
    ranges: Ranges | None,
    state: ChipState | None,
    clock: dict[str, Any],
) -> None:
    """Write a chip; the file appears complete or not at all.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written, or something else than an ordinary file
        stands at ``path``, see :mod:`aimc_sim.files`.
    """
    from . import hdf5

    with hdf5.writing(path, "the chip") as file:
        _write(file, spec, compiled, ranges, state, clock)


Stored = tuple[ChipSpec, Program, Ranges | None, ChipState | None, dict[str, Any]]
"""Contents of a file, in the order of the arguments of :func:`save`."""


def load(path: str | Path) -> Stored:
    """Read what :func:`save` wrote, in the order of its arguments.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not one of ours, damaged, or of a newer version.
    """
    from . import hdf5

    with hdf5.reading(path, "chip file") as file:
        try:
            kept, version = file.attrs.get("format"), file.attrs.get("version", 0)
            version = int(version) if np.ndim(version) == 0 else 0
        except (OSError, TypeError, ValueError):
            kept, version = None, 0
        if not (isinstance(kept, str) and kept == FORMAT):
            raise ValueError(
                f"'{path}' is an HDF5 file but not a chip saved by aimc_sim; use a file "
                "written by Chip.save"
            )
        if version > VERSION:
            raise ValueError(
                f"'{path}' has format version {version}, this aimc_sim reads up to {VERSION}; "
                "update aimc_sim"
            )
        if version < VERSION:
            raise ValueError(
                f"'{path}' has format version {version}, written before programs kept what they "
                "ask of the sizes of inputs; make the chip again from its model and save it"
            )
        try:
            found: Stored = _read(file)
            _check(*found)
        except _FOREIGN as error:
            reason = " ".join(str(error.args[0] if error.args else error).split())[:160]
            raise ValueError(
                f"'{path}' is damaged: what it holds is no chip ({type(error).__name__}: "
                f"{reason}); save the chip again"
            ) from None
    return found


_FOREIGN = (
    OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError,
    OverflowError, MemoryError,
)  # fmt: skip
"""Errors that a file of the right format with other content can raise while it is read."""


def _check(
    spec: ChipSpec, compiled: Program, ranges: Ranges | None, state: ChipState | None,
    clock: dict[str, Any],
) -> None:  # fmt: skip
    """Raise ValueError unless the parts of a file belong together and hold finite numbers."""
    for layer in compiled.layers:
        inputs, outputs = layer.weight.shape
        arrays = {"weight": layer.weight, "scale": layer.scale, "offset": layer.offset}
        for name, array in arrays.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"'{name}' of layer '{layer.name}' holds no finite numbers")
        if layer.scale.shape != (outputs,) or layer.offset.shape != (outputs,):
            raise ValueError(f"the arrays of layer '{layer.name}' do not fit each other")
        for block in layer.blocks:
            rows = 0 <= block.row_start < block.row_stop <= inputs
            if not (rows and 0 <= block.col_start < block.col_stop <= outputs):
                raise ValueError(f"a block of layer '{layer.name}' lies outside its weights")
    for step in compiled.written:
        inside = (
            0 <= b.row_start < b.row_stop <= 2**16 and 0 <= b.col_start < b.col_stop <= 2**16
            and b.head >= 0 and 0 <= b.core < spec.cores
            for b in step.blocks
        )  # fmt: skip
        if not step.blocks or not all(inside):
            raise ValueError(f"the blocks of '{step.name}' hold no matrix")
    used = {block.tile for block in compiled.blocks}
    if state is not None and set(state.tiles) != used:
        raise ValueError("the programmed cores are not those of the network")
    if state is not None:
        _check_devices(spec, state)
    for values in () if ranges is None else (ranges.values, ranges.links):
        if not all(math.isfinite(value) and value >= 0 for value in values.values()):
            raise ValueError("a range is no finite number >= 0")
    for found in () if ranges is None else ranges.adc_amperes.values():
        if not np.isfinite(found).all():
            raise ValueError("a range of a converter is no finite number")
    times = [clock["time_seconds"]] + ([] if state is None else [state.programmed_at_seconds])
    for time in times:
        units.seconds(time)
    arguments.choice(clock["compensation"], "compensation", METHODS)
    arguments.whole(clock["images_seen"], "images_seen", 0, arguments.MOST_IMAGES)
    arguments.whole(clock.get("adapted_images", 0), "adapted_images", 0, arguments.MOST_IMAGES)
    for name, parts in clock["corrections"].items():
        wanted = (2, compiled.layer(name).weight.shape[1])
        array = np.asarray(parts, np.float32)
        if array.shape != wanted or not np.isfinite(array).all():
            raise ValueError(f"the corrections of layer '{name}' are no {wanted} finite numbers")


def _check_devices(spec: ChipSpec, state: ChipState) -> None:
    """Raise ValueError unless the arrays of every core are finite and of one shape."""
    for core, crossbar in state.tiles.items():
        shape = crossbar.devices.g.shape
        laws = family.of(state.spec_of(core, spec).core.device)
        for name, array in laws.arrays(crossbar.devices).items():
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"'{name}' of core {core} holds no finite numbers of one shape")


def _array(group: h5py.Group, name: str, value: np.ndarray, unit: str) -> None:
    dataset = group.create_dataset(
        name, data=value, compression="gzip", compression_opts=1, shuffle=True, fletcher32=True
    )
    dataset.attrs["unit"] = unit


def _write(
    file: h5py.File, spec: ChipSpec, compiled: Program, ranges: Ranges | None,
    state: ChipState | None, clock: Mapping[str, Any],
) -> None:  # fmt: skip
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    file.attrs["spec"], file.attrs["spec_id"] = spec.model_dump_json(), spec.id()
    file.attrs["clock"] = json.dumps(clock)
    layers, learned = file.create_group("layers"), file.create_group("digital")
    steps = []
    for step in compiled.steps:
        kept = (*_LAYER_ARRAYS, "arrays")
        fields = {
            f.name: getattr(step, f.name) for f in dataclasses.fields(step) if f.name not in kept
        }
        if isinstance(step, WrittenProduct):
            fields["written"] = [dataclasses.asdict(block) for block in fields.pop("blocks")]
        if isinstance(step, AnalogLayer):
            fields["blocks"] = [dataclasses.asdict(block) for block in step.blocks]
            fields["arrays"] = str(len(layers))
            group = layers.create_group(fields["arrays"])
            group.attrs["name"] = step.name
            for name in _LAYER_ARRAYS:
                if name == "weight" and step.devices is not None:
                    continue  # those of the layer whose devices it uses
                if getattr(step, name) is not None:
                    _array(group, name, getattr(step, name), "1")
        elif step.arrays:
            fields["learned"] = str(len(learned))
            group = learned.create_group(fields["learned"])
            group.attrs["name"] = step.name
            for name, array in step.arrays.items():
                _array(group, name, array, "1")
        steps.append(fields)
    head = {
        "input": compiled.input,
        "output": compiled.output,
        "cores_available": compiled.cores_available,
        "transfers": [dataclasses.asdict(transfer) for transfer in compiled.transfers],
        "steps": steps,
        "inputs": compiled.inputs,
        "axis": compiled.axis,
        "results": compiled.results,
        "axes": compiled.axes,
        "conditions": compiled.conditions,
    }
    # Text datasets, not attributes: those end at 64 KiB.
    file.create_dataset("image", data=json.dumps(head))
    file.create_dataset(
        "ranges", data=json.dumps(None if ranges is None else _plain_ranges(ranges))
    )
    if state is None:
        return
    tiles = file.create_group("tiles")
    tiles.attrs["seed"], tiles.attrs["cycle"] = state.seed, state.cycle
    tiles.attrs["programmed_at_seconds"] = state.programmed_at_seconds
    for core, tile in state.tiles.items():
        group = tiles.create_group(str(core))
        laws = family.of(state.spec_of(core, spec).core.device)
        for name, array in laws.arrays(tile.devices).items():
            _array(group, name, array, laws.array_units.get(name, "1"))
        _array(group, "siemens_per_weight", tile.siemens_per_weight, "S")
        group.attrs["report"] = json.dumps(dataclasses.asdict(tile.report))


def _read(file: h5py.File) -> Stored:
    spec = ChipSpec.model_validate_json(file.attrs["spec"])
    head = json.loads(file["image"][()])
    steps: tuple[AnalogLayer | DigitalStep, ...] = ()
    for fields in head["steps"]:
        steps = (*steps, _step(file, fields, steps))
    transfers = tuple(Transfer(**{**t, "route": tuple(t["route"])}) for t in head["transfers"])
    compiled = Program(
        head["input"], head["output"], steps, transfers, head["cores_available"],
        tuple(head["inputs"]), head["axis"], head["results"], tuple(head["axes"]),
        tuple(head["conditions"]),
    )  # fmt: skip
    ranges = json.loads(file["ranges"][()])
    state = None
    if "tiles" in file:
        tiles, head = {}, file["tiles"].attrs
        layer_of = {block.tile: block.layer for block in compiled.blocks}
        cycle = int(head["cycle"])
        for core in sorted(file["tiles"], key=int):
            group = file["tiles"][core]
            own = spec.for_layer(layer_of[int(core)])
            devices = _devices(group, family.of(own.core.device).state_class)
            report = ProgrammingReport(**json.loads(group.attrs["report"]))
            tiles[int(core)] = TileState(devices, group["siemens_per_weight"][()], report, cycle)
        state = ChipState(
            int(head["seed"]), tiles, float(head["programmed_at_seconds"]), cycle, layer_of
        )
    return (
        spec,
        compiled,
        None if ranges is None else _ranges(ranges),
        state,
        json.loads(file.attrs["clock"]),
    )


def _plain_ranges(ranges: Ranges) -> dict[str, Any]:
    """Return ranges as numbers, lists and mappings."""
    amperes = {
        name: found.tolist() if isinstance(found, np.ndarray) else found
        for name, found in ranges.adc_amperes.items()
    }
    return dataclasses.asdict(ranges) | {"adc_amperes": amperes}


def _ranges(kept: dict[str, Any]) -> Ranges:
    """Return the ranges that :func:`_plain_ranges` wrote; thresholds and values are lists."""
    amperes = {
        name: np.array(found, np.float64) if isinstance(found, list) else found
        for name, found in kept.get("adc_amperes", {}).items()
    }
    return Ranges(**kept | {"adc_amperes": amperes})


def _devices(group: h5py.Group, state_class: type[family.DeviceState]) -> family.DeviceState:
    """Return the arrays of a core's devices; those with a default may be missing."""
    return state_class(**{
        field.name: group[field.name][()]
        for field in dataclasses.fields(state_class)
        if field.name in group or field.default is dataclasses.MISSING
    })  # fmt: skip


def _step(
    file: h5py.File, fields: dict[str, Any], before: tuple[AnalogLayer | DigitalStep, ...]
) -> AnalogLayer | DigitalStep:
    def frozen(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    if "arrays" not in fields:
        group = file["digital"][fields.pop("learned")] if "learned" in fields else {}
        learned = {name: group[name][()] for name in group}
        kept = {k: v if k == "attrs" else frozen(v) for k, v in fields.items()}
        written = kept.pop("written", None)
        if written is None:
            return DigitalStep(**kept, arrays=learned)
        own = tuple(WrittenBlock(**block) for block in written)
        return WrittenProduct(**kept, arrays=learned, blocks=own)
    group = file["layers"][fields.pop("arrays")]
    blocks = tuple(Block(**block) for block in fields.pop("blocks"))
    arrays = {n: group[n][()] for n in _LAYER_ARRAYS if n in group}
    if "weight" not in arrays:
        layers = (step for step in before if isinstance(step, AnalogLayer))
        owner = next(layer for layer in layers if layer.name == fields["devices"])
        arrays["weight"] = owner.weight
    return AnalogLayer(
        **{name: frozen(value) for name, value in fields.items()}, **arrays, blocks=blocks
    )
