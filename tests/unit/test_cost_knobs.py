"""Every parameter of time, energy and layout moves a time, an energy or a layout."""

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.performance import performance
from aimc_sim.chip import ledger
from aimc_sim.spec import BitSlicesEncoding
from aimc_sim.spec.parameters import parameters

SPEC = presets.hermes(read="1-phase")
SETTINGS = ("host.", "cost.", "mapping.", "fabric.")
LAYOUTS = {
    "mapping.placement": "one-hop",
    "mapping.blocks_per_core": 2,
    "mapping.replicate": (("first", 2),),
    "mapping.cores": (("first", (63,)),),
    "mapping.carry_inputs": True,
    "fabric.topology": "mesh",
    "fabric.rows": 2,
    "fabric.cols": 3,
    "chips": 2,
}
WHERE = {
    "cost.relay_joules_per_byte": {"fabric.topology": "ring"},  # some data crosses several links
    "cost.addition_joules": {"core.encoding": BitSlicesEncoding()},  # columns are added up
    "gdpu.slices": {"gdpu.clocks_per_output": 5},  # a slice is slower than its inputs
}
"""Machines on which some knobs count."""
ELSEWHERE = {
    "gdpu.bins", "gdpu.exact_tanh", "gdpu.bit_true", "gdpu.input_bits", "gdpu.output_bits",
    "gdpu.hidden_per_slice", "cost.membrane_unit", "cost.membrane_joules",
    "cost.membrane_latency_clocks", "cost.digital_joules", "cost.digital_operations_per_clock",
    "mapping.products",
}  # fmt: skip
"""Numbers of the global digital unit (tests/unit/test_gdpu.py), of spiking neurons
(tests/unit/test_spike_pulses.py) and of attention (tests/unit/test_written.py)."""


class Net(nn.Module):
    """A wide middle layer: three row blocks, whose chain needs links over more than one hop."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 60, 3, padding=1)
        self.middle = nn.Conv2d(60, 30, 3, padding=1)
        self.last = nn.Conv2d(30, 60, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return torch.relu(self.last(torch.relu(self.middle(x))) + x)


def look(spec):
    """Times, energies and places of a network, and of the chip paper's LSTM step."""
    compiled = aimc_sim.Chip.from_model(Net().eval(), spec).compiled
    found = [ledger.operation(spec, 32, 32 * 65536, 252, 4, 504)]
    for mode in ("pipelined", "host"):
        report = performance(compiled, spec, (3, 6, 6), images=2, mode=mode)
        found += [report.pipeline.first_image_ps, report.ledger.joules, report.area]
    found.append(ledger.core_mm2(spec.with_({"core.rows": 128})))
    return found, compiled.blocks, compiled.transfers, compiled.cores_available


@pytest.fixture(scope="module")
def plain():
    return look(SPEC)


def changes():
    for p in parameters(SPEC):
        if p.key in LAYOUTS:
            yield p.key, LAYOUTS[p.key]
        elif p.key.startswith((*SETTINGS, "gdpu.")) and p.key not in ELSEWHERE:
            yield p.key, int(2 * p.value) if isinstance(p.value, int) else 0.5 * p.value


@pytest.mark.parametrize(
    ("key", "value"), list(changes()), ids=lambda v: v if "." in str(v) else ""
)
def test_every_knob_of_time_energy_and_layout_counts(key, value, plain):
    base, spec = {"mapping.carry_inputs": True}, SPEC.with_({key: value})
    if key == "mapping.placement":  # what cannot be placed with direct links alone says so
        with pytest.raises(aimc_sim.errors.MappingError, match="one-hop"):
            look(spec.with_({"fabric.topology": "ring", **base}))
        return
    if key in WHERE:
        assert look(SPEC.with_(WHERE[key])) != look(spec.with_(WHERE[key]))
        return
    assert look(spec) != plain


def test_the_list_is_complete():
    known = {p.key for p in parameters(SPEC)}
    assert set(LAYOUTS) | ELSEWHERE <= known
    assert {"fabric.link_hertz", "cost.core_watts", "host.latency_seconds"} <= {
        key for key, _ in changes()
    }
