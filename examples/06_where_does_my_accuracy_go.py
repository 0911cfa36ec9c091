"""Where does my accuracy go? Effects of the machine switched on and off, one at a time.

You learn the Python side of ``aimc-sim attribute``: one machine becomes a study of machines with
nothing but one effect and with everything but one, all with the same seeds and images, and the
answers are paired differences with intervals. Prints them and draws ``waterfall.png``. Watch drift
and the ADC: each costs little alone and much beside the other.

Run it: ``python examples/06_where_does_my_accuracy_go.py`` (minutes; ``--quick``: one programming,
few images). ``OUT/study`` keeps the trials: a run that was interrupted goes on from there.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim import results
from aimc_sim.figures.waterfall import waterfall
from aimc_sim.studies import attribute, inputs, pools, sweep
from aimc_sim.studies.schema import make_study
from aimc_sim.zoo import digits


def network() -> nn.Module:
    """A small network; studies find it by the names of this file and this function."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    data = digits("train")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(6):
        for batch in torch.randperm(len(data)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(data.images[batch]), data.labels[batch]).backward()
            optimizer.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one programming, few images")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of all files")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # layers are small: more threads would wait for each other

    # One machine: one-device programming, 8-bit ADCs, after a month without compensation.
    here = Path(__file__).resolve()
    whole = make_study({
        "network": f"{here.stem}:network", "presets": "hermes-odp",
        "changes": {"core.adc.bits": 8},
        "data": {"name": "digits", "images": 100 if options.quick else 500},
        "times": "30 d", "compensations": "none", "programmings": 1 if options.quick else 10,
        "probe_images": 0,
    })  # fmt: skip
    given = inputs.gather(whole, here.parent)
    parts = attribute.make(whole)  # settings "nothing", "everything", "only ...", "all but ..."
    folder = options.out / "study"
    progress = sweep.sweep(parts, given, pools.InProcess(given), folder)
    print(f"{progress.done} trials run, {progress.reused} found in {folder}\n")

    accuracy = results.load(folder).groupby("setting")["accuracy"].mean()
    print(f"without any effect {accuracy['nothing']:.1%}, with all {accuracy['everything']:.1%}")
    rows = attribute.table(results.load(folder))
    how = {"whole": "all of them", "alone": "alone", "missing": "against all but it"}
    for row in rows.sort_values(["kind", "difference"]).itertuples():
        print(f"{row.effect:28} {how[row.kind]:19} {100 * row.difference:+6.2f} points, "
              f"95 %: {100 * row.low:+6.2f} to {100 * row.high:+6.2f}")  # fmt: skip
    path = options.out / "waterfall.png"
    waterfall(rows, path=path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
