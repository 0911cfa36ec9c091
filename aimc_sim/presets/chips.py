"""Whole machines; the keys [..] of the sources stand in the room's docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .. import arguments
from ..spec import (
    AdcSpec,
    CalibrationSpec,
    ChipSpec,
    CoreSpec,
    DacSpec,
    FabricSpec,
    GdpuSpec,
    LdpuSpec,
    PcmSpec,
    PolaritySpec,
    ReadSpec,
    WrittenSpec,
)
from .closed_loop import Fill, pcm_hermes_closed_loop
from .devices import pcm_25_microsiemens, pcm_hermes_one_device, pcm_hermes_two_devices, pcm_ideal
from .resistive import rram_cmo_hfox

_FABRIC = FabricSpec(
    topology="prism_grid",
    rows=8,
    cols=8,
    source="[chip] 8 x 8 cores; links: 5PP (reconstructed) from the core labels of Extended "
    "Data Fig. 1; 8 bits per 400 MHz clock: Extended Data Table I (3.2 Gbit/s)",
)


def _read(mode: str) -> ReadSpec:
    if arguments.choice(mode, "read", ("4-phase", "1-phase")) == "4-phase":
        return ReadSpec(
            mode="4-phase", mvm_seconds=520e-9, v_read_volts=0.2,
            source="[chip] Extended Data Table I: 520 ns; 0.2 V is the "
            "verify-read voltage, assumed for MVMs too",
        )  # fmt: skip
    return ReadSpec(
        mode="1-phase", mvm_seconds=133e-9, v_read_volts=0.2,
        polarity=PolaritySpec(
            mean_fraction=0.05,
            std_fraction=0.02,
            source="assumption, not measured: [chip] names polarity-dependent conduction "
            "and gives no magnitude",
        ),
        source="[chip] Extended Data Table I: 133 ns; "
        "0.2 V is the verify-read voltage, assumed for MVMs too",
    )  # fmt: skip


def _hermes_core(device: PcmSpec, read: str) -> CoreSpec:
    return CoreSpec(
        device=device,
        dac=DacSpec(bits=8, lsb_seconds=1e-9, source="[core] sign + 7-bit PWM, 1 ns per step"),
        adc=AdcSpec(
            bits=11, full_scale_amperes=100e-6,
            source="[chip] saturation near 100 uA; 80 counts at 10.35 uS in the 512 ns, 0.2 V "
            "verify read make 966 counts per polarity at 100 uA in 128 ns: the nearest sign + "
            "magnitude width is 11 bits ([core] alone gives 420 to 448 counts, 10 bits)",
        ),
        read=_read(read),
        g_max_rule="saturation",
        ldpu=LdpuSpec(source="[chip] INT8 links and outputs, 400 MHz, one output per clock"),
        source="[chip] 256 x 256 unit cells of four devices",
    )  # fmt: skip


def hermes(
    mode: Literal["tdp", "odp"] = "tdp",
    read: Literal["4-phase", "1-phase"] = "4-phase",
    programming: Literal["statistical", "program-and-verify", "gradient"] = "statistical",
) -> ChipSpec:
    """Return the 64-core 14-nm PCM chip.

    Parameters
    ----------
    mode : "tdp" or "odp"
        Two or one programmed device per polarity of a cell.
    read : "4-phase" or "1-phase"
        All accuracies in the chip paper are 4-phase. In 1-phase mode the size of the
        polarity-dependent conduction is an assumption: the paper gives none.
    programming : "statistical", "program-and-verify" or "gradient"
        Draw the error from the published fit, or write every device pulse by pulse.
    """
    laws = {"tdp": pcm_hermes_two_devices, "odp": pcm_hermes_one_device}
    arguments.choice(mode, "mode", laws)
    if programming == "statistical":
        device = laws[mode]()
    else:
        fill: Fill = "max-set-fill" if mode == "tdp" else "one-device"
        device = pcm_hermes_closed_loop(fill, programming)
    parts = [f"hermes-{mode}"]
    parts += ["1-phase"] if read == "1-phase" else []
    parts += {"program-and-verify": ["verify"], "gradient": ["gradient"]}.get(programming, [])
    return ChipSpec(
        name="-".join(parts),
        core=_hermes_core(device, read),
        fabric=_FABRIC,
        calibration=CalibrationSpec(source="procedure of this simulator"),
        source="[chip]",
    )


def generic_pcm() -> ChipSpec:
    """Return the same machine with the 25 uS devices, one per polarity.

    The model comes with no chip; converters, cores and fabric are those of :func:`hermes`.
    """
    chip = hermes("odp")
    return chip.with_(
        {"core.device": pcm_25_microsiemens(), "core.g_max_rule": "device", "name": "generic-pcm"}
    )


def generic_rram() -> ChipSpec:
    """Return the cores of :func:`hermes` with resistive memory, one device per polarity.

    The devices come with no chip of this size: cores, fabric and read voltage are those of the
    phase-change chip (assumption). Devices without weight conduct 9 uS, which polarities read one
    by one would add up to more than the ADCs' range; here net currents are converted (1-phase
    reads), and every core's ADC range is chosen from calibration images.
    """
    chip = hermes("odp", "1-phase")
    adc = AdcSpec(
        bits=chip.core.adc.bits, full_scale_amperes=None, range="calibrated",
        source="assumption: ranges follow the currents of the devices; bits as in [chip]",
    )  # fmt: skip
    return chip.with_(
        {
            "core.device": rram_cmo_hfox(), "core.adc": adc, "core.read.polarity": None,
            "core.g_max_rule": "device", "name": "generic-rram",
        }
    )  # fmt: skip


_COUNT = 10.35e-6 / 80
"""Conductance of one count of the chip's verify read: 80 counts [chip] are 10.35 uS [fits]."""

PUBLISHED_COUNTS: dict[tuple[str, str], dict[str, float]] = {
    ("resnet9", "tdp"): {
        "conv0": 160, "conv[1-4]": 100, "conv[5-7]": 130, "dense": 160,
    },
    ("resnet9", "odp"): {"*": 80},
    ("lstm-ptb", "tdp"): {"*": 100, "dense": 120},
    ("lstm-ptb", "odp"): {"*": 80},
    ("captioning", "odp"): {"*": 80, "*weight_hh*": 70, "dense": 60},
}  # fmt: skip
"""Largest conductances that the chip paper reports, in counts of its verify read, by network and
mode; patterns of layer names, later ones overrule. Where it gives a range (conv1 to conv4 80 to
120, conv5 to conv7 120 to 140, the captioning output 40 to 80) its middle. arXiv:2212.02872,
Methods."""


def as_published(network: str, mode: Literal["tdp", "odp"] = "tdp") -> ChipSpec:
    """Return :func:`hermes` with the conductance ranges that the chip paper reports of a network.

    Parameters
    ----------
    network : "resnet9", "lstm-ptb" or "captioning"
    mode : "tdp" or "odp"
        Two or one programmed device per polarity of a cell.

    Raises
    ------
    KeyError
        If the paper reports none for them; lists those it does.
    """
    if (network, mode) not in PUBLISHED_COUNTS:
        name, known = f"{network} ({mode})", [f"{n} ({m})" for n, m in PUBLISHED_COUNTS]
        raise KeyError(arguments.unknown(f"no published ranges of '{name}'", name, known))
    chip = hermes(mode)
    top = chip.core.device.g_max_siemens
    layers = {
        pattern: {"core.device.g_max_siemens": min(top, counts * _COUNT)}
        for pattern, counts in PUBLISHED_COUNTS[network, mode].items()
    }
    name = f"{chip.name}, ranges of {network} as published"
    return chip.with_({"core.g_max_rule": "device", "layers": layers, "name": name})


def ideal() -> ChipSpec:
    """Return the same cores and fabric with every non-ideality off: equals torch."""
    core = CoreSpec(
        device=pcm_ideal(),
        dac=DacSpec(bits=None),
        adc=AdcSpec(bits=None, full_scale_amperes=None),
        read=_read("4-phase"),
        ldpu=LdpuSpec(output_bits=None, link_bits=None),
    )
    return ChipSpec(
        name="ideal", core=core, fabric=_FABRIC, calibration=CalibrationSpec(), source="-",
        gdpu=GdpuSpec(exact_tanh=True, bit_true=False, input_bits=None, output_bits=None),
        written=WrittenSpec().ideal(),
    )  # fmt: skip


def ideal_devices(spec: ChipSpec) -> ChipSpec:
    """Return ``spec`` with perfect devices: its errors are those of converters and integers."""
    return spec.with_(
        {
            "core.device": spec.core.device.ideal(),
            "core.read.polarity": None,
            "written.law": None,
            "name": f"{spec.name}, ideal devices",
        }
    )


PRESETS: dict[str, Callable[[], ChipSpec]] = {
    "hermes": hermes,
    "hermes-tdp": lambda: hermes("tdp"),
    "hermes-odp": lambda: hermes("odp"),
    "hermes-tdp-1-phase": lambda: hermes("tdp", "1-phase"),
    "hermes-odp-1-phase": lambda: hermes("odp", "1-phase"),
    "hermes-tdp-verify": lambda: hermes("tdp", programming="program-and-verify"),
    "hermes-odp-verify": lambda: hermes("odp", programming="program-and-verify"),
    "hermes-tdp-gradient": lambda: hermes("tdp", programming="gradient"),
    "hermes-odp-gradient": lambda: hermes("odp", programming="gradient"),
    "generic-pcm": generic_pcm,
    "generic-rram": generic_rram,
    "ideal": ideal,
}
"""Presets by the name the command line uses."""


def by_name(name: str) -> ChipSpec:
    """Return a preset by name; KeyError gives the nearest name and all there are."""
    if arguments.text(name, "preset") not in PRESETS:
        fault = f"no preset named {arguments.shown(name)}"
        raise KeyError(arguments.unknown(fault, name, PRESETS))
    return PRESETS[name]()
