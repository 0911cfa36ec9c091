"""Every number and choice of a machine that has everything: changed alone, it moves an output.

What only costs time or energy moves the report instead; what has no effect in this machine is
listed with the reason.
"""

import warnings
from typing import get_args, get_origin

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import CcoAdcSpec, FaultSpec, Spec, TemperatureLaw, WireSpec
from aimc_sim.spec.parameters import parameters

torch.manual_seed(5)
MODEL = nn.Sequential(nn.Linear(60, 20), nn.ReLU(), nn.Linear(20, 6)).eval()
IMAGES = torch.randn(24, 60)

COMMON = {
    "core.device.faults": FaultSpec(
        stuck_set_fraction=0.02, stuck_reset_fraction=0.02, stuck_set_siemens=12e-6
    ),
    "core.device.temperature": TemperatureLaw(
        kelvin=320.0, activation_reset_ev=0.2, activation_set_ev=0.05, relaxation_ev=0.1
    ),
    "core.device.reset.std_siemens": 1e-8,
    "core.ldpu.output_bits": 11,  # fine enough to show small changes
    "core.adc.bits": 13,
    "core.wires": WireSpec(row_ohm=5.0, col_ohm=5.0, driver_ohm=50.0, sense_ohm=50.0,
                           idle="high-impedance"),
}  # fmt: skip
MACHINES = {
    "law, 1-phase, oscillators": presets.hermes("odp", "1-phase").with_(
        {**COMMON, "core.adc": CcoAdcSpec(wrong_sign_amperes=2e-7), "core.ldpu.bit_true": True}
    ),
    "max-set-fill": presets.hermes("tdp", programming="program-and-verify").with_(COMMON),
    "gradient": presets.hermes("odp", programming="gradient").with_(
        {**COMMON, "core.device.programming.steps": 4, "core.device.programming.inputs": 100}
    ),
    "bit-serial, calibrated ADCs": presets.hermes("odp").with_(
        {
            **COMMON,
            "core.dac.encoding": "bit-serial",
            "core.adc.range": "calibrated",
            "calibration.percentile": 99.0,
        }
    ),
}
SERIAL = "bit-serial, calibrated ADCs"

COST_ONLY = {
    "mvm_seconds", "clock_hertz", "write_channels", "write_volts", "amperes",
    "seconds", "precharge_seconds", "max_hertz", "volts",
}  # fmt: skip
"""Last part of the path: time and energy (``max_hertz`` is None here: a ceiling that is off)."""

UNUSED = {
    "core.device.programming.scheme": "names the scheme",
    "core.adc.kind": "names the converter",
    "core.adc.overflow": "counters that could run over are refused; test_core_options",
    "core.adc.counter_bits": "the same",
    "core.adc.trim_accept_fraction": "few ADCs try all settings; 26 here need none",
    "core.adc.offset_bits": "the coarser trim still reaches every offset",
    "core.dac.lsb_seconds": "time; it sets charges for oscillators (tests/unit/test_adc.py)",
    "core.dac.binary": "inputs here are no spikes; tests/unit/test_spike_pulses.py",
    "core.dac.spikes": "the same",
    "core.dac.spike_seconds": "the same",
    "core.read.mode": "4-phase reads need polarity = None as well; tests/unit/test_chip.py",
    "calibration.range_method": "tests/unit/test_adapt.py",
    "core.ldpu.link_bits": "one core per layer: no partial sums",
    "core.rows": "one block fits",
    "core.cols": "one block fits",
    "fabric.topology": "placement and routes only",
    "fabric.rows": "placement and routes only",
    "fabric.cols": "placement and routes only",
    "calibration.clip_warning_fraction": "a warning",
    "calibration.compensation_vectors": "no compensation here; tests/unit/test_chip.py",
    "calibration.compensation_windows": "the same; tests/laws/test_compensation.py",
    "calibration.compensation_reads": "the same",
    "core.g_max_rule": "nothing saturates; tests/unit/test_core_options.py",
    "core.g_max_saturated_share": "the same; tests/unit/test_gmax.py",
    "core.weight_scaling": "tests/unit/test_chip.py",
    "core.device.devices_per_element": "closed loops write single devices; test_weights",
    "core.device.g_reference_siemens": "x of the laws: tests/laws/test_range.py",
    "core.device.material_scale": "stretches statistical laws only: tests/laws/test_range.py",
    "core.device.programming.max_iterations": "nearly all converge before; test_programming",
    "core.device.programming.start.max_iterations": "the same",
    "core.device.programming.fill": "tests/unit/test_programming.py",
    "core.device.programming.start.fill": "tests/unit/test_programming.py",
    "core.device.programming.low_amperes": "no device needs less; test_programming",
    "core.device.programming.start.low_amperes": "the same",
    "core.device.programming.high_amperes": "no device needs more",
    "core.device.programming.start.high_amperes": "the same",
    "core.device.pulses.low_siemens": "no target lies there",
    "core.device.pulses.high_siemens": "no SET state lies there",
    "core.device.pulses.reset.low_siemens": "a clip ten spreads below the mean",
    "core.device.pulses.set.cycle_std": "of full SET pulses: max-SET-fill only",
}


ELSEWHERE = ("gdpu.", "host.", "cost.", "mapping.", "chips", "fabric.link_hertz", "written.")
"""Beginnings of paths: time, energy and layout, and devices that are written at inference
(tests/unit/test_written.py), with tests of their own."""


def changed(key, value, spec):
    """Another legal value of a parameter."""
    field, owner = key.split(".")[-1], spec
    for part in key.split(".")[:-1]:
        owner = getattr(owner, part)
    if isinstance(value, bool):
        return not value
    choices = get_args(type(owner).model_fields[field].annotation)
    if (
        choices
        and get_origin(type(owner).model_fields[field].annotation) is not None
        and all(isinstance(choice, str) for choice in choices)
    ):
        return next((choice for choice in choices if choice != value), None)
    if field == "write_channels":
        return 4  # a diagonal of 20 devices then takes five turns
    if isinstance(value, tuple):
        return tuple(0.8 * v for v in value) if any(value) else None
    if isinstance(value, int):
        return value - 1 if value > 4 else value + 1
    if field == "low":
        return 1.4 * value  # a lower clip acts when it rises
    if field == "knee":
        return 2.5 * value  # so that some states change from the polynomial to the other form
    if field == "offset_hertz":
        return 3e8
    if isinstance(value, float):
        return 0.7 * value if value else 0.01
    return None


def knobs():
    for name, spec in MACHINES.items():
        for parameter in parameters(spec):
            key, last = parameter.key, parameter.key.split(".")[-1]
            if last in COST_ONLY or key in UNUSED:
                continue
            converters = key.startswith(("core.dac.", "core.adc.", "calibration."))
            if name == SERIAL and not converters:
                continue  # the rest as in the other machines
            if name != SERIAL and key == "core.dac.bit_seconds":
                continue  # no planes there
            if name == SERIAL and key == "core.adc.full_scale_amperes":
                continue  # calibrated ranges lie below it; test_core_options
            if key.startswith(ELSEWHERE):
                continue
            value = changed(key, parameter.value, spec)
            if value is not None:
                yield pytest.param(name, key, value, id=f"{name}: {key}")


@pytest.fixture(scope="module")
def outputs():
    kept = {}

    def run(spec):
        if spec.id() not in kept:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what clips
                chip = aimc_sim.Chip.from_model(MODEL, spec).calibrate(IMAGES).program(0)
                kept[spec.id()] = chip.at("1 h")(IMAGES)
        return kept[spec.id()]

    return run


@pytest.mark.parametrize(("name", "key", "value"), list(knobs()))
def test_every_knob_moves_an_output(name, key, value, outputs):
    spec = MACHINES[name]
    other = spec.with_({key: value})
    assert not torch.equal(outputs(spec), outputs(other))


def costs():
    for name, spec in MACHINES.items():
        for p in parameters(spec):
            if p.key.startswith(ELSEWHERE):
                continue
            if p.key.split(".")[-1] in COST_ONLY - {"max_hertz"} and p.value is not None:
                yield pytest.param(
                    name, p.key, changed(p.key, p.value, spec), id=f"{name}: {p.key}"
                )


NO_COST = {
    "core.ldpu.clock_hertz": "slower than 512 ns of modulation only for many columns; test_legallo",
    "core.device.pulses.set.amperes": "no full SET pulse unless two devices are filled",
    "core.device.pulses.set.seconds": "the same in energy; in time the longer of SET and RESET",
    "core.device.pulses.reset.seconds": "the same",
}


@pytest.fixture(scope="module")
def paid():
    kept = {}

    def run(spec):
        if spec.id() not in kept:
            chip = aimc_sim.Chip.from_model(MODEL, spec).calibrate(IMAGES).program(0)
            chip(IMAGES[:4])
            report = chip.report()
            kept[spec.id()] = report.programming, report.cost
        return kept[spec.id()]

    return run


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize(("name", "key", "value"), list(costs()))
def test_every_cost_moves_the_report(name, key, value, paid):
    if (key in NO_COST and name != "max-set-fill") or key == "core.ldpu.clock_hertz":
        pytest.skip(NO_COST[key])
    assert paid(MACHINES[name]) != paid(MACHINES[name].with_({key: value}))


def test_the_list_of_exceptions_is_true_to_the_machines():
    """No exception names a parameter that does not exist."""
    known = {p.key for spec in MACHINES.values() for p in parameters(spec)}
    assert set(UNUSED) <= known
    assert all(isinstance(spec, Spec) for spec in MACHINES.values())
