"""Which tensors of a network share channels: one pass over its recorded operations.

Every product with a constant matrix, every table of embeddings and every gain makes a
:class:`~aimc_sim.transforms.spaces.Space` of channels. A tensor in a space has the number of a
channel at every element, and operations that only move numbers are applied to these numbers: no
rule about shapes is needed to follow channels through views, heads and repeated keys. Sums join
spaces; norms, attention and gains are noted; a call that is none of these is an obstacle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from aimc_sim.frontend import calls
from aimc_sim.frontend.recording import Recording
from aimc_sim.transforms.marks import End, Mix, Norm, Obstacle, Use
from aimc_sim.transforms.spaces import Gain, Scores, Space, Tagged, varied

MOVES = frozenset(
    "view _unsafe_view reshape flatten unflatten squeeze unsqueeze permute transpose t expand "
    "select slice narrow split split_with_sizes chunk tensor_split unbind movedim moveaxis "
    "swapaxes swapdims repeat repeat_interleave tile flip roll index index_select broadcast_to "
    "view_as reshape_as expand_as".split()
)
"""Operations that move numbers and change none."""

IDLE = frozenset(
    "clone contiguous detach alias lift_fresh_copy to _to_copy type_as dropout feature_dropout "
    "identity".split()
)
"""Operations that change no number in evaluation."""

_METADATA = frozenset(
    "_assert_tensor_metadata sym_size sym_numel sym_stride zeros_like ones_like empty_like "
    "full_like new_zeros new_ones new_empty new_full _assert_async _assert_scalar".split()
)
"""Operations that read sizes and types only."""

_TURNS = "no rotation of its input can be taken out of it"

_RESHAPED = {"view": "reshape", "_unsafe_view": "reshape"}


class ChannelFlow:
    """The channels of a recorded network.

    Parameters
    ----------
    recording : Recording
        The record, with fixed sizes.

    Attributes
    ----------
    spaces : list of Space
        All spaces that were made; some have been joined.
    reads : dict of fx.Node to list of Use
        Uses of every constant, by the placeholder behind it.
    products : dict of fx.Node to list of End
        Products with a constant matrix: the end that reads, of their own, in no space.
    behind : dict of fx.Node to fx.Node
        Those whose input has no channels that could be turned, with the input.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.spaces: list[Space] = []
        self.reads: dict[fx.Node, list[Use]] = {}
        self.products: dict[fx.Node, list[End]] = {}
        self.behind: dict[fx.Node, fx.Node] = {}
        self._state: dict[fx.Node, Any] = {}
        with torch.no_grad():
            for node in recording.graph.nodes:
                self._state[node] = self._visit(node)

    @property
    def roots(self) -> list[Space]:
        """The spaces, each once."""
        return [space for space in self.spaces if space.root is space]

    def where(self, node: fx.Node) -> str:
        """Return the words that name a call in a message, with the user's line."""
        path = calls.owner(self.recording.model, node)
        return f"'{calls.operation(node) or node.name}' in '{path}'{calls.location(node)}"

    def placeholders(self, source: fx.Node) -> list[fx.Node]:
        """Return the placeholders that a constant is computed from."""
        found: list[fx.Node] = []
        waiting = [source]
        while waiting:
            node = waiting.pop()
            if node.op in ("placeholder", "get_attr"):
                found.append(node)
            waiting.extend(node.all_input_nodes)
        return found

    def evaluated(self, source: fx.Node, placeholder: fx.Node, value: Tensor) -> Tensor:
        """Return a constant with other numbers in the placeholder that it is computed from.

        Parameters
        ----------
        source : fx.Node
            The constant.
        placeholder : fx.Node
            The placeholder.
        value : tensor of the placeholder's shape
            The numbers, dimensionless.

        Returns
        -------
        tensor of the constant's shape
            Its numbers.
        """
        known: dict[fx.Node, Any] = {placeholder: value}

        def visit(node: Any) -> Any:
            if not isinstance(node, fx.Node):
                return node
            if node not in known:
                args, kwargs = fx.node.map_aggregate((node.args, node.kwargs), visit)
                target: Any = node.target
                known[node] = target(*args, **kwargs)
            return known[node]

        result: Tensor = visit(source)
        return result

    # ------------------------------------------------------------------------ states

    def _visit(self, node: Any) -> Any:
        if node.op == "placeholder":
            if node.name in self.recording.constants:
                return self.recording.constants[node.name][1].detach()
            return None
        if node.op == "get_attr":
            found: Any = self.recording.module
            for part in str(node.target).split("."):
                found = getattr(found, part)
            return found.detach() if isinstance(found, Tensor) else None
        if node.op == "output":
            for part in node.all_input_nodes:
                for held in _helds(self._state[part]):
                    self._block(held, part, "the model returns these channels")
            return None
        if node.op != "call_function":
            return None
        name = calls.operation(node)
        if str(node.target) == "<built-in function getitem>":
            parts = self._state[node.args[0]]
            return parts[node.args[1]] if isinstance(parts, tuple | list) else None
        inputs = [self._state[part] for part in node.all_input_nodes]
        if not name:
            return self._unknown(node, "it is no operation of ATen")
        # A table is never computed: only the rows of this example would be known.
        if name != "embedding" and all(isinstance(x, Tensor | int | float) for x in inputs):
            return self._computed(node)
        if name in _METADATA:
            return None
        if any(isinstance(x, tuple) for x in inputs):
            return self._unknown(node, "it takes several results at once")
        rule = getattr(self, f"_do_{_RULES[name]}", None) if name in _RULES else None
        if rule is None:
            return self._unknown(node, _TURNS)
        return rule(node)

    def _computed(self, node: Any) -> Any:
        """Return an operation on constants."""
        args, kwargs = fx.node.map_aggregate(
            (node.args, node.kwargs), lambda x: self._state[x] if isinstance(x, fx.Node) else x
        )
        name = calls.operation(node)
        target = torch.ops.aten.reshape.default if name in _RESHAPED else node.target
        result = target(*args, **kwargs)
        return tuple(result) if isinstance(result, list) else result

    def _unknown(self, node: Any, reason: str) -> None:
        """Note an obstacle for all channels that a call reads, and uses of its constants."""
        for part in node.all_input_nodes:
            state = self._state.get(part)
            for held in _helds(state):
                self._block(held, node, reason)
            if isinstance(state, Tensor):
                self._use(node, part)
        return None

    def _block(self, held: Tagged, node: Any, reason: str) -> None:
        held.space.root.obstacles.append(Obstacle(node, held.present, reason))

    def _use(self, call: fx.Node, source: fx.Node) -> Use:
        use = Use(call, source, self._state[source])
        for placeholder in self.placeholders(source):
            self.reads.setdefault(placeholder, []).append(use)
        return use

    def _space(self, size: int, node: Any) -> Space:
        space = Space(size, node)
        self.spaces.append(space)
        return space

    def _fresh(self, node: Any, size: int, axis: int) -> Tagged:
        """Return a result whose dimension ``axis`` runs along new channels."""
        shape = [1] * len(_shape(node))
        shape[axis] = size
        numbers = torch.arange(size).view(shape).expand(_shape(node))
        return Tagged(self._space(size, node), numbers)

    def _state_of(self, part: Any) -> Any:
        return self._state[part] if isinstance(part, fx.Node) else part

    # ------------------------------------------------------------------------- rules

    def _do_idle(self, node: Any) -> Any:
        held = self._state[node.args[0]]
        if not isinstance(held, Tagged):
            return self._unknown(node, "")
        value = node.meta["val"]
        trained = "dropout" in calls.operation(node) and bool(node.args[2])
        if not value.is_floating_point() or trained:
            return self._unknown(node, "it rounds its numbers or draws random ones")
        return held

    def _do_move(self, node: Any) -> Any:
        held = self._state[node.args[0]]
        others = [self._state[part] for part in node.all_input_nodes[1:]]
        if not isinstance(held, Tagged) or any(
            not isinstance(x, Tensor | int) for x in others
        ):  # fmt: skip
            if isinstance(held, Tagged) and calls.operation(node).endswith("_as"):
                return replace(held, channels=_broadcast(held.channels, _shape(node)))
            return self._unknown(node, "the places that it reads depend on data")
        args, kwargs = fx.node.map_aggregate((node.args, node.kwargs), self._moved)
        name = calls.operation(node)
        target = torch.ops.aten.reshape.default if name in _RESHAPED else node.target
        result = target(*args, **kwargs)
        if isinstance(result, Tensor):
            return replace(held, channels=result)
        return tuple(replace(held, channels=part) for part in result)

    def _moved(self, part: Any) -> Any:
        state = self._state_of(part)
        return state.channels if isinstance(state, Tagged) else state

    def _do_neg(self, node: Any) -> Any:
        held = self._state[node.args[0]]
        return (
            held if isinstance(held, Tagged) and not held.squared else self._unknown(node, _TURNS)
        )

    def _do_sum(self, node: Any) -> Any:
        """Return the result of an addition or subtraction."""
        a, b = (self._state_of(part) for part in node.args[:2])
        if not isinstance(a, Tagged):
            a, b = b, a
        if not isinstance(a, Tagged):
            return self._unknown(node, "")
        if isinstance(b, int | float):
            return a if b == 0 else self._unknown(node, "one number is added to every channel")
        shape = _shape(node)
        mine = _broadcast(a.channels, shape)
        if isinstance(b, Tensor):
            constant = node.args[1] if self._state_of(node.args[0]) is a else node.args[0]
            if not self._constant(node, constant, b, mine, a):
                return self._unknown(node, "a constant is added that is not aligned with channels")
            return Tagged(a.space, mine)
        if not isinstance(b, Tagged):
            return self._unknown(node, "numbers without known channels are added")
        theirs = _broadcast(b.channels, shape)
        if a.squared or b.squared or a.space.root.size != b.space.root.size:
            return self._unknown(node, "channels of another number are added")
        if not torch.equal(mine, theirs):
            return self._unknown(node, "channels are added to others of another order")
        a.space.join(b.space)
        return Tagged(a.space, mine)

    def _constant(
        self, node: Any, source: Any, value: Tensor, channels: Tensor, held: Tagged
    ) -> bool:
        """Note a constant that is added to channels; False if no dimension runs along them."""
        along = varied(channels)
        lead = channels.ndim - value.ndim
        if len(along) != 1 or held.squared or lead < 0:
            return False
        axis = along[0]
        full = torch.arange(held.space.root.size)
        numbers = channels.movedim(axis, 0).flatten(1)[:, 0]
        if axis < lead or value.shape[axis - lead] == 1 or not torch.equal(numbers, full):
            return False
        use = self._use(node, source)
        held.space.root.ends.append(End("constant", use, axis - lead, numbers))
        return True

    def _do_product(self, node: Any) -> Any:
        """Return the result of a product of elements, or of a quotient."""
        divided = calls.operation(node) == "div"
        a, b = (self._state_of(part) for part in node.args[:2])
        source = node.args[1]
        if divided and not isinstance(a, Tagged):
            return self._unknown(node, "channels divide other numbers")
        if not isinstance(a, Tagged) or (isinstance(b, Tagged) and _lone(a, b)):
            a, b, source = b, a, node.args[0]
        if not isinstance(a, Tagged) or a.squared:
            return self._unknown(node, _TURNS)
        if isinstance(b, int | float):
            return a
        if node.args[0] is node.args[1]:
            return replace(a, squared=True)
        shape = _shape(node)
        mine = _broadcast(a.channels, shape)
        other = b.channels if isinstance(b, Tagged) else b if isinstance(b, Tensor) else None
        sizes = _shape(source) if other is None else tuple(other.shape)
        lead = len(shape) - len(sizes)
        if all(d < lead or sizes[d - lead] == 1 for d in varied(mine)):
            if isinstance(b, Tagged):
                self._block(b, node, "it scales other channels")
            elif isinstance(b, Tensor):
                self._use(node, source)
            return Tagged(a.space, mine)
        if isinstance(b, Tensor) and not divided:
            along, full = varied(mine), torch.arange(a.space.root.size)
            axis = along[0] if len(along) == 1 else -1
            if axis >= 0 and torch.equal(mine.movedim(axis, 0).flatten(1)[:, 0], full):
                if not varied(b):
                    self._use(node, source)
                    return Tagged(a.space, mine)
                if varied(b) == [axis - lead]:
                    return self._gain(node, a, mine, self._use(node, source))
        if isinstance(b, Tagged):
            self._block(b, node, "channels are multiplied with channels")
        self._block(a, node, "every channel is multiplied with a number of its own")
        if isinstance(b, Tensor):
            self._use(node, source)
        return None

    def _gain(self, node: Any, held: Tagged, channels: Tensor, use: Use) -> Tagged:
        target = self._space(held.space.root.size, node)
        gain = Gain(node, held.space, target, use)
        held.space.root.gains_out.append(gain)
        target.gains_in.append(gain)
        return Tagged(target, channels)

    def _do_square(self, node: Any) -> Any:
        held = self._state[node.args[0]]
        exponent = node.args[1] if len(node.args) > 1 else 2
        if not isinstance(held, Tagged) or held.squared or exponent != 2:
            return self._unknown(node, _TURNS)
        return replace(held, squared=True)

    def _do_mean(self, node: Any) -> Any:
        """Note a sum of squares over all channels; return sums over tokens."""
        held = self._state[node.args[0]]
        dims = node.args[1] if len(node.args) > 1 else None
        if not isinstance(held, Tagged) or dims is None:
            return self._unknown(node, _TURNS)
        ndim = held.channels.ndim
        over = {d % ndim for d in ([dims] if isinstance(dims, int) else dims)}
        if not held.squared:
            if over.isdisjoint(held.along):
                index: Any = tuple(slice(0, 1) if d in over else slice(None) for d in range(ndim))
                kept = held.channels[index]
                return Tagged(held.space, kept.reshape(_shape(node)))
            return self._unknown(node, "it adds channels")
        whole = _whole(held.channels, over, held.space.root.size)
        if not whole:
            return self._unknown(node, "it takes the size of a part of the channels")
        held.space.root.norms.append(Norm(node, centred=False))
        return None

    def _do_length(self, node: Any) -> Any:
        """Note a ``linalg_vector_norm``, which no rotation changes."""
        held = self._state[node.args[0]]
        order = node.args[1] if len(node.args) > 1 else 2
        if not isinstance(held, Tagged) or held.squared or order != 2 or len(node.args) < 3:
            return self._unknown(node, _TURNS)
        over = {d % held.channels.ndim for d in node.args[2]}
        if not _whole(held.channels, over, held.space.root.size):
            return self._unknown(node, "it takes the size of a part of the channels")
        held.space.root.norms.append(Norm(node, centred=False))
        return None

    def _do_norm(self, node: Any) -> Any:
        """Return the result of a ``layer_norm`` or ``rms_norm``."""
        held = self._state[node.args[0]]
        if not isinstance(held, Tagged):
            return self._unknown(node, "")
        centred = calls.operation(node) == "layer_norm"
        over = {held.channels.ndim - 1}
        if len(node.args[1]) != 1 or held.squared or not _whole(
            held.channels, over, held.space.root.size
        ):  # fmt: skip
            return self._unknown(node, "it normalises a part of the channels")
        given = {a.name: v for a, v in zip(node.target._schema.arguments, node.args, strict=False)}
        given.update(node.kwargs)
        eps = given.get("eps")
        if centred and eps is None:
            eps = 1e-5
        held.space.root.norms.append(Norm(node, centred, eps))
        weight, bias = given.get("weight"), given.get("bias")
        if not centred and weight is None:
            return held
        target = self._space(held.space.root.size, node)
        gain = Gain(
            node, held.space, target,
            None if weight is None else self._use(node, weight),
            None if bias is None else self._use(node, bias),
        )  # fmt: skip
        held.space.root.gains_out.append(gain)
        target.gains_in.append(gain)
        return Tagged(target, held.channels)

    def _do_table(self, node: Any) -> Any:
        """Return the result of an ``embedding``."""
        table, places = node.args[0], self._state_of(node.args[1])
        value = self._state[table]
        if not isinstance(value, Tensor) or isinstance(places, Tagged):
            return self._unknown(node, "")
        result = self._fresh(node, value.shape[1], len(_shape(node)) - 1)
        use = self._use(node, table)
        result.space.ends.append(End("writer", use, 1, torch.arange(value.shape[1])))
        return result

    def _do_convolution(self, node: Any) -> Any:
        """Return the channels that a convolution makes; those that it reads are bound."""
        x, weight = node.args[0], node.args[1]
        bias = node.args[2] if len(node.args) > 2 else None
        if not isinstance(self._state[weight], Tensor) or isinstance(self._state[x], Tensor):
            return self._unknown(node, "it slides over its input")
        held = self._state[x]
        if isinstance(held, Tagged):
            self._block(held, node, "a convolution reads them")
        return self._written(node, weight, 0, bias, 1)

    def _written(self, node: Any, weight: Any, axis: int, bias: Any, along: int) -> Tagged:
        value = self._state[weight]
        result = self._fresh(node, value.shape[axis], along)
        use = self._use(node, weight)
        added = None if bias is None else self._use(node, bias)
        channels = torch.arange(value.shape[axis])
        result.space.ends.append(End("writer", use, axis, channels, added))
        return result

    def _do_linear(self, node: Any) -> Any:
        x, weight = node.args[0], node.args[1]
        bias = node.args[2] if len(node.args) > 2 else None
        return self._linear(node, x, weight, 1, bias)

    def _do_addmm(self, node: Any) -> Any:
        bias, x, weight = node.args[:3]
        if node.kwargs or not isinstance(self._state[bias], Tensor):
            return self._unknown(node, "it scales its terms")
        return self._linear(node, x, weight, 0, bias)

    def _do_matmul(self, node: Any) -> Any:
        a, b = node.args[:2]
        left, right = self._state[a], self._state[b]
        if isinstance(right, Tensor) and right.ndim == 2:
            return self._linear(node, a, b, 0, None)
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            return self._unknown(node, "it is a product with a constant on the left")
        if isinstance(left, Tagged) and isinstance(right, Tagged):
            queries, keys = left.channels, right.channels.transpose(-1, -2)
            return self._scores(node, left, queries, right, keys)
        if isinstance(right, Tagged):
            return self._mixed(node, right, right.channels)
        return self._unknown(node, "it is a product with numbers that depend on the data")

    def _linear(self, node: Any, x: Any, weight: Any, axis: int, bias: Any) -> Any:
        """A product with a constant matrix whose dimension ``axis`` meets the input."""
        value, held = self._state[weight], self._state[x]
        if not isinstance(value, Tensor) or value.ndim != 2 or isinstance(held, Tensor):
            return self._unknown(node, "its matrix depends on the data")
        if bias is not None and not isinstance(self._state[bias], Tensor):
            return self._unknown(node, "its bias depends on the data")
        result = self._written(node, weight, 1 - axis, bias, len(_shape(node)) - 1)
        made = result.space.ends[0]
        last = held.channels.ndim - 1 if isinstance(held, Tagged) else 0
        whole = torch.arange(value.shape[axis])
        self.products[node] = [End("reader", made.use, axis, whole, made.bias)]
        if not isinstance(held, Tagged):
            self.behind[node] = x
        elif held.squared or held.along not in ([last], []):
            self._block(held, node, "a product reads channels that change from token to token")
        else:
            numbers = held.channels.reshape(-1, held.channels.shape[-1])[0]
            reader = End("reader", made.use, axis, numbers, made.bias)
            held.space.root.ends.append(reader)
        return result

    def _do_attention(self, node: Any) -> Any:
        query, key, value = (self._state[part] for part in node.args[:3])
        for part in node.all_input_nodes[3:]:
            for held in _helds(self._state[part]):
                self._block(held, node, "they are the mask of an attention")
            if isinstance(self._state[part], Tensor):
                self._use(node, part)
        heads = _shape(node.args[0])[-3] if len(_shape(node.args[0])) > 2 else 1
        if isinstance(query, Tagged) and isinstance(key, Tagged):
            self._scores(node, query, query.channels, key, _repeated(key.channels, heads))
        else:
            for held in (query, key):
                if isinstance(held, Tagged):
                    self._block(held, node, "its queries or keys have no known channels")
        if isinstance(value, Tagged):
            return self._mixed(node, value, _repeated(value.channels, heads))
        return None

    def _scores(
        self, node: Any, left: Tagged, queries: Tensor, right: Tagged, keys: Tensor
    ) -> None:  # fmt: skip
        """Note the product of queries and keys; both (..., tokens, channels)."""
        ends = []
        for held, numbers in ((left, queries), (right, keys)):
            ndim = numbers.ndim
            if held.squared or ndim - 2 in varied(numbers) or ndim - 1 not in varied(numbers):
                self._block(left, node, "it is a product of tokens")
                self._block(right, node, "it is a product of tokens")
                return None
            ends.append(numbers.select(-2, 0))
        shape = torch.broadcast_shapes(ends[0].shape, ends[1].shape)
        pairs = torch.stack([_broadcast(end, shape).reshape(-1, shape[-1]) for end in ends], 1)
        pairs = torch.unique(pairs, dim=0)
        scores = Scores(node, left.space, right.space, pairs[:, 0], pairs[:, 1])
        left.space.root.scores.append(scores)
        if right.space.root is not left.space.root:
            right.space.root.scores.append(scores)
        return None

    def _mixed(self, node: Any, held: Tagged, channels: Tensor) -> Any:
        """Values whose tokens are mixed; channels (..., tokens, channels)."""
        if held.squared or channels.ndim - 2 in varied(channels):
            self._block(held, node, "it adds tokens of different channels")
            return None
        row = channels.select(-2, 0)
        held.space.root.mixes.append(Mix(node, torch.unique(row.reshape(-1, row.shape[-1]), dim=0)))
        return Tagged(held.space, _broadcast(row.unsqueeze(-2), _shape(node)))

    def _do_mask(self, node: Any) -> Any:
        """Return the result of a ``masked_fill`` with zero, alike for all channels of a token."""
        held, mask, value = (self._state_of(part) for part in node.args[:3])
        if isinstance(held, Tagged) and not held.squared and not isinstance(mask, Tagged):
            sizes, shape = _shape(node.args[1]), _shape(node)
            lead = len(shape) - len(sizes)
            mine = _broadcast(held.channels, shape)
            if value == 0 and all(d < lead or sizes[d - lead] == 1 for d in varied(mine)):
                return Tagged(held.space, mine)
        return self._unknown(node, "it masks single channels, or with other numbers than zero")

    def _do_join(self, node: Any) -> Any:
        """Return the result of a ``cat`` or ``stack``."""
        parts = list(node.args[0])
        states = [self._state[part] for part in parts]
        helds = [state for state in states if isinstance(state, Tagged)]
        dim = node.args[1] if len(node.args) > 1 else 0
        if not helds or any(not isinstance(s, Tagged | Tensor) for s in states):
            return self._unknown(node, "it joins channels with other numbers")
        first, numbers = helds[0], []
        for part, state in zip(parts, states, strict=True):
            if isinstance(state, Tagged):
                if state.squared or state.space.root.size != first.space.root.size:
                    return self._unknown(node, "it joins channels of different numbers")
                numbers.append(state.channels)
                continue
            line = first.channels.narrow(dim, 0, 1) if "cat" in str(node.target) else first.channels
            mine = _broadcast(line, tuple(state.shape))
            if dim % first.channels.ndim in first.along or not self._constant(
                node, part, state, mine, first
            ):  # fmt: skip
                return self._unknown(node, "it joins constants that are not aligned with channels")
            numbers.append(mine)
        roots = {held.space.root for held in helds}
        if len(roots) > 1 and dim % first.channels.ndim in first.along:
            return self._unknown(node, "it joins channels end to end")
        for held in helds[1:]:
            first.space.join(held.space)
        return Tagged(first.space, node.target(numbers, dim))


def _rules() -> dict[str, str]:
    """Return the name of the rule for every operation."""
    rules = dict.fromkeys(MOVES, "move") | dict.fromkeys(IDLE, "idle")
    for rule, names in {
        "sum": "add sub", "product": "mul div", "square": "pow square", "mean": "mean sum",
        "length": "linalg_vector_norm", "norm": "layer_norm rms_norm", "table": "embedding",
        "convolution": "conv1d conv2d", "linear": "linear", "addmm": "addmm",
        "matmul": "matmul mm bmm", "attention": "scaled_dot_product_attention",
        "mask": "masked_fill", "join": "cat stack concat", "neg": "neg",
    }.items():  # fmt: skip
        rules |= dict.fromkeys(names.split(), rule)
    return rules


_RULES = _rules()


def _shape(node: Any) -> tuple[int, ...]:
    """Return the sizes of a recorded tensor."""
    return tuple(int(size) for size in node.meta["val"].shape)


def _helds(state: Any) -> Iterable[Tagged]:
    """Return the tensors with channels of a state."""
    if isinstance(state, Tagged):
        return [state]
    return [part for part in state if isinstance(part, Tagged)] if isinstance(state, tuple) else []


def _broadcast(channels: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    return torch.broadcast_to(channels, shape)


def _lone(a: Tagged, b: Tagged) -> bool:
    """Whether the first of two tensors has one channel, and the second several."""
    return not a.along and bool(b.along)


def _whole(channels: Tensor, over: set[int], size: int) -> bool:
    """Whether every vector along some dimensions holds each channel once."""
    if not set(varied(channels)) <= over:
        return False
    index: Any = tuple(slice(None) if d in over else 0 for d in range(channels.ndim))
    return torch.equal(channels[index].flatten().sort().values, torch.arange(size))


def _repeated(channels: Tensor, heads: int) -> Tensor:
    """Return channels of keys or values, each head as often as queries read it."""
    if channels.ndim < 3 or channels.shape[-3] == heads:
        return channels
    return channels.repeat_interleave(heads // channels.shape[-3], dim=-3)
