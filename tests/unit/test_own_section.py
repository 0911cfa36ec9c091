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
    assert [one.name for one, _ in made.sections][:6] == [
        "headline", "costs", "help", "accuracy", "seeds", "differences",
    ]  # fmt: skip
    assert '<a href="#seeds">By seed</a>' in text
    assert '<h2 id="h-seeds">Seeds</h2>' in text
    assert "<p>One programming each: &lt;seeds&gt;.</p>" in text
    assert text.index('id="by-seed-') > text.index('id="seeds"')
    assert "Seeds</span></caption>" in text
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


OWN = """
from aimc_sim.pages.sections import section

def images_run(facts):
    yield f"{int(facts.head.last['images'])} images were run."

@section("first-seed", order=12, title="First seed", link="First seed")
def first_seed(facts):
    yield f"Seed {facts.material.table['seed'].min()} was the first."

number = 3

def limits(facts):
    yield "none"
"""


@pytest.fixture
def kept(monkeypatch):
    """Sections that a test registers end with it."""
    sections.registered()
    monkeypatch.setattr(sections, "_SECTIONS", dict(sections._SECTIONS))


def test_the_command_adds_sections_of_a_file(tmp_path, kept, call):
    toy_study.run(tmp_path / "out", 1)
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    code, _, err = call("report", tmp_path / "out", "--section", f"{path}:first_seed",
                        "--section", f"{path}:images_run")  # fmt: skip
    assert (code, err) == (0, "")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<p>Seed 0 was the first.</p>" in text
    assert "<p>96 images were run.</p>" in text
    assert '<h2 id="h-images-run">Images run</h2>' in text
    names = "accuracy", "first-seed", "differences", "images-run", "limits"
    order = [text.index(f'<section id="{name}"') for name in names]
    assert order == sorted(order)
    for name, words in (
        ("number", "is a int; wanted a function from the results to parts of a page"),
        ("limits", "the page has a section 'limits' already"),
        ("missing", "has no callable 'missing'"),
    ):
        code, _, err = call("report", tmp_path / "out", "--section", f"{path}:{name}")
        assert code == 2, name
        assert words in err
        assert err.count("\n") == 1
