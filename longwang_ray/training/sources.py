"""Where training days come from: the synthetic Earth, or any daily rain on the prior's cells."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwang_ray.data.daily import open_daily
from longwang_ray.data.source import SourceError
from longwang_ray.data.synthetic import SyntheticEarth
from longwang_ray.domain.calendar import day_number
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.training.days import Box, KeptDays, digest_of
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.settings import DailyData, SyntheticData

log = logging.getLogger(__name__)

CALENDAR, FIRST_YEAR, YEAR = "noleap", 2001, 365

TOLERANCE = 1e-3
"""Degrees by which a cell's centre may miss the prior's: coordinates come in float32."""

REGRID = (
    "regrid it conservatively to the prior's cells first, for example `cdo remapcon,GRID IN OUT`"
)


def synthetic_days(settings: SyntheticData, folder: Path) -> KeptDays:
    """Sequences of the synthetic Earth, each in a year of its own.

    They start at even distances through the year; each has a seed of its own.
    """
    count, length = settings.sequences, settings.days
    apart = 1 + length // YEAR  # years; a day at least lies between two sequences
    begin = day_number(CALENDAR, FIRST_YEAR, 1)
    in_year = np.array(sequence_starts(settings))
    first = begin + in_year + (YEAR * (apart + 1)) * np.arange(count)

    def make(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        sequence = start // length
        log.info("synthetic Earth: sequence %d of %d", sequence + 1, count)
        earth = SyntheticEarth(settings.seed * 1000 + sequence)
        yield from earth.days(int(in_year[sequence]), stop - start)

    grid = era5_grid()
    place = folder / f"days-{digest_of('synthetic', settings.seed, count, length)}"
    numbers = (first[:, None] + np.arange(length)).ravel()
    pieces = np.repeat(np.arange(count), length)
    return KeptDays(grid, Box.globe(grid), numbers, CALENDAR, place, make, pieces)


def sequence_starts(settings: SyntheticData) -> list[int]:
    """Day of the year on which each sequence starts, evenly through the year."""
    return [s * YEAR // settings.sequences for s in range(settings.sequences)]


def held_out_sequences(settings: SyntheticData) -> NDArray[np.bool_]:
    """Which sequences are kept back: golden-ratio order spreads them over the seasons."""
    order = np.argsort([(s * 0.6180339887) % 1.0 for s in range(settings.sequences)])
    held = np.zeros(settings.sequences, bool)
    held[order[: settings.held_out]] = True
    return held


def daily_days(data: DailyData, folder: Path, grid: RectilinearGrid) -> KeptDays:
    """The days of a data set; the source stays open for as long as they are used.

    Raises:
        TrainingError: if it cannot be opened, or its cells are not those of the grid.
    """
    try:
        source = open_daily(
            data.path,
            data.variable,
            units=data.units,
            stamp=data.stamp,
            storage_options=data.storage_options,
        )
        box, rows, columns = cells_of(source.grid, grid)
    except SourceError as error:
        raise TrainingError(f"data: {error}") from error
    except TrainingError as error:
        source.close()
        raise TrainingError(f"data: {data.path}: {error}") from None

    def make(first: int, stop: int) -> NDArray[np.float32]:
        return source.read(slice(first, stop), rows, columns)

    options = (data.variable, data.units, data.stamp, grid.shape)
    place = folder / f"days-{digest_of(data.path, _version(data.path), *options)}"
    return KeptDays(grid, box, source.days, source.calendar, place, make, source.pieces())


def _version(path: str) -> object:
    """Tells a local file from another one that took its place."""
    try:
        found = os.stat(path.removeprefix("file://"))
    except OSError:
        return None  # remote: its name must do
    return found.st_size, found.st_mtime_ns


def cells_of(
    source: RectilinearGrid, grid: RectilinearGrid
) -> tuple[Box, NDArray[np.int64], NDArray[np.int64]]:
    """The box of the prior's grid that a source's cells are.

    A row beyond the last of the grid (−90° in ERA5's files) is left out.

    Returns:
        The box; and the source's rows and columns in its order.

    Raises:
        TrainingError: if they are no cells of the grid, or do not lie side by side.
    """
    step = float(grid.lat[0] - grid.lat[1])
    rows = _index("latitudes", grid.lat[0] - source.lat, source.lat, step)
    if (np.diff(rows) != 1).any():
        raise TrainingError("its latitudes have a gap between them: give one box without gaps")
    inside = np.flatnonzero(rows < grid.n_lat)
    columns = _index("longitudes", source.lon, source.lon, step) % grid.n_lon
    if not len(inside):
        raise TrainingError("all its rows lie beyond the prior's last one")
    begin = _west(columns, grid.n_lon)
    columns, order = np.roll(columns, -begin), np.roll(np.arange(len(columns)), -begin)
    wraps = len(columns) == grid.n_lon
    box = Box(int(rows[0]), len(inside), int(columns[0]), len(columns), wraps)
    return box, inside, order


def _index(name: str, from_first: NDArray, centres: NDArray, step: float) -> NDArray[np.int64]:
    """Number of each centre on the prior's axis.

    Raises:
        TrainingError: if centres lie between the prior's, or are further apart than they.
    """
    apart = np.abs(np.diff(centres))
    gap = float(np.median(apart))
    if abs(gap - step) > TOLERANCE:
        raise TrainingError(
            f"its {name} are {gap:g}° apart, the prior's cells {step:g}°: {REGRID}"
        )
    index = np.round(from_first / step)
    off = (from_first - index * step)[np.argmax(np.abs(from_first - index * step))]
    if abs(off) > TOLERANCE:
        raise TrainingError(
            f"its {name} ({centres[0]:g}, {centres[1]:g}, …) lie {abs(off):g}° beside the "
            f"prior's, which are multiples of {step:g}°: {REGRID}"
        )
    return index.astype(np.int64)


def _west(columns: NDArray[np.int64], n_lon: int) -> int:
    """Where columns begin: after the only gap round the circle."""
    gaps = np.flatnonzero(np.diff(columns, append=columns[0] + n_lon) != 1)
    if len(gaps) > 1:
        raise TrainingError(
            f"its longitudes have {len(gaps) - 1} gaps between them: give one box without gaps"
        )
    return (int(gaps[0]) + 1) % len(columns) if len(gaps) else 0
