"""Energy follows its causes; area as published."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.core import inputs
from aimc_sim.spec import CcoAdcSpec

SPEC = presets.hermes("tdp")
PARTS = ("array", "modulators", "converters")


def parts(changes=None, **load):
    return ledger.mvm_parts(SPEC.with_(changes or {}), **load)


@pytest.mark.parametrize(
    ("change", "factors"),
    {
        # twice as long at the same power: what is charged per pulse and per count stays
        "pulses twice as long": ({"core.dac.lsb_seconds": 2e-9}, (2, 1.9516, 1.9986)),
        "10 bits": ({"core.dac.bits": 10}, (511 / 127, 3.8548, 3.9956)),
        "6 bits": ({"core.dac.bits": 6}, (31 / 127, 0.2863, 0.2526)),
        "read voltage": ({"core.read.v_read_volts": 0.4}, (2, 1, 1.0035)),
        "half the conductance": ({"core.pcm.g_max_siemens": 10.35e-6}, (0.5, 1, 0.998)),
        "bits of the converter": ({"core.adc.bits": 13}, (1, 1, 1.0104)),
        "supply": ({"cost.supply_volts": 1.7}, (2, 1, 1)),
        "half the rows": ({"core.rows": 128}, (0.5, 0.5, 0.998)),
    }.items(),
)  # fmt: skip
def test_every_cause_acts_on_its_part(change, factors):
    name, (changes, *_) = change, factors
    wanted = factors[1] if isinstance(factors[0], dict) else factors
    changes = factors[0] if isinstance(factors[0], dict) else changes
    before, after = parts(), parts(changes)
    found = [getattr(after, p) / getattr(before, p) for p in PARTS]
    assert found == pytest.approx(list(wanted), rel=2e-3), name


def test_bit_serial_takes_its_time():
    """35 ns of 128 in every phase: a quarter of the energy, at a fifth more power."""
    before, after = parts(), parts({"core.dac.encoding": "bit-serial"})
    share = 35 / 128
    assert after.converters / before.converters == pytest.approx(share, rel=0.01)
    # seven pulses of half a picojoule instead of one
    assert after.modulators / before.modulators == pytest.approx(0.599, rel=0.01)
    serial = SPEC.with_({"core.dac.encoding": "bit-serial"})
    watts = [p.joules / inputs.mvm_seconds(s.core) for p, s in ((before, SPEC), (after, serial))]
    assert watts[1] < 1.25 * watts[0]


@pytest.mark.parametrize("bit_seconds", [5e-9, 127e-9, 1e-6])
def test_a_bit_plane_makes_no_more_counts_than_its_converter_has_codes(bit_seconds):
    """Full-scale current through every column for one plane: all codes, or the pulse's share."""
    spec = SPEC.with_({"core.dac.encoding": "bit-serial", "core.dac.bit_seconds": bit_seconds})
    adc = spec.core.adc
    full = 256 * adc.full_scale_amperes * bit_seconds
    made = ledger.mvm_parts(spec, charge=full).converters
    made -= ledger.mvm_parts(spec, charge=0.0).converters
    codes = 256 * adc.max_code * min(1.0, bit_seconds / 127e-9)
    assert made / spec.cost.adc_joules_per_count == pytest.approx(codes, rel=1e-6)


def test_the_load_counts():
    """No charge, no energy of the array; a quarter of the rows and columns, theirs."""
    nothing = parts(charge=0.0)
    assert nothing.array == 0.0
    quarter = parts(rows=64, cols=64, charge=0.0)
    assert quarter.modulators == pytest.approx(nothing.modulators / 4)
    assert quarter.converters == pytest.approx(nothing.converters / 4)


LONG_PLANES = {
    "bits": 3, "lsb": 3.8e-10, "read": "4-phase", "encoding": "bit-serial", "mode": "odp",
    "bit_seconds": 9.6e-7, "counters": False,
}  # fmt: skip
"""A bit plane lasts 850 times as long as a whole pulse would."""


@settings(max_examples=60, deadline=None)
@example(**LONG_PLANES, volts=0.375, adc=16, rows=12)
@example(**LONG_PLANES, volts=0.25, adc=11, rows=37)
@given(
    bits=st.integers(3, 12), lsb=st.floats(1e-10, 1e-8), volts=st.floats(0.05, 0.4),
    read=st.sampled_from(["4-phase", "1-phase"]), adc=st.sampled_from([4, 11, 16, None]),
    encoding=st.sampled_from(["pwm", "bit-serial"]), mode=st.sampled_from(["odp", "tdp"]),
    bit_seconds=st.floats(1e-9, 1e-6), rows=st.integers(8, 512), counters=st.booleans(),
)  # fmt: skip
def test_power_stays_within_the_physical_range(
    bits, lsb, volts, read, adc, encoding, mode, bit_seconds, rows, counters
):
    """A core that integrates draws what its circuits do at most: below 0.25 W per 256 rows.

    No power without a cause, none below that of its converters; and time costs energy.
    """
    changes = {
        "core.dac.bits": bits, "core.dac.lsb_seconds": lsb, "core.read.v_read_volts": volts,
        "core.dac.encoding": encoding, "core.dac.bit_seconds": bit_seconds, "core.rows": rows,
    }  # fmt: skip
    changes |= {"core.adc": CcoAdcSpec()} if counters else {"core.adc.bits": adc}
    spec = presets.hermes(mode, read).with_(changes)
    phases = 4 if read == "4-phase" else 1
    seconds = phases * inputs.integration_seconds(spec.core.dac)
    found = ledger.mvm_parts(spec)
    quiet = rows * spec.cost.modulator_watts + 256 * spec.cost.adc_watts
    pulse = rows * spec.cost.modulator_joules_per_pulse * phases * bits
    planes = inputs.magnitude_bits(spec.core.dac) if encoding == "bit-serial" else 1
    count = 256 * spec.cost.adc_joules_per_count * 2.0 ** (adc or 12) * planes
    assert quiet * seconds <= found.joules
    assert found.joules <= quiet * seconds + pulse + count + seconds * 256 * 100e-6 * 0.85
    slower = spec.with_({"core.dac.lsb_seconds": 2 * lsb, "core.dac.bit_seconds": 2 * bit_seconds})
    later = ledger.mvm_parts(slower)
    timed = found.joules - pulse - 2 * count
    assert later.joules >= 2 * timed - pulse
    assert later.joules > found.joules


def test_the_report_gives_the_energy_of_this_network():
    """Charge from the conductances that are there and the inputs that were run, by hand."""
    torch.manual_seed(0)
    model = nn.Linear(100, 20, bias=False)
    images = torch.randn(64, 100)
    chip = aimc_sim.Chip.from_model(model, SPEC).calibrate(images).program(0)
    bright, dim = [], []
    for scale, kept in ((1.0, bright), (0.25, dim)):
        chip.counts.clear()
        chip(images * scale)
        kept.append(chip.report().cost)
        codes = np.rint(scale * images.numpy() / chip.ranges.values["input"] * 127)
        g = chip.evaluation.tiles[0].polarities.sum(dtype=float) * SPEC.core.pcm.g_max_siemens
        charge = g * 0.2 * np.abs(codes).mean() * 1e-9
        cost = SPEC.cost
        found = kept[0]["joules_as_used_by_component"]
        assert found["array"] == pytest.approx(charge * cost.supply_volts, rel=1e-4)
        assert found["converters"] == pytest.approx(
            20 * cost.adc_watts * 512e-9 + charge / 12.414e-15 * cost.adc_joules_per_count, rel=1e-3
        )
    assert (
        dim[0]["joules_as_used"]
        < bright[0]["joules_as_used"]
        < bright[0]["estimated_joules_per_image"]
    )
    assert "as used" in str(chip.report())


def test_area():
    """One core of a chip: 1.392 mm2; the die is the sum of its parts; other cores scale."""
    chip = aimc_sim.Chip.from_model(nn.Linear(300, 40), SPEC)
    area = ledger.area(chip.compiled, SPEC)
    assert area.arrays == pytest.approx(2 * 0.6351)
    assert area.arrays + area.cores == pytest.approx(2 * 1.392)
    assert area.gdpus == pytest.approx(8 * 0.2807)
    assert area.dies == pytest.approx(144.0)
    small = SPEC.with_({"core.rows": 128})
    assert sum(ledger.core_mm2(small)) == pytest.approx(1.392 - 0.6 * 0.6351 / 2)
    from aimc_sim.analysis.performance import performance

    found = performance(chip.compiled, SPEC, (300,))
    assert found.to_dict()["tops_per_mm2"] == pytest.approx(found.tops / area.used)
    assert found.energy_delay_area == pytest.approx(
        found.ledger.joules * found.ledger.seconds * area.used
    )
    assert "mm2 of dies" in str(found)
