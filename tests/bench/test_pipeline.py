"""Event simulation and closed-form estimate: events per second, milliseconds.

pytest tests/bench/test_pipeline.py
"""

from __future__ import annotations

import numpy as np

from aimc_sim.chip.pipeline import estimate, simulate
from aimc_sim.chip.program import AnalogLayer, Block, Program, Transfer
from aimc_sim.mapping.route import dataflow
from aimc_sim.mapping.schedule import schedule
from aimc_sim.presets import hermes


def chain(layers, channels, rows_per_block):
    """Residual pairs of 3 x 3 convolutions in a row, split into blocks; core after core."""
    steps, core = [], 0
    for number in range(layers):
        source = f"c{number - 1}" if number else "input"
        rows = 9 * channels
        blocks = []
        for index, start in enumerate(range(0, rows, rows_per_block)):
            stop = min(start + rows_per_block, rows)
            blocks.append(Block(f"c{number}", core, index, 0, start, stop, 0, channels))
            core += 1
        one = np.ones(channels, np.float32)
        steps.append(
            AnalogLayer(
                f"c{number}", "conv2d", source, np.ones((rows, channels), np.float32), one, one,
                True, f"c{number - 2}" if number % 2 == 0 and number else None,
                (3, 3), padding=(1, 1), blocks=tuple(blocks),
            )
        )  # fmt: skip
    cores = [block.core for step in steps for block in step.blocks]
    transfers = tuple(
        Transfer(
            flow.kind, flow.value, cores[flow.producer], cores[flow.consumer],
            (cores[flow.producer], cores[flow.consumer]), flow.channels,
        )
        for flow in dataflow(steps)
    )  # fmt: skip
    return Program("input", steps[-1].name, tuple(steps), transfers, core)


def test_events(figure, best):
    """Target: 300,000 events per second, on a network like ResNet-32 and on a large one."""
    for name, layers, channels, size in (("31 layers", 31, 32, 32), ("60 layers", 60, 128, 28)):
        compiled = chain(layers, channels, 252)
        plan = schedule(compiled, hermes(), (channels, size, size))
        events = simulate(plan, 2).events
        seconds = best(lambda plan=plan: simulate(plan, 2), rounds=3)
        what = f"event simulation, {name} on {len(compiled.blocks)} cores"
        figure(what, f"{events / seconds / 1e6:.2f} million events/s ({events} events)")
        assert events / seconds >= 300_000


def test_estimate(figure, best):
    """Target: milliseconds."""
    compiled = chain(60, 128, 252)
    plan = schedule(compiled, hermes(), (128, 28, 28))
    seconds = best(lambda: estimate(plan), rounds=5)
    figure(f"closed-form estimate, {len(compiled.blocks)} cores", f"{seconds * 1e3:.1f} ms")
    assert seconds < 0.5
