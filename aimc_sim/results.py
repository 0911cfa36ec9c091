"""Results of studies as tables: ``aimc_sim.results.load(folder)``.

The functions live in :mod:`aimc_sim.studies.results`, which lists the columns; ``summary`` and
``within`` in :mod:`aimc_sim.studies.statistics`, ``compare`` in :mod:`aimc_sim.studies.paired`,
``to_mlflow`` in :mod:`aimc_sim.studies.tracking`.
"""

from __future__ import annotations

from .studies.paired import against, against_reference, compare
from .studies.reference import load as load_reference
from .studies.results import ConflictError, Damage, check, export, load, load_layers, read_table
from .studies.statistics import layer_summary, summary, within
from .studies.tracking import to_mlflow

__all__ = [
    "ConflictError", "Damage", "against", "against_reference", "check", "compare", "export",
    "layer_summary", "load", "load_layers", "load_reference", "read_table", "summary",
    "to_mlflow", "within",
]  # fmt: skip
