"""Run every command of ``aimc-sim`` once, in the present folder, with a network of one's own.

    python tests/smoke.py

``tests/newcomer.sh`` runs it in an empty folder with the installed wheel: nothing may be read from
the repository. All commands but the first run in one process, which loads torch once. A command
that this file does not run, and one that writes nothing where it should, is a failure.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from pathlib import Path

OWN = '''
"""A network and data of one's own."""
import torch
from torch import nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


def data():
    images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, network()(images).argmax(1), images[:32]
'''

STUDY = """
name: smoke
network: own.py:network
data: own.py:data
presets: hermes-odp
grid: {core.adc.bits: [8, 9]}
times: ["0", 1 h]
compensations: gdc
programmings: 2
"""

SEARCH = """
name: smoke
network: own.py:network
data: own.py:data
knobs: {core.adc.bits: {low: 6, high: 9}}
objectives: [accuracy, energy]
time: 1 h
programmings: 1
trials: 2
batch: 2
"""

READS = "device,target,time,conductance\n" + "".join(
    f"{device},{level},{time},{(level + 0.1 * device) * time**-0.05:.4f}\n"
    for device in range(12) for level in (5, 10, 20) for time in (20, 200, 2000, 20000)
)  # fmt: skip

OWN_NETWORK, SHAPE = "own.py:network", ("--input", "1,8,8")
MAP = "device=device,target=target[uS],time=time[s],conductance=conductance[uS]"

COMMANDS = [
    (["run", OWN_NETWORK, "--data", "own.py:data", "--programmings", "1", "--images", "16",
      "--times", "0,1h", "--out", "ran"], "ran/results.csv"),
    (["map", OWN_NETWORK, *SHAPE, "--out", "mapped"], "mapped"),
    (["perf", OWN_NETWORK, *SHAPE, "--images", "2", "--out", "timed"], "timed"),
    (["profile", OWN_NETWORK, *SHAPE, "--batch", "4", "--rounds", "1"], None),
    (["learn", "--epochs", "1", "--batch", "64", "--out", "learned"], "learned/learning.html"),
    (["sweep", "study.yaml", "--out", "swept", "--workers", "0"], "swept/table.parquet"),
    (["merge", "swept", "--out", "merged"], "merged/table.parquet"),
    (["attribute", "--study", "one.yaml", "--out", "shares", "--workers", "0"], "shares/trials"),
    (["optimise", "search.yaml", "--out", "front", "--workers", "0"], "front/trials"),
    (["report", "swept", "--out", "page.html"], "page.html"),
    (["examples", "--out", "examples"], "examples/studies/drift.yaml"),
    (["info"], None),
    (["info", "--preset", "hermes-tdp"], None),
    (["info", "--machine"], None),
    (["device", "import", "reads.csv", "--map", MAP, "--out", "reads.h5"], "reads.h5"),
    (["device", "check", "generated_25us"], None),
    (["device", "fit", "reads.h5", "--csv", "estimates.csv"], "estimates.csv"),
    (["device", "show", "generated_25us", "--out", "reads.png"], "reads.png"),
    (["device", "simulate", "--levels", "5,20", "--times", "20,3600", "--devices", "10"], None),
]  # fmt: skip
"""Words of a command, and what it writes."""

REFUSED = [
    (["export", "swept", "--mlflow", "runs.db"], "wanted the address of an MLflow server"),
]
"""Words of a command whose success needs more than this package, and its refusal."""


def leaves(command, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the words of every command."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {path}
    return set().union(*(leaves(one, (*path, name)) for name, one in inner.items()))


def known() -> set[tuple[str, ...]]:
    """Return the names of all commands."""
    import typer

    from aimc_sim.cli import app

    return leaves(typer.main.get_command(app))


def ran() -> set[tuple[str, ...]]:
    """Return the names of the commands that are run here."""
    run_here = {tuple(words[: 1 + (words[0] in ("device", "results"))]) for words, _ in COMMANDS}
    return run_here | {tuple(words[:1]) for words, _ in REFUSED}


def call(words: list[str]) -> tuple[int, str]:
    """Run a command here; return its exit code and all that it printed."""
    from aimc_sim.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words)
        except SystemExit as done:
            return int(done.code or 0), said.getvalue()
    raise AssertionError("the command did not exit")


def run() -> int:
    """Run everything; return 1 if something failed."""
    began = time.monotonic()
    for name, text in {
        "own.py": OWN, "study.yaml": STUDY, "search.yaml": SEARCH, "reads.csv": READS,
        "one.yaml": STUDY.replace("grid: {core.adc.bits: [8, 9]}\n", ""),
    }.items():  # fmt: skip
        Path(name).write_text(text)
    version = subprocess.run(
        [Path(sys.executable).with_name("aimc-sim"), "--version"], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    import aimc_sim

    print(f"{version.strip()} from {Path(aimc_sim.__file__).parent}")
    failed = []
    commands = known()
    if missing := commands - ran():
        failed.append(f"commands that {Path(__file__).name} does not run: {sorted(missing)}")
    for path in sorted({name[:n] for name in commands for n in range(len(name) + 1)}):
        code, said = call([*path, "--help"])
        if code or "Usage: aimc-sim" not in said:
            failed.append(f"aimc-sim {' '.join(path)} --help: exit code {code}\n{said}")
    for words, written in COMMANDS:
        before = time.process_time()
        code, said = call(words)
        print(
            f"{time.process_time() - before:6.1f} s of CPU  aimc-sim {' '.join(words)}", flush=True
        )
        if code or not (said.strip() or written) or (written and not Path(written).exists()):
            failed.append(f"aimc-sim {' '.join(words)}: exit code {code}, {written=}\n{said}")
    for words, refusal in REFUSED:
        code, said = call(words)
        if code != 2 or refusal not in said:
            failed.append(f"aimc-sim {' '.join(words)}: exit code {code}, {refusal=}\n{said}")
    print(*failed, sep="\n")
    print(f"{len(COMMANDS) + len(REFUSED)} commands, {len(failed)} failed, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run())
