"""The residual stream: the channels that norms divide and that every block adds to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.transforms.edits import Edits
from aimc_sim.transforms.flow import IDLE, ChannelFlow
from aimc_sim.transforms.marks import End
from aimc_sim.transforms.spaces import Gain, Space

_REMEDY = "rotate a network with its head, and norms in front of the blocks (norm_first=True)"


@dataclass(frozen=True, eq=False)
class ResidualStream:
    """A residual stream whose gains can be folded.

    Attributes
    ----------
    space : Space
        Its channels.
    readers, writers, constants : list of End
        Constants on its channels, also behind and before the gains.
    folded : list of Gain
        Gains that go into the products that read behind them.
    scaled : list of Gain
        Gains that go into the products that write before them.
    """

    space: Space
    readers: list[End]
    writers: list[End]
    constants: list[End]
    folded: list[Gain]
    scaled: list[Gain]


def streams(flow: ChannelFlow) -> list[ResidualStream]:
    """Return the residual streams of a network.

    Parameters
    ----------
    flow : ChannelFlow
        The channels of the network.

    Returns
    -------
    list of ResidualStream
        In the order in which they begin.

    Raises
    ------
    UnsupportedLayerError
        If there is none, or one does not commute with rotations; names the call.
    """
    found = [
        _stream(flow, space) for space in flow.roots
        if space.norms and len(space.ends) + len(space.gains_in) > 1
        and len(space.of("writer") + space.of("constant")) + len(space.gains_in) > 1
    ]  # fmt: skip
    if not found:
        raise UnsupportedLayerError(
            f"{type(flow.recording.model).__name__} has no residual stream: expected channels that "
            "several layers add to and a LayerNorm or RMSNorm over all of them reads; the stream "
            "has to begin inside the network, with an embedding or a linear layer"
        )
    return found


def _stream(flow: ChannelFlow, space: Space) -> ResidualStream:
    """Return a space as a stream; raise where it is bound to its basis."""
    _free(flow, space, "the residual stream")
    if space.mixes or space.scores:
        call = space.mixes[0].call if space.mixes else space.scores[0].call
        raise _bound(flow, "the residual stream", call, "an attention reads it without a product")
    readers, writers, constants = map(space.of, ("reader", "writer", "constant"))
    stream = ResidualStream(space, readers, writers, constants, [], [])
    for gain in space.gains_out:
        target = gain.target.root
        if target is space or len(target.gains_in) > 1 or target.of("writer"):
            raise _bound(
                flow, "the residual stream", gain.call, "the gain of a norm scales the stream that "
                "later layers add to (norms behind the blocks)",
            )  # fmt: skip
        _free(flow, target, "what a norm of the residual stream gives")
        if target.norms or target.mixes or target.scores or target.gains_out:
            raise _bound(flow, "what a norm gives", target.call, "it is normalised once more")
        stream.folded.append(gain)
        stream.readers.extend(target.of("reader"))
    for gain in space.gains_in:
        source = gain.source.root
        plain = [end.kind for end in source.ends].count("writer") == len(source.ends)
        bound = source.norms or source.mixes or source.scores or source.obstacles
        if bound or not plain or len(source.gains_out) > 1 or source.gains_in:
            raise _bound(
                flow, "the residual stream", gain.call, "a gain or a norm writes into the stream, "
                "and goes into no product before it",
            )  # fmt: skip
        stream.scaled.append(gain)
        stream.writers.extend(source.of("writer"))
    whole = torch.arange(space.size)
    for end in stream.readers:
        if not torch.equal(end.channels.sort().values, whole):
            raise _bound(flow, "the residual stream", end.use.call, "it reads a part of it")
    centred = [norm for norm in space.norms if norm.centred]
    if centred and (len(centred) < len(space.norms) or space.of("reader")):
        other = next((n.call for n in space.norms if not n.centred), None)
        other = other or space.of("reader")[0].use.call
        raise _bound(
            flow, "the residual stream", other, "it depends on the mean over channels, which the "
            "network's layer norms subtract and a folded mean would remove for it as well",
        )  # fmt: skip
    return stream


def _free(flow: ChannelFlow, space: Space, what: str) -> None:
    if space.obstacles:
        obstacle = space.obstacles[0]
        raise _bound(flow, what, obstacle.call, obstacle.reason)


def _bound(flow: ChannelFlow, what: str, call: object, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"{what} cannot be rotated: the call {flow.where(call)} is bound to the basis of its "  # type: ignore[arg-type]
        f"channels, because {reason}; {_REMEDY}, or rewrite this call"
    )


def fold(edits: Edits, stream: ResidualStream) -> None:
    """Fold the gains of a stream into products, and the mean of its layer norms into writers.

    Parameters
    ----------
    edits : Edits
        New numbers of the network's parameters, which are extended.
    stream : ResidualStream
        The stream.

    Raises
    ------
    UnsupportedLayerError
        If a parameter cannot be rewritten; names it.
    """
    _fold_readers(edits, stream)
    for gain in stream.scaled:
        assert gain.gain is not None
        scale = edits.value(gain.gain).flatten()
        for end in gain.source.root.of("writer"):
            _turn_writer(edits, end, lambda v, s=scale: v * s)
        edits.unit(gain.gain)
    edits.apply()
    if any(norm.centred for norm in stream.space.norms):
        for end in stream.writers:
            _turn_writer(edits, end, lambda v: v - v.mean(-1, keepdim=True))
        for end in stream.constants:
            edits.along(end.use, end.axis, end.channels, lambda v: v - v.mean(-1, keepdim=True))
        edits.apply()
        _without_mean(edits, stream)


def _fold_readers(edits: Edits, stream: ResidualStream) -> None:
    """Fold gains and shifts behind norms into the products that read them."""
    for gain in stream.folded:
        target = gain.target.root
        size = target.size
        scale = torch.ones(size, dtype=torch.float64)
        if gain.gain is not None:
            scale = edits.value(gain.gain).flatten()
        shift = torch.zeros(size, dtype=torch.float64)
        if gain.shift is not None:
            shift = shift + edits.value(gain.shift).flatten()
        for end in target.of("constant"):
            value = edits.value(end.use).movedim(end.axis, -1).reshape(-1, size)
            if not bool((value == value[0]).all()):
                raise _bound(
                    edits.flow, "what a norm gives", end.use.call, "it adds numbers that change "
                    "from token to token",
                )  # fmt: skip
            shift = shift + value[0]
            edits.write(end.use, torch.zeros_like(edits.value(end.use)))
        for end in target.of("reader"):
            if bool((shift != 0).any()):
                matrix = edits.value(end.use).movedim(end.axis, -1)
                added = matrix @ shift[end.channels]
                if end.bias is None:
                    edits.add_bias(end.use, added)
                else:
                    edits.write(end.bias, edits.value(end.bias) + added)
            edits.along_use(end, lambda v, s=scale[end.channels]: v * s)
        layer_norm = calls.operation(gain.call) == "layer_norm"
        if gain.gain is not None and not layer_norm:
            edits.unit(gain.gain)
    edits.apply()


def _turn_writer(edits: Edits, end: End, turn: object) -> None:
    """Note new numbers of a product or table that writes channels, and of its bias."""
    edits.along_use(end, turn)
    if end.bias is not None:
        edits.write(end.bias, turn(edits.value(end.bias)))  # type: ignore[operator]
    else:
        edits.turn_added(end.use, turn)


def _without_mean(edits: Edits, stream: ResidualStream) -> None:
    """Replace the layer norms of a stream, whose mean is zero by now, by RMS norms."""
    model, flow = edits.model, edits.flow
    known = {norm.call for norm in stream.space.norms}
    for norm in stream.space.norms:
        path = calls.owner(flow.recording.model, norm.call)
        try:
            module = model.get_submodule(path)
        except AttributeError:
            module = model
        inside = [
            node for node in flow.recording.graph.nodes
            if node.op == "call_function" and calls.owner(flow.recording.model, node) == path
            and calls.operation(node) not in IDLE | {"_assert_tensor_metadata"}
        ]  # fmt: skip
        if module is model or any(node not in known for node in inside):
            raise _bound(
                flow, "the residual stream", norm.call, "this layer norm is no module of its own "
                "that an RMS norm could replace",
            )  # fmt: skip
        edits.replaced[path] = nn.RMSNorm(
            stream.space.size, eps=norm.eps, elementwise_affine=False
        ).train(module.training)  # fmt: skip


def turn(edits: Edits, stream: ResidualStream, rotation: Tensor) -> None:
    """Note new numbers by which the channels of a folded stream are rotated.

    Parameters
    ----------
    edits : Edits
        New numbers of the network's parameters, which are extended.
    stream : ResidualStream
        The stream, whose gains have been folded.
    rotation : (channels, channels) float64 tensor
        Orthogonal matrix Q (dimensionless); a row vector x of the stream becomes x Q.
    """
    for end in stream.readers:
        own = rotation[end.channels][:, end.channels]
        edits.along_use(end, lambda v, q=own: v @ q)
    edits.apply()
    for end in stream.writers:
        _turn_writer(edits, end, lambda v: v @ rotation)
    for end in stream.constants:
        edits.along(end.use, end.axis, end.channels, lambda v: v @ rotation)
    edits.apply()
