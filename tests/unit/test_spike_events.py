"""Counts of real spikes and the energy of gating: against loops, and against the specification."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spiking_networks import coarse, made, spikes
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.runtime import events
from aimc_sim.runtime.calls import LayerCall
from aimc_sim.spiking import SNU, SoftSNU

pytestmark = pytest.mark.filterwarnings("ignore:layer")

SMALL = presets.hermes("odp").with_({"core.rows": 16, "core.cols": 8})


def chip_of(model, x, spec=None, **more):
    spec = presets.hermes("odp") if spec is None else spec
    return aimc_sim.Chip.from_model(model, spec, **more).calibrate(x).program(0)


def test_rows_of_a_convolution_by_loops():
    """Blocks of 7 rows begin and end inside channels; zeros around the map drive nothing."""
    model = nn.Sequential(nn.Conv2d(5, 3, 3, padding=1, stride=2), nn.Flatten(), nn.Linear(27, 2))
    x = spikes(4, 5, 6, 6, share=0.15)
    layer = chip_of(model.eval(), x, SMALL.with_({"core.rows": 7})).compiled.layers[0]
    found = events.of_rows(LayerCall(layer, None, (), True), x, None)
    wanted = []
    columns = nn.functional.unfold(x, 3, 1, 1, 2).transpose(1, 2).reshape(-1, 45).numpy()
    for start, stop in events.row_blocks(layer):
        part = columns[:, start:stop]
        wanted.append([len(part), sum(not row.any() for row in part), part.sum(), part.size])
    assert len(wanted) == 7
    assert found.tolist() == np.array(wanted).astype(int).tolist()
    assert 0 < found[:, events.SILENT].sum() < found[:, events.MVMS].sum()
    some = torch.tensor([True, False, True, True])
    assert torch.equal(
        events.of_rows(LayerCall(layer, None, (), True), x, some),
        events.of_rows(LayerCall(layer, None, (), True), x[some], None),
    )


def test_sums_that_a_library_rounds_count_as_whole_numbers(monkeypatch):
    """Kernels that transform their inputs miss whole numbers: a silent block is silent still."""
    model = nn.Sequential(nn.Conv2d(5, 3, 3, padding=1), nn.Flatten(), nn.Linear(108, 2))
    x = spikes(4, 5, 6, 6, share=0.05)
    layer = chip_of(model.eval(), x, SMALL.with_({"core.rows": 7})).compiled.layers[0]
    call = LayerCall(layer, None, (), True)
    wanted, exact = events.of_rows(call, x, None), events.convolve
    assert wanted[:, events.SILENT].all()
    monkeypatch.setattr(events, "convolve", lambda *arguments: exact(*arguments) + 1e-6)
    assert torch.equal(events.of_rows(call, x, None), wanted)


def test_spikes_and_words_by_loops():
    y = spikes(5, 7, 3, share=0.2)  # (B, T, neurons)
    silent = single = 0
    for b in range(5):
        for n in range(3):
            total = sum(int(v) for v in y[b, :, n])
            silent, single = silent + (total == 0), single + (total == 1)
    wanted = [[105, int(y.sum()), 15, silent, single]]
    assert events.of_neurons(y, 1).tolist() == wanted
    assert events.of_neurons(y.transpose(0, 1), 0).tolist() == wanted
    assert silent
    assert single


@pytest.mark.parametrize("batch_first", [False, True])
def test_rows_driven_are_the_spikes_of_the_layer_before(batch_first):
    model = made(SNU, batch_first, recurrent=True)
    x = spikes(6, 9, 12) if batch_first else spikes(9, 6, 12)
    chip = chip_of(model, x)
    chip(x)
    found = chip.spiking_report()
    by_name = {row.name: row for row in found.layers}
    one, two = found.neurons
    assert (one.outputs, one.words) == (9 * 20, 20)
    assert by_name["two"].driven_rows == pytest.approx(one.spikes)
    assert by_name["out"].driven_rows == pytest.approx(two.spikes)
    assert by_name["one.recurrent_weight"].driven_rows < one.spikes  # not those of the last step
    assert by_name["two"].rows == 9 * 20
    assert by_name["two"].mvms == 9
    assert found.spikes == pytest.approx(one.spikes + two.spikes)


def test_gating_saves_the_drivers_of_the_rows_that_were_counted():
    """By hand from the specification, and as the same network without those drivers would cost."""
    model, x = made(SNU), spikes(9, 6, 12, share=0.2)
    chip = chip_of(model, x)
    chip(x)
    found, cost = chip.spiking_report(), chip.spec.cost
    seconds, phases = 2 * 128e-9, 2
    driver = cost.modulator_watts * seconds + phases * cost.modulator_joules_per_pulse
    for row in found.layers:
        assert row.row_joules == pytest.approx((row.rows - row.driven_rows) * driver)
        columns = {"two": 9, "out": 4}[row.name]
        converter = columns * cost.adc_watts * seconds
        assert row.block_joules == pytest.approx(row.silent_mvms * converter)
    free = chip.spec.with_({"cost.modulator_watts": 0.0, "cost.modulator_joules_per_pulse": 0.0})
    chip.spec = free
    without = chip.spiking_report()
    for row, other in zip(found.layers, without.layers, strict=True):
        drivers = row.joules - other.joules
        assert drivers == pytest.approx(row.rows * driver)
        assert other.row_joules == 0
    assert found.gated_joules == pytest.approx(
        found.joules - found.row_joules - found.block_joules
    )  # fmt: skip
    book = dict.fromkeys(("array", "modulators", "converters"), 0.0)
    chip.spec = free.with_({"cost.modulator_watts": cost.modulator_watts})
    for entry in chip.used_ledger().entries:
        if entry.layer in ("two", "out") and entry.component in book:
            book[entry.component] += entry.joules
    assert sum(book.values()) == pytest.approx(
        sum(row.joules for row in chip.spiking_report().layers)
    )


def test_pieces_and_parts_of_a_batch_count_alike():
    model, x = made(SNU, recurrent=True), spikes(8, 6, 12)
    whole, pieces, parts = (chip_of(model, x) for _ in range(3))
    whole(x)
    stream = pieces.stream()
    for piece in x.split([3, 1, 4]):
        stream(piece)
    parts(x, chunk=4)
    wanted = whole.spiking_report()
    for found in (pieces.spiking_report(), parts.spiking_report()):
        assert found.layers == wanted.layers
        assert found.spikes == pytest.approx(wanted.spikes)
    assert parts.spiking_report() == wanted
    words = pieces.spiking_report().neurons[0].words
    assert words == 3 * wanted.neurons[0].words  # of three pieces each


def test_split_rows_are_counted_core_by_core():
    """20 inputs on crossbars of 16 rows and 8 columns: two blocks of rows, two of columns."""
    model, x = made(SNU), spikes(9, 6, 12)
    chip = chip_of(model, x, SMALL)
    chip(x)
    row = next(row for row in chip.spiking_report().layers if row.name == "two")
    assert row.mvms == 9 * 4
    assert row.rows == 9 * 2 * 20
    assert row.driven_rows == pytest.approx(2 * chip.spiking_report().neurons[0].spikes)


def test_texts_and_refusals():
    model, x = made(SNU), spikes(9, 6, 12)
    chip = chip_of(model, x)
    with pytest.raises(ValueError, match="no input was run yet"):
        chip.spiking_report()
    chip(x)
    found = chip.spiking_report()
    text = str(found)
    assert "one.neurons" in text
    assert "rows gated" in text
    assert "one.neurons" in found._repr_html_()
    assert found.to_dict()["neurons"][0]["name"] == "one.neurons"
    torch.manual_seed(1)
    plain = chip_of(coarse(nn.Sequential(nn.Linear(12, 3))), spikes(4, 12))
    plain(spikes(4, 12))
    with pytest.raises(ValueError, match="no spiking neurons and no layer that reads spikes"):
        plain.spiking_report()
    soft = chip_of(made(SoftSNU), x)
    soft(x)
    assert soft.spiking_report().neurons == ()
    assert "no spiking neurons" in str(soft.spiking_report())


def test_a_network_that_stays_silent_has_a_report():
    """No spike, no conversion: MVMs are there all the same, all of them silent."""
    model = made(SNU, recurrent=True)
    chip = chip_of(model, spikes(9, 6, 12))
    chip(torch.zeros(9, 6, 12))
    found = chip.spiking_report()
    assert found.spikes == 0
    for row in found.layers:
        assert row.silent_mvms == row.mvms == 9
        assert row.driven_rows == 0
        assert row.gated_joules == pytest.approx(0, abs=1e-20)
    assert "per spike" not in str(found)
    assert chip.report().cost is not None


def test_neurons_that_are_written_out_step_by_step():
    """The matrix that reads comparisons is called once a step; each call counts its own rows."""

    class Stepwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(12, 10), nn.Linear(10, 3)

        def forward(self, x):
            s, total = 0.0, 0.0
            for t in range(3):
                s = 0.5 * s + self.one(x[:, t])
                y = (s > 0.2).float()
                s = s * (1 - y)
                total = total + self.two(y)
            return total

    torch.manual_seed(2)
    x = spikes(5, 3, 12)
    chip = chip_of(coarse(Stepwise()), x, example=x)
    chip(x)
    found = chip.spiking_report()
    assert [row.name for row in found.layers] == ["two", "two#2", "two#3"]
    assert [row.mvms for row in found.layers] == [1, 1, 1]
    assert all(0 < row.driven_rows < row.rows == 10 for row in found.layers)
    assert chip.report().cost["core_mvms"] == 6
