"""``aimc-sim info``: the names of every kind; all parameters of a preset; the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from .. import arguments, own
from . import inputs, options
from .errors import BadInput, refusing
from .output import Output, add_row

if TYPE_CHECKING:
    from ..spec import ChipSpec
    from ..spec.parameters import Parameter

EXAMPLES = """
Examples:

  aimc-sim info

  aimc-sim info --list networks

  aimc-sim info --preset hermes

  aimc-sim info --machine
"""

WIDTH = 100
"""Columns of the output where there is no terminal."""


def info(
    preset: Annotated[
        str | None,
        typer.Option(
            help="Every parameter of a preset, with unit and source.",
            autocompletion=options.complete_presets,
        ),
    ] = None,
    list_: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="KIND", autocompletion=lambda incomplete: complete_kinds(incomplete),
            help="The names of one kind: presets, networks, data, metrics, compensations, devices, "
            "encodings or converters.",
        ),
    ] = None,
    machine: Annotated[
        bool,
        typer.Option("--machine", help="Number formats chosen for this computer, and why."),
    ] = False,
) -> None:  # fmt: skip
    """List all names that options and studies take, or every parameter of a preset.

    Without options: presets, networks, data, metrics, drift compensations, families of devices,
    encodings of weights, output converters.
    """
    from .. import presets

    console = Output(WIDTH)
    with refusing():
        given = [n for n, v in (("--machine", machine or None), ("--list", list_),
                                ("--preset", preset)) if v is not None]  # fmt: skip
        if machine and preset is not None:
            raise ValueError("--machine is about this computer; leave --preset out")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} ask for different things; give one of them")
    if machine:
        _describe_machine(console)
        return
    if preset is None:
        if list_ is not None and list_ not in KINDS:
            raise BadInput(arguments.unknown(f"--list: there is no kind '{list_}'", list_, KINDS))
        for number, kind in enumerate(KINDS if list_ is None else (list_,)):
            if number:
                console.line()
            KINDS[kind](console)
        return
    with refusing():
        spec = presets.by_name(preset)
    _describe(console, preset, spec)


def complete_kinds(incomplete: str) -> list[str]:
    """Return kinds of names that can be listed."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _presets(console: Output) -> None:
    from .. import presets
    from ..device import family

    table = _table("preset", "cores", "devices per polarity", "read", "DAC", "ADC", "spec id")
    for name, build in presets.PRESETS.items():
        spec = build()
        core = spec.core
        devices = family.of(core.device).summary(core.device)
        add_row(table, (
            name, str(spec.fabric.cores), devices, core.read.mode,
            _bits(core.dac.bits), _bits(core.adc.bits), spec.id(),
        ))  # fmt: skip
    console.table(table)
    console.wrapped("All parameters of one: aimc-sim info --preset NAME")


def _networks(console: Output) -> None:
    from .. import metrics
    from ..zoo import catalogue

    short = {full: name for name, full in catalogue.SHORT.items()}
    table = _table("network", "or", "data", "in floating point", "weights")
    for name, network in catalogue.NETWORKS.items():
        found = catalogue.score(name)
        shown, there = "-", "not installed"
        if found is not None:
            metric = metrics.BY_NAME[found[0]]
            unit = f" {metric.unit}" if metric.unit else ""
            shown = f"{metric.show(found[1], metric.digits)}{unit} ({metric.name})"
            there = network.weights
        add_row(table, (name, short.get(name, ""), network.data, shown, there))
    console.table(table)
    console.wrapped(
        "As the argument MODEL, by --model, or as network: of a study; scores are those of test "
        f"data. Or your own: {own.HOW}"
    )


def _data(console: Output) -> None:
    from ..zoo import catalogue

    table = _table("data", "contents", "one input", "metric", "in --data-dir")
    for name, data in catalogue.DATA.items():
        sizes = ",".join(map(str, data.shape))
        add_row(table, (name, data.about, sizes, data.metric, data.file or "(comes along)"))
    console.table(table)
    console.wrapped(
        f"By --data, or as data: of a study. Or your own: {own.HOW} that returns (inputs, targets, "
        "calibration inputs)"
    )


def _metrics(console: Output) -> None:
    from .. import metrics

    table = _table("metric", "unit", "better", "targets", "meaning")
    for name, metric in metrics.BY_NAME.items():
        better = "larger" if metric.larger else "smaller"
        add_row(table, (name, metric.unit or "-", better, metric.targets, metric.about))
    console.table(table)
    console.wrapped(
        "By --metric, or as metric: of a study. Or your own: an aimc_sim.metrics.Metric"
    )


COMPENSATIONS = {
    "none": "nothing is compensated",
    "gdc": "one factor per core, from the mean magnitude of one-hot reads",
    "column": "one factor per column of a core, from the same reads",
    "gdc-signs": "one factor per core, from reads with random signs",
    "ls": "one factor per core, least squares over reads with random amplitudes",
    "adabs": "gdc, and batch norms measured anew on the calibration inputs",
}
"""Drift compensations, in words; the names are those of studies."""


def _compensations(console: Output) -> None:
    table = _table("compensation", "meaning")
    for name in inputs.compensations():
        add_row(table, (name, COMPENSATIONS[name]))
    console.table(table)
    console.wrapped("By --compensation, or as compensations: of a study")


def _devices(console: Output) -> None:
    from .. import presets
    from ..device import family

    users: dict[str, list[str]] = {}
    for name, build in presets.PRESETS.items():
        users.setdefault(family.of(build().core.device).name, []).append(name)
    table = _table("devices", "law", "presets")
    for one in family.registered():
        law = (one.spec_class.__doc__ or "").strip().partition("\n")[0]
        add_row(table, (one.name, law, ", ".join(users.get(one.name, ())) or "-"))
    console.table(table)
    console.wrapped("As core.device.family of a machine")


def _encodings(console: Output) -> None:
    from ..spec.encoding import WeightEncoding

    _of_union(console, "encoding", WeightEncoding, "core.encoding")


def _converters(console: Output) -> None:
    from ..spec.converter import Converter

    _of_union(console, "converter", Converter, "core.adc")


def _of_union(console: Output, title: str, union: Any, key: str) -> None:
    """Print the kinds of a part of a machine that is one of several specifications."""
    table = _table(title, "meaning")
    for one in get_args(get_args(union)[0]):
        about = (one.__doc__ or "").strip().partition("\n")[0]
        add_row(table, (one.model_fields["kind"].default, about))
    console.table(table)
    console.wrapped(f"As {key}.kind of a machine, for example --set '{key}={{\"kind\": ...}}'")


KINDS: dict[str, Callable[[Output], None]] = {
    "presets": _presets, "networks": _networks, "data": _data, "metrics": _metrics,
    "compensations": _compensations, "devices": _devices, "encodings": _encodings,
    "converters": _converters,
}  # fmt: skip
"""Kinds of names, and what prints each."""


def _describe_machine(console: Output) -> None:
    from ..machine.about import facts

    table = _table("", "", "")
    table.show_header = False
    for fact in facts():
        add_row(table, (fact.name, fact.value, fact.why))
    console.table(table)
    console.wrapped(
        "On this machine results are equal bit for bit whatever the threads, batches and order; "
        "another one may round float32 otherwise."
    )


def _describe(console: Output, preset: str, spec: ChipSpec) -> None:
    from ..spec.parameters import parameters

    console.wrapped((preset, "bold"), f"  (spec id {spec.id()})")
    rows = list(parameters(spec))
    sections: list[tuple[str, list[Parameter]]] = []
    for row in rows:
        if not sections or sections[-1][0] != row.source:
            sections.append((row.source, []))
        sections[-1][1].append(row)
    # One width for all sections, so that the columns stand below each other.
    widths = [max(len(text) for text in column) for column in zip(*map(_texts, rows), strict=True)]
    widths[1] = min(widths[1], 22)
    for number, (source, members) in enumerate(sections):
        console.wrapped("\n", ("source:", "bold"), f" {source or '-'}")
        table = _table("parameter", "value", "unit", "meaning", widths=widths)
        table.show_header = number == 0
        for row in members:
            add_row(table, (*_texts(row), row.about))
        console.table(table)
    console.line()
    _bibliography(console, rows)
    console.wrapped(
        "Values are in SI units; none = the effect is absent. Change one with, for example, "
        "aimc-sim run --set core.adc.bits=9"
    )


def _texts(row: Parameter) -> tuple[str, str, str]:
    from ..spec.parameters import shown

    return row.key, shown(row.value), "" if row.unit == "-" else row.unit


def _bits(bits: int | None) -> str:
    return "ideal" if bits is None else f"{bits} bit"


def _table(*columns: str, widths: list[int] | None = None) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for i, name in enumerate(columns):
        fixed = widths[i : i + 1] if widths is not None else []
        table.add_column(name, width=max(*fixed, len(name)) if fixed else None)
    return table


def _bibliography(console: Output, rows: list[Parameter]) -> None:
    """Print the full references of the short ones in use."""
    from .. import presets

    for mark, text in presets.references(row.source for row in rows):
        console.wrapped((mark, "bold"), f" {text}")
