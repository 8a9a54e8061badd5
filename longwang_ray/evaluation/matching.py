"""Bring two records of daily rain together: one unit, the same cells and, if they share any, days.

Days are matched by their date (year, month, day), whatever the calendars; a noleap ensemble and a
standard reference share all days but 29 February.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from longwang_ray.data.units import amount_in_mm, to_mm_per_day


def daily_rain(field: xr.DataArray) -> xr.DataArray:
    """Daily rain in the form that is compared.

    Args:
        field: ``([realization,] time, lat, lon)`` in any order; its attribute ``units`` says
            "kg m-2 s-1", "mm/day" or the like; an amount ("mm") is
            taken as a day's total.

    Returns:
        ``(realization, time, lat, lon)``, mm/day, float32; longitudes 0..360, coordinates rounded
        to 0.001°, days that are NaN throughout left out.

    Raises:
        SourceError: on units that are not known.
    """
    if "realization" not in field.dims:
        field = field.expand_dims("realization")
    rain = field.transpose("realization", "time", "lat", "lon").astype(np.float32)
    rain = rain * np.float32(_mm_per_day(field.attrs.get("units")))
    some = np.isfinite(rain.values).any(axis=(0, 2, 3))
    lon = np.mod(np.round(rain.lon.values.astype(float), 3), 360)
    lat = np.round(rain.lat.values.astype(float), 3)
    return rain.isel(time=some).assign_coords(lat=lat, lon=lon)


def _mm_per_day(units: object) -> float:
    total = amount_in_mm(units)
    return total if total is not None else float(to_mm_per_day(units, np.array([1]))[0])


def on_common_cells(
    sides: dict[str, xr.DataArray], truth: xr.DataArray
) -> tuple[dict[str, xr.DataArray], xr.DataArray]:
    """Cut all to the cells that ensemble and truth share; ValueError if there is none."""
    own = sides["ensemble"]
    lat = [value for value in own.lat.values if value in truth.lat.values]
    lon = [value for value in own.lon.values if value in truth.lon.values]
    if not (lat and lon):
        raise ValueError(
            f"no common cells: the ensemble has {_extent(own)}, the reference {_extent(truth)}; "
            "both must be on the same grid"
        )
    places = {"lat": lat, "lon": lon}
    return {name: side.sel(places) for name, side in sides.items()}, truth.sel(places)


def _extent(rain: xr.DataArray) -> str:
    lat, lon = rain.lat.values, rain.lon.values
    return f"latitudes {lat.min()}…{lat.max()}, longitudes {lon[0]}…{lon[-1]}"


def dates_of(times: xr.DataArray) -> list[tuple[int, int, int]]:
    """Year, month and day of each time stamp, in its own calendar."""
    parts = (times.dt.year, times.dt.month, times.dt.day)
    return list(zip(*(part.values.tolist() for part in parts), strict=True))


def on_common_days(
    sides: dict[str, xr.DataArray], truth: xr.DataArray
) -> tuple[dict[str, xr.DataArray], xr.DataArray, bool]:
    """Cut all to the dates that they share, and True; all as they are, and False, if none."""
    known = set(dates_of(truth.time))
    common = {date for date in dates_of(sides["ensemble"].time) if date in known}
    if not common:
        return sides, truth, False

    def kept(rain: xr.DataArray) -> xr.DataArray:
        return rain.isel(time=[k for k, date in enumerate(dates_of(rain.time)) if date in common])

    return {name: kept(side) for name, side in sides.items()}, kept(truth), True


def month_slices(truth: xr.DataArray) -> list[slice]:
    """Runs of days of one month, in the order of the days."""
    months = [date[:2] for date in dates_of(truth.time)]
    edges = [k for k in range(1, len(months)) if months[k] != months[k - 1]]
    return [slice(a, b) for a, b in zip([0, *edges], [*edges, len(months)], strict=True)]
