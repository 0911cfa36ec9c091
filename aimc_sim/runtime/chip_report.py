"""The report of a chip, its layers and its work so far: a plain record that prints as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .. import markup, units
from ..chip import ledger
from ..core import encodings
from ..spec import ChipSpec, omissions
from . import procedures
from .held import Held


@dataclass(frozen=True)
class LayerRow:
    """One analog layer in the report."""

    name: str
    rows: int
    cols: int
    cores: tuple[int, ...]
    utilisation: float
    adc_saturated_fraction: float | None
    output_clipped_fraction: float | None


@dataclass(frozen=True)
class Report:
    """See :meth:`aimc_sim.Chip.report`."""

    preset: str
    spec_id: str
    encodings: dict[str, dict[str, Any]]
    cores_used: int
    cores_available: int
    weights: int
    programmed_seed: int | None
    programming: dict[str, Any] | None
    programming_text: str
    programmed_at_seconds: float
    time_seconds: float
    compensation: str
    compensation_cost: dict[str, Any] | None
    adapted_images: int
    adaptation_cost: dict[str, Any] | None
    calibration_images: int | None
    range_method: str
    adc_ranges: int
    transfers: dict[str, int]
    hops_mean: float | None
    hops_max: int | None
    cost: dict[str, Any] | None
    digital_operations: dict[str, float]
    layers: tuple[LayerRow, ...]
    not_modelled: tuple[str, ...]

    @classmethod
    def of(cls, chip: Held) -> Report:
        """Collect the report of a chip."""
        spec, compiled = chip.spec, chip.compiled
        cells = spec.core.rows * spec.core.cols
        layers, pixels = [], chip.pixels()
        for layer in compiled.layers:
            counts = chip.counts.get(layer.name)
            if counts is not None and counts.conversions == 0:
                counts = None
            blocks = len(layer.blocks)
            rows, cols = layer.weight.shape
            layers.append(
                LayerRow(
                    layer.name,
                    rows,
                    cols,
                    cores=tuple(block.core for block in layer.blocks),
                    utilisation=sum(b.footprint[0] * b.footprint[1] for b in layer.blocks)
                    / (blocks * cells),
                    adc_saturated_fraction=counts.adc_saturated / counts.conversions
                    if counts is not None
                    else None,
                    output_clipped_fraction=counts.output_clipped / counts.outputs
                    if counts is not None
                    else None,
                )
            )
        written = None if chip.state is None else chip.state.report()
        hops = [transfer.hops for transfer in compiled.transfers]
        kinds = [transfer.kind for transfer in compiled.transfers]
        cost: dict[str, Any] | None = None
        if len(pixels) == len(compiled.layers):
            work = chip.work()
            found = ledger.estimate(compiled, spec, pixels, work)
            actual = ledger.ledger(
                compiled, spec, pixels, found.interval_seconds, chip.charges(), work
            )  # fmt: skip
            in_turn = ledger.one_by_one(compiled, spec, pixels, work)
            area = ledger.area(compiled, spec)
            sums = found.energies.to_dict()
            joules = sums.pop("joules_per_image")
            seconds = found.interval_seconds
            # "estimated": at the interval of the closed form, which no simulation was run for.
            cost = {
                **sums,
                "estimated_joules_per_image": joules,
                "estimated_interval_seconds": seconds,
                "busiest": found.busiest,
                "macs": found.macs,
                "joules_as_used": actual.joules,
                "joules_as_used_by_component": actual.by("component"),
                "used_mm2": area.used,
                "dies_mm2": area.dies,
                "estimated_joule_second_mm2": joules * seconds * area.used,
                "joule_second_mm2_as_used": actual.joules * seconds * area.used,
                "estimated_images_per_second": found.images_per_second,
                "estimated_tops_per_watt": found.tops_per_watt,
                "one_by_one_seconds": sum(in_turn.values()),
            }
            if compiled.written:
                cost["written"] = _written(chip, work, in_turn)
        adaptation = None
        if chip.adapted_images and cost is not None:
            adaptation = asdict(
                procedures.adaptation_cost(compiled, spec, chip.adapted_images, pixels)
            )
        return cls(
            preset=spec.name,
            spec_id=spec.id(),
            encodings=_encodings(chip),
            cores_used=compiled.cores_used,
            cores_available=compiled.cores_available,
            weights=sum(
                layer.macs if layer.groups > 1 else layer.weight.size for layer in compiled.layers
            ),
            digital_operations=_digital_operations(chip),
            programmed_seed=None if chip.state is None else chip.state.seed,
            programming=None if written is None else asdict(written),
            programming_text=str(written or ""),
            programmed_at_seconds=0.0 if chip.state is None else chip.state.programmed_at_seconds,
            time_seconds=chip.time_seconds,
            compensation=chip.compensation,
            compensation_cost=None
            if chip.compensation == "none"
            else asdict(procedures.compensation_cost(compiled, spec, chip.compensation)),
            adapted_images=chip.adapted_images,
            adaptation_cost=adaptation,
            calibration_images=None if chip.ranges is None else chip.ranges.images,
            range_method=_range_method(spec),
            adc_ranges=0 if chip.ranges is None else len(chip.ranges.adc_amperes),
            transfers={kind: kinds.count(kind) for kind in sorted(set(kinds))},
            hops_mean=sum(hops) / len(hops) if hops else None,
            hops_max=max(hops) if hops else None,
            cost=cost,
            layers=tuple(layers),
            not_modelled=omissions.of(spec),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values, SI units."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [*markup.lines(self._facts()), "", self._table(), "", "not modelled:"]
        lines += [f"  - {text}" for text in self.not_modelled]
        return "\n".join(lines)

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        (_, name), *facts = self._facts()
        layers = [
            (
                row.name, f"{row.rows}x{row.cols}", f"{row.utilisation:.0%}",
                _share(row.adc_saturated_fraction), _share(row.output_clipped_fraction),
                " ".join(map(str, row.cores)),
            )
            for row in self.layers
        ]  # fmt: skip
        columns = ("layer", ">matrix", ">use", ">ADC saturated", ">clipped", "cores")
        many = "layer" if len(layers) == 1 else "layers"
        return markup.display(
            "Report", name, markup.facts(facts),
            markup.folded(
                f"{len(layers)} analog {many}", markup.table(columns, layers, rest=".layers"),
                unfolded=True,
            ),
            markup.folded("not modelled", markup.bullets(self.not_modelled)),
        )  # fmt: skip

    def _facts(self) -> list[tuple[str, str]]:
        """Return everything but the layers and omissions, by name, in the order of the text."""
        found = [
            ("chip", f"{self.preset}  (spec {self.spec_id})"),
            ("cores", f"{self.cores_used} of {self.cores_available}, {self.weights:,} weights"),
            *self._encodings(),
            *self._devices(),
            *self._procedures(),
            ("integer ranges", self._ranges()),
        ]
        if self.transfers:
            links = ", ".join(f"{count} {kind}" for kind, count in self.transfers.items())
            text = f"{links}; {self.hops_mean:.2f} links on average, {self.hops_max} at most"
            found.append(("transfers", text))
        if self.cost is None:
            text = "run images first: their size sets the number of MVMs"
            found.append(("time, energy", text))
        else:
            found += self._costs()
        if self.digital_operations:
            found.append(("digital steps", self._digital()))
        return found

    def _encodings(self) -> list[tuple[str, str]]:
        """Return how weights are written, where it is not one differential pair each."""
        if set(self.encodings) == {"differential"}:
            return []
        found = []
        for kind in self.encodings.values():
            counted = ""
            if kind["conversions_per_input"] is not None:
                counted = (
                    f"; {kind['conversions_per_input']:,.0f} conversions and "
                    f"{kind['additions_per_input']:,.0f} additions between columns per input"
                )
            many = "s" * (kind["layers"] > 1)
            text = (
                f"{kind['text']}: {kind['columns']:,} columns of crossbars for "
                f"{kind['outputs']:,} outputs of {kind['layers']} layer{many}{counted}"
            )
            found.append(("weights", text))
        return found

    def _digital(self) -> str:
        most = max(self.digital_operations.items(), key=lambda item: item[1])
        count = len(self.digital_operations)
        return (
            f"{sum(self.digital_operations.values()):,.0f} operations per input in "
            f"{count} step{'s' * (count > 1)}, most in {most[0]} ({most[1]:,.0f})"
        )

    def _devices(self) -> list[tuple[str, str]]:
        if self.programmed_seed is None:
            return [("devices", "not programmed")]
        age = self.time_seconds - self.programmed_at_seconds
        refreshed = ""
        if self.programmed_at_seconds > 0:
            refreshed = f" (refreshed at {units.show_time(self.programmed_at_seconds)})"
        state = (
            f"programmed with seed {self.programmed_seed}, "
            f"{units.show_time(age)} after programming{refreshed}, "
            f"drift compensation: {self.compensation}"
        )
        return [("devices", state), ("programming", self.programming_text)]

    def _procedures(self) -> list[tuple[str, str]]:
        found = []
        if self.compensation_cost is not None:
            cost = self.compensation_cost
            text = (
                f"{cost['reads']} reads per core, "
                f"{units.show(cost['seconds'], 's')}, {units.show(cost['joules'], 'J')}; once "
                "after programming and once per evaluation time (model)"
            )
            found.append(("compensation", text))
        if self.adaptation_cost is not None:
            cost = self.adaptation_cost
            text = (
                f"adapted on {cost['reads']} images, {cost['core_mvms']:,} core "
                f"MVMs, {units.show(cost['seconds'], 's')}, {units.show(cost['joules'], 'J')} "
                "(model)"
            )
            found.append(("batch norm", text))
        elif self.adapted_images:
            text = f"adapted on {self.adapted_images} images; run images for its cost"
            found.append(("batch norm", text))
        return found

    def _ranges(self) -> str:
        if self.calibration_images is None:
            return "not calibrated"
        own = f"; converters of {self.adc_ranges} blocks too" if self.adc_ranges else ""
        return f"from {self.calibration_images} images ({self.range_method}){own}"

    def _costs(self) -> list[tuple[str, str]]:
        cost = self.cost
        assert cost is not None  # asked for with a cost
        pipeline = (
            f"one image per {units.show(cost['estimated_interval_seconds'], 's')} "
            f"({cost['estimated_images_per_second']:,.0f}/s), set by {cost['busiest']}; "
            f"{units.show(cost['estimated_joules_per_image'], 'J')} in all, "
            f"{cost['estimated_tops_per_watt']:.3g} TOPS/W (closed form; a model, not measurement)"
        )
        used = (
            f"{units.show(cost['joules_as_used'], 'J')} per image: these inputs, "
            "the conductances there are, used rows and columns"
        )
        area = (
            f"{cost['used_mm2']:.1f} mm2 of cores and global units in use, "
            f"{cost['dies_mm2']:.0f} mm2 of dies"
        )
        found = [
            ("MVMs", ledger.mvm_text(cost)), ("pipeline", pipeline), ("as used", used),
            ("area", area),
        ]  # fmt: skip
        if "written" in cost:
            found.append(("written", _written_text(cost["written"], cost["one_by_one_seconds"])))
        return found

    def _table(self) -> str:
        width = max([5, *(len(row.name) for row in self.layers)])
        lines = [f"{'layer':<{width}}      matrix    use  ADC sat.   clipped  cores"]
        for row in self.layers:
            lines.append(
                f"{row.name:<{width}}  {f'{row.rows}x{row.cols}':>10}  {row.utilisation:5.0%}  "
                f"{_share(row.adc_saturated_fraction):>8}  "
                f"{_share(row.output_clipped_fraction):>8}  "
                + " ".join(str(core) for core in row.cores)
            )
        return "\n".join(lines)


def state(chip: Held) -> str:
    """Return the state of a chip as HTML for a notebook: cheap, without time and energy."""
    spec, compiled = chip.spec, chip.compiled
    layers = compiled.layers
    weights = sum(layer.weight.size for layer in layers if layer.devices is None)
    if chip.state is not None:
        devices = f"programmed with seed {chip.state.seed}"
    elif chip.pending is not None:
        devices = "await calibration, which chooses g_max of every core: chip.calibrate(batches)"
    else:
        devices = "not programmed yet: chip.program(seed=0)"
    clock = units.show_time(chip.time_seconds)
    ranges = "not calibrated yet: chip.calibrate(batches)"
    if chip.ranges is not None:
        ranges = f"from {chip.ranges.images:,} images"
    rows = [
        ("network", f"{len(layers)} layers on crossbars, {weights:,} cells of weights"),
        ("cores", f"{compiled.cores_used} of {compiled.cores_available}"),
        ("devices", devices),
        ("time", f"{clock} after programming, drift compensation: {chip.compensation}"),
        ("integer ranges", ranges),
        ("next image", f"number {chip.images_seen:,}"),
    ]
    if chip.adapted_images:
        rows.append(("batch norm", f"adapted on {chip.adapted_images:,} images"))
    return markup.display(
        "Chip", f"{spec.name} (spec {spec.id()})", markup.facts(rows), compiled.table(),
        markup.paragraph("chip.report() adds time and energy, chip.spec every number.", soft=True),
    )  # fmt: skip


def _encodings(chip: Held) -> dict[str, dict[str, Any]]:
    """Return how weights are written, by kind of encoding, and the cost per input."""
    found: dict[str, dict[str, Any]] = {}
    for layer in chip.compiled.layers:
        core = chip.spec.for_layer(layer.owner).core
        encoding, seen = encodings.of(core), chip.counts.get(layer.name)
        own = found.setdefault(
            core.encoding.kind,
            {
                "text": encoding.text, "layers": 0, "outputs": 0, "columns": 0,
                "conversions_per_input": 0.0, "additions_per_input": 0.0,
            },
        )  # fmt: skip
        if encoding.text not in own["text"]:
            own["text"] += f"; {encoding.text}"
        own["layers"] += 1
        if layer.devices is None:
            own["outputs"] += sum(block.shape[1] for block in layer.blocks)
            own["columns"] += sum(block.footprint[1] for block in layer.blocks)
        if seen is None or not seen.conversions or own["conversions_per_input"] is None:
            own["conversions_per_input"] = own["additions_per_input"] = None
            continue
        mvms = seen.mvms / len(layer.blocks) / seen.images
        own["conversions_per_input"] += seen.conversions / seen.images
        own["additions_per_input"] += mvms * sum(
            encoding.additions(block.shape[1]) for block in layer.blocks
        )
    return found


def _digital_operations(chip: Held) -> dict[str, float]:
    """Return the arithmetic operations per image of every digital step that was run."""
    return {
        name: seen.operations / seen.images
        for name, seen in chip.counts.items()
        if seen.images and seen.operations
    }


def _written(chip: Held, work: ledger.ImageWork, in_turn: dict[str, float]) -> dict[str, Any]:
    """Return values and devices written per image, their time and energy, and their endurance."""
    own = chip.spec.written
    return {
        "products": len(chip.compiled.written),
        "cores": len({b.core for step in chip.compiled.written for b in step.blocks}),
        "values": work.values,
        "devices": work.values * own.devices_per_value,
        "writing_seconds": {
            name: in_turn[f"{name}, written"] for name in work.written
        },
        "reading_seconds": {name: in_turn[name] for name in work.written},
        "joules": work.values * own.devices_per_value * own.pulses * own.pulse_joules,
        "inferences": ledger.inferences(chip.compiled, chip.spec),
    }  # fmt: skip


def _written_text(found: dict[str, Any], seconds: float) -> str:
    writing, reading = (sum(found[f"{name}_seconds"].values()) for name in ("writing", "reading"))
    return (
        f"{found['values']:,.0f} values per image in {found['devices']:,.0f} devices of "
        f"{found['cores']} cores, {units.show(found['joules'], 'J')}; "
        f"{units.show(writing, 's')} of writing and {units.show(reading, 's')} of reading in "
        f"{units.show(seconds, 's')}, one stage after the other; {found['inferences']:.3g} images "
        "until a device has had all writes that it endures"
    )


def _range_method(spec: ChipSpec) -> str:
    """Return how ranges are chosen, in words."""
    calibration = spec.calibration
    if calibration.range_method == "mse":
        return "smallest squared error"
    if calibration.percentile == 100:
        return "largest magnitude"
    return f"{calibration.percentile:g} % of the magnitudes"


def _share(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.2%}"
