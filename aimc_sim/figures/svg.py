"""A figure as SVG text: alone, or inside a page whose theme it follows.

Text stays text, equal figures give equal bytes, and the values that :func:`.canvas.say` gave to
artists become ``<title>`` elements: shown at the pointer and read out.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from .canvas import GRID, LINE, PALETTE, PANEL, PAPER, SOFT, TEXT, VALUE, plain

NAMES = {
    **{colour.lower(): f"c{i}" for i, colour in enumerate(PALETTE)},
    TEXT: "text", SOFT: "soft", LINE: "line", GRID: "grid", PANEL: "panel", PAPER: "back",
}  # fmt: skip
"""Variables of a page's style sheet that take the place of colours, without the two hyphens."""

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"px '[^;]*")
_NUMBERS = ("d", "x", "y", "transform", "points", "width", "height")
_INSIDE = re.compile(r"url\(#([^)]*)\)")


def alone(figure: Figure) -> str:
    """Return an SVG file with the colours of the figure.

    Parameters
    ----------
    figure : Figure
        Its texts are drawn as they are from now on.
    """
    root = _tree(figure, "aimc-sim")
    _titled(root, "aimc-sim")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _text(root) + "\n"


def inside(figure: Figure, name: str, label: str) -> str:
    """Return an ``<svg>`` element for a page: no background, colours by name, no absolute size.

    Parameters
    ----------
    figure : Figure
        Its texts are drawn as they are from now on.
    name : str
        Begins every identity in it: another one for each figure of the page.
    label : str
        Read out in place of the figure.
    """
    root = _tree(figure, name, transparent=True)
    for unwanted in [*root.findall(f"{{{_SVG}}}metadata"), *root.findall(f"{{{_SVG}}}defs")]:
        if unwanted.tag.endswith("metadata") or unwanted.find(f"{{{_SVG}}}style") is not None:
            root.remove(unwanted)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "group")
    root.set("aria-label", label)
    _titled(root, name)
    for element in root.iter():
        _named(element, name)
        for key, value in element.attrib.items():
            if key in _NUMBERS:
                element.set(key, _NUMBER.sub(lambda m: f"{float(m[0]):.2f}", value))
            elif key == "style":
                element.set(key, _COLOUR.sub(_variable, _FONT.sub("px sans-serif", value)))
    return _text(root)


def _tree(figure: Figure, salt: str, *, transparent: bool = False) -> ElementTree.Element:
    plain(figure)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=transparent)
    return ElementTree.fromstring(out.getvalue())


def _titled(root: ElementTree.Element, name: str) -> None:
    """Put the values of artists into titles."""
    marked = [e for e in root.iter() if e.get("id", "").startswith(VALUE)]
    for number, element in enumerate(marked):
        title = ElementTree.Element(f"{{{_SVG}}}title")
        title.text = element.attrib["id"].removeprefix(VALUE)
        element.insert(0, title)
        element.set("id", f"{name}-value-{number}")
        element.set("class", "value")


def _named(element: ElementTree.Element, name: str) -> None:
    """Begin an identity, and what refers to one, with the name of the figure."""
    for key, value in element.attrib.items():
        if key == "id" and not value.startswith(f"{name}-"):
            element.set(key, f"{name}-{value}")
        elif key == f"{{{_LINK}}}href":
            element.set(key, f"#{name}-{value.removeprefix('#')}")
        elif "url(#" in value:
            element.set(key, _INSIDE.sub(rf"url(#{name}-\1)", value))


def _variable(match: re.Match[str]) -> str:
    name = NAMES.get(match[0])
    return match[0] if name is None else f"var(--{name})"


def _text(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    return ElementTree.tostring(root, encoding="unicode")
