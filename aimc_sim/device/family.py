"""One interface for all memory devices: a family is a class of specification and its laws.

A family describes *elements*: the parts of a crossbar's cell, each with a target conductance of its
own. Arrays of elements have shape (E, R, C): E elements per cell, rows, columns.
Which elements make a weight is the matter of the core (:mod:`aimc_sim.core.encodings`), not of a
family.

A family of one's own is two classes and one call, in one file::

    class MySpec(DeviceSpec):                       # aimc_sim.spec
        family: Literal["mine"] = quantity("-", "device family", "mine")
        noise: float | None = quantity("-", "relative read noise", None)
        effects: ClassVar[tuple[Effect, ...]] = (Effect(READ_NOISE, "noise", None),)

    class Mine(Family[MySpec, DeviceState]):
        name, spec_class, state_class = "mine", MySpec, DeviceState
        def program(...): ...
        def at(...): ...

    register(Mine())

After that ``ChipSpec.with_({"core.device": MySpec(...)})`` is a machine with such devices:
mapping, runs, compensation, training, attribution, files and reports read the registry.

Devices written by pulses alone (synapses that learn in the array: RRAM, ECRAM, transistors, domain
walls) attach in the same way. Their pulse law takes the place of :mod:`.pulses`: a function of a
state, a kind of pulse and a time, on arrays of any shape; :mod:`.synapse` puts several such devices
behind one weight and asks for nothing but ``fresh``, ``apply`` and ``conductance`` of that module.
The family's ``program`` is then a loop of such pulses, as :mod:`.programming.verify` is for
phase-change memory, and its ``at`` is the pulse law's conductance at a time. A family whose law
only says what one pulse does, and nothing of time, returns ``state.g`` from ``at``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from .. import units
from ..rng import Key, Purpose
from ..spec import DeviceSpec
from ..spec.family import declare
from .programming_report import ProgrammingReport, error_sum
from .request import Request, allocate, net_of

Address = tuple[int, int]
"""(columns, cells) of the core: turns (element, row, column) into the index of a draw."""


@dataclass(frozen=True)
class DeviceState:
    """Programmed elements of one block; families with more arrays derive from it.

    Every field is an array of shape (E, R, C), or None where a device has no such quantity.

    Attributes
    ----------
    target : (E, R, C) float32, siemens
        Conductance that was asked for; the idle level for elements that were not written.
    programmed : (E, R, C) bool
        Whether an element was written.
    g : (E, R, C) float32, siemens
        Conductance at the start of the clock, or before the law of time acts.
    """

    target: np.ndarray
    programmed: np.ndarray
    g: np.ndarray


@dataclass(frozen=True)
class ElementsNow:
    """Elements at one evaluation time.

    Attributes
    ----------
    g : (E, R, C) float32, siemens
        Conductance while the time is held constant (with drift and slow noise).
    fresh : (E, R, C) float32, siemens, or None
        Standard deviation of the noise that is drawn anew in every matrix-vector product.
    """

    g: np.ndarray
    fresh: np.ndarray | None


S = TypeVar("S", bound=DeviceSpec)
T = TypeVar("T", bound=DeviceState)


class Family(ABC, Generic[S, T]):
    """The laws of a kind of device.

    Attributes
    ----------
    name : str
        Value of the specification's field ``family``.
    spec_class : type
        Subclass of :class:`~aimc_sim.spec.DeviceSpec`.
    state_class : type
        Record of a programmed block: :class:`DeviceState` or a subclass.
    array_units : mapping from str to str
        Unit of every array of the state; arrays without one are dimensionless ("1").
    """

    name: ClassVar[str]
    spec_class: type[S]
    state_class: type[T]
    array_units: ClassVar[Mapping[str, str]] = {"target": "S", "g": "S"}

    # ------------------------------------------------------------------------- laws

    @abstractmethod
    def program(
        self, target: np.ndarray, programmed: np.ndarray, spec: S, address: Address, key: Key,
        cycle: int = 0,
    ) -> T:  # fmt: skip
        """Write elements.

        Parameters
        ----------
        target : (E, R, C) float32, siemens
            From :meth:`lowest_siemens` to ``spec.g_max_siemens``; the idle level where nothing is
            written.
        programmed : (E, R, C) bool
            False leaves the element idle.
        spec : DeviceSpec
            Of this family.
        address : (int, int)
            Columns and cells of the core.
        key : Key
            Of the core. Properties of a device are drawn from it.
        cycle : int
            Number of the programming, 0 the first. Properties of one programming are drawn from
            :func:`cycle_key`.

        Returns
        -------
        DeviceState
        """

    @abstractmethod
    def at(self, state: T, spec: S, t_seconds: float, address: Address, key: Key) -> ElementsNow:
        """Return conductances and the standard deviation of fresh noise at a time.

        A pure function: going forward, back or twice to one time gives equal numbers. Both come
        from one call, since laws of noise start from the conductance at that time.

        Parameters
        ----------
        state : DeviceState
            As :meth:`program` returned it.
        spec : DeviceSpec
            Of this family.
        t_seconds : float, seconds
            Time since the end of programming, >= 0; the law's clock is ``t + spec.t0_seconds``.
        address : (int, int)
            Columns and cells of the core.
        key : Key
            That of the programming: :func:`cycle_key` of the core's.

        Returns
        -------
        ElementsNow
        """

    def moments(
        self, target: np.ndarray, programmed: np.ndarray, spec: S, t_seconds: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the first two moments of the conductance, fresh noise included, if known.

        Training takes its noise from them. Without a closed form it programs whole crossbars and
        measures them, which is right for every family and takes seconds.

        Parameters
        ----------
        target : float64 array of any shape, siemens
            As in :meth:`program`.
        programmed : bool array of that shape
            As in :meth:`program`.
        spec : DeviceSpec
            Of this family.
        t_seconds : float, seconds
            Time since the end of programming.

        Returns
        -------
        (first, second) or None
            E G in siemens and E G^2 in siemens squared, float64 arrays of the targets' shape.
        """
        return None

    def has_fresh_noise(self, spec: S) -> bool:
        """Return whether some noise is drawn anew in every matrix-vector product."""
        return True

    # ------------------------------------------------------------ elements of a cell

    def idle_siemens(self, spec: S) -> float:
        """Return the mean conductance of an element that is not written, in siemens."""
        return 0.0

    def lowest_siemens(self, spec: S) -> float:
        """Return the lowest conductance that an element can be asked for, in siemens."""
        return 0.0

    def elements_per_polarity(self, spec: S) -> int:
        """Return how many elements of one polarity a cell holds."""
        return 1

    def filled(self, spec: S) -> int:
        """Return how many elements of a polarity share its target."""
        return 1

    def writes_zeros(self, spec: S) -> bool:
        """Return whether polarities that carry no weight are written, to the lowest level."""
        return False

    def devices(self, elements: np.ndarray, spec: S) -> np.ndarray:
        """Return the conductances of single devices, (D, R, C), of (E, R, C) elements, siemens."""
        return elements

    def allocate(self, request: Request, spec: S) -> tuple[np.ndarray, np.ndarray]:
        """Give the first element of a polarity the target and leave the others idle.

        Parameters
        ----------
        request : Request
            Targets of the polarities.
        spec : DeviceSpec
            Of this family.

        Returns
        -------
        target : (E, R, C) float32, siemens
            The idle level where nothing is written.
        programmed : (E, R, C) bool
            Whether an element is written.
        """
        return allocate(
            request, self.elements_per_polarity(spec), self.idle_siemens(spec),
            self.lowest_siemens(spec), spec.g_max_siemens,
        )  # fmt: skip

    def write(
        self, request: Request, spec: S, address: Address, key: Key, cycle: int = 0
    ) -> tuple[T, ProgrammingReport]:
        """Write the polarities of a block.

        Parameters
        ----------
        request : Request
            Targets of the polarities.
        spec : DeviceSpec
            Of this family.
        address : (int, int)
            Columns and cells of the core.
        key : Key
            Of the core.
        cycle : int
            Number of the programming, 0 the first.

        Returns
        -------
        DeviceState, ProgrammingReport
            The programmed elements; cost and error of writing them.
        """
        target, programmed = self.allocate(request, spec)
        state = self.program(target, programmed, spec, address, key, cycle)
        return state, drawn_report(request, state)

    def writes_again(self, state: T) -> bool:
        """Return whether a later programming of the core writes the devices of a state again.

        Their own properties then follow from the core's key, as in :meth:`program`.
        """
        return True

    # --------------------------------------------------------------------- display, files

    def summary(self, spec: S) -> str:
        """Return the devices of a polarity in a few words, for lists."""
        return f"{self.name}, to {units.show(spec.g_max_siemens, 'S')}"

    def arrays(self, state: T) -> dict[str, np.ndarray]:
        """Return the arrays of a state that a file keeps, by name."""
        found = {field.name: getattr(state, field.name) for field in fields(state)}
        return {name: array for name, array in found.items() if array is not None}


_FAMILIES: dict[str, Family[Any, Any]] = {}


def register(family: Family[Any, Any]) -> None:
    """Make a family known: its name may stand in specifications, its laws hold for them.

    Parameters
    ----------
    family : Family
        With a class of specification of its own. Registering an equal class twice (a module that
        is executed again) is refused as any other second one of a name.

    Raises
    ------
    ValueError
        If another family has the name, or the specification's class names another family.
    """
    name = family.spec_class.model_fields["family"].default
    if name != family.name:
        raise ValueError(
            f"the family '{family.name}' has the specification of '{name}'; give the field "
            f"'family' of {family.spec_class.__name__} that name as its default"
        )
    if family.name in _FAMILIES:
        raise ValueError(
            f"a device family '{family.name}' is registered already; choose another name"
        )
    declare(family.spec_class)
    _FAMILIES[family.name] = family


def of(spec: DeviceSpec) -> Family[Any, Any]:
    """Return the family of a device's specification."""
    return _FAMILIES[spec.family]


def registered() -> tuple[Family[Any, Any], ...]:
    """Return all families, in the order of their registration."""
    return tuple(_FAMILIES.values())


def cycle_key(key: Key, cycle: int) -> Key:
    """Return the key of the n-th programming of a core; the first one is the core's own."""
    return key if cycle == 0 else key.child(Purpose.REPROGRAM, cycle)


def drawn_report(request: Request, state: DeviceState) -> ProgrammingReport:
    """Return the report of a block whose errors were drawn from a law: no pulses, no cost."""
    net = net_of(state.g, request.polarities)
    cells, squares = error_sum(net - request.net(), request.programmed)
    tuned = int(state.programmed.sum())
    return ProgrammingReport("statistical", tuned, None, None, None, None, None, cells, squares)
