"""Daily rain to learn from, read piece by piece.

Reanalyses and satellite products are far larger than memory, so nothing is read when one is
opened: `DailySource.read` fetches some days of some cells, and brings them into the normal form of
`longwang_ray.data.cmip` (mm/day, latitudes descending, longitudes 0..360 ascending).

A day is one step, or the sum (of amounts) or mean (of rates) of the steps in it. Hourly amounts of
a reanalysis are stamped at the end of their hour: a day's last hour carries the next day's date.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import cftime
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from longwang_ray.data.axes import GridOrder, find_axes, read_grid
from longwang_ray.data.opening import expand, opened
from longwang_ray.data.source import SourceError
from longwang_ray.data.units import amount_in_mm, to_mm_per_day
from longwang_ray.domain.calendar import EPOCH, canonical_calendar, date_of
from longwang_ray.domain.grid import RectilinearGrid

__all__ = ["DailySource", "open_daily"]

Stamp = Literal["start", "middle", "end"]

NOISE = 0.1
"""mm/day: packing leaves daily negatives of this size; they become zero."""

HIGHEST = 2500.0
"""mm/day: the highest day ever measured had 1825."""

PIECE_BYTES = 2**29
"""Of what is read at one go."""

_MIDDLE = {"start": 0.5, "middle": 0.0, "end": -0.5}


@dataclass(frozen=True, eq=False)
class DailySource:
    """Daily rain that stays where it is until it is read. Close it, or use it in a ``with``.

    Attributes:
        grid: The cells in normal form.
        calendar: Canonical name.
        days: Day numbers (days since 0001-01-01 in the calendar), ascending, maybe with gaps.
    """

    grid: RectilinearGrid
    calendar: str
    days: NDArray[np.int64]
    _data: xr.DataArray = field(repr=False)
    _order: GridOrder = field(repr=False)
    _steps: NDArray[np.int64] = field(repr=False)
    _factor: float = field(repr=False)
    _stack: ExitStack = field(repr=False)

    def starts(self, length: int) -> NDArray[np.int64]:
        """Indices into `days` from which ``length`` consecutive days are there."""
        last = len(self.days) - length + 1
        index = np.arange(max(last, 0))
        return index[self.days[index + length - 1] - self.days[index] == length - 1]

    def pieces(self) -> NDArray[np.int64]:
        """Which chunk of the file begins each day, ``(day,)``: days of one are read at one go.

        Ascending; a chunk of more than 512 MiB counts as several.
        """
        steps = int(self._data.encoding.get("preferred_chunks", {}).get(self._data.dims[0], 1))
        step_bytes = 8 * self._data[0].size
        return self._steps[:, 0] // max(1, min(steps, PIECE_BYTES // step_bytes))

    def read(
        self, days: slice, rows: ArrayLike | None = None, columns: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Some days of some cells, by index into `days` and `grid`.

        Args:
            days: Which days; a step of one.
            rows: Which rows, None: all.
            columns: Which columns, in any order (across 0°E as ``np.arange(a, b) % n_lon``).

        Returns:
            Shape ``(day, lat, lon)``, mm/day, NaN where the source has no value.

        Raises:
            SourceError: Rain below −0.1 or above 2500 mm/day, or a read that fails.
        """
        steps = self._steps[days]
        height, width = self.grid.shape
        file_rows = self._order.rows[np.arange(height) if rows is None else np.asarray(rows)]
        file_columns = self._order.columns[
            np.arange(width) if columns is None else np.asarray(columns)
        ]
        if not (steps.size and file_rows.size and file_columns.size):
            return np.zeros((len(steps), file_rows.size, file_columns.size), np.float32)
        block = tuple(
            slice(int(index.min()), int(index.max()) + 1)
            for index in (steps, file_rows, file_columns)
        )
        try:
            values = self._data[block].values
        except Exception as error:  # each store's library raises errors of its own
            raise SourceError(
                f"{self._data.name}: reading {self._dates(days)} failed "
                f"({type(error).__name__}: {error})"
            ) from error
        # summed before cells are picked: picking copies, and a day may be 24 steps of the globe
        sums = np.stack([_sum(values, day - block[0].start) for day in steps])
        rain = sums[:, file_rows - block[1].start][:, :, file_columns - block[2].start]
        return _checked(rain * np.float32(self._factor), self.days[days], self.calendar)

    def _dates(self, days: slice) -> str:
        """First and last of some days, as a reader knows them."""
        first, last = (date_of(int(self.days[days][i]), self.calendar) for i in (0, -1))
        return f"{str(first)[:10]} … {str(last)[:10]}"

    def close(self) -> None:
        """Close the file or store."""
        self._stack.close()

    def __enter__(self) -> DailySource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_daily(
    path: str,
    variable: str = "pr",
    *,
    units: str | None = None,
    stamp: Stamp | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> DailySource:
    """Open daily, hourly or three-hourly rain; nothing of it is read yet.

    Args:
        path: One NetCDF file or Zarr store, local or any fsspec URL (a remote NetCDF is copied).
        variable: Its name in the file.
        units: Instead of the file's own: a rate (``mm/day``), or an amount in each step (``m``).
        stamp: Which part of its step a time names. None: the end for amounts within a day (as
            reanalyses do), else the day that holds it.
        storage_options: Handed to fsspec.

    Raises:
        SourceError: As `longwang_ray.data.cmip.open_monthly`; steps that do not divide a day.
    """
    one, *more = expand(path, storage_options)
    if more:
        raise SourceError(f"{path}: matches {len(more) + 1} files; open each by itself")
    with ExitStack() as stack:
        dataset = stack.enter_context(opened(one, storage_options))
        if variable not in dataset.data_vars:
            there = ", ".join(map(str, dataset.data_vars))
            raise SourceError(f"no variable {variable!r}; there are: {there}")
        axes = find_axes(dataset, variable)
        if axes.time is None:
            raise SourceError(f"{variable} has no time axis: its days are unknown")
        order = read_grid(dataset, axes)
        data = dataset[variable].transpose(axes.time.dims[0], axes.lat.dims[0], axes.lon.dims[0])
        times, calendar = _day_times(axes.time)
        per_day = _steps_per_day(times, str(axes.time.name))
        unit = units or data.attrs.get("units")
        amount = amount_in_mm(unit)
        factor = amount or float(to_mm_per_day(unit, np.array([1]))[0]) / per_day
        stamp = stamp or ("end" if amount and per_day > 1 else "middle")
        valid = _valid(times, dataset, calendar)
        days, steps = _days_of(times + _MIDDLE[stamp] / per_day, per_day, valid)
        return DailySource(order.grid, calendar, days, data, order, steps, factor, stack.pop_all())


def _day_times(time: xr.DataArray) -> tuple[NDArray[np.float64], str]:
    """Stamps as fractional day numbers."""
    units = str(time.attrs.get("units", ""))
    try:
        calendar = canonical_calendar(str(time.attrs.get("calendar", "standard")))
        first = cftime.num2date(0, units, calendar=calendar)
        origin = float(cftime.date2num(first, EPOCH, calendar=calendar))
    except ValueError as error:
        raise SourceError(
            f"the time axis {time.name} is not readable: units {units!r} ({error})"
        ) from error
    unit = units.split()[0].lower()
    lengths = {"day": 1.0, "hour": 24.0, "minute": 1440.0, "second": 86400.0}
    per_day = next((n for name, n in lengths.items() if unit.startswith(name)), None)
    if per_day is None:
        raise SourceError(f"the time axis {time.name} counts in {unit!r}: expected days or hours")
    return origin + np.asarray(time.values, np.float64) / per_day, calendar


def _steps_per_day(times: NDArray[np.float64], name: str) -> int:
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    per_day = round(1 / step) if step > 0 else 0
    if per_day < 1 or abs(per_day * step - 1) > 1e-3:
        raise SourceError(
            f"{name}: steps of {step * 24:g} hours are neither days nor parts of one"
        )
    return per_day


def _valid(times: NDArray[np.float64], dataset: xr.Dataset, calendar: str) -> NDArray[np.bool_]:
    """Stores made ahead of their data say in two attributes how far it goes (ARCO-ERA5)."""
    valid = np.isfinite(times)
    for name, side in (("valid_time_start", 1), ("valid_time_stop", -1)):
        if text := str(dataset.attrs.get(name, "")):
            year, month, day = (int(part) for part in text[:10].split("-"))
            limit = cftime.date2num(cftime.datetime(year, month, day, calendar=calendar), EPOCH)
            # the last day named is a whole one, whose end carries the next day's date
            valid &= side * (times - limit) >= 0 if side > 0 else times <= limit + 1
    return valid


def _days_of(
    middles: NDArray[np.float64], per_day: int, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whole days and the steps of each, ``(day, step)``; days that lack some are dropped."""
    index = np.flatnonzero(valid)
    index = index[np.argsort(middles[index], kind="stable")]
    of_step = np.floor(middles[index] + 1e-6).astype(np.int64)
    days, begin, count = np.unique(of_step, return_index=True, return_counts=True)
    if (count > per_day).any():
        n = int((count > per_day).sum())
        raise SourceError(f"{n} days hold more than {per_day} steps: remove the duplicate times")
    whole = count == per_day
    steps = index[begin[whole][:, None] + np.arange(per_day)]
    return days[whole], steps


def _sum(values: NDArray[Any], steps: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sum of some steps, without a copy of them where they follow each other."""
    first, last = int(steps[0]), int(steps[-1])
    chosen = values[first : last + 1] if last - first == len(steps) - 1 else values[steps]
    return np.asarray(chosen.sum(axis=0, dtype=np.float32))


def _checked(
    rain: NDArray[np.float32], days: NDArray[np.int64], calendar: str
) -> NDArray[np.float32]:
    """Rain without negatives of noise; refuses what can't be rain."""
    wrong = (rain < -NOISE) | (rain > HIGHEST)
    if wrong.any():
        day = int(np.nonzero(wrong)[0][0])
        date = date_of(int(days[day]), calendar).strftime("%Y-%m-%d")
        raise SourceError(
            f"{float(rain[wrong][0]):.4g} mm/day on {date} and {int(wrong.sum())} such values: "
            f"rain lies within 0..{HIGHEST:g}; are the units right?"
        )
    return np.where(rain < 0, np.float32(0), rain)
