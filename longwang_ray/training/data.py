"""Training data: which days and cells a prior learns from, and which it never sees.

Days come from the synthetic Earth or from any daily precipitation on the prior's grid, the whole
globe or a box of it. Held-out days, and a held-out band of longitudes at all times, are touched by
no training window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.calendar import date_of, day_number
from longwang_ray.domain.grid import columns_in, era5_grid
from longwang_ray.training.days import DayBlock, Days, DayStack, KeptDays
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.settings import DailyData, SyntheticData
from longwang_ray.training.sources import daily_days, held_out_sequences, synthetic_days
from longwang_ray.training.windows import Part, Windows

SAMPLED_DAYS = 256
"""Days among which the wettest cell is looked for: evenly through the training days."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a training learns from and what judges it.

    Attributes:
        days: All days of the source.
        train: Windows to learn from.
        held_out: Windows of the held-out days, and of the held-out band on training days.
        outside: Columns of the prior's grid to learn from, ``(n_lon,)``.
        band: Columns that are held out at all times.
    """

    days: KeptDays
    train: Windows
    held_out: Windows
    outside: Bools
    band: Bools

    def wettest(self) -> float:
        """The wettest cell of at most 256 training days, mm/day: it sets the transform's range.

        Raises:
            TrainingError: if no cell of those days has a value above zero.
        """
        days = np.flatnonzero(self.train.parts[0].days)
        sample = days[np.linspace(0, len(days) - 1, min(SAMPLED_DAYS, len(days))).astype(int)]
        self.days.keep(sample.tolist())
        columns = self._in_box(self.outside)
        wettest = max(float(_highest(self.days.field(int(day))[:, columns])) for day in sample)
        if not wettest > 0:
            raise TrainingError(
                f"none of {len(sample)} training days has a value above 0 mm/day; is this the "
                "right variable, and are its days there?"
            )
        return wettest

    def blocks(self) -> list[DayBlock]:
        """Runs of held-out days over the cells outside the band; and the band at all times."""
        held = self.held_out.parts[0].days
        found = self._blocks(held, self.outside)
        if self.band.any():
            found += self._blocks(held | self.train.parts[0].days, self.band)
        return found

    def _blocks(self, days: Bools, columns: Bools) -> list[DayBlock]:
        arcs = _runs(self._in_box(columns))
        return [self._block(run, arc) for run in _day_runs(self.days, days) for arc in arcs]

    def _block(self, run: NDArray[np.int64], arc: NDArray[np.int64]) -> DayBlock:
        days, box = self.days, self.days.box
        stack = DayStack(days, int(run[0]), arc, (len(run), box.n_rows, len(arc)))
        corner = box.first_row, (box.first_column + int(arc[0])) % days.grid.n_lon
        return DayBlock(stack, int(days.numbers[run[0]]), days.calendar, corner)

    def _in_box(self, columns: Bools) -> NDArray[np.int64]:
        """Columns of the prior's grid as columns of the box, west to east."""
        box = self.days.box
        return np.flatnonzero(np.roll(columns, -box.first_column)[: box.n_columns])


def open_training_data(
    data: SyntheticData | DailyData, folder: Path, row_step: int, grid_step: float = 0.25
) -> TrainingData:
    """Open the days of a training; nothing of them is read or made yet.

    Args:
        data: Which days.
        folder: Where they are kept on this machine.
        row_step: Fine cells a latent cell, the step of window starts.
        grid_step: Spacing of the prior's grid, degrees.

    Raises:
        TrainingError: if the source cannot be opened, its cells are not those of the prior's
            grid, or it has no days or cells where it is asked for some.
    """
    if isinstance(data, SyntheticData):
        days = synthetic_days(data, folder)
        held = np.repeat(held_out_sequences(data), data.days)
        return _split(days, ~held, held, np.zeros(days.grid.n_lon, bool), row_step)
    days = daily_days(data, folder, era5_grid(grid_step))
    skip = _chosen(days, ((day, day) for day in data.skip))
    train, held = (_chosen(days, periods) & ~skip for periods in (data.train, data.held_out))
    for name, found in (("train", train), ("held_out", held)):
        if not found.any():
            raise TrainingError(
                f"data.{name}: {data.path} has no day in these periods; it has {len(days.numbers)}"
                f", {_date(days, 0)} … {_date(days, -1)}"
            )
    return _split(days, train, held, _band(days, data.held_out_lon), row_step)


def _split(days: KeptDays, train: Bools, held: Bools, band: Bools, row_step: int) -> TrainingData:
    box = np.zeros(days.grid.n_lon, bool)
    box[(days.box.first_column + np.arange(days.box.n_columns)) % len(box)] = True
    outside = box & ~band
    parts = [Part(held, box)] + [Part(train, band)] * bool(band.any())
    learn = Windows(days, (Part(train, outside),), row_step)
    return TrainingData(days, learn, Windows(days, tuple(parts), row_step), outside, band)


def _band(days: Days, meridians: tuple[float, float] | None) -> Bools:
    """Columns of the box between two meridians."""
    box, n_lon = days.box, days.grid.n_lon
    band = np.zeros(n_lon, bool)
    if meridians is None:
        return band
    start, count = columns_in(days.grid, *meridians)
    columns = (start + np.arange(count)) % n_lon
    band[columns[(columns - box.first_column) % n_lon < box.n_columns]] = True
    if not 0 < band.sum() < box.n_columns:
        west, east = (
            days.grid.lon[(box.first_column + k) % n_lon] for k in (0, box.n_columns - 1)
        )
        raise TrainingError(
            f"data.held_out_lon {list(meridians)} holds {int(band.sum())} of the "
            f"{box.n_columns} columns, {west:g} … {east:g}°E: hold out some of them and keep some"
        )
    return band


def _chosen(days: Days, periods: Iterable[tuple[str, str]]) -> Bools:
    """Which days lie in one of the periods, both ends included."""
    chosen = np.zeros(len(days.numbers), bool)
    for first, last in periods:
        low, high = (_number(days, day) for day in (first, last))
        chosen |= (days.numbers >= low) & (days.numbers <= high)
    return chosen


def _number(days: Days, day: str) -> int:
    """A day's number in the source's own calendar."""
    year, month, of_month = (int(part) for part in day.split("-"))
    try:
        return day_number(days.calendar, year, month, of_month)
    except ValueError as error:
        raise TrainingError(
            f"data: {day} is no day of the source's calendar, {days.calendar} ({error})"
        ) from error


def _day_runs(days: Days, chosen: Bools) -> list[NDArray[np.int64]]:
    """Chosen days that follow each other, by index."""
    index = np.flatnonzero(chosen)
    return np.split(index, np.flatnonzero(np.diff(days.numbers[index]) != 1) + 1)


def _runs(index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Whole numbers that follow each other."""
    return np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)


def _highest(rain: NDArray[np.float16]) -> float:
    """The highest value that is there, 0 where there is none."""
    return float(np.nan_to_num(rain, nan=0.0).max(initial=0.0))


def _date(days: Days, index: int) -> str:
    return str(date_of(int(days.numbers[index]), days.calendar))[:10]
