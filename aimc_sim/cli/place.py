"""``aimc-sim map`` and ``perf``: where a network goes and what it costs, without images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .. import files, own
from . import inputs, options
from .errors import BadInput, refusing
from .output import say
from .results import results_folder

if TYPE_CHECKING:
    from ..chip.program import Program
    from ..mapping.schedule import Mode
    from ..spec import ChipSpec

MAP_FILES = ("map.json", "floorplan.png")
PERF_FILES = ("perf.json", "map.json", "floorplan.png", "links.png", "pipeline.png", "energy.png",
              "roofline.png")  # fmt: skip
PAPER = "paper:"
"""As :data:`aimc_sim.mapping.named.PAPER`, which loads numpy."""

MAP_EXAMPLES = """
Examples:

  aimc-sim map resnet32

  aimc-sim map resnet32 --set mapping.blocks_per_core=4 --out packed

  aimc-sim map my_script.py:network --data my_script.py:data --set chips=2

  aimc-sim map paper:captioning-lstm
"""
PERF_EXAMPLES = """
Examples:

  aimc-sim perf resnet32

  aimc-sim perf resnet32 --preset hermes-tdp-1-phase --replicate 'layer1.*=2'

  aimc-sim perf my_network:build --input 784 --mode host --out slow
"""

Replicate = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYERS=N", help="Compute N x N pixels per MVM in layers of that name."),
]


def map_(
    context: typer.Context, model: options.PlaceArgument = None, model_: options.ModelOption = None,
    weights: options.Weights = None, data: options.ShapeData = None,
    data_dir: options.DataFolder = None, input_: options.InputShape = None,
    preset: options.Preset = "hermes-tdp", set_: options.Set = None, replicate: Replicate = None,
    out: options.Out = Path("aimc_sim_map"), force: options.Force = False,
) -> None:  # fmt: skip
    """Place a network on the chip and say where everything went.

    Prints cores, links, distances and the busiest link; writes map.json and floorplan.png.
    """
    name = inputs.model_of(model, model_)
    spec = _spec(preset, set_, replicate)
    with results_folder(out, MAP_FILES, force) as scratch:
        if name.startswith(PAPER):
            compiled, found = _paper(name, preset, spec, weights, data, data_dir, input_)
        else:
            network = inputs.network(name, weights)
            given = inputs.data_of(data, data_dir, name, network)
            chip = inputs.chip(network, spec, given)
            compiled, shape = chip.compiled, inputs.shape(name, input_, chip, network, given)
            with refusing(ValueError):
                found = _layout(compiled, spec, shape)
        with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
            _write_map(scratch, compiled, spec, found, _request(context, name, preset, spec))
    say(f"{own.label(name)} on {preset}\n{found}\nWritten to {out}: {', '.join(MAP_FILES)}")


def perf(
    context: typer.Context, model: options.NetworkArgument = None,
    model_: options.ModelOption = None, weights: options.Weights = None,
    data: options.ShapeData = None, data_dir: options.DataFolder = None,
    input_: options.InputShape = None,
    preset: options.Preset = "hermes-tdp", set_: options.Set = None, replicate: Replicate = None,
    images: Annotated[int, typer.Option(help="Images under way, one after the other.")] = 4,
    mode: Annotated[
        str, typer.Option(help="pipelined: from core to core; host: as on the fabricated chip.")
    ] = "pipelined",
    out: options.Out = Path("aimc_sim_perf"), force: options.Force = False,
) -> None:  # fmt: skip
    """Simulate the pipeline of a network: nanoseconds, joules, traffic; no image is run.

    With --data the chip is calibrated on the calibration inputs, so that the cost of writing is
    told too. Prints latency, interval, energy by component; writes perf.json, map.json and
    pictures. Networks of sequences, such as transformers, have no pipeline: they are told stage
    after stage, as perf.json, map.json and floorplan.png.
    """
    inputs.count("--images", images, MOST_IMAGES, "latency and interval settle after a few")
    if mode not in ("pipelined", "host"):
        raise BadInput(f"--mode {mode}: wanted 'pipelined' or 'host'")
    name = inputs.model_of(model, model_)
    spec = _spec(preset, set_, replicate)
    from ..analysis import performance
    from ..figures.energy import energy
    from ..figures.floorplan import heat_map
    from ..figures.pipeline import gantt
    from ..figures.roofline import roofline
    from ..runtime.sizes import work_of

    with results_folder(out, PERF_FILES, force) as scratch:
        network = inputs.network(name, weights)
        given = inputs.data_of(data, data_dir, name, network)
        chip = inputs.chip(network, spec, given)
        shape = inputs.demanded(name, inputs.shape(name, input_, chip, network, given))
        if given is not None:
            with refusing(ValueError, TypeError, RuntimeError):
                chip.calibrate(given.calibration)
        state = chip.program(seed=0).state
        # None where calibration chooses g_max first, which takes images: no cost of writing then
        written = None if state is None else state.report()
        request = _request(context, name, preset, spec)
        if not _has_pipeline(chip.compiled, shape):
            if mode != "pipelined":
                raise BadInput(
                    f"--mode {mode}: only networks of maps and vectors have a pipeline; leave it"
                )
            with refusing(ValueError):
                in_turn = performance.in_turn(chip.compiled, spec, *work_of(chip.compiled, shape))
                place = _layout(chip.compiled, spec, shape)
            with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
                _write_map(scratch, chip.compiled, spec, place, request)
                files.write_json(
                    scratch / "perf.json", {**request, "performance": in_turn.to_dict()}
                )
            told = (
                f"{own.label(name)} on {preset}, stage after stage: pipelines are laid out for "
                f"maps and vectors only\n{in_turn}"
            )
            say(f"{told}\nWritten to {out}: {', '.join(IN_TURN_FILES)}")
            return
        with refusing(ValueError):
            place = _layout(chip.compiled, spec, shape)
            found = performance.performance(
                chip.compiled, spec, shape, images=images, mode=cast("Mode", mode),
                programming=written, trace=TRACE,
            )  # fmt: skip
        with refusing(OSError, prefix=f"the results cannot be written to '{out}': "):
            _write_map(scratch, chip.compiled, spec, place, request)
            files.write_json(scratch / "perf.json", {**request, "performance": found.to_dict()})
            heat_map(
                chip.compiled, spec, links=performance.link_shares(found.pipeline),
                cores=performance.core_shares(found.pipeline), path=scratch / "links.png",
            )  # fmt: skip
            gantt(found.pipeline, path=scratch / "pipeline.png")
            energy(found, path=scratch / "energy.png")
            roofline(found, path=scratch / "roofline.png")
    unknown = "" if written else (
        "\nprogramming     not told: calibration on images chooses g_max first (core.g_max_rule); "
        "--data gives them"
    )  # fmt: skip
    told = f"{own.label(name)} on {preset}, {mode}\n{found}{unknown}"
    say(f"{told}\nWritten to {out}: {', '.join(PERF_FILES)}")


IN_TURN_FILES = ("perf.json", "map.json", "floorplan.png")
"""Of a network without a pipeline."""


def _has_pipeline(compiled: Program, shape: Sequence[int]) -> bool:
    """Return whether a network reads maps and vectors only, for which pipelines are laid out."""
    from ..mapping.shapes import value_shapes

    try:
        value_shapes(compiled, shape)
    except ValueError:
        return False
    return True


MOST_IMAGES = 10_000
"""Images under way in the pipeline: a tenth of a second each for a ResNet-32."""

TRACE = 4_000_000
"""Events kept for the picture of the pipeline: 160 MB at most."""


def _spec(preset: str, changes: Sequence[str] | None, patches: Sequence[str] | None) -> ChipSpec:
    settings = inputs.settings(changes or [])
    if patches:
        settings["mapping.replicate"] = [_patch(text) for text in patches]
    (spec,) = inputs.specs([preset], settings).values()
    return spec


def _patch(text: str) -> list[Any]:
    pattern, equals, number = text.rpartition("=")
    if not equals or not pattern or not (number.isascii() and number.isdigit() and len(number) < 9):
        raise BadInput(f"--replicate {text}: wanted LAYERS=N, for example 'layer1.*=2'")
    return [pattern, int(number)]


def _paper(name: str, preset: str, spec: ChipSpec, *given: Any) -> tuple[Program, Any]:
    """Return a layout of the chip paper; options about network and mapping are refused."""
    from .. import presets

    if any(one is not None for one in given):
        raise BadInput(
            f"'{name}' is a layout of the chip paper without a network behind it; leave --weights, "
            "--data, --data-dir and --input out"
        )
    if spec.mapping != presets.by_name(preset).mapping:
        raise BadInput(
            f"'{name}' is placed as in the chip paper; leave --replicate and --set mapping... out"
        )
    from ..mapping.named import named

    with refusing(KeyError):
        compiled = named(name.removeprefix(PAPER))
    from ..analysis.layout import layout

    return compiled, layout(compiled, spec, {layer.name: 1 for layer in compiled.layers})


def _layout(compiled: Program, spec: ChipSpec, shape: Sequence[int] | None) -> Any:
    from ..analysis.layout import layout
    from ..runtime.sizes import output_pixels

    return layout(compiled, spec, None if shape is None else output_pixels(compiled, shape))


def _request(context: typer.Context, model: str, preset: str, spec: ChipSpec) -> dict[str, Any]:
    command = shlex.join(["aimc-sim", *(context.obj or [])])
    return {"command": command, "model": model, "preset": preset, "spec_id": spec.id(),
            "spec": spec.model_dump(mode="json")}  # fmt: skip


def _write_map(
    folder: Path, compiled: Program, spec: ChipSpec, found: Any, request: dict[str, Any]
) -> None:
    from ..figures.floorplan import floorplan

    files.write_json(folder / "map.json", {**request, "map": found.to_dict()})
    floorplan(compiled, spec, path=folder / "floorplan.png")
