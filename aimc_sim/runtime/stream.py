"""Sequences piece by piece: the state stays with the runner, draws belong to time steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from ..chip.program import AnalogLayer, DigitalStep, Program
from ..machine import settings
from ..ops import OPERATIONS, RECURRENT
from .images import as_inputs
from .recurrent import Span


@settings.own_methods
class Stream:
    """Runs a recurrent network on the time steps that come next.

    Made by :meth:`aimc_sim.Chip.stream`. Images keep their numbers for all pieces, and the noise of
    an MVM belongs to its image and time step: pieces give, together, the very bits that the whole
    sequence gives.
    """

    def __init__(self, compiled: Program, run: Callable[..., Any], first_image: int) -> None:
        check(compiled)
        self.compiled, self.first_image, self._run = compiled, first_image, run
        self.steps_seen = 0
        self.block = math.lcm(*(
            int(step.attrs["steps"]) for step in compiled.steps
            if isinstance(step, DigitalStep) and step.op == "spiking_attention"
        ))  # fmt: skip
        """Time steps that attention reads together: every piece is a multiple of them."""
        self._span = Span()
        self._batch: int | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Return the network's outputs for the next time steps.

        Parameters
        ----------
        *inputs : (B, T, ...) or (T, B, ...) numbers
            As the network takes whole sequences; T may be 1, and differ from call to call.

        Raises
        ------
        ValueError
            If the number of sequences is not that of the call before, or attention over blocks of
            time steps gets a part of a block.
        """
        compiled = self.compiled
        x, lengths = as_inputs(compiled, inputs)
        assert compiled.axis is not None  # recurrent networks have a batch
        batch = x[0].shape[compiled.axis]
        if lengths is not None:
            raise ValueError(
                "a stream takes sequences of equal length; give tensors, not packed ones"
            )
        if self._batch not in (None, batch):
            raise ValueError(
                f"the stream began with {self._batch} sequences and now gets {batch}; open another "
                "stream for others"
            )
        steps = x[0].shape[1 - compiled.axis]
        if steps % self.block:
            raise ValueError(
                f"the stream gets a piece of {steps} time steps: attention reads blocks of "
                f"{self.block}, which have to be whole; give a multiple of {self.block} steps"
            )
        self._batch = batch
        span = Span(self.steps_seen, self._span.final)
        outputs = self._run(x, span, self.first_image, None)
        self.steps_seen += steps
        self._span = span
        return outputs

    def state(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return hidden state (codes of the digital unit) and cell state by recurrent step."""
        return dict(self._span.final)


def check(compiled: Program) -> None:
    """Raise ValueError unless every step of a network works on one time step at a time."""
    if not compiled.recurrent:
        raise ValueError(
            "the network has no recurrent layer, so there is no state to keep; call the chip itself"
        )
    for step in compiled.steps:
        if isinstance(step, AnalogLayer):
            if step.kind != "linear":
                raise ValueError(
                    f"layer '{step.name}' ({step.kind}) needs several time steps at once; run "
                    "whole sequences instead"
                )
        elif step.op in RECURRENT:
            if step.attrs["reverse"] or step.attrs.get("initial") or step.attrs.get("lengths"):
                raise ValueError(
                    f"'{step.name}' runs backwards, or is given its state or lengths; run whole "
                    "sequences instead"
                )
        elif not OPERATIONS[step.op].by_step:
            raise ValueError(
                f"operation '{step.name}' ({step.op}) may need several time steps at once; "
                "run whole sequences instead"
            )


def packed(compiled: Program, outputs: Any, lengths: Tensor) -> Any:
    """Return outputs with the first one packed again, as torch's recurrent layers return it."""
    first, *others = outputs if isinstance(outputs, tuple) else (outputs,)
    if not (isinstance(first, torch.Tensor) and first.ndim == 3):
        return outputs
    first = pack_padded_sequence(
        first, lengths, batch_first=compiled.axis == 0, enforce_sorted=False
    )  # fmt: skip
    return (first, *others) if others else first
