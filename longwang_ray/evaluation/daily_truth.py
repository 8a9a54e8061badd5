"""Real days as a truth: which of a dataset's cells and days are wanted, and are they there.

Checked before anything is computed: the dataset's cells are the prior's, every month is whole, the
domain lies inside. Days are then read a few at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwang_ray.data.daily import DailySource, open_daily
from longwang_ray.data.source import SourceError
from longwang_ray.domain.calendar import Month, Record, date_of, month_record
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.evaluation.places import Box
from longwang_ray.evaluation.settings import ArchiveSettings, DailyTruth
from longwang_ray.evaluation.truth import Cutter, Observed, keep_months, records_of

Array = NDArray[np.floating]
NEAR = 1e-3
"""Degrees by which cell centres may differ."""

AT_ONCE = 8
"""Days that are read at one go."""

MOST_ARCHIVE = 48
"""Months of an archive that is not named month by month."""


def open_truth(truth: DailyTruth) -> DailySource:
    """The dataset; nothing of its days is read."""
    return open_daily(
        truth.path,
        truth.variable,
        units=truth.units,
        stamp=truth.stamp,
        storage_options=truth.storage_options or None,
    )


def cells_of(source: DailySource, box: Box) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The dataset's rows and columns that are a domain's.

    Raises:
        SourceError: if one is not there, or the dataset's cells are others than the prior's.
    """
    rows = _matching(source.grid.lat, box.lat, None)
    columns = _matching(source.grid.lon, box.lon, 360.0)
    if (rows < 0).any() or (columns < 0).any():
        grid = source.grid
        raise SourceError(
            f"region: cells {box.lat.min():g} … {box.lat.max():g}N, {box.lon[0]:g} … "
            f"{box.lon[-1]:g}E are not all in the data, which have {grid.lat.min():g} … "
            f"{grid.lat.max():g}N, {grid.lon.min():g} … {grid.lon.max():g}E; choose a region "
            "inside, and data on the prior's own cells"
        )
    return rows, columns


def _matching(centres: Array, wanted: Array, period: float | None) -> NDArray[np.int64]:
    """Index of each wanted centre, −1 where there is none."""
    apart = wanted[:, None] - centres[None, :]
    if period is not None:
        apart = (apart + period / 2) % period - period / 2
    nearest = np.abs(apart).argmin(axis=1)
    return np.where(np.abs(apart).min(axis=1) < NEAR, nearest, -1)


def months_there(source: DailySource, shortest: int | None) -> list[str]:
    """Every month that is whole, or has a run of at least so many days, in order."""
    dates = [date_of(int(source.days[k]), source.calendar) for k in (0, -1)]
    first, last = ((date.year * 12 + date.month - 1) for date in dates)
    names = [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(first, last + 1)]
    return [name for name in names if _usable(source, name, shortest)]


def require_months(
    source: DailySource, months: Sequence[str], shortest: int | None, key: str
) -> list[Record]:
    """The records of some months; one that has gaps stands alone, for its longest run of days.

    Args:
        source: The dataset.
        months: ``"YYYY-MM"`` each, in order.
        shortest: Days in a row that a month with gaps needs; None: all must be whole.
        key: Who asks, for errors.

    Raises:
        SourceError: if a month is not there; says which, and which are.
    """
    for name in months:
        if not _usable(source, name, shortest):
            (found,) = month_record(source.calendar, name, 1).months
            there = ", ".join(months_there(source, shortest)[:24]) or "none"
            run = _longest_run(source, found).days
            raise SourceError(
                f"{key}: {name} is not whole: {run} days in a row of {found.days} are in the "
                f"data; choose other months ({there}), or lower truth.shortest"
            )
    records: list[Record] = []
    whole: list[str] = []
    for name in months:
        (found,) = month_record(source.calendar, name, 1).months
        part = _longest_run(source, found)
        if part == found:
            whole.append(name)
        else:
            records += [*records_of(whole, source.calendar), Record(source.calendar, (part,))]
            whole = []
    return [*records, *records_of(whole, source.calendar)]


def _usable(source: DailySource, name: str, shortest: int | None) -> bool:
    (month,) = month_record(source.calendar, name, 1).months
    return _longest_run(source, month).days >= min(shortest or month.days, month.days)


def _longest_run(source: DailySource, month: Month) -> Month:
    """The month with only its longest run of days that are there; the first of equal ones."""
    days = source.days[(source.days >= month.start) & (source.days < month.stop)]
    runs = np.split(days, np.flatnonzero(np.diff(days) > 1) + 1)
    longest = max(runs, key=len)
    start = int(longest[0]) if len(longest) else month.start
    return Month(month.year, month.month, start, len(longest))


def archive_months(
    source: DailySource, archive: ArchiveSettings, shortest: int | None
) -> list[str]:
    """Months that analogues are chosen from: those named, or an even choice of all."""
    if archive.months:
        return list(archive.months)
    there = months_there(source, shortest)
    if len(there) <= MOST_ARCHIVE:
        return there
    return [there[k] for k in np.linspace(0, len(there) - 1, MOST_ARCHIVE).round().astype(int)]


def cut_daily(
    source: DailySource, record: Record, box: Box, gcm: RectilinearGrid, work: Path
) -> Observed:
    """Keep a record's domain and months, in a folder named by what they hold.

    Raises:
        SourceError: if a day of the domain has a cell without a value.
    """
    rows, columns = cells_of(source, box)
    cutter = Cutter(source.grid, gcm, rows, columns)
    state = hashlib.sha256(f"{record.months[0]} {box.place}".encode())
    aside = work / "reading"
    keep_months(aside, record, cutter, _days(source, record))
    for month in record.months:
        own = np.load(aside / f"{month}.npy")
        if unknown := int(np.isnan(own).sum()):
            raise SourceError(
                f"truth.months: {unknown} values of {month} are absent inside the region; choose "
                "a region or months without gaps"
            )
        state.update(own.tobytes())
        state.update(np.load(aside / f"{month}.monthly.npy").tobytes())
    folder = work / f"truth-{record.months[0]}-{state.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for month in record.months:
        for name in (f"{month}.npy", f"{month}.monthly.npy"):
            if (folder / name).exists():  # named by its content: the same
                (aside / name).unlink()
            else:
                (aside / name).replace(folder / name)
    return Observed.read(folder, record, gcm, box)


def _days(source: DailySource, record: Record) -> Iterator[Array]:
    for month in record.months:
        yield from _days_of(source, month)


def _days_of(source: DailySource, month: Month) -> Iterator[Array]:
    first = int(np.searchsorted(source.days, month.start))
    for begin in range(first, first + month.days, AT_ONCE):
        yield from source.read(slice(begin, min(begin + AT_ONCE, first + month.days)))
