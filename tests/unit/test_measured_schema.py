"""Measured data: the format keeps everything, and refuses what cannot be with row and column."""

import h5py
import numpy as np
import pytest
from checks import unseal

from aimc_sim import files
from aimc_sim.device.measured import MeasuredData, Provenance, columns, read, sha256, write
from aimc_sim.device.measured.traces import traces


def fields(**changes):
    """Two devices, two cycles, three times each, with every column."""
    n = 12
    values = {
        "device": np.repeat([4, 7], 6),
        "cycle": np.tile(np.repeat([0, 1], 3), 2),
        "time_seconds": np.tile([0.0, 1.0, 100.0], 4),
        "conductance_siemens": np.linspace(1e-6, 12e-6, n),
        "target_siemens": np.full(n, 5e-6),
        "pulse_volts": np.full(n, -1.5),
        "pulse_amperes": np.full(n, 3e-4),
        "pulse_seconds": np.full(n, 1e-7),
        "pulse_count": np.full(n, 2),
        "pulse_direction": np.full(n, -1),
        "device_row": np.repeat([0, 1], 6),
        "device_column": np.repeat([3, 2], 6),
        "temperature_kelvin": 300.0,
        "read_seconds": 5e-7,
    }
    return values | changes


def changed(column, row, value):
    """The fields with one value changed."""
    values = fields()[column].astype(float)
    values[row] = value
    return fields(**{column: values})


def test_a_file_keeps_everything(tmp_path):
    provenance = Provenance(title="t", source="s", doi="10.1/x", licence="MIT", notes="µ",
                            instrument="i", original_units="u")  # fmt: skip
    data = MeasuredData.of(**fields(), provenance=provenance)
    write(tmp_path / "a.h5", data)
    back = read(tmp_path / "a.h5")
    assert back.provenance == provenance
    assert list(back.columns()) == [name for name in columns.UNITS if name != "pulse_number"]
    for name, values in data.columns().items():
        np.testing.assert_array_equal(back.columns()[name], values)
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file.attrs["format"], file.attrs["version"]) == ("aimc_sim measured", 2)
        for name, dataset in file.items():
            assert dataset.attrs["unit"] == columns.UNITS[name]
            assert dataset.fletcher32 or dataset.shape == ()


def test_columns_that_were_not_measured_are_absent(tmp_path):
    few = {name: fields()[name] for name in columns.REQUIRED}
    write(tmp_path / "a.h5", MeasuredData.of(**few))
    back = read(tmp_path / "a.h5")
    assert list(back.columns()) == list(columns.REQUIRED) or set(back.columns()) == set(few)
    assert back.pulse_volts is None
    assert back.read_seconds is None


def test_data_cannot_be_changed():
    data = MeasuredData.of(**fields())
    with pytest.raises(ValueError, match="frozen"):
        data.device = np.zeros(12, int)
    with pytest.raises(ValueError, match="read-only"):
        data.conductance_siemens[0] = 1.0
    mine = fields()["conductance_siemens"]
    data = MeasuredData.of(**fields(conductance_siemens=mine))
    mine[0] = 9.0
    assert data.conductance_siemens[0] == 1e-6


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (fields(conductance_siemens=-np.linspace(1e-6, 2e-6, 12)),
         "row 0, column 'conductance_siemens': -1e-06 S is negative, and so is the mean of its 12 "
         r"reads.*negative voltage\? \(import with --negative-read"),
        (changed("conductance_siemens", 5, -25.0),
         "row 5, column 'conductance_siemens': -25 S is no conductance"),
        (changed("conductance_siemens", 5, np.nan),
         "row 5, column 'conductance_siemens': nan S is not a finite number"),
        (changed("conductance_siemens", 5, np.inf),
         "row 5, column 'conductance_siemens': inf S is not a finite number"),
        (changed("conductance_siemens", 11, 25.0),
         "row 11, column 'conductance_siemens': 25 S is no conductance.*ohm, or uS"),
        (changed("target_siemens", 2, -5e-6), "row 2, column 'target_siemens': -5e-06 S is neg"),
        (changed("target_siemens", 2, 5e4), "row 2, column 'target_siemens': 5e.04 S is no cond"),
        (changed("time_seconds", 4, 200.0),
         r"row 5, column 'time_seconds': 100 s does not follow 200 s in the trace of device 4, "
         "cycle 1"),
        (fields(pulse_number=np.tile([0, 1, 1], 4)),
         "row 2, column 'pulse_number': 1 does not follow 1 in the trace of device 4, cycle 0; "
         "pulse numbers must rise"),
        (fields(pulse_direction=np.full(12, 2)), "row 0, column 'pulse_direction': 2 is no dir"),
        (fields(device_names=("a",) * 7), "device_names has 7 names, but there is a device number"),
        (changed("time_seconds", 6, -1.0), "row 6, column 'time_seconds': -1 s is negative"),
        (changed("device", 8, 7.5), "row 8, column 'device': 7.5 is not a whole number"),
        (changed("cycle", 1, np.nan), "row 1, column 'cycle': nan is not a finite number"),
        (changed("pulse_volts", 9, np.nan), "row 9, column 'pulse_volts': nan V is not a finite"),
        (changed("pulse_count", 9, 1.5), "row 9, column 'pulse_count': 1.5 is not a whole"),
        (fields(temperature_kelvin=0.0), "column 'temperature_kelvin': 0 K must be above 0"),
        (fields(conductance_siemens=np.full(12, 25e-3)),
         r"column 'conductance_siemens': the median is 0.025 S, outside 1e-10 to 0.01 S.*unit"),
        (fields(conductance_siemens=np.full(12, 25e-12)), "the median is 2.5e-11 S.*uS"),
        (fields(pulse_volts=np.ones(11)), "column 'pulse_volts' has 11 reads but 'device' has 12"),
        (fields(device=["a"] * 12), "column 'device': .* is not numeric"),
        (fields(device=np.zeros((12, 1))), r"column 'device': shape \(12, 1\); wanted one value"),
        (fields(cycle=None), "no column 'cycle'; wanted device, cycle"),
        (fields(device=[], cycle=[]), "column 'device': no reads"),
        (fields(read_seconds=np.ones(12)), "'read_seconds' must be one number"),
        (fields(colour=1), "colour: Extra inputs"),
    ],
)  # fmt: skip
def test_bad_columns_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        MeasuredData.of(**given)


def test_good_oddities_are_kept():
    """A read without target, a conductance of zero, an off state below the usual medians."""
    target = fields()["target_siemens"]
    target[:6] = np.nan
    values = fields()["conductance_siemens"]
    values[0] = 0.0
    MeasuredData.of(**fields(target_siemens=target, conductance_siemens=values))
    MeasuredData.of(**fields(conductance_siemens=np.full(12, 2e-10)))
    around = np.linspace(-1e-7, 1.2e-7, 12)  # noise around zero
    assert (MeasuredData.of(**fields(conductance_siemens=around)).conductance_siemens < 0).any()
    twice = fields(time_seconds=np.tile([0.0, 1.0, 1.0], 4))  # two reads at one time
    assert len(MeasuredData.of(**twice)) == 12


def test_names_of_devices_are_kept(tmp_path):
    names = tuple(f"WL{i}_BL0" for i in range(8))
    write(tmp_path / "a.h5", MeasuredData.of(**fields(), device_names=names))
    assert read(tmp_path / "a.h5").device_names == names


def test_a_pulse_record_is_one_train(tmp_path):
    """Every read follows a pulse of its own: amplitudes do not cut the trace."""
    data = MeasuredData.of(
        device=[0] * 4, cycle=[0] * 4, time_seconds=np.zeros(4), pulse_number=[0, 1, 2, 3],
        pulse_volts=[1.0, 1.1, 1.2, 1.3], conductance_siemens=np.arange(1, 5) * 1e-6,
    )  # fmt: skip
    write(tmp_path / "a.h5", data)
    assert len(traces(read(tmp_path / "a.h5"))) == 1


def damage(file, what):
    if what == "unit":
        del file["time_seconds"].attrs["unit"]
    elif what == "other unit":
        file["conductance_siemens"].attrs["unit"] = "uS"
    elif what == "column":
        file["colour"] = 1
    elif what == "version":
        file.attrs["version"] = 3
    elif what == "format":
        file.attrs["format"] = "other"
    elif what == "value":
        file["conductance_siemens"][2] = -25.0
    elif what == "provenance":
        file.attrs["provenance"] = "{"
    elif what == "required":
        del file["device"]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("unit", "column 'time_seconds' has no unit; set its attribute unit to 's'"),
        ("other unit", "column 'conductance_siemens' has the unit 'uS'; the format wants 'S'"),
        ("column", "unknown column 'colour'; known: device"),
        ("version", "format version 3, this aimc_sim reads up to 2"),
        ("format", "not measured devices; make one with 'aimc-sim device import'"),
        ("value", "a.h5': row 2, column 'conductance_siemens': -25 S is no conductance"),
        ("provenance", "damaged"),
        ("required", "no column 'device'"),
    ],
)
def test_bad_files_are_refused(tmp_path, what, sentence):
    path = tmp_path / "a.h5"
    write(path, MeasuredData.of(**fields()))
    with h5py.File(path, "a") as file:
        damage(file, what)
    unseal(path)
    with pytest.raises(ValueError, match=sentence):
        read(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.h5"
    n = 4096
    g = np.random.default_rng(0).uniform(1e-6, 2e-6, n)
    few = {"device": np.arange(n), "cycle": np.zeros(n, int), "time_seconds": np.zeros(n)}
    write(path, MeasuredData.of(**few, conductance_siemens=g))
    with h5py.File(path) as file:
        chunk = file["conductance_siemens"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        read(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match="damaged or not an HDF5 file"):
        read(tmp_path / "text.h5")


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    data = MeasuredData.of(**fields())
    path = tmp_path / "a.h5"
    write(path, data)
    before = sha256(path)
    with pytest.raises(FileExistsError, match="is there already; give --force"):
        write(path, data)
    other = MeasuredData.of(**fields(read_seconds=1e-6))

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write(path, other, force=True)
    assert sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    write(path, other, force=True)
    assert read(path).read_seconds == 1e-6
    with pytest.raises(FileNotFoundError, match=r"there is no folder"):
        write(tmp_path / "no" / "a.h5", data)
    with pytest.raises(FileExistsError, match="is a folder; give a file's name"):
        write(tmp_path, data, force=True)


def test_data_made_past_the_checks_are_not_written(tmp_path):
    sneaked = MeasuredData.model_construct(**fields(device=np.full(12, 1.5)))
    with pytest.raises(ValueError, match="row 0, column 'device'"):
        write(tmp_path / "a.h5", sneaked)
    assert not list(tmp_path.iterdir())


def test_reads_are_grouped_into_traces():
    """Rows in any order of devices: a trace is device, condition and cycle; reads keep order."""
    order = np.random.default_rng(1).permutation(4)
    rows = np.concatenate([np.arange(3 * i, 3 * i + 3) for i in order])
    shuffled = {k: v[rows] if np.ndim(v) else v for k, v in fields().items()}
    shuffled["target_siemens"] = np.where(shuffled["device"] == 4, np.nan, 5e-6)
    found = traces(MeasuredData.of(**shuffled))
    assert found.reads.tolist() == [3, 3, 3, 3]
    pairs = set(zip(found.device.tolist(), found.cycle.tolist(), strict=True))
    assert pairs == {(4, 0), (4, 1), (7, 0), (7, 1)}
    for i in range(4):
        part = found.conductance_siemens[found.offsets[i] : found.offsets[i + 1]]
        assert (np.diff(part) > 0).all()
    assert len(np.unique(found.condition)) == 2
    assert np.isnan(found.target_siemens[found.device == 4]).all()
    assert found.pulse_column == "pulse_amperes"
    assert found.last_seconds.tolist() == [100.0] * 4
