"""The store of a run: made once, resumed by listing, opened.

The store itself is the ledger of what is done: a shard that is there and has its receipt is done.
The same recipe again resumes; another recipe is refused, with each difference named. More
realizations, a longer period, another scenario or model only add. Nothing is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.store.groups import (
    MARK,
    Box,
    consolidate,
    done,
    group_paths,
    parents,
    read_group,
    read_json,
    update_attributes,
)
from longwang_ray.store.metadata import NODES, GroupSpec, canonical, group_objects
from longwang_ray.store.objects import Place, StoreError

Fate = Literal["created", "resumed", "extended"]
Options = Mapping[str, Any] | None


def create_store(
    url: str, groups: Iterable[GroupSpec], storage_options: Options = None
) -> dict[str, Fate]:
    """Write all metadata of a run, or take up that of an earlier one.

    Args:
        url: Where; a new place, or a store of ours.
        groups: What the run will write.
        storage_options: For the filesystem.

    Returns:
        What became of each group, by its path.

    Raises:
        StoreError: The place holds something else, or a group was made by another recipe; nothing
            has been written then.
        StoreRefused: The place is not there, or may not be written.
        StoreUnreachable: It does not answer.
    """
    place, specs = Place(url, storage_options), list(groups)
    place.require_ready()
    _require_ours(place)
    known = {spec.group.path: read_json(place, f"{spec.group.path}/zarr.json") for spec in specs}
    for spec in specs:
        _require_same(place, spec, known[spec.group.path])
    place.sweep()
    place.put_once("zarr.json", _group_document({MARK: 1, "title": "longwang_ray ensembles"}))
    fates: dict[str, Fate] = {}
    for spec in specs:
        if known[spec.group.path] is None:
            _create(place, spec)
            fates[spec.group.path] = "created"
        else:
            fates[spec.group.path] = "extended" if _extend(place, spec) else "resumed"
    consolidate(place, list(fates))
    return fates


def finished(url: str, path: str, storage_options: Options = None) -> NDArray[np.bool_]:
    """List a group's shards that are done: there, and with their receipt.

    Returns:
        One truth value a shard, shape ``(realization, time, lat, lon)`` of the shard grid.
    """
    return done(Place(url, storage_options), path)


def open_ensemble(
    url: str, group: str | None = None, storage_options: Options = None
) -> xr.Dataset:
    """Open a group as a dataset with ``pr(realization, time, lat, lon)`` in kg m-2 s-1.

    Args:
        url: The store.
        group: The group's path, e.g. ``CMCC-CM2-SR5/historical/r1i1p1f1``; may be left out if the
            store has only one.
        storage_options: For the filesystem.

    Raises:
        StoreError: There is no such group, or more than one to choose from.
    """
    place = Place(url, storage_options)
    paths = group_paths(place)
    if group is None and len(paths) == 1:
        group = paths[0]
    if group not in paths:
        asked = "name one of its groups" if group is None else f"it has no group {group}"
        raise StoreError(f"{url}: {asked}: {', '.join(paths) or 'it has none'}")
    opened: xr.Dataset = xr.open_zarr(url, group=group, storage_options=place.options or None)
    return opened


def open_tree(url: str, storage_options: Options = None) -> xr.DataTree:
    """Open all groups of a store as a tree, each as :func:`open_ensemble` opens one.

    Args:
        url: The store.
        storage_options: For the filesystem.

    Raises:
        StoreError: There is no store of ours.
    """
    place = Place(url, storage_options)
    group_paths(place)
    options = place.options or None
    tree: xr.DataTree = xr.open_datatree(url, engine="zarr", storage_options=options)
    return tree


def _require_ours(place: Place) -> None:
    """Refuse a place that holds anything but a store of ours."""
    root = read_json(place, "zarr.json")
    ours = root is not None and MARK in root.get("attributes", {})
    if not ours and next(place.listing(""), None) is not None:
        raise StoreError(
            f"output.path: {place.url} holds files that are not a store of longwang_ray, and"
            " nothing is overwritten; choose another path"
        )


def _require_same(place: Place, spec: GroupSpec, known: dict[str, Any] | None) -> None:
    """Refuse a group made by another recipe or of other cells, naming the differences."""
    if known is None:
        return
    attributes = known["attributes"]
    old = {"recipe": json.loads(attributes["recipe"]), "layout": json.loads(attributes["layout"])}
    new = {"recipe": json.loads(canonical(spec.recipe)), "layout": spec.frame()}
    different = list(differences(old, new))
    if different:
        raise StoreError(
            f"output.path: {place.url}: group {spec.group.path} was made otherwise, and nothing is"
            " overwritten:\n"
            + "\n".join(f"  {line}" for line in different)
            + "\nchoose another output.path, or go back to what the store has"
        )


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield a line for each leaf in which two JSON values differ.

    >>> list(differences({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}))
    ['a.b: the store has 1, now 2', 'a.c: the store has nothing, now 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in old:
                yield f"{inner}: the store has nothing, now {json.dumps(new[key])}"
            elif key not in new:
                yield f"{inner}: the store has {json.dumps(old[key])}, now nothing"
            else:
                yield from differences(old[key], new[key], inner)
    elif old != new:
        yield f"{path}: the store has {json.dumps(old)}, now {json.dumps(new)}"


def _create(place: Place, spec: GroupSpec) -> None:
    """Put a new group; one that an interrupted run left half made is completed."""
    for parent in parents(spec.group.path):
        place.put_once(f"{parent}/zarr.json", _group_document({}))
    for key, data in group_objects(spec).items():
        full = f"{spec.group.path}/{key}"
        if place.put_once(full, data) or _same(there := place.read(full), data):
            continue
        if key == "zarr.json" and there is not None:  # another driver was quicker by a moment
            _require_same(place, spec, json.loads(there))
            _extend(place, spec)
        else:
            raise StoreError(
                f"{place.path(full)} was left by another run that did not finish; move the group"
                f" {spec.group.path} away, or choose another output.path"
            )


def _same(there: bytes | None, data: bytes) -> bool:
    """Whether two objects say the same; JSON may be laid out otherwise by another Zarr."""
    if there == data or there is None:
        return there == data
    try:
        return bool(json.loads(there) == json.loads(data))
    except ValueError:
        return False


def _extend(place: Place, spec: GroupSpec) -> bool:
    """Make room for more realizations and note what is asked; return whether anything changed."""
    path = spec.group.path
    info = read_group(place, path)
    if spec.realizations > info.realizations:
        for key, data in group_objects(spec).items():
            if "realization/c/" in key:
                place.put_once(f"{path}/{key}", data)
    for node in NODES:
        document = read_json(place, f"{path}/{node}/zarr.json")
        if document and document.get("dimension_names", [None])[:1] == ["realization"]:
            if document["shape"][0] < spec.realizations:
                document["shape"][0] = spec.realizations
                place.replace(f"{path}/{node}/zarr.json", json.dumps(document).encode())
    asked = _merged(info.asked, (spec.realizations, *spec.asked))
    changed = update_attributes(place, path, {"asked_shards": [list(box) for box in asked]})
    return changed or spec.realizations > info.realizations


def _merged(boxes: Iterable[Box], new: Box) -> list[Box]:
    """Add what is asked now to what was, without what the one or the other already holds."""

    def holds(one: Box, other: Box) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one[2] >= other[2]

    old = list(boxes)
    if any(holds(box, new) for box in old):
        return old
    return [*(box for box in old if not holds(new, box)), new]


def _group_document(attributes: Mapping[str, Any]) -> bytes:
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    return json.dumps(document).encode()
