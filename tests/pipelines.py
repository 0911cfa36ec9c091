"""Random schedules for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from aimc_sim.chip.pipeline import Edge, Link, Schedule, Stage


def cumulative(draw, count, total):
    """A table of `count` entries that never falls and ends at `total`."""
    marks = draw(st.lists(st.integers(0, total), min_size=count, max_size=count))
    table = np.sort(np.array(marks, np.int64))
    table[-1] = total
    return table


@st.composite
def schedules(draw, bounded=True, shared=True, lanes=True, contention=True):
    """A random acyclic schedule with small integer times, one source and one sink."""
    inner = draw(st.integers(1, 4))
    small = st.integers(0, 5)
    stages = [Stage("source", "source", draw(st.integers(1, 5)), 0, 1, draw(small), draw(small))]
    for number in range(inner):
        stages.append(
            Stage(
                f"stage {number}", "core", draw(st.integers(1, 5)), draw(small),
                draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(small),
                draw(st.sampled_from([None, 7])) if shared else None,
                lanes=draw(st.sampled_from([1, 1, 2, 3])) if lanes else 1,
            )
        )  # fmt: skip
    stages.append(Stage("sink", "sink", draw(st.integers(1, 5))))
    links = tuple(Link(str(i), draw(st.integers(0, 3)), draw(small)) for i in range(3))
    pairs = {(max(0, draw(st.integers(0, c - 1))), c) for c in range(1, len(stages))}
    extra = draw(st.lists(st.tuples(st.integers(0, inner), st.integers(1, inner + 1)), max_size=4))
    pairs |= {pair for pair in extra if pair[0] < pair[1]}
    edges = []
    for producer, consumer in sorted(pairs):
        elements, firings = stages[producer].firings, stages[consumer].firings
        need = cumulative(draw, firings, elements)
        free = np.minimum(cumulative(draw, firings, elements), need)
        free[-1] = elements
        joins = draw(st.sampled_from(["mvm", "ldpu"]))
        route = draw(st.lists(st.integers(0, 2), max_size=2, unique=True)) if contention else ()
        edge = Edge(producer, consumer, "activation", elements, need, free,
                    draw(st.integers(0, 3)), tuple(route), joins)  # fmt: skip
        capacity = edge.smallest + draw(st.integers(0, 3)) if bounded else None
        edges.append(Edge(*list(edge.__dict__.values())[:9], capacity))
    claim = draw(st.sampled_from(["stream", "mvm"]))
    return Schedule(tuple(stages), tuple(edges), links, claim)
