"""Products cut by rows into two, each with input converters of its own (ResQ)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.transforms import parity
from aimc_sim.transforms.edits import Edits, put
from aimc_sim.transforms.marks import End
from aimc_sim.transforms.streams import streams


class SplitLinear(nn.Module):
    """A linear layer as the sum of two, of the first inputs and of the others.

    On a chip the two are layers of their own: on other rows, with another scale and, by
    ``spec.layers``, another number of bits of their input converters. The other inputs are doubled,
    and their matrix is halved, which changes no result: the product with two is a value of its own,
    with a range of its own, and stands for the conversion to another scale.

    Parameters
    ----------
    weight : (outputs, inputs) tensor
        The matrix (dimensionless).
    bias : (outputs,) tensor or None
        The bias (dimensionless).
    high : int
        Number of inputs of the first one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, high: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.high = nn.Linear(high, outputs, bias is not None, dtype=weight.dtype)
        self.low = nn.Linear(inputs - high, outputs, False, dtype=weight.dtype)
        self.high.weight = nn.Parameter(weight[:, :high].clone())
        self.low.weight = nn.Parameter(weight[:, high:] / 2.0)
        if bias is not None:
            self.high.bias = nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the product, from both parts.

        Parameters
        ----------
        x : (..., inputs) tensor
            Inputs (dimensionless).

        Returns
        -------
        (..., outputs) tensor
            The product and the bias.
        """
        first = self.high.in_features
        product: Tensor = self.high(x[..., :first]) + self.low(x[..., first:] * 2.0)
        return product


def split_rows(model: nn.Module, example: Any, high: int) -> nn.Module:
    """Return an equal network whose products that read the residual stream are cut by rows.

    Behind ``rotate(model, example, "pca", high=high)`` the first channels are those of high
    variance. Each product ``name`` becomes ``name.high`` and ``name.low``, which ``spec.layers``
    gives more and fewer input bits.

    Parameters
    ----------
    model : nn.Module
        The network, with folded norms; it is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.
    high : int
        Number of channels in the first part, from 1 to one less than those of the stream.

    Returns
    -------
    nn.Module
        A deep copy with :class:`SplitLinear` in the place of these products.

    Raises
    ------
    UnsupportedLayerError
        If a product is no layer of its own, as the packed one of ``nn.MultiheadAttention``, or
        norms have not been folded.
    ValueError
        If `high` is out of range.
    """
    plain, given, flow = parity.opened(model, example)
    edits = Edits(plain, flow)
    new: dict[str, SplitLinear] = {}
    exact: dict[str, SplitLinear] = {}
    for stream in streams(flow):
        high = arguments.whole(high, "high", 1, stream.space.size - 1)
        if stream.folded or stream.scaled:
            raise UnsupportedLayerError(
                "a norm of the residual stream has weights; fold them first: "
                "split_rows(rotate(model, example, 'pca', high=high), example, high)"
            )
        for end in stream.readers:
            path = _path(edits, end)
            matrix = edits.value(end.use).movedim(end.axis, -1)
            bias = None if end.bias is None else edits.value(end.bias)
            kind = end.use.value.dtype
            exact[path] = SplitLinear(matrix, bias, high)
            new[path] = SplitLinear(matrix.to(kind), None if bias is None else bias.to(kind), high)

    def built(parts: dict[str, SplitLinear], numbers: bool) -> nn.Module:
        made = edits.result(numbers)
        for path, part in parts.items():
            put(made, path, part.train(plain.get_submodule(path).training))
        return made

    parity.check(plain, built(exact, True), given, "the cut by rows")
    return built(new, False)


def _path(edits: Edits, end: End) -> str:
    """Return the path of a product that is a module of its own."""
    call = end.use.call
    path = calls.owner(edits.flow.recording.model, call)
    home, _ = edits.place(end.use)
    module = edits.model.get_submodule(home.path)
    if home.path != path or not path or any(True for _ in module.children()):
        raise UnsupportedLayerError(
            f"the product {edits.flow.where(call)} is no layer of its own that could be cut by "
            "rows; write it as an nn.Linear that is called"
        )
    return path
