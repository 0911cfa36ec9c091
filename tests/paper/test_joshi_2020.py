"""The 25 uS laws against the digitised measurements they were fitted to."""

from pathlib import Path

import naive
import numpy as np
import pandas as pd
import pytest

from aimc_sim import presets

POINTS = Path(__file__).resolve().parents[2] / "device_data" / "pcm_25us_digitised.csv"


@pytest.fixture(scope="module")
def residuals():
    spec = presets.pcm_25_microsiemens()
    law = {
        "sigma_prog": lambda x: naive.sigma_programming(x, spec) * 1e6,
        "mu_nu": lambda x: naive.curve(x, spec.drift.exponent_mean),
        "sigma_nu": lambda x: naive.curve(x, spec.drift.exponent_std),
    }
    table = pd.read_csv(POINTS)
    return {
        name: np.array([row.value - law[name](row.x) for row in rows.itertuples()])
        for name, rows in table.groupby("quantity")
    }


def test_programming(residuals):
    r = residuals["sigma_prog"]
    assert np.sqrt((r**2).mean()) == pytest.approx(0.056, abs=0.002)  # RMS found independently
    assert np.abs(r).max() < 0.09


def test_drift(residuals):
    # "visibly high near x = 0.05 to 0.09": the published clip formula, not our reading of it
    assert np.abs(residuals["mu_nu"]).max() < 0.0115
    assert np.abs(residuals["sigma_nu"]).max() < 0.006
