"""What is to be done: all tiles of a run, and their cost. Pure; nothing is read or started.

A tile is core + halo. Its core is whole shards: K consecutive time shards at fixed places
[m K, (m+1) K) ∩ the period, one latitude and one longitude shard. Its extent is

    time    windows touching the core → the whole months they touch → ± halo months, clipped at the
            record → all windows touching those days (one that sticks out is computed whole)
    space   windows touching the core ± halo strides, clipped at the poles, closed round the circle

The three axes do not know of each other, so totals are products of sums over axes, and no tile has
to be enumerated to count a million of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from longwang_ray.domain.calendar import Record
from longwang_ray.domain.cost import PriorCost, Shape, Size, TileCost
from longwang_ray.domain.lattice import Extent, Lattice, Span
from longwang_ray.domain.layout import Group, Layout

SHORTEST_MONTH = 28


@dataclass(frozen=True)
class Tiling:
    """How work is cut.

    Attributes:
        shards_per_tile: Consecutive time shards in a tile (K).
        halo_strides: Lattice strides of halo in space, and what the halo in time must cover.
        halo_months: Whole months of halo in time; from ``halo_strides`` if None.

    Raises:
        ValueError: if a tile would hold no shard, or a halo is negative.
    """

    shards_per_tile: int = 12
    halo_strides: int = 2
    halo_months: int | None = None

    def __post_init__(self) -> None:
        if self.shards_per_tile < 1 or min(self.halo_strides, self.halo_months or 0) < 0:
            raise ValueError(f"{self}: needs at least one shard and halos of at least 0")

    def months(self, lattice: Lattice) -> int:
        """Whole months of halo on each side: as many as cover the strides at their shortest."""
        if self.halo_months is not None:
            return self.halo_months
        return -(-self.halo_strides * lattice.stride_days // SHORTEST_MONTH)


@dataclass(frozen=True)
class Tile:
    """One unit of work: what one worker computes jointly.

    Attributes:
        group: Where it writes.
        realization: Index of our sample.
        time_shards: Its time shards ``[first, stop)``.
        lat_shard: Its latitude shard.
        lon_shard: Its longitude shard.
        days: Core, day numbers ``[first, stop)``.
        rows: Core, fine rows ``[first, stop)``.
        columns: Core, fine columns ``(first, count)``, may pass 0°E.
        extent: All windows it computes.
        months: Months of the record wholly inside the extent: those that are observed.
        core_months: Months of the record that touch the core.
    """

    group: Group
    realization: int
    time_shards: tuple[int, int]
    lat_shard: int
    lon_shard: int
    days: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    extent: Extent
    months: range
    core_months: range

    @property
    def key(self) -> str:
        """A stable name, fit for a file: no slash, unique in the run."""
        group, (first, stop) = self.group, self.time_shards
        place = f"r{self.realization}.t{first}-{stop - 1}.y{self.lat_shard}.x{self.lon_shard}"
        return f"{group.gcm}~{group.scenario}~{group.variant}~{place}"

    @property
    def shard_indices(self) -> tuple[tuple[int, int, int, int], ...]:
        """The chunk indices ``(realization, time, lat, lon)`` it writes, in the array's order."""
        times = range(*self.time_shards)
        return tuple((self.realization, t, self.lat_shard, self.lon_shard) for t in times)

    @property
    def core_shape(self) -> Shape:
        """Fine cells it writes: days, rows, columns."""
        return self.days[1] - self.days[0], self.rows[1] - self.rows[0], self.columns[1]


def time_extent(days: tuple[int, int], record: Record, lattice: Lattice, halo_months: int) -> Span:
    """The windows in time of a core: widened to whole months, grown by the halo, clipped.

    Raises:
        ValueError: if the core's days are not all in the record.
    """
    if not record.start <= days[0] < days[1] <= record.stop:
        raise ValueError(
            f"days [{days[0]}, {days[1]}) are not all in the record "
            f"{record.months[0]} … {record.months[-1]} = [{record.start}, {record.stop})"
        )
    touching = lattice.time_span(*days)
    months = record.months_covering(touching.fine_start, touching.fine_stop)
    first = max(months.start - halo_months, 0)
    last = min(months.stop + halo_months, len(record.months)) - 1
    return lattice.time_span(record.months[first].start, record.months[last].stop)


@dataclass(frozen=True)
class GroupPlan:
    """All tiles of one group.

    Attributes:
        group: Which.
        layout: Its output array and shards.
        record: The months its source has; may begin before the layout (an SSP's parent).
        lattice: The globe's windows.
        realizations: Samples wanted: 0 … realizations − 1.
        tiling: How work is cut.
        period: Day numbers ``[first, stop)`` wanted, widened to whole shards; all if None.

    Raises:
        ValueError: if there is nothing to do, or the layout is outside the record or the globe.
    """

    group: Group
    layout: Layout
    record: Record
    lattice: Lattice
    realizations: int
    tiling: Tiling = Tiling()
    period: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        layout, (n_lat, n_lon) = self.layout, self.lattice.fine_shape
        if self.realizations < 1:
            raise ValueError(f"realizations is {self.realizations}, must be at least 1")
        if layout.n_lon != n_lon or not 0 <= layout.rows[0] <= n_lat - layout.rows[1]:
            raise ValueError(
                f"layout has rows {layout.rows} of a circle of {layout.n_lon} columns; "
                f"the lattice's globe is {n_lat} × {n_lon}"
            )
        if layout.first_day < self.record.start or layout.last_day > self.record.stop:
            raise ValueError(
                f"layout stores days [{layout.first_day}, {layout.last_day}), the record has "
                f"[{self.record.start}, {self.record.stop})"
            )

    @cached_property
    def shards(self) -> range:
        """The time shards of the period."""
        return self.layout.shards_covering(self.period)

    @cached_property
    def time_cores(self) -> tuple[tuple[int, int], ...]:
        """Time shards ``[first, stop)`` of each tile: fixed places of K, cut to the period."""
        k, shards = self.tiling.shards_per_tile, self.shards
        places = range(shards.start // k, -(-shards.stop // k))
        return tuple((max(m * k, shards.start), min((m + 1) * k, shards.stop)) for m in places)

    @cached_property
    def times(self) -> tuple[Span, ...]:
        """The windows in time of each tile."""
        halo = self.tiling.months(self.lattice)
        days = (self.layout.days_of(*core) for core in self.time_cores)
        return tuple(time_extent(core, self.record, self.lattice, halo) for core in days)

    @cached_property
    def lats(self) -> tuple[Span, ...]:
        """The windows in latitude of each latitude shard."""
        halo = self.tiling.halo_strides
        return tuple(self.lattice.lat_span(*core, halo) for core in self._rows)

    @cached_property
    def lons(self) -> tuple[Span, ...]:
        """The windows in longitude of each longitude shard."""
        halo = self.tiling.halo_strides
        return tuple(self.lattice.lon_span(*core, halo) for core in self._columns)

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return self.realizations * len(self.times) * len(self.lats) * len(self.lons)

    @property
    def n_shards(self) -> int:
        """Number of shards they write."""
        return self.realizations * len(self.shards) * len(self.lats) * len(self.lons)

    def tiles(self) -> Iterator[Tile]:
        """Every tile, lazily: by realization, time, latitude, longitude."""
        for realization in range(self.realizations):
            for m in range(len(self.time_cores)):
                for i in range(len(self.lats)):
                    for j in range(len(self.lons)):
                        yield self.tile(realization, m, i, j)

    def tile(self, realization: int, m: int, i: int, j: int) -> Tile:
        """The tile of one realization, time core, latitude shard and longitude shard."""
        days, months, core_months = self._days[m]
        return Tile(
            group=self.group,
            realization=realization,
            time_shards=self.time_cores[m],
            lat_shard=i,
            lon_shard=j,
            days=days,
            rows=self._rows[i],
            columns=self._columns[j],
            extent=Extent(self.times[m], self.lats[i], self.lons[j]),
            months=months,
            core_months=core_months,
        )

    # What tiles have in common is looked up once an axis: there may be ten million of them.

    @cached_property
    def _days(self) -> tuple[tuple[tuple[int, int], range, range], ...]:
        """For each time core its days, the months that are observed, the months that touch it."""
        record, cores = self.record, [self.layout.days_of(*core) for core in self.time_cores]
        return tuple(
            (days, record.months_inside(t.fine_start, t.fine_stop), record.months_covering(*days))
            for days, t in zip(cores, self.times, strict=True)
        )

    @cached_property
    def _rows(self) -> tuple[tuple[int, int], ...]:
        return tuple(self.layout.rows_of(i) for i in range(self.layout.grid[1]))

    @cached_property
    def _columns(self) -> tuple[tuple[int, int], ...]:
        return tuple(self.layout.columns_of(j) for j in range(self.layout.grid[2]))

    def tile_cost(self, tile: Tile, prior: PriorCost) -> TileCost:
        """What one tile costs."""
        days, rows, columns = tile.core_shape
        size = Size.of(tile.extent, tile.core_shape, self.layout.shard)
        return TileCost.of(tile.extent.n_windows, days * rows * columns, size.memory(prior), prior)

    def cost(self, prior: PriorCost) -> TileCost:
        """What all tiles cost together; its memory bounds each."""
        windows = self.realizations
        for spans in (self.times, self.lats, self.lons):
            windows *= sum(span.count for span in spans)
        days = self.layout.days_of(self.shards.start, self.shards.stop)
        values = self.realizations * (days[1] - days[0]) * self.layout.rows[1]
        return TileCost.of(
            windows, values * self.layout.columns[1], self.largest().memory(prior), prior
        )

    def largest(self) -> Size:
        """The largest sizes on each axis; no tile is larger on any."""
        shard = self.layout.shard
        days = max(d1 - d0 for d0, d1 in (self.layout.days_of(*c) for c in self.time_cores))
        axes = (self.times, self.lats, self.lons)
        time, lat, lon = (max(axis, key=lambda span: span.size) for axis in axes)
        core = (days, min(shard[1], self.layout.rows[1]), min(shard[2], self.layout.columns[1]))
        return Size.of(Extent(time, lat, lon), core, shard)


@dataclass(frozen=True)
class Plan:
    """All tiles of a run, and their cost.

    Attributes:
        groups: One plan a group.
        prior: The prior's sizes.

    Raises:
        ValueError: if there is no group, or one is planned twice.
    """

    groups: tuple[GroupPlan, ...]
    prior: PriorCost

    def __post_init__(self) -> None:
        paths = [plan.group.path for plan in self.groups]
        double = sorted({path for path in paths if paths.count(path) > 1})
        if not paths or double:
            raise ValueError(f"plan has {'no group' if not paths else f'{double} more than once'}")

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return sum(plan.n_tiles for plan in self.groups)

    @property
    def n_shards(self) -> int:
        """Number of shards, and so of objects, that they write."""
        return sum(plan.n_shards for plan in self.groups)

    def tiles(self) -> Iterator[Tile]:
        """Every tile, lazily, group by group."""
        for plan in self.groups:
            yield from plan.tiles()

    def cost(self) -> TileCost:
        """What all tiles cost together; its memory bounds each."""
        costs = [plan.cost(self.prior) for plan in self.groups]
        windows, values = sum(c.windows for c in costs), sum(c.values for c in costs)
        return TileCost.of(windows, values, max(cost.memory for cost in costs), self.prior)

    def require_memory(self, limit: int) -> None:
        """Refuse, before anything starts, a plan whose workers would not fit.

        Raises:
            MemoryError: if a tile may need more than ``limit`` bytes.
        """
        need = self.cost().memory
        if need > limit:
            raise MemoryError(
                f"a worker may need {need / 2**30:.1f} GiB and has {limit / 2**30:.1f} GiB; "
                "lower tiling.shards_per_tile or set tiling.shard_cells, or take a larger machine"
            )
