"""Effects in place, written out.

Most networks change memory in place only where nobody else reads it (``ReLU(inplace=True)`` behind
a convolution): there the operation is replaced by its kind without effects. Where memory is shared,
by views or copies that are none, torch's own functionalisation does it, which takes longer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from aimc_sim.frontend import calls

_MAY_ALIAS = frozenset("dropout feature_dropout alpha_dropout contiguous reshape to".split())
"""Operations that may return their input without saying so."""


def functional(exported: Any) -> tuple[Any, fx.Graph, Any]:
    """Return an exported program without effects in place.

    Parameters
    ----------
    exported : torch.export.ExportedProgram
        The export.

    Returns
    -------
    exported : torch.export.ExportedProgram
        The export, or one that torch has rewritten.
    graph : fx.Graph
        Its graph, without operations in place.
    module : fx.GraphModule
        The module in which attributes of the graph are found.
    """
    graph, inputs = exported.graph, set(exported.graph_signature.user_inputs)
    changed = [node for node in graph.nodes if _changes(node)]
    nested = any("wrap_with" in str(node.target) for node in graph.nodes)
    if changed and (nested or not _rewrite(graph, changed, inputs)):
        exported = exported.run_decompositions({})
        graph = exported.graph
    elif nested and _nested_changes(exported.graph_module):
        exported = exported.run_decompositions({})
        graph = exported.graph
    return exported, graph, exported.graph_module


def _nested_changes(module: fx.GraphModule) -> bool:
    """Return whether a part of a graph works in place."""
    return any(
        _changes(node)
        for part in module.modules()
        if isinstance(part, fx.GraphModule)
        for node in part.graph.nodes
    )


def _changes(node: fx.Node) -> bool:
    """Return whether a call works in place."""
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def _rewrite(graph: fx.Graph, changed: list[fx.Node], inputs: set[str]) -> bool:
    """Replace operations in place where nobody shares their memory; False if that is not all."""
    replaced = {node: _without_effect(node) for node in changed}
    if None in replaced.values():
        return False
    classes = _memory(graph)
    for node in changed:
        shared = [other for other, where in classes.items() if where is classes[node]]
        if any(other not in replaced and other is not _origin(node) for other in shared):
            return False
        if _origin(node).op == "placeholder" and _origin(node).name not in inputs:
            return False  # a buffer: torch lists its changes
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in changed:
        changed_value = _first(node)
        later = [user for user in changed_value.users if order[user] > order[node]]
        node.target = replaced[node]
        for user in later:
            user.replace_input_with(changed_value, node)
    return True


def _first(node: fx.Node) -> fx.Node:
    """Return the value that a call in place changes: its first argument."""
    value = node.args[0]
    assert isinstance(value, fx.Node)
    return value


def _origin(node: fx.Node) -> fx.Node:
    """Return the value whose memory a chain of operations in place changes."""
    while _changes(node):
        node = _first(node)
    return node


def _without_effect(node: fx.Node) -> Any:
    """Return the operation that computes the same without changing its input, or None."""
    target: Any = node.target
    name = calls.operation(node)
    writes = [a for a in target._schema.arguments if a.alias_info and a.alias_info.is_write]
    if not name.endswith("_") or name.endswith("__") or len(writes) != 1:
        return None
    if node.args[0] is None or name in ("copy_", "set_", "resize_", "zero_", "fill_"):
        return None
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    return None if packet is None else getattr(packet, calls.overload(node), None)


def _memory(graph: fx.Graph) -> dict[fx.Node, object]:
    """Return the values of a graph with an object each that stands for their memory."""
    parent: dict[fx.Node, fx.Node] = {}

    def find(node: fx.Node) -> fx.Node:
        while parent.get(node, node) is not node:
            node = parent[node]
        return node

    for node in graph.nodes:
        for other in _sharers(node):
            parent[find(node)] = find(other)
    return {node: find(node) for node in graph.nodes}


def _sharers(node: fx.Node) -> list[fx.Node]:
    """Return the values whose memory a node's value may share."""
    inputs = [part for part in node.all_input_nodes]
    if node.op != "call_function":
        return []
    schema = getattr(node.target, "_schema", None)
    if schema is None:  # getitem of several results
        return inputs
    if calls.operation(node) in _MAY_ALIAS or "higher_order" in str(node.target):
        return inputs
    if any(result.alias_info for result in schema.returns):
        return inputs[:1]
    return []
