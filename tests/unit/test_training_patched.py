"""What else than torch's own forward a layer would run is refused by name, or acts exactly."""

from __future__ import annotations

import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

import aimc_sim
from aimc_sim import presets
from aimc_sim.training import OFF, analog_layers, finalize, prepare

TDP, IDEAL = presets.hermes("tdp"), presets.ideal()


def values(*shape, seed=0):
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


def method(layer, name, function):
    setattr(layer, name, types.MethodType(function, layer))
    return layer


def doubled(self, x, *rest):
    return 2 * F.linear(x, self.weight, self.bias)


def attention(change):
    layer = nn.MultiheadAttention(4, 2)
    change(layer)
    return layer


def hooked(layer, register, hook):
    getattr(layer, register)(hook)
    return layer


def standardise(self, x, weight, bias):
    return F.conv2d(x, weight / weight.std(), bias)


def lookup(module, inputs, output=None):
    return None


def own_call(layer):
    old = layer.forward
    layer.forward = lambda *x: 2 * old(*x)
    return layer


LAYERS = {
    "forward as a method": (lambda: method(nn.Linear(2, 2), "forward", doubled), "'forward'"),
    "forward as a function": (lambda: own_call(nn.Linear(2, 2)), "'forward'"),
    "weight standardisation": (
        lambda: method(nn.Conv2d(2, 2, 1), "_conv_forward", standardise), "'_conv_forward'",
    ),
    "call": (lambda: method(nn.Linear(2, 2), "_call_impl", doubled), "'_call_impl'"),
    "transposed": (lambda: own_call(nn.ConvTranspose2d(2, 2, 1)), "'forward'"),
    "recurrent": (lambda: own_call(nn.GRU(2, 2)), "'forward'"),
    "attention": (lambda: attention(own_call), "'forward'"),
    "hook": (
        lambda: hooked(nn.Linear(2, 2), "register_forward_hook", lookup), r"forward hook \(lookup",
    ),
    "pre-hook": (
        lambda: hooked(nn.LSTM(2, 2), "register_forward_pre_hook", lookup),
        r"forward pre-hook \(lookup",
    ),
    "parametrised": (
        lambda: parametrizations.weight_norm(nn.Linear(2, 2)),
        r"'0.weight' is parametrised.*remove_parametrizations\(layer, 'weight'\)",
    ),
    "parametrised in a convolution": (
        lambda: parametrizations.spectral_norm(nn.Conv2d(2, 2, 1)), "'0.weight' is parametrised",
    ),
    "parametrised in a recurrent layer": (
        lambda: parametrizations.weight_norm(nn.LSTM(2, 2), "weight_hh_l0"),
        "'0.weight_hh_l0' is parametrised",
    ),
    "parametrised in an attention": (
        lambda: attention(lambda a: parametrizations.orthogonal(a.out_proj)),
        "'0.out_proj.weight' is parametrised",
    ),
    "pruned in an attention": (
        lambda: attention(lambda a: prune.l1_unstructured(a.out_proj, "weight", 0.5)),
        "'0.out_proj.weight' is computed by a hook",
    ),
    "pruned": (
        lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", 0.5),
        r"'0.weight' is computed by a hook.*torch\.nn\.utils\.prune\.remove\(layer, 'weight'\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_layers_with_more_than_torchs_code_are_refused(case):
    make, match = LAYERS[case]
    layer = make()
    model = nn.Sequential(layer, nn.Linear(2, 2))
    with pytest.raises(ValueError, match=match) as error:
        prepare(model, TDP)
    assert "\n" not in str(error.value)
    pattern = "0.*" if isinstance(layer, nn.MultiheadAttention) else "0"
    if "pruned" in case:  # torch cannot copy such a layer, digital or not
        return
    assert f"where={{'{pattern}': 'digital'}}" in str(error.value)
    if not isinstance(vars(layer).get("forward"), types.FunctionType):
        left = dict(analog_layers(prepare(model, TDP, where={pattern: "digital"})))
        assert set(left) == {"1"}


@pytest.mark.parametrize(
    ("kind", "name"), [(nn.Linear, "forward"), (nn.Conv2d, "_conv_forward"), (nn.GRU, "forward")]
)
def test_methods_replaced_on_torchs_classes_are_refused(kind, name, monkeypatch):
    before = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda self, *x: before(self, *x))
    with pytest.raises(ValueError, match=f"method '{name}' of layer '0' was replaced"):
        prepare(nn.Sequential(kind(2, 2, 1)), TDP)


class OwnFeedForward(nn.TransformerEncoderLayer):
    def _ff_block(self, x):
        return self.linear2(self.linear1(x)).tanh()


@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_that_torch_runs_with_gradients_only_are_refused(norm_first):
    """torch itself gives two answers for such a layer; a prepared one would give one of them."""
    layer = OwnFeedForward(8, 2, 12, 0.0, batch_first=True, norm_first=norm_first).eval()
    x = values(3, 5, 8)
    with torch.no_grad():
        without = layer(x)
    assert not torch.allclose(layer(x), without)
    other = method(nn.TransformerEncoderLayer(8, 2), "_sa_block", lambda self, x, *rest: x)
    for changed in (layer, other):
        model = nn.Sequential(changed, nn.Linear(8, 2))
        with pytest.raises(ValueError, match=r"'0' has a '_(ff|sa)_block' of its own"):
            prepare(model, TDP)
        assert set(dict(analog_layers(prepare(model, TDP, where={"0.*": "digital"})))) == {"1"}


class Net(nn.Module):
    """Two layers, and what a test puts around them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.body(x))


def by_closure(net):
    net.forward = lambda x: net.head(net.body(x).square())


def by_the_method_of_before(net):
    old = net.body.forward
    net.body.forward = lambda x: old(x) + 1


def by_a_list_of_layers(net):
    layers = [net.head]
    net.body[1].forward = lambda x: layers[0](x.relu())


def by_a_hook(net):
    net.body.register_forward_hook(lambda module, given, y: net.head(y))


AROUND = {
    by_closure: "'forward' of 'Net' was replaced by a function that holds layers",
    by_the_method_of_before: "'forward' of 'body' was replaced by a function that holds layers",
    by_a_list_of_layers: r"'forward' of 'body\.1' was replaced by a function that holds layers",
    by_a_hook: r"'body' has a forward hook \(by_a_hook.*holds layers of this very network",
}


@pytest.mark.parametrize("change", AROUND)
def test_a_copy_never_runs_the_original(change):
    net = Net()
    change(net)
    with pytest.raises(ValueError, match=AROUND[change]) as error:
        prepare(net, TDP)
    assert "\n" not in str(error.value)


def squared(self, x):
    return self.head(self.body(x).square())


def test_methods_bound_to_their_module_act_on_the_copy():
    torch.manual_seed(0)  # of some first weights all units are idle
    net = method(Net(), "forward", squared).train()
    x = values(4, 3)
    prepared = prepare(net, TDP)
    assert prepared.forward.__self__ is prepared
    assert not torch.equal(prepared(x), prepared(x))  # the noise acts
    prepared(x).sum().backward()
    assert all(p.grad.any() for p in prepared.parameters())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(prepare(net, IDEAL, OFF)(x), net(x))
    assert torch.equal(finalize(prepared)(x), net(x))


def attend(self, x, attn_mask, key_padding_mask, is_causal=False):
    return 2 * self.self_attn(x, x, x, need_weights=False)[0]


def attend_past(self, x, attn_mask, key_padding_mask, is_causal=False):
    return F.linear(x, self.self_attn.in_proj_weight[:4])


def test_a_replaced_block_of_an_encoder_layer_is_refused():
    """One that calls the layers, and one that reads their weights past the noise."""
    plain = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    layer = method(plain, "_sa_block", attend).train()
    with pytest.raises(ValueError, match="has a '_sa_block' of its own"):
        prepare(layer, IDEAL, OFF)
    method(layer, "_sa_block", attend_past)
    with pytest.raises(ValueError, match=r"'_sa_block' of 'Trans.*reads weights"):
        prepare(layer, TDP)


def test_methods_that_compute_nothing_may_be_replaced():
    layer = nn.LSTM(2, 2)
    layer.flatten_parameters = lambda: None
    assert dict(analog_layers(prepare(layer, TDP)))


def test_compiled_calls_are_those_of_the_copy():
    net = Net().train()
    net.head.compile(backend="eager")
    prepared = prepare(net, TDP)
    x = values(4, 3)
    assert not torch.equal(prepared.head(x), prepared.head(x))


@pytest.mark.parametrize("acts", [False, True])
def test_global_hooks_see_and_change_what_they_did(acts):
    seen = []

    def hook(module, given, output):
        seen.append(type(module))
        return output + 1 if acts and isinstance(module, nn.Linear) else None

    net, x = Net(), values(4, 3)
    off, noisy = prepare(net, IDEAL, OFF), prepare(net.train(), TDP)
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        wanted, plain = net(x), list(seen)
        seen.clear()
        assert torch.equal(off(x), wanted)
        assert len(seen) == len(plain)
        assert all(issubclass(own, kind) for own, kind in zip(seen, plain, strict=True))
        assert not torch.equal(noisy(x), noisy(x))
    finally:
        handle.remove()
    assert torch.equal(net(x), wanted) is not acts


class Reads(Net):
    """A forward method that reads a weight past its layer."""

    def forward(self, x):
        return F.linear(self.body(x), self.head.weight)


def test_weights_trained_past_their_layer_are_told_at_the_end():
    def trained(net):
        prepared = prepare(net.train(), TDP)
        optimizer = torch.optim.SGD(prepared.parameters(), 0.1)
        prepared(values(4, 3)).sum().backward()
        optimizer.step()
        return prepared

    with pytest.warns(UserWarning, match="layer 'head' never ran in training, though its weights"):
        finalize(trained(Reads()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finalize(trained(Net()))
        finalize(prepare(Net(), TDP))


# -------------------------------------------------------------------- the choice of layers


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 1)
        self.attn = nn.MultiheadAttention(4, 2, batch_first=True)
        self.mixed = nn.MultiheadAttention(4, 2, kdim=3, vdim=2, batch_first=True)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x).transpose(1, 2)
        x = self.attn(x, x, x, need_weights=False)[0]
        x = self.mixed(x, x[..., :3], x[..., :2], need_weights=False)[0]
        return self.fc(self.lstm(x)[0])


CHOICES = {
    "all": None,
    "a list": ["fc", "*.out_proj"],
    "a pattern": {"attn.*": "digital"},
    "one projection": {"attn.in_proj": "digital", "mixed.k_proj": "digital"},
    "the last one": {"*": "digital", "*_proj": "analog", "mixed.*": "digital", "lstm": "analog"},
    "an iterator": (name for name in ("conv", "mixed.v_proj")),
}


def on_crossbars(prepared):
    found = set()
    for path, layer in analog_layers(prepared):
        if isinstance(layer, nn.MultiheadAttention):
            names = (name.removesuffix("_weight") for name in layer.matrices())
            found |= {f"{path}.{name.removesuffix('.weight')}" for name in names}
        else:
            found.add(path)
    return found


@pytest.mark.parametrize("case", CHOICES)
def test_where_means_the_same_in_training_and_on_the_chip(case):
    where = CHOICES[case]
    where = list(where) if case == "an iterator" else where
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Parts().eval()
    spec = IDEAL.with_({"fabric.rows": 4, "fabric.cols": 5})
    compiled = aimc_sim.Chip.from_model(model, spec, where=where).compiled
    chip = {layer.name.split(".weight_")[0] for layer in compiled.layers}
    prepared = prepare(model, spec, where=iter(where) if case == "an iterator" else where)
    assert on_crossbars(prepared) == chip
    x = values(2, 4, 5)
    assert torch.allclose(prepared(x), model(x), atol=1e-5)
    noisy = prepare(model, TDP, where=where).train()
    noisy(x).square().sum().backward()
    assert all(p.grad.any() for n, p in noisy.named_parameters() if "weight" in n)


WRONG = {
    "unknown": {"lstmm": "digital"},
    "an attention as a whole": {"attn": "digital"},
    "a side": {"fc": "off"},
    "a text": "fc",
    "nothing": [],
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_chip_refuses_as_where_training_refuses(case):
    model, errors = Parts().eval(), []
    for call in (aimc_sim.Chip.from_model, prepare):
        with pytest.raises((ValueError, TypeError)) as error:
            call(model, IDEAL, where=WRONG[case])
        errors.append(error)
    if case != "nothing":
        chip, training = errors
        assert chip.type is training.type
        assert str(chip.value).split("; ")[0] == str(training.value).split("; ")[0]


def test_a_model_that_is_one_layer_has_the_chips_name():
    for call in (aimc_sim.Chip.from_model, prepare):
        with pytest.raises(ValueError, match=r"'fc' matches no layer.*there are: Linear$"):
            call(nn.Linear(2, 2), IDEAL, where={"fc": "digital"})
