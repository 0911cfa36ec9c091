"""The noise of training under encodings of weights, against devices that the simulator programs.

Every output has n = 16,000 to 65,000 independent cells; a standard deviation is held to 5 standard
errors (1.4 to 2.8 %), an error of 6 % is shown to be noticed, a mean to 0.04 standard deviations.
The noise of a reference column is common to a row of outputs: 2,048 rows hold its standard
deviation to 8 %, and one of 15 % is shown to be noticed.
"""

import numpy as np
import pytest
import torch
from checks import assert_mean, assert_std
from torch import nn

from aimc_sim import presets
from aimc_sim.core import encodings, programming, tile
from aimc_sim.device.request import net_of
from aimc_sim.spec import (
    BitSlicesEncoding,
    FaultSpec,
    OffsetColumnEncoding,
    SeveralDevicesEncoding,
)
from aimc_sim.training import TrainingSpec, prepare
from aimc_sim.training.law import weight_law

DAY = 86400.0
ODP = presets.hermes("odp")
KINDS = {
    "offset": OffsetColumnEncoding(),
    "slices": BitSlicesEncoding(weight_bits=8, bits_per_cell=2),
    "uneven slices": BitSlicesEncoding(weight_bits=7, bits_per_cell=4),
    "equal": SeveralDevicesEncoding(devices=3),
    "fill": SeveralDevicesEncoding(devices=3, order="fill"),
}
AGES = {"now": (0.0, {}), "day": (DAY, {"drift_seconds": (DAY, DAY), "compensation": "none"})}
OFF = {"input_range": "off", "output_range": "off"}


def machine(name, **more):
    return ODP.with_({"core.encoding": KINDS[name], **more})


def simulated(core, state, t, key):
    """(255, outputs) effective weights of one state, in units of w_max, with fresh noise."""
    encoding = encodings.of(core)
    block = np.full((256, encoding.capacity(256)), state)
    block[0] = 1.0
    written = programming.program(block, core, key)
    now = tile.elements_at(written, core, t, key)
    net = net_of(now.g.astype(float), encoding.polarities)
    fresh = np.sqrt((now.fresh.astype(float) ** 2).sum(0))
    net = net + fresh * key.child(99).generator().standard_normal(net.shape)
    found = encodings.combined(net, encoding.groups(net.shape[1])) / written.siemens_per_weight
    return found[1:]


def trained(spec, options, state, seed=0):
    """One draw of the same weights as a prepared dense layer has them."""
    outputs = encodings.of(spec.core).capacity(256)
    layer = nn.Linear(256, outputs, bias=False)
    layer.weight.data.fill_(state)
    layer.weight.data[:, 0] = 1.0
    prepared = prepare(layer, spec, TrainingSpec(**OFF, **options), seed).train()
    with torch.no_grad():
        return prepared(torch.eye(256))[1:].numpy().astype(float)


def expected(spec, ages, state):
    """Mean, standard deviation of an output's own cells, and of what a row has in common."""
    law = weight_law(spec.core, ages)
    clock = law.clock[0]
    mean, std, zero = law.at(clock)
    if law.shared(clock) is not None:
        x = np.linspace(-1, 1, len(mean))
        return np.interp(state, x, mean), np.interp(state, x, std), law.shared(clock)
    x = np.linspace(0, 1, len(mean))
    size = np.rint(abs(state) * (len(x) - 1)) / (len(x) - 1) if law.rounds else abs(state)
    spread = zero if state == 0 else np.interp(size, x, std)
    return np.sign(state) * np.interp(size, x, mean), spread, 0.0


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("state", [-0.4, 0.0, 0.15, 0.9])
@pytest.mark.parametrize("name", KINDS)
def test_moments_are_those_of_the_devices(name, state, age, key):
    spec, (t, options) = machine(name), AGES[age]
    mean, own, shared = expected(spec, options.get("drift_seconds"), state)
    samples = [
        [simulated(spec.core, state, t, key.child(i)) for i in range(8 if shared else 1)],
        [trained(spec, options, state, i) for i in range(8 if shared else 1)],
    ]
    for sample in samples:
        rows = [draw.mean(axis=1) for draw in sample]
        if shared:
            whole = np.concatenate(rows)
            # A row's mean has a share of the cells' own noise left.
            spread = np.sqrt(shared**2 + own**2 / sample[0].shape[1])
            assert_std(whole, spread)
            assert_mean(whole, mean)
            with pytest.raises(AssertionError):
                assert_std(1.15 * whole, spread)
            alone = sample[0] - rows[0][:, None]
            assert_std(alone, own)
            with pytest.raises(AssertionError):
                assert_std(1.06 * alone, own)
            continue
        assert_std(sample[0], own)
        assert_mean(sample[0], mean)
        with pytest.raises(AssertionError):
            assert_std(1.06 * sample[0], own)
        with pytest.raises(AssertionError):
            assert_mean(sample[0] + 0.1 * own, mean)


@pytest.mark.parametrize("name", ["offset", "slices"])
def test_stuck_devices_are_measured(name, key):
    """Without a closed form crossbars are programmed: held to 6 %, means to 0.05."""
    faults = FaultSpec(stuck_set_fraction=0.01, stuck_reset_fraction=0.01, stuck_set_siemens=10e-6)
    spec = machine(name, **{"core.device.faults": faults})
    for state in (-0.4, 0.9):
        mean, own, shared = expected(spec, None, state)
        draws = [simulated(spec.core, state, 0.0, key.child(i)) for i in range(4)]
        found = np.concatenate([draw.ravel() for draw in draws])
        assert abs(found.std() / np.hypot(own, shared) - 1) < 0.06
        assert abs(found.mean() - mean) < 0.05 * np.hypot(own, shared) + 5 * shared / 32
        plain = expected(machine(name), None, state)
        assert np.hypot(own, shared) > 1.2 * np.hypot(*plain[1:])


def test_integer_weights_are_what_is_trained():
    """Without noise: the rounded weights, with the gradient of the weights themselves."""
    spec = presets.ideal_devices(machine("slices")).with_(
        {"core.encoding": BitSlicesEncoding(weight_bits=4, bits_per_cell=1)}
    )
    layer = nn.Linear(30, 20, bias=False)
    prepared = prepare(layer, spec, TrainingSpec(**OFF), 0).train()
    y = prepared(torch.eye(30))
    y.sum().backward()
    w = layer.weight.detach()
    unit = w.abs().max() / 7
    torch.testing.assert_close(y.detach().T, (w / unit).round() * unit, rtol=1e-5, atol=1e-6)
    assert (y.detach().T - w).abs().max() > 0.3 * unit
    (gradient,) = (p.grad for p in prepared.parameters())
    torch.testing.assert_close(gradient, torch.ones_like(gradient))


def test_more_bits_than_a_table_holds_are_refused():
    spec = ODP.with_({"core.encoding": BitSlicesEncoding(weight_bits=20, bits_per_cell=4)})
    with pytest.raises(ValueError, match="at most 16 bits"):
        prepare(nn.Linear(4, 4), spec)
    prepare(nn.Linear(4, 4), spec, TrainingSpec(weight_noise="gaussian"))


def test_a_step_with_all_encodings_trains():
    """Converters of the specification run on, several conversions or one; gradients are finite."""
    x = torch.randn(16, 30, generator=torch.Generator().manual_seed(0))
    for name in KINDS:
        model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 5))
        options = TrainingSpec(drift_seconds=(60.0, DAY), compensation="gdc")
        prepared = prepare(model, machine(name), options, 0).train()
        for _ in range(2):
            prepared(x).square().mean().backward()
        assert all(p.grad.isfinite().all() for p in prepared.parameters() if p.grad is not None)
