"""What commands end with, and how they print."""

from __future__ import annotations

from collections.abc import Sequence

DONE, FAILED, INCOMPLETE = 0, 1, 3


def print_pairs(pairs: Sequence[tuple[str, str]], indent: int = 0) -> None:
    """Print names and what belongs to them, aligned."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{' ' * indent}{name:<{width}}  {value}", flush=True)
