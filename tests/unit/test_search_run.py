"""``aimc-sim optimise``: what it prints, writes and refuses; workers, kills, the example."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_search
import toy_study
import yaml

from aimc_sim import metrics, results
from aimc_sim.figures.pareto import pareto
from aimc_sim.metrics import Metric
from aimc_sim.search import optimise, outcome, schema
from aimc_sim.studies import inputs, pools, settings, sweep
from aimc_sim.studies.schema import load_study

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples/searches").glob("*.yaml"))
PATIENCE = 240


wrong = Metric(
    "error", lambda outputs, targets: outputs.argmax(1) != targets, larger=False, unit="%",
    scale=100, digits=1, bits=True,
)  # fmt: skip
distance = Metric(
    "distance", lambda outputs, targets: np.abs(outputs - targets).mean(1), larger=False, unit="V",
    targets="network",
)  # fmt: skip


def search(tmp_path, **changes):
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({**toy_search.SEARCH, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the toy's search in it."""
    out = tmp_path_factory.mktemp("search") / "out"
    toy_search.run(out)
    return out


def designs(folder):
    return results.read_table(folder / outcome.TABLE)


def same(folder, other):
    pd.testing.assert_frame_equal(designs(folder), designs(other), check_exact=True)


def test_a_search_writes_what_it_found_and_goes_on(finished, tmp_path, call):
    path, out = search(tmp_path), tmp_path / "out"
    code, text, _ = call("optimise", path, "--out", out, "--workers", 0)
    assert code == 0
    same(out, finished)
    names = {p.name for p in out.iterdir()}
    assert {"designs.parquet", "designs.csv", "pareto.png", "pareto.svg", "front.yaml"} <= names
    assert "</svg>" in (out / "pareto.svg").read_text()
    table = designs(out)
    on = table[table["status"].isin(("front", "likely"))]
    assert len(on) >= 1
    words = " ".join(text.split())
    for row in on.itertuples():
        assert f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]" in words
    assert f"{2 * len(table)} trials run, 0 found" in text
    assert (table["accuracy"].between(table["low"], table["high"])).all()
    assert set(table["read"]) == {"slow", "quick"}
    before = (out / "designs.csv").read_bytes()
    code, text, _ = call("optimise", path, "--out", out, "--workers", 0)
    assert (code, f"0 trials run, {2 * len(table)} found" in text) == (0, True)
    assert (out / "designs.csv").read_bytes() == before


def test_the_share_of_errors_as_a_metric_finds_what_the_accuracy_finds(finished, tmp_path, call):
    path, out = search(tmp_path), tmp_path / "out"
    options = ("--workers", 0, "--metric", f"{__name__}:wrong")
    code, text, err = call("optimise", path, "--out", out, *options)
    assert code == 0, err
    found, mirrored = designs(out), designs(finished)
    assert metrics.of(found).name == "error"
    np.testing.assert_allclose(found["value"], 1 - mirrored["accuracy"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["low"], 1 - mirrored["high"], rtol=0, atol=1e-12)
    ours = ["accuracy", "value", "metric_data", "low", "high", "wide_low", "wide_high"]
    pd.testing.assert_frame_equal(
        found.drop(columns=ours, errors="ignore"), mirrored.drop(columns=ours, errors="ignore")
    )
    assert "Error in %, mean and 95 % interval" in text
    row = found[found["status"].isin(("front", "likely"))].iloc[0]
    shown = f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    assert shown in " ".join(text.split())
    assert load_study(out / outcome.AGAIN).metric == f"{__name__}:wrong"
    (ax,) = pareto(found, ["value", "energy"]).axes
    assert ax.get_ylabel() == "error (%): less is better"


def test_a_search_for_small_distances_orders_designs_by_them(tmp_path, call):
    changes = {
        "metric": f"{__name__}:distance", "objectives": "value", "trials": 6,
        "knobs": {"core.adc.bits": [4, 6, 9]},
    }  # fmt: skip
    path, out = search(tmp_path, **changes), tmp_path / "out"
    code, _, err = call("optimise", path, "--out", out, "--workers", 0)
    assert code == 0, err
    table = designs(out).sort_values("core.adc.bits")
    assert len(table) > 1
    assert table["value"].is_monotonic_decreasing  # more bits, smaller errors
    assert (table["value"] > 0).all()
    assert table["status"].iloc[-1] in ("front", "likely")
    assert set(table["status"].iloc[:-1]) <= {"possible", "dominated"}
    (ax,) = pareto(table, ["value"]).axes
    assert ax.get_ylabel() == "distance (V): less is better"
    bound = {"value": float(table["value"].min() / 4)}
    path = search(tmp_path, **changes, constraints=bound)
    code, text, err = call("optimise", path, "--out", out, "--workers", 0)
    assert (code, "No design meets the constraints." in text) == (0, True), err
    assert f"0 trials run, {2 * len(table)} found" in text
    assert set(designs(out)["missed"]) == {"value"}


def test_a_metric_of_ours_is_an_objective_by_its_name(tmp_path):
    made = schema.make_search({**toy_search.SEARCH, "metric": "rmse", "objectives": ["rmse"]})
    assert made.objectives == ("value",)
    assert made.needs_images
    other = schema.scored_by(schema.make_search(toy_search.SEARCH), "rmse")
    assert other.objectives == ("value", "energy")
    assert schema.scored_by(other, "accuracy") == schema.make_search(
        {**toy_search.SEARCH, "metric": "accuracy", "objectives": ["accuracy", "energy"]}
    )
    assert other.asked()["metric"] == "rmse"


def test_a_search_for_accuracy_is_kept_as_it_was_before_there_were_metrics():
    asked = schema.make_search(toy_search.SEARCH).asked()
    assert "metric" not in asked
    assert asked["objectives"] == ["accuracy", "energy"]
    knob = {"value": {"options": {"a": {}, "b": {"core.rows": 128}}}}
    data = {**toy_search.SEARCH, "knobs": knob}
    assert schema.make_search(data).knobs.keys() == {"value"}
    with pytest.raises(ValueError, match="'value' has the name of a column"):
        schema.make_search({**data, "metric": "sqnr"})


def test_the_front_is_a_study_with_fresh_seeds(finished):
    study = load_study(finished / outcome.AGAIN)
    settings.check(study)
    assert study.first_seed == 2
    table = designs(finished)
    on = table[table["status"].isin(("front", "likely"))]
    assert {s.spec.id() for s in settings.settings(study)} == set(on["spec_id"])
    assert set(study.compensations) == set(on["compensation"])


def test_accuracies_are_those_of_the_sweep(finished):
    summary = results.summary(results.load(finished))
    table = designs(finished)
    both = table.merge(summary, on=["setting", "compensation"], suffixes=("", "_swept"))
    assert len(both) == len(table)
    for name, swept in (("accuracy", "mean"), ("low", "low_swept"), ("high", "high_swept")):
        assert both[name].tolist() == both[swept].tolist()


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(finished, tmp_path):
    tests = Path(toy_search.__file__).parent
    (tmp_path / "toy_study.py").write_text((tests / "toy_study.py").read_text())
    arguments = ("optimise", search(tmp_path), "--out", tmp_path / "out", "--workers", 2)
    done = subprocess.run(
        [sys.executable, "-m", "aimc_sim", *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same(tmp_path / "out", finished)


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_to_the_same_table(finished, tmp_path, rng):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["aimc_sim.studies.work", "aimc_sim.search.optimise"])
    out, kills = tmp_path / "out", 0
    trials = out / "trials"

    def written():
        return sum(p.read_bytes().count(b"\n") for p in trials.glob("*.jsonl"))

    for _ in range(2):
        client = server.Process(target=toy_search.run, args=(out,))
        client.start()
        before = written()
        while client.is_alive() and written() < before + 2:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, 0.3)))
        kills += client.is_alive()
        client.kill()
        client.join()
        assert client.exitcode in (0, -signal.SIGKILL)
    assert kills >= 1
    toy_search.run(out)
    same(out, finished)


def test_a_search_without_accuracy_runs_no_image(tmp_path, call):
    path = search(tmp_path, objectives=["energy", "latency"], constraints={"cores": 3})
    code, text, _ = call("optimise", path, "--out", tmp_path / "out")
    assert code == 0
    assert "0 trials run" in text
    table = designs(tmp_path / "out")
    assert table["images"].max() == 0
    costs = table[["energy", "latency"]].to_numpy()
    beaten = [((costs <= own).all(1) & (costs < own).any(1)).any() for own in costs]
    assert [status == "dominated" for status in table["status"]] == beaten
    assert set(table["status"]) == {"front", "dominated"}
    quick = table["read"] == "quick"
    assert costs[quick].max(0).tolist() < costs[~quick].min(0).tolist()
    assert set(table.loc[~quick, "status"]) == {"dominated"}


def test_what_cannot_be_met_is_told(tmp_path, call):
    path = search(tmp_path, constraints={"cores": 1}, trials=4)
    code, text, _ = call("optimise", path, "--out", tmp_path / "out", "--workers", 0)
    assert code == 0
    assert "No design meets the constraints." in text
    table = designs(tmp_path / "out")
    assert set(table["status"]) == {"excluded"}
    assert set(table["missed"]) == {"cores"}
    assert not (tmp_path / "out" / outcome.AGAIN).exists()


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"knob": 1}, (), "no key 'knob'; did you mean 'knobs'?"),
        ({"knobs": {"core.adc.bit": [7]}}, (), "did you mean 'core.adc.bits'?"),
        ({"objectives": "acuracy"}, (), "did you mean 'accuracy'?"),
        ({"objectives": "rmse"}, (), "'rmse' is a metric and the search is scored by 'accuracy'"),
        ({"metric": "rmse", "objectives": "accuracy"}, (), "write 'value' for that, or metric: ac"),
        ({"metric": "rsme"}, (), "did you mean 'rmse'?"),
        ({"metric": "rmse", "constraints": {"rmse": -1}}, (), "wanted a finite number >= 0"),
        ({"metric": f"{__name__}:wrong", "constraints": {"value": 5}}, (), "not percent"),
        ({"constraints": {"accuracy": 0.5}}, ("--metric", "rmse"), "is a bound of 'accuracy'"),
        ({"network": "toy_study:netwrk"}, (), "has no callable 'netwrk'"),
        ({}, ("--memory", "lots"), "--memory lots: wanted a size"),
        ({}, ("--scheduler", "tcp://x:1", "--workers", 2), "--scheduler brings its own"),
        ({}, ("--trials", 10**6), "trials = 1000000: Input should be less than"),
        ({"trials": 90_000, "seconds_per_trial": 1}, (),
         "this search has up to 180,000 trials (90,000 designs of 2 programmings); at 1 s each"),
        ({"trials": 90_000, "objectives": "energy"}, (), "this search has 90,000 designs; at"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(tmp_path, call, changes, options, words):
    workers = () if options else ("--workers", 0)
    path = search(tmp_path, **changes)
    code, _, err = call("optimise", path, "--out", tmp_path / "out", *workers, *options)
    assert code == 2
    assert words in err
    *bar, line = err.splitlines()
    assert line.startswith("error: ")
    assert len(bar) <= 1


def test_trials_of_others_in_the_folder_do_not_shorten_the_estimate(tmp_path, monkeypatch):
    toy_study.run(tmp_path, 5)
    monkeypatch.setattr(sweep, "LONG_HOURS", 0.0)
    wanted = schema.make_search({**toy_search.SEARCH, "trials": 16})
    given = inputs.gather(wanted.study())
    plan = optimise.SearchPlan(wanted, given, tmp_path)
    with pytest.raises(sweep.TooLarge, match=r"up to 32 trials .* the 30 that are left"):
        sweep.sweep(plan.study, given, pools.InProcess(given), tmp_path, source=plan.source)
    assert len(results.load(tmp_path)["identity"].unique()) == 10 + 2  # the two are kept


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_searches_run_in_small(path, tmp_path):
    wanted = schema.load_search(path)
    data = wanted.data.model_dump(exclude_unset=True) | {"images": 4, "calibration": 4}
    small = schema.changed(wanted, trials=2, batch=2, programmings=1, data=data, time="1 h")
    given = inputs.gather(small.study())
    plan = optimise.SearchPlan(small, given, tmp_path / "out")
    pool = pools.InProcess(given)
    progress = sweep.sweep(plan.study, given, pool, tmp_path / "out", source=plan.source)
    assert (progress.failed, progress.reasons) == (0, [])
    found = outcome.table(plan.feed, tmp_path / "out")
    assert not any(found["reason"])
    assert set(found["status"]) <= {"front", "likely", "possible", "dominated"}


def test_the_plot_has_units_and_the_front(finished):
    table = designs(finished)
    figure = pareto(table, ["accuracy", "energy"])
    (ax,) = figure.axes
    assert ax.get_xlabel() == "energy per inference: less is better"
    assert ax.get_ylabel() == "accuracy (%): more is better"
    assert any("J" in label.get_text() for label in ax.get_xticklabels())
    on = table[table["status"].isin(("front", "likely"))]
    assert {text.get_text() for text in ax.texts} == {str(n) for n in on["design"]}
    assert len(pareto(table, ["accuracy", "energy", "latency", "cores"]).axes) == 3
    assert pareto(table, ["energy"]).axes[0].get_xlabel().startswith("design")
