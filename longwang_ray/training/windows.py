"""Windows of daily rain, drawn on the fly with the context of their place and season.

A window is some consecutive days of some cells, anywhere in the box that the days have, across 0°E
too. It stands on whole latent cells of the globe, and touches neither a day nor a column that is
not its own: one draw of a whole number below the count of all windows says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.calendar import year_fraction
from longwang_ray.prior.context import window_context
from longwang_ray.training.days import Days
from longwang_ray.training.errors import TrainingError

Window = tuple[int, int, int]
TRIES = 100


class Place(NamedTuple):
    """Where a window stands.

    Attributes:
        day: Index of its first day.
        row: First row on the prior's grid.
        column: First column; the window may go on across 0°E.
        context: What the denoiser is told, ``(5,)``.
    """

    day: int
    row: int
    column: int
    context: NDArray[np.float32]


class Starts(NamedTuple):
    """Where windows of one size may start in one part."""

    days: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many windows there are."""
        return len(self.days) * len(self.rows) * len(self.columns)


@dataclass(frozen=True, eq=False)
class Part:
    """Days and columns whose windows may be drawn.

    Attributes:
        days: Which days, ``(day,)``.
        columns: Which columns of the prior's grid, ``(n_lon,)``.
    """

    days: NDArray[np.bool_]
    columns: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Windows:
    """A supply of windows.

    Attributes:
        days: The rain.
        parts: Which days and columns windows may touch; each window lies in one part.
        row_step: Windows start at rows and columns that are multiples of this, so that latent
            cells are those of the lattice.
    """

    days: Days
    parts: tuple[Part, ...]
    row_step: int = 1
    _known: dict[Window, list[Starts]] = field(default_factory=dict, repr=False)

    def count(self, window: Window) -> int:
        """How many windows there are.

        Raises:
            TrainingError: if there is none; says how many days and cells there are.
        """
        return sum(starts.size for starts in self._starts(window))

    def place(self, generator: np.random.Generator, window: Window) -> Place:
        """Where the next window stands; all places are equally likely.

        Raises:
            TrainingError: As `count`.
        """
        number = int(generator.integers(self.count(window)))
        for starts in self._starts(window):
            if number < starts.size:
                return self._place(starts, number, window)
            number -= starts.size
        raise AssertionError("a window's number is below their count")

    def one(
        self, generator: np.random.Generator, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A random window and its context.

        Args:
            generator: Where it is drawn from.
            window: Days, rows and columns.

        Returns:
            Rain ``(days, rows, columns)``, mm/day; context ``(5,)``.

        Raises:
            TrainingError: As `count`; or if a hundred windows in a row have missing values.
        """
        for _ in range(TRIES):
            place = self.place(generator, window)
            rain = self.read(place, window)
            if not np.isnan(rain).any():
                return rain, place.context
        raise self.too_few_values(rain, window)

    def draw(
        self, generator: np.random.Generator, count: int, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Several windows: rain ``(count, 1, days, rows, columns)``, contexts ``(count, 5)``."""
        pairs = [self.one(generator, window) for _ in range(count)]
        return np.stack([r for r, _ in pairs])[:, None], np.stack([c for _, c in pairs])

    def read(self, place: Place, window: Window) -> NDArray[np.float32]:
        """The rain of a window, ``(days, rows, columns)``, maybe with NaN."""
        days, rows, columns = window
        top = place.row - self.days.box.first_row
        pieces = self._columns_read(place.column, columns)
        rain = np.empty(window, np.float32)
        for day in range(days):
            strip = self.days.field(place.day + day)[top : top + rows]
            for piece, into in pieces:
                rain[day, :, into] = strip[:, piece]
        return rain

    def _columns_read(self, first: int, count: int) -> list[tuple[slice, slice]]:
        """Columns of the box that a window reads, and where they go: two pieces round the end."""
        n_lon, box = self.days.grid.n_lon, self.days.box
        begin = (first - box.first_column) % n_lon
        split = min(count, box.n_columns - begin)
        pieces = [(slice(begin, begin + split), slice(0, split))]
        if split < count:
            pieces.append((slice(0, count - split), slice(split, count)))
        return pieces

    def too_few_values(self, last: NDArray[np.float32], window: Window) -> TrainingError:
        """What to say when every window that is drawn has missing values."""
        missing = np.isnan(last)
        days = int(missing.any(axis=(1, 2)).sum())
        return TrainingError(
            f"{TRIES} windows of {_said(window)} in a row have missing values; the last one in "
            f"{100 * missing.mean():.0f} % of its cells, on {days} of its {window[0]} days: use a "
            "smaller window, leave the days out (data.skip), or give data without gaps"
        )

    def _place(self, starts: Starts, number: int, window: Window) -> Place:
        shape = [len(axis) for axis in starts]
        d, i, j = (
            int(axis[k]) for axis, k in zip(starts, np.unravel_index(number, shape), strict=True)
        )
        days, rows, columns = window
        grid = self.days.grid
        season = year_fraction(self.days.numbers[d] + days / 2, self.days.calendar)
        lat = grid.lat[i : i + rows].mean()
        lon = grid.lon[j] + (columns - 1) / 2 * (360.0 / grid.n_lon)
        return Place(d, i, j, window_context(lat, lon, season))

    def _starts(self, window: Window) -> list[Starts]:
        """Where windows of this size may start; found once, the same whoever finds it."""
        if window not in self._known:
            found = [self._starts_in(part, window) for part in self.parts]
            if not any(starts.size for starts in found):
                raise self._no_window(window)
            self._known[window] = found
        return self._known[window]

    def _starts_in(self, part: Part, window: Window) -> Starts:
        days, rows, columns = window
        box, step = self.days.box, self.row_step
        first = -(-box.first_row // step) * step
        return Starts(
            np.flatnonzero(_run_lengths(self.days.numbers, part.days) >= days),
            np.arange(first, box.first_row + box.n_rows - rows + 1, step),
            _column_starts(part.columns, columns, step),
        )

    def _no_window(self, window: Window) -> TrainingError:
        box = self.days.box
        found = "; ".join(self._extent(part) for part in self.parts) or "no days at all"
        return TrainingError(
            f"no window of {_said(window)} fits: there are {found}, of a box of {box.n_rows} rows "
            f"and {box.n_columns} columns, and windows start at multiples of {self.row_step}: "
            "choose a smaller window, longer periods or a larger box"
        )

    def _extent(self, part: Part) -> str:
        longest = int(_run_lengths(self.days.numbers, part.days).max(initial=0))
        return (
            f"{int(part.days.sum())} days, at most {longest} in a row, and "
            f"{longest_arc(part.columns)} columns side by side"
        )


def _run_lengths(numbers: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many chosen days follow each other from each day on; 0 where it isn't chosen."""
    last = np.append(np.diff(numbers) != 1, True) | ~chosen | ~np.append(chosen[1:], False)
    ends = np.flatnonzero(last)
    index = np.arange(len(numbers))
    length = ends[np.searchsorted(ends, index)] - index + 1 if len(numbers) else index
    return np.where(chosen, length, 0)


def _column_starts(allowed: NDArray[np.bool_], columns: int, step: int) -> NDArray[np.int64]:
    """Multiples of the step from which so many columns are allowed, round the circle."""
    n_lon = len(allowed)
    starts = np.arange(0, n_lon, step)
    if columns > n_lon:
        return starts[:0]
    inside = np.concatenate([[0], np.cumsum(np.tile(allowed, 2))])
    return starts[inside[starts + columns] - inside[starts] == columns]


def longest_arc(allowed: NDArray[np.bool_]) -> int:
    """Most columns side by side, round the circle."""
    if allowed.all():
        return len(allowed)
    breaks = np.flatnonzero(~np.tile(allowed, 2))
    return int(np.diff(breaks).max()) - 1


def _said(window: Window) -> str:
    days, rows, columns = window
    return f"{days} days × {rows} × {columns} cells"
