"""Bits do not depend on the batch, the chunk, the threads or the order: random networks."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks_drawn import BATCH, drawn

from aimc_sim.digital.apply import apply
from aimc_sim.kernels import threads
from aimc_sim.machine import products


@settings(
    max_examples=8, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:layer")  # few images: some clip more than 5 %
@given(net=drawn(), cut=st.integers(1, BATCH - 1), chunk=st.integers(1, BATCH))
def test_batch_chunk_threads_and_order_do_not_matter(two_threads, net, cut, chunk):
    chip = net.chip()
    whole = chip(net.images, first_image=0)
    last = chip(net.images[cut:], first_image=cut)  # before the first ones
    assert torch.equal(whole, torch.cat([chip(net.images[:cut], first_image=0), last]))
    assert torch.equal(whole, chip(net.images, first_image=0, chunk=chunk))
    for n in (1, 3):
        torch.set_num_threads(n)
        threads.set_threads(n)
        other = net.chip()
        assert other.ranges == chip.ranges
        assert torch.equal(whole, other(net.images, first_image=0))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*(st.sampled_from([1, 2, 3, 7, 16, 28, 33, 64]) for _ in range(2))),
    kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 2), dilation=st.integers(1, 2),
    side=st.integers(9, 17), n=st.integers(1, 19),
)  # fmt: skip
def test_an_image_is_convolved_alike(sizes, kernel, stride, dilation, side, n):
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(40, sizes[0], side, side, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(sizes[1], sizes[0], kernel, kernel, generator=generator)
    geometry = None, (stride,) * 2, (1, 1), (dilation,) * 2
    whole = _settled(products.convolution, x, weight, *geometry)
    assert torch.equal(whole[:n], _settled(products.convolution, x[:n], weight, *geometry))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    first=st.integers(0, 40), n=st.integers(1, 110), rows=st.integers(1, 256),
    columns=st.integers(1, 256),
)  # fmt: skip
def test_a_row_is_multiplied_alike(first, n, rows, columns):
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(150, rows, generator=generator)
    weight = torch.randn(columns, rows, generator=generator)
    whole, part = _settled(products.linear, x, weight), slice(first, first + n)
    assert torch.equal(whole[part], _settled(products.linear, x[part], weight))
    torch.testing.assert_close(whole, x @ weight.T, rtol=1e-4, atol=1e-4)


ELEMENTS = """sqrt rsqrt exp log reciprocal sigmoid tanh sin cos selu neg abs square
    leaky_relu relu6 hardtanh elu celu softplus log_sigmoid hardsigmoid silu hardswish gelu
    mish""".split()
ARGUMENTS = {
    **dict.fromkeys(ELEMENTS, ()),
    **dict.fromkeys(["softmax", "log_softmax"], (-1,)),
    **dict.fromkeys(["logsumexp", "mean", "sum", "amax"], ([-1],)),
    "pow": (1.7,),
    "layer_norm": ([37],),
    "rms_norm": ([37],),
}
OVERLOADS = {"mean": "dim", "sum": "dim_IntList", "softmax": "int", "log_softmax": "int",
             "pow": "Tensor_Scalar"}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_function_treats_an_image_alike(name):
    attrs, x = {"args": [{"value": 0}, *ARGUMENTS[name]]}, torch.rand(40, 37) + 0.1
    attrs["overload"] = OVERLOADS.get(name, "")
    whole = _settled(apply, name, [x], attrs)
    for first, last in ((0, 1), (1, 3), (5, 9), (2, 40)):
        part = _settled(apply, name, [x[first:last]], attrs)
        assert torch.equal(part, whole[first:last])


@pytest.mark.parametrize("sizes", [(5, 9, 7), (2, 5, 9, 7)])
def test_an_image_of_matrices_is_multiplied_alike(sizes):
    x, y = torch.randn(30, *sizes), torch.randn(30, *sizes).mT.contiguous()
    whole = _settled(products.matmul, x, y)
    torch.testing.assert_close(whole, torch.matmul(x, y))
    for first, last in ((0, 1), (1, 3), (5, 9), (2, 30)):
        assert torch.equal(
            _settled(products.matmul, x[first:last], y[first:last]), whole[first:last]
        )


def _settled(function, *arguments):
    from aimc_sim.machine.settings import settled

    with settled():
        return function(*arguments)
