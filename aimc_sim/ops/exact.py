"""Whole numbers and truth values: comparisons, masks, positions, counts."""

from aimc_sim.ops.record import per_input, records

RECORDS = (
    *records("exact", 1.0, "eq ne lt le gt ge less greater less_equal greater_equal not_equal "
             "logical_not logical_and logical_or logical_xor bitwise_not bitwise_and bitwise_or "
             "bitwise_xor bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__ "
             "__lshift__ __rshift__ isnan isinf isfinite isin isclose tril triu one_hot searchsorted "
             "bucketize", by_step=True),
    *records("exact", per_input, "argmax argmin any all count_nonzero argsort"),
    *records("exact", 0.0, "to _to_copy type_as", by_step=True),
)  # fmt: skip
