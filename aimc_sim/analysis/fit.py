"""Laws from measured devices: estimates, their errors, and the reasons where data are lacking.

    report = fit(measured.read("my_devices.h5"))
    print(report.table())
    spec = presets.generic_pcm().with_({"core.device": report.to_pcm_spec()})

Every number has a standard error; a law that the data cannot determine says what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import markup
from ..device.measured.schema import MeasuredData
from ..device.measured.traces import Traces, traces
from ..spec import DriftLaw, PcmSpec, ProgrammingLaw, ReadNoiseLaw, ResetState
from . import fit_forms, fit_laws, fit_noise, fit_traces, fit_variance
from .fit_estimates import COLUMNS, FEWEST_TRACES, Estimate, Law, LawReport

__all__ = ["COLUMNS", "Estimate", "FitReport", "Law", "fit"]


@dataclass(frozen=True)
class FitReport(LawReport):
    """Estimates of every law from a measurement.

    Attributes
    ----------
    title : str
        Of the measurement.
    reads, devices, traces, levels : int
        How much there is; levels are targets, pulses or groups by the first read.
    levels_by : "target", "pulse" or "first read"
        Property by which traces are put into levels.
    levels_text : str
        Number and kind of the levels in words; of continuous targets the width of the bins.
    g_max_siemens : float
        Highest level.
    t0_seconds : float
        Time of the first read after time 0; NaN if there is none.
    read_seconds : float or None
        Duration of a read, from the data.
    laws : tuple of Law
        Programming, drift, read noise and all others, identified or not.
    reset : ResetState or None
        From the traces with target zero, if there are some.
    """

    title: str
    reads: int
    devices: int
    traces: int
    levels: int
    levels_by: str
    levels_text: str
    g_max_siemens: float
    t0_seconds: float
    read_seconds: float | None
    laws: tuple[Law, ...]
    reset: ResetState | None

    _repr_pretty_ = markup.named

    def to_pcm_spec(
        self, t_read_seconds: float | None = None, despite: Sequence[str] = ()
    ) -> PcmSpec:
        """Return the measured device as a specification for a chip.

        Parameters
        ----------
        t_read_seconds : float, optional
            Duration of a read; default that of the data.
        despite : sequence of str
            Laws ("drift", "read noise") to take although the data speak against their form.

        Returns
        -------
        PcmSpec
            Curves end at the lowest and highest level that was measured. The bias of the
            programming has no place in a specification and is left out. Without traces of target
            zero, RESET devices are taken as perfect, and ``reset.source`` says so.

        Raises
        ------
        ValueError
            If programming, drift or read noise is not identified, or not at several levels.
        """
        needed = {"programming": (), "drift": ("nu mean", "nu spread"), "read noise": ("Q_s",)}
        for name, curves in needed.items():
            law = self.law(name)
            if not law.identified and not (name in despite and set(curves) <= set(law.curves)):
                raise ValueError(
                    f"no device from these data: {name} is not identified: {law.reason}"
                )
            for quantity in curves:
                if quantity not in law.curves:
                    raise ValueError(
                        f"no device from these data: {quantity} was found at one level only; "
                        "needs 2 or more levels"
                    )
        t_read = self.read_seconds if t_read_seconds is None else t_read_seconds
        if t_read is None:
            raise ValueError(
                "no device from these data: the duration of a read is not known; give "
                "t_read_seconds, or import with read_seconds=@...[ns]"
            )
        drift = self.law("drift").curves
        polynomial = self.law("programming").polynomial
        assert polynomial is not None  # an identified law has one
        source = f"fitted to '{self.title}': {self.traces} traces of {self.devices} devices"
        return PcmSpec(
            g_max_siemens=self.g_max_siemens,
            g_reference_siemens=self.g_max_siemens,
            devices_per_element=1,
            t0_seconds=self.t0_seconds,
            programming=ProgrammingLaw(
                polynomial_siemens=polynomial,
                states=self.law("programming").states,
                source=source,
            ),
            drift=DriftLaw(
                exponent_mean=drift["nu mean"], exponent_std=drift["nu spread"], source=source
            ),
            read_noise=ReadNoiseLaw(
                amplitude=self.law("read noise").curves["Q_s"], t_read_seconds=float(t_read),
                source=source,
            ),
            reset=self.reset
            or ResetState(
                mean_siemens=0.0, std_siemens=0.0,
                source="not measured (no target of zero): taken as perfect",
            ),
            source=source,
        )  # fmt: skip


def fit(data: MeasuredData) -> FitReport:
    """Fit every law that the data can determine.

    Parameters
    ----------
    data : MeasuredData
        Reads after programmings, of one or several devices.

    Returns
    -------
    FitReport

    Raises
    ------
    ValueError
        If there is too little for any law; the message names the lack.
    """
    if data.pulse_number is not None:
        raise ValueError(
            "these are pulse records (column 'pulse_number'), not reads after a programming; "
            "fit them with aimc_sim.analysis.fit_pulses.fit_pulses ('aimc-sim device fit' does)"
        )
    found = traces(data)
    if len(found) < FEWEST_TRACES:
        raise ValueError(
            f"{len(found)} trace(s) of {len(np.unique(found.device))} device(s): too little to "
            f"fit; needs at least {FEWEST_TRACES} traces (programmings of a device)"
        )
    regression = fit_traces.regress(found)
    groups = fit_traces.levels(found)
    lacking = fit_laws.times_lacking(found)
    parts = fit_noise.usable(found, groups, regression, data.read_seconds)
    if lacking:
        parts = replace(parts, levels=(), growth=None)
    forms = fit_forms.compare(found, parts, lacking)
    laws = (
        fit_laws.programming(found, groups, regression, parts),
        fit_laws.drift(found, groups, regression, parts, forms),
        forms.law(),
        fit_laws.read_noise(found, regression, parts, data.read_seconds),
        fit_variance.programming_curve(found),
        fit_variance.variance_split(found),
    )
    if not any(law.identified or law.estimates for law in laws):
        reasons = "; ".join(f"{law.name}: {law.reason}" for law in laws)
        raise ValueError(f"these data determine no law. {reasons}")
    return FitReport(
        title=data.provenance.title or "untitled",
        reads=len(data),
        devices=len(np.unique(found.device)),
        traces=len(found),
        levels=len(groups.siemens),
        levels_by=groups.by,
        levels_text=groups.text(),
        g_max_siemens=_highest(found, groups),
        t0_seconds=regression.t0_seconds,
        read_seconds=data.read_seconds,
        laws=laws,
        reset=fit_laws.reset(found),
    )


def _highest(found: Traces, groups: fit_traces.Levels) -> float:
    """Return the highest level, of continuous targets the highest target, in siemens."""
    if np.isfinite(found.target_siemens).any():
        return float(np.nanmax(found.target_siemens))
    return float(groups.siemens.max())
