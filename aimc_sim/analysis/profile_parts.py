"""Where the time of a forward goes: the functions at which its parts begin, and their clocks.

:data:`HOOKS` names these functions in one place. :func:`recording` puts a clock around each of them
while it lasts; outside of it nothing is replaced and nothing costs time. Results do not change: a
clock passes on what goes in and out.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..chip import gdpu, gdpu_cells
from ..kernels.conversion import add_codes
from ..kernels.epilogue import epilogue
from ..machine import products
from ..machine.formats import formats
from ..runtime import chunk, convert, executor, floating, whole
from ..runtime.calls import CoreCall, layer_calls
from ..runtime.plan import Plan
from ..runtime.whole import Whole

PARTS = ("product", "variance", "fused pass", "recurrent pass", "digital", "Python")
"""The parts of a forward.

product
    Input codes times conductances, float32.
variance
    Squared codes times the variances of read noise, and what floating idle lines add, in the
    format of variances.
fused pass
    Noise, converter, scale, link, ReLU and integers of a core, one pass over its outputs.
recurrent pass
    All time steps of a small recurrent layer: products, conversions and gates in one.
digital
    Steps of the digital units, and conversions between integers and numbers around them.
Python
    The rest of a step: the interpreter, the survey of inputs, and torch's small operations between
    the parts (squares, copies, counts).
"""

CLOCKS = "clocks"
"""Time of the clocks themselves: recorded so that pieces add up, and part of no forward."""

WHOLE = "inputs and outputs"
"""Stands for the step when a chunk is in none: its inputs are made, its outputs taken."""


@dataclass
class Sum:
    """Of all calls of a part in a step.

    Attributes
    ----------
    seconds : float
        Of all threads together.
    bytes : int
        Read and written.
    operations : int
        Multiplications and additions.
    """

    seconds: float = 0.0
    bytes: int = 0
    operations: int = 0

    def add(self, seconds: float, moved: int = 0, operations: int = 0) -> None:
        """Add one call."""
        self.seconds += seconds
        self.bytes += moved
        self.operations += operations


Sums = dict[tuple[str, str], Sum]
"""By name of the step and part, one of :data:`PARTS` or :data:`CLOCKS`."""


class CallCost(NamedTuple):
    """Work of a call: its part, the bytes it reads and writes, its operations."""

    part: str
    bytes: int
    operations: int = 0


@dataclass(frozen=True)
class Hook:
    """A function that is replaced while parts are recorded.

    Attributes
    ----------
    owner : module or class
        Namespace in which it is looked up when it is called.
    name : str
        Name of the attribute of the owner that is replaced.
    step : callable or None
        From the recorder and its arguments to the name of the step that begins with it.
    cost : callable or None
        From the recorder, its result and its arguments to the :class:`CallCost` of a part.
    """

    owner: Any
    name: str
    step: Callable[..., str] | None = None
    cost: Callable[..., CallCost] | None = None


# --------------------------------------------------------------------------- cost of a part


def _of_product(recorder: Recorder, y: Tensor, x: Tensor, kernel: Tensor, *_: Any) -> CallCost:
    """Inputs, kernel and outputs once each; two operations per multiply-accumulate."""
    part = "product" if recorder.is_charge(kernel) else "variance"
    return CallCost(part, size(x, kernel, y), 2 * y.numel() * kernel[0].numel())


def _of_fused_pass(recorder: Recorder, result: Any, *arguments: Any) -> CallCost:
    """Charge, and of each output the variance, link code, code and square where there are any."""
    given = _EPILOGUE.bind(*arguments).arguments
    outputs = given["charge"].size
    arrays = (given[name] for name in ("charge", "variance", "link", "out", "squares"))
    return CallCost("fused pass", sum(outputs * a.itemsize for a in arrays if a.size > 0))


def _of_conversion(recorder: Recorder, result: Any, *arguments: Any) -> CallCost:
    """Of each conversion its charge, its variance if there is one, and the sum, twice."""
    given = _ADD_CODES.bind(*arguments).arguments
    read = (given[name].itemsize for name in ("charge", "variance") if given[name].size > 0)
    return CallCost("fused pass", given["total"].size * (sum(read) + 2 * given["total"].itemsize))


def _of_combining(recorder: Recorder, result: None, lines: Any, *tensors: Any) -> CallCost:
    """Sums once, charges twice."""
    return CallCost("variance", size(*tensors) + size(tensors[-1]))


def _of_recurrent_pass(
    recorder: Recorder, result: Any, prepared: Whole, call: Any, inputs: Tensor, *_: Any
) -> CallCost:
    """Count inputs and outputs once, matrices once per time step; two operations per product."""
    batch, times = inputs.shape[:2]
    matrices = prepared.hidden[:2]
    products = sum(2 * matrix.size for matrix in matrices if matrix.size > 1)
    return CallCost("recurrent pass", size(inputs, result) + times * size(*matrices),
                batch * times * products)  # fmt: skip


def _of_digital(recorder: Recorder, result: Any, *arguments: Any) -> CallCost:
    """All tensors and arrays that go in and come out, once each."""
    return CallCost("digital", size(result, *arguments))


_EPILOGUE = inspect.signature(epilogue)
_ADD_CODES = inspect.signature(add_codes)


def size(*things: Any) -> int:
    """Return the bytes of tensors and arrays, those in sequences and dictionaries too."""
    total = 0
    for thing in things:
        if isinstance(thing, Tensor | np.ndarray):
            total += thing.nbytes
        elif isinstance(thing, list | tuple):
            total += size(*thing)
        elif isinstance(thing, dict):
            total += size(*thing.values())
    return total


HOOKS = (
    Hook(executor, "_run_chunk", step=lambda recorder, plan, *_: recorder.see(plan)),
    Hook(chunk.Run, "layer", step=lambda recorder, run, call, *_: call.layer.name),
    Hook(chunk.Run, "digital", step=lambda recorder, run, call, *_: call.step.name),
    Hook(chunk.Run, "loop", step=lambda recorder, run, call, *_: call.step.name),
    Hook(products, "convolution", cost=_of_product),
    Hook(products, "linear", cost=_of_product),
    Hook(convert, "epilogue", cost=_of_fused_pass),
    Hook(convert, "add_codes", cost=_of_conversion),
    Hook(floating, "combine_compiled", cost=_of_combining),
    Hook(whole, "run", cost=_of_recurrent_pass),
    Hook(chunk, "apply", cost=_of_digital),
    Hook(chunk, "quantise", cost=_of_digital),
    Hook(Plan, "real", cost=_of_digital),
    Hook(gdpu, "lstm_passes", cost=_of_digital),
    Hook(gdpu_cells, "gru_step", cost=_of_digital),
    Hook(gdpu_cells, "rnn_step", cost=_of_digital),
)  # fmt: skip
"""Where steps and parts begin. A part inside a part belongs to the outer one."""


# ------------------------------------------------------------------------- clocks


@dataclass
class Frame:
    """A step under way: its name, the share of its time that is counted, whether a part is too."""

    step: str
    known: float = 0.0
    in_part: bool = False


class _ProfiledThread(threading.local):
    """Sums of a thread, and the steps that it is in, outermost first."""

    def __init__(self, found: list[Sums]) -> None:
        self.frames: list[Frame] = []
        self.sums: Sums = defaultdict(Sum)
        found.append(self.sums)


class Recorder:
    """The clocks of all threads; sums are kept, so that no clock waits for memory."""

    def __init__(self) -> None:
        self._found: list[Sums] = []
        self._here = _ProfiledThread(self._found)
        self._charges: set[int] = set()
        own = formats()
        self._narrow = None if own.variance == own.charge else own.variance

    def sums(self) -> Sums:
        """Return the sums over all threads, steps in the order in which they first ended."""
        total: Sums = defaultdict(Sum)
        for found in self._found:
            for key, one in found.items():
                total[key].add(one.seconds, one.bytes, one.operations)
        return dict(total)

    def see(self, plan: Plan) -> str:
        """Prepare for a plan of which a chunk begins; return its step."""
        if plan.device.type != "cpu":
            raise ValueError(
                f"parts are timed on a processor, and this chip is on '{plan.device}', which "
                "computes while Python goes on; use chip.to('cpu')"
            )
        if self._narrow is None:
            self._charges |= {kernel.data_ptr() for kernel in _charge_kernels(plan)}
        return WHOLE

    def is_charge(self, kernel: Tensor) -> bool:
        """Whether a product with a kernel gives a charge: by format, or by whose memory it is."""
        if self._narrow is not None:
            return kernel.dtype != self._narrow
        return kernel.data_ptr() in self._charges

    def step(self, hook: Hook, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function with which a step begins."""
        assert hook.step is not None  # hooks of parts have `cost`
        here, frame = self._here, Frame(hook.step(self, *arguments, *named.values()))
        here.frames.append(frame)
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds = time.perf_counter() - began
            here.frames.pop()
            here.sums[frame.step, "Python"].add(seconds - frame.known)
            if here.frames:
                here.frames[-1].known += seconds

    def part(self, hook: Hook, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function with which a part begins."""
        assert hook.cost is not None  # hooks of steps have `step`
        here = self._here
        if not here.frames or here.frames[-1].in_part:
            return function(*arguments, **named)
        frame = here.frames[-1]
        frame.in_part = True
        try:
            began = time.perf_counter()
            result = function(*arguments, **named)
            ended = time.perf_counter()
            cost = hook.cost(self, result, *arguments, *named.values())
            here.sums[frame.step, cost.part].add(ended - began, cost.bytes, cost.operations)
            last = time.perf_counter()
            here.sums[frame.step, CLOCKS].add(last - ended)
            frame.known += last - began
            return result
        finally:
            frame.in_part = False


def _charge_kernels(plan: Plan) -> Iterator[Tensor]:
    def of_core(core: CoreCall) -> Iterator[Tensor]:
        yield core.kernel
        if core.negative is not None:
            yield core.negative
        if core.phases is not None:
            yield core.phases.kernel
        for plane in (*core.planes, *(part.core for part in core.parts)):
            yield from of_core(plane)

    for call in layer_calls(plan.calls):
        for chain in call.chains:
            for core in chain:
                yield from of_core(core)


_one_at_a_time = threading.Lock()


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the parts of all forwards of this process while this lasts.

    Yields
    ------
    Recorder
        Its ``sums`` are whole when no forward is under way.

    Raises
    ------
    RuntimeError
        If parts are being recorded already, in any thread.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise RuntimeError("the parts of a forward are being recorded already")
    try:
        recorder, before = Recorder(), [getattr(hook.owner, hook.name) for hook in HOOKS]
        try:
            for hook, function in zip(HOOKS, before, strict=True):
                setattr(hook.owner, hook.name, _clocked(recorder, hook, function))
            yield recorder
        finally:
            for hook, function in zip(HOOKS, before, strict=True):
                setattr(hook.owner, hook.name, function)
    finally:
        _one_at_a_time.release()


def _clocked(recorder: Recorder, hook: Hook, function: Callable[..., Any]) -> Callable[..., Any]:
    record = recorder.part if hook.step is None else recorder.step

    @functools.wraps(function)
    def clocked(*arguments: Any, **named: Any) -> Any:
        return record(hook, function, *arguments, **named)

    return clocked
