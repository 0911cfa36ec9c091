"""Questions put to chips, and their answers as tables; :mod:`aimc_sim.figures` draws them.

==================  =========================================================================
file                contents
==================  =========================================================================
``intervals``       means and shares with their 95 % intervals
``layout``          where a network went: cores, links, bytes
``performance``     time and energy of a placed network
``profile``         where the time of a forward goes, against the machine's limits; its clocks:
                    ``profile_parts``
``fit``             device laws from measured data, with standard errors; its parts:
                    ``fit_estimates``, ``fit_clusters`` (devices make the errors), ``fit_laws``,
                    ``fit_traces``, ``fit_noise``, ``fit_forms``, ``fit_variance``, ``fit_curves``
``fit_pulses``      laws of single pulses from pulse records
``fit_design``      laws that a planned measurement would identify
``device_check``    a checked measurement: range, laws, goodness of fit, reach of a replay
==================  =========================================================================
"""

__all__ = [
    "device_check",
    "fit",
    "fit_clusters",
    "fit_curves",
    "fit_design",
    "fit_estimates",
    "fit_forms",
    "fit_laws",
    "fit_noise",
    "fit_pulses",
    "fit_traces",
    "fit_variance",
    "intervals",
    "layout",
    "performance",
    "profile",
    "profile_parts",
]  # fmt: skip
