"""Monthly rain in one normal form, whoever made it.

`MonthlySource` is what the rest of the package knows of a climate model: mm/day on the model's own
rectilinear grid, latitudes descending, longitudes 0..360 ascending, whole calendar months of the
model's own calendar. Whether it holds what a run asks for is said here, before any work is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.calendar import Month, Record, month_record
from longwang_ray.domain.grid import RectilinearGrid, columns_in, rows_in

__all__ = ["MonthlySource", "SourceError", "require_period", "require_region", "splice"]


class SourceError(ValueError):
    """Input that is not usable: the message says what was found, where, and what to do."""


@dataclass(frozen=True, eq=False)
class MonthlySource:
    """Monthly mean rain of one (gcm, scenario, variant).

    Attributes:
        rain: Shape ``(month, lat, lon)``, float32, mm/day; NaN where the source has no value.
        grid: The model's own cells; latitudes descend, longitudes rise within 0..360.
        record: The months, in their calendar, without a gap.
        attributes: Where it comes from, as text: ``source_id``, ``tracking_id``, …
        digest: SHA-256 of rain, grid and record, and of nothing else: the same numbers from
            another file, order or unit of storage are the same source.
    """

    rain: NDArray[np.float32]
    grid: RectilinearGrid
    record: Record
    attributes: Mapping[str, str] = field(default_factory=dict)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        rain = np.ascontiguousarray(self.rain, dtype=np.float32)
        expected = (len(self.record.months), self.grid.n_lat, self.grid.n_lon)
        if rain.shape != expected:
            raise ValueError(
                f"rain has shape {rain.shape}, its record and grid ask for {expected}"
            )
        rain.flags.writeable = False
        object.__setattr__(self, "rain", rain)
        object.__setattr__(self, "digest", _digest(rain, self.grid, self.record))


def _digest(rain: NDArray[np.float32], grid: RectilinearGrid, record: Record) -> str:
    first = record.months[0]
    head = f"{record.calendar} {first.year}-{first.month} {rain.shape}"
    state = hashlib.sha256(head.encode())
    for axis in (grid.lat, grid.lon, grid.lat_bounds, grid.lon_bounds):
        state.update(axis.astype("<f8").tobytes())
    # NaN has many bit patterns and −0 equals 0: one pattern each
    canonical = np.where(np.isnan(rain), np.float32(np.nan), rain) + np.float32(0)
    state.update(canonical.astype("<f4").tobytes())
    return state.hexdigest()


def require_period(source: MonthlySource, period: tuple[str, str] | None) -> range:
    """Which months of the record a period asks for.

    Args:
        source: The source.
        period: First and last month, both included, as ``"YYYY-MM"``; None: the whole record.

    Returns:
        Indices into ``source.record.months``.

    Raises:
        SourceError: Not such a text, or a month outside the record.
    """
    record = source.record
    if period is None:
        return range(len(record.months))
    try:
        first, last = (record.index_of(month) for month in period)
    except ValueError as error:
        raise SourceError(
            f"period {period[0]} to {period[1]}: {error}; this source holds {len(record.months)} "
            "months. Without `period` all of them are taken"
        ) from error
    if last < first:
        raise SourceError(f"period {period[0]} to {period[1]} ends before it begins: swap them")
    return range(first, last + 1)


def require_region(
    source: MonthlySource,
    grid: RectilinearGrid,
    lat: tuple[float, float] | None = None,
    lon: tuple[float, float] | None = None,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Which cells of a fine grid a region asks for; the source must cover every one of them.

    Args:
        source: The source.
        grid: The fine grid that is to be filled.
        lat: Centres in [south, north), degrees; None: every row.
        lon: Centres in [west, east) eastward, across 0°E or not; None: every column.

    Returns:
        ``(start, count)`` of the rows and of the columns.

    Raises:
        SourceError: The region holds no cell, or cells that the source does not cover.
    """
    try:
        rows = rows_in(grid, *lat) if lat else (0, grid.n_lat)
        columns = columns_in(grid, *lon) if lon else (0, grid.n_lon)
    except ValueError as error:
        raise SourceError(f"region: {error}") from error
    wanted = {
        "lat": np.arange(rows[0], sum(rows)),
        "lon": np.arange(columns[0], sum(columns)) % grid.n_lon,
    }
    inside = {"lat": _rows_inside(source.grid, grid), "lon": _columns_inside(source.grid, grid)}
    for axis, given in (("lat", lat), ("lon", lon)):
        outside = int((~inside[axis][wanted[axis]]).sum())
        if outside:
            raise SourceError(
                f"region.{axis} {list(given) if given else '(the whole globe)'}: {outside} of "
                f"{len(wanted[axis])} cells lie outside the source, which covers "
                f"{_extent(source.grid)}: choose a region within"
            )
    return rows, columns


def splice(parent: MonthlySource, child: MonthlySource) -> MonthlySource:
    """The record of a scenario with its parent's before it: historical, then ssp.

    Where both have a month the child's is taken.

    Raises:
        SourceError: Another grid or calendar, or a gap between the two records.
    """
    if parent.record.calendar != child.record.calendar:
        raise SourceError(
            f"the parent's calendar is {parent.record.calendar}, the scenario's "
            f"{child.record.calendar}: they are not runs of one model"
        )
    if parent.grid != child.grid:
        raise SourceError(
            f"the parent's grid {parent.grid.shape} ({_extent(parent.grid)}) is not the "
            f"scenario's {child.grid.shape} ({_extent(child.grid)}): use one grid_label for both"
        )
    first, start = parent.record.months[0], child.record.months[0]
    kept = _ordinal(start) - _ordinal(first)
    if not 0 <= kept <= len(parent.record.months):
        raise SourceError(
            f"the parent holds {first} to {parent.record.months[-1]} and the "
            f"scenario begins {start}: months between or before are missing"
        )
    rain = np.concatenate([parent.rain[:kept], child.rain])
    record = month_record(child.record.calendar, (first.year, first.month), len(rain))
    attributes = {**child.attributes, "parent_digest": parent.digest}
    return MonthlySource(rain, child.grid, record, attributes)


def _ordinal(month: Month) -> int:
    return month.year * 12 + month.month - 1


def _extent(grid: RectilinearGrid) -> str:
    lat = f"lat {grid.lat_bounds.min():g} to {grid.lat_bounds.max():g}"
    if grid.is_global_lon:
        return f"{lat}, all longitudes"
    west, east = _arc(grid)
    return f"{lat}, lon {west:g} to {east:g}"


def _arc(grid: RectilinearGrid) -> tuple[float, float]:
    """Western and eastern end of a grid that does not go round: it begins after its widest gap."""
    west, east = grid.lon_bounds[:, 0], grid.lon_bounds[:, 1]
    begin = int(np.argmax((west - np.roll(east, 1)) % 360))
    return float(west[begin]) % 360, float(east[begin - 1]) % 360


EDGE = 1e-4
"""Degrees by which an edge may stick out: edges of float32 axes do."""


def _rows_inside(coarse: RectilinearGrid, fine: RectilinearGrid) -> NDArray[np.bool_]:
    low, high = coarse.lat_bounds.min() - EDGE, coarse.lat_bounds.max() + EDGE
    return (fine.lat_bounds.min(axis=1) >= low) & (fine.lat_bounds.max(axis=1) <= high)


def _columns_inside(coarse: RectilinearGrid, fine: RectilinearGrid) -> NDArray[np.bool_]:
    if coarse.is_global_lon:
        return np.ones(fine.n_lon, dtype=bool)
    west, east = _arc(coarse)
    width = (east - west) % 360
    begin = (fine.lon_bounds[:, 0] - west + EDGE) % 360
    return begin + np.diff(fine.lon_bounds, axis=1)[:, 0] <= width + 2 * EDGE
