"""Fields of every device, and the class of specification that a family's name stands for.

A family of devices is one class of specification, below, and one of laws
(:mod:`aimc_sim.device.family`). ``core.device`` holds a specification of any family: written as a
mapping it names its family, and one that names none is of phase-change memory, as all were before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import SerializeAsAny, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from .. import arguments
from .base import Spec, quantity

FIRST_FAMILY = "pcm"
"""Family of specifications that name none."""


READ_NOISE = "read noise"
"""Label that the effect of read noise has in every family: training leaves it out by this name."""


@dataclass(frozen=True)
class Effect:
    """One way in which devices are not perfect.

    Attributes
    ----------
    label : str
        Name in tables; equal labels of different families are the same kind of effect.
    key : str
        Dotted path below ``core.device`` of the field that holds it.
    off : number, text, mapping or None
        Value of that field at which the effect is absent, as a study's file may hold it.
    missing : str
        Words for the list of things that are not modelled, where the effect is off; empty: an
        absence that needs no mention.
    """

    label: str
    key: str
    off: Any
    missing: str = ""

    def value(self, spec: DeviceSpec) -> Any:
        """Return what a specification holds at the effect's field."""
        found: Any = spec
        for part in self.key.split("."):
            found = getattr(found, part)
        return found

    def absence(self) -> str:
        """Return the words for the list of things that are not modelled, with the field."""
        return f"{self.missing} (core.device.{self.key})"

    def acts(self, spec: DeviceSpec) -> bool:
        """Return whether devices without the effect would be others.

        Raises
        ------
        ValueError
            If the effect cannot be switched off by itself.
        """
        return spec.with_({self.key: self.off}).id() != spec.id()

    def source(self, spec: DeviceSpec) -> str:
        """Return the source that the effect's law states, else that of the device."""
        return getattr(self.value(spec), "source", "") or getattr(spec, "source", "")


class DeviceSpec(Spec):
    """Fields that the specification of a device has in every family.

    A family's class gives ``family`` the one value that it may have, as its default:
    ``family: Literal["mine"] = quantity("-", "device family", "mine")``. Its ``effects`` are the
    ways in which such devices are not perfect, in the order of tables.
    """

    effects: ClassVar[tuple[Effect, ...]] = ()

    family: str = quantity("-", "device family: whose laws hold")
    g_max_siemens: float = quantity("S", "largest element conductance that is asked for", gt=0)
    t0_seconds: float = quantity("s", "age of the devices when the clock starts", gt=0)

    def ideal(self) -> Self:
        """Return perfect devices with the same largest conductance: all effects off."""
        return self.with_({effect.key: effect.off for effect in self.effects})

    def without(self, label: str) -> Self:
        """Return these devices without the effect of a label; as they are if there is none."""
        return self.with_({e.key: e.off for e in self.effects if e.label == label})

    def not_modelled(self) -> tuple[str, ...]:
        """Return the effects that are left out, in words."""
        return tuple(
            effect.absence() for effect in self.effects if effect.missing and not effect.acts(self)
        )


_D = TypeVar("_D", bound=DeviceSpec)

_CLASSES: dict[str, type[DeviceSpec]] = {}


def declare(cls: type[_D]) -> type[_D]:
    """Make a class the specification of its family; usable as a decorator.

    Parameters
    ----------
    cls : type
        Subclass of :class:`DeviceSpec` whose field ``family`` has its name as default.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    TypeError
        If the class names no family.
    ValueError
        If another class already stands for that name.
    """
    name = cls.model_fields["family"].default
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"{cls.__name__} names no family; give it a field "
            "`family: Literal['mine'] = quantity('-', 'device family', 'mine')`"
        )
    if _CLASSES.setdefault(name, cls) is not cls:
        raise ValueError(
            f"the device family '{name}' is that of {_CLASSES[name].__name__} already; give "
            f"{cls.__name__} another name"
        )
    return cls


def declared() -> tuple[str, ...]:
    """Return the names of all families that have a class of specification, in order."""
    return tuple(_CLASSES)


def _resolved(
    value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> DeviceSpec:
    """Validate a mapping with the class of the family that it names."""
    if not isinstance(value, Mapping):
        found: DeviceSpec = handler(value)
        return found
    name = value.get("family", FIRST_FAMILY)
    if name not in _CLASSES:
        raise ValueError(
            arguments.unknown(
                f"no device family is named {arguments.shown(name)}", str(name), _CLASSES,
                "one of your own needs aimc_sim.device.register, in this process too",
            )
        )  # fmt: skip
    if info.mode == "json":  # where lists stand for tuples
        return _CLASSES[name].model_validate_json(json.dumps(value))
    return _CLASSES[name].model_validate(value)


AnyDevice = Annotated[SerializeAsAny[DeviceSpec], WrapValidator(_resolved)]
"""A field that holds the device of any family."""
