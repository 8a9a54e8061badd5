"""Many workers on Ray: plain actors, fed from a lazy queue that the driver owns.

Ray starts processes and carries messages; who does what, what is repeated and what is given up is
decided here, in one loop without threads:

    start or stop workers → feed each ≤ 2 items → collect what is ready → let go who is overdue

Ray never restarts an actor nor retries a call (a lost node's items would wait for a restart while
others idle): the driver takes the items back, and pending actors are what makes an autoscaler add
nodes. Ray Data was tried and lost or repeated items for ever when a worker died.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import ray
from ray._private import worker as private

from longwang_ray.engine.executor import (
    EngineError,
    Factory,
    Health,
    Item,
    JobQueue,
    Outcome,
    Result,
    close_worker,
    logger,
)
from longwang_ray.engine.pool import Pool

_POLL = 0.05
#: Results are receipts of about 1 kB, so Ray's smallest object store is more than enough.
_OBJECT_STORE = 80 * 2**20
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


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
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
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
        environment = dict.fromkeys(_THREADS, str(self._threads)) | self._environment
        if not self._gpus:  # Ray no longer hides the GPUs from those who asked for none
            environment.setdefault("CUDA_VISIBLE_DEVICES", "")
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
        """Find Ray, or start a private one: no dashboard, no logs, little memory."""
        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if self._address == "local":
            cpus = max(_cpus(), (self._workers or 1) * self._threads)
            quiet |= {
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                # the workers have an environment of their own, so nobody would use these processes
                "_system_config": {"prestart_worker_first_driver": False},
            }
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        with _own_signals() as waiting, _own_words():
            ray.init(address=self._address, **quiet)
            self._owns_ray = True
        for number in waiting:
            signal.raise_signal(number)
        logger.debug("Ray started: %s", self._address)


def _cpus() -> int:
    """Count the CPUs this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _own_words() -> Iterator[None]:
    """Keep Ray from printing a page for each dead worker: the pool logs a line with the key.

    No option of ``ray.init`` stops the thread that does so; started with nothing to do, it ends.
    """
    listen = getattr(private, "listen_error_messages", None)
    if listen is not None:
        private.listen_error_messages = lambda *_: None
    try:
        yield
    finally:
        if listen is not None:
            private.listen_error_messages = listen


@contextmanager
def _own_signals() -> Iterator[list[int]]:
    """Keep our handlers: ``ray.init`` puts its own SIGTERM handler in their place.

    The first Ctrl-C waits until Ray has started, in the list that this yields: half a Ray cannot
    be stopped, and its processes would stay. A second one does not wait.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield waiting
        return

    def wait(number: int, _frame: FrameType | None) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, wait)
    try:
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
