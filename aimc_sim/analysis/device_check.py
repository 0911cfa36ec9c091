"""Check of measured data: range, laws, goodness of fit, reach of a replay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import markup
from ..device.measured.reach import Reach, reach
from ..device.measured.replay import library
from ..device.measured.schema import MeasuredData
from ..device.measured.traces import Traces, traces
from .fit import FitReport, fit
from .fit_estimates import FEWEST_DEVICES
from .fit_pulses import PulseReport, fit_pulses


@dataclass(frozen=True)
class Check:
    """A checked measurement.

    Attributes
    ----------
    size, range : tuple of str
        Lines of text: how much there is, and over which times and conductances.
    report : FitReport or PulseReport or None
        Laws of the data; None if nothing can be fitted.
    unfit : str
        Why nothing can be fitted; empty else.
    reach : Reach or None
        Targets and times of a replay; None if nothing can be replayed.
    no_replay : str
        Why nothing can be replayed; empty else.
    """

    size: tuple[str, ...]
    range: tuple[str, ...]
    report: FitReport | PulseReport | None
    unfit: str
    reach: Reach | None
    no_replay: str

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        laws = [markup.paragraph(f"laws: none; {self.unfit}")]
        if self.report is not None:
            laws = [markup.paragraph(f"laws, from {self.report.levels_text}:")]
            for law in self.report.laws:
                state = "yes" if law.identified else f"no: {law.reason}"
                notes = markup.bullets(law.notes if law.estimates else ("no estimates",))
                laws.append(markup.folded(f"{law.name}: {state}", notes))
        return markup.display(
            "Check", "of a measurement", markup.bullets([*self.size, *self.range]), *laws,
            *map(markup.paragraph, self._replay()),
        )  # fmt: skip

    def text(self) -> str:
        """Return all of it, a line each."""
        lines = [*self.size, *self.range, ""]
        if self.report is None:
            lines.append(f"laws: none; {self.unfit}")
        else:
            lines.append(f"laws, from {self.report.levels_text}:")
            for law in self.report.laws:
                state = "yes" if law.identified else f"no: {law.reason}"
                lines.append(f"  {law.name}: {state}")
                lines += [f"    {note}" for note in law.notes] if law.estimates else []
        lines.append("")
        first, *more = self._replay()
        lines += [first, *(f"  {line}" for line in more)]
        return "\n".join(lines)

    def _replay(self) -> list[str]:
        """Return sentences about targets and times of a replay."""
        found = self.reach
        if found is None:
            return [f"replay: no; {self.no_replay}"]
        lines = [
            f"replay: targets from {found.lowest_siemens:.3g} S to {found.highest_siemens:.3g} "
            f"S, times from {found.t_first_seconds:.3g} s to {found.t_last_seconds:.3g} s; "
            "later it stands still"
        ]
        if found.width_siemens:
            lines.append(f"neighbours lie within {found.width_siemens:.2g} S")
        else:
            lines.append(found.below())
        if found.between():
            lines.append(found.between())
        return lines


def check(data: MeasuredData) -> Check:
    """Check a measurement in every respect; nothing is refused, everything is reported."""
    found = traces(data)
    devices, names = np.unique(found.device), data.device_names
    per_device = len(found) / len(devices)
    size = [
        f"{data.provenance.title or 'untitled'}: {len(data):,} reads, {len(found):,} traces of "
        f"{len(devices):,} device(s), {per_device:.3g} traces each"
    ]
    if names is not None:
        size.append(f"devices have names: {', '.join(names[:3])}{', ...' * (len(names) > 3)}")
    if len(devices) < FEWEST_DEVICES:
        size.append(
            f"too few devices for a law: {len(devices)}; traces of one device are alike, needs "
            f"{FEWEST_DEVICES} or more"
        )
    scope = [_range(data, found)]
    g = data.conductance_siemens
    negative = int((g < 0).sum())
    scope.append(
        f"conductances from {g.min():.3g} S to {g.max():.3g} S"
        + (f", {negative:,} negative (noise around zero)" if negative else "")
    )
    report: FitReport | PulseReport | None = None
    unfit = ""
    try:
        report = fit(data) if data.pulse_number is None else fit_pulses(data)
    except ValueError as error:
        unfit = str(error)
    ours, no_replay = None, ""
    try:
        ours = reach(library(data))
    except ValueError as error:
        no_replay = str(error)
    return Check(tuple(size), tuple(scope), report, unfit, ours, no_replay)


def _range(data: MeasuredData, found: Traces) -> str:
    if data.pulse_number is not None:
        return f"pulse records: {found.reads.min():,} to {found.reads.max():,} reads per train"
    later = found.time_seconds[found.time_seconds > 0]
    reads = f"{found.reads.min():,} to {found.reads.max():,} reads per trace"
    if not len(later) or later.max() == later.min():
        return f"{reads}, at one time: nothing can be said about drift or its noise"
    decades = math.log10(later.max() / later.min())
    times = len(np.unique(found.time_seconds))
    return (
        f"{reads}, {times:,} different times from {later.min():.4g} s to {later.max():.4g} s: "
        f"{decades:.1f} decades"
    )
