"""Matrices that are written into devices at inference: parity, laws, addresses, cores."""

import math

import naive
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aimc_sim import Chip, presets
from aimc_sim.analysis.performance import in_turn
from aimc_sim.chip import ledger
from aimc_sim.chip.program import DigitalStep, Program, WrittenBlock, WrittenProduct
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.lower import Step
from aimc_sim.mapping.written import lifetimes, place_written, write_products
from aimc_sim.rng import Key, Purpose
from aimc_sim.runtime import written
from aimc_sim.runtime.sizes import work_of
from aimc_sim.spec import PcmWriteLaw, WrittenSpec
from aimc_sim.spec.parameters import parameters

WRITTEN = {"mapping.products": (("*", "written"),), "calibration.clip_warning_fraction": 1.0}
B, T, D, H = 3, 5, 8, 2


class Attention(nn.Module):
    """Attention in the words of a function, between linear layers."""

    def __init__(self, how):
        super().__init__()
        self.how, self.inner = how, nn.Linear(D, 3 * D)
        self.out = nn.Linear(D, 4)

    def forward(self, x):
        b, t, _ = x.shape
        parts = self.inner(x).view(b, t, 3, H, D // H).permute(2, 0, 3, 1, 4)
        y = self.how(*parts.unbind(0))
        return self.out(y.transpose(1, 2).reshape(b, t, D).mean(1))


def by_hand(q, k, v):
    return (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v


def by_letters(q, k, v):
    scores = torch.einsum("bhtd,bhsd->bhts", q, k).softmax(-1)
    return torch.einsum("bhts,bhsd->bhtd", scores, v)


def merged(q, k, v):
    q, k, v = (part.reshape(-1, *part.shape[2:]) for part in (q, k, v))
    y = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
    return y.view(-1, H, *y.shape[1:])


def masked(q, k, v):
    seen = torch.ones(T, T, dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=0.3)


def added(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=-torch.arange(T).float()[None])


def causal(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def network(how=F.scaled_dot_product_attention):
    torch.manual_seed(1)
    return Attention(how).eval()


def images(n=B, t=T):
    return torch.from_numpy(np.random.default_rng(5).standard_normal((n, t, D), np.float32))


def chip_of(model, spec, x=None, seed=3):
    x = images() if x is None else x
    return Chip.from_model(model, spec, example=x[:2]).calibrate(x).program(seed)


@pytest.mark.parametrize(
    "how", [F.scaled_dot_product_attention, by_hand, by_letters, merged, masked, added, causal]
)
def test_ideal_devices_give_the_network(how):
    model, x = network(how), images()
    chip = chip_of(model, presets.ideal().with_(WRITTEN), x[:1].expand(2, -1, -1))
    assert len(chip.compiled.written) == 2
    torch.testing.assert_close(chip(x), model(x).detach(), rtol=1e-5, atol=2e-6)


def test_rows_that_see_nothing_are_zero_as_in_torch():
    def blind(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.arange(T)[:, None] > 0)

    model, x = network(blind), images()
    chip = chip_of(model, presets.ideal().with_(WRITTEN))
    torch.testing.assert_close(chip(x), model(x).detach(), rtol=1e-5, atol=2e-6)


def product(heads=2, rows=6, cols=5, cut=4, **attrs):
    cuts = [(0, min(cut, rows))] + ([(cut, rows)] if rows > cut else [])
    blocks = tuple(
        WrittenBlock(h, 0, start, stop, 0, cols, 4 * cols)
        for h in range(heads) for start, stop in cuts
    )  # fmt: skip
    attrs = {"transposed": False, "scale": None, **attrs}
    return WrittenProduct("p", "written_product", ("x", "m"), attrs, {}, (), blocks)


LAWS = {
    "exact": {"written.law": None},
    "rram": {},
    "pcm": {"written.law": PcmWriteLaw().model_dump(), "written.g_max_siemens": 25e-6},
    "one device": {"written.bits_per_cell": None, "written.slices": 1},
    "three slices, clipped": {
        "written.slices": 3, "written.clip_low": 2.0, "written.clip_high": 0.25,
    },
}  # fmt: skip


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("amperes", [None, 3e-6])
def test_product_is_that_of_the_slow_twin(law, read, amperes, rng):
    spec = presets.hermes(read=read).with_({
        "core.adc.bits": 7 if amperes else None, "core.adc.full_scale_amperes": amperes, **LAWS[law]
    })  # fmt: skip
    x, m = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 6), (2, 6, 5)))
    m[0, 0, 0] = 0
    key, full = np.array(Key(1).child(2).words()), (2.5, float(np.abs(m).max()))
    step, event = product(), 2**33 + 7
    call = written.of_array(step, spec, full, key)
    found = written.of_image(call, torch.from_numpy(x), torch.from_numpy(m), event)
    adc = None if amperes is None else (call.array.adc.step, call.array.adc.limit)
    if amperes is not None:  # full scale over read voltage and g_max, in 63 codes
        assert adc[0] * 63 == pytest.approx(amperes / 0.2 / spec.written.g_max_siemens)
    y, g = naive.written_product(
        x.astype(np.float64), m.astype(np.float64), spec.written, adc, read == "4-phase",
        step.row_cuts, full, [int(k) for k in key], event,
    )  # fmt: skip
    own = written.conductances(torch.from_numpy(m / np.float32(full[1])), call.array, event, key)
    np.testing.assert_allclose(own, g, atol=2e-5)
    # A charge beside the edge of a code may round either way: one code of some slice.
    off = np.abs(found.y.numpy() - y)
    if amperes is None:
        assert off.max() < 2e-4
    else:
        assert (off < 2e-4).mean() > 0.9


def test_law_of_a_write(rng):
    """Mean and standard deviation over 4,000 images, to five standard errors."""
    n, key = 4000, np.array(Key(2).words())
    for law, name in ((WrittenSpec().law, "rram"), (PcmWriteLaw(), "pcm")):
        own = WrittenSpec(law=law, slices=1, bits_per_cell=None, g_max_siemens=25e-6)
        own = own.with_({"law.gamma": 0.5, "law.sigma": 0.2}) if name == "rram" else own
        array = written.Devices(own, written.AS_IT_IS, True, ((0, 1),))
        u = torch.tensor([[[0.5, -0.8]]])
        g = np.stack([written.conductances(u, array, i, key)[0, 0, :, 0].numpy() for i in range(n)])
        aims = 0.004 + 0.996 * np.array([[0.5, 0], [0, 0.8]])
        for d, c in ((0, 0), (1, 1)):
            x = aims[d, c]
            if name == "rram":
                std = 0.1 * math.sqrt((x - 0.004) * (1 - x))
            else:
                std = (0.26348 + 1.9650 * x - 1.1731 * x * x) / 25
            assert abs(g[:, d, c].mean() - x) < 5 * std / math.sqrt(n)
            assert abs(g[:, d, c].std() / std - 1) < 5 / math.sqrt(2 * n)
        if name == "rram":  # no noise at the ends
            assert np.ptp(g[:, 1, 0]) == 0
        draws = (g[:, 0, 0] - aims[0, 0], g[:, 1, 1] - aims[1, 1])
        assert abs(np.corrcoef(*draws)[0, 1]) < 5 / math.sqrt(n)


def test_draws_belong_to_images_not_to_batches():
    model, x = network(), images(7)
    chip = chip_of(model, presets.hermes().with_(WRITTEN))
    whole = chip(x, first_image=0)
    parts = [chip(x[:2], first_image=0), chip(x[2:3], first_image=2), chip(x[3:], first_image=3)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)
    torch.testing.assert_close(chip(x, first_image=0, chunk=3), whole, rtol=0, atol=0)
    torch.testing.assert_close(chip(x, first_image=0), whole, rtol=0, atol=0)
    # Equal images have arrays of their own, so have other times and chips.
    same = chip(x[:1].expand(7, -1, -1), first_image=0)
    assert len({tuple(row.tolist()) for row in same}) > 1
    other = chip_of(model, presets.hermes().with_(WRITTEN), seed=4)(x, first_image=0)
    assert not torch.equal(other, whole)


def test_digital_and_written_products_by_pattern():
    choice = (("matmul*", "written"), ("matmul", "digital"))
    spec = presets.ideal().with_({"mapping.products": choice})
    chip = chip_of(network(by_hand), spec)
    assert [step.name for step in chip.compiled.written] == ["matmul_1"]
    nested = nn.ModuleDict({"a": network(), "b": network()})

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nested

        def forward(self, x):
            return self.parts["a"](x) + self.parts["b"](x)

    spec = presets.ideal().with_({"mapping.products": (("parts.b", "written"),)})
    chip = Chip.from_model(Both().eval(), spec, example=images())
    own = {step.attrs["inside"] for step in chip.compiled.written}
    assert own == {"parts.b"}
    assert len(chip.compiled.written) == 2


def test_a_file_keeps_the_arrays(tmp_path):
    x = images()
    chip = chip_of(network(), presets.hermes().with_(WRITTEN))
    chip.save(tmp_path / "chip.h5")
    again = Chip.load(tmp_path / "chip.h5")
    assert again.compiled.written == chip.compiled.written
    torch.testing.assert_close(again(x, first_image=0), chip(x, first_image=0), rtol=0, atol=0)


def test_sizes_beyond_the_layout_are_refused():
    model, spec = network(), presets.ideal().with_(WRITTEN)
    chip, longer = chip_of(model, spec), images(2, T + 4)
    with pytest.raises(ValueError, match=r"scores' writes 2 matrices of 4 x 9 .* 2 of 4 x 5: set"):
        chip(longer)
    room = chip_of(model, spec.with_({"written.max_tokens": 9}))
    assert [step.largest for step in room.compiled.written] == [(4, 9), (9, 4)]
    assert room(longer).shape == (2, 4)
    torch.testing.assert_close(room(images()), chip(images()), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"of 4 x 10 values .* for 2 of 4 x 9: set"):
        room(images(2, 10))


def test_what_cannot_be_written_is_refused():
    def shared(q, k, v):
        return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)

    def outer(q, k, v):
        return torch.einsum("bhtd,bhsd->bhtsd", q, k).sum(-1).softmax(-1) @ v

    spec = presets.hermes().with_(WRITTEN)
    for how, words in ((shared, "heads of queries share keys"), (outer, "no product of matrices")):
        with pytest.raises(ValueError, match=words):
            Chip.from_model(network(how), spec, example=images())
    bad = {"mapping.products": (("atention*", "written"),)}
    with pytest.raises(ValueError, match="matches no product of two values"):
        Chip.from_model(network(), presets.hermes().with_(bad), example=images())
    for changes, words in (
        ({"core.dac.encoding": "bit-serial"}, "bit-serial"),
        ({"core.adc": {"kind": "sense-amplifier"}, "core.g_max_rule": "device"}, "sense-amplifier"),
    ):
        with pytest.raises(ValueError, match=f"'{words}'"):
            Chip.from_model(network(), spec.with_(changes), example=images())


def test_calibrated_converters_hold_the_largest_current():
    model, x = network(), images()
    adc = {"core.adc.range": "calibrated", "core.adc.full_scale_amperes": None}
    quiet = {**WRITTEN, "written.law": None, "core.device": presets.pcm_ideal()}
    spec = presets.hermes().with_({**adc, **quiet, "core.g_max_rule": "device"})
    chip = chip_of(model, spec, x)
    ranges = chip.ranges.adc_amperes
    assert set(ranges) >= {step.name for step in chip.compiled.written}
    chip(x)
    for step in chip.compiled.written:
        assert 0 < ranges[step.name] < T * 0.2 * 10e-6
        # Only rounding of earlier layers lets a current exceed those of the float network.
        assert chip.counts[step.name].adc_saturated <= 0.02 * chip.counts[step.name].conversions


def deit(heads=6, tokens=197, d=64) -> tuple[Step, ...]:
    sizes = [[1, heads, tokens, d]] * 3
    attrs = {
        "args": [{"value": i} for i in range(3)], "kwargs": {}, "sizes": sizes, "inside": "attn",
        "axes": [0] * 3, "moves": [True] * 3, "free": [[False, False, True, False]] * 3,
    }  # fmt: skip
    made = tuple(DigitalStep(name, "mul", ("in",)) for name in ("q", "k", "v"))
    op = "scaled_dot_product_attention"
    return (*made, DigitalStep("a", op, ("q", "k", "v"), attrs))


def test_blocks_of_a_vision_transformer():
    """DeiT-S: 2 N d values per encoder, in blocks that fit 256 x 256 pairs of devices."""
    spec = presets.hermes().with_(WRITTEN)
    steps = write_products(deit(), spec)
    assert [step.name for step in steps] == ["q", "k", "v", "a.scores", "a.weights", "a"]
    keys, values = steps[3], steps[5]
    for step, sizes, blocks in ((keys, (64, 197), 4), (values, (197, 64), 1)):
        assert step.largest == sizes
        assert step.heads == 6
        assert len(step.blocks) == 6 * blocks
        assert all(b.rows <= 256 and b.cell_columns <= 256 for b in step.blocks)
        areas = [b.rows * (b.col_stop - b.col_start) for b in step.blocks]
        assert sum(areas) == 197 * 384
        assert all(b.cell_columns == 4 * (b.col_stop - b.col_start) for b in step.blocks)
    assert lifetimes(steps) == {"a.scores": (1, 3), "a": (2, 5)}
    placed = place_written(steps, spec, ())
    assert len({b.core for s in placed if isinstance(s, WrittenProduct) for b in s.blocks}) == 30
    two = (*deit(), *deit())  # of another encoder, after the first
    two = tuple(
        s if i < 4 else DigitalStep(f"{s.name}2", s.op, tuple(f"{n}2" for n in s.sources), s.attrs)
        for i, s in enumerate(two)
    )
    twice = write_products(two, spec)
    with pytest.raises(CapacityError, match=r"need 60 cores .* 'shared'"):
        place_written(twice, spec.with_({"fabric.rows": 4}), ())
    shared = place_written(twice, spec.with_({"written.cores": "shared"}), ())
    assert len({b.core for s in shared if isinstance(s, WrittenProduct) for b in s.blocks}) == 30
    packed = place_written(steps, spec.with_({"mapping.blocks_per_core": 4}), ())
    assert len({b.core for s in packed if isinstance(s, WrittenProduct) for b in s.blocks}) < 30


def test_keys_of_products_are_apart():
    spec, step = presets.hermes(), product()
    one = written.build(step, spec, _ranges(), (1.0, 1.0), 3, 0.0)
    assert tuple(one.key) == Key(3).child(Purpose.WRITTEN, ord("p")).at_time(0.0).words()
    later = written.build(step, spec, _ranges(), (1.0, 1.0), 3, 86400.0)
    assert tuple(one.key) != tuple(later.key)


def _ranges():
    from aimc_sim.chip.state import Ranges

    return Ranges({}, {}, 1)


def test_specification_refuses_contradictions():
    for changes, words in (
        ({"g_min_siemens": 1e-5}, "must be below g_max"),
        ({"bits_per_cell": None}, "set slices to 1"),
        ({"slices": 5, "bits_per_cell": 4}, "at most 16 bits"),
        ({"clip_high": 0.001}, "lies below g_min / g_max"),
    ):
        with pytest.raises(ValueError, match=words):
            WrittenSpec().with_(changes)
    # An identity knows of written devices where something is written.
    plain, changed = presets.hermes(), presets.hermes().with_({"written.slices": 3})
    assert plain.id() == changed.id()
    assert plain.with_(WRITTEN).id() != changed.with_(WRITTEN).id() != plain.id()


# ------------------------------------------------------------------------------ time and energy


def vision_transformer(spec, encoders=1):
    """The written products of encoders of DeiT-S, placed, and their work."""
    steps = ()
    for i in range(encoders):
        own = deit()
        names = {s.name: f"{s.name}{i}" for s in own}
        steps += tuple(
            DigitalStep(names[s.name], s.op, tuple(names.get(n, n) for n in s.sources), s.attrs)
            for s in own
        )
    placed = place_written(write_products(steps, spec), spec, ())
    program = Program("in", "a0", placed, (), spec.cores)
    sizes = {
        step.name: ledger.Factors(6, 197, *step.largest)
        for step in placed if isinstance(step, WrittenProduct)
    }  # fmt: skip
    return program, ledger.ImageWork({}, sizes)


def test_costs_of_a_vision_transformer_are_the_closed_forms():
    spec = presets.hermes().with_(WRITTEN)
    program, work = vision_transformer(spec)
    n, d, own, cost = 197, 384, spec.written, spec.cost
    assert work.values == 2 * n * d == 151_296
    assert sum(one.macs for one in work.written.values()) == 2 * n * n * d
    book = ledger.ledger(program, spec, {}, 1e-3, work=work)
    joules = book.by("component")
    assert joules["writing"] == pytest.approx(2 * n * d * 4 * 2 * own.pulse_joules)
    written = sum(e.events for e in book.entries if e.component == "writing")
    assert written == 2 * n * d * 4 * 2
    # Converters: 4 columns per value, keys on 4 column blocks per head, in 4 phases of 128 ns.
    columns = 6 * n * 4 * (n + 64)
    per_column = cost.adc_watts * 4 * 128e-9
    assert joules["converters"] > columns * per_column
    assert joules["converters"] == pytest.approx(columns * per_column, rel=0.2)  # and their counts
    assert joules["local digital unit"] == pytest.approx(
        6 * n * (n + 64) * cost.ldpu_joules_per_output
    )
    assert joules["shift and add"] == pytest.approx(6 * n * (n + 64) * 3 * cost.addition_joules)
    assert joules["static, cores"] == pytest.approx(30 * cost.core_watts * 1e-3)
    # All cores write at once: 64 rows of keys, 197 of values; then 197 MVMs of at most 256 columns.
    step = max(520e-9, 256 / 400e6)
    stages = ledger.one_by_one(program, spec, {}, work)
    assert stages["a0.scores, written"] == pytest.approx(64 * 100e-9)
    assert stages["a0, written"] == pytest.approx(197 * 100e-9)
    assert stages["a0"] == pytest.approx(197 * step)
    assert set(stages) == {"a0.scores, written", "a0.scores", "a0, written", "a0"}
    found = ledger.estimate(program, spec, {}, work)
    assert found.interval_seconds == pytest.approx(197 * (100e-9 + step))
    assert found.busiest == "a0"
    assert found.macs == 2 * n * n * d
    faster = spec.with_({"written.rows_at_a_time": 64})
    assert ledger.one_by_one(program, faster, {}, work)["a0, written"] == pytest.approx(4e-7)


def test_shared_cores_take_turns_and_wear_faster():
    own = presets.hermes().with_(WRITTEN)
    shared = own.with_({"written.cores": "shared", "written.pulses": 2})
    apart, together = (vision_transformer(spec, 2) for spec in (own, shared))
    assert [len(program.cores) for program, _ in (apart, together)] == [60, 30]
    assert ledger.inferences(apart[0], own) == 1e8
    assert ledger.inferences(together[0], shared) == 1e8 / (2 * 2)
    intervals = [
        ledger.estimate(program, own, {}, work).interval_seconds
        for program, work in (apart, together)
    ]  # fmt: skip
    assert intervals[1] == pytest.approx(2 * intervals[0], rel=0.05)


def test_a_chip_reports_what_attention_costs():
    x = images()
    chip = chip_of(network(), presets.hermes().with_(WRITTEN))
    chip(x)
    cost = chip.report().to_dict()["cost"]
    assert cost["written"]["values"] == 2 * T * D
    assert cost["written"]["devices"] == 2 * T * D * 8
    assert cost["written"]["products"] == 2
    assert cost["written"]["inferences"] == 1e8
    assert "values per image in 640 devices of 4 cores" in str(chip.report())
    digital = chip_of(network(), chip.spec.with_({"mapping.products": ()}))
    digital(x)
    parts = [one.used_ledger().by("component") for one in (chip, digital)]
    assert parts[0]["writing"] == pytest.approx(2 * T * D * 8 * 1e-12)
    assert "writing" not in parts[1]
    # Scores, softmax and sums of a head, then the mean over tokens: no more without energy.
    scores = H * T * T * (2 * D / H + 5 + 2 * D / H)
    operations = digital.work().operations
    assert operations["scaled_dot_product_attention"] == scores
    assert parts[1]["digital steps"] == pytest.approx(sum(operations.values()) * 3.25e-12)
    assert chip.work().operations["scaled_dot_product_attention.weights"] == 5 * H * T * T
    # A dry run counts the same.
    pixels, work = work_of(chip.compiled, (T, D))
    assert pixels == chip.pixels()
    assert work == chip.work()
    found = in_turn(chip.compiled, chip.spec, pixels, work)
    assert found.seconds == pytest.approx(cost["one_by_one_seconds"])
    assert found.interval_seconds == pytest.approx(cost["estimated_interval_seconds"])
    assert found.energy_delay_area == pytest.approx(
        found.ledger.joules * found.seconds * cost["used_mm2"]
    )
    assert "80 values per image" in str(found)
    assert found.to_dict()["values_written"] == 2 * T * D
    slow = chip.spec.with_({"cost.digital_operations_per_clock": 1e-3})
    assert in_turn(chip.compiled, slow, pixels, work).limited_by == "digital steps"


def test_writing_takes_most_of_the_time_where_pulses_are_long():
    """Writes of keys and values by pulses of 1 us, row by row."""
    spec = presets.hermes().with_({**WRITTEN, "written.pulse_seconds": 1e-6})
    program, work = vision_transformer(spec)
    stages = ledger.one_by_one(program, spec, {}, work)
    writing = sum(s for name, s in stages.items() if name.endswith(", written"))
    assert writing == pytest.approx((64 + 197) * 1e-6)
    assert writing / sum(stages.values()) > 0.5


KNOBS = {
    "written.g_min_siemens": 1e-6, "written.g_max_siemens": 2e-5, "written.slices": 3,
    "written.bits_per_cell": 1, "written.clip_low": 2.0, "written.clip_high": 0.25,
    "written.input_bits": 4, "written.rows_at_a_time": 2, "written.pulses": 2,
    "written.pulse_seconds": 2e-7, "written.pulse_joules": 2e-12, "written.endurance_cycles": 1e6,
    "written.max_tokens": 9, "written.law.gamma": 3.0, "written.law.sigma": 0.2,
    "cost.digital_joules": 1e-12, "cost.digital_operations_per_clock": 1.0,
}  # fmt: skip


def test_every_knob_moves_an_output_a_cost_or_a_layout():
    model, x, base = network(), images(), presets.hermes("odp").with_(WRITTEN)
    elsewhere = {"written.cores", "written.law.kind"}  # test_shared_cores, the laws
    known = {p.key for p in parameters(base) if p.key.startswith("written.")}
    assert known | {"cost.digital_joules", "cost.digital_operations_per_clock"} == (
        set(KNOBS) | elsewhere
    )

    def look(spec):
        chip = chip_of(model, spec)
        y = chip(x, first_image=0)
        return y.tolist(), chip.report().to_dict()["cost"], chip.compiled.written

    plain = look(base)
    for key, value in KNOBS.items():
        assert look(base.with_({key: value})) != plain, key
