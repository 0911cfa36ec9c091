"""A recurrent network on the chip: a digit that is read line by line.

You learn that the weights of an LSTM lie on crossbars, that gates and state are computed in the
digital unit, and that whole sequences, sequences of different lengths and a stream of single lines
give the same numbers bit by bit. Prints where the layers lie, the checks and what a digit costs;
draws ``lstm.png``: how early the chip knows the digit.

Run it: ``python examples/05_lstm.py`` (a minute; ``--quick``: less training).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import aimc_sim
from aimc_sim.figures.canvas import look
from aimc_sim.zoo import digits


class Reader(nn.Module):
    """Lines of a digit (N, T, 8) to scores after every line (N, T, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.dense = nn.LSTM(8, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, lines):
        """Return the scores; the outputs of the LSTM are read, its last state is not."""
        return self.dense(self.lstm(lines)[0])


def lines(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as (N, 8, 8), and the label of every line."""
    data = digits(split)
    return F.avg_pool2d(data.images[:, 0], 4), data.labels[:, None].expand(-1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="less training")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # layers are small: more threads would wait for each other
    torch.manual_seed(0)

    (x, y), (test, labels), reader = lines("train"), lines("test"), Reader()
    optimizer = torch.optim.Adam(reader.parameters(), lr=5e-3)
    for _ in range(4 if options.quick else 30):
        for batch in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(reader(x[batch]).transpose(1, 2), y[batch]).backward()
            optimizer.step()

    chip = aimc_sim.Chip.from_model(reader, aimc_sim.presets.hermes("odp"))
    print(aimc_sim.Chip.explain(reader, chip.spec))
    chip.calibrate(x[:256]).program(seed=0)
    whole = chip(test, first_image=0)  # the noise belongs to the image and the line
    cost = [line for line in str(chip.report()).splitlines() if line[:4] in ("MVMs", "pipe")]

    stream = chip.stream(first_image=0)  # one line after the other; the state stays
    pieces = torch.cat([stream(test[:, t : t + 1]) for t in range(8)], dim=1)
    print(f"\nstreamed line by line equals the whole digit: {torch.equal(whole, pieces)}")

    lengths = (8, 6, 7)
    packed = pack_sequence([test[i, :n] for i, n in enumerate(lengths)], enforce_sorted=False)
    padded, _ = pad_packed_sequence(chip(packed, first_image=0), batch_first=True)
    same = all(torch.equal(padded[i, :n], whole[i, :n]) for i, n in enumerate(lengths))
    print(f"packed digits of {lengths} lines equal the same lines: {same}\n")
    print("\n".join(cost))

    runs = {"torch": reader(test).detach(), "chip, now": whole}
    runs["chip, 30 d, compensated"] = chip.at("30 d").compensate("gdc")(test)
    fig, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
    print("\nright after all 8 lines:")
    for number, (name, scores) in enumerate(runs.items()):
        right = (scores.argmax(2) == labels).float().mean(0)
        print(f"  {name:24} {right[-1]:6.1%}")
        axis.plot(range(1, 9), 100 * right, label=name, **look(number, number).line())
    axis.set(xlabel="lines of the digit that were read", ylabel="classified correctly (%)")
    axis.legend(frameon=False)
    fig.savefig(options.out / "lstm.png", dpi=150)
    print(f"wrote {options.out / 'lstm.png'}")


if __name__ == "__main__":
    main()
