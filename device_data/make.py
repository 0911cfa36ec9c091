"""Make the HDF5 files of this folder: ``python device_data/make.py [folder]``.

``published.h5`` holds the numbers of ``coefficients.csv`` and of the digitised points, in SI units
and with their sources; ``generated_25us.h5`` is a small measurement, made with the 25 uS law and
seed 25, in the format of ``aimc_sim.device.measured``. The lists of files in
``aimc_sim/presets/references.json`` are brought up to date; a DOI that it lacks is refused.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from aimc_sim import presets
from aimc_sim.device import measured, synthetic
from aimc_sim.rng import Key

HERE = Path(__file__).resolve().parent
REFERENCES = HERE.parent / "aimc_sim" / "presets" / "references.json"
FORMAT, VERSION = "aimc_sim published", 1
SCALE = {"uS": ("S", 1e-6), "s": ("s", 1.0), "1": ("1", 1.0)}
CURVE = ("a", "b", "low", "high", "knee", "c0", "c1", "c2", "c3")

SOURCES = {
    "25uS": "AIHWKit inference/noise/pcm.py at commit 4545f11, after V. Joshi et al., Nature "
    "Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9",
    "hermes": "AIHWKit inference/noise/hermes.py at commit 4545f11; the chip of M. Le Gallo "
    "et al., Nature Electronics 6, 680 (2023), doi:10.1038/s41928-023-01010-1",
    "pulses": "YigitDemirag/srnn-pcm xbar.py at commit 2d917836, which re-implements S. R. "
    "Nandakumar et al., Journal of Applied Physics 124, 152135 (2018), doi:10.1063/1.5042408 (the "
    "article itself was not opened)",
    "digitised": "AIHWKit documentation, docs/img/pcm_prog_plot.png and pcm_drift_plot.png at "
    "commit 4545f11, which show the measurements of V. Joshi et al., Nature Communications 11, "
    "2473 (2020), doi:10.1038/s41467-020-16108-9",
}
READING_ERROR = {"sigma_prog": 0.01e-6, "mu_nu": 0.0005, "sigma_nu": 0.0005}  # in SI
X_READING_ERROR = 0.005

DOI = re.compile(r"\b10\.\d{4,9}/[\w.()/-]*\w")

DEVICES, SEED = 200, 25
LEVELS = tuple(25e-6 * x for x in (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0))
TIMES = tuple(float(f"{t:.4g}") for t in np.geomspace(20.0, 1e6, 12))


def published(file: h5py.File) -> None:
    """Write coefficients and digitised points."""
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    table = pd.read_csv(HERE / "coefficients.csv")
    for row in table.itertuples(index=False):
        unit, scale = SCALE[row.unit]
        if isinstance(row.form, str):
            values = np.array([getattr(row, name) for name in CURVE], float)
            values[-4:] = np.nan_to_num(values[-4:])  # no polynomial; the knee stays NaN: none
        else:
            given = [row.c0, row.c1, row.c2, row.c3]
            values = np.array([float(v) * scale for v in given if not pd.isna(v)])
            values = values if len(values) > 1 else values[0]
        dataset = file.create_dataset(f"models/{row.model}/{row.quantity}", data=values)
        dataset.attrs["unit"], dataset.attrs["source"] = unit, SOURCES[row.source]
        if isinstance(row.form, str):
            dataset.attrs["form"], dataset.attrs["entries"] = row.form, ", ".join(CURVE)
        elif np.ndim(values):
            dataset.attrs["entries"] = "c0, c1, c2, c3 of the polynomial in x = G / g_max"
    for name, rows in pd.read_csv(HERE / "pcm_25us_digitised.csv").groupby("quantity"):
        unit, scale = SCALE[rows["unit"].iloc[0]]
        for column, values, its_unit, error in (
            ("x", rows["x"].to_numpy(), "1", X_READING_ERROR),
            ("value", rows["value"].to_numpy() * scale, unit, READING_ERROR[name]),
        ):
            dataset = file.create_dataset(f"digitised/{name}/{column}", data=values)
            dataset.attrs["unit"], dataset.attrs["source"] = its_unit, SOURCES["digitised"]
            dataset.attrs["reading_error"] = error


def generated() -> measured.MeasuredData:
    """Return the small measurement; conductances are rounded to 0.1 nS, as an instrument would."""
    spec = presets.pcm_25_microsiemens()
    data = synthetic.generate(spec, LEVELS, TIMES, DEVICES, Key(SEED))
    rounded = np.rint(data.conductance_siemens * 1e10) / 1e10
    provenance = measured.Provenance(
        title="Generated with the 25 uS law, not measured",
        source="aimc_sim.presets.pcm_25_microsiemens, " + SOURCES["25uS"],
        doi="10.1038/s41467-020-16108-9",
        licence="Apache-2.0, as this project",
        notes=f"python device_data/make.py; {DEVICES} devices, each programmed once to "
        f"{len(LEVELS)} levels and read at {len(TIMES)} times; seed {SEED}; conductances rounded "
        "to 0.1 nS",
    )
    return measured.MeasuredData.of(
        **data.columns() | {"conductance_siemens": rounded}, provenance=provenance
    )


def references() -> dict[str, dict]:
    """Return the table of references with its lists of files as they should be.

    A file uses a reference if it holds its DOI or, for those without one, its marker.
    """
    known = json.loads(REFERENCES.read_text())
    root = HERE.parent
    paths = [*(root / "aimc_sim").rglob("*.py"), *(root / "validation").glob("*.py")]
    paths += [path for path in HERE.iterdir() if path.suffix in (".py", ".md", ".csv")]
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in sorted(paths)}
    found = {doi for text in texts.values() for doi in DOI.findall(text)}
    unknown = found - {entry["doi"] for entry in known.values()}
    if unknown:
        raise ValueError(f"references.json lacks {', '.join(sorted(unknown))}; add an entry")
    return {
        key: entry
        | {
            "files": [
                name for name, text in texts.items() if (entry["doi"] or entry["marker"]) in text
            ]
        }
        for key, entry in known.items()
    }


def main(folder: Path = HERE) -> None:
    """Write both files; each appears complete or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".make-") as scratch:
        with h5py.File(Path(scratch) / "published.h5", "w") as file:
            published(file)
        os.replace(Path(scratch) / "published.h5", folder / "published.h5")
    measured.write(folder / "generated_25us.h5", generated(), force=True)
    text = json.dumps(references(), indent=2, ensure_ascii=False)
    place = REFERENCES if folder == HERE else folder / REFERENCES.name
    place.write_text(text + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
