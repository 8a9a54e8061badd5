"""What stands in a group beside the rain, object by object: is it there, and can it be read?

These objects have no receipts, so what is asked of them is that each can be decoded, and that
coordinates are finite and in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, cpu
from zarr.storage import MemoryStore

from longwang_ray.store.groups import consolidated, read_json
from longwang_ray.store.metadata import MONTHLY
from longwang_ray.store.objects import Place

_SPARSE = {*MONTHLY, "observation", "quantization_info"}
"""Arrays of which a chunk need not be there: nothing was told, or it is the fill value."""


def harmed_nodes(place: Place, path: str) -> Iterator[tuple[str, str]]:
    """Yield the key of each object beside the rain that is missing or damaged, and what it has.

    Args:
        place: The store, whose root's ``zarr.json`` can be read.
        path: A group's path.
    """
    for node in sorted(consolidated(read_json(place, "zarr.json") or {})):
        if node == path or node.startswith(f"{path}/"):
            yield from _harmed(place, node)


def _harmed(place: Place, node: str) -> Iterator[tuple[str, str]]:
    key = f"{node}/zarr.json"
    document = place.read(key)
    if document is None:
        yield key, "missing"
        return
    try:
        about = json.loads(document)
        if about["node_type"] == "group":
            return
        array = _open(document)
    except Exception as error:  # whatever Zarr says of a document that is not its own
        yield key, _corrupt(error)
        return
    if not node.endswith("/pr"):
        yield from _harmed_chunks(place, node, document, array)


def _harmed_chunks(
    place: Place, node: str, document: bytes, array: zarr.Array[Any]
) -> Iterator[tuple[str, str]]:
    chunks = sorted(key for key in place.listing(node) if not key.endswith("/zarr.json"))
    name = node.rsplit("/", 1)[-1]
    if name not in _SPARSE:
        whole = prod(-(-n // size) for n, size in zip(array.shape, array.chunks, strict=True))
        if len(chunks) < whole:
            yield f"{node}/c", f"{whole - len(chunks)} of {whole} chunks are missing"
    for key in chunks:
        try:
            values = _decode(document, key.removeprefix(f"{node}/"), place.read(key) or b"")
        except Exception as error:  # whatever a codec says of torn bytes
            yield key, _corrupt(error)
            continue
        if name not in _SPARSE and not _is_axis(values):
            yield key, "corrupt: its values are not finite or not in order"


def _open(document: bytes, **objects: bytes) -> zarr.Array[Any]:
    held: dict[str, Buffer] = {
        key: cpu.Buffer.from_bytes(data)
        for key, data in {"zarr.json": document, **objects}.items()
    }
    opened = zarr.open_array(MemoryStore(held), mode="r")
    return opened


def _decode(document: bytes, key: str, data: bytes) -> NDArray[Any]:
    """Decode one chunk, by its key below the array."""
    place = tuple(int(part) for part in key.split("/")[1:])
    array = _open(document, **{key: data})
    return np.asarray(array.blocks[place] if place else array[...])


def _is_axis(values: NDArray[Any]) -> bool:
    steps = np.diff(values.astype(float), axis=0)
    return bool(np.isfinite(values).all() and ((steps > 0).all() or (steps < 0).all()))


def _corrupt(error: Exception) -> str:
    return f"corrupt: {type(error).__name__}: {error}".splitlines()[0]
