"""Hardware-aware fine-tuning of the zoo's networks: for which chip, with which effects.

The effects of the chip paper (M. Le Gallo et al., Nature Electronics 6, 680 (2023), Methods) stand
under "paper", those for a fine-tuning of a few epochs under "short". There, the paper's output
noise of 10 % did not converge within an epoch of 6,400 images; the law of the devices themselves,
drift and 1/f noise included, cost no float accuracy (trials on a ResNet-32 in mid-training).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimc_sim import presets
from aimc_sim.spec import ChipSpec
from aimc_sim.training import TrainingSpec, prepare
from aimc_sim.training.wrap import AnyNetwork


@dataclass(frozen=True)
class Aware:
    """A hardware-aware phase, besides the recipe.

    Attributes
    ----------
    start : path
        File of the float weights that it begins with.
    preset : str
        Name of the chip in :mod:`aimc_sim.presets`.
    options : TrainingSpec
        Effects of the chip in training.
    adc_bits : int or None
        Bits of output converters with running ranges; None: those of the chip.
    """

    start: Path
    preset: str
    options: TrainingSpec
    adc_bits: int | None = None

    def spec(self) -> ChipSpec:
        """Return the chip."""
        chip = presets.by_name(self.preset)
        return chip if self.adc_bits is None else chip.with_({"core.adc.bits": self.adc_bits})

    def prepared(self, network: AnyNetwork, seed: int) -> AnyNetwork:
        """Return a network as it is trained.

        Parameters
        ----------
        network : nn.Module
            The plain network.
        seed : int
            Seed of the noise.

        Returns
        -------
        nn.Module
            The prepared network, see :func:`aimc_sim.training.prepare`.
        """
        return prepare(network, self.spec(), self.options, seed)

    def told(self) -> dict[str, Any]:
        """Return the entries of a record about the phase."""
        changed = {
            name: value
            for name, value in self.options.model_dump().items()
            if value != type(self.options).model_fields[name].default
        }
        return {
            "hardware_aware": {
                "start": self.start.name, "chip": self.preset, "adc_bits": self.adc_bits, **changed,
            }
        }  # fmt: skip


OPTIONS = {
    ("cifar", "short"): TrainingSpec(
        noise_scale=2.5, drift_seconds=(1.0, 86400.0), output_range="running", clip_sigma=2.5,
    ),
    ("cifar", "paper"): TrainingSpec(
        noise_scale=2.0, read_noise=False, output_range="running", output_noise_fraction=0.1,
        clip_constant=1.0,
    ),
    ("ptb", "short"): TrainingSpec(
        weight_noise="gaussian", gaussian_fraction=0.075, clip_sigma=2.0, input_range="off",
        output_range="off",
    ),
    ("ptb", "paper"): TrainingSpec(
        weight_noise="gaussian", gaussian_fraction=0.15, clip_sigma=2.0, hidden_limit=0.06,
        input_range="off", output_range="off",
    ),
}  # fmt: skip
"""Effects for each kind of network and schedule.

The paper's Gaussian has the standard deviation 0.075 (W_max - W_min), which is 0.15 of the largest
weight.
"""
