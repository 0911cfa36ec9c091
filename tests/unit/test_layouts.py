"""The layouts that labs write: each gives what its README says, in one command.

The files lie outside the project (``SHARED_DATA/layouts``); the same kinds of trouble, written here
as small tables, are in ``test_measured_import.py`` and run everywhere.
"""

import numpy as np
import pytest
from conftest import SHARED_DATA

from aimc_sim.device import measured
from aimc_sim.device.measured.traces import traces

LAYOUTS = SHARED_DATA / "layouts"
pytestmark = pytest.mark.skipif(
    not LAYOUTS.is_dir(), reason=f"the layouts of measured data are not at {LAYOUTS}"
)

LONG = "device=cell,time=t[s],conductance=G[uS]"
TARGETS = "device=cell,target=target[uS],time=t[s],"
TIMES = [30, 300, 3000, 30000]
# name: (options, reads, devices, targets in uS, times, what the summary says)
EXPECTED = {
    "c00_long_ok.csv": ([], 192, 12, [3, 6, 12, 20], TIMES, "taken 192 of 192 values"),
    "c01_wide_times.csv": (
        ["--wide", "time", "--map", "device=cell,target=target_uS,conductance=*[uS]"],
        192, 12, [3, 6, 12, 20], TIMES, "taken 192 of 192 values",
    ),
    "c01b_wide_devices.csv": (
        ["--wide", "device", "--map", "time=t_s,conductance=*[uS]"], 16, 4, [], TIMES,
        "taken 16 of 16 values",
    ),
    "c02_sheet_per_device.xlsx": (["--file-is", "device"], 9, 3, [], TIMES[:3], "taken 9 of 9"),
    "c03_header_bracket.csv": ([], 48, 12, [], TIMES, "taken 48 of 48"),
    "c03b_header_comma.csv": ([], 48, 12, [], TIMES, "taken 48 of 48"),
    "c04_log10R.csv": (
        ["--map", "device=cell,time=t[s],resistance=log10R[log10 ohm]"], 48, 12, [], TIMES,
        "taken 48 of 48",
    ),
    "c06_missing.csv": (
        ["--map", TARGETS + "resistance=R[ohm]", "--leave-out", "missing,overflow"],
        43, 3, [3, 6, 12, 20], TIMES,
        "taken 43 of 48 values; left out: 2 missing: no value (empty, NaN, n/a, -); 3 overflow",
    ),
    "c07_comma_decimals.csv": (
        ["--map", "device=Zelle,time=Zeit[s],conductance=G[uS]"], 48, 12, [], TIMES, "taken 48",
    ),
    "c08_latin1.csv": (["--map", "device=cell,time=t[s],conductance=G"], 48, 12, [], TIMES,
                       "taken 48 of 48"),
    "c09_bom.csv": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c09b_bom_noheader.csv": (
        ["--map", "device=0,time=1[s],conductance=2[uS]"], 48, 12, [], TIMES, "taken 48 of 48",
    ),
    "c11_negative_noise.csv": (
        ["--map", TARGETS + "conductance=G[uS]"], 960, 60, [0, 3, 6, 12], TIMES, "taken 960 of 960",
    ),
    "c12_current.csv": (
        ["--map", "device=cell,time=t[s],current=I_A,read_volts=Vread[V]"], 48, 12, [], TIMES,
        "taken 48 of 48",
    ),
    "c13_preamble.csv": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c14_text_ids.csv": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c15_timestamps.csv": (
        ["--map", "device=cell,time=when[timestamp],conductance=G[uS]",
         "--start", "2025-01-02 08:00:00"], 48, 12, [], TIMES, "taken 48 of 48",
    ),
    "c16_utf16.txt": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c17_blanks.dat": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c19_unsorted.csv": (["--map", LONG], 48, 12, [], TIMES, "taken 48 of 48"),
    "c20_no_device.csv": (["--map", "device=@0,time=t[s],conductance=G[uS]"], 4, 1, [], TIMES,
                          "taken 4 of 4"),
    "c21_one_row_per_cell.csv": (["--map", "device=#,resistance=0[ohm]"], 48, 48, [], [0],
                                 "taken 48 of 48"),
    "c22_array_map.csv": (["--wide", "array", "--map", "conductance=*[uS]"], 64, 64, [], [0],
                          "taken 64 of 64"),
    "c23_map.npy": (["--wide", "array", "--map", "conductance=*[uS]"], 64, 64, [], [0],
                    "taken 64 of 64"),
    "c24.json": (["--map", "conductance=G_uS,time=t[s]"], 48, 12, [], TIMES, "taken 48 of 48"),
    "c31.mat": (["--map", "conductance=G[S],time=t[s]"], 12, 4, [], TIMES[:3], "taken 12 of 12"),
    "c32.h5": (["--map", "conductance=G[S],time=@30 300 3000[s]"], 12, 4, [], TIMES[:3],
               "taken 12 of 12"),
    "c27_units_row.csv": ([], 48, 12, [], TIMES, "taken 48 of 48"),
    "c28_current_negative_V.csv": (
        ["--map", "device=cell,time=t[s],resistance=R[ohm]", "--negative-read"], 48, 12, [], TIMES,
        "taken 48 of 48",
    ),
    "c29_t0_first_read.csv": (["--map", LONG], 48, 12, [], [0, 270, 2970, 29970], "taken 48 of 48"),
    "c33_nan_device.csv": (["--map", LONG], 2, 2, [], [1], "taken 2 of 2"),
    "c25_pulses_updown.csv": (
        ["--map", "device=@0,pulse_number=pulse,pulse_direction=direction,conductance=G[uS]"],
        40, 1, [], [0], "taken 40 of 40",
    ),
}  # fmt: skip


def test_every_layout_has_a_test():
    names = {p.name for p in LAYOUTS.iterdir() if p.name != "README.md"}
    assert names == {*EXPECTED, "c18_duplicate_names.csv"}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_layout(name, call, tmp_path):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    options, reads, devices, targets, times, said = EXPECTED[name]
    out = tmp_path / "x.h5"
    code, text, err = call("device", "import", LAYOUTS / name, *options, "--out", out)
    assert (code, err) == (0, "")
    assert said in text
    data = measured.read(out)
    assert len(data) == reads
    assert len(np.unique(data.device)) == devices
    assert sorted(set(np.round(data.time_seconds, 6))) == times
    if targets:
        assert np.unique(np.round(data.target_siemens * 1e6, 6)).tolist() == targets
    else:
        assert data.target_siemens is None
    if name not in ("c11_negative_noise.csv", "c31.mat", "c32.h5"):
        assert 2e-6 < np.median(data.conductance_siemens) < 20e-6
    code, text, err = call("device", "import", LAYOUTS / name)  # the preview
    assert (code, err) == (0, "")
    assert f"aimc-sim device import {LAYOUTS / name} --map" in text


def read(name, call, tmp_path):
    out = tmp_path / "y.h5"
    assert (
        call("device", "import", LAYOUTS / name, *EXPECTED[name][0], "--out", out, "--force")[0]
        == 0
    )
    return measured.read(out)


def test_duplicate_names_are_refused(call, tmp_path):
    path = LAYOUTS / "c18_duplicate_names.csv"
    code, _, err = call("device", "import", path, "--map", LONG, "--out", tmp_path / "x.h5")
    assert code == 2
    assert "the columns 2 and 3 (from 0) are all named 'G'; say by its number" in err
    numbered = LONG.replace("=G", "=3")
    code, text, _ = call("device", "import", path, "--map", numbered, "--out", tmp_path / "x.h5")
    assert code == 0
    assert "taken 48 of 96 values; left out: 48 in the column 'G', which the map does not" in text


def test_negative_resistances_are_refused_with_the_reason(call, tmp_path):
    options = ["--map", "device=cell,time=t[s],resistance=R[ohm]", "--out", tmp_path / "x.h5"]
    code, _, err = call("device", "import", LAYOUTS / "c28_current_negative_V.csv", *options)
    assert code == 2
    assert "is negative, and so is the mean of its 48 reads" in err
    assert "--negative-read" in err


def test_the_kinds_of_what_is_no_read_are_named(call, tmp_path):
    options = ["--map", TARGETS + "resistance=R[ohm]", "--out", tmp_path / "x.h5"]
    code, _, err = call("device", "import", LAYOUTS / "c06_missing.csv", *options)
    assert code == 2
    assert "line 6, column 'R': '9.91E+37' is no read: an instrument's overflow" in err
    assert "(2 missing, 3 overflow in all)" in err
    assert "--leave-out missing,overflow" in err


def test_what_the_layouts_keep(call, tmp_path):
    """Currents over volts, negative noise, ids, places, pulses, units."""
    data = read("c12_current.csv", call, tmp_path)
    assert data.conductance_siemens[0] == pytest.approx(1.1676e-6 / 0.2)
    data = read("c11_negative_noise.csv", call, tmp_path)
    reset = data.conductance_siemens[data.target_siemens == 0]
    assert (reset < 0).any()
    assert abs(reset.mean()) < 5 * 0.15e-6 / np.sqrt(len(reset)) + 0.05e-6
    data = read("c14_text_ids.csv", call, tmp_path)
    assert data.device_names[:2] == ("WL0_BL0", "WL0_BL1")
    data = read("c02_sheet_per_device.xlsx", call, tmp_path)
    assert data.device_names == ("dev0", "dev1", "dev2")
    data = read("c23_map.npy", call, tmp_path)
    place = (data.device_row == 2) & (data.device_column == 5)
    assert data.conductance_siemens[place] == pytest.approx(
        np.load(LAYOUTS / "c23_map.npy")[2, 5] * 1e-6
    )
    data = read("c25_pulses_updown.csv", call, tmp_path)
    assert len(traces(data)) == 1
    assert data.pulse_direction.tolist() == [1] * 20 + [-1] * 20
    data = read("c19_unsorted.csv", call, tmp_path)
    assert data.time_seconds[:4].tolist() == TIMES
    assert data.conductance_siemens[:4] == pytest.approx(
        np.array([5.83805, 5.46482, 4.69207, 4.30296]) * 1e-6
    )
    data = read("c04_log10R.csv", call, tmp_path)
    assert data.conductance_siemens[0] == pytest.approx(10**-5.23373)
