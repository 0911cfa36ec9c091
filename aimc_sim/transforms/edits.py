"""New numbers for the parameters of a network, and the copy of the network that has them.

A call reads an expression of a parameter: the parameter itself, its transpose, a third of it. Which
of its numbers stand where is found by evaluating that expression on the numbers of the elements.
Every use of a parameter must agree with the new numbers; where two layers share one parameter and
disagree (tied embeddings), each gets its own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.transforms.flow import IDLE, MOVES, ChannelFlow
from aimc_sim.transforms.marks import End, Use


@dataclass(frozen=True)
class Place:
    """Where a parameter is kept.

    Attributes
    ----------
    path : str
        Path of the module that has it, "" for the model itself.
    name : str
        Name in that module.
    """

    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}.{self.name}" if self.path else self.name


class Edits:
    """New numbers of parameters, in float64.

    Parameters
    ----------
    model : nn.Module
        The model whose parameters are edited; it is not changed.
    flow : ChannelFlow
        Its channels.
    """

    def __init__(self, model: nn.Module, flow: ChannelFlow) -> None:
        self.model, self.flow = model, flow
        self.replaced: dict[str, nn.Module] = {}
        self._values: dict[Place, Tensor] = {}
        self._pending: dict[Place, tuple[Tensor, Tensor, fx.Node]] = {}
        self._done: set[tuple[fx.Node, Place]] = set()
        self._added: dict[str, Tensor] = {}
        self._places: dict[int, list[Place]] = {}
        self._same: dict[tuple[int, str], Place] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    place = self._same.setdefault((id(module), name), Place(path, name))
                    known = self._places.setdefault(id(tensor), [])
                    if place not in known:
                        known.append(place)

    # -------------------------------------------------------------------- reading

    def place(self, use: Use) -> tuple[Place, Tensor]:
        """Return where the parameter behind a use is kept, and its elements in the use.

        Parameters
        ----------
        use : Use
            The use.

        Returns
        -------
        place : Place
            The parameter; of several that are one tensor, the one nearest to the call.
        index : int64 tensor of the shape of the use
            Number of the parameter's element at every element of the use.

        Raises
        ------
        UnsupportedLayerError
            If the call reads numbers that are computed from parameters, not moved only.
        """
        index = self._index(use)
        if index is None:
            raise UnsupportedLayerError(
                f"the call {self.flow.where(use.call)} reads numbers that are computed from "
                f"{self._names(use)}, so that they cannot be rewritten; expected a parameter, or a "
                "part of one; replace the computation by its result, such as "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
        return self._home(use), index

    def _home(self, use: Use) -> Place:
        """Return where the parameter behind a use is kept."""
        held = self._tensor(self.flow.placeholders(use.source)[0])
        known = self._places.get(id(held), [])
        for path in calls.owners(use.call):
            module = self._submodule(path)
            if module is None:
                continue
            for place in known:
                if self._submodule(place.path) is module:
                    return place
            for place in known:
                if not path or place.path.startswith(path + "."):
                    return place
        raise UnsupportedLayerError(
            f"the call {self.flow.where(use.call)} reads {self._names(use)}, which is no parameter "
            "or buffer of a module; register it as one"
        )

    def _submodule(self, path: str) -> nn.Module | None:
        try:
            return self.model.get_submodule(path)
        except AttributeError:
            return None

    def _tensor(self, placeholder: fx.Node) -> Any:
        held = self.flow.recording.constants.get(placeholder.name)
        if held is None:
            return None
        # The record has its own copy of the module, which shares the tensors.
        path = held[0]
        module = self._submodule(path.rpartition(".")[0])
        return getattr(module, path.rpartition(".")[2], held[1])

    def _names(self, use: Use) -> str:
        constants = self.flow.recording.constants
        found = [constants[p.name][0] for p in self.flow.placeholders(use.source)
                 if p.name in constants]  # fmt: skip
        return ", ".join(f"'{name}'" for name in found) or "a constant"

    def _index(self, use: Use) -> Tensor | None:
        """Return the numbers of a parameter's elements at a use; None if they are computed."""
        sources = self.flow.placeholders(use.source)
        if len(sources) != 1 or sources[0].name not in self.flow.recording.constants:
            return None
        tensor = self.flow.recording.constants[sources[0].name][1]
        numbers = torch.arange(tensor.numel()).view(tensor.shape)
        known: dict[fx.Node, Any] = {sources[0]: numbers}

        def visit(node: Any) -> Any:
            if not isinstance(node, fx.Node):
                return node
            if node not in known:
                name = calls.operation(node)
                if str(node.target) == "<built-in function getitem>":
                    known[node] = visit(node.args[0])[node.args[1]]
                elif name in IDLE and node.meta["val"].is_floating_point():
                    known[node] = visit(node.args[0])
                elif name in MOVES:
                    args, kwargs = fx.node.map_aggregate((node.args, node.kwargs), visit)
                    target: Any = node.target
                    if "view" in name:
                        target = torch.ops.aten.reshape.default
                    known[node] = target(*args, **kwargs)
                else:
                    raise LookupError(name)
            return known[node]

        try:
            found: Tensor = visit(use.source)
            return found
        except LookupError:
            return None

    def value(self, use: Use) -> Tensor:
        """Return the present numbers of a use.

        Parameters
        ----------
        use : Use
            The use.

        Returns
        -------
        float64 tensor of the shape of the use
            Its numbers after the edits that have been applied (dimensionless).
        """
        sources = self.flow.placeholders(use.source)
        if self._index(use) is None and len(sources) == 1 and self._tensor(sources[0]) is not None:
            return self.flow.evaluated(use.source, sources[0], self._value(self._home(use)))
        place, index = self.place(use)
        return self._value(place).flatten()[index]

    def _value(self, place: Place) -> Tensor:
        if place not in self._values:
            module = self.model.get_submodule(place.path)
            self._values[place] = getattr(module, place.name).detach().cpu().double()
        return self._values[place]

    # -------------------------------------------------------------------- writing

    def unit(self, use: Use) -> None:
        """Note that a gain becomes one, also where it is stored as its difference from one.

        Parameters
        ----------
        use : Use
            The gain, as it is multiplied with channels.

        Raises
        ------
        UnsupportedLayerError
            If neither ones nor zeros in its parameter make it one.
        """
        if self._index(use) is not None:
            return self.write(use, torch.ones_like(use.value, dtype=torch.float64))
        sources = self.flow.placeholders(use.source)
        if len(sources) == 1 and self._tensor(sources[0]) is not None:
            place = self._home(use)
            numbers = torch.arange(self._value(place).numel())
            for number in (1.0, 0.0):
                filled = torch.full_like(self._value(place), number)
                if bool((self.flow.evaluated(use.source, sources[0], filled) == 1.0).all()):
                    return self._write(use.call, place, numbers, filled)
        raise UnsupportedLayerError(
            f"the gain that {self.flow.where(use.call)} multiplies channels with is computed from "
            f"{self._names(use)} in a way that cannot be set to one; store it as a parameter"
        )

    def write(self, use: Use, value: Tensor) -> None:
        """Note new numbers for a use, to be taken over by :meth:`apply`.

        Parameters
        ----------
        use : Use
            The use.
        value : float64 tensor of the shape of the use
            New numbers (dimensionless).

        Raises
        ------
        UnsupportedLayerError
            If another use of the same parameter needs other numbers.
        """
        place, index = self.place(use)
        self._write(use.call, place, index, value)

    def along(self, use: Use, axis: int, channels: Tensor, turn: Any) -> None:
        """Note new numbers for all vectors of a parameter that run along channels.

        The example may read only some rows of a parameter, as a table of positions; all are
        rewritten.

        Parameters
        ----------
        use : Use
            The use.
        axis : int
            Its dimension that runs along channels.
        channels : (n,) int64 tensor
            Channels along it, in rising order.
        turn : callable
            (..., n) float64 tensor of vectors -> their new numbers.

        Raises
        ------
        UnsupportedLayerError
            If another use of the same parameter needs other numbers.
        """
        place, index = self.place(use)
        whole = self._value(place)
        shape = [1] * index.ndim
        shape[axis] = -1
        wanted = torch.broadcast_to(channels.view(shape), index.shape)
        spots = torch.unravel_index(index, whole.shape)
        for own, spot in enumerate(spots):
            if whole.shape[own] == len(channels) and torch.equal(spot, wanted):
                numbers = torch.arange(whole.numel()).view(whole.shape)
                turned = turn(whole.movedim(own, -1)).movedim(-1, own)
                return self._write(use.call, place, numbers, turned)
        if len(torch.unique(index)) != whole.numel():
            raise UnsupportedLayerError(
                f"the call {self.flow.where(use.call)} reads a part of '{place}' for inputs of "
                "this size, and the channels run along no dimension of it, so that the rest cannot "
                "be rewritten; store it with a dimension for the channels"
            )
        return self._write(
            use.call, place, index, turn(whole.flatten()[index].movedim(axis, -1)).movedim(-1, axis)
        )

    def along_use(self, end: End, turn: Any) -> None:
        """Note new numbers of a matrix or table, vector by vector along channels.

        Parameters
        ----------
        end : End
            A reader or writer of channels.
        turn : callable
            (..., n) float64 tensor of vectors -> their new numbers.

        Raises
        ------
        UnsupportedLayerError
            If another use of the same parameter needs other numbers.
        """
        value = self.value(end.use).movedim(end.axis, -1)
        self.write(end.use, turn(value).movedim(-1, end.axis))

    def turn_added(self, use: Use, turn: Any) -> None:
        """Change the bias that was given to a product that had none.

        Parameters
        ----------
        use : Use
            Use of the product's matrix; nothing happens if it was given no bias.
        turn : callable
            (outputs,) float64 tensor -> its new numbers.
        """
        path = self.place(use)[0].path
        if path in self._added:
            self._added[path] = turn(self._added[path])

    def _write(self, call: fx.Node, place: Place, index: Tensor, value: Tensor) -> None:
        before = self._value(place).flatten()
        if place not in self._pending:
            self._pending[place] = before.clone(), torch.zeros(len(before), dtype=torch.bool), call
        new, written, first = self._pending[place]
        where, value = index.flatten(), value.flatten()
        again = written[where]
        largest = max(float(value.abs().max()), 1e-300) if len(value) else 1.0
        if again.any() and (new[where] - value)[again].abs().max() > 1e-12 * largest:
            raise self._conflict(place, first, call)
        new[where] = value
        if (new[where] - value).abs().max() > 1e-12 * largest:  # one element, several numbers
            raise self._conflict(place, first, call)
        written[where] = True
        self._done.add((call, place))

    def add_bias(self, use: Use, value: Tensor) -> None:
        """Note a bias for a product that has none.

        Parameters
        ----------
        use : Use
            Use of the product's matrix.
        value : (outputs,) float64 tensor
            The bias (dimensionless).

        Raises
        ------
        UnsupportedLayerError
            If the product is not an ``nn.Linear``, which could have a bias.
        """
        place, _ = self.place(use)
        module = self.model.get_submodule(place.path)
        if not isinstance(module, nn.Linear) or place.name != "weight":
            raise UnsupportedLayerError(
                f"the product {self.flow.where(use.call)} has no bias to take up the bias of the "
                f"norm before it, and '{place}' is not the weight of an nn.Linear that could get "
                "one; give the product a bias of zeros"
            )
        held = self._added.setdefault(place.path, value)
        if (held - value).abs().max() > 1e-12 * max(float(value.abs().max()), 1e-300):
            raise self._conflict(place, use.call, use.call)

    def _conflict(self, place: Place, first: fx.Node, second: fx.Node) -> UnsupportedLayerError:
        return UnsupportedLayerError(
            f"the parameter '{place}' is read by {self.flow.where(first)} and by "
            f"{self.flow.where(second)}, which would need different numbers; give each its own "
            "parameter"
        )

    def apply(self) -> None:
        """Take over the numbers noted since the last time.

        Raises
        ------
        UnsupportedLayerError
            If a call reads numbers that have changed, but was not among those they were changed
            for.
        """
        for place, (new, written, first) in self._pending.items():
            old = self._value(place)
            changed = written & (new != old.flatten())
            if changed.any():
                self._check_others(place, changed, first)
            self._values[place] = new.view(old.shape)
        self._pending.clear()
        self._done.clear()

    def _check_others(self, place: Place, changed: Tensor, first: fx.Node) -> None:
        for placeholder, uses in self.flow.reads.items():
            held = self._tensor(placeholder)
            if place not in self._places.get(id(held), []):
                continue
            for use in uses:
                if self._home(use) != place or (use.call, place) in self._done:
                    continue
                index = self._index(use)
                if index is None:
                    raise self._conflict(place, first, use.call)
                if changed[index.flatten()].any():
                    raise self._conflict(place, first, use.call)

    # ------------------------------------------------------------------- results

    def result(self, exact: bool = False) -> nn.Module:
        """Return the copy of the model with the new numbers and modules.

        Parameters
        ----------
        exact : bool
            Whether all numbers are float64, to compare with the model.

        Returns
        -------
        nn.Module
            A deep copy, in the mode of the model. Parameters of one tensor with equal new numbers
            stay one; others are untied.
        """
        made = copy.deepcopy(self.model)
        if exact:
            made.double()
        tied: dict[int, list[tuple[Tensor, Tensor]]] = {}
        untied = False
        for places in self._places.values():
            if not any(place in self._values for place in places):
                continue
            for place in places:
                module = made.get_submodule(place.path)
                before = getattr(self.model.get_submodule(place.path), place.name)
                kind = torch.float64 if exact else before.dtype
                new = self._value(place)
                known = tied.setdefault(id(before), [])
                same = [kept for numbers, kept in known if torch.equal(numbers, new)]
                if not same:
                    untied = untied or bool(known)
                    tensor: Tensor = new.to(before.device, kind, copy=True)
                    if isinstance(before, nn.Parameter):
                        tensor = nn.Parameter(tensor, before.requires_grad)
                    known.append((new, tensor))
                    same = [tensor]
                setattr(module, place.name, same[0])
        for path, bias in self._added.items():
            linear = made.get_submodule(path)
            assert isinstance(linear, nn.Linear)
            linear.bias = nn.Parameter(bias.to(linear.weight), linear.weight.requires_grad)
        for path, module in self.replaced.items():
            put(made, path, copy.deepcopy(module).double() if exact else module)
        config: Any = getattr(made, "config", None)
        if untied and getattr(config, "tie_word_embeddings", False):
            config.tie_word_embeddings = False  # or saving and loading would tie them again
        for module in made.modules():
            if isinstance(module, nn.TransformerEncoderLayer):
                module.activation_relu_or_gelu = 0  # torch's fused kernel has its own layer norm
        return made


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of another.

    Parameters
    ----------
    model : nn.Module
        The model that is changed.
    path : str
        Path of the module that goes.
    module : nn.Module
        The module that comes.
    """
    above, _, name = path.rpartition(".")
    parent = model.get_submodule(above)
    if name in parent._modules:
        parent._modules[name] = module
    else:
        setattr(parent, name, module)
