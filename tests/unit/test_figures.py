"""The pictures hold the numbers they were given."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from torch import nn

from aimc_sim import Chip, metrics, presets
from aimc_sim.figures import accuracy, axes, canvas, floorplan, lines, output, svg
from aimc_sim.studies import drift

ROOT = Path(__file__).resolve().parents[2]
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


# ---------------------------------------------------------------------------- one layer


def test_a_time_axis_has_room_for_now():
    across = axes.times([0.0, 3600.0, 36000.0])
    assert across.places == pytest.approx((0.0, 1.2 / 2.2, 1.0))  # the gap of "now", a decade
    assert across.broken == pytest.approx(0.6 / 2.2)
    assert across.names == ("now", "1 h", "10 h")


def looks_of(ax):
    return [(line.get_marker(), str(line.get_linestyle()), to_hex(line.get_markerfacecolor()))
            for line in ax.lines if line.get_marker() in canvas.MARKERS]  # fmt: skip


@pytest.mark.parametrize("settings", [1, 3])
def test_curves_are_told_apart_without_colours(settings):
    rows = pd.concat(
        study({(method, t): [0.9 - 0.01 * i, 0.91] for method in ("none", "gdc", "adabs")
               for t in (0.0, HOUR)}, preset=f"p{i}") for i in range(settings)
    )  # fmt: skip
    (ax,) = accuracy.drift_accuracy(rows).axes
    found = [(marker, dash, face == "#ffffff") for marker, dash, face in looks_of(ax)]
    assert len(found) == 3 * settings
    assert len(set(found)) == len(found)


def chart(hues, dashes=("gdc", "none"), **changes):
    curves = [lines.ChartCurve(f"setting {i}", dash, [(90 + i, 89 + i, 91 + i)] * 3)
              for i in range(hues) for dash in dashes]  # fmt: skip
    return lines.Chart("a title", axes.times([0, HOUR, YEAR]), "right", "%", curves, **changes)


def test_many_curves_are_spread_over_panels_in_which_each_has_its_own_look():
    figure = lines.draw(chart(20))
    assert len(figure.axes) == 2 * 3  # two dashes; 8, 7 and 5 settings
    for ax in figure.axes:
        looks = [(line.get_marker(), line.get_color()) for line in ax.lines
                 if line.get_marker() in canvas.MARKERS]  # fmt: skip
        assert len(set(looks)) == len(looks) <= len(canvas.PALETTE)
        assert looks[0][0] == "o"  # the setting in front is in every panel
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    names = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert {f"setting {i}" for i in range(20)} <= set(names)


@pytest.mark.parametrize("width", [lines.WIDE, lines.NARROW])
@pytest.mark.parametrize(
    "content", [chart(2), chart(20), chart(3, ("",), joined=False), chart(4, ("",))]
)
def test_no_text_of_a_chart_is_cut_off_or_lies_over_another(content, width):
    figure = lines.draw(content, width=width)
    figure.draw_without_rendering()
    w, h = figure.bbox.size
    boxes = []
    for ax in figure.axes:
        legend = ax.get_legend()
        texts = [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label,
                 *(legend.get_texts() if legend else ())]  # fmt: skip
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, high = sorted(limits)
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        boxes += [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
        data = ax.get_window_extent()
        if legend:
            assert not legend.get_window_extent().padded(-1).overlaps(data)
    for text, box in boxes:
        assert -1 <= box.x0 < box.x1 <= w + 1, text
        assert -1 <= box.y0 < box.y1 <= h + 1, text
    for i, (text, box) in enumerate(boxes):
        for other, there in boxes[:i]:
            assert not box.padded(-1).overlaps(there), (text, other)


def test_another_metric_brings_its_unit_and_direction():
    summary = drift.summarise(study({("gdc", 0.0): [0.5, 0.5], ("gdc", HOUR): [0.5, 0.5]}))
    summary[["mean", "low", "high"]] = [[1.315, 1.3, 1.33], [1.41, 1.4, 1.42]]
    found = accuracy.chart(summary, by="preset", metric=metrics.BITS_PER_CHARACTER)
    (ax,) = lines.draw(found).axes
    label, begin = ax.get_ylabel().splitlines()
    assert label == "bits per character, less is better (bits)"
    assert begin == f"axis begins at {ax.get_ylim()[0]:.3f} bits, not at 0"
    assert list(ax.lines[0].get_ydata()) == pytest.approx([1.315, 1.41])
    values = [a.get_gid() for a in ax.get_children() if (a.get_gid() or "").startswith("value")]
    assert values[0].startswith("value: now (bits); hermes-odp, gdc: 1.315 [1.300, 1.330]")


def test_a_number_stays_with_its_unit_in_a_legend(tmp_path):
    figure = lines.draw(chart(1, ("a name of thirty letters, 1 h", "b")), path=tmp_path / "a.png")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "a name of thirty letters, 1\N{NO-BREAK SPACE}h" in texts


# --------------------------------------------------------------------------------- SVG


def drawn():
    figure, (ax,) = canvas.figure_of(None, (4, 3))
    (bar,) = ax.bar(["<b>&\"'"], [1.0], color=canvas.PALETTE[0])
    canvas.say(bar, "<b>&\"' $x$: 1; and \x00 more")
    ax.set_title("$x$ & <b>", color=canvas.SOFT)
    return figure


def test_equal_figures_are_equal_svg_files_with_values_as_titles(tmp_path):
    for name in ("a", "b"):
        output.save(drawn(), tmp_path / f"{name}.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    root = ElementTree.fromstring(text.encode())
    space = "{http://www.w3.org/2000/svg}"
    group = next(g for g in root.iter(f"{space}g") if g.get("class") == "value")
    assert group[0].tag == f"{space}title"
    assert group[0].text == "<b>&\"' $x$: 1; and \N{REPLACEMENT CHARACTER} more"
    assert "$x$ & <b>" in [t.text for t in root.iter(f"{space}text")]  # text, and no formula
    assert canvas.PALETTE[0].lower() in text
    assert "var(" not in text


def test_inside_a_page_colours_have_names_and_identities_are_its_own():
    one, other = (svg.inside(drawn(), name, f"label {name}") for name in ("one", "other"))
    assert "var(--c0)" in one
    assert "var(--soft)" in one
    assert canvas.PALETTE[0].lower() not in one
    ids = [set(re.findall(r'id="([^"]*)"', text)) for text in (one, other)]
    assert not ids[0] & ids[1]
    used = re.findall(r'(?:href="#|url\(#)([^")]*)', one)
    assert used
    assert set(used) <= ids[0]
    assert "<?xml" not in one
    assert "<metadata" not in one
    assert "<style" not in one
    assert 'aria-label="label one"' in one


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_other_formats_are_matplotlibs(tmp_path, kind):
    output.save(drawn(), tmp_path / f"a.{kind}")
    assert (tmp_path / f"a.{kind}").stat().st_size > 1000


def test_nothing_is_drawn_outside_the_room():
    """Colours, markers and legends stand in one place: matplotlib is imported by figures alone."""
    found = [
        path for path in (ROOT / "aimc_sim").rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.M)
    ]  # fmt: skip
    assert {path.parent.name for path in found if path.name != "parts.py"} == {"figures"}
