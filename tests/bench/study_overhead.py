"""What the scheduling of a study costs: trials of known length on two local workers.

``python tests/bench/study_overhead.py`` prints the figures of ``docs/planning.md``. The trials
sleep, so that the machine's load does not count, and answer with rows of usual size (300 images,
10 looks, 34 layers).
"""

import base64
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aimc_sim.studies import identity, inputs, pools, schema, sweep


def dummy(trial, threads):
    seconds = trial.spec.calibration.clip_warning_fraction  # any number that is at hand
    time.sleep(seconds)
    row = {
        "images": 300, "correct": 290, "conversions": 10**8, "adc_saturated": 0,
        "output_clipped": 12, "sqnr_db": [float(f) for f in np.linspace(20, 30, 34)],
        "correct_bits": base64.b64encode(bytes(38)).decode(),
    }  # fmt: skip
    rows = [
        {**row, "time_seconds": t, "compensation": c}
        for t in trial.times
        for c in trial.compensations
    ]
    result = {
        "layer_names": [f"layer{i}" for i in range(34)], "rows": rows, "peak_bytes": 0,
        "seconds": {"prepare": 0.0, "run": seconds}, "environment": identity.environment(),
    }  # fmt: skip
    return {"result": result, "host": "here"}


def measure(seconds: float, trials: int, workers: int) -> None:
    study = schema.make_study(
        {
            "network": "toy_study:network",
            "data": {"name": "toy_study:data", "calibration": 64},
            "changes": {"calibration.clip_warning_fraction": seconds},
            "grid": {"core.adc.bits": [6, 7, 8, 9]},
            "programmings": trials // 4,
        }
    )
    given = inputs.gather(study, Path(__file__).parents[1])
    with pools.local(given, workers, None) as pool, tempfile.TemporaryDirectory() as folder:
        pool._run = dummy
        out = Path(folder) / "out"
        begin = time.perf_counter()
        progress = sweep.sweep(study, given, pool, out, confirmed=True)
        wall = time.perf_counter() - begin
        size = sum(path.stat().st_size for path in (out / "trials").iterdir())
    lost = wall * workers / (trials * seconds) - 1 if seconds else float("nan")
    print(
        f"{progress.done} trials of {seconds} s on {workers} workers: {wall:.2f} s, overhead "
        f"{100 * lost:.1f} %, {progress.done / wall:.0f} trials/s, {size / trials / 1e3:.1f} kB "
        "per trial",
        flush=True,
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    measure(1.0, 120, 2)
    measure(0.0, 2000, 2)
