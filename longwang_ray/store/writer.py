"""The writer thread: a tile's shards are encoded and put while the next ones are being sampled."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.layout import Group
from longwang_ray.store.ledger import Ledger, put_ledger
from longwang_ray.store.objects import PATIENCE, Place
from longwang_ray.store.receipts import Index, Receipt
from longwang_ray.store.shards import ShardStore

_Work = tuple[str, Index, NDArray[np.float32], str]
_STAGES = ("encode", "put")


class ShardWriter:
    """Writes shards behind the sampler's back: one thread, and a queue that bounds the memory.

    :meth:`put` returns at once unless ``depth`` shards are waiting. :meth:`flush` waits for all
    and returns their receipts; only then is a tile done. An error of the thread is raised by the
    next call of either, and what was queued behind it is dropped (never half written).

    Args:
        url: The store.
        storage_options: For the filesystem.
        depth: Shards that may wait.
        patience: Seconds for which a place that does not answer is asked again; the shards wait.

    Attributes:
        seconds: What the shards of the last :meth:`flush` took, by stage: ``encode``, ``put``.
    """

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        depth: int = 2,
        patience: float = PATIENCE,
    ) -> None:
        self._place = Place(url, storage_options, patience)
        self._stores: dict[str, ShardStore] = {}
        self._queue: queue.Queue[_Work | None] = queue.Queue(maxsize=depth)
        self._receipts: list[Receipt] = []
        self.seconds: Mapping[str, float] = dict.fromkeys(_STAGES, 0.0)
        self._spent = dict.fromkeys(_STAGES, 0.0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="shard-writer", daemon=True)
        self._thread.start()

    def put(self, group: Group, shard: Index, rain: NDArray[np.float32], tile: str) -> None:
        """Queue a shard; the array belongs to the writer from now on.

        Args:
            group: Where it belongs.
            shard: Its index.
            rain: mm/day, ``(days, lat, lon)`` of the shard.
            tile: Key of the tile that made it.
        """
        self._raise()
        self._queue.put((group.path, shard, rain, tile))

    def put_ledger(self, group: Group, tile: str, ledger: Ledger) -> bool:
        """Write a tile's monthly ledger now; return whether there was none yet."""
        return put_ledger(self._place, group.path, tile, ledger)

    def flush(self) -> list[Receipt]:
        """Wait until all is written; return the receipts since the last time."""
        self._queue.join()
        self._raise()
        receipts, self._receipts = self._receipts, []
        self.seconds, self._spent = self._spent, dict.fromkeys(_STAGES, 0.0)
        return receipts

    def close(self) -> None:
        """Write what is queued and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            self._receipts, self._spent = [], dict.fromkeys(_STAGES, 0.0)
            raise error

    def _write(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._receipts.append(self._put(*work))
            except BaseException as error:  # handed to the thread that waits for it
                self._error = error
            finally:
                del work
                self._queue.task_done()
        self._queue.task_done()

    def _put(self, path: str, shard: Index, rain: NDArray[np.float32], tile: str) -> Receipt:
        if path not in self._stores:
            self._stores[path] = ShardStore(self._place, path)
        began = time.monotonic()
        receipt = self._stores[path].put(shard, rain, tile)
        self._spent["encode"] += receipt.encoding
        self._spent["put"] += time.monotonic() - began - receipt.encoding
        return receipt
