"""References behind a specification: the laws, circuits and chips that its sources name.

``references.json`` beside this file is the table: title, authors, year, place, DOI, and how much
of the work was read here. Specifications name their sources in the fields ``source``: by a short
mark ("[chip]", see the room's documentation), by DOI or by arXiv number.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal, NamedTuple

from .. import __version__, arguments
from ..spec import ChipSpec
from ..spec.base import Spec, tell_references

MARKS = {
    "chip": ("le_gallo_2023",),
    "core": ("khaddam_aljameh_2022",),
    "fits": ("aihwkit", "le_gallo_2023"),
    "25uS": ("nandakumar_2019", "joshi_2020", "aihwkit"),
    "cmo": ("falcone_2025", "aihwkit"),
    "pulses": ("nandakumar_2018", "srnn_pcm"),
    "kit": ("aihwkit",),
    "rpu": ("gokmen_2016", "aihwkit"),
    "gong": ("gong_2018", "aihwkit"),
}
"""Keys of the table behind each short mark of the presets."""

_DOI = re.compile(r"\b10\.\d{4,}/[^\s,;)\]\"']+[^\s,;.)\]\"']")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_MARK = re.compile(r"\[([\w-]+)\]")


class Reference(NamedTuple):
    """A published work, as the table holds it.

    Attributes
    ----------
    key : str
        Name of the entry, "joshi_2020"; also its BibTeX key.
    title, authors : str
        As printed; more than four authors are the first "et al.".
    year : int or None
        Of publication.
    where : str
        Journal, volume and page, or the address of a repository.
    doi, arxiv : str or None
        Identifiers without a prefix.
    read : str
        How much of the work was read for this project; "" means all that is used of it.
    """

    key: str
    title: str
    authors: str
    year: int | None
    where: str
    doi: str | None = None
    arxiv: str | None = None
    read: str = ""

    def text(self) -> str:
        """Return the reference in a line of plain text."""
        parts = [self.authors, f'"{self.title}"' if self.title else ""]
        parts.append(f"{self.where} ({self.year})" if self.year else self.where)
        parts.append(f"doi:{self.doi}" if self.doi else f"arXiv:{self.arxiv}" if self.arxiv else "")
        return ", ".join(part for part in parts if part)

    def bibtex(self) -> str:
        """Return the reference as a BibTeX entry."""
        title = f"{{{self.title}}}" if self.title else ""
        fields = {"author": _bibtex_authors(self.authors), "title": title}
        journal = re.fullmatch(r"(.+?) (\d+), (\w+)", self.where)
        if journal:
            fields |= zip(("journal", "volume", "pages"), journal.groups(), strict=True)
        else:
            fields["howpublished"] = self.where
        more = {"year": self.year, "doi": self.doi, "eprint": self.arxiv}
        fields |= {name: str(value) for name, value in more.items() if value}
        if self.arxiv:
            fields["archiveprefix"] = "arXiv"
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
        return f"@{'article' if journal else 'misc'}{{{self.key},\n{lines}}}"


@functools.cache
def table() -> dict[str, Reference]:
    """Return every work that this project uses, by its key."""
    text = (resources.files(__package__) / "references.json").read_text(encoding="utf-8")
    kept = {name for name in Reference._fields if name != "key"}
    return {
        key: Reference(key, **{name: value for name, value in entry.items() if name in kept})
        for key, entry in json.loads(text).items()
    }


def references_of(spec: Spec) -> list[Reference]:
    """Return the works that a specification's sources name, in the order of its parts.

    Parameters
    ----------
    spec : Spec
        A whole machine (``ChipSpec``) or a part of one.

    Returns
    -------
    list of Reference
        Each work once. A DOI or arXiv number that the table does not have, as in a specification
        of one's own, is an entry that holds no more than that.
    """
    if not isinstance(spec, Spec):
        raise TypeError(
            f"spec = {arguments.shown(spec)}: wanted a specification, such as chip.spec or "
            "aimc_sim.presets.hermes()"
        )
    found: dict[str, Reference] = {}
    for source in _sources(spec):
        for reference in _named_in(source):
            found.setdefault(reference.key, reference)
    return list(found.values())


tell_references(lambda spec: (one.text() for one in references_of(spec)))


def cite(spec: Spec, form: Literal["bibtex", "text"] = "bibtex") -> None:
    """Print the references of this simulator and of the models that a specification uses.

    Parameters
    ----------
    spec : Spec
        A whole machine (``ChipSpec``) or a part of one.
    form : "bibtex" or "text"
        BibTeX entries, or one line of plain text per work.

    Examples
    --------
    >>> from aimc_sim import presets
    >>> cite(presets.hermes().core.dac, "text")  # doctest: +ELLIPSIS
    aimc_sim founders, "aimc_sim", version ...
    R. Khaddam-Aljameh et al., "HERMES-Core: ...", ..., doi:10.1109/JSSC.2022.3140414
    """
    arguments.choice(form, "form", ("bibtex", "text"))
    own = Reference("aimc_sim", "aimc_sim", "{aimc_sim founders}", None, f"version {__version__}")
    if form == "bibtex":
        print(*(one.bibtex() for one in (own, *references_of(spec))), sep="\n\n")
    else:
        plain = own._replace(authors="aimc_sim founders")
        print(*(one.text() for one in (plain, *references_of(spec))), sep="\n")


def _named_in(source: str) -> Iterator[Reference]:
    """Yield the works that a text names, by mark, DOI or arXiv number."""
    known = table()
    by_doi = {one.doi: one for one in known.values() if one.doi}
    by_arxiv = {one.arxiv: one for one in known.values() if one.arxiv}
    for mark in _MARK.findall(source):
        yield from (known[key] for key in MARKS.get(mark, ()))
    for doi in _DOI.findall(source):
        yield by_doi.get(doi) or Reference(doi, "", "", None, "", doi=doi)
    for number in _ARXIV.findall(source):
        yield by_arxiv.get(number) or Reference(number, "", "", None, "", arxiv=number)


def _sources(value: Any) -> Iterator[str]:
    """Yield the fields ``source`` of a specification and of all its parts."""
    if isinstance(value, Spec):
        for name in type(value).model_fields:
            part = getattr(value, name)
            if isinstance(value, ChipSpec) and name == "written" and not value.mapping.products:
                continue  # nothing is written at inference
            if name == "source":
                yield str(part)
            else:
                yield from _sources(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _sources(part)


def _bibtex_authors(authors: str) -> str:
    if authors.startswith("{"):
        return authors
    return authors.replace(" et al.", " and others").replace(", ", " and ")
