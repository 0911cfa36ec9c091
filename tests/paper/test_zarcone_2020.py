"""Measured PCM devices: seven of them, and the share of the variance that lies between them."""

import numpy as np
import pytest
from conftest import SHARED_DATA

from aimc_sim.analysis.fit import fit
from aimc_sim.device.measured import MeasuredData, importer, replay

FOLDER = SHARED_DATA / "measured"
pytestmark = pytest.mark.skipif(
    not (FOLDER / "pcm_zarcone_PCM_20140605.csv.gz").is_file(),
    reason=f"the measured devices of Zarcone 2020 are not at {FOLDER}",
)


@pytest.fixture(scope="module")
def devices():
    path = FOLDER / "pcm_zarcone_PCM_20140605.csv.gz"
    return importer.read_table(path, "device=Device,pulse_volts=V[V],resistance=R[ohm]").data


@pytest.fixture(scope="module")
def levels():
    path = FOLDER / "pcm_zarcone_Partial_Reset_PCM.csv.gz"
    return importer.read_table(path, "device=@0,pulse_volts=V[V],resistance=R[ohm]").data


def test_the_files_are_read_whole(devices, levels):
    assert (len(devices), len(levels)) == (83_931, 15_200)
    assert len(np.unique(devices.pulse_volts)) == 101
    assert 1 / devices.conductance_siemens.max() == pytest.approx(26.8e3, rel=1e-2)
    assert 1 / devices.conductance_siemens.min() == pytest.approx(573e3, rel=1e-2)


def test_variance_between_devices_and_cycles(devices):
    """Independent decoding of the same file: 0.1052 and 0.0584 decades, a share of 76 %."""
    found = fit(devices)
    assert found.value("variance split", "sd between devices").value == pytest.approx(
        0.1052, abs=2e-4
    )
    assert found.value("variance split", "sd between cycles").value == pytest.approx(
        0.0584, abs=1e-4
    )
    share = found.value("variance split", "share between devices")
    assert share.value == pytest.approx(0.76, abs=0.005)
    assert 0.02 < share.standard_error < 0.1  # seven devices say no more


def test_a_ten_percent_smaller_spread_between_devices_is_noticed(devices):
    """Each device is moved a tenth of the way to the mean of all."""
    columns = dict(devices.columns())
    log_g = np.log10(columns["conductance_siemens"])
    for volts in np.unique(columns["pulse_volts"]):
        here = columns["pulse_volts"] == volts
        for device in range(7):
            mine = here & (columns["device"] == device)
            log_g[mine] += 0.1 * (log_g[here].mean() - log_g[mine].mean())
    changed = MeasuredData.of(**columns | {"conductance_siemens": 10**log_g})
    share = fit(changed).value("variance split", "share between devices")
    assert share.value != pytest.approx(0.76, abs=0.005)


def test_spread_per_level(levels):
    """sd(log10 R) of 40 levels: nearly all in 0.02 .. 0.12; the steep edge at 2.5 V has more."""
    spread = [
        np.log10(levels.conductance_siemens[levels.pulse_volts == v]).std(ddof=1)
        for v in np.unique(levels.pulse_volts)
    ]
    assert np.quantile(spread, [0.05, 0.95]) == pytest.approx([0.02, 0.12], abs=0.005)
    assert max(spread) == pytest.approx(0.175, abs=0.001)


def test_the_replay_has_the_quantiles_of_its_level(levels, key):
    """65,536 elements: a quantile of the replay lies within 5 x 0.5 / 256 of its probability."""
    lib = replay.library(levels)
    assert lib.levels_by == "pulse"
    level = len(lib.level_siemens) // 2
    target = np.full((1, 256, 256), lib.level_siemens[level], np.float32)
    words = np.array(key.words())
    trace = replay.draw(lib, target, target > 0, (256, 65536), words)
    played = replay.conductance(lib, target, trace, 0.0).ravel()
    first, last = lib.level_starts[level : level + 2]
    sample = lib.conductance_siemens[first:last]
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        share = (sample <= np.quantile(played, p) * (1 + 1e-6)).mean()
        assert share == pytest.approx(p, abs=0.01 + 1 / len(sample))
