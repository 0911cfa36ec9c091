"""Preparing a network for hardware-aware training, and taking it back."""

import copy
import pickle

import pytest
import torch
from torch import nn

from aimc_sim import presets
from aimc_sim.training import OFF, TrainingSpec, analog_layers, finalize, prepare
from aimc_sim.zoo import resnet32

TDP = presets.hermes("tdp")


def values(*shape, seed=0):
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


class Mixed(nn.Module):
    """Every layer with one matrix, groups, strides, a layer of its own class."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(6)
        self.depth = nn.Conv2d(6, 12, 3, groups=6, bias=False)
        self.up = nn.ConvTranspose2d(12, 4, 2, stride=2, output_padding=1, dilation=2)
        self.pairs = nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        y = self.line(x).unsqueeze(-1).expand(-1, -1, -1, 12)
        y = self.norm(self.conv(y)).relu()
        return self.fc(self.pairs(self.up(self.depth(y)).relu()).mean((2, 3)))


def mixed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Mixed(), values(2, 3, 12)


@pytest.mark.parametrize("training", [True, False])
def test_everything_off_is_the_plain_network_exactly(training):
    model, x = mixed()
    model.train(training)
    prepared = prepare(model, presets.ideal(), OFF)
    assert prepared.training is training
    plain, again = model(x), prepared(x)
    assert torch.equal(plain, again)
    plain.square().sum().backward()
    again.square().sum().backward()
    for (name, a), b in zip(model.named_parameters(), prepared.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name


def test_ideal_chip_with_default_options_changes_only_last_bits():
    """Devices without error and converters without bits: what is left is the way of computing."""
    model, x = mixed()
    prepared = prepare(model.train(), presets.ideal()).train()
    assert torch.allclose(prepared(x), copy.deepcopy(model)(x), rtol=0, atol=1e-5)


def test_the_model_is_left_alone_and_names_stay():
    model, x = mixed()
    before = copy.deepcopy(model.state_dict())
    prepared = prepare(model, TDP)
    optimizer = torch.optim.Adam(prepared.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        prepared(x).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [n for n, _ in prepared.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert {path for path, _ in analog_layers(prepared)} == {
        "line", "conv", "depth", "up", "pairs", "fc"
    }  # fmt: skip
    assert isinstance(prepared.conv, nn.Conv2d)
    assert "analog" in repr(prepared)
    plain = finalize(prepared)
    assert [type(part) for part in plain.modules()] == [type(part) for part in model.modules()]
    assert list(plain.state_dict()) == list(model.state_dict())
    assert torch.equal(plain.fc.weight, prepared.fc.weight)
    assert not torch.equal(plain.fc.weight, model.fc.weight)
    model.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        lambda p: torch.optim.AdamW(p, 0.003),
        lambda p: torch.optim.RMSprop(p, 0.001),
    ],
)
def test_learns_in_an_ordinary_loop(make):
    """Noise and converters on, ranges learned: a line of classes is learnt all the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 3))
    options = TrainingSpec(
        noise_scale=2.0, drift_seconds=(1.0, 1e5), output_noise_fraction=0.02, clip_sigma=3.0,
        input_range="learned", output_range="learned",
    )  # fmt: skip
    prepared = prepare(model, TDP, options).train()
    x = values(256, 10)
    y = (x[:, 0] > 0.4).long() + (x[:, 0] > -0.4)
    optimizer = make(prepared.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(prepared(x), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.5  # ln 3 = 1.10 at the start
    plain = finalize(prepared).eval()
    assert (plain(x).argmax(1) == y).float().mean() > 0.85


def test_state_dict_goes_round_and_training_goes_on_identically():
    model, x = mixed()
    options = TrainingSpec(
        output_range="learned", output_noise_fraction=0.05, drift_seconds=(1.0, 1e6)
    )

    def steps(network, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            loss = network(x).square().mean()
            loss.backward()
            optimizer.step()
        return loss.item()

    first = prepare(model, TDP, options, seed=7).train()
    optimizer = torch.optim.SGD(first.parameters(), 0.01, momentum=0.9)
    steps(first, optimizer, 2)
    saved = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    assert all(isinstance(value, torch.Tensor) for value in saved[0].values())
    wanted = steps(first, optimizer, 2)
    second = prepare(model, TDP, options, seed=8).train()  # the seed comes with the state
    optimizer = torch.optim.SGD(second.parameters(), 0.01, momentum=0.9)
    second.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert steps(second, optimizer, 2) == wanted
    assert all(
        torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items()
    )
    third = pickle.loads(pickle.dumps(first))
    assert torch.equal(third(x), copy.deepcopy(first)(x))


def test_noise_follows_seed_path_and_step_and_not_threads():
    model, x = mixed()
    x = x.repeat(64, 1, 1)
    options = TrainingSpec(output_noise_fraction=0.1)

    def outputs(seed, threads=1):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        prepared = prepare(model.eval(), TDP, options, seed)
        for _, layer in analog_layers(prepared):
            layer.train()  # batch statistics summed by several threads would differ
        found = [prepared.line(x).detach() for _ in range(2)]
        torch.set_num_threads(before)
        return found

    a, b = outputs(0), outputs(0, threads=2)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a[0], outputs(1)[0])


def test_evaluation_has_converters_and_no_noise():
    model, x = mixed()
    prepared = prepare(model, TDP, TrainingSpec(output_noise_fraction=0.1)).train()
    prepared(x)
    prepared.eval()
    assert torch.equal(prepared(x), prepared(x))
    assert not torch.equal(prepared(x), finalize(prepared)(x))
    bare = prepare(model.eval(), TDP, TrainingSpec(converters_in_eval=False))
    assert torch.equal(bare(x), model(x))


def test_weights_are_clipped_in_place_and_once_per_change():
    layer = nn.Linear(500, 50)
    layer.weight.data = values(50, 500)
    prepared = prepare(layer, TDP, TrainingSpec(clip_constant=0.5)).train()
    prepared(values(2, 500))
    assert prepared.weight.detach().abs().max() == 0.5
    # A clip changes the spread: done again without a change, it would go on shrinking.
    bound = pytest.approx(2 * layer.weight.detach().std().item())
    prepared = prepare(layer, TDP, TrainingSpec(clip_sigma=2.0)).train()
    for _ in range(3):
        prepared(values(2, 500))
        assert prepared.weight.detach().abs().max() == bound
    never_run = finalize(prepare(layer, TDP, TrainingSpec(clip_sigma=2.0)))
    assert never_run.weight.detach().abs().max() == bound
    assert finalize(prepared).weight.detach().abs().max() == bound


def test_scale_follows_the_largest_weight_or_stands_still():
    """The noise of a weight is relative to what is mapped to g_max."""
    errors = {}
    for scale in ("follow", "fixed"):
        for rule in ("core", "column"):
            layer = nn.Linear(256, 256, bias=False)
            layer.weight.data.fill_(0.1)
            layer.weight.data[:128, 0] = 0.2
            options = TrainingSpec(scale=scale, input_range="off", output_range="off")
            spec = TDP.with_({"core.weight_scaling": rule})
            prepared = prepare(layer, spec, options).train()
            prepared(torch.eye(256))
            prepared.weight.data[0, 0] = 0.8
            error = (prepared(torch.eye(256)) - prepared.weight.T).detach()
            errors[scale, rule] = [
                error[1:, cols].std().item()
                for cols in (slice(0, 1), slice(1, 128), slice(128, 256))
            ]
    big, own, low = errors["follow", "core"]
    assert big == pytest.approx(own, rel=0.2)
    assert own > 2 * errors["fixed", "core"][1]
    assert errors["fixed", "core"][2] == pytest.approx(errors["fixed", "core"][1], rel=0.05)
    big, own, low = errors["follow", "column"]
    assert big > 2 * own > 2 * low


def test_grouped_and_transposed_layers_keep_their_scales_apart():
    """Groups of a depthwise layer share a crossbar; blocks of a tall matrix do not."""
    tall = nn.Linear(512, 8, bias=False)
    tall.weight.data.fill_(0.01)
    tall.weight.data[0, 0] = 1.0
    up = nn.ConvTranspose1d(512, 4, 2, bias=False)
    up.weight.data.fill_(0.01)
    up.weight.data[0, 0, 0] = 1.0
    options = TrainingSpec(input_range="off", output_range="off")
    error = (prepare(tall, TDP, options).train()(torch.eye(512)) - tall.weight.T).detach()
    assert error[1:256].std() > 10 * error[256:].std()
    maps = prepare(up, TDP, options).train()(torch.eye(512)[:, :, None]).detach()
    error = (maps - up.weight).detach()
    assert error[1:256].std() > 10 * error[256:].std()


def test_double_precision_and_autocast():
    model, x = mixed()
    double = prepare(copy.deepcopy(model).double(), TDP).train()
    assert double(x.double()).dtype == torch.float64
    single = prepare(model, TDP).train()
    with torch.autocast("cpu", torch.bfloat16):
        y = single(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in single.parameters())


def test_torch_compile_changes_nothing(recwarn):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    x = values(2, 3, 5, 5)
    plain, compiled = (prepare(model, TDP).train() for _ in range(2))
    found = torch.compile(compiled, backend="eager")(x)
    assert torch.equal(found, plain(x))


def test_where_leaves_layers_digital():
    model = resnet32(10)
    where = {"*": "digital", "layer1.*": "analog", "*.conv2": "digital"}
    found = {path for path, _ in analog_layers(prepare(model, TDP, where=where))}
    assert found == {f"layer1.{i}.conv1" for i in range(5)}
    rest = {path for path, _ in analog_layers(prepare(model, TDP, where={"linear": "digital"}))}
    assert "linear" not in rest
    assert len(rest) == 31


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


BAD = {
    "half": (lambda: nn.Linear(2, 2).half(), {}, ValueError, r"'weight' is float16.*model.float"),
    "bfloat16": (lambda: nn.Linear(2, 2).bfloat16(), {}, ValueError, "'weight' is bfloat16"),
    "meta": (lambda: nn.Linear(2, 2, device="meta"), {}, ValueError, "'weight' is on the meta"),
    "lazy": (lambda: nn.LazyLinear(3), {}, ValueError, "has no shape yet: run one batch"),
    "no layer": (lambda: nn.ReLU(), {}, ValueError, "ReLU has no analog layer: wanted at least"),
    "all digital": (
        lambda: nn.Linear(2, 2), {"where": {"*": "digital"}}, ValueError, "no analog layer",
    ),
    "pattern": (
        lambda: nn.Sequential(nn.Linear(2, 2)), {"where": {"00": "digital"}}, ValueError,
        r"where: '00' matches no layer with weights; did you mean '0'\? There are: 0",
    ),
    "choice": (
        lambda: nn.Linear(2, 2), {"where": {"*": "off"}}, ValueError, r"= 'off'; choose 'analog'",
    ),
    "where": (
        lambda: nn.Linear(2, 2), {"where": "fc"}, TypeError,
        "where = 'fc': wanted a list of patterns of names, or a dictionary from pattern to choice",
    ),
    "subclass": (
        lambda: nn.Sequential(Scaled(2, 2)), {}, ValueError,
        r"layer '0' is a Scaled, a subclass of Linear .*where=\{'0': 'digital'\}",
    ),
    "three dimensions": (lambda: nn.Conv3d(2, 2, 2), {}, ValueError, "a Conv3d, not supported"),
    "cell": (lambda: nn.LSTMCell(2, 2), {}, ValueError, "is a LSTMCell, not supported"),
    "model": (lambda: "net", {}, TypeError, "model is a str: wanted a torch.nn.Module"),
    "spec": (lambda: nn.Linear(2, 2), {"spec": TDP.core}, TypeError, "spec is a CoreSpec: wanted"),
    "options": (
        lambda: nn.Linear(2, 2), {"options": {"noise_scale": 2}}, TypeError, "options is a dict",
    ),
    "twice": (lambda: prepare(nn.Linear(2, 2), TDP), {}, ValueError, "prepared already"),
    "seed": (
        lambda: nn.Linear(2, 2), {"seed": -1}, ValueError,
        "seed = -1: wanted a whole number from 0",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence(case):
    make, arguments, kind, match = BAD[case]
    with pytest.raises(kind, match=match) as error:
        prepare(make(), **{"spec": TDP, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("thing", [nn.Linear(2, 2), "net"])
def test_finalize_wants_what_was_prepared(thing):
    with pytest.raises(ValueError, match=r"without analog layers: wanted what .*prepare returned"):
        finalize(thing)


def test_options_are_checked():
    with pytest.raises(ValueError, match="two times above 0, rising"):
        TrainingSpec(drift_seconds=(10.0, 1.0))
    with pytest.raises(ValueError, match="noise_scale"):
        TrainingSpec(noise_scale=-1.0)
    with pytest.raises(KeyError, match="did you mean 'noise_scale'"):
        TrainingSpec().with_(noise_scal=2.0)
