"""The network in floating point beside the trials: stored once, paired image by image."""

import numpy as np
import pytest
import torch
import toy_study

from aimc_sim import results
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
