"""Every operation of the tracer's tables: the ideal chip gives what torch gives."""

from __future__ import annotations

import operator

import pytest
import torch
from interpreter import settle
from layer_cases import LAYERS, Behind, Words
from operation_cases import FRONTS, FUNCTIONS, Call
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.runtime import trace_rules as rules
from aimc_sim.frontend import trace
from aimc_sim.runtime.trace_record import record_of, wrapped
from aimc_sim.chip.image import DigitalStep

IDEAL = presets.ideal().with_({"fabric.rows": 4, "fabric.cols": 4})  # routes in no time
CALLS = [(front, name) for front, cases in FUNCTIONS.items() for name in cases]
BUILT = [(name, i) for name, cases in LAYERS.items() for i in range(len(cases))]


def called(front, name):
    torch.manual_seed(5)
    return settle(Call(front, FUNCTIONS[front][name])).eval()


def layered(name, i):
    front, layer, call = LAYERS[name][i]
    torch.manual_seed(5)
    return front, settle(Behind(front, layer, call)).eval()


def leaves(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [leaf for part in result for leaf in leaves(part)]


def assert_equal_torch(model, *batches):
    chip = aimc_sim.Chip.from_model(model, IDEAL).program(0)
    for batch in batches:
        assert_alike(chip, model, *(batch if isinstance(batch, tuple) else (batch,)))


def assert_alike(chip, model, *inputs):
    with torch.no_grad():
        expected = model(*(x.clone() for x in inputs))
    found = chip(*inputs)
    assert type(found) is type(expected)
    for mine, theirs in zip(leaves(found), leaves(expected), strict=True):
        if theirs.is_floating_point():  # float32 twice: conductances are made and read back
            torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-5)
        else:
            assert torch.equal(mine.to(theirs.dtype), theirs)


def images(front, batch):
    return torch.randn(batch, *FRONTS[front][1], generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize(("front", "name"), CALLS)
def test_function(front, name):
    model = called(front, name)
    assert_equal_torch(model, images(front, 3), images(front, 1))


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of torch itself
@pytest.mark.parametrize(("name", "i"), BUILT)
def test_layer(name, i):
    front, model = layered(name, i)
    assert_equal_torch(model, images(front, 3), images(front, 1))


def test_words():
    model = settle(Words()).eval()
    tokens = torch.randint(0, 9, (3, 6), generator=torch.Generator().manual_seed(1))
    assert_equal_torch(
        model, (tokens, torch.tensor([4, 5, 2])), (tokens[:1], torch.tensor([5]))
    )  # fmt: skip


def test_embedding():
    tokens = torch.tensor([[1, 4, 0], [3, 3, 2]])
    assert_equal_torch(nn.Sequential(nn.Embedding(5, 7, 0), nn.Linear(7, 2)).eval(), tokens)


def test_moving_to_another_device_changes_nothing():
    """``.cuda()`` cannot run here; it leaves no step."""
    network = trace(Call("rows", lambda m, x: x.cuda().tanh()))
    assert [node.op for node in network.nodes] == ["input", "linear", "tanh"]


# ------------------------------------------------------------------ the cases are complete


def calls_of(model):
    """Return what torch.fx records of a model: functions, methods, classes of layers."""
    wrapper = wrapped(model)
    modules = dict(wrapper.named_modules())
    return {
        type(modules[node.target]) if node.op == "call_module" else node.target
        for node in record_of(wrapper).nodes
    }


@pytest.fixture(scope="module")
def recorded():
    models = [called(*case) for case in CALLS] + [layered(*case)[1] for case in BUILT]
    models += [Words(), nn.Sequential(nn.Embedding(5, 7)), Call("rows", lambda m, x: x.cuda())]
    return set().union(*map(calls_of, models))


def test_every_entry_has_a_case(recorded):
    """A new entry of the tables needs a case here; methods that no tensor has cannot be called."""
    wanted = {*rules.FUNCTIONS, *rules.MODULES}
    wanted |= {name for name in rules.METHODS if hasattr(torch.Tensor, name)}
    wanted -= {torch.nn.functional.tanh, torch.nn.functional.sigmoid}  # they call the method
    missing = [getattr(entry, "__name__", entry) for entry in wanted - recorded]
    assert not missing


def test_the_layers_stand_under_their_names():
    for name, i in BUILT:
        layer = LAYERS[name][i][1]
        own = {type(part).__name__ for part in layer.modules()}
        assert name in own or name == "in place"


# ------------------------------------------------------------------------- the check has teeth

WRONG = {
    "another function": ("rows", "silu of torch.nn.functional", torch.nn.functional.silu,
                         rules.METHODS["sigmoid"]),
    "operands swapped": ("rows", "sub of torch", torch.sub,
                         lambda walk, name, a, b: rules.METHODS["sub"](walk, name, b, a)),
    "a dimension off by one": ("rows", "mean", torch.mean,
                               lambda walk, name, x, dim, keepdim=False: rules.METHODS["mean"](
                                   walk, name, x, 1, keepdim)),
    "not in place": ("rows", "iadd, in place", operator.iadd, rules.METHODS["add"]),
    "a keyword is lost": ("rows", "softplus with beta", torch.nn.functional.softplus,
                          lambda walk, name, x, beta=1, threshold=20: rules.METHODS["softplus"](
                              walk, name, x, beta)),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_noticed(case, monkeypatch):
    front, name, function, rule = WRONG[case]
    model, x = called(front, name), images(front, 3)
    assert_equal_torch(model, x)
    monkeypatch.setitem(rules.FUNCTIONS, function, rule)
    with pytest.raises(AssertionError):
        assert_equal_torch(model, x)


# ------------------------------------------------------------------- refused, not misread

SILENT = {
    "softmax over the batch": ("rows", nn.Softmax(0), "runs over the batch"),
    "softmax over nothing": ("rows", nn.LogSoftmax(), r"name its dimension \(dim=-1\)"),
    "live attention dropout": (
        "rows", lambda x: nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1),
        "dropout_p = 0.1, which also acts in evaluation",
    ),
    "cut numbers": ("rows", lambda x: (3 * x).long(), "cuts computed numbers"),
    "cut numbers, int": ("rows", lambda x: x.int(), "cuts computed numbers"),
    "repeated batch": ("rows", lambda x: x.view(x.size(0), 4, 6).repeat(1, 2, 1, 1),
                       "it repeats the batch"),
    "expanded batch": ("rows", lambda x: x[:, :1].expand(3, 4, 6), "write -1 there"),
    "split batch": ("rows", lambda x: x.split(1)[0], "takes part of the batch"),
    "unfolded batch": ("rows", lambda x: torch.unbind(x)[0], "takes part of the batch"),
    "mixed batch": ("vectors", lambda x: x.view(x.size(0), 6) @ x.view(x.size(0), 6).mT,
                    "mixes the images of a batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_refused(case):
    front, function, sentence = SILENT[case]
    model = Behind(front, function) if isinstance(function, nn.Module) else Call(
        front, lambda m, x: function(x)
    )  # fmt: skip
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=sentence):
        trace(model)


def test_mixed_batch_of_unknown_dimensions_is_refused_when_it_runs():
    chip = aimc_sim.Chip.from_model(Call("vectors", lambda m, x: x @ x.mT), presets.ideal())
    with pytest.raises(ValueError, match="would mix the images of a batch"):
        chip.program(0)(images("vectors", 3))


# ------------------------------------------------------------------ operations are counted


def operations(model, *inputs):
    """Return the operations of every digital step, by its operation."""
    chip = aimc_sim.Chip.from_model(settle(model).eval(), IDEAL).program(0)
    chip(*inputs)
    ops = {step.name: step.op for step in chip.image.steps if isinstance(step, DigitalStep)}
    counted = ((name, chip.counts[name].operations) for name in ops if name in chip.counts)
    return {ops[name]: count for name, count in counted if count}


B, T, E, H, S = 3, 5, 8, 2, 4  # batch, length, width, heads, width of a head


def test_operations_of_attention():
    found = operations(Attention(), torch.randn(B, T, E))
    # Scores 2 S, softmax with scaling 5, weighted sum 2 S: for every pair of positions and head.
    assert found == {"attention": B * H * T * T * (2 * S + 5 + 2 * S)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(E, H, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


def test_operations_of_normalisation_and_activations():
    model = nn.Sequential(nn.Linear(E, 6), nn.LayerNorm(6), nn.GELU(), nn.Softmax(-1))
    n = B * T * 6
    assert operations(model, torch.randn(B, T, E)) == {
        "layer_norm": 8 * n, "gelu": 4 * n, "softmax": 5 * n
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "each"), [("LSTM", 19), ("GRU", 17), ("RNN", 3)])
def test_operations_of_recurrent_layers(kind, each):
    """Per hidden unit and time step, whatever the width of the input."""
    model = getattr(nn, kind)(E, 7, batch_first=True)
    assert operations(model, torch.randn(B, T, E)) == {kind.lower(): each * B * T * 7}


def test_operations_of_pools_and_products():
    model = Call("maps", lambda m, x: torch.nn.functional.avg_pool2d(x, (2, 2), 1))
    assert operations(model, images("maps", B)) == {"avg_pool2d": B * 6 * 4 * 3 * 4}
    model = Call("rows", lambda m, x: x @ x.mT)
    assert operations(model, images("rows", B)) == {"matmul": 2 * B * 4 * 4 * 6}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(E, 6), (T, E)),
        (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (4, 6, 7)),
        (nn.ConvTranspose2d(4, 6, (3, 2), 2, groups=2), (4, 5, 3)),
    ],
)
def test_operations_of_digital_layers(layer, shape):
    """Two per multiplication of the layer itself, counted by brute force."""
    last = nn.Linear(6, 2) if len(shape) == 2 else nn.Conv2d(6, 2, 1)
    model = nn.Sequential(layer, last)
    x = torch.randn(B, *shape)
    chip = aimc_sim.Chip.from_model(model.eval(), IDEAL, where=["1"]).program(0)
    chip(x)
    # With weights and inputs of one and no padding, every multiplication adds one.
    with torch.no_grad():
        ones = {k: torch.ones_like(v) * ("weight" in k) for k, v in layer.state_dict().items()}
        layer.load_state_dict(ones)
        multiplications = float(layer(torch.ones_like(x)).sum())
    counted = chip.counts["0"].operations
    padding = getattr(layer, "padding", (0,))
    if padding == (0, 0) or isinstance(layer, nn.Linear):
        assert counted == 2 * multiplications
    else:  # zeros at the border are multiplied as well
        assert counted == 2 * B * 6 * 3 * 4 * (2 * 9)
        assert counted > 2 * multiplications
