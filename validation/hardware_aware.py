"""Float-trained against hardware-aware-trained ResNet-32 on the chip: accuracy against time.

    python validation/hardware_aware.py --data DIR [--images 1000] [--programmings 10]

DIR holds ``cifar-10-batches-py``. Both networks are the zoo's (``resnet32-cifar10``,
``resnet32-cifar10-aware``), on two devices per polarity (ODP has one), and on the 25 uS model
device; without compensation, with one factor per core (GDC), one per column, and AdaBS
(on 128 training images). Two studies
(:mod:`aimc_sim.studies`) in ``--work``, which go on where they were stopped; a network whose
weights are not installed is left out, and said. Writes ``hardware_aware/`` beside this script:
``accuracy.csv``, ``table.md`` and ``accuracy.png``.

Anchors: V. Joshi et al., Nature Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9:
without compensation the accuracy falls to chance within about 1000 s; trained with noise, one
factor per layer keeps it within about 1.2 points for a day (figures as summarised in the facts).
Its devices are measured ones of another chip, so the shape is compared, not the numbers.
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path

import pandas as pd
from comparison import write_stamp

from aimc_sim import results, units, zoo
from aimc_sim.figures import accuracy
from aimc_sim.figures import lines as figures
from aimc_sim.studies import inputs, pools, schema, statistics, sweep

NETWORKS = {"resnet32-cifar10": "float-trained", "resnet32-cifar10-aware": "hardware-aware"}
PRESETS = {"hermes-odp": "ODP", "hermes-tdp": "TDP", "generic-pcm": "25 uS model device"}
METHODS = {"none": "no compensation", "gdc": "GDC", "column": "per column", "adabs": "AdaBS"}
TIMES = (0, 1000, "1 d", "1 y")
CHANCE = 0.1


def study(network: str, options: argparse.Namespace) -> schema.Study:
    """Return the study of one network."""
    return schema.make_study(
        {
            "name": f"{network}, accuracy against time",
            "network": network,
            "data": {
                "name": "cifar10", "folder": str(options.data), "images": options.images,
                "calibration": 128,
            },
            "probe_images": 0,
            "presets": list(PRESETS),
            "times": list(TIMES),
            "compensations": list(METHODS),
            "programmings": options.programmings,
            "seconds_per_trial": 60.0,
        }
    )  # fmt: skip


def run(network: str, options: argparse.Namespace) -> pd.DataFrame:
    """Return all rows of one network, computing those that are not there yet."""
    out = options.work / network
    chosen = study(network, options)
    given = inputs.gather(chosen)
    if options.workers == 0:
        sweep.sweep(chosen, given, pools.InProcess(given, 1), out)
    else:
        with pools.local(given, options.workers, None) as pool:
            sweep.sweep(chosen, given, pool, out)
    return results.load(out).assign(network=network)


def draw(table: pd.DataFrame, floats: dict[str, float], path: Path) -> None:
    """Draw a panel for each compensation: mean accuracy and 95 % interval against time."""
    named = table.assign(
        setting=table["network"].map(NETWORKS) + ", " + table["setting"].map(PRESETS),
    )
    torch = {
        f"{NETWORKS[network]}, {preset}": share
        for network, share in floats.items()
        for preset in PRESETS.values()
    }
    title = "ResNet-32 on CIFAR-10: accuracy against time after programming"
    chart = accuracy.chart(named, references={"float32": torch}, chance=CHANCE, title=title)
    figures.draw(chart, path=path)


def lines(table: pd.DataFrame, floats: dict[str, float], options: argparse.Namespace) -> list[str]:
    """Return the Markdown table."""
    moments = sorted(table["time_seconds"].unique())
    found = [
        "# ResNet-32 on CIFAR-10: float-trained and hardware-aware, against time", "",
        f"Made by `python validation/hardware_aware.py --data DIR --images {options.images} "
        f"--programmings {options.programmings}`: first {options.images} test images, "
        f"{options.programmings} programmings, mean in % and half width of the 95 % interval "
        "(Student's t over programmings).", "",
        *(f"- {NETWORKS[n]} (`{n}`): {100 * a:.2f} % in float32 on these images, "
          f"{100 * zoo.record(n)['test_accuracy']:.2f} % on all; "
          f"{zoo.record(n)['epochs']} epochs{' more, for the chip' * n.endswith('aware')}"
          for n, a in floats.items()),
        "", "| network | devices | compensation | "
        + " | ".join("now" if t == 0 else units.show_time(t) for t in moments) + " |",
        "|---|---|---|" + "---|" * len(moments),
    ]  # fmt: skip
    groups = dict(list(table.groupby(["network", "setting", "compensation"])))
    for network, preset, method in itertools.product(floats, PRESETS, METHODS):
        part = groups[network, preset, method]
        cells = [
            f"{100 * r['mean']:.1f} +- {100 * (r['high'] - r['low']) / 2:.1f}"
            for _, r in part.sort_values("time_seconds").iterrows()
        ]
        found.append(
            f"| {NETWORKS[network]} | {PRESETS[preset]} | {METHODS[method]} | "
            + " | ".join(cells) + " |"
        )  # fmt: skip
    return [*found, "", *checks(table, floats)]


def checks(table: pd.DataFrame, floats: dict[str, float]) -> list[str]:
    """Return the shape of Joshi et al. beside ours, on the 25 uS model device."""

    def at(network: str, method: str, seconds: float) -> float:
        rows = table[
            (table["network"] == network) & (table["setting"] == "generic-pcm")
            & (table["compensation"] == method) & (table["time_seconds"] == seconds)
        ]  # fmt: skip
        return float(rows["mean"].iloc[0])

    found = ["| Joshi et al. 2020 | there | here (25 uS model device) |", "|---|---|---|"]
    for network in floats:
        found.append(
            f"| {NETWORKS[network]}, no compensation, after 1000 s | about 10 % (chance) | "
            f"{100 * at(network, 'none', 1000):.1f} % |"
        )
    for network in floats:
        now, day = at(network, "gdc", 0), at(network, "gdc", 86400)
        there = "-1.1 to -1.3 points" if network.endswith("aware") else "-"
        found.append(
            f"| {NETWORKS[network]}, GDC, one day, from float | {there} | "
            f"{100 * (day - floats[network]):+.1f} points ({100 * (now - floats[network]):+.1f} "
            "right after programming) |"
        )
    for network in floats:
        day = at(network, "adabs", 86400)
        there = "less than 0.4 points below" if network.endswith("aware") else "-"
        found.append(
            f"| {NETWORKS[network]}, AdaBS, one day, from float | {there} | "
            f"{100 * (day - floats[network]):+.1f} points |"
        )
    return found


def redraw(out: Path) -> None:
    """Draw the figure anew from the tables of an earlier run; nothing is simulated."""
    text = (out / "table.md").read_text()
    found = re.findall(r"^- .* \(`([\w-]+)`\): ([\d.]+) % in float32 on these images", text, re.M)
    floats = {network: float(percent) / 100 for network, percent in found}
    draw(pd.read_csv(out / "accuracy.csv"), floats, out / "accuracy.png")


def main() -> None:
    """Run, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--redraw", action="store_true", help="only the figure, from accuracy.csv and table.md"
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--programmings", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2, help="0: in this process")
    default = Path(__file__).with_suffix("")
    work = default / "work"
    parser.add_argument("--work", type=Path, default=work, help="folder of the studies")
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    if options.redraw:
        redraw(options.out)
        return
    if options.data is None:
        parser.error("--data is wanted: the folder of CIFAR-10")
    tables, floats = [], {}
    for network in NETWORKS:
        try:
            model = zoo.load(network)
        except FileNotFoundError as error:
            print(f"left out: {error}")
            continue
        test = zoo.cifar10(options.data, "test", options.images)
        right = sum(
            int((model(x).argmax(1) == y).sum())
            for x, y in zip(test.images.split(250), test.labels.split(250), strict=True)
        )
        floats[network] = right / len(test)
        tables.append(run(network, options))
    rows = pd.concat(tables, ignore_index=True)
    table = pd.concat(
        [statistics.summary(part).assign(network=name) for name, part in rows.groupby("network")],
        ignore_index=True,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "accuracy.csv", index=False)
    write_stamp(options.out)
    (options.out / "table.md").write_text("\n".join(lines(table, floats, options)) + "\n")
    draw(table, floats, options.out / "accuracy.png")
    print("\n".join(lines(table, floats, options)))


if __name__ == "__main__":
    main()
