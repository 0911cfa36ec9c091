"""How long does a network live on the chip? Accuracy of ResNet-32 from now to a year.

You learn the main way through the library: a trained torch network goes on the chip, ranges are
calibrated, devices are written, and the clock is turned. Prints the accuracy on handwritten digits
at each time, without and with drift compensation, and draws ``drift_curve.png``.

Run it: ``python examples/02_drift_curve.py`` (a minute or two; ``--quick``: few images, two
times). The same with more programmings: ``aimc-sim run``.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

import aimc_sim
from aimc_sim import units
from aimc_sim.figures import accuracy
from aimc_sim.zoo import digits, resnet32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few images, two times")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    quick = options.quick
    test = digits("test").take(10 if quick else 250)
    times = ["0", "1 h"] if quick else ["0", "1 min", "1 h", "1 day", "30 d", "1 year"]

    # A trained network goes on the chip: batch norms are folded, layers split over the cores.
    network = resnet32(weights="digits")
    chip = aimc_sim.Chip.from_model(network, aimc_sim.presets.hermes("odp"))
    print(f"{chip.compiled.cores_used} of {chip.compiled.cores_available} cores hold weights")

    # Images that are not tested set the integer ranges; then a million devices are written.
    chip.calibrate(digits("train").images[: 10 if quick else 256])
    chip.program(seed=0)

    print("time     uncompensated  compensated (gdc)")
    rows = []
    for time in times:
        right = []
        for method in ("none", "gdc"):
            scores = chip.at(time).compensate(method)(test.images)
            right.append((scores.argmax(1) == test.labels).float().mean().item())
            rows.append({
                "preset": "hermes-odp", "compensation": method, "seed": 0, "accuracy": right[-1],
                "time_seconds": units.seconds(time), "images": len(test),
            })  # fmt: skip
        print(f"{time:8} {right[0]:13.1%}  {right[1]:17.1%}")

    with torch.inference_mode():
        right = (network(test.images).argmax(1) == test.labels).float().mean().item()
    references = {"float": right}
    path = options.out / "drift_curve.png"
    accuracy.drift_accuracy(pd.DataFrame(rows), references, chance=0.1, path=path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
