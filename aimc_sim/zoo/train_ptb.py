"""Train the character LSTM: ``python -m aimc_sim.zoo.train_ptb --data DIR --out PATH``.

Writes the weights to ``--out`` and a record of the training beside it. The validation text serves
the curve, the test text is read once at the end: the last epoch is kept whatever their scores.
After each epoch everything is saved in ``OUT.checkpoint``; the same command goes on from there.

``--hardware-aware FLOAT.pt`` fine-tunes trained float weights for a chip instead (see
:mod:`aimc_sim.zoo.aware`), without dropout; plain weights are written, clipped.

Two schedules: ``short`` (a few epochs, smaller batches and less dropout, since so short a training
does not overfit) and ``paper``, the chip paper's 200 epochs (Adam, rate 0.01 divided by ten every
50 epochs, batch 128, sequences of 150, gradient norm 5, dropout 0.25). Both carry the state from
one sequence to the next; where the paper puts its dropout is not printed, here it acts on the
LSTM's outputs.

``--unit ssnu`` or ``ssnu-o`` trains soft spiking units in the place of the LSTM
(:mod:`aimc_sim.zoo.spiking_text`), on the same schedules but for the rate of the short one.
``--start FLOAT.pt`` begins with trained weights in the place of drawn ones; its record goes into
the new one.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.training import finalize
from aimc_sim.zoo.aware import OPTIONS, Aware
from aimc_sim.zoo.paper_lstm import CharLSTM, char_lstm
from aimc_sim.zoo.spiking_text import CharUnits, char_units
from aimc_sim.zoo.text import Text, ptb_characters
from aimc_sim.zoo.training import (
    EpochRow,
    add_precision,
    checkpoint_of,
    chosen_precision,
    epoch_generator,
    half,
    one_cycle,
    run_epochs,
    save,
    set_rate,
    write_record,
)

_LARGEST_NORM = 5.0
"""Of the gradient (chip paper, Methods)."""
CharNetwork = CharLSTM | CharUnits
"""A network that is trained here."""

UNITS: dict[str, Callable[..., CharNetwork]] = {
    "lstm": char_lstm,
    "ssnu": partial(char_units, axo_axonic=False),
    "ssnu-o": partial(char_units, axo_axonic=True),
}
"""How the network of each kind of unit is built."""

RATES = {"ssnu": 0.01, "ssnu-o": 0.01}
"""Largest learning rate of the short schedule, where it is not the LSTM's. Trials of 150 steps,
sSNU-o of 256 units: 2.65 bits per character at 0.01, 2.52 at 0.02; with recurrent matrices four
times as large 2.81 at 0.004, 2.63 at 0.01."""

HALF_COST = 0.001
"""Bits per character that rounding to float16 may cost; if more, float32 is written."""


@dataclass(frozen=True)
class PtbRecipe:
    """The settings of a training, besides the seed.

    Attributes
    ----------
    epochs, batch, length : int
        Number of epochs; a step has ``batch`` sequences of ``length`` characters.
    rate : float
        Largest learning rate of Adam.
    warm_up : float or None
        Epochs of linear rise before a cosine to zero; None: a tenth after each ``step_epochs``.
    step_epochs : int
        Epochs after which the rate is divided by ten, without ``warm_up``.
    dropout : float
        Share of the layer's outputs that is left out in training.
    precision : {"bfloat16", "float32"}
        Number format of the matrix products in training; evaluation is float32.
    """

    epochs: int
    batch: int = 128
    length: int = 150
    rate: float = 0.01
    warm_up: float | None = None
    step_epochs: int = 50
    dropout: float = 0.25
    precision: str = "float32"


SCHEDULES = {
    "short": PtbRecipe(epochs=7, batch=32, length=75, rate=0.004, warm_up=0.3, dropout=0.05),
    "paper": PtbRecipe(epochs=200),
}
AWARE = {
    "short": PtbRecipe(epochs=3, batch=32, length=75, rate=0.001, warm_up=0.3, dropout=0.0),
    "paper": PtbRecipe(epochs=200, dropout=0.0),
}
"""Recipe of the hardware-aware phase; how long the paper's was is not printed."""


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ptb.char.*.txt")
    parser.add_argument("--out", type=Path, required=True, help="file of the weights (.pt)")
    parser.add_argument("--unit", choices=tuple(UNITS), default="lstm")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), default="short")
    parser.add_argument("--epochs", type=int, help="at least 1; default: of the schedule")
    parser.add_argument("--rate", type=float, help="largest one; default: of the schedule")
    parser.add_argument("--start", type=Path, metavar="FLOAT", help="weights to begin with")
    parser.add_argument("--seed", type=int, default=1)
    add_precision(parser)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--hardware-aware", type=Path, metavar="FLOAT", help="weights to fine-tune")
    parser.add_argument("--chip", default="hermes-tdp", help="preset for --hardware-aware")
    options = parser.parse_args()
    recipe, aware, unit = SCHEDULES[options.schedule], None, options.unit
    if unit != "lstm":
        if options.hardware_aware is not None or options.precision == "bfloat16":
            parser.error(f"--unit {unit}: trained in float32 and without a chip; drop the option")
        options.precision = "float32"
        if options.schedule == "short":
            recipe = replace(recipe, rate=RATES[unit])
    if options.start is not None and options.hardware_aware is not None:
        parser.error("--start and --hardware-aware both name first weights; give one of them")
    if options.hardware_aware is not None:
        recipe, effects = AWARE[options.schedule], OPTIONS["ptb", options.schedule]
        aware = Aware(options.hardware_aware, options.chip, effects)
    recipe = replace(recipe, precision=chosen_precision(parser, options.precision))
    if options.epochs is not None:
        if options.epochs < 1:
            parser.error(f"--epochs {options.epochs}: wanted at least 1")
        recipe = replace(recipe, epochs=options.epochs)
    if options.rate is not None:
        if not 0 < options.rate < math.inf:
            parser.error(f"--rate {options.rate:g}: wanted a number above 0")
        recipe = replace(recipe, rate=options.rate)
    torch.set_num_threads(options.threads)
    texts = {split: ptb_characters(options.data, split) for split in ("train", "valid", "test")}
    network, curve = train(
        recipe, options.seed, texts["train"], texts["valid"], options.out, aware, unit,
        options.start,
    )  # fmt: skip
    command = (
        f"python -m aimc_sim.zoo.train_ptb --data DIR --out {options.out.name} "
        + (f"--unit {unit} " if unit != "lstm" else "")
        + f"--schedule {options.schedule} --epochs {recipe.epochs} "
        + (f"--rate {recipe.rate:g} " if options.rate is not None else "")
        + (f"--start {options.start.name} " if options.start is not None else "")
        + f"--seed {options.seed} "
        f"--precision {recipe.precision} --threads {options.threads}"
        + (f" --hardware-aware {aware.start.name} --chip {aware.preset}" if aware else "")
    )
    run = {"command": command, "seed": options.seed, **asdict(recipe)}
    if options.start is not None:
        run["start"] = {"weights": options.start.name, "record": _record(options.start)}
    run |= aware.told() if aware else {}
    export(network, run, curve, texts["test"], options.out, unit)


def bits_per_character(network: CharNetwork, text: Text, streams: int = 1) -> float:
    """Return the mean of -log2 of the probability of each next character.

    Parameters
    ----------
    network : CharLSTM or CharUnits
    text : Text
        At least ``2 streams`` characters.
    streams : int
        Parts of equal length that are read side by side (the rest is left out); the state is
        carried through each, from zero at its start. 1 reads the whole text in one.

    Returns
    -------
    float
        Bits per character.
    """
    inputs, targets = _streams(text.tokens, streams)
    total, state = 0.0, None
    with torch.inference_mode():
        for x, y in zip(torch.split(inputs, 500, 1), torch.split(targets, 500, 1), strict=True):
            scores, state = network(x, state)
            total += F.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / targets.numel() / math.log(2)


def train(
    recipe: PtbRecipe,
    seed: int,
    train_text: Text,
    valid_text: Text,
    out: Path,
    aware: Aware | None = None,
    unit: str = "lstm",
    start: Path | None = None,
) -> tuple[CharNetwork, list[EpochRow]]:
    """Return the network after the last epoch (evaluation mode), and one row an epoch.

    Parameters
    ----------
    recipe : PtbRecipe
        Settings of the training.
    seed : int
        Seed of the first weights, the embedding, and the outputs left out.
    train_text, valid_text : Text
        Texts; the validation text is for the curve only.
    out : path
        File of the weights; the checkpoint is ``OUT.checkpoint``.
    aware : Aware, optional
        Phase that fine-tunes float weights for a chip; its noise has the seed as well.
    unit : str
        A key of :data:`UNITS`.
    start : path, optional
        File of the first weights, in float; None: they are drawn.

    Raises
    ------
    ValueError
        If the training text is shorter than one step, or the checkpoint belongs to another
        training.
    """
    if len(train_text) <= recipe.batch * recipe.length:
        raise ValueError(
            f"{len(train_text)} characters of '{train_text.name}': wanted more than one step of "
            f"{recipe.batch} x {recipe.length}; give a longer text"
        )
    network = UNITS[unit](aware.start if aware else start)
    if aware is not None:
        network = aware.prepared(network, seed)
    elif start is None:
        network.redraw(seed)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.rate)

    def one_epoch(epoch: int) -> EpochRow:
        bits = _one_epoch(network, optimizer, train_text, recipe, epoch, seed)
        streams = min(64, 1 + len(valid_text) // 1000)  # each long enough to start cold
        valid = bits_per_character(network.eval(), valid_text, streams)
        return {"train_bits": round(bits, 4), "valid_bits": round(valid, 4)}

    run = {"seed": seed, "characters": len(train_text), **asdict(recipe)}
    run |= {"unit": unit} if unit != "lstm" else {}
    run |= {"start": start.name} if start else {}
    run |= aware.told() if aware else {}
    curve = run_epochs(one_epoch, network, optimizer, run, checkpoint_of(out))
    return (finalize(network) if aware else network).eval(), curve


def export(
    network: CharNetwork, run: dict[str, Any], curve: list[EpochRow], test_text: Text, out: Path,
    unit: str = "lstm",
) -> None:  # fmt: skip
    """Write the weights, in float16 unless that costs bits, and the record; remove the checkpoint.

    Both precisions are compared on ``test_text``, read in one with the state carried.

    Parameters
    ----------
    network : CharLSTM or CharUnits
        The trained network, in evaluation mode.
    run : dict
        Entries of the record besides the scores: the command, the seed and the recipe.
    curve : list of dict
        One row an epoch.
    test_text : Text
        Text of the final score.
    out : path
        File of the weights.
    unit : str
        A key of :data:`UNITS`.
    """
    full = network.state_dict()
    rounded = half(full)
    scores = {}
    for precision, state in (("float32", full), ("float16", rounded)):
        save(state, out)
        scores[precision] = bits_per_character(UNITS[unit](out), test_text)
    kept = "float16" if scores["float16"] <= scores["float32"] + HALF_COST else "float32"
    save(rounded if kept == "float16" else full, out)
    record = {
        **run,
        "largest_gradient_norm": _LARGEST_NORM,
        "torch": torch.__version__,
        "stored_as": kept,
        "test_bits_per_character": round(scores[kept], 5),
        "test_bits_per_character_float32": round(scores["float32"], 5),
        "test_characters": len(test_text) - 1,
        "seconds": round(sum(row["seconds"] for row in curve), 1),
    }
    write_record(record, curve, out)
    checkpoint_of(out).unlink(missing_ok=True)
    print(f"{out.name}: {out.stat().st_size} bytes, {kept}, test {scores[kept]:.4f} bits")


def _record(weights: Path) -> dict[str, Any] | None:
    """Return the record of a training, None where there is none beside the weights."""
    path = weights.with_suffix(".json")
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _streams(tokens: Tensor, streams: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, each (streams, L): every target is the next input."""
    length = (len(tokens) - 1) // streams
    inputs, targets = tokens[: streams * length], tokens[1 : streams * length + 1]
    return inputs.view(streams, length), targets.view(streams, length)


def _one_epoch(
    network: CharNetwork,
    optimizer: torch.optim.Optimizer,
    text: Text,
    recipe: PtbRecipe,
    epoch: int,
    seed: int,
) -> float:
    """Return the mean training loss in bits; sequences follow one another in each stream."""
    generator = epoch_generator(seed, epoch)
    inputs, targets = _streams(text.tokens, recipe.batch)
    whole = inputs.shape[1] // recipe.length * recipe.length
    pairs = zip(
        torch.split(inputs[:, :whole], recipe.length, 1),
        torch.split(targets[:, :whole], recipe.length, 1),
        strict=True,
    )  # fmt: skip
    network.train()
    total, steps = 0.0, whole // recipe.length
    state: Any = None  # of either network
    for step, (x, y) in enumerate(pairs):
        set_rate(optimizer, rate(recipe, epoch + (step + 1) / steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outputs, state = network.hidden(x, state)
            kept = torch.empty_like(outputs).bernoulli_(1 - recipe.dropout, generator=generator)
            scores = network.dense(outputs * kept / (1 - recipe.dropout))
        state = tuple(part.detach() for part in state)
        loss = F.cross_entropy(scores.float().flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_NORM)
        optimizer.step()
        total += loss.item()
    return total / steps / math.log(2)


def rate(recipe: PtbRecipe, progress: float) -> float:
    """Return the learning rate after ``progress`` epochs."""
    if recipe.warm_up is not None:
        return one_cycle(progress, recipe.epochs, recipe.rate, recipe.warm_up)
    # The last step of an epoch still belongs to it.
    return recipe.rate * 0.1 ** ((math.ceil(progress) - 1) // recipe.step_epochs)


if __name__ == "__main__":
    main()
