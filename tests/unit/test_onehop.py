"""Networks on direct links only: found, relayed, or refused with the data that has no link."""

import re

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.errors import MappingError

SMALL = presets.ideal().with_({"core.rows": 40, "core.cols": 40})


class Residual(nn.Module):
    """Three blocks in a triangle: x -> a, a -> b, x -> b."""

    def __init__(self, units=30):
        super().__init__()
        self.x, self.a, self.b = (nn.Linear(units, units) for _ in range(3))

    def forward(self, v):
        v = torch.relu(self.x(v))
        return torch.relu(self.b(torch.relu(self.a(v))) + v)


def chip(model, placement, **fabric):
    spec = SMALL.with_({"mapping.placement": placement, **fabric})
    return aimc_sim.Chip.from_model(model.eval(), spec)


def test_every_transfer_takes_one_link():
    compiled = chip(
        Residual(70), "one-hop", **{"core.cols": 80}
    ).compiled  # two row blocks per layer
    links = fabric_graph(SMALL.fabric)
    assert len(compiled.transfers) == 8
    assert {t.hops for t in compiled.transfers} == {1}
    assert all(links.has_edge(*t.route) for t in compiled.transfers)


def test_a_refusal_after_an_exhaustive_search_says_so():
    with pytest.raises(MappingError, match=r"12 nodes and 16 edges .*searched exhaustively"):
        chip(Residual(70), "one-hop")  # two by two blocks per layer
    with pytest.raises(MappingError, match=r"leaves \d+ of 16 without a link: \w+\[\d,\d\] -> "):
        chip(Residual(70), "one-hop")


def test_a_triangle_has_no_place_on_a_mesh_and_the_refusal_says_so():
    with pytest.raises(MappingError, match=r"placement = 'one-hop' on mesh 8 x 8.*x\[0,0\]") as no:
        chip(Residual(), "one-hop", **{"fabric.topology": "mesh"})
    message = str(no.value)
    assert "even length" in message
    assert re.search("relay", message)
    assert "mapping.placement = 'search'" in message


def test_a_relay_takes_the_triangle_to_the_mesh():
    found = chip(Residual(), "relays", **{"fabric.topology": "mesh"})
    links = fabric_graph(found.spec.fabric)
    holds = {block.core for block in found.compiled.blocks}
    hops = sorted(t.hops for t in found.compiled.transfers)
    assert hops == [1, 1, 2]
    for transfer in found.compiled.transfers:
        for pair in zip(transfer.route, transfer.route[1:], strict=False):
            assert links.has_edge(*pair)
        assert not holds & set(transfer.route[1:-1])  # a relay is a core without weights
    x = torch.randn(4, 30)
    model = Residual().eval()
    found = chip(model, "relays", **{"fabric.topology": "mesh"})
    with torch.no_grad():
        torch.testing.assert_close(found.calibrate(x).program(0)(x), model(x), atol=1e-5, rtol=1e-5)


def test_fixed_blocks_stay():
    spec = {"mapping.cores": (("a", (27,)),)}
    found = chip(Residual(), "one-hop", **spec)
    assert found.compiled.layer("a").blocks[0].core == 27
    assert {t.hops for t in found.compiled.transfers} == {1}
    with pytest.raises(MappingError, match=r"moves all blocks; leave mapping\.cores"):
        chip(Residual(), "relays", **spec)


def test_blocks_that_share_a_core_are_embedded_together():
    found = chip(Residual(15), "one-hop", **{"mapping.blocks_per_core": 2})
    assert found.compiled.cores_used == 2
    assert max(t.hops for t in found.compiled.transfers) == 1


def test_inputs_carried_along_the_chain():
    """Every block but the head gets its inputs by way of the blocks before it."""
    spec = {"core.cols": 80, "mapping.carry_inputs": True}
    model = Residual(100).eval()  # three row blocks per layer, two column blocks
    compiled = chip(model, "search", **spec).compiled
    plain = chip(model, "search", **{"core.cols": 80}).compiled
    assert len(compiled.transfers) == len(plain.transfers)
    chains = {block.core: chain for layer in compiled.layers for chain in layer.chains
              for block in chain}  # fmt: skip
    carried = 0
    for transfer in compiled.transfers:
        if transfer.kind != "activation":
            continue
        chain = chains[transfer.consumer]
        before = [block.core for block in chain if block.row_index < _row(chain, transfer)]
        on_the_way = [core for core in transfer.route[1:-1] if core in before]
        carried += len(on_the_way)
    assert carried > 0
    x = torch.randn(4, 100)
    found = chip(model, "search", **spec).calibrate(x).program(0)
    with torch.no_grad():
        torch.testing.assert_close(found(x), model(x), atol=1e-5, rtol=1e-5)


def _row(chain, transfer):
    return next(block.row_index for block in chain if block.core == transfer.consumer)


def test_resnet32_needs_one_relay_when_its_chains_carry_their_inputs(plain_resnet32):
    """The 64-core chip has no one-hop placement of its 60 blocks (tests/paper/test_dazzi_2021)."""
    spec = presets.hermes().with_({"mapping.placement": "relays", "mapping.carry_inputs": True})
    compiled = aimc_sim.Chip.from_model(plain_resnet32, spec).compiled
    links = fabric_graph(spec.fabric)
    passed = {core for t in compiled.transfers for core in t.route}
    assert compiled.cores_used == 60
    assert len(passed) == 61
    assert all(
        links.has_edge(*pair)
        for t in compiled.transfers
        for pair in zip(t.route, t.route[1:], strict=False)
    )
    with pytest.raises(MappingError, match="hang together by triangles"):
        aimc_sim.Chip.from_model(plain_resnet32, spec.with_({"mapping.placement": "one-hop"}))
