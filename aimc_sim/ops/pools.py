"""Pooling and interpolation of maps and lines."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from aimc_sim.ops import geometry
from aimc_sim.ops.record import Attributes, Operation, Sizes, per_input, per_window, records


def _functional(name: str) -> Callable[..., Any]:
    """Return a function of ``torch.nn.functional``, by its name."""
    return lambda torch, x, **attrs: getattr(torch.nn.functional, name)(x, **attrs)


def _global_avg_pool(torch: Any, x: Any, square: bool = False) -> Any:
    """Return the mean of every map, as a map of one pixel."""
    if square and x.shape[2] != x.shape[3]:
        raise ValueError(
            f"avg_pool2d with the window x.size(3) got maps of {x.shape[2]} x {x.shape[3]}, where "
            "it is not the whole map; use F.adaptive_avg_pool2d(x, 1), or square images"
        )
    return x.mean(dim=(2, 3), keepdim=True)


def _adaptive(name: str) -> Callable[..., Any]:
    """Return pooling to given sizes, of which None stands for the present one."""

    def run(torch: Any, x: Any, output_size: Sequence[int | None]) -> Any:
        dims = len(output_size)
        sizes = [n if w is None else w for w, n in zip(output_size, x.shape[-dims:], strict=True)]
        return getattr(torch.nn.functional, f"{name}{dims}d")(x, sizes)

    return run


def _interpolated(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count a weighted sum of four numbers, seven operations, for each interpolated one."""
    return 0.0 if attrs.get("mode", "nearest").startswith("nearest") else 7.0 * prod(result)


_WINDOWS: dict[str, Any] = {"shape": geometry.pool, "reads": geometry.window_reads}
_GIVEN: dict[str, Any] = {"shape": geometry.adaptive_pool, "reads": geometry.adaptive_reads}
_RESIZED: dict[str, Any] = {"shape": geometry.resized, "reads": geometry.resized_reads}

RECORDS = (
    Operation("max_pool2d", "codes", per_window, run=_functional("max_pool2d"), **_WINDOWS),
    Operation("avg_pool2d", "integer", per_window, run=_functional("avg_pool2d"), **_WINDOWS),
    Operation("max_pool1d", "codes", per_window, run=_functional("max_pool1d")),
    Operation("avg_pool1d", "integer", per_window, run=_functional("avg_pool1d")),
    Operation("global_avg_pool", "integer", per_input, run=_global_avg_pool,
              shape=geometry.global_pool, reads=geometry.whole_reads),
    Operation("adaptive_avg_pool", "integer", per_input, run=_adaptive("adaptive_avg_pool"),
              **_GIVEN),
    Operation("adaptive_max_pool", "codes", per_input, run=_adaptive("adaptive_max_pool"),
              **_GIVEN),
    Operation("upsample", "codes", run=_functional("interpolate"), **_RESIZED),
    Operation("interpolate", "integer", _interpolated, run=_functional("interpolate"), **_RESIZED),
    *records("codes", per_window, "max_pool3d max_pool3d_with_indices max_pool2d_with_indices "
             "max_pool1d_with_indices"),
    *records("float", per_window, "avg_pool3d"),
    *records("float", 1.0, "upsample_nearest1d upsample_nearest2d upsample_nearest3d "
             "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d"),
    *records("float", 7.0, "upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
             "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler "
             "grid_sampler_2d"),
    *records("float", 2.0, "affine_grid_generator"),
)  # fmt: skip
