import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interpreter import run_steps, settle
from torch import nn

from aimc_sim.chip.program import AnalogLayer
from aimc_sim.frontend import trace
from aimc_sim.mapping import Network, Node
from aimc_sim.mapping.lower import lower


class Graph(nn.Module):
    """Two convolutions, two batch norms, and any function of them and the input."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.n, self.m = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def lowered(function):
    """Lower the model, check the result against it, and return what each step became."""
    model = settle(Graph(function)).eval()
    network = trace(model)
    steps, (_, output, _) = lower(network)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(x.clone())
    got = run_steps(steps, network.input, output, x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    return {
        step.name: (step.residual, step.relu, step.folded)
        if isinstance(step, AnalogLayer)
        else step.op
        for step in steps
    }


def test_batch_norm_folds_and_folds_again():
    assert lowered(lambda g, x: g.m(g.n(g.a(x)))) == {"a": (None, False, ("n", "m"))}


def test_batch_norm_with_another_reader_of_its_input_stays():
    def function(g, x):
        y = g.a(x)
        return g.n(y) + y

    assert lowered(function) == {"a": (None, False, ()), "n": "affine", "add": "add"}


def test_batch_norm_after_relu_or_addition_stays():
    assert lowered(lambda g, x: g.n(F.relu(g.a(x)))) == {"a": (None, True, ()), "n": "affine"}
    assert lowered(lambda g, x: g.n(g.a(x) + F.relu(g.b(x)))) == {
        "b": (None, True, ()),
        "a": ("b", False, ()),
        "n": "affine",
    }


def test_addition_goes_into_the_later_layer():
    assert lowered(lambda g, x: F.relu(g.n(g.a(x)) + g.m(g.b(x)))) == {
        "a": (None, False, ("n",)),
        "b": ("a", True, ("m",)),
    }


def test_layer_moves_behind_its_residual():
    """The residual is computed after the layer in the model, but must be there before it."""
    got = lowered(lambda g, x: g.a(x) + F.max_pool2d(F.relu(g.b(x)), 3, 1, 1))
    assert list(got) == ["b", "max_pool2d", "a"]
    assert got["a"] == ("max_pool2d", False, ())


def test_rectified_layers_take_no_addition():
    got = lowered(lambda g, x: F.relu(F.relu(g.a(x)) + F.relu(g.b(x))))
    assert got == {"a": (None, True, ()), "b": (None, True, ()), "add": "add", "relu_2": "relu"}


def test_value_added_to_itself():
    def function(g, x):
        y = g.a(x)
        return y + y

    assert lowered(function) == {"a": (None, False, ()), "add": "add"}


def test_residual_that_depends_on_the_layer():
    def function(g, x):
        y = g.a(x)
        return F.relu(y) + y

    assert lowered(function) == {"a": (None, False, ()), "relu": "relu", "add": "add"}


def test_second_addition_stays_digital_and_is_not_lost():
    def function(g, x):
        y = g.a(x) + F.relu(g.b(x))
        return F.relu(y + x[:, :1])

    got = lowered(function)
    assert got["a"] == ("b", False, ())
    assert list(got.values())[2:] == ["subsample", "add", "relu"]


def test_output_read_before_its_relu_is_not_rectified():
    """The network's output counts as a reader."""
    a = Node("a", "linear", ("input",), arrays={"weight": np.eye(2, dtype=np.float32)})
    nodes = (Node("input", "input"), a, Node("r", "relu", ("a",)))
    steps, results = lower(Network(nodes, "input", "a"))
    assert results == ["value", "a", 0]
    assert not steps[0].relu
    steps, results = lower(Network(nodes, "input", "r"))
    assert results == ["value", "a", 0]
    assert steps[0].relu


def test_batch_norm_of_the_wrong_width():
    one = np.ones(3, np.float32)
    nodes = (
        Node("input", "input"),
        Node("fc", "linear", ("input",), arrays={"weight": np.eye(2, dtype=np.float32)}),
        Node("bn", "batch_norm", ("fc",), arrays={"scale": one, "offset": one}),
    )
    with pytest.raises(ValueError, match="'bn' normalises 3 channels, but 'fc' before it has 2"):
        lower(Network(nodes, "input", "bn"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Node("x", "conv4d", ("y",)), "'x': unknown operation 'conv4d'"),
        (lambda: Node("x", "add", ("y",)), r"'x' \(add\) reads \('y',\), expected 2 to 2"),
        (lambda: Node("x", "linear", ("y",)), r"'x' \(linear\) has arrays \[\]"),
        (lambda: Node("x", "pad", ("y",)), r"'x' \(pad\) lacks the attributes \['pad'\]"),
        (
            lambda: Node("x", "linear", ("y",), arrays={"weight": np.ones(3)}),
            r"'x': weight has shape \(3,\), expected 2 sizes",
        ),
        (
            lambda: Node("x", "linear", ("y",), arrays={"weight": np.eye(2), "bias": np.ones(3)}),
            r"'x': bias has 3 entries for 2 channels",
        ),
        (
            lambda: Network((Node("i", "input"), Node("r", "relu", ("q",))), "i", "r"),
            "'r' reads 'q', which no earlier node writes",
        ),
        (lambda: Network((Node("i", "input"),) * 2, "i", "i"), "two nodes are named 'i'"),
        (lambda: Network((Node("i", "input"),), "i", "o"), "output 'o' is written by no node"),
        (lambda: Network((Node("i", "input"),), "j", "i"), r"inputs \['i'\], expected 'j' first"),
    ],
)
def test_malformed_graph(build, message):
    with pytest.raises(ValueError, match=message):
        build()
