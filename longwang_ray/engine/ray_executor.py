"""Many workers on Ray: plain actors, fed from a lazy queue that the driver owns.

Ray starts processes and carries messages (ray_crew); who does what, what is repeated and what is
given up is decided in this process (pool), in one loop without threads. Ray Data was tried and
lost or repeated items for ever when a worker died.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

import ray

from longwang_ray.engine.connection import LOCAL, connect, usual_address
from longwang_ray.engine.executor import EngineError, Factory, Health, Item, Outcome, Result
from longwang_ray.engine.jobs import JobQueue
from longwang_ray.engine.pool import Pool
from longwang_ray.engine.ray_crew import RayCrew
from longwang_ray.engine.room import room_for

_POLL = 0.05


class RayExecutor:
    """Workers in processes of their own, on this machine or on a Ray cluster.

    A cluster is used if ``address`` or ``RAY_ADDRESS`` names one or Ray already runs in this
    process; otherwise a private, quiet Ray is started here and stopped by :meth:`close`. A worker
    sees ``OMP_NUM_THREADS`` (and its kin) before any numerical library is imported.

    Args:
        workers: How many at most; None: as many as the CPUs (or GPUs, if ``gpus``) allow.
        gpus: GPUs a worker owns; fractions are misplaced by Ray, so 0 or whole numbers.
        threads: CPU threads a worker may use; fixed, because sums depend on it to the last bit.
        deadline: Seconds an item may take before its worker is killed and the item tried again.
        attempts: After so many failures an item is quarantined.
        address: A Ray cluster's address.
        environment: More environment variables for the workers.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        gpus: float = 0,
        threads: int = 1,
        deadline: float | None = None,
        attempts: int = 3,
        address: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise EngineError(f"workers: {workers}; at least 1 is needed to do anything")
        if gpus != int(gpus):
            raise EngineError(f"gpus: {gpus} a worker; use 0 or a whole number")
        self._workers, self._gpus, self._threads = workers, gpus, threads
        self._deadline, self._attempts = deadline, attempts
        self._address = address or usual_address()
        self._environment = dict(environment or {})
        self._owns_ray = False
        self.health = Health()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop Ray, if it was started here."""
        if self._owns_ray and ray.is_initialized():
            ray.shutdown()
        self._owns_ray = False

    def map(
        self,
        factory: Factory[Item, Result],
        items: Iterable[Item],
        total: int | None = None,
    ) -> Iterator[Outcome[Result]]:
        """Yield the outcomes as they finish; an interruption stops all workers at once.

        Raises:
            StopRun: A worker said that no retry can help.
            EngineError: Workers do not start, or nothing succeeds.
        """
        queue: JobQueue[Item] = JobQueue(items, total, self._attempts)
        if queue.exhausted:
            return
        self._connect()
        self._require_gpus()
        crew = RayCrew(
            factory,
            self._limit,
            gpus=self._gpus,
            threads=self._threads,
            environment=self._environment,
        )
        pool: Pool[Item] = Pool(crew, queue, self._deadline)
        self.health = pool.health
        try:
            while not pool.idle:
                yield from pool.step(_POLL)
        finally:
            pool.stop()

    def _require_gpus(self) -> None:
        """Refuse, before anything starts, GPUs that a machine of our own hasn't got."""
        have = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
        if self._gpus and self._owns_ray and self._address == LOCAL and have < self._gpus:
            raise EngineError(
                f"each worker needs {self._gpus:g} GPU but Ray sees {have:g} on this"
                " machine; set engine.device=cpu or use a machine with a GPU"
            )

    def _limit(self) -> int:
        """Return how many workers there may be now: as many as were asked for, or as fit."""
        if self._workers is not None:
            return self._workers
        each = {"CPU": float(self._threads)} | ({"GPU": self._gpus} if self._gpus else {})
        return max(room_for(each), 1)

    def _connect(self) -> None:
        """Find Ray, or start a private one that has room for the workers."""
        if connect(self._address, (self._workers or 1) * self._threads):
            self._owns_ray = True
