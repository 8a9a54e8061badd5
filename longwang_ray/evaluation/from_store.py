"""From a store to its picture and its table of scores: what `plot` and `evaluate` do.

The coarse month beside the picture, and the months that the baseline interpolates, are the
observations that lie in the store's group ``monthly``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cftime
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from longwang_ray.config import SYNTHETIC
from longwang_ray.data.daily import DailySource, open_daily
from longwang_ray.data.synthetic import synthetic_days
from longwang_ray.domain.calendar import date_of
from longwang_ray.evaluation.baselines import trilinear
from longwang_ray.evaluation.figures import MOST_ROWS, CoarseMonth, FineDays, draw_run
from longwang_ray.evaluation.matching import dates_of
from longwang_ray.evaluation.opened import open_group
from longwang_ray.evaluation.report import Report, evaluate

SECONDS_PER_DAY = 86400.0
_SHOWN_DAYS = 3
Options = Mapping[str, Any] | None


def draw_store(
    url: str,
    group: str | None = None,
    month: str | None = None,
    storage_options: Options = None,
) -> Figure:
    """Draw three days in the middle of a month, of each realization, beside the GCM's month.

    Args:
        url: The store.
        group: Its group; may be left out if there is only one.
        month: "YYYY-MM"; the first whole month that was sampled if left out.
        storage_options: For the filesystem.

    Raises:
        StoreError: There is no such store or group.
        ValueError: Nothing, or nothing of that month, has been sampled.
    """
    opened = open_group(url, group, storage_options)
    there = opened.sampled()
    year, number = _month(there, month)
    inside = (there.time.dt.year == year) & (there.time.dt.month == number)
    days = there.pr.isel(realization=slice(MOST_ROWS), time=inside.values)
    first = max(days.sizes["time"] // 2 - 1, 0)
    values = days.values * SECONDS_PER_DAY
    shown = slice(first, first + _SHOWN_DAYS)
    fine = FineDays(
        rain=values[:, shown],
        mean=values.mean(axis=1),
        lat=days.lat.values,
        lon=days.lon.values,
        dates=[f"{y:04d}-{m:02d}-{d:02d}" for y, m, d in dates_of(days.time)[shown]],
        realizations=days.realization.values.tolist(),
    )
    demonstration = opened.rain.attrs.get("intended_use") == "demonstration"
    return draw_run(fine, _coarse(opened.monthly, year, number), opened.name, demonstration)


def score_store(
    url: str,
    reference: str,
    variable: str = "pr",
    group: str | None = None,
    storage_options: Options = None,
) -> Report:
    """Score a store, and interpolation of its months, against daily rain on the same cells.

    Args:
        url: The store.
        reference: Daily rain at 0.25°, NetCDF or Zarr; ``synthetic`` is the synthetic Earth's own
            days of the store's first month.
        variable: Its name there.
        group: The store's group; may be left out if there is only one.
        storage_options: For both filesystems.

    Raises:
        StoreError: There is no such store or group.
        SourceError: The reference can't be read.
        ValueError: Store and reference have no cells in common.
    """
    opened = open_group(url, group, storage_options)
    there = opened.sampled(whole=True)
    if reference == SYNTHETIC:
        truth = _synthetic(there)
    else:
        with open_daily(reference, variable, storage_options=storage_options) as source:
            truth = _reference(source, there)
    paired = sorted(set(dates_of(there.time)) & set(dates_of(truth.time)))
    if paired:
        kept = [date in set(paired) for date in dates_of(there.time)]
        there = there.isel(time=np.flatnonzero(kept))
    baseline = _interpolated(opened.monthly, there)
    return evaluate(there.pr, truth, baseline, title=f"{opened.name} against {reference}")


def _month(there: xr.Dataset, month: str | None) -> tuple[int, int]:
    """The month wanted, or the first of which day 1 to 15 have been sampled."""
    if month is not None:
        year, number = (int(part) for part in month.split("-"))
        if (year, number) not in {date[:2] for date in dates_of(there.time)}:
            raise ValueError(f"{month} is not among the months that have been sampled")
        return year, number
    dates = dates_of(there.time)
    for index, (year, number, day) in enumerate(dates):
        if day == 1 and index + 14 < len(dates):
            return year, number
    raise ValueError("no whole month has been sampled yet")


def _coarse(monthly: xr.Dataset, year: int, number: int) -> CoarseMonth:
    inside = (monthly.month.dt.year == year) & (monthly.month.dt.month == number)
    rain = monthly.observation.isel(month=inside.values).values[0] * SECONDS_PER_DAY
    bounds = monthly.gcm_lat_bnds.values, monthly.gcm_lon_bnds.values
    return CoarseMonth(rain, *bounds, name=f"{year:04d}-{number:02d}")


def _reference(source: DailySource, there: xr.Dataset) -> xr.DataArray:
    """The part of the reference on the store's cells: its days if any are shared, else all."""
    wanted = set(np.mod(np.round(there.lon.values, 3), 360).tolist())
    low, high = float(there.lat.min()) - 1e-3, float(there.lat.max()) + 1e-3
    rows = np.flatnonzero((source.grid.lat >= low) & (source.grid.lat <= high))
    lon = np.mod(np.round(source.grid.lon, 3), 360)
    columns = np.flatnonzero([value in wanted for value in lon.tolist()])
    dates = [date_of(int(day), source.calendar) for day in source.days]
    own = set(dates_of(there.time))
    shared = [k for k, d in enumerate(dates) if (d.year, d.month, d.day) in own]
    days = slice(shared[0], shared[-1] + 1) if shared else slice(0, len(dates))
    return xr.DataArray(
        source.read(days, rows, columns),
        {
            "time": xr.CFTimeIndex(dates[days]),
            "lat": source.grid.lat[rows],
            "lon": source.grid.lon[columns],
        },
        ("time", "lat", "lon"),
        attrs={"units": "mm/day"},
    )


def _synthetic(there: xr.Dataset) -> xr.DataArray:
    """What the synthetic Earth really did on the store's cells, in the store's first month."""
    year, number, _ = dates_of(there.time)[0]
    month = f"{year:04d}-{number:02d}"
    rows = np.round((90.0 - there.lat.values) * 4).astype(int)
    columns = np.round(there.lon.values * 4).astype(int) % 1440
    days = np.stack([day[np.ix_(rows, columns)] for day in synthetic_days(month)])
    time = xr.date_range(f"{month}-01", periods=len(days), calendar="noleap", use_cftime=True)
    coords = {"time": time, "lat": there.lat.values, "lon": there.lon.values}
    return xr.DataArray(days, coords, ("time", "lat", "lon"), attrs={"units": "mm/day"})


def _interpolated(monthly: xr.Dataset, there: xr.Dataset) -> xr.DataArray:
    """The months around the days in hand, interpolated to them."""
    months = [date[:2] for date in dates_of(monthly.month)]
    dates = dates_of(there.time)
    first = max(months.index(dates[0][:2]) - 1, 0)
    last = min(months.index(dates[-1][:2]) + 2, len(months))
    near = monthly.isel(month=slice(first, last))
    calendar = monthly.month.dt.calendar
    starts = [cftime.datetime(y, m, 1, calendar=calendar) for y, m in months[first:last]]
    lengths = [int(start.daysinmonth) for start in starts]
    rain = trilinear(
        near.observation.values * SECONDS_PER_DAY,
        np.concatenate([[0], np.cumsum(lengths)]),
        near.gcm_lat.values,
        near.gcm_lon.values,
        there.lat.values,
        there.lon.values,
    )
    time = xr.date_range(starts[0], periods=len(rain), calendar=calendar, use_cftime=True)
    coords = {"time": time, "lat": there.lat.values, "lon": there.lon.values}
    every = xr.DataArray(rain, coords, ("time", "lat", "lon"), attrs={"units": "mm/day"})
    wanted = set(dates)
    return every.isel(time=[k for k, date in enumerate(dates_of(every.time)) if date in wanted])
