"""Pages of the documentation: those written from the code are fresh, links lead somewhere."""

import pytest
from tools import links, pages


@pytest.mark.parametrize("name", pages.PAGES)
def test_pages_are_those_of_the_code(name):
    page = pages.ROOT / "docs" / f"{name}.md"
    assert page.read_text() == pages.PAGES[name](), f"run python tests/tools/pages.py {name}"


def test_limits_are_complete():
    from aimc_sim.spec import omissions

    text = " ".join(pages.limits().split())
    for effect in (*omissions.OUTPUTS, *omissions.COSTS, *omissions.ASSUMPTIONS):
        assert effect in text
    for option in omissions.OPTIONS:
        assert option.text in text
        assert f"`{option.field}`" in text


def test_every_number_of_every_preset_is_listed():
    """Each parameter stands with value and source, or is that of the machine listed in full."""
    from aimc_sim import presets
    from aimc_sim.spec.parameters import parameters, shown

    sections = dict(
        part.split(" {#", 1) for part in pages.presets().split("\n## ")[1:] if " {#" in part
    )
    assert set(sections) <= set(presets.PRESETS)
    full = {row.key: row for row in parameters(presets.by_name(pages.FIRST))}
    assert len(full) > 100
    for name in presets.PRESETS:
        for row in parameters(presets.by_name(name)):
            line = f"| `{row.key}` | {pages.cell(shown(row.value))} |"
            there = sections[name].split("\n## ")[0]
            assert line in there or (row == full.get(row.key) and line in sections[pages.FIRST])
            if line in there and row.source not in ("", "-"):
                assert f"Source: {pages.cell(row.source)}" in there


def test_every_number_of_single_devices_is_listed():
    from aimc_sim.spec.parameters import parameters, shown

    text = pages.presets()
    assert len(pages.devices()) > 10
    for name, spec in pages.devices().items():
        part = text.split(f"\n### {name}\n", 1)[1].split("\n##", 1)[0]
        for row in parameters(spec):
            assert row.value is None or f"| `{row.key}` | {pages.cell(shown(row.value))} |" in part
            assert row.source in ("", "-") or f"Source: {pages.cell(row.source)}" in part


def test_every_command_and_option_is_listed():
    import typer.main

    from aimc_sim.cli import app

    text = pages.commands()
    found = dict(pages.walk(typer.main.get_command(app), "aimc-sim"))
    assert len(found) > 10
    for name, command in found.items():
        part = text.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                assert f"`{option.opts[0]}" in part, (name, option.opts)


def test_every_script_is_on_the_first_page():
    page = (pages.ROOT / "docs" / "index.md").read_text()
    scripts = sorted((pages.ROOT / "examples").glob("*.py"))
    assert len(scripts) > 5
    assert [one.name for one in scripts if f"](../examples/{one.name})" not in page] == []


def test_links_of_the_pages_lead_somewhere():
    faults = [fault for path in links.pages() for fault in links.page_faults(path)]
    assert not faults


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# A title, with `code`\n\n## Own {#own.name}\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-title-with-code) [c](there.md#own.name) [d](https://x.y)\n"
        "```\n[e](nowhere.md)\n```\n"
    )
    assert not list(links.page_faults(page))
    page.write_text("[a](nowhere.md) [b](there.md#another)")
    assert len(list(links.page_faults(page))) == 2


def test_faults_of_a_site_are_found(tmp_path):
    good = '<h1 id="top">A</h1><a href="other.html#top">b</a><a href="https://x.y">c</a>'
    (tmp_path / "other.html").write_text(good)
    (tmp_path / "index.html").write_text(good + '<img src="other.html" alt="a picture">')
    assert not list(links.site_faults(tmp_path))
    bad = (
        '<a href="none.html">a</a><a href="other.html#none">b</a><img src="other.html">'
        '<script src="https://x.y/z.js"></script><link rel="stylesheet" href="//x.y/z.css">'
    )
    (tmp_path / "index.html").write_text(bad)
    assert len(list(links.site_faults(tmp_path))) == 5


def test_the_table_of_ratios_can_be_written_again():
    """``pytest tests/bench --write`` replaces one paragraph and one table behind the mark."""
    from bench import conftest

    before, after = conftest.PAGE.read_text().split(conftest.MARK, 1)
    computer, table, rest = after.split("\n\n", 2)
    assert computer.endswith(":")
    assert table.startswith(f"| {conftest.TITLE} |")
    assert "| ResNet-32, batch 128, full physics |" in table
    assert before.startswith("# ")
    assert "aimc-sim profile" in rest
