"""Other shapes and orders of numbers: no arithmetic, codes stay codes."""

from collections.abc import Sequence
from typing import Any

from aimc_sim.ops import geometry
from aimc_sim.ops.record import Operation, records


def _slices(torch: Any, x: Any, slices: Sequence[Sequence[int | None]]) -> Any:
    """Return a slice of every dimension."""
    return x[tuple(slice(*part) for part in slices)]


def _pad(torch: Any, x: Any, pad: Sequence[int], mode: str = "constant") -> Any:
    """Return a padded value."""
    return torch.nn.functional.pad(x, pad, mode=mode)


def _pixel_shuffle(torch: Any, x: Any, factor: Any) -> Any:
    """Return maps whose channels have become pixels."""
    rows, cols = geometry.pair(factor)
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels // (rows * cols), rows, cols, height, width)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * rows, width * cols)


def _pixel_unshuffle(torch: Any, x: Any, factor: int) -> Any:
    """Return maps whose pixels have become channels."""
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(
            f"patches of {factor} x {factor} pixels do not cover maps of {x.shape[2]} x "
            f"{x.shape[3]}; choose another number for this layer in mapping.replicate"
        )
    return torch.nn.functional.pixel_unshuffle(x, factor)


RECORDS = (
    # Operations with a shape rule, for pipelines.
    Operation("flatten", "codes", shape=geometry.flatten, reads=geometry.whole_reads,
              run=lambda torch, x, start_dim=1, end_dim=-1: x.flatten(start_dim, end_dim)),
    Operation("subsample", "codes", run=_slices, shape=geometry.subsample,
              reads=geometry.slice_reads),
    Operation("pad", "codes", run=_pad, shape=geometry.pad, reads=geometry.pad_reads),
    Operation("pixel_shuffle", "codes", run=_pixel_shuffle, shape=geometry.shuffle,
              reads=geometry.shuffle_reads),
    Operation("pixel_unshuffle", "codes", run=_pixel_unshuffle, shape=geometry.unshuffle,
              reads=geometry.unshuffle_reads),
    Operation("concat", "integer", by_step=True, shape=geometry.concat,
              run=lambda torch, *values, dim: torch.cat(values, dim)),
    Operation("stack", "integer", by_step=True,
              run=lambda torch, *values, dim: torch.stack(values, dim)),
    Operation("trim", "exact", run=lambda torch, x, lengths, dim:
              x.narrow(dim, 0, int(lengths.max()))),
    Operation("lengths", "float", by_step=True, run=lambda torch, x: x),
    # ATen's own.
    *records("codes", 0.0, "view _unsafe_view reshape view_as reshape_as expand expand_as "
             "broadcast_to permute transpose t numpy_T mT movedim moveaxis swapaxes swapdims "
             "unsqueeze squeeze unflatten diagonal flip roll rot90 repeat tile repeat_interleave "
             "unfold narrow split split_with_sizes chunk tensor_split unsafe_chunk unsafe_split "
             "channel_shuffle im2col reflection_pad1d reflection_pad2d reflection_pad3d "
             "replication_pad1d replication_pad2d replication_pad3d _pad_circular tril_indices "
             "atleast_1d atleast_2d atleast_3d adjoint mH fliplr flipud"),
    *records("codes", 0.0, "slice select unbind", by_step=True),
    *records("float", 0.0, "constant_pad_nd diag_embed diag"),
    *records("float", 1.0, "col2im"),
    *records("integer", 0.0, "hstack vstack dstack column_stack cat"),
    *records("float", 0.0, "meshgrid cartesian_prod broadcast_tensors block_diag"),
)  # fmt: skip
