"""How fast and how hungry a network is on the chip, without running an image.

From one placed program: the event simulation of its pipeline, its closed-form estimate, and the
energy of every event. All of it is a model; :class:`aimc_sim.spec.CostSpec` names its anchors
at measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from aimc_sim import markup, units
from aimc_sim.chip.ledger import (
    STATIC,
    Area,
    Energies,
    ImageWork,
    Ledger,
    area,
    inferences,
    ledger,
    mvm_seconds,
    one_by_one,
    step_seconds,
)
from aimc_sim.chip.ledger import estimate as busiest
from aimc_sim.chip.pipeline import PipelineEstimate, PipelineReport, estimate, simulate
from aimc_sim.chip.program import Program
from aimc_sim.core import encodings
from aimc_sim.device.programming import ProgrammingReport
from aimc_sim.mapping.schedule import Buffers, Mode, schedule
from aimc_sim.mapping.shapes import operations, output_pixels
from aimc_sim.spec import ChipSpec, omissions


@dataclass(frozen=True)
class Roof:
    """One layer against its limits, per core.

    Attributes
    ----------
    layer : str
        Name of the layer.
    intensity : float
        Operations per byte that a core streams: twice its rows.
    peak_tops : float
        Rate of a full crossbar, one MVM after the other, TOPS.
    attainable_tops : float
        Rate of its own block, limited by MVM or by streaming its columns, TOPS.
    achieved_tops : float
        Rate in the pipeline, with its waiting, TOPS.
    bound : "MVM" or "stream"
        Limit of the attainable rate.
    """

    layer: str
    intensity: float
    peak_tops: float
    attainable_tops: float
    achieved_tops: float
    bound: str


@dataclass(frozen=True)
class Performance:
    """Result of :func:`performance`; print it or ``.to_dict()``.

    Attributes
    ----------
    pipeline : PipelineReport
        Event simulation.
    estimate : PipelineEstimate
        Closed-form estimate of the pipeline.
    ledger : Ledger
        Energy of one image, at the interval of the simulation.
    energies : Energies
        Its sums that have a name.
    macs : int
        Multiply-accumulates of the network, per image.
    roofs : tuple of Roof
        Analog layers against their limits.
    area : Area
        Of the cores in use, and of whole chips.
    programming : ProgrammingReport or None
        Time and energy of writing the weights once.
    """

    pipeline: PipelineReport
    estimate: PipelineEstimate
    ledger: Ledger
    energies: Energies
    macs: int
    roofs: tuple[Roof, ...]
    area: Area
    programming: ProgrammingReport | None = None

    @property
    def estimated_joules(self) -> float:
        """Energy of an image at the interval of the closed form, as reports of a chip give it, J.

        Only static power depends on the interval.
        """
        static = sum(e.joules for e in self.ledger.entries if e.component in STATIC)
        seconds = self.estimate.interval_ps * 1e-12
        return self.ledger.joules + static * (seconds / self.ledger.seconds - 1)

    @property
    def energy_delay_area(self) -> float:
        """Energy of an image x its interval x area of the cores and units in use, J s mm2."""
        return self.ledger.joules * self.ledger.seconds * self.area.used

    @property
    def tops(self) -> float:
        """Throughput, 1e12 operations (2 per MAC) per second."""
        return 2 * self.macs / self.ledger.seconds * 1e-12

    @property
    def tops_per_watt(self) -> float:
        """Efficiency with everything that is counted, 1e12 operations per joule."""
        return 2 * self.macs / self.ledger.joules * 1e-12

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trace as plain JSON values, SI units."""
        book = self.ledger
        return {
            "model": True,
            "first_image_seconds": self.pipeline.first_image_seconds,
            "interval_seconds": book.seconds,
            "estimated_first_image_seconds": self.estimate.first_image_ps * 1e-12,
            "estimated_interval_seconds": self.estimate.interval_ps * 1e-12,
            "estimated_joules_per_image": self.estimated_joules,
            "limited_by": self.estimate.busiest,
            "images_per_second": 1 / book.seconds,
            **self.energies.to_dict(),
            "tops": self.tops,
            "tops_per_watt": self.tops_per_watt,
            "macs": self.macs,
            "area_mm2": vars(self.area) | {"used": self.area.used, "dies": self.area.dies},
            "tops_per_mm2": self.tops / self.area.used,
            "joule_second_mm2": self.energy_delay_area,
            "joules_by_component": book.by("component"),
            "joules_by_layer": book.by("layer"),
            "joules_by_core": {str(core): joules for core, joules in book.by("core").items()},
            "roofline": [vars(roof) for roof in self.roofs],
            "programming": self.programming and vars(self.programming),
            "pipeline": self.pipeline.to_dict(),
            "not_counted": list(omissions.COSTS),
        }

    def _facts(self) -> list[tuple[str, str]]:
        """Return everything but the energy by component and omissions, in the order of the text."""
        book, show = self.ledger, units.show
        closed = (
            f"first image {show(self.estimate.first_image_ps * 1e-12, 's')}, "
            f"interval {show(self.estimate.interval_ps * 1e-12, 's')}, "
            f"set by {self.estimate.busiest}; {show(self.estimated_joules, 'J')} per image"
        )
        energy = (
            f"{show(book.joules, 'J')} per image, {self.tops_per_watt:.3g} TOPS/W, "
            f"{self.tops:.3g} TOPS"
        )
        silicon = (
            f"{self.area.used:.1f} mm2 in use ({self.area.arrays:.1f} arrays and "
            f"converters, {self.area.cores:.1f} rest of the cores, {self.area.gdpus:.1f} global "
            f"units), {self.area.dies:.0f} mm2 of dies; {self.tops / self.area.used:.3g} TOPS/mm2, "
            f"energy x interval x area {self.energy_delay_area:.3g} J s mm2"
        )
        written = [] if self.programming is None else [("programming", str(self.programming))]
        return [
            *self.pipeline.facts(), ("closed form", closed), ("energy", energy),
            ("MVMs", str(self.energies)), ("area", silicon), *written,
        ]  # fmt: skip

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        roofs = [
            (
                roof.layer, f"{roof.intensity:,.0f}", f"{roof.peak_tops:.3g}",
                f"{roof.attainable_tops:.3g}", f"{roof.achieved_tops:.3g}", roof.bound,
            )
            for roof in self.roofs
        ]  # fmt: skip
        columns = (
            "layer", ">operations per byte", ">full crossbar, TOPS", ">own block, TOPS",
            ">in the pipeline, TOPS", "bound",
        )  # fmt: skip
        return markup.display(
            "Performance", "a model, not measured on a chip", markup.facts(self._facts()),
            _shares(self.ledger),
            markup.folded(
                "layers against the limits of a core",
                markup.table(columns, roofs, rest=".roofs"),
            ),
            markup.folded("not counted", markup.bullets(omissions.COSTS)),
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(_lines(self._facts(), self.ledger))


def performance(
    compiled: Program, spec: ChipSpec, input_shape: Sequence[int], *, images: int = 8,
    mode: Mode = "pipelined", buffers: Buffers = "enough",
    programming: ProgrammingReport | None = None, trace: int = 0,
) -> Performance:  # fmt: skip
    """Return time and energy of a placed network.

    Parameters
    ----------
    compiled : Program
        The placed program, for example ``chip.compiled``.
    spec : ChipSpec
        The machine, for example ``chip.spec``.
    input_shape : sequence of int
        Of one image, without the batch; (steps, features) of a sequence.
    images : int
        Under way at once, at least 1; the interval is measured over the later half.
    mode : "pipelined" or "host"
        Activations from core to core, or through the host as on the fabricated chip.
    buffers : Buffers
        Sizes of line buffers, as in :func:`aimc_sim.mapping.schedule.schedule`.
    programming : ProgrammingReport, optional
        To be carried along, for example ``chip.state.report()``.
    trace : int
        Entries of the simulation's trace to keep, for a Gantt chart.

    Raises
    ------
    DeadlockError
        If buffers are too small for the network to run; says which stages wait in a circle.
    """
    mvms = output_pixels(compiled, input_shape)
    plan = schedule(compiled, spec, input_shape, mode=mode, buffers=buffers)
    report = simulate(plan, images=images, trace=trace)
    interval = report.interval_seconds or report.first_image_seconds
    macs = sum(mvms[layer.name] * layer.macs for layer in compiled.layers)
    roofs = []
    for layer in compiled.layers:
        block = max(layer.blocks, key=lambda block: block.footprint[1])
        own = spec.for_layer(layer.owner)
        full = encodings.of(own.core).capacity(own.core.cols)
        step = step_seconds(block.footprint[1], own)
        roofs.append(
            Roof(
                layer.name,
                2.0 * block.shape[0],
                2e-12 * own.core.rows * full / mvm_seconds(own),
                2e-12 * block.shape[0] * block.shape[1] / step,
                2e-12 * layer.macs * mvms[layer.name] / interval / len(layer.blocks),
                "MVM" if step <= mvm_seconds(own) else "stream",
            )
        )
    work = ImageWork(operations(compiled, input_shape))
    book = ledger(compiled, spec, mvms, interval, work=work)
    return Performance(
        report, estimate(plan), book, book.energies(spec), macs, tuple(roofs),
        area(compiled, spec), programming,
    )  # fmt: skip


@dataclass(frozen=True)
class InTurn:
    """Result of :func:`in_turn`: one image, one stage after the other; print it or ``.to_dict()``.

    Attributes
    ----------
    stages : dict of str to float, seconds
        Time of every stage in execution order, see :func:`aimc_sim.chip.ledger.one_by_one`.
    interval_seconds : float, seconds
        Time between two images where all cores work at once: that of the busiest of them, or of the
        digital units.
    limited_by : str
        The layer of that core.
    ledger : Ledger
        Energy of an image, with static power for the time of all stages.
    macs : int
        Multiply-accumulates, those of written matrices included.
    area : Area
        Of the cores in use, written ones included, and of whole chips.
    work : ImageWork
        Digital operations, and sizes of the matrices that are written.
    inferences : float
        Images until a device that is written has had all writes that it endures.
    """

    stages: dict[str, float]
    interval_seconds: float
    limited_by: str
    ledger: Ledger
    macs: int
    area: Area
    work: ImageWork
    inferences: float

    @property
    def seconds(self) -> float:
        """Time of one image, s."""
        return sum(self.stages.values())

    @property
    def writing_seconds(self) -> float:
        """Time of the stages that write, s."""
        return sum(self.stages[f"{name}, written"] for name in self.work.written)

    @property
    def energy_delay_area(self) -> float:
        """Energy of an image x time of its stages x area of the cores in use, J s mm2."""
        return self.ledger.joules * self.seconds * self.area.used

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values, SI units."""
        endless = self.inferences == float("inf")
        return {
            "model": True,
            "one_by_one_seconds": self.seconds,
            "writing_seconds": self.writing_seconds,
            "estimated_interval_seconds": self.interval_seconds,
            "limited_by": self.limited_by,
            "joules_per_image": self.ledger.joules,
            "macs": self.macs,
            "area_mm2": vars(self.area) | {"used": self.area.used, "dies": self.area.dies},
            "joule_second_mm2": self.energy_delay_area,
            "values_written": self.work.values,
            "inferences": None if endless else self.inferences,
            "seconds_by_stage": self.stages,
            "joules_by_component": self.ledger.by("component"),
            "joules_by_layer": self.ledger.by("layer"),
            "not_counted": list(omissions.COSTS),
        }

    def _facts(self) -> list[tuple[str, str]]:
        """Return everything but the energy by component and omissions, in the order of the text."""
        book, show = self.ledger, units.show
        facts = [
            ("one image", f"{show(self.seconds, 's')}, one stage after the other"),
            ("interval", f"{show(self.interval_seconds, 's')} where all cores work at once, set by "
             f"{self.limited_by}"),
            ("energy", f"{show(book.joules, 'J')} per image"),
            ("area", f"{self.area.used:.1f} mm2 in use, energy x time x area "
             f"{self.energy_delay_area:.3g} J s mm2"),
        ]  # fmt: skip
        if self.work.written:
            share = self.writing_seconds / self.seconds
            facts.append((
                "written", f"{self.work.values:,.0f} values per image, {share:.0%} of the time; "
                f"{self.inferences:.3g} images until a device has had all writes that it endures",
            ))  # fmt: skip
        return facts

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        stages = [(name, units.show(seconds, "s"), f"{seconds / self.seconds:.1%}")
                  for name, seconds in self.stages.items()]  # fmt: skip
        return markup.display(
            "Performance", "a model, not measured on a chip", markup.facts(self._facts()),
            _shares(self.ledger),
            markup.folded(
                "stages, one after the other",
                markup.table(("stage", ">per image", ">share"), stages, rest=".stages"),
            ),
            markup.folded("not counted", markup.bullets(omissions.COSTS)),
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(_lines(self._facts(), self.ledger))


def _shares(book: Ledger) -> Markup:
    """Return the energy of an image by component, as a table."""
    shares = [
        (name, units.show(joules, "J"), f"{joules / book.joules:.1%}")
        for name, joules in book.by("component").items()
    ]
    table = markup.table(("energy of", ">per image", ">share"), shares)
    return markup.folded("energy of an image by component", table, unfolded=True)


def _lines(facts: list[tuple[str, str]], book: Ledger) -> list[str]:
    """Return the text of a result: facts, energy of an image by component, omissions."""
    return [
        *markup.lines(facts), "", f"{'energy of':<20}  per image  share",
        *(f"{name:<20}  {units.show(joules, 'J'):>9}  {joules / book.joules:5.1%}"
          for name, joules in book.by("component").items()),
        "", "a model, not measured on a chip; not counted:",
        *(f"  - {text}" for text in omissions.COSTS),
    ]  # fmt: skip


def in_turn(compiled: Program, spec: ChipSpec, mvms: Mapping[str, int], work: ImageWork) -> InTurn:
    """Return time and energy of a network of any layers, stage after stage, without a pipeline.

    Parameters
    ----------
    compiled : Program
        The placed program, for example ``chip.compiled``.
    spec : ChipSpec
        The machine, for example ``chip.spec``.
    mvms : mapping of str to int
        Matrix-vector products of every layer for one image.
    work : ImageWork
        Digital operations and written matrices of one image; both are those of
        :func:`aimc_sim.runtime.sizes.work_of`.

    Returns
    -------
    InTurn
        Print it, or ``.to_dict()``.
    """
    stages = one_by_one(compiled, spec, mvms, work)
    found = busiest(compiled, spec, mvms, work)
    book = ledger(compiled, spec, mvms, sum(stages.values()), work=work)
    return InTurn(
        stages, found.interval_seconds, found.busiest, book, found.macs, area(compiled, spec), work,
        inferences(compiled, spec),
    )  # fmt: skip


def core_shares(report: PipelineReport) -> dict[int, float]:
    """Return the share of time in which every core has an MVM under way, 0 to 1."""
    shares: dict[int, float] = {}
    for stage, share in zip(report.schedule.stages, report.mvm_utilisation, strict=True):
        if stage.core is not None:
            shares[stage.core] = shares.get(stage.core, 0.0) + float(share)
    return shares


def link_shares(report: PipelineReport) -> dict[tuple[int, int], float]:
    """Return the share of time in which every link between cores carries bytes, 0 to 1."""
    shares = {}
    for link, share in zip(report.schedule.links, report.link_utilisation, strict=True):
        ends = link.name.split(" -> ")
        if len(ends) == 2 and all(end.isdigit() for end in ends):
            shares[int(ends[0]), int(ends[1])] = float(share)
    return shares
