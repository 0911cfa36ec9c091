"""``aimc-sim device simulate``: parameters that a planned measurement would identify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .device import read_measured, size
from .errors import BadInput, refusing
from .output import say

if TYPE_CHECKING:
    from ..spec import PcmSpec

EXAMPLES = """
Examples:

  aimc-sim device simulate --law hermes-odp --levels 2,4,6,8,10 --times 300,3000,30000 --devices 30

  aimc-sim device simulate --law reads.h5 --like reads.h5 --repeat 100
"""

_MOST_READS = 20_000_000
"""Reads of a simulated data set at most: ten columns of them are 1.6 GB."""


def simulate(
    law: Annotated[
        str,
        typer.Option(help="25uS, hermes-odp, hermes-tdp, or a measured file to take the fit of."),
    ] = "25uS",
    like: Annotated[
        Path | None,
        typer.Option(help="Measured file whose shape to take: devices, targets, times."),
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Targets in uS, by commas; of the shape, without --like.")
    ] = "5,10,15,20,25",
    times: Annotated[str, typer.Option(help="Times in s, by commas.")] = "20,200,2000,20000,200000",
    devices: Annotated[int, typer.Option(min=1, max=1_000_000, help="Devices.")] = 100,
    cycles: Annotated[int, typer.Option(min=1, max=10_000, help="Programmings of each.")] = 1,
    between: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the variance that stays with a device.")
    ] = 0.0,
    repeat: Annotated[
        int, typer.Option(min=0, max=100_000, help="Repetitions, to count what a fit would find.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
    out: Annotated[Path | None, typer.Option(help="HDF5 file for one data set.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
) -> None:
    """Draw a data set of a law, and say what measurements of that shape would identify."""
    from ..device import synthetic
    from ..device.measured import schema
    from ..rng import Key

    spec = _law(law)
    with refusing():
        if out is not None:
            with refusing(prefix="--out: "):
                schema.refuse_existing(out, force)
        if like is not None:
            shape = synthetic.MeasurementShape.of(read_measured(like))
        else:
            targets, clock = _numbers("--levels", levels), _numbers("--times", times)
            shape = synthetic.MeasurementShape.grid(
                [1e-6 * g for g in targets], clock, devices, cycles
            )
        reads = sum(len(t) for t in shape.times)
        if reads > _MOST_READS:
            raise BadInput(
                f"{reads:,} reads are more than {_MOST_READS:,}; take fewer devices or times"
            )
        highest = float(shape.target_siemens.max())
        if highest > spec.g_max_siemens * (1 + 1e-6):
            raise BadInput(
                f"a target of {highest:.3g} S is above what the law knows, "
                f"{spec.g_max_siemens:.3g} S; take lower --levels"
            )
        if out is not None:
            data = synthetic.simulate(spec, shape, Key(seed), between)
            schema.write(out, data, force=force)
            say(f"{size(data)} written to {out}")
        if not repeat:
            return
        from ..analysis.fit_design import design

        table = design(spec, shape, repeat, Key(seed, (1,)), between)
    say(
        f"{reads:,} reads of {len(set(shape.device.tolist())):,} device(s), {repeat} repetitions; "
        "medians over levels; coverage: how often the interval holds the truth"
    )
    shown = table.assign(**{c: table[c].map(lambda v: f"{v:.3g}") for c in table.columns[2:5]})
    for name in ("identified", "coverage_68", "coverage_95"):
        shown[name] = [f"{100 * v:.0f} %" if v == v else "-" for v in table[name]]
    say(shown.replace("nan", "-").to_string(index=False))


def _law(name: str) -> PcmSpec:
    """Return the device of a preset, or the fit of a measured file."""
    from .. import presets

    known = {
        "25uS": presets.pcm_25_microsiemens,
        "hermes-odp": presets.pcm_hermes_one_device,
        "hermes-tdp": presets.pcm_hermes_two_devices,
    }
    if name in known:
        return known[name]()
    if not Path(name).is_file():
        raise BadInput(f"--law {name}: wanted {', '.join(known)}, or a measured file")
    from ..analysis.fit import fit

    data = read_measured(Path(name))
    with refusing(ValueError, prefix=f"--law {name}: "):
        return fit(data).to_pcm_spec()


def _numbers(option: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise BadInput(f"{option} {text}: wanted numbers, separated by commas") from None
    if not values or not all(0 <= value < float("inf") for value in values):
        raise BadInput(f"{option} {text}: wanted one or more numbers of 0 or above")
    return values
