"""The end of a run: is everything there, how well were the months met, what does the store say.

Sealing joins the tiles' ledgers into the group's ``monthly`` arrays and writes into the attributes
which periods are complete. Both are summaries of what is on the store, so a later run, which has
more, replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, cpu
from zarr.storage import MemoryStore

from longwang_ray.domain.calendar import date_of
from longwang_ray.store.groups import (
    GroupInfo,
    consolidate,
    done,
    group_paths,
    read_group,
    update_attributes,
)
from longwang_ray.store.ledger import join
from longwang_ray.store.metadata import MONTHLY, MONTHS
from longwang_ray.store.objects import Place, StoreError

MILD = (0.8, 1.25)
"""Factors of closure for which guidance has done its work: most should lie within."""


@dataclass(frozen=True)
class Sealed:
    """What a group has at the end of a run.

    Attributes:
        path: The group's path.
        intended_use: What the store says it is fit for.
        asked: Shards that runs have asked for.
        done: How many of these are there.
        periods: Complete periods, inclusive dates ``YYYY-MM-DD/YYYY-MM-DD``.
        worst: Largest absolute value of each monthly quantity; absent if none was told.
        mean: Mean absolute value, likewise.
        mild: Share of the closure's factors within `MILD`, over cells and months; None if none
            was told.
    """

    path: str
    intended_use: str
    asked: int
    done: int
    periods: tuple[str, ...]
    worst: Mapping[str, float]
    mean: Mapping[str, float]
    mild: float | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.done == self.asked


def seal(
    url: str,
    paths: list[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Sealed]:
    """Join the ledgers, note in the attributes what is complete, and tell it.

    Args:
        url: The store.
        paths: Groups; all if None.
        storage_options: For the filesystem.
    """
    place = Place(url, storage_options)
    chosen = group_paths(place) if paths is None else paths
    sealed = [_seal_group(place, path) for path in chosen]
    consolidate(place, chosen)
    return sealed


def _seal_group(place: Place, path: str) -> Sealed:
    info = read_group(place, path)
    wanted, there = info.expected(), done(place, path)
    told = _join_months(place, info)
    periods = complete_periods(info, there)
    known = {"complete_periods": periods, "shards_done": int(there.sum())}
    if any(info.attributes.get(name) != value for name, value in known.items()):
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        spans = [tuple(period.split("/")) for period in periods]
        covered = (
            {"time_coverage_start": spans[0][0], "time_coverage_end": spans[-1][1]}
            if spans
            else {}
        )
        update_attributes(place, path, {**known, **covered, "date_modified": now})
    use = str(info.attributes.get("intended_use", ""))
    counts = int(wanted.sum()), int((there & wanted).sum())
    worst = {name: tally.largest for name, tally in told.items()}
    mean = {name: tally.total / tally.count for name, tally in told.items()}
    factors = told.get("closure_factor")
    mild = factors.mild / factors.count if factors else None
    return Sealed(path, use, *counts, tuple(periods), worst, mean, mild)


def complete_periods(info: GroupInfo, done: NDArray[np.bool_]) -> list[str]:
    """Return the runs of time shards that all realizations and places have, as dates.

    Args:
        info: The group.
        done: Which shards are done, shape of the shard grid.
    """
    whole = np.concatenate([[False], done.all(axis=(0, 2, 3)), [False]])
    edges = np.flatnonzero(whole[1:] != whole[:-1])
    size, first, calendar = info.frame["shard"][0], info.frame["first_day"], info.frame["calendar"]
    last = first + info.frame["n_days"] - 1
    spans = [
        (first + begin * size, min(first + end * size - 1, last))
        for begin, end in list(pairwise(edges))[::2]
    ]
    return [f"{_iso(begin, calendar)}/{_iso(end, calendar)}" for begin, end in spans]


def _iso(day: int, calendar: str) -> str:
    date = date_of(int(day), calendar)
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"


@dataclass
class _Tally:
    """What was told of one monthly quantity, in absolute values."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    mild: int = 0

    def add(self, values: NDArray[np.float64]) -> None:
        self.largest = max(self.largest, float(values.max()))
        self.total += float(values.sum())
        self.count += values.size
        self.mild += int(((values >= MILD[0]) & (values <= MILD[1])).sum())


def _join_months(place: Place, info: GroupInfo) -> dict[str, _Tally]:
    """Write the joined ledgers into the monthly arrays; return what each quantity is like."""
    encoders = {name: _MonthlyArray(place, info.path, name) for name in MONTHLY}
    _, count, *shape = next(iter(encoders.values())).shape
    start = int(info.frame["first_month"])
    months = range(start, start + count)
    told: dict[str, _Tally] = {}
    for realization in range(info.realizations):
        for chunk, fields in join(place, info.path, realization, months, (shape[0], shape[1])):
            for name, values in fields.items():
                known = np.isfinite(values)
                if known.any():
                    encoders[name].put(realization, chunk, values)
                    sizes = np.abs(values[known], dtype=np.float64)
                    told.setdefault(name, _Tally()).add(sizes)
    return told


class _MonthlyArray:
    """Encodes chunks of a monthly array in memory, as the shards are."""

    def __init__(self, place: Place, path: str, name: str) -> None:
        self._place, self._root = place, f"{path}/monthly/{name}"
        document = place.read(f"{self._root}/zarr.json")
        if document is None:
            raise StoreError(
                f"{place.path(self._root)} is missing; was the store made by create_store?"
            )
        self._held: dict[str, Buffer] = {"zarr.json": cpu.Buffer.from_bytes(document)}
        self._array = zarr.open_array(MemoryStore(self._held), mode="r+")
        self.shape = self._array.shape

    def put(self, realization: int, chunk: int, values: NDArray[np.float32]) -> None:
        """Put one chunk of months, unless it is there already."""
        first = chunk * MONTHS
        self._array[realization, first : first + len(values)] = values
        key = self._array.metadata.encode_chunk_key((realization, chunk, 0, 0))
        data = self._held.pop(key).to_bytes()
        if self._place.read(f"{self._root}/{key}") != data:
            self._place.replace(f"{self._root}/{key}", data)
