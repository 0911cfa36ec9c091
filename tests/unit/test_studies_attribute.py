"""Attribution: every effect by itself, and what it says on machines whose answer is known."""

import numpy as np
import pytest
import toy_study

from aimc_sim import presets, results
from aimc_sim.cli import main
from aimc_sim.figures.waterfall import waterfall
from aimc_sim.studies import attribute, inputs, pools, schema, settings, sweep


def made(**changes):
    base = {**toy_study.STUDY, "grid": {}, "times": "1 d", "compensations": "gdc"}
    return schema.make_study({**base, **changes})


def test_the_effects_of_a_machine_are_those_it_has():
    assert attribute.effects(presets.hermes("odp")) == [
        "programming error", "drift", "read noise", "RESET state", "ADC",
        "INT8 inputs and activations",
    ]  # fmt: skip
    assert "read polarity" in attribute.effects(presets.hermes("odp", "1-phase"))
    wires = {"row_ohm": 1.0, "col_ohm": 1.0}
    assert "IR drop" in attribute.effects(presets.hermes().with_({"core.wires": wires}))
    assert attribute.effects(presets.ideal()) == []


def test_nothing_is_the_ideal_machine_and_only_one_effect_is_left_each_time():
    found = {s.name: s.spec for s in settings.settings(attribute.make(made()))}
    assert attribute.effects(found["nothing"]) == []
    assert found["everything"] == presets.hermes("odp")
    for name, spec in found.items():
        if name.startswith(attribute.ALONE):
            assert attribute.effects(spec) == [name.removeprefix(attribute.ALONE)]
        if name.startswith(attribute.MISSING):
            assert name.removeprefix(attribute.MISSING) not in attribute.effects(spec)
            assert len(attribute.effects(spec)) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"presets": ["hermes-odp", "ideal"]}, "has 2 settings"), ({"presets": "ideal"}, "no effect")],
)
def test_only_one_machine_is_taken_apart(changes, words):
    with pytest.raises(ValueError, match=words):
        attribute.make(made(**changes))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    study = attribute.make(made(), layers=("0", "2"))
    given, out = inputs.gather(study), tmp_path_factory.mktemp("at") / "out"
    sweep.sweep(study, given, pools.InProcess(given, 1), out)
    return attribute.table(results.load(out))


def test_costs_are_differences_of_accuracies(rows):
    assert rows["kind"].value_counts().to_dict() == {
        "whole": 1, "alone": 6, "missing": 6, "layer": 2,
    }  # fmt: skip
    whole = rows[rows["kind"] == "whole"].iloc[0]
    assert whole["difference"] < -0.05  # the network is right without effects
    assert whole["high"] < 0
    alone = rows[rows["kind"] == "alone"].set_index("effect")
    assert alone.loc["RESET state", "difference"] == 0  # the same for both signs of a weight
    assert alone["difference"].idxmin() in ("programming error", "drift", "read noise")
    assert (rows["low"] <= rows["difference"]).all()
    assert (rows["low"] <= rows["same_low"] + 1e-12).all()
    nothing = alone.loc["RESET state"]  # of 96 images not one changed: up to four others might
    assert nothing["low"] == -nothing["high"]
    assert 3 / 100 < nothing["high"] < 5 / 100
    layers = rows[rows["kind"] == "layer"]
    assert (layers["difference"] < 0).all()


def test_the_waterfall_ends_at_the_whole(rows, tmp_path):
    figure = waterfall(rows, path=tmp_path / "w.png")
    assert (tmp_path / "w.png").stat().st_size > 10_000
    ax = figure.axes[0]
    *bars, rest, last = ax.patches
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    np.testing.assert_allclose([bar.get_x() for bar in bars], [0, *ends[:-1]], atol=1e-12)
    whole = 100 * rows.loc[rows["kind"] == "whole", "difference"].item()
    assert rest.get_x() + rest.get_width() == pytest.approx(whole)
    assert last.get_width() == pytest.approx(whole)
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "all effects"
    with pytest.raises(ValueError, match="2 times and compensations"):
        waterfall(rows.assign(time_seconds=np.arange(len(rows)) % 2))


def test_the_command_prints_and_draws(tmp_path, capsys):
    text = (
        "network: toy_study:network\ndata: {name: 'toy_study:data', calibration: 64}\n"
        "presets: hermes-odp\ntimes: 1 h\ncompensations: none\nprogrammings: 2\nprobe_images: 0\n"
    )
    (tmp_path / "one.yaml").write_text(text)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main(["attribute", "--study", str(tmp_path / "one.yaml"), "--out", str(out),
              "--workers", "0"])  # fmt: skip
    assert done.value.code == 0
    printed = capsys.readouterr().out
    assert "Source of drift: [fits] one device" in printed
    for word in ("read noise", "against all but it", "together", "on these images"):
        assert word in printed
    assert (out / "waterfall_1h_none.png").is_file()
    assert (out / "attribution.csv").is_file()
