"""Monthly rain as climate models publish it, brought into one normal form or refused.

    rain[month, lat, lon] = factor(units, days of the month) · pr,   negatives within noise → 0

Files differ in everything that is not the physics: order of rows, range of longitudes, time axis,
calendar, units, fill values, one file or many. All of that ends here. What is wrong, and would be
paid for in GPU time, ends here too, with an error that says what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.data.axes import find_axes, read_grid
from longwang_ray.data.months import NOMINAL_YEAR, YearMonth, read_months, whole_record
from longwang_ray.data.opening import expand, opened
from longwang_ray.data.plausible import plausible
from longwang_ray.data.source import (
    MonthlySource,
    SourceError,
    require_period,
    require_region,
    splice,
)
from longwang_ray.data.units import to_mm_per_day
from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid

__all__ = [
    "MonthlySource",
    "SourceError",
    "open_monthly",
    "require_period",
    "require_region",
    "splice",
]

MISSING = 1e10
"""In any unit: a fill value that nobody declared (1e20, 9.97e36, …)."""

_KEPT = (
    "source_id", "model_id", "institution_id", "institute_id", "activity_id", "project_id",
    "mip_era", "experiment_id", "variant_label", "parent_experiment_id", "parent_variant_label",
    "table_id", "frequency", "grid_label", "grid", "nominal_resolution", "tracking_id",
    "further_info_url", "creation_date", "version_id", "license", "title", "Conventions",
)  # fmt: skip


class _Piece(NamedTuple):
    """What one file holds: months in the file's order, rows and columns in normal form."""

    path: str
    rain: NDArray[np.float32]
    months: list[YearMonth]
    calendar: str
    grid: RectilinearGrid
    attributes: dict[str, str]


def open_monthly(
    path: str,
    *,
    variable: str = "pr",
    storage_options: Mapping[str, Any] | None = None,
) -> MonthlySource:
    """Read one source's monthly rain whole, in normal form.

    Args:
        path: A NetCDF file, a glob of files that together hold the record, or a Zarr store; local
            or any fsspec URL.
        variable: Its name in the file.
        storage_options: Handed to fsspec (``{"token": "anon"}``).

    Returns:
        Rain in mm/day on the model's own grid; see `MonthlySource`. A climatology's twelve months
        stand in the nominal year 2000, and its attributes say so.

    Raises:
        SourceError: Nothing there; empty, torn, no NetCDF or Zarr; no such variable; units not in
            the table; a rotated, curvilinear or unstructured grid; wrong bounds; missing or
            duplicate months; a month without any value; rain below −0.01 or above 200 mm/day.
    """
    pieces = [_read(one, variable, storage_options) for one in expand(path, storage_options)]
    first = pieces[0]
    for piece in pieces[1:]:
        _check_same_model(first, piece)
    months = [month for piece in pieces for month in piece.months]
    try:
        record, order = whole_record(first.calendar, months)
        rain = np.concatenate([piece.rain for piece in pieces])[order]
        rain, n_negative = plausible(rain, first.grid, record)
    except SourceError as error:
        raise SourceError(f"{path}: {variable}: {error}") from error
    attributes = dict(first.attributes)
    ids = [p.attributes["tracking_id"] for p in pieces if "tracking_id" in p.attributes]
    if ids:
        attributes["tracking_id"] = " ".join(ids)
    if n_negative:
        attributes["negatives_set_to_zero"] = str(n_negative)
    return MonthlySource(rain, first.grid, record, attributes)


def _read(path: str, variable: str, storage_options: Mapping[str, Any] | None) -> _Piece:
    """One file in mm/day, its rows and columns in normal form."""
    with opened(path, storage_options) as dataset:
        data = _variable(dataset, variable)
        axes = find_axes(dataset, variable)
        if axes.time is None:
            raise SourceError(
                f"{variable}{data.dims} has no time axis: which month is it? Add one"
            )
        grid, rows, columns = read_grid(dataset, axes)
        time = read_months(dataset, axes.time)
        month_dim, lat_dim, lon_dim = (c.dims[0] for c in (axes.time, axes.lat, axes.lon))
        data = _without_singles(data, {month_dim, lat_dim, lon_dim})
        if month_dim not in data.dims:
            data = data.expand_dims(month_dim)
        values = data.transpose(month_dim, lat_dim, lon_dim).values
        factor = _factor(data, _lengths(time.calendar, time.months))
        attributes = _provenance(dataset, data)
    if time.is_climatology:
        attributes["climatology"] = (
            f"the twelve months of a climatology, in the nominal year {NOMINAL_YEAR}"
            if time.months[0][0] == NOMINAL_YEAR
            else "the months of a climatology"
        )
    values = np.where(np.abs(values) < MISSING, values, np.nan)[:, rows][:, :, columns]
    rain = (values * factor[:, None, None]).astype(np.float32)
    return _Piece(path, rain, time.months, time.calendar, grid, attributes)


def _variable(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    if variable in dataset.data_vars:
        return dataset[variable]
    fields = [v for v in dataset.data_vars.values() if v.ndim >= 2 and v.dtype.kind == "f"]
    fields = [v for v in fields if v.sizes[v.dims[-1]] > 2]  # no bounds
    there = ", ".join(f"{v.name} ({v.attrs.get('units', 'no units')})" for v in fields)
    raise SourceError(f"no variable {variable!r}; there are: {there or 'none that could be rain'}")


def _without_singles(data: xr.DataArray, kept: set[Any]) -> xr.DataArray:
    """Drop axes of length one (a height, a member); a longer one is a choice we can't make."""
    for dim in set(data.dims) - kept:
        if data.sizes[dim] != 1:
            raise SourceError(
                f"{data.name} has {data.sizes[dim]} entries along {dim}: choose one and write it "
                "to a file of its own"
            )
        data = data.isel({dim: 0}, drop=True)
    return data


def _factor(data: xr.DataArray, days: NDArray[np.int64]) -> NDArray[np.float64]:
    try:
        return to_mm_per_day(data.attrs.get("units"), days)
    except SourceError as error:
        raise SourceError(f"{data.name}: {error}") from error


def _lengths(calendar: str, months: list[YearMonth]) -> NDArray[np.int64]:
    try:
        return np.array([month_record(calendar, month, 1).months[0].days for month in months])
    except ValueError as error:
        raise SourceError(f"time axis: {error}") from error


def _provenance(dataset: xr.Dataset, data: xr.DataArray) -> dict[str, str]:
    kept = {name: str(dataset.attrs[name]) for name in _KEPT if dataset.attrs.get(name)}
    kept["original_units"] = str(data.attrs.get("units"))
    return kept


def _check_same_model(first: _Piece, other: _Piece) -> None:
    """Files of one record lie on one grid, in one calendar."""
    if other.calendar != first.calendar:
        raise SourceError(
            f"{other.path}: calendar {other.calendar}, but {first.path} has {first.calendar}: "
            "files of different models?"
        )
    same = other.grid.shape == first.grid.shape and all(
        np.allclose(getattr(other.grid, axis), getattr(first.grid, axis), atol=1e-4, rtol=0)
        for axis in ("lat", "lon", "lat_bounds", "lon_bounds")
    )
    if not same:
        raise SourceError(
            f"{other.path}: grid of {other.grid.shape} cells from {other.grid.lat[0]:g}N "
            f"{other.grid.lon[0]:g}E, but {first.path} has {first.grid.shape} from "
            f"{first.grid.lat[0]:g}N {first.grid.lon[0]:g}E: files of different models?"
        )
