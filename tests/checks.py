"""Statistical assertions: five standard errors, with n and the smallest error they catch.

A moment check on n draws passes if the estimate lies within 5 standard errors of the claim. It
notices (with 99.9 % power) errors of about 8 standard errors; callers show that with a
companion test in which the law is off by a stated amount.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

SIGMAS = 5.0


def assert_mean(sample, mean, std=None):
    """Mean of a sample, standard error from its (or the given) spread."""
    sample = np.asarray(sample, float).ravel()
    error = (sample.std(ddof=1) if std is None else std) / math.sqrt(sample.size)
    off = (sample.mean() - mean) / error
    assert abs(off) < SIGMAS, (
        f"mean {sample.mean():.6g} is {off:.1f} standard errors off {mean:.6g}"
    )


def assert_std(sample, std):
    """Spread of a sample; the standard error uses the sample's own kurtosis."""
    sample = np.asarray(sample, float).ravel()
    found = sample.std(ddof=1)
    kurtosis = stats.kurtosis(sample, fisher=False)
    error = found * math.sqrt((kurtosis - 1) / (4 * sample.size))
    off = (found - std) / error
    assert abs(off) < SIGMAS, f"std {found:.6g} is {off:.1f} standard errors off {std:.6g}"


def assert_law(sample, cdf, alpha=1e-6):
    """Kolmogorov-Smirnov against a distribution function."""
    p = stats.kstest(np.asarray(sample, float).ravel(), cdf).pvalue
    assert p > alpha, f"KS p = {p:.2g} is below {alpha}"


def assert_independent(a, b):
    """Correlation of two samples within 5 / sqrt(n), of values and of squares."""
    a, b = np.asarray(a, float).ravel(), np.asarray(b, float).ravel()
    bound = SIGMAS / math.sqrt(a.size)
    for x, y, what in ((a, b, "values"), (a**2, b**2, "squares")):
        r = np.corrcoef(x, y)[0, 1]
        assert abs(r) < bound, f"correlation of {what} {r:.2g} exceeds {bound:.2g}"


def unseal(path) -> None:
    """Take the seal off an HDF5 file that a test changed, so that its content is looked at."""
    with path.open("r+b") as file:
        file.write(bytes(512))
