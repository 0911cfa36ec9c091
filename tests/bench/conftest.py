"""Collects the figures worth quoting and prints them at the end: ``pytest tests/bench``."""

from __future__ import annotations

import platform
import time

import numba
import pytest
import torch

from aimc_sim.kernels import threads as loops

FIGURES: list[tuple[str, str]] = []


@pytest.fixture
def figure():
    """Call ``figure(what, value)`` to have a line printed at the end."""
    return lambda what, value: FIGURES.append((what, value))


@pytest.fixture
def threads(request):
    """Threads of torch and, through it, of the chip; and of the loops."""
    before = torch.get_num_threads(), loops.get_threads()
    torch.set_num_threads(request.param)
    loops.set_threads(request.param)
    yield request.param
    torch.set_num_threads(before[0])
    loops.set_threads(before[1])


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


def pytest_terminal_summary(terminalreporter):
    if not FIGURES:
        return
    machine = f"{platform.machine()}, torch {torch.__version__}, numba {numba.__version__}"
    terminalreporter.section(f"figures ({machine})")
    width = max(len(what) for what, _ in FIGURES)
    for what, value in FIGURES:
        terminalreporter.write_line(f"{what:<{width}}  {value}")
