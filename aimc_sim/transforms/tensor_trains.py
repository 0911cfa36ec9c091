"""Convolutions of 3 x 3 as trains of four smaller ones: 1 x 1, 3 x 1, 1 x 3, 1 x 1.

The kernel K of I inputs and O outputs is a tensor with the modes inputs, rows, columns, outputs;
its train has a factor per mode, linked by ranks p, q, r::

    K[o, i, a, b] = sum over p, q, r of  L[o, r] C[r, q, b] R[q, p, a] E[p, i]

Sequential: the four convolutions follow each other; ranks are bounded by I (or 9 O), 3 I and 3 O,
and O (or 9 I), at which the train is exact. Parallel: 3 x 1 and 1 x 3 read the same values, and the
mean of both is taken; the merged kernel is a cross, its corners are zero whatever the rank. With
one rank r there are ``r (I + O) + 6 r^2`` weights in place of ``9 I O``.

Both forms are those of TT-SNN (D. Lee et al., DATE 2024, arXiv:2401.08001, READ), there for
networks of spikes; its third form, other layers in other time steps, is not here, and its choice of
ranks (Bayesian matrix factorisation) neither. Given weights are decomposed by TT-SVD, whose error
is at most the root of the sum of the three cuts' squares, for the sequential form (I. V. Oseledets,
SIAM Journal on Scientific Computing 33, 2295 (2011), doi:10.1137/090752286). For the parallel one
the cross of the kernel gets a basis of its inputs and one of its outputs, from singular values of
its unfoldings; this, and strides, are ours.
"""

from __future__ import annotations

import copy
import numbers
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from aimc_sim import arguments, patterns
from aimc_sim.transforms import factors

Form = Literal["sequential", "parallel"]
"""Whether 3 x 1 and 1 x 3 follow each other, or read the same values."""

Rank = int | float
"""A whole number, or a share of the layer's inputs between 0 and 1."""

Changed = TypeVar("Changed", bound=nn.Module)
"""Class of a network, which both functions keep."""

_KIND = "convolution of 3 x 3 (padding 1, one group)"


class TensorTrainConv2d(nn.Module):
    """A convolution of 3 x 3 with padding 1, as a train of four.

    Parameters
    ----------
    inputs, outputs : int
        I and O, channels, at least 1.
    ranks : int or tuple of three int
        p, q, r; one number stands for all, and each is cut to the largest that is of use. The
        parallel form has q = p for one branch, and both branches give r numbers, so that p = q = r.
    form : "sequential" or "parallel"
        See the module.
    stride : int or (int, int)
        Rows and columns between outputs.
    bias : bool
        Whether the last convolution has an offset.

    Attributes
    ----------
    enter, rows, columns, leave : nn.Conv2d
        Factors of 1 x 1, 3 x 1, 1 x 3 and 1 x 1, at first as torch draws them. In the parallel form
        the half of the mean stands in the weights of ``leave``.

    Examples
    --------
    >>> train = TensorTrainConv2d(16, 32, 4)
    >>> sum(one.weight.numel() for one in train.factors) == 4 * (16 + 32) + 6 * 4**2
    True
    >>> tuple(train.kernel().shape)
    (32, 16, 3, 3)
    """

    def __init__(
        self, inputs: int, outputs: int, ranks: int | tuple[int, int, int],
        form: Form = "sequential", *, stride: int | tuple[int, int] = 1, bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        inputs = arguments.whole(inputs, "inputs", 1, 2**31)
        outputs = arguments.whole(outputs, "outputs", 1, 2**31)
        self.form: Form = cast(Form, arguments.choice(form, "form", ("sequential", "parallel")))
        most = largest_ranks(inputs, outputs, form)
        wished = tuple(ranks) if isinstance(ranks, tuple | list) else (ranks,) * 3
        if len(wished) != 3:
            raise ValueError(f"ranks = {ranks}: wanted one whole number, or three")
        p, q, r = (
            min(arguments.whole(one, "ranks", 1, 2**31), top)
            for one, top in zip(wished, most, strict=True)
        )
        if form == "parallel" and not p == q == r:
            raise ValueError(
                f"ranks = {ranks}: the parallel form has one rank, for both branches read and "
                "write as many numbers"
            )
        steps = tuple(stride) if isinstance(stride, tuple | list) else (stride, stride)
        if len(steps) != 2:
            raise ValueError(f"stride = {stride}: wanted one whole number, or two")
        down, across = (arguments.whole(one, "stride", 1, 2**31) for one in steps)
        both = form == "parallel"
        self.enter = nn.Conv2d(inputs, p, 1, bias=False)
        self.rows = nn.Conv2d(
            p, r if both else q, (3, 1), stride=(down, across if both else 1), padding=(1, 0),
            bias=False,
        )  # fmt: skip
        self.columns = nn.Conv2d(
            p if both else q, r, (1, 3), stride=(down if both else 1, across), padding=(0, 1),
            bias=False,
        )  # fmt: skip
        self.leave = nn.Conv2d(r, outputs, 1, bias=arguments.flag(bias, "bias"))

    @property
    def factors(self) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d]:
        """The four convolutions, in their order."""
        return self.enter, self.rows, self.columns, self.leave

    @property
    def ranks(self) -> tuple[int, int, int]:
        """Ranks p, q, r."""
        return self.enter.out_channels, self.rows.out_channels, self.leave.in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps (B, O, H', W') of maps (B, I, H, W)."""
        x = self.enter(x)
        if self.form == "parallel":
            found: Tensor = self.leave(self.rows(x) + self.columns(x))
            return found
        found = self.leave(self.columns(self.rows(x)))
        return found

    def kernel(self) -> Tensor:
        """Return the merged kernel, (O, I, 3, 3), summed in float64, in the type of the factors."""
        enter, rows, columns, leave = (one.weight.double() for one in self.factors)
        enter, leave = enter[:, :, 0, 0], leave[:, :, 0, 0]
        rows, columns = rows[:, :, :, 0], columns[:, :, 0]
        if self.form == "sequential":
            whole = torch.einsum("or,rqb,qpa,pi->oiab", leave, columns, rows, enter)
        else:
            cross = leave.new_zeros((len(rows), rows.shape[1], 3, 3))
            cross[:, :, :, 1] += rows
            cross[:, :, 1] += columns
            whole = torch.einsum("or,rpab,pi->oiab", leave, cross, enter)
        return whole.to(self.leave.weight.dtype)

    def decompose(self, kernel: Tensor) -> float:
        """Set the factors to those of a kernel, as near as the ranks allow.

        Parameters
        ----------
        kernel : (O, I, 3, 3) tensor
            Weights of a convolution.

        Returns
        -------
        float
            Error of the merged kernel as a share of the norm of the given one; 0 for a kernel of
            zeros.

        Raises
        ------
        ValueError
            If the kernel has another shape or holds NaN or infinity.
        """
        wanted = (self.leave.out_channels, self.enter.in_channels, 3, 3)
        if tuple(kernel.shape) != wanted:
            raise ValueError(f"kernel of the shape {tuple(kernel.shape)}: wanted {wanted}")
        given = kernel.detach().double()
        if not bool(given.isfinite().all()):
            raise ValueError("kernel holds NaN or infinity: wanted finite weights")
        split = factors.sequential if self.form == "sequential" else factors.parallel
        with torch.no_grad():
            for one, factor in zip(self.factors, split(given, self.ranks), strict=True):
                one.weight.copy_(factor.reshape(one.weight.shape))
            norm = float(given.norm())
            return float((self.kernel().double() - given).norm()) / norm if norm else 0.0

    def extra_repr(self) -> str:
        """Return form and ranks, for printing."""
        return f"form={self.form}, ranks={self.ranks}"


def largest_ranks(inputs: int, outputs: int, form: Form) -> tuple[int, int, int]:
    """Return the ranks p, q, r beyond which a train of I inputs and O outputs gains nothing."""
    if form == "parallel":
        return (max(min(inputs, 5 * outputs), min(outputs, 5 * inputs)),) * 3
    return min(inputs, 9 * outputs), 3 * min(inputs, outputs), min(9 * inputs, outputs)


def tensor_train(
    model: Changed,
    ranks: Rank | Mapping[str, Rank] | None = None,
    form: Form = "sequential",
    *,
    error: float | None = None,
    drawn: bool = False,
) -> Changed:
    """Return a copy of a network whose convolutions of 3 x 3 are trains.

    Parameters
    ----------
    model : module
        Untouched. Replaced are modules of the class ``nn.Conv2d`` with a kernel of 3 x 3, padding 1
        of zeros, no dilation, one group and any stride; all others stay.
    ranks : int, float, or mapping of str to them, optional
        A rank, or a share of the inputs (0.25: a quarter of them, at least 1), for all these layers
        or by pattern of their names as in :mod:`fnmatch`, the last one that fits; layers that none
        fits stay.
    form : "sequential" or "parallel"
        See the module.
    error : float, optional
        In place of ``ranks``: every layer gets the smallest ranks of its cuts that keep the error
        below this share of the kernel's norm, 0 to 1. Sequential form.
    drawn : bool
        Whether factors are left as torch draws those of a new layer, for training from the start,
        and not made of the weights that there are.

    Returns
    -------
    module
        Of the same class, in the same mode; the layers are :class:`TensorTrainConv2d`. A model that
        is a single convolution becomes its train.

    Raises
    ------
    TypeError
        If the model or a rank is something else.
    ValueError
        If no layer can be replaced, one has hooks or a forward method of its own, a pattern fits
        none, or both of ranks and error are given, or none.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    >>> tensor_train(net, 0.25)[0].ranks
    (2, 2, 2)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: wanted a torch module")
    arguments.choice(form, "form", ("sequential", "parallel"))
    if (ranks is None) == (error is None):
        raise ValueError("tensor_train wants one of both: ranks, or the error that ranks follow")
    if error is not None:
        error = arguments.number(error, "error", 0, 1)
        if form != "sequential":
            raise ValueError(
                "error is for the sequential form: a cross has no corners, whatever its rank; give "
                "ranks"
            )
    drawn = arguments.flag(drawn, "drawn")
    found = {
        path: layer for path, layer in model.named_modules(remove_duplicate=False) if _fits(layer)
    }
    if not found:
        raise ValueError(f"{type(model).__name__} has no {_KIND}, so there is nothing to replace")
    choices = _choices(ranks, found)
    whole = copy.deepcopy(model)
    replaced: dict[int, TensorTrainConv2d] = {}  # a layer under several names stays one
    for path in found:
        layer = whole.get_submodule(path)
        rank = patterns.last(choices, path, None)
        if not isinstance(layer, nn.Conv2d) or (rank is None and error is None):
            continue  # replaced already, inside a module that has two names; or not asked for
        if id(layer) not in replaced:
            _check_plain(layer, path)
            replaced[id(layer)] = _train_of(layer, rank, form, error, drawn)
        whole = _put(whole, path, replaced[id(layer)])
    return whole


def merged(model: Changed) -> Changed:
    """Return a copy of a network whose trains are plain convolutions again.

    Parameters
    ----------
    model : module
        Untouched.

    Returns
    -------
    module
        Of the same class, in the same mode; every train is a ``nn.Conv2d`` of its merged kernel.

    Raises
    ------
    ValueError
        If there is no train.
    """
    paths = [
        path for path, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, TensorTrainConv2d)
    ]  # fmt: skip
    if not paths:
        raise ValueError(f"{type(model).__name__} has no TensorTrainConv2d, so none is merged")
    whole = copy.deepcopy(model)
    plain: dict[int, nn.Conv2d] = {}
    for path in paths:
        train = whole.get_submodule(path)
        if not isinstance(train, TensorTrainConv2d):
            continue  # merged already, inside a module that has two names
        if id(train) not in plain:
            plain[id(train)] = _plain(train)
        whole = _put(whole, path, plain[id(train)])
    return whole


# --------------------------------------------------------------------------------- parts


def _fits(layer: nn.Module) -> bool:
    """Return whether a layer can be a train."""
    return (
        type(layer) is nn.Conv2d and layer.kernel_size == (3, 3) and layer.padding in ((1, 1), 1)
        and layer.padding_mode == "zeros" and layer.dilation == (1, 1) and layer.groups == 1
    )  # fmt: skip


def _check_plain(layer: nn.Conv2d, path: str) -> None:
    """Raise ValueError if a layer does more than torch's own code."""
    if "forward" in vars(layer) or any(
        getattr(layer, f"_{kind}_hooks") for kind in ("forward", "forward_pre", "backward")
    ):
        raise ValueError(
            f"layer '{path}' has hooks or a forward method of its own, which a train would lose; "
            "remove them, or leave the layer out by patterns of ranks"
        )


def _choices(
    ranks: Rank | Mapping[str, Rank] | None, layers: Mapping[str, nn.Module]
) -> list[tuple[str, Rank | None]]:
    """Return checked pairs (pattern, rank)."""
    if ranks is None:
        return []
    pairs = list(ranks.items()) if isinstance(ranks, Mapping) else [("*", ranks)]
    checked: list[tuple[str, Rank | None]] = []
    if not pairs:
        raise ValueError("ranks is empty: wanted a rank, or patterns of layer names with theirs")
    for pattern, rank in pairs:
        if arguments.text(pattern, "a pattern of ranks") != "*":
            patterns.check("ranks", pattern, layers, _KIND)
        if not isinstance(rank, numbers.Real) or isinstance(rank, bool):
            raise TypeError(
                f"ranks: {arguments.shown(rank)} for '{pattern}' is a {type(rank).__name__}: "
                "wanted a whole number, or a share of the inputs such as 0.25"
            )
        if isinstance(rank, numbers.Integral):
            checked.append((pattern, arguments.whole(rank, "ranks", 1, 2**31)))
            continue
        if not 0 < rank <= 1:
            raise ValueError(
                f"ranks: {rank:g} for '{pattern}': a share of the inputs is above 0 and at most 1; "
                "give a whole number for a rank"
            )
        checked.append((pattern, float(rank)))
    return checked


def _train_of(
    layer: nn.Conv2d, rank: Rank | None, form: Form, error: float | None, drawn: bool
) -> TensorTrainConv2d:
    """Return the train of a layer."""
    inputs, outputs = layer.in_channels, layer.out_channels
    weight = layer.weight.detach()
    if rank is None:
        assert error is not None  # one of both is given
        wished = factors.ranks_for(weight.double(), error)
    else:
        one = max(1, round(rank * inputs)) if isinstance(rank, float) else rank
        wished = (one, one, one)
    train = TensorTrainConv2d(
        inputs, outputs, wished, form, stride=cast(Any, layer.stride), bias=layer.bias is not None
    ).to(weight)  # fmt: skip
    if not drawn:
        train.decompose(weight)
        if layer.bias is not None:
            assert train.leave.bias is not None  # asked for above
            with torch.no_grad():
                train.leave.bias.copy_(layer.bias)
    for parameter in train.parameters():
        parameter.requires_grad_(layer.weight.requires_grad)
    return train.train(layer.training)


def _plain(train: TensorTrainConv2d) -> nn.Conv2d:
    """Return the convolution of a train's merged kernel."""
    last = train.leave
    stride = tuple(
        a * b for a, b in zip(cast(Any, train.rows.stride), cast(Any, train.columns.stride),
                              strict=True)
    ) if train.form == "sequential" else train.rows.stride  # fmt: skip
    plain = nn.Conv2d(
        train.enter.in_channels, last.out_channels, 3, stride=cast(Any, stride), padding=1,
        bias=last.bias is not None,
    ).to(last.weight)  # fmt: skip
    with torch.no_grad():
        plain.weight.copy_(train.kernel())
        if last.bias is not None and plain.bias is not None:
            plain.bias.copy_(last.bias)
    for parameter in plain.parameters():
        parameter.requires_grad_(last.weight.requires_grad)
    return plain.train(train.training)


def _put(model: Changed, path: str, layer: nn.Module) -> Changed:
    """Put a layer in the place of another one; return the model, which the layer may be itself."""
    if not path:
        return cast(Changed, layer)
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)
    return model
