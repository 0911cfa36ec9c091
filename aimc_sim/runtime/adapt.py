"""AdaBS: batch-norm statistics measured anew on the chip that is there, drift and all.

V. Joshi et al., Nature Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9: running
means and variances are re-estimated from calibration images without changing a weight (mechanics
as summarised in the facts; the paper itself was not opened). Layers are adapted in order, each on
inputs that the adapted layers before it produced; the whole calibration set takes the place of a
moving average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..machine.products import SMALLEST_BATCH
from .adc import AS_IT_IS
from .calls import CoreCall, LayerCall
from .chunk import Run
from .convert import CodedValue
from .counts import new_counts
from .plan import Plan

Correction = tuple[Tensor, Tensor]
"""(C,) factor and (C,) shift of a layer's output before the residual: ``y factor + shift``."""


def batch_norm_corrections(
    plan: Plan, inputs: Sequence[Tensor], first_event: int
) -> dict[str, Correction]:
    """Return the corrections that give every normalised layer its training statistics back.

    Parameters
    ----------
    plan : Plan
        Of the evaluation time, without corrections.
    inputs : one (B, ...) tensor for every input of the network
        Some hundreds of images.
    first_event : int
        Number of the first image, for the noise.

    Returns
    -------
    dict from layer name to Correction
        Layers without batch norm are left out; a channel whose output never varies is left alone.
    """
    count = 1 if plan.compiled.axis is None else inputs[0].shape[plan.compiled.axis]
    if count < SMALLEST_BATCH:
        raise ValueError(
            f"{count} images give no statistics; use at least {SMALLEST_BATCH}, better some "
            "hundreds"
        )
    found: dict[str, Correction] = {}

    def adapted(
        run: Run, call: LayerCall, values: dict[str, CodedValue], time: int | None
    ) -> CodedValue:
        """Measure the statistics of a layer, and correct it before it is used."""
        layer = call.layer
        if layer.norm is None:
            return run.compute(call, values, time)
        y = run.compute(_bare(call), values, time).codes
        rows = y.movedim(1, -1).reshape(-1, y.shape[1])
        mean = rows.mean(0)
        std = (rows - mean).square_().mean(0).sqrt()  # half the time of torch's own
        wanted_mean, wanted_std = torch.from_numpy(layer.norm).to(y.device)
        alive = (std > 0) & (wanted_std > 0)
        factor = torch.where(alive, wanted_std / std.clamp(min=1e-30), torch.ones_like(std))
        shift = torch.where(alive, wanted_mean - mean * factor, torch.zeros_like(mean))
        found[layer.name] = factor, shift
        return run.compute(corrected(call, (factor, shift)), values, time)

    run = Run(plan, count, first_event, new_counts(), around=adapted)
    with torch.inference_mode():
        run(*(x.to(plan.device) for x in inputs))
    return found


def _bare(call: LayerCall) -> LayerCall:
    """Return a layer whose output is that of batch norm alone: float, nothing added."""
    layer = dataclasses.replace(call.layer, residual=None, relu=False)
    chains = tuple(
        tuple(
            dataclasses.replace(core, output=AS_IT_IS, link_gain=1.0 if index else 0.0)
            for index, core in enumerate(chain)
        )
        for chain in call.chains
    )
    return dataclasses.replace(call, layer=layer, chains=chains)


def corrected(call: LayerCall, correction: Correction) -> LayerCall:
    """Return a layer with its correction in the gains and offsets of its cores."""
    factor, shift = correction

    def core(one: CoreCall, is_tail: bool) -> CoreCall:
        cols = slice(one.block.col_start, one.block.col_stop)
        offset = one.offset * factor[cols] + (shift[cols] if is_tail else 0.0)
        return dataclasses.replace(one, gain=one.gain * factor[cols], offset=offset)

    chains = tuple(tuple(core(one, one is chain[-1]) for one in chain) for chain in call.chains)
    return dataclasses.replace(call, chains=chains)


def apply(plan: Plan, corrections: Mapping[str, Correction]) -> Plan:
    """Return a plan whose layers carry their corrections."""
    calls = tuple(
        corrected(call, corrections[call.layer.name])
        if isinstance(call, LayerCall) and call.layer.name in corrections
        else call
        for call in plan.calls
    )
    return dataclasses.replace(plan, calls=calls)
