"""The layouts of the chip paper: cores, matrices, one link per partial sum (arXiv:2212.02872)."""

import pytest

from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.chip.fabric import core_label, fabric_graph, with_digital_units
from aimc_sim.mapping.named import GRID, cores_of, named, names
from aimc_sim.mapping.traffic import traffic

CORES = {"resnet9": 40, "char-lstm": 26, "captioning-lstm": 64}
WEIGHTS = {"resnet9": 1_866_536, "char-lstm": 1_299_312, "captioning-lstm": 4_080_384}


@pytest.mark.parametrize("name", names())
def test_cores_and_weights(name):
    compiled = named(name)
    assert compiled.cores_used == len(compiled.blocks) == CORES[name]
    assert sum(layer.weight.size for layer in compiled.layers) == WEIGHTS[name]
    placed = [cell for block in compiled.blocks for cell in [block.core]]
    assert len(set(placed)) == len(placed)


@pytest.mark.parametrize("name", names())
def test_every_transfer_is_a_link_of_the_chip(name):
    links = with_digital_units(GRID)
    compiled = named(name)
    assert len(compiled.transfers) > 0
    for transfer in compiled.transfers:
        assert links.has_edge(*transfer.route), transfer
        assert transfer.hops == 1


def test_cores_per_layer():
    """facts/hermes-chip.md 6.2: 1, 2, 4, 4, 4, 8, 8, 8, 1; 8, 16, 2; 16, 16, 32."""
    counts = {name: [len(layer.blocks) for layer in named(name).layers] for name in names()}
    assert counts["resnet9"] == [1, 2, 4, 4, 4, 8, 8, 8, 1]
    assert counts["char-lstm"] == [8, 16, 2]
    assert counts["captioning-lstm"] == [16, 16, 32]


def test_each_digital_unit_gets_all_gates_of_its_column_from_the_fourth_row():
    for name in ("char-lstm", "captioning-lstm"):
        compiled = named(name)
        gates = [t for t in compiled.transfers if t.kind == "gates"]
        assert [core_label(t.producer, GRID) for t in gates] == [
            f"Core(4,{c})" for c in range(1, 9)
        ]
        assert [t.channels for t in gates] == [252] * 8  # 63 hidden units, four gates
        assert [t.consumer for t in gates] == list(range(64, 72))
        # Everything that a unit adds up runs down its own column.
        sums = [t for t in compiled.transfers if t.value.endswith("gates") and t.kind != "gates"]
        assert all(t.consumer == t.producer + 8 for t in sums)


def test_the_measured_operations_are_those_of_the_layouts():
    """Table I: one input to conv5 takes 1,131 ns, one step of the captioning LSTM 1,043 ns."""
    spec = presets.hermes(read="1-phase")
    conv5 = named("resnet9").layer("conv5")
    assert {b.shape[1] for b in conv5.blocks} == {224}
    time = ledger.operation_seconds(224, len(conv5.chains[0]), spec)
    assert time == pytest.approx(1131e-9, rel=0.05)
    layers = named("captioning-lstm").layers[:2]
    chain = sum(len(layer.chains[0]) for layer in layers)
    columns = layers[1].blocks[-1].shape[1]
    time = ledger.operation_seconds(columns, chain, spec, gdpu_outputs=504)
    assert time == pytest.approx(1043e-9, rel=0.05)


def test_traffic_of_the_captioning_network():
    """Three partial sums in every column of the gates, one to its unit, one per output column."""
    compiled = named("captioning-lstm")
    loads = traffic(compiled, {layer.name: 1 for layer in compiled.layers})
    assert sum(loads.unicast.values()) == 8 * 4 * 252 + 16 * 254
    assert loads.busiest()[1] == 254


def test_layouts_fit_the_chip_of_the_preset():
    assert presets.hermes().fabric.model_dump(exclude={"source"}) == GRID.model_dump(
        exclude={"source"}
    )
    assert fabric_graph(GRID).number_of_edges() == 320


def test_unknown_layouts_are_refused():
    with pytest.raises(KeyError, match="no layout 'vgg'; choose one of resnet9, char-lstm"):
        named("vgg")


def test_a_layout_can_be_given_to_a_network():
    import torch
    from torch import nn

    import aimc_sim

    model = nn.Sequential()
    sizes = dict(zip(("conv1", "dense"), ((504, 112), (112, 10)), strict=True))
    for name, size in sizes.items():
        model.add_module(name, nn.Linear(*size))
    places = tuple((name, cores) for name, cores in cores_of("resnet9") if name in sizes)
    spec = presets.ideal().with_({"mapping.cores": places})
    compiled = aimc_sim.Chip.from_model(model.eval(), spec).compiled
    assert [block.core for block in compiled.blocks] == [1, 2, 7]
    for wrong, message in (
        ((("conv1", (1,)),), "'conv1' has 2 blocks, 1 cores given"),
        ((("conv1", (1, 64)),), "no core 64; use 0 to 63"),
        ((("conv1", (1, 1)),), "gives core 1 twice"),
        ((("conv2", (1, 2)),), "'conv2' does not exist; did you mean 'conv1'. There are"),
    ):
        with pytest.raises(ValueError, match=message):
            aimc_sim.Chip.from_model(model, spec.with_({"mapping.cores": wrong}))
    x = torch.randn(3, 504)
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0)
    with torch.no_grad():
        torch.testing.assert_close(chip(x), model(x), atol=1e-4, rtol=1e-4)
