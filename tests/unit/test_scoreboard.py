"""Tables of validation: what they reject, and which are older than the physics."""

import importlib.util
import sys
from pathlib import Path

import pytest

from aimc_sim.spec import PHYSICS_VERSION

FOLDER = Path(__file__).resolve().parents[2] / "validation"
sys.path.insert(0, str(FOLDER))

OLDER: set[str] = set()
"""Made before this physics version, to be run again: whoever runs one takes it off this list."""


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_no_table_is_older_than_the_physics_without_being_listed():
    assert load("scoreboard").stale() == OLDER


def test_a_row_must_reject_what_it_is_there_to_find():
    comparison = load("comparison")
    comparison.Row("x", 10.0, 9.8, 1.0, "s", "fitted", rejects=12.0)
    with pytest.raises(ValueError, match=r"accepts 9\.5, which it is there to reject"):
        comparison.Row("x", 10.0, 9.8, 1.0, "s", "fitted", rejects=9.5)


def test_a_predicted_row_names_whose_number_it_is():
    comparison = load("comparison")
    comparison.Row("x", 10.0, 9.8, 1.0, "s", "predicted", reference="Le Gallo 2023")
    with pytest.raises(ValueError, match="'x' is called predicted without a reference"):
        comparison.Row("x", 10.0, 9.8, 1.0, "s", "predicted")
    with pytest.raises(ValueError, match="no reference 'Nobody 1999'"):
        comparison.Row("x", 10.0, 9.8, 1.0, "s", "predicted", reference="Nobody 1999")


def test_tables_are_stamped(tmp_path, capsys):
    comparison = load("comparison")
    row = comparison.Row("x", 10.0, 9.8, 1.0, "s", "fitted", rejects=0.0)
    assert comparison.write(tmp_path, "t", "c", [row])
    assert comparison.stamp()["physics"] == PHYSICS_VERSION
    assert "| ok | fitted | 0 | s |" in (tmp_path / "table.md").read_text()
    assert f'"physics": {PHYSICS_VERSION}' in (tmp_path / "stamp.json").read_text()


def test_the_scoreboard_shows_every_row():
    scoreboard = load("scoreboard")
    page = scoreboard.page()
    rows = [row for rows, _ in scoreboard.tables().values() for row in rows]
    assert sum(line.count(" | **off** | ") for line in page.splitlines()) == sum(
        row["passed"] != "True" for row in rows
    )
    for row in rows:
        assert f"| {row['quantity']} |" in page
    assert page == (FOLDER / "SCOREBOARD.md").read_text(), "run python validation/scoreboard.py"


def test_every_row_is_marked_and_predictions_have_sources():
    """At least 60 predicted rows from at least 10 sources; rejected values are outside."""
    scoreboard, comparison = load("scoreboard"), load("comparison")
    rows = [row for rows, _ in scoreboard.tables().values() for row in rows]
    assert all(row["kind"] in scoreboard.KINDS[:-1] for row in rows)
    assert sum(count for count, _ in scoreboard.sources().values()) >= 60
    assert len(scoreboard.sources()) >= 10
    assert set(scoreboard.sources()) <= set(comparison.REFERENCES)
    for row in rows:
        if row["rejects"]:
            off = abs(float(row["rejects"]) - float(row["paper"]))
            assert off > float(row["tolerance"]), row["quantity"]


def test_the_readme_counts_what_the_scoreboard_counts():
    """Only predicted rows, those that are off among them."""
    sources = load("scoreboard").sources()
    rows = sum(count for count, _ in sources.values())
    held = rows - sum(off for _, off in sources.values())
    readme = " ".join((FOLDER.parent / "README.md").read_text().split())
    assert f"{rows} rows from {len(sources)} sources, of which {held} hold" in readme
