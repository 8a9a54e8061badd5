"""The monthly ledger: how well each month of each GCM cell was met; told by tiles, then joined.

A tile tells of every month × GCM cell that it computed, and of the share of it that lies in its
core. Where two tiles tell of the same one, the larger share is right (of equal ones, the first by
name), so the joined arrays do not depend on who came first.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.store.metadata import MONTHLY, MONTHS
from longwang_ray.store.objects import Place, StoreError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ledger:
    """What one tile tells.

    Attributes:
        realization: Index of the sample.
        months: Indices into the source's record.
        rows: Indices into the GCM grid's latitudes.
        columns: Indices into the GCM grid's longitudes.
        share: Part of each month × cell that is in the tile's core, ``(month, row, column)``.
        fields: By name (``closure_before``, ``closure_after``, ``conflict``), same shape; NaN: not
            observed.
    """

    realization: int
    months: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    share: Floats
    fields: Mapping[str, Floats]

    def __post_init__(self) -> None:
        shape = (len(self.months), len(self.rows), len(self.columns))
        unknown = set(self.fields) - set(MONTHLY)
        if unknown:
            raise StoreError(
                f"ledger fields {sorted(unknown)} are unknown; known: {list(MONTHLY)}"
            )
        for name, values in {"share": self.share, **self.fields}.items():
            if values.shape != shape:
                raise StoreError(f"ledger field {name} has shape {values.shape}, expected {shape}")

    @classmethod
    def from_grids(
        cls, realization: int, months: Sequence[int], fields: Mapping[str, Floats]
    ) -> Ledger:
        """Cut to the rows and columns that are told, each told by this tile alone.

        Args:
            realization: Index of the sample.
            months: Indices into the source's record.
            fields: On the whole GCM grid, ``(month, gcm_lat, gcm_lon)``; NaN where not told.
        """
        told = np.any([np.isfinite(values) for values in fields.values()], axis=0)
        rows, columns = (
            np.flatnonzero(told.any(axis=(0, 2))),
            np.flatnonzero(told.any(axis=(0, 1))),
        )
        part = np.ix_(np.arange(len(months)), rows, columns)
        cut = {name: np.asarray(values[part], np.float32) for name, values in fields.items()}
        share = told[part].astype(np.float32)
        return cls(realization, np.asarray(months, np.int64), rows, columns, share, cut)


def put_ledger(place: Place, path: str, tile: str, ledger: Ledger) -> bool:
    """Write a tile's ledger unless there is one or nothing to tell; return whether it was."""
    if not ledger.share.size:
        return False
    axes = {name: getattr(ledger, name) for name in ("months", "rows", "columns", "share")}
    fields = {f"field_{name}": values for name, values in ledger.fields.items()}
    arrays: dict[str, Any] = {**axes, **fields}
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    span = f"{int(min(ledger.months))}-{int(max(ledger.months))}"
    key = f"{_folder(path, ledger.realization)}/{span}~{tile}.npz"
    return place.put_once(key, held.getvalue())


def join(
    place: Place,
    path: str,
    realization: int,
    months: range,
    shape: tuple[int, int],
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Join the ledgers of one realization, a chunk of months at a time.

    Args:
        place: The store.
        path: The group's path.
        realization: Which.
        months: The months of the record that are stored.
        shape: GCM latitudes and longitudes.

    Yields:
        The chunk's number and its arrays by name, ``(month, gcm_lat, gcm_lon)``.
    """
    keys = sorted(place.listing(_folder(path, realization)), key=lambda key: key.split("~", 1)[1])
    for number, start in enumerate(range(months.start, months.stop, MONTHS)):
        chunk = range(start, min(start + MONTHS, months.stop))
        told = [key for key in keys if _touches(key, chunk)]
        if told:
            yield number, _join_chunk(place, told, realization, chunk, shape)


def read_ledger(place: Place, key: str, realization: int) -> Ledger:
    """Read a tile's ledger back."""
    data = place.read(key)
    if data is None:
        raise StoreError(f"{place.path(key)} was listed but cannot be read")
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        fields = {
            name.removeprefix("field_"): held[name] for name in held.files if name[:6] == "field_"
        }
        axes = (held["months"], held["rows"], held["columns"])
        return Ledger(realization, *axes, held["share"], fields)


def _folder(path: str, realization: int) -> str:
    return f"{path}/pr/ledger/{realization}"


def _touches(key: str, chunk: range) -> bool:
    first, last = map(int, key.rsplit("/", 1)[-1].split("~", 1)[0].split("-"))
    return first < chunk.stop and last >= chunk.start


def _join_chunk(
    place: Place, keys: list[str], realization: int, chunk: range, shape: tuple[int, int]
) -> dict[str, Floats]:
    best = np.zeros((len(chunk), *shape), np.float32)
    joined = {name: np.full(best.shape, np.nan, np.float32) for name in MONTHLY}
    for key in keys:
        ledger = read_ledger(place, key, realization)
        inside = np.flatnonzero((ledger.months >= chunk.start) & (ledger.months < chunk.stop))
        where = np.ix_(ledger.months[inside] - chunk.start, ledger.rows, ledger.columns)
        better = ledger.share[inside] > best[where]
        best[where] = np.where(better, ledger.share[inside], best[where])
        for name, values in ledger.fields.items():
            joined[name][where] = np.where(better, values[inside], joined[name][where])
    return joined
