"""Whether monthly rain can be true: cheap checks that save the GPU time of a wrong unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longwang_ray.data.source import SourceError
from longwang_ray.domain.calendar import Record
from longwang_ray.domain.grid import RectilinearGrid

__all__ = ["plausible"]

NOISE = 0.01
"""mm/day: spectral models and packing leave negatives of this size, and no larger."""

HIGHEST = 200.0
"""mm/day: no monthly mean on Earth or in a model's ~100 km cell is higher."""

GLOBAL_MEAN = (0.1, 20.0)
"""mm/day: Earth has 2.7; a global mean outside is a wrong unit."""


def plausible(
    rain: NDArray[np.float32], grid: RectilinearGrid, record: Record
) -> tuple[NDArray[np.float32], int]:
    """Set negatives within noise to zero, and refuse what can't be a monthly mean of rain.

    Args:
        rain: Shape ``(month, lat, lon)``, mm/day, NaN where missing.
        grid: Its cells.
        record: Its months.

    Returns:
        The rain, and how many values were set to zero.

    Raises:
        SourceError: No value in a month; rain below −0.01 or above 200 mm/day; a source of the
            whole globe whose mean is outside 0.1..20 mm/day.
    """
    present = ~np.isnan(rain)
    if not present.any():
        raise SourceError(
            "every value is missing (NaN or fill value): wrong file, or an empty cut"
        )
    empty = [str(record.months[i]) for i in np.flatnonzero(~present.any(axis=(1, 2)))]
    if empty:
        raise SourceError(
            f"no value at all in {len(empty)} of {len(rain)} months, first {empty[0]}: the file "
            "or store is incomplete; fetch it again, or cut the record before"
        )
    lowest, highest = np.nanmin(rain), np.nanmax(rain)
    if lowest < -NOISE:
        where = _where(rain, rain == lowest, grid, record)
        n = int((rain < -NOISE).sum())
        raise SourceError(
            f"negative rain beyond noise: {lowest:.4g} mm/day {where}, and {n} values below "
            f"-{NOISE}: an anomaly or a difference is no rain; give the full field"
        )
    if highest > HIGHEST:
        where = _where(rain, rain == highest, grid, record)
        n = int((rain > HIGHEST).sum())
        raise SourceError(
            f"implausible monthly mean: {highest:.4g} mm/day {where}, and {n} values above "
            f"{HIGHEST:g}: are the units right?"
        )
    _check_global_mean(rain, grid)
    negative = rain < 0
    return np.where(negative, np.float32(0), rain), int(negative.sum())


def _where(
    rain: NDArray[np.float32], hit: NDArray[np.bool_], grid: RectilinearGrid, record: Record
) -> str:
    month, row, column = (int(index[0]) for index in np.nonzero(hit))
    return f"in {record.months[month]} at lat {grid.lat[row]:g}, lon {grid.lon[column]:g}"


def _check_global_mean(rain: NDArray[np.float32], grid: RectilinearGrid) -> None:
    """Units that are wrong but in the table show in one number, if the source is the globe."""
    if not (grid.is_global_lon and np.ptp(grid.lat_bounds) > 179):
        return
    area = np.broadcast_to(grid.areas(), rain.shape)
    present = ~np.isnan(rain)
    mean = float((rain[present] * area[present]).sum() / area[present].sum())
    if not GLOBAL_MEAN[0] <= mean <= GLOBAL_MEAN[1]:
        raise SourceError(
            f"the global mean is {mean:.3g} mm/day, where Earth has about 2.7: are the units "
            "right?"
        )
