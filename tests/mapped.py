"""Networks compiled and executed block by block: shared parts of the mapping tests."""

import numpy as np
import torch
from interpreter import run_steps, settle
from torch import nn

from aimc_sim import presets
from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network

SPEC = presets.ideal()


def fabric(rows, cols, **core):
    return SPEC.with_({"fabric.rows": rows, "fabric.cols": cols, **core})


def check(model, *shape, spec=SPEC):
    """The image, executed block by block, computes what the model computes; return it."""
    x = torch.randn(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(1))
    compiled = compile_network(trace(settle(model.eval()), example=x), spec)
    with torch.no_grad():
        expected = model(x.clone())
    got = run_steps(compiled.steps, compiled.input, compiled.output, x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    check_consistent(compiled, spec)
    return compiled


def check_consistent(compiled, spec):
    """No core twice, every weight once, every transfer along links and between its blocks."""
    cores = [block.core for block in compiled.blocks]
    assert len(set(cores)) == len(cores) == compiled.cores_used <= compiled.cores_available
    assert set(cores) <= set(range(spec.fabric.cores))
    for layer in compiled.layers:
        covered = np.zeros(layer.weight.shape, int)
        for b in layer.blocks:
            assert b.layer == layer.name
            assert b.shape[0] <= spec.core.rows
            assert b.shape[1] <= spec.core.cols
            covered[b.row_start : b.row_stop, b.col_start : b.col_stop] += 1
        assert np.all(covered == 1)
    links = fabric_graph(spec.fabric)
    owner = {block.core: block for block in compiled.blocks}
    for t in compiled.transfers:
        assert (t.route[0], t.route[-1]) == (t.producer, t.consumer)
        assert t.hops >= 1
        assert all(links.has_edge(a, b) for a, b in zip(t.route, t.route[1:], strict=False))
        assert owner[t.producer].layer == t.value
        consumer = compiled.layer(owner[t.consumer].layer)
        chain = next(c for c in consumer.chains if owner[t.consumer] in c)
        if t.kind == "partial_sum":
            assert chain[chain.index(owner[t.consumer]) - 1] is owner[t.producer]
        if t.kind == "residual":
            assert chain[0] is owner[t.consumer]


def transfers(compiled, kind=None):
    """(producing layer, its column block) -> (consuming layer, row block, column block)."""
    owner = {block.core: block for block in compiled.blocks}
    pairs = []
    for t in compiled.transfers:
        if kind in (None, t.kind):
            a, b = owner[t.producer], owner[t.consumer]
            pairs.append(((a.layer, a.col_index), (b.layer, b.row_index, b.col_index)))
    return pairs


class LambdaLayer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
