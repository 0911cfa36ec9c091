"""Rotation of the residual stream and of attention heads: equal networks without outliers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.frontend import calls
from aimc_sim.transforms import features, kurtosis, orthogonal, parity
from aimc_sim.transforms import heads as head_channels
from aimc_sim.transforms.edits import Edits
from aimc_sim.transforms.flow import ChannelFlow
from aimc_sim.transforms.streams import ResidualStream, fold, streams, turn

KINDS = ("hadamard", "orthogonal", "kurtosis", "pca")
"""Rotations that can be asked for by name."""


def fold_norms(model: nn.Module, example: Any) -> nn.Module:
    """Return a network whose norms have no weights, and whose layer norms are RMS norms.

    The weights and biases of the norms that read the residual stream go into the products behind
    them. The mean that a LayerNorm subtracts goes into everything that writes the stream:
    embeddings, constants, output rows of products and their biases; the LayerNorm then divides by
    the size of a vector whose mean is zero, as an RMSNorm does. Layer scales go into the products
    before them.

    Parameters
    ----------
    model : nn.Module
        The network, float32 or float64, with its norms in front of the blocks. It is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.

    Returns
    -------
    nn.Module
        A deep copy with other parameters, in torch's own layers: computed in float64, rounded
        once to the type of each parameter.

    Raises
    ------
    UnsupportedLayerError
        If a call binds the stream to the basis of its channels, or a parameter cannot be
        rewritten; names the call and the user's line.

    Source
        Code of ResQ (fusion of norms); the equations hold for any network with such norms.
    """
    plain, given, flow = parity.opened(model, example)
    edits = Edits(plain, flow)
    for stream in streams(flow):
        fold(edits, stream)
    return _tried(edits, given, "the folding of norms")


def rotate(
    model: nn.Module,
    example: Any,
    rotation: str | Tensor = "hadamard",
    *,
    heads: bool = True,
    data: Iterable[Any] | None = None,
    high: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return an equal network whose residual stream is rotated by one orthogonal matrix.

    Norms are folded first (:func:`fold_norms`). Then a row vector x of the stream becomes x Q:
    products that read it get ``W Q``, everything that writes it ``Q^T W`` and ``Q^T b``. Values of
    attentions are rotated head by head, in the product that makes them and in the one that reads
    what the attention gives.

    Parameters
    ----------
    model : nn.Module
        The network, float32 or float64, with its norms in front of the blocks. It is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.
    rotation : {"hadamard", "orthogonal", "kurtosis", "pca"} or (channels, channels) tensor
        "hadamard": a Hadamard matrix with random signs; "orthogonal": uniform over orthogonal
        matrices; "kurtosis": learned so that what products read has light tails (KurTail),
        starting from a random one; "pca": directions of most variance first, mixed inside two
        subspaces (ResQ); a tensor: the matrix Q itself (dimensionless).
    heads : bool
        Whether values are rotated inside each head of an attention.
    data : iterable of inputs of the forward method, optional
        Batches of the example's sizes, for "kurtosis" and "pca". Default: the example.
    high : int, optional
        For "pca": number of channels of high variance, which come first; default: an eighth.
    seed : int
        Root of the random numbers, >= 0.

    Returns
    -------
    nn.Module
        A deep copy with other parameters, in torch's own layers: computed in float64, rounded
        once to the type of each parameter. Chips are made and calibrated with it, not with the
        network before.

    Raises
    ------
    UnsupportedLayerError
        If a call binds the stream or the values to the basis of their channels, or a parameter
        cannot be rewritten; names the call and the user's line.
    ValueError
        If an argument has no meaning, or there is no Hadamard matrix for the number of channels.

    Source
        QuaRot, arXiv:2404.00456; KurTail, arXiv:2503.01483; ResQ,
        arXiv:2412.14363.
    """
    seed = arguments.seed(seed)
    heads = arguments.flag(heads, "heads")
    if isinstance(rotation, Tensor):
        rotation = arguments.dense(rotation, "rotation")
    else:
        rotation = arguments.choice(rotation, "rotation", KINDS)
    _check_used(rotation, data, high)
    plain, given, flow = parity.opened(model, example)
    edits = Edits(plain, flow)
    found = streams(flow)
    for stream in found:
        fold(edits, stream)
    batches = [example] if data is None else list(data)
    made = _matrices(edits, found, rotation, batches, high, seed)
    for stream, matrix in zip(found, made, strict=True):
        turn(edits, stream, matrix)
    if heads:
        _turn_heads(edits, flow, seed, len(found))
    return _tried(edits, given, "the rotation")


def _check_used(rotation: str | Tensor, data: Any, high: Any) -> None:
    """Refuse arguments that a rotation does not read."""
    kind = rotation if isinstance(rotation, str) else "a matrix"
    if data is not None and kind not in ("kurtosis", "pca"):
        raise ValueError(
            f"data is given, but rotation = {kind!r} is not learned from activations; leave data "
            "out, or take 'kurtosis' or 'pca'"
        )
    if high is not None and kind != "pca":
        raise ValueError(
            f"high = {high!r} is given, but rotation = {kind!r} has no subspace of high variance; "
            "leave high out, or take 'pca'"
        )


def _matrices(
    edits: Edits, found: list[ResidualStream], rotation: str | Tensor, data: list[Any],
    high: int | None, seed: int,
) -> list[Tensor]:  # fmt: skip
    """Return a rotation for every stream."""
    sizes = [stream.space.size for stream in found]
    if isinstance(rotation, Tensor):
        return [orthogonal.checked(rotation, size, "rotation") for size in sizes]
    if rotation == "hadamard":
        return [orthogonal.random_hadamard(size, seed, n) for n, size in enumerate(sizes)]
    if rotation == "orthogonal":
        return [orthogonal.random_orthogonal(size, seed, n) for n, size in enumerate(sizes)]
    activations = read_by_stream(edits.result(), edits.flow, data)
    if rotation == "kurtosis":
        return [
            kurtosis.learned(seen, orthogonal.mixing(size, seed, n))
            for n, (seen, size) in enumerate(zip(activations, sizes, strict=True))
        ]
    made = []
    for n, (seen, size) in enumerate(zip(activations, sizes, strict=True)):
        count = size // 8 if high is None else arguments.whole(high, "high", 1, size - 1)
        made.append(orthogonal.principal(torch.cat(seen), count, seed, n))
    return made


def read_by_stream(folded: nn.Module, flow: ChannelFlow, data: Iterable[Any]) -> list[list[Tensor]]:
    """Return the activations that the products reading each residual stream get.

    Parameters
    ----------
    folded : nn.Module
        A network whose norms have been folded.
    flow : ChannelFlow
        Channels of the network before; its example is recorded again.
    data : iterable of inputs of the forward method
        Batches of the example's sizes.

    Returns
    -------
    list of lists of (vectors, channels) float64 tensors
        For each stream, one tensor for each value that products read (dimensionless).
    """
    again = features.reopened(folded, flow)
    batches = list(data)
    found = []
    for stream in streams(again):
        inputs: dict[Any, Tensor] = {}
        for end in stream.readers:
            call = end.use.call
            x = call.args[1 if calls.operation(call) == "addmm" else 0]
            inputs[x] = end.channels
        seen = features.collect(folded, again, list(inputs), batches)
        found.append([
            values.reshape(-1, values.shape[-1])[:, torch.argsort(channels)]
            for values, channels in zip(seen, inputs.values(), strict=True)
        ])  # fmt: skip
    return found


def _turn_heads(edits: Edits, flow: ChannelFlow, seed: int, first: int) -> None:
    """Note new numbers by which the values of attentions are rotated inside heads."""
    for number, found in enumerate(head_channels.values(flow)):
        size = found.heads.shape[1]
        turned = [
            orthogonal.mixing(size, seed, first + 1000 * (number + 1) + head)
            for head in range(len(found.heads))
        ]
        head_channels.turn(edits, found.space, found.heads, head_channels.same(turned))


def _tried(edits: Edits, given: Any, what: str) -> nn.Module:
    """Return the edited model, which was compared with the one before."""
    parity.check(edits.model, edits.result(exact=True), given, what)
    return edits.result()
