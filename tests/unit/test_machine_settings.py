"""A chip computes the same bits under all settings of torch, and leaves them as they were."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from networks_drawn import drawn
from torch import nn

import aimc_sim
from aimc_sim import presets, training
from aimc_sim.machine import settings as own
from aimc_sim.machine.formats import formats
from aimc_sim.runtime import probe


@contextmanager
def changed(change, value, back):
    change(value)
    try:
        yield
    finally:
        change(back)


def attribute(owner, name, value):
    return changed(lambda new: setattr(owner, name, new), value, getattr(owner, name))


def precision(value):
    backend = torch.backends.mkldnn.conv
    if not hasattr(backend, "fp32_precision"):
        pytest.skip("this torch has one precision for all convolutions")
    return attribute(backend, "fp32_precision", value)


SETTINGS = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "float64 by default": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16 by default": lambda: changed(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "meta by default": lambda: changed(torch.set_default_device, "meta", None),
    "within a device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "gradients off": lambda: torch.set_grad_enabled(False),
    "gradients on": torch.enable_grad,
    "deterministic": lambda: changed(torch.use_deterministic_algorithms, True, False),
    "one thread": lambda: changed(torch.set_num_threads, 1, torch.get_num_threads()),
    "three threads": lambda: changed(torch.set_num_threads, 3, torch.get_num_threads()),
    "medium products": lambda: changed(torch.set_float32_matmul_precision, "medium", "highest"),
    "bfloat16 convolutions": lambda: precision("bf16"),
    "no oneDNN": lambda: attribute(torch.backends.mkldnn, "enabled", False),
    "no denormals": lambda: changed(torch.set_flush_denormal, True, False),
}


def life(net):
    """Everything that a chip computes, as arrays."""
    chip = net.chip()
    found = [np.float64(list(chip.ranges.values.values())), chip(net.images).numpy()]
    if net.recurrent:
        stream = chip.stream(first_image=3)
        found += [stream(part).numpy() for part in net.images.split(2, dim=1)]
    else:
        chip.adapt_batch_norm(net.images)
        found += [chip(net.images.numpy(), first_image=0).numpy()]
    found += list(probe.layer_outputs(chip, net.images[:2]).values())
    return [*found, chip.effective_weights(chip.compiled.layers[-1].name)]


def state():
    """What torch is set to."""
    return (
        torch.is_autocast_enabled("cpu"), torch.get_default_dtype(), torch.get_default_device(),
        torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.backends.mkldnn.enabled, own._flushes_denormals(), torch._C._get_nnpack_enabled(),
    )  # fmt: skip


def equal(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@settings(
    max_examples=5, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:layer")  # few images: some clip more than 5 %
@pytest.mark.filterwarnings("ignore:In CPU autocast")
@given(net=drawn())
def test_same_bits_under_every_setting(two_threads, net):
    expected = life(net)
    for name, setting in SETTINGS.items():
        with setting():
            before = state()
            found = life(net)
            assert state() == before, name
        assert equal(found, expected), name


@pytest.mark.filterwarnings("ignore:layer")
def test_one_setting_now_another_later(two_threads):
    """A chip that was made inside runs outside, and can be trained beside."""
    model, x = nn.Sequential(nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 3)), torch.randn(8, 20)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = aimc_sim.Chip.from_model(model, presets.hermes()).calibrate(x).program(0)
    outside = aimc_sim.Chip.from_model(model, presets.hermes()).calibrate(x).program(0)
    y = inside(x)
    assert torch.equal(y, outside(x))
    assert not y.is_inference()
    with torch.inference_mode():
        network = training.prepare(model, presets.hermes(), seed=1)
    network(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_two_threads_share_the_settings():
    """The settings of the process go back when the last of several chips has done."""
    entered, leave = threading.Event(), threading.Event()

    def other():
        with own.settled():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with changed(torch.set_default_dtype, torch.float64, torch.float32):
        with own.settled():
            thread.start()
            assert entered.wait(60)
        assert torch.get_default_dtype() == torch.float32  # the other one still runs
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64


def test_settings_go_back_after_an_error(two_threads):
    chip = aimc_sim.Chip.from_model(nn.Linear(4, 3), presets.ideal()).program(0)
    with torch.autocast("cpu", torch.bfloat16):
        before = state()
        with pytest.raises(ValueError, match="shape"):
            chip(torch.zeros(2, 5))
        assert state() == before


def test_formats_are_decided_once():
    first = formats()
    with attribute(torch.backends.mkldnn, "enabled", False):
        assert formats() is first
