"""Pipelined ResNet-32 and the latencies of Table I: what ``validation/pipeline_5pp.py`` writes.

The tick figures were derived by an independent simulation of the 5PP pipeline (one MVM, one
pixel, one tick; see ``validation/pipeline_5pp.py``); Table I is that of arXiv:2212.02872.
"""

import pytest

from aimc_sim import presets
from aimc_sim.chip.ledger import step_seconds
from aimc_sim.chip.pipeline import (
    DeadlockError,
    chain_schedule,
    estimate,
    simulate,
    with_buffers,
)
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.schedule import schedule, tick_schedule

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def compiled(plain_resnet32):
    return compile_network(trace(plain_resnet32), presets.hermes())


@pytest.fixture(scope="module")
def plan(compiled):
    return tick_schedule(compiled, SHAPE)


def residual(plan, fewer):
    numbers = [i for i, edge in enumerate(plan.edges) if edge.kind == "residual"]
    return with_buffers(plan, {i: plan.edges[i].capacity - fewer for i in numbers})


@pytest.mark.parametrize(
    ("per_stage", "first", "interval"),
    [((1, 1, 1), 1652, 1024), ((4, 1, 1), 620, 256), ((16, 4, 1), 243, 64)],
)
def test_ticks(compiled, per_stage, first, interval):
    lanes = {
        x.name: per_stage[int(x.name[5]) - 1 if x.name.startswith("layer") else 0]
        for x in compiled.layers[:-1]
    }
    plan = tick_schedule(compiled, SHAPE, pixels_per_step=lanes)
    report = simulate(plan, 4)
    assert report.record.done[plan.stage("layer3.4.conv2"), 0] == first
    assert report.first_image_ps == first + 1  # pooling and the linear layer
    assert report.interval_ps == interval
    assert estimate(plan).first_image_ps == first + 1
    assert estimate(plan).interval_ps == interval


def test_buffer_peaks(plan):
    report = simulate(plan, 3)
    peaks = {
        plan.edge_name(i): (int(report.record.peak_live[i]), edge.capacity)
        for i, edge in enumerate(plan.edges)
    }
    for stage, width in ((1, 32), (2, 16), (3, 8)):
        before, block = f"layer{stage}.1.conv2", f"layer{stage}.2"
        conv, skip = 2 * width + 3, 2 * width + 4
        assert peaks[f"{before} -> {block}.conv1 (activation)"] == (conv, conv + 1)
        assert peaks[f"{block}.conv1 -> {block}.conv2 (activation)"] == (conv, conv + 1)
        assert peaks[f"{before} -> {block}.conv2 (residual)"] == (skip, skip + 1)


@pytest.mark.parametrize(("fewer", "factor"), [(0, 1.0), (1, 1.5), (2, 3.0)])
def test_small_residual_buffers_cost_speed(plan, fewer, factor):
    assert simulate(residual(plan, fewer), 6).interval_ps == factor * 1024


def test_residual_buffers_of_peak_minus_two_deadlock(plan):
    with pytest.raises(DeadlockError) as caught:
        simulate(residual(plan, 3), 2)
    kinds = [plan.edges[number].kind for number in caught.value.edges]
    assert sorted(kinds) == ["activation", "activation", "residual"]
    assert "waits for a slot at 'layer1.0.conv2' (residual: 66 of 66 taken)" in str(caught.value)


@pytest.mark.parametrize("read", ["1-phase", "4-phase"])
def test_core_level(compiled, read):
    """The first stage sets the pace: 1,024 pixels, 16 columns."""
    spec = presets.hermes(read=read)
    plan = schedule(compiled, spec, SHAPE)
    report, guess = simulate(plan, 3), estimate(plan)
    assert report.interval_seconds == pytest.approx(1024 * step_seconds(16, spec), rel=1e-3)
    assert report.interval_ps == pytest.approx(guess.interval_ps, rel=0.1)
    assert report.first_image_ps == pytest.approx(guess.first_image_ps, rel=0.1)


def test_patches_are_bound_by_their_outputs(plain_resnet32):
    """2 x 2 patches in the first stage: 256 streams of 64 columns, 41 us on links of their own."""
    spec = presets.hermes(read="1-phase").with_(
        {"mapping.replicate": (("conv1", 2), ("layer1.*", 2))}
    )
    plan = schedule(compile_network(trace(plain_resnet32), spec), spec, SHAPE)
    assert max(stage.busy_ps for stage in plan.stages) == 256 * 64 * 2500
    report, guess = simulate(plan, 3), estimate(plan)
    assert report.interval_ps == pytest.approx(guess.interval_ps, rel=0.1)
    assert report.first_image_ps == pytest.approx(guess.first_image_ps, rel=0.1)


@pytest.mark.parametrize(
    ("read", "layer", "step"), [("1-phase", 1131, 1043), ("4-phase", 1518, 1430)]
)
def test_table_one(read, layer, step):
    """Published from RTL simulation; the digital latencies of the spec are fitted to them."""
    spec = presets.hermes(read=read)
    nanoseconds = [
        simulate(chain_schedule(spec, 8, 224), 1).first_image_seconds * 1e9,
        simulate(chain_schedule(spec, 4, 252, hidden=63), 1).first_image_seconds * 1e9,
    ]
    assert nanoseconds == pytest.approx([layer, step], rel=0.002)
    clock, mvm = 2.5, spec.core.read.mvm_seconds * 1e9
    assert nanoseconds[0] == pytest.approx(mvm + 8 * 22 * clock + 224 * clock)
    assert nanoseconds[1] == pytest.approx(mvm + 4 * 22 * clock + 252 * clock + 24 * clock)
