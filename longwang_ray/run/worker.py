"""What a worker does with a tile: sample it, write its shards, tell the driver in a few words."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from longwang_ray.domain.layout import SHARD_DAYS
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import Tile
from longwang_ray.engine import StopRun
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import SampledTile, Sampling, sample_tile
from longwang_ray.prior.bundle import open_prior
from longwang_ray.store import Ledger, ShardWriter

HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
SMALLEST_MONTH = 0.01
"""Rain below which relative differences say nothing, mm/day."""


@dataclass(frozen=True)
class TileReport:
    """What the driver hears of a finished tile.

    Attributes:
        shards: Shards written.
        bytes: Bytes on the store.
        rejected: Shards that another worker had written first, with other bytes.
    """

    shards: int
    bytes: int
    rejected: int


@dataclass(frozen=True)
class WorkerFactory:
    """Makes a worker where it will work.

    Attributes:
        prior: Name or URL of the prior.
        sources: Monthly rain of each group, by its path.
        sampling: How.
        seed: Of the noise.
        store: URL of the store.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads of a worker; sums depend on them to the last bit.
    """

    prior: str
    sources: Mapping[str, MonthlyRain]
    sampling: Sampling
    seed: int
    store: str
    device: str
    threads: int

    def __call__(self) -> TileWorker:
        """The worker, with the prior in memory."""
        return TileWorker(self)


class TileWorker:
    """Holds the prior and writes tiles.

    Args:
        job: What it was made from.
    """

    def __init__(self, job: WorkerFactory) -> None:
        torch.set_num_threads(job.threads)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.job = job
        self.prior = open_prior(job.prior).to(job.device)
        self.writer = ShardWriter(job.store)

    def __call__(self, tile: Tile) -> TileReport:
        """Sample a tile and write what it owns.

        Raises:
            StopRun: if the store cannot be written and no retry can help.
        """
        job, group = self.job, tile.group
        monthly = job.sources[group.path]
        key = NoiseKey(job.seed, group.gcm, group.variant, tile.realization)
        sampled = sample_tile(self.prior, tile, monthly, key, job.sampling, job.device)
        try:
            return self._write(tile, sampled, monthly)
        except OSError as error:
            if error.errno in HOPELESS:
                raise StopRun(f"cannot write to {job.store}: {error}") from error
            raise

    def close(self) -> None:
        """Let the writer finish."""
        self.writer.close()

    def _write(self, tile: Tile, sampled: SampledTile, monthly: MonthlyRain) -> TileReport:
        # The ledger first: once the last shard has its receipt, the tile is never looked at again.
        if sampled.ledger:
            self.writer.put_ledger(tile.group, tile.key, ledger_of(tile, sampled, monthly))
        starts = range(0, len(sampled.rain), SHARD_DAYS)
        for shard, first in zip(tile.shard_indices, starts, strict=True):
            self.writer.put(tile.group, shard, sampled.rain[first : first + SHARD_DAYS], tile.key)
        receipts = self.writer.flush()
        rejected = sum(receipt.rejected is not None for receipt in receipts)
        return TileReport(len(receipts), sum(receipt.size for receipt in receipts), rejected)


def ledger_of(tile: Tile, sampled: SampledTile, monthly: MonthlyRain) -> Ledger:
    """How well each month was met, as relative differences from the observation."""
    months = [entry.month for entry in sampled.ledger]
    y = monthly.rain[months]
    scale = np.maximum(y, SMALLEST_MONTH)
    before, after, factor, conflict = (
        np.stack([getattr(entry, name) for entry in sampled.ledger])
        for name in ("before", "after", "factor", "conflict")
    )
    fields = {
        "closure_before": (before - y) / scale,
        "closure_after": (after - y) / scale,
        "closure_factor": factor,
        "conflict": conflict,
    }
    return Ledger.from_grids(tile.realization, months, fields)
