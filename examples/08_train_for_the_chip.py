"""Train for the chip: the same small network trained in float, and with the noise of the devices.

You learn the three steps of hardware-aware training: ``prepare`` gives a torch network that feels
programming errors, drift and converters while it learns, an ordinary loop trains it, ``finalize``
gives plain weights back. Prints the accuracy of both on the chip right after programming, after a
day and after a year, compensated; draws ``trained_for_the_chip.png``.

Run it: ``python examples/08_train_for_the_chip.py`` (minutes; ``--quick``: little training).
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim import presets, units
from aimc_sim.figures import accuracy
from aimc_sim.studies import drift, inputs
from aimc_sim.training import TrainingSpec, finalize, prepare
from aimc_sim.zoo import digits


def train(network: nn.Module, epochs: int) -> nn.Module:
    """An ordinary loop; it does not know whether the network was prepared."""
    data = digits("train")
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(data.images[batch]), data.labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="little training, few programmings")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # layers are small: more threads would wait for each other
    epochs, programmings = (2, 1) if options.quick else (20, 10)
    spec = presets.hermes("odp")
    torch.manual_seed(0)
    start = nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    train(start, epochs)

    # Both go on for the same number of epochs, one of them as the chip will compute.
    prepared = prepare(start, spec, TrainingSpec(noise_scale=2.0, clip_sigma=2.5), seed=1)
    networks = {
        "trained for the chip": finalize(train(prepared, epochs)),
        "trained in float": train(start, epochs),
    }

    test, calibration = digits("test"), digits("train").images[:256]
    times, rows, references = ("0", "1 day", "1 year"), [], {}
    for name, network in networks.items():
        given = drift.given_of(network, test, calibration)
        references[name] = inputs.float_value(network, given)
        rows += drift.drift_rows(given, {name: spec}, times=times, methods=("gdc",),
                                 seeds=range(programmings))  # fmt: skip
    rows = pd.DataFrame(rows)
    print(f"{'accuracy':22} torch   " + "".join(f"{time:8}" for time in times))
    for name in networks:
        of = rows[rows["preset"] == name].groupby("time_seconds")["accuracy"].mean()
        shown = "".join(f"{of[units.seconds(time)]:6.1%}  " for time in times)
        print(f"{name:22} {references[name]:6.1%}  {shown}")
    path = options.out / "trained_for_the_chip.png"
    accuracy.drift_accuracy(rows, {"torch": references}, path=path)
    print(f"mean of {programmings} programmings; wrote {path}")


if __name__ == "__main__":
    main()
