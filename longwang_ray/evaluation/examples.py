"""What the evaluation's report shows beside the scores: fields, the closure and the conflict.

Statistics say how good an ensemble is, maps say what is wrong with it. These are the few fields
that a report draws; whoever scores a run keeps them on the way, since it streams over tiles and no
day can be asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.figures import CoarseMonth

Array = NDArray[np.floating]

INSIDE = (0.8, 1.25)
"""Closure factors that say that guidance has done the work."""

EDGES = 1.25 ** (np.arange(-100, 101) / 5)
"""Of the factors' histogram: five bins for each step of 1.25, from 0.0115 to 86.7."""


@dataclass(frozen=True)
class FactorHistogram:
    """How far closure had to go: counts of its factors in logarithmic bins. ``+`` merges.

    Attributes:
        counts: Shape ``(len(EDGES) + 1,)``: below the first edge, between the edges, above.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(EDGES) + 1, np.int64))

    @classmethod
    def of(cls, factors: Array) -> FactorHistogram:
        """Count factors of any shape; NaN (nothing was observed) is left out."""
        known = factors[np.isfinite(factors)]
        bins = np.searchsorted(EDGES, known.astype(np.float64), side="right")
        return cls(np.bincount(bins.ravel(), minlength=len(EDGES) + 1).astype(np.int64))

    def __add__(self, other: FactorHistogram) -> FactorHistogram:
        return FactorHistogram(self.counts + other.counts)

    @property
    def inside(self) -> float:
        """Share of the factors in 0.8 … 1.25; NaN if there are none.

        >>> FactorHistogram.of(np.array([0.79, 0.81, 1.0, 1.2])).inside
        0.75
        """
        middle = np.sqrt(EDGES[1:] * EDGES[:-1])
        inside = (middle > INSIDE[0]) & (middle < INSIDE[1])
        total = self.counts.sum()
        return float(self.counts[1:-1][inside].sum() / total) if total else float("nan")


@dataclass(frozen=True)
class ExampleDays:
    """A few days of one place, as the truth and each method have them.

    Attributes:
        lat: Cell centres, degrees north, shape ``(lat,)``, in either order.
        lon: Cell centres, degrees east, shape ``(lon,)``; may cross 0°E.
        dates: One name a day, "2001-01-09".
        truth: Shape ``(day, lat, lon)``, mm/day.
        methods: By name ``(realization, day, lat, lon)``, mm/day; two realizations are drawn of
            conditional, one of every other.
        month: What was observed of the month, on the GCM's own cells.
    """

    lat: Array
    lon: Array
    dates: Sequence[str]
    truth: Array
    methods: Mapping[str, Array]
    month: CoarseMonth


@dataclass(frozen=True)
class Examples:
    """All that is drawn and is no score; what is missing is left out of the report.

    Attributes:
        days: Days to look at, one entry a place.
        conflict: χ² of each month on the GCM's cells, ``((y − A x) / σ)²`` before closure, mean
            over the realizations (`CoarseMonth.rain` holds it, without unit); NaN where nothing
            was observed.
        factors: Of conditional's closure, over all months, cells and realizations.
        lat: Cell centres of the bias maps, the whole domain's, as in `ExampleDays`.
        lon: See ``lat``.
        bias: By method, mean over realizations, days and months of method − truth, shape
            ``(lat, lon)``, mm/day.
    """

    days: Sequence[ExampleDays] = ()
    conflict: Sequence[CoarseMonth] = ()
    factors: FactorHistogram = field(default_factory=FactorHistogram)
    lat: Array = field(default_factory=lambda: np.zeros(0))
    lon: Array = field(default_factory=lambda: np.zeros(0))
    bias: Mapping[str, Array] = field(default_factory=dict)
