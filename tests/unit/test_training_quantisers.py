"""Converters of training: values, gradients in closed form, fused loops against plain torch."""

import numpy as np
import pytest
import torch
from torch import nn

from aimc_sim import presets
from aimc_sim.training import TrainingSpec, prepare
from aimc_sim.training.functional import (
    CHUNK,
    NoiseAddress,
    convert,
    convert_plainly,
    converted,
    learned,
    normals,
)

HERE = NoiseAddress(1, 2, 3 << 32)


def values(*shape, seed=0, spread=1.0):
    return torch.empty(shape).normal_(0, spread, generator=torch.Generator().manual_seed(seed))


def test_gradient_of_a_converter_is_that_of_the_clip():
    x = torch.tensor([-9.0, -1.28, -1.26, -0.004, 0.0, 0.006, 1.26, 1.3], requires_grad=True)
    y, top = converted(x, 0.01, 127, 0.0, HERE)
    wanted = [-1.27, -1.27, -1.26, 0.0, 0.0, 0.01, 1.26, 1.27]
    assert torch.allclose(y, torch.tensor(wanted), atol=1e-6)
    assert top == 9.0
    weight = torch.arange(1.0, 9.0)
    (y * weight).sum().backward()
    assert torch.equal(x.grad, weight * torch.tensor([0, 0, 1, 1, 1, 1, 1, 0.0]))


def test_gradient_of_noise_and_of_no_converter_is_one():
    x = values(50).requires_grad_()
    y, _ = converted(x, 0.0, 0.0, 0.3, HERE)
    assert (y - x).detach().std() == pytest.approx(0.3, rel=0.3)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(50))


def test_learned_range_has_the_published_gradient():
    """Inside, (rint(v) - v) / Q; beyond, +-1; divided by the root of the number of values."""
    x = torch.tensor([-3.0, -0.34, 0.07, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    half = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y = learned(x, half, 7.0)
    assert torch.allclose(y, torch.tensor([-0.7, -0.3, 0.1, 0.5, 0.7], dtype=torch.float64))
    weight = torch.tensor([2.0, 3, 5, 7, 11], dtype=torch.float64)
    (y * weight).sum().backward()
    assert torch.equal(x.grad, weight * torch.tensor([0, 1, 1, 1, 0.0]))
    slope = torch.tensor([-1, (-3 + 3.4) / 7, (1 - 0.7) / 7, 0, 1], dtype=torch.float64)
    assert half.grad.item() == pytest.approx((weight * slope).sum().item() / 5**0.5)


def test_learned_range_finds_the_smallest_error():
    """Descending the squared error leads to the range that a search finds."""
    x = values(4000, spread=0.5)
    half = nn.Parameter(torch.tensor(2.5))
    optimizer = torch.optim.SGD([half], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        ((learned(x, half, 7.0) - x) ** 2).sum().backward()
        optimizer.step()
    grid = torch.linspace(0.3, 2.5, 221)
    errors = [float(((learned(x, r, 7.0) - x) ** 2).mean()) for r in grid]
    best = grid[int(np.argmin(errors))].item()
    assert half.item() == pytest.approx(best, rel=0.08)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("step", "std"), [(0.02, 0.1), (0.02, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize("layout", ["plain", "channels_last", "gaps"])
def test_fused_loops_equal_torch_operations(dtype, step, std, layout):
    x = values(3, 5, 31, 33).to(dtype)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    if layout == "gaps":
        x = x[..., ::2]
    a, inside_a, top_a = convert(x, step, 127, std, HERE)
    b, inside_b, top_b = convert_plainly(x.float(), step, 127, std, HERE)
    assert a.dtype == dtype
    assert top_a == top_b
    # the division by the step, as a product, may round a tie the other way
    apart = (a.float() - b).abs() > (0.01 if dtype == torch.bfloat16 else 1e-6) * (1 + b.abs())
    assert apart.sum() <= 3
    if step > 0:
        assert (inside_a != inside_b).sum() <= 3
        assert 0 < (~inside_a).sum() < 300


def test_everything_inside_needs_no_mask():
    _, inside, _ = convert(values(1000).clamp(-1, 1), 0.01, 127, 0.0, HERE)
    assert inside is None


def test_noise_is_the_same_for_any_number_of_threads():
    x = values(5 * CHUNK + 77)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append((convert(x, 0.01, 127, 0.2, HERE)[0], normals(x.shape, x, HERE)))
    torch.set_num_threads(before)
    for a, b in found[1:]:
        assert torch.equal(a, found[0][0])
        assert torch.equal(b, found[0][1])
    assert torch.equal(normals(torch.Size([300]), x, HERE), found[0][1][:300])


def test_nothing_and_empty_values():
    y, inside, top = convert(torch.zeros(0, 4), 0.1, 127, 0.1, HERE)
    assert (y.shape, inside, float(top)) == ((0, 4), None, 0.0)
    layer = prepare(nn.Linear(4, 3), presets.hermes()).train()
    assert layer(torch.zeros(0, 4)).shape == (0, 3)
    assert torch.isfinite(layer(torch.zeros(2, 4))).all()


# --------------------------------------------------------------------------------- ranges


def only(**changes):
    return TrainingSpec(**{"weight_noise": "none", "output_range": "off", **changes})


def test_input_codes_are_those_of_the_range():
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    prepared = prepare(layer, presets.hermes(), only()).train()
    x = torch.linspace(-2, 2, 1001)[:, None]
    codes = prepared(x) / (2 / 127)
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert len(codes.round().unique()) == 255
    assert (prepared(x) - x).abs().max() <= 1 / 127 + 1e-6


def test_running_range_follows_and_stands_still_in_evaluation():
    prepared = prepare(nn.Linear(8, 8), presets.hermes(), only(range_momentum=0.75)).train()
    crossbar = prepared.analog["weight"]
    x = torch.ones(2, 8)
    for size, wanted in ((1.0, 1.0), (3.0, 1.5), (3.0, 1.875)):
        prepared(size * x)
        assert crossbar.input_range.item() == pytest.approx(wanted)
    prepared.eval()
    y = prepared(10 * x)
    assert crossbar.input_range.item() == pytest.approx(1.875)
    assert torch.allclose(y, nn.functional.linear(1.875 * x, prepared.weight, prepared.bias))
    # Before any batch a range is that of the values at hand.
    fresh = prepare(nn.Linear(8, 8), presets.hermes(), only()).eval()
    assert torch.allclose(fresh(10 * x), nn.functional.linear(10 * x, fresh.weight, fresh.bias))
    assert fresh.analog["weight"].input_range == 0


def test_percentile_leaves_out_the_largest():
    prepared = prepare(
        nn.Linear(100, 8), presets.hermes(), only(input_range="percentile", percentile=90)
    ).train()
    prepared(torch.arange(1.0, 1001.0).reshape(10, 100))
    assert prepared.analog["weight"].input_range.item() == pytest.approx(900)


def test_learned_ranges_are_parameters_and_start_at_the_maximum():
    options = TrainingSpec(weight_noise="none", input_range="learned", output_range="learned")
    prepared = prepare(nn.Linear(8, 8), presets.hermes(), options).train()
    names = {name for name, _ in prepared.named_parameters()}
    assert {"analog.weight.input_range", "analog.weight.output_range"} < names
    x = values(16, 8)
    prepared(x).square().sum().backward()
    assert prepared.analog["weight"].input_range.item() == pytest.approx(x.abs().max().item())
    for parameter in prepared.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any()


def test_full_scale_of_the_specification_limits_the_current():
    """Full-scale inputs on n of the largest weights: clipped where n cells draw 100 uA."""
    spec = presets.hermes("odp").with_({"core.pcm": presets.pcm_ideal(10e-6)})
    cells = 100e-6 / (0.2 * 10e-6)  # 50 cells at full input
    layer = nn.Linear(200, 1, bias=False)
    layer.weight.data.fill_(1.0)
    prepared = prepare(layer, spec, TrainingSpec(weight_noise="none")).train()
    x = torch.zeros(200, 200)
    x[torch.arange(200)[:, None] >= torch.arange(200)] = 1.0  # row i drives i + 1 cells
    y = prepared(x)[:, 0]
    wanted = torch.arange(1.0, 201.0).clamp(max=cells)
    assert (y - wanted).abs().max() <= cells / 1023 / 2 + 1e-4
    # Two row blocks: twice the currents fit, in sum as many codes as two independent converters
    double = nn.Linear(512, 1, bias=False)
    double.weight.data.fill_(1.0)
    prepared = prepare(double, spec, TrainingSpec(weight_noise="none")).train()
    assert prepared(torch.ones(1, 512)).item() == pytest.approx(2 * cells, rel=1e-4)


def test_rounding_of_row_blocks_adds_up():
    """One converter with sqrt(B) times the step has the error of B converters, within 6 %."""
    rng = np.random.default_rng(4)
    spec = presets.hermes("odp").with_({"core.pcm": presets.pcm_ideal(10e-6)})
    weight = rng.uniform(-1, 1, (64, 512)).astype(np.float32)
    x = torch.from_numpy(rng.integers(-127, 128, (500, 512)).astype(np.float32) / 127)
    x[0, 0] = 1.0
    options = TrainingSpec(weight_noise="none")

    def error(weights, inputs):
        layer = nn.Linear(weights.shape[1], 64, bias=False)
        layer.weight.data = torch.from_numpy(weights.copy())
        with torch.no_grad():
            return prepare(layer, spec, options).train()(inputs) - layer(inputs)

    whole = error(weight, x)
    parts = error(weight[:, :256], x[:, :256]) + error(weight[:, 256:], x[:, 256:])
    assert whole.std().item() == pytest.approx(parts.std().item(), rel=0.06)
