"""Daily truth, and what a climate model would have said of it.

    y = A x,    A: the real operator from the truth's own cells to a GCM's grid

A truth is one or several records of consecutive months. Of its days only the domain is kept, of
its months all GCM cells that lie wholly where the truth has values; the others are absent, as the
masked cells of a source are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from longwang_ray.data.source import MonthlySource
from longwang_ray.data.synthetic import CALENDAR, SyntheticEarth
from longwang_ray.domain.calendar import (
    Month,
    Record,
    day_number,
    month_record,
    parse_month,
)
from longwang_ray.domain.grid import RectilinearGrid, era5_grid, overlap_lat, overlap_lon
from longwang_ray.evaluation.places import Box
from longwang_ray.evaluation.settings import GcmSettings
from longwang_ray.evaluation.work import digest_of, keep, kept

Array = NDArray[np.floating]


def gcm_grid(settings: GcmSettings) -> RectilinearGrid:
    """The grid that a truth is observed on, latitudes descending.

    >>> gcm_grid(GcmSettings(degrees=2.5)).lat[:2].tolist()
    [88.75, 86.25]
    """
    if settings.degrees is not None:
        n, step = round(180 / settings.degrees), settings.degrees
        lat, lon = 90 - step * (np.arange(n) + 0.5), step * (np.arange(2 * n) + 0.5)
        return RectilinearGrid.from_centres(lat, lon)
    assert settings.lat is not None
    assert settings.lon is not None  # the settings' own check
    lat = np.linspace(90.0, -90.0, settings.lat)
    return RectilinearGrid.from_centres(lat, 360.0 / settings.lon * np.arange(settings.lon))


def records_of(months: Sequence[str], calendar: str) -> list[Record]:
    """Months as records: those that follow each other are one.

    >>> [len(r.months) for r in records_of(["2001-01", "2001-02", "2001-07"], "noleap")]
    [2, 1]
    """
    records: list[list[str]] = []
    numbers = [year * 12 + month for year, month in map(parse_month, months)]
    jumps = [True, *(b - a != 1 for a, b in pairwise(numbers))][: len(numbers)]
    for name, jump in zip(months, jumps, strict=True):
        if jump:
            records.append([])
        records[-1].append(name)
    return [month_record(calendar, run[0], len(run)) for run in records]


@dataclass(frozen=True)
class Observed:
    """The days of one record on a domain, and its months on the GCM's grid.

    Attributes:
        monthly: The months.
        folder: Where the days are, one file a month.
        box: The domain.
    """

    monthly: MonthlySource
    folder: Path
    box: Box

    def days(self, month: Month, box: Box | None = None) -> Array:
        """Days of a month, ``(day, lat, lon)``, mm/day, on some of the domain's cells or all."""
        rain = kept(self.folder / f"{month}.npy")
        rows, columns = (box or self.box).inside(self.box)
        return np.asarray(rain[:, rows, columns])

    @classmethod
    def read(cls, folder: Path, record: Record, gcm: RectilinearGrid, box: Box) -> Observed:
        """What `keep_months` left of a record."""
        months = [kept(folder / f"{month}.monthly.npy") for month in record.months]
        return cls(MonthlySource(np.stack(months), gcm, record), folder, box)

    @staticmethod
    def there(folder: Path, record: Record) -> bool:
        """Whether all of a record was kept; a month's monthly mean is its last file."""
        return all((folder / f"{month}.monthly.npy").exists() for month in record.months)


class Cutter:
    """Takes days of the source's cells, keeps their domain and their monthly means.

    Args:
        fine: Cells that the days come on.
        gcm: The GCM's.
        rows: Of `fine`, that make the domain.
        columns: Likewise.
    """

    def __init__(
        self,
        fine: RectilinearGrid,
        gcm: RectilinearGrid,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
    ) -> None:
        self.lat = overlap_lat(gcm.lat_bounds, fine.lat_bounds)
        self.lon = overlap_lon(gcm.lon_bounds, fine.lon_bounds)
        self.inside = self.lat.whole[:, None] & self.lon.whole[None, :]
        self.rows, self.columns = rows, columns

    def month(self, days: Iterable[Array]) -> tuple[Array, Array]:
        """The domain's days, and the month on the GCM's grid, NaN where it isn't known.

        Args:
            days: Each ``(lat, lon)`` on the source's cells, mm/day; NaN where there is no value.
        """
        own, total = [], np.zeros(())
        for day in days:
            own.append(np.asarray(day, np.float32)[np.ix_(self.rows, self.columns)])
            total = total + day.astype(np.float64)
        unknown = np.isnan(total)
        rain = self._coarse(np.where(unknown, 0.0, total / len(own)))
        known = self.inside & (self._coarse(unknown.astype(np.float64)) == 0)
        return np.stack(own), np.where(known, rain, np.nan).astype(np.float32)

    def _coarse(self, field: Array) -> Array:
        return self.lat.weights @ field @ self.lon.weights.T


@dataclass(frozen=True)
class SyntheticRecord:
    """One record of the synthetic Earth, to be cut out.

    Attributes:
        seed: Of the Earth.
        record: Its months.
        box: The domain.
        gcm: The GCM's grid.
        work: Where it is kept.
    """

    seed: int
    record: Record
    box: Box
    gcm: RectilinearGrid
    work: Path

    @property
    def key(self) -> str:
        """A stable name."""
        return f"synthetic~{self.seed}~{self.record.months[0]}~{len(self.record.months)}"

    @property
    def folder(self) -> Path:
        """Where its days are kept."""
        first, count, place = self.record.months[0], len(self.record.months), self.box.place
        cells = [self.gcm.lat_bounds.tolist(), self.gcm.lon_bounds.tolist()]
        digest = digest_of(seed=self.seed, first=str(first), count=count, box=place, gcm=cells)
        return self.work / f"truth-{first}-{digest}"

    @property
    def there(self) -> bool:
        """Whether it was cut out already."""
        return Observed.there(self.folder, self.record)

    def read(self) -> Observed:
        """What was cut out."""
        return Observed.read(self.folder, self.record, self.gcm, self.box)


@dataclass(frozen=True)
class CutFactory:
    """Makes what cuts records out of the synthetic Earth.

    Attributes:
        threads: CPU threads of a worker; sums depend on them to the last bit.
    """

    threads: int = 1

    def __call__(self) -> Callable[[SyntheticRecord], int]:
        """The worker, where it will work."""
        torch.set_num_threads(self.threads)
        return cut_synthetic


def cut_synthetic(item: SyntheticRecord) -> int:
    """Make a record of the synthetic Earth day by day, and keep its domain and its months.

    Consecutive months are one weather: nothing jumps where one ends.
    """
    record = item.record
    cutter = Cutter(era5_grid(), item.gcm, item.box.row_indices, item.box.column_indices)
    start = record.start - day_number(CALENDAR, record.months[0].year, 1)
    days = SyntheticEarth(item.seed).days(start, record.n_days)
    keep_months(item.folder, record, cutter, days)
    return len(record.months)


def keep_months(folder: Path, record: Record, cutter: Cutter, days: Iterator[Array]) -> None:
    """Keep a record's months, one in memory at a time."""
    for month in record.months:
        own, rain = cutter.month(next(days) for _ in range(month.days))
        keep(folder / f"{month}.npy", own)
        keep(folder / f"{month}.monthly.npy", rain)
