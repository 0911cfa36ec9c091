"""Collects the figures worth quoting and prints them at the end: ``pytest tests/bench``."""

from __future__ import annotations

import platform

import numba
import pytest
import torch

FIGURES: list[tuple[str, str]] = []


@pytest.fixture
def figure():
    """Call ``figure(what, value)`` to have a line printed at the end."""
    return lambda what, value: FIGURES.append((what, value))


def pytest_terminal_summary(terminalreporter):
    if not FIGURES:
        return
    machine = f"{platform.machine()}, torch {torch.__version__}, numba {numba.__version__}"
    terminalreporter.section(f"figures ({machine})")
    width = max(len(what) for what, _ in FIGURES)
    for what, value in FIGURES:
        terminalreporter.write_line(f"{what:<{width}}  {value}")
