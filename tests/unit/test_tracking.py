"""Studies in MLflow: every trial once, whatever was written before."""

import importlib.util
import itertools
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace as Plain

import pytest
import toy_study

from aimc_sim import results
from aimc_sim.studies import tracking

HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None


class Page(list):
    """Some runs, and the way to more."""

    token = None


class Memory:
    """A store with the few calls that an export makes, as MLflow's client answers them."""

    kept = None  # the experiments of this test: clients come and go, as processes do

    def __init__(self, uri):
        self.uri, self.fails_after = uri, None

    def get_experiment_by_name(self, name):
        return Plain(experiment_id=name) if name in self.kept else None

    def create_experiment(self, name, artifact_location=None):
        self.kept[name] = {}
        return name

    def search_runs(self, experiments, max_results, page_token=None):
        assert max_results <= 50_000
        runs = [run for name in experiments for run in self.kept[name].values()]
        first = int(page_token or 0)
        page = Page(runs[first : first + 3])  # small pages: there are more
        page.token = str(first + 3) if first + 3 < len(runs) else None
        return page

    def create_run(self, experiment, tags):
        number = str(next(Memory.numbers))
        info = Plain(run_id=number, status="RUNNING", start_time=0)
        self.kept[experiment][number] = Plain(
            info=info, data=Plain(tags=dict(tags), params={}), metrics={}, files={}
        )
        return self.kept[experiment][number]

    def _run(self, number):
        return next(runs[number] for runs in self.kept.values() if number in runs)

    def log_batch(self, number, metrics=(), params=()):
        assert len(params) <= 100
        run = self._run(number)
        for one in params:
            assert run.data.params.setdefault(one.key, one.value) == one.value
        for one in metrics:
            run.metrics.setdefault(one.key, []).append((one.step, one.value))

    def set_tag(self, number, key, value):
        self._run(number).data.tags[key] = value

    def log_artifact(self, number, path):
        self._run(number).files[Path(path).name] = Path(path).read_bytes()

    def set_terminated(self, number):
        self._run(number).info.status = "FINISHED"

    def delete_run(self, number):
        next(runs for runs in self.kept.values() if number in runs).pop(number)


@pytest.fixture(params=["memory", "mlflow"])
def store(request, tmp_path, monkeypatch):
    """An address, and the runs of an experiment with (steps, values) of every metric."""
    if request.param == "memory":
        Memory.kept, Memory.numbers = {}, itertools.count()
        entities = types.ModuleType("mlflow.entities")
        entities.Metric = lambda key, value, now, step: Plain(key=key, value=value, step=step)
        entities.Param = lambda key, value: Plain(key=key, value=value)
        parts = {
            "mlflow": types.ModuleType("mlflow"), "mlflow.entities": entities,
            "mlflow.exceptions": Plain(MlflowException=LookupError),
            "mlflow.tracking": Plain(MlflowClient=Memory),
        }  # fmt: skip
        for name, module in parts.items():
            monkeypatch.setitem(sys.modules, name, module)
        return "http://memory", lambda name: list(Memory.kept[name].values())
    if not HAS_MLFLOW:
        pytest.skip("mlflow is not installed: pip install '.[tracking]'")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"

    def runs(name):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(uri)
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        for run in found:
            number = run.info.run_id
            metrics = {
                key: sorted((one.step, one.value) for one in client.get_metric_history(number, key))
                for key in run.data.metrics
            }
            contents = {
                one.path: Path(client.download_artifacts(number, one.path)).read_bytes()
                for one in client.list_artifacts(number)
            }
            yield Plain(info=run.info, data=run.data, metrics=metrics, files=contents)

    return uri, lambda name: list(runs(name))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder of results: two settings, two programmings."""
    out = tmp_path_factory.mktemp("tracking") / "toy"
    toy_study.run(out, 2)
    return out


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_every_trial_is_a_run_with_its_numbers(store, study):
    uri, runs = store
    done = results.to_mlflow(study, uri)
    assert done == ("toy", 4, 0, 0)
    table = results.load(study)
    found = {run.data.tags[tracking.IDENTITY]: run for run in runs("toy")}
    assert len(found) == 5
    for name, rows in table.groupby("identity"):
        run = found.pop(name)
        assert run.info.status == "FINISHED"
        assert run.data.params["seed"] == str(rows["seed"].iloc[0])
        assert run.data.params["core.adc.bits"] == str(rows["core.adc.bits"].iloc[0])
        assert run.data.params["preset"] == "hermes-odp"
        assert run.data.tags["aimc_sim.spec_id"] == rows["spec_id"].iloc[0]
        for method, part in rows.groupby("compensation"):
            wanted = sorted(zip(part["time_seconds"].astype(int), part["accuracy"], strict=True))
            assert run.metrics[f"accuracy.{method}"] == wanted
        assert json.loads(run.files[f"{rows['spec_id'].iloc[0]}.json"])
    (head,) = found.values()
    assert head.data.params["studies"] == "toy"
    assert any(json.loads(text).get("name") == "toy" for text in head.files.values())


def test_a_second_export_adds_nothing_and_a_grown_folder_what_is_missing(store, study, tmp_path):
    uri, runs = store
    out = tmp_path / "grown"
    toy_study.run(out, 1)
    assert results.to_mlflow(out, uri, "mine")[1:] == (2, 0, 0)
    before = {run.info.run_id: (run.metrics, run.files) for run in runs("mine")}
    assert results.to_mlflow(out, uri, "mine")[1:] == (0, 2, 0)
    assert {run.info.run_id: (run.metrics, run.files) for run in runs("mine")} == before
    (out / "report.html").write_text("page")  # and its page is written, once
    toy_study.run(out, 2)
    assert results.to_mlflow(out, uri, "mine")[1:] == (2, 2, 0)
    after = {run.info.run_id: run for run in runs("mine")}
    assert before.keys() < after.keys()
    assert [run.files["report.html"] for run in after.values() if "report.html" in run.files] == [
        b"page"
    ]
    parents = {run.data.tags.get("mlflow.parentRunId") for run in after.values()}
    assert len(parents - {None}) <= 2  # a run for each set of studies


def test_a_folder_that_gets_a_second_study_is_exported_to_a_named_experiment(
    store, tmp_path, monkeypatch
):
    """Its trials would be written again if the experiment changed its name with the studies."""
    uri, _ = store
    out = tmp_path / "two"
    toy_study.run(out, 1)
    assert results.to_mlflow(out, uri) == ("toy", 2, 0, 0)
    monkeypatch.setitem(toy_study.STUDY, "name", "other")
    toy_study.run(out, 2)
    with pytest.raises(ValueError, match=r"holds the studies other, toy: name the experiment"):
        results.to_mlflow(out, uri)
    assert results.to_mlflow(out, uri, "toy") == ("toy", 2, 2, 0)


def test_a_run_that_was_left_unfinished_is_written_again(store, study):
    uri, runs = store
    results.to_mlflow(study, uri)
    (first, *_) = [run for run in runs("toy") if "mlflow.parentRunId" in run.data.tags]
    if isinstance(sys.modules["mlflow.tracking"], Plain):
        first.info.status = "RUNNING"
    else:
        from mlflow.tracking import MlflowClient

        MlflowClient(uri).update_run(first.info.run_id, status="RUNNING")
    assert results.to_mlflow(study, uri)[1:] == (1, 3, 1)
    trials = [run for run in runs("toy") if "mlflow.parentRunId" in run.data.tags]
    assert len({run.data.tags[tracking.IDENTITY] for run in trials}) == len(trials) == 4
    assert first.info.run_id not in {run.info.run_id for run in trials}


def test_times_of_one_second_are_numbered(study, monkeypatch):
    record = next(iter(tracking.results_folder.read([study]).trials.values()))
    for number, time in enumerate(sorted({row["time_seconds"] for row in record["rows"]})):
        for row in record["rows"]:
            row["time_seconds"] = (
                0.1 * number if row["time_seconds"] == time else row["time_seconds"]
            )
    run = tracking._trial(study, record)
    assert {step for *_, step in run.metrics} == {0, 1}
    assert run.tags["aimc_sim.steps"] == "numbers"
    assert run.tags["aimc_sim.times"] == "0.0 0.1"


def test_only_files_of_the_folder_are_sent(study):
    """A record that somebody else wrote names no file elsewhere."""
    record = next(iter(tracking.results_folder.read([study]).trials.values()))
    assert len(tracking._trial(study, record).artefacts) == 2
    assert len(tracking._trial(study, record | {"spec_id": "../specs/x"}).artefacts) == 1


def test_what_cannot_be_is_refused(store, study, tmp_path, call):
    uri, _ = store
    with pytest.raises(FileNotFoundError, match="holds no results of a study"):
        results.to_mlflow(tmp_path, uri)
    with pytest.raises(ValueError, match=r"uri = 'runs\.db': wanted the address of an MLflow"):
        results.to_mlflow(study, "runs.db")
    code, _, errors = call("export", tmp_path, "--mlflow", uri)
    assert code == 2
    assert "holds no results" in errors


def test_the_command_says_how_many(store, study, call):
    uri, _ = store
    code, out, errors = call("export", study, "--mlflow", uri, "--experiment", "by command")
    assert code == 0, errors
    assert f"experiment 'by command' at {uri}: 4 trials added, 0 were there" in out
    assert "0 trials added, 4 were there" in call(
        "export", study, "--mlflow", uri, "--experiment", "by command"
    )[1]  # fmt: skip


@pytest.mark.skipif(not HAS_MLFLOW, reason="mlflow is not installed: pip install '.[tracking]'")
def test_mlflow_speaks_in_one_line(study, tmp_path, call):
    code, _, errors = call("export", study, "--mlflow", f"file://{tmp_path}/runs")
    assert code == 2
    assert errors.startswith("error: MLflow at file://")
    assert len(errors.splitlines()) == 1


def test_without_mlflow_it_says_how_to_install_it(study, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    code, _, errors = call("export", study, "--mlflow", "http://localhost:5000")
    assert code == 2
    assert "pip install 'aimc-sim[tracking]'" in errors
