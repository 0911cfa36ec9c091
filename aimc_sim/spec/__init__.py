"""Specifications of a machine: frozen, validated, one file per level of the chip.

Every physical field is an SI number and carries its unit in its name; ``None`` means *ideal*
(the effect is absent), never zero bits or zero amperes. The numbers themselves, each with its
source, live in :mod:`aimc_sim.presets`; this room only says which numbers there are. Read
``base``, then upward: ``device`` (laws), ``writing`` (pulses and programming schemes), ``family``
(fields of every device), ``pcm``, ``rram`` and ``steps`` (whole devices), ``encoding`` (weights in
cells), ``converter`` and ``cco`` (output converters), ``core``,
``written`` (matrices written at inference), ``chip``.
"""

from .base import PHYSICS_VERSION, SPANS, Spec, quantity
from .cco import CcoAdcSpec
from .chip import MOST_CORES, CalibrationSpec, ChipSpec, FabricSpec
from .converter import AdcSpec, SenseAmplifierSpec
from .core import CoreSpec, DacSpec, LdpuSpec, PolaritySpec, ReadSpec
from .cost import CostSpec, HostSpec
from .device import (
    DriftLaw,
    FaultSpec,
    ProgrammingLaw,
    ReadNoiseLaw,
    ResetState,
    StateCurve,
    TemperatureLaw,
)
from .encoding import (
    BitSlicesEncoding,
    DifferentialEncoding,
    OffsetColumnEncoding,
    SeveralDevicesEncoding,
)
from .family import READ_NOISE, DeviceSpec, Effect
from .gdpu import GdpuSpec
from .mapping import MappingSpec
from .pcm import PcmSpec
from .rram import RelaxationLaw, RramNoiseLaw, RramProgramming, RramSpec
from .steps import (
    ConstantStep,
    CycleNoise,
    ExponentialStep,
    LinearStep,
    SoftBounds,
    StepLeak,
    StepReset,
    StepSpec,
    StepVariation,
    StepWriting,
)
from .wires import WireSpec
from .writing import (
    AccumulationLaw,
    GradientProgramming,
    ProgrammingCurve,
    ProgramVerify,
    PulseSpec,
    Replay,
    ResetPulse,
    SetState,
    VerifyRead,
)
from .written import PcmWriteLaw, RramWriteLaw, WrittenSpec

__all__ = [
    "MOST_CORES",
    "PHYSICS_VERSION",
    "READ_NOISE",
    "SPANS",
    "AccumulationLaw",
    "AdcSpec",
    "BitSlicesEncoding",
    "CalibrationSpec",
    "CcoAdcSpec",
    "ChipSpec",
    "ConstantStep",
    "CoreSpec",
    "CostSpec",
    "CycleNoise",
    "DacSpec",
    "DeviceSpec",
    "DifferentialEncoding",
    "DriftLaw",
    "Effect",
    "ExponentialStep",
    "FabricSpec",
    "FaultSpec",
    "GdpuSpec",
    "GradientProgramming",
    "HostSpec",
    "LdpuSpec",
    "LinearStep",
    "MappingSpec",
    "OffsetColumnEncoding",
    "PcmSpec",
    "PcmWriteLaw",
    "PolaritySpec",
    "ProgramVerify",
    "ProgrammingCurve",
    "ProgrammingLaw",
    "PulseSpec",
    "ReadNoiseLaw",
    "ReadSpec",
    "RelaxationLaw",
    "Replay",
    "ResetPulse",
    "ResetState",
    "RramNoiseLaw",
    "RramProgramming",
    "RramSpec",
    "RramWriteLaw",
    "SenseAmplifierSpec",
    "SetState",
    "SeveralDevicesEncoding",
    "SoftBounds",
    "Spec",
    "StateCurve",
    "StepLeak",
    "StepReset",
    "StepSpec",
    "StepVariation",
    "StepWriting",
    "TemperatureLaw",
    "VerifyRead",
    "WireSpec",
    "WrittenSpec",
    "quantity",
]
