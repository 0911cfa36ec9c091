"""The page of a training on arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..figures.axes import when
from ..figures.learning import learning as picture
from ..learning.course import TrainingCourse
from . import page
from .parts import Code, PagePart, Picture, TableGroup
from .sections import Section
from .tables import Table, TableCell


def write(course: TrainingCourse, path: str | Path, title: str, text: str, command: str) -> None:
    """Write the page; it appears whole or not at all.

    Parameters
    ----------
    course : TrainingCourse
        The training.
    path : path
        Of the HTML file.
    title : str
        Above the page.
    text : str
        The report of the training as text.
    command : str
        That makes it again.
    """
    sections: list[tuple[Section, list[PagePart | str]]] = [
        (_section("course", "Course"), list(_course(course))),
        (_section("cost", "Pulses, time and energy"), [Code("report of the training", text)]),
        (_section("reproduce", "Again"), [Code("command", command)]),
    ]
    lead = (
        f"{course.accuracy[-1]:.1%} on arrays after {len(course.accuracy) - 1} epochs, "
        f"{course.float_accuracy[-1]:.1%} in float with the batches of the same seed; "
        f"{course.pulses_per_device[-1]:.3g} pulses per device."
    )
    files.write_text(path, page.html(title, lead, sections), "the page")


def _section(name: str, title: str) -> Section:
    return Section(name, 0, title, title, lambda _: [])


def _course(course: TrainingCourse) -> Iterator[PagePart | str]:
    yield Picture("learning", "Training in the arrays", lambda title: picture(course, title=title))
    rows = [
        [
            TableCell(str(epoch), float(epoch)),
            *(TableCell(f"{value:.2%}", value) for value in (own, plain)),
            TableCell(f"{pulses:.3g}", pulses),
        ]
        for epoch, (own, plain, pulses) in enumerate(
            zip(course.accuracy, course.float_accuracy, course.pulses_per_device, strict=True)
        )
    ]
    columns = (">epoch", ">on arrays", ">in float", ">pulses per device")
    tables = [Table("After every epoch", columns, rows)]
    if course.drifted:
        later = [
            [
                TableCell(when(t), t),
                *(TableCell(f"{values[i]:.2%}", values[i]) for values in course.drifted.values()),
            ]
            for i, t in enumerate(course.times_seconds)
        ]
        names = [f">{name}" for name in course.drifted]
        tables.append(Table("After training, by compensation", (">time", *names), later))
    yield TableGroup(tables)
