"""The network in floating point beside the trials: stored once, paired image by image."""

import sys
from types import MappingProxyType

import numpy as np
import pytest
import torch
import toy_study

from aimc_sim import own, results
from aimc_sim.pages import material, page
from aimc_sim.studies import folder, inputs, pools, reference, schema, sweep

DATA = f"{__file__}:wrong_data"


def wrong_data():
    """The toy's images with every eighth label changed: the network scores 7/8 in float."""
    images, labels, calibration = toy_study.data()
    labels = labels.copy()
    labels[::8] = (labels[::8] + 1) % 8
    return images, labels, calibration


def run(out, **changes):
    study = schema.make_study({**toy_study.STUDY, "data": DATA, **changes})
    given = inputs.gather(study)
    return given, sweep.sweep(study, given, pools.InProcess(given, 1), out)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished study."""
    made = tmp_path_factory.mktemp("reference") / "out"
    run(made, data={"name": DATA, "calibration": 64})
    return made


def test_the_float_score_is_that_of_torch_image_by_image(out):
    (row,) = results.load_reference(out).to_dict("records")
    images, labels, _ = wrong_data()
    with torch.inference_mode():
        right = toy_study.network()(torch.from_numpy(images)).argmax(1).numpy() == labels
    assert row["accuracy"] == row["value"] == right.mean() == 84 / 96
    assert np.array_equal(np.unpackbits(np.frombuffer(row["correct_bits"], np.uint8), count=96),
                          right)  # fmt: skip


def test_no_table_of_trials_holds_it(out):
    table = results.load(out)
    assert len(table) == 2 * 3 * 2 * 2
    assert "reference" not in " ".join(table["setting"])


def test_it_is_written_once_and_merges(out, tmp_path):
    def lines(where):
        told = [path.read_text().splitlines() for path in (where / "trials").iterdir()]
        return [line for one in told for line in one if '"kind":"reference"' in line]

    before = sorted(path.name for path in (out / "trials").iterdir())
    _, progress = run(out, data={"name": DATA, "calibration": 64})
    assert progress.done == 0
    assert sorted(path.name for path in (out / "trials").iterdir()) == before
    assert len(lines(out)) == 1
    folder.merge([out], tmp_path / "both")
    assert results.load_reference(tmp_path / "both").equals(results.load_reference(out))


def test_a_folder_of_before_gets_it_with_the_next_sweep(out, tmp_path):
    old = tmp_path / "old"
    folder.merge([out], old)
    for path in (old / "trials").iterdir():
        kept = [x for x in path.read_bytes().splitlines(True) if b'"kind":"reference"' not in x]
        path.write_bytes(b"".join(kept))
    assert results.load_reference(old).empty
    _, progress = run(old, data={"name": DATA, "calibration": 64})
    assert progress.done == 0
    assert results.load_reference(old).equals(results.load_reference(out))
    assert results.load(old).equals(results.load(out))


def test_the_loss_is_the_paired_difference_with_it(out):
    """By hand: the mean over programmings and images of right on the chip minus right in float."""
    table, float_row = results.load(out), results.load_reference(out)
    lost = results.against_reference(table, float_row)
    assert len(lost) == 2 * 2 * 2
    right = np.unpackbits(np.frombuffer(float_row["correct_bits"][0], np.uint8), count=96)
    for row in lost.itertuples():
        rows = table[
            (table["setting"] == row.setting) & (table["time_seconds"] == row.time_seconds)
            & (table["compensation"] == row.compensation)
        ]  # fmt: skip
        bits = np.stack([np.unpackbits(np.frombuffer(b, np.uint8), count=96)
                         for b in rows["correct_bits"]]).astype(int)  # fmt: skip
        assert row.difference == pytest.approx((bits - right.astype(int)).mean())
        assert row.low < row.difference < row.high
        assert row.lost == (bits < right).sum()
        assert row.gained == (bits > right).sum()
    # Paired: far narrower than the difference of two accuracies of 96 images would be.
    best = lost.loc[lost["difference"].idxmax()]
    assert best["high"] - best["low"] < 2 * 1.96 * np.sqrt(2 * 7 / 8 * 1 / 8 / 96)


def test_other_images_are_refused(out):
    float_row = results.load_reference(out)
    with pytest.raises(ValueError, match="saw different images"):
        results.against_reference(results.load(out), float_row.assign(data_id="0" * 16))
    with pytest.raises(ValueError, match="0 rows to compare with; wanted one of 'accuracy'"):
        results.against_reference(results.load(out), float_row.iloc[:0])


def test_scores_that_are_numbers_and_metrics_without_a_reference(tmp_path):
    data = {"name": DATA, "calibration": 64}
    given, _ = run(tmp_path / "a", data=data, metric="perplexity", programmings=1)
    (row,) = results.load_reference(tmp_path / "a").to_dict("records")
    own = np.frombuffer(row["scores"], "<f4")
    assert row["value"] == pytest.approx(2 ** own.astype(float).mean())
    lost = results.against_reference(
        results.load(tmp_path / "a"), results.load_reference(tmp_path / "a")
    )
    assert (lost["larger"] == False).all()  # noqa: E712
    given, _ = run(tmp_path / "b", data=data, metric="sqnr", programmings=1)
    assert not reference.exists(given.metric)
    assert results.load_reference(tmp_path / "b").empty


def test_a_damaged_reference_is_left_out_and_told(out, tmp_path):
    bad = tmp_path / "bad"
    folder.merge([out], bad)
    path = next((bad / "trials").iterdir())
    path.write_bytes(
        path.read_bytes().replace(b'"images":96,"correct":84', b'"images":96,"correct":85')
    )
    assert results.load_reference(bad).empty
    assert [damage.kind for damage in results.check(bad)] == ["damaged"]


VERSION = """
import numpy as np
from aimc_sim.metrics import Metric


def score(outputs, targets):
    return SCALE * (outputs.argmax(1) == targets)


points = Metric("points", score, larger=True)
"""


def test_two_versions_of_a_metric_have_a_score_each(tmp_path, monkeypatch):
    """A file that gives two points for one, in a folder that holds results of the first version."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    data, path = {"name": DATA, "calibration": 64}, tmp_path / "points_of_mine.py"
    out, floats = tmp_path / "out", []
    for scale, preset in (("1.0", "hermes-odp"), ("2.0", "hermes-tdp"), ("2.0 ", "generic-pcm")):
        path.write_text(VERSION.replace("SCALE", scale))
        sys.modules.pop(path.stem, None)
        monkeypatch.setattr(own, "_FILES", {})
        run(out, data=data, metric=f"{path}:points", presets=preset, programmings=1)
        floats.append(sorted(results.load_reference(out)["value"]))
    sys.modules.pop(path.stem, None)
    # The third differs by a space only: its scores are those of the second.
    assert floats == [[84 / 96], [84 / 96, 2 * 84 / 96], [84 / 96, 2 * 84 / 96]]
    with pytest.raises(ValueError, match="2 rows to compare with; wanted one of 'points'"):
        results.against_reference(results.load(out), results.load_reference(out))
    told = page.render(page.gather(material.read(out)))
    assert "The folder holds results of 2 versions of the metric points" in told


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_a_score_that_cannot_be_computed_is_told_where_the_trials_run(kind, tmp_path, monkeypatch):
    def record(given):
        raise kind("not enough memory:\nyou tried to allocate 1 TB")

    monkeypatch.setattr(reference, "record", record)
    with pytest.warns(UserWarning, match=r"losses .* unknown: not enough memory: you tried"):
        _, progress = run(tmp_path / "out", programmings=1)
    assert progress.done == 2
    assert results.load_reference(tmp_path / "out").empty


def test_a_study_without_trials_has_no_score(tmp_path, monkeypatch):
    """A search for costs alone runs no images, and neither does the network in floating point."""

    class Nothing:
        held, reused, total, most = MappingProxyType({}), 0, 0, 0

        def next(self):
            return None

    monkeypatch.setattr(reference, "record", lambda given: pytest.fail("images were run"))
    study = schema.make_study({**toy_study.STUDY, "data": DATA})
    given = inputs.gather(study)
    pool = pools.InProcess(given, 1)
    sweep.sweep(study, given, pool, tmp_path / "out", source=lambda *_: Nothing())
