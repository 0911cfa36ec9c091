"""Your own network: what becomes of every layer, and how to choose.

You learn to ask before you run: ``Chip.explain`` lists every layer, on which cores or why not.
``where=`` leaves layers digital, ``layers`` in the specification gives some layers other
converters. Prints the list, the accuracy of three variants on handwritten digits, and what the
library says about a layer that the chip does not have; draws ``your_own_network.png``.

Run it: ``python examples/03_your_own_network.py`` (a minute; ``--quick``: seconds).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import aimc_sim
from aimc_sim.figures.floorplan import floorplan
from aimc_sim.zoo import ImageSet, digits


class Mine(nn.Module):
    """Convolutions, one of them depthwise, a shortcut, a head: 3 x 32 x 32 images to 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.depth = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.point = nn.Conv2d(24, 24, 1)
        self.head = nn.Linear(24 * 16, 10)

    def forward(self, x):
        """Return the scores."""
        x = self.first(F.avg_pool2d(x, 4))
        x = x + F.gelu(self.point(self.depth(x)))
        return self.head(F.max_pool2d(x, 2).flatten(1))


def right(network, test: ImageSet) -> float:
    """The share of images whose largest score is at their label."""
    with torch.inference_mode():
        return (network(test.images).argmax(1) == test.labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="little training")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # layers are small: more threads would wait for each other
    torch.manual_seed(0)

    data, test, network = digits("train"), digits("test"), Mine()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(2 if options.quick else 15):
        for batch in torch.randperm(len(data)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(data.images[batch]), data.labels[batch]).backward()
            optimizer.step()

    small = {"name": "small chip", "fabric.rows": 2, "fabric.cols": 4}  # eight cores will do
    spec = aimc_sim.presets.hermes("tdp").with_(small)
    print(aimc_sim.Chip.explain(network, spec))

    # Patterns choose layers by the names in the list above; the last pattern that fits decides.
    coarse = spec.with_({"layers": {"first.*": {"core.adc.bits": 6}}})
    variants = {
        "first layer with 6-bit ADCs": (coarse, None),
        "depthwise and head digital": (spec, {"depth": "digital", "head": "digital"}),
        "everything on crossbars": (spec, None),
    }
    print(f"\n{'torch':28} {right(network.eval(), test):6.1%}")
    for name, (machine, where) in variants.items():
        chip = aimc_sim.Chip.from_model(network, machine, where=where)
        chip.calibrate(data.images[:256]).program(seed=0)
        print(f"{name:28} {right(chip, test):6.1%}  {chip.compiled.cores_used} cores")
    path = options.out / "your_own_network.png"
    axis = plt.subplots(figsize=(11, 6.5))[1]
    floorplan(chip.compiled, spec, ax=axis, path=path)

    print("\nA layer that the chip does not have:")
    try:
        aimc_sim.Chip.from_model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.FractionalMaxPool2d(2, 4)))
    except aimc_sim.UnsupportedLayerError as error:
        print(error)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
