"""Studies on real processes: schedulers and workers on loopback, killed in the middle."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import toy_study
import yaml

from aimc_sim import results
from aimc_sim.studies import inputs, pools, schema
from aimc_sim.studies import sweep as sweep_module

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 300
PROGRAMMINGS = 6  # of two settings


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the study in it, where nothing of the tests can be imported by chance."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "toy_study.py").write_text((TESTS / "toy_study.py").read_text())
    study = {**toy_study.STUDY, "programmings": PROGRAMMINGS}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder


def command(place, *more, study="study.yaml"):
    return [sys.executable, "-m", "aimc_sim", "sweep", str(place / study), *map(str, more)]


def environment(**more):
    return {**os.environ, "PYTHONWARNINGS": "default", "COLUMNS": "200", **more}


def sweep(place, *more, code=0, **options):
    done = subprocess.run(
        command(place, *more, **options), capture_output=True, text=True, timeout=PATIENCE,
        env=environment(), cwd=place,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def expected(place):
    """The table as this process makes it."""
    toy_study.run(place / "expected", PROGRAMMINGS)
    return tables(place / "expected")


def tables(folder):
    # What ran it may differ, what came out may not.
    return results.load(folder), results.load_layers(folder)


def check_same(folder, expected):
    for found, wanted in zip(tables(folder), expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def wait_for(condition, what):
    begin = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - begin < PATIENCE, f"no {what}"
        time.sleep(0.05)
    return found


def written(folder):
    """Complete records in a folder."""
    return sum(p.read_bytes().count(b"\n") for p in (folder / "trials").glob("*.jsonl"))


@contextmanager
def process(*arguments, **more):
    """A process of our own that is gone at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], env=environment(**more),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def scheduler(place):
    """A scheduler in a process of its own; gives its address."""
    file = place / f"scheduler-{time.monotonic_ns()}.json"
    arguments = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file, "--no-dashboard")
    with process("distributed.cli.dask_scheduler", *arguments):
        text = wait_for(lambda: file.exists() and file.read_text(), "scheduler")
        yield re.search(r"tcp://[\d.]+:\d+", text).group()


@contextmanager
def worker(place, address, **more):
    """A worker without a nanny: what is killed stays dead."""
    arguments = ("--no-nanny", "--nthreads", 1, "--no-dashboard", "--local-directory", place / "w")
    with process("distributed.cli.dask_worker", address, *arguments, **more) as running:
        yield running


@pytest.mark.slow
def test_an_interrupted_sweep_of_two_workers_goes_on_to_the_table_of_one_process(place):
    """Of so many trials that not all are over when the interrupt comes, on a busy machine too."""
    out, many = place / "interrupted", 10 * PROGRAMMINGS
    study = {**toy_study.STUDY, "programmings": many}
    (place / "long.yaml").write_text(yaml.safe_dump(study))
    with subprocess.Popen(
        command(place, "--out", out, "--workers", 2, study="long.yaml"), env=environment(),
        cwd=place,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as client:  # fmt: skip
        wait_for(lambda: (out / "trials").is_dir() and written(out) >= 1, "record")
        os.killpg(client.pid, signal.SIGINT)  # as a terminal does: the workers too
        _, stderr = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130
    told = [line for line in stderr.splitlines() if line and not line.startswith("running")]
    assert len(told) == 1, stderr
    safe = int(re.search(r"interrupted: (\d+) trials are safe", stderr).group(1))
    assert safe == written(out)
    with pytest.raises(ProcessLookupError):  # nobody of its process group is left
        wait_for(lambda: os.killpg(client.pid, 0), "end")
    done = sweep(place, "--out", out, "--workers", 2, study="long.yaml")
    assert f"{2 * many - safe} trials run, {safe} found" in done.stdout
    toy_study.run(place / "expected_long", many)
    check_same(out, tables(place / "expected_long"))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_survived(place, expected):
    out = place / "killed_worker"
    with (
        scheduler(place) as address,
        worker(place, address) as victim,
        subprocess.Popen(
            command(place, "--out", out, "--scheduler", address), env=environment(), cwd=place,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as client,
    ):  # fmt: skip
        wait_for(lambda: (out / "trials").is_dir() and written(out) >= 2, "second record")
        victim.kill()  # in the middle of a trial
        victim.wait()
        before = written(out)
        assert before < 2 * PROGRAMMINGS
        with worker(place, address):  # joins later, is sent network and images
            stdout, stderr = client.communicate(timeout=PATIENCE)
        assert client.returncode == 0, stderr
        assert f"{2 * PROGRAMMINGS} trials run" in stdout
    check_same(out, expected)


@pytest.mark.slow
def test_five_kills_at_random_moments_end_with_the_same_table(place, expected, rng):
    server = multiprocessing.get_context("forkserver")  # imports once, then forks in no time
    server.set_forkserver_preload(["aimc_sim.studies.work", "aimc_sim.studies.sweep", "sklearn"])
    out, kills = place / "killed", 0
    for _ in range(5):
        client = server.Process(target=toy_study.run, args=(out, PROGRAMMINGS))
        client.start()
        before = written(out)
        while client.is_alive() and written(out) == before:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, 0.3)))
        kills += client.is_alive()
        client.kill()
        client.join()
        assert client.exitcode in (0, -signal.SIGKILL)
    assert kills >= 1
    toy_study.run(out, PROGRAMMINGS)
    check_same(out, expected)


@pytest.mark.slow
def test_other_code_on_a_worker_is_refused_with_one_sentence(place, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import aimc_sim.studies.identity as i\ni.physics = lambda: 'f' * 64\n"
    )
    with (
        scheduler(place) as address,
        worker(place, address, PYTHONPATH=str(tmp_path)),
    ):
        done = sweep(place, "--out", place / "mismatch", "--scheduler", address, code=2)
    assert re.search(r"error: the worker tcp://\S+ has aimc_sim \S+, physics f{12}", done.stderr)
    assert "Traceback" not in done.stderr
    assert written(place / "mismatch") == 0


@pytest.mark.slow
def test_a_trial_that_eats_its_memory_is_given_up_and_the_others_go_on(place, expected):
    study = schema.make_study(toy_study.STUDY)
    given = inputs.gather(study)
    with pools.local(given, 1, "1.2 GB") as pool:
        pool._run = toy_study.hungry
        progress = sweep_module.sweep(study, given, pool, place / "hungry")
    assert (progress.done, progress.failed) == (5, 1)
    assert "its worker died, also when the trial was alone" in progress.reasons[0]
    assert toy_study.run(place / "hungry", PROGRAMMINGS) is None  # the rest, and the failed one
    check_same(place / "hungry", expected)


def test_nobody_at_the_address_is_one_sentence(monkeypatch):
    monkeypatch.setattr(pools, "PATIENCE_SECONDS", 2)
    with (
        pytest.raises(pools.ClusterError, match=r"no Dask scheduler answers at 'tcp://127.*:9'"),
        pools.remote(None, "tcp://127.0.0.1:9"),
    ):
        pass
