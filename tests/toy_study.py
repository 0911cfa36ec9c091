"""A tiny network, data and study that finish in seconds; importable as ``toy_study``."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

STUDY = {
    "name": "toy",
    "network": "toy_study:network",
    "data": {"name": "toy_study:data", "calibration": 64},
    "presets": "hermes-odp",
    "grid": {"core.adc.bits": [6, 8]},
    "times": [0, "1 h"],
    "compensations": ["none", "gdc"],
    "programmings": 3,
    "probe_images": 4,
}


def network() -> nn.Module:
    """A two-layer network whose decisions are close enough to change with drift."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 8)).eval()


def data(images: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels (the network is always right) and calibration images."""
    x = np.random.Generator(np.random.PCG64(6)).standard_normal((images + 64, 40), np.float32)
    with torch.inference_mode():
        y = network()(torch.from_numpy(x)).argmax(1).numpy()
    return x[:images], y[:images], x[images:]


def run(out: Path, programmings: int) -> None:
    """Run the study in this process, as ``aimc-sim sweep --workers 0`` does."""
    from aimc_sim.studies import inputs, pools, schema, sweep

    study = schema.make_study({**STUDY, "programmings": programmings})
    given = inputs.gather(study)
    sweep.sweep(study, given, pools.InProcess(given, 1), out)


def hungry(trial, threads):
    """Take the place of a trial on a worker; seed 1 of 6 bits asks for all the memory there is."""
    from aimc_sim.studies import pools

    blocks = []
    while trial.seed == 1 and trial.changes["core.adc.bits"] == 6:
        blocks.append(np.ones(10**7))
        time.sleep(0.02)
    return pools._on_worker(trial, threads)
