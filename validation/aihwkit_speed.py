"""Speed of the forward pass against torch and against AIHWKit, all in one run.

    python validation/aihwkit_speed.py [--batch 128] [--rounds 5]

ResNet-32 for 32 x 32 x 3 images (the zoo's weights, random images) on 1 and 2 threads: torch
float32; this simulator with full physics (programming error, drift, split 1/f noise fresh per
MVM, an 11-bit ADC per block, INT8 between cores); AIHWKit's ``InferenceRPUConfig`` with its PCM
noise model, programmed and drifted by a day (read noise frozen into the weights, so less is
drawn per MVM than here). The three run in turn, so that a machine whose speed drifts moves all
of them; quoted is the median over the rounds of the ratio to torch's run of the same round.

AIHWKit is optional: where it cannot be imported the reason is printed and the rest is measured.
With 1.2.0 there is no wheel for Python 3.11; its source needs OpenBLAS headers and ``stubgen``
(of mypy) to build. Writes ``aihwkit_speed/table.md`` beside this script.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.zoo import resnet32

FOLDER = Path(__file__).with_suffix("")
DAY = 86400.0
THREADS = (1, 2)


def torch_forward(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """Return the float32 forward pass."""

    def run() -> Tensor:
        with torch.inference_mode():
            return model(images)

    return run


def own_forward(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """Return the forward pass of the chip a day after programming."""
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"))
    chip.calibrate(images[:64]).program(0).at(DAY)
    return lambda: chip(images, first_image=0)


def peer_forward(model: nn.Module, images: Tensor) -> tuple[Callable[[], Tensor] | None, str]:
    """Return AIHWKit's forward pass, or None, and its version or why there is none."""
    try:
        import aihwkit
        from aihwkit.inference import PCMLikeNoiseModel
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.simulator.configs import InferenceRPUConfig
    except ImportError as error:
        return None, f"aihwkit cannot be imported ({error})"
    config = InferenceRPUConfig()
    config.noise_model = PCMLikeNoiseModel(g_max=25.0)
    config.mapping.max_input_size = config.mapping.max_output_size = 256
    analog = convert_to_analog(copy.deepcopy(model), config).eval()
    analog.drift_analog_weights(DAY)  # programs first

    def run() -> Tensor:
        with torch.no_grad():
            return analog(images)

    return run, f"aihwkit {aihwkit.__version__}"


def measure(runs: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return (median seconds, median ratio to torch) by name, from runs in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if index:  # the first round warms caches up
                times[name].append(time.perf_counter() - began)
    first = times[next(iter(runs))]
    return {
        name: (
            statistics.median(taken),
            statistics.median(t / ref for t, ref in zip(taken, first, strict=True)),
        )
        for name, taken in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    model = resnet32(10, "digits")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(args.batch, 3, 32, 32, generator=generator)
    runs = {"torch float32": torch_forward(model, images)}
    runs["aimc_sim, full physics"] = own_forward(model, images)
    peer, about = peer_forward(model, images)
    if peer is not None:
        runs["AIHWKit InferenceRPUConfig, PCM noise"] = peer
    lines = [
        "# ResNet-32 forward pass, one run",
        "",
        f"`python validation/aihwkit_speed.py --batch {args.batch} --rounds {args.rounds}`",
        "",
        f"{platform.machine()}, torch {torch.__version__}; {about}; batch {args.batch}. Medians "
        f"of {args.rounds} rounds.",
        "",
        "| threads | | images/s | slower than torch |",
        "|---|---|---|---|",
    ]
    before = torch.get_num_threads()
    for threads in THREADS:
        torch.set_num_threads(threads)
        for name, (seconds, ratio) in measure(runs, args.rounds).items():
            lines.append(f"| {threads} | {name} | {args.batch / seconds:.0f} | {ratio:.1f}x |")
    torch.set_num_threads(before)
    text = "\n".join(lines) + "\n"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "table.md").write_text(text)
    print(text)
    if peer is None:
        print(f"AIHWKit skipped: {about}")


if __name__ == "__main__":
    main()
