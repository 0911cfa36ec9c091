"""From a torch network to one whose weights are devices that learn."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aimc_sim import arguments, units
from aimc_sim.learning.chips import chip_of
from aimc_sim.learning.clock import Clock
from aimc_sim.learning.crossbars import ArrayWeight, Matrix
from aimc_sim.learning.engine import Update
from aimc_sim.learning.layers import PLAIN, ArrayLayer, BiasPlace, attach, start_of
from aimc_sim.learning.learning_report import LearningReport, report_of
from aimc_sim.learning.mixed import MixedPrecision
from aimc_sim.learning.synapses import Device
from aimc_sim.machine import settings
from aimc_sim.mapping.where import Where
from aimc_sim.runtime.chip import Chip
from aimc_sim.spec import ChipSpec
from aimc_sim.training.checks import check_model, choose


class ArrayNetwork(nn.Module):
    """A network on arrays that learn; made by :func:`prepare`.

    Attributes
    ----------
    model : nn.Module
        The copy that was prepared.
    spec : ChipSpec
        The chip, with the devices that its converters read.
    update : Update
        From gradients to pulses.
    device : Device
        Devices behind the weights.
    clock : Clock
        Time since the preparation.
    seed : int
        Seed of all draws.
    example : tuple of tensors or None
        First row of the first inputs, which a chip is recorded with.
    """

    def __init__(
        self, model: nn.Module, spec: ChipSpec, update: Update, device: Device, clock: Clock,
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.seed = seed
        self.model, self.spec, self.clock = model, spec, clock
        self.update, self.device = update, device
        self.example: tuple[Tensor, ...] | None = None

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return what the network returns, through the arrays at the clock's time."""
        if self.example is None and inputs and all(isinstance(x, Tensor) for x in inputs):
            self.example = tuple(x[:1].detach().clone() for x in inputs)
        return self.model(*inputs, **named)

    def layers(self) -> Iterator[tuple[str, ArrayLayer]]:
        """Yield path and layer of all that lie on arrays."""
        for path, layer in self.model.named_modules():
            if isinstance(layer, ArrayLayer):
                yield path, layer

    def arrays(self) -> list[nn.Parameter]:
        """Return the parameters that stand for arrays, for a group of an optimiser."""
        return [p for p in self.parameters() if isinstance(p, ArrayWeight)]

    def digital(self) -> list[nn.Parameter]:
        """Return all other parameters, for a group of an optimiser."""
        return [p for p in self.parameters() if not isinstance(p, ArrayWeight)]

    def at(self, time: float | str) -> ArrayNetwork:
        """Set the clock, to evaluate or to go on with training at a later time.

        Parameters
        ----------
        time : float (seconds) or str ("1 h", "1 day")
            Since the preparation, not before the last pulse.

        Returns
        -------
        ArrayNetwork
            This one.
        """
        seconds = units.seconds(time)
        latest = self.last_pulse_seconds()
        if seconds < latest:
            raise ValueError(
                f"time = {seconds:g} s lies before the last pulse at {latest:g} s: devices keep no "
                "earlier states"
            )
        self.clock.seconds = seconds
        return self

    def last_pulse_seconds(self) -> float:
        """Return the time of the last step, 0 before the first one, in seconds."""
        return max((layer.array.book.written_seconds for _, layer in self.layers()), default=0.0)

    def weights(self, layer: str) -> np.ndarray:
        """Return the noiseless weights of a layer at the clock's time.

        Parameters
        ----------
        layer : str
            Path of the layer in the model.

        Returns
        -------
        (C, R) float32, dimensionless
            Outputs and inputs; a bias that lies on the array is the last input.
        """
        found = dict(self.layers())
        if layer not in found:
            raise KeyError(arguments.unknown(f"no layer '{layer}' on arrays", layer, found))
        return found[layer].array.weights()

    def report(self) -> LearningReport:
        """Return pulses, time, energy and writes of all devices; print it or ``.to_dict()``."""
        return report_of(
            {path: layer.array for path, layer in self.layers()}, self.spec,
            type(self.update).__name__, type(self.device).__name__, self.clock.seconds,
        )  # fmt: skip

    def to_chip(self, seed: int = 0, example: Any = None) -> Chip:
        """Return a chip whose devices are these, at the clock's time; the network stays.

        Of two arrays (Tiki-Taka) it has that of the weights.

        Parameters
        ----------
        seed : int
            Of the chip's own draws: converters, noise of products.
        example : tensor or tuple, optional
            As of :meth:`aimc_sim.Chip.from_model`.

        Returns
        -------
        Chip
            Programmed, its time 0 now; calibrate it, and set its clock, as of any chip.

        Raises
        ------
        ValueError
            If a matrix lies in the digital unit, or its devices have no counterpart on a chip: no
            device, another cell than two devices, or states without a conductance.
        """
        example = self.example if example is None else example
        return chip_of(self.model, self.spec, arguments.seed(seed), example)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, those of arrays included."""
        for _, layer in self.layers():
            layer.array.book.pending = []
        super().zero_grad(set_to_none)

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the clock's time."""
        return {"seconds": torch.tensor(self.clock.seconds, dtype=torch.float64)}

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`get_extra_state`."""
        self.clock.seconds = float(state["seconds"])


@settings.own
def prepare(
    model: nn.Module, spec: ChipSpec, update: Update | None = None, seed: int = 0,
    where: Where = None, *, device: Device | None = None, bias: BiasPlace = "digital",
    weight_range: float | None = None, headroom: float = 4.0, clock: Clock | None = None,
) -> ArrayNetwork:  # fmt: skip
    """Return a copy of a network whose weights are simulated devices that learn by pulses.

    Parameters
    ----------
    model : nn.Module
        float32 or float64; untouched.
    spec : ChipSpec
        Size of the crossbars, converters and timings.
    update : Update, optional
        From gradients to pulses. Default: :class:`MixedPrecision`.
    seed : int
        >= 0. All draws are functions of the seed, the path of the layer and the numbers of the
        step and the vector.
    where : mapping from pattern to "analog" or "digital", or list of patterns, optional
        As of :meth:`aimc_sim.Chip.from_model`: layers that learn on arrays. Others, norms and
        everything else train as usual.
    device : Device, optional
        Devices behind the weights. Default: those that the update makes of the chip's
        (``update.device``): accumulating pulses where the chip's devices have a law of them, and
        those of :func:`aimc_sim.presets.pcm_nandakumar_2018` for other phase-change memory.
    bias : "digital" or "array"
        Biases in the local digital unit, as on the 64-core chip, or as one more row of devices
        that is driven by 1.
    weight_range : float, optional
        Weight at the end of the range that devices are used over, for all layers. It is fixed:
        weights in training cannot leave the range of the devices.
    headroom : float
        Without ``weight_range``, each layer's is this times its largest weight at the start.
    clock : Clock, optional
        Duration of a step, if not the cores'.

    Returns
    -------
    ArrayNetwork

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, a layer cannot learn on arrays (by name), a pattern fits
        no layer, or the devices lack a direction that the update needs.
    """
    update = MixedPrecision() if update is None else update
    _check(model, spec, update, device, clock)
    arguments.choice(bias, "bias", ("digital", "array"))
    seed = arguments.seed(seed)
    chosen = choose(model, where)
    for path in chosen:
        _check_layer(model, path)
    _check_shared(model, set(chosen))
    device = update.device(spec.core.device) if device is None else device
    if device is None:
        raise ValueError(
            f"{type(update).__name__} takes no devices of itself on '{spec.name}', whose devices "
            f"are of the family '{spec.core.device.family}': choose some in prepare, with "
            + " or ".join(f"device={example}" for example in update.examples)
        )
    spec = spec.with_({"core.device": device.on_chip(spec.core.device)})
    clock = Clock() if clock is None else copy.copy(clock)
    prepared = copy.deepcopy(model)
    for path in chosen:
        layer = prepared.get_submodule(path)
        width, start = weight_range, start_of(layer, bias)
        if not np.isfinite(start).all():
            raise ValueError(
                f"layer '{path or 'model'}' has {np.count_nonzero(~np.isfinite(start))} weights "
                "that are not finite"
            )
        if width is None:
            largest = float(np.abs(start).max(initial=0.0))
            width = headroom * largest if largest > 0 else 1.0
        if not 0 < width < float("inf"):
            raise ValueError(f"weight_range = {width!r} must be finite and > 0")
        core = spec.for_layer(path).core if spec.layers else spec.core
        attach(layer, path or "model", core, device, update, bias, width, seed, clock)
    return ArrayNetwork(prepared, spec, update, device, clock, seed).train(model.training)


def _check(model: Any, spec: Any, update: Any, device: Any, clock: Any) -> None:
    if isinstance(model, ArrayNetwork) or any(
        isinstance(module, ArrayLayer) for module in _modules(model)
    ):
        raise ValueError("the model is on arrays already: prepare the plain one")
    check_model(model)
    wanted = (
        (spec, ChipSpec, "spec", "aimc_sim.presets.hermes('odp')"),
        (update, Update, "update", "learning.MixedPrecision()"),
        (device, Device, "device", "learning.PcmPairs()"),
        (clock, Clock, "clock", "learning.Clock(seconds_per_step=1e-3)"),
    )
    for given, kind, name, example in wanted:
        if not isinstance(given, kind) and (given is not None or name in ("spec", "update")):
            raise TypeError(
                f"{name} is a {type(given).__name__}: wanted a {kind.__name__}, for example "
                f"{example}"
            )


def _modules(model: Any) -> Iterator[nn.Module]:
    return model.modules() if isinstance(model, nn.Module) else iter(())


def _check_layer(model: nn.Module, path: str) -> None:
    layer = model.get_submodule(path)
    name = path or type(layer).__name__
    advice = f"leave it digital with where={{'{name}': 'digital'}}"
    if type(layer) not in PLAIN:
        kinds = ", ".join(kind.__name__ for kind in PLAIN)
        raise ValueError(
            f"layer '{name}' is a {type(layer).__name__}, which does not learn on arrays ({kinds} "
            f"do): {advice}"
        )
    groups = getattr(layer, "groups", 1)
    if groups != 1:
        raise ValueError(
            f"layer '{name}' has groups = {groups}: the zeros between groups would learn too; "
            f"{advice}"
        )


def _check_shared(model: nn.Module, chosen: set[str]) -> None:
    """Raise if a weight that goes onto arrays belongs to another layer as well."""
    owners: dict[int, str] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            other = owners.setdefault(id(parameter), full)
            if other != full and {path, other.rpartition(".")[0]} & chosen:
                raise ValueError(
                    f"'{full}' is the parameter '{other}' as well: one array cannot stand in two "
                    "places with two sets of converters; call one layer twice, or leave both "
                    "digital with where"
                )


def layers_of(net: Any) -> dict[str, Matrix]:
    """Return the matrices of a network by the path of their layer.

    Parameters
    ----------
    net : ArrayNetwork
        As returned by :func:`prepare`.
    """
    if not isinstance(net, ArrayNetwork):
        raise TypeError(f"net is a {type(net).__name__}: wanted what learning.prepare returned")
    return {path: layer.array for path, layer in net.layers()}
