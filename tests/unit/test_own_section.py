"""A section of one's own: these lines alone put it on the page."""

import pytest
import toy_study
from matplotlib.figure import Figure

from aimc_sim.pages import figures, material, page, sections
from aimc_sim.pages.parts import Picture, TableGroup
from aimc_sim.pages.tables import Table, TableCell


def seeds(facts):
    """A paragraph, a figure and a table from the results."""
    found = facts.material.table.groupby("seed")["accuracy"].mean()

    def draw(title):
        figure = Figure()
        figure.subplots(subplot_kw={"title": title}).plot(found.index, found.values, marker="o")
        return figure

    yield "One programming each: <seeds>."
    yield Picture("by-seed", "Accuracy by seed", draw)
    rows = [[TableCell(str(n), n), TableCell(f"{x:.3f}", x)] for n, x in found.items()]
    yield TableGroup([Table("Seeds", (">seed", ">accuracy"), rows)])


@pytest.fixture
def own(monkeypatch):
    """Register the section, for one test."""
    sections.registered()
    monkeypatch.setattr(sections, "_SECTIONS", dict(sections._SECTIONS))
    sections.section("seeds", order=15, title="Seeds", link="By seed")(seeds)


def test_a_section_of_ones_own_is_on_the_page_in_its_place(tmp_path, own):
    toy_study.run(tmp_path / "out", 2)
    made = page.gather(material.read(tmp_path / "out"))
    text = page.render(made)
    assert [one.name for one, _ in made.sections][:4] == [
        "headline", "accuracy", "seeds", "differences",
    ]  # fmt: skip
    assert '<a href="#seeds">By seed</a>' in text
    assert '<h2 id="h-seeds">Seeds</h2>' in text
    assert "<p>One programming each: &lt;seeds&gt;.</p>" in text
    assert text.index('id="by-seed-') > text.index('id="seeds"')
    assert "Seeds</caption>" in text
    assert {"by-seed.png", "by-seed.svg"} <= set(figures.names(made))


def test_a_section_of_the_same_name_takes_its_place(own):
    before = sections.registered()
    sections.section("limits", order=91, title="Limits", link="Limits")(lambda facts: ["none"])
    after = sections.registered()
    assert [one.name for one in after] == [one.name for one in before]
    assert next(one for one in after if one.name == "limits").title == "Limits"


@pytest.mark.parametrize("name", ["", "Two", "a b", "a/b", "ü"])
def test_a_name_that_is_no_address_is_refused(name):
    with pytest.raises(ValueError, match="wanted a name of lower-case letters"):
        sections.section(name, order=1, title="", link="")
