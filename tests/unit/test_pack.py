"""Blocks that share a core, and networks on several chips."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.pack import pack
from aimc_sim.mapping.traffic import traffic, unused_links

SHAPES = st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), min_size=1, max_size=30)


@given(shapes=SHAPES, most=st.integers(1, 5))
def test_every_cell_holds_one_weight_at_most(shapes, most):
    spots = pack(shapes, 16, 16, most)
    cells, members = set(), {}
    for (rows, cols), spot in zip(shapes, spots, strict=True):
        assert spot.row + rows <= 16
        assert spot.col + cols <= 16
        mine = {(spot.group, spot.row + r, spot.col + c) for r in range(rows) for c in range(cols)}
        assert not mine & cells
        cells |= mine
        members.setdefault(spot.group, []).append(spot.slot)
    assert all(sorted(slots) == list(range(len(slots))) for slots in members.values())
    assert max(map(len, members.values())) <= most
    assert sorted(members) == list(range(len(members)))


def test_one_block_per_core_keeps_the_order():
    assert [spot.group for spot in pack([(1, 1), (9, 9), (3, 3)], 16, 16, 1)] == [0, 1, 2]


def test_sixteen_quarters_fill_four_cores():
    spots = pack([(8, 8)] * 16, 16, 16, 100)
    assert len({spot.group for spot in spots}) == 4


def test_blocks_side_by_side_and_below_each_other():
    spots = pack([(10, 16), (6, 4), (6, 12)], 16, 16, 3)
    assert [(s.row, s.col) for s in spots] == [(0, 0), (10, 12), (10, 0)]


MODEL = nn.Sequential(
    nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 5)
).eval()  # fmt: skip


def outputs(spec, images, at=None):
    chip = aimc_sim.Chip.from_model(MODEL, spec).calibrate(images).program(0)
    return chip, (chip if at is None else chip.at(at))(images)


def test_sharing_a_core_changes_no_ideal_result():
    images = torch.randn(6, 20)
    with torch.no_grad():
        exact = MODEL(images)
    chip, y = outputs(presets.ideal().with_({"mapping.blocks_per_core": 2}), images)
    assert chip.compiled.cores_used == 2
    torch.testing.assert_close(y, exact, atol=1e-5, rtol=1e-5)


def test_blocks_of_a_core_have_devices_of_their_own():
    """The same weights twice: equal devices would give equal errors."""
    twice = nn.Sequential(nn.Linear(20, 20, bias=False), nn.Linear(20, 20, bias=False)).eval()
    twice[1].weight.data[:] = twice[0].weight.data
    spec = presets.hermes().with_({"mapping.blocks_per_core": 2})
    chip = aimc_sim.Chip.from_model(twice, spec).calibrate(torch.ones(2, 20)).program(0)
    assert chip.compiled.cores_used == 1
    first, second = (chip.effective_weights(name) for name in ("0", "1"))
    assert abs(first - second).max() > 0.01


def test_blocks_of_a_core_take_turns():
    from aimc_sim.chip import ledger

    pixels = {"0": 1, "2": 1, "4": 1}
    alone = aimc_sim.Chip.from_model(MODEL, presets.hermes())
    shared = aimc_sim.Chip.from_model(MODEL, presets.hermes().with_({"mapping.blocks_per_core": 3}))
    once = ledger.estimate(alone.compiled, alone.spec, pixels)
    turns = ledger.estimate(shared.compiled, shared.spec, pixels)
    assert shared.compiled.cores_used == 1
    assert turns.interval_seconds == pytest.approx(3 * once.interval_seconds)
    assert turns.energies.core_mvms == once.energies.core_mvms
    inside = traffic(shared.compiled, pixels)
    assert (inside.unicast, inside.inside) == ({}, 12 + 30)


def test_two_chips_hold_what_one_cannot():
    images = torch.randn(6, 20)
    small = presets.ideal().with_({"core.rows": 10, "core.cols": 10, "fabric.rows": 2,
                                   "fabric.cols": 4})  # fmt: skip
    with pytest.raises(CapacityError, match=r"needs 13 cores .* has 8; .* take 2 chips \(chips\)"):
        aimc_sim.Chip.from_model(MODEL, small)
    chip, y = outputs(small.with_({"chips": 2}), images)
    with torch.no_grad():
        torch.testing.assert_close(y, MODEL(images), atol=1e-5, rtol=1e-5)
    assert chip.compiled.cores_available == 16
    crossing = [t for t in chip.compiled.transfers if t.producer // 8 != t.consumer // 8]
    assert crossing
    assert all(t.off_chip == (t in crossing) for t in chip.compiled.transfers)
    found = traffic(chip.compiled, {"0": 1, "2": 1, "4": 1})
    assert found.off_chip == sum(t.channels for t in crossing)


def test_bytes_on_links_add_up():
    """Every byte of a transfer crosses each link of its route; copies share what is common."""
    spec = presets.ideal().with_({"core.rows": 10, "core.cols": 10})
    compiled = aimc_sim.Chip.from_model(MODEL, spec).compiled
    pixels = {"0": 1, "2": 3, "4": 1}
    found = traffic(compiled, pixels)
    total = sum(t.hops * t.channels * pixels[t.value] for t in compiled.transfers)
    assert sum(found.unicast.values()) == total
    assert all(0 < found.multicast[link] <= load for link, load in found.unicast.items())
    assert found.busiest()[1] == max(found.unicast.values())
    assert unused_links(compiled, spec) == 320 - len(found.unicast)
