"""Numbers that come from sizes only: positions, zeros, constants."""

from aimc_sim.ops.record import Operation, records

RECORDS = (
    Operation("constant", "float", by_step=True, run=lambda torch, value: value),
    *records(
        "float",
        0.0,
        "full zeros ones empty arange linspace logspace scalar_tensor eye "
        "full_like zeros_like ones_like empty_like new_zeros new_ones new_full new_empty "
        "fill zero empty_strided",
        by_step=True,
    ),
)
