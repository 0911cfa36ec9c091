"""Time and energy of placed networks: sums, limits, pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.layout import layout
from aimc_sim.analysis.performance import core_shares, link_shares, performance
from aimc_sim.chip.ledger import COMPONENTS, mvm_seconds
from aimc_sim.figures import canvas
from aimc_sim.figures.energy import energy
from aimc_sim.figures.floorplan import heat_map
from aimc_sim.figures.pipeline import gantt
from aimc_sim.figures.roofline import roofline
from aimc_sim.mapping.shapes import output_pixels

SPEC = presets.hermes(read="1-phase")


class Net(nn.Module):
    def __init__(self, channels, depth, stride):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride, 1)
        self.body = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(depth))
        self.head = nn.Linear(channels, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for layer in self.body:
            x = torch.relu(layer(x) + x)
        return self.head(x.mean((2, 3)))


@given(
    channels=st.integers(1, 40), depth=st.integers(0, 3), stride=st.integers(1, 2),
    size=st.integers(4, 9), mode=st.sampled_from(["pipelined", "host"]),
    shared=st.integers(1, 3), chips=st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_sums_and_signs(channels, depth, stride, size, mode, shared, chips):
    spec = SPEC.with_({"mapping.blocks_per_core": shared, "chips": chips})
    compiled = aimc_sim.Chip.from_model(Net(channels, depth, stride).eval(), spec).compiled
    weights = sum(block.shape[0] * block.shape[1] for block in compiled.blocks)
    assert weights == sum(layer.weight.size for layer in compiled.layers)  # each placed once
    cells = {
        (b.core, b.row_offset + r, b.col_offset + c)
        for b in compiled.blocks for r in range(b.shape[0]) for c in range(b.shape[1])
    }  # fmt: skip
    assert len(cells) == weights
    found = performance(compiled, spec, (3, size, size), images=3, mode=mode)
    book = found.ledger
    assert 0 < found.pipeline.interval_seconds <= found.pipeline.first_image_seconds * (1 + 1e-9)
    for key in ("component", "layer", "core"):
        assert sum(book.by(key).values()) == pytest.approx(book.joules, rel=1e-12)
    assert all(entry.joules >= 0 and entry.events >= 0 for entry in book.entries)
    assert set(book.by("component")) <= set(COMPONENTS)
    static = book.by("component")["static, cores"]
    assert static == pytest.approx(compiled.cores_used * spec.cost.core_watts * book.seconds)
    assert max(found.pipeline.link_utilisation, default=0) <= 1 + 1e-12
    assert np.array_equal(found.pipeline.edge_bytes, found.pipeline.sent_bytes)
    for roof in found.roofs:
        assert roof.achieved_tops <= roof.attainable_tops * (1 + 1e-9) <= roof.peak_tops * 1.001


def test_resnet32_in_steps_of_one_mvm(plain_resnet32):
    """One image per 1,024 MVMs of the first stage; the patch makes it bound by 256 streams."""
    compiled = aimc_sim.Chip.from_model(plain_resnet32, SPEC).compiled
    found = performance(compiled, SPEC, (3, 32, 32), images=3)
    assert found.pipeline.interval_seconds == pytest.approx(1024 * 133e-9, rel=2e-3)
    assert found.macs == 68_862_592
    assert found.estimate.interval_ps * 1e-12 == pytest.approx(
        found.pipeline.interval_seconds, rel=0.02
    )
    spec = SPEC.with_({"mapping.replicate": (("conv1", 2), ("layer1.*", 2))})
    patched = performance(
        aimc_sim.Chip.from_model(plain_resnet32, spec).compiled, spec, (3, 32, 32)
    )
    assert patched.macs == found.macs
    # 256 patches of 64 outputs take 160 ns each: 41 us, 24,400 images per second.
    assert patched.pipeline.interval_seconds == pytest.approx(256 * 160e-9, rel=2e-3)
    assert "stream" in {roof.bound for roof in patched.roofs}


def test_slower_reads_and_links_take_longer():
    compiled = aimc_sim.Chip.from_model(Net(20, 2, 1).eval(), SPEC).compiled
    base = performance(compiled, SPEC, (3, 8, 8), images=3)
    slow = SPEC.with_({"core.read.mvm_seconds": 1e-6})
    assert performance(compiled, slow, (3, 8, 8), images=3).ledger.seconds == pytest.approx(
        64 * mvm_seconds(slow)
    )
    link = SPEC.with_({"fabric.link_hertz": 10e6})  # 20 bytes take 2 us
    assert performance(compiled, link, (3, 8, 8), images=3).ledger.seconds > 60 * 2e-6
    assert base.ledger.seconds == pytest.approx(64 * 133e-9)


def test_layout_in_words():
    spec = SPEC.with_({"chips": 2, "fabric.rows": 1, "fabric.cols": 2})
    compiled = aimc_sim.Chip.from_model(Net(4, 1, 1).eval(), spec).compiled
    found = layout(compiled, spec, output_pixels(compiled, (3, 4, 4)))
    text = str(found)
    assert "3 of 4 on 2 chips" in text
    assert "between chips" in text
    assert not found.one_hop
    assert found.traffic.off_chip > 0


@pytest.fixture(scope="module")
def small():
    spec = SPEC.with_({"mapping.blocks_per_core": 2})
    compiled = aimc_sim.Chip.from_model(Net(8, 2, 1).eval(), spec).compiled
    return compiled, spec, performance(compiled, spec, (3, 6, 6), images=2, trace=100_000)


def test_pipeline_picture_shows_every_layer_and_image(small):
    compiled, _, found = small
    (ax,) = gantt(found.pipeline).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [layer.name for layer in compiled.layers]
    whole = [p for p in ax.patches if (p.get_gid() or "").startswith(canvas.VALUE)]
    assert len(whole) == len(compiled.layers) * 2
    inside = [p for p in ax.patches if p not in whole]
    assert len(inside) == len(whole)
    for bar, full in zip(whole, inside, strict=True):
        x = full.get_path().vertices[:, 0]
        assert x.min() == pytest.approx(bar.get_x())
        assert bar.get_x() + bar.get_width() <= ax.get_xlim()[1] * 1.01
        assert "MVMs take" in bar.get_gid()


def test_energy_picture_adds_up(small):
    _, _, found = small
    whole, parts = energy(found).axes
    widths = sum(p.get_width() for p in whole.patches)
    unit = {"µJ": 1e-6, "nJ": 1e-9, "mJ": 1e-3}[whole.get_title(loc="left").split()[5]]
    assert widths * unit == pytest.approx(found.ledger.joules)
    assert len(parts.get_yticks()) == 4


def test_roofline_points_lie_below_the_roof(small):
    _, _, found = small
    (ax,) = roofline(found).axes
    roof = ax.lines[0]
    x, y = roof.get_xdata(), roof.get_ydata()
    for points in ax.collections:
        for px, py in getattr(points, "get_offsets", list)():
            if px > 0:
                assert py <= np.interp(px, x, y) * 1.001


def test_powers_of_ten_are_drawn_as_such(small, tmp_path):
    """Texts are drawn as they are; what an axis writes itself is a formula, not its source."""
    roofline(small[2], title="$x$", path=tmp_path / "roof.svg")
    drawn = (tmp_path / "roof.svg").read_text()
    assert "mathdefault" not in drawn
    assert "$x$" in drawn


def test_heat_map_names_every_core(small):
    compiled, spec, found = small
    cores = core_shares(found.pipeline)
    links = link_shares(found.pipeline)
    ax = heat_map(compiled, spec, links=links, cores=cores).axes[0]
    texts = [t.get_text() for t in ax.texts if t.get_text()]
    assert sum("empty" in text for text in texts) == 64 - compiled.cores_used
    busiest = max(cores, key=cores.get)
    assert f"{busiest}\n{100 * cores[busiest]:.0f} %" in texts
    assert max(cores.values()) > 0.5
