"""Measured devices: one file format, a way in from tables, and devices that replay them.

============  ================================================================================
file          what is in it
============  ================================================================================
``columns``   the columns of a measurement, their units, and what is refused
``schema``    :class:`MeasuredData`: checked when made, written to and read from HDF5
``importer``  CSV and TSV with a column map that states every unit
``traces``    reads grouped into traces: the life of one device after one programming
``replay``    :class:`Library`: a device that plays whole measured traces back
``synthetic`` data in the format, made with a statistical law, for tests and first tries
============  ================================================================================
"""

from .schema import MeasuredData, Provenance, read, sha256, write

__all__ = ["MeasuredData", "Provenance", "read", "sha256", "write"]
