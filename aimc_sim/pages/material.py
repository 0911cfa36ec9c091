"""A folder of results, read once: tables, studies, machines, environments."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from .. import results
from ..spec import ChipSpec
from ..studies import folder as results_folder
from ..studies.records import Damage
from ..studies.schema import Study, make_study

ATTRIBUTION = "attribution"
"""Folder inside a folder of results whose attribution is shown beside them."""


@dataclass(frozen=True, eq=False)
class Material:
    """Contents of a folder of results.

    Attributes
    ----------
    folder : Path
        The folder.
    table, layers : DataFrame
        As from :func:`aimc_sim.results.load` and ``load_layers``.
    studies : list of Study
        In the order of their files.
    specs : dict of str to ChipSpec
        The machines of the table, by identity.
    environments : dict of str to dict
        Versions and processor behind the table, by name.
    damage : list of Damage
        Lines that could not be used.
    failures : list of str
        Reasons of trials that failed.
    """

    folder: Path
    table: pd.DataFrame
    layers: pd.DataFrame
    studies: list[Study]
    specs: dict[str, ChipSpec]
    environments: dict[str, dict[str, Any]]
    damage: list[Damage]
    failures: list[str]


def read(folder: str | Path) -> Material:
    """Read a folder that ``aimc-sim sweep``, ``merge`` or ``attribute`` wrote.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Material

    Raises
    ------
    FileNotFoundError
        If there is no such folder, it holds no results, or a file is missing in it.
    ValueError
        If no trial is finished, or a file is damaged; one sentence.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{folder}'; give the --out folder of 'aimc-sim sweep'"
        )
    contents = results_folder.read([folder], keep_rows=False)
    if not contents.trials:
        lost = f"; {len(contents.damage)} lines are damaged" if contents.damage else ""
        raise ValueError(
            f"'{folder}' holds no finished trial{lost}: run 'aimc-sim sweep' with this --out again"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged lines: the page and the command tell of them
        table, layers = results.load(folder), results.load_layers(folder)
    return Material(
        folder, table, layers,
        [_read(path, _study) for path in sorted((folder / "studies").glob("*.json"))],
        _named(folder, "specs", table["spec_id"], _spec),
        _named(folder, "environments", table["environment"], _mapping),
        contents.damage,
        sorted({record["reason"] for record in contents.failures.values()}),
    )  # fmt: skip


def _named(
    folder: Path, kind: str, names: pd.Series, build: Callable[[str, Path], Any]
) -> dict[str, Any]:
    return {name: _read(folder / kind / f"{name}.json", build) for name in names.unique()}


def _read(path: Path, build: Callable[[str, Path], Any]) -> Any:
    try:
        return build(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"'{path}' is missing; run 'aimc-sim sweep' with this --out again, which writes it"
        ) from None
    except (ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"'{path}' is damaged or of another version ({reason}); delete it and run "
            "'aimc-sim sweep' with this --out again, which writes it anew"
        ) from error


def _mapping(text: str, path: Path) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} in place of a mapping")
    return found


def _study(text: str, path: Path) -> Study:
    return make_study(_mapping(text, path), path.name)


def _spec(text: str, path: Path) -> ChipSpec:
    spec = ChipSpec.model_validate_json(text)
    if spec.id() != path.stem:
        raise ValueError(f"its content has the identity {spec.id()}, not its name")
    return spec
