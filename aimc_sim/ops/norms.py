"""Normalisation and softmax."""

from typing import Any

from aimc_sim.ops import geometry
from aimc_sim.ops.record import Operation, records


def _batch_norm(torch: Any, x: Any, scale: Any, offset: Any) -> Any:
    """Return a value with a factor and an offset per channel."""
    ones = (1,) * (x.ndim - 2)
    return x * scale.view(-1, *ones) + offset.view(-1, *ones)


_MAP: dict[str, Any] = {"shape": geometry.same, "reads": geometry.whole_reads}

RECORDS = (
    # Mean, variance (three per number), normalisation and affine (four).
    *records("float", 8.0, "layer_norm native_layer_norm rms_norm _fused_rms_norm", by_step=True),
    *records("float", 8.0, "group_norm instance_norm native_group_norm", **_MAP),
    Operation("batch_statistics", "float", 8.0, aten="batch_norm"),  # of the batch it reads
    Operation("batch_norm_nd", "float", 2.0, run=_batch_norm),
    # Maximum, difference, exponential, sum, quotient.
    *records("float", 5.0, "softmax log_softmax _softmax _log_softmax logsumexp _safe_softmax",
             by_step=True),
    *records("float", 4.0, "cosine_similarity pairwise_distance renorm"),
)  # fmt: skip
