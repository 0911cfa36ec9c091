"""Recurrent execution against a plain twin, code by code; other cells against torch."""

from __future__ import annotations

from dataclasses import replace

import naive_recurrent
import numpy as np
import pytest
import torch
from interpreter import settle
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import gdpu, gdpu_cells
from aimc_sim.core import converters
from aimc_sim.runtime import whole
from aimc_sim.runtime.calls import LoopCall
from aimc_sim.spec import CcoAdcSpec
from aimc_sim.spec.gdpu import GdpuSpec

HALF, SINGLE = GdpuSpec(), GdpuSpec(bit_true=False)


def quiet(bit_true, **changes):
    """Integers and tables of the chip, without any noise or error of devices."""
    return presets.ideal_devices(presets.hermes("odp")).with_(
        {"gdpu.bit_true": bit_true, **changes}
    )


def twin_of(chip, model, x):
    """Return the twin's output codes (B, T, H) and cell states (B, H)."""
    values, links, spec = chip.ranges.values, chip.ranges.links, chip.spec
    adc = converters.adc(spec.core)
    adc = adc.step, adc.limit
    hidden = model.hidden_size
    weights = {key: getattr(model, f"weight_{key}_l0").detach().numpy().T for key in ("ih", "hh")}
    bias = (model.bias_ih_l0 + model.bias_hh_l0).detach().numpy()
    steps = {key: values[f"LSTM.weight_{key}_l0"] / 127 for key in weights}

    def chained(key):
        name = f"LSTM.weight_{key}_l0"
        blocks = chip.compiled.layer(name).blocks
        cuts = [0, *(block.row_stop for block in blocks)]
        partial = [links[f"{name}[{i},0]"] / 127 for i in range(len(blocks) - 1)]
        return cuts, [*partial, steps[key]]

    def product(key, codes, input_step, offset, link):
        cuts, outs = chained(key)
        return naive_recurrent.chain(
            codes, weights[key], cuts, input_step, adc, offset, link, steps["ih"], outs
        )

    step = values["input"] / 127
    given = np.clip(np.rint(x.numpy() / step), -127, 127)
    products = (
        lambda codes: product("ih", codes, step, None, None),
        lambda codes, link: product("hh", codes, 1 / 127, bias, link),
    )
    table = gdpu.tanh_table(spec.gdpu.bins, spec.gdpu.bit_true)
    made = [
        naive_recurrent.lstm(seq, products, hidden, steps["hh"], table, spec.gdpu.bit_true)
        for seq in given
    ]
    return np.array([codes for codes, _ in made]), np.array([cell for _, cell in made])


def lstm_on(spec, inputs=10, hidden=6, gain=3.0):
    torch.manual_seed(7)
    model = settle(nn.LSTM(inputs, hidden, batch_first=True)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)  # large gates: all bins of the tables are visited
    x = torch.randn(4, 7, inputs, generator=torch.Generator().manual_seed(3))
    return aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0), model, x


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("bit_true", [True, False])
@pytest.mark.parametrize("rows", [256, 5])
def test_lstm_equals_the_twin(bit_true, rows):
    """Code by code over seven time steps; with five rows, partial sums travel on links too."""
    chip, model, x = lstm_on(quiet(bit_true, **{"core.rows": rows}))
    assert len(chip.compiled.layer("LSTM.weight_ih_l0").blocks) == -(-10 // rows)
    outputs, (h, c) = chip(x)
    codes, cells = twin_of(chip, model, x)
    np.testing.assert_array_equal((outputs * 127).round().numpy(), codes)
    np.testing.assert_array_equal((h[0] * 127).round().numpy(), codes[:, -1])
    # float32 of the unit beside the twin's double; float16 is the same in both
    np.testing.assert_allclose(c[0].numpy(), cells, rtol=0, atol=0 if bit_true else 1e-5)
    assert len(np.unique(codes)) > 60  # far from trivial
    assert (np.abs(codes) == 127).sum() < codes.size / 2


@pytest.mark.filterwarnings("ignore:layer")
def test_the_twin_notices():
    """Half a code of the gates, a lost bias, another table: all change codes."""
    chip, model, x = lstm_on(quiet(True))
    outputs = (chip(x)[0] * 127).round().numpy()
    codes, _ = twin_of(chip, model, x)
    np.testing.assert_array_equal(outputs, codes)
    values = dict(chip.ranges.values)
    name = "LSTM.weight_hh_l0"
    kept = chip.ranges
    chip.ranges = replace(kept, values={**values, name: values[name] * (1 + 0.5 / 127)})
    assert (twin_of(chip, model, x)[0] != outputs).any()
    chip.ranges = kept
    finer = lstm_on(quiet(True, **{"gdpu.bins": 34}))[0]
    assert not np.array_equal((finer(x)[0] * 127).round().numpy(), outputs)
    with torch.no_grad():
        model.bias_hh_l0[0] += 0.2
    assert (twin_of(chip, model, x)[0] != outputs).any()


# ------------------------------------------------------------- cells of the digital unit


def exact():
    return GdpuSpec(exact_tanh=True, bit_true=False, input_bits=None, output_bits=None)


def beside_torch(kind, spec, rng, steps=8, hidden=9, batch=5, **options):
    """Run torch's cell and the unit's side by side from true pre-activations; largest error."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        cell = getattr(nn, f"{kind}Cell")(6, hidden, **options)
    h, ours, worst = torch.zeros(batch, hidden), np.zeros((batch, hidden), np.float32), 0.0
    for _ in range(steps):
        x = torch.from_numpy(rng.normal(0, 1.5, (batch, 6)).astype(np.float32))
        with torch.no_grad():
            gates = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
            state = nn.functional.linear(torch.from_numpy(ours), cell.weight_hh, cell.bias_hh)
            h = cell(x, h)
        if kind == "GRU":
            done = gdpu_cells.gru_step(gates.numpy(), state.numpy(), ours, 1.0, 1.0, 1.0, spec)
        else:
            function = options.get("nonlinearity", "tanh")
            done = gdpu_cells.rnn_step((gates + state).numpy(), 1.0, 1.0, spec, function)
        ours = done.cell
        np.testing.assert_allclose(done.codes, done.cell, rtol=0, atol=0)  # nothing is rounded
        worst = max(worst, float(np.abs(ours - h.numpy()).max()))
    return worst


CELLS = [("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})]


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_cell_with_exact_functions_is_torch(kind, options, rng):
    assert beside_torch(kind, exact(), rng, **options) < 5e-6  # float32, eight steps


@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize("unit", [HALF, SINGLE])
def test_cell_with_tables_stays_near(kind, options, unit, rng):
    """A table is off by 0.0025 and a sigmoid by half of it; states carry a part of it on."""
    spec = unit.with_(input_bits=None, output_bits=None)
    error = beside_torch(kind, spec, rng, **options)
    if "nonlinearity" in options:
        assert error < (0.02 if unit is HALF else 5e-6)  # no table; values up to 10 in float16
    else:
        assert 0.0005 < error < 0.02


def test_one_step_within_the_bound_of_the_table(rng):
    """From equal states: tanh E = 0.0025 (float16: 0.003), sigmoid half of it."""
    x, h = rng.normal(0, 2, (2, 400, 9)).astype(np.float32)
    before = rng.uniform(-1, 1, (400, 3)).astype(np.float32)
    r, z = (naive(x[:, s] + h[:, s]) for s in (slice(0, 3), slice(3, 6)))
    n = np.tanh(x[:, 6:] + r * h[:, 6:])
    expected = n + z * (before - n)
    for unit, tanh_error in ((SINGLE, 0.00252), (HALF, 0.0045)):
        done = gdpu_cells.gru_step(x, h, before, 1.0, 1.0, 127.0, unit)
        off = np.abs(done.cell - expected)
        # (1 - z) dn + |h - n| dz, and r enters n with the slope of tanh, at most |h_n|
        bound = (1 - z) * (tanh_error + np.abs(h[:, 6:]) * tanh_error / 2)
        bound = bound + np.abs(before - n) * tanh_error / 2 + 1e-3 * (unit is HALF) + 1e-5
        assert (off <= bound).all()
        assert off.max() > 0.001  # the table is in use
        np.testing.assert_array_equal(done.codes, np.rint(done.codes))
        assert np.abs(done.codes - 127 * done.cell).max() <= 0.5 + 0.07 * (unit is HALF)


def naive(x):
    return np.vectorize(naive_recurrent.logistic)(x.astype(float))


def test_scales_of_codes_and_saturation():
    codes = np.array([[127, -127, 0, 64]], np.float32)
    done = gdpu_cells.rnn_step(codes, 0.5, 100.0, HALF, "relu")
    np.testing.assert_array_equal(done.codes, [[127, 0, 0, 127]])
    np.testing.assert_array_equal(done.cell, [[63.5, 0, 0, 32]])
    assert done.saturated == 2
    quiet_unit = gdpu_cells.rnn_step(codes, 2.0**-20, 127.0, HALF)
    np.testing.assert_array_equal(quiet_unit.codes, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="register scale holds"):
        gdpu_cells.rnn_step(codes, 1e6, 1.0, HALF)


def test_gru_keeps_what_it_did_not_send():
    """The state that is kept is no integer: small steps add up, as in torch."""
    inputs = np.zeros((1, 3), np.float32)
    inputs[0, 1], inputs[0, 2] = 5.0, 0.2  # the update gate is nearly closed
    state = np.zeros((1, 1), np.float32)
    codes = np.zeros((1, 3), np.float32)
    seen = []
    for _ in range(40):
        done = gdpu_cells.gru_step(inputs, codes, state, 1.0, 1.0, 127.0, SINGLE)
        state = done.cell
        seen.append(float(done.codes[0, 0]))
    assert seen[0] == 0  # below half a code
    assert seen[-1] > 3
    assert 0 < state[0, 0] < np.tanh(0.2)


# ------------------------------------------------------------- all time steps in one pass


def small_network(kind, **options):
    torch.manual_seed(5)
    model = settle(getattr(nn, kind)(12, 40, batch_first=True, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model, torch.randn(9, 11, 12, generator=torch.Generator().manual_seed(2))


def step_by_step(chip, x, monkeypatch, **named):
    with monkeypatch.context() as patch:
        patch.setattr(whole, "PASSES", None)
        chip.counts.clear()
        found = chip(x, **named)
    return found, dict(chip.counts)


CORES = {
    "one core": {}, "three cores": {"core.cols": 64},
    "float32 local unit": {"core.ldpu.bit_true": False}, "1-phase": {"core.read.mode": "1-phase"},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("changes", CORES)
def test_one_pass_equals_steps(kind, changes, monkeypatch):
    """The same noise; sums of a row in another order, so that a rare code falls the other way.

    Of 9 x 11 x 40 outputs at most 1 in 50 may differ, each by a few codes; a wrong noise address,
    a gate in another place or a lost link changes nearly all.
    """
    model, x = small_network(kind)
    spec = presets.hermes("odp").with_(CORES[changes])
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0).at("1 h")
    plan = chip.evaluation.bare_plan(chip.compiled)
    loop = next(call for call in plan.calls if isinstance(call, LoopCall))
    assert plan.whole(loop) is not None
    (slow, _), counted = step_by_step(chip, x, monkeypatch, first_image=0)
    chip.counts.clear()
    fast, _ = chip(x, first_image=0)
    wrong = (fast - slow).abs() > 1e-6
    assert wrong.float().mean() < 0.02
    assert slow.abs().max() > 0.5
    name = f"{kind}.weight_hh_l0"
    one, other = chip.counts[name], counted[name]
    for what in ("images", "mvms", "outputs", "inputs", "conversions"):
        assert getattr(one, what) == getattr(other, what), what
    assert one.mean_magnitude == pytest.approx(other.mean_magnitude, rel=1e-3)
    assert one.adc_saturated == pytest.approx(other.adc_saturated, abs=2 + 0.01 * one.mvms)
    assert one.output_clipped == pytest.approx(other.output_clipped, abs=3)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_one_pass_does_not_depend_on_the_batch(kind):
    model, x = small_network(kind, bidirectional=True)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    every, _ = chip(x, first_image=0)
    parts = [chip(x[a:b], first_image=a)[0] for a, b in ((0, 1), (1, 6), (6, 9))]
    assert torch.equal(every, torch.cat(parts))
    first, _ = chip(x[:, :4], first_image=0)
    assert torch.equal(first[..., :40], every[:, :4, :40])


@pytest.mark.parametrize(
    "changes",
    [{"core.rows": 32}, {"gdpu.bit_true": False}, {"core.dac.encoding": "bit-serial"},
     {"core.adc": CcoAdcSpec()}, {"core.pcm.read_noise": None}],
)  # fmt: skip
def test_what_one_pass_does_not_do_goes_step_by_step(changes):
    """Partial sums, a float32 unit, bit planes, circuits, phases that are converted apart."""
    model, x = small_network("GRU")
    spec = presets.hermes("odp").with_(changes)
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0)
    plan = chip.evaluation.bare_plan(chip.compiled)
    assert plan.whole(next(call for call in plan.calls if isinstance(call, LoopCall))) is None
    assert torch.isfinite(chip(x)[0]).all()


@pytest.mark.parametrize("bits", [8, None])
def test_the_compiled_gru_is_its_twin_bit_for_bit(bits, rng):
    spec = HALF.with_(output_bits=bits)
    inputs, codes = rng.integers(-127, 128, (2, 300, 3 * 17)).astype(np.float32)
    state = rng.uniform(-1, 1, (300, 17)).astype(np.float16).astype(np.float32)
    scales = (0.031, 0.02, 127.0)
    done = gdpu_cells.gru_step(inputs, codes, state, *scales, spec)
    twin = gdpu_cells.gru_step_by_arrays(inputs, codes, state, *scales, spec)
    np.testing.assert_array_equal(done.codes, twin.codes)
    np.testing.assert_array_equal(done.cell, twin.cell)
    assert done.saturated == twin.saturated
