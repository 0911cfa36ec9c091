"""Folders that come with this package and lie beside it in its repository: data and examples.

An installation has them inside the package, where ``setup.py`` puts them; a checkout, and an
editable installation, have them beside it. There is one copy of each.
"""

from __future__ import annotations

from pathlib import Path

FOLDERS = {
    "device_data": ("*.h5", "*.csv", "README.md"),
    "examples": ("*.py", "*/*.yaml", "*/*.ipynb"),
}
"""Folders, and the patterns of those of their files that are installed."""

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the place of a folder of :data:`FOLDERS`.

    Raises
    ------
    FileNotFoundError
        If this installation lacks it.
    """
    beside = _PACKAGE.parent
    places = [_PACKAGE / name]
    if (beside / "pyproject.toml").is_file() and (beside / "setup.py").is_file():
        places.append(beside / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"this installation of aimc_sim lacks its folder '{name}'; install it again"
    )


def contents(name: str) -> dict[str, Path]:
    """Return the files of a folder that every installation has.

    Parameters
    ----------
    name : str
        Of :data:`FOLDERS`.

    Returns
    -------
    dict of str to Path
        Path below the folder, with slashes, and place of each file.
    """
    place = folder(name)
    found = [path for pattern in FOLDERS[name] for path in sorted(place.glob(pattern))]
    return {path.relative_to(place).as_posix(): path for path in found}
