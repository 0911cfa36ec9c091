"""Sentences about arguments that more than one room uses."""

import pytest

from aimc_sim import arguments, patterns, presets


def test_a_mistyped_name_gets_the_nearest_and_all_there_are():
    told = arguments.unknown("no preset named 'idael'", "idael", ["generic-pcm", "ideal"])
    assert told == "no preset named 'idael'; did you mean 'ideal'? There are: generic-pcm, ideal"


def test_a_name_like_no_other_gets_no_guess():
    told = arguments.unknown("no law named 'x'", "x", ["drift"], "or none")
    assert told == "no law named 'x'; there are: drift; or none"
    assert arguments.unknown("no law named 'x'", "x", []) == "no law named 'x'; there are: none"


def test_long_lists_end_with_an_ellipsis():
    names = [f"layer{i}" for i in range(30)]
    assert arguments.unknown("no", "q", names, most=2) == "no; there are: layer0, layer1, ..."
    assert arguments.unknown("no", "q", names[:2], most=2) == "no; there are: layer0, layer1"


def test_the_cutoff_decides_how_far_a_guess_may_lie():
    assert arguments.nearest("upp", ["up"]) == "up"
    assert arguments.nearest("convolution", ["conv"]) is None
    assert arguments.nearest("convolution", ["conv"], cutoff=0.4) == "conv"


@pytest.mark.parametrize(("build", "error"), [
    (lambda: arguments.choice("gcd", "compensation", ("none", "gdc")), ValueError),
    (lambda: presets.by_name("gdc-x"), KeyError),
    (lambda: patterns.check("where", "gd", ["gdc"], "layer"), ValueError),
])  # fmt: skip
def test_all_refusals_of_names_are_made_in_one_place(build, error, monkeypatch):
    monkeypatch.setattr(arguments, "unknown", lambda *_, **__: "made there")
    with pytest.raises(error, match="made there"):
        build()
