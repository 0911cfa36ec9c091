"""Functions of one number, or of several at the same place. A new one is a name in a list."""

from aimc_sim.ops.geometry import same
from aimc_sim.ops.record import Operation, records

RECORDS = (
    # What a core's own digital unit does.
    Operation("relu", "codes", 1.0, True, run=lambda torch, x: torch.relu(x), shape=same),
    Operation("add", "integer", 1.0, True, run=lambda torch, x, y, **_: x + y, shape=same),
    Operation("plus", "float", 1.0, True, aten="add"),
    Operation(
        "affine", "integer", 2.0, shape=same,
        run=lambda torch, x, scale, offset: x * _channels(torch, scale, x)
        + _channels(torch, offset, x),
    ),
    # Arithmetic.
    *records("float", 1.0, "mul sub rsub div pow float_power true_divide floor_divide remainder "
             "fmod maximum minimum fmax fmin where masked_fill lerp atan2 hypot xlogy copysign "
             "logaddexp logaddexp2 nan_to_num", by_step=True),
    *records("float", 2.0, "addcmul addcdiv", by_step=True),
    *records("float", 1.0, "sqrt rsqrt exp exp2 expm1 log log2 log10 log1p neg abs reciprocal "
             "square clamp clip clamp_min clamp_max ceil floor round trunc frac sign sgn sin cos tan "
             "asin acos atan sinh cosh asinh acosh atanh erf erfc erfinv sinc positive deg2rad "
             "rad2deg special_expit lgamma digamma", by_step=True, shape=same),
    # Activations: per number, as in the formulas.
    *records("float", 1.0, "sigmoid tanh leaky_relu prelu _prelu_kernel relu6 hardtanh threshold "
             "hardshrink softshrink heaviside logit", by_step=True, shape=same),
    *records("float", 3.0, "elu selu celu softplus log_sigmoid hardsigmoid silu hardswish",
             by_step=True, shape=same),
    *records("float", 4.0, "gelu mish", by_step=True, shape=same),
    *records("float", 2.0, "glu", by_step=True),
)  # fmt: skip


def _channels(torch, values, x):
    return torch.tensor(values, device=x.device).view(-1, *(1,) * (x.ndim - 2))
