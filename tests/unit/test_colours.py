"""Series of a figure stay apart for colour-blind readers: by colour, or by marker and dash.

Vision without one kind of cones is simulated with the matrices of G. M. Machado, M. M. Oliveira and
L. A. F. Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009), doi:10.1109/TVCG.2009.113, for
a severity of 1, in linear RGB. Distances are Euclidean in CIELAB (CIE 1976, D65). Two colours count
as apart from :data:`APART` on: a choice (assumption), six times a just noticeable difference of
2.3 (M. Mahy, L. Van Eycken and A. Oosterlinck, Color Res. Appl. 19, 105 (1994)).
"""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from aimc_sim.figures import axes, canvas, lines

ROOT = Path(__file__).resolve().parents[2]
APART = 14.0
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                 [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


def linear(colour):
    """Return a colour in linear RGB."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return CIELAB of linear RGB."""
    x = (_XYZ @ np.clip(rgb, 0, 1)) / _XYZ.sum(1)
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(a, b):
    """Return the smallest distance of two colours over all kinds of sight."""
    return min(
        float(np.linalg.norm(lab(m @ linear(a)) - lab(m @ linear(b)))) for m in SIGHT.values()
    )


def alike(looks):
    """Return pairs of (colour, marker, dash) that a reader may take for each other."""
    return [
        (a, b) for a, b in itertools.combinations(looks, 2)
        if nearest(a[0], b[0]) < APART and (a[1] == b[1] or str(a[2]) == str(b[2]))
    ]  # fmt: skip


def themes():
    """Return the eight colours of every theme of the page, in the order of the style sheet."""
    text = (ROOT / "aimc_sim/pages/templates/page.css").read_text()
    found = re.findall(r"--c(\d): (#\w{6})", text)
    assert len(found) % 8 == 0
    return [[c for _, c in found[i : i + 8]] for i in range(0, len(found), 8)]


def test_the_colours_stay_apart():
    for colours in (canvas.PALETTE, *themes()):
        for a, b in itertools.combinations(colours[:6], 2):
            assert nearest(a, b) >= APART, (a, b)


def test_the_check_notices_other_palettes():
    """matplotlib's own colours, and those that the page had before, do not pass."""
    tab10 = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
    before = ("#0068a6", "#b84a00", "#00744f", "#a0437c", "#7d5b00", "#2b7595")
    for colours in (tab10, before):
        assert min(nearest(a, b) for a, b in itertools.combinations(colours, 2)) < 5
        assert alike([(c, "o", "-") for c in colours])
    assert not alike([(c, m, d) for c, m, d in zip(tab10, canvas.MARKERS, canvas.DASHES,
                                                   strict=False)])  # fmt: skip


def test_page_colours_are_seen_on_their_background():
    """Contrast of graphics of at least 3 to 1 (WCAG 2.1, 1.4.11)."""
    light, dark = themes()[0], themes()[1]
    for colours, back in ((light, "#ffffff"), (dark, "#14181d")):
        for colour in colours:
            one, two = sorted(float(_XYZ[1] @ linear(c)) for c in (colour, back))
            assert (two + 0.05) / (one + 0.05) >= 3, colour


def drawn(hues, dashes):
    curves = [
        lines.ChartCurve(f"h{i}", f"d{j}" if dashes > 1 else "",
                         [(i + 10 * j, i - 1.0, i + 1.0)] * 3)
        for i in range(hues) for j in range(dashes)
    ]  # fmt: skip
    chart = lines.Chart("t", axes.times([0.0, 3600.0, 86400.0]), "y", "%", curves)
    return lines.draw(chart)


@pytest.mark.parametrize(
    ("hues", "dashes"), [(1, 4), (2, 2), (6, 1), (6, 2), (8, 1), (8, 3), (20, 2)]
)
def test_curves_of_a_panel_are_told_apart(hues, dashes):
    """In every panel: by a colour that all readers tell apart, or by marker and dash."""
    for ax in drawn(hues, dashes).axes:
        looks = [
            (to_hex(line.get_color()), line.get_marker(), line.get_linestyle(),
             tuple(line._unscaled_dash_pattern[1] or ()))
            for line in ax.lines if line.get_marker() in canvas.MARKERS
        ]  # fmt: skip
        assert looks
        for a, b in itertools.combinations(looks, 2):
            assert a != b
            if a[0] != b[0] and nearest(a[0], b[0]) < APART:
                assert a[1] != b[1]
                assert a[2:] != b[2:]


def test_scripts_use_the_palette_of_the_drawing_layer():
    """No figure of validation or examples names matplotlib's own colours."""
    own = re.compile(r"""["'](?:C\d|tab:\w+|C\d[-:.]+|red|green|blue|orange|r-|g-|b-)["']""")
    for folder in ("validation", "examples", "aimc_sim"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            if "matplotlib" in text:
                assert not own.findall(text), path
