"""Other recurrent cells on the global digital unit: gated recurrent units and simple ones.

The chip paper's unit computes an LSTM (:mod:`aimc_sim.chip.gdpu`). These cells use the same
arithmetic, one rounding to float16 per operation, and the same tables of tanh and sigmoid; that a
unit of the chip could run them is an assumption of this simulator.
"""

from __future__ import annotations

import numpy as np

from ..core.ldpu import arithmetic, quantise, register
from ..kernels.gru import gru_half
from ..spec.gdpu import GdpuSpec
from .gdpu import LstmStep, largest_code, sigmoid, tanh, tanh_table


def gru_step(
    inputs: np.ndarray, codes: np.ndarray, state: np.ndarray, input_scale: float,
    hidden_scale: float, output_scale: float, spec: GdpuSpec,
) -> LstmStep:  # fmt: skip
    """Take one step of a gated recurrent unit as torch defines it.

    ``r, z = sigmoid(x + h)``; ``n = tanh(x_n + r h_n)``; ``h' = n + z (h - n)``.

    Parameters
    ----------
    inputs, codes : (N, 3H) float32, codes
        Products of the input and of the hidden matrix, biases included; blocks r, z, n.
    state : (N, H) float32
        Hidden state before, as the unit keeps it (not the integers that it sent).
    input_scale, hidden_scale : float
        Value per code of both products.
    output_scale : float
        Output codes per unit of the hidden state.
    spec : GdpuSpec

    Returns
    -------
    LstmStep
        ``cell`` is the hidden state that is kept.

    Source
        K. Cho et al., EMNLP 2014, in the form of :class:`torch.nn.GRU` (the reset gate acts on the
        finished product of the hidden matrix).
    """
    if not spec.bit_true or spec.exact_tanh:
        return gru_step_by_arrays(
            inputs, codes, state, input_scale, hidden_scale, output_scale, spec
        )
    state = np.ascontiguousarray(state, dtype=np.float32)
    kept, sent = np.empty_like(state), np.empty_like(state)
    saturated = gru_half(
        np.ascontiguousarray(inputs, dtype=np.float32),
        np.ascontiguousarray(codes, dtype=np.float32), state,
        *gru_registers(input_scale, hidden_scale, output_scale, spec)[:, 0],
        *tanh_table(spec.bins, True).arrays, np.float32(largest_code(spec)),
        spec.output_bits is not None, kept, sent,
    )  # fmt: skip
    return LstmStep(sent, kept, saturated)


def gru_registers(
    input_scale: float, hidden_scale: float, output_scale: float, spec: GdpuSpec
) -> np.ndarray:
    """Return the scales in the unit's format, (3, 1) float32; arguments of :func:`gru_step`."""
    unit = arithmetic(spec.bit_true)
    named = (
        (input_scale, "input_scale"), (hidden_scale, "hidden_scale"),
        (output_scale, "output_scale"),
    )  # fmt: skip
    return np.array([[register(np.float32(scale), name, unit)] for scale, name in named], "f4")


def gru_step_by_arrays(
    inputs: np.ndarray, codes: np.ndarray, state: np.ndarray, input_scale: float,
    hidden_scale: float, output_scale: float, spec: GdpuSpec,
) -> LstmStep:  # fmt: skip
    """Return :func:`gru_step` array by array: the slower twin, and what serves float32."""
    unit = arithmetic(spec.bit_true)
    scales = gru_registers(input_scale, hidden_scale, output_scale, spec)[:2, 0]
    x, h = (
        np.split(unit.multiply(unit.convert(part), scale), 3, axis=1)
        for part, scale in zip((inputs, codes), scales, strict=True)
    )
    one = np.float32(1)
    r = sigmoid(unit.fma(one, x[0], h[0]), spec)
    z = sigmoid(unit.fma(one, x[1], h[1]), spec)
    n = tanh(unit.fma(r, h[2], x[2]), spec)
    before = unit.convert(np.asarray(state, np.float32))
    after = unit.fma(z, unit.fma(-one, n, before), n)
    return _send(after, after, output_scale, spec)


def rnn_step(
    codes: np.ndarray, scale: float, output_scale: float, spec: GdpuSpec, function: str = "tanh"
) -> LstmStep:
    """Take one step of a simple recurrent layer: tanh or ReLU of the sum of both products.

    Parameters
    ----------
    codes : (N, H) float32, codes
        The sum, biases included.
    scale, output_scale : float
        Value per code; output codes per unit of the hidden state.
    spec : GdpuSpec
    function : "tanh" or "relu"
        Activation of the layer.

    Returns
    -------
    LstmStep
    """
    unit = arithmetic(spec.bit_true)
    x = unit.multiply(unit.convert(codes), register(np.float32(scale), "scale", unit))
    y = np.maximum(x, np.float32(0)) if function == "relu" else tanh(x, spec)
    return _send(y, y, output_scale, spec)


def _send(hidden: np.ndarray, kept: np.ndarray, output_scale: float, spec: GdpuSpec) -> LstmStep:
    unit = arithmetic(spec.bit_true)
    y = unit.multiply(hidden, register(np.float32(output_scale), "output_scale", unit))
    rounds = spec.output_bits is not None
    sent, beyond = quantise(y, np.float32(1), largest_code(spec), rounds, unit)
    return LstmStep(sent, kept, beyond)
