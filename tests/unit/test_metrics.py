"""Metrics: what they score, how scores sum up, what is refused."""

import json
import math
import pickle

import numpy as np
import pytest
import torch

from aimc_sim import metrics
from aimc_sim.metrics import BY_NAME, Metric


def numbers(*shape, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, np.float32)


def test_accuracy_and_top_5_are_torchs():
    outputs, targets = numbers(200, 12), np.arange(200) % 12
    largest = torch.from_numpy(outputs).topk(5).indices.numpy()
    found = metrics.ACCURACY.scored(outputs, targets)
    np.testing.assert_array_equal(found, largest[:, 0] == targets)
    five = metrics.TOP_5.scored(outputs, targets)
    np.testing.assert_array_equal(five, (largest == targets[:, None]).any(1))
    assert five.sum() > found.sum() > 0
    assert (metrics.ACCURACY.chance(12), metrics.TOP_5.chance(12)) == (1 / 12, 5 / 12)


def test_equal_outputs_are_ranked_in_their_order():
    """As argmax does: a network that answers zeros everywhere has the first classes right."""
    outputs, targets = np.zeros((8, 8), np.float32), np.arange(8)
    assert metrics.ACCURACY.scored(outputs, targets).tolist() == [True] + [False] * 7
    assert metrics.TOP_5.scored(outputs, targets).tolist() == [True] * 5 + [False] * 3


def test_bits_are_cross_entropy_over_log_two():
    outputs, targets = numbers(6, 20, 50), np.arange(120).reshape(6, 20) % 50
    scores = metrics.BITS_PER_CHARACTER.scored(outputs, targets)
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(outputs).flatten(0, 1).double(), torch.from_numpy(targets).flatten()
    )
    bits = loss.item() / math.log(2)
    assert metrics.BITS_PER_CHARACTER.value(scores) == pytest.approx(bits, rel=1e-6)
    assert metrics.PERPLEXITY.value(scores) == pytest.approx(math.exp(loss.item()), rel=1e-6)
    assert metrics.BITS_PER_CHARACTER.chance(50) == math.log2(50)
    one = metrics.BITS_PER_CHARACTER.scored(np.zeros((3, 16), np.float32), np.arange(3))
    assert one.tolist() == [4.0, 4.0, 4.0]  # of sixteen equal classes


def test_padding_is_not_counted_and_tokens_weigh_the_same():
    outputs, targets = numbers(4, 9, 7), np.arange(36).reshape(4, 9) % 7
    targets[0, 3:] = targets[2, 8:] = metrics.IGNORED
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(outputs).flatten(0, 1).double(), torch.from_numpy(targets).flatten()
    )
    found = metrics.BITS_PER_CHARACTER
    value = found.value(found.scored(outputs, targets))
    assert value == pytest.approx(loss.item() / math.log(2), rel=1e-6)


def test_errors_and_ratios_of_known_numbers():
    outputs = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    targets = np.array([[1.0, 4.0], [3.0, 0.0]], np.float32)
    scores = metrics.RMSE.scored(outputs, targets)
    assert scores.tolist() == [2.0, 8.0]
    assert metrics.RMSE.value(scores) == pytest.approx(math.sqrt(5))
    ratio = metrics.SQNR.value(metrics.SQNR.scored(outputs, targets))
    assert ratio == pytest.approx(10 * math.log10((1 + 16 + 9) / (4 + 16)))
    assert metrics.SQNR.value(metrics.SQNR.scored(outputs, outputs)) == math.inf


def test_overlap_counts_classes_that_are_there():
    """Two images of four pixels: 3 classes, of which the third is nowhere."""
    given = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    outputs = np.eye(3, dtype=np.float32)[given].transpose(0, 3, 1, 2)
    targets = np.array([[[0, 1], [1, 1]], [[0, 0], [0, -100]]])
    scores = metrics.MEAN_IOU.scored(outputs, targets)
    assert scores.tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0])


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_mean_of_linear_scores_is_the_value(name):
    metric, rng = BY_NAME[name], np.random.Generator(np.random.PCG64(3))
    scores = rng.random((5, 300)) < 0.9 if metric.bits else rng.random((5, 300)) + 0.5
    x = metric.linear(scores)
    np.testing.assert_allclose(x.mean(1), metric.value(scores), rtol=1e-12)
    # An image that is a little worse in every programming moves the value as its number says.
    if not metric.bits:
        step = 1e-4
        moved = scores.copy()
        moved[:, 7] += step
        slope = (metric.linear(moved)[:, 7] - x[:, 7]) / step / 300
        change = (metric.value(moved) - metric.value(scores)) / step
        np.testing.assert_allclose(slope, change, rtol=0.02)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_metrics_survive_being_stored_and_sent(name):
    metric = BY_NAME[name]
    assert metrics.read(json.loads(json.dumps(metric.described()))) is metric
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert metrics.named(name) is metric
    assert (metric.identity() is None) == (name == "accuracy")


def test_values_are_shown_in_their_unit():
    assert metrics.ACCURACY.show(0.98765, 1) == "98.8"
    assert metrics.ACCURACY.span(0.9, 1.0, 1) == "[90.0, 100.0]"
    assert metrics.ACCURACY.digits_of(500) + 1 == metrics.ACCURACY.digits_of(5000) == 2
    assert metrics.BITS_PER_CHARACTER.show(-0.25, 3, sign=True) == "-0.250"
    assert metrics.ACCURACY.axis == "classified correctly (%)"
    assert metrics.SQNR.heading == "sqnr in dB"
    assert metrics.RMSE.heading == "rmse"
    assert metrics.ACCURACY.difference_unit == "percentage points"


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "words"),
    [
        ("accuracy", (4, 5), [0, 1, 2, 11], r"answers 4 images .* at least 12 classes"),
        ("accuracy", (4, 5, 2), [0, 1, 2, 3], "answers 4 images with the shape"),
        ("top-5", (4, 5), [0, 1, 2, 3], "always among the 5 largest"),
        ("bits-per-character", (4, 3, 5), [0, 1, 2, 3], "a score per class behind every target"),
        ("bits-per-character", (4, 5), [0, 1, 2, 7], "a target is 7; wanted 0 to 4, or -100"),
        ("perplexity", (2, 5), [-100, -100], "no target is counted"),
        ("rmse", (4, 5), [0, 1, 2, 3], r"the shapes \(4, 5\) and \(4,\)"),
        ("mean-iou", (4, 5), [0, 1, 2, 3], r"wanted \(N, classes, ...\)"),
    ],
)
def test_what_does_not_fit_is_refused(name, outputs, targets, words):
    with pytest.raises(ValueError, match=words):
        BY_NAME[name].scored(numbers(*outputs), np.array(targets))


def test_a_wrong_metric_is_answered_with_one_sentence():
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        metrics.named("acuracy")
    with pytest.raises(ValueError, match=r"'no_such_module' of .* cannot be imported"):
        metrics.named("no_such_module:metric")
    with pytest.raises(ValueError, match="has no callable 'nothing'"):
        metrics.named("toy_study:nothing")
    with pytest.raises(TypeError, match="toy_study:network is a Sequential; wanted"):
        metrics.named("toy_study:network")

    def broken(outputs, targets):
        raise KeyError("mine")

    def wide(outputs, targets):
        return outputs

    x = numbers(3, 2)
    with pytest.raises(ValueError, match=r"metric 'own' failed on outputs .* KeyError: 'mine'"):
        Metric("own", broken, True).scored(x, x)
    with pytest.raises(ValueError, match=r"scores of shape \(3, 2\) for 3 items"):
        Metric("own", wide, True).scored(x, x)
    with pytest.raises(ValueError, match="gives item 1 the score nan"):
        Metric("own", lambda o, t: np.array([0, math.nan, 1]), True).scored(x, x)
    with pytest.raises(ValueError, match="bits = True and gives float32"):
        Metric("own", lambda o, t: o[:, 0], True, bits=True).scored(x, x)
    with pytest.raises(ValueError, match="sum_up of metric 'own'"):
        Metric("own", wide, True, sum_up="median")
    with pytest.raises(ValueError, match="the name of a metric"):
        Metric("", wide, True)
    with pytest.raises(TypeError, match="score is a str"):
        Metric("own", "mine", True)
