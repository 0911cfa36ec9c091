"""Replayed devices: whole measured traces, chosen with equal chances, at the asked level."""

import numba
import numpy as np
import pytest
from scipy import stats

from aimc_sim.device.measured import MeasuredData, replay, sha256, synthetic, write
from aimc_sim.kernels import threads
from aimc_sim.kernels.philox import philox10
from aimc_sim.presets import pcm_25_microsiemens

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
            word = int(compiled(index, zero, zero, zero, key0, key1)[0])
            level = int(np.abs(lib.level_siemens - float(target[e, r, c])).argmin())
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
    assert lib.neighbours == (64 if kind == "first read" else 0)
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


def test_off_its_level_the_error_is_kept(key):
    """The distance from the level is added; negative conductances are clipped."""
    lib = replay.library(measured())
    at_level, off = full((1, 16, 16), 10e-6), full((1, 16, 16), 11e-6)
    trace = drawn(lib, off, key)
    np.testing.assert_array_equal(trace, drawn(lib, at_level, key))
    for t in (10.0, 300.0, 1e9):
        shift = replay.conductance(lib, off, trace, t) - replay.conductance(lib, at_level, trace, t)
        np.testing.assert_allclose(shift, 1e-6, rtol=1e-5)
    low = full((1, 16, 16), 0.1e-6)  # 4.9 uS below a level that falls by 1 uS
    trace = drawn(lib, low, key)
    g = replay.conductance(lib, low, trace, 1000.0)
    assert g.min() == 0.0 == g.max()


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
