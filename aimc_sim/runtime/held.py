"""State of a chip: specification, program, ranges, devices, clock; derived things are made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ..chip import ledger
from ..chip import state as chip_state
from ..chip.program import AnalogLayer, Program, WrittenProduct
from ..chip.state import ChipState, Ranges
from ..core import compensation
from ..errors import NotProgrammedError
from ..mapping import spikes
from ..ops import charged
from ..spec import ChipSpec
from . import adapt
from .calibrate import alike
from .counts import new_counts
from .evaluation import Evaluation, Evaluations
from .images import as_inputs, split_batch
from .variants import Variants


class Held:
    """The state of a chip, for all that read it.

    Attributes
    ----------
    compiled : Program
        The placed program.
    spec : ChipSpec
        The machine; layers that read spikes have binary inputs.
    ranges : Ranges or None
        Of all integers, once measured.
    state : ChipState or None
        The devices, once written.
    pending : int or None
        Seed of devices that await ranges, by which every core's g_max is chosen.
    time_seconds : float
        Since the end of the first programming.
    compensation : str
        Name of the drift compensation, see :data:`aimc_sim.core.compensation.METHODS`.
    corrections : dict
        By layer, the corrections of AdaBS from ``adapted_images`` images.
    images_seen : int
        Number of the next image.
    device : torch.device
        Device of torch on which images are run.
    counts : Tally
        Counts of every layer so far.
    variants : Variants
        Programs for other sizes.
    """

    def __init__(self, compiled: Program, spec: ChipSpec) -> None:
        self.compiled = compiled
        self.spec = spec = spikes.machine_of(compiled, spec)
        self.ranges: Ranges | None = None
        self.state: ChipState | None = None
        self.pending: int | None = None
        self.time_seconds = 0.0
        self.compensation: compensation.Method = "none"
        self.corrections: dict[str, adapt.Correction] = {}
        self.adapted_images = 0
        self.images_seen = 0
        self.device = torch.device("cpu")
        self.counts = new_counts()
        self.variants = Variants(compiled, spec)
        # Derived from the above, kept while it stays true.
        self._evaluations: Evaluations | None = None
        self._evaluation: Evaluation | None = None
        self._warned: set[str] = set()

    @property
    def image(self) -> NoReturn:
        """The former name of :attr:`compiled`."""
        raise AttributeError("chip.image: the placed program of a chip is now called chip.compiled")

    def check_written(self) -> ChipState:
        """Return the written devices; raise NotProgrammedError with the reason without any."""
        if self.state is not None:
            return self.state
        if self.pending is not None:
            raise NotProgrammedError(
                "the devices await calibration, which chooses g_max of every core "
                "(core.g_max_rule); call chip.calibrate(batches) first"
            )
        raise NotProgrammedError("the chip holds no weights yet; call chip.program() first")

    def _write(self) -> None:
        """Write the devices that were asked for."""
        seed, self.pending = self.pending, None
        assert seed is not None  # there are devices to be written
        self.state = chip_state.program(self.compiled, self.spec, seed, ranges=self.ranges)
        self.images_seen = 0
        self.corrections, self.adapted_images = {}, 0

    def inputs_of(self, batch: Any) -> tuple[Tensor, ...]:
        """Return the inputs in a batch of a data loader: labels are left, names are arguments."""
        if isinstance(batch, Mapping):
            signature = self.variants.signature
            known = self.compiled.inputs if signature is None else signature.parameters
            # The first input of a chip from a file has lost its name.
            if len(set(batch) - set(known)) <= (signature is None):
                return self._arguments((), batch, True)[0]
        return self._arguments(split_batch(self.compiled, batch), batch=True)[0]

    def _arguments(
        self,
        given: Sequence[Any],
        named: Mapping[str, Any] = MappingProxyType({}),
        batch: bool = False,
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Return arguments of the network as its inputs, and the lengths of packed sequences."""
        its = self.variants
        return as_inputs(
            self.compiled, given, named, its.example, its.source is not None, its.signature, batch
        )

    def pixels(self) -> dict[str, int]:
        """Return the MVMs per image of every layer's cores, of the images that were run so far.

        Calls of the same devices are counted together, and share their MVMs evenly here.
        """
        found = {}
        owners = [layer.owner for layer in self.compiled.layers]
        for layer in self.compiled.layers:
            seen, calls = self.counts.get(layer.owner), owners.count(layer.owner)
            if seen is not None and seen.mvms:  # without any conversion where all inputs were 0
                found[layer.name] = round(seen.mvms / calls / len(layer.blocks) / seen.images)
        return found

    def work(self) -> ledger.ImageWork:
        """Return the work beside the MVMs of weights, per image of those that were run so far.

        Operations in floating point of digital steps, and sizes of the matrices that were written.
        """
        operations, written = {}, {}
        for step in self.compiled.steps:
            seen = self.counts.get(step.name)
            if seen is None or not seen.images or isinstance(step, AnalogLayer):
                continue
            if isinstance(step, WrittenProduct):
                written[step.name] = ledger.Factors(*(part / seen.images for part in seen.factors))
            elif seen.operations and charged(step.op):
                operations[step.name] = seen.operations / seen.images
        return ledger.ImageWork(operations, written)

    def charges(self) -> dict[int, float]:
        """Return the charge of one MVM of every tile, in coulombs, for the inputs that were run."""
        tiles, found = self.evaluation.tiles, {}
        for layer in self.compiled.layers:
            core = self.spec.for_layer(layer.owner).core
            drive = self.counts[layer.name].mean_magnitude / core.dac.max_code
            for block in layer.blocks:
                relative = float(tiles[block.tile].polarities.sum(dtype=np.float64))
                found[block.tile] = ledger.coulombs(
                    core, relative * core.device.g_max_siemens, drive
                )  # fmt: skip
        return found

    def used_ledger(self) -> ledger.Ledger | None:
        """Return the ledger of one image as used; None if nothing was run."""
        pixels = self.pixels()
        if len(pixels) < len(self.compiled.layers):
            return None
        work = self.work()
        interval = ledger.estimate(self.compiled, self.spec, pixels, work).interval_seconds
        return ledger.ledger(self.compiled, self.spec, pixels, interval, self.charges(), work)

    @property
    def evaluation(self) -> Evaluation:
        """The crossbars, compensation factors and plans of the chip's present time."""
        state = self.check_written()
        amperes = {} if self.ranges is None else self.ranges.adc_amperes
        evaluations = self._evaluations
        if evaluations is None or not (
            evaluations.state is state and alike(evaluations.amperes, amperes)
        ):
            evaluations = Evaluations(self.compiled, self.spec, state, amperes)
            self._evaluations = evaluations
        now = Evaluation(
            evaluations, self.ranges, self.time_seconds, self.compensation, self.corrections,
            self.device,
        )  # fmt: skip
        kept = self._evaluation
        if kept is None or not now.is_like(kept):
            kept = self._evaluation = now
        return kept
