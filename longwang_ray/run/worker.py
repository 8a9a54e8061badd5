"""What a worker does with a tile: sample it, write its shards, tell the driver in a few words.

Months are decoded one by one, and a shard goes to the writer's thread as soon as its last day is
there: no tile is held whole, and encoding and putting hide behind the decoding of what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from longwang_ray.domain.layout import SHARD_DAYS
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import Tile
from longwang_ray.engine import StopRun
from longwang_ray.posterior.decoding import DecodedMonth, MonthLedger
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.posterior.tile import Sampling, sample_months
from longwang_ray.prior.bundle import open_prior
from longwang_ray.run.allocator import settle
from longwang_ray.store import Ledger, ShardWriter, StoreRefused, StoreUnreachable
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import Index, read_receipt
from longwang_ray.store.shards import ShardStore

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch says in errors that have no type of their own."""

SMALLEST_MONTH = 0.01
"""Rain below which relative differences say nothing, mm/day."""


class OutOfMemory(RuntimeError):
    """A worker had less memory than its tile took; the message says what to change."""


@dataclass(frozen=True)
class TileReport:
    """What the driver hears of a finished tile.

    Attributes:
        shards: Shards written; none if all were there before.
        bytes: Bytes on the store.
        rejected: Shards that another worker had written first, with other bytes.
        cells: Cell-days of the core, which are on the store now.
        seconds: By stage: ``read``, ``sample``, ``decode``, ``close``, ``encode``, ``put``; the
            last two are the writer's thread's and pass beside the others.
    """

    shards: int
    bytes: int
    rejected: int
    cells: int
    seconds: Mapping[str, float]


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
        memory: Bytes that the plan foresaw for a worker; 0 if there was none.
    """

    prior: str
    sources: Mapping[str, MonthlyRain]
    sampling: Sampling
    seed: int
    store: str
    device: str
    threads: int
    memory: int = 0

    def __call__(self) -> TileWorker:
        """The worker, with the prior in memory."""
        return TileWorker(self)


class TileWorker:
    """Holds the prior and writes tiles.

    Args:
        job: What it was made from.
    """

    def __init__(self, job: WorkerFactory) -> None:
        settle()
        torch.set_num_threads(job.threads)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.job = job
        self.prior = open_prior(job.prior).to(job.device)
        self.place = Place(job.store)
        self.writer = ShardWriter(job.store)

    def __call__(self, tile: Tile) -> TileReport:
        """Sample a tile and write what it owns, unless it is there.

        Raises:
            StopRun: if the store cannot be written and no retry can help.
            OutOfMemory: if the tile takes more than there is.
        """
        with explained(self.job, tile):
            if is_written(self.place, tile):  # its answer was lost, or another driver was first
                return TileReport(0, 0, 0, prod(tile.core_shape), {})
            return self._write(tile)

    def close(self) -> None:
        """Let the writer finish."""
        self.writer.close()

    def _write(self, tile: Tile) -> TileReport:
        job, group, clock = self.job, tile.group, Stopwatch(self.job.device)
        monthly, ledger = job.sources[group.path], list[MonthLedger]()
        key = NoiseKey(job.seed, group.gcm, group.variant, tile.realization)
        months = sample_months(self.prior, tile, monthly, key, job.sampling, job.device, clock)
        for shard, rain in cut(tile, months, ledger, clock):
            # The ledger before the last shard: with that one's receipt, the tile is done.
            if shard == tile.shard_indices[-1] and ledger:
                self.writer.put_ledger(group, tile.key, ledger_of(tile, ledger, monthly))
            self.writer.put(group, shard, rain, tile.key)
            del rain  # it is the writer's
        receipts = self.writer.flush()
        rejected = sum(receipt.rejected is not None for receipt in receipts)
        seconds = {k: round(s, 3) for k, s in {**clock.seconds, **self.writer.seconds}.items()}
        size = sum(receipt.size for receipt in receipts)
        return TileReport(len(receipts), size, rejected, prod(tile.core_shape), seconds)


def cut(
    tile: Tile, months: Iterable[DecodedMonth], ledger: list[MonthLedger], clock: Stopwatch
) -> Iterator[tuple[Index, np.ndarray]]:
    """The shards of a tile's core, ``(days, rows, columns)``, mm/day, as months come in.

    Args:
        tile: Whose core.
        months: Its months, in order.
        ledger: Takes how well each month was met, before the shard with its last day is given.
        clock: Takes the seconds of closing.
    """
    parts, day = _parts(tile, months, ledger), tile.days[0]
    for shard in tile.shard_indices:
        days = min(SHARD_DAYS, tile.days[1] - day)
        rain, filled = np.empty((days, *tile.core_shape[1:]), np.float32), 0
        while filled < days:
            open_rain, factor = next(parts)
            with clock("close"):
                np.multiply(open_rain, factor, out=rain[filled : filled + len(open_rain)])
            filled += len(open_rain)
            del open_rain, factor  # or a month is held while the next one is decoded
        day += days
        yield shard, rain


def _parts(
    tile: Tile, months: Iterable[DecodedMonth], ledger: list[MonthLedger]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Months, parted where shards begin: open rain and factors."""
    for month in months:
        if month.ledger is not None:
            ledger.append(month.ledger)
        first = (month.first_day - tile.days[0]) % SHARD_DAYS
        for begin in range(-first, len(month.open), SHARD_DAYS):
            yield month.open[max(begin, 0) : begin + SHARD_DAYS], month.factor
        del month


def is_written(place: Place, tile: Tile) -> bool:
    """Whether all shards of a tile are there with their receipts; usually one request says no."""
    path, shards = tile.group.path, tile.shard_indices
    if read_receipt(place, path, shards[-1]) is None:
        return False
    key = ShardStore(place, path).key
    return all(
        place.exists(key(shard)) and read_receipt(place, path, shard) is not None
        for shard in shards
    )


@contextmanager
def explained(job: WorkerFactory, tile: Tile) -> Iterator[None]:
    """Turn what no retry can help, and what has no words of its own, into errors that say so."""
    try:
        yield
    except (StoreRefused, StoreUnreachable) as error:
        raise StopRun(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(_too_small(job, tile)) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy, torch or its CPU allocator ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in NO_MEMORY)


def _too_small(job: WorkerFactory, tile: Tile) -> str:
    threads = f"{job.threads} {'thread' if job.threads == 1 else 'threads'}"
    return (
        f"{tile.key} ran out of memory on {job.device}, with {threads} and batches of "
        f"{job.sampling.batch} windows; {foreseen(job.memory)}"
    )


def foreseen(memory: int) -> str:
    """What a worker was to need, and what to change where it needs more."""
    size = f"{memory / 2**30:.2f} GiB" if memory else "nothing"
    return (
        f"the plan foresaw {size} for a worker; lower tiling.shards_per_tile, set "
        "tiling.shard_cells, run fewer engine.workers, or take a larger machine"
    )


def ledger_of(tile: Tile, entries: Sequence[MonthLedger], monthly: MonthlyRain) -> Ledger:
    """How well each month was met, as relative differences from the observation."""
    months = [entry.month for entry in entries]
    y = monthly.rain[months]
    scale = np.maximum(y, SMALLEST_MONTH)
    before, after, factor, conflict = (
        np.stack([getattr(entry, name) for entry in entries])
        for name in ("before", "after", "factor", "conflict")
    )
    fields = {
        "closure_before": (before - y) / scale,
        "closure_after": (after - y) / scale,
        "closure_factor": factor,
        "conflict": conflict,
    }
    return Ledger.from_grids(tile.realization, months, fields)
