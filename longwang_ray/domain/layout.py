"""What a group's output looks like: its cells, and the shards they are written in.

The time axis is the group's whole record and shards count from its first day, so that a longer
period later only adds shards. Shard (t, i, j) of the array holds

    days      first_day + t · S_t  + [0, S_t)        clipped at the record's end
    rows      rows[0]   + i · S_y  + [0, S_y)        clipped at the region's edge
    columns   columns[0] + j · S_x + [0, S_x)        likewise; eastward, past 0°E if need be
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHARD_DAYS = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, order=True)
class Group:
    """One group of the store: a climate model's scenario and variant.

    Raises:
        ValueError: if a name can't be a folder of the store.

    >>> Group("CMCC-CM2-SR5", "historical", "r1i1p1f1").path
    'CMCC-CM2-SR5/historical/r1i1p1f1'
    """

    gcm: str
    scenario: str
    variant: str

    def __post_init__(self) -> None:
        for part in ("gcm", "scenario", "variant"):
            if not NAME.fullmatch(getattr(self, part)):
                raise ValueError(
                    f"{part} is {getattr(self, part)!r}; it names a folder of the store: use "
                    "letters, digits and . _ + - and begin with a letter or a digit"
                )

    @property
    def path(self) -> str:
        """Where the group lies in the store."""
        return f"{self.gcm}/{self.scenario}/{self.variant}"


@dataclass(frozen=True)
class Layout:
    """The cells of a group's output array and its shard grid.

    Attributes:
        first_day: Day number of the first stored day.
        n_days: Days stored when all is written.
        rows: Fine rows ``(start, count)``.
        columns: Fine columns ``(start, count)``, eastward, may pass 0°E.
        shard: Days, rows and columns of a shard.
        n_lon: Fine columns round the globe.

    Raises:
        ValueError: if an extent or a shard is empty, or the columns go round more than once.
    """

    first_day: int
    n_days: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    shard: tuple[int, int, int]
    n_lon: int = 1440

    def __post_init__(self) -> None:
        if min(*self.shape, *self.shard) < 1:
            raise ValueError(
                f"layout of shape {self.shape} in shards of {self.shard} is empty on an axis"
            )
        if self.columns[1] > self.n_lon or not 0 <= self.columns[0] < self.n_lon:
            raise ValueError(
                f"columns (start, count) are {self.columns}; the circle has {self.n_lon} columns"
            )

    @classmethod
    def of(
        cls,
        days: tuple[int, int],
        rows: tuple[int, int],
        columns: tuple[int, int],
        n_lon: int = 1440,
        shard_days: int = SHARD_DAYS,
        shard_cells: tuple[int, int] | None = None,
    ) -> Layout:
        """The layout of days ``[first, stop)`` and a region.

        Args:
            days: Day numbers ``[first, stop)`` of all that the group can ever store.
            rows: Fine rows ``(start, count)``.
            columns: Fine columns ``(start, count)``.
            n_lon: Fine columns round the globe.
            shard_days: Days in a shard.
            shard_cells: Rows and columns in a shard; the region's full width if omitted.
        """
        lat, lon = shard_cells or (rows[1], columns[1])
        lat, lon = min(lat, rows[1]), min(lon, columns[1])
        return cls(days[0], days[1] - days[0], rows, columns, (shard_days, lat, lon), n_lon)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Days, rows and columns of the array."""
        return self.n_days, self.rows[1], self.columns[1]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Shards on each axis: time, lat, lon."""
        t, i, j = (-(-n // size) for n, size in zip(self.shape, self.shard, strict=True))
        return t, i, j

    @property
    def last_day(self) -> int:
        """Day number after the last stored day."""
        return self.first_day + self.n_days

    def days_of(self, t0: int, t1: int) -> tuple[int, int]:
        """Day numbers ``[first, stop)`` of the shards ``t0 … t1 − 1``."""
        low, high = self._part(0, t0, t1)
        return self.first_day + low, self.first_day + high

    def rows_of(self, i: int) -> tuple[int, int]:
        """Global fine rows ``[first, stop)`` of latitude shard ``i``."""
        low, high = self._part(1, i, i + 1)
        return self.rows[0] + low, self.rows[0] + high

    def columns_of(self, j: int) -> tuple[int, int]:
        """Global fine columns ``(first, count)`` of longitude shard ``j``."""
        low, high = self._part(2, j, j + 1)
        return (self.columns[0] + low) % self.n_lon, high - low

    def slices_of(self, t: int, i: int, j: int) -> tuple[slice, slice, slice]:
        """Where shard ``(t, i, j)`` lies in the array: time, lat, lon."""
        parts = [self._part(axis, k, k + 1) for axis, k in enumerate((t, i, j))]
        return slice(*parts[0]), slice(*parts[1]), slice(*parts[2])

    def shards_covering(self, days: tuple[int, int] | None = None) -> range:
        """Time shards that hold a day of ``[first, stop)``: whole ones, widened outwards.

        Raises:
            ValueError: if no stored day is among them.
        """
        if days is None:
            return range(self.grid[0])
        low, high = max(days[0], self.first_day), min(days[1], self.last_day)
        if low >= high:
            raise ValueError(
                f"days [{days[0]}, {days[1]}) hold none of the group's "
                f"[{self.first_day}, {self.last_day}); choose a period that the source has"
            )
        size = self.shard[0]
        return range((low - self.first_day) // size, -(-(high - self.first_day) // size))

    def _part(self, axis: int, k0: int, k1: int) -> tuple[int, int]:
        """Array indices ``[first, stop)`` of the shards ``k0 … k1 − 1`` of an axis."""
        if not 0 <= k0 < k1 <= self.grid[axis]:
            raise IndexError(f"shards [{k0}, {k1}) of axis {axis}: there are {self.grid[axis]}")
        return k0 * self.shard[axis], min(k1 * self.shard[axis], self.shape[axis])
