"""What ordinary Python around a network can do: the chip equals torch, or says what it refuses.

Every test here is one kind of fault that once gave other numbers without a word, with its
neighbours. A refusal must be an error of this package and name a layer, an operation or a size.
"""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
import textwrap
import types

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from networks.cases import leaves
from networks.test_networks import differs
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import aimc_sim
from aimc_sim import presets, training
from aimc_sim.errors import MappingError, UnsupportedLayerError

TOLERANCE = 1e-4
REFUSAL = (UnsupportedLayerError, MappingError)
IDEAL = presets.ideal()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def torch_says(model, *inputs):
    """Outputs of torch in evaluation mode, on copies of model and inputs."""
    model, inputs = copy.deepcopy((model, inputs))
    with torch.no_grad():
        return [leaf.clone() for leaf in leaves(model.eval()(*inputs))]


def equal_or_refused(model, *calls, names, expected=None, with_example=True):
    """Return "equal" or "refused"; anything else fails.

    ``calls`` are tuples of inputs: the first is the example, all are compared, on one chip;
    those of other sizes than the first may be refused one by one. ``names`` is a regular
    expression of which a refusal must contain a match: the layer, the operation, or the size.
    Without the example, a refusal may ask for it.
    """
    torch.manual_seed(5)
    model.eval()
    if expected is None:
        expected = [torch_says(model, *inputs) for inputs in calls]
    first = calls[0][0] if len(calls[0]) == 1 else calls[0]
    try:
        example = copy.deepcopy(first) if with_example else None
        chip = aimc_sim.Chip.from_model(model, IDEAL, example=example).program(0)
    except REFUSAL as error:
        return refused(error, names if with_example else f"{names}|example=")
    verdict = "equal"
    for i, (inputs, theirs) in enumerate(zip(calls, expected, strict=True)):
        try:
            mine = leaves(chip(*copy.deepcopy(inputs)))
        except ValueError as error:
            if [x.shape for x in inputs] == [x.shape for x in calls[0]]:
                raise  # what was recorded must run
            verdict = refused(error, names)
            continue
        wrong = differs(mine, theirs, TOLERANCE)
        assert not wrong, f"call {i}: {wrong}, without a word"
    return verdict


def refused(error, names):
    """Return "refused" if the error says what is refused: by its name in the network, or else."""
    named = rf"(layer|operation|module|input) '[^']+'|forward method|{names}"
    assert re.search(named, str(error)), f"the refusal names neither {names!r}: {error}"
    return "refused"


def mostly_taken(check, table, made, share=0.9):
    """Fail if more is refused than is reasonable: refusing everything is no front end.

    What torch itself refuses with gradients (changes through one of several views, ``out=``)
    does not count: ``made`` gives the model of a name.
    """
    runs = [name for name in table if runs_with_gradients(made(name))]
    left_out = [name for name in runs if check(name) == "refused"]
    assert len(runs) > 0.75 * len(table)
    assert len(left_out) <= (1 - share) * len(runs), f"refused: {left_out}"


def runs_with_gradients(model):
    """Whether torch runs it on images while it records gradients."""
    try:
        model(IMAGES.clone())
    except RuntimeError:
        return False
    return True


class Two(nn.Module):
    """Two convolutions of six channels and a function of the first's output (and the second)."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x), self.b)


IMAGES = normal(2, 3, 4, 4)
NAMES = r"conv|\bb\b|relu|add|mul|clone|view|copy|in.place|clamp|slice|select|Two"


# ------------------------------------------------------------------------ copies and aliases


def _skip_of_a_clone(y, b):
    skip = y.clone()
    y += b(y)
    return y * skip


def _skip_without_clone(y, b):
    skip = y
    y += b(y)
    return y * skip


def _copied_into(y, b):
    z = torch.empty_like(y).copy_(y)
    return torch.relu_(z) + y


def _set_item(y, b):
    z = y.clone()
    z[:, 1:3] = 0.5
    return z - y


def _set_slice_of_itself(y, b):
    y[:, :2] = y[:, 2:4]
    return y


def _set_with_a_layer(y, b):
    y[:, :, 1] = b(y)[:, :, 0]
    return y + b(y)


def _running_sum(y, b):
    total = torch.zeros_like(y)
    for part in (y, b(y), torch.relu(y)):
        total += part
    return total


def _relu_twice(y, b):
    relu = nn.ReLU(inplace=True)
    return relu(y) - relu(b(y)) + y


COPIES = {
    "clone": lambda y, b: torch.relu_(y.clone()) + y,
    "torch.clone": lambda y, b: torch.relu_(torch.clone(y)) + y,
    "detach, clone": lambda y, b: torch.relu_(y.detach().clone()) + y,
    "detach": lambda y, b: torch.relu_(y.detach()) + y,
    "data": lambda y, b: torch.relu_(y.data) + y,
    "skip of a clone": _skip_of_a_clone,
    "skip without clone": _skip_without_clone,
    "contiguous is no copy": lambda y, b: y.contiguous().relu_() + y,
    "float is no copy": lambda y, b: y.float().relu_() + y,
    "to is no copy": lambda y, b: y.to(torch.float32).relu_() + y,
    "to with copy": lambda y, b: y.to(torch.float32, copy=True).relu_() + y,
    "double is a copy": lambda y, b: y.double().relu_().float() + y,
    "dropout is no copy": lambda y, b: F.dropout(y, 0.5, training=False).relu_() + y,
    "identity is no copy": lambda y, b: nn.Identity()(y).relu_() + y,
    "chosen channels are a copy": lambda y, b: y[:, [0, 1, 2, 3, 4, 5]].relu_() + y,
    "a slice is no copy": lambda y, b: y[:, :].relu_() + y,
    "sum with nothing is a copy": lambda y, b: (y + 0).relu_() + y,
    "cat of one is a copy": lambda y, b: torch.cat([y], 1).relu_() + y,
    "stack is a copy": lambda y, b: torch.stack([y], 1).relu_()[:, 0] + y,
    "repeat is a copy": lambda y, b: y.repeat(1, 1, 1, 1).relu_() + y,
    "deepcopy": lambda y, b: copy.copy(y).relu_() + y,
    "copied into": _copied_into,
    "set item": _set_item,
    "set a slice of itself": _set_slice_of_itself,
    "set with a layer": _set_with_a_layer,
    "running sum": _running_sum,
    "one relu twice": _relu_twice,
    "out": lambda y, b: torch.mul(y, 2, out=torch.empty_like(y)) + y,
    "pad of nothing": lambda y, b: F.pad(y, (0, 0)).relu_() + y,
    "type_as": lambda y, b: y.type_as(b.weight).relu_() + y,
    "zero_": lambda y, b: b(y) + y.zero_(),
    "before and after": lambda y, b: b(y) + b(y.relu_()) + y,
}


@functools.cache
def copies(name):
    return equal_or_refused(Two(COPIES[name]), (IMAGES,), (normal(3, 3, 4, 4),), names=NAMES)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_a_copy_and_an_alias_an_alias(name):
    copies(name)


@pytest.mark.slow
def test_copies_are_mostly_taken():
    mostly_taken(copies, COPIES, lambda name: Two(COPIES[name]))


# --------------------------------------------------------------------------------------- views

VIEWS = {
    "view": lambda y: y.view(y.shape[0], 2, 3, 4, 4),
    "view_as": lambda y: y.view_as(torch.empty(y.shape[0], 6, 16)),
    "reshape": lambda y: y.reshape(y.shape[0], 6, -1),
    "unsqueeze": lambda y: y.unsqueeze(1),
    "squeeze": lambda y: y[:, :1].squeeze(1),
    "transpose": lambda y: y.transpose(1, 2),
    "permute": lambda y: y.permute(0, 2, 3, 1),
    "movedim": lambda y: y.movedim(1, -1),
    "swapaxes": lambda y: y.swapaxes(1, 3),
    "flatten": lambda y: y.flatten(2),
    "ravel of each": lambda y: y.flatten(1),
    "unflatten": lambda y: y.unflatten(1, (2, 3)),
    "expand": lambda y: y.unsqueeze(1).expand(-1, 3, -1, -1, -1),
    "expand_as": lambda y: y[:, :1].expand_as(y),
    "mT": lambda y: y.mT,
    "slice": lambda y: y[:, 1:5, ::2],
    "select": lambda y: y[:, 2],
    "ellipsis": lambda y: y[..., 1],
    "narrow": lambda y: y.narrow(1, 1, 3),
    "chunk": lambda y: y.chunk(2, 1)[1],
    "split": lambda y: y.split(2, 1)[2],
    "tensor_split": lambda y: y.tensor_split(3, 1)[0],
    "unbind": lambda y: y.unbind(1)[3],
    "diagonal": lambda y: y.diagonal(0, 2, 3),
    "unfold": lambda y: y.unfold(2, 2, 2),
    "detach": lambda y: y.detach(),
    "contiguous": lambda y: y.contiguous(),
    "cat": lambda y: torch.cat([y], 1),
    "view of a view": lambda y: y.permute(0, 2, 3, 1)[:, 1].transpose(1, 2),
    "reshape that copies": lambda y: y.permute(0, 2, 3, 1).reshape(y.shape[0], -1),
    "as_strided": lambda y: y.as_strided(tuple(y.shape), y.stride()),
}


def _set_first(z):
    z[:, 0] = 0.25


def _set_where(z):
    z[z < 0] = 0.1


CHANGES = {
    "relu_": torch.relu_,
    "F.relu": lambda z: F.relu(z, inplace=True),
    "nn.ReLU6": lambda z: nn.ReLU6(inplace=True)(z),
    "mul_": lambda z: z.mul_(-0.5),
    "+=": lambda z: z.add_(1.5),
    "clamp_": lambda z: z.clamp_(-0.1, 0.2),
    "set item": _set_first,
    "masked_fill_": lambda z: z.masked_fill_(z > 0.1, -1.0),
    "copy_": lambda z: z.copy_(z * 2 + 1),
}


class Viewed(nn.Module):
    """A view of the convolution's output; one of both is changed, the other returned."""

    def __init__(self, view, change, changed):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.view, self.change, self.changed = view, change, changed

    def forward(self, x):
        y = self.conv(x)
        z = self.view(y)
        if self.changed == "base":
            self.change(y)
            return z * 1.0
        self.change(z)
        return y * 1.0


VIEWED = [
    *[(view, "relu_", changed) for view in VIEWS for changed in ("base", "view")
      if not (view.startswith("expand") and changed == "view")],  # which torch refuses itself
    *[(view, change, changed) for view in ("view", "chunk", "transpose") for change in CHANGES
      for changed in ("base", "view") if change != "relu_"],
]  # fmt: skip


@functools.cache
def viewed(case):
    view, change, changed = case
    model = Viewed(VIEWS[view], CHANGES[change], changed)
    return equal_or_refused(model, (IMAGES,), (normal(3, 3, 4, 4),), names=NAMES + f"|{view}")


def _often(case):
    """One view of every kind always, every change through every view in the slow tier."""
    view, change, _ = case
    return pytest.param(
        case, marks=[] if change == "relu_" or view == "view" else [pytest.mark.slow],
        id=", ".join(case),
    )  # fmt: skip


@pytest.mark.parametrize("case", [_often(case) for case in VIEWED])
def test_what_is_changed_through_a_view_is_changed(case):
    viewed(case)


@pytest.mark.slow
def test_views_are_mostly_taken():
    mostly_taken(viewed, VIEWED, lambda case: Viewed(VIEWS[case[0]], CHANGES[case[1]], case[2]))


def test_a_mask_of_the_data_is_equal_or_refused():
    model = Viewed(VIEWS["view"], _set_where, "view")
    equal_or_refused(model, (IMAGES,), names=r"index_put|index|nonzero|where|mask|conv")


# --------------------------------------------------------------------------- branches on types

BRANCHES = {
    "isinstance(x, Tensor)": lambda x: isinstance(x, torch.Tensor),
    "isinstance of several": lambda x: isinstance(x, (list, tuple)),
    "type(x) is Tensor": lambda x: type(x) is torch.Tensor,
    "type(x) == Tensor": lambda x: type(x) == torch.Tensor,  # noqa: E721
    "the class's name": lambda x: x.__class__.__name__ == "Tensor",
    "torch.is_tensor": torch.is_tensor,
    "hasattr": lambda x: hasattr(x, "data_ptr"),
    "hasattr of a proxy": lambda x: hasattr(x, "node"),
    "getattr": lambda x: getattr(x, "tracer", None) is None,
    "grad mode": lambda x: torch.is_grad_enabled(),
    "requires_grad": lambda x: x.requires_grad,
    "is_floating_point": lambda x: x.is_floating_point(),
    "dtype": lambda x: x.dtype == torch.float32,
    "device": lambda x: x.device.type == "cpu",
    "is_cuda": lambda x: x.is_cuda,
    "dim": lambda x: x.dim() == 3,
    "ndim": lambda x: x.ndim > 2 and len(x.shape) == 3,
    "size": lambda x: x.shape[-1] == 8,
    "size is a number": lambda x: isinstance(x.shape[0], int),
    "type of a size": lambda x: type(x.shape[0]) is int,
    "isinstance(shape, tuple)": lambda x: isinstance(x.shape, tuple),
    "contiguous": lambda x: x.is_contiguous(),
    "stride": lambda x: x.stride(-1) == 1,
    "scripting": lambda x: torch.jit.is_scripting(),
    "tracing": lambda x: torch.jit.is_tracing(),
    "compiling": lambda x: torch.compiler.is_compiling(),
    "exporting": lambda x: torch.compiler.is_exporting(),
    "torch function": lambda x: torch.overrides.has_torch_function((x,)),
    "meta": lambda x: x.is_meta,
    "no view": lambda x: x._is_view(),
    "len": lambda x: len(x) > 1,
    "truth of a sum": lambda x: bool(x.sum() > 0),
    "item": lambda x: x.abs().max().item() > 0.1,
    "numpy": lambda x: x.detach().numpy().max() > 0.1,
    "float": lambda x: float(x.abs().mean()) > 0.01,
    "module mode": lambda x: nn.Module().train(False).training,
}


class Branch(nn.Module):
    """Goes one of two ways."""

    def __init__(self, question):
        super().__init__()
        self.a, self.b, self.question = nn.Linear(8, 5), nn.Linear(8, 5), question

    def forward(self, x):
        return self.a(x) if self.question(x) else self.b(x) * 2


LANGUAGE = r"\ba\b|\bb\b|Branch|data|item|numpy|sum|_local_scalar|[Gg]uard|is_|size|truth|question"


@pytest.mark.parametrize("question", BRANCHES)
def test_a_branch_goes_the_same_way(question):
    """Asked of the input, and of a layer's output."""
    model = nn.Sequential(Branch(BRANCHES[question]), nn.Linear(5, 8), Branch(BRANCHES[question]))
    equal_or_refused(model, (normal(4, 6, 8),), (normal(3, 6, 8, seed=2),), names=LANGUAGE)


class States(nn.Module):
    """Code for LSTM and GRU alike, which asks what it got."""

    def __init__(self, rnn, ask, read):
        super().__init__()
        self.rnn, self.out = rnn(5, 6, batch_first=True), nn.Linear(6, 3)
        self.ask, self.read = ask, read

    def forward(self, x):
        _, h = self.rnn(x)
        if self.ask(h):
            h = h[0]
        return self.out(self.read(h, x))


ASKS = {
    "isinstance(h, tuple)": lambda h: isinstance(h, tuple),
    "isinstance(h, (tuple, list))": lambda h: isinstance(h, (tuple, list)),
    "not a tensor": lambda h: not isinstance(h, torch.Tensor),
    "not torch.is_tensor": lambda h: not torch.is_tensor(h),
    "type(h) is tuple": lambda h: type(h) is tuple,
    "len": lambda h: len(h) == 2,
    "hasattr": lambda h: not hasattr(h, "reshape"),
}
READS = {
    "reshape": lambda h, x: h.reshape(x.shape[0], -1),
    "view": lambda h, x: h.transpose(0, 1).contiguous().view(-1, 6),
    "last": lambda h, x: h[-1],
    "squeeze": lambda h, x: h.squeeze(0),
}


@pytest.mark.parametrize("with_example", [True, False])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("rnn", ["LSTM", "GRU"])
def test_hidden_state_and_cell_state_are_not_mixed_up(rnn, ask, read, with_example):
    model = States(getattr(nn, rnn), ASKS[ask], READS[read])
    equal_or_refused(model, (normal(4, 6, 5),), names=r"rnn|out|States", with_example=with_example)


# ------------------------------------------------------- layers that compute something else


class Standardised(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        return super()._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), bias)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x) + 1


class CalledTwice(nn.Linear):
    def __call__(self, x):
        return super().__call__(x) + 3


class WithoutAttention(nn.TransformerEncoderLayer):
    def _sa_block(self, x, *arguments, **more):
        return 0.5 * x


class OtherFeedForward(nn.TransformerEncoderLayer):
    def _ff_block(self, x):
        return torch.tanh(self.linear2(torch.relu(self.linear1(x))))


class OtherAttention(nn.MultiheadAttention):
    def forward(self, query, key, value, **more):
        y, weights = super().forward(query, key, value, **more)
        return y * 3, weights


class OtherLstm(nn.LSTM):
    def forward(self, x, state=None):
        y, state = super().forward(x, state)
        return y * 2, state


class OtherNorm(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) + 1


class OtherRelu(nn.ReLU):
    def forward(self, x):
        return F.relu(x) - 0.5


class OtherPool(nn.MaxPool2d):
    def forward(self, x):
        return -super().forward(-x)


class OtherBlock(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def _norm_of(layer):
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    return layer


def _with_forward(layer, forward):
    layer.forward = types.MethodType(forward, layer)
    return layer


def _hooked(layer, hook, method="register_forward_hook", **more):
    getattr(layer, method)(hook, **more)
    return layer


def _method(layer, name, function):
    setattr(layer, name, types.MethodType(function, layer))
    return layer


def _conv_forward(self, x, weight, bias):
    return F.conv2d(x, weight * 2, bias, self.stride, self.padding)


def conv():
    return nn.Conv2d(3, 6, 3, padding=1)


def attended(layer):
    """A module that calls an attention with one tensor."""

    class Attended(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = layer

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    return Attended()


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


ENCODER = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "batch_first": True}
PATCHED = {
    "forward of a layer": lambda: nn.Sequential(
        _with_forward(conv(), lambda self, x: F.conv2d(x, self.weight * 2, padding=1)), nn.ReLU()),
    "forward that calls the old one": lambda: nn.Sequential(
        _with_forward(nn.Linear(4, 5), lambda self, x: nn.Linear.forward(self, x) * 3)),
    "forward that is a plain function": lambda: nn.Sequential(_plain(nn.Linear(4, 5))),
    "forward of the whole network": lambda: _with_forward(
        nn.Sequential(nn.Linear(4, 5), nn.ReLU()), lambda self, x: self[0](x) - 1),
    "_conv_forward": lambda: nn.Sequential(Standardised(3, 6, 3), nn.ReLU()),
    "_conv_forward of an instance": lambda: nn.Sequential(
        _method(conv(), "_conv_forward", _conv_forward)),
    "subclass of a linear layer": lambda: nn.Sequential(Doubled(4, 5), nn.ReLU()),
    "__call__ of a subclass": lambda: nn.Sequential(CalledTwice(4, 5), nn.ReLU()),
    "_sa_block": lambda: WithoutAttention(**ENCODER),
    "_ff_block": lambda: OtherFeedForward(**ENCODER),
    "_sa_block, norm first": lambda: WithoutAttention(**ENCODER, norm_first=True),
    "_ff_block of an instance": lambda: _method(
        nn.TransformerEncoderLayer(**ENCODER), "_ff_block", lambda self, x: x.sin()),
    "_sa_block inside an encoder": lambda: nn.TransformerEncoder(
        WithoutAttention(**ENCODER), 2, enable_nested_tensor=False),
    "subclass of an attention": lambda: attended(OtherAttention(8, 2, batch_first=True)),
    "subclass of an LSTM": lambda: First(OtherLstm(8, 6, batch_first=True)),
    "forward of an LSTM": lambda: First(_with_forward(
        nn.LSTM(8, 6, batch_first=True), lambda self, x: (x.cumsum(1), None))),
    "subclass of a batch norm": lambda: nn.Sequential(conv(), _norm_of(OtherNorm(6))),
    "forward of a batch norm": lambda: nn.Sequential(
        conv(), _with_forward(_norm_of(nn.BatchNorm2d(6)), lambda self, x: x * 2)),
    "subclass of a ReLU": lambda: nn.Sequential(conv(), OtherRelu()),
    "subclass of a pool": lambda: nn.Sequential(conv(), OtherPool(2)),
    "subclass of a container": lambda: nn.Sequential(OtherBlock(conv(), nn.ReLU()), nn.Flatten()),
    "forward hook": lambda: nn.Sequential(_hooked(conv(), lambda m, x, y: y * 2)),
    "forward hook with keywords": lambda: nn.Sequential(
        _hooked(conv(), lambda m, x, k, y: y * 2, with_kwargs=True)),
    "forward pre-hook": lambda: nn.Sequential(
        _hooked(conv(), lambda m, x: (x[0] + 1,), "register_forward_pre_hook")),
    "hook on a container": lambda: nn.Sequential(
        _hooked(nn.Sequential(conv(), nn.ReLU()), lambda m, x, y: y + 1)),
    "hook on the whole network": lambda: _hooked(
        nn.Sequential(conv(), nn.ReLU()), lambda m, x, y: y + 1),
    "hook on a ReLU": lambda: nn.Sequential(conv(), _hooked(nn.ReLU(), lambda m, x, y: y + 1)),
    "hook that changes in place": lambda: nn.Sequential(
        _hooked(conv(), lambda m, x, y: _in_place(y))),
    "hook that changes the weight": lambda: nn.Sequential(
        _hooked(nn.Linear(4, 5), _halve, "register_forward_pre_hook")),
}  # fmt: skip


def _plain(layer):
    layer.forward = lambda x: F.linear(x, layer.weight.abs())
    return layer


def _in_place(y):
    y.mul_(2)


def _halve(layer, _):
    layer.bias.data.fill_(0.25)


def input_for(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return normal(2, 3, 6, 6), normal(3, 3, 6, 6)
        if isinstance(module, nn.Linear) and module.in_features == 4:
            return normal(2, 4), normal(3, 4)
    return normal(2, 5, 8), normal(3, 5, 8)


PATCH_NAMES = (
    r"'?\d'?|forward|hook|conv|Standardised|Doubled|CalledTwice|WithoutAttention|Other\w+|"
    r"attention|layer|_sa_block|_ff_block|override"
)


@pytest.mark.parametrize("name", PATCHED)
def test_a_layer_that_was_changed_is_not_taken_for_the_original(name):
    torch.manual_seed(2)
    model = PATCHED[name]()
    equal_or_refused(model, *((x,) for x in input_for(model)), names=PATCH_NAMES)


def _global_hook(module, inputs, output):
    return output * 2 if isinstance(module, nn.Linear) else None


def _global_pre_hook(module, inputs):
    return (inputs[0] + 1,) if isinstance(module, nn.Linear) else None


@pytest.mark.parametrize("kind", ["hook", "pre-hook"])
def test_global_hooks_act_or_are_refused(kind):
    model, x = nn.Sequential(nn.Linear(4, 5), nn.ReLU()), normal(3, 4)
    module = torch.nn.modules.module
    handle = (
        module.register_module_forward_hook(_global_hook)
        if kind == "hook"
        else module.register_module_forward_pre_hook(_global_pre_hook)
    )
    try:
        equal_or_refused(model, (x,), names="hook")
    finally:
        handle.remove()


def test_a_class_that_was_patched_is_not_taken_for_the_original(monkeypatch):
    old = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: old(self, x) - 2)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    equal_or_refused(model, (normal(3, 4),), names=r"Linear|forward|0")


def test_a_function_that_was_patched_is_not_taken_for_the_original(monkeypatch):
    old = F.relu
    monkeypatch.setattr(F, "relu", lambda x, inplace=False: old(x) - 2)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    equal_or_refused(model, (normal(3, 4),), names=r"relu|1")


TRAINED = [
    "forward of a layer", "forward that calls the old one", "forward that is a plain function",
    "_conv_forward", "_conv_forward of an instance", "subclass of a linear layer",
    "__call__ of a subclass", "_sa_block", "_ff_block", "subclass of an attention",
    "subclass of an LSTM", "forward of an LSTM", "forward hook", "forward pre-hook",
    "hook that changes the weight",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_training_feels_the_noise_of_a_changed_layer_or_refuses_it(name):
    torch.manual_seed(2)
    model = PATCHED[name]()
    x, _ = input_for(model)
    expected = torch_says(model, x)
    try:
        plain = training.prepare(model, IDEAL, training.OFF)
        noisy = training.prepare(model, presets.hermes("odp"))
    except ValueError as error:
        refused(error, PATCH_NAMES)
        return
    wrong = differs(torch_says(plain, x), expected, TOLERANCE)
    assert not wrong, f"without effects, {wrong}"
    for path, _ in training.analog_layers(noisy):
        alone = leaves(noisy.train()(x.clone()))
        with torch.no_grad():
            assert differs(alone, expected, 1e-3), f"the noise of '{path}' never acts"
        break
    else:
        pytest.fail("accepted, but no layer of it is trained for the chip")


# --------------------------------------------------------------------------------------- sizes


class Steps(nn.Module):
    """A linear layer, then something that depends on the length."""

    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 5), function

    def forward(self, x):
        return self.function(self.fc(x))


def _loop(y):
    total = y[:, 0]
    for t in range(1, y.shape[1]):
        total = torch.tanh(total + y[:, t])
    return total


def _loop_over_parts(y):
    return torch.stack([part.relu() for part in y.unbind(1)], 1)


def _halves(y):
    half = y.shape[1] // 2
    return y[:, :half].mean(1) - y[:, half:].mean(1)


SIZES = {
    "sum / size": lambda y: y.sum(1) / y.shape[1],
    "sum / size()": lambda y: y.sum(1) / y.size(1),
    "sum / len": lambda y: y.sum(1) / len(y[0]),
    "sum / numel": lambda y: y.sum(1) / (y.numel() / y.shape[0] / 5),
    "sqrt of the size": lambda y: y.sum(1) / y.shape[1] ** 0.5,
    "int of the size": lambda y: y[:, : int(y.shape[1] * 0.5)].sum(1),
    "float of the size": lambda y: y.sum(1) * float(y.shape[1]),
    "loop": _loop,
    "loop over parts": _loop_over_parts,
    "comprehension": lambda y: sum(y[:, t] * t for t in range(y.shape[1])),
    "halves": _halves,
    "reshape": lambda y: y.reshape(y.shape[0], y.shape[1] * 5).sum(1),
    "view with a hole": lambda y: y.view(y.shape[0], -1).sum(1),
    "positions": lambda y: y + torch.arange(y.shape[1]).view(1, -1, 1),
    "fixed positions": lambda y: y[:, :4] + torch.arange(4.0).view(1, -1, 1),
    "last step": lambda y: y[:, y.shape[1] - 1],
    "mask": lambda y: (y * torch.tril(torch.ones(y.shape[1], y.shape[1]))[:, :, None, None].sum(
        (1, 3))).sum(1),
    "full": lambda y: y + torch.full((y.shape[1], 1), 1.0 / y.shape[1]),
    "linspace": lambda y: y * torch.linspace(0, 1, y.shape[1])[:, None],
    "zeros joined": lambda y: torch.cat([y, y.new_zeros(y.shape[0], 2, 5)], 1).mean(1),
    "padded": lambda y: F.pad(y, (0, 0, 0, 12 - y.shape[1])).sum(2),
    "pooled": lambda y: F.avg_pool1d(y.transpose(1, 2), y.shape[1]).flatten(1),
    "enlarged": lambda y: F.interpolate(y.transpose(1, 2), size=2 * y.shape[1]),
    "repeated": lambda y: y.mean(1, keepdim=True).repeat(1, y.shape[1], 1),
    "expanded": lambda y: y.mean(1, keepdim=True).expand(-1, y.shape[1], -1) * 2,
    "branch on the size": lambda y: y.relu() if y.shape[1] > 6 else y * 2,
    "branch on odd": lambda y: y.relu() if y.shape[1] % 2 else y * 2,
    "min of sizes": lambda y: y[:, : min(y.shape[1], 7)].sum(1),
    "max of sizes": lambda y: y.sum(1) / max(y.shape[1], 7),
    "shape unpacked": lambda y: (lambda b, n, c: y.sum(1) / (n * c))(*y.shape),
    "string of the size": lambda y: y.sum(1) / int(str(y.shape[1])),
    "size of the batch": lambda y: y / y.shape[0],
    "branch on the batch": lambda y: y.relu() if y.shape[0] > 2 else y * 2,
    "loop over the batch": lambda y: torch.stack([y[i].sum(0) for i in range(y.shape[0])]),
    "batch in a view": lambda y: y.view(y.shape[0] * y.shape[1], 5).relu().view(*y.shape),
    "batch of one": lambda y: y.squeeze() if y.shape[0] == 1 else y.mean(1),
}  # fmt: skip

LENGTHS = r"\b(4|5|6|7|9|2|3|1|12)\b|size|shape|length|fc|batch"


@pytest.mark.parametrize("name", SIZES)
def test_other_sizes_are_computed_for_their_size(name):
    """In any order; back at the first size nothing of the others is left."""
    shapes = [(2, 6), (3, 6), (2, 9), (3, 4), (2, 6), (1, 6), (5, 7)]
    calls = [(normal(*shape, 4, seed=i),) for i, shape in enumerate(shapes)]
    equal_or_refused(Steps(SIZES[name]), *calls, names=LENGTHS)


IMAGE_SIZES = {
    "average over the image": lambda y: y.sum((2, 3)) / (y.shape[2] * y.shape[3]),
    "pool over the image": lambda y: F.avg_pool2d(y, y.shape[2:]),
    "positions": lambda y: y + torch.arange(y.shape[3]) / y.shape[3],
    "rows only": lambda y: y / y.shape[2],
    "columns only": lambda y: y.sum(3) / y.shape[3],
    "resized": lambda y: F.interpolate(y, size=(2 * y.shape[2], y.shape[3] + 1)),
    "padded to a multiple": lambda y: F.pad(y, (0, -y.shape[3] % 4, 0, -y.shape[2] % 4)),
    "branch": lambda y: y.relu() if y.shape[2] > y.shape[3] else -y,
    "windows": lambda y: y.unflatten(2, (y.shape[2] // 2, 2)).sum(3),
    "grid": lambda y: y * torch.stack(torch.meshgrid(
        torch.linspace(-1, 1, y.shape[2]), torch.linspace(-1, 1, y.shape[3]), indexing="ij"
    )).sum(0),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGE_SIZES)
def test_other_rows_and_columns_are_computed_for_their_size(name):
    function = IMAGE_SIZES[name]
    shapes = [(2, 3, 6, 8), (2, 3, 8, 6), (3, 3, 6, 12), (2, 3, 10, 8), (2, 3, 6, 8)]
    calls = [(normal(*shape, seed=i),) for i, shape in enumerate(shapes)]
    equal_or_refused(Two(lambda y, b: function(y)), *calls, names=LENGTHS + r"|\b(8|10)\b")


# ------------------------------------------------------------------------------------- threads


def run_alone(script):
    """Run a script in a process of its own: what it may break is all of torch."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_threads_make_chips_at_once_and_torch_works_afterwards():
    run_alone(
        """
        import threading, torch
        from torch import nn
        import aimc_sim
        from aimc_sim import presets

        def network(seed):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()

        models, errors, found = [network(i) for i in range(4)], [], {}
        x = torch.randn(5, 4)
        start = threading.Barrier(4)

        def work(i):
            try:
                start.wait()
                for _ in range(3):
                    chip = aimc_sim.Chip.from_model(models[i], presets.ideal(), example=x)
                found[i] = chip.program(0)(x)
            except BaseException as error:
                errors.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not errors, errors
        with torch.no_grad():
            for i, model in enumerate(models):
                torch.testing.assert_close(found[i], model(x), rtol=1e-4, atol=1e-5)
                nn.LSTM(4, 3)(x[None])
        """
    )


def test_another_thread_runs_plain_torch_meanwhile():
    run_alone(
        """
        import threading, torch
        from torch import nn
        import aimc_sim
        from aimc_sim import presets, zoo

        plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                              nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
        x = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            expected = plain(x)
        stop, errors, rounds = threading.Event(), [], [0]

        def work():
            try:
                while not stop.is_set():
                    y = plain(x)
                    # A chip settles which library computes, and with how many threads, for
                    # the process: sums may come in another order, by a unit in the last place.
                    assert type(y) is torch.Tensor
                    torch.testing.assert_close(y.detach(), expected, rtol=1e-5, atol=1e-6)
                    y.sum().backward()
                    rounds[0] += 1
            except BaseException as error:
                errors.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for seed in range(3):
                torch.manual_seed(seed)
                model = nn.Sequential(*[nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
                                        for _ in range(6)])
                aimc_sim.Chip.from_model(model, presets.ideal(), example=x)
        finally:
            stop.set()
            thread.join()
        assert not errors, errors
        assert rounds[0] > 0
        """
    )


# ----------------------------------------------------------------------------------- sequences

RNNS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def unpacked(result):
    """Padded outputs and lengths of a packed sequence, and the states."""
    outputs, states = result
    return [*pad_packed_sequence(outputs), *leaves(states)]


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("with_example", [True, False])
def test_packed_sequences_of_either_layout(rnn, batch_first, sort, with_example):
    """The layout is that of the layer's padded sequences; a packed one has none."""
    torch.manual_seed(4)
    model = RNNS[rnn](5, 6, batch_first=batch_first).eval()
    lengths = [7, 5, 5, 2] if sort else [5, 2, 7, 5]
    x = normal(4, 7, 5)
    padded = x if batch_first else x.transpose(0, 1)
    packed = pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=sort)
    with torch.no_grad():
        expected = unpacked(model(packed))
    try:
        example = padded if with_example else None
        chip = aimc_sim.Chip.from_model(model, IDEAL, example=example).program(0)
    except REFUSAL as error:
        refused(error, r"LSTM|GRU|RNN|rnn|batch_first|packed|example=")
        return
    wrong = differs(unpacked(chip(packed)), expected, TOLERANCE)
    assert not wrong, wrong


class Continued(nn.Module):
    """The state is an input, as in a dialogue that goes on."""

    def __init__(self, rnn, batch_first, layers=1):
        super().__init__()
        self.rnn, self.out = rnn(5, 6, layers, batch_first=batch_first), nn.Linear(6, 3)

    def forward(self, x, h):
        y, h = self.rnn(x, h)
        return self.out(y), h


class ContinuedLstm(Continued):
    def forward(self, x, h, c):
        y, (h, c) = self.rnn(x, (h, c))
        return self.out(y), h, c


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("with_example", [True, False])
def test_states_as_inputs(rnn, batch_first, layers, with_example):
    torch.manual_seed(4)
    model = (ContinuedLstm if rnn == "lstm" else Continued)(RNNS[rnn], batch_first, layers)

    def inputs(batch, steps=7):
        x = normal(batch, steps, 5) if batch_first else normal(steps, batch, 5)
        return (x, *(normal(layers, batch, 6, seed=s) for s in range(1 + (rnn == "lstm"))))

    equal_or_refused(
        model, inputs(3), inputs(2), names=r"rnn|batch_first|state|Continued",
        with_example=with_example,
    )  # fmt: skip


class Packing(nn.Module):
    """Packs by itself."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.rnn, self.out = nn.LSTM(5, 6, batch_first=batch_first), nn.Linear(6, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, self.batch_first, enforce_sorted=False)
        y, (h, _) = self.rnn(packed)
        y, _ = pad_packed_sequence(y, self.batch_first)
        return self.out(h[-1]), y


@pytest.mark.parametrize("with_example", [True, False])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_network_that_packs_by_itself(batch_first, with_example):
    """In torch's default layout, time first, as well."""
    torch.manual_seed(4)
    calls = []
    for lengths in ([4, 2, 7], [7, 7, 1], [3, 7]):
        x = normal(len(lengths), 7, 5)
        calls.append((x if batch_first else x.transpose(0, 1), torch.tensor(lengths)))
    equal_or_refused(
        Packing(batch_first), *calls, names=r"pack|rnn|length", with_example=with_example
    )


WRONG_LENGTHS = {
    "0": [4, 0, 7], "-1": [4, -1, 7], "too long": [4, 9, 7], "4.5": [4.5, 2.0, 7.0],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_LENGTHS)
def test_lengths_that_torch_refuses_are_refused(name):
    """Of a network that packs by itself; a refusal of all such networks will do."""
    torch.manual_seed(4)
    model, good = Packing().eval(), torch.tensor([4, 2, 7])
    x, lengths = normal(3, 7, 5), torch.tensor(WRONG_LENGTHS[name])
    try:
        accepted = torch_says(model, x, lengths)  # torch itself cuts 4.5 down to 4
    except (RuntimeError, ValueError):
        accepted = None
    assert (accepted is None) == (name != "4.5")
    try:
        chip = aimc_sim.Chip.from_model(model, IDEAL, example=(x, good)).program(0)
    except REFUSAL as error:
        refused(error, r"pack|rnn|length")
        return
    wrong = differs(leaves(chip(x, good)), torch_says(model, x, good), TOLERANCE)
    assert not wrong, wrong
    try:
        found = leaves(chip(x, lengths))
    except (ValueError, TypeError) as error:
        refused(error, "length")
    else:
        assert accepted is not None, "lengths that torch refuses were accepted"
        wrong = differs(found, accepted, TOLERANCE)
        assert not wrong, wrong


# ----------------------------------------------------------------------------------- additions


class Excited(nn.Module):
    """A normalised layer of a pooled image, joined with the whole image."""

    def __init__(self, pool, join):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.pool, self.join = pool, join

    def forward(self, x):
        y = self.bn(self.conv(self.pool(x)))
        return y if self.join is None else self.join(y, x)


POOLS = {
    "image": lambda x: x.mean((2, 3), keepdim=True),
    "rows": lambda x: x.mean(2, keepdim=True),
    "columns": lambda x: x.mean(3, keepdim=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
    "nothing": lambda x: x * 1.0,
}


def _added_in_place(y, x):
    x = x.clone()
    x += y
    return torch.relu_(x)


JOINS = {
    "relu(y + x)": lambda y, x: torch.relu(y + x),
    "relu(x + y)": lambda y, x: torch.relu(x + y),
    "y + x": lambda y, x: y + x,
    "relu(x - y)": lambda y, x: torch.relu(x - y),
    "x += y": _added_in_place,
    "relu(y * x)": lambda y, x: torch.relu(y * x),
    "relu(y) + x": lambda y, x: torch.relu(y) + x,
    "torch.add with alpha": lambda y, x: torch.relu(torch.add(x, y, alpha=0.5)),
    "add of three": lambda y, x: torch.relu(y + x + 1.0),
    "expanded first": lambda y, x: torch.relu(y.expand_as(x) + x),
}


JOINED = [
    pytest.param(
        pool, join, id=f"{pool}, {join}",
        marks=[] if pool == "image" or join == "relu(y + x)" else [pytest.mark.slow],
    )
    for pool in POOLS for join in JOINS
]  # fmt: skip


@pytest.mark.parametrize(("pool", "join"), JOINED)
def test_new_statistics_reach_a_layer_that_is_added(pool, join):
    """The same layer with and without what follows it: the correction must be the same."""
    torch.manual_seed(6)
    joined = Excited(POOLS[pool], JOINS[join]).eval()
    _norm_of(joined.bn)
    alone = Excited(POOLS[pool], None).eval()
    alone.load_state_dict(joined.state_dict())
    x = normal(40, 6, 5, 4) + 0.5

    try:
        chips = [aimc_sim.Chip.from_model(model, IDEAL, example=x) for model in (joined, alone)]
    except REFUSAL as error:
        refused(error, "add|expand")
        return
    before = [chip.program(0)(x) for chip in chips]
    after = [chip.adapt_batch_norm(x)(x) for chip in chips]
    assert differs([after[1]], [before[1]], 1e-2), "the new statistics change nothing"
    wrong = differs([before[0]], [JOINS[join](before[1], x)], TOLERANCE)
    assert not wrong, f"before: {wrong}"
    wrong = differs([after[0]], [JOINS[join](after[1], x)], TOLERANCE)
    assert not wrong, f"after adapt_batch_norm: {wrong}"


# --------------------------------------------------------------------------- random programs

STEPS = {
    "view": [
        lambda y: y.reshape(y.shape[0], -1),
        lambda y: y.unsqueeze(1),
        lambda y: y.transpose(1, -1),
        lambda y: y.flatten(1),
        lambda y: y[:, 1:],
        lambda y: y[:, 0],
        lambda y: y[..., ::2],
        lambda y: y.chunk(2, 1)[-1],
        lambda y: y.unflatten(1, (-1, 2)),
        lambda y: y.movedim(1, -1),
        lambda y: y.narrow(-1, 0, 2),
        lambda y: y.contiguous(),
        lambda y: y.detach(),
        lambda y: y.mT,
        lambda y: y.view(y.shape[0], 6, 2, 8),
    ],
    "change": [
        lambda y: y.relu_(),
        lambda y: y.mul_(-0.7),
        lambda y: y.add_(0.3),
        lambda y: y.clamp_(-0.5, 0.6),
        lambda y: y.tanh_(),
        lambda y: y.neg_(),
        lambda y: y[:, :1].mul_(0.2),
        lambda y: y[..., 0].mul_(3.0),
        lambda y: y.copy_(y.flip(1)),
        lambda y: y[:, :1].fill_(0.5),
        lambda y: F.relu(y, inplace=True),
        torch.relu_,
        nn.ReLU(inplace=True),
    ],
    "new": [
        lambda y: y.clone(),
        lambda y: y * 0.5 + 1,
        lambda y: torch.relu(y),
        lambda y: y.sigmoid(),
        lambda y: -y,
        lambda y: torch.cat([y, y], 1),
    ],
}
PAIRS = [
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: a - b,
    lambda a, b: a.add_(b),
    lambda a, b: a.mul_(b),
    lambda a, b: a.copy_(b),
    lambda a, b: torch.maximum(a, b),
]


class Program(nn.Module):
    """Registers hold tensors, several of which may be views of one; all are returned.

    A step is (function, register, other register or None); a function is a number: 0 and 1 for
    the two layers. Nothing is decided in ``forward``.
    """

    def __init__(self, steps=()):
        super().__init__()
        self.a, self.b = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.steps = list(steps)

    def step(self, registers, function, first, second):
        if isinstance(function, str):
            return getattr(self, function)(registers[first])
        inputs = [registers[first]] if second is None else [registers[first], registers[second]]
        return function(*inputs)

    def forward(self, x):
        registers = [self.a(x)]
        for step in self.steps:
            registers.append(self.step(registers, *step))
        return tuple(y * 1.0 for y in registers)


def written_out(drawn, x):
    """Return a program of those drawn steps that make sense for the shapes that come up.

    The second layer takes registers of the shape of an image, at most once (the first begins);
    pairs need two registers of one shape.
    """
    program = Program()
    with torch.no_grad():
        registers = [program.a(x)]
        for kind, which, first, second in drawn:
            first, second = first % len(registers), second % len(registers)
            y, z = registers[first], registers[second]
            if kind == "layer":
                used = any(step[0] == "b" for step in program.steps)
                if used or y.shape[1:] != (6, 4, 4):
                    continue
                step = ("b", first, None)
            elif kind == "pair":
                if y.shape != z.shape or first == second:
                    continue
                step = (PAIRS[which % len(PAIRS)], first, second)
            else:
                step = (STEPS[kind][which % len(STEPS[kind])], first, None)
            registers.append(program.step(registers, *step))
            program.steps.append(step)
    return program.eval()


INDEX = st.integers(0, 40)
KIND = st.sampled_from(["view", "change", "view", "change", "new", "pair", "layer"])
PROGRAMS = st.lists(st.tuples(KIND, INDEX, INDEX, INDEX), min_size=3, max_size=8)


def run_program(drawn):
    torch.manual_seed(8)
    x = normal(3, 6, 4, 4)
    try:
        model = written_out(drawn, x)
        expected = torch_says(model, x)
    except (RuntimeError, IndexError, ValueError):
        assume(False)  # torch itself refuses it
    assume(all(y.isfinite().all() and y.abs().max() < 1e3 for y in expected))
    return equal_or_refused(model, (x,), names=r"Program|\ba\b|\bb\b", expected=[expected])


@settings(max_examples=40, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])  # fmt: skip
@example([("new", 0, 0, 0), ("change", 0, 1, 0), ("pair", 0, 0, 2)])  # relu_ of a clone, added
@example([("view", 1, 0, 0), ("change", 0, 0, 0)])  # relu_ of what there is a view of
@given(PROGRAMS)
def test_random_programs_are_equal_or_refused(steps):
    run_program(steps)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])  # fmt: skip
@given(PROGRAMS)
def test_many_random_programs_are_equal_or_refused(steps):
    run_program(steps)
