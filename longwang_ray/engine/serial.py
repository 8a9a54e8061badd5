"""The plain loop: one worker in this process, what all other executors must equal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from longwang_ray.engine.executor import (
    Factory,
    Health,
    Item,
    Outcome,
    Result,
    StopRun,
    close_worker,
    describe,
    logger,
)
from longwang_ray.engine.jobs import JobQueue


class SerialExecutor:
    """One worker in this process, one item after the other: what other executors must equal.

    Args:
        attempts: After so many failures an item is quarantined.
    """

    def __init__(self, *, attempts: int = 3) -> None:
        self._attempts = attempts
        self.health = Health()

    def map(
        self,
        factory: Factory[Item, Result],
        items: Iterable[Item],
        total: int | None = None,
    ) -> Iterator[Outcome[Result]]:
        """Yield the outcomes in the order of the items.

        Raises:
            StopRun: A worker said that no retry can help.
            EngineError: Nothing succeeds.
        """
        queue: JobQueue[Item] = JobQueue(items, total, self._attempts)
        worker: Callable[[Item], Result] | None = None
        self.health = Health(alive=1, wanted=1)
        try:
            while (job := queue.take()) is not None:
                began = time.monotonic()
                try:
                    worker = worker or factory()
                    result = worker(job.item)
                except StopRun:
                    raise
                except Exception as error:
                    logger.debug("%s raised", job.key, exc_info=True)
                    worker = self._discard(worker)
                    took = time.monotonic() - began
                    outcome: Outcome[Result] | None = queue.failed(job, describe(error), took)
                else:
                    outcome = queue.done(job, result, time.monotonic() - began)
                self.health.retries = queue.retries
                if outcome is not None:
                    yield outcome
        finally:
            close_worker(worker)

    @staticmethod
    def _discard(worker: object) -> None:
        try:
            close_worker(worker)
        except Exception:  # it is dropped because it already failed
            logger.debug("closing a failed worker raised", exc_info=True)
