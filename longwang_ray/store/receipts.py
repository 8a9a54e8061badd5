"""Receipts: what was written for a shard, kept beside the shard and written after it.

A disk keeps no metadata with a file, so a shard's digest and recipe stand in a small object of
their own. A shard with its receipt is done; one without is checked again before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from longwang_ray.store.objects import Place

Index = tuple[int, int, int, int]
"""Place of a shard in the array's shard grid: realization, time, lat, lon."""


@dataclass(frozen=True)
class Receipt:
    """What is known of one shard.

    Attributes:
        shard: Its index.
        sha256: Digest of the object that is on the store.
        size: Bytes of that object.
        recipe: Digest of the recipe it was made by.
        tile: Key of the tile that wrote it.
        seconds: Time of encoding and putting it.
        rejected: Digest of a later, different object by the same recipe, which was not written:
            the first one is kept.
        encoding: What of these seconds was encoding.
    """

    shard: Index
    sha256: str
    size: int
    recipe: str
    tile: str
    seconds: float
    rejected: str | None = None
    encoding: float = 0.0

    def to_json(self) -> bytes:
        """Return the receipt as an object's bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Receipt:
        """Read a receipt back."""
        values = json.loads(data)
        r, t, i, j = values.pop("shard")
        return cls(shard=(r, t, i, j), **values)


def digest(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def receipts_of(path: str) -> str:
    """Return the folder of a group's receipts; inside the array, where Zarr looks for no nodes."""
    return f"{path}/pr/receipts"


def receipt_key(path: str, shard: Index, what: str = "json") -> str:
    """Return the key of a shard's receipt: by realization, so that no folder is too long."""
    realization, *place = map(str, shard)
    return f"{receipts_of(path)}/{realization}/{'.'.join(place)}.{what}"


def put_receipt(place: Place, path: str, receipt: Receipt) -> None:
    """Write a receipt unless the shard has one; a rejected shard gets one of its own besides."""
    if receipt.rejected:
        name = f"rejected-{receipt.rejected[:12]}.json"
        place.put_once(receipt_key(path, receipt.shard, name), receipt.to_json())
        receipt = replace(receipt, rejected=None)
    place.put_once(receipt_key(path, receipt.shard), receipt.to_json())


def supersede(place: Place, path: str, shard: Index, sha256: str) -> None:
    """Give the receipt of an object that is gone another name; it stays if it fits the new one."""
    key = receipt_key(path, shard)
    data = place.read(key)
    if data is None:
        return
    try:
        fits = Receipt.from_json(data).sha256 == sha256
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        place.move(key, receipt_key(path, shard, f"superseded-{secrets.token_hex(4)}.json"))


def read_receipt(place: Place, path: str, shard: Index) -> Receipt | None:
    """Return a shard's receipt, or None if it has none.

    Raises:
        ValueError, KeyError, TypeError: It cannot be read.
    """
    data = place.read(receipt_key(path, shard))
    return None if data is None else Receipt.from_json(data)


def receipted(
    place: Place, path: str, realization: int | None = None
) -> Iterator[tuple[Index, bool]]:
    """Yield, by listing alone, each shard with a receipt, and whether it is one of a rejection.

    Args:
        place: The store.
        path: The group's path.
        realization: Of this one only.
    """
    folder = receipts_of(path)
    for key in place.listing(folder if realization is None else f"{folder}/{realization}"):
        *_, number, name = key.rsplit("/", 2)
        if not number.isdigit():  # of an earlier version, all in one folder
            continue
        t, i, j, *what = name.split(".")
        if what == ["json"] or what[0].startswith("rejected"):
            yield (int(number), int(t), int(i), int(j)), what != ["json"]
