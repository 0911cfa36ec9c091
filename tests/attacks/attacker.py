"""Runs attacks in a process of their own, ends it when it hangs, counts what came of them."""

from __future__ import annotations

import collections
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = float(os.environ.get("AIMC_ATTACK_SECONDS", "120"))
"""No input takes longer, on a machine that others use too; most take a few milliseconds."""


class Victim:
    """The attacked process; a new one is started when it dies or hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def attack(self, task: dict, seconds: float = SECONDS) -> dict:
        if self._process is None:
            self._start()
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return self._died()
        answer = self._answer(seconds)
        if answer is None:
            self.close()
            return {"outcome": "hang", "wrong": True, "message": f"more than {seconds:.0f} s"}
        return answer if answer else self._died()

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    def _died(self) -> dict:
        code = self._process.wait()
        self.close()
        return {"outcome": "crash", "wrong": True, "message": f"the process ended with {code}"}

    def _start(self) -> None:
        paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        root = os.environ.get("AIMC_ATTACK_ROOT")  # another version of the package
        paths = ([root] if root else []) + [p for p in paths if p]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1",
                            "NUMBA_NUM_THREADS": "1", "COLUMNS": "100"}  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "victim.py")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, cwd="/",
        )  # fmt: skip
        assert self._answer(900) == {"ready": True}

    def _answer(self, seconds: float) -> dict | None:
        """Return the next answer; {} if the process ended, None if it does not answer."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}


class Tally:
    """What came of all attacks of a test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.wrong: dict[str, dict] = {}

    def add(self, task: dict, answer: dict) -> None:
        self.outcomes[answer["outcome"]] += 1
        if answer.get("wrong"):
            shown = {k: v for k, v in task.items() if k not in ("files", "trees")}
            # One example of each kind and place is enough to read.
            key = f"{answer['outcome']}: {answer['message'][-90:]}"
            self.wrong.setdefault(key, {"task": shown, **answer})

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        parts = ", ".join(f"{n} {outcome}" for outcome, n in self.outcomes.most_common())
        return f"attacks on {self.name}: {total} inputs: {parts}"

    def faults(self) -> str:
        return "\n".join(
            f"- {w['outcome']}: {w['message']}\n    {json.dumps(w['task'])[:500]}"
            for w in self.wrong.values()
        )
