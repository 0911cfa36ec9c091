"""One-hop embedding as a constraint model for OR-tools CP-SAT.

One boolean per node and core that it may take. Every node takes one core, no core two nodes, and
for every edge: if the sender is on a core, the receiver is on one of those that this core sends
to, and the other way round.
"""

from __future__ import annotations

from aimc_sim.mapping.embedding.certificate import Outcome
from aimc_sim.mapping.embedding.problem import Problem
from aimc_sim.mapping.embedding.target import bits


def solve(problem: Problem, seconds: float, workers: int = 1) -> tuple[Outcome, list[int]]:
    """Search for an embedding with the constraint solver.

    Parameters
    ----------
    problem : Problem
        Pattern, fabric and first candidates.
    seconds : float
        Wall time, seconds, after which the solver gives up.
    workers : int
        Threads; with one, equal inputs give equal placements.

    Returns
    -------
    outcome : {"found", "impossible", "unknown"}
        "impossible" is proved; "unknown" means that the time ran out.
    cores : list of int, (nodes,)
        Core number of every node if found, else empty.
    """
    from ortools.sat.python import cp_model  # a second to import

    candidates, target = problem.candidates, problem.target
    model = cp_model.CpModel()
    on = [{core: model.new_bool_var("") for core in bits(mask)} for mask in candidates]
    for choices in on:
        model.add_exactly_one(choices.values())
    for core in range(len(target.cores)):
        model.add_at_most_one(choices[core] for choices in on if core in choices)
    for u, v in problem.edges:
        for sender, receiver, links in ((u, v, target.targets), (v, u, target.origins)):
            for core, here in on[sender].items():
                there = [on[receiver][c] for c in bits(links[core] & candidates[receiver])]
                model.add_bool_or([here.negated(), *there])
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = 1
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return "found", [next(c for c, x in choices.items() if solver.value(x)) for choices in on]
    return ("impossible" if status == cp_model.INFEASIBLE else "unknown"), []
