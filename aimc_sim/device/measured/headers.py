"""Headers of tables: ``G [uS]``, ``R_kOhm``, ``"R, kohm"``, ``log10(R/ohm)``, ``30 s``."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS: dict[str, dict[str, float]] = {
    "S": {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9, "pS": 1e-12},
    "ohm": {"ohm": 1.0, "kohm": 1e3, "Mohm": 1e6, "Gohm": 1e9},
    "V": {"V": 1.0, "mV": 1e-3},
    "A": {"A": 1.0, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9, "pA": 1e-12},
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "K": {"K": 1.0, "C": 1.0},
    "1": {"1": 1.0},
}
"""Units by kind, with their size in SI (temperatures in C are shifted, see the column map)."""

_WORDS = {
    "siemens": "S", "microsiemens": "uS", "nanosiemens": "nS", "millisiemens": "mS", "mho": "S",
    "ohms": "ohm", "kiloohm": "kohm", "kiloohms": "kohm", "megaohm": "Mohm", "megaohms": "Mohm",
    "volt": "V", "volts": "V", "millivolt": "mV", "ampere": "A", "amperes": "A", "amp": "A",
    "amps": "A", "microampere": "uA", "nanoampere": "nA", "sec": "s", "secs": "s", "second": "s",
    "seconds": "s", "minute": "min", "minutes": "min", "mins": "min", "hour": "h", "hours": "h",
    "hr": "h", "hrs": "h", "day": "d", "days": "d", "kelvin": "K", "celsius": "C", "degc": "C",
    "kohm": "kohm", "mohm": "Mohm", "gohm": "Gohm", "ohm": "ohm",
}  # fmt: skip
_KNOWN = {name for names in UNITS.values() for name in names} - {"1"}
_SIGNS = str.maketrans(
    {"\u00b5": "u", "\u03bc": "u", "\u03a9": "ohm", "\u2126": "ohm", "\u00b0": ""}
)
_BRACKET = re.compile(r"(.*?)\s*[\[({<]\s*([^\[\](){}<>]*)\s*[\])}>]\s*\Z")
_SEPARATED = re.compile(r"(.+?)(?:\s*[,;/]\s*|_|\s+in\s+|\s+)([^\s,;/_]+)\s*\Z")
_LOG = re.compile(r"log_?(?:10)?(?:_|\s*\(|\s+|(?=[A-Z]))(.+?)\)?\s*\Z")
_TIME = re.compile(
    r"(?:[tT](?:ime)?\s*[=_:]?\s*)?"
    r"([-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?)\s*_?\s*([^\d\s()\[\]]*)\Z"
)


@dataclass(frozen=True)
class Header:
    """A header taken apart.

    Attributes
    ----------
    text : str
        As it stands in the file.
    label : str
        Without the unit.
    unit : str
        As the column map writes it (``log10 ohm`` for logarithms); empty if there is none.
    """

    text: str
    label: str
    unit: str


def unit(text: str) -> str:
    """Return a unit as the column map writes it; empty if the text is none."""
    plain = text.strip().translate(_SIGNS).replace("Ohm", "ohm").replace("OHM", "ohm")
    if plain in _KNOWN:
        return plain
    return _WORDS.get(plain.lower(), "")


def parse(text: str) -> Header:
    """Take a header apart; a unit counts only if it is a known one."""
    plain = text.strip()
    log = _LOG.match(plain)
    if log and "log" in plain[:3].lower():
        inner = parse(log[1].replace(")", "").replace("(", " ").strip() or "x")
        return Header(text, plain, f"log10 {inner.unit}" if inner.unit else "log10")
    for pattern in (_BRACKET, _SEPARATED):
        match = pattern.match(plain)
        if match and match[1].strip():
            inside = match[2].strip()
            if inside.lower().startswith("log"):
                found = unit(re.sub(r"^log_?(10)?\s*", "", inside, flags=re.IGNORECASE))
                return Header(text, match[1].strip(), f"log10 {found}".strip())
            found = unit(inside)
            if found:
                return Header(text, match[1].strip(" _,"), found)
    return Header(text, plain, "")


def time(text: str, default: str = "") -> float | None:
    """Return the seconds that a header such as ``30 s`` or ``t=1h`` stands for, or None.

    Parameters
    ----------
    text : str
        The header.
    default : str
        Unit of a bare number; without one a bare number is no time.
    """
    match = _TIME.match(text.strip())
    if match is None:
        return None
    found = unit(match[2]) if match[2] else default
    if found not in UNITS["s"]:
        return None
    return float(match[1].replace(",", ".")) * UNITS["s"][found]


def conductance(text: str) -> float | None:
    """Return the siemens that a name such as ``6uS`` or ``target_100kohm`` stands for, or None."""
    match = re.search(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)[\s_]*([^\d\s_.]+)", text)
    if match is None:
        return None
    found = unit(match[2])
    if found in UNITS["S"]:
        return float(match[1]) * UNITS["S"][found]
    if found in UNITS["ohm"] and float(match[1]) > 0:
        return 1 / (float(match[1]) * UNITS["ohm"][found])
    return None
