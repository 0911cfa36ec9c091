"""One compute core: crossbar, converters, local digital unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ValidationInfo, model_validator

from .base import FORMER_NAMES, Spec, quantity, tupled
from .converter import Converter
from .encoding import DifferentialEncoding, SeveralDevicesEncoding, WeightEncoding
from .family import AnyDevice
from .pcm import PcmSpec
from .wires import WireSpec

_MOST_LINES = 4096
"""Rows or columns of a crossbar at most: its 67 million devices are 0.9 GB as simulated here, and
no larger crossbar of such memory has been made."""


class DacSpec(Spec):
    """Input: sign and magnitude, as the duration of a read pulse or as bit after bit."""

    bits: int | None = quantity("bit", "sign + magnitude; None = ideal", 8, ge=2, le=16)
    lsb_seconds: float = quantity("s", "pulse length of one step", 1e-9, gt=0)
    encoding: Literal["pwm", "bit-serial"] = quantity(
        "-", "one pulse whose width is the magnitude, or its bits one by one, each converted "
        "by itself; shifted and added digitally", "pwm", later=True,
    )  # fmt: skip
    bit_seconds: float = quantity(
        "s", "integration time of one bit, bit-serial only. READ: about 5 ns "
        "(JSSC 57, 1027, 2022)", 5e-9, later=True, gt=0,
    )  # fmt: skip
    binary: bool = quantity(
        "-", "inputs are spikes, 0 or 1: one pulse at full amplitude, one conversion per polarity "
        "of weights, no negative inputs. Set by itself for layers that read spikes", False,
        later=True,
    )  # fmt: skip
    spikes: Literal["pulses", "codes"] = quantity(
        "-", "layers that read spikes get binary inputs, or codes of full scale as other layers do",
        "pulses", later=True,
    )  # fmt: skip
    spike_seconds: float = quantity(
        "s", "pulse of a spike, binary inputs only. ASSUMED: as long as the longest pulse of the "
        "chip, so that a conversion has all its codes", 127e-9, later=True, gt=0,
    )  # fmt: skip
    source: str = ""

    @property
    def longest_code(self) -> int:
        """Largest magnitude that the modulator can send, were inputs not binary."""
        return int(2 ** ((self.bits or 8) - 1) - 1)

    @property
    def max_code(self) -> int:
        """Largest magnitude that the modulator sends (127 for 8 bits, 1 for binary inputs)."""
        return 1 if self.binary else self.longest_code

    @property
    def pulse_seconds(self) -> float:
        """Length of the pulse of one code, s: a step of the modulator, or a spike."""
        return self.spike_seconds if self.binary else self.lsb_seconds


class PolaritySpec(Spec):
    """A device conducts g under one read polarity and g (1 + delta) under the other."""

    mean_fraction: float = quantity("-", "mean of delta", 0.0, gt=-1, lt=1)
    std_fraction: float = quantity(
        "-", "standard deviation of delta between elements", 0.0, ge=0, lt=1
    )
    source: str = ""


class ReadSpec(Spec):
    """How the four sign combinations of input and weight are read."""

    mode: Literal["4-phase", "1-phase"] = quantity("-", "four modulations of one polarity, or one")
    mvm_seconds: float = quantity("s", "duration of one MVM", gt=0)
    v_read_volts: float = quantity("V", "read voltage", gt=0)
    polarity: PolaritySpec | None = quantity(
        "-", "polarity-dependent conduction; acts in 1-phase mode only", None
    )
    source: str = ""

    @model_validator(mode="after")
    def _one_polarity(self) -> Self:
        if self.mode == "4-phase" and self.polarity is not None:
            raise ValueError("4-phase reads use one polarity only; set polarity to None")
        return self


class LdpuSpec(Spec):
    """Local digital unit: affine, ReLU, addition of the link input, requantisation."""

    output_bits: int | None = quantity(
        "bit", "activations between layers; None = float", 8, ge=2, le=24
    )
    link_bits: int | None = quantity("bit", "partial sums on links; None = float", 8, ge=2, le=24)
    clock_hertz: float = quantity("Hz", "one output per clock", 400e6, gt=0)
    bit_true: bool = quantity(
        "-", "half precision at every step, as on the chip; else single", False, later=True
    )
    source: str = ""


class CoreSpec(Spec):
    """One compute core: crossbar, converters, local digital unit."""

    rows: int = quantity("-", "inputs of the crossbar", 256, ge=1, le=_MOST_LINES)
    cols: int = quantity("-", "outputs of the crossbar", 256, ge=1, le=_MOST_LINES)
    device: AnyDevice = quantity("-", "device, of any family (called pcm before)")
    weight_scaling: Literal["core", "column"] = quantity(
        "-", "largest weight of the core, or of each column, is mapped to g_max", "core"
    )
    encoding: WeightEncoding = quantity(
        "-", "how a weight is written into cells and columns", DifferentialEncoding(), later=True
    )
    dac: DacSpec = quantity("-", "input converter")
    adc: Converter = quantity(
        "-", "output converter: plain, an oscillator with counters, or a sense amplifier"
    )
    read: ReadSpec = quantity("-", "read mode")
    wires: WireSpec | None = quantity(
        "-", "resistance of the lines; None = no IR drop", None, later=True
    )
    g_max_rule: Literal["device", "bit-line", "saturation"] = quantity(
        "-", "g_max of every core: the device's; or lowered until no bit-line current is beyond "
        "the ADC; or until a share of the conversions is (both need calibration before "
        "programming)", "device", later=True,
    )  # fmt: skip
    g_max_saturated_share: float = quantity(
        "-", "share of the conversions, phase by phase, whose current may be beyond the ADC while "
        "all pulses are on, under the rule 'saturation'. FITTED: one number for the ranges that "
        "the chip used (validation/g_max_ranges.py)", 0.03, later=True, ge=0, lt=1,
    )  # fmt: skip
    ldpu: LdpuSpec = quantity("-", "local digital unit")
    source: str = ""

    @model_validator(mode="before")
    @classmethod
    def _by_former_names(cls, data: Any, info: ValidationInfo) -> Any:
        """Accept files and mappings of earlier releases."""
        if not isinstance(data, Mapping):
            return data
        for former, now in FORMER_NAMES.items():
            if former in data and now in data:
                raise ValueError(f"'{former}' is the former name of '{now}'; give one of them")
        renamed = {FORMER_NAMES.get(name, name): value for name, value in data.items()}
        return tupled(renamed) if info.mode == "json" else renamed

    @property
    def pcm(self) -> PcmSpec:
        """The device, if it is phase-change memory.

        Raises
        ------
        TypeError
            If it is of another family.
        """
        if not isinstance(self.device, PcmSpec):
            raise TypeError(
                f"core.device is of the family '{self.device.family}', not phase-change memory; "
                "read core.device"
            )
        return self.device

    @model_validator(mode="after")
    def _device_fits_the_encoding(self) -> Self:
        encoding, device = self.encoding, self.device
        kind, several = encoding.kind, isinstance(encoding, SeveralDevicesEncoding)
        if not isinstance(device, PcmSpec):
            return self  # of other families an element is a device of its own
        if several and device.devices_per_element != 1:
            raise ValueError(
                "encoding.kind = 'several-devices' puts single devices together, but the law of "
                f"device describes {device.devices_per_element} devices of a polarity as one; "
                "choose a law of single devices (device.devices_per_element = 1)"
            )
        scheme = "statistical" if device.programming is None else device.programming.scheme
        if kind in ("several-devices", "offset-column") and scheme not in ("statistical", "replay"):
            raise ValueError(
                f"encoding.kind = '{kind}' with device.programming.scheme = '{scheme}': that "
                "scheme writes cells of two polarities with two devices each; choose the "
                "statistical scheme, or the encodings 'differential' or 'bit-slices'"
            )
        fills = isinstance(encoding, SeveralDevicesEncoding) and encoding.order == "fill"
        if fills and device.zero_target == "programmed":
            raise ValueError(
                "encoding.order = 'fill' leaves devices that hold nothing in RESET, but "
                "device.zero_target is 'programmed'; set it to 'reset', or order to 'equal'"
            )
        return self
