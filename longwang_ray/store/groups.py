"""A store read by its driver: which groups it has, what they say of themselves, what is there.

What is there is found by listing alone. Attributes and the root's copy of all metadata are
replaced whole, and only by the driver; workers never touch them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.store.metadata import NODES
from longwang_ray.store.objects import Place, StoreError
from longwang_ray.store.receipts import receipted

Box = tuple[int, int, int]
"""What a run asked for: realizations ``0 … n − 1`` of the time shards ``[first, stop)``."""
Grid = tuple[int, int, int, int]
"""Shards on each axis: realization, time, lat, lon."""
MARK = "longwang_ray_store"


def group_paths(place: Place) -> list[str]:
    """Return the paths of a store's groups.

    Raises:
        StoreError: There is no store of ours at the place.
    """
    root = read_json(place, "zarr.json")
    if root is None or MARK not in root["attributes"]:
        raise StoreError(f"{place.url} is not a store of longwang_ray; check the path")
    docs = consolidated(root)
    return sorted(
        path for path, doc in docs.items() if "recipe_sha256" in doc.get("attributes", {})
    )


@dataclass(frozen=True)
class GroupInfo:
    """What a group says of itself.

    Attributes:
        path: The group's path.
        attributes: Its global attributes.
        frame: Calendar, days, rows, columns, shard, bits.
        realizations: Length of the dimension.
        asked: What runs have asked for: ``(realizations, first, stop)`` of time shards.
    """

    path: str
    attributes: Mapping[str, Any]
    frame: Mapping[str, Any]
    realizations: int
    asked: tuple[Box, ...]

    @property
    def grid(self) -> Grid:
        """Shards on each axis: realization, time, lat, lon."""
        shape = (self.frame["n_days"], self.frame["rows"][1], self.frame["columns"][1])
        t, i, j = (-(-n // size) for n, size in zip(shape, self.frame["shard"], strict=True))
        return self.realizations, t, i, j

    def expected(self) -> NDArray[np.bool_]:
        """Return which shards were asked for, shape ``grid``."""
        wanted = np.zeros(self.grid, bool)
        for realizations, first, stop in self.asked:
            wanted[:realizations, first:stop] = True
        return wanted


def read_group(place: Place, path: str) -> GroupInfo:
    """Read what a group says of itself.

    Raises:
        StoreError: There is no such group.
    """
    about, rain = read_json(place, f"{path}/zarr.json"), read_json(place, f"{path}/pr/zarr.json")
    if about is None or rain is None:
        raise StoreError(f"{place.url} has no group {path}")
    attributes = about["attributes"]
    asked = tuple((int(r), int(a), int(b)) for r, a, b in attributes["asked_shards"])
    frame = json.loads(attributes["layout"])
    return GroupInfo(path, attributes, frame, int(rain["shape"][0]), asked)


def listed(place: Place, path: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """List which shards have an object and which have a receipt, as arrays of the shard grid."""
    grid = read_group(place, path).grid
    there, signed = np.zeros(grid, bool), np.zeros(grid, bool)

    def look(realization: int) -> None:
        signed[realization] = _signed(place, path, grid, realization)
        for key in place.listing(f"{path}/pr/c/{realization}"):
            there[realization][_index(key)] = True

    beside(place, look, grid[0])
    return there, signed


def done(place: Place, path: str) -> NDArray[np.bool_]:
    """Find which shards are there with their receipt, as an array of the shard grid."""
    grid = read_group(place, path).grid
    found = np.zeros(grid, bool)

    def look(realization: int) -> None:
        found[realization] = done_one(place, path, grid, realization)

    beside(place, look, grid[0])
    return found


def done_one(place: Place, path: str, grid: Grid, realization: int) -> NDArray[np.bool_]:
    """Find which shards of one realization are there with their receipt, shape ``grid[1:]``."""
    signed, there = _signed(place, path, grid, realization), np.zeros(grid[1:], bool)
    folder = f"{path}/pr/c/{realization}"
    wanted = (f"{folder}/{t}/{i}/{j}" for t, i, j in np.argwhere(signed).tolist())
    for key in place.those_there(folder, wanted):
        there[_index(key)] = True
    return there & signed


def beside(place: Place, look: Callable[[int], None], realizations: int) -> None:
    """Look at realizations, some beside each other."""
    with ThreadPoolExecutor(max(min(realizations, place.at_once), 1)) as threads:
        for _ in threads.map(look, range(realizations)):
            pass


def _signed(place: Place, path: str, grid: Grid, realization: int) -> NDArray[np.bool_]:
    signed = np.zeros(grid[1:], bool)
    for shard, rejected in receipted(place, path, realization):
        if not rejected:
            signed[shard[1:]] = True
    return signed


def _index(key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in key.rsplit("/", 3)[1:])


def consolidate(place: Place, paths: Iterable[str]) -> None:
    """Copy the metadata of groups into the root, where readers look for all of it at once."""
    root = read_json(place, "zarr.json")
    if root is None:
        raise StoreError(f"{place.url} has no zarr.json")
    before = json.dumps(root, sort_keys=True)
    docs = consolidated(root)
    for path in paths:
        for node in [*parents(path), path, *(f"{path}/{name}" for name in NODES)]:
            document = read_json(place, f"{node}/zarr.json")
            if document is not None:
                docs[node] = document
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(docs.items()))}
    root["consolidated_metadata"] = inline
    if json.dumps(root, sort_keys=True) != before:
        place.replace("zarr.json", json.dumps(root).encode())


def update_attributes(place: Place, path: str, values: Mapping[str, Any]) -> bool:
    """Change a group's global attributes, if they differ; return whether they did."""
    document = read_json(place, f"{path}/zarr.json")
    if document is None:
        raise StoreError(f"{place.url} has no group {path}")
    changed = {**document["attributes"], **values}
    if changed == document["attributes"]:
        return False
    document["attributes"] = changed
    place.replace(f"{path}/zarr.json", json.dumps(document).encode())
    return True


def parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def read_json(place: Place, key: str) -> dict[str, Any] | None:
    data = place.read(key)
    return None if data is None else dict(json.loads(data))


def consolidated(root: Mapping[str, Any]) -> dict[str, Any]:
    return dict((root.get("consolidated_metadata") or {}).get("metadata", {}))
