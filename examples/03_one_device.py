"""What single devices do: pulses that add up, drift that starts again, noise that remembers.

Run it: ``python examples/03_one_device.py`` (seconds); draws ``one_device.png``.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from aimc_sim import presets
from aimc_sim.device import pcm, pulses
from aimc_sim.device.pulses import Pulse
from aimc_sim.rng import Key

DEVICES = 8


def pulsed(axis) -> None:
    """Twenty SET pulses, a wait of an hour, a RESET, ten more pulses; reads in between."""
    device, key = presets.pcm_nandakumar_2018(high_siemens=20e-6), Key(1)
    state = pulses.fresh(DEVICES, device, key)
    seconds, seen = [], []
    clock = 0.0
    for kind, count, wait in ((Pulse.ACCUMULATE, 20, 60.0), (Pulse.NONE, 10, 360.0),
                              (Pulse.RESET, 1, 60.0), (Pulse.ACCUMULATE, 10, 60.0)):  # fmt: skip
        for _ in range(count):
            if kind != Pulse.NONE:
                state = pulses.apply(state, device, kind, clock, key)
            clock += wait
            seconds.append(clock)
            seen.append(pulses.read(state, device, clock, key))
    axis.plot(np.array(seconds) / 60, 1e6 * np.array(seen), lw=0.8)
    axis.set(title="pulses, drift, RESET, pulses", xlabel="time (min)", ylabel="conductance (uS)")


def noisy(axis) -> None:
    """A day of programmed devices: every moment has the published noise, and they hang together."""
    device, key = presets.pcm_hermes_one_device(), Key(2)
    target = np.full((1, 1, DEVICES), 5e-6, np.float32)
    address = (DEVICES, DEVICES)
    state = pcm.program(target, np.ones(target.shape, bool), device, address, key)
    hours = np.geomspace(1 / 3600, 24, 400)
    traces = [pcm.evaluate(state, device, 3600 * h, address, key).g[0, 0] for h in hours]
    axis.semilogx(hours, 1e6 * np.array(traces), lw=0.8)
    axis.set(title="5 uS asked for: error, drift and 1/f noise", xlabel="time (h)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("one_device.png"))
    options = parser.parse_args()
    fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    pulsed(axes[0])
    noisy(axes[1])
    fig.savefig(options.out, dpi=150)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
