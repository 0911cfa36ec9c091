"""Studies: what a file says, which trials it makes, what is one result and what is another."""

import base64
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy_study
import yaml
from torch import nn

from aimc_sim import Chip, presets
from aimc_sim.runtime import probe
from aimc_sim.studies import feed, identity, inputs, schema, settings, work
from aimc_sim.studies.trial import first_trial


def made(**changes):
    return schema.make_study({**toy_study.STUDY, **changes})


@pytest.fixture(scope="module")
def given():
    found = inputs.gather(made())
    work.install(found)
    return found


@pytest.fixture(scope="module")
def trial(given):
    return first_trial(made(), next(settings.settings(made())), given)


# ------------------------------------------------------------------------------- the file


def written(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def test_yaml_and_python_say_the_same(tmp_path):
    (tmp_path / "study.py").write_text(f"study = {toy_study.STUDY!r}")
    from_yaml = schema.load_study(written(tmp_path, yaml.safe_dump(toy_study.STUDY)))
    assert from_yaml == schema.load_study(tmp_path / "study.py") == made()
    assert from_yaml.times == (0.0, 3600.0)


def test_numbers_of_yaml_are_numbers(tmp_path):
    study = schema.load_study(
        written(tmp_path, "changes: {core.read.v_read_volts: 1e-1, core.dac.bits: null}")
    )
    assert study.changes == {"core.read.v_read_volts": 0.1, "core.dac.bits": None}


def test_paths_are_relative_to_the_file(tmp_path):
    study = schema.load_study(written(tmp_path, "data: {name: cifar10, folder: images}"))
    assert study.data.folder == str(tmp_path / "images")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: hermes", "no key 'preset'; did you mean 'presets'?"),
        ("data: {image: 3}", "data: no key 'image'; did you mean 'images'?"),
        ("programmings: {half_with: 0.1}", "did you mean 'half_width'?"),
        ("times: ['1 fortnight']", "unknown unit 'fortnight'"),
        ("times: [-1]", "must be a finite time >= 0"),
        ("times: []", "times"),
        ("programmings: 0", "programmings"),
        ("programmings: {half_width: 0.1, at_least: 9, at_most: 5}", "at_least = 9 is above"),
        ("compensations: [gcd]", "compensations"),
        ("grid: {core.adc.bits: []}", "grid.core.adc.bits"),
        ("times: [0]\ntimes: [1]", "line 2: the key 'times' is given twice"),
        ("7: 8", "the key 7 is no text"),
        ("- a\n- b", "holds a list; wanted a mapping"),
        ("a: [1", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_answered_with_one_sentence(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"study\.yaml") as found:
        schema.load_study(written(tmp_path, text))
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no study"):
        schema.load_study(tmp_path / "no.yaml")
    (tmp_path / "bad.py").write_text("study = 1 / 0")
    with pytest.raises(ValueError, match=r"bad\.py' fails with ZeroDivisionError"):
        schema.load_study(tmp_path / "bad.py")


# ------------------------------------------------------------------------------- settings


def test_a_grid_is_all_combinations_of_every_preset():
    study = made(
        presets=["hermes-tdp", "hermes-odp"],
        grid={"core.adc.bits": [7, 9], "core.ldpu.bit_true": [True, False]},
        settings=[{"name": "more", "preset": "ideal"}, {"name": "x", "changes": {"core.rows": 99}}],
    )
    found = list(settings.settings(study))
    assert len(found) == settings.count(study) == 2 * 2 * 2 + 1 + 2
    assert settings.trials(study) == 3 * len(found)
    assert [f.name for f in found[:2]] == [
        "hermes-tdp, core.adc.bits=7, core.ldpu.bit_true=True",
        "hermes-tdp, core.adc.bits=7, core.ldpu.bit_true=False",
    ]
    assert found[-1].name == "hermes-odp, x"
    assert found[-1].spec == presets.hermes("odp").with_({"core.rows": 99})
    assert len({f.spec.id() for f in found}) == len(found)


def test_the_size_of_an_absurd_grid_is_known_at_once():
    study = made(grid={f"core.{n}": list(range(2, 1002)) for n in ("rows", "cols", "adc.bits")})
    assert settings.count(study) == 10**9
    assert next(settings.settings(study)).changes["core.rows"] == 2


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"grid": {"core.adc.bit": [7]}}, KeyError, "did you mean 'bits'"),
        ({"presets": "hermes-tpd"}, KeyError, "did you mean 'hermes-tdp'"),
        ({"grid": {"core.adc.bits": [7, 99]}}, ValueError, "grid: core.adc.bits = 99"),
        ({"presets": ["hermes", "hermes-tdp"]}, ValueError, "are the same machine"),
        ({"settings": [{"name": "a"}, {"name": "a"}]}, ValueError, "two settings are named 'a'"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(changes, kind, words):
    with pytest.raises(kind) as found:
        settings.check(made(**changes))
    assert words in found.value.args[0]


def test_adabs_is_one_factor_and_batch_norm_measured_anew():
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8, momentum=1.0), nn.ReLU(), nn.Conv2d(8, 4, 3)
    )
    x = torch.randn(32, 2, 8, 8)
    model.train()(x)  # statistics
    chip = Chip.from_model(model.eval(), presets.hermes("odp")).calibrate(x).program(1)
    images, seen = x.numpy(), {}
    for method in ("none", "gdc", "adabs", "gdc again"):
        work.compensate(chip.at("1 d"), method.removesuffix(" again"), images)
        seen[method] = chip(x, first_image=0)
    by_hand = chip.at("1 d").compensate("gdc").adapt_batch_norm(images)(x, first_image=0)
    assert torch.equal(seen["adabs"], by_hand)
    assert torch.equal(seen["gdc"], seen["gdc again"])
    assert not torch.equal(seen["adabs"], seen["gdc"])
    with torch.no_grad():
        error = {name: float((y - model(x)).norm()) for name, y in seen.items()}
    assert error["adabs"] < error["gdc"] < error["none"]


# ------------------------------------------------------------------------------- identity


def test_everything_that_can_change_an_answer_changes_the_identity(trial):
    spec = trial.spec.with_({"core.adc.bits": 9})
    others = [
        replace(trial, spec=spec), trial.with_seed(1), replace(trial, times=(0.0,)),
        replace(trial, compensations=("gdc",)), replace(trial, probe_images=5),
        replace(trial, layers=("0",)), replace(trial, network_id="0"), replace(trial, data_id="0"),
        replace(trial, physics="0"),
    ]  # fmt: skip
    assert len({t.id for t in [trial, *others]}) == len(others) + 1


def test_names_do_not_change_the_identity(trial):
    spec = trial.spec.with_({"name": "another", "core.adc.source": "somewhere else"})
    assert replace(trial, setting="x", preset="y", changes={"z": 1}, spec=spec).id == trial.id
    assert trial.with_seed(4).with_seed(0).id == trial.id
    assert trial.with_seed(4).id == replace(trial, seed=4).id  # what is kept is not wrong


def test_the_identity_is_inspectable(trial):
    assert json.loads(trial.id_text()) == trial.id_value()
    assert hashlib.sha256(trial.id_bytes()).hexdigest() == trial.id


def test_weights_operations_and_data_are_in_the_hashes(given):
    nodes = given.network.nodes
    linear = next(n for n in nodes if n.op == "linear")
    weight = linear.arrays["weight"].copy()
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    changed = replace(linear, arrays={**linear.arrays, "weight": weight})
    other = replace(given.network, nodes=tuple(changed if n is linear else n for n in nodes))
    assert identity.of_network(other) != given.network_id
    without = [n for n in nodes if n.op != "relu"]
    assert any(n.op == "relu" for n in nodes)
    rewired = [
        replace(n, inputs=tuple("0" if i not in {m.name for m in without} else i for i in n.inputs))
        for n in without
    ]
    other = replace(given.network, nodes=tuple(rewired))
    assert identity.of_network(other) != given.network_id
    a = np.arange(6, dtype=np.float32)
    assert identity.of_arrays({"a": a}) == identity.of_arrays({"a": a[::-1][::-1]})
    assert identity.of_arrays({"a": a}) != identity.of_arrays({"a": a.reshape(2, 3)})
    assert identity.of_arrays({"a": a}) != identity.of_arrays({"b": a})


def test_the_physics_is_the_source_code(monkeypatch, tmp_path):
    package = tmp_path / "p"
    for room in identity.ROOMS:
        (package / room).mkdir(parents=True)
        (package / room / "a.py").write_text(room)
    (package / "studies").mkdir()
    for name in identity.FILES:
        (package / name).write_text(name)
    monkeypatch.setattr(identity, "_PACKAGE", package)
    before = identity.physics.__wrapped__()
    assert identity.physics.__wrapped__() == before
    (package / "core/a.py").write_text("changed")
    assert identity.physics.__wrapped__() != before


# ------------------------------------------------------------------------------- one trial


def test_a_trial_is_what_a_chip_gives_by_hand(given, trial):
    result = work.execute(trial.with_seed(2))
    chip = Chip.from_model(toy_study.network(), trial.spec)
    chip.calibrate(torch.from_numpy(given.calibration)).program(2)
    ideal = Chip(chip.compiled, presets.ideal_devices(trial.spec))
    ideal.ranges = chip.ranges
    ideal.program(0)
    x = torch.from_numpy(given.images)
    places = [(r["time_seconds"], r["compensation"]) for r in result["rows"]]
    assert places == [(0.0, "none"), (0.0, "gdc"), (3600.0, "none"), (3600.0, "gdc")]
    for row in result["rows"]:
        chip.at(row["time_seconds"]).compensate(row["compensation"])
        scores = chip(x).numpy()
        right = scores.argmax(1) == given.targets
        packed = np.frombuffer(base64.b64decode(row["correct_bits"]), np.uint8)
        np.testing.assert_array_equal(np.unpackbits(packed, count=96).astype(bool), right)
        assert row["correct"] == right.sum()
        last = scores[:4]  # the last layer's output is the network's
        reference = ideal(x, first_image=0).numpy()[:4]
        expected = 10 * np.log10((reference**2).sum() / ((last - reference) ** 2).sum())
        assert row["sqnr_db"][-1] == pytest.approx(expected, abs=1e-4)  # float32 sums here
    assert result["layer_names"] == ["0", "2"]
    assert len({row["correct"] for row in result["rows"]}) > 1


@pytest.mark.usefixtures("two_threads")
def test_threads_and_history_do_not_change_a_trial(given, trial):
    def rows(t, threads):
        return work.execute(t, threads)["rows"]

    other = trial.with_seed(1)
    work._chips.clear()
    first = rows(trial, 1), rows(other, 2)
    work._chips.clear()
    second = rows(other, 1), rows(trial, 2)
    assert first == second[::-1]
    assert torch.get_num_threads() == 2  # as before


def test_layers_one_by_one_are_between_ideal_and_all(trial):
    none = work.execute(replace(trial, layers=()))
    assert all(v is None for r in none["rows"] for v in r["sqnr_db"])  # exactly the ideal chip
    every = work.execute(replace(trial, layers=("0", "2")))
    assert every["rows"] == work.execute(trial)["rows"]
    second = work.execute(replace(trial, layers=("2",)))
    assert all(r["sqnr_db"][0] is None and r["sqnr_db"][1] is not None for r in second["rows"])


def test_probing_a_chip_does_not_move_it(given, trial):
    chip = Chip.from_model(toy_study.network(), trial.spec)
    chip.calibrate(torch.from_numpy(given.calibration)).program(0).at("1 h")
    x = torch.from_numpy(given.images)
    expected = chip(x[:8], first_image=0), chip(x[8:16])
    chip.at("1 h")
    seen = probe.layer_outputs(chip, x[:8])
    assert torch.equal(chip(x[:8]), expected[0])
    assert torch.equal(chip(x[8:16]), expected[1])
    np.testing.assert_array_equal(seen["2"], expected[0].numpy())
    assert seen["0"].shape == (8, 60)
    alone = probe.layer_outputs(chip, x[:1])
    np.testing.assert_array_equal(alone["2"], expected[0].numpy()[:1])


def test_other_code_is_refused(trial):
    with pytest.raises(work.VersionMismatch, match="another aimc_sim than the client"):
        work.execute(replace(trial, physics="0" * 64))


def test_sqnr_of_known_errors():
    reference = np.array([3.0, -4.0], np.float32)  # power 25
    assert work.sqnr_db(reference, reference + np.float32(0.5)) == pytest.approx(10 * np.log10(50))
    assert work.sqnr_db(reference, reference) is None


# ------------------------------------------------------------------------------- the feed


def run_feed(study, given, shares, held=None):
    """Finish every trial at once; return the (setting, seed) that were run."""
    found, order = feed.Feed(study, given, held or {}), []
    while (trial := found.next()) is not None:
        order.append((trial.setting.rpartition("=")[2], trial.seed))
        found.done(trial, shares(trial))
    return order, found


def test_seeds_come_first_and_what_is_held_is_left_out(given):
    study = made(first_seed=5)
    order, all_ = run_feed(study, given, lambda t: (0.5,))
    assert order == [("6", 5), ("8", 5), ("6", 6), ("8", 6), ("6", 7), ("8", 7)]
    assert all_.total == 6
    first = first_trial(study, next(settings.settings(study)), given)
    order, rest = run_feed(study, given, lambda t: (0.5,), {first.id: (0.5,)})
    assert ("6", 5) not in order
    assert rest.reused == 1


def test_the_rule_stops_when_intervals_are_narrow(given):
    rule = {"half_width": 0.02, "at_least": 4, "at_most": 11, "batch": 3}
    study = made(programmings=rule)

    def shares(trial):
        noisy = trial.setting.endswith("6")
        return (0.5, 0.5 + (0.1 if noisy else 0.005) * (-1) ** trial.seed)

    order, found = run_feed(study, given, shares)
    assert sorted(s for b, s in order if b == "8") == [0, 1, 2, 3]
    assert sorted(s for b, s in order if b == "6") == list(range(11))
    assert found.total == 15
    assert found.most == 22
    # A sweep that stopped anywhere goes on to the same trials.
    for stop in (1, 5, 9, 14):
        held = {}
        half = feed.Feed(study, given, {})
        for _ in range(stop):
            trial = half.next()
            held[trial.id] = shares(trial)
            half.done(trial, held[trial.id])
        rest, _ = run_feed(study, given, shares, held)
        assert len(rest) == 15 - stop


def test_a_failed_trial_ends_its_setting_under_a_rule(given):
    study = made(programmings={"half_width": 0.001, "at_least": 2, "at_most": 9, "batch": 1})
    order, _ = run_feed(study, given, lambda t: None)
    assert len(order) == 4


# ------------------------------------------------------------------- networks that decide by sizes


class Flat(nn.Module):
    """Fixed to images of 8x8 by the numbers in its code."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 8 * 8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).view(-1, 4 * 8 * 8))


class Numbers(nn.Module):
    """Reads all sizes as numbers, that of the batch too."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x):
        n, _, rows, columns = (int(size) for size in x.shape)
        return self.head(torch.relu(self.conv(x)).view(n, 4, rows * columns).mean(-1))


class Branches(Numbers):
    """Large batches, small images and others are three branches."""

    def forward(self, x):
        y = torch.relu(self.conv(x))
        if x.shape[0] > 20:
            y = -2 * y
        y = 3 * y if x.shape[-1] <= 12 else y[..., ::2, ::2]
        return self.head(y.mean((2, 3)))


class Odd(Numbers):
    """Takes images of one size only, which does not follow from its layers."""

    def forward(self, x):
        if tuple(x.shape[2:]) != (17, 11):
            raise AssertionError
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def sized(kind):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind().eval()


def flat():
    return sized(Flat)


def numbers():
    return sized(Numbers)


def branches():
    return sized(Branches)


def odd():
    return sized(Odd)


def odd_images():
    x = np.random.Generator(np.random.PCG64(1)).integers(0, 255, (40, 3, 17, 11), np.uint8)
    return x[:24], np.arange(24) % 5, x[24:]


def small_images():
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((24 + 32, 3, 8, 8), np.float32)
    return x[:24], np.arange(24) % 5, x[24:]


@pytest.mark.parametrize("build", [flat, numbers, branches])
def test_networks_that_decide_by_sizes_are_recorded_for_those_of_the_data(build):
    study = made(
        network=f"{__name__}:{build.__name__}", times="1 h", compensations="gdc", programmings=1,
        data={"name": f"{__name__}:small_images", "calibration": 32}, grid={}, metric="sqnr",
    )  # fmt: skip
    given = inputs.gather(study)
    work.install(given)
    setting = next(settings.settings(study))
    trial = first_trial(study, setting, given)
    found = work.execute(trial)
    images, _, calibration = (torch.from_numpy(part) for part in small_images())
    chip = Chip.from_model(build(), setting.spec).calibrate(calibration).program(0)
    outputs = chip.at("1 h").compensate("gdc")(images).numpy()
    (row,) = found["rows"]
    wanted = given.metric.scored(outputs, given.targets)
    assert np.array_equal(np.frombuffer(base64.b64decode(row["scores"]), "<f4"), wanted)
    # The errors of the layers on the first four images are those of their own record.
    ideal = Chip.from_model(build(), trial.reference_spec).calibrate(calibration).program(0)
    ideal.ranges = chip.ranges
    errors = {
        name: work.sqnr_db(reference, probe.layer_outputs(chip, images[:4])[name])
        for name, reference in probe.layer_outputs(ideal, images[:4]).items()
    }
    assert dict(zip(found["layer_names"], row["sqnr_db"], strict=True)) == errors
    # All layers physical and none exchanged: the mixed chip is the chip.
    every = replace(trial, layers=tuple(found["layer_names"]))
    (mixed,) = work.execute(every)["rows"]
    assert (mixed["scores"], mixed["sqnr_db"]) == (row["scores"], row["sqnr_db"])


def test_a_network_whose_inputs_do_not_follow_from_its_layers_is_recorded_with_the_data():
    data = {"name": f"{__name__}:odd_images", "calibration": 16}
    found = inputs.gather(made(network=f"{__name__}:odd", data=data))
    assert found.images.dtype == np.float32
    assert found.others == ()
    small = {"name": f"{__name__}:small_images", "calibration": 16}
    with pytest.raises(ValueError, match=r"the network cannot run .*small_images: AssertionError"):
        inputs.gather(made(network=f"{__name__}:odd", data=small))


def test_a_network_of_free_sizes_is_recorded_once(given):
    assert given.others == ()
    assert given.network_id == identity.of_network(given.network)
