"""The pictures hold the numbers they were given."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from torch import nn

from aimc_sim import Chip, presets
from aimc_sim.figures import accuracy, canvas, floorplan

HOUR, YEAR = 3600.0, 365 * 86400.0


def study(accuracies, preset="hermes-odp"):
    """Rows of a study: {(compensation, time): accuracies of the programmings}."""
    return pd.DataFrame(
        [
            {
                "preset": preset, "spec_id": "x", "compensation": method, "time_seconds": moment,
                "seed": seed, "images": 500, "accuracy": accuracy,
            }
            for (method, moment), values in accuracies.items()
            for seed, accuracy in enumerate(values)
        ]
    )  # fmt: skip


def labels(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def test_a_curve_has_its_values_and_readable_times(tmp_path):
    rows = study({("gdc", 0.0): [0.98, 0.96], ("gdc", HOUR): [0.95, 0.95], ("gdc", YEAR): [0.9]})
    path = tmp_path / "drift.png"
    figure = accuracy.drift_accuracy(rows, {"float": 0.99}, chance=0.1, path=path)
    (ax,) = figure.axes
    assert labels(ax) == ["now", "1 h", "1 y"]
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    assert list(curve.get_ydata()) == pytest.approx([97, 95, 90])
    assert sorted(curve.get_xdata()) == list(curve.get_xdata())
    assert to_hex(curve.get_color()).upper() == canvas.PALETTE[0]
    assert ax.get_ylim()[1] > 99  # the level of the reference is inside
    assert not any("chance" in text.get_text() for text in ax.texts)  # far away: left out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_good_curves_are_enlarged_when_others_fall_far():
    rows = study(
        {
            ("gdc", 0.0): [0.98, 0.97],
            ("gdc", YEAR): [0.97, 0.96],
            ("none", 0.0): [0.98, 0.97],
            ("none", YEAR): [0.1, 0.1],
        }
    )
    close, full = accuracy.drift_accuracy(rows, {"float": 0.99}, chance=0.1).axes
    assert 80 < close.get_ylim()[0] < 96
    assert full.get_ylim()[0] < 10
    assert any(text.get_text() == "chance" for text in full.texts)


def test_one_time_spreads_the_settings_sideways():
    rows = study({("gdc", 0.0): [0.9, 0.91], ("none", 0.0): [0.9, 0.92]})
    (ax,) = accuracy.drift_accuracy(rows).axes
    places = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("s", "o")]
    assert len(set(places)) == 2
    assert labels(ax) == ["now"]


def test_many_times_keep_labels_apart():
    moments = [60.0 * 1.5**i for i in range(35)]
    (ax,) = accuracy.drift_accuracy(study({("gdc", t): [0.9] for t in moments})).axes
    assert labels(ax) == ["1 min", "1 h", "1 d", "30 d", "1 y"]


def test_floorplan_names_every_block_and_shows_free_cores(digits_model, tmp_path):
    chip = Chip.from_model(digits_model, presets.hermes())
    path = tmp_path / "floorplan.png"
    (ax,) = floorplan.floorplan(chip.compiled, chip.spec, path=path).axes
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("empty") == 4
    assert "60 of 64 cores" in ax.get_title(loc="left")
    for name in ("layer3.4.conv2", "3 of 3", "189×64", "conv1", "27×16"):
        assert name in texts
    values = [v for patch in ax.patches if (v := patch.get_gid())]
    assert len(values) == 64
    conv1 = next(b for b in chip.compiled.blocks if b.layer == "conv1")
    told = f"value: core {conv1.core}: conv1 (rows 0 to 26, columns 0 to 15 of its matrix); 1 %"
    assert any(value.startswith(told) for value in values)
    assert sum(value.endswith(": empty") for value in values) == 4
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == sum(t.kind == "partial_sum" for t in chip.compiled.transfers)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_used_part_is_drawn_to_scale(digits_model):
    chip = Chip.from_model(digits_model, presets.hermes())
    (ax,) = floorplan.floorplan(chip.compiled, chip.spec).axes
    sizes = {(round(p.get_width(), 4), round(p.get_height(), 4)) for p in ax.patches}
    side = 0.92
    for block in chip.compiled.blocks:
        rows, cols = block.shape
        assert (round(side * cols / 256, 4), round(side * rows / 256, 4)) in sizes


@pytest.mark.parametrize(("rows", "cols"), [(2, 2), (1, 3), (6, 1)])
def test_nothing_is_cut_off_where_the_grid_is_small(rows, cols):
    spec = presets.hermes().with_(
        {"fabric.rows": rows, "fabric.cols": cols, "fabric.topology": "mesh"}
    )
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 10))
    figure = floorplan.floorplan(Chip.from_model(model.eval(), spec).compiled, spec)
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    (ax,) = figure.axes
    for part in (*ax.texts, ax.title, ax._left_title, *ax.get_legend().get_texts(),
                 ax.get_legend().get_title()):  # fmt: skip
        if part.get_text():
            box = part.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= width, part.get_text()
            assert 0 <= box.y0 < box.y1 <= height, part.get_text()
