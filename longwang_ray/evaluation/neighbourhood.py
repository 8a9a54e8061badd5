"""Is it raining hard near where it should? The fractions skill score over thresholds and scales.

    FSS = 1 − Σ (P − O)² / Σ (P² + O²)

``O`` is the share of cells above a threshold in a square around each cell, ``P`` the same share
averaged over the realizations, the neighbourhood ensemble probability (Roberts and Lean 2008;
Schwartz et al. 2010). 1 is right, 0 no overlap at all. Outside the domain counts as no rain for
both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]

THRESHOLDS = (1.0, 10.0, 30.0)
"""mm/day."""

SCALES = (1, 3, 9, 17, 33)
"""Sides of the squares, cells."""


@dataclass(frozen=True, eq=False)
class Neighbourhood(Sums):
    """Sums over cells and days, shape ``(thresholds, scales)``.

    Attributes:
        difference: Σ (P − O)².
        reference: Σ (P² + O²), what it would be without any overlap.
    """

    difference: Array
    reference: Array

    @classmethod
    def of(cls, ensemble: Array, truth: Array) -> Neighbourhood:
        """Of an ensemble ``(realization, day, lat, lon)`` and its truth, mm/day."""
        found = [
            [_sums(chance, rains, scale) for scale in SCALES]
            for chance, rains in (
                (
                    (ensemble > limit).mean(axis=0, dtype=np.float32),
                    (truth > limit).astype(np.float32),
                )
                for limit in THRESHOLDS
            )
        ]
        difference, reference = np.moveaxis(np.array(found), -1, 0)
        return cls(difference, reference)

    @property
    def skill(self) -> Array:
        """The score, shape ``(thresholds, scales)``; NaN where neither passed the threshold."""
        return 1 - np.divide(
            self.difference,
            self.reference,
            out=np.full(self.reference.shape, np.nan),
            where=self.reference > 0,
        )


def _sums(chance: Array, rains: Array, scale: int) -> tuple[float, float]:
    size = (1, scale, scale)
    p, o = (uniform_filter(field, size, mode="constant") for field in (chance, rains))
    # a running sum in float32 leaves crumbs where nothing is; what is there is 1/33²/n or more
    p, o = (np.where(field < 1e-6, 0, field).astype(np.float64) for field in (p, o))
    return float(np.sum((p - o) ** 2)), float(np.sum(p**2 + o**2))
