"""One number out of many: sums, extremes, spreads, norms, running sums, orders."""

from aimc_sim.ops.record import per_input, records


def _threefold(sources, result, attrs):
    return 3.0 * per_input(sources, result, attrs)


RECORDS = (
    *records("float", per_input, "mean sum nansum nanmean prod norm linalg_vector_norm "
             "linalg_norm frobenius_norm cumsum cumprod diff logcumsumexp dist trace"),
    *records("float", _threefold, "var std var_mean std_mean linalg_matrix_norm"),
    *records("codes", per_input, "amax amin cummax cummin"),
    # Two values (extremes and places), of which a graph reads one or the other.
    *records("float", per_input, "max min median mode sort topk kthvalue aminmax"),
)  # fmt: skip
