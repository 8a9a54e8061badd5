"""What is left to do: a lazy queue that forgets what is finished and remembers what failed.

    taken = succeeded + quarantined + waiting again + under way

Never holds more than what is under way, so ten million items cost what ten cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from longwang_ray.engine.executor import EngineError, Item, Outcome, Result, logger

#: Losses for which nobody is to blame (a node went away) after which one is counted as an attempt
#: all the same, so that every run ends.
_PATIENCE = 20
#: If so many items are quarantined before a single one succeeds, the items are not what is wrong.
_HOPELESS = 5


@dataclass(eq=False)
class Job(Generic[Item]):
    """An item on its way.

    Attributes:
        item: What is to be done.
        attempts: How often it failed.
        losses: How often it was lost with a worker, and nobody knows who was to blame.
        copies: How many workers have it now.
        finished: Whether one of them answered: the others' answers are then of no interest.
    """

    item: Item
    attempts: int = 0
    losses: int = 0
    copies: int = 0
    finished: bool = False

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

    Args:
        items: All there is to do, in order.
        total: Their number, if known.
        attempts: After so many failures an item is quarantined.
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

    def take_many(self, most: int, *, alone: bool) -> list[Job[Item]]:
        """Return the next jobs; a suspect is taken alone, and only where ``alone`` allows it."""
        jobs: list[Job[Item]] = []
        while len(jobs) < most and (job := self.take()) is not None:
            if job.suspect and (jobs or not alone):
                self._again.appendleft(job)
                break
            jobs.append(job)
            if job.suspect:
                break
        return jobs

    def put_back(self, jobs: Sequence[Job[Item]]) -> None:
        """Return jobs that were taken and not begun, to be done next, in their order."""
        self._again.extendleft(job for job in reversed(jobs) if not job.finished)

    @property
    def exhausted(self) -> bool:
        """Whether nothing waits and nothing new will come."""
        job = self.take()
        if job is not None:
            self._again.appendleft(job)
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
        job.finished = True
        self.succeeded += 1
        return Outcome(job.key, result, None, job.attempts + 1, seconds)

    def lost(self, job: Job[Item]) -> None:
        """Take a job back through no fault of its own, to be done next."""
        job.losses += 1
        self.retries += 1
        if job.losses % _PATIENCE == 0:
            job.attempts += 1
        self._again.appendleft(job)

    def failed(self, job: Job[Item], why: str, seconds: float) -> Outcome[Result] | None:
        """Count a failed attempt; return the outcome if it was the last one.

        Raises:
            EngineError: Many items failed and none succeeded, so the cause is not the item.
        """
        job.attempts += 1
        if job.attempts < self._attempts:
            self.retries += 1
            logger.warning("%s: attempt %d failed, trying again: %s", job.key, job.attempts, why)
            if not job.copies:  # else another worker is trying already
                self._again.append(job)
            return None
        self.quarantined += 1
        job.finished = True
        logger.error("%s: given up after %d attempts: %s", job.key, job.attempts, why)
        if not self.succeeded and self.quarantined >= _HOPELESS:
            raise EngineError(
                f"the first {self.quarantined} items all failed {self._attempts} times and none"
                f" succeeded, so the run stops; the last was {job.key}: {why}"
            )
        return Outcome(job.key, None, why, job.attempts, seconds)
