"""From the texts of the options to specifications, times, networks and images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from .. import arguments, own, units
from .errors import BadInput, refusing

if TYPE_CHECKING:
    from torch import nn

    from ..runtime.chip import Chip
    from ..search.schema import Search
    from ..spec import ChipSpec
    from ..studies.inputs import Data
    from ..studies.schema import DataChoice, Study

RESNET32 = "resnet32"
DIGITS_IMAGES = 200
"""Of the digits, used unless told otherwise: the run without options stays below 90 s on two quiet
cores, compiling included."""
FEW = {"digits": DIGITS_IMAGES}
"""First test items that are used unless told otherwise, by name of the data; of others all."""

MOST_NUMBERS = 2**26
"""Numbers of one input: 256 MB, which every layer's activations then are too."""

MOST_IMAGES = 10**9
"""Test images of a data set at most; loading it tells how many there are."""


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


def count(option: str, value: int | None, most: int, advice: str = "", low: int = 1) -> None:
    """Raise BadInput unless a number of things is `low` to `most`, or not given."""
    if value is not None:
        with refusing(ValueError):
            arguments.whole(value, option, low, most, advice)


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


def compensations() -> tuple[str, ...]:
    """Return the names of all drift compensations."""
    from ..studies.schema import StudyMethod

    return get_args(StudyMethod)


def methods(text: str) -> list[str]:
    """Return the drift compensations of ``--compensation``."""
    found, known = _listed([text], "--compensation"), compensations()
    for name in found:
        if name not in known:
            raise BadInput(arguments.unknown(f"no compensation named '{name}'", name, known))
    return found


# ------------------------------------------------------------------ network and data


def model_of(argument: str | None, option: str | None) -> str:
    """Return the name of the network of the argument MODEL or of ``--model``."""
    if argument is not None and option is not None:
        raise BadInput(
            f"the network is given twice, as the argument {arguments.shown(argument)} and by "
            f"--model {arguments.shown(option)}; leave one out"
        )
    name = option if argument is None else argument
    return RESNET32 if name is None else name


def network(name: str, weights: str | None = None) -> nn.Module:
    """Return the torch network of ``--model`` and ``--weights``, as a study names it."""
    from ..studies.inputs import load_network
    from ..studies.schema import NetworkChoice

    own.look_in()
    with refusing():
        return load_network(NetworkChoice(name=name, weights=weights), "--model")


def data_choice(
    name: str | None, folder: Path | None, wanted: int | None, model: str = RESNET32,
    few: Mapping[str, int] = FEW,
) -> DataChoice:  # fmt: skip
    """Return the data of ``--data``, ``--data-dir`` and ``--images``, as a study names them.

    Parameters
    ----------
    name : str or None
        Of the data; None: those that the network was trained for, else the digits, or CIFAR-10
        where there is a folder.
    folder : Path or None
        Of ``--data-dir``.
    wanted : int or None
        First test items; None: as `few` says, else all.
    model : str
        Name of the network.
    few : mapping
        From names of data to first test items.
    """
    from ..studies.schema import DataChoice
    from ..zoo.catalogue import listed

    trained = listed(model)
    if name is None and trained is not None and trained.data != "digits":
        name = trained.data
    name = name or ("digits" if folder is None else "cifar10")
    return DataChoice(
        name=name, folder=None if folder is None else str(folder),
        images=few.get(name) if wanted is None else wanted,
    )  # fmt: skip


def refuse_digits_weights(model: str, weights: str | None, choice: DataChoice) -> None:
    """Raise BadInput where a network of the zoo that was trained on the digits is given CIFAR-10.

    Parameters
    ----------
    model : str
        Name of the network.
    weights : str or None
        Of ``--weights``.
    choice : DataChoice
        The data.
    """
    from ..zoo.catalogue import listed

    trained = listed(model)
    ours = trained is not None and trained.data == "digits" and weights is None
    if ours and choice.name == "cifar10" and choice.folder is not None:
        raise BadInput(
            "--data-dir puts CIFAR-10 in place of the digits, and the weights of this network are "
            "for digits: give --model resnet32-cifar10, or --weights PATH of a ResNet-32 that was "
            "trained on CIFAR-10"
        )


def data(choice: DataChoice) -> Data:
    """Return the data of a choice."""
    from ..studies.inputs import load_data

    own.look_in()
    with refusing():
        return load_data(choice)


def data_of(name: str | None, folder: Path | None, model: str, network: nn.Module) -> Data | None:
    """Return data that give the inputs of a network, typed as it takes them; None: none given."""
    from ..studies.inputs import as_taken

    if name is None and folder is None:
        return None
    found = data(data_choice(name, folder, None, model, few={}))
    with refusing():
        return as_taken(network, found)


def metric_of(name: str | None, choice: DataChoice) -> str:
    """Return the name of the metric of ``--metric``; None: the one that the data are scored by."""
    from ..zoo.catalogue import DATA

    if name is not None:
        return name
    return DATA[choice.name].metric if choice.name in DATA else "accuracy"


def in_place(
    asked: Study | Search, model: str | None, weights: str | None, data: str | None,
    folder: Path | None, images: int | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the keys of a study or search that options replace: network and data.

    Data follow the network of the zoo, unless they are given too.

    Parameters
    ----------
    asked : Study or Search
        From a file.
    model, weights, data, folder, images
        Of ``--model``, ``--weights``, ``--data``, ``--data-dir`` and ``--images``.
    """
    from ..zoo.catalogue import listed

    here = Path.cwd()
    found: dict[str, Any] = {}
    if model is not None or weights is not None:
        network = asked.network.model_dump(exclude_unset=True)
        if model is not None:
            network = {"name": own.absolute(model, here)}
        if weights is not None:
            network["weights"] = str(here / weights) if Path(weights).is_file() else weights
        found["network"] = network
    trained = None if model is None else listed(model)
    if data is None and trained is not None and trained.data != asked.data.name:
        data = trained.data
    if data is not None or folder is not None or images is not None:
        choice = asked.data.model_dump(exclude_unset=True)
        if data is not None:
            choice = {"name": own.absolute(data, here)}
        if folder is not None:
            choice["folder"] = str(here / folder)
        if images is not None:
            choice["images"] = images
        found["data"] = choice
    return found


def chip(model: nn.Module, spec: ChipSpec, data: Data | None = None) -> Chip:
    """Return a network placed on a chip, which is not programmed yet, for inputs as the data's."""
    import torch

    from ..runtime.chip import Chip

    example = None if data is None else torch.from_numpy(data.images[:2])
    with refusing(ValueError, TypeError):
        return Chip.from_model(model, spec, example=example)


def shape(
    model: str, text: str | None, chip: Chip, network: nn.Module, data: Data | None
) -> tuple[int, ...] | None:
    """Return the shape of one input, or None if nothing says which.

    It is that of the data; of ``--input``; of the data that a network of the zoo was trained for;
    or of the network of the user's own: of its attribute ``example_input``, or the shape that
    its layers take if they take no other near it.

    Parameters
    ----------
    model : str
        Name of the network.
    text : str or None
        Of ``--input``.
    chip : Chip
        With the network.
    network : nn.Module
        The network.
    data : Data or None
        Of ``--data``.
    """
    from ..zoo.catalogue import DATA, listed

    if data is not None:
        if text is not None:
            raise BadInput("--input and --data both give the shape of an input; leave --input out")
        return data.images.shape[1:]
    if text is not None:
        return _sizes(text)
    trained = listed(model)
    if trained is not None:
        return DATA[trained.data].shape
    tensors = chip.variants.example.tensors() if chip.variants.example is not None else []
    if len(tensors) != 1 or chip.compiled.axis is None:
        return None
    sizes = list(tensors[0].shape)
    del sizes[chip.compiled.axis]
    if getattr(network, "example_input", None) is None and not _is_only_shape(chip, sizes):
        return None
    return tuple(sizes)


def demanded(model: str, sizes: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of one input; BadInput if nothing says which."""
    if sizes is None:
        raise BadInput(
            f"give the shape of one image for {model}: --input 3,32,32, or --data, whose inputs "
            "have one"
        )
    return sizes


def _is_only_shape(chip: Chip, sizes: Sequence[int]) -> bool:
    """Return whether a network refuses inputs with one row, column or step more or less."""
    from ..runtime.sizes import output_pixels

    for place, size in enumerate(sizes):
        for other in (size - 1, size + 1):
            if other > 0:
                with suppress(ValueError):
                    output_pixels(chip.compiled, [*sizes[:place], other, *sizes[place + 1 :]])
                    return False
    return True


def _sizes(text: str) -> tuple[int, ...]:
    """Return the sizes of ``--input``."""
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
