import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interpreter import run_network, settle
from torch import nn

from aimc_sim.chip.program import leaves
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import trace
from aimc_sim.frontend.evaluate import run_network as run_values


class Call(nn.Module):
    """A convolution, then any function of its output."""

    def __init__(self, function, channels=6):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


def images(*shape, seed=1):
    return torch.randn(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(seed))


def check(model, x=None):
    """The graph computes what the model computes in evaluation mode, and return it."""
    x = images() if x is None else x
    network = trace(settle(model), example=x)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(x.clone())
    torch.testing.assert_close(run_network(network, x), expected, rtol=1e-5, atol=1e-5)
    return network


def check_all(model, *inputs):
    """The same for several inputs and outputs, also where images of a batch are mixed."""
    network = trace(settle(model), example=inputs)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(*(x.clone() for x in inputs))
    values = run_values(network, inputs)
    expected = [expected] if isinstance(expected, torch.Tensor) else expected
    for (name, _), wanted in zip(leaves(network.results), expected, strict=True):
        torch.testing.assert_close(
            values[name], wanted, rtol=1e-5, atol=1e-5, check_dtype=wanted.is_floating_point()
        )
    return network


def ops(network):
    return [node.op for node in network.nodes][1:]


FUNCTIONS = {
    "relu": (F.relu, ["relu"]),
    "relu in place": (lambda x: F.relu(x, inplace=True), ["relu"]),
    "torch.relu_": (torch.relu_, ["relu"]),
    "method relu": (lambda x: x.relu(), ["relu"]),
    "add": (lambda x: x + F.relu(x), ["relu", "add"]),
    "torch.add": (lambda x: torch.add(x, x), ["add"]),
    "method add": (lambda x: x.add(x), ["add"]),
    "max pool": (lambda x: F.max_pool2d(x, 3, 2, padding=1), ["max_pool2d"]),
    "max pool, odd": (lambda x: F.max_pool2d(x, (2, 3), ceil_mode=True), ["max_pool2d"]),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), ["avg_pool2d"]),
    "pool over size()[3]": (lambda x: F.avg_pool2d(x, x.size()[3]), ["global_avg_pool"]),
    "pool over size(-1)": (lambda x: F.avg_pool2d(x, x.size(-1)), ["global_avg_pool"]),
    "pool over shape[2:]": (lambda x: F.avg_pool2d(x, x.shape[2:]), ["global_avg_pool"]),
    "pool over shape[-2:]": (
        lambda x: F.avg_pool2d(F.relu(x), x.shape[-2:]),
        ["relu", "global_avg_pool"],
    ),
    "adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, (1, 1)), ["global_avg_pool"]),
    "mean": (lambda x: x.mean((2, 3)), ["global_avg_pool", "flatten"]),
    "view": (lambda x: x.view(x.size(0), -1), ["flatten"]),
    "mean, negative": (lambda x: torch.mean(x, dim=[-1, -2], keepdim=True), ["global_avg_pool"]),
    "flatten": (lambda x: torch.flatten(x, 1), ["flatten"]),
    "flatten twice": (lambda x: x.flatten(1).flatten(1), ["flatten"]),
    "view with known features": (lambda x: x.view(-1, 384), ["flatten"]),
    "reshape": (lambda x: x.reshape((x.shape[0], -1)), ["flatten"]),
    "torch.reshape": (lambda x: torch.reshape(x, (x.shape[0], -1)), ["flatten"]),
    "slices": (lambda x: x[:, 1:5, ::2, ::2], ["subsample"]),
    "slices behind an ellipsis": (lambda x: x[..., ::2], ["subsample"]),
    "pad": (lambda x: F.pad(x, (0, 1, 2, 0, 3, 1), "constant", 0), ["pad"]),
    "dropout": (lambda x: F.dropout(x, 0.5, training=False), []),
    "dropout 0": (lambda x: F.dropout(x, 0.0).contiguous(), []),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_function_keeps_its_meaning(case):
    function, expected = FUNCTIONS[case]
    assert ops(check(Call(function), images(2, 3, 8, 8))) == ["conv2d", *expected]


def test_view_by_product_of_sizes():
    def product_view(x):
        n, c, h, w = x.shape
        return x.view(n, c * h * w)

    assert ops(check(Call(product_view))) == ["conv2d", "flatten"]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 5)])
def test_padding_same(kernel):
    network = check(nn.Conv2d(3, 4, kernel, padding="same", dilation=(1, 2)))
    assert ("pad" in ops(network)) == (kernel == (2, 4))


def test_modules_give_their_paths_and_vanish_where_they_do_nothing():
    model = nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 1)),
        nn.Sequential(nn.Conv2d(3, 5, (2, 3), stride=(1, 2), padding="valid"), nn.BatchNorm2d(5)),
        nn.Identity(),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, stride=1, padding=1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(5, 7, bias=False),
        nn.BatchNorm1d(7, affine=False),
    )
    network = check(model)
    names = [node.name for node in network.nodes]
    assert names == ["input", "0", "1.0", "1.1", "3", "4", "5", "6", "7", "9", "10"]
    assert all(node.modules == (node.name,) for node in network.nodes[1:])
    assert network.output == "10"


def test_single_layer_is_a_model():
    network = check(nn.Linear(4, 3), images(2, 4))
    assert [node.name for node in network.nodes] == ["input", "Linear"]


def test_in_place_addition_is_seen_by_earlier_names():
    def shared(x):
        same = x
        x += F.relu(x)
        return x + same  # same is x: the sum counts twice

    check(Call(shared))


def test_a_view_of_overwritten_memory_holds_the_new_numbers():
    def shared(x):
        part = x[:, :, ::2, ::2]
        F.relu(x, inplace=True)
        return part

    check(Call(shared))


def test_one_module_called_twice_gets_two_names():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.bn = nn.Conv2d(3, 3, 1), nn.ReLU(True), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.relu(self.bn(self.relu(self.bn(self.conv(x)))))

    names = [node.name for node in check(Twice()).nodes]
    assert names == ["input", "conv", "bn", "relu", "bn#2", "relu#2"]


def test_weights_called_twice_are_the_same_devices():
    conv = nn.Conv2d(3, 3, 1)
    first, _, second = check(nn.Sequential(conv, nn.ReLU(), conv)).nodes[1:]
    assert (first.name, second.name) == ("0", "0#2")
    assert "devices" not in first.attrs
    assert second.attrs["devices"] == "0"


def test_rewritten_forward_is_traced_into():
    class Rectified(nn.Conv2d):
        def forward(self, x):
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            return F.relu(y)

    network = check(nn.Sequential(Rectified(3, 4, 3, stride=2, padding=1)))
    assert [(node.name, node.op) for node in network.nodes[1:]] == [
        ("0", "conv2d"),
        ("relu", "relu"),
    ]


def test_optional_arguments_keep_their_defaults():
    class Optional(Call):
        def forward(self, x, features=False, *, scale=None):
            return self.conv(x) if features or scale else F.relu(self.conv(x))

    assert ops(check(Optional(None))) == ["conv2d", "relu"]


def test_training_mode_is_traced_as_evaluation_and_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = copy.deepcopy(model.state_dict())
    network = check(model)
    assert model.training
    assert all(module.training for module in model.modules())
    assert "forward" not in vars(model[0])
    settled = {k: v for k, v in model.state_dict().items() if k.startswith("1.num")}
    assert settled == {k: before[k] for k in settled}  # no batch was counted
    weight = network.nodes[1].arrays["weight"].copy()
    with torch.no_grad():
        model[0].weight.zero_()
    np.testing.assert_array_equal(network.nodes[1].arrays["weight"], weight)


def test_double_precision_becomes_single():
    network = trace(nn.Linear(3, 2).double())
    assert network.nodes[1].arrays["weight"].dtype == np.float32


def with_nan():
    layer = nn.Conv2d(3, 4, 1)
    layer.weight.data[1, 2] = float("nan")
    return nn.Sequential(nn.ReLU(), layer)


class FourInputs(nn.Module):
    """The first input is read by a layer, so what the others look like does not follow."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, w, x, y, z):
        return self.fc(w) + x[:, :3] * y[:, 4:7] + z


def dynamic(x):
    return F.relu(x) if x.sum() > 0 else x


def unreadable(x):
    return x + torch.from_numpy(np.asarray(x))


TOGETHER = {
    "cat along the batch": Call(lambda x: torch.cat([x, x], 0)),
    "softmax over the batch": Call(lambda x: x.softmax(0)),
    "mean of the batch": Call(lambda x: x.mean(0)),
    "mean of all": Call(lambda x: x.mean()),
    "lost batch": Call(lambda x: x.reshape(8, -1)),
    "part of the batch": Call(lambda x: x[1:]),
    "statistics of the batch": Call(lambda x: F.batch_norm(x, None, None, training=True)),
    "padded batch": Call(lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))),
}
"""What mixes the images of a batch: the whole batch is one piece, and equals torch."""


@pytest.mark.parametrize("case", TOGETHER)
def test_a_mixed_batch_is_one_piece(case):
    assert check_all(TOGETHER[case], images()).axis is None


APART = {
    "argmax": Call(lambda x: x.argmax(1)),
    "merged batch": Call(lambda x: x.flatten(0, 1)),
    "squeeze": Call(lambda x: x.squeeze()),
    "last dimension of maps": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(8, 2)),
    "pad value": Call(lambda x: F.pad(x, (1, 1), value=1.0)),
    "all turned round": Call(lambda x: x.permute(3, 2, 1, 0).tanh()),
    "batch in the second place": Call(lambda x: F.instance_norm(x.transpose(0, 1))),
    "alpha": Call(lambda x: torch.add(x, x, alpha=2)),
    "batch given back by a view": Call(lambda x: x.flatten(0, 1).reshape(-1, 3, x.shape[2])),
    "batch given back by unflatten": Call(
        lambda x: x.flatten(0, 2).mean(1).unflatten(0, (-1, 8)).unflatten(0, (-1, 3))
    ),
}


@pytest.mark.parametrize("case", APART)
def test_images_apart(case):
    """Refused by the tracer of before; the images of a batch stay what they are."""
    assert check_all(APART[case], images()).axis == 0


def test_hooks_act():
    model = nn.Sequential(nn.Linear(3, 4))
    model[0].register_forward_hook(lambda layer, args, y: 2 * y)
    assert ops(check_all(model, images(2, 3))) == ["linear", "mul"]


def test_cells_are_steps_of_their_layers():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x):
            state = None
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return state

    network = check_all(Steps(), images(2, 5, 3))
    inputs, hidden = [
        [n for n in network.nodes if n.op == "linear" and n.name.startswith(name)]
        for name in ("cell.weight_ih", "cell.weight_hh")
    ]
    for calls in (inputs, hidden):
        assert len(calls) == 5
        assert {n.attrs.get("devices") for n in calls[1:]} == {calls[0].name}


def test_four_inputs():
    with pytest.raises(UnsupportedLayerError, match=r"\(w, x, y, z\) does not follow.*example="):
        trace(FourInputs())
    network = check_all(
        FourInputs(), images(2, 4), images(2, 5), images(2, 9), images(2, 3, seed=2)
    )
    assert network.inputs == ("input", "x", "y", "z")


def held(parameter):
    """A layer beside a parameter that is not read: it is judged all the same."""
    model = nn.Linear(3, 4)
    model.held = parameter
    return model


REFUSED = {
    "three dimensions": (nn.Sequential(nn.Conv3d(3, 4, 3)), r"'0'.*\(conv3d\).*two dimensions"),
    "transposed map": (Call(lambda x: x.t()), r"t\(\) expects a tensor with <= 2 dim.*example="),
    "nothing": (Call(lambda x: None), r"Call: the model returns no tensor"),
    "control flow": (Call(dynamic), r"Call: its forward method takes decisions.*test_trace.py, li"),
    "numpy": (Call(unreadable), r"Call: .*cannot be recorded at .*test_trace.py, line.*numpy"),
    "half": (nn.Linear(3, 4).half(), r"'weight'.*float16, supported now: float32.*model.float\(\)"),
    "meta": (nn.Linear(3, 4, device="meta"), r"'weight' is on the meta device.*load the weights"),
    "no shape": (held(nn.UninitializedParameter()), r"'held' has no shape yet; run one batch"),
    "sparse": (held(nn.Parameter(torch.eye(3).to_sparse())), r"'held' is sparse, nested or compl"),
    "lazy": (nn.Sequential(nn.LazyLinear(4)), r"'0' \(LazyLinear\).*run one batch first"),
    "batch statistics": (
        Call(nn.BatchNorm2d(6, track_running_stats=False)),
        r"'function' .*\(BatchNorm\).*running statistics",
    ),
    "live dropout": (
        Call(lambda x: F.dropout(x)), r"'dropout'.*test_trace.py.*random numbers in evaluation"
    ),
    "indices": (
        Call(lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)),
        r"adaptive_max_pool.*return_indices.*leave them out",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case):
    model, message = REFUSED[case]
    with pytest.raises(UnsupportedLayerError, match=message):
        trace(model)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_a_nested_parameter_is_refused():
    nested = torch.nested.as_nested_tensor([torch.ones(2), torch.ones(3)])
    with pytest.raises(UnsupportedLayerError, match="'held' is sparse, nested or complex"):
        trace(held(nn.Parameter(nested)))


def test_not_a_number_is_refused_by_name():
    with pytest.raises(ValueError, match=r"layer '1': weight holds 1 values of 12"):
        trace(with_nan())


def test_nothing_to_map():
    with pytest.raises(ValueError, match="no Conv2d, Linear or recurrent layer"):
        trace(nn.Sequential(nn.ReLU()))
    with pytest.raises(TypeError, match=r"got a function, expected a torch.nn.Module"):
        trace(F.relu)


def test_a_constant_that_is_put_in_order_and_viewed():
    """As tables of relative positions are: the copy in between is no operation of its own."""

    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 6)
            self.register_buffer("table", torch.arange(6.0).view(2, 3))

        def forward(self, x):
            return self.fc(x) + self.table.permute(1, 0).contiguous().view(6)

    network = trace(Table().eval())  # which compares the record with the model
    assert [node.op for node in network.nodes][:2] == ["input", "linear"]
