"""What does it cost? Cores, nanoseconds and microjoules of ResNet-32, and how to change them.

You learn that a placed network has time and energy without any image being run, and what the mode
of reading, patches of pixels and shared cores trade for each other. Prints a table of variants and
the full account of one; draws ``energy.png`` and ``pipeline.png``. All of it is a model, not a
measurement; what it leaves out is printed too.

Run it: ``python examples/07_what_does_it_cost.py`` (a minute; ``--quick``: two images, 16 x 16).
"""

import argparse
from pathlib import Path

import aimc_sim
from aimc_sim import presets, units, zoo
from aimc_sim.analysis.performance import performance
from aimc_sim.figures.energy import energy
from aimc_sim.figures.pipeline import gantt

EARLY = (("conv1", 2), ("layer1.*", 2))  # 2 x 2 output pixels per MVM where there are most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two small images under way")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shape, images = ((3, 16, 16), 2) if options.quick else ((3, 32, 32), 4)

    fast = presets.hermes("tdp", read="1-phase")
    variants = {
        "4-phase reads": presets.hermes("tdp"),
        "1-phase reads": fast,
        "1-phase, 2 x 2 patches early": fast.with_({"mapping.replicate": EARLY}),
        "1-phase, 4 blocks per core": fast.with_({"mapping.blocks_per_core": 4}),
    }
    network = zoo.resnet32(weights="digits")
    print(f"{'variant':29} cores  first image  images/s  energy/image  TOPS/W")
    for name, spec in variants.items():
        chip = aimc_sim.Chip.from_model(network, spec)
        found = performance(chip.compiled, chip.spec, shape, images=images, trace=500_000)
        book = found.ledger
        first = units.show(found.pipeline.first_image_seconds, "s")
        print(f"{name:29} {chip.compiled.cores_used:5}  {first:>11}  {1 / book.seconds:8,.0f}  "
              f"{units.show(book.joules, 'J'):>12}  {found.tops_per_watt:6.3f}")  # fmt: skip
        if "patches" in name:
            chosen = name, found
    name, found = chosen
    print(f"\n{name}, in full:\n{found}")
    energy(found, path=options.out / "energy.png")
    title = f"{name}: which layer works on which image"
    gantt(found.pipeline, title=title, path=options.out / "pipeline.png")

    # Once images have run, the report of any chip has its costs, beside ranges and clipping.
    few = zoo.digits().images[:2, :, : shape[1], : shape[2]]
    chip = aimc_sim.Chip.from_model(network).calibrate(few).program(seed=0)
    chip(few)
    print("\n4-phase reads, from chip.report():")
    wanted = ("cores", "transfers", "MVMs", "pipeline")
    print("\n".join(line for line in str(chip.report()).splitlines() if line.startswith(wanted)))
    print(f"wrote {options.out / 'energy.png'} and {options.out / 'pipeline.png'}")


if __name__ == "__main__":
    main()
