"""Recurrent layers and attention in training: equal to torch without effects, noisy with them."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from aimc_sim import presets
from aimc_sim.training import OFF, TrainingSpec, analog_layers, finalize, prepare

TDP, IDEAL = presets.hermes("tdp"), presets.ideal()
STEPS = OFF.with_(hidden_limit=1e6)
"""Nothing, but step by step: a bound on the hidden state that it never reaches."""


def values(*shape, seed=0):
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Case:
    make: type
    options: tuple = ()

    def layer(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return self.make(5, 7, **dict(self.options))


CASES = {
    "lstm": Case(nn.LSTM),
    "lstm, all": Case(
        nn.LSTM,
        (("num_layers", 2), ("bidirectional", True), ("proj_size", 3), ("batch_first", True)),
    ),
    "gru": Case(nn.GRU, (("num_layers", 2), ("bidirectional", True))),
    "gru, no bias": Case(nn.GRU, (("bias", False), ("batch_first", True))),
    "rnn": Case(nn.RNN, (("bidirectional", True),)),
    "rnn, relu": Case(nn.RNN, (("nonlinearity", "relu"), ("num_layers", 2))),
}


def flat(result):
    """Return outputs and final states as a list of tensors."""
    output, state = result
    state = state if isinstance(state, tuple) else (state,)
    return [output.data if hasattr(output, "batch_sizes") else output, *state]


def states(layer, batch):
    directions = layer.num_layers * (2 if layer.bidirectional else 1)
    shapes = [(directions, batch, layer.proj_size or layer.hidden_size)]
    if isinstance(layer, nn.LSTM):
        shapes.append((directions, batch, layer.hidden_size))
    found = tuple(values(*shape, seed=i) for i, shape in enumerate(shapes))
    return found if len(found) > 1 else found[0]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [OFF, STEPS], ids=["fused", "steps"])
@pytest.mark.parametrize("name", CASES)
def test_without_effects_equals_torch(name, options):
    layer = CASES[name].layer()
    own = prepare(layer, IDEAL, options)
    packed = pack_sequence([values(n, 5, seed=n) for n in (3, 6, 1, 4)], enforce_sorted=False)
    inputs = [(values(4, 3, 5), None), (values(6, 5), None), (packed, None)]
    inputs.append((values(4, 4, 5), states(layer, 4)))
    inputs.append((packed, states(layer, 4)))
    for x, state in inputs:
        wanted, found = flat(layer(x, state)), flat(own(x, state))
        for a, b in zip(wanted, found, strict=True):
            assert a.shape == b.shape
            if options is OFF:
                assert torch.equal(a, b)
            assert torch.allclose(a, b, atol=2e-6)
        layer.zero_grad()
        own.zero_grad()
        sum((part**2).sum() for part in wanted).backward()
        sum((part**2).sum() for part in found).backward()
        for a, b in zip(layer.parameters(), own.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, atol=2e-5)


def test_packed_output_goes_on_as_packed():
    own = prepare(nn.LSTM(5, 7), IDEAL, STEPS)
    packed = pack_sequence([values(n, 5) for n in (2, 5)], enforce_sorted=False)
    output, _ = own(packed)
    lengths = nn.utils.rnn.pad_packed_sequence(output)[1]
    assert lengths.tolist() == [2, 5]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [{}, {"input_range": "off", "output_range": "off"}])
def test_noise_and_converters_act_with_gradients(options):
    layer = CASES["lstm, all"].layer()
    own = prepare(layer, TDP, TrainingSpec(**options)).train()
    x = values(4, 3, 5)
    a, b = own(x)[0], own(x)[0]
    assert not torch.equal(a, b)
    assert 1e-4 < (a - layer(x)[0]).abs().max() < 0.5
    b.sum().backward()
    assert all(p.grad.any() for p in own.parameters())
    assert set(own.analog) == set(own.matrices())
    plain = finalize(own)
    assert type(plain) is nn.LSTM
    assert list(plain.state_dict()) == list(layer.state_dict())
    assert all(torch.equal(u, v) for u, v in zip(flat(plain(x)), flat(layer(x)), strict=True))


def test_one_draw_of_the_weights_serves_all_time_steps():
    """The devices of a crossbar do not change from one character to the next."""
    layer = nn.RNN(1, 1, bias=False)
    layer.weight_ih_l0.data.fill_(1.0)
    layer.weight_hh_l0.data.fill_(0.0)
    own = prepare(layer, TDP, STEPS.with_(weight_noise="gaussian")).train()
    y = own(torch.full((5, 1, 1), 0.3))[0]
    assert torch.equal(y, y[:1].expand_as(y))
    assert y[0] != torch.tensor(0.3).tanh()


def test_hidden_limit_clips_what_is_fed_back():
    layer = nn.RNN(2, 3, bias=False)
    layer.weight_hh_l0.data = torch.eye(3)
    own = prepare(layer, IDEAL, OFF.with_(hidden_limit=0.06))
    x = torch.zeros(2, 1, 2)
    y, _ = own(x, torch.tensor([[[0.5, -0.5, 0.01]]]))
    assert torch.allclose(y[0, 0], torch.tensor([0.06, -0.06, 0.01]).tanh())


# ------------------------------------------------------------------------------ attention


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "bias": False},
        {"kdim": 6, "vdim": 10, "add_bias_kv": True, "add_zero_attn": True},
    ],
)
def test_attention_equals_torch_for_all_its_options(options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = nn.MultiheadAttention(8, 2, **options)
    off = prepare(layer, IDEAL, OFF)
    own = prepare(layer, IDEAL, TrainingSpec())
    q = values(4, 4, 8)
    k = values(4, 4, options.get("kdim", 8), seed=1)
    v = values(4, 4, options.get("vdim", 8), seed=2)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:, 3] = True
    for arguments in (
        {}, {"attn_mask": mask}, {"key_padding_mask": mask}, {"need_weights": False},
        {"average_attn_weights": False},
    ):  # fmt: skip
        wanted = layer(q, k, v, **arguments)
        for found in (off(q, k, v, **arguments), own(q, k, v, **arguments)):
            for a, b in zip(wanted, found, strict=True):
                assert (a is None and b is None) or torch.allclose(a, b, atol=2e-6)
    one = [part[:, 0] for part in (q, k, v)]
    assert torch.allclose(layer(*one)[0], own(*one)[0], atol=2e-6)


@pytest.fixture
def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        return nn.TransformerEncoder(layer, 2)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_fused_encoder_kernels_do_not_bypass_the_crossbars(encoder):
    """In evaluation without gradients torch reads the weights directly; converters must act."""
    prepared = prepare(encoder.eval(), TDP)
    assert len(dict(analog_layers(prepared))) == 6
    x = values(3, 5, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    for arguments in ({}, {"src_key_padding_mask": padding}):
        with torch.no_grad():
            plain = encoder(x, **arguments)
            found = prepared(x, **arguments)
        with_gradients = prepared(x, **arguments).detach()
        assert torch.equal(found, with_gradients)
        kept = ~padding
        assert 1e-4 < (found - plain)[kept].abs().max() < 0.3
    again = finalize(prepared)
    with torch.no_grad():
        assert torch.equal(again(x), encoder(x))
    assert again.use_nested_tensor == encoder.use_nested_tensor
    assert list(again.state_dict()) == list(encoder.state_dict())
    assert vars(again.layers[0]).keys() == vars(encoder.layers[0]).keys()


def test_attention_trains_and_resumes(encoder):
    options = TrainingSpec(output_noise_fraction=0.02, clip_sigma=2.0)
    prepared = prepare(encoder, TDP, options).train()
    x = values(3, 5, 8)
    prepared(x).square().sum().backward()
    assert all(p.grad.any() for p in prepared.parameters() if p.ndim > 1)
    weight = prepared.layers[0].self_attn.in_proj_weight.detach()
    start = encoder.layers[0].self_attn.in_proj_weight.detach()
    assert weight.abs().max() == pytest.approx(min(start.abs().max(), 2 * start.std()).item())
    other = prepare(encoder, TDP, options, seed=5).train()
    other.load_state_dict(copy.deepcopy(prepared.state_dict()))
    assert torch.equal(prepared(x), other(x))


def test_attention_can_stay_digital(encoder):
    where = {"*.self_attn.*": "digital"}
    found = {path for path, _ in analog_layers(prepare(encoder, TDP, where=where))}
    assert found == {f"layers.{i}.linear{k}" for i in range(2) for k in (1, 2)}
