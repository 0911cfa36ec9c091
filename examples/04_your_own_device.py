"""A device of your own: from a table of reads to a network on a chip, in three lines.

You learn how measured reads become laws with standard errors, and how a chip is made of them, or of
the measured traces themselves. Prints what the data determine, and what these devices cost a
perceptron for handwritten digits against perfect ones, as mean and standard error over several
programmings; draws ``your_own_device.png``.

Run it: ``python examples/04_your_own_device.py`` (a minute; ``--quick``: seconds). It uses the
small data set of this project; with a table of yours, first::

    aimc-sim device import reads.csv
    aimc-sim device import reads.csv --out mine.h5
        --map "device=id,target=aim[uS],time=t[s],conductance=g[uS]"
    aimc-sim device check mine.h5
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.fit import fit
from aimc_sim.device import measured
from aimc_sim.figures import devices
from aimc_sim.zoo import digits

FILE = "generated_25us"  # comes with aimc_sim; or the path of a file of yours
TIMES = ("0", "1 day", "1 week")


def perceptron(epochs: int) -> nn.Module:
    """Train a perceptron 64-32-10 on the digits; small, so that every device counts."""
    data = digits("train")
    torch.manual_seed(1)
    pixels = data.images[0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.images)).split(100):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(data.images[batch]), data.labels[batch])
            loss.backward()
            optimiser.step()
    return model.eval()


def accuracies(spec, model, programmings: int) -> np.ndarray:
    """Return the accuracy in percent, (programmings, times), with drift compensation."""
    test = digits("test")
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(digits("train").images[:256])
    rows = []
    for seed in range(programmings):
        chip.program(seed).compensate("gdc")
        scores = [chip.at(time)(test.images).argmax(1) for time in TIMES]
        rows.append([100 * (s == test.labels).float().mean().item() for s in scores])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--file", type=Path, default=FILE, help="measured data (HDF5)")
    parser.add_argument("--quick", action="store_true", help="few programmings")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = perceptron(30)
    programmings = 4 if options.quick else 16

    # The three lines: read the measurement, fit the laws, put them into a chip.
    data = measured.read(options.file)
    laws = fit(data)
    fitted = presets.hermes("odp").with_({"core.device": laws.to_pcm_spec()})

    print(f"{laws.title}: {laws.reads:,} reads of {laws.devices:,} devices")
    for law in laws.laws:
        print(f"  {law.name:17} {'found' if law.identified else 'not found: ' + law.reason}")
    for level in (0.3 * laws.g_max_siemens, laws.g_max_siemens):
        nu = laws.value("drift", "nu mean", level)
        print(f"  drift exponent at {1e6 * nu.level:4.1f} uS: {nu.value:.4f} "
              f"+- {nu.standard_error:.4f}")  # fmt: skip
    path = options.out / "your_own_device.png"
    devices.measured(data, path=path)

    # Or no law at all: every simulated device follows a whole measured trace. What was not
    # measured is said in a warning, once; here it is printed.
    perfect = presets.hermes("odp").with_({"core.device": presets.pcm_ideal()})
    found = {"perfect devices": accuracies(perfect, model, 1)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found["fitted laws"] = accuracies(fitted, model, programmings)
        found["replayed traces"] = accuracies(presets.replay(options.file), model, programmings)
    for sentence in sorted({str(warning.message) for warning in caught}):
        print(f"note: {sentence}")

    print(f"accuracy (gdc)    {'  '.join(f'{time:>14}' for time in TIMES)}")
    for name, rows in found.items():
        error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else None
        cells = [f"{mean:5.1f}%" + ("" if error is None else f" +- {error[i]:3.1f}")
                 for i, mean in enumerate(rows.mean(axis=0))]  # fmt: skip
        print(f"{name:17} {'  '.join(f'{cell:>14}' for cell in cells)}")
    law, traces = found["fitted laws"][:, -1], found["replayed traces"][:, -1]
    apart = np.sqrt((law.var(ddof=1) + traces.var(ddof=1)) / programmings)
    lost = found["perfect devices"][0, -1] - traces.mean()
    print(f"after {TIMES[-1]} these devices cost {lost:.1f} points; laws and traces differ by "
          f"{law.mean() - traces.mean():+.2f} +- {apart:.2f}")  # fmt: skip
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
