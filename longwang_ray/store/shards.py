"""Shards: rain rounded, encoded in memory and put once.

Rounding keeps k of the 23 mantissa bits, to nearest, ties to even (relative error ≤ 2^-(k+1));
what it zeroes compresses well, and readers need no filter. Encoding is done by Zarr itself, on an
array in memory with the real array's metadata; the bytes it makes are what is put.

The bytes must not depend on the machine's load, so Blosc may not use threads: its threads append
their blocks in the order in which they finish.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, cpu
from zarr.storage import MemoryStore

from longwang_ray.store.objects import Place, StoreError
from longwang_ray.store.receipts import (
    Index,
    Receipt,
    digest,
    put_receipt,
    read_receipt,
    supersede,
)

numcodecs.blosc.use_threads = False

SECONDS_A_DAY = 86400.0
_MANTISSA = 23
BAD_RECEIPT = "its receipt cannot be read"


def round_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round to ``bits`` mantissa bits, to nearest, ties to even.

    Args:
        values: Finite values, any shape.
        bits: 1 … 23; 23 changes nothing.

    >>> round_mantissa(np.float32([1.0, 1.0 + 2**-9, 1.0 + 2**-10]), 9).tolist()
    [1.0, 1.001953125, 1.0]
    """
    if not 1 <= bits <= _MANTISSA:
        raise ValueError(f"mantissa_bits: {bits}; must be from 1 to {_MANTISSA}")
    drop = _MANTISSA - bits
    if drop == 0:
        return values
    whole = np.ascontiguousarray(values, np.float32).view(np.int32)
    rounded = (whole + ((whole >> drop) & 1) + ((1 << (drop - 1)) - 1)) & ~((1 << drop) - 1)
    return rounded.astype(np.int32, copy=False).view(np.float32)


class ShardCodec:
    """Encodes and decodes the shards of one array, by its metadata document.

    Args:
        document: The array's ``zarr.json``.
        bits: Mantissa bits that are kept.
    """

    def __init__(self, document: bytes, bits: int) -> None:
        self._held: dict[str, Buffer] = {"zarr.json": cpu.Buffer.from_bytes(document)}
        self._array = zarr.open_array(MemoryStore(self._held), mode="r+")
        self._bits = bits
        shards = self._array.shards
        if shards is None:
            raise StoreError(
                "the array pr is not sharded; this store was not made by longwang_ray"
            )
        self.shape, self.shards = self._array.shape, shards

    def key(self, shard: Index) -> str:
        """Return the key of a shard below the array."""
        return str(self._array.metadata.encode_chunk_key(shard))

    def region(self, shard: Index) -> tuple[slice, ...]:
        """Return the part of the array that a shard holds, clipped at the array's end.

        Raises:
            StoreError: There is no such shard.
        """
        starts = [k * size for k, size in zip(shard, self.shards, strict=True)]
        if any(not 0 <= start < n for start, n in zip(starts, self.shape, strict=True)):
            raise StoreError(f"shard {shard} lies outside the array of shape {self.shape}")
        stops = [
            min(a + size, n) for a, size, n in zip(starts, self.shards, self.shape, strict=True)
        ]
        return tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))

    def encode(self, shard: Index, rain: NDArray[np.float32]) -> bytes:
        """Encode a shard's rain.

        Args:
            shard: Its index.
            rain: mm/day, shape ``(days, lat, lon)`` of the shard, clipped at the array's end.

        Raises:
            StoreError: The shape is another, or a value is negative or not finite.
        """
        region = self.region(shard)
        shape = tuple(part.stop - part.start for part in region)
        if (1, *rain.shape) != shape:
            raise StoreError(f"shard {shard} holds {shape[1:]} cells but was given {rain.shape}")
        low = float(rain.min())  # NaN if any value is
        if not (low >= 0 and np.isfinite(rain.max())):
            raise StoreError(f"shard {shard} would hold a value that is negative or not finite")
        flux = np.empty(shape, np.float32)
        for day, field in enumerate(rain):  # a shard of the globe is 130 MB, its copies are not
            scaled = field / np.float32(SECONDS_A_DAY) + np.float32(0)  # + 0 makes -0 a 0
            flux[0, day] = round_mantissa(scaled.astype(np.float32, copy=False), self._bits)
        self._array[region] = flux
        return self._held.pop(self.key(shard)).to_bytes()

    def decode(self, shard: Index, data: bytes) -> NDArray[np.float32]:
        """Decode a shard into kg m-2 s-1, shape ``(days, lat, lon)``, clipped at its end."""
        key = self.key(shard)
        self._held[key] = cpu.Buffer.from_bytes(data)
        try:
            flux: NDArray[np.float32] = np.asarray(self._array[self.region(shard)], np.float32)[0]
            return flux
        finally:
            del self._held[key]


@dataclass(frozen=True, eq=False)
class Checked:
    """What reading a shard showed.

    Attributes:
        data: The object; empty if there is none.
        rain: kg m-2 s-1, ``(days, lat, lon)``; None if it cannot be decoded or is not what was
            written.
        damage: Why the shard has to be made again; None if it has not.
        remarks: What else is to be told: of its receipt, or its recipe.
    """

    data: bytes
    rain: NDArray[np.float32] | None
    damage: str | None = None
    remarks: tuple[str, ...] = ()


class ShardStore:
    """The shards of one group: where they are, how they are encoded, by which recipe.

    Args:
        place: The store.
        path: The group's path.

    Raises:
        StoreError: There is no such group.
    """

    def __init__(self, place: Place, path: str) -> None:
        about, document = place.read(f"{path}/zarr.json"), place.read(f"{path}/pr/zarr.json")
        if about is None or document is None:
            raise StoreError(f"{place.url} has no group {path}; create the store first")
        attributes = json.loads(about)["attributes"]
        self.place, self.path = place, path
        self.recipe = str(attributes["recipe_sha256"])
        self.bits = int(json.loads(attributes["layout"])["mantissa_bits"])
        self.codec = ShardCodec(document, self.bits)

    def key(self, shard: Index) -> str:
        """Return the key of a shard below the store's root."""
        return f"{self.path}/pr/{self.codec.key(shard)}"

    def put(self, shard: Index, rain: NDArray[np.float32], tile: str) -> Receipt:
        """Encode a shard, put it unless there is one, and then its receipt.

        If the store already has it (a retry, a lost answer, another driver), that object stays; if
        it differs, the receipt tells what was rejected.

        Raises:
            StoreError: What is there cannot be read.
        """
        began = time.monotonic()
        data = self.codec.encode(shard, rain)
        encoding = round(time.monotonic() - began, 3)
        ours = digest(data)
        about = {"recipe": self.recipe, "tile": tile, "sha256": ours}
        created = self.place.put_once(self.key(shard), data, about)
        if created:  # a receipt that stands already is that of a shard which somebody took away
            supersede(self.place, self.path, shard, ours)
        kept = data if created else self._kept(shard)
        rejected = None if digest(kept) == ours else ours
        seconds = round(time.monotonic() - began, 3)
        known = (digest(kept), len(kept), self.recipe, tile, seconds, rejected, encoding)
        receipt = Receipt(shard, *known)
        put_receipt(self.place, self.path, receipt)
        return receipt

    def check(self, shard: Index) -> Checked:
        """Read a shard, and compare it with its receipt and with what rain can be."""
        data = self.place.read(self.key(shard)) or b""
        remarks = []
        try:
            receipt = read_receipt(self.place, self.path, shard)
            if receipt is None:
                remarks.append("has no receipt; run again to check and sign it")
            elif receipt.sha256 != digest(data):
                said = f"corrupt: {len(data)} bytes whose digest is not the receipt's"
                return Checked(data, None, said)
            elif receipt.recipe != self.recipe:
                made = f"was made by the recipe {receipt.recipe[:12]}, not the group's"
                remarks.append(made)
        except (ValueError, KeyError, TypeError):
            remarks.append(BAD_RECEIPT)
        try:
            rain = self.codec.decode(shard, data)
        except Exception as error:  # whatever a codec says of torn bytes
            said = f"corrupt: {type(error).__name__}: {error}".splitlines()[0]
            return Checked(data, None, said, tuple(remarks))
        return Checked(data, rain, _impossible(rain), tuple(remarks))

    def _kept(self, shard: Index) -> bytes:
        """Return the bytes of the shard that is there, if they are what its receipt says."""
        there = self.check(shard)
        if there.damage or BAD_RECEIPT in there.remarks:
            raise StoreError(
                f"{self.place.path(self.key(shard))} is corrupt and nothing is overwritten"
                f" ({there.damage or BAD_RECEIPT}); run with --repair to move it away and make it"
                " again"
            )
        return there.data


def _impossible(rain: NDArray[np.float32]) -> str | None:
    """Say in what values cannot be rain."""
    if not np.isfinite(rain).all():
        return f"corrupt: {int((~np.isfinite(rain)).sum())} values are not finite"
    if rain.min() < 0:
        return f"corrupt: {int((rain < 0).sum())} values are negative"
    return None
