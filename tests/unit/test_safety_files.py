"""Writers: whole or not at all, and only over ordinary files."""

import os
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from torch import nn

import aimc_sim
from aimc_sim import files, presets
from aimc_sim.device.measured import MeasuredData, schema
from aimc_sim.figures import floorplan
from aimc_sim.pages import page
from aimc_sim.search import outcome
from aimc_sim.studies import folder as results_folder
from aimc_sim.studies import records, results
from aimc_sim.zoo import training


@pytest.fixture(scope="module")
def chip():
    spec = presets.ideal().with_({"fabric.rows": 2, "fabric.cols": 2})
    return aimc_sim.Chip.from_model(nn.Linear(6, 4), spec).program(0)


def measured():
    few = {name: np.zeros(3) for name in ("cycle", "time_seconds")}
    return MeasuredData.of(device=np.arange(3), conductance_siemens=np.full(3, 1e-6), **few)


WRITERS = {
    "chip": lambda chip, path: chip.save(path),
    "measurement": lambda chip, path: schema.write(path, measured(), force=True),
    "picture": lambda chip, path: floorplan.floorplan(chip.compiled, chip.spec, path=path),
    "table": lambda chip, path: results.write_parquet(pd.DataFrame({"a": [1]}), path),
    "table of designs": lambda chip, path: outcome._replace(path, "a,b\n"),
    "checkpoint": lambda chip, path: training.save({"a": 1}, path),
    "record of a training": lambda chip, path: training.write_record({"a": 1}, [], path),
    "page": lambda chip, path: page.files.write_text(path, "<html>", "the report"),
}
SUFFIX = {"picture": ".png", "record of a training": ".json"}


def occupy(kind, path):
    """Put something that is no ordinary file at a path; return what must still be so later."""
    if kind == "FIFO":
        os.mkfifo(path)
        return lambda: stat.S_ISFIFO(os.lstat(path).st_mode)
    if kind == "folder":
        path.mkdir()
        return path.is_dir
    other = path.with_name("other")
    if kind == "link":
        other.write_text("kept")
    path.symlink_to(other)
    kept = kind != "link" or other.read_text() == "kept"
    return lambda: path.is_symlink() and kept and (kind == "link") == other.exists()


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link", "dangling link"])
@pytest.mark.parametrize("name", list(WRITERS))
def test_only_ordinary_files_are_replaced(tmp_path, chip, name, kind):
    path = tmp_path / f"target{SUFFIX.get(name, '.h5')}"
    untouched = occupy(kind, path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileExistsError, match=r"(FIFO|folder|symbolic link)") as error:
        WRITERS[name](chip, path)
    assert str(path) in str(error.value)
    assert untouched()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", list(WRITERS))
def test_an_ordinary_file_is_replaced_and_nothing_else_stays(tmp_path, chip, name):
    path = tmp_path / f"target{SUFFIX.get(name, '.h5')}"
    path.write_bytes(b"before")
    path.chmod(0o640)
    WRITERS[name](chip, path)
    assert path.read_bytes() != b"before"
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, f"{path.name}.sha256"}


def test_a_long_name_is_written_and_a_longer_one_refused(tmp_path, chip):
    chip.save(tmp_path / ("x" * 250 + ".h5"))
    with pytest.raises(ValueError, match="too long"):
        chip.save(tmp_path / ("x" * 300))


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def half():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        half()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_no_writer_goes_past_the_one_mechanism():
    """What could replace a file stands in two files of the package only."""
    root = files.Path(aimc_sim.__file__).parent
    # `cli/results` moves a folder of files that were written by `files`; data sets are unpacked.
    allowed = {"files.py", "cli/results.py", "zoo/datasets.py"}
    words = ("os.replace(", "os.rename(", "mkstemp(", "NamedTemporaryFile(", "TemporaryDirectory(")
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert found <= allowed


# ------------------------------------------------------------------- what killed processes leave

_KILLED = """
import os, sys
from aimc_sim import files
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_the_remains_of_a_killed_process_are_removed_at_the_next_start(tmp_path):
    results_folder.prepare(tmp_path / "out")
    target = tmp_path / "out" / "table.parquet"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(target)], check=False)
    assert killed.returncode == -9
    remains = [p for p in target.parent.iterdir() if p.is_file()]
    assert len(remains) == 1
    own = target.parent / files.temporary_name()  # of a living process
    own.touch()
    results_folder.prepare(tmp_path / "out")
    assert [p.name for p in target.parent.iterdir() if p.is_file()] == [own.name]


# ------------------------------------------------------------------- folders of results


def record(**changes):
    row = {
        "time_seconds": 0.0,
        "compensation": "none",
        "images": 3,
        "correct": 2,
        "correct_bits": "wA==",
        "conversions": 9,
        "adc_saturated": 0,
        "output_clipped": 0,
        "sqnr_db": [1.5],
    }
    base = dict.fromkeys(
        (
            "identity",
            "setting",
            "preset",
            "spec_id",
            "network",
            "network_id",
            "data",
            "data_id",
            "physics",
            "aimc_sim",
            "environment",
        ),
        "x",
    )
    base |= {"kind": "trial", "seed": 0, "changes": {}, "layers": None, "layer_names": ["0"]}
    return base | {"rows": [row | changes.pop("row", {})]} | changes


WRONG = {
    "no rows": {"rows": []},
    "rows of text": {"rows": ["x"]},
    "no identity": {"identity": 5},
    "more right than images": {"row": {"correct": 4}},
    "other bits": {"row": {"correct_bits": "gA=="}},
    "bits that are none": {"row": {"correct_bits": "?"}},
    "no number": {"row": {"images": "3"}},
    "no images": {"row": {"images": 0, "correct": 0, "correct_bits": ""}},
    "layers without errors": {"row": {"sqnr_db": []}},
    "a flag for a count": {"row": {"images": True}},
}


@pytest.mark.parametrize("changes", [pytest.param(v, id=k) for k, v in WRONG.items()])
def test_a_record_with_a_right_checksum_and_a_wrong_content_is_damage(tmp_path, changes):
    results_folder.prepare(tmp_path)
    with records.Segment(tmp_path / "trials" / "a.jsonl") as segment:
        segment.append(record(identity="good"))
        segment.append(record(**changes))
    found = results_folder.read([tmp_path])
    assert list(found.trials) == ["good"]
    assert [(d.kind, d.line) for d in found.damage] == [("damaged", 2)]


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link"])
def test_something_else_among_the_trials_is_refused_and_not_waited_for(tmp_path, kind):
    results_folder.prepare(tmp_path)
    occupy(kind, tmp_path / "trials" / "a.jsonl")
    with pytest.raises(ValueError, match=r"a\.jsonl' is a .*take it out"):
        results.load(tmp_path)


def test_a_flipped_byte_in_the_footer_of_a_table_is_noticed(tmp_path):
    path = tmp_path / "table.parquet"
    results.write_parquet(pd.DataFrame({"identity": ["x"], "seed": [3]}), path)
    assert results.read_table(path)["seed"].tolist() == [3]
    content = path.read_bytes()
    at = content.rindex(b"identity")
    path.write_bytes(content[:at] + b"i" + b"D" + content[at + 2 :])
    with pytest.raises(ValueError, match="is damaged"):
        results.read_table(path)
