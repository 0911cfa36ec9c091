"""Replayed devices: whole measured traces, chosen with equal chances, at the asked level."""

import numba
import numpy as np
import pytest
from scipy import stats

from aimc_sim.device import synthetic
from aimc_sim.device.measured import MeasuredData, reach, replay, sha256, write
from aimc_sim.kernels import threads
from aimc_sim.kernels.philox import philox10
from aimc_sim.presets import pcm_25_microsiemens
from aimc_sim.rng import Key

ADDRESS = (256, 65536)


def measured(levels=(5e-6, 10e-6, 20e-6), devices=6, times=(10.0, 100.0, 1000.0), kind="target"):
    """Traces whose conductances tell which one they are: level + device / 1000 at first."""
    level, device, time = np.meshgrid(levels, np.arange(devices), times, indexing="ij")
    step = np.searchsorted(times, time)
    g = level * (1 + device / 1000) * (1 - 0.1 * step)
    columns = {
        "target": {"target_siemens": level.ravel()},
        "pulse": {"pulse_volts": 1 + 1e5 * level.ravel()},
        "first read": {},
    }[kind]
    number = device if kind != "first read" else device + devices * np.searchsorted(levels, level)
    return MeasuredData.of(
        device=number.ravel().astype(int),
        cycle=np.zeros(device.size, int),
        time_seconds=time.ravel(),
        conductance_siemens=g.ravel(),
        **columns,
    )


def words(key):
    return np.array(key.words())


def full(shape, value):
    return np.full(shape, value, np.float32)


def drawn(lib, target, key, programmed=None, address=ADDRESS):
    programmed = np.ones(target.shape, bool) if programmed is None else programmed
    return replay.draw(lib, target, programmed, address, words(key))


def naive(lib, target, programmed, address, key):
    """The obvious loop."""
    compiled = numba.njit(philox10)
    trace = np.full(target.shape, -1)
    key0, key1 = key.words()
    zero = np.uint32(0)
    for e, r, c in np.ndindex(target.shape):
        if programmed[e, r, c]:
            index = np.uint32(e * address[1] + r * address[0] + c)
            word, other = (int(w) for w in compiled(index, zero, zero, zero, key0, key1)[:2])
            levels, aim = lib.level_siemens, float(target[e, r, c])
            level = int(np.abs(levels - aim).argmin())
            if not lib.neighbours and levels[0] < aim < levels[-1]:
                low = int(np.searchsorted(levels, aim, side="right")) - 1
                level = low + (
                    other / 2**32 < (aim - levels[low]) / (levels[low + 1] - levels[low])
                )
            first, last = lib.level_starts[level], lib.level_starts[level + 1]
            if lib.neighbours:
                first = min(max(level - lib.neighbours // 2, 0), len(lib) - lib.neighbours)
                last = first + lib.neighbours
            trace[e, r, c] = first + (word * int(last - first) >> 32)
    return trace


@pytest.mark.parametrize("kind", ["target", "pulse", "first read"])
def test_the_kernel_is_the_naive_loop(kind, key, rng):
    lib = replay.library(measured(kind=kind, devices=40))
    assert lib.levels_by == kind
    assert lib.neighbours == (8 if kind == "first read" else 0)
    target = rng.uniform(0, lib.g_max_siemens, (2, 5, 7)).astype(np.float32)
    programmed = rng.random(target.shape) < 0.8
    found = drawn(lib, target, key, programmed, (7, 35))
    np.testing.assert_array_equal(found, naive(lib, target, programmed, (7, 35), key))


def test_a_draw_belongs_to_its_place(key, rng, two_threads):
    """Threads, shapes and neighbours change nothing; another key changes (nearly) everything."""
    lib = replay.library(measured())
    target = rng.choice(np.float32(lib.level_siemens), (2, 64, 256))
    whole = drawn(lib, target, key)
    part = drawn(lib, target[:1, :10, :100], key)
    np.testing.assert_array_equal(whole[:1, :10, :100], part)
    threads.set_threads(1)
    np.testing.assert_array_equal(whole, drawn(lib, target, key))
    assert (whole != drawn(lib, target, key.child(1))).mean() > 0.7  # 5 of 6 by chance


def test_all_traces_of_a_level_have_the_same_chance(key):
    lib = replay.library(measured())
    trace = drawn(lib, full((1, 256, 256), 10e-6), key)
    counts = np.bincount(trace.ravel(), minlength=len(lib))
    assert set(np.flatnonzero(counts)) == set(range(6, 12))  # the second of three levels
    assert stats.chisquare(counts[6:12]).pvalue > 1e-6
    biased = counts[6:12] + np.array([1100, -220, -220, -220, -220, -220])  # 10 % more of one
    assert stats.chisquare(biased).pvalue < 1e-6


def test_at_its_level_an_element_is_the_trace(key):
    lib = replay.library(measured())
    target = full((1, 32, 32), 10e-6)
    trace = drawn(lib, target, key)
    for t, share in ((10.0, 1.0), (100.0, 0.9), (1000.0, 0.8)):
        g = replay.conductance(lib, target, trace, t)
        true = 10e-6 * (1 + lib.device[trace] / 1000) * share
        np.testing.assert_allclose(g, true, rtol=2e-7)  # float32


def kept(levels, share=0.6, errors=(-0.4e-6, 0.4e-6), final=1000.0):
    """Noiseless traces: an error at first, then every one keeps a share of what it had."""
    level, error, time = np.meshgrid(levels, errors, (10.0, 100.0, final), indexing="ij")
    device = np.broadcast_to(np.arange(len(errors))[:, None], level.shape[1:])
    course = np.where(time == 10, 1, np.where(time == 100, share**0.5, share))
    return MeasuredData.of(
        device=np.tile(device.ravel(), len(levels)), cycle=np.zeros(level.size, int),
        time_seconds=time.ravel(), target_siemens=level.ravel(),
        conductance_siemens=((level + error) * course).ravel(),
    )  # fmt: skip


@pytest.mark.parametrize("target", [2e-6, 10e-6, 14.9e-6, 15e-6, 15.1e-6, 20e-6])
def test_a_drift_keeps_its_share_at_every_target(target, key):
    """Traces that keep 0.600 of themselves: 2 uS becomes 1.200, not 0 and not 2 - 4 uS."""
    lib = replay.library(kept((10e-6, 20e-6)))
    aims = full((1, 64, 64), target)
    trace = drawn(lib, aims, key)
    first, last = (replay.conductance(lib, aims, trace, t).astype(float) for t in (10.0, 1000.0))
    np.testing.assert_allclose(last, 0.6 * first, rtol=1e-6)
    error = 0.4e-6 if target >= lib.lowest_siemens else first.max() - target
    assert sorted(set(np.round((first - target).ravel() * 1e9))) == [-error * 1e9, error * 1e9] or (
        target < lib.lowest_siemens and 0 <= error <= 0.4e-6 * (1 + 1e-6)
    )


def test_between_levels_spread_and_course_are_interpolated(key):
    """Levels with other spreads and other drifts; a quarter of the way has a quarter of each."""
    low = kept((10e-6,), 0.5, (-0.2e-6, 0.2e-6)).columns()
    high = kept((20e-6,), 0.7, (-0.6e-6, 0.6e-6)).columns()
    lib = replay.library(MeasuredData.of(**{k: np.concatenate([low[k], high[k]]) for k in low}))
    target = full((1, 256, 256), 12.5e-6)
    trace = drawn(lib, target, key)
    first, last = (replay.conductance(lib, target, trace, t).astype(float) for t in (10.0, 1000.0))
    n = target.size
    share = (last / first).mean()
    assert share == pytest.approx(0.55, abs=5 * 0.2 * np.sqrt(3) / 4 / np.sqrt(n))
    assert share != pytest.approx(0.56, abs=5 * 0.2 * np.sqrt(3) / 4 / np.sqrt(n))
    variance = (0.75 * 0.2**2 + 0.25 * 0.6**2) * 1e-12  # linear between levels
    assert first.var() == pytest.approx(variance, rel=0.05)


def test_below_the_lowest_level_the_error_follows_the_trend(key):
    """Spreads 1, 2, 3 (of 0.2 uS) at 10, 20, 30 uS: a parabola through them is 0 at zero."""
    parts = [kept((level,), 0.6, (-s, s, -s, s, -s, s)).columns()
             for level, s in ((10e-6, 0.2e-6), (20e-6, 0.4e-6), (30e-6, 0.6e-6))]  # fmt: skip
    lib = replay.library(
        MeasuredData.of(**{k: np.concatenate([p[k] for p in parts]) for k in parts[0]})
    )
    assert lib.shrunk == pytest.approx(0, abs=1e-6)
    target = full((1, 32, 32), 5e-6)
    first = replay.conductance(lib, target, drawn(lib, target, key), 10.0)
    np.testing.assert_allclose(np.abs(first - 5e-6), 0.1e-6, rtol=1e-4)


def test_traces_that_have_no_ratio_add_their_reads(key):
    """Target zero, read with noise around it: between it and 10 uS reads are added to the mean."""
    columns = kept((10e-6,), errors=(0.0,) * 6).columns()
    noise = np.array([-0.1e-6, 0.1e-6, 0.2e-6])
    zero = {
        "device": np.repeat(np.arange(6), 3), "cycle": np.zeros(18, int),
        "time_seconds": np.tile([10.0, 100.0, 1000.0], 6), "target_siemens": np.zeros(18),
        "conductance_siemens": np.tile(noise, 6),
    }  # fmt: skip
    lib = replay.library(
        MeasuredData.of(**{k: np.concatenate([columns[k], zero[k]]) for k in zero})
    )
    target = full((1, 64, 64), 4e-6)
    trace = drawn(lib, target, key)
    own = ~lib.has_ratio[trace]
    assert own.mean() == pytest.approx(0.6, abs=5 * 0.5 / 64)
    for t, kept_share, added in ((10.0, 1.0, -0.1e-6), (1000.0, 0.6, 0.2e-6)):
        g = replay.conductance(lib, target, trace, t)
        np.testing.assert_allclose(g[own], 4e-6 * kept_share + added, rtol=1e-6)
        np.testing.assert_allclose(g[~own], 4e-6 * kept_share, rtol=1e-6)


def test_continuous_targets_are_drawn_around_the_target(key, rng):
    """2,000 devices with targets of their own: elements asked for 10 uS are 64 traces, not one."""
    spec = pcm_25_microsiemens()
    targets = rng.uniform(1e-6, 25e-6, 2000)
    lib = replay.library(synthetic.scattered(spec, targets, (20.0, 1e3, 1e5), key))
    assert (lib.levels_by, lib.neighbours) == ("target", 64)
    assert lib.width_siemens == pytest.approx(63 / 2000 * 24e-6, rel=0.1)
    assert lib.g_max_siemens == targets.max()
    target = full((1, 64, 64), 10e-6)
    trace = drawn(lib, target, key)
    assert len(np.unique(trace)) == 64
    start = replay.conductance(lib, target, trace, 20.0)
    sigma = 0.26348e-6 + 1.9650e-6 * 0.4 - 1.1731e-6 * 0.16
    noisy = np.hypot(sigma, 10e-6 * 0.0088 * 0.4**-0.65 * 4.18)
    assert start.std() == pytest.approx(noisy, rel=5 / np.sqrt(2 * 64))
    assert abs(lib.trace_level_siemens[trace] - 10e-6).max() < lib.width_siemens


def test_below_continuous_targets_the_error_follows_the_trend(key, rng):
    """Targets from 12 to 25 uS, error a tenth of the target: at 3 uS it is 0.3 uS, not 1.2."""
    spec = pcm_25_microsiemens().with_(
        {"programming.polynomial_siemens": (0.0, 2.5e-6, 0.0, 0.0), "read_noise": None}
    )
    targets = rng.uniform(12e-6, 25e-6, 8000)
    lib = replay.library(synthetic.scattered(spec, targets, (20.0, 1e3, 1e5), key))
    assert lib.edge_siemens == pytest.approx(targets[np.argsort(targets)[:64]].mean())
    target = full((1, 64, 64), 3e-6)
    start = replay.conductance(lib, target, drawn(lib, target, key), 20.0)
    # 64 traces: their spread is known to 9 %; the parabola through all groups to about as much
    assert start.std() == pytest.approx(0.3e-6, rel=0.5)
    assert reach.reach(lib).std_at_zero < 0.3 * reach.reach(lib).std_at_lowest


def test_the_noise_of_the_reads_is_no_programming_error(key):
    """Exact programming, 5 % noise per read, 9 reads: what is called error is below 1 %."""
    times = np.geomspace(10, 1e5, 9)
    noise = key.generator().normal(0, 0.05, (400, 9))
    data = MeasuredData.of(
        device=np.repeat(np.arange(400), 9), cycle=np.zeros(3600, int),
        time_seconds=np.tile(times, 400), target_siemens=np.full(3600, 10e-6),
        conductance_siemens=(10e-6 * times**-0.05 * 10**0.05 * (1 + noise)).ravel(),
    )  # fmt: skip
    lib = replay.library(data)
    assert lib.error_siemens.std() < 0.01 * 10e-6
    raw = data.conductance_siemens.reshape(400, 9)[:, 0] - 10e-6
    assert raw.std() > 0.04 * 10e-6


def test_what_a_replay_cannot_know_is_said():
    """Drift exponents 0.03, 0.06, 0.03 on three levels: the one between is missed by 10 %."""
    spec = pcm_25_microsiemens()
    data = synthetic.generate(spec, (8.3e-6, 16.7e-6, 25e-6), np.geomspace(20, 1e6, 6), 300, Key(3))
    found = reach.reach(replay.library(data))
    assert "below the lowest measured level, 8.3e-06 S" in found.below()
    assert found.std_at_lowest == pytest.approx(0.786e-6, rel=0.15)
    assert found.std_at_zero < found.std_at_lowest
    g = data.conductance_siemens.copy()
    middle = data.target_siemens == 16.7e-6
    g[middle] *= (data.time_seconds[middle] / 20) ** -0.02
    bent = reach.reach(
        replay.library(MeasuredData.of(**data.columns() | {"conductance_siemens": g}))
    )
    assert bent.gaps[0].course_miss == pytest.approx(5e4**0.02 - 1, rel=0.3)
    assert "levels are far apart" in bent.between()
    straight = synthetic.generate(
        spec.with_({"programming.polynomial_siemens": (0.5e-6, 0.5e-6, 0.0, 0.0)}),
        (10e-6, 16e-6, 22e-6), np.geomspace(20, 1e6, 6), 300, Key(4),
    )  # fmt: skip
    assert reach.reach(replay.library(straight)).between() == ""


def test_time_is_interpolated_in_its_logarithm(key):
    lib = replay.library(measured())
    first, last = replay.at(lib, 10.0), replay.at(lib, 1000.0)
    np.testing.assert_allclose(replay.at(lib, np.sqrt(1e3)), first * 0.95, rtol=1e-12)
    np.testing.assert_allclose(replay.at(lib, 200.0), first * (0.9 - 0.1 * np.log10(2)), rtol=1e-12)
    for t in (0.0, 1.0, 10.0):
        np.testing.assert_array_equal(replay.at(lib, t), first)
    for t in (1000.0, 1e6):
        np.testing.assert_array_equal(replay.at(lib, t), last)
    assert (lib.t_first_seconds, lib.t_last_seconds) == (10.0, 1000.0)
    assert lib.clamped_fraction(1000.0) == 0.0
    assert lib.clamped_fraction(1100.0) == 1.0


def test_after_a_read_at_zero_time_itself_is_interpolated():
    lib = replay.library(measured(times=(0.0, 100.0, 1000.0)))
    first = replay.at(lib, 0.0)
    np.testing.assert_allclose(replay.at(lib, 25.0), first * 0.975, rtol=1e-12)


def test_traces_of_different_length():
    """One trace with a single read, one with three; each by its own times."""
    data = MeasuredData.of(
        device=[0, 1, 1, 1], cycle=[0, 0, 0, 0], time_seconds=[5.0, 1.0, 10.0, 100.0],
        conductance_siemens=[4e-6, 1e-6, 2e-6, 3e-6], target_siemens=[2e-6] * 4,
    )  # fmt: skip
    lib = replay.library(data)
    assert replay.at(lib, 50.0)[lib.device == 0] == 4e-6
    assert replay.at(lib, np.sqrt(1e3))[lib.device == 1] == pytest.approx(2.5e-6)
    assert lib.clamped_fraction(50.0) == 0.5


def test_elements_in_reset_keep_their_level(key, rng):
    lib = replay.library(measured())
    target = full((1, 8, 8), 10e-6)
    programmed = rng.random(target.shape) < 0.5
    target[~programmed] = 0.1e-6
    trace = drawn(lib, target, key, programmed)
    assert ((trace == -1) == ~programmed).all()
    g = replay.conductance(lib, target, trace, 1e5)
    np.testing.assert_array_equal(g[~programmed], np.float32(0.1e-6))


def test_a_pulse_is_the_median_of_what_it_left():
    data = measured(kind="pulse", times=(0.0,))
    lib = replay.library(data)
    np.testing.assert_allclose(lib.level_siemens, np.array([5e-6, 10e-6, 20e-6]) * 1.0025)
    assert np.array_equal(replay.at(lib, 0.0), replay.at(lib, 1e9))  # single reads: constant


def test_without_levels_the_first_read_is_hit_exactly(key, rng):
    """No target, no pulse: what is replayed is the change since the first read."""
    lib = replay.library(measured(kind="first read", devices=100))
    target = rng.uniform(5e-6, lib.g_max_siemens, (1, 20, 20)).astype(np.float32)
    trace = drawn(lib, target, key)
    np.testing.assert_allclose(replay.conductance(lib, target, trace, 10.0), target, rtol=1e-6)
    near = np.abs(lib.trace_level_siemens[trace] - target)
    assert np.median(near) < 1e-6 * 5  # of a range of 22 uS
    assert lib.g_max_siemens < lib.level_siemens[-1]


def test_reads_without_target_are_left_out_among_others():
    data = measured()
    target = data.target_siemens.copy()
    target[data.target_siemens == 5e-6] = np.nan
    lib = replay.library(MeasuredData.of(**data.columns() | {"target_siemens": target}))
    assert lib.level_siemens.tolist() == [10e-6, 20e-6]
    assert len(lib) == 12


@pytest.mark.parametrize("bad", [-1e-6, 21e-6, np.nan])
def test_targets_outside_the_measured_range_are_refused(bad, key):
    lib = replay.library(measured())
    target = full((1, 2, 2), 10e-6)
    target[0, 1, 1] = bad
    with pytest.raises(ValueError, match="outside the measured range of the device, 0 to 2e-05 S"):
        drawn(lib, target, key)


def test_nothing_to_replay():
    with pytest.raises(ValueError, match="nothing to replay"):
        replay.library(
            MeasuredData.of(device=[0], cycle=[0], time_seconds=[0.0], conductance_siemens=[0.0])
        )


def test_a_file_is_read_once_and_checked(tmp_path):
    path = tmp_path / "a.h5"
    write(path, measured())
    lib = replay.load(path)
    assert replay.load(path) is lib
    assert replay.load(path, sha256(path)) is lib
    write(path, measured(devices=7), force=True)
    assert len(replay.load(path)) == 21  # a changed file is another library
    with pytest.raises(ValueError, match="the file was changed since"):
        replay.load(path, "0" * 64)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        replay.load(tmp_path / "no.h5")


def test_the_law_of_the_replay_is_that_of_the_data(key):
    """Generated with the 25 uS law, 500 devices per level; 65,536 elements per level.

    Two-sample KS at alpha 1e-6 notices differences of the distributions of about 0.12; a shift
    by a quarter of the spread is one.
    """
    spec = pcm_25_microsiemens()
    levels, times = (5e-6, 20e-6), (20.0, 1e3, 1e5)
    data = synthetic.generate(spec, levels, times, 500, key)
    lib = replay.library(data)
    for level in levels:
        target = full((1, 256, 256), level)
        trace = drawn(lib, target, key.child(1))
        for t in times:
            true = data.conductance_siemens[
                (data.target_siemens == level) & (data.time_seconds == t)
            ]
            ours = replay.conductance(lib, target, trace, t).ravel()
            assert stats.ks_2samp(true, ours).pvalue > 1e-6
            assert stats.ks_2samp(true, ours + 0.25 * true.std()).pvalue < 1e-3
    # A trace stays whole: what is high at first is high later, in data and replay alike.
    a, b = (replay.conductance(lib, target, trace, t).ravel() for t in (1e3, 1e5))
    x, y = (data.conductance_siemens.reshape(2, 500, 3)[1, :, i] for i in (1, 2))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=0.05)
