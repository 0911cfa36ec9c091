"""Tables to measured data: units are stated, bad rows are named by line and column."""

import gzip

import h5py
import numpy as np
import pytest

from aimc_sim.device.measured import Provenance
from aimc_sim.device.measured.column_map import parse
from aimc_sim.device.measured.importer import read_table
from aimc_sim.device.measured.traces import traces


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
            "line 3, column 'g': 'abc' is no read: text where a number .*--leave-out text",
        ),
        ("0,20,1\n0,,2\n", "line 3, column 'g': '' is no read: no value .*--leave-out missing"),
        ("0,20,1\n0,inf,2\n", "line 3, column 'g': 'inf' is no read: an instrument's overflow"),
        ("0,20,1\n0,1e400,2\n", "line 3, column 'g': '1e400' is no read: .*too large to hold"),
        ("0,20,1\n0,-9.91E+37,2\n", "line 3, column 'g': '-9.91E.37' is no read: an instrument's"),
        ("0,20,1\n\n0.5,20,2\n", "line 4, column 'd' \\(device\\): 0.5 is not a whole number"),
        ("0,20,5\n0,20,2\n0,20,5\n", "line 3, column 't' .*: 2 s does not follow 5 s.*--repeats"),
        ("0,20,1\n0,20,1,9\n", "t.csv, line 3: 4 fields where the table has 3: '0,20,1,9'; a dec"),
        ("0,20,1,001\n0,20,2\n", "t.csv, line 2: 4 fields where the table has 3"),
        ("0,-20,1\n0,-21,2\n", "line 2, column 'g' .*: -2e-05 S is negative, .*--negative-read"),
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
    with pytest.raises(ValueError, match=r"line 2, column 'R': '0' is no read: an infinite cond"):
        load(tmp_path, "d,R\n0,0\n", "device=d,resistance=R[ohm]")


def test_values_can_be_left_out_by_kind_and_are_counted(tmp_path):
    text = "d,g,t,x\n0,20,1,5\n0,-,2,6\n0,abc,3,\n1,21,1,7\n1,OL,2,8\n"
    given = {"provenance": Provenance(title="x", notes="Mine.")}
    with pytest.raises(
        ValueError, match=r"\(1 text, 1 overflow in all|\(1 overflow, 1 text in all"
    ):
        load(tmp_path, text, GOOD, leave_out=("missing",), **given)
    found = load(tmp_path, text, GOOD, leave_out=("missing", "overflow", "text"), **given)
    assert found.data.conductance_siemens == pytest.approx([20e-6, 21e-6])
    assert found.data.device.dtype.kind == "i"
    assert (found.taken, found.values) == (2, 9)
    assert found.summary == (
        "taken 2 of 9 values; left out: 4 in the column 'x', which the map does not use; "
        "1 missing: no value (empty, NaN, n/a, -); 1 overflow: an instrument's overflow (9.9E+37, "
        "OVERFLOW, OL) or a number too large to hold; 1 text: text where a number is wanted"
    )
    assert found.data.provenance.notes.startswith("Mine. Import: taken 2 of 9 values; left out: 4")
    with pytest.raises(ValueError, match="every value was left out"):
        load(tmp_path, "d,g,t\n0,x,1\n0,y,2\n", GOOD, leave_out=("text",))
    with pytest.raises(ValueError, match="--leave-out odd: unknown kind; there are: missing"):
        load(tmp_path, text, GOOD, leave_out=("odd",))


def test_an_extra_field_in_the_first_row_is_refused(tmp_path):
    """A decimal comma: 10,001 would lose its last field without a word."""
    for text in (
        "d,c,t,g\n0,1,1,10.001,5\n0,1,2,10.1\n",
        "0,1,1,10.001,5\n0,1,2,10.1\n0,1,3,9.9\n",
    ):
        with pytest.raises(ValueError, match=r"t\.csv, line [12]: 5 fields where the table has 4"):
            load(tmp_path, text, "device=0,time=2[s],conductance=3[uS]")


@pytest.mark.parametrize(
    ("text", "column_map", "reads"),
    [
        ("\ufeff0,1,20\n0,2,21\n", "device=0,time=1[s],conductance=2[uS]", [20, 21]),
        ("d;t;G\n0;1;20,5\n0;2;21,25\n", "device=d,time=t[s],conductance=G[uS]", [20.5, 21.25]),
        ("d;t;R\n0;1;50.000,5\n0;2;1.050.000,5\n", "device=d,time=t[s],resistance=R[ohm]",
         [1e6 / 50000.5, 1e6 / 1050000.5]),
        ('d,t,R\n0,1,"50,000.5"\n0,2,"51,000"\n', "device=d,time=t[s],resistance=R[ohm]",
         [1e6 / 50000.5, 1e6 / 51000]),
        ("# made by us\n# d t G\n0 1 20\n0 2 21\n", "device=d,time=t[s],conductance=G[uS]",
         [20, 21]),
        ("d,t [min],G/\u00b5S\n0,1,20\n0,2,21\n", "device=d,time=t,conductance=G", [20, 21]),
        ("d,t_s,R_kOhm\n0,1,50\n0,2,40\n", "device=d,time=t,resistance=R", [20, 25]),
        ("d,t,R (k\u03a9)\n0,1,50\n0,2,40\n", "device=d,time=t[s],resistance=R", [20, 25]),
        ("d,t,log10(R/ohm)\n0,1,5\n0,2,4\n", "device=d,time=t[s],resistance=log10(R/ohm)",
         [10, 100]),
        ("d,t,log10G\n0,1,-5\n0,2,-4\n", "device=d,time=t[s],conductance=log10G[log10 S]",
         [10, 100]),
        ("d,t,I\n0,1,-4\n0,2,-2\n", "device=d,time=t[s],current=I[uA],read_volts=@-0.2[V]",
         [20, 10]),
    ],
)  # fmt: skip
def test_ways_of_writing(tmp_path, text, column_map, reads):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    data = read_table(tmp_path / "t.csv", column_map).data
    assert data.conductance_siemens * 1e6 == pytest.approx(reads)


def test_a_number_that_can_be_two_is_refused(tmp_path):
    text = "d;R\n0;50,000\n1;51,000\n"
    with pytest.raises(ValueError, match=r"'50,000' may be 50.000 or 50000; give --decimal , or"):
        load(tmp_path, text, "device=d,resistance=R[kohm]")
    data = load(tmp_path, text, "device=d,resistance=R[kohm]", decimal=",").data
    assert data.conductance_siemens[0] == pytest.approx(2e-5)
    data = load(tmp_path, text, "device=d,resistance=R[ohm]", thousands=",").data
    assert data.conductance_siemens[0] == pytest.approx(2e-5)


def test_wide_tables(tmp_path):
    """500 columns of times, of devices, of cycles: every value is taken, or its column is named."""
    times = np.geomspace(1, 1e4, 50)
    head = ",".join(["cell", "note", *(f"{t:.4g} s" for t in times)])
    rows = [",".join([str(i), "7", *["20"] * 50]) for i in range(10)]
    text = "\n".join([head, *rows])
    with pytest.raises(ValueError, match=r"column 'note': its header is no time;.*--ignore 'note'"):
        load(tmp_path, text, "device=cell,conductance=*[uS]", wide="time")
    found = load(tmp_path, text, "device=cell,conductance=*[uS]", wide="time", ignore=("note",))
    assert found.summary == ("taken 500 of 510 values; left out: 10 in the column 'note' (ignored)")
    assert len(np.unique(found.data.time_seconds)) == 50
    narrow = load(tmp_path, text, "device=cell,conductance=2[uS]")
    assert narrow.summary.startswith("taken 10 of 510 values; left out: 10 in the column 'note'")
    data = load(
        tmp_path, "d,c1,c2,c3\n4,20,21,22\n", "device=d,conductance=*[uS]", wide="cycle"
    ).data
    assert data.cycle.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"'\*' in the map stands for the columns of a wide table"):
        load(tmp_path, text, "device=cell,conductance=*[uS]")
    with pytest.raises(ValueError, match=r"--wide needs a map entry conductance=\*\[UNIT\]"):
        load(tmp_path, text, "device=cell,conductance=2[uS]", wide="time")


def test_long_samples_in_rows(tmp_path):
    """Five rows of 20,000 samples at 400 Hz and no header: all 100,000 are taken."""
    rows = ["\t".join([str(d), "0", *["6e-06"] * 20_000]) for d in range(5)]
    how = {"wide": "time", "every": 0.0025, "ignore": ("1",)}
    found = load(tmp_path, "\n".join(rows), "device=0,conductance=*[S]", "t.tsv", **how)
    assert found.summary.startswith("taken 100,000 of 100,005 values")
    assert found.data.time_seconds.max() == pytest.approx(19_999 * 0.0025)
    with pytest.raises(ValueError, match="--every -1: wanted seconds above 0"):
        load(tmp_path, "\n".join(rows), "device=0,conductance=*[S]", "t.tsv", wide="time", every=-1)


def test_several_files(tmp_path):
    for name in ("30s", "300s"):
        table(tmp_path, "cell,G\n0,20\n1,21\n", f"reads_{name}.csv")
    paths = [tmp_path / f"reads_{name}.csv" for name in ("30s", "300s")]
    data = read_table(paths, "device=cell,conductance=G[uS]", file_is="time").data
    assert sorted(set(data.time_seconds)) == [30, 300]
    assert len(traces(data)) == 2
    with pytest.raises(
        ValueError, match=r"2 files; say what each of them is \(--file-is device, time"
    ):
        read_table(paths, "device=cell,conductance=G[uS]")
    with pytest.raises(ValueError, match="'reads_30s' names no target; wanted a name with"):
        read_table(paths, "device=cell,conductance=G[uS]", file_is="target")
    named = read_table(paths, "time=@1[s],conductance=G[uS],cycle=cell", file_is="device").data
    assert named.device_names == ("reads_30s", "reads_300s")


def test_devices_of_two_columns(tmp_path):
    text = "WL,BL,G\n0,3,20\n1,3,21\n0,3,22\n"
    data = load(tmp_path, text, "device=WL+BL,conductance=G[uS]").data
    assert data.device_names == ("WL0_BL3", "WL1_BL3")
    assert data.device.tolist() == [0, 1, 0]
    assert (data.device_row.tolist(), data.device_column.tolist()) == ([0, 1, 0], [3, 3, 3])


def test_times_that_come_again(tmp_path):
    """Sorted where no time comes twice; else it must be said what they are."""
    once = load(
        tmp_path, "d,t,G\n0,100,18\n0,10,19\n0,1,20\n", "device=d,time=t[s],conductance=G[uS]"
    )
    assert once.data.time_seconds.tolist() == [1, 10, 100]
    assert once.data.conductance_siemens * 1e6 == pytest.approx([20, 19, 18])
    assert "reads sorted by time in 1 trace(s)" in once.notes
    text = "d,t,G\n0,1,20\n0,10,19\n0,1,21\n0,10,18\n"
    cycles = load(tmp_path, text, "device=d,time=t[s],conductance=G[uS]", repeats="cycles").data
    assert cycles.cycle.tolist() == [0, 0, 1, 1]
    reads = load(tmp_path, text, "device=d,time=t[s],conductance=G[uS]", repeats="reads").data
    assert (reads.time_seconds.tolist(), reads.cycle.tolist()) == ([1, 1, 10, 10], [0] * 4)


def test_clock_times(tmp_path):
    text = "d,when,G\n0,2025-01-02 08:00:30,20\n0,2025-01-02T09:00:00,19\n"
    how = "device=d,time=when[timestamp],conductance=G[uS]"
    data = load(tmp_path, text, how, start="2025-01-02 08:00:00").data
    assert data.time_seconds.tolist() == [30, 3600]
    with pytest.raises(
        ValueError, match=r"clock times need the time of the programming; .*--start"
    ):
        load(tmp_path, text, how)
    with pytest.raises(ValueError, match="line 2: 2025-01-02 08:00:30 is before the start, 2026"):
        load(tmp_path, text, how, start="2026-01-02")
    with pytest.raises(ValueError, match="--start 'noon' is no date and time"):
        load(tmp_path, text, how, start="noon")


def test_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", G=np.full((3, 2), 20e-6), t=[1.0, 10.0], extra=np.zeros(5))
    found = read_table(tmp_path / "a.npz", "conductance=G[S],time=t[s]")
    assert found.summary == (
        "taken 6 of 11 values; left out: 5 in the array 'extra', which the map does not use"
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["run1/G"] = np.full((4, 3), 20.0)
        file["run1/G"].attrs["unit"] = "uS"
        file["outside"] = h5py.ExternalLink("/etc/hostname", "/x")
    data = read_table(tmp_path / "a.h5", "conductance=run1/G,time=@1 10 100[s]").data
    assert (len(data), len(np.unique(data.device))) == (12, 4)
    assert data.conductance_siemens == pytest.approx(np.full(12, 20e-6))
    for text, sentence in (
        ("conductance=run1/G", r"shape \(4, 3\); give the times of one axis"),
        ("conductance=run1/G,time=@1 10[s]", "there are 2 times; one axis must be as long"),
        ("conductance=H[uS]", r"has no array 'H'; it has run1/G \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_table(tmp_path / "a.h5", text)
    (tmp_path / "a.json").write_text('[{"d": "x", "G": 20}, {"d": "y", "G": 21}]')
    data = read_table(tmp_path / "a.json", "device=d,conductance=G[uS]").data
    assert data.device_names == ("x", "y")
    (tmp_path / "b.json").write_text('{"G": [[1, 2], [3]]}')
    with pytest.raises(ValueError, match="'G': lists of different length"):
        read_table(tmp_path / "b.json", "conductance=G[uS],time=@1 2[s]")
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"o\.npy cannot be read as an array: .*pickle"):
        read_table(tmp_path / "o.npy", "conductance=*[uS]", wide="array")


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
        ("conductance=g[uS]", "has no 'device'; add for example device=Device, device=@0"),
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
