"""Measured devices: one file format, a way in from tables, and devices that replay them.

==============  ==============================================================================
file            content
==============  ==============================================================================
``columns``     the columns of a measurement, their units, and the faults that are refused
``schema``      :class:`MeasuredData`: checked when made, written to and read from HDF5
``traces``      reads grouped into traces: the life of one device after one programming
``replay``      :class:`Library`: a device that plays whole measured traces back; ``decompose``
                takes them apart, ``reach`` names the targets that were not measured
``importer``    files of a lab to measured data, in these steps:
``tables``      text and workbooks to sheets; ``sheet``, ``cells``, ``headers``, ``arrays``
``column_map``  the meaning and unit of every column; ``recognise`` guesses it
``reads``       options and values per read; ``from_sheets``, ``from_arrays``, ``to_numbers``
==============  ==============================================================================
"""

from .schema import SETS, MeasuredData, Provenance, find, read, sha256, write

__all__ = ["SETS", "MeasuredData", "Provenance", "find", "read", "sha256", "write"]
