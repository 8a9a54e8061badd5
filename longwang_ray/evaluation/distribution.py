"""How often it rains how much: a histogram fine enough for one day in decades.

Bins are 1 % wide, from 0.01 to 2000 mm/day, so that a quantile that is read from it, interpolated
in the logarithm within its bin, is within 0.5 % of the sample's. Cells count by their area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]

LEAST, WIDTH, BINS = 0.01, 0.01, 1221
EDGES = LEAST * np.exp(WIDTH * np.arange(BINS + 1))
"""Upper ends of all bins but the last, mm/day: the first holds what is below 0.01, the last what
reaches 2000."""

PROBABILITIES = np.concatenate(
    [np.linspace(0.01, 0.99, 99), 1 - np.geomspace(0.009, 1e-4, 50)],
)
"""Where quantile–quantile plots look: every per cent, then ever finer up to 99.99 %."""

YEARS = (1.0, 2.0, 5.0, 10.0)
"""Return periods, in years of one cell."""

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, eq=False)
class Distribution(Sums):
    """Daily rain of all cells, days and realizations.

    Attributes:
        counts: Area-weighted counts, shape ``(BINS + 2,)``.
        days: Their unweighted number, a cell and a day of each realization; shape ``()``.
    """

    counts: Array
    days: Array

    @classmethod
    def of(cls, rain: Array, area: Array) -> Distribution:
        """Count rain of shape ``(..., lat, lon)``, mm/day, weighted by ``area`` ``(lat, 1)``."""
        positive = np.maximum(rain, np.float32(LEAST / 2))
        found = np.floor(np.log(positive / np.float32(LEAST)) / np.float32(WIDTH)).astype(np.int32)
        place = np.clip(found + 1, 0, BINS + 1)
        rows = np.arange(rain.shape[-2], dtype=np.int32)[:, None]
        # one integer count for all rows at once is several times faster than a weighted one
        joint = np.bincount(
            (rows * np.int32(BINS + 2) + place).ravel(), minlength=len(rows) * (BINS + 2)
        )
        weights = np.broadcast_to(area, (len(rows), 1))[:, 0]
        return cls(weights @ joint.reshape(len(rows), -1), np.array(float(rain.size)))

    def quantile(self, probability: Array) -> Array:
        """Rain that this share of cell-days does not exceed: same shape, mm/day.

        Within half a bin of the truth, 0.5 %; 0 in the first bin, the last edge in the last.
        """
        below = np.cumsum(self.counts)
        asked = np.asarray(probability, dtype=np.float64) * below[-1]
        place = np.minimum(np.searchsorted(below, asked), BINS + 1)
        count = np.maximum(self.counts[place], np.finfo(float).tiny)
        share = np.clip((asked - (below[place] - self.counts[place])) / count, 0, 1)
        inside = LEAST * np.exp(WIDTH * (place - 1 + share))
        return np.where(place == 0, 0.0, np.where(place > BINS, EDGES[-1], inside))

    def quantiles(self) -> Array:
        """At `PROBABILITIES`, mm/day: one axis of a quantile–quantile plot."""
        return self.quantile(PROBABILITIES)

    def return_levels(self, years: Array | tuple[float, ...] = YEARS) -> Array:
        """Daily rain that one cell passes once in so many years: same shape, mm/day.

        The level of exceedance probability ``1 / (365.25 years)``, days of all cells and months
        that were scored taken together as one climate; NaN where fewer than ten cell-days lie
        above it.
        """
        exceeded = 1 / (DAYS_PER_YEAR * np.asarray(years, dtype=np.float64))
        return np.where(exceeded * self.days >= 10, self.quantile(1 - exceeded), np.nan)
