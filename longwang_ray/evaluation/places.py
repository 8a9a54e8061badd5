"""Where an evaluation looks: a domain of fine cells, the boxes sampled, the regions scored.

    domain ⊇ boxes (sampled at once) ⊇ regions (scored one by one)

All are boxes of whole cells of the prior's globe; longitudes may pass 0°E.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.config import RegionConfig
from longwang_ray.domain.grid import RectilinearGrid, columns_in, rows_in

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Box:
    """Some cells of the globe.

    Attributes:
        grid: The globe's.
        row: First fine row.
        rows: How many.
        column: First fine column.
        columns: How many, eastward, past 0°E or not.
    """

    grid: RectilinearGrid
    row: int
    rows: int
    column: int
    columns: int

    @property
    def row_indices(self) -> NDArray[np.int64]:
        """Rows of the globe."""
        return np.arange(self.row, self.row + self.rows)

    @property
    def column_indices(self) -> NDArray[np.int64]:
        """Columns of the globe, wrapped round it."""
        return np.arange(self.column, self.column + self.columns) % self.grid.n_lon

    @property
    def lat(self) -> Array:
        """Cell centres, degrees north."""
        return self.grid.lat[self.row_indices]

    @property
    def lon(self) -> Array:
        """Cell centres, degrees east within 0 … 360; may pass 0°E."""
        return self.grid.lon[self.column_indices]

    @property
    def name(self) -> str:
        """The south-west corner, "34N 344E"."""
        south, west = float(self.lat.min()), float(self.lon[0])
        return f"{abs(south):g}{'S' if south < 0 else 'N'} {west:g}E"

    @property
    def place(self) -> str:
        """Rows and columns, fit for a file's name."""
        return f"y{self.row}+{self.rows}.x{self.column}+{self.columns}"

    def inside(self, outer: Box) -> tuple[slice, slice]:
        """Where these cells lie in another box that holds them: slices of its rows, columns."""
        top, left = self.row - outer.row, (self.column - outer.column) % self.grid.n_lon
        if top < 0 or top + self.rows > outer.rows or left + self.columns > outer.columns:
            raise ValueError(f"{self.place} does not lie in {outer.place}")
        return slice(top, top + self.rows), slice(left, left + self.columns)

    def grown(self, margin: tuple[int, int], within: Box) -> Box:
        """The box with so many more rows and columns on each side, as far as another has them."""
        rows, columns = self.inside(within)
        top, left = max(rows.start - margin[0], 0), max(columns.start - margin[1], 0)
        bottom = min(rows.stop + margin[0], within.rows)
        right = min(columns.stop + margin[1], within.columns)
        west = (within.column + left) % self.grid.n_lon
        return Box(self.grid, within.row + top, bottom - top, west, right - left)

    def pieces(self, rows: int, columns: int) -> Iterator[Box]:
        """Boxes of so many cells, row by row from the north-west; those at the end may be less."""
        for i in range(0, self.rows, rows):
            for j in range(0, self.columns, columns):
                yield Box(
                    self.grid,
                    self.row + i,
                    min(rows, self.rows - i),
                    (self.column + j) % self.grid.n_lon,
                    min(columns, self.columns - j),
                )


@dataclass(frozen=True)
class Domain:
    """What is sampled and scored.

    Attributes:
        box: The whole region, cut to whole scored squares.
        scored: Cells of a scored square's side.
        tile: Cells of a sampled box's side, whole scored squares; 0: all at once.
    """

    box: Box
    scored: int
    tile: int = 0

    @classmethod
    def of(
        cls, grid: RectilinearGrid, step: float, region: RegionConfig, scored: float,
        tile: float | None
    ) -> Domain:  # fmt: skip
        """The domain of a region; what is left over in the south and east is not scored.

        Args:
            grid: The prior's.
            step: Its spacing, degrees.
            region: Where.
            scored: Side of a scored square, degrees.
            tile: Side of what is sampled at once, degrees; None: all.

        Raises:
            ValueError: if not one square fits, or sides are not whole cells.
        """
        try:
            (row, rows), (column, columns) = (
                rows_in(grid, *region.lat),
                columns_in(grid, *region.lon),
            )
        except ValueError as error:
            raise ValueError(f"region: {error}") from error
        side = _cells("scored", scored, step)
        if rows < side or columns < side:
            raise ValueError(
                f"region: {rows * step:g}° × {columns * step:g}° hold no square of "
                f"scored={scored:g}°; widen the region or lower scored"
            )
        at_once = 0 if tile is None else _cells("tiling.degrees", tile, step)
        if at_once % side:
            raise ValueError(
                f"tiling.degrees is {tile:g}, must be a multiple of scored={scored:g}: a square "
                "is scored in one piece"
            )
        whole = Box(grid, row, rows // side * side, column, columns // side * side)
        return cls(whole, side, at_once)

    @property
    def tiles(self) -> tuple[Box, ...]:
        """What is sampled at once."""
        side = self.tile or max(self.box.rows, self.box.columns)
        return tuple(self.box.pieces(side, side))

    @property
    def n_regions(self) -> int:
        """How many squares are scored in one month."""
        return (self.box.rows // self.scored) * (self.box.columns // self.scored)


def _cells(name: str, degrees: float, step: float) -> int:
    count = round(degrees / step)
    if count < 1 or abs(count * step - degrees) > 1e-6:
        raise ValueError(f"{name} is {degrees:g}°, must be a multiple of the cells' {step:g}°")
    return count
