"""The published laws of the 25 uS model, apart from the package: the reference of two scripts.

Formulas in float64 and plain numpy, their coefficients typed a second time: S. R. Nandakumar et
al., ICECS 2019, and V. Joshi et al., Nature Communications 11, 2473 (2020),
doi:10.1038/s41467-020-16108-9, as in AIHWKit ``inference/noise/pcm.py`` at commit 4545f11, with
the noise amplitude at the target state, as its documentation has it. ``x`` is G / 25 uS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

G_MAX_SIEMENS, T0_SECONDS, T_READ_SECONDS = 25e-6, 20.0, 250e-9


def sigma_programming(x: np.ndarray) -> np.ndarray:
    """Return the spread of the programmed conductance in siemens at x = G / 25 uS."""
    return 1e-6 * (0.26348 + 1.9650 * x - 1.1731 * x**2)


def exponent_mean(x: np.ndarray) -> np.ndarray:
    """Return the mean drift exponent, dimensionless."""
    return np.clip(-0.0155 * np.log(np.maximum(x, 1e-7)) + 0.0244, 0.049, 0.1)


def exponent_std(x: np.ndarray) -> np.ndarray:
    """Return the spread of the drift exponent between devices, dimensionless."""
    return np.clip(-0.0125 * np.log(np.maximum(x, 1e-7)) - 0.0059, 0.008, 0.045)


def read_noise_amplitude(x: np.ndarray) -> np.ndarray:
    """Return Q_s, the 1/f noise per square root of the band's logarithm, dimensionless."""
    return np.minimum(0.0088 / np.maximum(x, 1e-7) ** 0.65, 0.2)


def folded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and spread of nu = abs(mu + sigma xi) at x: those of a folded normal."""
    mu, sigma = exponent_mean(x), exponent_std(x)
    mean = sigma * math.sqrt(2 / math.pi) * np.exp(-0.5 * (mu / sigma) ** 2)
    mean = mean + mu * (1 - 2 * ndtr(-mu / sigma))
    return mean, np.sqrt(mu**2 + sigma**2 - mean**2)


def moments(x: np.ndarray, t_seconds: float) -> np.ndarray:
    """Return E[G^k], k = 1..4, of one device under the published laws, in siemens^k.

    Parameters
    ----------
    x : (n,) float, dimensionless
        Target over 25 uS.
    t_seconds : float
        Time after programming. The law's clock is t + t0: at t = 0 nothing has drifted.

    Returns
    -------
    (4, n) float64

    Notes
    -----
    The law is ``G = max(0, G_T + s xi1) D max(0, 1 + q xi3)`` with the decay
    ``D = exp(-abs(mu + sigma xi2) L)``, ``L = ln((t + t0) / t0)`` and
    ``q = Q_s sqrt(ln((t + t0 + t_read) / (2 t_read)))``. Drift and read noise are relative, and a
    conductance that was cut off at zero stays zero, so that the three factors are independent and
    their moments multiply:

    - a normal N(m, s) cut off at zero has ``M0 = Phi(m / s)``, ``M1 = m M0 + s phi(m / s)`` and
      ``Mk = m M(k-1) + (k - 1) s^2 M(k-2)``;
    - ``E[D^k] = exp(b) Phi(mu/sigma - kL sigma) + exp(c) Phi(-mu/sigma - kL sigma)`` with
      ``b, c = (kL sigma)^2 / 2 -+ kL mu``; without the absolute value it is ``exp(b)``.

    With ``v`` for a relative variance, ``1 + v = (1 + v_prog)(1 + v_drift)(1 + v_read)``: the three
    spreads add in quadrature while they are small.
    """
    x = np.asarray(x, np.float64)
    log_age = math.log((t_seconds + T0_SECONDS) / T0_SECONDS)
    age = t_seconds + T0_SECONDS
    band = math.sqrt(math.log((age + T_READ_SECONDS) / (2 * T_READ_SECONDS)))
    programmed = cut_normal_moments(x * G_MAX_SIEMENS, sigma_programming(x))
    noisy = cut_normal_moments(np.ones_like(x), read_noise_amplitude(x) * band)
    mu, sigma = exponent_mean(x), exponent_std(x)
    k = np.arange(1, 5)[:, None] * log_age
    decayed = np.exp(0.5 * (k * sigma) ** 2 - k * mu) * ndtr(mu / sigma - k * sigma)
    decayed += np.exp(0.5 * (k * sigma) ** 2 + k * mu) * ndtr(-mu / sigma - k * sigma)
    return programmed * decayed * noisy


def cut_normal_moments(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return E[max(0, X)^k], k = 1..4, of a normal X, as (4, n)."""
    u = mean / std
    m = [ndtr(u)]
    m.append(mean * m[0] + std * np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi))
    for k in range(2, 5):
        m.append(mean * m[k - 1] + (k - 1) * std**2 * m[k - 2])
    return np.stack(m[1:])


def draw_from_law(x: np.ndarray, t_seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return conductances in siemens drawn from the laws with plain numpy, one per target."""
    age = t_seconds + T0_SECONDS
    band = math.sqrt(math.log((age + T_READ_SECONDS) / (2 * T_READ_SECONDS)))
    g = np.maximum(0, x * G_MAX_SIEMENS + sigma_programming(x) * rng.standard_normal(x.shape))
    nu = np.abs(exponent_mean(x) + exponent_std(x) * rng.standard_normal(x.shape))
    g = g * (age / T0_SECONDS) ** -nu
    return np.maximum(0, g * (1 + read_noise_amplitude(x) * band * rng.standard_normal(x.shape)))


@dataclass(frozen=True)
class Check:
    """Devices of one level at one time against the closed forms; conductances in siemens.

    ``mean`` is the plain mean; ``spread`` is the RMS distance of the devices from the mean that
    the law gives for their own target, since a bin holds many targets.
    """

    devices: int
    law_mean: float
    mean: float
    mean_error: float
    law_spread: float
    spread: float
    spread_error: float

    @property
    def worst(self) -> float:
        """The larger of the two deviations, in standard errors."""
        mean = abs(self.mean - self.law_mean) / self.mean_error
        return max(mean, abs(self.spread - self.law_spread) / self.spread_error)


def check(g: np.ndarray, x: np.ndarray, t_seconds: float) -> Check:
    """Compare conductances (n,) of devices with targets x (n,) at a time with the law."""
    values, where = np.unique(x, return_inverse=True)
    m1, m2, m3, m4 = moments(values, t_seconds)[:, where]
    variance = m2 - m1**2
    fourth = m4 - 4 * m3 * m1 + 6 * m2 * m1**2 - 3 * m1**4
    law_spread = math.sqrt(variance.mean())
    error_of_square = math.sqrt((fourth - variance**2).mean() / g.size)
    return Check(
        g.size, m1.mean(), g.mean(), law_spread / math.sqrt(g.size), law_spread,
        math.sqrt(((g - m1) ** 2).mean()), error_of_square / (2 * law_spread),
    )  # fmt: skip
