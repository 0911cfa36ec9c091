"""Patches of output pixels: the same network, fewer MVMs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import aimc_sim
from aimc_sim import presets
from aimc_sim.frontend import trace
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.replicate import patch_layer

IDEAL = presets.ideal()


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    n=st.integers(1, 3),
    pixels=st.integers(1, 3),
)
@settings(max_examples=20, deadline=None)
def test_a_patch_holds_the_pixels_of_the_convolution(kernel, stride, dilation, n, pixels):
    """Weights of the larger convolution against torch, for maps of n x pixels outputs."""
    conv = nn.Conv2d(2, 3, kernel, stride=stride, dilation=dilation).eval()
    steps, _ = lower(trace(conv))
    patched = patch_layer(steps[0], n)
    size = [(k - 1) * dilation + 1 + (n * pixels - 1) * stride for k in kernel]
    x = torch.randn(2, 2, *size)
    weight = torch.from_numpy(patched.weight.T.copy()).view(-1, 2, *patched.kernel_size)
    y = F.conv2d(x, weight, torch.from_numpy(patched.offset), stride=patched.stride)
    with torch.no_grad():
        torch.testing.assert_close(F.pixel_shuffle(y, n), conv(x), atol=1e-5, rtol=1e-5)
    assert np.count_nonzero(patched.weight) == n * n * conv.weight.numel()
    assert patched.macs == n * n * conv.weight.numel()
    patched.check_patch(*size)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.norm(self.b(F.relu(self.a(x)))) + x)
        return self.out(x.mean((2, 3)))


@pytest.mark.parametrize(
    "patches",
    [(("a", 2),), (("b", 2),), (("stem", 4), ("b", 2)), (("*", 2),), (("*", 4), ("a", 1))],
    ids=str,
)
@pytest.mark.parametrize("chips", [1, 2])
def test_an_ideal_chip_with_patches_equals_torch(patches, chips):
    model = Block().eval()
    images = torch.randn(5, 3, 8, 8)
    spec = IDEAL.with_({"mapping.replicate": patches, "chips": chips})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
    with torch.no_grad():
        torch.testing.assert_close(chip(images), model(images), atol=1e-5, rtol=1e-5)
    sides = dict.fromkeys(("stem", "a", "b"), 1)
    for pattern, n in patches:
        sides.update(dict.fromkeys(sides if pattern == "*" else [pattern], n))
    for name, n in sides.items():
        assert chip.counts[name].mvms == 5 * (8 // n) ** 2


def test_a_chip_with_patches_can_be_saved(tmp_path):
    model, images = Block().eval(), torch.randn(5, 3, 8, 8)
    spec = presets.hermes().with_(
        {
            "mapping.replicate": (("*", 2),), "mapping.blocks_per_core": 3,
            "calibration.clip_warning_fraction": 1.0,
        }
    )  # fmt: skip
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
    chip.save(tmp_path / "chip.h5")
    again = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert again.spec == spec
    assert torch.equal(again(images), chip(images))


def test_patches_that_do_not_cover_the_map_are_refused():
    spec = IDEAL.with_({"mapping.replicate": (("a", 3),)})
    chip = aimc_sim.Chip.from_model(Block().eval(), spec)
    with pytest.raises(ValueError, match="'a': patches of 3 x 3 pixels do not cover 8 pixels"):
        chip.calibrate(torch.randn(2, 3, 8, 8))


def test_a_pattern_that_matches_nothing_is_refused():
    spec = IDEAL.with_({"mapping.replicate": (("layer*", 2),)})
    with pytest.raises(ValueError, match=r"'layer\*' matches no convolution; there are: stem, a"):
        aimc_sim.Chip.from_model(Block().eval(), spec)


def test_a_patch_of_less_than_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"mapping.replicate.*'a' asks for 0 x 0 pixels"):
        IDEAL.with_({"mapping.replicate": (("a", 0),)})


def test_the_first_stage_of_resnet32_needs_no_more_cores(plain_resnet32):
    """A 2 x 2 patch of 3 x 3 x 16 inputs is 256 rows (facts/topology-5pp.md, 5)."""
    plain = aimc_sim.Chip.from_model(plain_resnet32, presets.hermes())
    spec = presets.hermes().with_({"mapping.replicate": (("layer1.*", 2),)})
    patched = aimc_sim.Chip.from_model(plain_resnet32, spec)
    assert plain.compiled.cores_used == patched.compiled.cores_used == 60
    assert patched.compiled.layer("layer1.0.conv1").blocks[0].shape == (256, 64)
