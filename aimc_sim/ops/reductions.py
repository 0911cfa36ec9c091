"""One number out of many: sums, extremes, variances, norms, running sums, orders."""

from collections.abc import Sequence

from aimc_sim.ops.record import Attributes, Sizes, per_input, records


def _threefold(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count three operations for every number read."""
    return 3.0 * per_input(sources, result, attrs)


RECORDS = (
    *records("float", per_input, "mean sum nansum nanmean prod norm linalg_vector_norm "
             "linalg_norm frobenius_norm cumsum cumprod diff logcumsumexp dist trace"),
    *records("float", _threefold, "var std var_mean std_mean linalg_matrix_norm"),
    *records("codes", per_input, "amax amin cummax cummin"),
    # Two values (extremes and places), of which a graph reads one or the other.
    *records("float", per_input, "max min median mode sort topk kthvalue aminmax"),
)  # fmt: skip
