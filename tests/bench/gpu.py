"""The benchmark's table on a GPU: forward of ResNet-32 as a ratio to torch float32 on that card.

    python tests/bench/gpu.py        (a few minutes; first the tests that need a card)

Writes ``docs/gpu.json`` with the card's name and prints the table; without a card it runs on the
processor, which shows that the script works, and writes nothing unless told where.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from bench.test_resnet32 import BATCH, ROUNDS, SETTINGS  # noqa: E402

import aimc_sim  # noqa: E402
from aimc_sim.machine import settings  # noqa: E402
from aimc_sim.zoo import digits, resnet32  # noqa: E402


def table(device: torch.device, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for every setting; torch and the chip run in turn, transfers included."""
    model, images = resnet32(10, "digits").to(device), digits("test").images
    x = images[[i % len(images) for i in range(batch)]]

    def reference() -> torch.Tensor:
        with torch.inference_mode():
            return model(x.to(device)).cpu()

    if device.type == "cuda":
        reference = settings.own(reference)  # 24 bits in convolutions too, as on the chip
    return [row(name, spec, device, x, reference, rounds) for name, spec in SETTINGS.items()]


def row(
    name: str, spec: Any, device: torch.device, x: torch.Tensor, reference: Callable[[], Any],
    rounds: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the medians of a setting."""
    chip = aimc_sim.Chip.from_model(resnet32(10, "digits"), spec).calibrate(x[:64]).program(0)
    chip = chip.at("1 day").to(device)
    reference(), chip(x, first_image=0)
    pairs = [(timed(reference), timed(lambda: chip(x, first_image=0))) for _ in range(rounds)]
    own = statistics.median(b for _, b in pairs)
    return {
        "setting": name, "batch": len(x), "ratio": statistics.median(b / a for a, b in pairs),
        "images_per_second": len(x) / own,
        "torch_images_per_second": len(x) / statistics.median(a for a, _ in pairs),
        "program_seconds": statistics.median(
            timed(lambda seed=seed: chip.program(seed)) for seed in range(min(rounds, 5))
        ),
    }  # fmt: skip


def timed(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()  # results come to the processor: nothing is still under way behind it
    return time.perf_counter() - began


def tests_of_cuda() -> str:
    """Run the tests that need a card; return what pytest says at the end."""
    words = [sys.executable, "-m", "pytest", "-n", "0", "-k", "cuda", "tests/parity"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    return f"{done.stdout.strip().splitlines()[-1]} (exit code {done.returncode})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    on_card = device.type == "cuda"
    card = torch.cuda.get_device_name(device) if on_card else "not yet timed on a GPU: processor"
    found = {
        "card": card, "timed_on_a_gpu": on_card, "torch": torch.__version__,
        "tests": tests_of_cuda() if on_card else "none: they need a card",
        "rows": table(device, options.batch, options.rounds),
    }  # fmt: skip
    if on_card:
        found["peak_mebibytes_on_the_card"] = torch.cuda.max_memory_allocated(device) / 2**20
    print(f"{card}, torch {found['torch']}; tests of CUDA: {found['tests']}")
    print(f"{'setting':<26} {'ratio':>6} {'images/s':>9} {'torch':>9}  program")
    for one in found["rows"]:
        print(
            f"{one['setting']:<26} {one['ratio']:5.1f}x {one['images_per_second']:9,.0f} "
            f"{one['torch_images_per_second']:9,.0f}  {1e3 * one['program_seconds']:.0f} ms"
        )
    out = options.out or (ROOT / "docs" / "gpu.json" if on_card else None)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
