"""From the texts of the options to specifications, times, networks and images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import arguments, own, units
from .errors import BadInput, refusing

if TYPE_CHECKING:
    from torch import nn

    from ..runtime.chip import Chip
    from ..spec import ChipSpec
    from ..studies.inputs import Data
    from ..studies.schema import DataChoice

RESNET32 = "resnet32"
CALIBRATION_IMAGES = 256
DIGITS_IMAGES = 200
"""Of the digits, used unless told otherwise: the run without options stays below 90 s on two quiet
cores, compiling included."""
MOST_NUMBERS = 2**26
"""Numbers of one input: 256 MB, which every layer's activations then are too."""

MOST_IMAGES = 10**9
"""Test images of a data set at most; loading it tells how many there are."""

METHODS = ("none", "gdc", "column", "gdc-signs", "ls")


def settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return the changes of ``--set key=value``: JSON values, else text; "none" is None."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadInput(f"--set {text}: wanted key=value, for example --set core.adc.bits=9")
        if key in found:
            raise BadInput(f"--set gives '{key}' twice; leave one out")
        found[key] = _value(value.strip())
    return found


def count(option: str, value: int | None, most: int, advice: str = "") -> None:
    """Raise BadInput unless a number of things is 1 to `most`, or not given."""
    if value is not None:
        with refusing(ValueError):
            arguments.whole(value, option, 1, most, advice)


def specs(names: Sequence[str], changes: dict[str, Any]) -> dict[str, ChipSpec]:
    """Return the presets of ``--preset``, by name, with the changes of ``--set``."""
    from .. import presets

    found = {}
    for name in _listed(names, "--preset"):
        with refusing():
            found[name] = presets.by_name(name)
        with refusing(prefix="--set "):
            found[name] = found[name].with_(changes)
    return found


def times(text: str) -> list[float]:
    """Return the seconds of ``--times``, ascending."""
    with refusing(prefix="--times: "):
        return sorted(units.seconds(part) for part in _listed([text], "--times"))


def methods(text: str) -> list[str]:
    """Return the drift compensations of ``--compensation``."""
    found = _listed([text], "--compensation")
    for name in found:
        if name not in METHODS:
            raise BadInput(arguments.unknown(f"no compensation named '{name}'", name, METHODS))
    return found


def network(name: str, weights: str | None = None) -> nn.Module:
    """Return the torch network of ``--model`` and ``--weights``, as a study names it."""
    from ..studies.inputs import load_network
    from ..studies.schema import NetworkChoice

    own.look_in()
    with refusing():
        return load_network(NetworkChoice(name=name, weights=weights), "--model")


def data_choice(
    name: str | None, folder: Path | None, wanted: int | None, calibration: int | None = None
) -> DataChoice:
    """Return the data of ``--data``, ``--data-dir`` and ``--images``, as a study names them.

    The first :data:`CALIBRATION_IMAGES` of the training images calibrate: none is ever counted.
    """
    from ..studies.schema import DataChoice

    name = name or ("digits" if folder is None else "cifar10")
    if name == "digits" and wanted is None:
        wanted = DIGITS_IMAGES
    return DataChoice(
        name=name, folder=None if folder is None else str(folder), images=wanted,
        calibration=calibration or CALIBRATION_IMAGES,
    )  # fmt: skip


def data(choice: DataChoice) -> Data:
    """Return the data of a choice."""
    from ..studies.inputs import load_data

    with refusing():
        return load_data(choice)


def chip(model: nn.Module, spec: ChipSpec) -> Chip:
    """Return a network placed on a chip, which is not programmed yet."""
    from ..runtime.chip import Chip

    with refusing(ValueError, TypeError):
        return Chip.from_model(model, spec)


def shape(model: str, text: str | None) -> tuple[int, ...]:
    """Return the shape of one image of ``--input``; ResNet-32 has one by itself."""
    if text is None:
        if model != RESNET32:
            raise BadInput(f"give the shape of one image for {model}: --input 3,32,32")
        return (3, 32, 32)
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1 or math.prod(sizes) > MOST_NUMBERS:
        raise BadInput(
            f"--input {arguments.shown(text)}: wanted sizes above zero, {MOST_NUMBERS:,} numbers "
            "at most, for example 3,32,32 or 784"
        )
    return sizes


def _value(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise BadInput(f"--set: {arguments.shown(text)} is nested too deeply") from None


def _listed(texts: Iterable[str], option: str) -> list[str]:
    """Return the parts of comma lists, each once."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not all(parts) or not parts:
        raise BadInput(f"{option} has an empty entry; separate the entries by single commas")
    return list(dict.fromkeys(parts))
