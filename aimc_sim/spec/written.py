"""Matrices that are written into devices at inference: keys and values of attention.

A product of two values, such as queries times keys, is an operation of the digital units, or one of
them is written into devices and the other drives their rows. Which product is computed how:
``mapping.products``; how a matrix is written: :class:`WrittenSpec`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Spec, quantity
from .device import _roots, _value


class RramWriteLaw(Spec):
    """One write of a resistive device: ``G' = G + gamma sigma sqrt((G - Gmin)(Gmax - G)) xi``.

    xi is standard normal, and a result below zero is zero (ASSUMED). The form is that of TxSim as
    ClipFormer uses it for keys and values (arXiv:2402.02586, second hand), with gamma from 3 to 5;
    sigma was not found.
    """

    kind: Literal["rram"] = quantity("-", "noise in the middle of the range, none at its ends",
                                     "rram")  # fmt: skip
    gamma: float = quantity("-", "strength of the noise; ClipFormer has 3 to 5", 5.0, ge=0)
    sigma: float = quantity("-", "standard deviation per gamma. ASSUMED", 0.1, ge=0)
    source: str = "form: arXiv:2402.02586, second hand; sigma: assumption, not measured"


class PcmWriteLaw(Spec):
    """One write of a phase-change device: ``G' = max(0, G + s(x) xi)``, x = G / Gmax.

    ``s(x) = scale (Gmax / fitted) (c0 + c1 x + c2 x^2)``: the law of weights that are programmed
    once (:class:`~aimc_sim.spec.ProgrammingLaw`), stretched to the range of the written devices as
    AIHWKit stretches it. That a write within an inference is as precise is an ASSUMPTION.
    """

    kind: Literal["pcm"] = quantity("-", "noise at all conductances", "pcm")
    polynomial_siemens: tuple[float, float, float] = quantity(
        "S", "c0, c1, c2 of the standard deviation against state",
        (0.26348e-6, 1.9650e-6, -1.1731e-6),
    )  # fmt: skip
    fitted_siemens: float = quantity("S", "largest conductance of the fit", 25e-6, gt=0)
    scale: float = quantity("-", "multiplies the standard deviation (1 = the published law)", 1.0,
                            ge=0)  # fmt: skip
    source: str = "AIHWKit's fit to devices of doi:10.1038/s41467-020-16108-9, 25 uS"

    @model_validator(mode="after")
    def _nowhere_negative(self) -> Self:
        c = self.polynomial_siemens
        places = [0.0, 1.0, *(x for x in _roots(c[1], 2 * c[2], 0.0) if 0 < x < 1)]
        least = min(places, key=lambda x: _value((*c, 0.0), x))
        if _value((*c, 0.0), least) < 0:
            raise ValueError(
                f"the standard deviation is {_value((*c, 0.0), least):.3g} S at x = {least:.3g}; "
                "none is negative: change polynomial_siemens"
            )
        return self


WriteLaw = Annotated[RramWriteLaw | PcmWriteLaw, Field(discriminator="kind")]


class WrittenSpec(Spec):
    """Devices that hold one operand of a product for one inference.

    A value v of the calibrated range r has the magnitude u = |v| / r, and its sign chooses the
    device of a differential pair that conducts ``Gmin + u (Gmax - Gmin)``; the other stays at Gmin.
    With slices, ``m = rint(u (2^(slices bits) - 1))`` is written digit by digit, each digit into a
    pair of its own with ``2^bits`` levels between Gmin and Gmax; the codes of the converter are
    shifted and added. Clipping (ClipFormer, arXiv:2402.02586, second hand) acts on the conductance
    of the whole value, before slices: ``G <- max(G - alpha Gmin, Gmin)``, then
    ``G <- min(G, beta Gmax)``; the range of the digital unit stays, so that slices above beta hold
    nothing.

    The core's own converters and read voltage read the array. Devices are read as they were
    written: without read noise, drift and wires.
    """

    law: WriteLaw | None = quantity("-", "error of a write; None = exact", RramWriteLaw())
    g_min_siemens: float = quantity("S", "lowest conductance: on/off ratio 100", 0.1e-6, ge=0)
    g_max_siemens: float = quantity("S", "largest conductance: 100 kohm", 10e-6, gt=0)
    slices: int = quantity("-", "pairs of devices per value", 4, ge=1, le=8)
    bits_per_cell: int | None = quantity(
        "bit", "levels of a device; None = any conductance, in a single slice", 2, ge=1, le=8
    )
    clip_low: float | None = quantity("-", "alpha of ClipFormer; None = off", None, ge=1)
    clip_high: float | None = quantity("-", "beta of ClipFormer; None = off", None, gt=0, le=1)
    input_bits: int | None = quantity(
        "bit", "sign and magnitude of the values that drive the rows; None = ideal", 8, ge=2, le=16
    )
    rows_at_a_time: int = quantity("-", "rows of a crossbar that are written at once", 1, ge=1)
    pulses: int = quantity("-", "pulses of a write", 1, ge=1, le=1000)
    pulse_seconds: float = quantity("s", "a pulse with its set-up. ASSUMED", 100e-9, gt=0)
    pulse_joules: float = quantity("J", "a pulse of one device. ASSUMED", 1e-12, ge=0)
    endurance_cycles: float = quantity(
        "-", "writes that a device endures. ASSUMED", 1e8, gt=0, le=1e18
    )
    cores: Literal["own", "shared"] = quantity(
        "-", "every product has cores of its own, as a pipeline needs them; or cores are released "
        "when a product is done, and written for a later one", "own",
    )  # fmt: skip
    max_tokens: int | None = quantity(
        "-", "sizes that depend on those of the inputs are laid out for so many; None: those of "
        "the example", None, ge=1, le=2**16,
    )  # fmt: skip
    source: str = (
        "range, bits and slices: arXiv:2402.02586, second hand; times, energies and endurance: "
        "assumptions, not measured"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.g_min_siemens >= self.g_max_siemens:
            raise ValueError(
                f"g_min_siemens = {self.g_min_siemens:g} must be below g_max_siemens = "
                f"{self.g_max_siemens:g}"
            )
        if self.bits_per_cell is None and self.slices != 1:
            raise ValueError(
                f"slices = {self.slices} with bits_per_cell = None: a device of any conductance "
                "holds the whole value; set slices to 1, or bits_per_cell"
            )
        if self.bits_per_cell is not None and self.bits_per_cell * self.slices > 16:
            raise ValueError(
                f"slices = {self.slices} of bits_per_cell = {self.bits_per_cell}: wanted at most "
                "16 bits in all"
            )
        floor = self.g_min_siemens / self.g_max_siemens
        if self.clip_high is not None and self.clip_high < floor:
            raise ValueError(
                f"clip_high = {self.clip_high:g} lies below g_min / g_max = {floor:g}: nothing "
                "could be written; wanted more"
            )
        return self

    def ideal(self) -> Self:
        """Return devices of the same range that hold every value exactly, and ideal inputs."""
        exact = {"law": None, "slices": 1, "bits_per_cell": None, "input_bits": None}
        return self.with_({**exact, "clip_low": None, "clip_high": None})

    @property
    def largest(self) -> int | None:
        """Largest magnitude that the slices hold; None where conductances are not stepped."""
        if self.bits_per_cell is None:
            return None
        return int(2 ** (self.bits_per_cell * self.slices)) - 1

    @property
    def devices_per_value(self) -> int:
        """Devices that hold a value: a pair per slice."""
        return 2 * self.slices

    @property
    def row_seconds(self) -> float:
        """Time of a write of ``rows_at_a_time`` rows, s."""
        return self.pulses * self.pulse_seconds
