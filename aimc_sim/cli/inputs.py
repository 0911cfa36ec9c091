"""From the texts of the options to specifications, times, networks and images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import arguments, files, own, units
from .errors import BadInput, refusing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..runtime.chip import Chip
    from ..spec import ChipSpec
    from ..zoo import ImageSet

RESNET32 = "resnet32"
CALIBRATION_IMAGES = 256
DIGITS_IMAGES = 200
"""Of the digits, used unless told otherwise: the run without options stays below 90 s on two quiet
cores, compiling included."""
MOST_NUMBERS = 2**26
"""Numbers of one input: 256 MB, which every layer's activations then are too."""

MOST_IMAGES = 10**9
"""Test images of a data set at most; what there really is, is said when it is loaded."""

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


def network(name: str, weights: str | None, data_dir: Path | None) -> nn.Module:
    """Return the torch network of ``--model`` and ``--weights``."""
    if name == RESNET32:
        from ..zoo import resnet32

        if weights is None and data_dir is not None:
            raise BadInput(
                "--data-dir puts CIFAR-10 in place of the digits, and the shipped weights are for "
                "digits: give --weights PATH of a ResNet-32 that was trained on CIFAR-10"
            )
        with refusing():
            return resnet32(num_classes=10, weights=weights or "digits")
    model = _own(name)
    if weights is not None:
        _load(model, Path(weights), name)
    return model.eval()


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


def images(data_dir: Path | None, wanted: int | None) -> tuple[ImageSet, Tensor]:
    """Return the test images of ``--data-dir`` and ``--images``, and the calibration images.

    The first :data:`CALIBRATION_IMAGES` of the training images calibrate: none is ever counted.
    """
    from ..zoo import cifar10, digits

    with refusing():
        if data_dir is None:
            test, train = digits("test"), digits("train")
        else:
            test, train = cifar10(data_dir, "test"), cifar10(data_dir, "train", CALIBRATION_IMAGES)
    if wanted is None:
        wanted = DIGITS_IMAGES if data_dir is None else len(test)
    if wanted > len(test):
        raise BadInput(f"--images {wanted}: {test.name} has only {len(test)} test images")
    calibration = train.images[:CALIBRATION_IMAGES].clone()  # lets the other images go
    return test.take(wanted), calibration


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


def _own(name: str) -> nn.Module:
    """Return the network that ``package.module:callable`` gives."""
    from torch import nn

    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        advice = "or give package.module:callable for a function that returns a torch.nn.Module"
        raise BadInput(arguments.unknown(f"no model named '{name}'", name, [RESNET32], advice))
    own.look_in()
    with refusing(ValueError):
        model = own.call(name, "--model")
    if not isinstance(model, nn.Module):
        raise BadInput(f"--model {name} returns a {type(model).__name__}; wanted a torch.nn.Module")
    return model


def _load(model: nn.Module, path: Path, name: str) -> None:
    from ..zoo.stored import read_state

    with refusing(OSError, ValueError, prefix="--weights: "):
        files.require_file(
            path, "file", f"give the path of a state dict for {name}, or leave the option out if "
            "the callable loads its own",
        )  # fmt: skip
    with refusing(ValueError, prefix="--weights: "):
        state = read_state(path)
    try:
        model.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 300 else reason[:300] + " ..."
        raise BadInput(f"--weights: '{path}' does not fit {name}: {reason}") from error
