"""Rotations that run while the network runs: Hadamard transforms behind non-linearities."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn

from aimc_sim import arguments
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.patterns import fits
from aimc_sim.transforms import parity
from aimc_sim.transforms.butterflies import Hadamard
from aimc_sim.transforms.edits import Edits, put
from aimc_sim.transforms.flow import IDLE, MOVES, ChannelFlow
from aimc_sim.transforms.hadamard import hadamard


def rotate_online(model: nn.Module, example: Any, layers: Any = None) -> nn.Module:
    """Return an equal network with Hadamard transforms in front of products behind non-linearities.

    No matrix before a non-linearity can take up a rotation behind it, so ``x`` becomes ``H x``
    while the network runs and ``W`` becomes ``W H^T / n``. The transform needs ``n log2 n``
    additions per vector, which a chip's ledger counts as work of its digital units. Vectors whose
    length is no power of two are cut into groups of the largest power of two that divides it.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.
    layers : str or sequence of str, optional
        Patterns of the products' names. Default: all products of :func:`behind_nonlinearities`.

    Returns
    -------
    nn.Module
        A deep copy; the module ``down`` becomes a Sequential of ``transform`` (a
        :class:`Hadamard`) and ``product`` (the module with the new matrix).

    Raises
    ------
    UnsupportedLayerError
        If a layer that was named cannot have a transform in front of it.
    ValueError
        If there is no such layer, or a pattern fits none.
    """
    plain, given, flow = parity.opened(model, example)
    edits = Edits(plain, flow)
    found = _products(edits, flow)
    chosen = list(found)
    if layers is not None:
        asked = [layers] if isinstance(layers, str) else list(arguments.patterns(layers, "layers"))
        chosen = [path for path in found if any(fits(path, pattern) for pattern in asked)]
        for pattern in asked:
            if not any(fits(path, pattern) for path in found):
                raise ValueError(
                    f"layers: no product behind a non-linearity has a name like {pattern!r}; such "
                    f"products: {', '.join(found) or 'none'}"
                )
    if not chosen:
        raise ValueError(
            f"{type(plain).__name__} has no product behind a non-linearity that is a layer of its "
            "own with an even number of inputs, so that there is nothing to transform"
        )
    orders = {}
    for path in chosen:
        for call in found[path]:
            (end,) = flow.products[call]
            length = end.use.value.shape[end.axis]
            orders[path] = length & -length
            edits.along_use(end, lambda v, n=orders[path]: _transformed(v, n))
    edits.apply()

    def built(exact: bool) -> nn.Module:
        made = edits.result(exact)
        for path, order in orders.items():
            inner = made.get_submodule(path)
            pair = nn.Sequential()
            pair.add_module("transform", Hadamard(order))
            pair.add_module("product", inner)
            put(made, path, pair.train(inner.training))
        return made

    parity.check(plain, built(True), given, "the on-line rotation")
    return built(False)


def _transformed(v: Tensor, order: int) -> Tensor:
    """Return the rows of a matrix times H^T / n, group by group."""
    groups: Tensor = v.unflatten(-1, (-1, order)) @ hadamard(order) / order
    return groups.flatten(-2)


def _products(edits: Edits, flow: ChannelFlow) -> dict[str, list[fx.Node]]:
    """Return products behind non-linearities that are modules of one input, by their paths."""
    model = flow.recording.model
    found: dict[str, list[fx.Node]] = {}
    refused: set[str] = set()
    for call, x in flow.behind.items():
        origin = x
        while calls.operation(origin) in IDLE | MOVES:
            origin = origin.args[0]  # type: ignore[assignment]
        path = calls.owner(model, call)
        ends = flow.products[call]
        try:
            home = edits.place(ends[0].use)[0].path
        except UnsupportedLayerError:
            continue
        even = ends[0].use.value.shape[ends[0].axis] % 2 == 0
        if origin.op != "call_function" or home != path or not path or not even:
            refused.add(path)
            continue
        found.setdefault(path, []).append(call)
    return {path: calls_ for path, calls_ in found.items() if path not in refused}


def behind_nonlinearities(model: nn.Module, example: Any) -> tuple[str, ...]:
    """Return the names of products that a Hadamard transform can stand in front of.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.

    Returns
    -------
    tuple of str
        Paths of layers that read, behind a non-linearity, vectors of an even length.
    """
    plain, _, flow = parity.opened(model, example)
    return tuple(_products(Edits(plain, flow), flow))
