"""Test images as tensors: scikit-learn's digits (always at hand) and CIFAR-10 (from a folder).

Both come as an :class:`ImageSet` of normalised 3 x 32 x 32 images, ready for
:func:`aimc_sim.zoo.resnet32`.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import pickle
import tarfile
import tempfile
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aimc_sim import arguments, markup

Split = Literal["train", "test"]

DIGITS_MEAN, DIGITS_STD = 0.305, 0.324
"""Pixels of the 1297 training digits, scaled to 0..1 and brought to 32 x 32: computed, rounded."""

DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""Of the 1797 x 64 pixels and then the 1797 labels, one byte each, as scikit-learn orders them."""

_DIGITS_SEED, _DIGITS_TEST_PER_CLASS = 1797, 50
"""The split: of each class, the images with the smallest PCG64 words are the test images."""

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
"""Checksum of the archive as published on https://www.cs.toronto.edu/~kriz/cifar.html."""

_CIFAR10_MEAN, _CIFAR10_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The normalisation that published CIFAR-10 weights of :func:`aimc_sim.zoo.resnet32` expect."""

_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_CIFAR10_FOLDER = "cifar-10-batches-py"
_CIFAR10_FILES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
_CIFAR10_ROWS = 10_000
# The parts of a pickled array: numpy 1 and 2 name the module of the rebuilding function
# differently, so it is taken from an array itself.
_REBUILD = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD,
}
_BOTH_WAYS = (
    f"pass --data-dir pointing to a folder with {_CIFAR10_FOLDER}, or download it with "
    "aimc_sim.zoo.download_cifar10(folder)"
)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images.

    Attributes
    ----------
    name, split : str
        Which set, and which part of it ("train" or "test").
    images : tensor of shape (N, 3, 32, 32), float32
        Normalised pixels.
    labels : tensor of shape (N,), int64
        Index into ``classes``.
    classes : tuple of str
        Name of each class.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        names, shape = self.classes, " x ".join(map(str, self.images.shape[1:]))
        counts = self.labels.bincount(minlength=len(names)).tolist()
        rows = [
            (
                "images",
                f"{len(self):,} of {shape}, {str(self.images.dtype).removeprefix('torch.')}",
            ),
            ("classes", ", ".join(f"{n} ({k:,})" for n, k in zip(names, counts, strict=True))),
        ]
        return markup.display("ImageSet", f"{self.name}, {self.split}", markup.facts(rows))

    def take(self, n: int) -> Self:
        """Return the first ``n`` images (all of them if there are fewer).

        Raises
        ------
        ValueError
            If ``n`` is below 1.
        """
        n = arguments.whole(n, f"images of '{self.name}'", 1, 10**9)
        return replace(self, images=self.images[:n], labels=self.labels[:n])


def digits(split: Split = "test") -> ImageSet:
    """Return the handwritten digits that scikit-learn bundles, brought to 3 x 32 x 32.

    The 8 x 8 pixels (0..16) are divided by 16, interpolated (bilinear), normalised with
    :data:`DIGITS_MEAN` and :data:`DIGITS_STD` and repeated on three channels. The split is
    fixed: 50 test images of each class, 1297 training images.

    Parameters
    ----------
    split : {"train", "test"}
        Part of the images.

    Returns
    -------
    ImageSet
        500 test or 1297 training images, in scikit-learn's order.

    Raises
    ------
    ValueError
        If the split is unknown, or the bundled images are not the ones that were split.
    """
    _check_split(split)
    from sklearn.datasets import load_digits  # imported here: it takes a second

    bundle = load_digits()
    pixels, labels = bundle.images.astype(np.uint8), bundle.target.astype(np.uint8)
    got = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    if got != DIGITS_SHA256:
        raise ValueError(
            f"the digits of this scikit-learn have SHA-256 {got[:16]}..., wanted "
            f"{DIGITS_SHA256[:16]}...: training and test images could mix; install another version"
        )
    chosen = digits_indices(labels, split)
    small = torch.from_numpy(pixels[chosen].astype(np.float32) / 16)[:, None]
    large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    return ImageSet(
        name="digits",
        split=split,
        images=((large - DIGITS_MEAN) / DIGITS_STD).repeat(1, 3, 1, 1),
        labels=torch.from_numpy(labels[chosen].astype(np.int64)),
        classes=tuple(str(digit) for digit in range(10)),
    )


def digits_indices(labels: np.ndarray, split: Split) -> np.ndarray:
    """Return the ascending indices of one part of the digits, from the labels of them all.

    Uses the raw words of PCG64, which numpy promises never to change, and no sampling method.
    """
    words = np.random.PCG64(_DIGITS_SEED).random_raw(len(labels))
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        in_test[members[np.argsort(words[members])[:_DIGITS_TEST_PER_CLASS]]] = True
    return np.flatnonzero(in_test if split == "test" else ~in_test)


def cifar10(data_dir: str | Path, split: Split = "test", take: int | None = None) -> ImageSet:
    """Read CIFAR-10 from its official python files (nothing in them is executed).

    Parameters
    ----------
    data_dir : path
        The folder ``cifar-10-batches-py`` or the folder that contains it.
    split : {"train", "test"}
        Part of the images.
    take : int, optional
        Number of images, the first ones: files that are not needed are not read. None: all.

    Returns
    -------
    ImageSet
        10,000 test or 50,000 training images in the official order, normalised with
        :data:`_CIFAR10_MEAN` and :data:`_CIFAR10_STD`.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing; the message says how to get it.
    ValueError
        If the split is unknown, or a file is damaged or not one of CIFAR-10's.

    Notes
    -----
    Source: A. Krizhevsky, *Learning multiple layers of features from tiny images*, 2009.
    """
    _check_split(split)
    folder = arguments.path(data_dir, "data_dir")
    if take is not None:
        take = arguments.whole(take, "take", 1, 10**9)
    if (folder / _CIFAR10_FOLDER).is_dir():
        folder = folder / _CIFAR10_FOLDER
    paths = [folder / name for name in _CIFAR10_FILES[split]]
    for path in paths:
        if not path.is_file():
            what = f"'{path.name}' of CIFAR-10" if _is_cifar10(folder) else "CIFAR-10"
            raise FileNotFoundError(f"no {what} in '{data_dir}': {_BOTH_WAYS}")
    if take is not None:
        paths = paths[: max(1, -(-take // _CIFAR10_ROWS))]
    batches = [_read_batch(path) for path in paths]
    images = torch.from_numpy(np.concatenate([data for data, _ in batches])).float().div_(255)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (_CIFAR10_MEAN, _CIFAR10_STD))
    found = ImageSet(
        name="cifar10",
        split=split,
        images=images.sub_(mean).div_(std),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in batches])),
        classes=_CIFAR10_CLASSES,
    )
    return found if take is None else found.take(take)


def download_cifar10(folder: str | Path) -> Path:
    """Download CIFAR-10 (170 MB), check it and unpack it into ``folder``.

    Does nothing if the files are there already. A failure leaves nothing behind.

    Returns
    -------
    Path
        The folder ``cifar-10-batches-py``, as :func:`cifar10` wants it.

    Raises
    ------
    ConnectionError
        If the server cannot be reached or breaks off.
    ValueError
        If what came is not the published archive.
    """
    folder = arguments.path(folder, "folder")
    final = folder / _CIFAR10_FOLDER
    if all((final / name).is_file() for names in _CIFAR10_FILES.values() for name in names):
        return final
    if final.exists():
        raise ValueError(f"'{final}' exists but is not complete: remove it, then download again")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=folder) as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        got = _fetch(CIFAR10_URL, archive)
        if got != CIFAR10_MD5:
            raise ValueError(
                f"what came from {CIFAR10_URL} has md5 {got}, wanted {CIFAR10_MD5}; nothing was "
                "unpacked: try again, or get the archive elsewhere"
            )
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / _CIFAR10_FOLDER).rename(final)
    return final


def _check_split(split: str) -> None:
    arguments.choice(split, "split", get_args(Split))


def _is_cifar10(folder: Path) -> bool:
    return folder.name == _CIFAR10_FOLDER or any(
        (folder / name).exists() for names in _CIFAR10_FILES.values() for name in names
    )


def _fetch(url: str, target: Path) -> str:
    """Write the contents of ``url`` to the file ``target``; return their md5."""
    md5 = hashlib.md5(usedforsecurity=False)
    with target.open("wb") as file:
        for chunk in _chunks(url):
            md5.update(chunk)
            file.write(chunk)
    return md5.hexdigest()


def _chunks(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            while chunk := response.read(1 << 20):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"CIFAR-10 could not be downloaded from {url} ({error}): {_BOTH_WAYS} once online"
        ) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and built-in containers; refuses every other name in the file."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three allowed objects."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (10000, 3, 32, 32) uint8 and labels (10000,) int64 of one official file."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # damaged pickles answer with many kinds of error
        raise ValueError(
            f"'{path}' is damaged or not a CIFAR-10 batch ({error}); replace it: {_BOTH_WAYS}"
        ) from error
    data = batch.get(b"data") if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    pixels = (_CIFAR10_ROWS, 3 * 32 * 32)
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == pixels):
        got = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else "none"
        raise ValueError(f"'{path}' has pixels {got}, wanted uint8 {pixels}; {_BOTH_WAYS}")
    count = len(labels) if isinstance(labels, list) else 0
    in_range = isinstance(labels, list) and all(
        isinstance(label, int) and 0 <= label < len(_CIFAR10_CLASSES) for label in labels
    )
    if not (in_range and count == len(data)):
        raise ValueError(
            f"'{path}' has no {_CIFAR10_ROWS} labels in 0..9 beside its pixels; {_BOTH_WAYS}"
        )
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
