"""Many workers on Ray: plain actors, fed from a lazy queue that the driver owns.

Ray starts processes and carries messages; who does what, what is repeated and what is given up is
decided here, in one loop without threads:

    start or stop workers → feed each ≤ 2 items → collect what is ready → let go who is overdue

Ray never restarts an actor nor retries a call (a lost node's items would wait for a restart while
others idle): the driver takes the items back, and pending actors are what makes an autoscaler add
nodes. Ray Data was tried and lost or repeated items for ever when a worker died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import ray

from longwang_ray.engine.connection import connect, usual_address, worker_environment
from longwang_ray.engine.executor import (
    EngineError,
    Factory,
    Health,
    Item,
    JobQueue,
    Outcome,
    Result,
    close_worker,
)
from longwang_ray.engine.pool import Pool

_POLL = 0.05


class Host:
    """The actor: makes the worker where it will work, and hands it one item after the other."""

    def __init__(self, factory: Factory[Any, Any]) -> None:
        self._worker = factory()

    def where(self) -> str:
        """Return the id of the node it is on; answering means that the worker is ready."""
        return str(ray.get_runtime_context().get_node_id())

    def work(self, item: Any) -> tuple[Any, float]:  # noqa: ANN401 - any picklable item
        """Return the worker's result and the seconds it took."""
        began = time.monotonic()
        return self._worker(item), time.monotonic() - began

    def close(self) -> None:
        """Let the worker finish what it holds open."""
        close_worker(self._worker)


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
        pool: Pool[Item] = Pool(self._hire(factory), queue, self._limit(), self._deadline)
        self.health = pool.health
        try:
            while not pool.idle:
                pool.resize()
                pool.feed()
                yield from pool.collect(_POLL)
                yield from pool.expire()
        finally:
            pool.stop()

    def _hire(self, factory: Factory[Item, Result]) -> Callable[[], Any]:
        """Return what starts one actor with this factory."""
        environment = worker_environment(self._threads, self._gpus) | self._environment
        actor = ray.remote(Host).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,
            runtime_env={"env_vars": environment},
        )
        return lambda: actor.remote(factory)

    def _limit(self) -> int:
        """Return how many workers there may be."""
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if self._gpus and self._owns_ray and have.get("GPU", 0) < self._gpus:
            raise EngineError(
                f"each worker needs {self._gpus:g} GPU but Ray sees {have.get('GPU', 0):g} on this"
                " machine; set engine.device=cpu or use a machine with a GPU"
            )
        if self._workers is not None:
            return self._workers
        share = have.get("GPU", 0) // self._gpus if self._gpus else have["CPU"] // self._threads
        return max(int(share), 1)

    def _connect(self) -> None:
        """Find Ray, or start a private one that has room for the workers."""
        if connect(self._address, (self._workers or 1) * self._threads):
            self._owns_ray = True
