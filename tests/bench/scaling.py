"""How speed and memory grow: threads, batch, workers, devices. Writes ``docs/speed.md``.

    python tests/bench/scaling.py            (about eight minutes; goes on where it was interrupted)
    python tests/bench/scaling.py --quick --out FOLDER     (a trial of the command in a minute)

Every measurement runs in a process of its own, one after the other. What is finished is kept in
``scaling/*.csv`` and measured again when commit, machine or libraries are others
(``scaling/machine.json``); a changed working tree is always measured again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRESET = "hermes-odp"
BYTES_PER_DEVICE = 50
"""Held at most while devices are programmed again and looked at; measured 39, and some reserve."""

BUDGET = 0.6
"""Share of the free memory that a measurement may take."""

Row = dict[str, Any]


def speed(threads: int, quick: bool) -> Iterator[Row]:
    """Images per second against the batch, torch and chip in turn."""
    import torch

    torch.set_num_threads(threads)
    model, chip, images = network()
    for batch in batches(quick):
        x = repeated(images, batch)
        chip(x, first_image=0)
        pairs: list[tuple[float, float]] = []
        end = time.perf_counter() + (0.1 if quick else 1.5)
        while len(pairs) < 2 or (time.perf_counter() < end and len(pairs) < 100):
            with torch.inference_mode():
                reference = timed(lambda x=x: model(x))
            pairs.append((reference, timed(lambda x=x: chip(x, first_image=0))))
        reference, own = (statistics.median(part) for part in zip(*pairs, strict=True))
        yield {
            "threads": threads, "batch": batch, "chip_images_per_second": batch / own,
            "torch_images_per_second": batch / reference,
            "ratio": statistics.median(b / a for a, b in pairs),
        }  # fmt: skip


def memory(what: str, quick: bool) -> Iterator[Row]:
    """Largest resident set so far, batch after batch, of a process with torch alone or a chip."""
    import torch

    torch.set_num_threads(min(2, cores()))
    model, chip, images = network(with_chip=what == "chip")
    for batch in batches(quick):
        x = repeated(images, batch)
        with torch.inference_mode():
            model(x) if chip is None else chip(x, first_image=0)
        yield {"what": what, "batch": batch, "mebibytes": peak_mebibytes()}


def study(workers: int, quick: bool) -> Iterator[Row]:
    """A study of 100 short trials: one programming of ResNet-32, 20 images, one look each."""
    from aimc_sim.studies import inputs, pools, schema, sweep

    trials = 4 if quick else 100
    whole = schema.make_study(
        {
            "network": "resnet32-digits", "data": {"name": "digits", "images": 20},
            "presets": PRESET, "times": 0, "compensations": "none", "programmings": trials,
            "probe_images": 0,
        }
    )  # fmt: skip
    given = inputs.gather(whole, None)
    with pools.local(given, workers, None) as pool, tempfile.TemporaryDirectory() as folder:
        seconds = timed(lambda: sweep.sweep(whole, given, pool, Path(folder), confirmed=True))
    yield {"workers": workers, "trials": trials, "seconds": seconds}


def devices(count: int, quick: bool) -> Iterator[Row]:
    """Time of program, at and compensate on linear layers with so many devices, four per weight."""
    needed, free = count * BYTES_PER_DEVICE, BUDGET * free_bytes()
    row = {"devices": count, "program_seconds": "", "at_seconds": "", "compensate_seconds": "",
           "mebibytes": "", "left_out": ""}  # fmt: skip
    if needed > free:
        yield row | {
            "left_out": f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB allowed "
            f"({BUDGET:.0%} of the free memory)"
        }
        return
    import torch
    from torch import nn

    import aimc_sim

    layers = max(1, count // 250_000)
    width = round((count / layers / 4) ** 0.5)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
    side = max(8, int(layers**0.5) + 1)
    spec = aimc_sim.presets.by_name(PRESET).with_({"fabric.rows": side, "fabric.cols": side})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(torch.randn(16, width)).program(0)

    def look(moment: float) -> None:
        chip.at(moment).evaluation.tiles  # noqa: B018  devices are evaluated when they are asked for

    def compensate(moment: float) -> None:
        chip.at(moment).compensate("gdc").evaluation.factors  # noqa: B018

    look(60.0), compensate(60.0)  # reads after programming are kept, kernels compiled
    moments = [3600.0] if quick else [3600.0, 86400.0, 2592000.0]
    looked, compensated = [], []
    for moment in moments:
        looked.append(timed(lambda moment=moment: look(moment)))
        compensated.append(timed(lambda moment=moment: compensate(moment)))
    written = [timed(lambda seed=seed: chip.program(seed)) for seed in range(len(moments))]
    yield row | {
        "devices": 4 * layers * width**2, "program_seconds": statistics.median(written),
        "at_seconds": statistics.median(looked),
        "compensate_seconds": statistics.median(compensated), "mebibytes": peak_mebibytes(),
    }  # fmt: skip


def profile(threads: int, quick: bool) -> Iterator[Row]:
    """The text of ``aimc-sim profile`` of ResNet-32."""
    words = ["profile", "resnet32", "--preset", PRESET, "--threads", str(threads)]
    extra = ["--batch", "8", "--rounds", "1"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "aimc_sim", *words, *extra, "--out", folder],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    text = done.stdout.partition("\nWritten to")[0]
    yield {"command": " ".join(["aimc-sim", *words, *extra]), "text": text}


MEASUREMENTS: dict[str, tuple[Callable[[Any, bool], Iterator[Row]], tuple[Any, ...]]] = {
    "profile": (profile, (1,)),
    "speed": (speed, (1, 2)),
    "memory": (memory, ("torch", "chip")),
    "study": (study, (1, 2)),
    "devices": (devices, (10**4, 10**5, 10**6, 10**7, 10**8)),
}
"""By name of the table: the function, and the values of its first argument."""


# ------------------------------------------------------------------------- in the process measured


def network(with_chip: bool = True) -> tuple[Any, Any, Any]:
    """Return ResNet-32, its chip and test images."""
    import aimc_sim
    from aimc_sim.zoo import digits, resnet32

    model, images = resnet32(10, "digits"), digits("test").images
    if not with_chip:
        return model, None, images
    chip = aimc_sim.Chip.from_model(model, aimc_sim.presets.by_name(PRESET))
    return model, chip.calibrate(images[:64]).program(0), images


def batches(quick: bool) -> list[int]:
    return [1, 8] if quick else [2**n for n in range(10)]


def repeated(images: Any, batch: int) -> Any:
    """Return so many images, from the first one again where they end."""
    return images[[i % len(images) for i in range(batch)]]


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def peak_mebibytes() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes() -> float:
    """Return the memory that can be had without swapping; without /proc, half of all."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# ------------------------------------------------------------------------- in the process asked


def machine(quick: bool) -> dict[str, Any]:
    """Return what the figures depend on."""
    from aimc_sim.machine.about import facts

    known = {fact.name: fact.value for fact in facts()}
    names = (
        "processor",
        "instruction sets",
        "python",
        "torch",
        "oneDNN",
        "numba",
        "variance on cpu",
    )
    return {"commit": commit(), "cores": cores(), **{n: known[n] for n in names}, "quick": quick}


def commit() -> str:
    """Return the commit, marked where a file of Python differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=all", "--", "*.py")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


class Tables:
    """The tables of a folder; rows of another machine or commit are forgotten.

    Parameters
    ----------
    folder : Path
    here : dict
        What the figures depend on, see :func:`machine`.
    """

    def __init__(self, folder: Path, here: dict[str, Any]) -> None:
        self.folder, mark = folder, folder / "machine.json"
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(mark.read_text()) if mark.exists() else None
        if before != here or here["commit"].endswith("-dirty"):
            for name in MEASUREMENTS:
                (folder / f"{name}.csv").unlink(missing_ok=True)
        mark.write_text(json.dumps(here, indent=1) + "\n")

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a table; numbers are texts."""
        path = self.folder / f"{name}.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def has(self, name: str, value: Any) -> bool:
        """Whether a measurement is finished."""
        return any(row["measured"] == str(value) for row in self.rows(name))

    def add(self, name: str, value: Any, rows: list[Row]) -> None:
        """Append the rows of a finished measurement."""
        path = self.folder / f"{name}.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["measured", *rows[0]], lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows({"measured": value} | row for row in rows)


def measured(name: str, value: Any, quick: bool) -> list[Row]:
    """Return the rows of one measurement, made in a process of its own."""
    words = [sys.executable, __file__, "--one", name, str(value), *(["--quick"] if quick else [])]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the measurement '{name} {value}' failed")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of speed.md; default: docs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the command")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, value = options.one
        function, known = MEASUREMENTS[name]
        rows = list(function(type(known[0])(value), options.quick))
        print(json.dumps(rows))
        return
    if options.quick and options.out is None:
        parser.error("--quick is a trial and needs a folder of its own: --out FOLDER")
    sys.path.insert(0, str(ROOT))
    from scaling_page import write

    out = options.out or ROOT / "docs"
    here = machine(options.quick)
    tables = Tables(out / "scaling", here)
    for name, (_, values) in MEASUREMENTS.items():
        for value in values:
            if options.quick and name == "devices" and value > 10**6:
                continue
            if tables.has(name, value):
                print(f"{name} {value}: kept", flush=True)
                continue
            began = time.perf_counter()
            tables.add(name, value, measured(name, value, options.quick))
            print(f"{name} {value}: {time.perf_counter() - began:.0f} s", flush=True)
    found = {name: tables.rows(name) for name in MEASUREMENTS}
    write(out, found, here | {"load": f"{os.getloadavg()[2]:.1f}"})


if __name__ == "__main__":
    main()
