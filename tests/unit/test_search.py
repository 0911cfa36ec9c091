"""Searches: what a file says, what a proposal means, which trials come, who stands on the front."""

import itertools
import json

import numpy as np
import pytest
import toy_study
import yaml

from aimc_sim import mapping, presets, results
from aimc_sim.analysis import performance
from aimc_sim.search import front, schema, space
from aimc_sim.search.costs import IMAGES, CostBook, Costs
from aimc_sim.search.feed import SearchFeed
from aimc_sim.studies import inputs, statistics

SEARCH = {
    "network": "toy_study:network",
    "data": {"name": "toy_study:data", "calibration": 64},
    "preset": "hermes-odp",
    "knobs": {"core.adc.bits": {"low": 4, "high": 9}, "core.rows": [64, 128, 256]},
    "programmings": 2,
    "trials": 24,
    "batch": 6,
}


def made(**changes):
    return schema.make_search({**SEARCH, **changes})


@pytest.fixture(scope="module")
def given():
    return inputs.gather(made().study())


# ------------------------------------------------------------------------------- the file


def test_yaml_and_python_say_the_same(tmp_path):
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    (tmp_path / "search.py").write_text(f"search = {SEARCH!r}")
    found = schema.load_search(tmp_path / "search.yaml")
    assert found == schema.load_search(tmp_path / "search.py") == made()
    assert schema.changed(found, trials=7).knobs == found.knobs
    assert schema.changed(found, trials=7).trials == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"knob": {}}, "no key 'knob'; did you mean 'knobs'?"),
        ({"knobs": {}}, "knobs: "),
        ({"knobs": {"core.rows": []}}, "knobs.core.rows.values"),
        ({"knobs": {"core.rows": {"low": 9, "high": 8}}}, "the range is empty: low = 9 is above"),
        ({"knobs": {"core.rows": {"low": 0, "high": 8, "log": True}}}, "needs low > 0"),
        ({"knobs": {"core.rows": {"from": 1, "to": 2}}}, "no key 'from'"),
        ({"knobs": {"core.rows": {"low": 1, "high": 8, "step": 0.5}}}, "give a whole number"),
        ({"knobs": {"cores": {"options": {"a": {}}}}}, "'cores' has the name of a column"),
        ({"knobs": {"core.rows": [1], "x": {"options": {"a": {"core.rows": 2}}}}},
         "the knobs 'core.rows' and 'x' both turn 'core.rows'"),
        ({"changes": {"core.rows": 9}}, "'core.rows' is a knob and under changes"),
        ({"objectives": ["acuracy"]}, "no objective 'acuracy'; did you mean 'accuracy'?"),
        ({"constraints": {"core": 9}}, "no objective 'core'; did you mean 'cores'?"),
        ({"constraints": {"accuracy": 95}}, "give a share 0..1, not percent"),
        ({"trials": 10**9}, "trials = 1000000000: "),
        ({"sampler": "random"}, "sampler = 'random'"),
        ({"time": "1 fortnight"}, "unknown unit 'fortnight'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_answered_with_one_sentence(changes, words):
    with pytest.raises(ValueError, match=r"^search: ") as found:
        made(**changes)
    assert words in str(found.value)
    assert "\n" not in str(found.value)
    assert "<" not in str(found.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"knobs": {"core.adc.bit": [7]}}, "did you mean 'core.adc.bits'?"),
        ({"knobs": {"adc.bits": [7]}}, "did you mean 'core.adc.bits'?"),
        ({"knobs": {"compensations": ["gdc"]}}, "did you mean 'compensation'?"),
        ({"knobs": {"x": {"options": {"a": {"core.row": 3}}}}}, "knobs.x.a: the machine has no"),
        ({"changes": {"core.row": 3}}, "changes: the machine has no field 'core.row'; did you"),
        ({"knobs": {"core.adc.bits": {"low": 0, "high": 9}}}, "knobs.core.adc.bits: core.adc.bits"),
        ({"knobs": {"core.read.mode": ["2-phase"]}}, "'2-phase' is not allowed"),
        ({"knobs": {"preset": ["hermes-todp"]}}, "did you mean 'hermes-tdp'?"),
        ({"knobs": {"compensation": ["gcd"]}}, "'gcd' is none of none, gdc, column"),
        ({"knobs": {"preset": {"low": 1, "high": 2}}}, "knobs.preset: wanted a list of names"),
    ],
)
def test_a_knob_that_turns_nothing_is_refused_with_the_nearest(changes, words):
    with pytest.raises((KeyError, ValueError)) as found:
        space.check(made(**changes))
    assert words in str(found.value.args[0])


def test_a_proposal_is_a_machine():
    search = made(
        knobs={
            "core.pcm.g_max_siemens": {"low": 3e-6, "high": 1e-5, "log": True},
            "core.adc.bits": {"low": 4, "high": 9},
            "mapping.replicate": [[], [["layer1.*", 2]]],
            "preset": ["hermes-odp", "hermes-tdp"],
            "compensation": ["none", "column"],
            "wires": {"options": {"no": {}, "calibrated": {"core.adc.range": "calibrated"}}},
        }
    )
    space.check(search)
    found = space.design(
        search,
        {"core.pcm.g_max_siemens": 5.23456789e-6, "core.adc.bits": 7, "mapping.replicate": 1,
         "preset": 1, "compensation": 1, "wires": 1},
    )  # fmt: skip
    assert (found.preset, found.compensation) == ("hermes-tdp", "column")
    spec = found.spec(search)
    assert spec.core.pcm.g_max_siemens == 5.23457e-06  # what is printed
    assert (spec.core.adc.bits, spec.core.adc.range) == (7, "calibrated")
    assert spec.mapping.replicate == (("layer1.*", 2),)
    assert found.name == (
        "hermes-tdp, core.pcm.g_max_siemens=5.23457e-06, core.adc.bits=7, "
        'mapping.replicate=[["layer1.*", 2]], wires=calibrated'
    )


# ------------------------------------------------------------------------------- costs


def test_costs_are_those_of_the_pipeline_and_are_kept(given, tmp_path, monkeypatch):
    spec = presets.by_name("hermes-odp")
    compiled = mapping.compile_network(given.network, spec)
    wanted = performance.performance(compiled, spec, (40,), images=IMAGES)
    book = CostBook(given, "pipelined", tmp_path / "costs")
    found = book.of(spec)
    assert found == Costs(
        wanted.ledger.joules, wanted.pipeline.first_image_seconds, 1 / wanted.ledger.seconds, 2
    )
    (file,) = (tmp_path / "costs").iterdir()
    monkeypatch.setattr(performance, "performance", None)  # not computed again
    assert book.of(spec) == found
    monkeypatch.undo()
    file.write_text(file.read_text()[:20])
    assert book.of(spec) == found
    assert json.loads(file.read_text())["cores"] == 2
    with pytest.raises(ValueError, match="the network needs"):
        book.of(spec.with_({"core.rows": 1}))


# ------------------------------------------------------------------------------- which trials


class Book:
    """Costs by hand: energy rises with the rows."""

    def of(self, spec):
        if spec.core.rows == 64 and spec.core.adc.bits == 4:
            raise ValueError("no such machine")
        return Costs(energy=float(spec.core.rows), latency=1.0, throughput=1.0, cores=1)


def shares(trial):
    """An accuracy that rises with the bits, and by less with the rows."""
    return (0.1 * trial.spec.core.adc.bits + 1e-4 * trial.spec.core.rows + 1e-3 * trial.seed,)


def run(search, given, order, held=None, workers=4):
    """Run a search with as many trials under way as there are workers, answered in any order."""
    held = {} if held is None else held
    feed, waiting, ran = SearchFeed(search, given, Book(), held), [], []
    while True:
        while len(waiting) < workers and (trial := feed.next()):
            waiting.append(trial)
        if not waiting:
            return feed, ran
        trial = waiting.pop(order(len(waiting)))
        ran.append(trial.id)
        held[trial.id] = shares(trial)
        feed.done(trial, held[trial.id])


def told(feed):
    return [(c.number, c.design, c.quality, c.costs, c.reason) for c in feed.candidates]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_the_number_of_workers_and_their_order_change_nothing(given, rng, sampler):
    search = made(sampler=sampler, trials=32)
    one, trials = run(search, given, lambda n: 0, workers=1)
    assert len(trials) == len(set(trials)) == one.total
    for workers in (2, 7):
        other, _ = run(search, given, lambda n: int(rng.integers(n)), workers=workers)
        assert told(other) == told(one)
    different, _ = run(made(sampler=sampler, trials=32, seed=1), given, lambda n: 0)
    assert told(different) != told(one)


def test_a_search_goes_on_from_what_is_held_and_can_be_made_longer(given):
    whole, trials = run(made(), given, lambda n: 0)
    held = {}
    run(made(trials=9), given, lambda n: 0, held)  # ends within a batch
    first = set(held)
    again, rest = run(made(), given, lambda n: 0, held)
    assert told(again) == told(whole)
    assert not first & set(rest)
    assert (first | set(rest)) >= set(trials)
    assert again.reused == len(first & set(trials))


def test_designs_that_repeat_or_cannot_be_need_no_trials(given):
    feed, trials = run(made(trials=60), given, lambda n: 0)
    assert len(feed.candidates) <= 18
    assert len({(c.spec.id(), c.design.compensation) for c in feed.candidates}) == len(
        feed.candidates
    )
    (bad,) = [c for c in feed.candidates if c.reason]
    assert bad.reason == "no such machine"
    assert not bad.identities
    assert len(trials) == 2 * (len(feed.candidates) - 1) == feed.total
    assert feed.most == 120


def test_a_design_over_a_limit_of_its_costs_is_not_run(given):
    feed, trials = run(made(constraints={"energy": 130}), given, lambda n: 0)
    over = [c for c in feed.candidates if c.spec.core.rows == 256]
    assert over
    assert all(
        c.excess(feed.search, feed.goals)["energy"] == pytest.approx(126 / 130) for c in over
    )
    assert not any(c.identities for c in over)
    assert len(trials) == 2 * sum(1 for c in feed.candidates if c.identities)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_the_search_goes_uphill(given, sampler):
    """Downhill, as with a wrong sign, the late designs would be worse than the first ones."""
    knobs = {"core.adc.bits": {"low": 4, "high": 24}, "core.rows": {"low": 100, "high": 400}}
    search = made(knobs=knobs, objectives=["accuracy"], programmings=1, sampler=sampler,
                  trials=120, batch=12)  # fmt: skip
    feed, _ = run(search, given, lambda n: 0)
    late = [c.quality for c in feed.candidates if c.number >= 84]
    early = [c.quality for c in feed.candidates if c.number < 12]
    assert np.mean(late) > np.mean(early) + 0.2
    assert max(late) >= 2.42


def test_a_failed_trial_takes_its_design_out(given):
    feed = SearchFeed(made(trials=2, batch=2), given, Book(), {})
    first = feed.next()
    feed.done(first, None)
    while trial := feed.next():
        feed.done(trial, shares(trial))
    assert feed.candidates[0].reason == "a trial failed"


# ------------------------------------------------------------------------------- the front


def test_exact_fronts_are_those_of_brute_force(rng):
    for n, m in itertools.product((1, 7, 30), (1, 2, 3)):
        gains = rng.integers(0, 6, (n, m)).astype(float)
        gains[rng.random(n) < 0.1] = np.nan
        for i, found in enumerate(front.standings(gains, None)):
            if np.isnan(gains[i]).any():
                assert found.status == "excluded"
                continue
            worse = [
                all(a >= b for a, b in zip(other, gains[i], strict=True)) and list(other) !=
                list(gains[i]) for other in gains if not np.isnan(other).any()
            ]  # fmt: skip
            assert found == front.Standing("dominated" if any(worse) else "front", ())


def bits(*means, images=1000):
    """One row per programming, with that share right."""
    return np.stack([np.arange(images) < round(images * mean) for mean in means])


def test_a_front_says_what_it_does_not_know():
    good = bits(0.90, 0.91, 0.92)
    noisy = bits(0.93, 0.89, 0.93)  # by 0.0067 better than `good`, not surely
    better = bits(0.99, 0.96, 0.99)  # than both in every programming
    found = front.standings(-np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [np.nan]]),
                            [good, noisy, better, good, None, good])  # fmt: skip
    assert [f.status for f in found] == [
        "front", "likely", "front", "dominated", "excluded", "excluded"
    ]  # fmt: skip
    assert found[1].rivals == (0,)
    # Cheaper by nothing and perhaps as good: neither is sure to be on the front.
    found = front.standings(-np.array([[1.0], [1.0]]), [good, noisy])
    assert [(f.status, f.rivals) for f in found] == [("possible", (1,)), ("likely", (0,))]


def test_differences_are_those_of_compare(given, tmp_path):
    toy_study.run(tmp_path / "out", 3)
    table = results.load(tmp_path / "out").query("time_seconds == 3600 and compensation == 'gdc'")
    for few in (3, 1):
        part = table[table["seed"] < few]
        names = sorted(part["setting"].unique())
        wanted = results.compare(part, *names).iloc[0]
        rows = [part[part["setting"] == name].sort_values("seed") for name in names]
        found = front._difference(*(statistics.linear(r) for r in rows), True)
        assert found == pytest.approx((wanted["difference"], wanted["low"], wanted["high"]))
