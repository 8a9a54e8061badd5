"""Which of a file's dimensions are latitude, longitude and time, and the grid they make.

Rectilinear grids only: a latitude for each row and a longitude for each column, at any spacing
(regular, Gaussian, regional). The published bounds of the cells are used where they are sane: they
hold the centres and follow each other. Without any, edges lie midway between centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.data.source import SourceError
from longwang_ray.domain.grid import RectilinearGrid

__all__ = ["Axes", "find_axes", "read_grid"]

Floats = NDArray[np.float64]
TOLERANCE = 2e-3
"""Degrees by which bounds may miss a centre or each other: axes come in float32, or rounded."""

_LAT_NAMES = {"lat", "latitude", "nav_lat"}
_LON_NAMES = {"lon", "longitude", "nav_lon"}
_TIME_NAMES = {"time", "t", "month", "months"}
REGRID = (
    "choose the model's output on a rectilinear grid (CMIP6: another grid_label, gr instead of "
    "gn), or regrid it conservatively yourself, for example `cdo remapcon,r360x180 IN OUT`"
)


@dataclass(frozen=True)
class Axes:
    """The coordinates of one variable; `time` is None where it has none. Each is 1-D."""

    time: xr.DataArray | None
    lat: xr.DataArray
    lon: xr.DataArray


class GridOrder(NamedTuple):
    """A normal-form grid, and which of the file's rows and columns it takes, in which order."""

    grid: RectilinearGrid
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def find_axes(dataset: xr.Dataset, variable: str) -> Axes:
    """Tell a variable's axes by what CF says of them: standard names, units, then names.

    Raises:
        SourceError: A rotated, curvilinear or unstructured grid, or no such axis at all.
    """
    data = dataset[variable]
    found = {role: _coordinate(dataset, data, role) for role in ("time", "lat", "lon")}
    lat, lon = found["lat"], found["lon"]
    if lat is None or lon is None or lat.dims == lon.dims:
        raise SourceError(_why_not_rectilinear(dataset, data))
    return Axes(found["time"], lat, lon)


def is_role(coordinate: xr.DataArray, role: str) -> bool:
    """Whether a coordinate is time, lat or lon."""
    name = str(coordinate.name).lower()
    standard = str(coordinate.attrs.get("standard_name", "")).lower()
    units = str(coordinate.attrs.get("units", "")).lower()
    if role == "time":
        dated = " since " in f"{units} " or units.startswith("day as ")
        return standard == "time" or dated or name in _TIME_NAMES or name.startswith("time_")
    full, names, compass = (
        ("latitude", _LAT_NAMES, ("degrees_n", "degree_n", "degreesn", "degreen"))
        if role == "lat"
        else ("longitude", _LON_NAMES, ("degrees_e", "degree_e", "degreese", "degreee"))
    )
    if standard:
        return standard == full
    return units.startswith(compass) or name in names


def _coordinate(dataset: xr.Dataset, data: xr.DataArray, role: str) -> xr.DataArray | None:
    """The 1-D coordinate of one of the variable's dimensions that has this role."""
    for dim in data.dims:
        own = [dataset[dim]] if dim in dataset.variables else []
        others = [dataset[n] for n in dataset.variables if dataset[n].dims == (dim,) and n != dim]
        for coordinate in own + others:
            if coordinate.dims == (dim,) and is_role(coordinate, role):
                return coordinate
    if role == "time":  # a month cut out of its file keeps its time as a scalar
        for name in dataset.variables:
            if dataset[name].ndim == 0 and is_role(dataset[name], role):
                return dataset[name].expand_dims("time")
    return None


def _why_not_rectilinear(dataset: xr.Dataset, data: xr.DataArray) -> str:
    """Name the kind of grid that a variable without two axes of its own is on."""
    everything = [dataset[name] for name in dataset.variables]
    kinds = {v.attrs.get("grid_mapping_name") for v in everything}
    standards = {v.attrs.get("standard_name") for v in everything}
    places = [v for v in everything if is_role(v, "lat") or is_role(v, "lon")]
    dims = f"{data.name}({', '.join(map(str, data.dims))})"
    if "rotated_latitude_longitude" in kinds or "grid_latitude" in standards:
        return (
            f"rotated-pole grid: {dims} is on rotated axes, lat and lon vary along both; {REGRID}"
        )
    if {"rlat", "rlon"} & set(data.dims):
        return (
            f"rotated-pole grid: {dims} is on rotated axes, lat and lon vary along both; {REGRID}"
        )
    if plane := [v for v in places if v.ndim == 2]:
        names = " and ".join(f"{v.name}({', '.join(map(str, v.dims))})" for v in plane)
        return f"curvilinear grid: {dims} has 2-D coordinates {names}; {REGRID}"
    along = [v for v in places if v.ndim == 1 and set(v.dims) <= set(data.dims)]
    if len(along) > 1:
        return f"unstructured grid: {dims} has lat and lon along one dimension; {REGRID}"
    there = ", ".join(f"{v.name}({', '.join(map(str, v.dims))})" for v in everything if v.ndim)
    return (
        f"no latitude and longitude axes found for {dims}; in the file are {there}: give them "
        "standard_name latitude and longitude"
    )


def read_grid(dataset: xr.Dataset, axes: Axes) -> GridOrder:
    """The grid in normal form: latitudes descending, longitudes 0..360 ascending, edges that fit.

    A column that repeats the first one a circle later is left out.

    Raises:
        SourceError: Axes that are not finite, out of range or repeat themselves; wrong bounds.
    """
    lat, lon = _values(axes.lat), _values(axes.lon)
    if np.abs(lat).max() > 90 + TOLERANCE:
        worst = lat[np.argmax(np.abs(lat))]
        raise SourceError(f"{axes.lat.name} holds {worst:g}: a latitude lies within -90..90")
    rows = np.argsort(-lat, kind="stable")
    lat = np.clip(lat[rows], -90, 90)
    _check_distinct(str(axes.lat.name), lat)
    columns, lon = _once_round(lon)
    _check_distinct(str(axes.lon.name), lon)

    lat_bounds = _read_bounds(dataset, axes.lat)
    lon_bounds = _read_bounds(dataset, axes.lon)
    if lat_bounds is None:
        lat_bounds = _inferred(str(axes.lat.name), lat, "lat")
    else:
        # a cell round the pole may be written as if it went on beyond it
        southward = np.clip(np.sort(lat_bounds[rows], axis=1)[:, ::-1], -90, 90)
        lat_bounds = _sane(axes.lat, lat, southward)
        lat_bounds = _snapped(lat_bounds, {90.0, -90.0})
    if lon_bounds is None:
        lon_bounds = _inferred(str(axes.lon.name), lon, "lon")
    else:
        lon_bounds = _sane(axes.lon, lon, _beside(lon, lon_bounds[columns]))
        lon_bounds = _snapped(lon_bounds, {lon_bounds[0, 0] + 360})
    turn = np.floor((lon + 1e-6) / 360) * 360
    lon, lon_bounds = lon - turn, lon_bounds - turn[:, None]
    east = np.argsort(lon, kind="stable")
    try:
        grid = RectilinearGrid(lat, lon[east], lat_bounds, lon_bounds[east])
    except ValueError as error:
        raise SourceError(f"{axes.lat.name}, {axes.lon.name}: {error}") from error
    return GridOrder(grid, rows, columns[east])


def _values(coordinate: xr.DataArray) -> Floats:
    values = np.asarray(coordinate.values, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise SourceError(
            f"{coordinate.name} holds {bad} values that are not numbers: mend the axis"
        )
    return values


def _check_distinct(name: str, values: Floats) -> None:
    step = np.abs(np.diff(values))
    if (step < 1e-6).any():
        at = values[int(np.argmin(step))]
        raise SourceError(f"{name} holds {at:g} twice: each row or column must be there once")


def _once_round(lon: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Columns eastward from the end of the widest gap, without a cyclic one; longitudes ascend."""
    span = np.abs(np.diff(np.sort(lon)[[0, -1]]))[0] if len(lon) > 1 else 0.0
    keep = np.arange(len(lon))
    if abs(span - 360) < TOLERANCE:
        keep = np.delete(keep, int(np.argmax(lon)))
    east = np.mod(lon[keep], 360)
    east = np.where(east > 360 - 1e-6, 0.0, east)
    order = np.argsort(east, kind="stable")
    east, keep = east[order], keep[order]
    gaps = np.diff(np.concatenate([east[-1:] - 360, east]))
    begin = 0 if gaps[0] >= gaps.max() - TOLERANCE else int(np.argmax(gaps))
    east = np.concatenate([east[begin:], east[:begin] + 360])
    return np.roll(keep, -begin), east


def _read_bounds(dataset: xr.Dataset, coordinate: xr.DataArray) -> Floats | None:
    """The bounds variable of an axis as it stands in the file, or None where there is none."""
    name = str(coordinate.name)
    declared = coordinate.attrs.get("bounds")
    for candidate in (declared, f"{name}_bnds", f"{name}_bounds", f"bounds_{name}"):
        if candidate in dataset.variables:
            stored = dataset[candidate]
            # stores joined from many files repeat the bounds for every month
            repeated = [d for d in stored.dims[:-1] if d != coordinate.dims[0]]
            bounds = np.asarray(stored.isel(dict.fromkeys(repeated, 0)).values, dtype=np.float64)
            if bounds.shape != (coordinate.size, 2):
                raise SourceError(
                    f"{candidate} has shape {bounds.shape}, expected {(coordinate.size, 2)}: "
                    f"mend it, or leave it out (`ncks -x -v {candidate} IN OUT`)"
                )
            return None if np.isnan(bounds).all() else bounds
    return None


def _inferred(name: str, centres: Floats, axis: str) -> Floats:
    """Edges midway between centres, the outermost at the poles or closing the circle."""
    if len(centres) < 2:
        raise SourceError(
            f"{name} has one value and no bounds: its cell's size is unknown, add bounds"
        )
    if axis == "lat":
        return np.array(RectilinearGrid.from_centres(centres, [0.0, 180.0]).lat_bounds)
    return np.array(RectilinearGrid.from_centres([45.0, -45.0], centres).lon_bounds)


def _beside(lon: Floats, bounds: Floats) -> Floats:
    """West and east edge of each column, by whole turns next to its centre."""
    west, east = np.sort(bounds, axis=1).T
    over = east - west > 180  # (359.4, 0.6) is a cell across 0°E, unless it is the whole circle
    over &= len(lon) > 1
    west, east = np.where(over, east - 360, west), np.where(over, west, east)
    turn = 360 * np.round((lon - (west + east) / 2) / 360)
    return np.stack([west + turn, east + turn], axis=1)


def _sane(coordinate: xr.DataArray, centres: Floats, bounds: Floats) -> Floats:
    """Bounds that hold their centres and follow each other; refuses others with the numbers."""
    name = coordinate.name
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    advice = f"mend the bounds of {name}, or leave them out of the file to have them inferred"
    away = np.maximum(low - centres, centres - high)
    if not (away <= TOLERANCE).all():  # written so that NaN fails too
        at = int(np.argmax(np.where(np.isnan(away), np.inf, away)))
        raise SourceError(
            f"the bounds of {name} at {centres[at]:g} are {low[at]:g} to {high[at]:g}, which does "
            f"not hold it: {advice}"
        )
    if (high - low < 1e-6).any():
        at = int(np.argmin(high - low))
        raise SourceError(
            f"the bounds of {name} at {centres[at]:g} are both {low[at]:g}: {advice}"
        )
    if (turn := high.max() - low.min()) > 360 + TOLERANCE:
        raise SourceError(f"the bounds of {name} go {turn:g}° round the circle: {advice}")
    miss = np.abs(bounds[1:, 0] - bounds[:-1, 1])
    if miss.max(initial=0) > TOLERANCE:
        at = int(np.argmax(miss))
        raise SourceError(
            f"the cells of {name} at {centres[at]:g} and {centres[at + 1]:g} do not follow each "
            f"other: their bounds are {low[at]:g} to {high[at]:g} and {low[at + 1]:g} to "
            f"{high[at + 1]:g}: {advice}"
        )
    return bounds


def _snapped(bounds: Floats, ends: set[float]) -> Floats:
    """The same cells with every inner edge shared exactly, and an outer one put on its end."""
    edges = np.append(bounds[:, 0], bounds[-1, 1])
    for place in (0, -1):
        for end in ends:
            if abs(edges[place] - end) <= TOLERANCE:
                edges[place] = end
    return np.stack([edges[:-1], edges[1:]], axis=1)
