"""The chip as a user holds it: a thin, friendly owner of (spec, program, ranges, state, clock)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .. import arguments, mapping, markup, presets, store, units
from ..chip import state as chip_state
from ..chip.program import Program
from ..core import compensation
from ..machine import settings
from ..mapping.where import Where
from ..spec import MOST_CORES, ChipSpec
from . import adapt, calibrate, chip_report, clipping, contents, executor
from .chip_report import Report
from .explain import Explanation, check_layers, explain
from .given import built_model, usable_device
from .held import Held
from .images import images_in
from .recurrent import Span
from .spiking_report import SpikingReport
from .stream import Stream, packed
from .variants import Variants

_MOST_CHUNK = 2**20
"""Images that may be simulated at a time; more are no faster, and memory grows with them."""


@settings.own_methods
class Chip(Held):
    """A trained network on a simulated 64-core PCM chip.

    Make one with :meth:`from_model` or :meth:`load`. Methods that prepare the chip return it,
    so that they can be chained: ``chip.at("1 day").compensate("gdc")(images)``.
    """

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
        example : tensor, tuple, mapping, or a batch of a DataLoader, optional
            Inputs as the forward method takes them; a mapping from its arguments' names gives
            them by name. Default: such as the first layer with weights reads. Sizes that the
            forward method decides by are fixed; inputs of others are recorded when they come.

        Returns
        -------
        Chip

        Raises
        ------
        UnsupportedLayerError
            If a layer has no counterpart on the chip, or the record of the network gives other
            numbers than the network; names it, its line and a remedy.
        CapacityError
            If the network needs more cores than there are.
        ValueError
            If the cores' converters cannot work with their input encoding.
        """
        from ..frontend import Source, demand_layers  # torch.export loads with the first network

        spec, model = _machine(spec), built_model(model)
        source = Source(model, where)
        network = source.network(example)
        demand_layers(source, network)
        compiled = mapping.compile_network(network, spec)
        check_layers(spec, compiled)
        chip = cls(compiled, spec)
        assert source.walk is not None  # the network came from a walk
        chip.variants = Variants(compiled, chip.spec, source, source.walk.recording.example)
        return chip

    @staticmethod
    def explain(
        model: nn.Module | Callable[[], nn.Module], spec: ChipSpec | None = None, *,
        where: Where = None, example: Any = None,
    ) -> Explanation:  # fmt: skip
        """Return the fate of every layer and operation: on which cores, digital, merged, refused.

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

    def calibrate(self, batches: Tensor | np.ndarray | Iterable[Any]) -> Chip:
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
        if isinstance(batches, (Tensor, np.ndarray, PackedSequence, Mapping)):
            batches = [batches]
        if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
            raise TypeError(
                f"batches = {arguments.shown(batches)}: wanted a tensor of images, or an iterable "
                "of them"
            )
        others: list[tuple[Program, tuple[Tensor, ...]]] = []

        def here() -> Iterator[tuple[Tensor, ...]]:
            for batch in batches:
                x = self.inputs_of(batch)
                compiled = self.variants.of(x)
                if compiled is self.compiled:
                    yield x
                else:
                    others.append((compiled, x))

        ranges = calibrate.measure_all(self.compiled, here(), self.spec)
        for compiled, x in others:  # of other sizes: the larger range counts
            more = calibrate.measure_all(compiled, [x], self.spec)
            ranges = more if ranges.images == 0 else calibrate.joined(ranges, more)
        if ranges.images == 0:
            raise ValueError("calibrate got no images; give at least one batch")
        self.ranges = ranges
        if self.pending is not None:
            self._write()
        return self

    def program(self, seed: int = 0) -> Chip:
        """Write all devices, start the clock at 0; returns the chip.

        Parameters
        ----------
        seed : int
            >= 0. The same seed gives the same devices, whatever else was simulated. Where
            calibration chooses g_max (``core.g_max_rule``) and was not made yet, they are written
            once it is.

        Raises
        ------
        TypeError, ValueError
            If the seed is none.
        """
        self.pending, self.state = arguments.seed(seed), None
        self.time_seconds = 0.0
        if self.ranges is not None or not calibrate.chooses_g_max(self.compiled, self.spec):
            self._write()
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
        self.images_seen = 0
        return self

    def refresh(self) -> Chip:
        """Write the same weights again at the chip's time; drift starts anew; returns the chip.

        Devices keep their own properties (faults, deviations of their pulses); errors that belong
        to a programming are drawn again. Drift compensation is measured afresh against now.

        Raises
        ------
        ValueError
            If a core holds devices that learned before and whose bounds and steps are their own.
        """
        state = self.check_written()
        state.demand_own_devices(self.spec)
        self.state = chip_state.program(
            self.compiled, self.spec, state.seed, self.time_seconds, state.cycle + 1,
            self.ranges,
        )  # fmt: skip
        self.images_seen = 0
        self.corrections, self.adapted_images = {}, 0
        return self

    def compensate(self, method: compensation.Method) -> Chip:
        """Choose the drift compensation, measured by reads at the chip's time.

        Parameters
        ----------
        method : "none", "gdc" or "column" (as published: a factor per core, or per column),
            "gdc-signs", "ls"; see :mod:`aimc_sim.core.compensation`

        Raises
        ------
        ValueError
            If it is none of these, or converters of one bit read the cores of a layer.
        """
        chosen = arguments.choice(method, "compensation", compensation.METHODS)
        for layer in self.compiled.layers:
            own = self.spec.for_layer(layer.owner).core
            compensation.check(cast("compensation.Method", chosen), own)
        self.compensation, self.images_seen = cast("compensation.Method", chosen), 0
        return self

    def adapt_batch_norm(self, images: Tensor | np.ndarray | None) -> Chip:
        """Measure batch-norm statistics anew at the chip's time (AdaBS); returns the chip.

        Parameters
        ----------
        images : (B, ...) float, or None
            Calibration images, some hundreds, not those of a test; they run through the chip once.
            None: back to the statistics of the training.

        Notes
        -----
        Source: V. Joshi et al., Nature Communications 11, 2473 (2020),
        doi:10.1038/s41467-020-16108-9; see :mod:`aimc_sim.runtime.adapt`. The new statistics stay
        until this is called again or the chip is programmed; :meth:`compensate` acts below them.
        """
        self.corrections, self.adapted_images = {}, 0
        if images is None:
            return self
        x = self.inputs_of(images)
        compiled = self._prepare(x)
        # Far above the numbers of images that are run: no draw is used twice.
        bare = self.evaluation.bare_plan(compiled)
        self.corrections = adapt.batch_norm_corrections(bare, x, 2**62)
        self.adapted_images = images_in(compiled, x)
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
        self.device = usable_device(device)
        return self

    # ------------------------------------------------------------------ running

    def __call__(
        self, *images: Any, first_image: int | None = None, chunk: int | None = None,
        **named: Any,
    ) -> Any:  # fmt: skip
        """Run images, or sequences, through the chip at its present time.

        Parameters
        ----------
        *images : (B, ...) numbers
            As the torch model takes them: tensors, also in tuples, lists and dictionaries; a
            network of recurrent layers takes a packed sequence as well.
        first_image : int, optional
            Number of the first image. The fresh read noise of an image belongs to its number;
            by default numbers go on from the last call (one batch of 128 equals two of 64).
        chunk : int, optional
            Images simulated at a time; changes memory and speed, not results.
        **named
            Inputs by the names that the forward method has for them.

        Returns
        -------
        (B, outputs) float32 tensor, or the tensors of a structure as the torch model's own
            Tuples, lists and dictionaries of tensors keep their structure.

        Raises
        ------
        TypeError, ValueError
            If images do not fit the network, or an argument is no such number.
        """
        if chunk is not None:
            chunk = arguments.whole(chunk, "chunk", 1, _MOST_CHUNK)
        x, lengths = self._arguments(images, named)
        span = None if lengths is None else Span(lengths=lengths)
        outputs = self._run(x, span, first_image, chunk)
        return outputs if lengths is None else packed(self.compiled, outputs, lengths)

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
            If the network has no recurrent layer, or a layer needs several time steps at once.
        """
        first_image = self.images_seen if first_image is None else first_image
        first_image = arguments.whole(first_image, "first_image", 0, arguments.MOST_IMAGES - 1)
        return Stream(self.compiled, self._run, first_image)

    def _run(
        self, x: tuple[Tensor, ...], span: Span | None, first_image: int | None, chunk: int | None
    ) -> Any:
        compiled = self._prepare(x)
        images = images_in(compiled, x)
        first = self.images_seen if first_image is None else first_image
        first = arguments.whole(
            first, "first_image", 0, arguments.MOST_IMAGES - images,
            "the noise of an image is addressed by its number",
        )  # fmt: skip
        self.images_seen = first + images
        outputs = executor.run(self.evaluation.plan(compiled), x, first, self.counts, chunk, span)
        clipping.warn(self.counts, self.spec.calibration.clip_warning_fraction, self._warned)
        return outputs

    def _prepare(self, x: tuple[Tensor, ...]) -> Program:
        """Return the program for these inputs; calibrate on them if nothing else was given."""
        if self.state is None and self.pending is None:
            self.check_written()
        compiled = self.variants.of(x)
        if self.ranges is None:
            if self.state is None or calibrate.needs_ranges(self.compiled, self.spec):
                warnings.warn(
                    f"the chip was not calibrated: using these {images_in(compiled, x)} "
                    "images to set the integer ranges; call chip.calibrate(batches) to choose "
                    "others",
                    stacklevel=5,
                )
            self.ranges = calibrate.measure_all(compiled, [x], self.spec)
            if self.pending is not None:
                self._write()
        return compiled

    # --------------------------------------------------------------- inspecting

    def conductances(self, core: int) -> np.ndarray:
        """Return the devices of a core at the chip's time.

        Parameters
        ----------
        core : int
            Number of the core on the chip.

        Returns
        -------
        (4, R, C) float32, siemens
            g1+, g2+, g1-, g2- of the rows and columns in use. Where the law describes the two
            devices of a polarity as one, they are shown with half each.
        """
        core = arguments.whole(core, "core", 0, MOST_CORES - 1)
        return contents.conductances(self, core)

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
        return contents.effective_weights(self, layer)

    def report(self) -> Report:
        """Return a record of the chip and of its work so far; print it or ``.to_dict()``."""
        return Report.of(self)

    def spiking_report(self) -> SpikingReport:
        """Return the spikes of the inputs that were run, and the energy with and without gating.

        Returns
        -------
        SpikingReport
            Print it, or ``.to_dict()``.

        Raises
        ------
        ValueError
            If nothing spikes, or nothing was run yet.
        """
        return SpikingReport.of(self)

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        return chip_report.state(self)

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
            If it cannot be written; a file that was there is then as before.
        """
        contents.save(self, arguments.path(path))

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
        spec, compiled, ranges, state, clock = store.load(arguments.path(path))
        chip = cls(compiled, spec)
        chip.ranges, chip.state = ranges, state
        contents.restore(chip, clock)
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
