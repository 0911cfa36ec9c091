"""Transforms before mapping: equal networks, the traps of rotations, and what they are for."""

from __future__ import annotations

import copy
import functools
import math

import pytest
import torch
from torch import nn
from transformers_small import (
    HEADS,
    KINDS,
    WIDTH,
    WORDS,
    Encoder,
    Language,
    inputs,
    network,
    settled,
)

import aimc_sim
from aimc_sim import presets, transforms
from aimc_sim.transforms import hadamard, kurtosis, orthogonal, parity, streams
from aimc_sim.transforms.edits import Edits
from aimc_sim.transforms.rotation import read_by_stream
from aimc_sim.zoo.transformers import CharTransformer, VisionTransformer

ROTATIONS = {
    "folded": transforms.fold_norms,
    "hadamard": transforms.rotate,
    "orthogonal": functools.partial(transforms.rotate, rotation="orthogonal"),
    "kurtosis": functools.partial(transforms.rotate, rotation="kurtosis"),
    "pca": functools.partial(transforms.rotate, rotation="pca"),
    "online": transforms.rotate_online,
}


@functools.cache
def made(kind, transform):
    """Return a transformed network in float64; not to be changed."""
    return ROTATIONS[transform](network(kind), inputs(kind))


def off(model, other, kind):
    """Return the largest difference on inputs of another length than the example's."""
    given = inputs(kind, 11, 3)
    with torch.no_grad():
        expected, found = model(given), other(given)
    return float((expected - found).abs().max() / expected.abs().max())


CASES = [(kind, t) for kind in KINDS for t in ("folded", "hadamard")]
CASES += [("language", t) for t in ("orthogonal", "kurtosis", "pca", "online")]
CASES += [("rotary", "online"), ("rotary", "pca"), ("encoder", "online")]


@pytest.mark.parametrize(("kind", "transform"), CASES)
def test_transforms_equal_the_network_in_float64(kind, transform):
    # 1e-10 is 1e5 roundings of float64; a wrong matrix moves outputs by 1e-1.
    assert off(network(kind), made(kind, transform), kind) <= 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_rotation_equals_the_network_in_float32(kind):
    plain = copy.deepcopy(network(kind)).float()
    given = inputs(kind)
    given = given.float() if given.is_floating_point() else given
    rotated = transforms.rotate(plain, given)
    assert {p.dtype for p in rotated.parameters()} == {torch.float32}
    with torch.no_grad():
        expected, found = plain(given), rotated(given)
    assert float((expected - found).abs().max() / expected.abs().max()) <= 1e-5


@pytest.mark.parametrize("kind", ["characters", "images"])
def test_networks_of_the_zoo_are_rotated(kind):
    if kind == "characters":
        plain, given = CharTransformer(1), torch.randint(0, 50, (2, 4))
        other = torch.randint(0, 50, (2, 9))
    else:
        plain, given = VisionTransformer(blocks=1), torch.randn(2, 3, 32, 32).double()
        other = given[:1]
    plain = settled(plain).double()
    rotated = transforms.rotate(plain, given)
    with torch.no_grad():
        expected, found = plain(other), rotated(other)
    assert float((expected - found).abs().max() / expected.abs().max()) <= 1e-10


def test_the_network_itself_is_not_changed():
    plain = settled(Language()).double()
    before = copy.deepcopy(plain.state_dict())
    transforms.rotate(plain, inputs("language"), seed=3)
    assert all(torch.equal(before[name], x) for name, x in plain.state_dict().items())
    assert isinstance(plain.norm, nn.LayerNorm)


def test_stream_is_turned_by_the_matrix_that_was_given():
    rotation = orthogonal.random_orthogonal(WIDTH, 8)
    folded = made("language", "folded")
    rotated = transforms.rotate(network("language"), inputs("language"), rotation, heads=False)
    pairs = [
        (rotated.embedding.weight, folded.embedding.weight @ rotation),
        (rotated.positions, folded.positions @ rotation),
        (rotated.blocks[0].up.weight, folded.blocks[0].up.weight @ rotation),
        (rotated.blocks[1].down.weight, rotation.T @ folded.blocks[1].down.weight),
        (rotated.blocks[1].down.bias, folded.blocks[1].down.bias @ rotation),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        assert not torch.equal(found, network("language").embedding.weight[: len(found)])


def test_folded_norms_have_no_weights_and_writers_no_mean():
    folded = made("language", "folded")
    assert not any(isinstance(module, nn.LayerNorm) for module in folded.modules())
    assert folded.blocks[0].first.weight is None
    for writer in (folded.embedding.weight, folded.positions, folded.blocks[1].down.weight.T,
                   folded.blocks[0].attention.o.bias):  # fmt: skip
        assert float(writer.detach().mean(-1).abs().max()) < 1e-15
    gains = [m.weight for m in made("rotary", "folded").modules() if type(m).__name__ == "Rms"]
    assert all(torch.equal(gain, torch.ones_like(gain)) for gain in gains)
    assert not made("rotary", "folded").norm.weight.any()
    assert torch.equal(made("image", "folded").scale, torch.ones(WIDTH).double())


def test_same_seed_same_network_other_seed_other_network():
    model, given = network("rotary"), inputs("rotary")
    one, two, three = (transforms.rotate(model, given, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.embedding.weight, two.embedding.weight)
    assert not torch.allclose(one.embedding.weight, three.embedding.weight)
    assert not torch.allclose(one.v.weight, three.v.weight)


# ----------------------------------------------------------------------------------- traps


def test_tied_embeddings_are_untied_where_they_must_differ():
    rotated = made("tied", "hadamard")
    assert rotated.head.weight is not rotated.embedding.weight
    assert not torch.allclose(rotated.head.weight, rotated.embedding.weight)
    assert network("tied").head.weight is network("tied").embedding.weight
    # Without weights in the last norm both become E Q, and one parameter is enough.
    plain = settled(KINDS["rotary"]()).double()
    plain.norm.weight.data.fill_(0.0)
    plain.head.weight = plain.embedding.weight
    kept = transforms.rotate(plain, inputs("rotary"))
    assert kept.head.weight is kept.embedding.weight
    assert off(plain, kept, "rotary") <= 1e-10


@pytest.mark.parametrize("trap", ["mean", "bias", "gain"])
def test_a_forgotten_part_is_noticed(trap, monkeypatch):
    if trap == "mean":  # a LayerNorm taken for an RMSNorm

        def fold(edits, stream):
            streams._fold_readers(edits, stream)
            streams._without_mean(edits, stream)

        monkeypatch.setattr("aimc_sim.transforms.rotation.fold", fold)
    elif trap == "bias":
        monkeypatch.setattr(
            streams, "_turn_writer", lambda edits, end, turn: edits.along_use(end, turn)
        )  # fmt: skip
    else:
        monkeypatch.setattr(
            "aimc_sim.transforms.rotation.fold",
            lambda edits, stream: streams._without_mean(edits, stream),
        )
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="gives other outputs than the netwo"):
        transforms.rotate(network("language"), inputs("language"))


def test_bias_of_a_norm_makes_a_bias_where_there_was_none():
    head = made("language", "folded").head
    plain = network("language")
    torch.testing.assert_close(head.bias, plain.head.weight @ plain.norm.bias)
    assert made("rotary", "folded").head.bias is None


def test_rotary_positions_refuse_what_would_pass_them():
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=r"'mul' in 'Rotary'.*rotary posi"):
        transforms.low_rank_attention(network("rotary"), inputs("rotary"), share=0.9)
    turned = transforms.rotate(network("rotary"), inputs("rotary"))
    unturned = transforms.rotate(network("rotary"), inputs("rotary"), heads=False)
    torch.testing.assert_close(turned.q.weight, unturned.q.weight)
    torch.testing.assert_close(turned.k.weight, unturned.k.weight)
    assert not torch.allclose(turned.v.weight, unturned.v.weight)


def test_norms_behind_blocks_are_refused_by_name():
    with pytest.raises(
        aimc_sim.UnsupportedLayerError,
        match=r"'layer_norm' in 'encoder\.layers\.0\.norm1'.*norms behind the blocks",
    ):
        transforms.rotate(settled(Encoder(norm_first=False)), inputs("encoder"))


class Headless(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Language()
        self.inner.head = nn.Identity()

    def forward(self, words):
        return self.inner(words)


class Clipped(Headless):
    def forward(self, words):
        x = self.inner.embedding(words)
        x = (x + self.inner.blocks[0](x)).clamp(-3, 3)
        return self.inner.head(self.inner.norm(x))


class OwnNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        x = x + self.second(nn.functional.layer_norm(x, (8,)))
        return self.head(nn.functional.layer_norm(x, (8,)))


REFUSED = {
    "returned stream": (Headless, inputs("language"), "the model returns these channels"),
    "other function": (Clipped, inputs("language"), r"'clamp' in 'Clipped'.*test_transforms"),
    "norm in forward": (OwnNorm, torch.randn(2, 4), "no module of its own"),
    "no stream": (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
                  torch.randn(2, 4), "has no residual stream"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_proved_is_refused_with_the_line(case):
    build, given, message = REFUSED[case]
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=message):
        transforms.rotate(settled(build()), given)


def test_arguments_without_meaning_are_refused():
    model, given = network("language"), inputs("language")
    for arguments, message in (
        ({"rotation": "haddamard"}, "mean 'hadamard'"),
        ({"rotation": torch.eye(8)}, r"shape \(8, 8\).*16 channels"),
        ({"rotation": torch.ones(WIDTH, WIDTH)}, "not orthogonal"),
        ({"data": [given]}, "not learned from activations"),
        ({"high": 3}, "no subspace of high variance"),
        ({"rotation": "pca", "high": WIDTH}, "high = 16"),
        ({"rotation": "pca", "data": []}, "holds no batch"),
        ({"rotation": "pca", "data": [inputs("language", 7)]}, "sizes of the|example's sizes"),
        ({"seed": -1}, "seed = -1"),
    ):
        with pytest.raises(ValueError, match=message):
            transforms.rotate(model, given, **arguments)
    with pytest.raises(ValueError, match="no Hadamard matrix of order 6"):
        hadamard.hadamard(6)


# -------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize("order", [1, 2, 12, 16, 20, 24, 44, 60, 68, 84, 768])
def test_hadamard_matrices_are_orthogonal_signs(order):
    matrix = hadamard.hadamard(order)
    assert set(matrix.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order).double())


def test_hadamard_module_is_its_matrix_and_counts_its_additions():
    x = torch.randn(3, 24).double()
    module = transforms.Hadamard(8)
    expected = (x.view(3, 3, 8) @ hadamard.hadamard(8)).view(3, 24)
    torch.testing.assert_close(module(x), expected)
    assert module.additions(24) == 24 * 3


def test_online_additions_are_counted_in_the_ledger():
    given = inputs("language")
    plain, online = (
        copy.deepcopy(x).float() for x in (network("language"), made("language", "online"))
    )
    names = transforms.behind_nonlinearities(plain, given)
    assert names == ("blocks.0.down", "blocks.1.down")
    vectors, length = given.numel(), 2 * WIDTH
    wanted = len(names) * vectors * length * int(math.log2(length))
    assert transforms.additions(online, given) == wanted
    assert transforms.additions(plain, given) == 0
    counted = []
    for model in (plain, online):
        chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=given).program(0)
        chip(given)
        counted.append(sum(chip.report().digital_operations.values()))
    assert counted[1] - counted[0] == pytest.approx(wanted / len(given))


def test_learned_rotation_has_lighter_tails_than_the_random_one_it_began_with():
    features = [torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).double()]
    features[0][:, 2] *= 30.0
    start = orthogonal.random_orthogonal(8, 0)  # a Hadamard matrix spreads one channel ideally
    found = kurtosis.learned(features, start)
    identity = torch.eye(8).double()
    torch.testing.assert_close(found @ found.T, identity)
    tails = [float(kurtosis.tailedness(features, q)) for q in (identity, start, found)]
    assert tails[2] < 0.9 * tails[1] < tails[0]


def test_principal_channels_of_the_stream_come_first():
    model, given = network("language"), inputs("language")
    folded, _, flow = (made("language", "folded"), None, parity.opened(model, given)[2])
    rotated = transforms.rotate(model, given, "pca", high=4)
    plain, turned = (
        torch.cat(read_by_stream(x, flow, [given])[0]) for x in (folded, rotated)
    )  # fmt: skip
    largest = torch.linalg.eigvalsh(plain.T @ plain).flip(0)
    torch.testing.assert_close(turned[:, :4].pow(2).sum(), largest[:4].sum())
    torch.testing.assert_close(turned[:, 4:].pow(2).sum(), largest[4:].sum())


# ------------------------------------------------------------------------- the chip's view


def outliers(model, factor=20.0, channels=(3,)):
    """Return the network with some channels of every norm's output larger, the same function."""
    made_ = copy.deepcopy(model)
    pairs = [(made_.norm, [made_.head])]
    for block in made_.blocks:
        a = block.attention
        pairs += [(block.first, [a.q, a.k, a.v]), (block.second, [block.up])]
    with torch.no_grad():
        for norm, readers in pairs:
            for channel in channels:
                norm.weight[channel] *= factor
                norm.bias[channel] *= factor
                for reader in readers:
                    reader.weight[:, channel] /= factor
    return made_


def chip_error(model, given, changes):
    """Return the error of a chip's outputs, as a share of their root mean square."""
    chip = aimc_sim.Chip.from_model(model, presets.ideal().with_(changes), example=given)
    chip.program(0).calibrate(given)
    with torch.no_grad():
        expected = model(given)
    return float((chip(given) - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt())


def test_outliers_cost_input_codes_and_a_rotation_gives_them_back():
    given = inputs("language", 12, 8)
    spread = outliers(network("language"))
    assert off(network("language"), spread, "language") <= 1e-12
    assert isinstance(spread.norm, nn.LayerNorm)
    spread = spread.float()
    rotated = transforms.rotate(spread, given)
    six = {"core.dac.bits": 6}
    plain, turned = chip_error(spread, given, six), chip_error(rotated, given, six)
    assert plain > 2.5 * turned
    assert chip_error(rotated, given, {}) < 1e-5


def test_ranges_belong_to_the_network_they_were_calibrated_with():
    given = inputs("language", 12, 8)
    spread = outliers(network("language")).float()
    rotated = transforms.rotate(spread, given)
    spec = presets.ideal().with_({"core.dac.bits": 6})
    seen = []
    for model in (spread, rotated):
        handle = model.blocks[0].up.register_forward_pre_hook(
            lambda _, args: seen.append(float(args[0].abs().max()))
        )
        with torch.no_grad():
            model(given)
        handle.remove()
    assert seen[0] > 3 * seen[1]  # one range for both would waste or clip
    chip = aimc_sim.Chip.from_model(rotated, spec, example=given).program(0)
    with pytest.warns(UserWarning, match="the chip was not calibrated"):
        chip(given)


def test_row_groups_have_their_own_converters():
    given = inputs("language", 12, 8)
    plain = copy.deepcopy(network("language")).float()
    with torch.no_grad():
        plain.embedding.weight[:, :2] *= 40.0  # the stream varies along two directions most
    rotated = transforms.rotate(plain, given, "pca", high=2)
    split = transforms.split_rows(rotated, given, 2)
    with torch.no_grad():
        torch.testing.assert_close(split(given), rotated(given), rtol=1e-4, atol=1e-5)
    assert split.blocks[0].attention.q.high.in_features == 2
    assert split.blocks[0].attention.q.low.bias is None
    # Positions are a slice too: its range must not be taken for that of the slices read here.
    assert chip_error(split, given, {"core.dac.bits": 8}) < 0.05
    few = {"core.dac.bits": 4}
    coarse = {"core.dac.bits": 8, "layers": {"*.high": few, "*.low": few}}
    mixed = {"core.dac.bits": 8, "layers": {"*.low": few}}
    shared = {
        "core.dac.bits": 8,
        "layers": dict.fromkeys(("*.q", "*.k", "*.v", "*.up", "head"), few),
    }
    # One scale for all rows; one for each group; and more bits for the first group: 12, 8, 6 %.
    cases = [(rotated, shared), (split, coarse), (split, mixed)]
    errors = [chip_error(model, given, changes) for model, changes in cases]
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.85 * errors[1]


def test_split_rows_wants_folded_norms_and_layers_of_their_own():
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="fold them first"):
        transforms.split_rows(network("language"), inputs("language"), 4)
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=r"no layer of its own"):
        transforms.split_rows(made("encoder", "folded"), inputs("encoder"), 4)
    with pytest.raises(ValueError, match="high = 16"):
        transforms.split_rows(made("language", "folded"), inputs("language"), WIDTH)


# ------------------------------------------------------------------------------- attention


def test_full_rank_is_the_network_and_the_budget_is_kept():
    model, given = network("language"), inputs("language", 12, 4)
    full = transforms.low_rank_attention(model, given, share=1.0)
    assert off(model, full.model, "language") <= 1e-10
    assert [r.written for r in full.ranks] == [1.0, 1.0]
    found = transforms.low_rank_attention(model, given, budget=0.2)
    for ranks in found.ranks:
        assert 0 < ranks.error <= 0.2
        assert ranks.written < 1.0
    tight = transforms.low_rank_attention(model, given, budget=0.02)
    for wide, narrow in zip(found.ranks, tight.ranks, strict=True):
        assert wide.written <= narrow.written
    first = found.ranks[0]
    rows = found.model.blocks[0].attention.v.weight.view(HEADS, -1, WIDTH)
    assert torch.equal(rows[:, first.values :], torch.zeros_like(rows[:, first.values :]))
    assert not (rows[:, : first.values] == 0).all(-1).any()
    for arguments in ({}, {"budget": 0.1, "share": 0.9}, {"budget": 2.0}):
        with pytest.raises(ValueError, match="budget"):
            transforms.low_rank_attention(model, given, **arguments)


def test_reused_attention_runs_on_the_chip_and_drops_three_products():
    plain = settled(Language(3))
    given = inputs("language")
    assert transforms.attentions(plain, given) == tuple(f"blocks.{n}.attention" for n in range(3))
    reused = transforms.reuse_attention(plain, given, [1, 2])
    count = [sum(p.numel() for p in m.parameters() if p.dim() > 1) for m in (plain, reused)]
    assert count[0] - count[1] == 2 * (3 - 1) * WIDTH**2
    reused(given).sum().backward()
    assert float(reused.blocks[1].attention.transform.weight.grad.abs().sum()) > 0
    chip = aimc_sim.Chip.from_model(reused, presets.ideal(), example=given).program(0)
    with torch.no_grad():
        torch.testing.assert_close(chip(given), reused(given), rtol=1e-4, atol=1e-5)
        heads = []
        reused.blocks[0].attention.o.projection.register_forward_pre_hook(
            lambda _, args: heads.append(args[0])
        )
        result = []
        reused.blocks[1].attention.register_forward_hook(lambda *args: result.append(args[2]))
        reused(given)
        block = reused.blocks[1].attention
        expected = block.projection(nn.functional.gelu(block.transform(block.norm(heads[0]))))
        torch.testing.assert_close(result[0], expected)
        with pytest.raises(RuntimeError, match="run the whole network"):
            block(torch.zeros(1, 1, WIDTH))
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="no layer that is called"):
        transforms.reuse_attention(network("encoder"), inputs("encoder"), [1])
    with pytest.raises(ValueError, match="reused"):
        transforms.reuse_attention(plain, given, [0])


def test_clipping_subtracts_cuts_and_keeps_signs():
    g = torch.tensor([1.0, 2.0, 5.0, 60.0, 100.0]) * 1e-7
    found = transforms.clip_conductances(g, 1e-7, 1e-5, alpha=2.0, beta=0.5)
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 3.0, 50.0, 50.0]) * 1e-7)
    values = torch.tensor([-4.0, -1.0, 0.0, 0.5, 2.0])
    kept = transforms.clip_values(values, 0.0, 25e-6, alpha=1.0, beta=0.5)
    torch.testing.assert_close(kept, values.clamp(-2, 2))
    unchanged = transforms.clip_values(values, 0.0, 25e-6, alpha=1.0, beta=1.0)
    torch.testing.assert_close(unchanged, values)
    for arguments in ({"alpha": 0.5}, {"beta": 0.0}, {"beta": 1.5}):
        with pytest.raises(ValueError, match=r"alpha|beta"):
            transforms.clip_conductances(g, 1e-7, 1e-5, **arguments)
    with pytest.raises(ValueError, match="outside of"):
        transforms.clip_conductances(g * 10, 1e-7, 1e-5)


def test_two_uses_of_a_parameter_that_disagree_are_refused():
    plain, _, flow = parity.opened(network("language"), inputs("language"))
    edits = Edits(plain, flow)
    use = flow.products[next(iter(flow.products))][0].use
    edits.write(use, edits.value(use))
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="need different numbers"):
        edits.write(use, edits.value(use) + 1.0)
    assert WORDS == network("language").embedding.num_embeddings
