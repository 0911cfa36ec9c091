"""The course of a training: accuracy and pulses after every epoch, weights, drift afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aimc_sim.learning.learning_report import classes
from aimc_sim.learning.network import ArrayNetwork
from aimc_sim.learning.optimizer import SGD

_BINS = 41
_AT_ONCE = 500


@dataclass(frozen=True)
class TrainingData:
    """Inputs and their classes.

    Attributes
    ----------
    inputs : (N, ...) tensor
        As the network takes them.
    labels : (N,) int64 tensor
        Classes.
    """

    inputs: Tensor
    labels: Tensor


@dataclass
class TrainingCourse:
    """The record of a training on arrays, and in float beside it.

    Attributes
    ----------
    accuracy, float_accuracy : list of float
        Share of right test answers: at the start and after every epoch.
    pulses_per_device : list of float
        Pulses so far per device, at the same times.
    write_classes, writes : list
        Classes of writes per device, and devices in each.
    weight_edges : list of float
        Edges of the bins of weights, dimensionless.
    weights_before, weights_after : list of int
        Weights in each bin.
    times_seconds : list of float, seconds
        Evaluation times after the training.
    drifted : dict of str to list of float
        Accuracies at these times by drift compensation.
    report : dict
        Of :meth:`ArrayNetwork.report`.
    """

    accuracy: list[float] = field(default_factory=list)
    float_accuracy: list[float] = field(default_factory=list)
    pulses_per_device: list[float] = field(default_factory=list)
    write_classes: list[str] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    weight_edges: list[float] = field(default_factory=list)
    weights_before: list[int] = field(default_factory=list)
    weights_after: list[int] = field(default_factory=list)
    times_seconds: list[float] = field(default_factory=list)
    drifted: dict[str, list[float]] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, texts and lists, in SI units."""
        return asdict(self)


def train(
    model: nn.Module, net: ArrayNetwork, data: TrainingData, test: TrainingData, *, epochs: int,
    batch: int, rate: float, seed: int, times: Sequence[float] = (),
    told: Callable[[str], None] = lambda text: None,
) -> TrainingCourse:  # fmt: skip
    """Train a network on arrays and a copy in float with the same batches.

    Parameters
    ----------
    model : nn.Module
        The network in float; a copy is trained.
    net : ArrayNetwork
        Prepared from it; trained in place.
    data, test : TrainingData
        Training and test set.
    epochs, batch : int
        Passes over the training set; vectors of a step.
    rate : float
        Learning rate of both; the loss is the mean cross entropy.
    seed : int
        Of the order of the batches.
    times : sequence of float, seconds
        Evaluation times of the chip after training; none: no chip is made.
    told : callable
        Gets a line after every epoch.

    Returns
    -------
    TrainingCourse

    Raises
    ------
    ValueError
        Before the training, if a step takes more vectors than there are, or if there are times and
        the devices have no chip.
    """
    if not 0 < batch <= len(data.labels):
        raise ValueError(f"batch = {batch} with {len(data.labels)} vectors: wanted 1 to as many")
    if times:
        net.to_chip(example=data.inputs[:1])
    course, plain = TrainingCourse(), copy.deepcopy(model)
    own = SGD(net.parameters(), lr=rate)
    other = torch.optim.SGD(plain.parameters(), lr=rate)
    before = _weights(net)
    generator = torch.Generator().manual_seed(seed)
    _note(course, net, plain, test)
    for epoch in range(epochs):
        order = torch.randperm(len(data.labels), generator=generator)
        whole = order[: len(order) // batch * batch]  # a last step of few would be a loud one
        for pick in whole.split(batch):
            for network, optimizer in ((net, own), (plain, other)):
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(data.inputs[pick]), data.labels[pick])
                loss.backward()
                optimizer.step()
        _note(course, net, plain, test)
        told(
            f"epoch {epoch + 1}: {course.accuracy[-1]:.1%} on arrays, "
            f"{course.float_accuracy[-1]:.1%} in float, "
            f"{course.pulses_per_device[-1]:.2f} pulses per device"
        )
    report = net.report()
    course.report = report.to_dict()
    course.write_classes = list(classes())
    course.writes = [
        sum(counts) for counts in zip(*(row.writes for row in report.layers), strict=True)
    ]
    _histogram(course, before, _weights(net))
    if times:
        _drift(course, net, data, test, times)
    return course


def accuracy(network: Callable[[Tensor], Tensor], test: TrainingData) -> float:
    """Return the share of right answers.

    Parameters
    ----------
    network : callable
        A network or a chip.
    test : TrainingData
        Test set.
    """
    right = 0
    with torch.no_grad():
        for x, y in zip(test.inputs.split(_AT_ONCE), test.labels.split(_AT_ONCE), strict=True):
            right += int((network(x).argmax(1) == y).sum())
    return right / len(test.labels)


def _note(course: TrainingCourse, net: ArrayNetwork, plain: nn.Module, test: TrainingData) -> None:
    for network, found in ((net, course.accuracy), (plain, course.float_accuracy)):
        network.eval()
        found.append(accuracy(network, test))
        network.train()
    report = net.report()
    course.pulses_per_device.append(report.pulses / sum(row.devices for row in report.layers))


def _weights(net: ArrayNetwork) -> np.ndarray:
    return np.concatenate([layer.array.weights().ravel() for _, layer in net.layers()])


def _histogram(course: TrainingCourse, before: np.ndarray, after: np.ndarray) -> None:
    largest = float(max(np.abs(before).max(), np.abs(after).max(), 1e-12))
    edges = np.linspace(-largest, largest, _BINS + 1)
    course.weight_edges = edges.tolist()
    course.weights_before = np.histogram(before, edges)[0].tolist()
    course.weights_after = np.histogram(after, edges)[0].tolist()


def _drift(
    course: TrainingCourse, net: ArrayNetwork, data: TrainingData, test: TrainingData,
    times: Sequence[float],
) -> None:  # fmt: skip
    chip = net.eval().to_chip().calibrate(data.inputs[:_AT_ONCE])
    course.times_seconds = [float(t) for t in times]
    for method in ("none", "gdc"):
        course.drifted[method] = [
            accuracy(chip.at(t).compensate(method), test) for t in course.times_seconds
        ]
    net.train()
