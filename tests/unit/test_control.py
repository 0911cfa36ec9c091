"""Shapes and control tables against brute force and against torch."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.digital.apply import apply
from aimc_sim.mapping.control import (
    Controller,
    PixelReads,
    conv_free,
    conv_need,
    reads_of_origins,
    step_reads,
    table,
    unlocked,
)
from aimc_sim.mapping.control.reads import layer_reads
from aimc_sim.mapping.shapes import output_pixels, value_shapes
from aimc_sim.ops.geometry import taps, windows

QUICK = settings(max_examples=200, deadline=None, derandomize=True)


def conv(name, source, channels, outputs, kernel=(1, 1), residual=None, kind="conv2d", **geometry):
    weight = np.ones((channels * kernel[0] * kernel[1], outputs), np.float32)
    ones = np.ones(outputs, np.float32)
    return AnalogLayer(name, kind, source, weight, ones, ones, False, residual,
                       kernel_size=kernel, **geometry)  # fmt: skip


def program(*steps):
    return Program("input", steps[-1].name, steps, (), 64)


def brute_reads(size, outputs, kernel, stride, padding, dilation):
    """For every output pixel the list of input pixels it reads, tap by tap."""
    found = []
    for y, x in itertools.product(range(outputs[0]), range(outputs[1])):
        pixels = []
        for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
            r = y * stride[0] + i * dilation[0] - padding[0]
            c = x * stride[1] + j * dilation[1] - padding[1]
            if 0 <= r < size[0] and 0 <= c < size[1]:
                pixels.append(r * size[1] + c)
        found.append(pixels)
    return found


def brute_table(reads, elements):
    """Need and free by the definition: look at every firing, and at all later ones."""
    need, free = [], []
    for i in range(len(reads)):
        need.append(max([p + 1 for past in reads[: i + 1] for p in past], default=0))
        later = [p for future in reads[i + 1 :] for p in future]
        free.append(min(later, default=elements))
    return need, free


geometry = st.tuples(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3)
).filter(lambda g: windows(*g) >= 1)


@given(rows=geometry, cols=geometry)
@QUICK
def test_convolution_tables(rows, cols):
    """Closed form = relation = exhaustive reads, over kernels, strides, paddings, dilations."""
    size, kernel, stride, padding, dilation = zip(rows, cols, strict=True)
    outputs = windows(*rows), windows(*cols)
    reads = brute_reads(size, outputs, kernel, stride, padding, dilation)
    need, free = brute_table(reads, size[0] * size[1])
    args = size, outputs, kernel, stride, padding, dilation
    assert conv_need(*args).tolist() == need
    assert conv_free(*args).tolist() == free
    axes = zip(size, outputs, kernel, stride, padding, dilation, strict=True)
    got = table([PixelReads(*(taps(*axis) for axis in axes))])
    assert got.need.tolist() == need
    assert got.free.tolist() == free
    live = [n - f for n, f in zip(need, [0, *free[:-1]], strict=True)]
    assert got.window == max(1, *live)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_a_3x3_convolution_keeps_2w_plus_3_pixels(width):
    reads = PixelReads(*(taps(width, width, 3, 1, 1, 1),) * 2)
    assert table([reads]).window == 2 * width + 3
    interior = [y * width + x for y in range(width - 1) for x in range(width - 1)]
    assert (table([reads]).need[interior] == np.array(interior) + width + 2).all()


OPERATIONS = [
    ("relu", (3, 5, 6), {}),
    ("affine", (3, 5, 6), {"scale": [1.0] * 3, "offset": [0.0] * 3}),
    ("max_pool2d", (2, 7, 6), {"kernel_size": [3, 2], "stride": [2, 2], "padding": [1, 0],
                               "dilation": [1, 2], "ceil_mode": False}),
    ("max_pool2d", (2, 7, 6), {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0],
                               "dilation": [1, 1], "ceil_mode": True}),
    ("max_pool2d", (2, 6, 6), {"kernel_size": [3, 3], "stride": [3, 3], "padding": [1, 1],
                               "dilation": [1, 1], "ceil_mode": True}),
    ("avg_pool2d", (2, 7, 9), {"kernel_size": [3, 3], "stride": [2, 3], "padding": [1, 1],
                               "ceil_mode": True, "count_include_pad": True}),
    ("global_avg_pool", (2, 5, 4), {}),
    ("flatten", (2, 5, 4), {}),
    ("flatten", (7,), {}),
    ("subsample", (3, 5, 7), {"slices": [[None] * 3, [None] * 3, [None, None, 2], [1, 6, 2]]}),
    ("subsample", (3, 5, 7), {"slices": [[None] * 3, [1, None, None]]}),
    ("subsample", (9,), {"slices": [[None] * 3, [2, None, 3]]}),
    ("pad", (3, 5, 7), {"pad": [1, 2, 3, 0]}),
    ("pad", (3, 5, 7), {"pad": [0, 0, -1, 2, 1, 1]}),
    ("pad", (5,), {"pad": [2, 1]}),
    ("pixel_shuffle", (8, 3, 2), {"factor": 2}),
    ("pixel_unshuffle", (2, 4, 6), {"factor": 2}),
]  # fmt: skip


def run(op, x, attrs):
    if op == "pixel_shuffle":
        return F.pixel_shuffle(x, attrs["factor"])
    if op == "pixel_unshuffle":
        return F.pixel_unshuffle(x, attrs["factor"])
    return apply(op, [x], attrs)


@pytest.mark.parametrize(("op", "shape", "attrs"), OPERATIONS)
def test_steps_read_what_torch_reads(op, shape, attrs):
    """Change one input pixel: the outputs that may change are exactly those that read it."""
    step = DigitalStep("step", op, ("input",), attrs)
    output = value_shapes(program(step), shape)["step"]
    # Numbers large enough to win every maximum, spread so that no two sums agree.
    x = torch.arange(1.0, 1 + np.prod(shape), dtype=torch.float64).reshape(1, *shape)
    if op == "affine":
        x = x.float()
    y = run(op, x, attrs)
    assert tuple(y.shape[1:]) == output
    reads = step_reads(step, shape, output)
    rows, cols = (shape[1:], output[1:]) if len(shape) == 3 else ((1, 1), (1, 1))
    if len(shape) == 1 or op == "flatten":
        assert reads.rows.all()
        assert reads.cols.all()
        return
    for r, c in itertools.product(*map(range, rows)):
        changed = x.clone()
        changed[..., r, c] += 1e4
        found = (run(op, changed, attrs) != y).any(1)[0].numpy()
        np.testing.assert_array_equal(found, np.outer(reads.rows[:, r], reads.cols[:, c]))
    assert reads.rows.shape == (cols[0], rows[0])


def test_two_values_are_added_or_joined():
    a, b = conv("a", "input", 2, 3), conv("b", "input", 2, 4)
    join = DigitalStep("join", "concat", ("a", "b"), {"dim": 1})
    compiled = program(a, b, join, conv("c", "join", 7, 7, (3, 3), padding=(1, 1), residual="join"))
    shapes = value_shapes(compiled, (2, 4, 5))
    assert shapes["join"] == (7, 4, 5)
    behind = reads_of_origins(compiled, shapes)
    assert set(behind["join"]) == {"a", "b"}
    assert all((t[0].rows == np.eye(4)).all() for t in behind["join"].values())
    assert set(behind["c"]) == {"c"}
    assert output_pixels(compiled, (2, 4, 5)) == {"a": 20, "b": 20, "c": 20}


@given(pool=geometry.filter(lambda g: g[1] > g[3]), outer=geometry, before=st.integers(0, 2))
@QUICK
def test_composition(pool, outer, before):
    """A convolution of a padded, pooled value: follow all taps one by one."""
    n, k, s, p, d = pool
    pooled = windows(n, k, s, p, d)
    padded = pooled + before
    _, k2, s2, p2, d2 = outer
    outputs = windows(padded, k2, s2, p2, d2)
    if outputs < 1:
        return
    inner = PixelReads(taps(n, pooled, k, s, p, d), np.ones((1, 1), bool))
    shift = PixelReads(np.eye(padded, pooled, -before, dtype=bool), np.ones((1, 1), bool))
    chain = PixelReads(taps(padded, outputs, k2, s2, p2, d2), np.ones((1, 1), bool))
    got = chain.after(shift).after(inner)
    for y in range(outputs):
        wanted = set()
        for i in range(k2):
            mid = y * s2 - p2 + i * d2
            if before <= mid < padded:
                wanted |= {(mid - before) * s - p + j * d for j in range(k)} & set(range(n))
        assert set(np.flatnonzero(got.rows[y])) == wanted


def test_a_value_read_along_two_paths():
    """A skip over a shifted copy: the table holds for both."""
    x = conv("x", "input", 1, 1)
    down = DigitalStep("down", "pad", ("x",), {"pad": [0, 0, 2, -2]})
    both = DigitalStep("both", "add", ("x", "down"))
    last = conv("last", "both", 1, 1)
    compiled = program(x, down, both, last)
    behind = reads_of_origins(compiled, value_shapes(compiled, (1, 4, 3)))["both"]["x"]
    assert len(behind) == 2
    got = table(behind)
    assert got.need.tolist() == list(range(1, 13))
    assert got.free.tolist() == [0] * 6 + [1, 2, 3, 4, 5, 12]


@given(rows=geometry, data=st.data(), images=st.integers(1, 3))
@QUICK
def test_state_machine(rows, data, images):
    """Writes in any interleaving: it fires exactly when everything it reads is there."""
    n, *rest = rows
    m = windows(*rows)
    window = table([PixelReads(taps(n, m, *rest), np.ones((1, 1), bool))])
    plain = table([PixelReads(np.eye(m, dtype=bool), np.ones((1, 1), bool))])
    machine = Controller({"x": window, "residual": plain})
    left = {"x": n * images, "residual": m * images}
    written = {"x": 0, "residual": 0}
    fired = 0
    while any(left.values()) or machine.ready():
        if machine.ready():
            assert machine.fire() == fired
            image, i = divmod(fired, m)
            assert written["x"] >= image * n + window.need[i] or window.need[i] == 0
            assert written["residual"] > fired
            fired += 1
            continue
        image, i = divmod(fired, m)
        if fired < m * images:
            short = written["x"] < image * n + window.need[i]
            assert short or written["residual"] <= fired
        name = data.draw(st.sampled_from([k for k, v in left.items() if v]))
        machine.write(name)
        written[name] += 1
        left[name] -= 1
    assert fired == m * images
    with pytest.raises(RuntimeError, match="before it is written"):
        machine.fire()


def test_unlock_table_of_a_small_convolution():
    """Width 4, 3 x 3, padding 1: the sixth element unlocks the first firing."""
    reads = table([PixelReads(taps(4, 4, 3, 1, 1, 1), taps(4, 4, 3, 1, 1, 1))])
    assert unlocked(reads.need, 16).tolist() == [0] * 5 + [1, 2, 4, 4, 5, 6, 8, 8, 9, 10, 16]


def test_controller_refusals():
    one, two = (table([PixelReads(np.eye(n, dtype=bool), np.eye(1, dtype=bool))]) for n in (1, 2))
    with pytest.raises(ValueError, match="disagree on the firings"):
        Controller({"a": one, "b": two})
    with pytest.raises(ValueError, match="at least one input"):
        Controller({})


@pytest.mark.parametrize(
    ("step", "shape", "message"),
    [
        (conv("c", "input", 3, 4), (5, 4, 4), "layer 'c' .* 5 weight rows of its 3"),
        (conv("c", "input", 3, 4, (3, 3)), (3, 2, 2), "'c' .* no output left"),
        (conv("c", "input", 3, 4), (3,), "convolution reads maps"),
        (conv("l", "input", 3, 4, kind="linear"), (3, 1, 1), "flatten first"),
        (conv("r", "input", 3, 4, residual="input"), (3, 5, 5), "adds a residual"),
        (DigitalStep("p", "pixel_shuffle", ("input",), {"factor": 2}), (3, 4, 4), "multiple"),
        (DigitalStep("u", "pixel_unshuffle", ("input",), {"factor": 2}), (3, 5, 4), "multiples"),
        (DigitalStep("g", "global_avg_pool", ("input",)), (3,), "feature maps"),
        (DigitalStep("x", "fold", ("input",)), (3,), "no shape rule: pipelines are laid out"),
        (DigitalStep("s", "relu", ("input",)), (3, 4), "give .channels, rows, columns"),
    ],
)
def test_shapes_are_checked(step, shape, message):
    with pytest.raises(ValueError, match=message):
        value_shapes(program(step), shape)


def test_joined_values_must_fit():
    a = conv("a", "input", 2, 3)
    b = conv("b", "input", 2, 3, (3, 3))
    for op, attrs, message in (
        ("add", {}, "different shapes"),
        ("concat", {"dim": 1}, "different sizes"),
        ("concat", {"dim": 2}, "dimension 2"),
    ):
        step = DigitalStep("j", op, ("a", "b"), attrs)
        with pytest.raises(ValueError, match=message):
            value_shapes(program(a, b, step), (2, 4, 4))


def test_linear_layer_reads_a_vector():
    layer = conv("l", "input", 3, 4, kind="linear")
    assert layer_reads(layer, (3,), (4,)).last().tolist() == [0]
    assert value_shapes(program(replace(layer, name="m")), (3,))["m"] == (4,)
