"""The chip paper's ResNet-9 and LSTM, small transformers, entries of the zoo, Penn Treebank."""

import lzma
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim.zoo import (
    char_lstm,
    char_transformer,
    char_units,
    load,
    ptb_characters,
    record,
    resnet9,
    stored,
    vit,
)
from aimc_sim.zoo.entries import ENTRIES
from aimc_sim.zoo.text import PTB_CHARACTERS, encode


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(a, b):
    return all(torch.equal(value, b[key]) for key, value in a.items())


def weights_of(network):
    return sum(p.numel() for p in network.parameters() if p.ndim > 1 and p.requires_grad)


# ----------------------------------------------------------------------------- ResNet-9


def test_resnet9_has_the_papers_counts():
    network = resnet9()
    assert weights_of(network) == 1_866_536
    assert sum(p.numel() for p in network.parameters()) == 1_869_122
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    shapes = [(m.weight[0].numel(), m.weight.shape[0]) for m in layers]
    assert shapes == [
        (27, 56), (504, 112), (1008, 112), (1008, 112), (1008, 224),
        (2016, 224), (2016, 224), (2016, 224), (224, 10),
    ]  # fmt: skip
    # On cores of 256 x 256 that is the paper's 40.
    assert sum(math.ceil(i / 256) * math.ceil(o / 256) for i, o in shapes) == 40


def test_resnet9_computes_what_is_written_out_here():
    network = resnet9()
    for part in network.modules():  # batch norms that do something
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=seeded(1))
            part.bias.data.normal_(generator=seeded(2))
    x = torch.randn(2, 3, 32, 32, generator=seeded())

    def layer(i, y):
        return getattr(network, f"bn{i}")(getattr(network, f"conv{i}")(y))

    with torch.inference_mode():
        first = F.max_pool2d(layer(1, layer(0, x).relu()).relu(), 2)
        second = (layer(3, layer(2, first).relu()) + first).relu()
        third = F.max_pool2d(layer(4, second).relu(), 2)
        fourth = F.max_pool2d(layer(5, third).relu(), 2)
        fifth = (layer(7, layer(6, fourth).relu()) + fourth).relu()
        assert (first.shape[2], third.shape[2], fifth.shape[2]) == (16, 8, 4)
        expected = network.dense(fifth.amax(dim=(2, 3)))
        assert torch.equal(network(x), expected)
        assert torch.equal(torch.fx.symbolic_trace(network)(x), expected)


def test_resnet9_draws_repeat_and_bad_requests_are_refused(tmp_path):
    before = torch.get_rng_state()
    assert same(resnet9().state_dict(), resnet9().state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="num_classes = 0"):
        resnet9(0)
    torch.save(resnet9(100).state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match=r"'dense.weight' .*wanted \(10, 224\); pass num_classes=100"
    ):
        resnet9(weights=tmp_path / "w.pt")


# ---------------------------------------------------------------------------------- LSTM


def test_lstm_has_the_papers_counts():
    network = char_lstm()
    assert weights_of(network) == 1_299_312 == 128 * 2016 + 504 * 2016 + 504 * 50
    biases = [p for p in network.parameters() if p.ndim == 1 and p.requires_grad]
    assert sum(p.numel() for p in biases) == 2_066
    assert not network.lstm.bias_hh_l0.any()
    rows = network.embedding.weight
    torch.testing.assert_close(rows @ rows.T, 128 * torch.eye(50), rtol=1e-5, atol=1e-4)


def test_lstm_step_by_step_is_the_whole_sequence_and_the_textbook():
    network = char_lstm()
    tokens = torch.randint(50, (2, 12), generator=seeded())
    with torch.inference_mode():
        whole, last = network(tokens)
        assert whole.shape == (2, 12, 50)
        steps, state = [], None
        for t in range(12):
            scores, state = network(tokens[:, t : t + 1], state)
            steps.append(scores)
        torch.testing.assert_close(torch.cat(steps, 1), whole)
        torch.testing.assert_close(state, last)
        h = c = torch.zeros(2, 504)
        p = network.lstm
        for t in range(12):
            x = network.embedding(tokens[:, t])
            i, f, g, o = (x @ p.weight_ih_l0.T + h @ p.weight_hh_l0.T + p.bias_ih_l0).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        torch.testing.assert_close(network.dense(h), whole[:, -1])


def test_lstm_draws_repeat_and_differ_by_seed():
    before = torch.get_rng_state()
    network = char_lstm()
    assert torch.equal(torch.get_rng_state(), before)
    drawn = {key: value.clone() for key, value in network.state_dict().items()}
    assert same(drawn, char_lstm().state_dict())
    network.redraw(7)
    assert not torch.equal(drawn["embedding.weight"], network.embedding.weight)


# -------------------------------------------------------------------- soft spiking units


@pytest.mark.parametrize(("gated", "weights"), [(False, 343_728), (True, 662_256)])
def test_character_units_have_their_counts(gated, weights):
    """n units on m inputs: n (m + n) weights without the gate, twice as many with it."""
    network = char_units(axo_axonic=gated)
    assert weights_of(network) == weights == (1 + gated) * 504 * (128 + 504) + 504 * 50
    biases = sum(p.numel() for p in network.parameters() if p.ndim == 1)
    assert biases == (1 + gated) * 504 + 50
    assert not network.embedding.weight.requires_grad
    before = torch.get_rng_state()
    assert same(network.state_dict(), char_units(axo_axonic=gated).state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    network.redraw(7)
    assert not same(network.state_dict(), char_units(axo_axonic=gated).state_dict())


@pytest.mark.parametrize("gated", [False, True])
def test_character_units_carry_their_state_and_are_the_textbook(gated):
    network = char_units(axo_axonic=gated)
    torch.nn.init.normal_(network.units.threshold, generator=seeded(2))
    tokens = torch.randint(50, (2, 12), generator=seeded())
    with torch.inference_mode():
        whole, last = network(tokens)
        assert whole.shape == (2, 12, 50)
        steps, state = [], None
        for t in range(12):
            scores, state = network(tokens[:, t : t + 1], state)
            steps.append(scores)
        torch.testing.assert_close(torch.cat(steps, 1), whole)
        torch.testing.assert_close(state, last)
        s = y = torch.zeros(2, 504)
        u = network.units
        for t in range(12):
            x = network.embedding(tokens[:, t])
            gate = 1.0
            if gated:
                gate = (x @ u.gate_weight.T + y @ u.gate_recurrent_weight.T + u.gate_bias).sigmoid()
            s = x @ u.weight.T + y @ u.recurrent_weight.T + 0.8 * s * (1 - y)
            y = (s - u.threshold).sigmoid() * gate
        torch.testing.assert_close(network.dense(y), whole[:, -1])


# ------------------------------------------------------------------------------- entries


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_entry_loads_or_says_how_to_train_it(name, tmp_path, monkeypatch):
    entry = ENTRIES[name]
    monkeypatch.setattr(stored, "WEIGHTS_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not in this installation .*python -m .*--out"):
        load(name)
    with pytest.raises(FileNotFoundError, match="python -m"):
        record(name)
    path = tmp_path / entry.kind.shipped[entry.weights]
    state = {key: value.half() for key, value in entry.build().state_dict().items()}
    torch.save(state, path)
    path.with_suffix(".json").write_text('{"epochs": 3}')
    network = load(name)
    assert not network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert record(name) == {"epochs": 3}


def test_unknown_entry_and_path_name_the_choices(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"'resnet18' .*There are: resnet32, resnet9, lstm, "
        r"spiking, resnet32-digits, .*lstm-ptb",
    ):
        load("resnet18")
    with pytest.raises(FileNotFoundError, match=r"no weight file at .*shipped names"):
        char_lstm(tmp_path / "none.pt")


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_installed_weights_are_those_of_their_record(name):
    load(name)
    told = record(name)
    assert len(told["curve"]) == told["epochs"]
    assert told["command"].startswith("python -m aimc_sim.zoo.train_")
    assert "/" not in told["command"]  # no folder of the machine it was trained on


# ---------------------------------------------------------------------------------- text


def test_text_is_read_plain_and_packed(tmp_path):
    content = " t h e _ c a t \n < u n k > _ N \n"
    (tmp_path / "ptb.char.valid.txt").write_text(content)
    (tmp_path / "ptb.char.test.txt.xz").write_bytes(lzma.compress(content.encode()))
    texts = ptb_characters(tmp_path, "valid"), ptb_characters(str(tmp_path))
    for text in texts:
        assert "".join(PTB_CHARACTERS[i] for i in text.tokens) == "the_cat\n<unk>_N\n"
        assert text.tokens.dtype == torch.int64
    assert torch.equal(texts[0].tokens, encode("the_cat\n<unk>_N\n"))
    assert len(PTB_CHARACTERS) == len(set(PTB_CHARACTERS)) == 50


def test_missing_and_damaged_texts_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no 'ptb.char.train.txt' or .*xz' in .*give the"):
        ptb_characters(tmp_path, "train")
    with pytest.raises(ValueError, match="split = 'dev'"):
        ptb_characters(tmp_path, "dev")
    (tmp_path / "ptb.char.test.txt").write_text("T h e\n")
    with pytest.raises(ValueError, match=r"test.txt' holds 'T', which is none of the 50"):
        ptb_characters(tmp_path)
    whole = lzma.compress(b"a b c\n" * 1000)
    for broken in (b"not xz", whole[: len(whole) // 2], lzma.compress("é\n".encode())):
        (tmp_path / "ptb.char.valid.txt.xz").write_bytes(broken)
        with pytest.raises(ValueError, match=r"valid.txt.xz' is damaged"):
            ptb_characters(tmp_path, "valid")
    with pytest.raises(ValueError, match="the text holds ' '"):
        encode("a b")


# -------------------------------------------------------------------------- transformers


def attention_by_hand(block, y, causal):
    """One head after another, token by token, in float64."""
    query, key, value = (layer(y) for layer in (block.query, block.key, block.value))
    size = y.shape[-1] // block.heads
    found = torch.zeros_like(y)
    for head in range(block.heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].transpose(-1, -2) / size**0.5
        for token in range(y.shape[1]):
            last = token + 1 if causal else y.shape[1]
            weights = scores[:, token, :last].softmax(-1)
            found[:, token, part] = (weights[:, None] @ value[:, :last, part])[:, 0]
    return block.out(found)


@pytest.mark.parametrize("build", [char_transformer, vit])
def test_transformers_compute_what_is_written_out_here(build):
    network = build().double()
    causal = build is char_transformer
    if causal:
        given = torch.arange(14).view(2, 7) % 50
        x = network.embedding(given) + network.positions.weight[:7]
    else:
        given = torch.linspace(-1, 1, 2 * 3 * 32 * 32, dtype=torch.float64).view(2, 3, 32, 32)
        cut = given.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(2, 64, 48)
        x = cut @ network.patches.weight.flatten(1).T + network.patches.bias + network.positions
    with torch.no_grad():
        for block in network.blocks:
            x = x + attention_by_hand(block, block.norm1(x), causal)
            y = block.up(block.norm2(x))
            x = x + block.down(y * (1 + torch.erf(y / 2**0.5)) / 2)
        x = network.norm(x)
        torch.testing.assert_close(network.dense(x if causal else x.mean(1)), network(given))


def test_transformers_have_the_counts_that_they_say():
    count = {
        build: sum(p.numel() for p in build().parameters()) for build in (vit, char_transformer)
    }
    block = 12 * 128**2 + 13 * 128
    assert count[char_transformer] == 4 * block + (50 + 128) * 128 + 2 * 128 + 129 * 50 == 822_578
    assert count[vit] == 6 * block + 49 * 128 + 64 * 128 + 2 * 128 + 129 * 10 == 1_205_642
    before = torch.get_rng_state()
    assert same(vit().state_dict(), vit().state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="num_classes"):
        vit(0)
