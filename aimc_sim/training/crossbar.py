"""One matrix of a layer in training: noisy weights, converters in front and behind."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from aimc_sim.core import converters, encodings, weights
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import CoreSpec
from aimc_sim.training import loops, noise
from aimc_sim.training.functional import (
    ComparatorNoise,
    NoiseAddress,
    converted,
    learned,
    normals,
    replaced,
    stepped,
)
from aimc_sim.training.geometry import WeightCuts
from aimc_sim.training.law import WeightLaw, weight_law
from aimc_sim.training.options import TrainingSpec

_WEIGHTS, _OUTPUTS, _TIME, _OFFSETS = 0, 1, 2, 3
_SAMPLES = 1 << 14
"""Number of values behind a percentile, evenly spaced over the activations."""
_LEVEL_SUMS = 1 << 10
"""Sums of a column behind its thresholds and values, evenly spaced over a batch."""


def largest_code(bits: int | None) -> float | None:
    """Return the largest magnitude of a code of sign and magnitude.

    Parameters
    ----------
    bits : int or None
        Bits of the converter; None: nothing is rounded.

    Returns
    -------
    float or None
        Largest code; None if nothing is rounded.
    """
    return None if bits is None else float(2 ** (bits - 1) - 1)


class Crossbar(nn.Module):
    """The crossbars of one matrix: its noise, its ranges and how often it was used.

    Parameters
    ----------
    path : str
        Path of the matrix in the network, part of the address of its noise.
    layout : Layout
        Cuts of the matrix.
    core : CoreSpec
        Devices, converters and size of the crossbars.
    options : TrainingSpec
        Effects of the training.
    seed : int
        Seed of all noise.

    Notes
    -----
    Buffers (parameters, if learned) ``input_range`` and ``output_range`` are half the ranges of
    the converters, in the network's own numbers; 0 before the first batch. The number of steps
    and the seed, from which all noise follows, are the extra state. A matrix that is cut into B
    row blocks is converted once: its converter has the rounding error and the noise that B
    independent ones add up to, sqrt(B) times that of one. Where the columns of a crossbar are
    calibrated by themselves (``core.adc.calibrates_columns``: sense amplifiers) every row block is
    converted by itself; ``levels``, (B, 2 T + 1, C), are running means of the thresholds and values
    that every batch asks for.
    """

    scale: Tensor
    levels: Tensor

    def __init__(
        self, path: str, layout: WeightCuts, core: CoreSpec, options: TrainingSpec, seed: int
    ) -> None:
        super().__init__()
        self.path, self.layout, self.options, self.seed = path, layout, options, seed
        self.steps = 0
        self._used = 0  # events of the current step
        self.per_column = core.weight_scaling == "column"
        self.law: WeightLaw | None = None
        if options.weight_noise == "device":
            self.law = weight_law(core, options.drift_seconds, options.read_noise)
        self.clock_zero = core.device.t0_seconds
        self.input_codes = largest_code(core.dac.bits) if options.input_range != "off" else None
        self.core = core
        self.output_codes, self.full_scale = None, None
        self.steps_out = core.adc.calibrates_columns and options.output_range != "off"
        if self.steps_out:
            _check_levels(path, core, options)
            rows = len(converters.levels(core, np.zeros((1, layout.cols))))
            self.register_buffer("levels", torch.zeros(layout.row_blocks, rows, layout.cols))
        else:
            self.output_codes, self.full_scale = _output_converter(core, options, layout.row_blocks)
        self._add_range("input_range", options.input_range == "learned" and self.input_codes)
        self._add_range("output_range", options.output_range == "learned" and self.output_codes)
        if options.scale == "fixed":
            self.register_buffer("scale", torch.zeros(layout.cols, layout.row_blocks))
        self._scale: Tensor | None = None
        self._words: dict[int, tuple[int, int]] = {}
        self._known_ranges: set[str] = set()  # spares a read from the device in every step

    def _add_range(self, name: str, is_learned: bool | float | None) -> None:
        start = torch.zeros(())
        if is_learned:
            self.register_parameter(name, nn.Parameter(start))
        else:
            self.register_buffer(name, start)

    # ------------------------------------------------------------------------- identity

    def get_extra_state(self) -> Tensor:
        """Return (steps, seed) as (2,) int64."""
        return torch.tensor([self.steps, self.seed])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from a saved :meth:`get_extra_state`."""
        self.steps, self.seed = (int(value) for value in state)
        self._words, self._known_ranges = {}, set()

    def _address(self, kind: int, event: int) -> NoiseAddress:
        if kind not in self._words:
            path = int.from_bytes(hashlib.sha256(self.path.encode()).digest()[:4], "big")
            words = Key(self.seed).child(Purpose.TRAINING, kind, path).words()
            self._words[kind] = (int(words[0]), int(words[1]))
        # The step is the high word of an event, the low one counts within the step.
        return NoiseAddress(*self._words[kind], (self.steps << 32) + event)

    def age(self) -> float:
        """Return ln(t + t0) of the current step, which all layers share, with t in seconds."""
        assert self.options.drift_seconds is not None
        low, high = self.options.drift_seconds
        key = Key(self.seed).child(Purpose.TRAINING, _TIME, self.steps)
        t = math.exp(math.log(low) + key.generator().random() * math.log(high / low))
        return math.log(t + self.clock_zero)

    @property
    def converts(self) -> bool:
        """Whether converters or output noise act in the current mode."""
        kinds = (self.input_codes, self.output_codes, self.full_scale)
        codes = any(kind is not None for kind in kinds) or self.steps_out
        if not self.training:
            return codes and self.options.converters_in_eval
        return codes or self.options.output_noise_fraction > 0

    # -------------------------------------------------------------------------- weights

    def weight(self, weight: Tensor) -> Tensor:
        """Return the weights of this step; in training, begin a new step of the noise.

        Parameters
        ----------
        weight : tensor of the layer's shape
            Weights of the layer, dimensionless.

        Returns
        -------
        tensor of the layer's shape
            Noisy weights in training, the weights themselves in evaluation.
        """
        if self.training:
            self.steps += 1
            self._used = 0
        noisy = self.training and self.options.weight_noise != "none"
        self._scale = None
        if not noisy and self.full_scale is None and not self._compares_noisily:
            return weight
        matrix = self.layout.matrix(weight.detach())
        self._scale = self._mapped(matrix)
        if not noisy:
            return weight
        address = self._address(_WEIGHTS, 0)
        if self.law is None:
            fraction = self.options.gaussian_fraction
            drawn = noise.gaussian(matrix, self._scale, self.layout, fraction, address)
        else:
            drawn = noise.perturbed(matrix, self._scale, self.layout, self._tables(), address)
        return replaced(weight, self.layout.unfold(drawn, weight))

    @property
    def _compares_noisily(self) -> bool:
        """Whether noise or offsets in front of thresholds act in the current mode."""
        acts = self.steps_out and self.training and self.options.comparator_noise
        return acts and any(std > 0 for std in converters.deviations(self.core))

    def _mapped(self, matrix: Tensor) -> Tensor:
        if self.options.scale == "follow":
            return noise.largest(matrix, self.layout, self.per_column)
        if not self.scale.any():
            self.scale.copy_(noise.largest(matrix, self.layout, self.per_column))
        return self.scale.to(matrix.dtype)

    def _tables(self) -> noise.Tables:
        drifts = self.options.drift_seconds is not None
        assert self.law is not None
        clock = self.age() if drifts else 0.0
        mean, std, zero = self.law.at(clock)
        method = self.options.compensation if drifts else "none"
        return noise.Tables(
            mean, std, zero, self.law.fresh, self.options.noise_scale, method,
            self.law.shared(clock), self.law.rounds,
        )  # fmt: skip

    # ----------------------------------------------------------------------- converters

    def input(self, x: Tensor) -> Tensor:
        """Return activations as they enter the crossbar.

        Parameters
        ----------
        x : tensor of any shape
            Activations, in the network's own numbers.

        Returns
        -------
        tensor of the same shape
            Converted activations.
        """
        codes = self.input_codes
        if codes is None or not self.converts:
            if (self.full_scale is not None or self._compares_noisily) and self.converts:
                self._note("input_range", x, _top(x))
            return x
        return self._convert("input_range", x, codes, 0.0, self.options.input_range)

    def output(self, y: Tensor) -> Tensor:
        """Return products as they leave the converters.

        Parameters
        ----------
        y : tensor of any shape
            Products without bias, in the network's own numbers.

        Returns
        -------
        tensor of the same shape
            Converted products, with output noise in training.
        """
        if not self.converts:
            return y
        share = self.options.output_noise_fraction if self.training else 0.0
        if self.full_scale is not None:
            return self._convert_at_full_scale(y, share)
        if self.output_codes is None and share == 0:
            return y
        return self._convert("output_range", y, self.output_codes, share, self.options.output_range)

    def refuse_levels(self, kinds: str) -> None:
        """Raise ValueError if columns are compared one by one, in layers where that is not trained.

        Parameters
        ----------
        kinds : str
            Layers that the matrix belongs to one of, in words.
        """
        if self.steps_out:
            raise ValueError(
                f"'{self.path}' with core.adc.kind = '{self.core.adc.kind}': partial sums of "
                f"{kinds} are not compared in training; leave the layer digital (where), or set "
                "output_range = 'off'"
            )

    def behind_comparators(self, block: int, sums: Tensor, spatial: int) -> Tensor:
        """Return the partial sums of one row block as the digital unit gets them.

        Parameters
        ----------
        block : int
            Number of the row block.
        sums : (..., C, *spatial) tensor
            Products of its rows, in the network's own numbers.
        spatial : int
            Dimensions behind the columns.

        Returns
        -------
        tensor of the same shape
            One of the values of each column.
        """
        shape = (-1, self.layout.cols, *(1,) * spatial)
        rows = self.levels[block].detach()
        own = self._levels_of(sums, spatial) if self.training or not rows.any() else rows
        rows = rows if rows.any() else own
        noise = self._comparator_noise(block, sums, shape) if self._compares_noisily else None
        kind = self.options.step_gradient
        out = stepped(sums, rows.reshape(shape).to(sums.dtype), kind, noise)
        if self.training:
            keep = self.options.range_momentum
            with torch.no_grad():
                self.levels[block].copy_(keep * rows + (1 - keep) * own)
        return out

    def _levels_of(self, sums: Tensor, spatial: int) -> Tensor:
        """Return the thresholds and values that sums ask for, (2 T + 1, C) float32."""
        flat = sums.detach().movedim(-1 - spatial, -1).reshape(-1, self.layout.cols)
        some = flat[:: max(1, -(-len(flat) // _LEVEL_SUMS))].double().cpu().numpy()
        cuts = pairwise(self.layout.col_cuts.tolist())  # a core at a time
        found = [converters.levels(self.core, some[:, first:last]) for first, last in cuts]
        return torch.from_numpy(np.concatenate(found, axis=1)).float().to(sums.device)

    def _comparator_noise(
        self, block: int, sums: Tensor, shape: tuple[int, ...]
    ) -> ComparatorNoise:
        """Return noise of every comparison and the offsets of this step, in the unit of sums."""
        core = self.core
        offset_std, noise_std = converters.deviations(core)
        assert self._scale is not None
        span = float(weights.to_targets(np.ones((1, 1)), core).siemens_per_weight[0])
        per_ampere = self._scale[:, block].float() * self._known("input_range", sums)
        per_ampere = per_ampere / (span * core.read.v_read_volts)
        columns = normals((self.layout.cols,), per_ampere, self._address(_OFFSETS, block))
        offset = offset_std * per_ampere * columns
        beside = (noise_std * per_ampere).reshape(shape[1:]), offset.reshape(shape[1:])
        return ComparatorNoise(*beside, self._event(sums))

    def _convert(
        self, name: str, x: Tensor, codes: float | None, share: float, method: str
    ) -> Tensor:
        largest = getattr(self, name)
        if method == "learned" and codes is not None:
            if self.training and float(largest.detach()) == 0:
                with torch.no_grad():
                    largest.copy_(_top(x))
            if share > 0:
                x, _ = converted(x, 0.0, 0.0, share * largest.detach(), self._event(x))
            return learned(x, largest if self.training else self._known(name, x), codes)
        half = self._known(name, x)
        step = 0.0 if codes is None else half / codes
        y, top = converted(x, step, codes or 0.0, share * half, self._event(x))
        self._note(name, x, top)
        return y

    def _convert_at_full_scale(self, y: Tensor, share: float) -> Tensor:
        """Convert over the range that the full-scale current makes of input range and weights."""
        assert self.full_scale is not None
        assert self._scale is not None
        limit, steps = self.full_scale
        inputs = self._known("input_range", y)
        unit = self._scale.square().mean().sqrt().float() * inputs
        std = share * self._known("output_range", y) if share else 0.0
        out, top = converted(y, unit * steps, limit, std, self._event(y))
        self._note("output_range", y, top)
        return out

    def _known(self, name: str, x: Tensor) -> Tensor:
        """Return half a range; before the first batch, that of these very values."""
        largest: Tensor = getattr(self, name).detach()
        if name in self._known_ranges or float(largest) > 0:
            self._known_ranges.add(name)
            return largest
        return _top(x)

    def _note(self, name: str, x: Tensor, top: Tensor) -> None:
        """Let a running range follow the values; ``top`` is their largest magnitude."""
        if not self.training:
            return
        if self.options.percentile < 100 and "percentile" in (
            self.options.input_range if name == "input_range" else self.options.output_range
        ):
            some = x.detach().flatten()
            some = some[:: -(-some.numel() // _SAMPLES)].abs().float()
            rank = max(1, round(self.options.percentile / 100 * some.numel()))
            top = some.kthvalue(rank).values
        largest, keep = getattr(self, name), self.options.range_momentum
        with torch.no_grad():
            old = torch.where(largest > 0, largest, top)
            largest.copy_(keep * old + (1 - keep) * top)

    def _event(self, x: Tensor) -> NoiseAddress:
        address = self._address(_OUTPUTS, self._used)
        self._used += -(-x.numel() // loops.BLOCK)
        return address

    def extra_repr(self) -> str:
        """Say how the matrix is cut."""
        cuts = self.layout
        return f"{cuts.rows} x {cuts.cols}, {cuts.row_blocks} row blocks"


def _check_levels(path: str, core: CoreSpec, options: TrainingSpec) -> None:
    """Raise ValueError if converters that compare cannot be trained with these options."""
    converters.check(core)
    if options.output_range not in ("spec", "running"):
        raise ValueError(
            f"output_range = '{options.output_range}' with core.adc.kind = '{core.adc.kind}' "
            f"('{path}'): thresholds and scales of columns are running means; set output_range to "
            "'spec' or 'running', or to 'off' to train without the converters"
        )
    if options.output_noise_fraction > 0:
        raise ValueError(
            f"output_noise_fraction = {options.output_noise_fraction:g} with core.adc.kind = "
            f"'{core.adc.kind}' ('{path}'): a comparator has no range that noise could be a share "
            "of; set it to 0, and core.adc.noise_amperes to the noise of a comparison"
        )


def _top(x: Tensor) -> Tensor:
    """Return the largest magnitude, 0-dim float32."""
    return x.detach().abs().amax().float() if x.numel() else torch.zeros((), device=x.device)


def _output_converter(
    core: CoreSpec, options: TrainingSpec, row_blocks: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the largest code if the range follows the values, and the converter if it does not.

    The latter is (largest code, step), the step in units of input range x weight that is mapped
    to g_max. At most one of the two is not None; both are if nothing is converted.
    """
    if options.output_range == "off":
        return None, None
    adc = core.adc
    fixed = options.output_range == "spec" and not adc.calibrates
    fixed = fixed and encodings.of(core).conversions == 1
    if not fixed:
        return largest_code(adc.bits), None
    pulses = core.with_({"dac.encoding": "pwm"})
    quantiser = converters.adc(pulses)
    if not quantiser.rounds or not math.isfinite(quantiser.limit):
        return None, None
    span = float(weights.to_targets(np.ones((1, 1)), core).siemens_per_weight[0])
    span /= core.device.g_max_siemens
    step = quantiser.step / (core.dac.max_code * span)
    together = math.sqrt(row_blocks)
    return None, (quantiser.limit * together, step * together)
