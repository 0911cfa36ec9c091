"""Reading YAML without its surprises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Plain values only; a key given twice is an error; ``1e-3`` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+\Z"),
    list("-+0123456789."),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise ValueError(
                f"line {key_node.start_mark.line + 1}: the key {key!r} is no text; put quotes "
                "around it"
            )
        if key in found:
            raise ValueError(
                f"line {key_node.start_mark.line + 1}: the key '{key}' is given twice; leave one "
                "out"
            )
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Any:
    """Return the values in a YAML file.

    Raises
    ------
    ValueError
        If it is no YAML, or a key is given twice; names file and line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"'{path}' cannot be read as YAML: {text}") from error
    except ValueError as error:
        raise ValueError(f"'{path}', {error}") from error
