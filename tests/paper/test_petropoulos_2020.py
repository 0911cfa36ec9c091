"""Devices under the 25 uS laws against closed forms, small; both validation scripts, quick.

The closed forms stand in ``validation/pcm_25us_law.py``, apart from the package; here they are
first held against published-law numbers computed elsewhere, then against simulated devices.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA

from aimc_sim import presets
from aimc_sim.rng import Key

VALIDATION = Path(__file__).resolve().parents[2] / "validation"
HOUR, DAY, YEAR = 3600.0, 86400.0, 31_536_000.0
TIMES = (1.0, 1e3, 1e6)
DEVICES = 40_000


@pytest.fixture
def script(monkeypatch):
    """Import a file of the validation folder as its scripts do."""
    monkeypatch.syspath_prepend(VALIDATION)
    return importlib.import_module


@pytest.mark.parametrize(
    ("g", "t", "mean", "drift", "noise"),
    [
        (5.0, HOUR, 3.87925, 0.28712, 0.11936),
        (12.5, DAY, 8.31267, 0.55732, 0.07024),
        (25.0, 1.0, 24.94031, 0.00973, 0.03687),
        (25.0, YEAR, 12.50487, 1.43231, 0.04961),
    ],
)
def test_moments_against_table(script, g, t, mean, drift, noise):
    """Mean, spread by drift (uS) and relative noise: computed from the laws, five digits."""
    law = script("pcm_25us_law")
    x = np.array([g / 25])
    m1, m2 = 1e6 * law.moments(x, t)[0, 0], 1e12 * law.moments(x, t)[1, 0]
    # The table leaves out the absolute value in nu (1e-5 at 5 uS, where mu / sigma is 3.5).
    assert m1 == pytest.approx(mean, rel=2e-5)
    programming = 1e6 * law.sigma_programming(x[0]) / g
    parts = (1 + programming**2) * (1 + (drift / mean) ** 2) * (1 + noise**2)
    assert m2 / m1**2 == pytest.approx(parts, rel=1e-4)  # digits of the table


def test_moments_at_zero(script):
    """Target 0: half of a normal is cut off, mean 0.10511 and spread 0.15382 uS, before noise."""
    law = script("pcm_25us_law")
    m1, m2 = law.cut_normal_moments(np.zeros(1), law.sigma_programming(np.zeros(1)))[:2, 0]
    assert 1e6 * m1 == pytest.approx(0.10511, abs=1e-5)
    assert 1e6 * np.sqrt(m2 - m1**2) == pytest.approx(0.15382, abs=1e-5)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("x", [0.0, 0.01, 0.1, 1.0])
def test_moments_against_draws(script, rng, x, t):
    """All four moments of plain numpy draws, within five of their own standard errors."""
    law = script("pcm_25us_law")
    g = 1e6 * law.draw_from_law(np.full(200_000, x), t, rng)
    exact = law.moments(np.array([x]), t)[:, 0] * 1e6 ** np.arange(1, 5)
    for k in (1, 2, 3, 4):
        error = (g**k).std() / np.sqrt(g.size)
        assert abs((g**k).mean() - exact[k - 1]) < 5 * error, k


def followed(script, spec, seed):
    """Return the checks of one small array: weights 0, 0.1, ..., 1 of either sign."""
    pairs, law = script("differential_pairs"), script("pcm_25us_law")
    weight = np.repeat(np.linspace(-1, 1, 21), DEVICES // 8).reshape(21, -1)
    array = pairs.program_array(weight, spec, Key(seed))
    x = pairs.states([array])
    groups = {level: np.flatnonzero(np.isclose(x, level)) for level in np.linspace(0, 1, 11)}
    assert sum(index.size for index in groups.values()) == x.size
    return [
        law.check(array.at(t).ravel()[index], x[index], t)
        for t in TIMES
        for index in groups.values()
    ]


def test_array_follows_the_law(script, key):
    """Means and spreads of 11 levels at 3 times within 5 standard errors, n = 5,000 or more."""
    spec = script("differential_pairs").array_spec()
    checks = followed(script, spec, key.seed)
    assert min(c.devices for c in checks) >= 5000
    assert max(c.worst for c in checks) < 5


@pytest.mark.parametrize(
    "change",
    [{"drift.scale": 1.05}, {"programming.scale": 1.1}, {"read_noise.scale": 1.2}],
    ids=str,
)
def test_wrong_laws_are_noticed(script, key, change):
    """Exponents 5 %, programming errors 10 % or read noise 20 % off are rejected."""
    spec = script("differential_pairs").array_spec()
    assert max(c.worst for c in followed(script, spec.with_(change), key.seed)) > 5


def test_missing_read_noise_is_refused(script, key):
    """With the preset's own band a part of the noise is not in the conductances."""
    pairs = script("differential_pairs")
    array = pairs.program_array(np.eye(3), presets.pcm_25_microsiemens(), key)
    with pytest.raises(ValueError, match="band = 'frozen'"):
        array.at(DAY)


def test_mnist_is_read(script):
    folder = SHARED_DATA / "mnist"
    if not folder.exists():
        pytest.skip(f"no MNIST files in {folder}")
    test = script("mnist_perceptron").read_mnist(folder, "test")
    assert test.images.shape == (10_000, 784)
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("joshi_2020", {"rows.csv", "stamp.json", "table.md", "laws.png"}),
        (
            "petropoulos_2020",
            {"rows.csv", "stamp.json", "table.md", "accuracy.csv", "conductance_vs_time.png",
             "quantiles.png", "accuracy.png"},
        ),
    ],
)  # fmt: skip
def test_script_runs(name, files, tmp_path, run_script):
    """The quick run exits with an error if a row is off that is no prediction."""
    code, text = run_script(VALIDATION / f"{name}.py", "--quick", "--out", tmp_path)
    assert code == 0, text
    assert {path.name for path in tmp_path.iterdir()} == files
    # The course within the first minute is a prediction of the 25 uS model, and a wrong one.
    assert text.count("**off**") == (name == "joshi_2020")
