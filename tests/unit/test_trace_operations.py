"""Every operation of the records: the ideal chip gives what torch gives."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import pytest
import torch
from interpreter import settle
from layer_cases import LAYERS, Behind, Words
from operation_cases import FRONTS, FUNCTIONS, Call, Calls
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip.program import DigitalStep
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import forms, layers, recording, source, trace
from aimc_sim.ops import ATEN, OPERATIONS

IDEAL = presets.ideal().with_({"fabric.rows": 4, "fabric.cols": 4})  # routes in no time
TOGETHER = 12
"""Cases that are recorded as one network, for recording takes longer than they do."""


def groups():
    """Yield (front, names): alone where a case may merge with the layer or change its output."""
    for front, cases in FUNCTIONS.items():
        alone = [name for name in cases if "relu" in name or "in place" in name or "clamp" in name]
        others = [name for name in cases if name not in alone]
        yield from ((front, (name,)) for name in alone)
        for start in range(0, len(others), TOGETHER):
            yield front, tuple(others[start : start + TOGETHER])


GROUPS = list(groups())
BUILT = [(name, i) for name, cases in LAYERS.items() for i in range(len(cases))]


@cache
def called(front, *names):
    torch.manual_seed(5)
    functions = [FUNCTIONS[front][name] for name in names]
    return settle(Calls(front, functions) if len(names) > 1 else Call(front, *functions)).eval()


@cache
def layered(name, i):
    front, layer, call = LAYERS[name][i]
    torch.manual_seed(5)
    return front, settle(Behind(front, layer, call)).eval()


def leaves(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [leaf for part in result for leaf in leaves(part)]


def assert_equal_torch(model, *batches, names=()):
    chip = aimc_sim.Chip.from_model(model, IDEAL, example=batches[0]).program(0)
    for batch in batches:
        assert_alike(chip, model, *(batch if isinstance(batch, tuple) else (batch,)), names=names)


def assert_alike(chip, model, *inputs, names=()):
    with torch.no_grad():
        expected = model(*(x.clone() for x in inputs))
    found = chip(*inputs)
    assert type(found) is type(expected)
    if len(names) > 1:
        for name, mine, theirs in zip(names, found, expected, strict=True):
            assert type(mine) is type(theirs), name
            assert_equal_leaves(mine, theirs, name)
    else:
        assert_equal_leaves(found, expected)


def assert_equal_leaves(found, expected, name=""):
    for mine, theirs in zip(leaves(found), leaves(expected), strict=True):
        if theirs.is_floating_point():  # float32 twice: conductances are made and read back
            torch.testing.assert_close(
                mine, theirs, rtol=2e-5, atol=2e-5, msg=lambda text: f"{name}: {text}"
            )
        else:
            assert torch.equal(mine.to(theirs.dtype), theirs), name


def images(front, batch):
    return torch.randn(batch, *FRONTS[front][1], generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize(("front", "names"), GROUPS, ids=lambda part: str(part)[:40])
def test_functions(front, names):
    model = called(front, *names)
    assert_equal_torch(model, images(front, 3), images(front, 1), names=names)


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of torch itself
@pytest.mark.parametrize(("name", "i"), BUILT)
def test_layer(name, i):
    front, model = layered(name, i)
    assert_equal_torch(model, images(front, 3), images(front, 1))


_SENTENCES = torch.randint(0, 9, (3, 6), generator=torch.Generator().manual_seed(1))
WORDS = (
    (_SENTENCES, torch.tensor([4, 5, 2])),
    (_SENTENCES[:1], torch.tensor([5])),
)
EMBEDDING = nn.Sequential(nn.Embedding(5, 7, 0), nn.Linear(7, 2)).eval()
TOKENS = torch.tensor([[1, 4, 0], [3, 3, 2]])


def test_words():
    assert_equal_torch(settle(Words()).eval(), *WORDS)


def test_embedding():
    assert_equal_torch(EMBEDDING, TOKENS)


def test_moving_to_another_device_changes_nothing():
    network = trace(Call("rows", lambda m, x: x.cpu().to("cpu").to(x.device).tanh()))
    assert [node.op for node in network.nodes] == ["input", "linear", "tanh"]


# ------------------------------------------------------------------ the cases are complete


def graphs(wanted):
    """Yield the operations of the graph of every case.

    First of what this process traced before, then of what is called like a wanted operation.
    """
    cases = [(" ".join(names), called(front, *names), images(front, 3)) for front, names in GROUPS]
    cases += [(name, *layered(name, i)) for name, i in BUILT]
    cases = [(n, x, images(m, 3)) if isinstance(m, str) else (n, m, x) for n, m, x in cases]
    cases += [("words", settle(Words()).eval(), WORDS[0]), ("embedding", EMBEDDING, TOKENS)]

    def bare(name):
        return re.sub("[^a-z0-9]", "", name.lower())

    def rank(case):
        name, model, _ = case
        alike = any(bare(op) in bare(name) or bare(name) in bare(op) for op in wanted)
        alike = alike or name == "words"  # the only ones that are packed
        return model not in source._KNOWN, not alike

    for _, model, x in sorted(cases, key=rank):
        yield {node.op for node in source.Source(model).network(x).nodes}


def test_every_operation_of_our_own_has_a_case():
    """A record with a function of ours needs a case here; the others are one mechanism.

    What ATen computes from the recorded arguments goes through the same lines for every operation
    (:func:`aimc_sim.digital.apply.apply`); that each of them exists is ``test_ops``.
    """
    lowered = {"affine", "batch_norm_nd"}  # what is left of batch norms when a graph is lowered
    ours = {name for name, record in OPERATIONS.items() if name not in ATEN}
    elsewhere = {
        "batch_statistics",  # test_trace
        "convolution_digital", "linear_digital", "recurrence",  # test_where
        "lengths", "pixel_unshuffle",  # test_lower, test_replicate
        "spiking",  # test_spiking_chip
        "spiking_attention",  # test_spiking_attention
        "attention_weights", "written_product",  # test_written
    }  # fmt: skip
    missing, others = ours - lowered - elsewhere, set()
    for operations in graphs(missing):
        missing, others = missing - operations, others | (operations & set(ATEN))
        if not missing and len(others) > 60:
            return
    assert sorted(missing) == []
    assert len(others) > 60


def test_the_layers_stand_under_their_names():
    for name, i in BUILT:
        layer = LAYERS[name][i][1]
        own = {type(part).__name__ for part in layer.modules()}
        assert name in own or name == "in place"


# ------------------------------------------------------------------------- the check has teeth


def generic(name, change):
    """A rule that hands on other arguments."""
    return lambda walk, node, *args, **kwargs: walk.generic(node, name, *change(*args, **kwargs))


WRONG = {
    "another function": (
        "sigmoid of Tensor", OPERATIONS, "sigmoid",
        dataclasses.replace(OPERATIONS["sigmoid"], aten="silu"),
    ),
    "operands swapped": (
        "sub of torch", forms.RULES, "sub", generic("sub", lambda a, b: ([b, a], {})),
    ),
    "a dimension off by one": (
        "mean", forms.RULES, "mean",
        generic("mean", lambda x, dim, keep=False: ([x, [1], keep], {})),
    ),
    "a keyword is lost": (
        "softplus with beta", forms.RULES, "softplus",
        generic("softplus", lambda x, beta=1, threshold=20: ([x, beta], {})),
    ),
    "a bias is lost": (
        "gelu of torch.nn.functional", layers.RULES, "linear",
        lambda walk, node, x, weight, bias: layers.linear(walk, node, x, weight),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_noticed(case, monkeypatch):
    """When it is traced, and by the tests above if it were not."""
    name, table, key, wrong = WRONG[case]
    model, x = called("rows", name), images("rows", 3)
    assert_equal_torch(model, x)
    monkeypatch.setitem(table, key, wrong)
    with pytest.raises(UnsupportedLayerError, match=r"other numbers than the model|shape"):
        trace(model, example=x)
    monkeypatch.setattr(source, "check", lambda *_: None)
    monkeypatch.setattr(source, "batch_of_one", lambda *_: True)
    with pytest.raises((AssertionError, ValueError)):
        assert_equal_torch(model, x)


def test_a_forgotten_effect_is_noticed(monkeypatch):
    model, x = called.__wrapped__("rows", "imul, in place"), images("rows", 3)
    monkeypatch.setattr(recording.functional, "functional", lambda e: (e, e.graph, e.graph_module))
    with pytest.raises(UnsupportedLayerError):
        trace(model, example=x)


# ------------------------------------------------------------------- refused, or as torch has it


def of(front, function):
    return (front, Call(front, lambda m, x: function(x)))


TOGETHER = {
    "softmax over the batch": ("rows", Behind("rows", nn.Softmax(0))),
    "cut numbers": of("rows", lambda x: (3 * x).long()),
    "cut numbers, int": of("rows", lambda x: x.int()),
    "repeated batch": of("rows", lambda x: x.view(x.size(0), 4, 6).repeat(1, 2, 1, 1)),
    "expanded batch": of("rows", lambda x: x[:1, :1].expand(3, 4, 6)),
    "split batch": of("rows", lambda x: x.split(1)[0]),
    "unfolded batch": of("rows", lambda x: torch.unbind(x)[0]),
    "mixed batch": of("vectors", lambda x: x.view(x.size(0), 6) @ x.view(x.size(0), 6).mT),
    "chosen by data": of("rows", lambda x: x[x > 0]),
    "mixed batch of unknown dimensions": of("vectors", lambda x: x @ x.mT),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_what_mixes_images_is_as_torch_has_it(case):
    front, model = TOGETHER[case]
    assert_equal_torch(settle(model).eval(), images(front, 3), images(front, 2))


REFUSED = {
    "live attention dropout": (
        "rows",
        lambda x: nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1),
        r"scaled_dot_product_attention.*random numbers in evaluation",
    ),
    "random numbers": ("rows", lambda x: x + torch.randn_like(x), r"randn_like.*draw them outside"),
    "chosen by data": ("rows", lambda x: torch.nonzero(x), r"nonzero.*torch\.where"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    front, function, sentence = REFUSED[case]
    with pytest.raises(UnsupportedLayerError, match=sentence) as caught:
        trace(Call(front, lambda m, x: function(x)))
    assert 'operation_cases.py", line' in str(caught.value)  # of the module's forward method


# ------------------------------------------------------------------ operations are counted


def operations(model, *inputs):
    """Return the operations of every digital step, by its operation."""
    chip = aimc_sim.Chip.from_model(settle(model).eval(), IDEAL).program(0)
    chip(*inputs)
    ops = {step.name: step.op for step in chip.compiled.steps if isinstance(step, DigitalStep)}
    counted = ((name, chip.counts[name].operations) for name in ops if name in chip.counts)
    return {ops[name]: count for name, count in counted if count}


B, T, E, H, S = 3, 5, 8, 2, 4  # batch, length, width, heads, width of a head


def test_operations_of_attention():
    found = operations(Attention(), torch.randn(B, T, E))
    # Scores 2 S, softmax with scaling 5, weighted sum 2 S: for every pair of positions and head.
    assert found == {"scaled_dot_product_attention": B * H * T * T * (2 * S + 5 + 2 * S)}


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
