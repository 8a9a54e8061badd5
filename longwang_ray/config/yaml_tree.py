"""Strict YAML, and dotted assignments into the tree it gives.

YAML as people mean it: a key given twice is an error and not a silent replacement, and ``1e-3`` is
a number. ``sources.0.path=FILE`` then sets one leaf of the tree; what is a key at all is not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["YamlError", "copied", "override", "parse_yaml"]


class YamlError(ValueError):
    """The text is not YAML, or an assignment has no place in the tree."""


class _StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses repeated keys and reads YAML 1.2 floats."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                line = key.start_mark.line + 1
                raise YamlError(f"line {line}: the key {name!r} is given twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


# PyYAML reads "1e-3" as text, since YAML 1.1 asks for a point in a float.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:  # noqa: ANN401 (any YAML tree)
    """One YAML document as plain Python values.

    Raises:
        YamlError: Not YAML, or a key given twice; the message names the line.

    >>> parse_yaml("{floor: 1e-1, steps: 8}")
    {'floor': 0.1, 'steps': 8}
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlError(f"{where}not YAML: {problem}") from error


def copied(value: Any) -> Any:  # noqa: ANN401 (any YAML tree)
    """The tree in dicts and lists of its own, which assignments may change."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def override(tree: dict[str, Any], assignment: str) -> None:
    """Set one ``dotted.path=value`` in place, the value read as YAML.

    Mappings on the way are made where there are none; a list grows by one at its end.

    Raises:
        YamlError: No such form, a number past the end of a list, or a way through a leaf.

    >>> tree = {"sources": [{"gcm": "A"}]}
    >>> override(tree, "sources.0.path=pr.nc")
    >>> tree
    {'sources': [{'gcm': 'A', 'path': 'pr.nc'}]}
    """
    path, equals, text = assignment.partition("=")
    path = path.strip()
    if not equals or not re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", path):
        raise YamlError(f"{assignment!r}: write it as key.subkey=value")
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise YamlError(f"{assignment!r}: {error}") from error
    node: Any = tree
    *parents, last = path.split(".")
    for part in parents:
        node = _child(node, part, path)
    _assign(node, last, value, path)


def _child(node: Any, part: str, path: str) -> Any:  # noqa: ANN401
    """The mapping or list at `part`, made empty where there is nothing yet."""
    key = _key(node, part, path)
    if isinstance(node, list) and key == len(node):
        node.append({})
    if isinstance(node, dict) and node.get(key) is None:
        node[key] = {}
    child = node[key]
    if not isinstance(child, dict | list):
        raise YamlError(f"{path}: {part} holds {child!r}, which has no parts to set")
    return child


def _assign(node: Any, part: str, value: object, path: str) -> None:  # noqa: ANN401
    key = _key(node, part, path)
    if isinstance(node, list) and key == len(node):
        node.append(value)
    else:
        node[key] = value


def _key(node: Any, part: str, path: str) -> int | str:  # noqa: ANN401
    if not isinstance(node, list):
        return part
    if not part.isdecimal() or int(part) > len(node):
        raise YamlError(
            f"{path}: expected a number from 0 to {len(node)} (a list of {len(node)}), "
            f"found {part!r}"
        )
    return int(part)
