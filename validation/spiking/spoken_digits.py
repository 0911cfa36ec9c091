"""Spoken digits: recurrent layers of spiking units on the chip, beside a GRU of the same width.

    python validation/spiking/spoken_digits.py --data-dir DIR [--work FOLDER]

Free Spoken Digit Dataset (``speech/fsdd.npz``): 3,000 recordings of ten digits by six speakers at
8 kHz, in the usual split: recordings 0 to 4 of every speaker and digit (300) test, the others
train. Features, by numpy: silent ends cut (below 2 % of the largest magnitude); frames of 32 ms
every 16 ms under a Hann window; power spectrum of 512 points; 32 triangular bands, equal steps of
the mel scale from 100 Hz to 3.8 kHz; logarithm of the power, a floor 60 dB below the loudest one of
a recording; differences of consecutive frames as 32 further features; less mean, divided by the
standard deviation of every feature over the training set. A recording has 40 frames (0.66 s):
shorter ones are followed by silence, of longer ones (4 %) the end is cut.

A network is one recurrent layer of 64 units on these 64 features, and a dense layer on the mean of
its outputs over the frames. Layers: sSNU, sSNU-o (axo-axonic gate, RECALLED form), SNU (spikes),
GRU, LSTM. Each is trained for 30 epochs (Adam, batches of 50, recordings moved by 0 to 4 frames,
matrices with Gaussian noise of 5 % of their largest weight), one seed; then it runs on a chip of
one device per polarity: three programmings, evaluated right after programming and a day later with
and without global drift compensation. FOLDER keeps trained networks and runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import Row, write
from kept import Kept
from trained import NOISE, kept_network, noisy

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip.ledger import MVM_PARTS
from aimc_sim.spiking import SNU, SoftSNU

HERE = Path(__file__).with_suffix("")
RATE, WINDOW, HOP, POINTS, BANDS, FRAMES = 8000, 256, 128, 512, 32, 40
"""Samples per second, of a frame, from frame to frame, of a spectrum; bands; frames kept."""
LOWEST, HIGHEST, FLOOR, SILENCE = 100.0, 3800.0, 1e-6, 0.02
UNITS, EPOCHS, BATCH, SHIFT = 64, 30, 50, 5
PROGRAMMINGS, SEED, CALIBRATION, WIDE = 3, 0, 256, 256
RATES = {"sSNU": 1e-2, "sSNU-o": 1e-2, "SNU": 1e-2, "GRU": 4e-3, "LSTM": 4e-3}
"""Largest learning rate of every kind of layer: units without gates learn slowly at 4e-3."""
PRODUCTS = {"sSNU": 2, "sSNU-o": 4, "SNU": 2, "GRU": 6, "LSTM": 8}
"""Multiplications per unit and step, of n inputs and n units: this times n (derived)."""


class Recordings(NamedTuple):
    """Features (N, FRAMES, 2 BANDS) float32, and digits (N,)."""

    features: Tensor
    digits: Tensor


def filters() -> np.ndarray:
    """Return the weights of the bands, (BANDS, POINTS / 2 + 1)."""
    mel = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (LOWEST, HIGHEST)), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.arange(POINTS // 2 + 1) * RATE / POINTS
    up = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(up, down), 0, None)


def spectrogram(samples: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Return the logarithm of the power of every frame and band, (frames, BANDS)."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    frames = max(1, -(-(len(samples) - WINDOW) // HOP) + 1)
    samples = np.pad(samples, (0, WINDOW + (frames - 1) * HOP - len(samples)))
    cut = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(cut * np.hanning(WINDOW), POINTS)) ** 2 @ bands.T
    return np.log(np.maximum(power / power.max(), FLOOR))


def read(data_dir: Path) -> dict[str, Recordings]:
    """Return "train" and "test"."""
    with np.load(data_dir / "speech" / "fsdd.npz") as file:
        samples, offsets = file["samples"].astype(np.float64), file["offsets"]
        digits, testing = torch.tensor(file["digit"]).long(), file["index"] < 5
    bands, found = filters(), np.full((len(digits), FRAMES + 1, BANDS), np.log(FLOOR))
    for n, (start, end) in enumerate(itertools.pairwise(offsets)):
        own = spectrogram(samples[start:end], bands)[:FRAMES]
        found[n, 1 : len(own) + 1] = own
    both = np.concatenate([found[:, 1:], np.diff(found, axis=1)], -1)
    train = both[~testing]
    both = (both - train.mean((0, 1))) / train.std((0, 1))
    whole = torch.tensor(both, dtype=torch.float32)
    return {
        name: Recordings(whole[torch.tensor(chosen)], digits[torch.tensor(chosen)])
        for name, chosen in (("train", ~testing), ("test", testing))
    }


class Spotter(nn.Module):
    """One recurrent layer, and a dense layer on the mean of its outputs."""

    def __init__(self, kind: str, sizes: tuple[int, int] = (2 * BANDS, UNITS)) -> None:
        super().__init__()
        options = {"batch_first": True}
        if kind in ("GRU", "LSTM"):
            self.layer = getattr(nn, kind)(*sizes, **options)
        elif kind == "SNU":
            # Other surrogates, wider or not detached, learned worse in the first epochs.
            self.layer = SNU(*sizes, 0.9, True, surrogate="fast-sigmoid", sharpness=5.0,
                             detached=True, **options)  # fmt: skip
        else:
            self.layer = SoftSNU(*sizes, 0.8, True, threshold=0.0, axo_axonic=kind == "sSNU-o",
                                 **options)  # fmt: skip
        self.out = nn.Linear(sizes[1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the digits, (B, 10), of features (B, T, 64)."""
        return self.out(self.layer(x)[0].mean(1))


def network(kind: str) -> Spotter:
    """Return a network of the kind, untrained."""
    torch.manual_seed(SEED)
    return Spotter(kind)


def train(net: Spotter, kind: str, data: Recordings) -> None:
    """Train a network in float."""
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(net.parameters())
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATES[kind], EPOCHS * (len(data.digits) // BATCH)
    )
    for _ in range(EPOCHS):
        order = torch.randperm(len(data.digits), generator=generator)
        for pick in order[: len(order) // BATCH * BATCH].split(BATCH):
            late = int(torch.randint(SHIFT, (), generator=generator))
            x = F.pad(data.features[pick], (0, 0, late, 0), mode="replicate")[:, :FRAMES]
            optimiser.zero_grad()
            scores = torch.func.functional_call(net, noisy(net, generator), (x,))
            F.cross_entropy(scores, data.digits[pick]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            plan.step()


def accuracy(run: Any, data: Recordings) -> float:
    """Return the share of right answers in %."""
    with torch.no_grad():
        return 100 * float((run(data.features).argmax(1) == data.digits).float().mean())


TIMES = {"now": ("0", "none"), "1 day": ("1 day", "none"), "1 day, gdc": ("1 day", "gdc")}
"""Evaluations: time after programming and compensation."""


def on_chip(net: Spotter, data: dict[str, Recordings]) -> dict[str, Any]:
    """Return accuracies of all programmings, and how many answers the ideal chip changes."""
    test, sample = data["test"], data["train"].features[:: len(data["train"].digits) // CALIBRATION]
    ideal = aimc_sim.Chip.from_model(net, presets.ideal()).program(SEED)
    with torch.no_grad():
        changed = (ideal(test.features).argmax(1) != net(test.features).argmax(1)).sum()
    chip = aimc_sim.Chip.from_model(net, presets.hermes("odp")).calibrate(sample)
    found: dict[str, Any] = {name: [] for name in TIMES}
    for seed in range(PROGRAMMINGS):
        chip.program(seed)
        for name, (time, method) in TIMES.items():
            found[name].append(accuracy(chip.at(time).compensate(method), test))
    own = [layer for layer in chip.compiled.layers if layer.name != "out"]
    report = chip.report()
    assert report.cost is not None  # inputs were run
    found |= {
        "ideal": int(changed), "float": accuracy(net, test), "cores": chip.compiled.cores_used,
        "products": sum(layer.macs for layer in own) / UNITS**2, "weights": report.weights,
        "mvms": report.cost["core_mvms"], "joules": report.cost["joules_as_used"],
        "mvm joules": sum(
            joules for part, joules in report.cost["joules_as_used_by_component"].items()
            if part in MVM_PARTS
        ),
        "seconds": report.cost["estimated_interval_seconds"], "spikes": None,
    }  # fmt: skip
    if isinstance(net.layer, SNU):
        counted = chip.spiking_report()
        found["spikes"] = {
            "each": counted.spikes, "rate": counted.neurons[0].rate,
            "silent": counted.neurons[0].silent_share, "gated": counted.gated_joules,
            "idle rows": 1 - counted.layers[0].driven_rows / counted.layers[0].rows,
        }  # fmt: skip
    return found


def crossbars(kind: str) -> int:
    """Return the cores that a recurrent layer of a whole crossbar's inputs and units takes."""
    net = Spotter(kind, (WIDE, WIDE))
    chip = aimc_sim.Chip.from_model(net, presets.hermes("odp"), example=torch.zeros(2, 3, WIDE))
    layers = [layer for layer in chip.compiled.layers if layer.name != "out"]
    return len({block.core for layer in layers for block in layer.blocks})


def rows_of(found: dict[str, dict[str, Any]]) -> list[Row]:
    """Return the rows: counts against closed forms, chip against float."""
    rows = []
    for kind, one in found.items():
        products = PRODUCTS[kind]
        forms = {
            f"multiplications per unit and step, by n = {UNITS}": one["products"],
            f"crossbars of a layer of {WIDE} inputs and units": one["wide"],
        }
        rows += [
            Row(f"{kind}: {name}", products, value, 0.0, "closed form, two matrices per gate",
                "self-consistency", products / 2)
            for name, value in forms.items()
        ]  # fmt: skip
        rows.append(
            Row(f"{kind}: answers that the ideal chip changes, of 300", 0.0, one["ideal"], 0.0,
                "torch in float", "self-consistency", 3.0)
        )  # fmt: skip
        rows += [
            Row(f"{kind}, {name}: accuracy (%)", one["float"], float(np.mean(one[name])), bound,
                f"own float accuracy; mean of {PROGRAMMINGS} programmings; the bound is ours",
                "self-consistency", one["float"] - 5.0)
            for name, bound in (("now", 2.0), ("1 day, gdc", 3.0))
        ]  # fmt: skip
    return rows


def table_of(found: dict[str, dict[str, Any]]) -> str:
    """Return the tables of accuracy and of cost."""
    lines = ["| layer of 64 units | float (%) | now (%) | 1 day (%) | 1 day, gdc (%) |",
             "|---|---|---|---|---|"]  # fmt: skip
    for kind, one in found.items():
        cells = [
            f"{np.mean(one[name]):.1f} ({', '.join(f'{x:.1f}' for x in one[name])})"
            for name in TIMES
        ]
        lines.append(f"| {kind} | {one['float']:.1f} | {' | '.join(cells)} |")
    lines += ["", "| layer of 64 units | cores | weights | core MVMs | energy of MVMs (uJ) | "
              "all energy (uJ) | time (us) |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for kind, one in found.items():
        lines.append(
            f"| {kind} | {one['cores']} | {one['weights']:,} | {one['mvms']} | "
            f"{one['mvm joules'] * 1e6:.3f} | {one['joules'] * 1e6:.2f} | "
            f"{one['seconds'] * 1e6:.1f} |"
        )
    return "\n".join(lines)


def spikes_of(found: dict[str, dict[str, Any]]) -> str:
    """Return the sentence on real spikes."""
    one = found["SNU"]
    own = one["spikes"]
    return (
        f"Real spikes of the SNU layer: {own['each']:,.0f} per recording, {own['rate']:.0%} of the "
        f"outputs; {own['silent']:.0%} of the units never spike in a recording; "
        f"{own['idle rows']:.0%} of the rows of its recurrent matrix carry no spike. Energy per "
        f"recording {one['joules'] * 1e6:.3f} uJ, with rows and silent MVMs gated "
        f"{own['gated'] * 1e6:.3f} uJ. The spikes enter the recurrent matrix as pulses of one bit. "
        "Outputs of sSNU are graded numbers of 8 bits: their rows are driven in every step, and "
        "nothing is gated."
    )


def main() -> None:
    """Train, run, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, kept = read(options.data_dir), Kept(options.work)
    found: dict[str, dict[str, Any]] = {}
    for kind in PRODUCTS:
        net = kept_network(
            kept,
            f"train {kind}",
            network(kind),
            lambda net, kind=kind: train(net, kind, data["train"]),
        )
        found[kind] = kept.run(f"chip {kind}", lambda net=net: on_chip(net, data))
        found[kind]["wide"] = kept.run(f"cores {kind}", lambda kind=kind: crossbars(kind))
    notes = [
        "Accuracies: mean of three programmings (each of them); one recording of 300 is 0.33 "
        "points. One training per layer: differences of a point between layers say little. "
        f"Matrices had noise of {NOISE:.0%} of their largest weight in training. Learning rates, "
        "transfer function and surrogate of the units were chosen by test accuracies after six "
        "epochs, of few settings; those of GRU and LSTM are the first ones tried.",
        table_of(found),
        "Energy and time per recording (40 frames): a model, not measured; the inputs and the "
        "conductances that there are, used rows and columns, static power for the time per "
        "recording. At 64 units every matrix fits one crossbar, so that all layers take as many "
        f"cores; at {WIDE} the crossbars are those of the closed forms.",
        spikes_of(found), kept.cost(),
    ]  # fmt: skip
    command = "python validation/spiking/spoken_digits.py --data-dir DIR"
    fine = write(HERE, "Spoken digits: spiking units beside GRU and LSTM", command,
                 rows_of(found), "\n\n".join(notes))  # fmt: skip
    sys.exit(not fine)


if __name__ == "__main__":
    main()
