"""Energy of one image by component and by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..analysis.performance import Performance
from .canvas import HATCHES, PALETTE, PAPER, Drawing, cut, grid, say
from .output import written


def energy(
    found: Performance, *, title: str | None = None, path: str | Path | None = None
) -> Figure:
    """Draw where the energy of one image goes, by component and by layer.

    Parameters
    ----------
    found : Performance
        Of the placed network.
    title : str, optional
        "" for none.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    table = found.ledger.table()
    components = list(found.ledger.by("component"))
    looks = {
        name: {"color": PALETTE[i % len(PALETTE)], "hatch": HATCHES[i % len(HATCHES)],
               "ec": PAPER, "lw": 0}
        for i, name in enumerate(components)
    }  # fmt: skip
    layers = [name for name in dict.fromkeys(table["layer"]) if name]
    heights = 0.5 + 0.26 * len(components), 0.8 + 0.2 * len(layers)
    figure = Drawing(figsize=(9.5, 1.0 + sum(heights)), layout="constrained")
    whole, parts = figure.subplots(2, height_ratios=heights)
    per_unit, unit = _prefix(found.ledger.joules, "J")
    sums = table.groupby("component")["joules"].sum()
    for i, name in enumerate(components):
        value = sums[name] / per_unit
        own, letter = _prefix(sums[name], "J")
        told = f"{sums[name] / own:.3g} {letter}, {sums[name] / found.ledger.joules:.1%}"
        (bar,) = whole.barh(i, value, **looks[name])
        say(bar, f"{name}: {told}")
        whole.annotate(told, (value, i), xytext=(6, 0), textcoords="offset points", va="center",
                       fontsize=8)  # fmt: skip
    whole.set_yticks(range(len(components)), components, fontsize=8.5)
    whole.invert_yaxis()
    whole.set_xlim(0, 1.25 * sums.max() / per_unit)
    told = (
        f"energy of one image: {found.ledger.joules / per_unit:.3g} {unit} (model, see the report)"
    )
    whole.set_title(told if title is None else title, fontsize=10, loc="left")
    left = np.zeros(len(layers))
    by_layer = table.pivot_table("joules", "layer", "component", "sum", fill_value=0.0)
    per_layer, unit = _prefix(by_layer.drop(index="", errors="ignore").sum(axis=1).max(), "J")
    for name in components:
        if name not in by_layer or not by_layer.loc[layers, name].any():
            continue
        values = by_layer.loc[layers, name].to_numpy() / per_layer
        bars = parts.barh(range(len(layers)), values, left=left, label=name, **looks[name])
        for bar, layer, value in zip(bars, layers, values, strict=True):
            say(bar, f"{layer}, {name}: {value:.3g} {unit}")
        left += values
    parts.set_yticks(range(len(layers)), [cut(name, 32) for name in layers], fontsize=7.5)
    parts.invert_yaxis()
    parts.set_xlabel(f"{unit} per image, without static power")
    parts.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1))
    for ax in (whole, parts):
        grid(ax, "x")
    return written(figure, path)


def _prefix(value: float, unit: str) -> tuple[float, str]:
    for size, letter in ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if value >= size:
            return size, letter + unit
    return 1e-12, "p" + unit
