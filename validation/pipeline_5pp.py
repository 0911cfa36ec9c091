"""Pipelined ResNet-32: the idealised one-tick model, buffers, and the chip's own step times.

    python validation/pipeline_5pp.py

Compares with the tick figures derived for the 5PP pipeline (first image, interval, peaks of the
line buffers, what too small a residual FIFO does), with closed forms for the real step times, and
with the two latencies of Table I of the chip paper (arXiv:2212.02872). Writes ``pipeline_5pp/``
beside this script.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from comparison import Row, write

from aimc_sim import presets
from aimc_sim.chip.ledger import step_seconds
from aimc_sim.chip.pipeline import (
    DeadlockError,
    PipelineReport,
    Schedule,
    chain_schedule,
    estimate,
    simulate,
    with_buffers,
)
from aimc_sim.chip.program import Program
from aimc_sim.figures.canvas import PALETTE
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.schedule import schedule, tick_schedule
from aimc_sim.zoo.resnet import resnet32

SHAPE = (3, 32, 32)
DERIVED = "derived tick simulation"
TABLE = "Table I (RTL simulation)"
SELF = "self-consistency"
TICKS = {(1, 1, 1): (1652, 1024), (4, 1, 1): (620, 256), (16, 4, 1): (243, 64)}


def lanes(compiled: Program, per_stage: tuple[int, int, int]) -> dict[str, int]:
    """Return the pixels per step of every layer, from those of the three stages."""
    return {
        x.name: per_stage[int(x.name[5]) - 1 if x.name.startswith("layer") else 0]
        for x in compiled.layers
        if x.name != "linear"
    }


def last_convolution(report: PipelineReport) -> int:
    """Return the tick at whose end the last convolution writes its last pixel of image 1."""
    stage = report.schedule.stage(report.schedule.stages[-3].name)
    return int(report.record.done[stage, 0])


def ticks(compiled: Program) -> list[Row]:
    """Compare latencies and intervals of the one-tick model."""
    rows = []
    for per_stage, (first, interval) in TICKS.items():
        plan = tick_schedule(compiled, SHAPE, pixels_per_step=lanes(compiled, per_stage))
        report = simulate(plan, 4)
        name = "/".join(map(str, per_stage))
        rows += [
            Row(f"{name} pixels per step: first image (ticks)", first, last_convolution(report),
                0, DERIVED + "; rejects a tick more", SELF, first + 1),
            Row(f"{name} pixels per step: interval (ticks)", interval, report.interval_ps, 0,
                DERIVED + "; rejects a tick more", SELF, interval + 1),
            Row(f"{name} pixels per step: first image through the last layer, closed form (ticks)",
                report.first_image_ps, estimate(plan).first_image_ps, 0,
                "events; rejects the last convolution's tick", SELF, last_convolution(report)),
        ]  # fmt: skip
    return rows


def peaks(compiled: Program) -> list[Row]:
    """Compare the peaks of live pixels per buffer."""
    plan = tick_schedule(compiled, SHAPE)
    record = simulate(plan, 4).record
    found = {}
    for edge, peak in zip(plan.edges, record.peak_live, strict=True):
        ends = plan.stages[edge.producer].layer, plan.stages[edge.consumer].layer
        found[ends] = int(peak)
    rows = []
    for stage, width in ((1, 32), (2, 16), (3, 8)):
        block = f"layer{stage}.2"
        conv = found[f"layer{stage}.1.conv2", f"{block}.conv1"]
        skip = found[f"layer{stage}.1.conv2", f"{block}.conv2"]
        rows.append(Row(f"stage {stage}: peak of a convolution's input (pixels)",
                        2 * width + 3, conv, 0, "2 W + 3, derived; rejects three whole lines",
                        SELF, 3 * width))  # fmt: skip
        rows.append(Row(f"stage {stage}: peak of a residual FIFO (pixels)",
                        2 * width + 4, skip, 0, "2 W + 4, derived; rejects the convolution's",
                        SELF, 2 * width + 3))  # fmt: skip
    return rows


def shrunk(plan: Schedule, fewer: int) -> Schedule:
    """Return the schedule with every residual FIFO made smaller."""
    return with_buffers(plan, {
        number: edge.capacity - fewer
        for number, edge in enumerate(plan.edges) if edge.kind == "residual"
    })  # fmt: skip


def small_buffers(compiled: Program) -> tuple[list[Row], str]:
    """Compare throughput with too small residual FIFOs; return the deadlock's explanation."""
    plan = tick_schedule(compiled, SHAPE)
    rows = [
        Row(f"residual FIFOs of the peak{size}: interval over the full rate", wanted,
            simulate(shrunk(plan, fewer), 6).interval_ps / 1024, 0,
            DERIVED + ("; rejects full rate" if wanted > 1 else "; rejects half of it"), SELF,
            1.0 if wanted > 1 else 2.0)
        for fewer, size, wanted in ((0, " + 1", 1.0), (1, "", 1.5), (2, " - 1", 3.0))
    ]  # fmt: skip
    explained = ""
    try:
        simulate(shrunk(plan, 3), 6)
    except DeadlockError as error:
        explained = str(error)
    rows.append(Row("residual FIFOs of the peak - 2: deadlock found (1 = yes)", 1,
                    float(bool(explained)), 0, DERIVED, SELF, 0))  # fmt: skip
    return rows, explained


def real_times(compiled: Program) -> tuple[list[Row], list[str]]:
    """Compare core-level runs with the closed form; return lines for the notes."""
    rows, lines = [], []
    for read in ("1-phase", "4-phase"):
        spec = presets.hermes(read=read)
        plan = schedule(compiled, spec, SHAPE)
        report, guess = simulate(plan, 4), estimate(plan)
        slowest = 1024 * step_seconds(16, spec)
        apart = 1024 * (spec.core.read.mvm_seconds + 16 / spec.core.ldpu.clock_hertz)
        rows += [
            Row(f"core level, {read}: interval (us)", slowest * 1e6, report.interval_seconds * 1e6,
                0.01 * slowest * 1e6, "1024 x max(MVM, 2.5 ns x 16 columns); rejects their sum",
                SELF, apart * 1e6),
            Row(f"core level, {read}: first image (us), closed form against events",
                report.first_image_seconds * 1e6, guess.first_image_ps * 1e-6,
                0.1 * report.first_image_seconds * 1e6, "events; rejects the interval", SELF,
                slowest * 1e6),
        ]  # fmt: skip
        host = simulate(schedule(compiled, spec, SHAPE, mode="host"), 4)
        lines.append(
            f"{read}: {report.images_per_second:,.0f} images/s pipelined on chip, first image "
            f"{report.first_image_seconds * 1e6:.1f} us; through the host, layer by layer, "
            f"{host.images_per_second:,.0f} images/s "
            f"({spec.host.bytes_per_second / 1e9:g} GB/s and "
            f"{spec.host.latency_seconds * 1e6:g} us are assumptions)."
        )
    return rows, lines


def patches() -> tuple[Row, str]:
    """Compare the slowest core with 2 x 2 patches in the first stage; return a line on links."""
    spec = presets.hermes(read="1-phase").with_(
        {"mapping.replicate": (("conv1", 2), ("layer1.*", 2))}
    )
    compiled = compile_network(trace(resnet32()), spec)
    plan = schedule(compiled, spec, SHAPE)
    report, guess = simulate(plan, 4), estimate(plan)
    slowest = max(stage.busy_ps for stage in plan.stages) * 1e-6
    row = Row("2 x 2 patches in the first stage, 1-phase: slowest core (us per image)",
              256 * 0.160, slowest, 0.01,
              "256 x 2.5 ns x 64 columns; rejects the MVM alone", SELF,
              256e6 * spec.core.read.mvm_seconds)  # fmt: skip
    return row, (
        f"2 x 2 patches, 1-phase: interval {report.interval_seconds * 1e6:.1f} us, set by "
        f"{guess.busiest}, on which streams meet (a link to each stream alone: {slowest:.1f} us)."
        if guess.busiest.startswith("link")
        else f"2 x 2 patches, 1-phase: interval {report.interval_seconds * 1e6:.1f} us."
    )


def table_one() -> list[Row]:
    """Compare one input to a ResNet-9 layer and one LSTM step."""
    rows = []
    for read, layer, step in (("1-phase", 1131, 1043), ("4-phase", 1518, 1430)):
        spec = presets.hermes(read=read)
        chain = simulate(chain_schedule(spec, 8, 224), 1).first_image_seconds
        lstm = simulate(chain_schedule(spec, 4, 252, hidden=63), 1).first_image_seconds
        kind, why = "fitted", "latencies fitted to it"
        if read == "4-phase":
            kind, why = SELF, "as a prediction it is counted in legallo_2023/table1; here events"
        mvm = spec.core.read.mvm_seconds * 1e9
        for what, wanted, found in (
            ("one input to a ResNet-9 layer on 8 cores", layer, chain),
            ("one LSTM step, chains of 4 cores", step, lstm),
        ):
            rows.append(Row(f"{what}, {read} (ns)", wanted, found * 1e9, 0.05 * wanted,
                            f"{TABLE}; {why}; rejects the MVM alone", kind, mvm,
                            "Le Gallo 2023"))  # fmt: skip
    return rows


def gantt(compiled: Program, path: Path) -> None:
    """Draw when every layer of the one-tick model fires, two images."""
    plan = tick_schedule(compiled, SHAPE)
    rows = simulate(plan, 2, trace=10**6).gantt()
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for place, stage in enumerate(plan.stages):
        for number, colour in enumerate(PALETTE[:2]):
            begins = [
                r["begin_ps"] for r in rows if r["stage"] == stage.name and r["unit"] == "mvm"
                and r["firing"] // stage.firings == number
            ]  # fmt: skip
            axes.vlines(begins, place - 0.4, place + 0.4, colour, linewidth=0.4)
    axes.set(xlabel="tick", ylabel="stage (source first)", title="ResNet-32, one pixel per tick")
    axes.invert_yaxis()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    compiled = compile_network(trace(resnet32()), presets.hermes())
    buffers, explained = small_buffers(compiled)
    cores, lines = real_times(compiled)
    patch, line = patches()
    gantt(compiled, out / "gantt.png")
    notes = (
        "First image of the tick model: the source's first pixel takes tick 0, and the last "
        "convolution's last pixel ends it; pooling and the linear layer add one tick. A layer "
        "that computes r pixels per step begins each as soon as its own inputs are there, r at "
        "most per tick. A buffer's peak counts pixels present; slots are claimed when the MVM "
        "that will write them begins, which takes one more.\n\n"
        + "\n".join(f"- {line}" for line in [*lines, line])
        + f"\n\nThe deadlock's message: {explained}"
    )
    rows = [*ticks(compiled), *peaks(compiled), *buffers, *cores, patch, *table_one()]
    command = "python validation/pipeline_5pp.py"
    return write(out, "Pipelined execution of ResNet-32", command, rows, notes)


if __name__ == "__main__":
    sys.exit(not main())
