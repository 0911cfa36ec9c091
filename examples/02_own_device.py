"""A device of your own: from a table of reads to a network on a chip, in three lines.

Run it: ``python examples/02_own_device.py`` (a minute; ``--quick``: seconds). It uses the small
data set of this project; with a table of yours, first::

    aimc-sim device import reads.csv --out mine.h5
        --map "device=id[1],target=aim[uS],time=t[s],conductance=g[uS]"
"""

import argparse
from pathlib import Path

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.fit import fit
from aimc_sim.device import measured
from aimc_sim.zoo import digits, resnet32

FILE = Path(__file__).resolve().parents[1] / "device_data" / "generated_25us.h5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--file", type=Path, default=FILE, help="measured data (HDF5)")
    parser.add_argument("--quick", action="store_true", help="few images, two times")
    options = parser.parse_args()
    test = digits("test").take(16 if options.quick else 250)
    calibration = digits("train").images[: 32 if options.quick else 256]

    # The three lines: read the measurement, fit the laws, put them into a chip.
    data = measured.read(options.file)
    device = fit(data).to_pcm_spec()
    fitted = presets.hermes("odp").with_({"core.pcm": device})

    # Or no law at all: every simulated device follows a whole measured trace.
    chips = {"fitted laws": fitted, "replayed traces": presets.replay(options.file)}

    print("device           time     accuracy (gdc)")
    for name, spec in chips.items():
        chip = aimc_sim.Chip.from_model(resnet32(weights="digits"), spec)
        chip.calibrate(calibration).program(seed=0).compensate("gdc")
        for time in ("0", "1 h") if options.quick else ("0", "1 h", "1 day", "1 week"):
            scores = chip.at(time)(test.images)
            right = (scores.argmax(1) == test.labels).float().mean().item()
            print(f"{name:16} {time:8} {right:6.1%}")


if __name__ == "__main__":
    main()
