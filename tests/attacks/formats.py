"""How each kind of file is read, and when two contents are the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


def chip(path: Path):
    import aimc_sim

    found = aimc_sim.Chip.load(path)
    tiles = {core: dataclasses.asdict(tile) for core, tile in found.state.tiles.items()}
    layers = [{**dataclasses.asdict(layer)} for layer in found.compiled.layers]
    return [found.spec.id(), found.time_seconds, found.compensation, tiles, layers,
            dataclasses.asdict(found.ranges), found.corrections]  # fmt: skip


def measured(path: Path):
    from aimc_sim.device.measured import read

    found = read(path)
    return [found.columns(), found.provenance.model_dump()]


def trials(path: Path):
    from aimc_sim import results

    table = results.load(path)
    return frozenset(map(str, table.itertuples(index=False)))  # rows may be missing


def parquet(path: Path):
    from aimc_sim import results

    return results.read_table(path)


def study(path: Path):
    from aimc_sim.studies import schema, settings

    found = schema.load_study(path)
    settings.check(found)
    return found


def weights(path: Path):
    from aimc_sim.zoo.stored import read_state

    return read_state(path)


def page(path: Path):
    from aimc_sim.pages import material

    found = material.read(path)
    return frozenset(map(str, found.table.itertuples(index=False)))


READ = {
    "chip": chip, "measured": measured, "trials": trials, "parquet": parquet, "study": study,
    "weights": weights, "page": page,
}  # fmt: skip


def same(a, b) -> bool:
    """Return whether two contents are equal; of a table of trials, rows may be missing."""
    import pandas as pd
    import torch

    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return np.array_equal(
            np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f"
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, frozenset):
        return a <= b
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def make(folder: Path) -> None:
    """Write a sound file of every format into a folder."""
    import sys

    import commands
    import torch
    from torch import nn

    import aimc_sim
    from aimc_sim import presets, results
    from aimc_sim.device.measured import MeasuredData, Provenance, write
    from aimc_sim.studies import inputs, pools, schema, sweep

    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    small = presets.hermes("odp").with_({"core.rows": 16, "core.cols": 16})
    made = aimc_sim.Chip.from_model(model, small).calibrate(torch.randn(8, 12)).program(1)
    made.at("1 h").save(folder / "chip.h5")
    n = 40
    few = {"device": np.arange(n), "cycle": np.zeros(n, int), "time_seconds": np.zeros(n)}
    g = np.random.default_rng(0).uniform(1e-6, 2e-6, n)
    data = MeasuredData.of(**few, conductance_siemens=g, provenance=Provenance(title="t"))
    write(folder / "measured.h5", data)
    torch.save(model.state_dict(), folder / "weights.pt")
    for name, text in commands.FILES.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    study_ = schema.make_study(
        {
            "network": "toy_attack:tiny", "data": {"name": "toy_attack:data", "calibration": 8},
            "presets": "hermes-odp", "grid": {"core.adc.bits": [6, 8]}, "times": [0, "1 h"],
            "programmings": 2, "probe_images": 2,
        }
    )  # fmt: skip
    given = inputs.gather(study_)
    sweep.sweep(study_, given, pools.InProcess(given, 1), folder / "results")
    results.export(folder / "results")
    sys.path.remove(str(folder))
    sys.modules.pop("toy_attack")
