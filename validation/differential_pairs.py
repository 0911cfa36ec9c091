"""A perceptron on arrays of differential pairs of 25 uS devices, and what it answers.

The device level of the simulator only: no crossbar size, no converters. A layer is one array of
(inputs + 1) x outputs pairs, its bias the row of an input that is always 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from aimc_sim import presets
from aimc_sim.device import pcm
from aimc_sim.device.family import Address
from aimc_sim.rng import Key
from aimc_sim.spec import PcmSpec


@dataclass(frozen=True)
class Array:
    """One programmed layer: the differential pairs of an (inputs + 1, outputs) matrix.

    Attributes
    ----------
    state : PcmState
        Devices (2, R, C), the positive polarity first.
    siemens_per_weight : float
    spec : PcmSpec
    key : Key
    """

    state: pcm.PcmState
    siemens_per_weight: float
    spec: PcmSpec
    key: Key

    @property
    def address(self) -> Address:
        """Columns and cells of this array."""
        _, rows, cols = self.state.target.shape
        return cols, rows * cols

    def at(self, t_seconds: float) -> np.ndarray:
        """Return the conductances (2, R, C) float64 in siemens, read noise included."""
        now = pcm.evaluate(self.state, self.spec, t_seconds, self.address, self.key)
        if now.fresh is not None:
            raise ValueError("a part of the read noise is missing; use read_noise.band = 'frozen'")
        return now.g.astype(np.float64)


def array_spec() -> PcmSpec:
    """Return the 25 uS device with all its read noise in the conductances."""
    return presets.pcm_25_microsiemens().with_({"read_noise.band": "frozen"})


def program_array(matrix: np.ndarray, spec: PcmSpec, key: Key) -> Array:
    """Program ``G+ = s max(0, W)`` and ``G- = s max(0, -W)``, the largest weight at g_max."""
    scale = spec.g_max_siemens / np.abs(matrix).max()
    target = np.float32(np.stack([np.maximum(matrix, 0), np.maximum(-matrix, 0)]) * scale)
    target = np.minimum(target, np.float32(spec.g_max_siemens))
    _, rows, cols = target.shape
    programmed = np.ones(target.shape, bool)
    state = pcm.program(target, programmed, spec, (cols, rows * cols), key)
    return Array(state, scale, spec, key)


def program_network(model: nn.Sequential, seed: int) -> list[Array]:
    """Program every layer of a network on the 25 uS devices."""
    spec = array_spec()
    return [program_array(m, spec, Key(seed, (i,))) for i, m in enumerate(matrices(model))]


def matrices(model: nn.Sequential) -> list[np.ndarray]:
    """Return the (inputs + 1, outputs) float64 matrices of the layers, the bias as last row."""
    return [
        torch.cat([layer.weight.T, layer.bias[None]]).detach().numpy().astype(np.float64)
        for layer in model
        if isinstance(layer, nn.Linear)
    ]


def states(arrays: Sequence[Array]) -> np.ndarray:
    """Return the targets of all devices, x = G / 25 uS, (n,) float64."""
    return np.concatenate(
        [a.state.target.astype(float).ravel() / a.spec.g_max_siemens for a in arrays]
    )


def conductances(arrays: Sequence[Array], t_seconds: float) -> np.ndarray:
    """Return the conductances of all devices in siemens, (n,) float64."""
    return np.concatenate([array.at(t_seconds).ravel() for array in arrays])


def classify(
    arrays: Sequence[Array], images: np.ndarray, t_seconds: float, gdc: bool
) -> np.ndarray:
    """Return the (N,) classes of images (N, inputs) in float arithmetic on the conductances.

    The global drift compensation scales a layer by the total current of its devices at one
    voltage, at time 0 over now.
    """
    y = images
    for number, array in enumerate(arrays):
        g = array.at(t_seconds)
        factor = array.at(0.0).sum() / g.sum() if gdc and t_seconds else 1.0
        weight = (g[0] - g[1]) * (factor / array.siemens_per_weight)
        y = y @ weight[:-1] + weight[-1]
        if number < len(arrays) - 1:
            y = np.maximum(y, 0)
    return y.argmax(axis=1)
