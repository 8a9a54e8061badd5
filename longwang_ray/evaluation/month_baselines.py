"""The baselines of one month: interpolation of the months, and borrowed days scaled to the month.

Both know what an ensemble knows, the months on the GCM's grid, and nothing else of the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.calendar import Month
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.evaluation.analogue import analogue
from longwang_ray.evaluation.baselines import trilinear
from longwang_ray.evaluation.places import Box
from longwang_ray.evaluation.truth import Array, Observed
from longwang_ray.posterior.closure import interpolation
from longwang_ray.posterior.observation import MonthlyMean, monthly_mean

MARGIN = 1.5
"""GCM cells around a region on which borrowed days are compared with the month."""


@dataclass(frozen=True)
class Archive:
    """Months that analogues are chosen from.

    Attributes:
        records: On the truth's domain.
        of_truth: Whether they are of the truth's own weather: a month is no analogue of itself.
    """

    records: Sequence[Observed] = ()
    of_truth: bool = False

    def nearest(self, month: Month) -> Iterator[tuple[Observed, Month]]:
        """Months of the archive, those of the same calendar month first."""
        found = [(o, m) for o in self.records for m in o.monthly.record.months]
        if self.of_truth:
            found = [(o, m) for o, m in found if str(m) != str(month)]
        yield from sorted(found, key=lambda pair: _apart(pair[1], month))


def _apart(one: Month, other: Month) -> int:
    """Calendar months between two months, 0 … 6."""
    return min((one.month - other.month) % 12, (other.month - one.month) % 12)


def analogues(observed: Observed, month: int, box: Box, archive: Archive, count: int) -> Array:
    """Days of other years, scaled to a month.

    Args:
        observed: The truth of a record; only its months are used.
        month: Index into the record.
        box: The wanted cells.
        archive: What to choose from: the nearest months, by the calendar.
        count: Realizations at most.

    Returns:
        Shape ``(realization, day, lat, lon)``, mm/day; a shorter month is begun again.
    """
    source = observed.monthly
    when, grid = source.record.months[month], source.grid
    widest = [np.abs(np.diff(b, axis=1)).max() for b in (grid.lat_bounds, grid.lon_bounds)]
    step = abs(float(box.grid.lat[0] - box.grid.lat[1]))
    cells = tuple(int(np.ceil(MARGIN * width / step)) for width in widest)
    wide = box.grown((cells[0], cells[1]), observed.box)
    rows, columns = box.inside(wide)
    operator = operator_on(wide, when, grid)
    smooth = interpolation(box.grid, wide.row_indices, wide.column_indices, grid)
    chosen = [pair for pair, _ in zip(archive.nearest(when), range(count), strict=False)]
    if not chosen:
        raise ValueError(f"archive: no month without gaps but {when} itself; leave analogue out")
    return np.stack([
        _as_long(analogue(o.days(m, wide), source.rain[month], operator, smooth), when.days)
        [:, rows, columns]
        for o, m in chosen
    ])  # fmt: skip


def _as_long(days: Array, count: int) -> Array:
    return days[np.arange(count) % len(days)]


def interpolated(observed: Observed, month: int, box: Box) -> Array:
    """The trilinear baseline on one month of some cells, ``(day, lat, lon)``, mm/day."""
    source = observed.monthly
    months = source.record.months
    first, stop = max(month - 1, 0), min(month + 2, len(months))
    near, grid = source.rain[first:stop], source.grid
    known: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(near), axis=0)
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    starts = np.array([*(m.start for m in months[first:stop]), months[stop - 1].stop])
    # a gap inside must not spread: it takes the mean of what is known
    filled = np.where(known, near, near[:, known].mean(axis=1)[:, None, None])
    rain = trilinear(
        filled[:, rows][:, :, columns], starts, grid.lat[rows], grid.lon[columns], box.lat, box.lon
    )
    begin = months[month].start - months[first].start
    return rain[begin : begin + months[month].days]


def operator_on(box: Box, month: Month, gcm: RectilinearGrid) -> MonthlyMean:
    """``A`` of one month from the cells of a box."""
    days = (month.start, month.stop)
    return monthly_mean([month], days, box.grid, box.row_indices, box.column_indices, gcm)
