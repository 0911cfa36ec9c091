"""Networks with time steps in the pipeline: steps stream, outputs that come back are waited for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_pipeline import NaivePipeline
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.performance import performance
from aimc_sim.chip import ledger
from aimc_sim.chip.pipeline import Edge, Link, Schedule, Stage, enough, estimate, simulate
from aimc_sim.chip.pipeline import with_buffers as buffered
from aimc_sim.mapping.schedule import schedule, tick_schedule
from aimc_sim.mapping.shapes import output_pixels, value_shapes
from aimc_sim.spiking import LIF, SNU

SPEC = presets.hermes("odp")
CLOCK, HOP = 1000, 1000
"""Of the digital units and of a link, ps: checked against the specification below."""


class Chain(nn.Module):
    """Three feed-forward layers of neurons and a readout; the mean over time."""

    def __init__(self, batch_first=True, sizes=(40, 30, 50, 20)):
        super().__init__()
        pairs = itertools.pairwise(sizes)
        self.units = nn.ModuleList(SNU(a, b, batch_first=batch_first) for a, b in pairs)
        self.out, self.time = nn.Linear(sizes[-1], 4), 1 if batch_first else 0

    def forward(self, x):
        for unit in self.units:
            x, _ = unit(x)
        return self.out(x).mean(self.time)


class Loop(nn.Module):
    """A recurrent layer of neurons, wide enough for several cores if wanted."""

    def __init__(self, units=20, inputs=12):
        super().__init__()
        self.unit = SNU(inputs, units, recurrent=True, batch_first=True)
        self.out = nn.Linear(units, 4)

    def forward(self, x):
        return self.out(self.unit(x)[0])


class Current(nn.Module):
    """A constant current for eight steps."""

    def __init__(self):
        super().__init__()
        self.first, self.lif, self.out = nn.Linear(64, 30), LIF(0.5), nn.Linear(30, 4)
        self.lif.batch_first = True

    def forward(self, x):
        y, _ = self.lif(self.first(x)[:, None].expand(-1, 8, -1))
        return self.out(y).mean(1)


class Cells(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.out = kind(12, 20, batch_first=True), nn.Linear(20, 4)

    def forward(self, x):
        return self.out(self.cells(x)[0][:, -1])


def compiled(model, *example):
    return aimc_sim.Chip.from_model(model.eval(), SPEC, example=torch.zeros(*example)).compiled


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_chain_in_closed_form(steps, batch_first):
    """Steps follow each other at the pace of the slowest stage; the first one sees all stages."""
    shape = (2, steps, 40) if batch_first else (steps, 2, 40)
    program = compiled(Chain(batch_first), *shape)
    one, all_ = (schedule(program, SPEC, (n, 40), buffers=None) for n in (1, steps))
    first = simulate(one, images=1).first_image_ps
    report = simulate(all_, images=3)
    slowest = max(stage.step_ps for stage in all_.stages)
    assert report.first_image_ps == first + (steps - 1) * slowest
    assert report.interval_ps == steps * slowest == estimate(all_).interval_ps
    assert estimate(all_).first_image_ps == report.first_image_ps
    assert {stage.name: stage.firings for stage in all_.stages if stage.kind != "sink"} == {
        stage.name: steps for stage in all_.stages if stage.kind != "sink"
    }


@pytest.mark.parametrize(
    ("model", "shape", "steps"),
    [(Chain(), (5, 40), 5), (Loop(), (6, 12), 6), (Loop(300), (4, 12), 4), (Current(), (64,), 8),
     (Cells(nn.LSTM), (5, 12), 5), (Cells(nn.GRU), (5, 12), 5)],
    ids=["chain", "loop", "loop on several cores", "current", "LSTM", "GRU"],
)  # fmt: skip
def test_conservation(model, shape, steps):
    """Every stage fires once per step and image; whatever is sent arrives and is freed."""
    program = compiled(model, 2, *shape)
    plan, images = schedule(program, SPEC, shape), 4
    report = simulate(plan, images)
    record = report.record
    for number, stage in enumerate(plan.stages):
        assert record.fired[number] == images * stage.firings
    for number, edge in enumerate(plan.edges):
        for counter in (record.claimed, record.arrived, record.freed):
            assert counter[number] == images * edge.elements
    mvms = output_pixels(program, shape)
    assert max(mvms.values()) == steps
    slowest = max(stage.step_ps for stage in plan.stages if stage.kind == "core")
    assert report.interval_ps >= steps * slowest
    assert estimate(plan).interval_ps <= report.interval_ps * 1.001
    found = performance(program, SPEC, shape, images=images)
    assert found.ledger.core_mvms == sum(
        mvms[layer.name] * len(layer.blocks) for layer in program.layers
    )


def test_a_loop_by_hand():
    """MVM, unit of the core, neurons as they stream, way back: all of it at every step."""
    steps, units = 6, 20
    program = compiled(Loop(units), 2, steps, 12)
    plan = schedule(program, SPEC, (steps, 12))
    core = ledger.mvm_seconds(SPEC.for_layer("unit.recurrent_weight"))
    back = next(edge for edge in plan.edges if edge.kind == "feedback")
    clock = round(1e12 / SPEC.core.ldpu.clock_hertz)
    hop = round(1e12 / SPEC.fabric.link_hertz)
    around = (
        round(core * 1e12)
        + SPEC.cost.ldpu_latency_clocks * clock - hop  # unit of the core
        + SPEC.cost.membrane_latency_clocks * clock  # neurons
        + len(back.route) * hop + units * clock  # all outputs, back at the matrix
    )  # fmt: skip
    report = simulate(plan, images=5)
    assert report.interval_ps == steps * around == estimate(plan).interval_ps
    assert estimate(plan).busiest == "loop of unit.neurons"
    assert report.interval_ps > steps * max(stage.step_ps for stage in plan.stages)
    assert estimate(plan).first_image_ps == report.first_image_ps
    without = schedule(compiled(Chain(), 2, steps, 40), SPEC, (steps, 40))
    assert simulate(without, images=5).interval_ps < report.interval_ps


@st.composite
def looped(draw):
    """A random chain with an edge back to one of its stages; every stage fires once per step."""
    steps, small = draw(st.integers(1, 5)), st.integers(0, 5)
    inner = draw(st.integers(1, 4))
    stages = [Stage("source", "source", steps, 0, 1, draw(small), draw(small))]
    for number in range(inner):
        times = draw(st.integers(0, 5)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
        stages.append(Stage(f"stage {number}", "core", steps, *times, draw(small)))
    stages.append(Stage("sink", "sink", steps))
    links = (Link("a", draw(st.integers(0, 3)), draw(small)), Link("b", 1, draw(small)))
    one = np.arange(1, steps + 1)
    edges = [
        Edge(
            k,
            k + 1,
            "activation",
            steps,
            one,
            one,
            draw(st.integers(0, 2)),
            (),
            "mvm" if k == 0 else draw(st.sampled_from(["mvm", "ldpu"])),
        )
        for k in range(len(stages) - 1)
    ]
    first = draw(st.integers(1, inner))
    last = draw(st.integers(first, inner))
    need = np.arange(steps)
    free = need.copy()
    free[-1] = steps
    edges.append(Edge(last, first, "feedback", steps, need, free, 1,
                      draw(st.sampled_from([(), (0,), (0, 1)]))))  # fmt: skip
    return Schedule(tuple(stages), tuple(edges), links)


@given(plan=looped(), images=st.integers(1, 3), bounded=st.booleans())
@settings(max_examples=60, deadline=None)
def test_same_times_as_the_twin(plan, images, bounded):
    plan = buffered(plan, enough(plan)) if bounded else plan
    twin = NaivePipeline(plan, images)
    assert twin.run()
    record = simulate(plan, images).record
    for number, stage in enumerate(plan.stages):
        ends = np.array(twin.states[number].stream_ends).reshape(images, stage.firings)[:, -1]
        assert np.array_equal(record.done[number], ends)
    back = len(plan.edges) - 1
    consumer = plan.edges[back].consumer
    begins, ends = twin.states[consumer].fire_times, twin.states[plan.edges[back].producer]
    firings = plan.stages[consumer].firings
    for firing, begin in enumerate(begins):  # never before what comes back was streamed
        assert firing == 0 or begin >= ends.stream_times[firing - 1]
    assert len(begins) == images * firings
    if not bounded:
        found = estimate(plan)
        assert found.first_image_ps == simulate(plan, 1).first_image_ps


@given(plan=looped())
@settings(max_examples=40, deadline=None)
def test_closed_form_of_the_interval(plan):
    """The loop or the slowest stage sets the pace, whichever is slower."""
    report = simulate(plan, 12)
    assert estimate(plan).interval_ps <= report.interval_ps + 1e-9
    free = report.interval_ps - estimate(plan).interval_ps
    # A first step that finds the pipeline empty may wait for the way from the source, too.
    around = sum(s.mvm_ps + s.stream_ps + s.latency_ps for s in plan.stages)
    assert free <= around


def test_a_feedback_that_cannot_run_is_refused():
    stages = (Stage("source", "source", 2), Stage("a", "core", 2), Stage("sink", "sink", 2))
    one = np.arange(1, 3)
    with pytest.raises(ValueError, match="before firing i no more than i elements"):
        Schedule(stages, (Edge(1, 1, "feedback", 2, one, one),))
    with pytest.raises(ValueError, match="producers must come before consumers"):
        Schedule(stages, (Edge(1, 1, "activation", 2, one, one),))


def test_shapes_of_steps():
    program = compiled(Chain(), 2, 5, 40)
    shapes = value_shapes(program, (5, 40))
    assert shapes["units.1"] == (50, 5, 1)
    assert shapes["mean"] == (4,)
    cells = compiled(Cells(nn.LSTM), 2, 5, 12)
    assert value_shapes(cells, (5, 12))["select"] == (20,)


class Backwards(Cells):
    def __init__(self):
        super().__init__(nn.LSTM)
        self.cells = nn.LSTM(12, 10, batch_first=True, bidirectional=True)


def test_refusals():
    with pytest.raises(ValueError, match="runs backwards"):
        performance(compiled(Backwards(), 2, 5, 12), SPEC, (5, 12))
    chain = compiled(Chain(), 2, 5, 40)
    with pytest.raises(ValueError, match="reads steps of 41 features, but has 40 weight rows"):
        performance(chain, SPEC, (5, 41))
    with pytest.raises(ValueError, match="mode = 'host' has no time steps"):
        performance(chain, SPEC, (5, 40), mode="host")
    with pytest.raises(ValueError, match="the model of ticks has no time steps"):
        tick_schedule(chain, (5, 40))
    with pytest.raises(ValueError, match="reads no time steps"):
        performance(chain, SPEC, (40,))
    plain = compiled(nn.Sequential(nn.Linear(40, 4)), 2, 40)
    with pytest.raises(ValueError, match=r"the input shape is \(5, 40\)"):
        performance(plain, SPEC, (5, 40))
