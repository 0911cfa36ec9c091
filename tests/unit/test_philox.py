"""Random words: published answers, and the slow twin."""

import naive
import numba
import numpy as np
import pytest

from aimc_sim.kernels.philox import philox7, philox10
from aimc_sim.rng import Key, Purpose

# Known answers of the reference implementation, Random123 kat_vectors, philox4x32-10.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((naive.MASK,) * 4, (naive.MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@numba.njit
def call10(c, k):
    return philox10(c[0], c[1], c[2], c[3], k[0], k[1])


@numba.njit
def call7(c, k):
    return philox7(c[0], c[1], c[2], c[3], k[0], k[1])


@pytest.mark.parametrize(("counter", "key_words", "words"), KNOWN)
def test_known_answers(counter, key_words, words):
    assert tuple(naive.philox(counter, key_words)) == words
    assert call10(np.array(counter, np.uint32), np.array(key_words, np.uint32)) == words


def test_seven_rounds_equal_the_twin(rng):
    for _ in range(20):
        c = rng.integers(0, 2**32, 4, dtype=np.uint32)
        k = rng.integers(0, 2**32, 2, dtype=np.uint32)
        assert list(call7(c, k)) == naive.philox(c.tolist(), k.tolist(), rounds=7)


def test_keys_are_addresses():
    key = Key(3)
    assert key.child(1, 2).words() == key.child(1).child(2).words()
    words = {
        key.child(core, purpose).at_time(t).words()
        for core in range(64)
        for purpose in Purpose
        for t in (0.0, 1.0, 86400.0)
    }
    assert len(words) == 64 * len(Purpose) * 3
    assert key.at_time(-0.0).words() == key.at_time(0.0).words()


def test_purposes_never_move():
    assert {p.name: int(p) for p in Purpose} == {
        "PROGRAM": 1, "SLOW_NOISE": 2, "MVM_NOISE": 3,
        "COMPENSATION_VECTORS": 4, "COMPENSATION_READ": 5, "POLARITY": 6,
        "PULSE_DEVICE": 7, "PULSE_CYCLE": 8, "PULSE_READ": 9,
        "STUCK": 10, "REPROGRAM": 11, "REPLAY": 12, "GRADIENT": 13,
        "ADC": 14, "PLACEMENT": 15, "TRAINING": 16,
        "LEARNING_DEVICE": 17, "LEARNING_CYCLE": 18, "LEARNING_UPDATE": 19, "PROCESS": 20,
        "ROTATION": 21, "WRITTEN": 22,
    }  # fmt: skip


def test_bad_seed():
    with pytest.raises(ValueError, match=r"seed = -1 must be an integer >= 0"):
        Key(-1)
