"""Results as HTML in notebooks: escaped, self-contained, without identities, with counts."""

import html.parser
import importlib
import inspect
import math
import pkgutil
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import markup, metrics, presets, spec
from aimc_sim.analysis import device_check, fit, fit_estimates, layout, performance, profile
from aimc_sim.analysis.profile_parts import Sum
from aimc_sim.device import measured
from aimc_sim.figures.canvas import Drawing, figure_of
from aimc_sim.figures.floorplan import floorplan
from aimc_sim.machine.limits import Limits
from aimc_sim.studies import schema, sweep
from aimc_sim.zoo import digits

DATA = Path(__file__).resolve().parents[2] / "device_data" / "generated_25us.h5"
EVIL = "<script>alert('x')</script>"
TAGS = {
    "a", "b", "details", "div", "li", "p", "progress", "style", "summary", "table", "tbody", "td",
    "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"class", "href", "max", "open", "rel", "scope", "value"}


class Reader(html.parser.HTMLParser):
    """Tags in balance, attributes, and text as a browser has it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.stack.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag
        self.text += " "

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text += data


def read(thing) -> Reader:
    """Return a display that was checked: known tags and attributes only, nothing that is run."""
    found = Reader(thing._repr_html_())
    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    links = [value for name, value in found.attributes if name == "href"]
    assert all(link.startswith("https://doi.org/10.") for link in links)
    assert found.tags.count("style") == 1
    return found


@pytest.fixture(scope="module")
def chip():
    """A chip of a small network whose layer and machine have hostile names; images were run."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("first", nn.Linear(20, 30))
    model.add_module("relu", nn.ReLU())
    model.add_module(EVIL, nn.Linear(30, 5))
    machine = presets.hermes("odp").with_({"name": f"{EVIL} chip"})
    made = aimc_sim.Chip.from_model(model.eval(), machine)
    x = torch.randn(6, 20)
    made.calibrate(x).program(seed=3)
    made.at("1 h").compensate("gdc")(x)
    return made


def test_names_are_escaped_everywhere(chip):
    cost = performance.performance(chip.compiled, chip.spec, (20,), images=2)
    shown = (
        chip, chip.report(), chip.spec, chip.compiled, chip.state.report(), cost, cost.pipeline,
        cost.ledger, layout.layout(chip.compiled, chip.spec),
        metrics.Metric(EVIL, None, larger=True, origin=f"{EVIL}:x"),
        schema.make_study({"name": EVIL, "network": "resnet32", "presets": "ideal",
                           "data": "digits"}),
        sweep.Progress(3, reasons=[EVIL]),
    )  # fmt: skip
    for thing in shown:
        assert "<script" not in thing._repr_html_()
        read(thing)
    for thing in (chip, chip.report(), chip.spec, chip.compiled, cost, shown[9], shown[10]):
        assert EVIL in read(thing).text, type(thing)  # as a text, whole


def test_a_chip_says_its_state_and_the_next_step(chip):
    text = read(chip).text
    for said in ("programmed with seed 3", "1 h after programming", "gdc", "from 6 images",
                 "2 layers on crossbars", f"spec {chip.spec.id()}", "number 6"):  # fmt: skip
        assert said in text, said
    fresh = aimc_sim.Chip(chip.compiled, presets.ideal())
    assert "not programmed yet: chip.program(seed=0)" in read(fresh).text
    assert "not calibrated yet: chip.calibrate(batches)" in read(fresh).text
    waiting = aimc_sim.Chip(chip.compiled, presets.hermes("odp")).program()
    assert waiting.pending is not None
    assert "await calibration" in read(waiting).text


def test_reports_show_what_their_text_says(chip):
    """Every fact of the printed text stands in the display, with the omissions."""
    cost = performance.performance(chip.compiled, chip.spec, (20,), images=2)
    where = layout.layout(chip.compiled, chip.spec)
    for thing in (chip.report(), cost, cost.pipeline, where):
        said, shown = str(thing), " ".join(read(thing).text.split())
        head = said.split("\n\n")[0]
        facts = [line for line in head.splitlines() if line[15:16] == " "]
        assert len(facts) >= 5
        for line in facts:
            assert " ".join(line[16:].split()) in shown, line
        for line in said.splitlines():
            if line.startswith("  - "):
                assert line[4:] in shown


def test_an_explanation_says_why_a_network_is_refused():
    refused = nn.Sequential(nn.Conv2d(3, 8, 3), nn.FractionalMaxPool2d(2, 4))
    found = aimc_sim.Chip.explain(refused)
    text = read(found).text
    assert found.problem in text
    assert "refused" in text
    assert "64 cores" in text


def test_specifications_show_units_meaning_and_sources():
    machine = presets.hermes("odp")
    found = read(machine)
    for said in ("10.35 uS", "core: every core", "source: [chip]", "Le Gallo", machine.id()):
        assert said in found.text, said
    assert found.tags.count("details") > 10
    assert ("href", "https://doi.org/10.1038/s41928-023-01010-1") in found.attributes
    device = machine.core.device
    text = read(device).text
    shown = {field: text.count(field) for field in type(device).model_fields if field != "source"}
    assert all(shown.values()), shown
    exact = spec.ResetState(mean_siemens=1.23456789e-8, std_siemens=0.0)
    assert "12.3456789 nS" in read(exact).text  # all digits
    assert "none" in read(machine.core).text  # an absent effect


def test_metrics_and_data_are_described():
    text = read(metrics.ACCURACY).text
    assert "larger values" in text
    assert "0.0 to 100.0" in text
    test = digits("test")
    assert f"{len(test):,} of 3 x 32 x 32" in read(test).text
    assert len(repr(test)) > len(read(test).text)


def test_measurements_fits_and_checks_are_shown():
    data = measured.read(DATA)
    text = read(data).text
    assert f"{len(data):,} reads" in text
    assert "conductance_siemens" in text
    laws = fit.fit(data)
    text = read(laws).text
    assert all(law.name in text for law in laws.laws)
    first = laws.value("drift", "nu mean")
    assert f"{first.value:.4g}" in text
    assert f"{sum(law.identified for law in laws.laws)} of {len(laws.laws)} laws" in text
    checked = device_check.check(data)
    shown = " ".join(read(checked).text.split())
    lines = [" ".join(line.split()) for line in checked.text().splitlines()]
    assert all(line in shown for line in lines)


def test_numbers_without_a_value_are_dashes():
    estimate = fit_estimates.Estimate("nu", math.nan, "S", 0.05, math.inf, "1", 3, freedom=0)
    law = fit_estimates.Law("drift", "too few traces", (estimate,), (EVIL,))

    class Own(fit_estimates.LawReport):
        title, levels_text, laws = EVIL, "one level", (law,)

    text = read(Own()).text
    assert "not identified: too few traces" in text
    assert "-inf to inf" in text
    assert EVIL in text
    assert "Own" in text


def test_a_profile_has_the_cells_of_its_text():
    sums = {("a", "product"): Sum(), ("a", "Python"): Sum()}
    sums["a", "product"].add(0.5, 2e9, 3e9)
    sums["a", "Python"].add(0.25, 0.0, 0.0)
    limits = Limits(2, 1e10, 2e10, 1e11, 1e11)
    made = profile.Profile(8, 0.4, 0.2, 0.5, sums, limits)
    shown = " ".join(read(made).text.split())
    for line in str(made).splitlines():
        assert " ".join(line.split()) in shown or not line, line


def test_long_tables_end_with_a_count():
    rows = [(f"row {n}", n) for n in range(1234)]
    shown = Reader(str(markup.table(("name", ">n"), rows, rest=".rows")))
    assert shown.tags.count("tr") == 1 + markup.MOST_ROWS
    assert "50 of 1,234 rows are shown; .rows has all of them." in shown.text
    few = Reader(str(markup.table(("name", ">n"), rows[:50])))
    assert "shown" not in few.text
    long = Reader(str(markup.facts([("name", "x" * 10**6)])))
    assert len(long.text) < 1000


def test_characters_that_a_page_would_obey_are_written_out():
    assert markup.text("a\x00b\x1b[31m\u202e") == "a\\x00b\\x1b[31m\\u202e"
    assert markup.text("line\nline\ttab µ×") == "line\nline\ttab µ×"
    source = markup.linked('Le Gallo (2023), doi:10.1038/s41928-023-01010-1; <b>, "doi:no".')
    assert 'href="https://doi.org/10.1038/s41928-023-01010-1"' in source
    assert "&lt;b&gt;" in source
    assert source.count("<a ") == 1
    quoted = markup.linked('doi:10.1000/"><script>alert(1)</script>')
    assert "<script" not in quoted
    Reader(str(quoted))


def test_displays_hold_no_identities_and_stand_alone():
    """Two displays of one page cannot clash, and nothing is loaded from anywhere."""
    text = presets.hermes()._repr_html_()
    assert not re.search(r"\bid=|url\(|@import|src=|<script", text)
    rules = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    selectors = re.findall(r"(?:^|\})\s*([^{}]+)\{", rules)
    assert len(selectors) > 10
    assert all(one.startswith(".aimc-sim") for one in selectors)  # the notebook's own are left


def printed(kind: type) -> bool:
    """Whether a class has a text of its own with several lines."""
    return "__str__" in vars(kind) and "join" in inspect.getsource(kind.__str__)


def test_what_prints_as_lines_has_a_display():
    """A class whose text has several lines is shown as HTML too."""
    found = set()
    for module in pkgutil.walk_packages(aimc_sim.__path__, "aimc_sim."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and kind.__module__ == module.name and printed(kind):
                found.add(kind)
    assert {"Report", "Performance", "Layout"} <= {kind.__name__ for kind in found}
    lines = {kind for kind in found if not hasattr(kind, "_repr_html_")}
    assert {kind.__name__ for kind in lines} <= {"Limits"}  # of one line


def test_tables_of_results_are_escaped_by_pandas():
    assert "<script" not in pd.DataFrame({"setting": [EVIL]})._repr_html_()


def test_figures_show_themselves_without_pyplot(chip):
    made = floorplan(chip.compiled, chip.spec)
    assert isinstance(made, Drawing)
    data, about = made._repr_png_()
    assert data.startswith(b"\x89PNG")
    width = int.from_bytes(data[16:20], "big")
    assert about["width"] == round(width / 1.5)
    assert "cores in use" in about["alt"]
    assert len(data) < 150_000
    again, _ = made._repr_png_()
    assert again == data


def test_a_figure_says_titles_and_axes():
    figure, (ax,) = figure_of(None, (4, 3))
    ax.set(title="A title", xlabel="time (s)", ylabel="accuracy (%)")
    assert figure.described() == "Figure. A title: accuracy (%) against time (s)"
    mine = pytest.importorskip("matplotlib.figure").Figure()
    assert figure_of(mine.subplots(), (4, 3))[0] is mine  # the caller's own stays as it is


def test_a_notebook_keeps_the_printed_text_or_a_line(chip):
    """Not the record with all its arrays: IPython's text of a result is short."""
    pretty = pytest.importorskip("IPython.lib.pretty", reason="IPython is not installed").pretty
    cost = performance.performance(chip.compiled, chip.spec, (20,), images=2)
    where = layout.layout(chip.compiled, chip.spec)
    for thing in (chip.report(), cost, cost.pipeline, where, chip.state.report()):
        assert pretty(thing) == str(thing)
    data = measured.read(DATA)
    for thing in (cost.ledger, chip.compiled, digits("test"), data, fit.fit(data)):
        assert re.fullmatch(r"<aimc_sim\.[\w.]+>", pretty(thing))
        assert len(repr(thing)) > 200


def test_nothing_is_said_while_a_display_is_made(chip, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(chip), read(chip.report()), read(chip.spec)
    assert capsys.readouterr() == ("", "")
    assert np.isfinite(chip.time_seconds)
