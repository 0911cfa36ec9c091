"""The network and the data of a study, as plain arrays that any worker can be sent.

One vocabulary of networks and data for all commands: a name of the zoo, or a callable of the
user's own, see :mod:`aimc_sim.own`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, files, metrics, own
from ..errors import UnsupportedLayerError
from ..mapping.graph import Network
from ..mapping.named import PAPER
from ..metrics import Metric
from ..zoo.catalogue import DATA, NAMES, SHORT
from . import identity
from .schema import CALIBRATION, DataChoice, NetworkChoice, Study

if TYPE_CHECKING:
    from torch import nn

    from ..frontend import Source
    from ..zoo import ImageSet

_LENGTH = DATA["ptb"].shape[0]
"""Characters of a sequence of ``ptb`` unless told otherwise: those of the chip paper's training."""

BATCH = 256
"""Items that torch is given at a time for outputs in floating point."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Network, data and metric of a study, which all its trials share.

    Attributes
    ----------
    network : Network
        The traced network: no module of the user's own is needed to run it. It is that of the
        images.
    network_name, network_id : str
        As in the study, see :func:`aimc_sim.own.label`; SHA-256 of its operations and weights.
    images : (N, ...) float32 array
        Or sequences; int64 where the network reads tokens.
    targets : (N, ...) int64 or float32 array
        Labels, tokens, maps or numbers, which the metric compares outputs with.
    calibration : (B, ...) array
        Of the type of the images; never counted.
    data_name, data_id : str
        As in the study; SHA-256 of images, targets and calibration images.
    metric : Metric
        Scores the network's outputs.
    classes : int or None
        How many there are, where the data say so.
    others : tuple of Network
        The network for the sizes of the other batches that trials run, where it decides by sizes.
    """

    network: Network
    network_name: str
    network_id: str
    images: np.ndarray
    targets: np.ndarray
    calibration: np.ndarray
    data_name: str
    data_id: str
    metric: Metric = metrics.ACCURACY
    classes: int | None = None
    others: tuple[Network, ...] = ()

    @property
    def id(self) -> str:
        """Identity of network, data and metric together."""
        return inputs_id(self.network_id, self.data_id, self.metric.identity())


def inputs_id(network_id: str, data_id: str, metric: Mapping[str, str] | None) -> str:
    """Return the identity of what all trials of a study share."""
    return identity.digest([network_id, data_id] + ([] if metric is None else [dict(metric)]))


@dataclass(frozen=True, eq=False)
class Data:
    """Arrays of a study before they meet a network.

    Attributes
    ----------
    name : str
        As in the study.
    images, targets, calibration : (N, ...) arrays
        See :class:`Inputs`; whole numbers stay whole.
    classes : int or None
        How many there are, where the data say so.
    """

    name: str
    images: np.ndarray
    targets: np.ndarray
    calibration: np.ndarray
    classes: int | None = None


def gather(study: Study, folder: Path | None = None) -> Inputs:
    """Load the network and the data of a study.

    Parameters
    ----------
    study : Study
    folder : Path, optional
        Modules of the user's own are searched for here too, beside the present folder.

    Returns
    -------
    Inputs

    Raises
    ------
    ValueError, KeyError, TypeError, FileNotFoundError
        If something is missing or does not fit; one sentence each.
    """
    own.look_in(folder)
    metric = metrics.named(study.metric)
    model, data = load_network(study.network), load_data(study.data)
    given = joined(study.network.name, model, data, metric, study.probe_images)
    with _running(given.data_name):  # one sentence now, in place of one for every trial
        float_outputs(model, given.images[:1])
    return given


def joined(
    name: str, model: nn.Module, data: Data, metric: Metric, probe_images: int = 0
) -> Inputs:
    """Return what trials share, from a torch network and data.

    Parameters
    ----------
    name : str
        Of the network.
    model : nn.Module
        The torch network.
    data : Data
        Images, targets and calibration images for it.
    metric : Metric
        Scores its outputs.
    probe_images : int
        First images that trials also run by themselves, see :class:`.schema.Study`.

    Raises
    ------
    ValueError, TypeError
        If they do not fit.
    """
    network, *others = _traced(model, data, probe_images)
    tokens = _reads_tokens(network)
    images, calibration = _typed(data.images, tokens), _typed(data.calibration, tokens)
    if metric.targets == "network":
        with _running(data.name):
            targets = float_outputs(model, images)
    else:
        targets = _targets(data, metric)
    arrays = {"images": images, "labels": targets, "calibration": calibration}
    return Inputs(
        network, own.label(name), _identity([network, *others]), images, targets, calibration,
        data.name, identity.of_arrays(arrays), metric, data.classes, tuple(others),
    )  # fmt: skip


def as_taken(model: nn.Module, data: Data) -> Data:
    """Return data with inputs of the type that a network takes: float32, or int64 tokens.

    Parameters
    ----------
    model : nn.Module
        The torch network.
    data : Data
        Inputs for it.

    Raises
    ------
    ValueError, TypeError
        If the network cannot run them.
    """
    tokens = _reads_tokens(_traced(model, data, 0)[0])
    images, calibration = (_typed(part, tokens) for part in (data.images, data.calibration))
    with _running(data.name):
        float_outputs(model, images[:1])
    return replace(data, images=images, calibration=calibration)


def _identity(networks: list[Network]) -> str:
    """Return the identity of a network and of what it is for other sizes, if it is another."""
    found = [identity.of_network(network) for network in networks]
    return found[0] if len(found) == 1 else identity.digest(found)


def _traced(model: nn.Module, data: Data, probe_images: int) -> list[Network]:
    """Return the network for the images, and what it is for other batches of a trial.

    Sizes stay free unless the forward method decides by them; then it is recorded for those of
    the data. Where torch itself cannot run the network, that is the reason given.
    """
    from ..frontend import Source, demand_layers

    source = Source(model)
    try:
        network = _first(source, data.images[:2])
        demand_layers(source, network)
    except UnsupportedLayerError:
        with _running(data.name):
            float_outputs(model, _typed(data.images[:1], data.images.dtype.kind in "iu"))
        raise
    known = [network]
    found: list[Network] = []
    for batch in (data.images, data.calibration, data.images[:probe_images]):
        if len(batch):
            network = _for_sizes(source, known, batch)
            known.append(network)
            found.append(network)
    return list({id(network): network for network in found}.values())


def _first(source: Source, images: np.ndarray) -> Network:
    """Return the network for inputs that follow from its layers, or if there are none for images.

    Parameters
    ----------
    source : Source
        The model.
    images : (2, ...) array
        Two images; whole numbers may be tokens.
    """
    import torch

    try:
        return source.network()
    except UnsupportedLayerError:
        with suppress(UnsupportedLayerError):
            return source.network(torch.from_numpy(_typed(images, tokens=True)))
        if images.dtype.kind in "iu":
            with suppress(UnsupportedLayerError):
                return source.network(torch.from_numpy(_typed(images, tokens=False)))
        raise


def _for_sizes(source: Source, known: list[Network], images: np.ndarray) -> Network:
    """Return the first known network that is true for a batch, or one recorded for its sizes."""
    import torch

    from ..runtime.variants import broken_condition, recorded

    batch = torch.from_numpy(_typed(images, _reads_tokens(known[0])))
    sizes = {known[0].input: tuple(batch.shape)}
    for network in known:
        if broken_condition(network, sizes) is None:
            return network
    try:
        float_outputs(source.model, batch[:1].numpy())
    except Exception:  # torch cannot run them either: the chip's refusal says which it takes
        return known[0]
    with suppress(UnsupportedLayerError):  # two images make a record that is true of more
        network = source.network(batch[:2])
        if broken_condition(network, sizes) is None:
            return network
    return recorded(source, batch, sizes)


@contextmanager
def _running(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of torch, or of the user's network
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the network cannot run {name}: {reason}") from error


def float_value(model: nn.Module, inputs: Inputs) -> float:
    """Return the metric's value of the torch network itself, in ``eval()``.

    Raises
    ------
    ValueError
        If torch cannot run the images, or the network's answer does not fit the targets.
    """
    with _running(inputs.data_name):
        outputs = float_outputs(model, inputs.images)
    return float(inputs.metric.value(inputs.metric.scored(outputs, inputs.targets)))


def float_outputs(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return what the torch network gives in ``eval()``, of several outputs the first, float32."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [first_output(model(x)) for x in torch.from_numpy(images).split(BATCH)]
        return torch.cat(parts).float().cpu().numpy()
    finally:
        model.train(was_training)


def first_output(outputs: Any) -> Any:
    """Return the first tensor of what a network gives: of tuples, lists and dictionaries."""
    while isinstance(outputs, (tuple, list, Mapping)):
        outputs = next(iter(outputs.values() if isinstance(outputs, Mapping) else outputs))
    return outputs


def load_network(choice: NetworkChoice, what: str = "network") -> nn.Module:
    """Return the torch network of a study, in evaluation mode.

    Parameters
    ----------
    choice : NetworkChoice
        Name and weights.
    what : str
        Key or option that holds the name, for messages.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If there is none, or its weights do not fit.
    """
    from torch import nn

    from ..zoo.entries import ENTRIES, load
    from ..zoo.stored import read_state

    if choice.name.startswith(PAPER):
        raise ValueError(
            f"{what}: '{choice.name}' is a layout of the chip paper without a network behind it: "
            f"only 'aimc-sim map {choice.name}' takes it"
        )
    if not own.is_own(choice.name):
        _known(choice.name, what, "network", NAMES)
        name = SHORT.get(choice.name, choice.name)
        if choice.weights is None:
            return load(name)
        return ENTRIES[name].build(weights=choice.weights)
    model = own.call(choice.name, what)
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{what}: {choice.name} returns a {type(model).__name__}; wanted a torch.nn.Module"
        )
    if choice.weights is not None:
        path = files.require_file(
            choice.weights, "file of weights", f"give the path of a state dict for {choice.name}, "
            "or leave it out if the callable loads its own",
        )  # fmt: skip
        state = read_state(path)
        try:
            model.load_state_dict(state)
        except Exception as error:  # torch answers states of other networks with several kinds
            reason = " ".join(str(error).split())
            reason = reason if len(reason) <= 300 else reason[:300] + " ..."
            raise ValueError(f"weights: '{path}' does not fit {choice.name}: {reason}") from error
    return model.eval()


def load_data(choice: DataChoice) -> Data:
    """Return the data of a study.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If there are none, or fewer than asked for.
    """
    from ..zoo import cifar10, digits

    if not own.is_own(choice.name):
        _known(choice.name, "data", "data", DATA)
    if choice.length is not None and choice.name != "ptb":
        raise ValueError(f"data.length is for ptb; '{choice.name}' has no sequences to cut")
    if choice.folder is not None and not (choice.name in DATA and DATA[choice.name].file):
        ours = " and ".join(name for name, held in DATA.items() if held.file)
        raise ValueError(
            f"data.folder (--data-dir) is for {ours}; '{choice.name}' reads no folder: leave it out"
        )
    if choice.name == "digits":
        return _images(digits("test"), digits("train"), choice)
    if choice.name == "cifar10":
        folder = _folder(choice)
        return _images(
            cifar10(folder, "test"), cifar10(folder, "train", choice.calibration), choice
        )
    if choice.name == "ptb":
        return _sequences(choice)
    return _cut(_own_data(choice.name), choice)


_WANTED = "(inputs, targets, calibration inputs): three arrays or tensors"

MOST_SET_ASIDE = 256
"""Inputs that are set aside for calibration where a user's own function gives none."""


def _own_data(name: str) -> Data:
    """Return the data that a user's own function gives.

    Without calibration inputs the last quarter of the inputs, :data:`MOST_SET_ASIDE` at most, is
    taken for calibration and is not scored.

    Raises
    ------
    TypeError, ValueError
        If it gives something else; one sentence.
    """
    found = own.call(name, "data")
    if not isinstance(found, (tuple, list)):
        raise TypeError(f"data: {name} returns a {type(found).__name__}; wanted a tuple {_WANTED}")
    if len(found) not in (2, 3):
        raise TypeError(
            f"data: {name} returns {len(found)} things; wanted a tuple {_WANTED}"
        )  # fmt: skip
    roles = ("inputs", "targets", "calibration inputs")
    parts = [
        _array(part, f"data: the {role} of {name}")
        for role, part in zip(roles, found, strict=False)
        if part is not None or role != roles[2]
    ]
    images, targets = parts[:2]
    if len(images) != len(targets):
        raise ValueError(
            f"data: {name} returns {len(images)} inputs of the shape {images.shape} and "
            f"{len(targets)} targets of the shape {targets.shape}; wanted one target per input"
        )
    label = own.label(name)
    if len(parts) == 3:
        calibration = parts[2]
        _demand_alike(images, calibration, name)
        return Data(label, images, targets, calibration)
    aside = min(MOST_SET_ASIDE, len(images) // 4)
    if not aside:
        raise ValueError(
            f"data: {name} returns {len(images)} inputs and no calibration inputs; wanted at least "
            "4, of which a quarter calibrates, or calibration inputs as the third part"
        )
    warnings.warn(
        f"data: {name} returns no calibration inputs: the last {aside} of its {len(images)} inputs "
        "are taken for that and are not scored",
        stacklevel=2,
    )
    return Data(label, images[:-aside], targets[:-aside], images[-aside:])


def _array(part: Any, what: str) -> np.ndarray:
    """Return a part of a user's own data as an array of at least one item.

    Parameters
    ----------
    part : array, tensor or nested list of numbers
        As the user's function gives it.
    what : str
        For messages.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or a number in it is not finite.
    """
    if isinstance(part, Mapping):
        raise TypeError(
            f"{what} are a {type(part).__name__} with {len(part)} entries; wanted one array: a "
            "study runs networks of one input"
        )
    if hasattr(part, "detach"):  # a tensor
        part = arguments.dense(part, what).detach().cpu()
        part = (part.float() if str(part.dtype) == "torch.bfloat16" else part).numpy()
    try:
        array = np.asarray(part)
    except ValueError:
        raise ValueError(
            f"{what} are items of different shapes; wanted one array: pad or cut them"
        ) from None
    if array.dtype.kind not in "fiub":
        kind = f"a {type(part).__name__} of dtype {array.dtype}"
        raise TypeError(
            f"{what} are {kind}; wanted an array or tensor of numbers (classes as 0, 1, ...)"
        )
    if not array.ndim or not array.size:
        raise ValueError(f"{what} have the shape {array.shape}; wanted (items, ...), at least one")
    largest = np.finfo(np.float32).max
    with np.errstate(invalid="ignore"):
        low, high = array.min(), array.max()  # NaN if one of them is
    if array.dtype.kind == "f" and not (low >= -largest and high <= largest):
        raise ValueError(f"{what} hold numbers that are not finite in float32 (nan, inf or larger)")
    return array


def _demand_alike(images: np.ndarray, calibration: np.ndarray, name: str) -> None:
    """Raise unless calibration inputs are of the kind of the inputs; sequences may be longer."""
    if images.ndim != calibration.ndim:
        raise ValueError(
            f"data: {name} returns inputs of the shape {images.shape} and calibration inputs of "
            f"the shape {calibration.shape}; wanted the same dimensions, (items, ...)"
        )
    if (images.dtype.kind == "f") != (calibration.dtype.kind == "f"):
        raise TypeError(
            f"data: {name} returns inputs of type {images.dtype} and calibration inputs of type "
            f"{calibration.dtype}; wanted both as the network takes them"
        )


def _known(name: str, what: str, kind: str, names: Iterable[str]) -> None:
    """Raise ValueError for a name without a colon that is none of ours."""
    if name not in names:
        fault = f"{what}: there is no {kind} named '{name}'"
        raise ValueError(arguments.unknown(fault, name, names, f"or give {own.HOW}"))


def _images(test: ImageSet, train: ImageSet, choice: DataChoice) -> Data:
    found = Data(
        choice.name, test.images.numpy(), test.labels.numpy(), train.images.numpy(),
        len(test.classes),
    )  # fmt: skip
    return _cut(found, choice)


def _sequences(choice: DataChoice) -> Data:
    """Return sequences of characters; the target of each is the next one in the text.

    Every sequence starts without a state, so that its first characters cost more than they would
    in the middle of a text.
    """
    from ..zoo.text import PTB_CHARACTERS, ptb_characters

    folder = _folder(choice)
    length = choice.length or _LENGTH
    parts = []
    for split in ("test", "train"):
        tokens = ptb_characters(folder, split).tokens.numpy()
        n = (len(tokens) - 1) // length
        parts.append([tokens[i : i + n * length].reshape(n, length) for i in (0, 1)])
    (images, targets), (calibration, _) = parts
    return _cut(Data("ptb", images, targets, calibration, len(PTB_CHARACTERS)), choice)


def _folder(choice: DataChoice) -> str:
    if choice.folder is None:
        raise ValueError(
            f"data: {choice.name} needs data.folder (--data-dir), where {DATA[choice.name].file} is"
        )
    return choice.folder


def _cut(data: Data, choice: DataChoice) -> Data:
    calibration = choice.calibration
    if own.is_own(choice.name) and calibration == CALIBRATION:
        calibration = min(calibration, len(data.calibration))
    for name, wanted, there in (
        ("images", choice.images or 1, len(data.images)),
        ("calibration", calibration, len(data.calibration)),
    ):
        if wanted > there:
            raise ValueError(f"data.{name} = {wanted}: '{choice.name}' has only {there}")
    n = choice.images or len(data.images)
    # Copies: what is left out may be large.
    return Data(
        data.name, data.images[:n].copy(), data.targets[:n].copy(),
        data.calibration[:calibration].copy(), data.classes,
    )  # fmt: skip


def _reads_tokens(network: Network) -> bool:
    return any(n.op == "embedding" and network.input in n.inputs for n in network.nodes)


def _typed(array: np.ndarray, tokens: bool) -> np.ndarray:
    whole = tokens and array.dtype.kind in "iu"
    return np.ascontiguousarray(array, np.int64 if whole else np.float32)


def _targets(data: Data, metric: Metric) -> np.ndarray:
    if metric.targets == "values":
        return np.ascontiguousarray(data.targets, np.float32)
    if data.targets.dtype.kind not in "iub":
        whole = np.asarray(data.targets, np.float64)
        if not (whole == np.round(whole)).all():
            raise ValueError(
                f"data: the metric '{metric.name}' compares with classes, and the targets of "
                f"'{data.name}' are numbers such as {float(whole.flat[0]):g}; give whole numbers, "
                "or a metric of values such as rmse"
            )
    return np.ascontiguousarray(data.targets, np.int64)
