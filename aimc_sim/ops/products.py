"""Products of values with values, and layers that stay off the cores."""

from collections.abc import Sequence
from math import prod
from typing import Any

from aimc_sim.ops.record import Attributes, Operation, Sizes, per_product, records


def _attention(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count attention: two products; scaling and softmax take five operations per score."""
    # One value may be several arguments, as in attention to oneself.
    query, key = (sources[part["value"]] if "value" in part else sources[0]
                  for part in attrs["args"][:2])  # fmt: skip
    scores: int = prod(query[:-1]) * key[-2]
    return scores * (2.0 * query[-1] + 5.0 + 2.0 * result[-1])


def _einsum(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count two operations for every combination of indices."""
    letters = attrs["args"][0].replace(" ", "").partition("->")[0].split(",")
    size: dict[str, int] = {
        c: n for names, part in zip(letters, attrs["args"][1], strict=False) if "value" in part
        for c, n in zip(
            names.replace("...", ""), sources[part["value"]][-len(names):], strict=False
        )
    }  # fmt: skip
    return 2.0 * prod(size.values())


def _layer(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count two operations for every multiplication of a layer off the cores."""
    counted = sources[0] if attrs.get("transposed") else result
    return 2.0 * float(attrs["macs_per_output"]) * prod(counted)


def _counters(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count the additions of spiking attention, all neurons firing, and one factor per result.

    Two products, ``K^T V`` and ``Q (K^T V)``, add one number per token, width and width of a head.
    """
    each = result[-1] // int(attrs["heads"])
    return prod(result) * (2.0 * each + 1.0)


def _written(torch: Any, x: Any, matrix: Any, *, transposed: bool, scale: Any, **_: Any) -> Any:
    """Return the product that a written array stands for, without its errors."""
    rows = matrix.shape[-1 if transposed else -2]
    y = torch.matmul(x, matrix.transpose(-1, -2) if transposed else matrix)
    return y if scale is None else y * (rows**-0.5 if scale == "rows" else scale)


def _weights(
    torch: Any, scores: Any, mask: Any = None, *, causal: bool, **_: Any
) -> Any:  # fmt: skip
    """Return the softmax of scaled scores of attention; rows that see nothing are zero."""
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        hides = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if hides else scores + mask
    return torch.softmax(scores, -1).masked_fill(scores.amax(-1, keepdim=True) == -torch.inf, 0.0)


PRODUCTS = ("matmul", "bmm", "einsum", "scaled_dot_product_attention")
"""Operations of which a factor may be written into devices, see :mod:`aimc_sim.mapping.written`."""

RECORDS = (
    Operation("written_product", "float", per_product, run=_written),
    Operation("attention_weights", "float", 5.0, run=_weights),
    *records("float", per_product, "matmul mm bmm mv dot vdot inner outer ger kron chain_matmul "
             "linear addmm addbmm baddbmm addmv addr linalg_multi_dot tensordot cdist bilinear "
             "_trilinear linalg_cross cross conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
             "conv_transpose3d convolution conv_tbc"),
    Operation("einsum", "float", _einsum),
    Operation("scaled_dot_product_attention", "float", _attention),
    Operation("spiking_attention", "float", _counters, by_step=True),
    # Layers with weights that stay off the cores.
    Operation("convolution_digital", "float", _layer),
    Operation("linear_digital", "float", _layer, by_step=True),
)  # fmt: skip
