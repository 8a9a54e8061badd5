"""How long it stays dry or wet: runs of days below and above 1 mm/day, cell by cell.

The wet and dry spells of ETCCDI's CDD and CWD, but all of them and not the longest. A spell ends
with the month that it is scored in, for a method as for the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.scores import WET
from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]

LONGEST = 31
"""Days; no spell of a month is longer."""


@dataclass(frozen=True, eq=False)
class Spells(Sums):
    """Numbers of spells by length.

    Attributes:
        dry: Spells of 1, 2, … `LONGEST` days of at most 1 mm, shape ``(LONGEST,)``.
        wet: Spells of days with more than 1 mm, the same.
    """

    dry: Array
    wet: Array

    @classmethod
    def of(cls, rain: Array) -> Spells:
        """Count the spells of rain ``(..., day, lat, lon)``, mm/day.

        Raises:
            ValueError: Of more than 31 days.
        """
        wet = np.moveaxis(rain > WET, -3, -1)
        return cls(_lengths(~wet), _lengths(wet))

    def mean(self) -> tuple[float, float]:
        """Mean length of a dry and of a wet spell, days; NaN without any."""
        days = np.arange(1, LONGEST + 1)
        return tuple(
            float(counts @ days / counts.sum()) if counts.sum() else float("nan")
            for counts in (self.dry, self.wet)
        )  # type: ignore[return-value]

    def at_least(self) -> tuple[Array, Array]:
        """Share of the dry and of the wet spells that last 1, 2, … days or more."""
        dry, wet = (
            np.cumsum(counts[::-1])[::-1] / max(float(counts.sum()), 1.0)
            for counts in (self.dry, self.wet)
        )
        return dry, wet


def _lengths(state: NDArray[np.bool_]) -> Array:
    """Number of runs of True along the last axis by length."""
    days = state.shape[-1]
    if days > LONGEST:
        raise ValueError(f"spells are counted within a month, found {days} days")
    padded = np.zeros((*state.shape[:-1], days + 2), dtype=np.int8)
    padded[..., 1:-1] = state
    change = np.diff(padded.reshape(-1, days + 2), axis=1)
    # a run's start and its end lie in the same order, row by row
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return np.bincount(ends - starts, minlength=LONGEST + 1)[1:].astype(np.float64)
