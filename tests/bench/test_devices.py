"""A full chip of devices (64 cores x 256 x 256 cells x 4): program it, move it in time, verify it.

    pytest tests/bench/test_devices.py

The best of a few rounds is quoted, as devices per second; the oracle of each path runs in
``tests/laws``, ``tests/parity`` and ``tests/unit``.
"""

from __future__ import annotations

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.device import pcm, programming, pulses
from aimc_sim.device.pulses import Pulse
from aimc_sim.rng import Key

CORES, ROWS, COLS = 64, 256, 256
DEVICES = CORES * 4 * ROWS * COLS
ADDRESS = (COLS, ROWS * COLS)
DAY = 86400.0


def blocks():
    """Targets of 64 cores: one device of four is programmed, as in one-device mode."""
    rng = np.random.default_rng(0)
    for _ in range(CORES):
        target = (rng.random((4, ROWS, COLS), np.float32) * np.float32(10.35e-6)).clip(1e-7)
        yield target, rng.random(target.shape) < 0.25


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_statistical_law(threads, figure, best):
    """Targets: <= 2 s to program and <= 1 s to move a full chip with 2 threads."""
    spec, chip = presets.pcm_hermes_one_device(), list(blocks())

    def program():
        return [pcm.program(*block, spec, ADDRESS, Key(0).child(c)) for c, block in enumerate(chip)]

    states = program()
    programmed = best(program)

    def move(t):
        for c, state in enumerate(states):
            pcm.evaluate(state, spec, t, ADDRESS, Key(0).child(c))

    moved = {name: best(lambda t=t: move(t)) for name, t in (("1 d", DAY), ("1 y", 365 * DAY))}
    rate = f"{DEVICES / programmed / threads:,.0f} devices/s and thread"
    figure(f"program a full chip, law, {threads} threads", f"{programmed:.2f} s ({rate})")
    for name, seconds in moved.items():
        rate = f"{DEVICES / seconds / threads:,.0f} devices/s and thread"
        figure(f"move a full chip to {name}, {threads} threads", f"{seconds:.2f} s ({rate})")
    kept = sum(a.nbytes for a in (states[0].target, states[0].programmed, states[0].g,
                                  states[0].nu)) / states[0].g.size  # fmt: skip
    figure("memory of a programmed device", f"{kept:.0f} bytes")
    assert kept <= 24
    if threads == 2:
        assert programmed <= 2.0
        assert moved["1 d"] <= 1.0


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("fill", ["one-device", "max-set-fill"])
def test_program_and_verify(threads, fill, figure, best):
    """Target: <= 60 s for a full chip from pulses."""
    spec = presets.pcm_hermes_closed_loop(fill)
    rng = np.random.default_rng(0)
    top = spec.filled_devices * spec.g_max_siemens
    requests = []
    for _ in range(CORES):
        net = rng.uniform(-top, top, (ROWS, COLS))
        g = np.stack([np.maximum(net, 0), np.maximum(-net, 0)]) + 2e-7
        requests.append(programming.Request(np.minimum(g, top), g > 2e-7))

    def program():
        for c, request in enumerate(requests):
            programming.write(request, spec, ADDRESS, Key(0).child(c))

    seconds = best(program, rounds=1)
    cells = CORES * ROWS * COLS
    figure(
        f"program and verify a full chip, {fill}, {threads} threads",
        f"{seconds:.1f} s ({cells / seconds / threads:,.0f} cells/s and thread)",
    )
    assert seconds <= 60


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_pulses(threads, figure, best):
    """One accumulating pulse to every device of a full chip."""
    spec = presets.pcm_nandakumar_2018()
    state = pulses.fresh(DEVICES, spec, Key(0))
    clock = iter(range(1, 100))

    def pulse():
        pulses.apply_(state, spec, Pulse.ACCUMULATE, float(next(clock)), Key(0))

    seconds = best(pulse)
    figure(
        f"one pulse to every device, {threads} threads",
        f"{seconds:.2f} s ({DEVICES / seconds / threads:,.0f} pulses/s and thread)",
    )
    kept = sum(a.nbytes for a in (state.g, state.pulses, state.events, state.last_seconds))
    figure("memory of a pulsed device", f"{kept / DEVICES:.0f} bytes")
    assert kept / DEVICES <= 24


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.filterwarnings("ignore:replay of measured traces")  # low targets are extrapolated
def test_replay(threads, figure, best, tmp_path):
    """Replayed traces instead of laws."""
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "device_data" / "generated_25us.h5"
    spec, chip = presets.pcm_replay(path), list(blocks())
    requests = [programming.Request(t[:2].astype(float), p[:2]) for t, p in chip]
    states = [
        programming.write(r, spec, ADDRESS, Key(0).child(c))[0] for c, r in enumerate(requests)
    ]

    def move():
        for c, state in enumerate(states):
            pcm.evaluate(state, spec, DAY, ADDRESS, Key(0).child(c))

    seconds = best(move)
    figure(
        f"move a full chip of replayed traces, {threads} threads",
        f"{seconds:.2f} s ({DEVICES / seconds / threads:,.0f} devices/s and thread)",
    )
