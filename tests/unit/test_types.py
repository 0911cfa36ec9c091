"""The count of type errors: .ci/run compares it with tests/mypy_debt.txt; here, how."""

from tools import mypy_debt

PRINTED = """\
aimc_sim/chip/gdpu.py:1: error: Argument 1 is no argument  [arg-type]
aimc_sim/chip/fabric/links.py:12: error: Item "None" has no attribute "host"  [union-attr]
aimc_sim/chip/fabric/links.py:12: note: See the documentation
aimc_sim/store.py:3: error: Returning Any  [no-any-return]
"""


def test_errors_are_counted_by_room():
    assert mypy_debt.rooms(PRINTED) == {"chip": 2, "store": 1}


def test_more_errors_and_fewer_are_named():
    now = mypy_debt.rooms(PRINTED)
    assert mypy_debt.differences(now, {"chip": 2, "store": 1}) == ([], [])
    more, fewer = mypy_debt.differences(now, {"chip": 1, "spec": 4, "store": 1})
    assert more == ["chip: 2 errors, 1 allowed"]
    assert fewer == ["spec: 0 errors, 4 listed"]
    assert mypy_debt.differences(now, {"chip": 2})[0] == ["store: 1 errors, 0 allowed"]


def test_the_list_names_rooms_and_files_that_exist():
    package = mypy_debt.ROOT / "aimc_sim"
    for room, count in mypy_debt.read().items():
        assert (package / room).is_dir() or (package / f"{room}.py").is_file(), room
        assert count > 0, f"{room}: leave rooms without errors out"
