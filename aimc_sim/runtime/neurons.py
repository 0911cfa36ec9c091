"""Spiking neurons in one compiled pass over all time steps, in whatever order memory has them.

Neurons behind a layer read sums that are there for all time steps, so that only their states go
from step to step. Step by step, in arrays, an addition costs ten passes over memory; here a neuron
takes all its operations where its state is. The bits are those of
:func:`aimc_sim.chip.membranes.step`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..chip import membranes
from ..core.quantise import Quantiser
from ..digital.cells import State
from ..kernels import membranes as kernel
from ..spec.gdpu import GdpuSpec
from .calls import LoopCall

_RESETS = {"zero": kernel.ZERO, "subtract": kernel.SUBTRACT, "none": kernel.NONE}


@dataclass(frozen=True, eq=False)
class Neurons:
    """Arguments of the kernel for a layer of neurons.

    Attributes
    ----------
    threshold : (units,) or () float32
        theta, halves.
    registers : (3,) float32
        As :func:`aimc_sim.kernels.membranes.run` takes them.
    reset, transfer : int
        Likewise.
    delayed : bool
        Whether the reset acts in the next step.
    """

    threshold: np.ndarray
    registers: np.ndarray
    reset: int
    delayed: bool
    transfer: int

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the spikes of all time steps and the state after the last one.

        Parameters
        ----------
        inputs : (B, T, ...) float32, codes
            Sums of the inputs, on the processor.
        state : (tensor, tensor)
            Spikes of the step before, in codes, and s, (B, ...) float32 each.

        Returns
        -------
        (B, T, ...) float32 tensor, (tensor, tensor)
            Spikes, in the order in memory of the inputs, and the state.
        """
        order = in_memory(inputs)
        if order is None or (self.threshold.size > 1 and order[-1] != inputs.ndim - 1):
            inputs, order = inputs.contiguous(), tuple(range(inputs.ndim))
        dense = inputs.permute(order)
        place = order.index(1)
        sizes = (math.prod(dense.shape[:place]), inputs.shape[1],
                 math.prod(dense.shape[place + 1 :]))  # fmt: skip
        # Of the state, which has no time: its dimensions in the same order.
        own = tuple(k - (k > 1) for k in order if k != 1)
        sent, cell = (
            np.array(part.permute(own).numpy(), np.float32, order="C").reshape(sizes[0], sizes[2])
            for part in state
        )
        outputs = np.empty(sizes, np.float32)
        kernel.run(
            dense.numpy().reshape(sizes), cell, sent,
            np.tile(self.threshold.reshape(-1), sizes[2] // self.threshold.size),
            self.registers, self.reset, self.delayed, self.transfer, outputs,
        )  # fmt: skip
        after = tuple(dense.shape[:place]) + tuple(dense.shape[place + 1 :])
        back, whole = np.argsort(own).tolist(), np.argsort(order).tolist()
        codes, s = (torch.from_numpy(part).view(after).permute(back) for part in (sent, cell))
        return torch.from_numpy(outputs).view(dense.shape).permute(whole), (codes, s)


def in_memory(x: Tensor) -> tuple[int, ...] | None:
    """Return the dimensions of a tensor in the order in which memory has them, largest step first.

    None where numbers lie apart, or several elements share one.
    """
    strides = x.stride()
    order = tuple(sorted(range(x.ndim), key=lambda k: (-strides[k], -x.shape[k], k)))
    return order if x.permute(order).is_contiguous() else None


def prepare(call: LoopCall, quantisers: Mapping[str, Quantiser], unit: GdpuSpec) -> Neurons | None:
    """Return a layer of spiking neurons for the compiled pass, or None where it takes another path.

    That is: outputs that come back as inputs, that are no spikes, or that inhibit the whole layer;
    an axo-somatic state; and digital units that compute in float32.
    """
    step = call.step
    if step.op != "spiking" or call.hidden is not None or step.attrs["reverse"]:
        return None
    neuron = step.attrs["neuron"]
    if (
        not membranes.binary(neuron) or neuron["inhibition"] or neuron["adaptation"] is not None
        or not unit.bit_true or quantisers[step.name].step != 1.0
    ):  # fmt: skip
        return None
    first = quantisers[step.sources[0]]
    loaded = membranes.registers(neuron, step.arrays["threshold"], None, first.step, 1.0, 1.0, unit)
    slope = membranes.slope(neuron, unit)
    return Neurons(
        loaded.threshold,
        np.array([loaded.input_scale, loaded.decay, slope], np.float32),
        _RESETS[neuron["reset"]],
        neuron["delayed"],
        kernel.IDENTITY if neuron["transfer"] == "identity" else kernel.RECTIFIED,
    )
