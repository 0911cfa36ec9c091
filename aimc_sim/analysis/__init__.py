"""Questions put to chips, and their answers as tables and pictures.

==================  =========================================================================
file                what is in it
==================  =========================================================================
``drift``           accuracy against time: one row per preset, programming, time, compensation
``metrics``         means and shares with their 95 % intervals
``layout``          where a network went: cores, links, bytes
``performance``     time and energy of a placed network
``profile``         where the time of a forward goes, against the machine's limits; its clocks:
                    ``profile_parts``
``fit``             device laws from measured data, with standard errors; its parts:
                    ``fit_estimates``, ``fit_clusters`` (devices make the errors), ``fit_laws``,
                    ``fit_traces``, ``fit_noise``, ``fit_forms``, ``fit_variance``, ``fit_curves``
``fit_pulses``      laws of single pulses from pulse records
``fit_design``      what a planned measurement would identify
``device_check``    what measured data can say and what not
``plots``           accuracy against time
``floorplans``      who sits where on the chip, and how busy cores and links are
``pipeline_plots``  the pipeline in time, energy, roofline
``device_plots``    the pictures of measured devices
``canvas``          what the pictures share
==================  =========================================================================
"""

__all__ = [
    "canvas", "device_check", "device_plots", "drift", "fit", "fit_clusters", "fit_curves",
    "fit_design", "fit_estimates", "fit_forms", "fit_laws", "fit_noise", "fit_pulses",
    "fit_traces", "fit_variance", "floorplans", "layout", "metrics", "performance",
    "pipeline_plots", "plots", "profile", "profile_parts",
]  # fmt: skip
