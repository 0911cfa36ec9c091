"""Questions put to chips, and their answers as tables and pictures.

================  ===========================================================================
file              what is in it
================  ===========================================================================
``drift``         accuracy against time: one row per preset, programming, time, compensation
``metrics``       means and shares with their 95 % intervals
``fit``           device laws from measured data, with standard errors; its parts:
                  ``fit_laws``, ``fit_traces``, ``fit_variance``, ``fit_curves``
``plots``         the pictures of a study and of a chip
``device_plots``  the pictures of measured devices
================  ===========================================================================
"""
