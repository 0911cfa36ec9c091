"""The course of a training on arrays: accuracy, pulses, endurance, weights, drift afterwards."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..learning.course import TrainingCourse
from . import axes
from .canvas import HATCHES, PALETTE, PAPER, Drawing, grid, look, say
from .output import written


def learning(
    found: TrainingCourse, *, title: str | None = None, path: str | Path | None = None
) -> Figure:
    """Draw a training: five panels, or four if the chip was not evaluated later.

    Parameters
    ----------
    found : TrainingCourse
        From :func:`aimc_sim.learning.course.train`.
    title : str, optional
        "" for none.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    figure = Drawing(figsize=(11.0, 6.2), layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    _accuracy(panels[0], found)
    _pulses(panels[1], found)
    _writes(panels[3], found)
    _weights(panels[4], found)
    if found.drifted:
        _drift(panels[2], found)
    else:
        panels[2].set_axis_off()
    panels[5].set_axis_off()
    _legend(panels[0], panels[5], found.drifted and panels[2], panels[4])
    words = "training in the arrays" if title is None else title
    if words:
        figure.suptitle(words, fontsize=11, x=0.01, ha="left")
    return written(figure, path)


def _accuracy(ax: Axes, found: TrainingCourse) -> None:
    epochs = range(len(found.accuracy))
    curves = {"on arrays": found.accuracy, "in float": found.float_accuracy}
    for i, (name, values) in enumerate(curves.items()):
        (line,) = ax.plot(epochs, [100 * v for v in values], label=name, **look(i, i).line())
        told = ", ".join(f"{e}: {v:.1%}" for e, v in zip(epochs, values, strict=True))
        say(line, f"{name}; epoch {told}")
    ax.set(xlabel="epoch", ylabel="test accuracy (%)")
    grid(ax)


def _pulses(ax: Axes, found: TrainingCourse) -> None:
    values = found.pulses_per_device
    (line,) = ax.plot(range(len(values)), values, **look(2).line())
    say(
        line, "pulses per device; " + ", ".join(f"epoch {e}: {v:.3g}" for e, v in enumerate(values))
    )
    ax.set(xlabel="epoch", ylabel="pulses per device, all so far")
    grid(ax)


def _writes(ax: Axes, found: TrainingCourse) -> None:
    last = max((i for i, n in enumerate(found.writes) if n), default=0) + 1
    names, counts = found.write_classes[:last], found.writes[:last]
    for i, (name, count) in enumerate(zip(names, counts, strict=True)):
        (bar,) = ax.bar(i, count, color=PALETTE[0], ec=PAPER)
        say(bar, f"{count:,} devices with {name} writes")
    ax.set_xticks(range(len(names)), names, fontsize=8, rotation=30)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 3 * max([1, *counts]))
    ax.set(xlabel="writes of a device", ylabel="devices")
    grid(ax, "y")


def _weights(ax: Axes, found: TrainingCourse) -> None:
    edges = found.weight_edges
    looks = (
        ("before", found.weights_before, {"ls": (0, (4, 2)), "color": PALETTE[6]}),
        ("after", found.weights_after, {"color": PALETTE[1], "hatch": HATCHES[1]}),
    )
    for name, counts, style in looks:
        drawn = ax.stairs(counts, edges, label=f"weights {name} training", lw=1.4, **style)
        say(drawn, f"{sum(counts):,} weights {name} training, {edges[0]:.3g} to {edges[-1]:.3g}")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0)
    ax.set(xlabel="weight, noiseless", ylabel="weights")
    grid(ax)


def _drift(ax: Axes, found: TrainingCourse) -> None:
    across = axes.times(found.times_seconds)
    for i, (name, values) in enumerate(found.drifted.items()):
        shown = {"none": "chip, no compensation", "gdc": "chip, a factor per core (gdc)"}
        (line,) = ax.plot(
            across.places, [100 * v for v in values], label=shown.get(name, name),
            **look(i + 3, i).line(),
        )  # fmt: skip
        told = zip(across.names, values, strict=True)
        say(line, f"{name}; " + ", ".join(f"{when}: {v:.1%}" for when, v in told))
    ax.set_xticks([at for at, _ in across.ticks], [text for _, text in across.ticks], fontsize=8)
    ax.set(xlabel="time after training", ylabel="test accuracy (%)")
    grid(ax)


def _legend(first: Axes, place: Axes, *others: Axes | object) -> None:
    """Write the names of all panels in the one that is empty."""
    handles, names = first.get_legend_handles_labels()
    for other in others:
        if isinstance(other, Axes):
            more, told = other.get_legend_handles_labels()
            handles, names = handles + more, names + told
    place.legend(handles, names, frameon=False, fontsize=8.5, loc="center left")
