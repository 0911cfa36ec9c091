"""Learn on the chip: a perceptron trained in phase-change devices, pulse by pulse.

You learn how ``learning.prepare`` moves the weights of a torch network into pairs of devices, how
``learning.SGD`` steps them by pulses, what the report counts, and how the chip that is made of
these devices drifts. Prints the accuracy after every epoch, in the devices and in float, the
report, and the accuracy a day and a year after training; draws ``learned_on_the_chip.png``.

Run it: ``python examples/10_learn_on_the_chip.py`` (half a minute; ``--quick``: two epochs).
"""

import argparse
from pathlib import Path

import torch

from aimc_sim import learning, presets
from aimc_sim.figures.learning import learning as picture
from aimc_sim.learning.course import TrainingData, train
from aimc_sim.zoo import digits
from aimc_sim.zoo.small import DigitsPerceptron


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two epochs")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # layers are small: more threads would wait for each other

    torch.manual_seed(0)
    model = DigitsPerceptron()
    # The converters of the 64-core chip; pairs of devices whose pulses accumulate; weights of up
    # to 1 use 8 of the 12 uS that such a device reaches.
    net = learning.prepare(
        model, presets.hermes("odp"), learning.MixedPrecision(), weight_range=1.0, seed=0
    )
    images = [TrainingData(part.images, part.labels) for part in (digits("train"), digits("test"))]
    # The loop itself is an ordinary one: loss.backward(), then step() of learning.SGD.
    course = train(
        model, net, *images, epochs=2 if options.quick else 6, batch=8, rate=0.03, seed=0,
        times=(0.0, 3600.0, 86400.0, 31536000.0), told=print,
    )  # fmt: skip
    print(net.report())
    for method, shares in course.drifted.items():
        print(f"compensation {method}: a day later {shares[2]:.1%}, a year later {shares[3]:.1%}")
    path = options.out / "learned_on_the_chip.png"
    picture(course, title="a perceptron learns in pairs of phase-change devices", path=path)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
