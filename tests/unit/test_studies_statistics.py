"""Statements with intervals: closed forms, known laws, and coverage."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aimc_sim import metrics
from aimc_sim.analysis import intervals
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
            found = intervals.of_mean(x)
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
    assert (row["same_low"], row["same_high"]) == pytest.approx((interval.low, interval.high))
    assert row["interval"] == "programmings and images"
    # The p-value belongs to the interval that speaks of other images too.
    assert stats.ttest_rel(after.mean(1), before.mean(1)).pvalue < row["p_value"] < 0.05
    d = differences.mean() / differences.std(ddof=1)
    assert row["effect_size"] == pytest.approx(d * (1 - 3 / (4 * 5 - 1)))
    assert row["low"] < row["same_low"] < row["same_high"] < row["high"]
    back = paired.compare(table({"a": before, "b": after}), "b", "a").iloc[0]
    assert back["difference"] == -row["difference"]
    # Much sharper than the two accuracies by themselves.
    alone = statistics.summary(table({"a": before})).iloc[0]
    assert row["high"] - row["low"] < alone["wide_high"] - alone["wide_low"]


def test_one_programming_is_compared_on_its_images():
    before, after = np.ones((1, 50), bool), np.ones((1, 50), bool)
    after[0, :6] = False
    before[0, 40] = False
    (row,) = paired.compare(table({"a": before, "b": after}), "a", "b").to_dict("records")
    assert (row["lost"], row["gained"], row["interval"]) == (6, 1, "images")
    assert row["p_value"] == pytest.approx(2 * (1 + 7) / 2**7)  # 0 or 1 of 7, two-sided
    assert math.isnan(row["effect_size"])
    assert row["low"] < -0.1 < row["high"]


@pytest.mark.parametrize("programmings", [1, 2, 5])
@pytest.mark.parametrize("images", [10, 300, 10_000])
def test_nothing_that_changed_is_no_proof_that_nothing_can(programmings, images):
    """The interval of no difference is Tango's score interval: +-3.84 / (n + 3.84)."""
    right = np.ones((programmings, images), bool)
    right[:, ::7] = False
    (row,) = paired.compare(table({"a": right, "b": right}), "a", "b").to_dict("records")
    assert row["difference"] == 0
    bound = Z2 / (images + Z2)
    t = stats.t.ppf(0.975, images - 1) / math.sqrt(Z2)  # of so many images, not of infinitely many
    assert row["high"] == -row["low"]
    assert bound <= row["high"] < 1.5 * max(t, 1.1) * bound
    assert row["high"] > 3 / images * images / (images + Z2)  # the rule of three
    assert row["p_value"] == 1
    if programmings > 1:
        assert row["same_high"] == -row["same_low"]
        assert row["same_high"] == pytest.approx(Z2 / (programmings * images + Z2))
    one = statistics.summary(table({"a": np.ones_like(right)})).iloc[0]
    assert one["low"] < 1
    assert one["wide_low"] < 1 - 2 / images * images / (images + Z2)


Z2 = 1.959963984540054**2
SIMULATED = 2000
BELOW = 5 * math.sqrt(0.95 * 0.05 / SIMULATED)
"""How far below 95 % a coverage of 2,000 tables may fall by chance (five standard errors): 2.4 %.
So a rule that covers less than 92.6 % is caught."""


def changes(rng, programmings, images, lost, alike):
    """Differences (P, N): images that are lost, in all programmings alike or in each by itself."""
    rows = 1 if alike else programmings
    change = -(rng.random((rows, images)) < lost / images).astype(float)
    return np.broadcast_to(change, (programmings, images))


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("programmings", [1, 3, 10])
@pytest.mark.parametrize("lost", [0.3, 1.0, 3.5, 10.0])
def test_few_lost_images_are_covered_as_often_as_it_says(rng, programmings, alike, lost):
    """``lost`` images of 200 on average; before, an interval without a change was empty."""
    covered = empty = 0
    for _ in range(SIMULATED):
        change = changes(rng, programmings, 200, lost, alike)
        found = statistics.components(change, (-1.0, 1.0))
        covered += found.wide_low <= -lost / 200 <= found.wide_high
        empty += not change.any()
    assert covered / SIMULATED > 0.95 - BELOW
    if lost <= 1.0 and (alike or programmings == 1):  # teeth: what the empty ones would miss
        assert 1 - empty / SIMULATED < 0.95 - BELOW


@pytest.mark.parametrize("share", [0.9, 0.98, 0.995, 0.999])
@pytest.mark.parametrize("programmings", [2, 5])
def test_accuracies_near_one_are_covered(rng, programmings, share):
    """Images that every programming gets wrong, 300 of them: nearly always right, or always."""
    covered = t_covered = 0
    for _ in range(SIMULATED):
        right = np.broadcast_to(rng.random((1, 300)) < share, (programmings, 300)).astype(float)
        found = statistics.components(right, (0.0, 1.0))
        covered += found.wide_low <= share <= found.wide_high
        half = 1.96 * right[0].std(ddof=1) / math.sqrt(300)
        t_covered += abs(right.mean() - share) <= half
    assert covered / SIMULATED > 0.95 - BELOW
    if share == 0.995:
        assert t_covered / SIMULATED < 0.95 - BELOW  # teeth: the plain interval over images


@pytest.mark.parametrize("law", ["normal", "skewed"])
@pytest.mark.parametrize("programmings", [1, 4])
def test_differences_of_continuous_scores_are_covered(rng, programmings, law):
    """60 sequences whose scores differ by sequence, by programming and by both."""
    covered = 0
    for _ in range(SIMULATED):
        if law == "normal":
            items = rng.standard_normal((1, 60))
        else:
            items = rng.exponential(size=(1, 60)) - 1
        change = 0.2 + items + 0.05 * rng.standard_normal((programmings, 1))
        change = change + 0.5 * rng.standard_normal((programmings, 60))
        found = paired.difference(np.zeros_like(change), change, bits=False)
        covered += found.low <= 0.2 <= found.high
    assert covered / SIMULATED > 0.95 - BELOW
    assert covered / SIMULATED < 0.995  # and no wider than it need be


def continuous(by_setting, metric=metrics.BITS_PER_CHARACTER):
    """A table of a metric of numbers, from (P, N) scores of each setting."""
    found = table({name: np.zeros_like(scores) for name, scores in by_setting.items()})
    found = found.drop(columns=["correct", "accuracy", "correct_bits"])
    rows = np.concatenate([np.asarray(scores, "<f4") for scores in by_setting.values()])
    return found.assign(
        metric=metric.name, metric_data=json.dumps(metric.described()),
        scores=[row.tobytes() for row in rows], value=[metric.value(row) for row in rows],
    )  # fmt: skip


def test_continuous_scores_have_the_same_statements(rng):
    before = 1.5 + 0.3 * rng.standard_normal((4, 80)).astype(np.float32)
    after = before + np.float32(0.1)
    after[:, 0] -= np.float32(0.05)
    found = continuous({"a": before, "b": after})
    row = statistics.summary(found).iloc[0]
    assert (row["metric"], row["unit"], row["larger"]) == ("bits-per-character", "bits", False)
    assert row["mean"] == pytest.approx(before.mean())
    assert row["low"] < row["mean"] < row["high"]
    means = before.astype(float).mean(1)
    assert (row["worst"], row["best"]) == (means.max(), means.min())
    interval = stats.t.interval(0.95, 3, means.mean(), stats.sem(means))
    assert (row["low"], row["high"]) == pytest.approx(interval, rel=1e-5)
    (pair,) = paired.compare(found, "a", "b").to_dict("records")
    assert pair["difference"] == pytest.approx((after - before).mean(), abs=1e-6)
    assert 0 < pair["low"] < pair["difference"] < pair["high"] < 0.11
    assert (pair["lost"], pair["gained"]) == (320, 0)  # more bits are worse
    assert pair["p_value"] < 1e-6
    assert pair["unit"] == "bits"
    alone = statistics.summary(continuous({"a": before[:1]})).iloc[0]
    assert alone["interval"] == "images"
    assert alone["high"] - alone["low"] == pytest.approx(2 * 1.99 * 0.3 / math.sqrt(80), rel=0.3)
    (none,) = paired.compare(continuous({"a": before, "b": before}), "a", "b").to_dict("records")
    assert none["difference"] == 0
    assert none["low"] == -none["high"] < -0.15 * 3 / 90  # nothing changed in 80


def test_a_curved_metric_is_compared_in_its_own_unit(rng):
    """Root mean square errors of 3 and 4: their difference is one, and so says the interval."""
    a = 9.0 * rng.chisquare(8, (5, 400)) / 8
    b = 16.0 * rng.chisquare(8, (5, 400)) / 8
    found = continuous({"a": a, "b": b}, metrics.RMSE)
    for name, scores in (("a", a), ("b", b)):
        row = statistics.summary(found[found["setting"] == name]).iloc[0]
        values = np.sqrt(scores.mean(1))
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-6)
        # The standard error of a root: half of that of the mean over the root.
        images = scores.mean(0).std(ddof=1) / math.sqrt(400) / (2 * values.mean())
        assert (row["wide_high"] - row["wide_low"]) / 2 > 1.8 * images
    (pair,) = paired.compare(found, "a", "b").to_dict("records")
    assert pair["low"] < 1 < pair["high"]
    assert pair["high"] - pair["low"] < 0.3


def test_two_metrics_are_not_averaged():
    both = pd.concat([continuous({"a": np.ones((2, 9))}), table({"a": np.ones((2, 9))})])
    accuracy = json.dumps(metrics.ACCURACY.described())
    both = both.fillna({"metric": "accuracy", "metric_data": accuracy})
    found = statistics.summary(both)
    assert sorted(found["metric"]) == ["accuracy", "bits-per-character"]
    with pytest.raises(ValueError, match=r"of several metrics \(accuracy, bits-per-character\)"):
        paired.compare(pd.concat([both, both.assign(setting="b")]), "a", "b")


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
