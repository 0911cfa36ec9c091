"""The zoo's images: the digits and CIFAR-10, read, split, downloaded, refused when damaged."""

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

from aimc_sim.zoo import cifar10, datasets, digits, download_cifar10, resnet32
from aimc_sim.zoo.training import accuracy

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


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
    with pytest.raises(ValueError, match=r"images of 'digits' = 0: wanted a whole number from 1 "):
        images.take(0)


def test_unknown_split_and_changed_bundle_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="split = 'validation' is unknown; there are: train, test"):
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
    assert abs(round(500 * accuracy(resnet32(weights=weights), images.take(500))) - 466) <= 1
