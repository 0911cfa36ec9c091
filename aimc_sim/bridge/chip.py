"""The chip as a user holds it: a thin, friendly owner of (spec, image, ranges, state, clock)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .. import arguments, mapping, presets, store, units
from ..chip import state as chip_state
from ..chip.image import ChipImage
from ..chip.state import ChipState, Ranges
from ..core import compensation, tile
from ..errors import NotProgrammedError
from ..spec import MOST_CORES, ChipSpec
from . import adapt, calibrate, clipping, executor, looking, plan
from .counts import new_counts
from .explain import Explanation, check_layers, explain
from .given import built_model, usable_device
from .images import as_inputs, split_batch
from .recurrent import Span
from .report import Report
from .stream import Stream, packed
from .trace import trace
from .where import Where

MOST_CHUNK = 2**20
"""Images that may be simulated at a time; more are no faster, and memory grows with them."""


class Chip:
    """A trained network on a simulated 64-core PCM chip.

    Make one with :meth:`from_model` or :meth:`load`. Methods that prepare the chip return it,
    so that they can be chained: ``chip.at("1 day").compensate("gdc")(images)``.
    """

    def __init__(self, image: ChipImage, spec: ChipSpec) -> None:
        self.image = image
        self.spec = spec
        self.ranges: Ranges | None = None
        self.state: ChipState | None = None
        self.time_seconds = 0.0
        self.compensation: compensation.Method = "none"
        self.corrections: dict[str, adapt.Correction] = {}
        self.adapted_images = 0
        self.images_seen = 0
        self.device = torch.device("cpu")
        self.counts = new_counts()
        # What follows from the above, kept while it stays true.
        self._plan: plan.Plan | None = None
        self._tiles: tuple[float, Mapping[int, tile.TileNow]] | None = None
        self._references: Mapping[int, np.ndarray] | None = None
        self._warned: set[str] = set()

    # ---------------------------------------------------------------- preparing

    @classmethod
    def from_model(
        cls, model: nn.Module | Callable[[], nn.Module], spec: ChipSpec | None = None, *,
        where: Where = None, example: Any = None,
    ) -> Chip:  # fmt: skip
        """Trace a network, fold its batch norms, split it and place it on cores.

        Parameters
        ----------
        model : nn.Module, or a callable without arguments that returns one
            Left untouched; evaluated as in ``model.eval()``.
        spec : ChipSpec, optional
            Default ``presets.hermes()``.
        where : mapping or sequence, optional
            Layers on crossbars: {pattern of names: "analog" or "digital"}, of which the last that
            matches counts, or the patterns of those that are. Default: all layers with weights.
        example : tensor or tuple of tensors, optional
            Inputs, if the forward method decides by sizes (``if x.shape[1] > 3``); it is then
            recorded for inputs of these sizes and any batch.

        Returns
        -------
        Chip

        Raises
        ------
        UnsupportedLayerError
            If a layer has no counterpart on the chip; names it and what would help.
        CapacityError
            If the network needs more cores than there are.
        ValueError
            If the cores' converters cannot work with their input encoding.
        """
        spec, model = _machine(spec), built_model(model)
        network = trace(model, where=where, example=example)
        image = mapping.compile_network(network, spec)
        check_layers(spec, image)
        return cls(image, spec)

    @staticmethod
    def explain(
        model: nn.Module | Callable[[], nn.Module], spec: ChipSpec | None = None, *,
        where: Where = None, example: Any = None,
    ) -> Explanation:  # fmt: skip
        """Say what becomes of every layer and operation: on which cores, digital, merged, refused.

        Parameters
        ----------
        model, spec, where, example
            As of :meth:`from_model`, which would raise where this lists a refusal.

        Returns
        -------
        Explanation
            Prints as a table; ``.rows`` are its rows.
        """
        return explain(built_model(model), _machine(spec), where, example)

    def calibrate(self, batches: Tensor | np.ndarray | Iterable) -> Chip:
        """Measure the ranges of all integers on a few images; returns the chip.

        Parameters
        ----------
        batches : (B, ...) images, or an iterable of them, or of (images, labels) pairs
            Float numbers as the torch model takes them.

        Raises
        ------
        TypeError, ValueError
            If there is no image, or images do not fit the network.
        """
        if isinstance(batches, (Tensor, np.ndarray, PackedSequence)):
            batches = [batches]
        if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
            raise TypeError(
                f"batches = {arguments.shown(batches)}: wanted a tensor of images, or an iterable "
                "of them"
            )
        tensors = (as_inputs(self.image, split_batch(self.image, batch))[0] for batch in batches)
        ranges = calibrate.measure_all(self.image, tensors, self.spec)
        if ranges.images == 0:
            raise ValueError("calibrate got no images; give at least one batch")
        if self.ranges is None or ranges.adc_amperes != self.ranges.adc_amperes:
            self._references = self._tiles = None
        self.ranges, self._plan = ranges, None
        return self

    def program(self, seed: int = 0) -> Chip:
        """Write all devices, start the clock at 0; returns the chip.

        Parameters
        ----------
        seed : int
            >= 0. The same seed gives the same devices, whatever else was simulated.

        Raises
        ------
        TypeError, ValueError
            If the seed is none.
        """
        seed = arguments.seed(seed)
        calibrate.check_g_max(self.image, self.spec, self.ranges)
        self.state = chip_state.program(self.image, self.spec, seed, ranges=self.ranges)
        self.time_seconds, self.images_seen = 0.0, 0
        self.corrections, self.adapted_images = {}, 0
        self._plan = self._references = self._tiles = None
        return self

    def at(self, time: float | str) -> Chip:
        """Set the clock; returns the chip.

        Parameters
        ----------
        time : float (seconds) or str ("1 h", "1 day", "1 year")
            Since the end of the first programming. Any order: the same time gives the same
            conductances. Image numbers, which address the noise of single MVMs, start at 0
            again. After a :meth:`refresh` the clock cannot go back behind it.
        """
        t_seconds = units.seconds(time)
        if self.state is not None:
            self.state.age(t_seconds)  # raises if it lies before the last programming
        self.time_seconds = t_seconds
        self.images_seen, self._plan = 0, None
        return self

    def refresh(self) -> Chip:
        """Write the same weights again at the chip's time; drift starts anew; returns the chip.

        Devices keep what is theirs (faults, the spread of their pulses); errors that belong to a
        programming are drawn again. Drift compensation is measured afresh against now.
        """
        if self.state is None:
            raise NotProgrammedError("the chip holds no weights yet; call chip.program() first")
        self.state = chip_state.program(
            self.image, self.spec, self.state.seed, self.time_seconds, self.state.cycle + 1,
            self.ranges,
        )  # fmt: skip
        self.images_seen = 0
        self.corrections, self.adapted_images = {}, 0
        self._plan = self._references = self._tiles = None
        return self

    def compensate(self, method: compensation.Method) -> Chip:
        """Choose the drift compensation, measured by reads at the chip's time.

        Parameters
        ----------
        method : "none", "gdc" (one factor per core) or "column" (one per column)
        """
        method = arguments.choice(method, "compensation", compensation.METHODS)
        self.compensation, self.images_seen, self._plan = method, 0, None
        return self

    def adapt_batch_norm(self, images: Tensor | np.ndarray | None) -> Chip:
        """Measure batch-norm statistics anew at the chip's time (AdaBS); returns the chip.

        Parameters
        ----------
        images : (B, ...) float, or None
            Calibration images, some hundreds; they run through the chip once, so it costs what
            B images cost. Not those of a test. None: back to the statistics of the training.

        Notes
        -----
        Source: V. Joshi et al., Nature Communications 11, 2473 (2020),
        doi:10.1038/s41467-020-16108-9; see :mod:`aimc_sim.bridge.adapt`. The new statistics stay
        until this is called again or the chip is programmed; :meth:`compensate` acts below them.
        """
        self.corrections, self.adapted_images, self._plan = {}, 0, None
        if images is None:
            return self
        x, _ = as_inputs(self.image, split_batch(self.image, images))
        self._prepare(x)
        # Far above the numbers of images that are run: no draw is used twice.
        self.corrections = adapt.batch_norm_corrections(self._build_plan(), x, 2**62)
        self.adapted_images = x[0].shape[self.image.axis]
        self._plan = None
        return self

    def to(self, device: torch.device | str) -> Chip:
        """Choose where images are run ("cpu", "cuda", ...); returns the chip.

        Devices, drift and calibration stay on the CPU. The noise is the same everywhere;
        outputs agree to the rounding of float32, which may move single ADC codes.

        Raises
        ------
        TypeError, ValueError
            If it is no device of torch, or this machine has none.
        """
        self.device, self._plan = usable_device(device), None
        return self

    # ------------------------------------------------------------------ running

    def __call__(
        self, *images: Tensor | np.ndarray | PackedSequence, first_image: int | None = None,
        chunk: int | None = None,
    ) -> Any:  # fmt: skip
        """Run images, or sequences, through the chip at its present time.

        Parameters
        ----------
        *images : (B, ...) numbers
            As the torch model takes them, one tensor for each of its inputs; a network of
            recurrent layers takes a packed sequence as well.
        first_image : int, optional
            Number of the first image. The fresh read noise of an image belongs to its number;
            by default numbers go on from the last call (one batch of 128 equals two of 64).
        chunk : int, optional
            Images simulated at a time; changes memory and speed, not results.

        Returns
        -------
        (B, outputs) float32 tensor, or what else the torch model returns
            Tuples, lists and dictionaries of tensors keep their structure.

        Raises
        ------
        TypeError, ValueError
            If images do not fit the network, or an argument is no such number.
        """
        if chunk is not None:
            chunk = arguments.whole(chunk, "chunk", 1, MOST_CHUNK)
        x, lengths = as_inputs(self.image, images)
        span = None if lengths is None else Span(lengths=lengths)
        outputs = self._run(x, span, first_image, chunk)
        return outputs if lengths is None else packed(self.image, outputs, lengths)

    def stream(self, first_image: int | None = None) -> Stream:
        """Return a runner that takes sequences piece by piece and keeps the state between pieces.

        Parameters
        ----------
        first_image : int, optional
            As of :meth:`__call__`.

        Returns
        -------
        Stream
            Call it with the next time steps; the results are those of the whole sequence.

        Raises
        ------
        ValueError
            If the network has no recurrent layer, or a layer looks at several time steps at once.
        """
        if first_image is not None:
            first_image = arguments.whole(first_image, "first_image", 0, arguments.MOST_IMAGES - 1)
        return Stream(self, self.images_seen if first_image is None else first_image)

    def _run(
        self, x: tuple[Tensor, ...], span: Span | None, first_image: int | None, chunk: int | None
    ) -> Any:
        images = x[0].shape[self.image.axis]
        first = self.images_seen if first_image is None else first_image
        first = arguments.whole(
            first, "first_image", 0, arguments.MOST_IMAGES - images,
            "the noise of an image is addressed by its number",
        )  # fmt: skip
        self._prepare(x)
        if self._plan is None:
            self._plan = adapt.apply(self._build_plan(), self.corrections)
        self.images_seen = first + images
        outputs = executor.run(self._plan, x, first, self.counts, chunk, span)
        clipping.warn(self.counts, self.spec.calibration.clip_warning_fraction, self._warned)
        return outputs

    def _prepare(self, x: tuple[Tensor, ...]) -> None:
        """Raise if nothing is programmed; calibrate on these images if nothing else was given."""
        if self.state is None:
            raise NotProgrammedError("the chip holds no weights yet; call chip.program() first")
        if self.ranges is None:
            if calibrate.needs_ranges(self.image, self.spec):
                warnings.warn(
                    f"the chip was not calibrated: using these {x[0].shape[self.image.axis]} "
                    "images to set the integer ranges; call chip.calibrate(batches) to choose "
                    "others",
                    stacklevel=4,
                )
            self.calibrate([x])

    def _build_plan(self) -> plan.Plan:
        moment = plan.Moment(self.time_seconds, self._look(), looking.factors(self))
        return plan.build(self.image, self.spec, self.ranges, self.state, moment, self.device)

    def _look(self) -> Mapping[int, tile.TileNow]:
        """Return the crossbars at the chip's time, by core."""
        if self.state is None:
            raise NotProgrammedError("the chip holds no weights yet; call chip.program() first")
        if self._tiles is None or self._tiles[0] != self.time_seconds:
            self._tiles = self.time_seconds, self._look_at(self.time_seconds)
        return self._tiles[1]

    def _look_at(self, t_seconds: float) -> Mapping[int, tile.TileNow]:
        """Return the crossbars at a time, by core, with the ADC ranges that were calibrated."""
        tiles = chip_state.look(self.state, self.spec, t_seconds)
        amperes = {} if self.ranges is None else self.ranges.adc_amperes
        return calibrate.with_adc_ranges(tiles, self.image, amperes)

    # ------------------------------------------------------------------ looking

    def conductances(self, core: int) -> np.ndarray:
        """Return the devices of a core at the chip's time.

        Parameters
        ----------
        core : int

        Returns
        -------
        (4, R, C) float32, siemens
            g1+, g2+, g1-, g2- of the rows and columns in use. Where the law describes the two
            devices of a polarity as one, they are shown with half each.
        """
        core = arguments.whole(core, "core", 0, MOST_CORES - 1)
        return looking.conductances(self, core)

    def effective_weights(self, layer: str) -> np.ndarray:
        """Return the weights that a layer's conductances stand for at the chip's time.

        Parameters
        ----------
        layer : str
            Name of an analog layer: the path of the torch module.

        Returns
        -------
        float32, in the shape of the torch module's weight
            Drift compensation included; batch norm (which is digital) not. A transposed
            convolution is shown as the ordinary one that runs.
        """
        layer = arguments.text(layer, "layer")
        return looking.effective_weights(self, layer)

    def report(self) -> Report:
        """Return what the chip looks like and what it did so far; print it or ``.to_dict()``."""
        return Report.of(self)

    # ------------------------------------------------------------------- storing

    def save(self, path: str | Path) -> None:
        """Write everything to an HDF5 file; a chip loaded from it gives the same results.

        Parameters
        ----------
        path : path
            A file that is there is replaced; a folder, a link, a device and the like are refused.

        Raises
        ------
        OSError
            If it cannot be written; then what was there is as before.
        """
        looking.save(self, arguments.path(path))

    @classmethod
    def load(cls, path: str | Path) -> Chip:
        """Read a chip from a file written by :meth:`save`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not one of ours, damaged, or of a newer version.
        """
        spec, image, ranges, state, clock = store.load(arguments.path(path))
        chip = cls(image, spec)
        chip.ranges, chip.state = ranges, state
        looking.restore(chip, clock)
        return chip


def _machine(spec: ChipSpec | None) -> ChipSpec:
    """Return a specification, or the default one; TypeError for something else."""
    spec = presets.hermes() if spec is None else spec
    if not isinstance(spec, ChipSpec):
        raise TypeError(
            f"spec is a {type(spec).__name__}; give a ChipSpec, for example "
            "aimc_sim.presets.hermes()"
        )
    return spec
