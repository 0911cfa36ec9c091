"""How long does a network live on the chip? Accuracy of ResNet-32 from now to a year.

Run it: ``python examples/01_drift_curve.py`` (a minute; ``--quick``: seconds, fewer images).
"""

import argparse

import aimc_sim
from aimc_sim.zoo import digits, resnet32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few images, two times")
    quick = parser.parse_args().quick
    test = digits("test").take(16 if quick else 250)
    times = ["0", "1 h"] if quick else ["0", "1 h", "1 day", "30 d", "1 year"]

    # A trained network goes on the chip: batch norms are folded, layers split over the cores.
    chip = aimc_sim.Chip.from_model(resnet32(weights="digits"), aimc_sim.presets.hermes("odp"))
    print(f"{chip.image.cores_used} of {chip.image.cores_available} cores hold weights")

    # Images that are not tested set the integer ranges; then a million devices are written.
    chip.calibrate(digits("train").images[: 32 if quick else 256])
    chip.program(seed=0)

    print("time     uncompensated  compensated (gdc)")
    for time in times:
        right = []
        for method in ("none", "gdc"):
            scores = chip.at(time).compensate(method)(test.images)
            right.append((scores.argmax(1) == test.labels).float().mean().item())
        print(f"{time:8} {right[0]:13.1%}  {right[1]:17.1%}")


if __name__ == "__main__":
    main()
