"""Calibration: run images through the network in float and note how large numbers become."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.program import AnalogLayer, Block, Program
from ..chip.state import ChipState, Ranges, link_name
from ..core import converters, currents, encodings, gmax, inputs, tile, weights
from ..core.quantise import Calibrated
from ..digital import rounding
from ..digital.apply import apply
from ..ops import OPERATIONS, RECURRENT
from ..spec import CalibrationSpec, ChipSpec, CoreSpec
from .adc import climbed
from .blocks import as_maps, block_kernel, convolve_on_all_threads, from_maps, repeated
from .quantisers import full_input, value_quantisers
from .recurrent import float_loop
from .rounding import best_range, smallest_error_range
from .written import largest_charge, of_array


def float_walk(
    compiled: Program, x: Tensor | Sequence[Tensor],
    see: Callable[[str, Tensor], None] = lambda name, value: None,
    enter: Callable[[AnalogLayer, Tensor], None] = lambda layer, x: None,
    lengths: Tensor | None = None,
    convert: Callable[[Block, Tensor], Tensor] = lambda block, sums: sums,
) -> dict[str, Tensor]:  # fmt: skip
    """Run a program's network in float32 with exact weights.

    Parameters
    ----------
    compiled : Program
        Program with the layers and steps to run.
    x : (B, ...) float32 tensor, or one for every input
        Inputs of the network, in its own numbers.
    see : callable(name, tensor), optional
        Called with every value and every partial sum that would be turned into integers.
    enter : callable(AnalogLayer, tensor), optional
        Called with every analog layer and its input maps (B, channels, H, W); for layers inside a
        loop once per time step.
    lengths : (B,) tensor, optional
        Time steps of every sequence.
    convert : callable(Block, tensor), optional
        Called with the sums (B, C, H, W) of every block, input times weight without any scale;
        returns the numbers that go on in their place.

    Returns
    -------
    dict from value name to tensor
        Every value that was computed.
    """
    values = dict(zip(compiled.inputs, (x,) if isinstance(x, Tensor) else x, strict=True))
    for name, given in values.items():
        see(name, given)
    layers = {layer.name: layer for layer in compiled.layers}

    def product(layer: AnalogLayer, inputs: Mapping[str, Tensor]) -> Tensor:
        enter(layer, as_maps(layer, inputs[layer.source]))
        y = _float_layer(layer, inputs, see, convert)
        see(layer.owner, y)
        return y

    sizes = {name: tuple(given.shape) for name, given in values.items()}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer):
            if step.loop is None:
                values[step.name] = product(step, values)
        elif step.op in RECURRENT:
            values |= float_loop(step, layers, values, product, lengths)
            see(step.name, values[step.name])
        else:
            sources = [values[name] for name in step.sources]
            y = apply(step.op, sources, step.attrs, step.arrays, sizes)
            values[step.name] = y
            if OPERATIONS[step.op].kind != "codes" or not sources:
                see(step.name, y)
    return values


def _float_layer(
    layer: AnalogLayer, values: Mapping[str, Tensor], see: Callable[[str, Tensor], None],
    convert: Callable[[Block, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    source = values[layer.source]
    x = as_maps(layer, source)
    scale = torch.from_numpy(layer.scale)[:, None, None]
    offset = torch.from_numpy(layer.offset)[:, None, None]
    weight = torch.from_numpy(layer.weight)

    def product(block: Block) -> Tensor:
        cols = slice(block.col_start, block.col_stop)
        matrix = weight[block.row_start : block.row_stop, cols]
        kernel, channels = block_kernel(layer, block, matrix)
        sums = convert(block, convolve_on_all_threads(layer, x[:, channels], kernel))
        return sums * scale[cols]

    firsts = [product(chain[0]) for chain in layer.chains]
    added = None
    if layer.residual is not None:
        wanted = from_maps(layer, torch.cat(firsts, dim=1), source.shape).shape
        added = as_maps(layer, repeated(layer, values[layer.residual], wanted))
    outputs = []
    for chain, total in zip(layer.chains, firsts, strict=True):
        cols = slice(chain[0].col_start, chain[0].col_stop)
        if added is not None:
            total = total + added[:, cols]
        for block in chain:
            if block is not chain[0]:
                total = product(block) + total
            if block is not chain[-1]:
                see(link_name(block), total)
        outputs.append(total + offset[cols])
    y = from_maps(layer, torch.cat(outputs, dim=1), source.shape)
    return F.relu(y) if layer.relu else y


_G_MAX_IMAGES, G_MAX_INPUTS = 16, 4096
"""Calibration images and input vectors per layer behind the g_max of every core."""

_SHARE_INPUTS = 1024
"""Input vectors per core behind a share of its currents: 0.5 % of a share of 3 % at 256 columns."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2

_MSE_SAMPLES = 2**16
"""Values of a batch that are kept for the search of a range."""


Batch = tuple[Tensor, ...]
"""One tensor for every input of the network."""


def _some(compiled: Program, batch: Batch, n: int) -> Batch:
    """Return the first inputs of a batch."""
    if compiled.axis is None:
        return batch
    n = min(n, batch[0].shape[compiled.axis])
    return tuple(
        x if axis is None else x.narrow(axis, 0, n)
        for x, axis in zip(batch, compiled.axes, strict=True)
    )


def measure_all(compiled: Program, batches: Iterable[Batch], spec: ChipSpec) -> Ranges:
    """Return the ranges of :func:`measure`, with those of every block's converters.

    That is :func:`_adc_ranges_of_cores` on the last batch, if ``core.adc.range`` asks for it, and
    :func:`_levels_of_columns` on all of them where columns are calibrated by themselves.
    """
    some: list[Batch] = []
    levels: dict[str, np.ndarray] = {}
    if any(_core_of(layer, spec).adc.calibrates_columns for layer in compiled.layers):
        batches = list(batches)
        levels = _levels_of_columns(compiled, batches, spec)

    def noted() -> Iterator[Batch]:
        for batch in batches:
            some[:] = [_some(compiled, batch, _G_MAX_IMAGES)]
            yield batch

    ranges = measure(compiled, noted(), spec, levels)
    if some and compiled.written and spec.core.adc.calibrates:
        found = _adc_ranges_of_written(compiled, some[0], spec, ranges)
        ranges = dataclasses.replace(ranges, adc_amperes=found)
    cores = [_core_of(layer, spec) for layer in compiled.layers]
    if not some or not any(core.adc.calibrates for core in cores):
        return ranges
    amperes: dict[str, Calibrated] = {}
    if any(core.adc.calibrates and not core.adc.calibrates_columns for core in cores):
        amperes |= _adc_ranges_of_cores(compiled, some[0], spec, ranges, levels)
    amperes |= _in_amperes(levels, compiled, spec, ranges)
    return dataclasses.replace(ranges, adc_amperes={**ranges.adc_amperes, **amperes})


def _adc_ranges_of_written(
    compiled: Program, images: Batch, spec: ChipSpec, ranges: Ranges
) -> dict[str, float]:
    """Return the full-scale current of the converters of every written product, in amperes.

    That is the largest current of the images, of every phase by itself, in arrays that were written
    without error; ``core.adc.full_scale_amperes`` is the largest there is.
    """
    quantisers = value_quantisers(compiled, spec, ranges)
    limit = spec.core.adc.full_scale_amperes
    quiet = spec.with_({"written.law": None})
    ampere = spec.core.read.v_read_volts * spec.written.g_max_siemens
    found: dict[str, float] = {}
    with torch.inference_mode():
        values = float_walk(compiled, [_channels_last(x) for x in images])
        for step in compiled.written:
            full = [full_input(compiled, name, quantisers, ranges) for name in step.sources]
            factors = [values[name] for name in step.sources]
            most = largest_charge(of_array(step, quiet, (full[0], full[1])), *factors)
            largest = most * ampere or limit or ampere
            found[step.name] = largest if limit is None else min(largest, limit)
    return found


def _core_of(layer: AnalogLayer, spec: ChipSpec) -> CoreSpec:
    return spec.for_layer(layer.owner).core


def joined(one: Ranges, other: Ranges) -> Ranges:
    """Return the ranges that hold for the images behind both."""

    def larger(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
        return {name: max(a.get(name, 0.0), b.get(name, 0.0)) for name in {**a, **b}}

    g_max = {
        name: min(one.g_max_siemens.get(name, math.inf), other.g_max_siemens.get(name, math.inf))
        for name in {**one.g_max_siemens, **other.g_max_siemens}
    }
    amperes = dict(one.adc_amperes)
    for name, found in other.adc_amperes.items():
        own = amperes.get(name, found)
        if isinstance(own, np.ndarray) or isinstance(found, np.ndarray):
            part = other.images / (one.images + other.images)  # levels are means over images
            amperes[name] = np.asarray(own) * (1 - part) + np.asarray(found) * part
        else:
            amperes[name] = max(own, found)
    return dataclasses.replace(
        one, values=larger(one.values, other.values), links=larger(one.links, other.links),
        images=one.images + other.images, g_max_siemens=g_max, adc_amperes=amperes,
    )  # fmt: skip


def alike(one: Mapping[str, Calibrated], other: Mapping[str, Calibrated]) -> bool:
    """Return whether two calibrations of converters have found the same."""
    same = one.keys() == other.keys()
    return one is other or (same and all(np.array_equal(one[n], other[n]) for n in one))


def needs_ranges(compiled: Program, spec: ChipSpec) -> bool:
    """Return whether anything on the chip is an integer, so that ranges matter."""
    cores = [spec.core, *(spec.for_layer(layer.owner).core for layer in compiled.layers)]
    bits = (
        bits
        for core in cores
        for bits in (core.dac.bits, core.ldpu.output_bits, core.ldpu.link_bits, core.adc.bits)
    )
    return any(b is not None for b in bits)


def chooses_g_max(compiled: Program, spec: ChipSpec) -> bool:
    """Return whether devices cannot be written before calibration has chosen g_max somewhere."""
    return any(spec.for_layer(layer.owner).core.g_max_rule != "device" for layer in compiled.layers)


def with_adc_ranges(
    tiles: Mapping[int, tile.TileNow], compiled: Program, spec: ChipSpec, state: ChipState,
    amperes: Mapping[str, Calibrated],
) -> dict[int, tile.TileNow]:  # fmt: skip
    """Return crossbars, by tile, whose converters have these ranges, by :func:`_range_names`."""
    found = dict(tiles)
    for block in compiled.blocks:
        now = found[block.tile]
        names = _range_names(block, len(now.parts))
        if names[0] in amperes:
            core, key = state.spec_of(block.tile, spec).core, state.key(block.tile)
            own = [amperes[name] for name in names]
            found[block.tile] = tile.with_ranges(now, core, key, own)
    return found


def _range_names(block: Block, parts: int) -> tuple[str, ...]:
    """Return the names of the ranges of a block's converters.

    Parameters
    ----------
    block : Block
        Names the first part of all.
    parts : int
        Groups of columns that are converted by themselves; 0 where every column is an output.
    """
    name = link_name(block)
    return tuple(f"{name}/{i}" for i in range(parts)) if parts else (name,)


def measure(
    compiled: Program, batches: Iterable[Batch], spec: ChipSpec,
    levels: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Ranges:  # fmt: skip
    """Return the ranges of all integers, from images.

    Parameters
    ----------
    compiled : Program
        Program whose values and links get ranges.
    batches : iterable of tuples of (B, ...) tensors
        Calibration images, a tensor for every input of the network.
    spec : ChipSpec
        ``calibration.range_method`` "percentile": a range holds that share of the magnitudes of
        a batch, in %, the largest over the batches is kept, 100 is the maximum. "mse": the range
        whose rounding and clipping at the width of its integers make the smallest squared error.
    levels : mapping from name of a block to (2 T + 1, C) float, optional
        Of :func:`_levels_of_columns`: numbers behind such converters are of few levels.

    Returns
    -------
    Ranges
    """
    method = spec.calibration.range_method
    links = {link_name(block) for block in compiled.blocks}
    seen: dict[str, float] = {}
    kept: dict[str, list[Tensor]] = {}
    images = 0

    def see(name: str, value: Tensor) -> None:
        size = value.float().abs().flatten()
        if name not in links and not (size.numel() and size.max() < math.inf):
            # Masks add minus infinity; nothing at all has no range either.
            size = torch.cat([size[size.isfinite()], size.new_zeros(1)])
        if method == "mse":
            kept.setdefault(name, []).append(size[_evenly(size.numel(), _MSE_SAMPLES)])
        seen[name] = max(seen.get(name, 0.0), _magnitude(size, spec.calibration))

    some = None
    with torch.inference_mode():
        for batch in batches:
            images += 1 if compiled.axis is None else batch[0].shape[compiled.axis]
            some = _some(compiled, batch, _G_MAX_IMAGES)
            float_walk(
                compiled, [_channels_last(x) for x in batch], see, convert=_converter(levels)
            )
        for name, parts in kept.items():
            ldpu = spec.for_layer(name.partition("[")[0]).core.ldpu
            bits = ldpu.link_bits if name in links else ldpu.output_bits
            seen[name] = best_range(torch.cat(parts), seen[name], bits)
    ranges = Ranges(
        values={name: size for name, size in seen.items() if name not in links},
        links={name: size for name, size in seen.items() if name in links},
        images=images,
    )
    rules = {spec.for_layer(layer.owner).core.g_max_rule for layer in compiled.layers}
    if rules != {"device"} and some is not None:
        return dataclasses.replace(
            ranges, g_max_siemens=_g_max_of_cores(compiled, some, spec, ranges)
        )
    return ranges


def _evenly(total: int, wanted: int) -> Tensor:
    """Return up to `wanted` of `total` places, in order: one in each of even steps.

    Steps alone would fall on one column of the maps, often the one at their border; so places move
    inside their steps by multiples of the golden ratio, which meets no period.
    """
    if total <= wanted:
        return torch.arange(total)
    step = total / wanted
    start = np.arange(wanted) * step
    inside = np.arange(wanted) * _GOLDEN_RATIO % 1 * step
    return torch.from_numpy(np.minimum(start + inside, total - 1).astype(np.int64))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _magnitude(size: Tensor, calibration: CalibrationSpec) -> float:
    """Return the magnitude that holds the wanted share of (n,) magnitudes; all of them for MSE."""
    if calibration.range_method == "mse" or calibration.percentile == 100:
        return size.max().item()
    rank = max(1, round(calibration.percentile / 100 * size.numel()))
    return size.kthvalue(rank).values.item()


def _g_max_of_cores(
    compiled: Program, images: Batch, spec: ChipSpec, ranges: Ranges
) -> dict[str, float]:
    """Return the g_max of every block, by name, that keeps its bit-line currents in range.

    Parameters
    ----------
    compiled : Program
        Program whose blocks get a g_max.
    images : tuple of (B, ...) tensors
        A few; up to :data:`G_MAX_INPUTS` input vectors per layer are taken from them, for the rule
        "saturation" :data:`_SHARE_INPUTS` of those, of all time steps together.
    spec : ChipSpec
    ranges : Ranges
        Ranges of the integers, by which inputs become codes.
    """
    found: dict[str, float] = {}
    shared: dict[str, tuple[np.ndarray, CoreSpec, list[np.ndarray]]] = {}

    def use(layer: AnalogLayer, block: Block, codes: np.ndarray) -> None:
        core, name = spec.for_layer(layer.owner).core, link_name(block)
        if core.g_max_rule == "device":
            return
        weight = layer.weight[block.row_start : block.row_stop, block.col_start : block.col_stop]
        if core.g_max_rule == "saturation":
            some = codes[_evenly(len(codes), _SHARE_INPUTS).numpy()].astype(np.int8)
            shared.setdefault(name, (weight, core, []))[2].append(some)
            return
        own = gmax.largest_siemens(weight, core, codes, current="peak")
        found[name] = min(own, found.get(name, own))

    _drive(compiled, images, spec, ranges, use)
    for name, (weight, core, parts) in shared.items():
        codes = np.concatenate(parts)
        codes = codes[_evenly(len(codes), _SHARE_INPUTS).numpy()]
        inside = 100 * (1 - core.g_max_saturated_share)
        found[name] = gmax.largest_siemens(weight, core, codes, percentile=inside, current="peak")
    return found


def _adc_ranges_of_cores(
    compiled: Program, images: Batch, spec: ChipSpec, ranges: Ranges,
    levels: Mapping[str, np.ndarray],
) -> dict[str, float]:  # fmt: skip
    """Return the full-scale current of every block's ADCs, by name, in amperes.

    Parameters
    ----------
    compiled : Program
        Program whose blocks get full scales.
    images : tuple of (B, ...) tensors
        A few; up to :data:`G_MAX_INPUTS` input vectors per layer are taken from them.
    spec : ChipSpec
        ``calibration.range_method`` chooses among the currents as for activations, see
        :func:`measure`; ``core.adc.full_scale_amperes`` is the largest full scale there is.
    ranges : Ranges
        Ranges of the integers, and the g_max of blocks that have their own.
    levels : mapping from name of a block to (2 T + 1, C) float
        Of blocks whose columns are calibrated by themselves, which are passed over.

    Notes
    -----
    Currents, of every phase by itself, are those of the target conductances, before any device is
    written: the same register serves every programming. Errors of devices and wires
    are not foreseen and may clip.
    """
    found: dict[str, float] = {}
    calibration = spec.calibration

    def use(layer: AnalogLayer, block: Block, codes: np.ndarray) -> None:
        core = spec.for_layer(layer.owner).core
        if not core.adc.calibrates or core.adc.calibrates_columns:
            return
        limit = core.adc.full_scale_amperes
        weight = layer.weight[block.row_start : block.row_stop, block.col_start : block.col_stop]
        targets = weights.to_targets(weight, core, ranges.g_max_siemens.get(link_name(block)))
        columns = targets.request.g.shape[-1]
        amperes = currents.of_targets(targets, core, codes) or [np.zeros((1, columns))]
        groups = encodings.of(core).groups(columns)
        places = [slice(group.start, group.stop) for group in groups] or [slice(None)]
        for name, place in zip(_range_names(block, len(groups)), places, strict=True):
            parts = [a[:, place].ravel() for a in amperes]
            size = torch.from_numpy(np.concatenate(parts).astype(np.float32))
            largest = _magnitude(size, calibration)
            if calibration.range_method == "mse":
                codes_left = core.adc.max_code
                if codes_left is not None and inputs.reads_planes(core.dac):
                    codes_left = max(1, round(codes_left * inputs.plane_share(core.dac)))
                largest = smallest_error_range(size, largest, codes_left)
            if largest == 0:  # nothing flows
                largest = limit or core.device.g_max_siemens * core.read.v_read_volts
            largest = max(largest, found.get(name, 0.0))  # of all time steps
            found[name] = largest if limit is None else min(largest, limit)

    _drive(compiled, images, spec, ranges, use, levels)
    return found


_LEVEL_IMAGES = 256
"""Calibration images behind the thresholds and values of columns, of all batches together."""


def _levels_of_columns(
    compiled: Program, batches: Sequence[Batch], spec: ChipSpec
) -> dict[str, np.ndarray]:
    """Return thresholds and values of the columns of every block that has its own, by name.

    Parameters
    ----------
    compiled : Program
        Program whose blocks get them.
    batches : sequence of tuples of (B, ...) tensors
        The first :data:`_LEVEL_IMAGES` images count, and of a call of a layer up to
        :data:`G_MAX_INPUTS` input vectors.
    spec : ChipSpec

    Returns
    -------
    dict from name of a block to (2 T + 1, C) float64
        In the network's numbers: input times weight, before any scale.

    Notes
    -----
    Layer after layer: the images run once for every layer, through the converters of the layers
    that were measured before it. All calls of a layer count together.
    """
    some, left = [], _LEVEL_IMAGES
    for batch in batches:
        if left > 0:
            some.append(_some(compiled, batch, left))
            left -= 1 if compiled.axis is None else some[-1][0].shape[compiled.axis]
    found: dict[str, np.ndarray] = {}
    for owner in dict.fromkeys(layer.owner for layer in compiled.layers):
        core = spec.for_layer(owner).core
        if not core.adc.calibrates_columns:
            continue
        sums: dict[str, list[Tensor]] = {}
        known = _converter(found)

        def note(
            block: Block, y: Tensor, owner: str = owner,
            sums: dict[str, list[Tensor]] = sums,
            known: Callable[[Block, Tensor], Tensor] = known,
        ) -> Tensor:  # fmt: skip
            if block.layer == owner:
                rows = y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])
                sums.setdefault(link_name(block), []).append(rows[_evenly(len(rows), G_MAX_INPUTS)])
            return known(block, y)

        with torch.inference_mode():
            for batch in some:
                float_walk(compiled, [_channels_last(x) for x in batch], convert=note)
        found |= {
            name: converters.levels(core, torch.cat(parts).numpy()) for name, parts in sums.items()
        }
    return found


def _converter(levels: Mapping[str, np.ndarray]) -> Callable[[Block, Tensor], Tensor]:
    """Return the pass of sums through the converters whose levels are known, for a float walk."""
    rows = {name: torch.from_numpy(np.float32(found)) for name, found in levels.items()}

    def convert(block: Block, sums: Tensor) -> Tensor:
        own = rows.get(link_name(block))
        return sums if own is None else climbed(sums, own[:, :, None, None])

    return convert


def _in_amperes(
    levels: Mapping[str, np.ndarray], compiled: Program, spec: ChipSpec, ranges: Ranges
) -> dict[str, np.ndarray]:
    """Return thresholds and values of columns as currents of the conductances asked for.

    Parameters
    ----------
    levels : mapping from name of a block to (2 T + 1, C) float
        Of :func:`_levels_of_columns`.
    compiled, spec : Program, ChipSpec
        Whose blocks they belong to.
    ranges : Ranges
        Of the integers: an input at the end of its range is a pulse of full length.
    """
    found: dict[str, np.ndarray] = {}
    quantisers = value_quantisers(compiled, spec, ranges)
    for layer in compiled.layers:
        core = _core_of(layer, spec)
        for block in layer.blocks:
            name = link_name(block)
            if name not in levels:
                continue
            rows, cols = (
                slice(block.row_start, block.row_stop), slice(block.col_start, block.col_stop)
            )  # fmt: skip
            targets = weights.to_targets(
                layer.weight[rows, cols], core, ranges.g_max_siemens.get(name)
            )
            full = full_input(compiled, layer.source, quantisers, ranges)
            if core.dac.binary and core.dac.bits is not None:  # a spike is 1
                full = 1.0
            unit = targets.siemens_per_weight * core.read.v_read_volts / full
            groups = encodings.of(core).groups(targets.request.g.shape[-1])
            (own,) = _range_names(block, len(groups))  # other encodings are refused
            found[own] = levels[name] * unit
    return found


def _drive(
    compiled: Program, images: Batch, spec: ChipSpec, ranges: Ranges,
    use: Callable[[AnalogLayer, Block, np.ndarray], None],
    levels: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Call ``use(layer, block, codes)`` with the (N, R) input codes of every block.

    With bit-serial inputs they are those of the planes, one after the other.
    """
    quantisers = value_quantisers(compiled, spec, ranges)

    def enter(layer: AnalogLayer, x: Tensor) -> None:
        rows = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        rows = rows.transpose(1, 2).reshape(-1, rows.shape[1])
        rows = rows[_evenly(len(rows), G_MAX_INPUTS)]
        held, dac = quantisers[layer.source], spec.for_layer(layer.owner).core.dac
        top = dac.max_code
        full = held.step * held.limit if held.rounds else float(x.abs().max()) or 1.0
        full = 1.0 if dac.binary else full
        codes = rounding.codes(rows, top / full, top, dac.bits is not None).numpy()
        if inputs.reads_planes(dac):
            codes = np.concatenate(inputs.bit_planes(codes, dac))
        for block in layer.blocks:
            use(layer, block, codes[:, block.row_start : block.row_stop])

    with torch.inference_mode():
        float_walk(compiled, images, enter=enter, convert=_converter(levels))
