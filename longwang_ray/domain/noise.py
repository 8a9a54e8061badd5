"""Which noise a cell has: a pure function of whose it is and where the cell is, never of a tile.

    ε(key, stream, block, cell) = Box–Muller( Philox4x64( key = hash(version, key, stream),
                                                          counter = (place in the block, block) ) )

A block is one lattice stride in time over the whole globe, so any extent finds the same values in
the same cells. The scenario is left out of the key on purpose: two scenarios of one climate model
share their random numbers, and their difference shows the forced signal. Philox's raw output is
fixed by its paper; the normal transform is our own, because numpy's may change with a release.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.lattice import Extent, Lattice

NOISE_VERSION = 1
LANES = 4  # 64-bit words that one Philox counter gives

Normals = NDArray[np.float32]


@dataclass(frozen=True)
class NoiseKey:
    """Whose noise it is; the scenario is absent (common random numbers).

    Attributes:
        seed: The run's seed.
        gcm: Climate model.
        variant: Its variant, e.g. r1i1p1f1.
        realization: Index of our sample.
    """

    seed: int
    gcm: str
    variant: str
    realization: int

    def words(self, stream: int = 0) -> NDArray[np.uint64]:
        """The 128-bit Philox key of one stream (0: the first noise; 1 + step: injected later)."""
        parts = [NOISE_VERSION, self.seed, self.gcm, self.variant, self.realization, stream]
        text = json.dumps(parts, separators=(",", ":"))
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def noise_block(
    key: NoiseKey,
    block: int,
    channels: int,
    shape: tuple[int, int, int],
    stream: int = 0,
    rows: tuple[int, int] | None = None,
) -> Normals:
    """Standard normals of one time block.

    Args:
        key: Whose noise.
        block: Number of the block since day 0 of the calendar; may be negative.
        channels: Latent channels.
        shape: Latent cells of a block: ``(stride in time, lat, lon)`` of the whole globe.
        stream: Which field of this key: 0 is the first noise, 1 + step what is injected at a step.
        rows: Latitudes ``[first, stop)`` wanted, all if omitted; the values do not depend on it.

    Returns:
        Noise, shape ``(channels, time, rows, lon)``, float32.
    """
    days, n_lat, n_lon = shape
    first, stop = rows or (0, n_lat)
    if not 0 <= first < stop <= n_lat:
        raise ValueError(f"rows [{first}, {stop}) are not in the block's [0, {n_lat})")
    wanted = channels * days * n_lon
    per_row = -(-wanted // LANES)  # a row has counters of its own, so that it can be drawn alone
    counter = [first * per_row, block % 2**64, 0, 0]
    philox = np.random.Philox(key=key.words(stream), counter=np.array(counter, dtype=np.uint64))
    raw = philox.random_raw((stop - first) * per_row * LANES)
    normals = _box_muller(raw).reshape(stop - first, per_row * LANES)[:, :wanted]
    return np.ascontiguousarray(
        normals.reshape(stop - first, channels, days, n_lon).transpose(1, 2, 0, 3)
    )


def noise_field(
    key: NoiseKey, extent: Extent, channels: int, lattice: Lattice, stream: int = 0
) -> Normals:
    """The noise of an extent: blocks of the whole globe, sliced.

    Args:
        key: Whose noise.
        extent: Where.
        channels: Latent channels.
        lattice: The globe's lattice; its stride in time is the length of a block.
        stream: 0 is the first noise, 1 + step what is injected at a step.

    Returns:
        Noise, shape ``(channels, *extent.shape)``, float32.
    """
    stride, time, lat = lattice.stride[0], extent.time, extent.lat
    shape = (stride, *lattice.shape)
    columns = extent.lon.cells()
    field = np.empty((channels, *extent.shape), np.float32)
    for block in range(time.start // stride, -(-time.stop // stride)):
        begin, end = max(block * stride, time.start), min((block + 1) * stride, time.stop)
        drawn = noise_block(key, block, channels, shape, stream, (lat.start, lat.stop))
        within = slice(begin - block * stride, end - block * stride)
        field[:, begin - time.start : end - time.start] = drawn[:, within][..., columns]
    return field


def _box_muller(raw: NDArray[np.uint64]) -> Normals:
    """Pairs of 64-bit words to pairs of independent standard normals."""
    uniform = ((raw >> np.uint64(11)) + np.uint64(1)) * 2.0**-53  # in (0, 1]
    radius = np.sqrt(-2 * np.log(uniform[0::2]))
    angle = 2 * np.pi * uniform[1::2]
    normals = np.empty(len(raw), np.float32)
    normals[0::2] = radius * np.cos(angle)
    normals[1::2] = radius * np.sin(angle)
    return normals
