"""``aimc_sim.cite``: every source of a preset leads to an entry of the table."""

import re

import pytest

import aimc_sim
from aimc_sim import presets
from aimc_sim.presets import citations
from aimc_sim.spec import DacSpec

DEVICES = (
    presets.pcm_25_microsiemens, presets.pcm_hermes_closed_loop, presets.pcm_hermes_one_device,
    presets.pcm_hermes_two_devices, presets.pcm_ideal, presets.pcm_nandakumar_2018,
)  # fmt: skip


def specs():
    """Every preset: machines by name, devices alone, and the chip that is written in a loop."""
    yield from (presets.by_name(name) for name in presets.PRESETS)
    yield from (device() for device in DEVICES)
    yield presets.hermes(programming="gradient")


def test_every_source_of_a_preset_is_in_the_table():
    texts = [text for spec in specs() for text in citations._sources(spec)]
    assert len(texts) > 100
    dois = {one.doi for one in citations.table().values()}
    numbers = {one.arxiv for one in citations.table().values()}
    for text in texts:
        assert set(citations._MARK.findall(text)) <= set(citations.MARKS), text
        assert set(citations._DOI.findall(text)) <= dois, text
        assert set(citations._ARXIV.findall(text)) <= numbers, text
    for spec in specs():
        assert all(one.title and one.authors for one in citations.references_of(spec))


def test_marks_mean_what_the_documentation_of_the_presets_says():
    full = dict(presets.references(f"[{mark}]" for mark in citations.MARKS))
    assert {mark.strip("[]") for mark in full} == set(citations.MARKS)
    for mark, keys in citations.MARKS.items():
        named = set(citations._DOI.findall(full[f"[{mark}]"]))
        entries = [citations.table()[key] for key in keys]
        assert named <= {one.doi for one in entries}, mark
        for one in entries:
            assert one.doi in named or not one.doi or mark == "fits", mark


def test_the_chip_is_cited_with_its_devices_and_converters(capsys):
    aimc_sim.cite(presets.hermes(), "text")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f'aimc_sim founders, "aimc_sim", version {aimc_sim.__version__}'
    for part in ("10.1038/s41928-023-01010-1", "10.1109/JSSC.2022.3140414", "IBM/aihwkit"):
        assert sum(part in line for line in lines) == 1, part
    assert not any("10.1063/1.5042408" in line for line in lines)  # no pulses are given
    aimc_sim.cite(presets.hermes(programming="gradient"), "text")
    assert "10.1109/IEDM45625.2022.10019486" in capsys.readouterr().out


def test_bibtex(capsys):
    aimc_sim.cite(presets.pcm_25_microsiemens())
    out = capsys.readouterr().out
    assert (
        "@article{joshi_2020,\n  author = {V. Joshi and others},\n"
        "  title = {{Accurate deep neural network inference using computational phase-change "
        "memory}},\n  journal = {Nature Communications},\n  volume = {11},\n  pages = {2473},\n"
        "  year = {2020},\n  doi = {10.1038/s41467-020-16108-9},\n}"
    ) in out
    keys = re.findall(r"^@\w+\{(.+),$", out, re.M)
    assert keys[0] == "aimc_sim"
    assert len(set(keys)) == len(keys)
    assert out.count("{") == out.count("}")


def test_a_source_of_ones_own_is_cited_by_its_identifier(capsys):
    dac = DacSpec(source="doi:10.1234/mine.5, arXiv:2401.00001; and arXiv:2212.02872")
    aimc_sim.cite(dac, "text")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[:2] == ["doi:10.1234/mine.5", "arXiv:2401.00001"]
    assert lines[2].startswith("M. Le Gallo et al.")
    assert len(lines) == 3
    aimc_sim.cite(dac)
    assert "  doi = {10.1234/mine.5},\n" in capsys.readouterr().out


def test_arguments_are_checked():
    with pytest.raises(TypeError, match=r"wanted a specification, such as chip\.spec"):
        aimc_sim.cite("hermes")
    with pytest.raises(ValueError, match="form"):
        aimc_sim.cite(presets.hermes(), "html")
