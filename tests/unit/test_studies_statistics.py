"""Statements with intervals: closed forms, known laws, and coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aimc_sim.studies import paired, statistics


def table(bits_by_setting, **columns):
    """A table with one row per setting and programming, from (P, N) bits each."""
    rows = []
    for setting, bits in bits_by_setting.items():
        for seed, row in enumerate(np.asarray(bits, bool)):
            rows.append(
                {
                    "setting": setting, "layers": "", "network": "n", "network_id": "n",
                    "data": "d", "data_id": "d", "physics": "p", "spec_id": setting,
                    "time_seconds": 0.0, "compensation": "none", "seed": seed,
                    "images": len(row), "correct": int(row.sum()), "accuracy": row.mean(),
                    "correct_bits": np.packbits(row).tobytes(), **columns,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(rng, p, n, programming=0.0, image=0.0, residual=1.0):
    return (
        programming * rng.standard_normal((p, 1))
        + image * rng.standard_normal((1, n))
        + residual * rng.standard_normal((p, n))
    )


def test_components_of_a_table_worked_out_by_hand():
    found = statistics.components(np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]]))
    # Row means 3, 3; column means 2, 2, 5; grand mean 3; residuals -1 0 1 / 1 0 -1.
    assert found.mean == 3
    assert found.residual == pytest.approx(4 / 2)  # squares 4 over (2-1)(3-1)
    assert found.image == pytest.approx((2 * 3 - 2) / 2)  # 2 x var(2, 2, 5), less residual
    assert found.programming == 0  # row means agree


def test_components_find_the_variances_behind_the_numbers(rng):
    true = {"programming": 0.3, "image": 0.5, "residual": 0.8}
    found = [statistics.components(draw(rng, 12, 40, **true)) for _ in range(600)]
    for name, std in true.items():
        values = np.array([getattr(f, name) for f in found])
        error = values.std() / math.sqrt(len(values))
        assert values.mean() == pytest.approx(std**2, abs=5 * error), name


@pytest.mark.parametrize("std", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.3)])
def test_the_wide_interval_holds_the_truth_as_often_as_it_says(rng, std):
    inside = 0
    for _ in range(800):
        found = statistics.components(draw(rng, 8, 30, *std))
        inside += found.wide_low <= 0 <= found.wide_high
    assert inside / 800 > 0.95 - 5 * math.sqrt(0.05 * 0.95 / 800)
    # Teeth: the interval over programmings alone does not hold it where images differ.
    if std == (0.0, 0.5):
        narrow = 0
        for _ in range(800):
            x = draw(rng, 8, 30, *std).mean(1)
            found = statistics.interval_of_mean(x)
            narrow += found.low <= 0 <= found.high
        assert narrow / 800 < 0.9


def test_a_summary_keeps_its_uncertainties_apart():
    bits = np.zeros((3, 200), bool)
    bits[:, :150] = True
    bits[1, :10] = False
    row = statistics.summary(table({"a": bits})).iloc[0]
    accuracies = [0.75, 0.70, 0.75]
    assert row["mean"] == pytest.approx(np.mean(accuracies))
    half = stats.t.ppf(0.975, 2) * np.std(accuracies, ddof=1) / math.sqrt(3)
    assert row["high"] - row["mean"] == pytest.approx(half)
    assert row["interval"] == "student-t"
    assert row["spread"] == pytest.approx(np.std(accuracies, ddof=1))
    assert row["wide_high"] - row["wide_low"] > 0.1  # 200 images say little about others
    assert (row["worst"], row["best"]) == (0.70, 0.75)
    alone = statistics.summary(table({"a": bits[:1]})).iloc[0]
    wilson = stats.binomtest(150, 200).proportion_ci(method="wilson")
    assert (alone["low"], alone["high"]) == pytest.approx((wilson.low, wilson.high))
    assert alone["interval"] == "wilson"
    assert math.isnan(alone["spread"])


def test_every_programming_has_its_wilson_interval():
    found = statistics.within(table({"a": np.eye(4, 8)}))
    wilson = stats.binomtest(1, 8).proportion_ci(method="wilson")
    assert found["low"].tolist() == pytest.approx([wilson.low] * 4)
    assert found["high"].tolist() == pytest.approx([wilson.high] * 4)


def test_versions_and_names_are_not_mixed():
    both = pd.concat([table({"a": np.eye(4)}), table({"a": np.eye(4)}, physics="q")])
    assert len(statistics.summary(both)) == 2
    other = table({"a": 1 - np.eye(4)})
    with pytest.raises(ValueError, match="seed 0, at 0 s has two different results"):
        statistics.summary(pd.concat([table({"a": np.eye(4)}), other]))
    with pytest.raises(ValueError, match="the name 'a' stands for two machines"):
        statistics.summary(pd.concat([table({"a": np.eye(4)}), other.assign(spec_id="b")]))


def test_pairs_are_compared_on_the_same_seeds_and_images(rng):
    before = rng.random((6, 300)) < 0.8
    after = before.copy()
    for i, k in enumerate((9, 10, 11, 10, 9, 12)):
        after[i, np.flatnonzero(before[i])[:k]] = False
    (row,) = paired.compare(table({"a": before, "b": after}), "a", "b").to_dict("records")
    differences = np.array([-9, -10, -11, -10, -9, -12]) / 300
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["lost"], row["gained"]) == (61, 0)
    interval = stats.ttest_rel(after.mean(1), before.mean(1)).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_value"] == pytest.approx(stats.ttest_rel(after.mean(1), before.mean(1)).pvalue)
    d = differences.mean() / differences.std(ddof=1)
    assert row["effect_size"] == pytest.approx(d * (1 - 3 / (4 * 5 - 1)))
    assert row["wide_low"] < row["low"] < row["high"] < row["wide_high"]
    back = paired.compare(table({"a": before, "b": after}), "b", "a").iloc[0]
    assert back["difference"] == -row["difference"]
    # Much sharper than the two accuracies by themselves.
    alone = statistics.summary(table({"a": before})).iloc[0]
    assert row["high"] - row["low"] < (alone["high"] - alone["low"]) / 3


def test_one_programming_is_compared_on_its_images():
    before, after = np.ones((1, 50), bool), np.ones((1, 50), bool)
    after[0, :6] = False
    before[0, 40] = False
    (row,) = paired.compare(table({"a": before, "b": after}), "a", "b").to_dict("records")
    assert (row["lost"], row["gained"], row["interval"]) == (6, 1, "images")
    assert row["p_value"] == pytest.approx(2 * (1 + 7) / 2**7)  # 0 or 1 of 7, two-sided
    assert math.isnan(row["effect_size"])
    assert row["low"] < -0.1 < row["high"]


def test_compensations_are_compared_too():
    x = table({"a": np.eye(4, 9)})
    y = table({"a": np.ones((4, 9))}, compensation="gdc")
    both = pd.concat([x, y])
    (row,) = paired.compare(both, {"compensation": "none"}, {"compensation": "gdc"}).to_dict(
        "records"
    )
    assert row["difference"] == pytest.approx(8 / 9)
    assert (row["compensation"], row["programmings"]) == ("gdc", 4)


def test_pairs_that_are_none_are_refused():
    found = table({"a": np.eye(4), "b": np.eye(4)})
    with pytest.raises(KeyError, match="no rows with setting 'c'; settings: 'a', 'b'"):
        paired.compare(found, "a", "c")
    found.loc[found["setting"] == "b", "seed"] += 10
    with pytest.raises(ValueError, match="no seed, time and compensation in common"):
        paired.compare(found, "a", "b")
    found = table({"a": np.eye(4), "b": np.eye(4)})
    found.loc[found["setting"] == "b", "data_id"] = "other"
    with pytest.raises(ValueError, match="saw different images"):
        paired.compare(found, "a", "b")
    assert len(paired.against(table({"a": np.eye(4), "b": np.eye(4), "c": np.eye(4)}), "b")) == 2


def test_layers_have_intervals():
    rows = [
        {
            "network": "n", "network_id": "n", "data": "d", "data_id": "d", "physics": "p",
            "setting": "a", "layers": "", "time_seconds": 0.0, "compensation": "none",
            "layer": "fc", "position": 0, "seed": seed, "sqnr_db": sqnr,
        }
        for seed, sqnr in enumerate((20.0, 22.0, 24.0))
    ]  # fmt: skip
    row = statistics.layer_summary(pd.DataFrame(rows)).iloc[0]
    assert row["sqnr_db"] == 22
    assert row["high"] - 22 == pytest.approx(stats.t.ppf(0.975, 2) * 2 / math.sqrt(3))
    assert row["effective_bits"] == pytest.approx((22 - 1.76) / 6.02, abs=0.002)
