"""The zoo: architecture and weights of ResNet-32, its training on the digits."""

import json

import numpy as np
import pytest
import torch

from aimc_sim.zoo import digits, resnet32, train_digits
from aimc_sim.zoo.stored import WEIGHTS_DIR

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def count_right(network, images):
    with torch.inference_mode():
        scores = torch.cat([network(x) for x in images.images.split(100)])
    return int((scores.argmax(1) == images.labels).sum())


def untimed(curve):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in curve]


# ------------------------------------------------------------------------- architecture


def test_parameter_names_are_the_published_ones():
    names = {"conv1.weight", "linear.weight", "linear.bias"} | {f"bn1.{x}" for x in BATCH_NORM}
    for layer in (1, 2, 3):
        for block in range(5):
            for part in (1, 2):
                at = f"layer{layer}.{block}"
                names |= {f"{at}.conv{part}.weight"} | {f"{at}.bn{part}.{x}" for x in BATCH_NORM}
    assert set(resnet32().state_dict()) == names


def test_parameter_counts_are_those_derived_by_hand():
    convolutions = 9 * (3 * 16 + 10 * 16 * 16 + (16 * 32 + 9 * 32 * 32) + (32 * 64 + 9 * 64 * 64))
    batch_norms = 2 * (11 * 16 + 10 * 32 + 10 * 64)
    assert (convolutions, batch_norms) == (461_232, 2_272)
    parameters = dict(resnet32().named_parameters())
    assert sum(p.numel() for p in parameters.values() if p.ndim > 1) == convolutions + 640
    assert sum(p.numel() for p in parameters.values()) == convolutions + batch_norms + 650
    assert sum(p.ndim > 1 for p in parameters.values()) == 32


def test_shapes_along_the_way():
    network = resnet32(num_classes=7)
    x = torch.zeros(2, 3, 32, 32)
    shapes = {}
    for name in ("conv1", "layer1", "layer2", "layer3", "linear"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _input, y, name=name: shapes.update({name: tuple(y.shape)})
        )
    network(x)
    assert shapes == {
        "conv1": (2, 16, 32, 32),
        "layer1": (2, 16, 32, 32),
        "layer2": (2, 32, 16, 16),
        "layer3": (2, 64, 8, 8),
        "linear": (2, 7),
    }


def test_shortcut_subsamples_and_pads_with_zeros():
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    y = resnet32().layer2[0].shortcut(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_symbolic_trace_computes_the_same():
    network = resnet32()
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(torch.fx.symbolic_trace(network)(x), network(x))


def test_random_weights_repeat_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second = resnet32(), resnet32()
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.training
    assert torch.equal(first.layer3[4].conv2.weight, second.layer3[4].conv2.weight)
    assert first.layer3[4].conv2.weight.std().item() == pytest.approx(
        (2 / (9 * 64)) ** 0.5, rel=0.02
    )


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_are_read_with_and_without_prefix_and_wrapping(tmp_path, prefix, wrapped):
    state = {key: value + 1 for key, value in resnet32().state_dict().items()}
    saved = {prefix + key: value for key, value in state.items()}
    torch.save({"state_dict": saved, "best": 9.0} if wrapped else saved, tmp_path / "w.pt")
    loaded = resnet32(weights=tmp_path / "w.pt").state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_float16_weights_without_step_counters_become_float32(tmp_path):
    state = {
        key: value.half()
        for key, value in resnet32().state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "w.pt")
    loaded = resnet32(weights=str(tmp_path / "w.pt"))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.conv1.weight, state["conv1.weight"].float())


def test_missing_weights_name_the_path_and_the_choices(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file at .*digts.*shipped.*'digits'"):
        resnet32(weights="digts")
    with pytest.raises(FileNotFoundError, match="no weight file"):
        resnet32(weights=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04broken"])
def test_unreadable_weights_are_a_value_error(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pt' cannot be read as weights .*; download"):
        resnet32(weights=tmp_path / "w.pt")


def test_cut_off_weights_are_a_value_error(tmp_path):
    torch.save(resnet32().state_dict(), tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as weights"):
        resnet32(weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "kind"), [([1, 2], "list"), (torch.zeros(3), "Tensor"), ({"lr": 0.1}, "dict")]
)
def test_weights_that_are_no_state_dict(tmp_path, content, kind):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=f"holds no state dict: got a {kind}"):
        resnet32(weights=tmp_path / "w.pt")


def _drop(state):
    del state["layer2.3.bn1.running_var"]


def _rename(state):
    state["fc.weight"] = state.pop("linear.weight")


def _widen(state):
    state["layer1.0.conv1.weight"] = torch.zeros(16, 32, 3, 3)


def _other_classes(state):
    state["linear.weight"], state["linear.bias"] = torch.zeros(100, 64), torch.zeros(100)


def _diverge(state):
    state["bn1.bias"] = torch.full((16,), float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, r"1 missing \(first 'layer2.3.bn1.running_var'\); wanted conv1, bn1"),
        (_rename, r"1 missing \(first 'linear.weight'\) and 1 unexpected \(first 'fc.weight'\)"),
        (_widen, r"'layer1.0.conv1.weight' .* \(16, 32, 3, 3\), wanted \(16, 16, 3, 3\); give"),
        (_other_classes, r"shape \(100, 64\), wanted \(10, 64\); pass num_classes=100"),
        (_diverge, "'bn1.bias' .* not finite"),
    ],
)
def test_weights_of_another_network(tmp_path, change, message):
    state = resnet32().state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=message) as caught:
        resnet32(weights=tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_no_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes = 0"):
        resnet32(num_classes=0)


def test_shipped_weights_reach_the_recorded_accuracy():
    record = json.loads((WEIGHTS_DIR / "resnet32_digits.json").read_text(encoding="utf-8"))
    test_set = digits("test")
    right = count_right(resnet32(weights="digits"), test_set)
    assert right >= 0.98 * len(test_set)
    # One image may sit so close between two classes that another CPU's rounding decides.
    assert abs(right - record["test_accuracy"] * len(test_set)) <= 1
    assert record["test_images"] == len(test_set)
    assert len(record["curve"]) == record["epochs"]


def test_shipped_weights_are_small_and_exactly_float16():
    path = WEIGHTS_DIR / "resnet32_digits.pt"
    assert path.stat().st_size <= 2_000_000
    state = torch.load(path, weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16, torch.int64}


# ------------------------------------------------------------------------------ training


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [train_digits.learning_rate(progress, 60) for progress in range(61)]
    assert rates[0] == 0
    assert max(rates) == rates[3] == train_digits.PEAK_RATE
    assert rates[60] == pytest.approx(0)
    assert sorted(rates[3:], reverse=True) == rates[3:]


def test_augmentation_moves_images_a_little_and_repeats():
    images = digits("train").images[:64]
    once, again, other = (
        train_digits.augment(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert 0.5 < np.corrcoef(once.flatten(), images.flatten())[0, 1] < 0.98


def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(train_digits, "digits", lambda split: digits(split).take(24))
    monkeypatch.setattr(train_digits, "BATCH", 12)
    straight, curve = train_digits.train(tmp_path / "a.pt", epochs=2, seed=3)

    calls = []
    accuracy = train_digits.accuracy

    def break_off(network, images):
        calls.append(images.split)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return accuracy(network, images)

    with monkeypatch.context() as patch:
        patch.setattr(train_digits, "accuracy", break_off)
        with pytest.raises(KeyboardInterrupt):
            train_digits.train(tmp_path / "b.pt", epochs=2, seed=3)
    with pytest.raises(ValueError, match=r"'epochs': 2.*'epochs': 4.*remove it to start anew"):
        train_digits.train(tmp_path / "b.pt", epochs=4, seed=3)
    resumed, resumed_curve = train_digits.train(tmp_path / "b.pt", epochs=2, seed=3)
    assert untimed(resumed_curve) == untimed(curve)
    wanted = straight.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in resumed.state_dict().items())

    train_digits.export(resumed, tmp_path / "b.pt", 2, 3, resumed_curve)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt.checkpoint", "b.json", "b.pt"]
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert untimed(record["curve"]) == untimed(curve)
    assert str(tmp_path) not in (tmp_path / "b.json").read_text(encoding="utf-8")
