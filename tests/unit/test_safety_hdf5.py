"""HDF5 files: sealed ones are checked first, others are rehearsed, links are not followed."""

import time

import h5py
import numpy as np
import pytest

from aimc_sim import hdf5


@pytest.fixture
def path(tmp_path):
    with hdf5.writing(tmp_path / "a.h5", "the file") as file:
        file["x"] = np.arange(200.0)
        file.attrs["name"] = "a"
    return tmp_path / "a.h5"


def read(path):
    with hdf5.reading(path, "file") as file:
        return file["x"][()]


def test_what_was_written_is_read(path):
    assert read(path).tolist() == list(range(200))
    assert h5py.File(path)["x"][3] == 3.0  # by every HDF5 reader


def test_every_flipped_byte_is_noticed(path, rng):
    """All positions of the seal and a thousand of the others; a flip of one bit each."""
    content = path.read_bytes()
    places = [*range(0, 600, 3), *rng.integers(0, len(content), 1000).tolist()]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        if place < 16:  # no seal at all: the library has a look, and so the content may be right
            continue
        with pytest.raises(ValueError, match=r"(damaged|not an HDF5 file)"):
            read(path)


UNSEALED = {
    "soft link": lambda f: f.__setitem__("y", h5py.SoftLink("/x")),
    "loop of soft links": lambda f: f.__setitem__("y", h5py.SoftLink("/y")),
    "external link": lambda f: f.__setitem__("y", h5py.ExternalLink("other.h5", "/x")),
    "10^12 rows": lambda f: f.create_dataset("y", (10**12,), "f8", chunks=(1000,)),
    "external storage": lambda f: f.create_dataset("y", (9,), "f8", external=[("raw", 0, 72)]),
    "deep groups": lambda f: f.create_group("/".join("abcdefghijklmnopqrstuvwxyz")),
}


@pytest.mark.parametrize("name", list(UNSEALED))
def test_what_leads_elsewhere_or_nowhere_is_refused(tmp_path, name):
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1.0]
        UNSEALED[name](file)
    with pytest.raises(ValueError, match=r"(link|another file|declares|deeper)") as error:
        read(path)
    assert str(path) in str(error.value)


def test_an_unsealed_file_is_read_if_it_is_sound(tmp_path):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = [1.0, 2.0]
    assert read(tmp_path / "b.h5").tolist() == [1.0, 2.0]


def test_an_unsealed_file_cannot_be_read_for_ever(tmp_path, monkeypatch):
    """The process that rehearses is ended; here one that never gets anywhere."""
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = [1.0]
    monkeypatch.setattr(hdf5, "_REHEARSAL", "while True: pass")
    monkeypatch.setattr(hdf5, "REHEARSAL_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(ValueError, match="did not finish reading"):
        read(tmp_path / "b.h5")
    assert time.monotonic() - began < 30


def test_a_fifo_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match="that is a FIFO"):
        read(tmp_path / "b.h5")
