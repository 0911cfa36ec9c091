"""Numbers found by their place: tables, gathering, scattering."""

from typing import Any

from aimc_sim.ops.record import Operation, records


def _embedding(torch: Any, x: Any, weight: Any) -> Any:
    """Return rows of a table."""
    return torch.nn.functional.embedding(x.long(), weight)


RECORDS = (
    Operation("embedding", "float", by_step=True, run=_embedding),
    *records("codes", 0.0, "index index_select gather take take_along_dim"),
    *records("float", 1.0, "scatter scatter_add scatter_reduce index_add index_copy index_fill "
             "index_put slice_scatter select_scatter diagonal_scatter masked_scatter embedding_bag "
             "_embedding_bag embedding_renorm"),
)  # fmt: skip
