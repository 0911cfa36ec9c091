"""Sections of the page, one file each: registered here, in the order of their numbers.

A section of one's own is one file: a function from the results
(:class:`~aimc_sim.pages.facts.Facts`) to parts, with its place on the page::

    from aimc_sim.pages.parts import TableGroup
    from aimc_sim.pages.sections import section
    from aimc_sim.pages.tables import TableCell, Table

    @section("seeds", order=25, title="Seeds", link="Seeds")
    def seeds(facts):
        rows = [[TableCell(str(n))] for n in sorted(facts.material.table["seed"].unique())]
        yield "Every programming has a seed."
        yield TableGroup([Table("Seeds", (">seed",), rows)])

It is on every page that is made after the file was imported: ``aimc-sim report DIR --section
my_sections:seeds`` imports it. Files of this folder are imported by the page itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ... import own
from ..facts import Facts
from ..parts import PagePart

__all__ = ["Section", "add", "registered", "section"]

Content = Callable[[Facts], Iterable[PagePart | str]]
"""From the results to the parts of a section."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    name : str
        Its address on the page: lower-case letters, digits and hyphens.
    order : int
        Its place: sections stand in ascending order.
    title : str
        Its heading; "" for none. "{metric}" in it stands for the metric of the results.
    link : str
        Its name in the list of sections; without a heading it is read out instead.
    content : callable
        From the results to its parts.
    """

    name: str
    order: int
    title: str
    link: str
    content: Content

    def named(self, metric: str) -> Section:
        """Return the section with the name of a metric in its heading and link."""

        def filled(text: str) -> str:
            found = text.replace("{metric}", metric)
            return found[:1].upper() + found[1:]

        return replace(self, title=filled(self.title), link=filled(self.link))


_SECTIONS: dict[str, Section] = {}

_OWN = 85
"""Order of a section of the user's own that does not say where it stands."""


def section(name: str, *, order: int, title: str, link: str) -> Callable[[Content], Content]:
    """Register a function as a section of the page; one of the same name is replaced.

    Parameters
    ----------
    name, order, title, link
        As in :class:`Section`.

    Raises
    ------
    ValueError
        If the name cannot be part of an address.
    """
    if not name.isascii() or not name.replace("-", "a").isalnum() or name != name.lower():
        raise ValueError(
            f"section '{name}': wanted a name of lower-case letters, digits and hyphens, which is "
            "its address on the page"
        )

    def register(content: Content) -> Content:
        _SECTIONS[name] = Section(name, order, title, link, content)
        return content

    return register


def add(name: str) -> None:
    """Load a section of the user's own; it is on every page that is made from now on.

    Parameters
    ----------
    name : str
        ``package.module:function`` or ``FILE.py:function``, see :mod:`aimc_sim.own`. The file is
        executed. A function that was not registered with :func:`section` becomes a section of its
        name, before those of the model's limits.

    Raises
    ------
    TypeError, ValueError
        If there is no such function, or its name cannot be part of an address.
    """
    own.look_in()
    content = own.find(name, "--section")
    if not callable(content):
        raise TypeError(
            f"--section {name} is a {type(content).__name__}; wanted a function from the results "
            "to parts of a page"
        )
    registered()
    if any(one.content is content for one in _SECTIONS.values()):
        return
    address = name.rpartition(":")[2].replace("_", "-").lower()
    if address in _SECTIONS:
        raise ValueError(
            f"--section {name}: the page has a section '{address}' already; give the function "
            "another name, or register it with @section(...), which replaces that one"
        )
    title = address.replace("-", " ").capitalize()
    section(address, order=_OWN, title=title, link=title)(content)


def registered() -> list[Section]:
    """Return all sections in the order of the page."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return sorted(_SECTIONS.values(), key=lambda one: (one.order, one.name))
