"""Where cells are: rectilinear grids of the sphere, and how much of one cell another one holds.

The area of a cell is Δλ · Δ(sin φ), which separates into latitude and longitude. So a conservative
mean from a fine to a coarse grid is two small matrices,

    y = W_lat x W_lonᵀ,   W[J, i] = |coarse J ∩ fine i| / Σ_i |coarse J ∩ fine i|,

with lengths in sin φ along latitude and in degrees round the circle along longitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CIRCLE = 360.0
WHOLE = 1e-5  # a cell counts as wholly covered up to this share: bounds come in float32


@dataclass(frozen=True, eq=False)
class RectilinearGrid:
    """Cells of a grid whose latitudes and longitudes are independent.

    Attributes:
        lat: Cell centres, degrees north, shape ``(n_lat,)``.
        lon: Cell centres, degrees east, shape ``(n_lon,)``.
        lat_bounds: Cell edges, shape ``(n_lat, 2)``, in either order, within ±90.
        lon_bounds: Western and eastern edges, shape ``(n_lon, 2)``, east above west.

    Raises:
        ValueError: if shapes disagree, a value is not finite, or a cell is empty.
    """

    lat: Floats
    lon: Floats
    lat_bounds: Floats
    lon_bounds: Floats

    def __post_init__(self) -> None:
        for name in ("lat", "lon", "lat_bounds", "lon_bounds"):
            values = np.array(getattr(self, name), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        _check_axis("lat", self.lat, self.lat_bounds)
        _check_axis("lon", self.lon, self.lon_bounds)
        reach = np.abs(self.lat_bounds).max()
        if reach > 90 + WHOLE:
            raise ValueError(f"lat_bounds reach {reach}°, the pole is at 90°; clip them")
        if (self.lon_bounds[:, 1] <= self.lon_bounds[:, 0]).any():
            raise ValueError("lon_bounds must rise from west to east; add 360 to the east")

    @classmethod
    def from_centres(cls, lat: ArrayLike, lon: ArrayLike) -> RectilinearGrid:
        """The grid with edges midway between centres; the outermost rows reach the poles.

        The outermost rows of a grid that stops more than a cell away from a pole keep their
        height, and the outermost columns of one that does not go round keep their width.
        """
        lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
        return cls(lat, lon, _lat_bounds(lat), _lon_bounds(lon))

    @property
    def n_lat(self) -> int:
        """Number of rows."""
        return len(self.lat)

    @property
    def n_lon(self) -> int:
        """Number of columns."""
        return len(self.lon)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.n_lat, self.n_lon

    @property
    def is_global_lon(self) -> bool:
        """Whether the columns go once round the globe."""
        width = float((self.lon_bounds[:, 1] - self.lon_bounds[:, 0]).sum())
        return abs(width - CIRCLE) < 1e-3

    def areas(self) -> Floats:
        """Share of the sphere that each cell holds, shape ``(n_lat, n_lon)``."""
        height = np.abs(np.diff(_sine(self.lat_bounds), axis=1)) / 2
        width = np.diff(self.lon_bounds, axis=1) / CIRCLE
        return np.asarray(height * width.T)

    def take(self, rows: ArrayLike, columns: ArrayLike) -> RectilinearGrid:
        """The grid of some rows and columns, by index."""
        i, j = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        return RectilinearGrid(self.lat[i], self.lon[j], self.lat_bounds[i], self.lon_bounds[j])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RectilinearGrid):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("lat", "lon", "lat_bounds", "lon_bounds")
        )

    __hash__ = None  # type: ignore[assignment]


def era5_grid(step: float = 0.25) -> RectilinearGrid:
    """The published prior's grid: 90 … −90 + step, 0 … 360 − step; 720 × 1440 at 0.25°.

    The first row is the half cell at the north pole; the last is half a cell taller and ends at
    the south pole, so that the globe is covered once.

    Raises:
        ValueError: if the step does not divide 180°.

    >>> grid = era5_grid()
    >>> grid.shape, grid.lat_bounds[[0, -1]].tolist()
    ((720, 1440), [[90.0, 89.875], [-89.625, -90.0]])
    """
    n = round(180 / step)
    if n < 1 or abs(n * step - 180) > 1e-9:
        raise ValueError(f"step is {step}°, must divide 180°")
    return RectilinearGrid.from_centres(90 - step * np.arange(n), step * np.arange(2 * n))


def rows_in(grid: RectilinearGrid, low: float, high: float) -> tuple[int, int]:
    """Rows ``(start, count)`` whose centres lie in ``[low, high)``; with 90 the pole itself too.

    Raises:
        ValueError: if there is none.
    """
    below = grid.lat < high if high < 90 else grid.lat <= 90
    return _run("lat", np.flatnonzero((grid.lat >= low) & below), low, high)


def columns_in(grid: RectilinearGrid, low: float, high: float) -> tuple[int, int]:
    """Columns ``(start, count)`` whose centres lie in ``[low, high)`` eastward, across 0°E or not.

    ``[350, 10]`` and ``[-10, 10]`` are the same twenty degrees; a full turn starts at ``low``.

    Raises:
        ValueError: if there is none, or they are not in one piece on a grid that ends.
    """
    width = CIRCLE if high - low >= CIRCLE else (high - low) % CIRCLE
    eastward = (grid.lon - low) % CIRCLE
    chosen = np.flatnonzero(eastward < width)
    if not len(chosen):
        return _run("lon", chosen, low, high)
    start = int(chosen[np.argmin(eastward[chosen])])
    if start + len(chosen) > grid.n_lon and not grid.is_global_lon:
        raise ValueError(
            f"lon [{low}, {high}) leaves the grid in the east and enters it again in the west; "
            "choose a region inside it"
        )
    return start, len(chosen)


class Overlap(NamedTuple):
    """How coarse cells (rows) are made of fine cells (columns).

    Attributes:
        weights: Share of each fine cell in the part that is covered, shape ``(coarse, fine)``. A
            row sums to one, or to zero where no fine cell touches.
        covered: Share of each coarse cell that fine cells cover, shape ``(coarse,)``.
    """

    weights: Floats
    covered: Floats

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which coarse cells lie wholly inside the fine ones, shape ``(coarse,)``."""
        return np.asarray(self.covered > 1 - WHOLE)


def overlap_lat(coarse_bounds: ArrayLike, fine_bounds: ArrayLike) -> Overlap:
    """Overlap of rows by area, that is in sin φ.

    Args:
        coarse_bounds: Degrees north, shape ``(J, 2)``, either order.
        fine_bounds: Degrees north, shape ``(i, 2)``, either order.

    >>> overlap_lat([[0, 90]], [[0, 30], [30, 90]]).weights.round(6).tolist()
    [[0.5, 0.5]]
    """
    coarse, fine = np.sort(_sine(coarse_bounds), axis=1), np.sort(_sine(fine_bounds), axis=1)
    return _normalised(_common(coarse, fine), coarse)


def overlap_lon(coarse_bounds: ArrayLike, fine_bounds: ArrayLike) -> Overlap:
    """Overlap of columns, round the circle.

    Args:
        coarse_bounds: Western and eastern edges, degrees east, shape ``(J, 2)``.
        fine_bounds: Western and eastern edges, degrees east, shape ``(i, 2)``.

    >>> overlap_lon([[-1, 3]], [[359, 360], [0, 1], [1, 2]]).covered.tolist()
    [0.75]
    """
    coarse, fine = _from_zero(coarse_bounds), _from_zero(fine_bounds)
    turns = (-CIRCLE, 0.0, CIRCLE)
    return _normalised(np.sum([_common(coarse, fine + turn) for turn in turns], axis=0), coarse)


def _common(coarse: Floats, fine: Floats) -> Floats:
    """Length that intervals share, ``(J, 2)`` and ``(i, 2)`` → ``(J, i)``."""
    low = np.maximum(coarse[:, None, 0], fine[None, :, 0])
    high = np.minimum(coarse[:, None, 1], fine[None, :, 1])
    return np.asarray(np.maximum(high - low, 0))


def _normalised(common: Floats, coarse: Floats) -> Overlap:
    size = np.diff(coarse, axis=1)
    common = np.where(common > 1e-9 * size, common, 0)  # touching is not sharing
    total = common.sum(axis=1, keepdims=True)
    return Overlap(common / np.where(total > 0, total, 1), np.minimum(total / size, 1)[:, 0])


def _sine(degrees: ArrayLike) -> Floats:
    inside: Floats = np.clip(np.asarray(degrees, np.float64), -90, 90)
    return np.asarray(np.sin(np.deg2rad(inside)))


def _from_zero(bounds: ArrayLike) -> Floats:
    """The same intervals with their western edges in [0, 360)."""
    edges = np.asarray(bounds, np.float64)
    west = edges[:, :1] % CIRCLE
    return np.concatenate([west, west + np.diff(edges, axis=1)], axis=1)


def _lat_bounds(lat: Floats) -> Floats:
    """Edges midway, in the order of the centres, snapped to a pole that is within one cell."""
    edges = _midway(lat)
    for end in (0, -1):
        pole, cell = np.copysign(90.0, lat[end]), abs(edges[end] - lat[end])
        if abs(pole - lat[end]) <= 2 * cell * (1 + WHOLE):
            edges[end] = pole
    edges = np.clip(edges, -90, 90)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _lon_bounds(lon: Floats) -> Floats:
    """Edges midway, also between the last and the first column where the grid goes round."""
    edges = _midway(lon)
    gap = lon[0] + CIRCLE - lon[-1]
    if gap <= 1.5 * np.diff(lon).max(initial=0):
        edges[0], edges[-1] = lon[0] - gap / 2, lon[-1] + gap / 2
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _midway(centres: Floats) -> Floats:
    if len(centres) < 2:
        raise ValueError("one centre alone has no edges; give the cells' bounds")
    inner = (centres[:-1] + centres[1:]) / 2
    first, last = 2 * centres[0] - inner[0], 2 * centres[-1] - inner[-1]
    return np.concatenate([[first], inner, [last]])


def _check_axis(name: str, centres: Floats, bounds: Floats) -> None:
    if centres.ndim != 1 or not len(centres) or bounds.shape != (len(centres), 2):
        raise ValueError(
            f"{name} has shape {centres.shape} and {name}_bounds {bounds.shape}; "
            "expected (n,) and (n, 2)"
        )
    if not (np.isfinite(centres).all() and np.isfinite(bounds).all()):
        raise ValueError(f"{name} or {name}_bounds holds values that are not finite")
    if (bounds[:, 0] == bounds[:, 1]).any():
        raise ValueError(f"{name}_bounds hold an empty cell")


def _run(axis: str, chosen: NDArray[np.int64], low: float, high: float) -> tuple[int, int]:
    if not len(chosen):
        raise ValueError(f"no cell centre has {axis} in [{low}, {high}); widen the region")
    return int(chosen[0]), len(chosen)
