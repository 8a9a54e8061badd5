"""What an assessment looks at: regions and runs of days that a prior has not seen.

A `View` is one region over some consecutive days. It lies wholly inside the days that were kept
back, together with the margin by which its windows stick out of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from longwang_ray.data.synthetic import CALENDAR, synthetic_days
from longwang_ray.domain.calendar import date_of, month_record
from longwang_ray.domain.grid import RectilinearGrid, columns_in, rows_in
from longwang_ray.prior.bundle import Prior
from longwang_ray.training.data import open_training_data
from longwang_ray.training.days import DayBlock
from longwang_ray.training.settings import SyntheticData, TrainConfig

Array = NDArray[np.floating]
Parts = Mapping[str, Sequence[DayBlock]]

log = logging.getLogger(__name__)
SEASONS = ("2001-01", "2001-07")
SEEDS = (501, 502)
"""Of held-out synthetic months; training has seeds from 1000 on, the quickstart's month 7."""

DAYS, BAND = "held-out days", "held-out band"
LONGEST = 31
"""Days of a view: a longer run is cut."""

MOST_RUNS = 4
"""Views of one region, spread evenly over all days that were kept back."""

WIDEST = 32.0
MOST_BELTS = 3


@dataclass(frozen=True)
class Region:
    """A place to look at: cell centres in ``[low, high)``, longitude across 0°E or not."""

    name: str
    lat: tuple[float, float]
    lon: tuple[float, float]


REGIONS = (
    Region("storm track", (33, 65), (340, 12)),
    Region("tropical ocean", (-16, 16), (140, 172)),
    Region("subtropical land", (8, 40), (0, 32)),
)
"""Of the globe."""


@dataclass(frozen=True)
class View:
    """One region over some consecutive days, of one or several series of the truth.

    Attributes:
        name: The region's.
        rows: Fine rows of the globe, ``[first, stop)``.
        columns: Fine columns, ``(first, count)``; may pass 0°E.
        days: Day numbers, ``[first, stop)``.
        blocks: Where the truth is: all hold the same days of the same cells.
        grid: The prior's, of the globe.
    """

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    days: tuple[int, int]
    blocks: tuple[DayBlock, ...]
    grid: RectilinearGrid

    @property
    def calendar(self) -> str:
        """In which the days count."""
        return self.blocks[0].calendar

    @property
    def lat(self) -> Array:
        """Cell centres, degrees north."""
        return self.grid.lat[slice(*self.rows)]

    @property
    def lon(self) -> Array:
        """Cell centres, degrees east, across 0°E or not."""
        first, count = self.columns
        return self.grid.lon[np.arange(first, first + count) % self.grid.n_lon]

    @property
    def period(self) -> tuple[str, str]:
        """First and last date, ``YYYY-MM-DD``."""
        first, last = (date_of(d, self.calendar) for d in (self.days[0], self.days[1] - 1))
        return first.strftime("%Y-%m-%d"), last.strftime("%Y-%m-%d")

    def margins(self, cells: tuple[int, int], step: tuple[int, int]) -> NDArray[np.int64]:
        """How far the truth goes on to the north, south, west and east of the region.

        Args:
            cells: Rows and columns that are wished.
            step: What they must be a multiple of.
        """
        (top, west), (_, n_rows, n_columns) = self.blocks[0].corner, self.blocks[0].rain.shape
        left = (self.columns[0] - west) % self.grid.n_lon
        room = [
            self.rows[0] - top,
            top + n_rows - self.rows[1],
            left,
            n_columns - left - self.columns[1],
        ]
        if n_columns == self.grid.n_lon:
            room[2:] = [(self.grid.n_lon - self.columns[1]) // 2] * 2
        wished, whole = np.repeat(cells, 2), np.repeat(step, 2)
        return np.minimum(wished, room) // whole * whole

    def read(self, margins: Sequence[int] | NDArray[np.int64] = (0, 0, 0, 0)) -> Array:
        """The truth, ``(series, day, lat, lon)`` float32, with its margins."""
        north, south, west, east = (int(m) for m in margins)
        return np.stack([self._of(block, north, south, west, east) for block in self.blocks])

    def _of(self, block: DayBlock, north: int, south: int, west: int, east: int) -> Array:
        days = slice(self.days[0] - block.first_day, self.days[1] - block.first_day)
        rows = slice(
            self.rows[0] - north - block.corner[0], self.rows[1] + south - block.corner[0]
        )
        across = np.arange(-west, self.columns[1] + east) + self.columns[0] - block.corner[1]
        return np.asarray(block.rain[days, rows][..., across % self.grid.n_lon], dtype=np.float32)


def held_out_of(config: TrainConfig) -> Parts:
    """What a training keeps back: days of its box, and its band of longitudes at all times.

    Raises:
        TrainingError, SourceError: if the data cannot be opened.
    """
    if isinstance(config.data, SyntheticData):
        return {DAYS: synthetic_held_out()}
    rows = config.autoencoder.compression[1]
    data = open_training_data(config.data, config.days_folder, rows)
    parts: dict[str, list[DayBlock]] = {DAYS: [], BAND: []}
    for block in data.blocks():
        parts[BAND if data.band[block.corner[1]] else DAYS].append(block)
    return {name: blocks for name, blocks in parts.items() if blocks}


def synthetic_held_out(
    months: Iterable[str] = SEASONS, seeds: Iterable[int] = SEEDS
) -> list[DayBlock]:
    """Months of the synthetic Earth that no training has seen, kept as float16.

    Args:
        months: ``"YYYY-MM"``, in the calendar without leap days.
        seeds: Of the synthetic Earth; one whole month each.
    """
    return [
        DayBlock(
            np.stack([d.astype(np.float16) for d in synthetic_days(month, seed)]),
            month_record(CALENDAR, month, 1).start,
            CALENDAR,
            (0, 0),
        )
        for month, seed in product(months, seeds)
    ]


def views_of(
    prior: Prior, blocks: Sequence[DayBlock], regions: Sequence[Region] | None = None
) -> list[View]:
    """Regions and days to look at, none of which needs a cell that was not kept back.

    Args:
        prior: Whose windows must fit.
        blocks: Days that were kept back; those of the same days and cells are series of one truth.
        regions: Where to look; by default chosen by the blocks' own boxes.

    Raises:
        ValueError: if nothing is left; says how large the days, the boxes and the windows are.
    """
    length, step = prior.window[0], prior.compression[0]
    boxes: dict[tuple[int, ...], dict[tuple[int, int], list[DayBlock]]] = {}
    for block in blocks:
        cells = (*block.corner, *block.rain.shape[1:])
        for days in _runs(block, length, step):
            boxes.setdefault(cells, {}).setdefault(days, []).append(block)
    found = []
    for runs in boxes.values():
        for days in _spread(sorted(runs), MOST_RUNS):
            same = tuple(runs[days])
            chosen = regions_of(prior, same[0]) if regions is None else regions
            found += [v for region in chosen if (v := _view(prior, region, days, same))]
    if not found:
        raise ValueError(_nothing_left(prior, blocks))
    return found


def _runs(block: DayBlock, length: int, step: int) -> list[tuple[int, int]]:
    """Day numbers ``[first, stop)`` of a block's pieces: whole latent days, at least a window."""
    n, longest = len(block.rain), max(LONGEST // step * step, length)
    starts = range(0, n - longest + 1, longest) if n > longest else [0]
    size = min(n // step * step, longest)
    return [(block.first_day + s, block.first_day + s + size) for s in starts if size >= length]


def _spread(runs: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    count = min(most, len(runs))
    return [runs[(2 * k + 1) * len(runs) // (2 * count)] for k in range(count)]


def regions_of(prior: Prior, block: DayBlock) -> Sequence[Region]:
    """Where to look in a block: three regions of the globe, else one to three belts of its box.

    A belt is at most 32° × 32° (or a window, where that is larger), in the middle of its box.
    """
    grid, (_, n_rows, n_columns) = prior.grid, block.rain.shape
    if (n_rows, n_columns) == grid.shape:
        return REGIONS
    window, step = prior.window[1:], prior.compression[1:]
    rows, columns = (max(round(WIDEST / prior.grid_step), w) for w in window)
    belts = min(MOST_BELTS, -(-n_rows // rows), n_rows // window[0])
    if not belts or n_columns < window[1]:
        return ()
    height = min(rows, n_rows // belts) // step[0] * step[0]
    width = min(columns, n_columns) // step[1] * step[1]
    room, west = n_rows - height, block.corner[1] + (n_columns - width) // 2
    tops = [block.corner[0] + (room * k // (belts - 1) if belts > 1 else room // 2) for k in
            range(belts)]  # fmt: skip
    return [_region(grid, prior.grid_step, top, height, west, width) for top in tops]


def _region(
    grid: RectilinearGrid, step: float, top: int, height: int, west: int, width: int
) -> Region:
    """A region of whole cells, named by the degrees ``[low, high)`` of their centres."""
    south, north = grid.lat[top + height - 1], grid.lat[top] + step
    left, right = grid.lon[west % grid.n_lon], grid.lon[west % grid.n_lon] + width * step
    sides = (f"{abs(x):g}{'' if x == 0 else 'S' if x < 0 else 'N'}" for x in (south, north))
    name = f"{'–'.join(sides)} {left:g}–{right % 360:g}E"
    half = step / 2  # so that no cell hangs on a rounding
    return Region(name, (south - half, north - half), (left - half, right - half))


def _view(
    prior: Prior, region: Region, days: tuple[int, int], blocks: tuple[DayBlock, ...]
) -> View | None:
    """A region in whole latent cells; ``None`` where the truth does not hold it and a window."""
    step, window, grid = prior.compression[1:], prior.window[1:], prior.grid
    (row, n_rows), (column, n_columns) = rows_in(grid, *region.lat), columns_in(grid, *region.lon)
    size = (n_rows // step[0] * step[0], n_columns // step[1] * step[1])
    view = View(region.name, (row, row + size[0]), (column, size[1]), days, blocks, grid)
    reach = view.margins(window, step)
    grown = (size[0] + reach[:2].sum(), size[1] + reach[2:].sum())
    if (
        min(size) < 1
        or (reach < 0).any()
        or any(g < w for g, w in zip(grown, window, strict=True))
    ):
        log.info("%s: does not lie within the held-out box with a window; left out", region.name)
        return None
    return view


def _nothing_left(prior: Prior, blocks: Sequence[DayBlock]) -> str:
    sizes = ", ".join(dict.fromkeys(" × ".join(map(str, b.rain.shape)) for b in blocks)) or "none"
    window = " × ".join(map(str, prior.window))
    return (
        f"held out are {sizes} (days in a row × rows × columns), a window of the prior has "
        f"{window}: nothing of what was held out holds one; hold out more days in a row, a larger "
        "box or a wider band"
    )
