"""The effects of the chip in training, and their strengths."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from aimc_sim.spec import Spec, quantity

RangeRule = Literal["off", "running", "percentile", "learned"]


class TrainingSpec(Spec):
    """Which effects of a chip a network is trained with.

    The numbers of the chip itself (devices, bits, size of a crossbar) stand in its own
    specification; change them there. Defaults: the device law as it is and converters with
    running ranges; no output noise, no clipping, no ageing.
    """

    weight_noise: Literal["device", "gaussian", "none"] = quantity(
        "-", "the law of the specification's devices, or a fixed Gaussian", "device"
    )
    noise_scale: float = quantity(
        "-", "factor of the standard deviation of the device law. READ: the chip paper trains "
        "with 2", 1.0, ge=0,
    )  # fmt: skip
    gaussian_fraction: float = quantity(
        "-", "standard deviation of the fixed Gaussian / largest weight of the crossbar", 0.075,
        ge=0,
    )  # fmt: skip
    read_noise: bool = quantity("-", "the device law includes the 1/f read noise", True)
    drift_seconds: tuple[float, float] | None = quantity(
        "s", "bounds of the age of the devices, drawn for every step, evenly over its logarithm; "
        "None: right after programming", None,
    )  # fmt: skip
    compensation: Literal["none", "gdc", "column"] = quantity(
        "-", "factors that rescale drifted crossbars: none, one each, one for each column", "gdc"
    )
    scale: Literal["follow", "fixed"] = quantity(
        "-", "weight that is mapped to g_max: the largest of every step, or that at the start",
        "follow",
    )  # fmt: skip
    input_range: RangeRule = quantity(
        "-", "range of the input converter (core.dac.bits): none, running maximum, running "
        "percentile, or learned", "running",
    )  # fmt: skip
    output_range: Literal["spec", "off", "running", "percentile", "learned"] = quantity(
        "-", "range of the output converter (core.adc.bits); spec: its full-scale current, or "
        "running where core.adc.range is calibrated or several conversions make an output; sense "
        "amplifiers: spec or running, thresholds and scales are running means", "spec",
    )  # fmt: skip
    step_gradient: Literal["tanh", "clip"] = quantity(
        "-", "slope that stands in for that of a comparison (sense amplifiers): of the tanh "
        "through both values, or 1 within one scale of the threshold and 0 beyond", "tanh",
        later=True,
    )  # fmt: skip
    comparator_noise: bool = quantity(
        "-", "noise and offsets of sense amplifiers act in training; offsets are drawn for every "
        "step", True, later=True,
    )  # fmt: skip
    percentile: float = quantity("%", "share of the magnitudes in a range", 99.9, gt=50, le=100)
    range_momentum: float = quantity(
        "-", "share of a running range that stays in every step", 0.95, ge=0, lt=1
    )
    output_noise_fraction: float = quantity(
        "-", "standard deviation of a Gaussian on the outputs / their range. READ: the chip paper "
        "trains with 0.1", 0.0, ge=0,
    )  # fmt: skip
    clip_constant: float | None = quantity("-", "largest weight; None: no bound", None, gt=0)
    clip_sigma: float | None = quantity(
        "-", "largest weight / standard deviation of the layer's weights; None: no bound", None,
        gt=0,
    )  # fmt: skip
    hidden_limit: float | None = quantity(
        "-", "recurrent layers: hidden state is clipped to +-this on its way into the crossbar. "
        "READ: 0.06 for the chip paper's character LSTM", None, gt=0,
    )  # fmt: skip
    converters_in_eval: bool = quantity("-", "converters act in evaluation mode too", True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drift_seconds is not None:
            low, high = self.drift_seconds
            if not 0 < low <= high:
                raise ValueError(
                    f"drift_seconds = {self.drift_seconds} must be two times above 0, rising"
                )
        return self


OFF = TrainingSpec(weight_noise="none", input_range="off", output_range="off")
"""Nothing: a prepared network computes what the network did."""
