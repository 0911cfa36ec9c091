"""Results of a pipelined run: latency, interval, utilisation, traffic, buffers, stalls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aimc_sim import markup
from aimc_sim.chip.pipeline.plan import Schedule
from aimc_sim.kernels.events import Record

_SECONDS = {"ps": 1e-12, "tick": 1.0}


@dataclass(frozen=True, eq=False)
class PipelineReport:
    """Result of :func:`aimc_sim.chip.pipeline.simulate`; print it or ``.to_dict()``.

    Times named ``_ps`` are exact integers in the schedule's unit (ticks in the idealised model);
    those named ``_seconds`` are the same in seconds.

    Attributes
    ----------
    schedule : Schedule
        Stages, edges and links that were run.
    images : int
        Number of images sent through.
    record : Record
        Counters as the kernel left them, one entry per stage, edge or link.
    """

    schedule: Schedule
    images: int
    record: Record

    @property
    def finish_ps(self) -> np.ndarray:
        """(images,) int64: when the last output of every image had left."""
        last = [i for i, stage in enumerate(self.schedule.stages) if stage.kind == "sink"]
        finish: np.ndarray = self.record.done[last or slice(None)].max(axis=0)
        return finish

    @property
    def first_image_ps(self) -> int:
        """From the first input to the last output of the first image."""
        return int(self.finish_ps[0])

    @property
    def total_ps(self) -> int:
        """From the first input to the last output of all images."""
        return int(self.finish_ps[-1])

    @property
    def interval_ps(self) -> float | None:
        """Time between two images in the later half of the run; None for one image."""
        finish = self.finish_ps
        middle = (len(finish) - 1) // 2
        count = len(finish) - 1 - middle
        return None if count == 0 else float(finish[-1] - finish[middle]) / count

    @property
    def first_image_seconds(self) -> float:
        """:attr:`first_image_ps` in seconds."""
        return self.first_image_ps * _SECONDS[self.schedule.unit]

    @property
    def interval_seconds(self) -> float | None:
        """:attr:`interval_ps` in seconds; None for one image."""
        interval = self.interval_ps
        return None if interval is None else interval * self._unit

    @property
    def images_per_second(self) -> float | None:
        """One over the interval; None for one image."""
        interval = self.interval_seconds
        return None if interval is None else 1 / interval

    @property
    def _unit(self) -> float:
        return _SECONDS[self.schedule.unit]

    @property
    def events(self) -> int:
        """Events simulated."""
        return int(self.record.totals[0])

    @property
    def mvm_utilisation(self) -> np.ndarray:
        """(stages,) float64: share of the run that each stage's MVM unit computed."""
        return self._busy("mvm_ps") / self.total_ps

    @property
    def ldpu_utilisation(self) -> np.ndarray:
        """(stages,) float64: share of the run that each stage streamed results."""
        return self._busy("stream_ps") / self.total_ps

    def _busy(self, duration: str) -> np.ndarray:
        stages = self.schedule.stages
        durations = np.array([getattr(stage, duration) / stage.lanes for stage in stages])
        busy: np.ndarray = self.record.fired * durations
        return busy

    @property
    def link_utilisation(self) -> np.ndarray:
        """(links,) float64: share of the run that each link carried bytes."""
        return self.record.link_busy / self.total_ps

    @property
    def edge_bytes(self) -> np.ndarray:
        """(edges,) int64: bytes that arrived."""
        sizes = np.array([e.element_bytes for e in self.schedule.edges], np.int64)
        return self.record.arrived * sizes

    @property
    def sent_bytes(self) -> np.ndarray:
        """(edges,) int64: bytes that producers sent."""
        sizes = np.array([e.element_bytes for e in self.schedule.edges], np.int64)
        return self.record.claimed * sizes

    @property
    def link_bytes(self) -> np.ndarray:
        """(links,) int64: bytes that crossed each link."""
        found = np.zeros(len(self.schedule.links), np.int64)
        for edge, count in zip(self.schedule.edges, self.edge_bytes, strict=True):
            for link in edge.route:
                found[link] += count
        return found

    def stalls(self) -> dict[str, dict[str, int]]:
        """Return the time that every stage waited, by cause; causes without time left out.

        Returns
        -------
        dict of str to dict of str to int
            By stage: "element of PRODUCER (kind)", "slot at CONSUMER (kind)", "turn on its core".
            The MVM's and the stream's waiting are added; the filling of the pipeline counts.
        """
        found: dict[str, dict[str, int]] = {}
        stages, record = self.schedule.stages, self.record

        def add(stage: int, cause: str, time: int) -> None:
            if time:
                of_stage = found.setdefault(stages[stage].name, {})
                of_stage[cause] = of_stage.get(cause, 0) + int(time)

        for e, edge in enumerate(self.schedule.edges):
            ends = stages[edge.producer].name, stages[edge.consumer].name
            add(edge.consumer, f"element of {ends[0]} ({edge.kind})", record.starved[e])
            add(edge.producer, f"slot at {ends[1]} ({edge.kind})", record.blocked[e])
        for s, time in enumerate(record.turns):
            add(s, "turn on its core", time)
        return found

    def gantt(self) -> list[dict[str, Any]]:
        """Return the recorded MVMs and streams: stage, unit, firing, begin, end.

        Returns
        -------
        list of dict
            ``unit`` is "mvm" or "stream"; firings are counted over all images.
        """
        rows = self.record.trace[: self.record.totals[2]]
        return [
            {"stage": self.schedule.stages[s].name, "unit": ("mvm", "stream")[unit],
             "firing": int(i), "begin_ps": int(begin), "end_ps": int(end)}
            for s, unit, i, begin, end in rows
            if unit < 2
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the trace as plain JSON values."""
        schedule, record = self.schedule, self.record
        stalls = self.stalls()
        return {
            "unit": schedule.unit,
            "images": self.images,
            "first_image": self.first_image_ps,
            "interval": self.interval_ps,
            "total": self.total_ps,
            "events": self.events,
            "stages": [
                {"name": stage.name, "kind": stage.kind, "layer": stage.layer,
                 "mvm_utilisation": float(mvm), "ldpu_utilisation": float(ldpu),
                 "stalls": stalls.get(stage.name, {})}
                for stage, mvm, ldpu in zip(
                    schedule.stages, self.mvm_utilisation, self.ldpu_utilisation, strict=True)
            ],
            "links": [
                {"name": link.name, "utilisation": float(share), "bytes": int(count),
                 "queued": int(queued)}
                for link, share, count, queued in zip(
                    schedule.links, self.link_utilisation, self.link_bytes, record.link_queued,
                    strict=True)
            ],
            "edges": [
                {"name": schedule.edge_name(e), "capacity": edge.capacity,
                 "peak": int(record.peak_live[e]), "slots": int(record.peak_claimed[e]),
                 "bytes": int(count)}
                for e, (edge, count) in enumerate(
                    zip(schedule.edges, self.edge_bytes, strict=True))
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(markup.lines(self.facts()))

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        stalls = self.stalls()
        stages = [
            (
                stage.name, stage.kind, f"{mvm:.1%}", f"{stream:.1%}",
                max(stalls.get(stage.name, {"-": 0}).items(), key=lambda item: item[1])[0],
            )
            for stage, mvm, stream in zip(
                self.schedule.stages, self.mvm_utilisation, self.ldpu_utilisation, strict=True
            )
        ]  # fmt: skip
        columns = ("stage", "kind", ">MVM", ">stream", "waits most for")
        return markup.display(
            "PipelineReport", "a model, not measured on a chip", markup.facts(self.facts()),
            markup.folded("busy stages", markup.table(columns, stages, rest=".to_dict()")),
        )  # fmt: skip

    def facts(self) -> list[tuple[str, str]]:
        """Return names and values of the summary, in the order of the text."""

        def show(time: float | None) -> str:
            if time is None:
                return "-"
            return f"{time:,.0f} ticks" if self.schedule.unit == "tick" else f"{time / 1e3:,.1f} ns"

        cores = [i for i, s in enumerate(self.schedule.stages) if s.mvm_ps]
        busiest = max(cores, key=lambda i: self.mvm_utilisation[i], default=None)
        found = [
            ("images", str(self.images)),
            ("first image", show(self.first_image_ps)),
            ("interval", show(self.interval_ps)),
        ]
        if self.images > 1 and self.schedule.unit == "ps":
            found.append(("throughput", f"{self.images_per_second:,.0f} images/s"))
        if busiest is not None:
            mean, name = (
                float(self.mvm_utilisation[cores].mean()),
                self.schedule.stages[busiest].name,
            )
            busy = f"{100 * self.mvm_utilisation[busiest]:.1f} % '{name}'"
            found.append(("MVM units", f"{100 * mean:.1f} % busy on average, {busy}"))
        if self.schedule.links:
            top = int(self.link_utilisation.argmax())
            share = f"{100 * self.link_utilisation[top]:.1f} %"
            found.append(("busiest link", f"{share} '{self.schedule.links[top].name}'"))
        return [*found, ("events", f"{self.events:,}")]
