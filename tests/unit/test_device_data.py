"""The published numbers: equal to the presets, complete, and every source on the list."""

import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from aimc_sim import presets
from aimc_sim.device import measured

FOLDER = Path(__file__).resolve().parents[2] / "device_data"
MODELS = {
    "25uS": presets.pcm_25_microsiemens,
    "hermes_one_device": presets.pcm_hermes_one_device,
    "hermes_two_devices": presets.pcm_hermes_two_devices,
}


@pytest.fixture(scope="module")
def make():
    """The script of the folder as a module."""
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve_numbers(curve):
    """A curve as the file has it: nine numbers, NaN for no knee."""
    knee = np.nan if curve.knee is None else curve.knee
    return [curve.a, curve.b, curve.low, curve.high, knee, *curve.polynomial]


@pytest.mark.parametrize("model", MODELS)
def test_coefficients_are_those_of_the_presets(model):
    spec = MODELS[model]()
    with h5py.File(FOLDER / "published.h5") as file:
        group = file["models"][model]
        assert group["g_max"][()] == pytest.approx(spec.g_max_siemens, rel=1e-12)
        assert group["t0"][()] == spec.t0_seconds
        assert group["t_read"][()] == spec.read_noise.t_read_seconds
        np.testing.assert_allclose(
            group["programming_std"][()], spec.programming.polynomial_siemens, rtol=1e-12
        )
        for name, curve in (
            ("drift_exponent_mean", spec.drift.exponent_mean),
            ("drift_exponent_std", spec.drift.exponent_std),
            ("read_noise_amplitude", spec.read_noise.amplitude),
        ):
            np.testing.assert_array_equal(group[name][()], curve_numbers(curve))
            assert group[name].attrs["form"] == curve.form


def test_pulse_coefficients_are_those_of_the_preset():
    law = presets.pcm_nandakumar_2018().pulses.accumulation
    ours = {
        "step_mean_slope": law.mean_slope, "step_mean_offset": law.mean_offset_siemens,
        "step_mean_first": law.mean_first_siemens, "step_std_slope": law.std_slope,
        "step_std_offset": law.std_offset_siemens, "step_std_first": law.std_first_siemens,
        "decay_pulses": law.decay_pulses,
        "drift_t0": presets.pcm_nandakumar_2018().t0_seconds,
        "reset_mean": presets.pcm_nandakumar_2018().reset.mean_siemens,
        "reset_std": presets.pcm_nandakumar_2018().reset.std_siemens,
    }  # fmt: skip
    with h5py.File(FOLDER / "published.h5") as file:
        for name, value in ours.items():
            found = file["models/partial_set_pulse"][name][()]
            assert found == pytest.approx(value, rel=1e-12), name


def test_digitised_points_are_those_of_the_table():
    table = pd.read_csv(FOLDER / "pcm_25us_digitised.csv")
    with h5py.File(FOLDER / "published.h5") as file:
        assert set(file["digitised"]) == set(table["quantity"])
        for name, rows in table.groupby("quantity"):
            group = file["digitised"][name]
            scale = 1e-6 if name == "sigma_prog" else 1.0
            np.testing.assert_array_equal(group["x"][()], rows["x"])
            np.testing.assert_allclose(group["value"][()], rows["value"] * scale, rtol=1e-12)
            assert group["value"].attrs["reading_error"] > 0


def test_everything_has_a_unit_and_a_source():
    def check(name, item):
        if isinstance(item, h5py.Dataset):
            assert item.attrs["unit"] in ("S", "s", "1"), name
            assert len(item.attrs["source"]) > 20, name

    with h5py.File(FOLDER / "published.h5") as file:
        assert (file.attrs["format"], file.attrs["version"]) == ("aimc_sim published", 1)
        file.visititems(check)


def test_the_files_are_what_the_script_makes(make, tmp_path):
    make.main(tmp_path)
    found = {}
    for folder in (FOLDER, tmp_path):
        with h5py.File(folder / "published.h5") as file:
            found[folder] = {}
            file.visititems(
                lambda name, item, to=found[folder]: to.update(
                    {name: (np.array(item), dict(item.attrs))}
                    if isinstance(item, h5py.Dataset)
                    else {}
                )
            )
    ours, made = found.values()
    assert set(ours) == set(made)
    for name, (values, attributes) in ours.items():
        np.testing.assert_array_equal(values, made[name][0])
        assert attributes == made[name][1]
    kept, again = (measured.read(f / "generated_25us.h5") for f in (FOLDER, tmp_path))
    assert kept.provenance == again.provenance
    for name, values in kept.columns().items():
        # Rounded to 0.1 nS; a last digit of the logarithm may differ between machines.
        np.testing.assert_allclose(again.columns()[name], values, rtol=0, atol=1.1e-10)


def test_the_generated_data_are_small():
    assert (FOLDER / "generated_25us.h5").stat().st_size < 200_000
    data = measured.read(FOLDER / "generated_25us.h5")
    assert len(data) == 200 * 8 * 12
    assert "not measured" in data.provenance.title
    assert "seed 25" in data.provenance.notes


def test_every_doi_is_on_the_list_with_the_files_that_use_it(make):
    """If this fails: add the DOI to presets/references.json and run device_data/make.py."""
    kept = json.loads(make.REFERENCES.read_text())
    assert kept == make.references()
    for key, entry in kept.items():
        assert entry["title"], key
        assert entry["authors"], key
        assert entry["files"] or entry["data"], f"{key} is used nowhere"
        assert entry["doi"] or entry["marker"], key


def test_an_unknown_doi_is_refused(make, monkeypatch):
    kept = json.loads(make.REFERENCES.read_text())
    kept.pop("joshi_2020")
    monkeypatch.setattr(make.json, "loads", lambda _: kept)
    with pytest.raises(ValueError, match=r"lacks 10\.1038/s41467-020-16108-9; add an entry"):
        make.references()


def test_every_file_is_described_and_has_a_source(make):
    readme = (FOLDER / "README.md").read_text()
    kept = json.loads(make.REFERENCES.read_text())
    sources = {name for entry in kept.values() for name in entry["data"]}
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert {name for name in files if name.endswith((".csv", ".h5"))} == sources
    for name in files:
        assert f"`{name}`" in readme, name
