"""Make the three worked files of docs/measured.md: ``python docs/measured/make.py``.

Generated with the 25 uS law, not measured; written in layouts that labs use.
"""

from pathlib import Path

import numpy as np

from aimc_sim.device import synthetic
from aimc_sim.presets import pcm_25_microsiemens
from aimc_sim.rng import Key

HERE = Path(__file__).resolve().parent
TIMES = (20, 200, 2000, 20_000, 200_000)


def reads(levels: tuple[float, ...], devices: int, key: Key) -> np.ndarray:
    """Return conductances in uS, (levels, devices, times)."""
    data = synthetic.generate(
        pcm_25_microsiemens(), [1e-6 * g for g in levels], TIMES, devices, key
    )
    return 1e6 * data.conductance_siemens.reshape(len(levels), devices, len(TIMES))


def drift() -> str:
    """A wide table: one row per device and target, one column per time."""
    levels = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0)
    lines = ["device,target (uS)," + ",".join(f"{t} s" for t in TIMES)]
    for level, rows in zip(levels, reads(levels, 40, Key(1)), strict=True):
        for device, row in enumerate(rows):
            lines.append(f"{device},{level}," + ",".join(f"{g:.4f}" for g in row))
    return "\n".join(lines) + "\n"


def resistances() -> str:
    """A long table of a German instrument: preamble, semicolons, decimal commas, an overflow."""
    levels = (5.0, 10.0, 20.0)
    lines = ["Messplatz;3", "Datum;02.01.2025", "", "Zelle;Zeit (s);R (kohm)"]
    found = reads(levels, 30, Key(2))
    for device in range(30):
        for level in range(len(levels)):
            for time, g in zip(TIMES, found[level, device], strict=True):
                text = f"{1e3 / g:.3f}".replace(".", ",")
                if (device, level, time) == (7, 1, 2000):
                    text = "9,91E+37"
                lines.append(f"WL{device}_BL{level};{time};{text}")
    return "\n".join(lines) + "\n"


def pulses() -> str:
    """Trains of 30 SET pulses of 12 devices, a read after each: soft bounds at 15 uS."""
    rng = Key(3).generator()
    lines = ["device,pulse,direction,G (uS)"]
    for device in range(12):
        g = rng.uniform(1.0, 5.0)
        for pulse in range(31):
            if pulse:
                g += 0.1 * (15 - g) + 0.08 * rng.standard_normal()
            way = "up" if pulse else ""
            lines.append(f"{device},{pulse},{way},{g + 0.05 * rng.standard_normal():.4f}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the files."""
    for name, text in (("drift", drift()), ("resistances", resistances()), ("pulses", pulses())):
        (HERE / f"{name}.csv").write_text(text)


if __name__ == "__main__":
    main()
