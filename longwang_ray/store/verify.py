"""Is a store what it says: complete, unchanged, physical, and true to what was observed?

Every shard is read once, in the order of time, and

    sha256(object) = receipt,   0 ≤ pr < ∞,   |mean of pr over month and GCM cell − y| ≤ ε y

The last is computed from the bytes on the store and the observation beside them. Where the ledger
recorded that a month could not be met (no rain to scale), the store must agree with the ledger. A
difference is taken relative to the observation, or to 0.01 mm/day where that is more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.domain.grid import Overlap, overlap_lat, overlap_lon
from longwang_ray.store.groups import GroupInfo, group_paths, listed, read_group
from longwang_ray.store.metadata import hash_text
from longwang_ray.store.nodes import harmed_nodes
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import Index, receipted
from longwang_ray.store.shards import SECONDS_A_DAY, ShardStore

_FLOOR = 0.01 / SECONDS_A_DAY
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What comes of a JSON object that is torn, or that says other things than ours do."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (a group or an object's key), and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Verification:
    """What was found.

    Attributes:
        problems: What is wrong.
        shards: Shards that were read.
        months: Realization × month × GCM cell values that were compared with the observation.
        closure: Largest relative difference of these, but for the unmet.
        unmet: Values that the ledger records as not met, or where it rains in the GCM and nowhere
            in the cell: recorded, not forced.
        rejected: Later, different shards of which the first one was kept.
    """

    problems: list[Problem] = field(default_factory=list)
    shards: int = 0
    months: int = 0
    closure: float = 0.0
    unmet: int = 0
    rejected: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, where: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, what))


def verify(
    url: str,
    *,
    tolerance: float = 1e-3,
    storage_options: Mapping[str, Any] | None = None,
) -> Verification:
    """Read a whole store and check it.

    Args:
        url: The store.
        tolerance: Relative difference that a month's mean in a GCM cell may have on the store;
            rounding to 9 bits alone makes up to 4e-4.
        storage_options: For the filesystem.
    """
    place, found = Place(url, storage_options), Verification()
    try:
        paths = group_paths(place)
    except _UNREADABLE as error:
        found.add("zarr.json", f"corrupt: {type(error).__name__}: {error}")
        return found
    if not paths:
        found.add(place.url, "has no group")
    for path in paths:
        _verify_group(place, path, tolerance, found)
    return found


def _verify_group(place: Place, path: str, tolerance: float, found: Verification) -> None:
    harmed = dict(harmed_nodes(place, path))
    for key, what in harmed.items():
        found.add(key, what)
    if f"{path}/zarr.json" in harmed or f"{path}/pr/zarr.json" in harmed:
        return  # nothing is known of its shards
    try:
        info, shards = read_group(place, path), ShardStore(place, path)
        closure = None if harmed else _Closure(place, info, tolerance, found)
    except _UNREADABLE as error:
        found.add(path, f"what it says of itself cannot be read: {type(error).__name__}: {error}")
        return
    if hash_text(info.attributes["recipe"]) != info.attributes["recipe_sha256"]:
        found.add(
            path, "the recipe in the attributes is not the one of its digest: it was changed"
        )
    _verify_shards(shards, info, closure, found)


def _verify_shards(
    shards: ShardStore, info: GroupInfo, closure: _Closure | None, found: Verification
) -> None:
    there, signed = listed(shards.place, info.path)
    found.rejected += sum(rejected for _, rejected in receipted(shards.place, info.path))
    for index in np.argwhere((info.expected() | signed) & ~there):
        found.add(shards.key(_index(index)), "missing")
    for realization in range(info.realizations):
        if closure:
            closure.begin(realization)
        for index in np.argwhere(there[realization]):
            shard = _index((realization, *index))
            rain = _verify_shard(shards, shard, found)
            if closure and rain is not None:
                closure.add(shards.codec.region(shard), rain)


def _verify_shard(
    shards: ShardStore, shard: Index, found: Verification
) -> NDArray[np.float32] | None:
    checked = shards.check(shard)
    found.shards += 1
    for what in (*checked.remarks, *filter(None, [checked.damage])):
        found.add(shards.key(shard), what)
    return checked.rain


def _index(values: Any) -> Index:  # noqa: ANN401 - a row of numpy integers
    r, t, i, j = (int(value) for value in values)
    return r, t, i, j


class _Closure:
    """Coarsens shards as they pass and compares each month once all its days were there.

    Only the open months are held, so memory does not grow with the record.
    """

    def __init__(
        self, place: Place, info: GroupInfo, tolerance: float, found: Verification
    ) -> None:
        group = _read(place, info.path, drop_variables=["pr"]).load()
        # what grows with the ensemble is read a month at a time
        months = _read(place, f"{info.path}/monthly", drop_variables=["conflict"])
        self._lat = overlap_lat(months.gcm_lat_bnds.values, group.lat_bnds.values)
        self._lon = overlap_lon(months.gcm_lon_bnds.values, group.lon_bnds.values)
        self._observed, self._recorded = months.observation.values, months.closure_after
        self._path, self._found, self._tolerance = info.path, found, tolerance
        # months count from the record's first stored month, days from the first stored day
        shift = int(info.frame["first_month_day"]) - int(info.frame["first_day"])
        self._bounds = months.month_bnds.values.astype(int) + shift
        self._full = group.sizes["lat"] * group.sizes["lon"]
        self.begin(0)

    def begin(self, realization: int) -> None:
        """Start another realization; months that are still open were not all there."""
        self._realization = realization
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._cells: dict[int, int] = {}

    def add(self, region: tuple[slice, ...], rain: NDArray[np.float32]) -> None:
        """Add one shard, ``(days, lat, lon)`` at its place in the array."""
        _, days, rows, columns = region
        lat, lon = self._lat.weights[:, rows], self._lon.weights[:, columns]
        for month, first, stop in self._touched(days):
            part = rain[first - days.start : stop - days.start].sum(axis=0, dtype=np.float64)
            coarse = lat @ part @ lon.T
            self._sums[month] = self._sums.get(month, 0) + coarse
            cells = (stop - first) * part.size
            self._cells[month] = self._cells.get(month, 0) + cells
            length = int(self._bounds[month, 1] - self._bounds[month, 0])
            if self._cells[month] == length * self._full:
                self._compare(month, self._sums.pop(month) / length)

    def _touched(self, days: slice) -> Iterator[tuple[int, int, int]]:
        for month, (begin, end) in enumerate(self._bounds):
            first, stop = max(begin, days.start), min(end, days.stop)
            if first < stop:
                yield month, int(first), int(stop)

    def _compare(self, month: int, mean: NDArray[np.float64]) -> None:
        observed, found = self._observed[month], self._found
        inside = _whole(self._lat, self._lon) & np.isfinite(observed)
        recorded = np.abs(self._recorded[self._realization, month].values)
        dry = (mean == 0) & (observed > 0)
        open_ = inside & (dry | (recorded > self._tolerance))  # NaN, not recorded, is not open
        away = np.abs(mean - observed) / np.maximum(observed, _FLOOR)
        bound = self._tolerance + np.where(open_ & ~dry, recorded, 0)
        missed = inside & ~dry & (away > bound)
        found.months += int(inside.sum())
        found.unmet += int(open_.sum())
        found.closure = max(found.closure, float(away[inside & ~open_].max(initial=0.0)))
        if missed.any():
            where = f"{self._path} realization {self._realization} month {month}"
            worst = f"{float(away[missed].max()):.2g}"
            found.add(
                where, f"{int(missed.sum())} GCM cells miss their mean, by up to {worst} of it"
            )


def _read(place: Place, path: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 - xarray's
    if place.options:
        options["storage_options"] = place.options
    opened: xr.Dataset = xr.open_zarr(
        place.url, group=path, decode_times=False, chunks=None, **options
    )
    return opened


def _whole(lat: Overlap, lon: Overlap) -> NDArray[np.bool_]:
    return np.asarray(lat.whole[:, None] & lon.whole[None, :])
