"""The event simulation against its slow twin, its closed form, and conservation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_pipeline import NaivePipeline
from pipelines import schedules

from aimc_sim import presets
from aimc_sim.chip.pipeline import (
    DeadlockError,
    Edge,
    Link,
    Schedule,
    Stage,
    chain_schedule,
    enough,
    estimate,
    simulate,
    with_buffers,
)
from aimc_sim.chip.pipeline.errors import check_buffers

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def begins(report, stage, unit):
    rows = report.record.trace[: report.record.totals[2]]
    return [int(r[3]) for r in rows if r[0] == stage and r[1] == unit]


def one_by_one(count):
    return np.arange(1, count + 1, dtype=np.int64)


def line(*stages, links=(), routes=None, capacity=None, joins="mvm"):
    """Stages in a row, one element per firing."""
    edges = tuple(
        Edge(i, i + 1, "activation", stages[i].firings, one_by_one(stages[i].firings),
             one_by_one(stages[i].firings), 1, (routes or {}).get(i, ()), joins, capacity)
        for i in range(len(stages) - 1)
    )  # fmt: skip
    return Schedule(tuple(stages), edges, tuple(links))


@given(plan=schedules(), images=st.integers(1, 3))
@QUICK
def test_same_times_as_the_twin(plan, images):
    naive = NaivePipeline(plan, images)
    finished = naive.run()
    try:
        report = simulate(plan, images, trace=1000)
    except DeadlockError:
        assert not finished
        return
    assert finished
    for s, state in enumerate(naive.states):
        assert begins(report, s, 0) == state.fire_times
        assert begins(report, s, 1) == state.stream_times
        ends = state.stream_ends[plan.stages[s].firings - 1 :: plan.stages[s].firings]
        assert report.record.done[s].tolist() == ends
    assert report.record.peak_claimed.tolist() == [line.peak for line in naive.lines]


@given(plan=schedules(bounded=False), images=st.integers(1, 3))
@QUICK
def test_conservation(plan, images):
    """Without limits everything gets through; what is sent arrives; links keep their pace."""
    report = simulate(plan, images)
    record = report.record
    firings = np.array([stage.firings for stage in plan.stages]) * images
    assert (record.fired == firings).all()
    assert (record.streamed == firings).all()
    assert (report.sent_bytes == report.edge_bytes).all()
    expected = [images * edge.elements * edge.element_bytes for edge in plan.edges]
    assert report.edge_bytes.tolist() == expected
    assert (record.freed == record.arrived).all()
    busy = np.zeros(len(plan.links))
    for number, edge in enumerate(plan.edges):
        for link, time in zip(edge.route, plan.hop_busy_ps(number), strict=True):
            busy[link] += images * edge.elements * time
    assert record.link_busy.tolist() == busy.tolist()
    # The last bytes of a stream may still be on a link when the sink needs no more.
    assert (record.link_busy <= max(1, int(record.totals[1]) + 100)).all()
    assert (np.diff(report.finish_ps) >= 0).all()
    per_event = 2 * firings.sum() + sum(
        images * edge.elements * (1 + len(edge.route)) for edge in plan.edges
    )
    assert report.events == per_event


@given(plan=schedules(bounded=False, shared=False, contention=False), images=st.just(1))
@QUICK
def test_closed_form_is_exact_without_sharing(plan, images):
    report, guess = simulate(plan, images, trace=1000), estimate(plan)
    for s in range(len(plan.stages)):
        assert begins(report, s, 1) == guess.stream_ps[s].tolist()
    assert report.first_image_ps == guess.first_image_ps


@given(plan=schedules(shared=False, contention=False), images=st.integers(1, 3))
@QUICK
def test_larger_buffers_are_never_slower(plan, images):
    try:
        tight = simulate(plan, images)
    except DeadlockError:
        return
    wide = with_buffers(plan, tuple(edge.capacity + 1 for edge in plan.edges))
    assert (simulate(wide, images).finish_ps <= tight.finish_ps).all()


@given(plan=schedules(shared=False, contention=False))
@QUICK
def test_enough_is_enough(plan):
    """With these buffers many images are as fast as without limits."""
    sized = with_buffers(plan, enough(plan, images=4))
    free = with_buffers(plan, (None,) * len(plan.edges))
    fast, slow = simulate(free, 12), simulate(sized, 12)
    pace = estimate(plan).interval_ps
    # The source of the fed run fires at a whole number of ps, at most one more per firing.
    ends = fast.record.totals[1], slow.record.totals[1]
    assert ends[1] <= ends[0] + 12 * plan.stages[0].firings + 2 * pace


def test_a_link_serves_one_stream_at_a_time():
    """Two producers that are ready together share a link: the second queues for the first."""
    source = Stage("source", "source", 1)
    stages = (source, *(Stage(n, "core", 1, 5, 4, 1) for n in "ab"), Stage("sink", "sink", 1))
    one = one_by_one(1)
    edges = (
        Edge(0, 1, "input", 1, one, one), Edge(0, 2, "input", 1, one, one),
        Edge(1, 3, "output", 1, one, one, 4, (0,)), Edge(2, 3, "output", 1, one, one, 4, (0,)),
    )  # fmt: skip
    report = simulate(Schedule(stages, edges, (Link("x", 1, 2),)), 1)
    assert report.first_image_ps == 5 + 4 + 2 + 4  # MVM, the other's bytes, the way, own bytes
    assert report.record.link_queued.tolist() == [4]
    assert report.link_bytes.tolist() == [8]
    assert report.link_utilisation[0] == 8 / 15


def test_a_route_is_cut_through():
    """Every further hop costs its latency once, not the stream again."""
    stages = (Stage("source", "source", 1), Stage("a", "core", 1, 5, 4, 1), Stage("s", "sink", 1))
    links = [Link(str(i), 1, 3) for i in range(3)]
    times = [
        simulate(line(*stages, links=links, routes={1: tuple(range(n))}), 1).first_image_ps
        for n in range(4)
    ]
    assert times == [9, 12, 15, 18]


@pytest.mark.parametrize(("mvm", "stream", "step"), [(10, 4, 10), (4, 10, 10), (7, 7, 7)])
def test_reading_out_overlaps_the_next_mvm(mvm, stream, step):
    plan = line(
        Stage("source", "source", 6), Stage("a", "core", 6, mvm, stream, 1), Stage("s", "sink", 6)
    )
    report = simulate(plan, 1, trace=100)
    assert np.diff(begins(report, 1, 1)).tolist() == [step] * 5
    assert report.first_image_ps == mvm + 5 * step + stream


@given(data=st.data())
@QUICK
def test_latency_is_the_sum_of_its_parts(data):
    """One firing of everything: MVMs, latencies, hops and whole streams, one after another."""
    small = st.integers(0, 50)
    stages = [Stage("source", "source", 1)]
    for number in range(data.draw(st.integers(1, 5))):
        times = [data.draw(small) for _ in range(4)]
        stages.append(Stage(str(number), "core", 1, *times))
    links = [Link(str(i), data.draw(st.integers(0, 9)), data.draw(small)) for i in range(3)]
    inner = range(1, len(stages))
    routes = {i: tuple(data.draw(st.permutations(range(3)))[: i % 4]) for i in inner}
    report = simulate(line(*stages, Stage("sink", "sink", 1), links=links, routes=routes), 1)
    cores = sum(stage.mvm_ps + stage.stream_ps + stage.latency_ps for stage in stages)
    hops = sum(links[link].latency_ps for route in routes.values() for link in route)
    assert report.first_image_ps == cores + hops


def test_blocks_on_one_core_take_turns():
    """Two stages on one core take twice as long; the wait is on the books."""
    alone = [Stage("source", "source", 8), Stage("a", "core", 8, 10, core=1),
             Stage("b", "core", 8, 10, core=2), Stage("s", "sink", 8)]  # fmt: skip
    shared = [*alone[:2], replace(alone[2], core=1), alone[3]]
    apart, together = simulate(line(*alone), 4), simulate(line(*shared), 4)
    assert apart.interval_ps == 80
    assert together.interval_ps == estimate(line(*shared)).interval_ps == 160
    assert any("turn on its core" in causes for causes in together.stalls().values())


def test_slots_hold_a_fast_producer_back():
    fast, slow = Stage("source", "source", 20), Stage("a", "core", 20, 10)
    plan = line(fast, slow, Stage("s", "sink", 20), capacity=3)
    report = simulate(plan, 2)
    assert report.record.peak_claimed[0] == 3
    assert report.stalls()["source"]["slot at a (activation)"] > 300
    assert report.interval_ps == 200


def reconvergent(capacity, free=(2, 3, 3)):
    """source -> a -> b and source -> b, where a needs two elements before its first firing."""
    stages = (Stage("source", "source", 3, 1), Stage("a", "core", 3, 1), Stage("b", "core", 3, 1),
              Stage("sink", "sink", 3))  # fmt: skip
    one = one_by_one(3)
    ahead = np.array([2, 3, 3])
    edges = (
        Edge(0, 1, "activation", 3, ahead, one), Edge(1, 2, "activation", 3, one, one),
        Edge(0, 2, "residual", 3, one, one, capacity=capacity), Edge(2, 3, "output", 3, one, one),
    )  # fmt: skip
    return Schedule(stages, edges)


def test_deadlock_is_explained():
    simulate(reconvergent(2))
    with pytest.raises(DeadlockError) as caught:
        simulate(reconvergent(1))
    assert "'source' waits for a slot at 'b' (residual: 1 of 1 taken)" in str(caught.value)
    assert "'b' waits for an element of 'a'" in str(caught.value)
    assert "'a' waits for an element of 'source'" in str(caught.value)
    assert "give source -> b (residual) more than 1 elements" in str(caught.value)
    assert len(caught.value.cycle) == len(caught.value.edges) == 3
    assert isinstance(caught.value, ValueError)


def test_a_buffer_below_its_window_is_refused_before_running():
    plan = reconvergent(None)
    with pytest.raises(DeadlockError, match=r"'a' needs 2 elements at once .* holds 1"):
        simulate(with_buffers(plan, {0: 1}))
    check_buffers(with_buffers(plan, {0: 2}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"need": one_by_one(2)}, "'need' has .* wanted 3"),
        ({"need": np.array([3, 2, 3])}, "never fall"),
        ({"need": np.array([1, 2, 4])}, "leaves 0 to 3"),
        ({"free": np.array([1, 2, 2])}, "2 are freed"),
        ({"elements": 4}, "leaves|fires 3 times"),
        ({"capacity": 0}, "give at least 1"),
        ({"route": (0,)}, "uses links"),
        ({"consumer": 0}, "producers must come before consumers"),
    ],
)
def test_schedules_are_checked(change, message):
    plan = reconvergent(None)
    with pytest.raises(ValueError, match=message):
        replace(plan, edges=(replace(plan.edges[0], **change), *plan.edges[1:]))


def test_stages_are_checked():
    source = Stage("s", "source", 1)
    with pytest.raises(ValueError, match="two stages are named 's'"):
        Schedule((source, source), ())
    with pytest.raises(ValueError, match="fires 0 times"):
        Schedule((replace(source, firings=0),), ())
    with pytest.raises(ValueError, match="send at least one"):
        simulate(Schedule((source,), ()), 0)
    with pytest.raises(ValueError, match=r"no edges \[9\]"):
        with_buffers(reconvergent(None), {9: 1})


def test_report_reads_well():
    plan = chain_schedule(presets.hermes(), 2, 8, inputs=3)
    report = simulate(plan, 2, trace=1000)
    text, data = str(report), report.to_dict()
    assert "first image" in text
    assert "images/s" in text
    assert data["first_image"] == report.first_image_ps == round(report.first_image_seconds * 1e12)
    assert json.loads(json.dumps(data)) == data
    assert data["interval"] == pytest.approx(report.interval_seconds * 1e12)
    assert report.images_per_second == pytest.approx(1 / report.interval_seconds)
    assert {"name", "mvm_utilisation", "stalls"} <= set(data["stages"][1])
    assert len(report.gantt()) == 2 * 2 * 3 * 4
    assert simulate(plan, 1).interval_seconds is None
    assert (report.mvm_utilisation <= 1).all()
    assert (report.ldpu_utilisation <= 1).all()
