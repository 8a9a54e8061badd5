"""Statistics that are sums: add them field by field, keep them as JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Sums:
    """A dataclass whose fields are arrays of sums. ``+`` adds each field to its namesake.

    Raises:
        ValueError: Where two that are added have fields of unlike shapes.
    """

    def __add__(self, other: Self) -> Self:
        mine, theirs = self._arrays(), other._arrays()
        for name, array in mine.items():
            if array.shape != theirs[name].shape:
                raise ValueError(
                    f"cannot add {type(self).__name__}: {name} has the shapes {array.shape} and "
                    f"{theirs[name].shape}"
                )
        return type(self)(**{name: array + theirs[name] for name, array in mine.items()})

    def to_json(self) -> dict[str, Any]:
        """``{field: nested list}``."""
        return {name: array.tolist() for name, array in self._arrays().items()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{name: np.asarray(values, dtype=float) for name, values in tree.items()})

    def _arrays(self) -> dict[str, np.ndarray]:
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
