"""Time and energy of every event, summed by component, layer and core.

- :mod:`times`: how long an MVM, a step of a core and one input to a layer take
- :mod:`parts`: energy of an MVM by its causes
- :mod:`energy`: joules per event, with the constants of the specification
- :mod:`work`: digital steps, and matrices that are written at inference
- :mod:`silicon`: mm2 of a placed network
- :mod:`book`: all events of an image

Energies are a model anchored at Table I of the chip paper (arXiv:2212.02872), see
:class:`aimc_sim.spec.CostSpec`. The energy of an MVM is charged for whole arrays whatever their
use, or, where charges of images that were run are given, for the rows and columns in use. Cores
without weights are taken to be switched off; the host's energy is not included.
"""

from aimc_sim.chip.ledger.book import (
    COMPONENTS,
    MVM_PARTS,
    STATIC,
    Cost,
    Energies,
    Ledger,
    LedgerEntry,
    estimate,
    ledger,
    mvm_text,
    one_by_one,
)
from aimc_sim.chip.ledger.energy import (
    OperationCost,
    mvm_joules,
    operation,
    published_mvm_joules,
)
from aimc_sim.chip.ledger.parts import Parts, coulombs, mvm_parts
from aimc_sim.chip.ledger.silicon import Area, area, core_mm2
from aimc_sim.chip.ledger.times import (
    gdpu_seconds,
    ldpu_latency_seconds,
    mvm_seconds,
    operation_seconds,
    step_seconds,
)
from aimc_sim.chip.ledger.work import Factors, ImageWork, digital_seconds, inferences, stage_seconds

__all__ = [
    "COMPONENTS",
    "MVM_PARTS",
    "STATIC",
    "Area",
    "Cost",
    "Energies",
    "Factors",
    "ImageWork",
    "Ledger",
    "LedgerEntry",
    "OperationCost",
    "Parts",
    "area",
    "core_mm2",
    "coulombs",
    "digital_seconds",
    "estimate",
    "gdpu_seconds",
    "inferences",
    "ldpu_latency_seconds",
    "ledger",
    "mvm_joules",
    "mvm_parts",
    "mvm_seconds",
    "mvm_text",
    "one_by_one",
    "operation",
    "operation_seconds",
    "published_mvm_joules",
    "stage_seconds",
    "step_seconds",
]
