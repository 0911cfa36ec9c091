"""A device of your own: from a table of reads to a network on a chip, in three lines.

You learn how measured reads become laws with standard errors, and how a chip is made of them, or of
the measured traces themselves. Prints what the data determine and the accuracy of ResNet-32 on
both chips; draws ``your_own_device.png``.

Run it: ``python examples/04_your_own_device.py`` (a minute; ``--quick``: seconds). It uses the
small data set of this project; with a table of yours, first::

    aimc-sim device import reads.csv --out mine.h5
        --map "device=id[1],target=aim[uS],time=t[s],conductance=g[uS]"
"""

import argparse
from pathlib import Path

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis import device_plots
from aimc_sim.analysis.fit import fit
from aimc_sim.device import measured
from aimc_sim.zoo import digits, resnet32

FILE = Path(__file__).resolve().parents[1] / "device_data" / "generated_25us.h5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--file", type=Path, default=FILE, help="measured data (HDF5)")
    parser.add_argument("--quick", action="store_true", help="few images, one time")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    test = digits("test").take(10 if options.quick else 250)
    calibration = digits("train").images[: 10 if options.quick else 256]

    # The three lines: read the measurement, fit the laws, put them into a chip.
    data = measured.read(options.file)
    laws = fit(data)
    fitted = presets.hermes("odp").with_({"core.pcm": laws.to_pcm_spec()})

    print(f"{laws.title}: {laws.reads:,} reads of {laws.devices:,} devices")
    for law in laws.laws:
        print(f"  {law.name:17} {'found' if law.identified else 'not found: ' + law.reason}")
    for level in (0.3 * laws.g_max_siemens, laws.g_max_siemens):
        nu = laws.value("drift", "nu mean", level)
        print(f"  drift exponent at {1e6 * nu.level:4.1f} uS: {nu.value:.4f} "
              f"+- {nu.standard_error:.4f}")  # fmt: skip
    path = options.out / "your_own_device.png"
    device_plots.measured(data, path=path)

    # Or no law at all: every simulated device follows a whole measured trace.
    chips = {"fitted laws": fitted, "replayed traces": presets.replay(options.file)}

    print("device           time     accuracy (gdc)")
    for name, spec in chips.items():
        chip = aimc_sim.Chip.from_model(resnet32(weights="digits"), spec)
        chip.calibrate(calibration).program(seed=0).compensate("gdc")
        for time in ("1 h",) if options.quick else ("0", "1 h", "1 day", "1 week"):
            scores = chip.at(time)(test.images)
            right = (scores.argmax(1) == test.labels).float().mean().item()
            print(f"{name:16} {time:8} {right:6.1%}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
