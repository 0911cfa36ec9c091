"""Files that are not ours, damaged, or cannot be written."""

import h5py
import pytest
import torch
from checks import unseal
from torch import nn

import aimc_sim
import aimc_sim.errors


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "chip.h5"
    aimc_sim.Chip.from_model(nn.Linear(9, 4)).calibrate(torch.ones(2, 9)).program(0).save(path)
    return path


def test_devices_that_await_calibration_are_not_saved(tmp_path):
    """The file would hold neither devices nor the wish to write them."""
    chip = aimc_sim.Chip.from_model(nn.Linear(9, 4)).program(0)
    with pytest.raises(aimc_sim.errors.NotProgrammedError, match="await calibration"):
        chip.save(tmp_path / "a.h5")


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no chip file"):
        aimc_sim.Chip.load(tmp_path / "none.h5")


def test_foreign(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match="damaged or not an HDF5 file"):
        aimc_sim.Chip.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(ValueError, match="not a chip saved by aimc_sim"):
        aimc_sim.Chip.load(tmp_path / "other.h5")


def test_newer(saved):
    with h5py.File(saved, "r+") as file:
        file.attrs["version"] = 99
    unseal(saved)
    with pytest.raises(ValueError, match="format version 99, this aimc_sim reads up to"):
        aimc_sim.Chip.load(saved)


def test_damaged(saved):
    data = bytearray(saved.read_bytes())
    saved.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"):
        aimc_sim.Chip.load(saved)


def test_flipped_bits_are_noticed(saved):
    """A checksum guards every array: no bit inside the devices flips unnoticed."""
    with h5py.File(saved) as file:
        chunk = file["tiles/0/g"].id.get_chunk_info(0)
    data = bytearray(saved.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 0x10
    saved.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        aimc_sim.Chip.load(saved)


def test_missing_part(saved):
    with h5py.File(saved, "r+") as file:
        del file["tiles/0/nu"]
    unseal(saved)
    with pytest.raises(ValueError, match="damaged"):
        aimc_sim.Chip.load(saved)


def test_no_folder_and_no_remains(tmp_path, saved):
    chip = aimc_sim.Chip.load(saved)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        chip.save(tmp_path / "missing" / "chip.h5")
    chip.spec = None  # makes the write fail half way
    with pytest.raises(AttributeError):
        chip.save(tmp_path / "half.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chip.h5"]
