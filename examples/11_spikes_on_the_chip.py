"""Spikes on the chip: a spiking network for the digits, event by event.

You learn how a network of spiking units goes on the chip (matrices on cores, membranes in digital
units, spikes as pulses of one bit), how it drifts, which rows never carry a spike, and what gating
them would save. Prints the accuracy in torch and on the chip and the report of spikes; draws
``spikes.png``: raster, membranes, energy per spike.

Run it: ``python examples/11_spikes_on_the_chip.py`` (half a minute; ``--quick``: 40 images).
"""

import argparse
from pathlib import Path

import torch

from aimc_sim import Chip, presets
from aimc_sim.figures.spikes import spikes as picture
from aimc_sim.runtime.probe import neuron_traces
from aimc_sim.zoo import digits, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="40 images")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    model = load("spiking-digits")  # any module of aimc_sim.spiking units goes this way
    test = digits("test").take(40 if options.quick else 500)
    chip = Chip.from_model(model, presets.hermes()).calibrate(digits("train").images[:64])
    chip.program(seed=0)

    def share(scores: torch.Tensor) -> float:
        return float((scores.argmax(1) == test.labels).float().mean())

    with torch.inference_mode():
        print(f"in torch              {share(model(test.images)):.1%}")
    for time in ("0", "1 day", "1 year"):
        chip.at(time).compensate("gdc")
        print(f"on the chip, {time:8} {share(chip(test.images)):.1%}")
    report = chip.spiking_report()
    print(f"\n{report}")

    path = options.out / "spikes.png"
    traces = neuron_traces(chip.at("0"), test.images[:4])
    picture(traces, report, title="a handwritten digit as spikes, eight steps", path=path)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()
