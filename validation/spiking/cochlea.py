"""A simple cochlea: spoken digits to spike trains of 132 bands. Ours; no silicon cochlea's law.

Bands: Butterworth band-pass filters of second order at 132 centres, equal steps of the logarithm
from 100 Hz to 3.4 kHz, as wide as an auditory filter (24.7 Hz + 0.108 f; Glasberg and Moore 1990,
RECALLED). Their outputs are rectified, compressed by a cube root, and drive one integrate-and-fire
unit per band without leak, which keeps the rest after a spike. One gain for all bands sets the
mean rate.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

BANDS, LOWEST, HIGHEST, SAMPLE_HERTZ = 132, 100.0, 3400.0, 8000
SILENCE = 0.02
"""Share of the largest magnitude below which the ends of a recording are cut off."""


def recording(data_dir: Path, digit: int, speaker: int, index: int) -> np.ndarray:
    """Return the samples of one recording of ``speech/fsdd.npz``, silent ends cut off."""
    with np.load(data_dir / "speech" / "fsdd.npz") as file:
        where = np.flatnonzero(
            (file["digit"] == digit) & (file["speaker"] == speaker) & (file["index"] == index)
        )
        first, last = file["offsets"][where[0]], file["offsets"][where[0] + 1]
        samples = file["samples"][first:last].astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > SILENCE * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def spikes(samples: np.ndarray, steps: int, mean_hertz: float) -> np.ndarray:
    """Return trains (steps, 132) of milliseconds; the recording is repeated until they are full."""
    per_step = SAMPLE_HERTZ // 1000
    sound = np.resize(samples, steps * per_step)
    centres = np.geomspace(LOWEST, HIGHEST, BANDS)
    drive = np.empty((steps, BANDS))
    for n, centre in enumerate(centres):
        width = 24.7 + 0.108 * centre
        band = (centre - width / 2, centre + width / 2)
        sections = butter(2, band, "bandpass", fs=SAMPLE_HERTZ, output="sos")
        heard = np.cbrt(np.maximum(sosfilt(sections, sound), 0))
        drive[:, n] = heard.reshape(steps, per_step).mean(1)
    total = np.cumsum(drive * (mean_hertz * 1e-3 / drive.mean()), axis=0)
    found: np.ndarray = np.diff(np.floor(total), axis=0, prepend=0) > 0
    return found
