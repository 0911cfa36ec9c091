"""Convolutions as trains: exact where ranks are full, merged kernels, ranks, refusals, the chip."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import aimc_sim
from aimc_sim import presets
from aimc_sim.transforms import TensorTrainConv2d, merged, tensor_train

SHAPES = [(6, 4, 1), (3, 8, 2), (5, 5, (2, 1)), (1, 12, 1), (12, 1, 1)]
BOUNDS = [(torch.float64, 1e-12), (torch.float32, 1e-6)]


def layer(inputs, outputs, stride=1, bias=True, dtype=torch.float64):
    torch.manual_seed(inputs * 100 + outputs)
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias, dtype=dtype)


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
def test_full_ranks_are_exact(inputs, outputs, stride, dtype, bound):
    conv = layer(inputs, outputs, stride, dtype=dtype)
    train = tensor_train(conv, 10**6)
    most = (min(inputs, 9 * outputs), 3 * min(inputs, outputs), min(9 * inputs, outputs))
    assert train.ranks == most
    x = torch.randn(2, inputs, 9, 8, dtype=dtype)
    assert (train(x) - conv(x)).abs().max() <= bound * conv(x).abs().max() * 2
    assert (train.kernel() - conv.weight).abs().max() <= bound
    assert train.kernel().dtype == dtype


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
@pytest.mark.parametrize("form", ["sequential", "parallel"])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
def test_merged_kernel_is_the_train(inputs, outputs, stride, form, dtype, bound):
    train = tensor_train(layer(inputs, outputs, stride, dtype=dtype), 2, form)
    plain = merged(train)
    assert type(plain) is nn.Conv2d
    assert plain.stride == ((stride, stride) if isinstance(stride, int) else stride)
    x = torch.randn(2, inputs, 9, 8, dtype=dtype)
    wanted = plain(x)
    assert (train(x) - wanted).abs().max() <= bound * wanted.abs().max()
    assert torch.equal(plain.weight, train.kernel())


def test_merged_kernel_by_unit_images():
    """The response to a single one is the kernel, upside down; nothing of the formula is used."""
    for form in ("sequential", "parallel"):
        train = tensor_train(layer(3, 4, bias=False), 2, form)
        for i in range(3):
            x = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
            x[0, i, 2, 2] = 1
            found = train(x)[0, :, 1:4, 1:4].flip(1, 2)
            assert torch.allclose(found, train.kernel()[:, i], rtol=0, atol=1e-14)


def test_parallel_form_is_a_cross():
    conv = layer(5, 4)
    train = tensor_train(conv, 10**6, "parallel")
    cross = conv.weight.detach().clone()
    cross[:, :, ::2, ::2] = 0
    assert train.ranks == (5, 5, 5)
    assert torch.allclose(train.kernel(), cross, rtol=0, atol=1e-14)
    mean = (train.rows(train.enter(x := torch.randn(1, 5, 6, 6).double()))
            + train.columns(train.enter(x))) / 2  # fmt: skip
    doubled = F.conv2d(mean, 2 * train.leave.weight, train.leave.bias)
    assert torch.allclose(doubled, train(x), rtol=0, atol=1e-13)


def test_the_smaller_the_rank_the_larger_the_error():
    conv = layer(8, 8)
    errors = [TensorTrainConv2d(8, 8, rank).double().decompose(conv.weight) for rank in (1, 3, 8)]
    assert 1 > errors[0] > errors[1] > errors[2] > 1e-3  # 8 of 24 ranks in the middle
    for rank in (1, 3, 8):
        train = TensorTrainConv2d(8, 8, rank).double()
        told = train.decompose(conv.weight)
        own = (train.kernel() - conv.weight).norm() / conv.weight.norm()
        assert told == pytest.approx(float(own.detach()), rel=1e-12)


def test_best_for_a_train_of_one_number():
    """A kernel that is an outer product has ranks of one, and is met exactly."""
    draw = torch.Generator().manual_seed(2)
    parts = [torch.randn(n, generator=draw, dtype=torch.float64) for n in (5, 4, 3, 3)]
    kernel = torch.einsum("o,i,a,b->oiab", *parts)
    conv = layer(4, 5)
    with torch.no_grad():
        conv.weight.copy_(kernel)
    for train in (tensor_train(conv, 1), tensor_train(conv, error=1e-6)):
        assert train.ranks == (1, 1, 1)
        assert torch.allclose(train.kernel(), kernel, rtol=0, atol=1e-13)


@pytest.mark.parametrize("error", [0.0, 0.1, 0.3, 0.7])
def test_ranks_from_an_error(error):
    conv = layer(6, 7)
    train = tensor_train(conv, error=error)
    found = float(((train.kernel() - conv.weight).norm() / conv.weight.norm()).detach())
    assert found <= error + 1e-12
    if error == 0:
        assert train.ranks == (6, 18, 7)
    else:
        assert found > error / 3  # not far below: ranks are small
        assert train.ranks < (6, 18, 7)


def test_weights_of_a_rank():
    for inputs, outputs, rank in ((16, 32, 4), (64, 64, 16), (8, 4, 2)):
        for form in ("sequential", "parallel"):
            train = TensorTrainConv2d(inputs, outputs, rank, form)
            found = sum(one.weight.numel() for one in train.factors)
            assert found == rank * (inputs + outputs) + 6 * rank**2


class Net(nn.Module):
    """Convolutions that fit and others; one layer with two names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)])
        self.again = self.body[0]
        self.point, self.wide = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 5, padding=2)
        self.group = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        x = self.body[1](self.body[0](F.relu(self.first(x))))
        x = F.relu(self.group(self.wide(self.point(x))) + self.again(x))
        return self.out(x.mean((-1, -2)))


def test_network():
    torch.manual_seed(1)
    net, x = Net().eval(), torch.randn(2, 3, 6, 6)
    before = copy.deepcopy(net.state_dict())
    train = tensor_train(net, 1.0)
    assert type(train) is Net
    assert not train.training
    kinds = {path for path, one in train.named_modules() if isinstance(one, TensorTrainConv2d)}
    assert kinds == {"first", "body.0"}
    assert train.again is train.body[0]
    assert train.first.ranks == (3, 3, 3)
    assert torch.allclose(train.first.leave.bias, net.first.bias)
    plain = merged(train)
    assert plain.again is plain.body[0]
    assert torch.allclose(plain(x), train(x), rtol=0, atol=1e-5)
    some = tensor_train(net, {"body.*": 0.25, "first": 2})
    assert (some.first.ranks, some.body[0].ranks) == ((2, 2, 2), (2, 2, 2))
    only = tensor_train(net, {"first": 10**6})
    assert type(only.body[0]) is nn.Conv2d
    assert torch.allclose(only(x), net(x), rtol=0, atol=1e-5)
    assert all(torch.equal(one, before[key]) for key, one in net.state_dict().items())
    sum(one.square().sum() for one in train(x)).backward()
    assert all(one.weight.grad.abs().max() > 0 for one in train.first.factors)


def test_drawn_factors_are_those_of_new_layers():
    one = tensor_train(layer(8, 8, dtype=torch.float32), 2, drawn=True)  # seeds torch
    layer(8, 8, dtype=torch.float32)
    other = TensorTrainConv2d(8, 8, 2, bias=True)
    for mine, new in zip(one.factors, other.factors, strict=True):
        assert torch.equal(mine.weight, new.weight)


def test_refusals():
    net = Net()
    with pytest.raises(ValueError, match="has no convolution of 3 x 3"):
        tensor_train(nn.Linear(3, 2), 1)
    with pytest.raises(ValueError, match="'frst' matches no convolution of 3 x 3"):
        tensor_train(net, {"frst": 2})
    with pytest.raises(ValueError, match="matches no convolution of 3 x 3"):
        tensor_train(net, {"group": 2})
    for both in ({}, {"ranks": 2, "error": 0.1}):
        with pytest.raises(ValueError, match="wants one of both"):
            tensor_train(net, **both)
    with pytest.raises(ValueError, match="a cross has no corners"):
        tensor_train(net, None, "parallel", error=0.1)
    with pytest.raises(ValueError, match="a share of the inputs is above 0 and at most 1"):
        tensor_train(net, 2.0)
    with pytest.raises(TypeError, match="wanted a whole number, or a share"):
        tensor_train(net, True)
    with pytest.raises(TypeError, match="wanted a torch module"):
        tensor_train("net", 1)
    with pytest.raises(ValueError, match="has no TensorTrainConv2d"):
        merged(net)
    with pytest.raises(ValueError, match="the parallel form has one rank"):
        TensorTrainConv2d(8, 8, (2, 3, 4), "parallel")
    with pytest.raises(ValueError, match=r"wanted \(8, 6, 3, 3\)"):
        TensorTrainConv2d(6, 8, 2).decompose(torch.zeros(6, 8, 3, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        TensorTrainConv2d(1, 1, 1).decompose(torch.full((1, 1, 3, 3), torch.nan))
    hooked = Net()
    hooked.first.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="'first' has hooks"):
        tensor_train(hooked, 1)
    assert tensor_train(hooked, {"body.*": 1}).body[0].ranks == (1, 1, 1)


@pytest.mark.parametrize("form", ["sequential", "parallel"])
def test_ideal_chip_is_torch(form):
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    )
    net[1].running_var.fill_(2.0)
    train, x = tensor_train(net.eval(), 2, form), torch.randn(5, 3, 8, 8)
    chip = aimc_sim.Chip.from_model(train, presets.ideal(), example=x).program(0)
    names = [one.name for one in chip.compiled.layers]
    assert names == ["0.enter", "0.rows", "0.columns", "0.leave", "4"]
    assert chip.compiled.layer("0.leave").folded == ("1", "2")
    assert all(step.op in ("flatten", "input") for step in chip.compiled.steps
               if step not in chip.compiled.layers)  # fmt: skip
    assert torch.allclose(chip(x), train(x), rtol=0, atol=2e-6)
