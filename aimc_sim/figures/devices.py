"""Figures of measured devices: the reads themselves, and the laws that were fitted to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .. import units
from ..analysis import fit_curves, fit_traces
from ..analysis.device_check import Check
from ..analysis.fit_estimates import Law
from ..device.measured.columns import trace_order
from ..device.measured.reach import Reach
from ..device.measured.schema import MeasuredData
from ..device.measured.traces import Traces, traces
from ..kernels.replay import at_time
from .canvas import DASHES, PALETTE, SOFT, TEXT, Drawing, grid
from .output import written

_MOST_LEVELS = 8  # curves in the panel of times
_MOST_DEVICES = len(PALETTE)
_MOST_BOXES = 40
_BINS = 60
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_COMMON_TIMES = (1e-6, 1e-3, 1.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0)
_PULSES = {
    "pulse_amperes": ("current of the pulse (uA)", 1e6),
    "pulse_volts": ("amplitude of the pulse (V)", 1.0),
    "pulse_count": ("number of pulses", 1.0),
}


def measured(
    data: MeasuredData, *, title: str | None = None, path: str | Path | None = None
) -> Figure:
    """Draw what a measurement holds: one panel for times, pulses and levels, if it has them.

    Parameters
    ----------
    data : MeasuredData
        Reads of devices.
    title : str, optional
        Default: that of the data, and how much there is.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    found = traces(data)
    panels: list[Callable[[Axes, Traces], None]] = []
    if data.pulse_number is not None:
        panels.append(lambda ax, _: _against_number(ax, data))
    elif found.reads.max() > 1:
        panels.append(lambda ax, _: _against_time(ax, data))
    if data.pulse_number is None and found.pulse is not None and len(np.unique(found.pulse)) > 1:
        panels.append(_against_pulse)
    panels.append(_per_level)
    figure = Drawing(figsize=(5.6 * len(panels) + 0.4, 4.8), layout="constrained")
    for ax, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(ax, found)
        grid(ax)
    devices = len(np.unique(found.device))
    size = ", ".join(
        (_several(len(data), "read"), _several(len(found), "trace"), _several(devices, "device"))
    )
    text = title or ": ".join(part for part in (data.provenance.title, size) if part)
    figure.suptitle(text, fontsize=11, x=0.01, ha="left")
    return written(figure, path)


def checked(data: MeasuredData, found: Check, *, path: str | Path | None = None) -> Figure:
    """Draw a check: the data, every law with its errors, and the reach of a replay.

    Parameters
    ----------
    data : MeasuredData
        Reads of devices.
    found : Check
        From :func:`aimc_sim.analysis.device_check.check`.
    path : path, optional
        Also write the picture to this file.
    """
    reads = traces(data)
    panels: list[Callable[[Axes], None]] = []
    if data.pulse_number is not None:
        panels.append(lambda ax: _against_number(ax, data))
    elif reads.reads.max() > 1 and (reads.time_seconds > 0).any():
        panels.append(lambda ax: _against_time(ax, data))
    panels.append(lambda ax: _per_level(ax, reads))
    if found.report is not None:
        for law in found.report.laws:
            quantities = {e.quantity for e in law.estimates if e.level_unit == "S"}
            for quantity in sorted(quantities):
                panels.append(partial(_estimates, law=law, quantity=quantity))
    if found.reach is not None:
        panels.append(partial(_reach, found=found.reach))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Drawing(figsize=(5.2 * columns, 4.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, draw in zip(axes, panels, strict=False):
        draw(ax)
        grid(ax)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return written(figure, path)


def _estimates(ax: Axes, law: Law, quantity: str) -> None:
    """Draw a quantity against its level with 95 % intervals, and its fitted curve."""
    rows = [e for e in law.estimates if e.quantity == quantity and e.level_unit == "S"]
    scale, unit = (1e6, " (uS)") if rows[0].unit == "S" else (1.0, "")
    x = np.array([e.level for e in rows]) * 1e6
    y = np.array([e.value for e in rows]) * scale
    ends = np.array([e.interval(0.95) for e in rows]) * scale
    away = np.abs(np.nan_to_num(ends - y[:, None], posinf=0.0, neginf=0.0)).T
    ax.errorbar(x, y, away, ls="", marker="o", ms=4, color=PALETTE[0], label="95 % interval")
    highest = max(e.level for e in rows)
    states = np.linspace(min(e.level for e in rows), highest, 100) / highest
    if quantity == "sigma" and law.polynomial is not None:
        curve = np.polynomial.polynomial.polyval(states, law.polynomial) * scale
        ax.plot(states * highest * 1e6, curve, color=TEXT, lw=1, label="law")
    elif quantity in law.curves:
        curve = fit_curves.value(law.curves[quantity], states)
        ax.plot(states * highest * 1e6, curve, color=TEXT, lw=1, label="law")
    ax.set_xlabel("level (uS)")
    ax.set_ylabel(quantity + unit)
    state = "" if law.identified else ": not identified"
    ax.set_title(law.name + state, fontsize=10, loc="left")
    ax.legend(frameon=False, fontsize=8.5)


def _reach(ax: Axes, found: Reach) -> None:
    """Draw the measured and the extrapolated range of a replay."""
    low, high = 1e6 * found.lowest_siemens, 1e6 * found.highest_siemens
    ax.axvspan(low, high, color=PALETTE[0], alpha=0.15, label="measured")
    ax.axvspan(0, low, color=SOFT, alpha=0.25, label="extrapolated")
    deviations = [1e6 * found.std_at_zero, 1e6 * found.std_at_lowest]
    ax.plot([0, low], deviations, color=TEXT, marker="o", ms=4, label="deviation")
    for gap in found.gaps:
        if gap.std_miss or gap.course_miss:
            ax.axvline(1e6 * gap.level_siemens, color=PALETTE[1], lw=1, ls=":")
    ax.set_xlim(0, high)
    ax.set_xlabel("target (uS)")
    ax.set_ylabel("standard deviation of error (uS)")
    ax.set_title("replay (dotted: levels that neighbours miss)", fontsize=10, loc="left")
    ax.legend(frameon=False, fontsize=8.5)


def _against_number(ax: Axes, data: MeasuredData) -> None:
    """Draw trains of pulses, one line each."""
    order, starts = trace_order(data.columns())
    ends = np.append(starts[1:], len(order))
    keep = np.unique(np.linspace(0, len(starts) - 1, min(40, len(starts))).astype(int))
    numbers = np.asarray(data.pulse_number)
    for i in keep:
        rows = order[starts[i] : ends[i]]
        ax.plot(numbers[rows], 1e6 * data.conductance_siemens[rows], lw=1, alpha=0.7)
    ax.set_xlabel("number of the pulse")
    ax.set_ylabel("conductance (uS)")
    ax.set_title(f"{len(keep)} of {len(starts)} trains of pulses", fontsize=10, loc="left")


def _against_time(ax: Axes, data: MeasuredData) -> None:
    """Draw median and 90 % of the devices against time, for some of the levels."""
    found = traces(data)
    groups = fit_traces.levels(found)
    values, kind = groups.siemens, groups.by
    keep = np.unique(np.linspace(0, len(values) - 1, min(_MOST_LEVELS, len(values))).astype(int))
    later = found.time_seconds[found.time_seconds > 0]
    times = np.geomspace(later.min(), np.median(found.last_seconds), 40)
    looked = np.empty((len(times), len(found)))
    for row, t in zip(looked, times, strict=True):
        at_time(found.offsets, found.time_seconds, found.conductance_siemens, float(t), row)
    looked *= 1e6
    shades = _shades(len(keep))
    for i, colour in zip(keep, shades, strict=True):
        low, middle, high = np.quantile(looked[:, groups.number == i], (0.05, 0.5, 0.95), axis=1)
        ax.fill_between(times, low, high, color=colour, alpha=0.18, lw=0)
        ax.plot(times, middle, color=colour, lw=1.6)
    ax.set_xscale("log")
    highest = np.quantile(looked[:, groups.number == keep[-1]], 0.95)
    if highest > 0:
        ax.set_ylim(min(0, float(looked.min())), 1.25 * highest)  # room for the legend
    ticks = [t for t in _COMMON_TIMES if times[0] <= t <= times[-1]]
    ticks = [t for t in (*ticks, times[0], times[-1]) if _apart(t, ticks, times)] + ticks
    ax.set_xticks(sorted(set(ticks)), [_time_label(t) for t in sorted(set(ticks))])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("time after programming")
    ax.set_ylabel("conductance (uS)")
    name = {"target": "targets", "pulse": "pulses", "first read": "groups by the first read"}[kind]
    ax.set_title(f"{len(keep)} of {len(values)} {name}", fontsize=10, loc="left")
    _legend_of_bands(ax, "over traces")


def _apart(t: float, ticks: list[float], times: np.ndarray) -> bool:
    span = np.log(times[-1] / times[0])
    return all(abs(np.log(t / tick)) > 0.12 * span for tick in ticks)


def _time_label(t: float) -> str:
    return f"{t / 86400:.3g} d" if t > 86400 else units.show_time(float(f"{t:.3g}"))


def _against_pulse(ax: Axes, found: Traces) -> None:
    """Draw median and 90 % of the cycles against the pulse, per device."""
    label, scale = _PULSES[found.pulse_column or ""]
    pulse = np.asarray(found.pulse)
    devices = np.unique(found.device)
    shown = devices if len(devices) <= _MOST_DEVICES else [None]
    for i, device in enumerate(shown):
        mine = np.full(len(found), True) if device is None else found.device == device
        x = np.unique(pulse[mine])
        at_pulse = [found.first_siemens[mine & (pulse == amplitude)] for amplitude in x]
        q = np.array([np.quantile(sample, (0.05, 0.5, 0.95)) for sample in at_pulse]) * 1e6
        ax.fill_between(x * scale, q[:, 0], q[:, 2], color=PALETTE[i], alpha=0.18, lw=0)
        name = None if device is None else f"device {device}"
        ax.plot(x * scale, q[:, 1], color=PALETTE[i], ls=DASHES[i % len(DASHES)], lw=1.4,
                label=name)  # fmt: skip
    _conductance_axis(ax, found.first_siemens)
    ax.set_xlabel(label)
    ax.set_ylabel("conductance (uS)")
    ax.set_title(f"after the pulse: {_several(len(devices), 'device')}", fontsize=10, loc="left")
    _legend_of_bands(ax, "over traces" if shown[0] is None else "over cycles")


def _per_level(ax: Axes, found: Traces) -> None:
    """Draw quantiles of the first read per level, or their histogram."""
    groups = fit_traces.levels(found)
    number, values, kind = groups.number, groups.siemens, groups.by
    first = found.first_siemens * 1e6
    ax.set_title("first read of each trace", fontsize=10, loc="left")
    if kind == "first read":
        ax.hist(first, bins=_BINS, color=PALETTE[0], alpha=0.7)
        ax.set_xlabel("conductance (uS)")
        ax.set_ylabel("traces")
        return
    keep = np.arange(0, len(values), -(-len(values) // _MOST_BOXES))
    label, scale = _PULSES.get(found.pulse_column or "", ("", 1.0))
    if kind == "target":
        x, label, rest = values[keep] * 1e6, "target (uS)", first - values[number] * 1e6
        ax.axhline(0, color=TEXT, lw=0.8)
        ax.set_ylabel("conductance - target (uS)")
    else:
        x, rest = np.unique(np.asarray(found.pulse))[keep] * scale, first
        _conductance_axis(ax, found.first_siemens)
        ax.set_ylabel("conductance (uS)")
    q = np.array([np.quantile(rest[number == i], _QUANTILES) for i in keep])
    width: dict[str, Any] = {"color": PALETTE[0], "solid_capstyle": "butt"}
    for place, row in zip(x, q, strict=True):
        ax.plot([place, place], [row[0], row[4]], lw=1.2, **width)
        ax.plot([place, place], [row[1], row[3]], lw=5, **width)
    ax.plot(x, q[:, 2], ls="", marker="_", ms=8, color=TEXT, zorder=4)
    ax.set_xlabel(label)
    handles = [
        Line2D([], [], color=PALETTE[0], lw=1.2, label="5 to 95 %"),
        Line2D([], [], color=PALETTE[0], lw=5, label="25 to 75 %"),
        Line2D([], [], color=TEXT, marker="_", ls="", ms=8, label="median"),
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8.5)


def _conductance_axis(ax: Axes, siemens: np.ndarray) -> None:
    """Use a logarithmic axis with plain numbers where conductances span more than a decade."""
    positive = siemens[siemens > 0]
    if len(positive) and np.quantile(positive, 0.99) > 10 * np.quantile(positive, 0.01):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _several(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _shades(n: int) -> list[Any]:
    from matplotlib import colormaps

    scale = Normalize(-0.5, max(1, n) + 0.5)
    return [colormaps["viridis"](scale(i)) for i in range(n)]


def _legend_of_bands(ax: Axes, over: str) -> None:
    handles, _ = ax.get_legend_handles_labels()
    handles += [
        Line2D([], [], color=SOFT, lw=1.6, label="median"),
        Patch(color=SOFT, alpha=0.3, lw=0, label=f"5 to 95 % {over}"),
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8.5)
