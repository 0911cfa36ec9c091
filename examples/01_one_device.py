"""What single devices do: pulses that add up, drift that starts again, noise that remembers.

You learn how to program, age and read simulated phase-change memory devices without any chip or
network around them. Prints what a day does to devices that were asked for 5 uS; draws
``one_device.png``.

Run it: ``python examples/01_one_device.py`` (seconds; ``--quick``: fewer devices and times).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from aimc_sim import presets, units
from aimc_sim.device import pcm, pulses
from aimc_sim.device.pulses import Pulse
from aimc_sim.rng import Key

SHOWN = 8  # curves in the picture


def pulsed(axis) -> None:
    """Twenty SET pulses, a wait of an hour, a RESET, ten more pulses; reads in between."""
    device, key = presets.pcm_nandakumar_2018(high_siemens=20e-6), Key(1)
    state = pulses.fresh(SHOWN, device, key)
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
    axis.set(xlabel="time (min)", ylabel="conductance (uS)")
    axis.set_title(f"{SHOWN} devices: 20 SET pulses, an hour, RESET, 10 pulses", fontsize=10)


def programmed(axis, devices: int, times: int) -> None:
    """A day of programmed devices: every moment has the published noise, and they hang together."""
    device, key = presets.pcm_hermes_one_device(), Key(2)
    target = np.full((1, 1, devices), 5e-6, np.float32)
    address = (devices, devices)
    state = pcm.program(target, np.ones(target.shape, bool), device, address, key)
    seconds = np.geomspace(1.0, 86400.0, times)
    traces = np.array([pcm.evaluate(state, device, t, address, key).g[0, 0] for t in seconds])
    print(f"{devices:,} devices that were asked for 5 uS:")
    for moment in ("1 s", "1 h", "1 day"):
        g = traces[np.abs(np.log(seconds / units.seconds(moment))).argmin()]
        print(f"{moment:6} mean {1e6 * g.mean():.2f} uS, spread {1e6 * g.std():.2f} uS")
    axis.semilogx(seconds, 1e6 * traces[:, :SHOWN], lw=0.8)
    axis.set_xticks([1, 60, 3600, 86400], ["1 s", "1 min", "1 h", "1 day"], minor=False)
    axis.minorticks_off()
    axis.axhline(5, color="0.3", ls="--", lw=1, label="asked for")
    axis.set(xlabel="time after programming", ylabel="conductance (uS)")
    axis.set_title(f"{SHOWN} devices: error, drift and 1/f noise", fontsize=10)
    axis.legend(frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer devices and times")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    pulsed(axes[0])
    programmed(axes[1], *((200, 100) if options.quick else (10_000, 400)))
    fig.savefig(options.out / "one_device.png", dpi=150)
    print(f"wrote {options.out / 'one_device.png'}")


if __name__ == "__main__":
    main()
