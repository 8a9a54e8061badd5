"""The contract of an executor, the queue of what is left to do, and the plain loop.

    map : (factory, items) → outcomes,    factory() = worker,    worker(item) = result

Every item comes back exactly once, as a result or as an error, in whatever order it was finished.
A worker that raised is not trusted with the next item: it is dropped and another is made. An item
that failed ``attempts`` times is *quarantined*: reported as an error while the others go on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger("longwang_ray.engine")

#: Losses for which nobody is to blame (a node went away) after which one is counted as an attempt
#: all the same, so that every run ends.
_PATIENCE = 20
#: If so many items are quarantined before a single one succeeds, the items are not what is wrong.
_HOPELESS = 5


class Keyed(Protocol):
    """An item: picklable, with a stable, human-readable name."""

    @property
    def key(self) -> str:
        """Return the item's name, unique in its run."""


Item = TypeVar("Item", bound=Keyed)
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]
"""Makes a worker, in the process where it will work. A worker may have a ``close()``."""


class EngineError(RuntimeError):
    """The run cannot go on: workers do not start, or nothing that they try succeeds."""


class StopRun(Exception):
    """Raised by a worker when no retry can help (disk full, no right to write): ends the run."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item.

    Attributes:
        key: The item's key.
        result: What the worker returned; None if it failed.
        error: Why it was quarantined, in one line; None if it succeeded.
        attempts: How often it was tried, the last time included.
        seconds: How long the last attempt took.
    """

    key: str
    result: Result | None
    error: str | None
    attempts: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None


@dataclass
class Health:
    """How a running ``map`` is: workers alive and wanted, attempts that had to be repeated."""

    alive: int = 0
    wanted: int = 0
    retries: int = 0


class Executor(Protocol):
    """Maps a worker over items; see the module for what is promised."""

    health: Health

    def map(
        self,
        factory: Factory[Item, Result],
        items: Iterable[Item],
        total: int | None = None,
    ) -> Iterator[Outcome[Result]]:
        """Yield one outcome for each item, as they finish; ``total`` is their number, if known."""


@dataclass
class Job(Generic[Item]):
    """An item on its way: how often it was tried and lost, and since when it is being tried."""

    item: Item
    attempts: int = 0
    losses: int = 0
    since: float = 0.0

    @property
    def key(self) -> str:
        """The item's key."""
        return self.item.key

    @property
    def suspect(self) -> bool:
        """Whether it was there when a worker failed or died, and may do so again."""
        return self.attempts + self.losses > 0


class JobQueue(Generic[Item]):
    """What is left to do: a lazy iterator, with the jobs to be repeated before it.

    Never holds more than what is under way, so ten million items cost what ten cost.
    """

    def __init__(self, items: Iterable[Item], total: int | None, attempts: int) -> None:
        self._fresh = iter(items)
        self._again: deque[Job[Item]] = deque()
        self._total = total
        self._attempts = attempts
        self._drained = False
        self.taken = self.succeeded = self.quarantined = self.retries = 0

    def take(self) -> Job[Item] | None:
        """Return the next job, or None if there is none now."""
        if self._again:
            return self._again.popleft()
        if self._drained:
            return None
        for item in self._fresh:
            self.taken += 1
            return Job(item)
        self._drained = True
        return None

    def put_back(self, job: Job[Item]) -> None:
        """Return a job that was taken and not begun."""
        self._again.appendleft(job)

    @property
    def exhausted(self) -> bool:
        """Whether nothing waits and nothing new will come."""
        job = self.take()
        if job is not None:
            self.put_back(job)
        return job is None

    @property
    def waiting(self) -> float:
        """How many jobs nobody works on, as far as is known (infinite: unknown)."""
        if self._drained:
            return len(self._again)
        if self._total is None:
            return float("inf")
        return len(self._again) + max(self._total - self.taken, 0)

    @property
    def open(self) -> float:
        """How many jobs are not finished, as far as is known."""
        return self.waiting + self.taken - self.succeeded - self.quarantined - len(self._again)

    def done(self, job: Job[Item], result: Result, seconds: float) -> Outcome[Result]:
        """Finish a job with its result."""
        self.succeeded += 1
        return Outcome(job.key, result, None, job.attempts + 1, seconds)

    def lost(self, job: Job[Item]) -> None:
        """Take a job back through no fault of its own, to be done next."""
        job.losses += 1
        self.retries += 1
        if job.losses % _PATIENCE == 0:
            job.attempts += 1
        self._again.appendleft(job)

    def failed(self, job: Job[Item], why: str) -> Outcome[Result] | None:
        """Count a failed attempt; return the outcome if it was the last one.

        Raises:
            EngineError: Many items failed and none succeeded, so the cause is not the item.
        """
        job.attempts += 1
        if job.attempts < self._attempts:
            self.retries += 1
            logger.warning("%s: attempt %d failed, trying again: %s", job.key, job.attempts, why)
            self._again.append(job)
            return None
        self.quarantined += 1
        logger.error("%s: given up after %d attempts: %s", job.key, job.attempts, why)
        if not self.succeeded and self.quarantined >= _HOPELESS:
            raise EngineError(
                f"the first {self.quarantined} items all failed {self._attempts} times and none"
                f" succeeded, so the run stops; the last was {job.key}: {why}"
            )
        return Outcome(job.key, None, why, job.attempts, time.monotonic() - job.since)


def describe(error: BaseException) -> str:
    """Put an error into one line: its kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def close_worker(worker: object) -> None:
    """Let a worker finish what it holds open, if it has a ``close``."""
    close = getattr(worker, "close", None)
    if callable(close):
        close()


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
                job.since = time.monotonic()
                try:
                    worker = worker or factory()
                    result = worker(job.item)
                except StopRun:
                    raise
                except Exception as error:
                    logger.debug("%s raised", job.key, exc_info=True)
                    worker = self._discard(worker)
                    outcome: Outcome[Result] | None = queue.failed(job, describe(error))
                else:
                    outcome = queue.done(job, result, time.monotonic() - job.since)
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
