"""Reading YAML without its surprises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES, _MOST_VALUES, DEEPEST = 2**20, 100_000, 50
"""Of a file: its size, its values with every alias written out (a dozen anchors of ten aliases
each would be 10^12), and lists or mappings in each other. A study of ten thousand settings fits.
"""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Plain values only; a key given twice is an error; ``1e-3`` is a number."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose as always, but not for ever deeper."""
        self.depth += 1
        if self.depth > DEEPEST:
            line = self.peek_event().start_mark.line + 1
            raise ValueError(f"line {line}: lists or mappings deeper than {DEEPEST} in each other")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def get_single_data(self) -> Any:
        """Return the values, unless aliases make too many of them."""
        node = self.get_single_node()
        if node is None:
            return None
        values = _values(node, {})
        if values > _MOST_VALUES:
            raise ValueError(
                f"holds {values:,} values with its aliases written out; wanted at most "
                f"{_MOST_VALUES:,}"
            )
        return self.construct_document(node)


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values stand in a node, every alias counted again."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        if known[id(node)] < 0:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias stands inside itself")
        return known[id(node)]
    known[id(node)] = -1
    parts = [part for pair in node.value for part in pair] if isinstance(
        node, yaml.MappingNode
    ) else node.value  # fmt: skip
    known[id(node)] = total = 1 + sum(_values(part, known) for part in parts)
    return total


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
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"'{path}' has {size:,} bytes; wanted a study of at most {MOST_BYTES:,}: large grids "
            "are lists of values, or a Python file"
        )
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except RecursionError:
        raise ValueError(f"'{path}' cannot be read as YAML: it is nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"'{path}' cannot be read as YAML: {text}") from error
    except ValueError as error:
        raise ValueError(f"'{path}', {error}") from error
