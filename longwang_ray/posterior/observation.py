"""What a climate model's month says about days: the operator ``A`` and its error.

    y[m, J, I] = Σ_{d, i, j} M[m, d] W_lat[J, i] W_lon[I, j] x[d, i, j]
    σ_y = relative · y + floor

``M`` averages the real days of each calendar month, the other two are exact overlaps in sin φ and
λ with the GCM's native cells. Three small matrices; nothing is regridded. Observed are the months
and cells that lie wholly inside what is computed; the others have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.calendar import Month, Record
from longwang_ray.domain.grid import RectilinearGrid, overlap_lat, overlap_lon
from longwang_ray.domain.lattice import Extent


@dataclass(frozen=True)
class ErrorModel:
    """How far a month may be from what is observed: ``std = relative · y + floor``.

    Attributes:
        relative: Share of the observation.
        floor: Smallest standard deviation, mm/day.
    """

    relative: float = 0.05
    floor: float = 0.02


@dataclass(frozen=True)
class MonthlyRain:
    """What a source says.

    Attributes:
        rain: ``(months, gcm_lat, gcm_lon)``, mm/day; NaN where masked.
        grid: The GCM's native grid.
        record: Its months.
    """

    rain: np.ndarray
    grid: RectilinearGrid
    record: Record


@dataclass(frozen=True)
class MonthlyMean:
    """The linear operator ``A`` on one set of cells and days.

    Attributes:
        month: Month by day, ``(months, days)``; rows sum to one.
        lat: GCM row by row, ``(gcm_lat, lat)``; rows sum to one where covered.
        lon: GCM column by column, ``(gcm_lon, lon)``.
        inside: GCM cells that lie wholly on these cells, ``(gcm_lat, gcm_lon)``, bool.
    """

    month: Tensor
    lat: Tensor
    lon: Tensor
    inside: Tensor

    def __call__(self, rain: Tensor) -> Tensor:
        """Monthly means on the GCM's grid, ``(months, gcm_lat, gcm_lon)``, of daily rain.

        Args:
            rain: ``(days, lat, lon)``.
        """
        days = torch.einsum("md,dij->mij", self.month, rain)
        return self.lat @ days @ self.lon.T

    def transpose(self, y: Tensor) -> Tensor:
        """``Aᵀ y``: ``(months, gcm_lat, gcm_lon)`` → ``(days, lat, lon)``."""
        return torch.einsum("md,mij->dij", self.month, self.lat.T @ y @ self.lon)

    def coarsen(self, days: int, lat: int, lon: int) -> MonthlyMean:
        """The operator on means of ``days × lat × lon`` blocks of the same cells.

        A block's mean stands for each of its cells, so weights of a block add up.
        """
        month, rows, columns = (
            w.unflatten(1, (-1, n)).sum(-1)
            for w, n in ((self.month, days), (self.lat, lat), (self.lon, lon))
        )
        return MonthlyMean(month, rows, columns, self.inside)

    def to(self, device: torch.device) -> MonthlyMean:
        """The same on another device."""
        return MonthlyMean(*(t.to(device) for t in (self.month, self.lat, self.lon, self.inside)))


def monthly_mean(
    months: Sequence[Month],
    days: tuple[int, int],
    fine: RectilinearGrid,
    rows: np.ndarray,
    columns: np.ndarray,
    gcm: RectilinearGrid,
) -> MonthlyMean:
    """The operator from a box of fine cells and days to a GCM's grid.

    Args:
        months: Months observed, each wholly inside ``days``.
        days: Day numbers ``[first, stop)``.
        fine: The fine grid.
        rows: Rows of the box.
        columns: Columns of the box, eastward, may pass 0°E.
        gcm: The GCM's native grid.
    """
    means = np.zeros((len(months), days[1] - days[0]))
    for row, month in zip(means, months, strict=True):
        row[month.start - days[0] : month.stop - days[0]] = 1.0 / month.days
    lat = overlap_lat(gcm.lat_bounds, fine.lat_bounds[rows])
    lon = overlap_lon(gcm.lon_bounds, fine.lon_bounds[columns])
    weights = (means, lat.weights, lon.weights)
    days_of, rows_of, columns_of = (torch.from_numpy(w.astype(np.float32)) for w in weights)
    inside = torch.from_numpy(lat.whole[:, None] & lon.whole[None, :])
    return MonthlyMean(days_of, rows_of, columns_of, inside)


def operator_on(
    extent: Extent, fine: RectilinearGrid, monthly: MonthlyRain, months: range
) -> MonthlyMean:
    """``A`` from the cells of a fine grid that an extent covers."""
    return monthly_mean(
        monthly.record.months[months.start : months.stop],
        (extent.time.fine_start, extent.time.fine_stop),
        fine,
        extent.lat.fine_cells(),
        extent.lon.fine_cells(),
        monthly.grid,
    )


@dataclass(frozen=True)
class Observation:
    """Monthly means, their error and what of them counts, on some months and the GCM's grid.

    Attributes:
        mean: ``y``, ``(months, gcm_lat, gcm_lon)``, mm/day; 0 where it doesn't count.
        std: Its error, the same shape, mm/day.
        counts: Where there is an observation, the same shape, bool.
    """

    mean: Tensor
    std: Tensor
    counts: Tensor

    @classmethod
    def of(cls, y: np.ndarray, operator: MonthlyMean, error: ErrorModel) -> Observation:
        """The observation that an operator can see.

        Args:
            y: ``(months, gcm_lat, gcm_lon)``, mm/day; NaN where the source is masked.
            operator: Tells which cells lie inside.
            error: The error model.
        """
        values = torch.from_numpy(np.array(y, dtype=np.float32))
        counts = values.isfinite() & operator.inside.cpu()
        mean = torch.where(counts, values, 0.0)
        device = operator.lat.device
        std = error.relative * mean + error.floor
        return cls(mean.to(device), std.to(device), counts.to(device))

    def residual(self, estimate: Tensor) -> Tensor:
        """``y − A x̂`` where there is an observation, 0 elsewhere."""
        return torch.where(self.counts, self.mean - estimate, 0.0)
