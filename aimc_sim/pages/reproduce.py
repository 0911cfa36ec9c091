"""How to make the results again: the study as a file, commands, versions."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

import yaml

from .. import units
from ..studies.schema import Study
from .headline import is_attribution
from .material import Material
from .tables import Table, TableCell

_ALWAYS = ("name", "network", "data", "presets", "times", "compensations", "programmings",
           "first_seed", "probe_images")  # fmt: skip


def study_text(study: Study) -> str:
    """Return a study as YAML; defaults are left out, except the main keys.

    Folders of the machine that ran it are cut to their last part.

    Parameters
    ----------
    study : Study
        A study of the folder.
    """
    whole = study.model_dump(mode="json")
    short = study.model_dump(mode="json", exclude_defaults=True)
    data = {key: value for key, value in whole.items() if key in _ALWAYS or key in short}
    data["times"] = [_time(t_seconds) for t_seconds in study.times]
    for part, path in (("network", "weights"), ("data", "folder")):
        found = {k: v for k, v in data[part].items() if v is not None}
        if path in found:
            found[path] = PurePath(found[path]).name
        data[part] = found
    data["settings"] = [
        {k: v for k, v in choice.items() if v not in (None, {}, False)}
        for choice in data.get("settings", [])
    ]
    data = {key: value for key, value in data.items() if value not in ([], {}, None)}
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=88)
    return text


def commands(material: Material) -> list[str]:
    """Return the commands that make the results and this page again.

    Parameters
    ----------
    material : Material
        The folder of results.
    """
    out, lines = shlex.quote(material.folder.resolve().name), []
    several = len(material.studies) > 1
    for number, study in enumerate(material.studies, 1):
        file = f"study{number}.yaml" if several else "study.yaml"
        lines.append(f"aimc-sim sweep {file} --out {out}")
        if any(is_attribution(choice.name) for choice in study.settings):
            lines[-1] += "  # or 'aimc-sim attribute' with the same machine"
    return [*lines, f"aimc-sim report {out}"]


def progress(material: Material) -> str:
    """Return how many programmings there are, in a sentence."""
    trials = material.table["identity"].nunique()
    text = f"{trials:,} trial{'s' * (trials != 1)}"
    if material.failures:
        text += f"; some failed: {'; '.join(material.failures[:3])}"
    if material.damage:
        text += f"; {len(material.damage)} lines of the files could not be used"
    return text + "."


def environment_tables(material: Material) -> list[Table]:
    """Return versions and processors behind the results, and the identities of what went in."""
    counts = material.table.groupby("environment")["identity"].nunique()
    keys = list(dict.fromkeys(k for e in material.environments.values() for k in e))
    names = list(material.environments)
    heads = [f"environment {name[:8]}" for name in names]
    rows = [[TableCell("trials"), *(TableCell(f"{counts[name]:,}") for name in names)]]
    rows += [
        [
            TableCell(key),
            *(TableCell(_short(material.environments[name].get(key, "-"))) for name in names),
        ]
        for key in keys
    ]
    inputs = material.table[["network", "network_id", "data", "data_id"]].drop_duplicates()
    made = [
        [
            TableCell(row.network),
            TableCell(row.network_id),
            TableCell(row.data),
            TableCell(row.data_id),
        ]
        for row in inputs.itertuples()
    ]
    return [
        Table("Environment of the results", ("what", *heads), rows),
        Table(
            "Identities: starts of SHA-256 over operations and weights, and over images and labels",
            ("network", "network id", "data", "data id"),
            made,
        ),
    ]


def _time(t_seconds: float) -> float | str:
    text = units.show_time(t_seconds)
    return text if t_seconds and units.seconds(text) == t_seconds else t_seconds or 0


def _short(value: Any) -> str:
    text = str(value)
    return text[:16] if len(text) == 64 else text
