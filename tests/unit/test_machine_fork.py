"""After a chip ran, a forked child computes the same bits; nothing waits for ever."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import multiprocessing, sys, threading
import torch
from torch import nn
import aimc_sim
from aimc_sim import kernels, presets, training

kernels.SMALL = 0  # all loops on several threads
torch.set_num_threads(2)
kernels.threads.set_threads(2)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10)).eval()
x = torch.randn(64, 3, 16, 16)

def life():
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    return chip, chip.at("1 h").compensate("gdc")(x)

def trained():
    return training.prepare(model, presets.hermes("odp"), seed=1)(x).detach()

chip, expected = life()
noisy = trained()
with torch.inference_mode():
    model(torch.randn(512, 3, 16, 16))  # torch's own threads are there

def child(_):
    again = chip.at("1 h")(x, first_image=0)
    return [torch.equal(expected, y) for y in (again, life()[1])] + [torch.equal(noisy, trained())]

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(child, range(2)))
    found = []
    threads = [threading.Thread(target=lambda: found.append(life()[1])) for _ in range(3)]
    [t.start() for t in threads], [t.join() for t in threads]
    print([torch.equal(expected, y) for y in found])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_and_threads(tmp_path):
    """A pool of forked children; then three threads at once, which some thread pools abort on."""
    script = tmp_path / "forks.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    children, threads = done.stdout.splitlines()
    assert children == str([[True] * 3] * 2)
    assert threads == str([True] * 3)
