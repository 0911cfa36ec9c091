"""Tables to measured data: units are stated, bad rows are named by line and column."""

import gzip

import numpy as np
import pytest

from aimc_sim.device.measured import Provenance
from aimc_sim.device.measured.column_map import parse
from aimc_sim.device.measured.importer import read_table


def table(folder, text, name="t.csv"):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def load(folder, text, column_map, name="t.csv", **options):
    return read_table(table(folder, text, name), column_map, **options)


def test_every_unit_becomes_si(tmp_path):
    text = "dev,R,V,I,t,T,n,g0\n3,50,700,250,2,25,1,20\n"
    data = load(
        tmp_path, text,
        "device=dev,resistance=R[kohm],pulse_volts=V[mV],pulse_amperes=I[uA],time=t[min],"
        "temperature=T[C],pulse_count=n,target=g0[uS],read_seconds=@250[ns]",
    ).data  # fmt: skip
    assert data.device.dtype.kind == "i"
    assert data.device[0] == 3
    assert data.conductance_siemens[0] == pytest.approx(2e-5)
    assert data.pulse_volts[0] == pytest.approx(0.7)
    assert data.pulse_amperes[0] == pytest.approx(250e-6)
    assert data.time_seconds[0] == 120.0
    assert data.temperature_kelvin[0] == pytest.approx(298.15)
    assert data.target_siemens[0] == pytest.approx(2e-5)
    assert data.read_seconds == pytest.approx(250e-9)
    assert "conductance_siemens from R in kohm" in data.provenance.original_units


@pytest.mark.parametrize(
    ("unit", "value"),
    [("S", 2e-5), ("mS", 0.02), ("uS", 20), ("nS", 2e4), ("ohm", 5e4), ("Mohm", 0.05)],
)
def test_conductance_in_any_unit(tmp_path, unit, value):
    name = "resistance" if "ohm" in unit else "conductance"
    found = load(tmp_path, f"d,x\n0,{value}\n", f"device=d,{name}=x[{unit}]").data
    assert found.conductance_siemens[0] == pytest.approx(2e-5)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz"])
@pytest.mark.parametrize("header", [True, False])
def test_csv_and_tsv_with_and_without_header(tmp_path, name, header):
    rows = [["1", "20.5"], ["1", "21"], ["2", "22"]]
    lines = ([["Device", "G"]] if header else []) + rows
    text = "\n".join(("\t" if "tsv" in name else ",").join(row) for row in lines) + "\n\n"
    for column_map in ["device=0,conductance=1[uS]"] + ["device=Device,conductance=G[uS]"] * header:
        data = load(tmp_path, text, column_map, name).data
        assert data.device.tolist() == [1, 1, 2]
        assert data.conductance_siemens == pytest.approx([20.5e-6, 21e-6, 22e-6])


def test_repeats_are_numbered_where_there_is_no_time(tmp_path):
    """Every row is a programming of its own; cycles count within device and pulse."""
    text = "V,R,D\n1,5e4,0\n2,6e4,0\n1,5e4,0\n1,5e4,1\n1,5e4,0\n"
    data = load(tmp_path, text, "device=D,pulse_volts=V[V],resistance=R[ohm]").data
    assert data.cycle.tolist() == [0, 0, 1, 0, 2]
    assert data.time_seconds.tolist() == [0] * 5
    data = load(tmp_path, text, "device=@3,pulse_volts=V[V],resistance=R[ohm]").data
    assert data.device.tolist() == [3] * 5
    assert data.cycle.tolist() == [0, 0, 1, 2, 3]


def test_an_empty_target_is_no_target(tmp_path):
    data = load(tmp_path, "d,g,t\n0,20,20\n1,20,\n", "device=d,conductance=g[uS],target=t[uS]").data
    assert np.isnan(data.target_siemens).tolist() == [False, True]


GOOD = "device=d,conductance=g[uS],time=t[s]"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            "0,20,1\n0,abc,2\n",
            "line 3, column 'g' \\(conductance_siemens\\): 'abc' is not a number",
        ),
        ("0,20,1\n0,,2\n", "line 3, column 'g' \\(conductance_siemens\\): '' is not a number"),
        ("0,20,1\n0,-3,2\n", "line 3, column 'g' .*: -3e-06 S is negative; .*--bad-rows drop"),
        ("0,20,1\n0,inf,2\n", "line 3, column 'g' .*: inf S is not a finite number"),
        ("0,20,1\n\n0.5,20,2\n", "line 4, column 'd' \\(device\\): 0.5 is not a whole number"),
        ("0,20,5\n0,20,2\n", "line 3, column 't' \\(time_seconds\\): 2 s does not follow 5 s"),
        ("0,20,1\n0,20,1,9\n", "t.csv cannot be read as a table: .*line 3"),
        ("0,2e8,1\n", "line 2, column 'g' .*: 200 S is no conductance"),
        ("0,2e-5,1\n", "column 'g' .*: the median is 2e-11 S, outside"),
        ("", "holds no reads"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path, "d,g,t\n" + rows, GOOD)


def test_siemens_read_as_ohm_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2, column 'g' .*: 5e.04 S is no conductance"):
        load(tmp_path, "d,g\n0,2e-5\n", "device=d,resistance=g[ohm]")


def test_a_resistance_of_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2, column 'R'.*inf S is not a finite number"):
        load(tmp_path, "d,R\n0,0\n", "device=d,resistance=R[ohm]")


def test_bad_rows_can_be_left_out_and_are_noted(tmp_path):
    text = "d,g,t\n0,20,1\n0,-3,2\n0,abc,3\n1,21,1\n"
    found = load(
        tmp_path, text, GOOD, bad_rows="drop", provenance=Provenance(title="x", notes="Mine.")
    )
    assert found.data.conductance_siemens == pytest.approx([20e-6, 21e-6])
    assert found.data.device.dtype.kind == "i"
    assert sorted(found.dropped) == ["line 3 (g = -3)", "line 4 (g = abc)"]
    assert found.data.provenance.notes.startswith("Mine. Left out at import: 2 row(s)")
    with pytest.raises(ValueError, match="every row is bad"):
        load(tmp_path, "d,g,t\n0,x,1\n", GOOD, bad_rows="drop")
    with pytest.raises(ValueError, match="does not follow"):  # order is no matter of single rows
        load(tmp_path, "d,g,t\n0,20,1\n0,20,1\n", GOOD, bad_rows="drop")


@pytest.mark.parametrize(
    ("column_map", "sentence"),
    [
        ("device=d,conductance=g", r"column 'g' \(conductance\) has no unit; write conductance=g"),
        ("device=d,resistance=g[kS]", "column 'g' .*: the unit 'kS' is unknown here; .*ohm, kohm"),
        ("device=d,conductance=g[ohm]", "the unit 'ohm' is unknown here; wanted one of S, mS"),
        ("device=d,conductance=g[uS],time=t", "column 't' .* has no unit; .* s, ms"),
        ("device=d,conductanc=g[uS]", "'conductanc' is unknown; did you mean 'conductance'?"),
        ("device=d,conductance=g[uS],device=e", "gives 'device' twice"),
        ("device=d,conductance=g[uS],resistance=r[ohm]", "gives 'conductance_siemens' twice"),
        ("conductance=g[uS]", "has no 'device'; add for example device=Device or device=@0"),
        ("device=d", "has no 'conductance_siemens'"),
        ("device=d,conductance", "entry 'conductance' cannot be read"),
        ("device=@x,conductance=g[uS]", "'x' is not a number"),
        ("device=d,conductance=g[uS],read_seconds=r[ns]", "read_seconds is one number"),
    ],
)
def test_bad_maps_are_refused(column_map, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(column_map)


def test_columns_and_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="no column 'h'; it has d, g, t"):
        load(tmp_path, "d,g,t\n0,20,1\n", "device=d,conductance=h[uS]")
    with pytest.raises(ValueError, match="no column 'd'; it has no header, so numbers from 0 to 1"):
        load(tmp_path, "0,20\n", "device=d,conductance=1[uS]")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "no.csv", GOOD)
    with pytest.raises(ValueError, match="is empty"):
        load(tmp_path, "", GOOD)
    (tmp_path / "bad.csv.gz").write_text("not gzip")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_table(tmp_path / "bad.csv.gz", GOOD)
