"""One matrix of a layer on arrays that learn: products both ways, converters, update."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aimc_sim.core import converters
from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import sized
from aimc_sim.learning.clock import Clock
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import CoreSpec
from aimc_sim.training.geometry import WeightCuts

_KEEP = 0.95
"""Share of a running range that stays in every step, as in :mod:`aimc_sim.training`."""


@dataclass
class Book:
    """The numbers of a matrix that change from step to step, devices and updates apart.

    Attributes
    ----------
    vectors : list of 3 int
        Vectors forward, backward, and forward in evaluation: they address the noise.
    steps : int
        Steps of the optimiser.
    updates : int
        Pairs of inputs and errors in all updates.
    reads : list of 2 int
        Vectors forward and backward since the last step.
    conversions, beyond : int
        Conversions of the ADCs, and those of them beyond the range.
    input_range : float, dimensionless
        Half the range of the input converters; 0 before the first batch.
    written_seconds : float, seconds
        Time of the last step.
    spent : Spent
        Cost of all updates.
    pending : list of ((N, R) array, (N, C) array)
        Inputs and errors since the last step.
    """

    written_seconds: float
    vectors: list[int] = field(default_factory=lambda: [0, 0, 0])
    steps: int = 0
    updates: int = 0
    reads: list[int] = field(default_factory=lambda: [0, 0])
    conversions: int = 0
    beyond: int = 0
    input_range: float = 0.0
    spent: Spent = field(default_factory=Spent)
    pending: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


@dataclass
class Piece:
    """A crossbar: its place in the matrix, its devices and what updates them.

    Attributes
    ----------
    rows, cols : slice
        Inputs and outputs of the matrix.
    synapses : Synapses
        The devices.
    engine : Engine
        Their update.
    """

    rows: slice
    cols: slice
    synapses: Synapses
    engine: Engine


class Matrix(nn.Module):
    """The crossbars of one matrix, R inputs and C outputs.

    Parameters
    ----------
    path : str
        Path of the matrix in the network, part of the address of its draws.
    start : (C, R) float32 array, dimensionless
        Weights to begin with, as torch stores them.
    layout : WeightCuts
        Cuts of the matrix.
    core : CoreSpec
        Converters, and the devices that they read.
    device : Device
        Devices behind the weights.
    update : Update
        From gradients to pulses.
    weight_range : float, dimensionless
        Weight at the end of the range that the devices are used over.
    seed : int
        Seed of all draws.
    clock : Clock
        Of the network.
    has_bias : bool
        Whether the last input is always 1, and not the caller's.

    Notes
    -----
    Inputs are converted over a running maximum of the training batches, errors over the largest
    one of each vector, which the digital unit scales by (assumption). Each crossbar has converters
    of its own, and partial sums are added in float32. Both directions read the weights of one
    time; their noise is drawn separately.
    """

    def __init__(
        self, path: str, start: np.ndarray, layout: WeightCuts, core: CoreSpec, device: Device,
        update: Update, weight_range: float, seed: int, clock: Clock, has_bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.has_bias = has_bias
        self.path, self.layout, self.clock, self.weight_range = path, layout, clock, weight_range
        self.mvm_seconds = core.read.mvm_seconds
        self.input_bits = core.dac.bits
        number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big")
        key = Key(seed).child(number)
        self.pieces: list[Piece] = []
        for at, (_, cols, rows) in enumerate(layout.blocks()):
            weights = np.ascontiguousarray(start[cols, rows].T, np.float32)
            synapses = device.synapses(weights, weight_range, key.child(at), clock.seconds)
            engine = update.engine(synapses, key.child(at, Purpose.LEARNING_UPDATE))
            self.pieces.append(Piece(rows, cols, synapses, engine))
        self._noise = [
            [
                np.array(key.child(at, Purpose.MVM_NOISE, way).words())
                for at in range(len(self.pieces))
            ]
            for way in range(3)
        ]
        self.output_step, self.output_limit = _output_converter(core)
        self._units = [
            np.float32(self.output_step * piece.synapses.full_weight) for piece in self.pieces
        ]
        self.book = Book(clock.seconds)

    # ----------------------------------------------------------------------- products

    def through(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return products of vectors with the weights.

        Parameters
        ----------
        x : (N, R) float32, dimensionless
            Inputs, without that of the bias.

        Returns
        -------
        y : (N, C) float32, dimensionless
            Converted products.
        sent : (N, R) float32, dimensionless
            Inputs as the rows got them.
        beyond : (N, R) bool or None
            Inputs outside the range of their converter; None if there is none.
        """
        if self.has_bias:
            x = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        sent, outside, span = x, None, 0.0
        if self.input_bits is not None:
            top = float(np.abs(x).max(initial=0.0))
            if self.training:
                old = self.book.input_range if self.book.input_range > 0 else top
                self.book.input_range = float(np.float32(_KEEP * old + (1 - _KEEP) * top))
            span = self.book.input_range if self.book.input_range > 0 else top
            sent, outside = self._sent(x, np.array([span], np.float32))
        if self.training:
            self.book.reads[0] += len(x)
        # Evaluation has noise of its own: it changes nothing for later steps.
        y = self._products(sent, 0 if self.training else 2, np.array([span], np.float32))
        return y, sent, outside

    def back(self, d: np.ndarray) -> np.ndarray:
        """Return the errors of the inputs.

        Parameters
        ----------
        d : (N, C) float32, dimensionless
            Errors of the outputs.

        Returns
        -------
        (N, R) float32, dimensionless
            Converted products with the transposed weights.
        """
        span = np.zeros(1, np.float32)
        if self.input_bits is not None:
            span = np.abs(d).max(axis=1, initial=0.0)
            d, _ = self._sent(d, span)
        self.book.reads[1] += len(d)
        y = self._products(d, 1, span)
        return y[:, :-1] if self.has_bias else y

    def _sent(self, x: np.ndarray, span: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        assert self.input_bits is not None
        out, outside = np.empty_like(x), np.empty(x.shape, bool)
        send = sized(kernels.send, 2 * x.size)
        send(x, span, np.float32(2 ** (self.input_bits - 1) - 1), out, outside)
        return out, outside if outside.any() else None

    def _products(self, x: np.ndarray, way: int, span: np.ndarray) -> np.ndarray:
        width = self.layout.rows if way == 1 else self.layout.cols
        first = self.book.vectors[way]
        self.book.vectors[way] += len(x)
        total = np.zeros((len(x), width), np.float32)
        beyond = np.empty(len(x), np.int64)
        for at, piece in enumerate(self.pieces):
            source, target = piece.rows, piece.cols
            product: Callable[..., tuple[np.ndarray, np.ndarray]] = piece.synapses.products
            if way == 1:
                source, target = target, source
                product = piece.synapses.transposed
            y, variance = product(x[:, source], self.clock.seconds)
            step = span * self._units[at]
            convert = sized(kernels.convert, 16 * y.size)
            convert(
                y, variance, first, self._noise[way][at], step,
                np.float32(self.output_limit), self.output_step > 0, beyond,
            )  # fmt: skip
            self.book.conversions += y.size
            self.book.beyond += int(beyond.sum())
            total[:, target] += y
        return total

    # ------------------------------------------------------------------------- update

    def step(self, lr: float) -> Spent:
        """Turn all gradients since the last step into pulses.

        Parameters
        ----------
        lr : float
            Learning rate.

        Raises
        ------
        ValueError
            If inputs, errors or learning rate are not finite; no device has changed then.
        """
        (x, d), *more = self.book.pending
        if more:
            x = np.concatenate([part for part, _ in self.book.pending])
            d = np.concatenate([part for _, part in self.book.pending])
        self.book.pending = []
        if not (np.isfinite(x).all() and np.isfinite(d).all() and math.isfinite(lr)):
            raise ValueError(
                f"inputs, errors or learning rate of '{self.path}' are not finite: the training "
                "has diverged; lower the learning rate"
            )
        spent = Spent()
        for piece in self.pieces:
            more_spent = piece.engine.step(
                np.ascontiguousarray(x[:, piece.rows]), np.ascontiguousarray(d[:, piece.cols]),
                lr, self.clock.seconds, self.book.steps,
            )  # fmt: skip
            if more_spent.pulses or more_spent.reads or more_spent.seconds:  # most steps: none
                spent = spent + more_spent
        self.book.steps += 1
        self.book.updates += len(x)
        self.book.written_seconds = self.clock.seconds
        self.book.spent = self.book.spent + spent
        return spent

    def read_seconds(self) -> float:
        """Return the duration of all products since the last call, in seconds."""
        forward, backward = self.book.reads
        self.book.reads = [0, 0]
        return self.mvm_seconds * (forward + backward)

    def norm_squared(self) -> float:
        """Return the square of the Euclidean norm of the gradient since the last step."""
        x = np.concatenate([part for part, _ in self.book.pending]).astype(np.float64)
        d = np.concatenate([part for _, part in self.book.pending]).astype(np.float64)
        return float(((x @ x.T) * (d @ d.T)).sum())

    def weights(self) -> np.ndarray:
        """Return the noiseless weights at the clock's time, (C, R) float32."""
        found = np.empty((self.layout.cols, self.layout.rows), np.float32)
        for piece in self.pieces:
            found[piece.cols, piece.rows] = piece.synapses.weights(self.clock.seconds).T
        return found

    # -------------------------------------------------------------------------- state

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the whole state as tensors by name."""
        if self.book.pending:
            raise ValueError(
                f"'{self.path}' holds gradients that no step has used: call step or zero_grad of "
                "the optimiser before the state is saved"
            )
        spent = self.book.spent
        found = {
            "counts": torch.tensor(
                [*self.book.vectors, self.book.steps, self.book.updates, *self.book.reads]
            ),
            "converters": torch.tensor([self.book.conversions, self.book.beyond]),
            "input_range": torch.tensor(self.book.input_range, dtype=torch.float64),
            "spent": torch.tensor(
                [spent.pulses, spent.resets, spent.refreshed, spent.reads], dtype=torch.int64
            ),
            "cost": torch.tensor(
                [spent.seconds, spent.joules, self.book.written_seconds], dtype=torch.float64
            ),
        }
        for at, piece in enumerate(self.pieces):
            for part in ("synapses", "engine"):
                for name, array in getattr(piece, part).arrays().items():
                    found[f"{at}.{part}.{name}"] = _tensor(array)
        return found

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`get_extra_state`, bit for bit."""
        for at, piece in enumerate(self.pieces):
            for part in ("synapses", "engine"):
                own = getattr(piece, part)
                arrays = {}
                for name, array in own.arrays().items():
                    given = state.get(f"{at}.{part}.{name}")
                    if given is None or tuple(given.shape) != array.shape:
                        shape = None if given is None else tuple(given.shape)
                        raise ValueError(
                            f"the state of '{self.path}' has '{at}.{part}.{name}' of shape "
                            f"{shape}; wanted {array.shape}: load it into a network prepared with "
                            "equal model, specification, update and device"
                        )
                    arrays[name] = given.numpy().astype(array.dtype)
                own.load(arrays)
        *self.book.vectors, self.book.steps, self.book.updates, forward, backward = (
            int(n) for n in state["counts"]
        )
        self.book.reads = [forward, backward]
        self.book.conversions, self.book.beyond = (int(n) for n in state["converters"])
        self.book.input_range = float(state["input_range"])
        seconds, joules, self.book.written_seconds = (float(value) for value in state["cost"])
        pulses, resets, refreshed, reads = (int(n) for n in state["spent"])
        self.book.spent = Spent(pulses, resets, refreshed, reads, seconds, joules)
        self.book.pending = []

    def extra_repr(self) -> str:
        """Say how the matrix is cut and what it stands on."""
        kind = type(self.pieces[0].synapses).__name__
        cuts = self.layout
        return f"{cuts.rows} x {cuts.cols} on {len(self.pieces)} crossbars, {kind}"


def _tensor(array: np.ndarray) -> Tensor:
    """Return an array as a tensor of a type that every file of torch holds."""
    array = np.array(array)
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "ub" else array)


def _output_converter(core: CoreSpec) -> tuple[float, float]:
    """Return step and largest code of the ADC; the step per input range and full weight.

    A step of 0 is no converter.
    """
    if core.adc.perfect:
        return 0.0, 0.0
    if core.adc.calibrates_columns:
        raise ValueError(
            f"core.adc.kind = '{core.adc.kind}': arrays that learn need ADCs, since thresholds and "
            "scales of columns come from calibration, and currents change while arrays learn; set "
            "core.adc to {'kind': 'symmetric', ...} with core.adc.full_scale_amperes"
        )
    if core.adc.calibrates:
        raise ValueError(
            "core.adc.range = 'calibrated': arrays that learn need ADCs of a fixed range, since "
            "their currents change while they learn; set core.adc.range to 'fixed' with "
            "core.adc.full_scale_amperes"
        )
    quantiser = converters.adc(core.with_({"dac.encoding": "pwm"}))
    if not quantiser.rounds:
        return 0.0, 0.0
    if core.dac.bits is None:
        raise ValueError(
            "core.dac.bits = None with an ADC of finite steps: inputs without a range leave the "
            "step unknown for arrays that learn; give core.dac.bits, or set core.adc.bits to None"
        )
    return quantiser.step / core.dac.max_code, float(quantiser.limit)


class ArrayWeight(nn.Parameter):
    """Stands for a matrix on arrays among a network's parameters; holds no numbers.

    Weights are conductances: ``matrix.weights()`` reads them, and a step of
    :class:`aimc_sim.learning.SGD` changes them by pulses.

    Attributes
    ----------
    matrix : Matrix
        The crossbars.
    """

    matrix: Matrix

    @staticmethod
    def of(matrix: Matrix, requires_grad: bool = True) -> ArrayWeight:
        """Return the parameter of a matrix.

        Parameters
        ----------
        matrix : Matrix
            Its crossbars.
        requires_grad : bool
            False: backward passes leave no gradient, and steps no pulse.
        """
        made = ArrayWeight.__new__(ArrayWeight, torch.empty(0), requires_grad)
        made.matrix = matrix
        return made

    @property
    def grad(self) -> None:
        """None: no gradient of an array is formed; refuses to be read while one is due."""
        matrix = getattr(self, "matrix", None)
        if matrix is not None and matrix.book.pending:
            raise RuntimeError(
                f"the gradient of '{matrix.path}' is not formed: arrays take activations and "
                "errors. Bound its norm with learning.SGD(..., clip_norm=...), step with "
                "learning.SGD, and drop it with the optimiser's or the network's zero_grad"
            )
        return None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            raise RuntimeError("an array that learns takes no gradient: call backward of a loss")

    def __deepcopy__(self, memo: dict[int, Any]) -> ArrayWeight:
        """Copy with the matrix."""
        if id(self) not in memo:
            memo[id(self)] = ArrayWeight.of(copy.deepcopy(self.matrix, memo), self.requires_grad)
        return cast(ArrayWeight, memo[id(self)])

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Return how to make the parameter again, with the matrix."""
        return ArrayWeight.of, (self.matrix, self.requires_grad)

    def __repr__(self) -> str:  # type: ignore[override]
        """Name the matrix."""
        return f"ArrayWeight of {self.matrix.path}: {self.matrix.extra_repr()}"


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, matrix: Matrix) -> Tensor:
        numbers = _numbers(x)
        y, sent, ctx.beyond = matrix.through(numbers)
        # Without a converter these are the caller's numbers, which may change before the step.
        ctx.sent = sent.copy() if sent is numbers and ctx.needs_input_grad[1] else sent
        ctx.matrix = matrix
        return torch.from_numpy(y).to(x.device, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        d = _numbers(gradient)
        matrix: Matrix = ctx.matrix
        below = None
        if ctx.needs_input_grad[0]:
            found = matrix.back(d)
            if ctx.beyond is not None:
                found = np.where(ctx.beyond[:, : found.shape[1]], 0, found)
            below = torch.from_numpy(np.ascontiguousarray(found)).to(
                gradient.device, gradient.dtype
            )
        if ctx.needs_input_grad[1]:
            matrix.book.pending.append((ctx.sent, d.copy()))  # torch may go on in its buffer
        return below, None, None


def through(x: Tensor, weight: ArrayWeight) -> Tensor:
    """Return products of vectors with a matrix on arrays, differentiable once.

    Parameters
    ----------
    x : (N, R) tensor, dimensionless
        Inputs.
    weight : ArrayWeight
        Of the matrix.

    Returns
    -------
    (N, C) tensor, dimensionless
        Converted products.

    Raises
    ------
    ValueError
        If the inputs are no floating-point numbers, or not R of them.
    """
    matrix = weight.matrix
    wanted = matrix.layout.rows - matrix.has_bias
    if not x.is_floating_point() or x.shape[1] != wanted:
        raise ValueError(
            f"'{matrix.path}' got vectors of {x.shape[1]} numbers of {x.dtype}: wanted {wanted} of "
            "a floating-point type, for example float32"
        )
    result: Tensor = cast(Any, _Through).apply(x, weight, matrix)
    return result


def _numbers(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().to("cpu", torch.float32).contiguous().numpy()
    return found
