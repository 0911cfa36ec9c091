"""Results that last: files that tell when they are damaged, merging, full disks, tables."""

import errno
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import toy_study

from aimc_sim import files, results
from aimc_sim.studies import folder as results_folder
from aimc_sim.studies import inputs, pools, records, schema, sweep
from aimc_sim.studies.pools import InProcess
from aimc_sim.studies.records import Damage, Segment, read_segment


def made(**changes):
    return schema.make_study({**toy_study.STUDY, **changes})


@pytest.fixture(scope="module")
def given():
    return inputs.gather(made())


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A folder with the whole study in it; do not change it."""
    out = tmp_path_factory.mktemp("study") / "out"
    progress = sweep.sweep(made(), given, InProcess(given, 1), out)
    assert (progress.done, progress.reused, progress.failed, progress.total) == (6, 0, 0, 6)
    return out


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def only_segment(folder):
    (path,) = (folder / "trials").glob("*.jsonl")
    return path


def same(a, b):
    pd.testing.assert_frame_equal(a, b, check_exact=True)


# ------------------------------------------------------------------------------- records


def test_records_come_back_and_damage_is_told_apart(tmp_path):
    path = tmp_path / "a.jsonl"
    values = [{"n": i, "x": 0.1 * i, "t": "µ\n"} for i in range(4)]
    with Segment(path) as segment:
        for value in values:
            segment.append(value)
    assert list(read_segment(path)) == values
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(whole)):  # a process may die after any byte
        path.write_bytes(whole[:end])
        found = list(read_segment(path))
        complete = whole[:end].count(b"\n")
        assert found[:complete] == values[:complete]
        torn = end > sum(map(len, lines[:complete]))
        assert found[complete:] == [Damage("half-written", path, complete + 1)] * torn
    for place in range(len(whole) - 1):  # a byte changes later
        if whole[place : place + 1] == b"\n":
            continue  # two lines become one: damaged too, but one line less
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found = list(read_segment(path))
        assert [f for f in found if not isinstance(f, Damage)] != values
        assert {f.kind for f in found if isinstance(f, Damage)} == {"damaged"}


def test_a_segment_is_never_written_over(tmp_path):
    with Segment(tmp_path / "a") as segment:
        segment.append({"n": 1})
    with pytest.raises(FileExistsError):
        Segment(tmp_path / "a")
    with Segment(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    assert files.create_text(tmp_path / "a", "one")
    assert not files.create_text(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "one"

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.create_text(tmp_path / "b", "one")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# ------------------------------------------------------------------------------- going on


def test_a_sweep_goes_on_where_it_stopped(given, finished, copy):
    path = only_segment(copy)
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"kind":"reference"' in lines[0]  # the network in floating point; then the trials
    path.write_bytes(b"".join(lines[:3]) + lines[3][:50])  # killed while writing
    (damage,) = results.check(copy)
    assert damage.kind == "half-written"
    progress = sweep.sweep(made(), given, InProcess(given, 1), copy)
    assert (progress.done, progress.reused) == (4, 2)
    same(results.load(copy), results.load(finished))
    same(results.load_layers(copy), results.load_layers(finished))
    assert path.read_bytes() == b"".join(lines[:3]) + lines[3][:50]  # untouched


def test_a_changed_record_is_computed_again_and_told(given, finished, copy):
    path = only_segment(copy)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"correct":', b'"correct":9', 1)
    path.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match="were changed after they were written"):
        assert len(results.load(copy)) == 20
    assert sweep.sweep(made(), given, InProcess(given, 1), copy).done == 1
    with pytest.warns(UserWarning, match="line 2 of"):
        same(results.load(copy), results.load(finished))


def test_an_extended_study_runs_only_what_is_new(given, copy):
    assert sweep.sweep(made(programmings=4), given, InProcess(given, 1), copy).done == 2
    with_time = made(times=[0, "1 h", "1 d"], programmings=1)
    assert sweep.sweep(with_time, given, InProcess(given, 1), copy).done == 2
    summary = results.summary(results.load(copy))
    # Seed 0 was looked at twice at 0 and 1 h, and counts once.
    assert set(summary[summary["time_seconds"] < 86400]["programmings"]) == {4}
    assert len(list((copy / "studies").iterdir())) == 3


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_safe(given, finished, tmp_path, monkeypatch):
    original, written = os.write, []

    def fills_up(descriptor, data):
        if len(written) == 3:  # the reference, two trials, half a record fits
            written.append(original(descriptor, data[:100]))
            return 100
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(original(descriptor, data))
        return written[-1]

    monkeypatch.setattr(records.os, "write", fills_up)
    out = tmp_path / "out"
    with pytest.raises(sweep.Stopped, match=r"No space left on device\); 2 trials are safe"):
        sweep.sweep(made(), given, InProcess(given, 1), out)
    monkeypatch.undo()
    assert results.check(out) == []  # the half record was cut off
    assert sweep.sweep(made(), given, InProcess(given, 1), out).reused == 2
    same(results.load(out), results.load(finished))


def test_two_sweeps_do_not_share_a_folder(given, copy):
    with (
        results_folder.locked(copy),
        pytest.raises(BlockingIOError, match="another sweep is writing"),
    ):
        sweep.sweep(made(), given, InProcess(given, 1), copy)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="holds something else"):
        results_folder.prepare(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        results_folder.prepare(tmp_path / "thesis.tex")
    with pytest.raises(FileNotFoundError, match="holds no results"):
        results.load(tmp_path)


def test_a_failed_trial_is_recorded_and_tried_again(given, tmp_path, monkeypatch):
    def fails(trial, threads):
        if trial.seed == 1:
            raise ValueError("bad luck")
        return execute(trial, threads)

    execute = pools.work.execute
    monkeypatch.setattr(pools.work, "execute", fails)
    progress = sweep.sweep(made(), given, InProcess(given, 1), tmp_path / "o")
    assert (progress.done, progress.failed) == (4, 2)
    assert "ValueError: bad luck" in progress.reasons[0]
    assert len(results_folder.read([tmp_path / "o"]).failures) == 2
    monkeypatch.undo()
    assert sweep.sweep(made(), given, InProcess(given, 1), tmp_path / "o").done == 2
    assert not results_folder.read([tmp_path / "o"]).failures


def test_a_study_whose_trials_all_fail_stops(given, tmp_path, monkeypatch):
    def fails(trial, threads):
        raise ValueError("no chip")

    monkeypatch.setattr(pools.work, "execute", fails)
    with pytest.raises(sweep.Stopped, match="the first 8 trials all failed: ValueError: no chip"):
        sweep.sweep(made(programmings=9), given, InProcess(given, 1), tmp_path / "o")


def test_a_large_study_says_how_long_it_takes(given, tmp_path):
    grid = {f"core.{n}": list(range(256, 1256)) for n in ("rows", "cols")}
    stated = made(grid=grid, seconds_per_trial=3.6)
    words = r"3,000,000 trials \(1,000,000 settings\); at 3.6 s .* about 125 days; give --yes"
    with pytest.raises(sweep.TooLarge, match=words):
        sweep.sweep(stated, given, InProcess(given, 1), tmp_path / "a")
    assert len(list((tmp_path / "a/trials").iterdir())) == 0
    with pytest.raises(sweep.TooLarge, match=r"\(measured now\).* the 2,999,998 that are left"):
        sweep.sweep(made(grid=grid), given, InProcess(given, 1), tmp_path / "b")
    assert len(results.load(tmp_path / "b")) == 2 * 4  # what was measured stays


# ------------------------------------------------------------------------------- merging


def test_folders_of_several_machines_merge(given, finished, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    sweep.sweep(made(programmings=2), given, InProcess(given, 1), a)
    sweep.sweep(made(programmings=2, first_seed=1), given, InProcess(given, 1), b)
    same(results.load([a, b]), results.load(finished))
    found = results_folder.merge([a, b], tmp_path / "c")
    assert len(found.trials) == 6
    same(results.load(tmp_path / "c"), results.load(finished))
    before = sorted(p.name for p in (tmp_path / "c/trials").iterdir())
    results_folder.merge([b, a], tmp_path / "c")  # again: nothing new
    assert sorted(p.name for p in (tmp_path / "c/trials").iterdir()) == before
    assert len(list((tmp_path / "c/studies").iterdir())) == 2


def test_two_different_results_of_one_trial_are_never_merged(finished, copy, tmp_path):
    path = only_segment(copy)
    rows = [json.loads(line.partition(" ")[2]) for line in path.read_text().splitlines()]
    rows[1]["rows"][0]["adc_saturated"] += 1
    path.write_bytes(b"".join(records.line_of(row) for row in rows))
    with pytest.raises(results.ConflictError, match="has two different results"):
        results.load([finished, copy])
    with pytest.raises(results.ConflictError, match="Equal identity promises"):
        results_folder.merge([finished, copy], tmp_path / "c")
    assert not (tmp_path / "c").exists()


# ------------------------------------------------------------------------------- tables


def test_the_table_says_what_was_computed(finished):
    table = results.load(finished)
    assert len(table) == 2 * 3 * 2 * 2
    assert tuple(table.columns) == (*results_columns(), "core.adc.bits")
    assert (table["accuracy"] == table["correct"] / table["images"]).all()
    assert set(table["core.adc.bits"]) == {6, 8}
    row = table.iloc[0]
    assert (finished / "specs" / f"{row['spec_id']}.json").is_file()
    environment = json.loads((finished / "environments" / f"{row['environment']}.json").read_text())
    assert environment["physics"].startswith(row["physics"])
    layers = results.load_layers(finished)
    assert len(layers) == 2 * len(table)
    expected = (layers["sqnr_db"] - 1.76) / 6.02
    np.testing.assert_allclose(layers["effective_bits"], expected, atol=0.003)


def results_columns():
    from aimc_sim.studies.results import COLUMNS

    return tuple(name for name in COLUMNS if name != "scores")  # of metrics of numbers


def test_parquet_holds_the_same_and_tells_damage(finished, copy):
    table, layers = results.export(copy)
    same(results.read_table(table), pd.DataFrame(results.load(finished)))
    same(results.read_table(layers), pd.DataFrame(results.load_layers(finished)))
    data = bytearray(table.read_bytes())
    data[len(data) // 4] ^= 1
    table.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged or no Parquet file"):
        results.read_table(table)
    table.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(ValueError, match="is damaged or no Parquet file"):
        results.read_table(table)
