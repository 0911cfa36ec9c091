"""``aimc-sim device``: what it writes, and one clear line for every kind of bad input."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from aimc_sim.cli import main
from aimc_sim.device import measured, synthetic
from aimc_sim.figures import devices
from aimc_sim.presets import pcm_25_microsiemens

MAP = "device=Device,pulse_volts=V[V],resistance=R[ohm]"


@pytest.fixture
def call(capsys):
    """Run the command; return exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main(["device", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch, key):
    """A working folder with a table of pulses and a file of generated traces."""
    rng = key.generator()
    volts, device, _ = np.meshgrid([1.0, 1.5, 2.0], np.arange(5), np.arange(16), indexing="ij")
    log_r = 4 + volts / 2 + 0.1 * device + rng.normal(0, 0.05, device.shape)
    columns = {"V": volts.ravel(), "R": 10 ** log_r.ravel(), "Device": device.ravel()}
    pd.DataFrame(columns).to_csv(tmp_path / "pulses.csv", index=False)
    levels, times = [5e-6, 10e-6, 20e-6], [20, 1e3, 1e5]
    traces = synthetic.generate(pcm_25_microsiemens(), levels, times, 30, key)
    measured.write(tmp_path / "traces.h5", traces)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_import_fit_show(folder, call):
    code, out, err = call(
        "import", "pulses.csv", "--map", MAP, "--out", "p.h5", "--title", "mine", "--source", "lab",
        "--doi", "10.1/x", "--licence", "CC0", "--instrument", "probe", "--notes", "n",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out == ("taken 240 of 240 values\n240 reads, 240 traces, 5 device(s) written to p.h5\n")
    data = measured.read("p.h5")
    assert data.provenance.title == "mine"
    assert data.provenance.licence == "CC0"
    code, out, _ = call("fit", "p.h5", "--csv", "p.csv")
    assert code == 0
    for text in (
        "mine: 240 reads, 240 traces, 5 device(s), 3 level(s) by pulse",
        "drift: not identified: no reads after time 0; needs at least 3 reads",
        "programming curve: identified",
        "share between devices",
        "standard error",
    ):
        assert text in out
    table = pd.read_csv("p.csv")
    row = table[table["quantity"] == "share between devices"].iloc[0]
    assert 0 < row["standard_error"] < row["value"] < 1
    code, out, _ = call("show", "p.h5", "--out", "p.png")
    assert (code, out) == (0, "240 reads, 240 traces, 5 device(s) drawn to p.png\n")
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    assert {p.name for p in folder.iterdir()} == {
        "pulses.csv", "traces.h5", "p.h5", "p.csv", "p.png"
    }  # fmt: skip


def test_traces_with_times(folder, call):
    code, out, _ = call("fit", "traces.h5")
    assert code == 0
    for text in ("programming: identified", "drift: identified", "read noise: identified"):
        assert text in out
    assert "nu mean" in out
    assert "20 uS" in out
    assert call("show", "traces.h5", "--out", "t.svg")[0] == 0


def test_of_many_levels_some_are_printed(folder, call):
    volts = np.repeat(np.linspace(1, 2, 30), 10)
    pd.DataFrame({"V": volts, "R": 1e5 + np.arange(300)}).to_csv("many.csv", index=False)
    call("import", "many.csv", "--map", "device=@0,pulse_volts=V[V],resistance=R[ohm]",
         "--out", "many.h5")  # fmt: skip
    _, out, _ = call("fit", "many.h5", "--csv", "many_fit.csv")
    assert out.count("median log10 R") == 12
    assert "18 level(s) in between are not shown; --csv FILE writes all" in out
    assert len(pd.read_csv("many_fit.csv")) == 31


def test_values_that_are_no_reads_are_refused_or_left_out(folder, call):
    (folder / "bad.csv").write_text("Device,V,R\n0,1,5e4\n0,1,oops\n0,1,6e4\n")
    code, out, err = call("import", "bad.csv", "--map", MAP, "--out", "b.h5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "bad.csv, line 3, column 'R': 'oops' is no read: text where a number is wanted" in err
    assert "--leave-out text" in err
    assert not (folder / "b.h5").exists()
    code, out, _ = call("import", "bad.csv", "--map", MAP, "--out", "b.h5", "--leave-out", "all")
    assert code == 0
    assert out.startswith("taken 2 of 3 values; left out: 1 text: text where a number is wanted\n")


def test_a_preview_shows_what_a_table_seems_to_be(folder, call):
    """Without --map and --out: the first rows, what is not stated, and the command."""
    code, out, err = call("import", "pulses.csv")
    assert (code, err) == (0, "")
    assert "not stated: the unit of 'V'" in out
    assert "not stated: the unit of 'R'; of a read," in out
    assert 'aimc-sim device import pulses.csv --map "device=Device,pulse_volts=V[UNIT],' in out
    (folder / "full.csv").write_text("cell,t (s),G (uS)\n0,1,20\n0,10,19\n")
    code, out, _ = call("import", "full.csv")
    assert "taken 2 of 2 values" in out
    command = out.strip().splitlines()[-1].split("aimc-sim device ")[1]
    assert (
        command == 'import full.csv --map "device=cell,time=t[s],conductance=G[uS]" --out full.h5'
    )
    assert call("import", "full.csv", "--out", "full.h5")[0] == 0
    assert measured.read("full.h5").time_seconds.tolist() == [1, 10]


def test_files_are_replaced_only_with_force(folder, call):
    call("import", "pulses.csv", "--map", MAP, "--out", "p.h5")
    before = measured.sha256("p.h5")
    changed = ["import", "pulses.csv", "--map", MAP, "--out", "p.h5", "--title", "other"]
    code, out, err = call(*changed)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "p.h5 is there already; give --force" in err
    assert measured.sha256("p.h5") == before
    assert call(*changed, "--force")[0] == 0
    assert measured.sha256("p.h5") != before
    for name, command in (
        ("x.png", ["show", "p.h5", "--out"]),
        ("x.csv", ["fit", "p.h5", "--csv"]),
    ):
        (folder / name).write_text("mine")
        code, _, err = call(*command, name)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{name} is there already; give --force" in err
        assert (folder / name).read_text() == "mine"
        assert call(*command, name, "--force")[0] == 0
        assert (folder / name).read_bytes()[:4] != b"mine"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["import", "no.csv", "--map", MAP, "--out", "x.h5"], ["there is no file no.csv"]),
        (["import", "pulses.csv", "--map", "device=Device", "--out", "x.h5"], ["the map has no"]),
        (["import", "pulses.csv", "--map", "device=Device,resistance=R", "--out", "x.h5"],
         ["column 'R' (resistance) has no unit"]),
        (["import", "pulses.csv", "--map", MAP, "--out", "no/x.h5"],
         ["--out: the file cannot be written: there is no folder 'no'; make it first"]),
        (["import", "pulses.csv", "--map", MAP, "--out", "x.h5", "--leave-out", "odd"],
         ["--leave-out odd: unknown kind"]),
        (["import", "pulses.csv", "--out", "x.h5"],
         ["not everything is stated in its headers", "--map", "device=Device"]),
        (["fit", "no.h5"], ["there is no file 'no.h5'"]),
        (["fit", "pulses.csv"], ["'pulses.csv' is damaged or not an HDF5 file"]),
        (["fit", "few.h5"], ["few.h5: 2 trace(s)", "needs at least 10 traces"]),
        (["show", "traces.h5", "--out", "x.jpg"], ["ends in .png, .pdf or .svg"]),
        (["show", "traces.h5", "--out", "no/x.png"], ["there is no folder 'no'; make it first"]),
        (["show", "no.h5", "--out", "x.png"], ["there is no file 'no.h5'"]),
        (["fit", "traces.h5", "--csv", "."], ["'.' is a folder; give a file's name"]),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(folder, call, arguments, parts):
    few = {"device": [0, 1], "cycle": [0, 0], "time_seconds": [0.0, 0.0]}
    measured.write("few.h5", measured.MeasuredData.of(**few, conductance_siemens=[1e-6, 2e-6]))
    there = {p.name for p in folder.iterdir()}
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert {p.name for p in folder.iterdir()} == there


def test_without_a_command_it_helps(call):
    code, out, err = call()
    assert (code, err) == (0, "")
    for name in ("import", "fit", "show"):
        assert name in out


def test_help_is_quick():
    code = "import sys, aimc_sim.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "pandas", "h5py"} & set(done.stdout.split())


def test_check_says_what_the_data_can_say(folder, call):
    code, out, err = call("check", "traces.h5", "--out", "c.png")
    assert (code, err) == (0, "")
    for text in (
        "270 reads, 90 traces of 30 device(s), 3 traces each",
        "3 different times from 20 s to 1e+05 s: 3.7 decades",
        "drift: yes",
        "replay: targets from 5e-06 S to 2e-05 S, times from 20 s to 1e+05 s",
        "targets below the lowest measured level, 5e-06 S, are extrapolated",
    ):
        assert text in out
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")
    lone = {"device": [0, 1], "cycle": [0, 0], "time_seconds": [0.0, 0.0]}
    measured.write("few.h5", measured.MeasuredData.of(**lone, conductance_siemens=[1e-6, -1e-8]))
    code, out, _ = call("check", "few.h5")
    assert code == 0
    assert "too few devices for a law: 2" in out
    assert "1 negative (noise around zero)" in out
    assert "laws: none; 2 trace(s) of 2 device(s): too little to fit" in out


def test_pulse_records_on_the_command_line(folder, call):
    rows = [f"{d},{p},{'up' if p else ''},{5 + p - 0.05 * p * p + 0.01 * d}"
            for d in range(6) for p in range(9)]  # fmt: skip
    (folder / "pulses_up.csv").write_text("dev,pulse,direction,G (uS)\n" + "\n".join(rows))
    assert call("import", "pulses_up.csv", "--out", "u.h5")[0] == 0
    for command in (["fit", "u.h5"], ["show", "u.h5", "--out", "u.png"], ["check", "u.h5"]):
        code, out, _ = call(*command)
        assert code == 0
    assert "step up: yes" in out
    assert "48 steps of pulses" in out


def test_simulate_draws_and_counts(folder, call):
    code, out, err = call("simulate", "--devices", "20", "--repeat", "2", "--out", "s.h5")
    assert (code, err) == (0, "")
    assert "500 reads, 100 traces, 20 device(s) written to s.h5" in out
    assert "nu spread      100 %" in out
    assert "coverage_95" in out
    first = measured.read("s.h5")
    assert call("simulate", "--devices", "20", "--repeat", "0", "--out", "t.h5")[0] == 0
    np.testing.assert_array_equal(
        first.conductance_siemens, measured.read("t.h5").conductance_siemens
    )
    code, out, _ = call("simulate", "--like", "s.h5", "--repeat", "1", "--between", "0.5")
    assert "500 reads of 20 device(s)" in out
    for arguments, part in (
        (["--law", "x"], "--law x: wanted 25uS, hermes-odp, hermes-tdp, or a measured file"),
        (["--levels", "1,x"], "--levels 1,x: wanted numbers"),
        (["--levels", "30"], "a target of 3e-05 S is above what the law knows, 2.5e-05 S"),
        (["--times", "1,10"], "the law starts at t0 = 20 s"),
        (["--devices", "1000000"], "25,000,000 reads are more than 20,000,000"),
    ):
        code, _, err = call("simulate", *arguments, "--repeat", "1")
        assert (code, err.count("\n")) == (2, 1)
        assert part in err


# ----------------------------------------------------------------------------- the picture


def test_the_picture_of_times_holds_the_medians(folder):
    data = measured.read("traces.h5")
    times, levels = devices.measured(data).axes
    curves = [line for line in times.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 3
    for curve, target in zip(curves, (5e-6, 10e-6, 20e-6), strict=True):
        first = (data.target_siemens == target) & (data.time_seconds == 20)
        median = np.median(data.conductance_siemens[first]) * 1e6
        assert curve.get_ydata()[0] == pytest.approx(median)
    assert levels.get_xlabel() == "target (uS)"
    assert [text.get_text() for text in times.get_xticklabels()] == ["20 s", "1 min", "1 h", "1 d"]


def test_the_picture_of_pulses_has_a_curve_per_device(folder, call):
    call("import", "pulses.csv", "--map", MAP, "--out", "p.h5")
    data = measured.read("p.h5")
    pulses, _ = devices.measured(data).axes
    names = [line.get_label() for line in pulses.lines]
    assert names == [f"device {i}" for i in range(5)]
    mine = (data.device == 2) & (data.pulse_volts == 1.5)
    assert pulses.lines[2].get_ydata()[1] == pytest.approx(
        np.median(data.conductance_siemens[mine]) * 1e6
    )


def test_the_picture_of_plain_reads_is_a_histogram():
    reads = np.linspace(1e-6, 9e-6, 90)
    data = measured.MeasuredData.of(
        device=np.arange(90), cycle=np.zeros(90, int), time_seconds=np.zeros(90),
        conductance_siemens=reads,
    )  # fmt: skip
    (ax,) = devices.measured(data).axes
    assert sum(bar.get_height() for bar in ax.patches) == 90
