"""One region-month: the true days and every method's, on the same cells.

Everything that `longwang evaluate` says comes from a stream of these. Nothing is kept of one but
its scores (`region_scores`) and its share of the pooled statistics (`pooled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.posterior.observation import MonthlyMean

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Scene:
    """One month of one region.

    Attributes:
        name: Month and south-west corner, "2001-01 34N 344E".
        month: 1 … 12.
        lat: Cell centres, degrees north, shape ``(lat,)``, in either order.
        lon: Cell centres, degrees east, shape ``(lon,)``.
        truth: Shape ``(day, lat, lon)``, mm/day, float32.
        methods: By name ``(realization, day, lat, lon)``, mm/day; a deterministic one has one
            realization.
        operator: ``A`` of this month from these cells to the GCM's, for the monthly consistency;
            None, or no GCM cell inside: the whole region is taken as one cell.

    Raises:
        ValueError: Where the shapes disagree, a field holds values that are not finite, or a side
            has less than 3 cells (no spectrum can be told from these).
    """

    name: str
    month: int
    lat: Array
    lon: Array
    truth: Array
    methods: Mapping[str, Array]
    operator: MonthlyMean | None = None

    def __post_init__(self) -> None:
        cells = (len(self.lat), len(self.lon))
        if min(cells) < 3:
            raise ValueError(f"{self.name}: {cells} cells are too few, 3 are needed on each side")
        if self.truth.ndim != 3 or self.truth.shape[1:] != cells:
            raise ValueError(f"{self.name}: truth is {self.truth.shape}, its cells are {cells}")
        for method, rain in (*self.methods.items(), ("truth", self.truth[None])):
            if rain.ndim != 4 or rain.shape[1:] != self.truth.shape or not len(rain):
                raise ValueError(
                    f"{self.name}: {method} is {rain.shape}, "
                    f"asked is (realization, *{self.truth.shape})"
                )
            if not np.isfinite(rain).all():
                raise ValueError(f"{self.name}: {method} has values that are not finite")

    @property
    def region(self) -> str:
        """The name without its month: scenes of one region share it."""
        return self.name.split(" ", 1)[-1]

    @property
    def area(self) -> Array:
        """What a cell counts, shape ``(lat, 1)``: the cosine of its latitude."""
        return np.cos(np.deg2rad(self.lat))[:, None]
