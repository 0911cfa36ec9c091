"""Precise spike times learned on phase-change synapses: 132 inputs, 168 neurons, several devices.

    python validation/spiking/spike_timing.py --data-dir DIR [--work FOLDER]

One layer of integrate-and-fire neurons learns to answer 1,250 ms of input with trains that encode
the pixels of a letter, 14 x 12 (12 Hz for ink, 2 Hz for paper, at least 15 ms apart). NormAD, event
by event; updates of a presentation are summed in an accumulator and given as blind pulses of
``presets.pcm_nandakumar_2018()`` to the N devices of a polarity in turn. Runs: float, N = 1, 2, 4.
Inputs: Poisson trains of 10 Hz; and real speech, three spoken digits through a simple cochlea of
132 bands (``cochlea.py``; the recordings are ``speech/fsdd.npz`` in DIR). Then 10 s to 1e5 s of
drift, with and without one factor for the whole array.

The task is that of S. R. Nandakumar et al., Scientific Reports 10, 8080 (2020), arXiv:1905.11929,
whose abstract was read: 1,250 ms, more than 170,000 devices, more than 85 % of the spikes within
25 ms; its sizes are RECALLED (high). Its cochlea, letters' trains, learning rate and programming
constants were not found: inputs, bitmaps and constants here are ours, and so are the bounds. An
output is accurate by the largest number of pairs of a wanted and a found spike in a window, over
the larger number of spikes; chance is the accuracy of as many spikes at random times.

FOLDER keeps finished runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cochlea
import numpy as np
from kept import Kept, at_least

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write

from aimc_sim import learning, presets
from aimc_sim.rng import Key
from aimc_sim.spec import StateCurve
from aimc_sim.spiking import SpikingNeurons, match, poisson_trains

HERE = Path(__file__).parent / "spike_timing"
INPUTS, PIXELS, STEPS, INPUT_HERTZ, INK_HERTZ, PAPER_HERTZ = 132, (14, 12), 1250, 10.0, 12.0, 2.0
RATE, KEPT_RATE, EPOCHS = 0.1, 0.98, 60
"""Norm of a change by one error, its factor from epoch to epoch, presentations of each pattern."""
START_MEAN, START_STD, RANGE = 0.3, 0.1, 5.0
"""First weights; the weight of 8 uS, so that a weight of 1 is 1.6 uS."""
SECONDS = 38.6
"""Time between presentations: the age that the law of pulses speaks of (assumption)."""
WINDOWS, TIMES = (5e-3, 10e-3, 25e-3), (10.0, 1e2, 1e3, 1e4, 1e5)
RUNS = {"float": 0, "N = 4": 4, "N = 2": 2, "N = 1": 1}
"""Devices per polarity; 0: exact weights."""
DIGITS, SPEAKER = ((1, 2, 3), (4, 5, 6), (7, 8, 9)), 0
EXPONENT_STD = 0.02
"""Of the drift exponents of one run, mean 0.04; an assumption, in the other runs all are equal."""
KEY = Key(0)

LETTERS = {
    "I": (
        "............", "............", "...######...", "...######...", ".....##.....",
        ".....##.....", ".....##.....", ".....##.....", ".....##.....", ".....##.....",
        "...######...", "...######...", "............", "............",
    ),
    "B": (
        "............", "..######....", "..##...##...", "..##....##..", "..##....##..",
        "..##...##...", "..######....", "..##...##...", "..##....##..", "..##....##..",
        "..##....##..", "..##...##...", "..######....", "............",
    ),
    "M": (
        "............", ".##......##.", ".###....###.", ".####..####.", ".##.####.##.",
        ".##..##..##.", ".##......##.", ".##......##.", ".##......##.", ".##......##.",
        ".##......##.", ".##......##.", ".##......##.", "............",
    ),
}  # fmt: skip


def targets() -> list[np.ndarray]:
    """Return the wanted trains of the letters, (T, 168) each."""
    found = []
    for k, rows in enumerate(LETTERS.values()):
        ink = np.array([[c == "#" for c in row] for row in rows]).reshape(-1)
        rates = np.where(ink, INK_HERTZ, PAPER_HERTZ)
        generator = KEY.child(2, k).generator()
        found.append(poisson_trains(rates, STEPS, generator, apart_seconds=15e-3))
    return found


def poisson_inputs() -> list[np.ndarray]:
    """Return random inputs of three patterns."""
    rates = np.full(INPUTS, INPUT_HERTZ)
    return [poisson_trains(rates, STEPS, KEY.child(1, k).generator()) for k in range(3)]


def spoken_inputs(data_dir: Path, index: int = 0) -> list[np.ndarray]:
    """Return three spoken numbers as trains: take ``index`` of each digit by one speaker."""
    return [
        cochlea.spikes(
            np.concatenate([cochlea.recording(data_dir, one, SPEAKER, index) for one in number]),
            STEPS, INPUT_HERTZ,
        )
        for number in DIGITS
    ]  # fmt: skip


def layer(devices: int, exponent_std: float = 0.0) -> learning.TimedLayer:
    """Return the untrained layer: exact weights for 0 devices per polarity."""
    size = (INPUTS, PIXELS[0] * PIXELS[1])
    start = KEY.child(3).generator().normal(START_MEAN, START_STD, size).astype(np.float32)
    device: learning.Device = learning.IdealDevice()
    update: learning.Update = learning.Exact()
    if devices:
        pulsed = presets.pcm_nandakumar_2018()
        if exponent_std:
            law = StateCurve(form="log", a=0.0, b=exponent_std, low=exponent_std, high=exponent_std)
            pulsed = pulsed.with_({"drift.exponent_std": law})
        device = learning.PcmPairs(pulsed, devices=devices, refresh_below_siemens=4e-6)
        update = learning.MixedPrecision(refresh_every=5)
    synapses = device.synapses(start, RANGE, KEY.child(4))
    return learning.TimedLayer(synapses, update, SpikingNeurons(), KEY.child(5))


def trained(
    devices: int, inputs: list[np.ndarray], wanted: list[np.ndarray],
    other: list[np.ndarray] | None = None, exponent_std: float = 0.0,
) -> dict:  # fmt: skip
    """Train a layer on some patterns; return its scores in percent, in time and with drift."""
    net, curve, t = layer(devices, exponent_std), [], 0.0
    for epoch in range(EPOCHS):
        scores = []
        for one, target in zip(inputs, wanted, strict=True):
            t += SECONDS
            answer = net.learn(one, target, RATE * KEPT_RATE**epoch, t)
            scores.append(match(target, answer, 25e-3).accuracy)
        curve.append(100 * float(np.mean(scores)))
    found = {
        "curve": curve,
        "scores": scored(net, inputs, wanted, t + 10),
        "pulses": net.spent.pulses / net.synapses.weights(t).size,
        "refreshed": net.spent.refreshed,
        "none": [],
        "scaled": [],
    }
    if other is not None:
        found["other"] = scored(net, other, wanted, t + 10)
    reference = net.total_current(t + 10)
    for age in TIMES if devices else ():
        for method, total in (("none", None), ("scaled", reference)):
            net.compensate(t + age, total)
            found[method].append(scored(net, inputs, wanted, t + age)["accuracy"][-1])
    return found


def scored(net: learning.TimedLayer, inputs, wanted, t: float) -> dict[str, list[float]]:
    """Return accuracy at every window, recall and precision at the last, means over patterns."""
    answers = [net.run(one, t) for one in inputs]
    found = [
        [match(target, answer, window) for target, answer in zip(wanted, answers, strict=True)]
        for window in WINDOWS
    ]
    return {
        "accuracy": [100 * float(np.mean([one.accuracy for one in row])) for row in found],
        "recall": [100 * float(np.mean([one.recall for one in found[-1]]))],
        "precision": [100 * float(np.mean([one.precision for one in found[-1]]))],
    }


def chance(wanted: list[np.ndarray], draws: int = 20) -> list[float]:
    """Return the accuracies of trains with as many spikes as wanted, at random steps."""
    generator, scores = KEY.child(6).generator(), np.zeros(len(WINDOWS))
    for _ in range(draws):
        for one in wanted:
            order = generator.random(one.shape).argsort(axis=0).argsort(axis=0)
            random = order < one.sum(axis=0)
            scores += [match(one, random, window).accuracy for window in WINDOWS]
    return [100 * float(score) / (draws * len(wanted)) for score in scores]


def table(title: str, runs: dict[str, dict], by_chance: list[float]) -> list[str]:
    """Return the lines of the table of one task."""
    lines = [
        "", f"{title} (%):", "",
        "| | 5 ms | 10 ms | 25 ms | recall at 25 ms | precision at 25 ms | pulses per synapse |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, run in runs.items():
        cells = [f"{one:.1f}" for key in ("accuracy", "recall", "precision")
                 for one in run["scores"][key]]  # fmt: skip
        cells.append(f"{run['pulses']:.2f}" if run["pulses"] else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "| chance | " + " | ".join(f"{one:.1f}" for one in by_chance) + " | | | |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keeps finished runs")
    options = parser.parse_args()
    kept, wanted = Kept(options.work), targets()
    poisson, spoken = poisson_inputs(), spoken_inputs(options.data_dir)
    again = spoken_inputs(options.data_dir, 5)
    by_chance = kept.run("chance", lambda: chance(wanted[:1]))
    chance_of_three = kept.run("chance of three", lambda: chance(wanted))
    one = {
        name: kept.run(f"one {name}", lambda n=n: trained(n, poisson[:1], wanted[:1]))
        for name, n in RUNS.items()
    }
    varied = kept.run(
        "varied", lambda: trained(4, poisson[:1], wanted[:1], exponent_std=EXPONENT_STD)
    )
    three = {
        name: kept.run(f"three {name}", lambda n=RUNS[name]: trained(n, poisson, wanted))
        for name in ("float", "N = 4")
    }
    speech = {
        name: kept.run(
            f"speech {name}",
            lambda n=RUNS[name]: trained(n, spoken[:1], wanted[:1], again[:1]),
        )
        for name in ("float", "N = 4", "N = 1")
    }
    three_spoken = {
        name: kept.run(f"three spoken {name}", lambda n=RUNS[name]: trained(n, spoken, wanted))
        for name in ("float", "N = 4")
    }
    last = {name: run["scores"]["accuracy"][-1] for name, run in one.items()}
    heard = {name: run["scores"]["accuracy"][-1] for name, run in speech.items()}
    lost = one["N = 4"]["none"][0] - one["N = 4"]["none"][-1]
    regained = (one["N = 4"]["scaled"][-1] - one["N = 4"]["none"][-1]) / lost
    why = "bound of the plan, from a simulation with other draws"
    level = by_chance[-1]
    rows = [
        at_least("Poisson inputs, float, within 25 ms", 95, last["float"], "%", why, level),
        Row(
            "Poisson inputs, four devices per polarity, within 25 ms (%)", 91, last["N = 4"], 6.0,
            why, "self-consistency", level,
        ),
        at_least(
            "one device per polarity, loss against four", 8, last["N = 4"] - last["N = 1"],
            "points", why, 0.0,
        ),
        at_least(
            "share of the loss at 1e5 s that one factor for the array recovers", 0.5, regained,
            "(of 1)", f"loss {lost:.1f} points without it; " + why, 0.0,
        ),
        at_least(
            "spoken digits, four devices per polarity, within 25 ms", 85, heard["N = 4"], "%",
            "'more than 85 %' is the paper's figure for its own spoken letters; cochlea and trains "
            "here are ours", level,
        ),
    ]  # fmt: skip
    lines = [
        "Inputs, letters, constants and bounds are ours (the paper's were not found); pulses, "
        f"drift and read noise of `presets.pcm_nandakumar_2018()`; {EPOCHS} presentations of each "
        f"pattern, {SECONDS:g} s apart; rate {RATE:g} x {KEPT_RATE:g}^epoch; weights from "
        f"N({START_MEAN:g}, {START_STD:g}), a weight of 1 is 1.6 uS; a pulse stands for "
        "0.77 uS / N; pairs are checked every 5 presentations (mean above 8 uS, difference below "
        "4 uS). Every millisecond reads the array once, with read noise of its own.",
        *table(f"One pattern, Poisson inputs, letter I, {wanted[0].sum()} spikes", one, by_chance),
        *table("One pattern, speech ('one two three', one speaker), letter I", speech, by_chance),
        *table("Three patterns at once, Poisson inputs, letters I, B, M", three, chance_of_three),
        *table("Three patterns at once, speech (123, 456, 789)", three_spoken, chance_of_three),
        "",
        "Another take of the same words by the same speaker answers with "
        + ", ".join(
            f"{run['other']['accuracy'][-1]:.1f} % ({name})" for name, run in speech.items()
        )
        + " within 25 ms: the layer learned one recording, spike by spike, not the words. "
        "On speech even exact weights stay below those for Poisson inputs: neighbouring bands "
        "spike together, and a third of the milliseconds has no input at all.",
        "", "Accuracy within 25 ms against presentation, one pattern, Poisson inputs (%):", "",
        "| presentation | " + " | ".join(one) + " |", "|---|" + "---|" * len(one),
        *(
            f"| {n} | " + " | ".join(f"{run['curve'][n - 1]:.1f}" for run in one.values()) + " |"
            for n in (1, 5, 10, 20, 30, 40, 60)
        ),
        "", "Retention, within 25 ms (%):", "",
        "| after training | " + " | ".join(
            f"{task}, {name}, {method}" for task, runs in (("Poisson", one), ("speech", speech))
            for name in runs if name != "float" for method in ("no factor", "one factor")
        ) + " | Poisson, N = 4, exponents vary, no factor | one factor |",
        "|---|" + "---|" * 12,
        *(
            f"| {age:g} s | " + " | ".join(
                f"{run[method][k]:.1f}" for runs in (one, speech) for name, run in runs.items()
                if name != "float" for method in ("none", "scaled")
            ) + f" | {varied['none'][k]:.1f} | {varied['scaled'][k]:.1f} |"
            for k, age in enumerate(TIMES)
        ),
        "",
        "All devices have the drift exponent 0.04, as the source of the pulses has it; in the "
        f"last two columns exponents have a standard deviation of {EXPONENT_STD:g} (assumption), "
        "which no single factor undoes. Devices differ in age, too.",
        "", kept.cost(),
    ]  # fmt: skip
    done = write(
        HERE, "Precise spike times on phase-change synapses, 132 x 168",
        "python validation/spiking/spike_timing.py --data-dir DIR", rows, "\n".join(lines),
    )  # fmt: skip
    sys.exit(not done)


if __name__ == "__main__":
    main()
