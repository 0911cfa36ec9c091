"""Runs that are kept in a folder, so that a script that was stopped goes on; their cost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row

from aimc_sim.files import write_text
from aimc_sim.machine import about


class Kept:
    """Results of runs by name, as JSON in a folder; None keeps nothing.

    Attributes
    ----------
    seconds : dict of str to float, seconds
        Processor time of every run, those of earlier calls included.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.seconds = folder, {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, function: Callable[[], Any]) -> Any:
        """Return the result of a run: kept, or made now."""
        path = None if self.folder is None else self.folder / f"{name}.json"
        if path is None or not path.exists():
            start = time.process_time()
            found = function()
            text = json.dumps({"result": found, "seconds": time.process_time() - start})
            if path is not None:
                write_text(path, text)
        else:
            text = path.read_text()
        record = json.loads(text)
        self.seconds[name] = record["seconds"]
        print(f"{name}: {record['seconds']:.1f} s of processor time", flush=True)
        return record["result"]

    def cost(self) -> str:
        """Return the cost of all runs as a sentence."""
        facts = {fact.name: fact.value for fact in about.facts()}
        return (
            f"Cost: {sum(self.seconds.values()):.0f} s of processor time on one thread "
            f"({facts['processor']}; {facts['instruction sets']})."
        )


def at_least(quantity: str, bound: float, ours: float, unit: str, source: str, wrong: float) -> Row:
    """Return a row that holds where our number is not below a bound.

    ``wrong`` is a number that the row is there to reject, in the unit of the bound.
    """
    return Row(
        f"{quantity}: below {bound:g} {unit} by", 0.0, max(0.0, bound - ours), 0.0,
        f"ours {ours:.4g} {unit}; {source}", "self-consistency", bound - wrong,
    )  # fmt: skip
