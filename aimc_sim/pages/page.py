"""All sections into one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .. import __version__, files
from . import parts
from .facts import Facts, find
from .material import Material
from .parts import PagePart, Picture
from .sections import Section, registered

MARK = "<!-- written by aimc-sim report -->"
"""Second line of every page: a file with it may be replaced by a newer one."""


@dataclass(frozen=True, eq=False)
class Page:
    """Sections with their parts; the figures' files are made from the same.

    Attributes
    ----------
    facts : Facts
        The results behind them.
    sections : list of (Section, list of PagePart or str)
        In the order of the page; sections without parts are left out.
    """

    facts: Facts
    sections: list[tuple[Section, list[PagePart | str]]]

    def parts(self, name: str) -> list[PagePart | str]:
        """Return the parts of a section; none if it is not there."""
        return next((found for one, found in self.sections if one.name == name), [])

    def pictures(self) -> Iterator[Picture]:
        """Yield all figures in the order of the page."""
        for _, found in self.sections:
            yield from (part for part in found if isinstance(part, Picture))


def gather(
    material: Material, setting: str | None = None, metric: str | None = None,
    attribution: Material | None = None,
) -> Page:  # fmt: skip
    """Put together everything that the page says.

    The network of the study is loaded, placed and simulated anew: a few seconds.

    Parameters
    ----------
    material : Material
        From :func:`.material.read`.
    setting : str, optional
        The one in front, see :func:`.headline.choose`.
    metric : str, optional
        Of several in the folder the one that the page is about; default: the first by name.
    attribution : Material, optional
        Another folder, whose attribution stands beside the results.

    Raises
    ------
    KeyError
        If there is no such setting or metric.
    ValueError
        If two trials of the folder contradict each other, or the attribution is of another
        machine or network.
    """
    facts = find(material, setting, metric, attribution)
    found = [(section, list(section.content(facts))) for section in registered()]
    return Page(facts, [(section, content) for section, content in found if content])


def render(page: Page) -> str:
    """Return the HTML file.

    Parameters
    ----------
    page : Page
        From :func:`gather`.
    """
    name = page.facts.metric.name
    sections = [(section.named(name), content) for section, content in page.sections]
    return html(_title(page), _lead(page.facts), sections)


def html(
    title: str, lead: str, sections: Iterable[tuple[Section, Iterable[PagePart | str]]]
) -> str:
    """Return a page of sections.

    Parameters
    ----------
    title, lead : str
        Heading, and the sentence below it.
    sections : iterable of (Section, iterable of PagePart or str)
        In the order of the page.
    """
    files = resources.files(__package__) / "templates"
    script = (files / "page.js").read_text("utf-8")
    written = [
        (section, [parts.written(part) for part in content]) for section, content in sections
    ]
    return parts.environment().get_template("report.html.j2").render(
        mark=MARK, title=title, lead=lead, version=__version__,
        style=(files / "page.css").read_text("utf-8"), script=script, script_hash=_hash(script),
        sections=written,
    )  # fmt: skip


def write(page: Page, path: str | Path) -> None:
    """Write the HTML file; it appears whole or not at all.

    Parameters
    ----------
    page : Page
        From :func:`gather`.
    path : path
        Of the file.

    Raises
    ------
    OSError
        If that is not possible.
    """
    files.write_text(path, render(page), "the report")


def _title(page: Page) -> str:
    material = page.facts.material
    names = list(dict.fromkeys(study.name for study in material.studies))
    return ", ".join(names[:3]) or material.folder.name


def _interval(facts: Facts) -> str:
    """Return a phrase for the narrow interval of the headline."""
    last = facts.head.last
    n, images = int(last["programmings"]), f"{int(last['images']):,} images"
    if n == 1:
        law = " (Wilson)" if last["interval"] == "wilson" else ""
        return f"one programming, {images}; 95 % interval over other images{law}"
    return f"mean of {n} programmings, {images}; 95 % interval over other programmings"


def _lead(facts: Facts) -> str:
    """Return the sentence on top."""
    head, row = facts.head, facts.head.last
    several = facts.summary["label"].nunique()
    others = f" It stands in front here: {head.why}." if several > 1 else ""
    return (
        f"{row['network']} on {row['data']}, setting '{head.label}', drift compensation "
        f"{head.compensation}: {_interval(facts)}.{others}"
    )


def _hash(script: str) -> str:
    """Return the script's name in the page's Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
