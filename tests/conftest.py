"""Shared fixtures. Every test has its own random key, from its name: order changes nothing.

``pytest`` without a path runs a worker on every core; with a path, all is in one process, where
``--pdb`` and benchmarks work (``-n 4`` distributes those too). Every process computes with one
thread, since the workers already keep the cores busy; a test in which threads matter takes the
fixture ``two_threads``.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aimc_sim import kernels
from aimc_sim.kernels import threads
from aimc_sim.rng import Key

torch.set_num_threads(1)
threads.set_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MOST_WORKERS = 8
"""More would mostly wait for each other's compilations; each holds about a gigabyte."""


def pytest_xdist_auto_num_workers(config) -> int | None:
    """Return how many workers ``-n auto`` means; None leaves it to xdist."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, cores or 1)


@pytest.fixture
def key(request) -> Key:
    """A key of the test's own."""
    return Key(int.from_bytes(hashlib.sha256(request.node.nodeid.encode()).digest()[:4], "big"))


@pytest.fixture
def rng(key) -> np.random.Generator:
    """A numpy generator of the test's own."""
    return key.generator()


@pytest.fixture
def two_threads(monkeypatch):
    """Give torch and the kernels two threads, and back what they had."""
    before = torch.get_num_threads(), threads.get_threads()
    monkeypatch.setattr(kernels, "SMALL", 0)  # or small arrays would stay with one
    torch.set_num_threads(2)
    threads.set_threads(2)
    yield
    torch.set_num_threads(before[0])
    threads.set_threads(before[1])


@pytest.fixture
def call(capsys):
    """Run ``aimc-sim``; return exit code, stdout, stderr."""
    from aimc_sim.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        return done.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a file as ``python FILE ...`` does, but here; return exit code, and stdout and stderr."""

    def run(script: Path, *arguments):
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        monkeypatch.syspath_prepend(script.parent)
        code = 0
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as done:
            code = done.code or 0
        return code, "".join(capsys.readouterr())

    return run


class OddConv(nn.Module):
    """Odd sizes, stride 2, a 1x1 kernel, a residual, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 7, 5, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(7)
        self.b = nn.Conv2d(7, 7, 1, bias=False)
        self.c = nn.Conv2d(7, 33, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(33, 5)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.bn(self.a(x)))
        x = self.relu(self.b(x) + x)
        x = self.pool(self.c(x))
        return self.fc(x.mean((2, 3)))


def small_nets() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Three hand-made networks with an input shape each; random weights from fixed seeds."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        odd = OddConv()
        with torch.no_grad():
            odd.bn.running_mean.uniform_(-1, 1)
            odd.bn.running_var.uniform_(0.5, 2)
        odd(torch.randn(4, 3, 19, 23))
        asymmetric = nn.Sequential(nn.Linear(300, 40), nn.ReLU(), nn.Linear(40, 3))
        linear = nn.Linear(520, 270)
    return {
        "odd_conv": (odd.eval(), (3, 19, 23)),
        "asymmetric_300x40": (asymmetric.eval(), (300,)),
        "linear_only": (linear.eval(), (520,)),
    }


@pytest.fixture(scope="session")
def plain_resnet32() -> nn.Module:
    """An untrained ResNet-32 for CIFAR-10: where nothing is run, a worker traces it once."""
    from aimc_sim.zoo import resnet32

    return resnet32()


@pytest.fixture(scope="session")
def digits_model() -> nn.Module:
    """The shipped ResNet-32."""
    from aimc_sim.zoo import resnet32

    return resnet32(10, "digits")


@pytest.fixture(scope="session")
def digits_test():
    """The digits nobody trained on."""
    from aimc_sim.zoo import digits

    return digits("test")
