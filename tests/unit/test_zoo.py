"""The zoo: architecture and weights of ResNet-32, the two image sets, the training script."""

import hashlib
import importlib.util
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from aimc_sim.zoo import cifar10, datasets, digits, download_cifar10, resnet32, train_digits
from aimc_sim.zoo.resnet import WEIGHTS_DIR

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def count_right(network, images):
    with torch.inference_mode():
        scores = torch.cat([network(x) for x in images.images.split(100)])
    return int((scores.argmax(1) == images.labels).sum())


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


# ------------------------------------------------------------------------------- digits


def test_digits_split_is_disjoint_complete_and_fixed():
    labels = load_digits().target
    train = datasets.digits_indices(labels, "train")
    test = datasets.digits_indices(labels, "test")
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    assert np.bincount(labels[test]).tolist() == [50] * 10
    assert hashlib.sha256(test.astype("<i8").tobytes()).hexdigest() == (
        "186fcf0f689f6ca068a3e071d65d32c1161b98819223c1da398803c4826869dd"
    )


def test_digits_images_are_the_split_ones_normalised():
    bundle = load_digits()
    train, test = digits("train"), digits()
    assert (len(train), len(test)) == (1297, 500)
    for part in (train, test):
        chosen = datasets.digits_indices(bundle.target, part.split)
        assert np.array_equal(part.labels, bundle.target[chosen])
        assert part.images.shape == (len(part), 3, 32, 32)
        assert (part.images.dtype, part.labels.dtype) == (torch.float32, torch.int64)
        # Interpolation keeps the mean of each image's inner pixels; 4 x 4 averages are close.
        pixels = part.images[:, 0] * datasets.DIGITS_STD + datasets.DIGITS_MEAN
        assert pixels.min() > -1e-6
        assert pixels.max() < 1 + 1e-6
        coarse = torch.nn.functional.avg_pool2d(pixels, 4).flatten()
        both = np.corrcoef(coarse, bundle.images[chosen].ravel())
        assert both[0, 1] > 0.95
    # The constants are rounded to three digits.
    assert train.images.mean().item() == pytest.approx(0, abs=0.002)
    assert train.images.std().item() == pytest.approx(1, abs=0.002)
    assert test.classes == tuple("0123456789")


def test_no_test_digit_is_also_a_training_digit():
    seen = {image.numpy().tobytes() for image in digits("train").images}
    assert not any(image.numpy().tobytes() in seen for image in digits("test").images)


def test_take():
    images = digits()
    some = images.take(7)
    assert len(some) == 7
    assert torch.equal(some.images, images.images[:7])
    assert (some.name, some.split, some.classes) == ("digits", "test", images.classes)
    assert len(images.take(10_000)) == 500
    with pytest.raises(ValueError, match=r"n = 0 .*at least 1"):
        images.take(0)


def test_unknown_split_and_changed_bundle_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="split = 'validation': wanted 'train' or 'test'"):
        digits("validation")
    monkeypatch.setattr(datasets, "DIGITS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"SHA-256 87ff.*wanted 0000.*install another"):
        digits()


# ------------------------------------------------------------------------------- CIFAR-10


def write_batch(path, rows=10_000, **changes):
    """Write a batch file as CIFAR-10 has them; each image is filled with its row number."""
    pixels = np.repeat((np.arange(rows) % 256).astype(np.uint8)[:, None], 3072, axis=1)
    batch = {b"data": pixels, b"labels": [row % 10 for row in range(rows)]}
    batch |= {key.encode(): value for key, value in changes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(batch, protocol=4))


def test_cifar10_reads_the_folder_or_its_parent(tmp_path):
    write_batch(tmp_path / "cifar-10-batches-py" / "test_batch")
    for folder in (tmp_path, str(tmp_path / "cifar-10-batches-py")):
        images = cifar10(folder)
        assert images.images.shape == (10_000, 3, 32, 32)
        normalised = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
        assert images.images[51].mean(dim=(1, 2)).tolist() == pytest.approx(normalised)
        assert images.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        assert (images.labels.dtype, images.classes[3]) == (torch.int64, "cat")


def test_missing_cifar10_names_both_ways(tmp_path):
    both = r"no CIFAR-10 in .*--data-dir .*cifar-10-batches-py.*download_cifar10\(folder\)"
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=both):
            cifar10(folder)
    write_batch(tmp_path / "test_batch", rows=1)
    with pytest.raises(FileNotFoundError, match=r"no 'data_batch_1' of CIFAR-10 in .*--data-dir"):
        cifar10(tmp_path, "train")
    with pytest.raises(ValueError, match="split = 'valid'"):
        cifar10(tmp_path, "valid")


class Intruder:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"
    for where in ("test_batch", "w.pt"):
        (tmp_path / where).write_bytes(pickle.dumps(Intruder(f"touch '{mark}'"), protocol=2))
    with pytest.raises(
        ValueError, match=r"test_batch' is damaged .*it asks for (posix|nt)\.system"
    ):
        cifar10(tmp_path)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        resnet32(weights=tmp_path / "w.pt")
    assert not mark.exists()
    pickle.loads((tmp_path / "test_batch").read_bytes())  # an ordinary reader would have run it
    assert mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 10}, r"pixels uint8 \(10, 3072\), wanted uint8 \(10000, 3072\)"),
        ({"data": [1, 2]}, "pixels none"),
        ({"labels": [0] * 9_999}, "has no 10000 labels"),
        ({"labels": [10] * 10_000}, r"labels in 0\.\.9"),
    ],
)
def test_short_or_foreign_batches_are_named(tmp_path, changes, message):
    write_batch(tmp_path / "test_batch", **changes)
    with pytest.raises(ValueError, match=f"test_batch' has .*{message.removeprefix('has ')}"):
        cifar10(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2])])
def test_damaged_batches_are_named(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch' (is damaged|has pixels none).*--data-dir"):
        cifar10(tmp_path)


def test_cut_off_batch_is_named(tmp_path):
    write_batch(tmp_path / "test_batch")
    whole = (tmp_path / "test_batch").read_bytes()
    (tmp_path / "test_batch").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="test_batch' is damaged"):
        cifar10(tmp_path)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Stand in for the server: an archive with the right names and tiny files."""
    source = tmp_path / "server" / "cifar-10-batches-py"
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        write_batch(source / name, rows=1)
    archive = tmp_path / "server" / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=source.name)
    monkeypatch.setattr(datasets, "CIFAR10_URL", archive.as_uri())
    monkeypatch.setattr(
        datasets,
        "CIFAR10_MD5",
        hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest(),
    )
    return archive


def test_download_unpacks_once(tmp_path, published):
    folder = tmp_path / "new" / "data"
    got = download_cifar10(folder)
    assert got == folder / "cifar-10-batches-py"
    assert [path.name for path in folder.iterdir()] == ["cifar-10-batches-py"]
    published.unlink()
    assert download_cifar10(folder) == got


def test_download_of_another_archive_leaves_nothing(tmp_path, published):
    published.write_bytes(published.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"has md5 .*nothing was unpacked"):
        download_cifar10(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_download_offline_names_both_ways_and_leaves_nothing(tmp_path, published):
    published.unlink()
    with pytest.raises(ConnectionError, match=r"could not be downloaded.*--data-dir.*download_cif"):
        download_cifar10(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_download_does_not_overwrite_an_incomplete_folder(tmp_path, published):
    write_batch(tmp_path / "cifar-10-batches-py" / "test_batch", rows=1)
    with pytest.raises(ValueError, match="exists but is not complete"):
        download_cifar10(tmp_path)


@pytest.fixture(scope="session")
def real_test_batch(tmp_path_factory):
    """CIFAR-10's own test batch, unpacked from the shared data beside the repository."""
    packed = SHARED / "cifar10"
    if not (packed / "unpack.py").is_file():
        pytest.skip("the shared copy of CIFAR-10 is not beside this repository")
    here = tmp_path_factory.mktemp("packed")
    for name in ("test_batch.pixels.xz", "test_batch.frame.xz"):
        (here / name).write_bytes((packed / name).read_bytes())
    manifest = json.loads((packed / "manifest.json").read_text())
    (here / "manifest.json").write_text(json.dumps({"test_batch": manifest["test_batch"]}))
    spec = importlib.util.spec_from_file_location("unpack_cifar10", packed / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    unpack.HERE = here
    folder = tmp_path_factory.mktemp("cifar10")
    unpack.main(folder)
    return folder


def test_published_weights_on_real_cifar10(real_test_batch):
    weights = SHARED / "weights" / "resnet32-akamaster-d509ac18.th"
    if not weights.is_file():
        pytest.skip("the shared CIFAR-10 weights are not beside this repository")
    images = cifar10(real_test_batch)
    # All 10,000 images give 9263, the published 92.63 %; the first 500 of them give 466, give or
    # take one where another CPU's rounding decides.
    assert abs(count_right(resnet32(weights=weights), images.take(500)) - 466) <= 1


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
    assert resumed_curve == curve
    wanted = straight.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in resumed.state_dict().items())

    train_digits.export(resumed, tmp_path / "b.pt", 2, 3, resumed_curve)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt.checkpoint", "b.json", "b.pt"]
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert record["curve"] == curve
    assert str(tmp_path) not in (tmp_path / "b.json").read_text(encoding="utf-8")
