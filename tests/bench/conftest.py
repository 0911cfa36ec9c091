"""Collects the figures worth quoting and prints them at the end: ``pytest tests/bench``."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numba
import pytest
import torch

from aimc_sim.kernels import threads as loops
from aimc_sim.machine.about import facts

FIGURES: list[tuple[str, str]] = []
RATIOS: dict[str, dict[int, float]] = {}
"""By row of the table and number of threads."""

TITLE = "time relative to torch float32 (lower is better)"
PAGE = Path(__file__).parents[2] / "docs" / "ratios.md"
MARK = "<!-- speed -->\n"


def pytest_addoption(parser):
    parser.addoption(
        "--write", action="store_true", help="write the table of ratios into docs/ratios.md"
    )


@pytest.fixture
def figure():
    """Call ``figure(what, value)`` to have a line printed at the end."""
    return lambda what, value: FIGURES.append((what, value))


@pytest.fixture
def ratio(figure):
    """Call ``ratio(row, threads, pairs)`` to have the median of ratios in the table; returns it."""

    def record(row, threads, pairs):
        middle = statistics.median(pairs)
        RATIOS.setdefault(row, {})[threads] = middle
        figure(
            f"{row}, {threads} thread(s)",
            f"{middle:.2f}x torch float32 (pairs {min(pairs):.2f} to {max(pairs):.2f})",
        )
        return middle

    return record


@pytest.fixture
def threads(request):
    """Threads of torch and, through it, of the chip; and of the loops."""
    if request.param > numba.config.NUMBA_NUM_THREADS:
        pytest.skip(f"this machine has {numba.config.NUMBA_NUM_THREADS} processors")
    before = torch.get_num_threads(), loops.get_threads()
    torch.set_num_threads(request.param)
    loops.set_threads(request.param)
    yield request.param
    torch.set_num_threads(before[0])
    loops.set_threads(before[1])


@pytest.fixture
def best():
    """Call ``best(action, rounds)``: the shortest time (s) of a few rounds, after one more."""

    def shortest(action, rounds=3):
        action()  # compiles
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
        return min(times)

    return shortest


@pytest.fixture
def in_turn():
    """Call ``in_turn(own, reference, rounds, warm_up)``: the ratio of times of every round."""

    def ratios(own, reference, rounds, warm_up):
        found = []
        for _ in range(rounds + warm_up):
            began = time.perf_counter()
            with torch.inference_mode():
                reference()
            middle = time.perf_counter()
            own()
            found.append((time.perf_counter() - middle) / (middle - began))
        return found[warm_up:]

    return ratios


def table() -> list[str]:
    """Return the table of ratios as Markdown, under the name of what computed it."""
    head = f"| {TITLE} | 1 thread | 2 threads |"
    found = [f"{'; '.join(computer())}:", "", head, "|---|---|---|"]
    for row, by_threads in RATIOS.items():
        cells = (f"{by_threads[n]:.2g}x" if n in by_threads else "" for n in (1, 2))
        found.append(f"| {row} | " + " | ".join(cells) + " |")
    return found


def computer() -> tuple[str, str, str]:
    """Return processor and instruction sets, libraries, format of variances."""
    said = {fact.name: fact.value for fact in facts()}
    return (
        f"{said['processor']}, {said['instruction sets']}",
        f"torch {torch.__version__}, numba {numba.__version__}",
        f"variances in {said['variance on cpu'].split()[0]}",
    )


def pytest_terminal_summary(terminalreporter, config):
    if FIGURES:
        terminalreporter.section(f"figures ({'; '.join(computer())})")
        width = max(len(what) for what, _ in FIGURES)
        for what, value in FIGURES:
            terminalreporter.write_line(f"{what:<{width}}  {value}")
    if RATIOS:
        terminalreporter.section("table")
        for line in table():
            terminalreporter.write_line(line)
    if RATIOS and config.getoption("--write"):
        text = PAGE.read_text()
        before, after = text.split(MARK, 1)
        PAGE.write_text(before + MARK + "\n".join(table()) + "\n\n" + after.split("\n\n", 2)[2])
