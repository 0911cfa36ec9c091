"""The list of operations for the documentation: ``python -m aimc_sim.ops.listing``."""

from __future__ import annotations

import sys

from aimc_sim.ops import FAMILIES

KINDS = {
    "codes": "keeps integer codes",
    "integer": "integers of a calibrated range",
    "float": "floating point",
    "exact": "whole numbers, truth values",
}
"""The kinds of operation, in words."""


def listing() -> str:
    """Return all operations as Markdown.

    Returns
    -------
    str
        A section per family, with names by kind.
    """
    lines = [
        "# Operations of the digital units",
        "",
        "Printed from the records by `python -m aimc_sim.ops.listing`. Names without brackets are",
        "those of ATen. Layers with weights (convolutions, matrices, recurrent layers) run on",
        "crossbars; everything here is computed beside them, counted, and equal to torch.",
    ]
    for family, found in FAMILIES.items():
        lines += ["", f"## {family.capitalize()}", ""]
        for kind, words in KINDS.items():
            names = [
                f"[{record.name}]" if record.run is not None else record.name
                for record in found
                if record.kind == kind
            ]
            if names:
                lines.append(f"- {words}: {', '.join(sorted(names, key=str.lower))}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(listing())
