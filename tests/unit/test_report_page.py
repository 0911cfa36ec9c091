"""The report page: what it says, that it says it safely, what the command refuses."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
import toy_study
import yaml

import aimc_sim
from aimc_sim import presets, results
from aimc_sim.analysis.performance import performance
from aimc_sim.chip import ledger
from aimc_sim.pages import (
    advice,
    costs,
    figures,
    headline,
    limits,
    loss,
    material,
    page,
    parts,
    reproduce,
    rivals,
    tables,
)
from aimc_sim.pages.sections import help, short
from aimc_sim.pages.sections.accuracy import against_time
from aimc_sim.spec import omissions
from aimc_sim.studies import attribute, inputs, pools, schema, settings, sweep

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "br"}
NASTY = "</script><b>&\"'"


class Reader(HTMLParser):
    """Checks that elements close in order; keeps attributes and the titles inside figures."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.values = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-2:] == ["g", "title"]:
            self.values.append(data)


def run(out, **changes):
    study = schema.make_study({**toy_study.STUDY, **changes})
    given = inputs.gather(study)
    sweep.sweep(study, given, pools.InProcess(given, 1), out)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of two settings with names that are code."""
    choices = [
        {"name": NASTY, "changes": {"core.adc.bits": 8}},
        {"name": "rough", "changes": {"core.adc.bits": 6}},
        {
            "name": "ideal",
            "changes": {"core.adc.bits": 8},
            "ideal_devices": True,
            "programmings": 1,
        },
    ]
    out = tmp_path_factory.mktemp("page") / "out"
    return run(out, name=f"study {NASTY}", grid={}, settings=choices)


@pytest.fixture(scope="module")
def made(folder):
    return page.gather(material.read(folder))


@pytest.fixture(scope="module")
def text(made):
    return page.render(made)


def test_the_page_is_whole_and_loads_nothing(text):
    reader = Reader(text)
    assert text.startswith("<!DOCTYPE html>")
    for tag, attrs in reader.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form"), tag
        for name in ("src", "href", "action", "data", "srcset", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:,")), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")], attrs
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)  # parts of its own figures only
    policy = next(a["content"] for t, a in reader.elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attrs in reader.elements:
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids
        assert attrs.get("aria-labelledby", ids[0]) in ids


def test_the_policy_names_the_script_that_is_there(text):
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_names_that_are_code_stay_text(text):
    assert NASTY not in text
    assert "<b>&amp;" not in text
    assert "&lt;/script&gt;&lt;b&gt;&amp;" in text
    assert any(f"; {NASTY}, gdc: " in value for value in Reader(text).values)


def test_the_charts_hold_what_the_statistics_say(made, text, folder):
    summary = results.summary(results.load(folder))
    (picture, _) = made.parts("accuracy")
    assert picture.name == "accuracy"
    told = [v for v in Reader(text).values if v.startswith(("now (%)", "1 h (%)"))]
    assert len(told) == 2 * 2  # at a desk and on a phone
    for row in summary[summary["setting"] != "ideal"].itertuples():
        moment = "1 h" if row.time_seconds else "now"
        mean, low, high = (f"{100 * x:.1f}" for x in (row.mean, row.low, row.high))
        line = f"{row.setting}, {row.compensation}: {mean} [{low}, {high}]"
        found = [v for v in told if line in v.split("; ")]
        assert [v.partition(" (")[0] for v in found].count(moment) == 2, line
    # Perfect devices and floating point do not change: a level each, and one row of the table.
    ideal = summary[summary["setting"] == "ideal"]
    assert ideal["mean"].nunique() == 1
    assert all(
        v.endswith(f"; in floating point: 100.0; ideal: {100 * ideal['mean'].iloc[0]:.1f}")
        for v in told
    )
    values = next(p for p in made.parts("accuracy") if isinstance(p, parts.TableGroup)).tables[0]
    rows = [row for row in values.rows if row[0].text == "ideal"]
    assert [(row[1].text, row[2].text) for row in rows] == [("any", "any")]
    assert len(values.rows) == len(summary) - len(ideal) + 1
    head = made.facts.head
    assert head.setting != "ideal"  # never the machine without errors
    assert f"{100 * head.last['mean']:.1f} %" in text
    differences = next(p for p in made.parts("differences") if isinstance(p, parts.TableGroup))
    direct = results.compare(results.load(folder), head.setting, "ideal")
    row = direct[(direct["time_seconds"] > 0) & (direct["compensation"] == "none")].iloc[0]
    wanted = f"{100 * row['difference']:+.1f} ["
    rows = [r for r in differences.tables[0].rows if r[0].text.startswith("'ideal' minus")]
    row = next(r for r in rows if (r[1].text, r[2].text) == ("none", "1 h"))
    assert wanted in row[3].text


def test_cost_of_the_machine_is_that_of_the_analysis(made):
    machine = made.facts.machine
    found = performance(machine.compiled, machine.spec, (40,), images=4)
    cards = {name: value for name, value, _ in short.cards(made.facts)}
    assert cards["energy per image"] == tables.shown(found.ledger.joules, "J")
    assert cards["cores"] == str(machine.compiled.cores_used)
    energy = made.parts("energy")[1].tables[0]
    assert sum(row[1].key for row in energy.rows) == pytest.approx(found.ledger.joules)
    assert len(made.parts("pipeline")[1].tables[0].rows) == 2  # 8 bits, without errors too, and 6


def test_figures_show_every_block_and_image(made, text):
    values = Reader(text).values
    cores = [value for value in values if value.startswith("core ")]
    assert len(cores) == 64
    used = {block.core for block in made.facts.machine.compiled.blocks}
    assert sum("% of the cells, busy with MVMs" in value for value in cores) == len(used)
    assert sum(value.endswith(": empty") for value in cores) == 64 - len(used)
    assert sum("first MVM at" in value for value in values) == 2 * 4  # layers x images


def test_the_study_on_the_page_is_the_study(folder, text):
    (study,) = material.read(folder).studies
    again = schema.make_study(yaml.safe_load(reproduce.study_text(study)))
    assert again == study
    assert "aimc-sim sweep study.yaml --out out" in text


def test_paths_of_the_machine_stay_there():
    study = schema.make_study(
        {"network": {"name": "resnet32-digits", "weights": "/home/me/w.pt"},
         "data": {"name": "cifar10", "folder": "/home/me/cifar"}}
    )  # fmt: skip
    text = reproduce.study_text(study)
    assert "/home" not in text
    assert "w.pt" in text


def test_what_is_missing_is_said_with_its_command(tmp_path):
    out = run(tmp_path / "out", grid={}, times=0, compensations="none", probe_images=0,
              programmings=1)  # fmt: skip
    for path in (out / "studies").glob("*.json"):
        path.unlink()
    made = page.gather(material.read(out))
    absent = {
        section.name: part.text
        for section, found in made.sections
        for part in found
        if isinstance(part, parts.Paragraph) and part.kind == "absent"
    }
    assert set(absent) == {
        "differences", "costs", "help", "layers", "chip", "pipeline", "energy",
    }  # fmt: skip
    assert all("aimc-sim" in sentence for sentence in absent.values())
    # The float score was stored by the sweep: it needs neither the network nor the data.
    assert made.facts.losses.stored
    (command,) = [part for part in made.parts("costs") if isinstance(part, parts.Code)]
    assert "aimc-sim attribute --study why.yaml --out out/attribution" in command.text
    text = page.render(made)
    Reader(text)
    assert "one programming, 96 images; 95 % interval over other images (Wilson)" in text


def test_an_attribution_is_drawn_down_to_the_whole(tmp_path):
    base = {**toy_study.STUDY, "grid": {}, "times": "1 d", "compensations": "gdc"}
    study = attribute.make(schema.make_study(base), layers=("0",))
    given, out = inputs.gather(study), tmp_path / "out"
    sweep.sweep(study, given, pools.InProcess(given, 1), out)
    made = page.gather(material.read(out))
    assert made.facts.head.setting == attribute.EVERYTHING
    assert set(made.facts.summary["setting"]) == {"everything", "nothing"}
    assert [picture.name for picture in made.pictures()].count("waterfall") == 1
    tips = Reader(page.render(made)).values
    rows = made.facts.attribution.rows
    assert [one.name for one, _ in made.sections][:3] == ["headline", "costs", "help"]
    whole = rows[rows["kind"] == "whole"].iloc[0]["difference"]
    assert any(tip.startswith(f"all effects: {100 * whole:+.2f} [") for tip in tips)
    alone = rows[rows["kind"] == "alone"]["difference"].sum()
    assert any(tip.startswith(f"together, beyond the sum: {100 * (whole - alone):+.2f}")
               for tip in tips)  # fmt: skip


def yaml_of(command):
    """Return the study inside the commands of the page."""
    return schema.make_study(yaml.safe_load(command.partition("\n")[2].partition("END\n")[0]))


def test_the_top_says_how_much_is_lost(made, text, folder):
    """The numbers of the sentence and of the short table are paired differences with float."""
    head = made.facts.head
    lost = results.against_reference(results.load(folder), results.load_reference(folder))
    rows = lost[(lost["setting"] == head.setting) & (lost["compensation"] == head.compensation)]
    last = rows.iloc[-1]
    sentence = made.parts("headline")[0].text
    size = [f"{-100 * last[name]:.1f}" for name in ("difference", "high", "low")]
    assert f"loses {size[0]} percentage points of accuracy ({size[1]} to {size[2]})" in sentence
    assert "after 1 h" in sentence
    assert "100.0 % in floating point" in sentence
    assert f"{100 * head.last['mean']:.1f} % on the chip." in sentence
    table = made.parts("headline")[1].tables[0]
    assert [row[0].text for row in table.rows] == [
        "floating point", "perfect devices", "chip, now", "chip, 1 h",
    ]  # fmt: skip
    assert table.rows[-1][2].text == f"{size[0]} [{size[1]}, {size[2]}]"
    assert ". The column 'lost' is the difference from floating point" in table.caption
    # Another network of the same folder, with a setting of the same name, changes no number.
    facts = made.facts
    other = facts.summary.assign(network_id="f" * 16, mean=0.5, low=0.4, high=0.6)
    both = pd.concat([other, facts.summary])
    again = loss.table(head, both[both["label"] != head.label], facts.metric, facts.losses, "ideal")
    assert [cell.text for cell in again.rows[1]] == [cell.text for cell in table.rows[1]]
    assert text.index("loses") < text.index("<table>")


def test_the_best_of_several_is_flagged_with_its_rivals(made, folder):
    head = made.facts.head
    assert len(head.rivals) == 3  # two settings with imperfect devices, two compensations
    flag = next(
        p.text for p in made.parts("headline")
        if isinstance(p, parts.Paragraph) and p.kind == "flag"
    )  # fmt: skip
    assert "is the best of 4 candidates on the same images" in flag
    found = made.facts.rivals
    assert set(zip(found["setting"], found["compensation"], strict=True)) == {
        *head.rivals, ("ideal", found.loc[found["setting"] == "ideal", "compensation"].iloc[0]),
    }  # fmt: skip
    nearest = found[found["rival"]].iloc[0]
    assert f"'{nearest['label']}', {nearest['compensation']}: " in flag
    direct = results.compare(
        results.load(folder), {"setting": head.setting, "compensation": head.compensation},
        {"setting": nearest["setting"], "compensation": nearest["compensation"]},
    ).iloc[-1]  # fmt: skip
    assert nearest["difference"] == direct["difference"]
    assert (nearest["low"], nearest["high"]) == (direct["low"], direct["high"])
    alone = page.gather(material.read(folder), setting=head.setting).facts.head
    assert len(alone.rivals) == 1  # its other compensation


def test_the_nearest_of_many_rivals_are_compared(made, monkeypatch):
    facts = made.facts
    monkeypatch.setattr(rivals, "MOST", 1)
    found = rivals.compare(facts.front, facts.material, facts.head, facts.ideal)
    assert len(found) == 1
    assert found["difference"].iloc[0] == facts.rivals["difference"].iloc[0]
    rest = dataclasses.replace(facts, rivals=facts.rivals[facts.rivals["setting"] != "ideal"])
    assert next(help.what_would_help(rest)).startswith("None of the 3 others with the best means")


def test_converters_that_differ_from_chip_to_chip_are_paired(tmp_path):
    """Perfect devices behind them have no single result: all programmings count."""
    changes = {"core.adc": {"kind": "cco"}}
    choices = [{"name": "real", "changes": changes},
               {"name": "ideal", "changes": changes, "ideal_devices": True}]  # fmt: skip
    out = run(tmp_path / "out", grid={}, settings=choices)
    facts = page.gather(material.read(out)).facts
    found = facts.rivals[facts.rivals["setting"] == "ideal"]
    assert set(found["answer"]) == {rivals.BOUND}
    assert set(found["compensation"]) == {"none", "gdc"}
    assert found["same_machine"].tolist() == (found["compensation"] == "gdc").tolist()
    table = results.load(out)
    assert table.loc[table["setting"] == "ideal", "value"].nunique() > 1
    last = table[table["time_seconds"] > 0]
    for row in found.itertuples():
        direct = results.compare(
            last, {"setting": "real", "compensation": facts.head.compensation},
            {"setting": "ideal", "compensation": row.compensation},
        ).iloc[0]  # fmt: skip
        assert (row.difference, row.low, row.high) == (
            direct["difference"], direct["low"], direct["high"]
        )  # fmt: skip


def test_answers_follow_from_intervals():
    row = {"larger": True, "low": 0.01, "high": 0.02}
    assert rivals.answer(pd.Series(row)) == rivals.GAINS
    assert rivals.answer(pd.Series(row | {"larger": False})) == rivals.LOSES
    assert rivals.answer(pd.Series(row | {"low": -0.01})) == rivals.OPEN
    assert rivals.answer(pd.Series(row | {"low": -0.02, "high": -0.01})) == rivals.LOSES


def test_the_command_of_the_page_makes_the_attribution_that_the_page_then_shows(tmp_path, call):
    """The machine in front is one of a grid: its changes are in the command."""
    out = run(tmp_path / "out", programmings=1)
    made = page.gather(material.read(out))
    command = next(p for p in made.parts("costs") if isinstance(p, parts.Code)).text
    study = yaml_of(command)
    assert study.changes == {"core.adc.bits": 8}
    facts = made.facts
    assert advice.attribution_command(facts.material, facts.head, None) == ""  # not its changes
    name = schema.LONGEST_NAME * "n"
    choice = {"name": name, "changes": {"core.adc.bits": 8}}
    long = schema.make_study({**toy_study.STUDY, "grid": {}, "settings": [choice]})
    head = dataclasses.replace(facts.head, setting=name)
    assert yaml_of(advice.attribution_command(facts.material, head, long)).name.startswith("why nn")
    (machine,) = [s.spec.id() for s in settings.settings(study)]
    assert machine == made.facts.head.spec_id
    study = attribute.make(study)
    given = inputs.gather(study)
    where = tmp_path / "where"
    sweep.sweep(study, given, pools.InProcess(given, 1), where)
    code, _, err = call("report", out, "--attribution", where, "--figures", tmp_path / "f")
    assert (code, err) == (0, "")
    assert (tmp_path / "f" / "waterfall.svg").is_file()
    text = (out / "report.html").read_text()
    assert text.index('id="costs"') < text.index('id="help"') < text.index('id="accuracy"')
    shutil.copytree(where, out / material.ATTRIBUTION)
    again = page.gather(material.read(out))
    assert again.facts.attribution.rows.equals(
        page.gather(material.read(out), attribution=material.read(where)).facts.attribution.rows
    )
    assert len(again.facts.attribution.rows) > 5
    # A folder that was asked for is the one that is shown, or is refused.
    with pytest.raises(ValueError, match="holds no attribution"):
        page.gather(material.read(where), attribution=material.read(out))
    assert not page.gather(material.read(where), setting="nothing").facts.attribution.of_front
    # Another machine in front: the attribution is none of it, and says of which it is.
    code, _, err = call("report", out, "--attribution", where, "--setting",
                        "hermes-odp, core.adc.bits=6")  # fmt: skip
    assert code == 2
    assert "took apart another machine than 'hermes-odp, core.adc.bits=6'" in err
    assert "(core.adc.bits: 6 to 8); give --setting 'hermes-odp, core.adc.bits=8'" in err
    other = page.gather(material.read(out), setting="hermes-odp, core.adc.bits=6")
    assert not len(other.facts.attribution.rows)
    assert "took apart another machine" in other.parts("costs")[0].text


def test_pointers_rest_on_results(made):
    """A rule speaks if an interval excludes no change, with that interval; else it is silent."""
    facts = made.facts
    spec, metric = facts.material.specs[facts.head.spec_id], facts.metric
    nothing = pd.DataFrame()

    def told(front=facts.front, differences=nothing, others=nothing, effects=nothing):
        return advice.pointers(facts.head, front, spec, metric, None, differences, others, effects)

    assert told() == []
    sure = {"difference": 0.05, "low": 0.04, "high": 0.06}
    perfect = facts.rivals[facts.rivals["same_machine"]]
    time = facts.differences[facts.differences["kind"] == "time"]
    for frame, key in ((perfect, "others"), (time, "differences")):
        assert told(**{key: frame.assign(low=-0.1, high=0.1)}) == []
        sign = 1 if key == "others" else -1
        low, high = sorted((sign * 0.04, sign * 0.06))
        found = told(**{key: frame.assign(difference=sign * 0.05, low=low, high=high)})
        assert len(found) == 1
        assert f"{5 * sign:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] percentage" in found[0].fact
    assert "compensations: [" in found[0].test
    assert "adabs" in found[0].test  # the study did not run it
    row = facts.differences.iloc[[0]].drop(columns=["kind", "question"])
    name = "programming error"
    effects = row.assign(kind="missing", effect=name, **{k: -v for k, v in sure.items()})
    effects = effects.assign(low=-0.06, high=-0.04)
    (found,) = told(effects=effects)
    assert f"'{name}' costs the whole machine most: -5.0 [-6.0, -4.0]" in found.fact
    for key in attribute.switches(spec)[name]:
        assert key in found.test
    assert told(effects=effects.assign(high=0.01)) == []
    for of_front in (True, False):  # the costs of another machine are no pointer for this one
        shown = dataclasses.replace(facts, attribution=costs.Attribution(effects, "", of_front))
        parts_ = [str(part) for part in help.what_would_help(shown)]
        assert any("costs the whole machine most" in part for part in parts_) == of_front
    (found,) = told(front=facts.front.assign(adc_saturated_fraction=0.2))
    assert "20 % of the ADC conversions saturate" in found.fact
    assert "core.g_max_rule" in found.test


def test_the_level_of_one_of_several_networks_has_its_name(made):
    facts = made.facts
    second = {"network_id": "f" * 16, "network": "second"}
    both = dataclasses.replace(
        facts, summary=pd.concat([
            facts.summary, facts.summary.assign(**second, label=facts.summary["label"] + " second")
        ]), front=pd.concat([
            facts.front, facts.front.assign(**second, label=facts.front["label"] + " second")
        ]),
    )  # fmt: skip
    names = [
        {level.name for level in next(against_time(one)).draw.args[0].levels}
        for one in (facts, both)
    ]
    assert "in floating point" in names[0]
    assert "in floating point (toy_study:network, toy_study:data)" in names[1]
    assert "in floating point" not in names[1]


def test_an_interrupted_study_shows_what_there_is(tmp_path):
    out = run(tmp_path / "out", programmings=2)
    segment = next((out / "trials").iterdir())
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:2]) + lines[2][:99])  # killed in the second trial
    made = page.gather(material.read(out))
    Reader(page.render(made))
    assert made.facts.losses.stored
    assert "loses" in made.parts("headline")[0].text


def test_settings_of_two_networks_are_told_apart(folder):
    table = results.load(folder)
    other = table.assign(network="second", network_id="f" * 16)
    both = headline.labelled(pd.concat([table, other]))
    assert set(both["label"]) >= {"rough (toy_study:network)", "rough (second)"}
    assert set(headline.labelled(table)["label"]) == set(table["setting"])


def test_limits_of_the_page_are_those_of_the_machine():
    spec = presets.hermes()
    told = " ".join(limits.sentences(spec))
    for text in (*omissions.OUTPUTS, *omissions.COSTS, *omissions.ASSUMPTIONS):
        assert text in told
    without = omissions.of(spec.with_({"core.ldpu.bit_true": True}))
    assert set(omissions.of(spec)) - set(without) == {
        "half-precision rounding in the digital units (core.ldpu.bit_true)"
    }


def test_cells_sort_by_value_and_non_numbers_come_out_empty():
    assert tables.TableCell("1 h", 3600.0).sort_key == 3600.0
    assert tables.TableCell("-", float("nan")).sort_key == ""
    assert tables.TableCell("a").sort_key == "a"
    assert tables.shown(8.5e-4, "s") == "850 µs"


# ------------------------------------------------------------------------------- command


def test_the_command_writes_the_page_and_the_figures(folder, text, tmp_path, call):
    out, pictures = tmp_path / "a.html", tmp_path / "figures"
    code, said, err = call("report", folder, "--out", out, "--figures", pictures)
    assert (code, err) == (0, "")
    assert str(out) in said
    assert out.read_text() == text  # the same results give the same page
    names = {path.name for path in pictures.iterdir()}
    wanted = ("accuracy", "differences", "layers", "floorplan", "pipeline", "energy")
    assert names == {f"{name}.{kind}" for name in wanted for kind in figures.FORMATS}
    assert min(path.stat().st_size for path in pictures.iterdir()) > 5000
    code, _, _ = call("report", folder, "--out", out, "--setting", "rough")  # an earlier report
    assert code == 0
    assert "setting &#39;rough&#39;" in out.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--setting", "rouhg"), "no setting 'rouhg' in the results; did you mean 'rough'?"),
        (("--out", "missing/x.html"), "there is no folder 'missing'"),
        (("--out", "notes.txt"), "'notes.txt' is there already and is no earlier report"),
        (("--out", "."), "'.' is a folder"),
        (("--figures", "notes.txt"), "'notes.txt' is a file; give a folder"),
        (("--figures", 300 * "x"), "is too long: wanted names of at most"),
        (("--out", 300 * "x"), "is too long: wanted names of at most"),
    ],
)
def test_bad_options_are_one_line(folder, tmp_path, monkeypatch, call, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = call("report", folder, *(() if "--out" in options else ("--out", "x.html")),
                        *options)  # fmt: skip
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def spoil(out, kind):
    path = next((out / kind).iterdir())
    path.write_text(path.read_text()[:-40])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda out: None, "there is no folder"),
        (lambda out: out.mkdir(), "holds no results of a study"),
        (lambda out: (out / "trials").mkdir(parents=True), "holds no finished trial"),
        (lambda out: (run(out, programmings=1), spoil(out, "specs")), "is damaged"),
        (lambda out: (run(out, programmings=1), spoil(out, "studies")), "is damaged"),
        (lambda out: (run(out, programmings=1), spoil(out, "environments")), "is damaged"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, call, damage, words):
    out = tmp_path / "out"
    damage(out)
    code, _, err = call("report", out)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not (out / "report.html").exists()


def test_damaged_lines_are_left_out_and_told(tmp_path, call):
    out = run(tmp_path / "out", programmings=2)
    segment = next((out / "trials").iterdir())
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"correct"', b'"korrect"', 1)
    segment.write_bytes(b"".join(lines))
    code, _, err = call("report", out)
    assert code == 0
    assert f"left out: damaged: line {len(lines)}" in err
    assert "1 lines of the files could not be used" in (out / "report.html").read_text()


def test_another_machine_under_an_old_name_is_refused(tmp_path, call):
    out = run(tmp_path / "out", programmings=1)
    path = next((out / "specs").iterdir())
    spec = json.loads(path.read_text())
    spec["core"]["adc"]["bits"] = 3
    path.write_text(json.dumps(spec))
    code, _, err = call("report", out)
    assert code == 2
    assert "its content has the identity" in err


def test_energies_have_one_name_and_one_value_in_report_perf_and_page(
    made, tmp_path, monkeypatch, call
):
    """The sums of a machine agree between a chip's report, perf.json and the page."""
    spec = made.facts.machine.spec
    images, _, calibration = toy_study.data()
    chip = aimc_sim.Chip.from_model(toy_study.network(), spec)
    chip.calibrate(torch.from_numpy(calibration)).program(0)
    chip(torch.from_numpy(images))
    cost = chip.report().cost
    code, said, _ = call(
        "perf", "toy_study:network", "--preset", "hermes-odp", "--set", "core.adc.bits=8",
        "--input", "40", "--out", tmp_path / "perf",
    )  # fmt: skip
    assert code == 0
    found = json.loads((tmp_path / "perf" / "perf.json").read_text())
    assert found["spec_id"] == spec.id()
    perf = found["performance"]
    mvms = ("mvm_joules_per_image", "published_mvm_joules_per_image")
    sums = {row[2].text: row[1] for row in made.parts("energy")[1].tables[2].rows}
    assert set(sums) == {"joules_per_image", *mvms}
    for name in sums:
        assert perf[name] == sums[name].key
    for name in mvms:
        assert perf[name] == cost[name]
    assert tables.shown(perf["joules_per_image"], "J") in page.render(made)
    shared = set(perf) & set(cost)
    assert shared == {
        "core_mvms", "macs", *mvms, "estimated_joules_per_image", "estimated_interval_seconds",
    }  # fmt: skip
    for name in shared:
        assert perf[name] == pytest.approx(cost[name], rel=1e-9), name
    # One MVM per layer: the simulation waits where the closed form does not, so names differ.
    assert perf["interval_seconds"] > 1.2 * perf["estimated_interval_seconds"]
    assert perf["joules_per_image"] > 1.2 * perf["estimated_joules_per_image"]
    line = next(text for text in str(chip.report()).splitlines() if text.startswith("MVMs"))
    assert line in said
    parts_of_mvm = [perf["joules_by_component"][name] for name in ledger.MVM_PARTS]
    assert sum(parts_of_mvm) == pytest.approx(perf["mvm_joules_per_image"], rel=1e-12)
    share = spec.cost.shared_watts * ledger.mvm_seconds(spec) / spec.fabric.cores
    extra = perf["published_mvm_joules_per_image"] - perf["mvm_joules_per_image"]
    assert extra == pytest.approx(perf["core_mvms"] * share)
    assert extra > 0.01 * perf["mvm_joules_per_image"]  # two names for two numbers
