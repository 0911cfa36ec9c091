"""Your own network and data in every command: this file is a script, and what commands name.

You learn the two functions that ``aimc-sim run``, ``map``, ``perf``, ``profile``, ``attribute``,
``sweep`` and ``optimise`` take as ``--model FILE:network --data FILE:data``: the first returns a
torch module, the second inputs, targets and calibration inputs. The data are chemical analyses of
178 wines of three kinds, which come with scikit-learn. Prints the accuracy in floating point and on
the chip, from now to a year later; draws ``your_own_data.png``.

Run it: ``python examples/09_your_own_data.py`` (seconds; ``--quick``: two times in place of five).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn

from aimc_sim import Chip, presets


def wines() -> tuple[np.ndarray, np.ndarray]:
    """Analyses (178, 13) and kinds, in random order, in units of the first 90 analyses."""
    found = load_wine()
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(found.target))
    x, kinds = found.data[order], found.target[order]
    return ((x - x[:90].mean(0)) / x[:90].std(0)).astype(np.float32), kinds


def network() -> nn.Module:
    """A small network, trained on the first 90 wines: a second, the same weights every time."""
    x, kinds = (torch.from_numpy(part[:90]) for part in wines())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), kinds).backward()
        optimizer.step()
    return model.eval()


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets that are scored, and inputs that calibrate: here those of the training."""
    x, kinds = wines()
    return x[90:], kinds[90:], x[:90]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two times")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    model, (inputs, targets, calibration) = network(), data()

    def right(scores: torch.Tensor) -> float:
        return float((scores.argmax(1).numpy() == targets).mean())

    print(f"torch    {right(model(torch.from_numpy(inputs)).detach()):.1%} of {len(inputs)} wines")
    times = ("0", "1 y") if options.quick else ("0", "1 h", "1 d", "30 d", "1 y")
    chip = Chip.from_model(model, presets.hermes("odp")).calibrate(calibration).program(seed=0)
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for method in ("none", "gdc"):
        found = [right(chip.at(t).compensate(method)(torch.from_numpy(inputs))) for t in times]
        print(
            f"{method:8} " + ", ".join(f"{t}: {x:.1%}" for t, x in zip(times, found, strict=True))
        )
        axes.plot(times, [100 * x for x in found], marker="o", label=method)
    axes.set(xlabel="time after programming", ylabel="classified correctly (%)", ylim=(0, 102))
    axes.legend(title="drift compensation")
    figure.tight_layout()
    path = options.out / "your_own_data.png"
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
