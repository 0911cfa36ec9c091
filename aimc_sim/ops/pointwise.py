"""Functions of one number, or of several at the same place. A new one is a name in a list."""

from collections.abc import Sequence
from typing import Any

from aimc_sim.ops.geometry import same
from aimc_sim.ops.record import Operation, records

RECORDS = (
    # Operations of a core's own digital unit.
    Operation("relu", "codes", 1.0, True, run=lambda torch, x: torch.relu(x), shape=same),
    Operation("add", "integer", 1.0, True, run=lambda torch, x, y, **_: x + y, shape=same),
    Operation("plus", "float", 1.0, True, aten="add"),
    Operation(
        "affine", "integer", 2.0, shape=same,
        run=lambda torch, x, scale, offset: x * _channels(torch, scale, x)
        + _channels(torch, offset, x),
    ),
    # Arithmetic.
    *records("float", 1.0, "pow float_power", by_step=True, approximated=True),
    *records("float", 1.0, "mul multiply sub subtract rsub div divide true_divide floor_divide "
             "remainder fmod maximum minimum fmax fmin where masked_fill lerp atan2 arctan2 hypot "
             "xlogy copysign logaddexp logaddexp2 nan_to_num", by_step=True),
    *records("float", 2.0, "addcmul addcdiv", by_step=True),
    *records("float", 1.0, "neg negative abs absolute square clamp clip clamp_min clamp_max ceil "
             "floor round trunc frac sign sgn positive deg2rad rad2deg", by_step=True, shape=same),
    *records("float", 1.0, "sqrt rsqrt exp exp2 expm1 log log2 log10 log1p reciprocal sin cos tan "
             "asin acos atan sinh cosh asinh acosh atanh arcsin arccos arctan arcsinh arccosh "
             "arctanh erf erfc erfinv sinc lgamma digamma special_expit special_erf special_erfc "
             "special_exp2 special_expm1 special_log1p special_sinc", by_step=True, shape=same,
             approximated=True),
    # Activations: per number, as in the formulas.
    *records("float", 1.0, "prelu _prelu_kernel heaviside", by_step=True, shape=same),
    *records("float", 1.0, "sigmoid tanh leaky_relu relu6 hardtanh threshold hardshrink softshrink "
             "logit", by_step=True, shape=same, approximated=True),
    *records("float", 3.0, "elu selu celu softplus log_sigmoid hardsigmoid silu hardswish",
             by_step=True, shape=same, approximated=True),
    *records("float", 4.0, "gelu mish", by_step=True, shape=same, approximated=True),
    *records("float", 2.0, "glu", by_step=True),
)  # fmt: skip


def _channels(torch: Any, values: Sequence[float], x: Any) -> Any:
    """Return a number per channel in a shape that goes with a value."""
    return torch.tensor(values, device=x.device).view(-1, *(1,) * (x.ndim - 2))
