"""A tiny search over the machine of :mod:`toy_study`; importable as ``toy_search``."""

from __future__ import annotations

from pathlib import Path

SEARCH = {
    "name": "toy",
    "network": "toy_study:network",
    "data": {"name": "toy_study:data", "calibration": 64},
    "preset": "hermes-odp",
    "knobs": {
        "core.adc.bits": {"low": 4, "high": 9},
        "core.pcm.g_max_siemens": {"low": 5e-6, "high": 10e-6},
        "compensation": ["none", "gdc"],
        "read": {
            "options": {
                "slow": {},
                "quick": {"core.dac.lsb_seconds": 0.5e-9, "core.read.mvm_seconds": 260e-9},
            }
        },
    },
    "time": "1 d",
    "programmings": 2,
    "trials": 14,
    "batch": 4,
}


def run(out: Path) -> None:
    """Run the search in this process and write its table, as ``aimc-sim optimise`` does."""
    from aimc_sim.search import optimise, outcome, schema
    from aimc_sim.studies import inputs, pools, sweep

    search = schema.make_search(SEARCH)
    given = inputs.gather(search.study())
    plan = optimise.SearchPlan(search, given, out)
    pool = pools.InProcess(given, 1)
    sweep.sweep(plan.study, given, pool, out, confirmed=True, source=plan.source)
    outcome.write(outcome.table(plan.feed, out), plan.feed, out)
