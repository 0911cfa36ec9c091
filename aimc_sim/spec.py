"""What the machine is: frozen, validated specifications, one class per level of the chip.

Every physical field is an SI number and carries its unit in its name; ``None`` means *ideal*
(the effect is absent), never zero bits or zero amperes. The numbers themselves, each with its
source, live in :mod:`aimc_sim.presets`; this module only says which numbers there are.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FORMAT_VERSION = 1
"""Version of the specification's JSON form; part of every identity."""

_DESCRIPTIVE = {"name", "source"}
"""Fields that describe and do not change an answer: left out of the identity."""


def quantity(unit: str, about: str, default: Any = ..., **bounds: Any) -> Any:
    """Declare a field with its unit and meaning, which ``aimc-sim info`` prints."""
    return Field(default, description=about, json_schema_extra={"unit": unit}, **bounds)


class Spec(BaseModel):
    """Base of all specifications: frozen, strict about names, hashed by content."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, strict=True
    )

    def with_(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """Return a re-validated copy with some fields changed.

        Parameters
        ----------
        changes : mapping from dotted path to value, optional
            For example ``{"core.adc.bits": 9}``.
        **fields
            The same for fields of this level.

        Returns
        -------
        Spec
            A new specification of the same class; ``self`` is untouched.

        Raises
        ------
        KeyError
            If a path names no field; the message gives the nearest name.
        ValueError
            If a value is outside its range.
        """
        data = self.model_dump()
        for path, value in {**(changes or {}), **fields}.items():
            self._set(data, path, _plain(value))
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "specification"
            value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
            reason = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}{value} is not allowed: {reason}") from None

    def _set(self, data: dict[str, Any], path: str, value: Any) -> None:
        *parents, last = path.split(".")
        level, walked = data, ""
        for part in [*parents, last]:
            if not isinstance(level, dict):
                raise KeyError(
                    f"'{path}': '{walked}' is {level!r} and has no field '{part}'; "
                    f"set '{walked}' as a whole first"
                )
            if part not in level:
                near = difflib.get_close_matches(part, level, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                place = f"'{walked}'" if walked else "the specification"
                known = ", ".join(sorted(level))
                raise KeyError(f"'{path}': {place} has no field '{part}'; {hint}Known: {known}")
            if part is not last or len(walked.split(".")) < len(parents):
                walked = f"{walked}.{part}".lstrip(".")
            parent, level = level, level[part]
        parent[last] = value

    def id_text(self) -> str:
        """Return the canonical JSON that :meth:`id` hashes (descriptive texts left out)."""
        body = _without_descriptions(self.model_dump(mode="json"))
        return json.dumps(
            {"class": type(self).__name__, "format": FORMAT_VERSION, "spec": body},
            sort_keys=True,
            separators=(",", ":"),
        )

    def id(self) -> str:
        """Return the identity: the first 16 hex digits of the SHA-256 of :meth:`id_text`."""
        return hashlib.sha256(self.id_text().encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump()
    return tuple(value) if isinstance(value, list) else value


def _without_descriptions(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_descriptions(v) for k, v in value.items() if k not in _DESCRIPTIVE}
    if isinstance(value, list):
        return [_without_descriptions(v) for v in value]
    return value


# --------------------------------------------------------------------------- device


class StateCurve(Spec):
    """A quantity that depends on the state x = G_target / G_max of a device.

    Below ``knee`` (or everywhere, if ``knee`` is None) it is ``clip(f(x), low, high)`` with
    ``f = a ln x + b`` ("log") or ``f = a x^b`` ("power"); from the knee on it is the
    polynomial ``c0 + c1 x + c2 x^2 + c3 x^3``.
    """

    form: Literal["log", "power"] = quantity("-", "shape below the knee")
    a: float = quantity("-", "slope (log) or factor (power)")
    b: float = quantity("-", "offset (log) or exponent (power)")
    low: float = quantity("-", "lower clip below the knee", ge=0)
    high: float = quantity("-", "upper clip below the knee", ge=0)
    knee: float | None = quantity("-", "state where the polynomial takes over", None, gt=0)
    polynomial: tuple[float, float, float, float] = quantity(
        "-", "c0..c3 from the knee on", (0.0, 0.0, 0.0, 0.0)
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class ProgrammingLaw(Spec):
    """Programming error: G = max(0, G_target + sigma(x) xi), xi standard normal."""

    polynomial_siemens: tuple[float, float, float, float] = quantity(
        "S", "sigma(x) = (c0 + c1 x + c2 x^2 + c3 x^3) * g_max / g_reference"
    )
    scale: float = quantity("-", "multiplies sigma (1 = the published law)", 1.0, ge=0)
    source: str = ""


class DriftLaw(Spec):
    """Drift: G(t) = G_prog ((t + t0) / t0)^-nu, nu = |mu(x) + sigma(x) xi| per device."""

    exponent_mean: StateCurve = quantity("-", "mean of nu against state")
    exponent_std: StateCurve = quantity("-", "spread of nu between devices against state")
    scale: float = quantity("-", "multiplies nu (1 = the published law)", 1.0, ge=0)
    source: str = ""


class ReadNoiseLaw(Spec):
    """1/f read noise: sigma = G(t) Q_s(x) sqrt(ln((t + t_read) / (2 t_read))), x of the target.

    The band above ``1 / inference_seconds`` is fresh in every MVM, the band below is frozen
    while the clock stands still ("split"); "frozen" and "per_mvm" put all of it in one part.
    """

    amplitude: StateCurve = quantity("-", "Q_s against state")
    t_read_seconds: float = quantity("s", "duration of the read behind the fit", gt=0)
    band: Literal["split", "frozen", "per_mvm"] = quantity("-", "which part is fresh", "split")
    inference_seconds: float = quantity(
        "s", "duration of one inference: the edge between the two bands", 1e-3, gt=0
    )
    scale: float = quantity("-", "multiplies sigma (1 = the published law)", 1.0, ge=0)
    source: str = ""


class ResetState(Spec):
    """The state of a device that is left in RESET: its own distribution, not a target."""

    mean_siemens: float = quantity("S", "mean conductance of one RESET device", ge=0)
    std_siemens: float = quantity("S", "spread of one RESET device (clipped at 0)", ge=0)
    source: str = ""


class PcmSpec(Spec):
    """The device of one chip: its conductance range and its statistical laws.

    A law describes one *element*: a single device, or a pair of devices of one polarity that
    the published fit treats as one (``devices_per_element = 2``). ``None`` for a law means
    that the effect is absent.
    """

    g_max_siemens: float = quantity("S", "largest element conductance that is asked for", gt=0)
    g_reference_siemens: float = quantity("S", "g_max of the published fit", gt=0)
    devices_per_element: Literal[1, 2] = quantity("-", "devices that one fitted element stands for")
    t0_seconds: float = quantity(
        "s", "age of the devices when the clock starts: the law's reference read", gt=0
    )
    programming: ProgrammingLaw | None = quantity("-", "programming error")
    drift: DriftLaw | None = quantity("-", "conductance drift")
    read_noise: ReadNoiseLaw | None = quantity("-", "1/f read noise")
    reset: ResetState = quantity("-", "devices left in RESET")
    zero_target: Literal["reset", "programmed"] = quantity(
        "-", "what happens to the elements of a cell whose weight is exactly zero", "reset"
    )
    source: str = ""


# --------------------------------------------------------------------------- core


class DacSpec(Spec):
    """Input: sign and magnitude, as the duration of a read pulse."""

    bits: int | None = quantity("bit", "sign + magnitude; None = ideal", 8, ge=2, le=16)
    lsb_seconds: float = quantity("s", "pulse length of one step", 1e-9, gt=0)
    source: str = ""

    @property
    def max_code(self) -> int:
        """Largest magnitude that the modulator can send (127 for 8 bits)."""
        return 2 ** ((self.bits or 8) - 1) - 1


class AdcSpec(Spec):
    """Output: one converter per column, symmetric about zero."""

    bits: int | None = quantity("bit", "sign + magnitude; None = ideal", 10, ge=2, le=24)
    full_scale_amperes: float | None = quantity(
        "A", "largest mean column current; above it the code saturates; None = no limit", gt=0
    )
    source: str = ""

    @model_validator(mode="after")
    def _has_range(self) -> Self:
        if self.bits is not None and self.full_scale_amperes is None:
            raise ValueError("an ADC with finite bits needs full_scale_amperes")
        return self

    @property
    def max_code(self) -> int | None:
        """Largest magnitude of the output code, or None for an ideal converter."""
        return None if self.bits is None else 2 ** (self.bits - 1) - 1


class PolaritySpec(Spec):
    """A device conducts g under one read polarity and g (1 + delta) under the other."""

    mean_fraction: float = quantity("-", "mean of delta", 0.0, gt=-1, lt=1)
    std_fraction: float = quantity("-", "spread of delta between elements", 0.0, ge=0, lt=1)
    source: str = ""


class ReadSpec(Spec):
    """How the four sign combinations of input and weight are read."""

    mode: Literal["4-phase", "1-phase"] = quantity("-", "four modulations of one polarity, or one")
    mvm_seconds: float = quantity("s", "duration of one MVM", gt=0)
    mvm_joules: float = quantity("J", "energy of one full-core MVM: array, ADC, modulators", gt=0)
    v_read_volts: float = quantity("V", "read voltage", gt=0)
    polarity: PolaritySpec | None = quantity(
        "-", "polarity-dependent conduction; acts in 1-phase mode only", None
    )
    source: str = ""

    @model_validator(mode="after")
    def _one_polarity(self) -> Self:
        if self.mode == "4-phase" and self.polarity is not None:
            raise ValueError("4-phase reads use one polarity only; set polarity to None")
        return self


class LdpuSpec(Spec):
    """Local digital unit: affine, ReLU, addition of the link input, requantisation."""

    output_bits: int | None = quantity("bit", "activations between layers; None = float", 8, ge=2)
    link_bits: int | None = quantity("bit", "partial sums on links; None = float", 8, ge=2)
    clock_hertz: float = quantity("Hz", "one output per clock", 400e6, gt=0)
    source: str = ""


class CoreSpec(Spec):
    """One compute core: crossbar, converters, local digital unit."""

    rows: int = quantity("-", "inputs of the crossbar", 256, ge=1)
    cols: int = quantity("-", "outputs of the crossbar", 256, ge=1)
    pcm: PcmSpec = quantity("-", "device")
    weight_scaling: Literal["core", "column"] = quantity(
        "-", "largest weight of the core, or of each column, is mapped to g_max", "core"
    )
    dac: DacSpec = quantity("-", "input converter")
    adc: AdcSpec = quantity("-", "output converter")
    read: ReadSpec = quantity("-", "read mode")
    ldpu: LdpuSpec = quantity("-", "local digital unit")
    source: str = ""


# --------------------------------------------------------------------------- chip


class FabricSpec(Spec):
    """Cores on a grid and the links between them."""

    topology: Literal["prism_grid", "mesh"] = quantity("-", "link predicate", "prism_grid")
    rows: int = quantity("-", "rows of cores", 8, ge=1)
    cols: int = quantity("-", "columns of cores", 8, ge=1)
    source: str = ""

    @property
    def cores(self) -> int:
        """Number of cores."""
        return self.rows * self.cols


class CalibrationSpec(Spec):
    """How integer ranges and drift compensation are measured."""

    percentile: float = quantity(
        "%", "share of calibration values inside an activation range", 100.0, gt=50, le=100
    )
    compensation_vectors: int = quantity(
        "-", "random +-full-scale inputs per core and drift-compensation read", 64, ge=1
    )
    source: str = ""


class ChipSpec(Spec):
    """The whole machine."""

    name: str = "chip"
    core: CoreSpec = quantity("-", "every core")
    fabric: FabricSpec = quantity("-", "cores and links")
    calibration: CalibrationSpec = quantity("-", "calibration procedures")
    source: str = ""
