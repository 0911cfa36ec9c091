"""From a mapped network to a schedule: what it contains, how long it takes, what it computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import settle
from torch import nn

from aimc_sim import Chip, presets
from aimc_sim.chip.pipeline import DeadlockError, estimate, simulate, with_buffers
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.schedule import schedule, tick_schedule
from aimc_sim.mapping.shapes import output_pixels
from aimc_sim.runtime.replay_values import run_pipelined

IDEAL = presets.ideal()
HERMES = presets.hermes()


class Small(nn.Module):
    """Stride, residual, max pooling, a shortcut with padding, dilation, global pooling."""

    def __init__(self, channels=4):
        super().__init__()
        c = self.channels = channels
        self.stem = nn.Conv2d(3, c, 3, padding=1)
        self.a, self.b = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        self.down = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        self.same = nn.Conv2d(2 * c, 2 * c, 3, padding=2, dilation=2)
        self.fc = nn.Linear(2 * c, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.b(F.relu(self.a(x))) + x)
        x = F.max_pool2d(x, 2)
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, self.channels - 2))
        x = F.relu(self.same(F.relu(self.down(x))) + short)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def placed(model, spec=HERMES, **changes):
    spec = spec.with_(changes) if changes else spec
    return compile_network(trace(settle(model.eval())), spec), spec


def test_stages_and_edges_follow_the_program():
    compiled, spec = placed(Small(40))
    plan = schedule(compiled, spec, (3, 12, 12))
    pixels = output_pixels(compiled, (3, 12, 12))
    for layer in compiled.layers:
        mine = [stage for stage in plan.stages if stage.layer == layer.name]
        assert len(mine) == len(layer.blocks)
        assert all(stage.firings == pixels[layer.name] for stage in mine)
        assert sorted(s.outputs for s in mine) == sorted(b.shape[1] for b in layer.blocks)
    assert len(compiled.layer("b").blocks) > 1
    inside = [e for e in plan.edges if e.kind not in ("input", "output")]
    assert len(inside) == len(compiled.transfers)
    for edge, transfer in zip(inside, compiled.transfers, strict=True):
        assert edge.kind == transfer.kind
        assert len(edge.route) == transfer.hops
        assert edge.joins == ("mvm" if edge.kind == "activation" else "ldpu")
        assert edge.capacity >= edge.smallest
    report = simulate(plan, 3)
    traffic = sum(t.hops * t.channels * pixels[t.value] * 3 for t in compiled.transfers)
    fabric = [i for i, link in enumerate(plan.links) if "host" not in link.name]
    assert report.link_bytes[fabric].sum() == traffic


@pytest.mark.parametrize("spec", [HERMES, HERMES.with_({"fabric.topology": "mesh"})])
@pytest.mark.parametrize("channels", [4, 40])
def test_estimate_is_close(spec, channels):
    compiled, _ = placed(Small(channels), spec)
    plan = schedule(compiled, spec, (3, 16, 16))
    report, guess = simulate(plan, 6), estimate(plan)
    assert report.interval_ps == pytest.approx(guess.interval_ps, rel=0.1)
    assert report.first_image_ps == pytest.approx(guess.first_image_ps, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "mode", "rel"),
    [
        ({"fabric.link_hertz": 100e6}, "pipelined", 0.1),  # links are slower than digital units
        ({"fabric.link_hertz": 100e6}, "host", 0.1),
        ({"mapping.replicate": (("a", 2), ("stem", 2))}, "pipelined", 0.1),
        ({"fabric.rows": 2, "fabric.cols": 4, "chips": 2}, "pipelined", 0.1),
        ({"mapping.blocks_per_core": 2}, "pipelined", 0.1),
        ({"mapping.blocks_per_core": 4}, "pipelined", 0.1),
        ({"mapping.blocks_per_core": 16}, "pipelined", 0.1),
        ({"mapping.blocks_per_core": 4}, "host", 0.1),
    ],
)
def test_estimate_is_close_on_other_chips(changes, mode, rel):
    compiled, spec = placed(Small(40), **changes)
    plan = schedule(compiled, spec, (3, 16, 16), mode=mode)
    report, guess = simulate(plan, 6), estimate(plan)
    assert report.interval_ps == pytest.approx(guess.interval_ps, rel=0.1)
    assert report.first_image_ps == pytest.approx(guess.first_image_ps, rel=rel)
    blocks_on = {}
    for block in compiled.blocks:
        blocks_on[block.core] = blocks_on.get(block.core, 0) + 1
    assert (max(blocks_on.values()) > 1) == ("mapping.blocks_per_core" in changes)
    assert any(t.off_chip for t in compiled.transfers) == ("chips" in changes)
    if "chips" in changes:
        port = next(i for i, link in enumerate(plan.links) if link.name == "host -> chip")
        pixels = output_pixels(compiled, (3, 16, 16))
        crossing = sum(t.channels * pixels[t.value] for t in compiled.transfers if t.off_chip)
        assert report.link_bytes[port] == 6 * crossing > 0


def test_host_mode_is_layer_by_layer():
    compiled, spec = placed(Small())
    plan = schedule(compiled, spec, (3, 8, 8), mode="host")
    report = simulate(plan, 3, trace=10**5)
    assert report.interval_ps == report.first_image_ps
    assert report.total_ps == 3 * report.first_image_ps
    rows = report.gantt()
    when = {}
    for layer in compiled.layers:
        mine = [r for r in rows if r["stage"].split("[")[0] == layer.name]
        when[layer.name] = min(r["begin_ps"] for r in mine), max(r["end_ps"] for r in mine)
    latency = 2 * round(spec.host.latency_seconds * 1e12)
    for layer in compiled.layers[1:]:
        source = layer.source if layer.source in when else None
        if source:
            assert when[layer.name][0] >= when[source][1] + latency
    assert estimate(plan).first_image_ps == pytest.approx(report.first_image_ps, rel=0.1)
    pipelined = simulate(schedule(compiled, spec, (3, 8, 8)), 3)
    assert pipelined.interval_ps < report.interval_ps
    # Every window travels: the bytes into the chip are rows of all MVMs, and the residuals.
    pixels = output_pixels(compiled, (3, 8, 8))
    rows = sum(b.shape[0] * pixels[b.layer] for b in compiled.blocks)
    rows += sum(x.weight.shape[1] * pixels[x.name] for x in compiled.layers if x.residual)
    names = [link.name for link in plan.links]
    assert report.link_bytes[names.index("host -> chip")] == 3 * rows


def test_buffers_by_name_and_unlimited():
    compiled, spec = placed(Small())
    free = schedule(compiled, spec, (3, 8, 8), buffers=None)
    assert all(edge.capacity is None for edge in free.edges)
    given = schedule(compiled, spec, (3, 8, 8), buffers={"a": 30})
    held = [e.capacity for e in given.edges if given.stages[e.consumer].layer == "a"]
    assert held == [30]
    by_edge = schedule(compiled, spec, (3, 8, 8), buffers={"source -> stem (input)": 50})
    assert by_edge.edges[0].capacity == 50
    with pytest.raises(ValueError, match="names 'x', which is no layer and no edge"):
        schedule(compiled, spec, (3, 8, 8), buffers={"x": 30})
    with pytest.raises(ValueError, match="give 'enough'"):
        schedule(compiled, spec, (3, 8, 8), buffers="plenty")
    with pytest.raises(ValueError, match="is unknown; there are: pipelined, host"):
        schedule(compiled, spec, (3, 8, 8), mode="wrong")
    with pytest.raises(DeadlockError, match="'a' needs 19 elements at once"):
        simulate(schedule(compiled, spec, (3, 8, 8), buffers={"a": 18}))


def test_tick_model_counts_layers():
    """A chain of 1 x 1 convolutions: every layer adds one tick."""

    class Chain(nn.Sequential):
        def __init__(self):
            super().__init__(*(nn.Conv2d(2, 2, 1) for _ in range(4)))

    compiled, _ = placed(Chain())
    for lanes, ticks in ((1, 36), (4, 9)):
        plan = tick_schedule(compiled, (2, 6, 6), pixels_per_step=lanes)
        report = simulate(plan, 3)
        assert report.first_image_ps == ticks + 4
        assert report.interval_ps == ticks
        assert report.schedule.unit == "tick"
        assert all(edge.capacity == 2 * lanes for edge in plan.edges[:-1])


NOISELESS = {
    "ideal": IDEAL,
    "integers": IDEAL.with_({
        "core.dac.bits": 8, "core.ldpu.output_bits": 8, "core.ldpu.link_bits": 8,
    }),
}  # fmt: skip


class OwnSource(nn.Module):
    """Layers that add what they read, a map and a vector; a large kernel, split inside channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 7, padding=3), nn.Conv2d(3, 2, 3, stride=2)
        self.c, self.d = nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.a(x) + x), 2, ceil_mode=True)
        x = self.b(F.pad(x, (1, 2, 0, 2))).flatten(1)
        return self.d(F.relu(self.c(x) + x))


class Joined(nn.Module):
    """Branches of different reach, joined channel after channel with the input itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 5, 1)
        self.c, self.fc = nn.Conv2d(12, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x):
        x = self.c(torch.cat([F.relu(self.a(x)), self.b(x), F.relu(x)], 1))
        return self.fc(F.max_pool2d(x, 2).mean((2, 3)))


@pytest.mark.parametrize("patches", [(), (("c", 2),)])
def test_joined_branches(patches, rng):
    spec = IDEAL.with_({"core.rows": 40, "core.cols": 24, "mapping.replicate": patches})
    x = torch.from_numpy(rng.normal(size=(1, 3, 6, 8))).float()
    chip = Chip.from_model(settle(Joined().eval()), spec).calibrate(x).program(seed=1)
    plan = schedule(chip.compiled, spec, x.shape[1:])
    got, report = run_pipelined(chip, x, plan)
    torch.testing.assert_close(got, chip(x, first_image=0), rtol=1e-5, atol=1e-6)
    # The 1 x 1 branch with its short buffer holds the source back for the others as well.
    assert report.first_image_ps == pytest.approx(estimate(plan).first_image_ps, rel=0.1)


def test_values_of_layers_that_add_their_source(rng):
    spec = IDEAL.with_({"core.rows": 40, "core.cols": 6})
    x = torch.from_numpy(rng.normal(size=(2, 3, 5, 8))).float()
    chip = Chip.from_model(settle(OwnSource().eval()), spec).calibrate(x).program(seed=1)
    got, _ = run_pipelined(chip, x, schedule(chip.compiled, spec, x.shape[1:]))
    torch.testing.assert_close(got, chip(x, first_image=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NOISELESS)
@pytest.mark.parametrize("rows", [256, 40])
def test_values_through_the_pipeline(name, rows, rng):
    """Line buffers that are just large enough give what the executor gives."""
    spec = NOISELESS[name].with_({"core.rows": rows, "core.cols": 6 if rows == 40 else 256})
    x = torch.from_numpy(rng.normal(size=(2 if rows == 256 else 1, 3, 6, 8))).float()
    chip = Chip.from_model(settle(Small().eval()), spec).calibrate(x).program(seed=1)
    plan = schedule(chip.compiled, spec, x.shape[1:])
    got, report = run_pipelined(chip, x, plan)
    wanted = chip(x, first_image=0)
    if name == "integers":
        # Sums in another order may move a code by one.
        step = chip.evaluation.bare_plan(chip.compiled).quantisers[chip.compiled.output].step
        assert (got - wanted).abs().max() <= 1.001 * step
    else:
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    assert report.finish_ps.shape == (len(x),)


def test_values_notice_a_slot_that_is_overwritten(rng):
    """The replay has teeth: with fewer slots than the simulated schedule, values are gone."""
    x = torch.from_numpy(rng.normal(size=(1, 3, 10, 8))).float()
    chip = Chip.from_model(settle(Small().eval()), IDEAL).calibrate(x).program(seed=1)
    plan = schedule(chip.compiled, IDEAL, x.shape[1:])
    from aimc_sim.runtime import replay_values

    report = simulate(plan, 1, trace=10**6)
    rows = report.record.trace[: report.record.totals[2]]
    number = next(i for i, e in enumerate(plan.edges) if plan.stages[e.consumer].layer == "a")
    small = with_buffers(plan, {number: plan.edges[number].capacity - 2})
    with pytest.raises(RuntimeError, match="not in its line buffers"):
        replay_values._Replay(chip.evaluation.bare_plan(chip.compiled), small, x).run(rows)


@st.composite
def networks(draw):
    """A small random network: convolutions, pooling, residual additions, a linear end."""
    channels = draw(st.integers(1, 6))
    layers = draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.integers(1, 2),
                st.booleans(), st.sampled_from(["none", "max", "avg"]),
            ),
            min_size=1, max_size=4,
        )
    )  # fmt: skip

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(
                nn.Conv2d(channels, channels, k, stride=s, padding=d * (k // 2), dilation=d)
                for k, s, d, _, _ in layers
            )
            self.fc = nn.Linear(channels, 3)

        def forward(self, x):
            for conv, (_, s, _, skip, pool) in zip(self.convs, layers, strict=True):
                y = conv(x)
                x = F.relu(y + x) if skip and s == 1 else F.relu(y)
                if pool == "max":
                    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
                elif pool == "avg":
                    x = F.avg_pool2d(x, 2, 2, ceil_mode=True)
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(draw(st.integers(0, 5)))
    size = draw(st.integers(6, 16)), draw(st.integers(6, 16))
    spec = HERMES.with_({
        "core.rows": draw(st.sampled_from([25, 60, 256])),
        "core.cols": draw(st.sampled_from([2, 256])),
        "fabric.topology": draw(st.sampled_from(["prism_grid", "mesh"])),
    })  # fmt: skip
    return Network(), spec, (channels, *size)


@given(case=networks(), mode=st.sampled_from(["pipelined", "host"]))
@settings(max_examples=9, deadline=None, derandomize=True)
def test_random_networks(case, mode):
    model, spec, shape = case
    compiled = compile_network(trace(settle(model.eval())), spec)
    plan = schedule(compiled, spec, shape, mode=mode)
    report, images = simulate(plan, 4, trace=10**6), 4
    record = report.record
    # All images finish, in order, after a positive time that no stage can beat.
    assert (np.diff([0, *report.finish_ps]) > 0).all()
    # Of the last image, what nobody reads (rows behind the last stride) may still be under way.
    assert report.total_ps >= (images - 1) * max(stage.busy_ps for stage in plan.stages)
    assert report.total_ps == report.first_image_ps + np.diff(report.finish_ps).sum()
    # Bytes sent are bytes received, over every edge; every element freed.
    assert (report.sent_bytes == report.edge_bytes).all()
    expected = [images * e.elements * e.element_bytes for e in plan.edges]
    assert report.edge_bytes.tolist() == expected
    assert (record.freed == record.arrived).all()
    # No link above capacity, no unit busier than the run is long.
    assert (report.link_utilisation <= 1).all()
    assert (report.mvm_utilisation <= 1).all()
    assert (report.ldpu_utilisation <= 1).all()
    # No buffer above its limit.
    for edge, slots in zip(plan.edges, record.peak_claimed, strict=True):
        assert edge.capacity is None or slots <= edge.capacity
    guess = estimate(plan)
    assert report.first_image_ps == pytest.approx(guess.first_image_ps, rel=0.1)
    if mode == "pipelined":
        assert report.interval_ps == pytest.approx(guess.interval_ps, rel=0.1)
