"""What commands end with, and how they print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

DONE, FAILED, INCOMPLETE = 0, 1, 3


def print_pairs(
    pairs: Sequence[tuple[str, str]], indent: int = 0, stream: TextIO | None = None
) -> None:
    """Print names and what belongs to them, aligned; to standard output if no stream is given."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{' ' * indent}{name:<{width}}  {value}", flush=True, file=stream)


def object_of(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The same for machines; what stands twice is joined.

    >>> object_of([("a", "1"), ("b", "2"), ("a", "3")])
    {'a': '1; 3', 'b': '2'}
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]}; {value}" if name in found else value
    return found


def print_object(values: Mapping[str, Any]) -> None:
    """Print one JSON object, on one line."""
    print(json.dumps(values, ensure_ascii=False), flush=True)
