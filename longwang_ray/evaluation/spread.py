"""Spread and error of ensembles: of one that can be trusted they agree.

    sqrt((n + 1)/n · mean s²) / sqrt(mean (x̄ − y)²)  =  1

with ``s²`` the variance over the n realizations (divisor n − 1) and ``x̄`` their mean; the factor
is the error of a mean of few realizations (Fortin et al. 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Spread(Sums):
    """Area-weighted sums over cells and days, each of shape ``()``.

    Attributes:
        variance: Of ``(n + 1)/n · s²``, (mm/day)²; 0 of a deterministic method.
        error: Of ``(x̄ − y)²``, (mm/day)².
        weight: Of the areas.
    """

    variance: Array
    error: Array
    weight: Array

    @classmethod
    def of(cls, ensemble: Array, truth: Array, area: Array) -> Spread:
        """Of an ensemble ``(realization, day, lat, lon)`` and its truth, mm/day.

        Args:
            ensemble: One realization or more.
            truth: Shape ``(day, lat, lon)``.
            area: Shape ``(lat, 1)``.
        """
        n = len(ensemble)
        mean = ensemble.mean(axis=0, dtype=np.float64)
        variance = ensemble.var(axis=0, ddof=1, dtype=np.float64) if n > 1 else np.zeros_like(mean)
        weight = np.broadcast_to(area, truth.shape)
        return cls(
            np.sum(variance * weight) * (n + 1) / n,
            np.sum((mean - truth) ** 2 * weight),
            np.array(weight.sum(dtype=np.float64)),
        )

    @property
    def ratio(self) -> float:
        """Spread over error; 1 is right, NaN of a deterministic method or without any error."""
        return (
            float(np.sqrt(self.variance / self.error))
            if self.variance * self.error
            else float("nan")
        )

    @property
    def rmse(self) -> float:
        """Root mean square error of the ensemble's mean, mm/day."""
        return float(np.sqrt(self.error / self.weight))
