"""Networks trained with noise on their matrices, step by step; trained networks as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from kept import Kept
from torch import Tensor, nn
from torch.nn import functional as F

NOISE = 0.05
"""Standard deviation of the noise on a matrix, as a share of its largest weight."""


def noisy(
    net: nn.Module, generator: torch.Generator, noise: float = NOISE
) -> dict[str, Tensor]:  # fmt: skip
    """Return the parameters of a network, matrices with Gaussian noise, for ``functional_call``."""
    return {
        name: one if one.ndim < 2 else one + noise * one.detach().abs().max()
        * torch.randn(one.shape, generator=generator)
        for name, one in net.named_parameters()
    }  # fmt: skip


def kept_network(
    kept: Kept, name: str, untrained: nn.Module, train: Callable[[nn.Module], Any]
) -> nn.Module:
    """Return a trained network: a kept one, or ``untrained`` after ``train``."""

    def run() -> dict[str, list]:
        train(untrained)
        return {path: one.tolist() for path, one in untrained.state_dict().items()}

    state = {path: torch.tensor(values) for path, values in kept.run(name, run).items()}
    untrained.load_state_dict(state)
    return untrained.eval()


@dataclass(frozen=True)
class Course:
    """Training by steps: Adam, one cycle of its rate, noise on the matrices.

    Attributes
    ----------
    steps : int
        How many.
    rate : float
        Largest learning rate.
    batch : callable
        Inputs and classes of a batch, of the generator that all steps share.
    score : callable
        A number for the learning curve, of the network in evaluation.
    every : int
        Steps between two scores; the state is kept as often.
    noise : float
        On the matrices, share of the largest weight.
    settled : bool
        Whether batch norms keep their statistics: in place of those of a batch, which would take
        out what the noise adds to all its sums, as they cannot on devices.
    """

    steps: int
    rate: float
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    score: Callable[[nn.Module], Any]
    every: int = 100
    noise: float = NOISE
    settled: bool = False


def by_steps(net: nn.Module, course: Course, path: Path | None) -> dict[str, Any]:
    """Train a network; a run that was stopped goes on from the state in a file.

    Returns
    -------
    dict
        "curve", a list of (steps, score); "seconds" of processor time, those of stopped runs
        included.
    """
    draw, start = torch.Generator().manual_seed(0), time.process_time()
    optimiser = torch.optim.Adam(net.parameters())
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, course.rate, course.steps)
    parts = {"net": net, "optimiser": optimiser, "plan": plan}
    done: dict[str, Any] = {"curve": [], "seconds": 0.0}
    if path is not None and path.exists():
        kept = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        draw.set_state(kept["draw"])
        done = kept["done"]
    first = done["curve"][-1][0] if done["curve"] else 0
    for step in range(first + 1, course.steps + 1):
        net.train()
        for part in net.modules():
            if course.settled and isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.eval()
        inputs, classes = course.batch(draw)
        optimiser.zero_grad()
        scores = torch.func.functional_call(net, noisy(net, draw, course.noise), (inputs,))
        F.cross_entropy(scores, classes).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        plan.step()
        if step % course.every and step < course.steps:
            continue
        with torch.no_grad():
            done["curve"].append([step, course.score(net.eval())])
        print(*done["curve"][-1], flush=True)
        if path is not None:
            now = done | {"seconds": done["seconds"] + time.process_time() - start}
            states = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**states, "draw": draw.get_state(), "done": now}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
    done["seconds"] += time.process_time() - start
    return done


def course_of(
    kept: Kept, name: str, untrained: nn.Module, course: Course
) -> tuple[nn.Module, list[list]]:
    """Return a network that was trained by steps, kept or now, and its learning curve."""
    folder = kept.folder
    path = None if folder is None else folder / f"{name}.pt"

    def run() -> dict[str, Any]:
        done = by_steps(untrained, course, path)
        return {**done, "state": {k: one.tolist() for k, one in untrained.state_dict().items()}}

    found = kept.run(name, run)
    kept.seconds[name] = found["seconds"]
    untrained.load_state_dict({k: torch.tensor(one) for k, one in found["state"].items()})
    return untrained.eval(), found["curve"]
