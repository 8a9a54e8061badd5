"""The actors of one run: who is alive, what each has before it, and what becomes of it.

An actor works through its calls in order, so only the oldest call can have done harm: when an
actor dies, that one is charged with an attempt and the calls behind it are not. A node that was
preempted or went away is nobody's fault.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from longwang_ray.engine.executor import (
    EngineError,
    Health,
    Item,
    Job,
    JobQueue,
    Outcome,
    StopRun,
    describe,
    logger,
)

#: Calls an actor has before it: one it works on, and one so that it need not wait for the driver.
_IN_FLIGHT = 2
#: Actors that may die in a row while they start before no more are started.
_STILLBORN = 3


@dataclass(eq=False)
class Slot(Generic[Item]):
    """One actor: ``birth`` is answered when its worker is ready; ``node`` then says where."""

    actor: Any
    birth: Any
    node: str | None = None
    calls: deque[tuple[Any, Job[Item]]] = field(default_factory=deque)


class Pool(Generic[Item]):
    """Feeds and watches the actors.

    Args:
        hire: Starts an actor and returns its handle.
        queue: What is left to do.
        limit: How many actors there may be.
        deadline: Seconds an item may take; None: for ever.
    """

    def __init__(
        self,
        hire: Callable[[], Any],
        queue: JobQueue[Item],
        limit: int,
        deadline: float | None,
    ) -> None:
        self._hire, self._queue, self._limit, self._deadline = hire, queue, limit, deadline
        self._slots: list[Slot[Item]] = []
        self._stillborn = 0
        self.health = Health()

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do."""
        return not any(slot.calls for slot in self._slots) and self._queue.exhausted

    def resize(self) -> None:
        """Start the actors that the work left asks for; let go those it does not."""
        wanted = int(min(self._limit, max(self._queue.open, 1)))
        while len(self._slots) < wanted:
            actor = self._hire()
            self._slots.append(Slot(actor, actor.where.remote()))
        for slot in [slot for slot in self._slots if not slot.calls]:
            if len(self._slots) > wanted:
                self._retire(slot)
        self.health.wanted = wanted
        self.health.retries = self._queue.retries
        self.health.alive = sum(slot.node is not None for slot in self._slots)

    def feed(self) -> None:
        """Give each living actor an item, then a second one while there is plenty.

        A suspect has its actor for itself: one that dies at once takes the answer of the item
        before it along, which would be charged in its place.
        """
        alive = [slot for slot in self._slots if slot.node is not None]
        for depth in range(_IN_FLIGHT):
            if depth and self._queue.waiting <= len(alive):
                return  # near the end an item in reserve would wait here while others idle
            for slot in alive:
                if len(slot.calls) > depth or any(job.suspect for _, job in slot.calls):
                    continue
                job = self._queue.take()
                if job is None:
                    return
                if depth and job.suspect:
                    self._queue.put_back(job)
                    return
                job.since = time.monotonic()
                slot.calls.append((slot.actor.work.remote(job.item), job))

    def collect(self, timeout: float) -> Iterator[Outcome[Any]]:
        """Wait until something is ready, then yield all outcomes that there are."""
        owners = {slot.birth: slot for slot in self._slots if slot.node is None}
        owners |= {ref: slot for slot in self._slots for ref, _ in slot.calls}
        if not owners:
            return
        ready, _ = ray.wait(list(owners), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        for slot in dict.fromkeys(owners[ref] for ref in ready):
            if slot.node is None:
                self._greet(slot)
            else:
                yield from self._settle(slot)

    def expire(self) -> Iterator[Outcome[Any]]:
        """Kill the actors whose item has passed the deadline."""
        if self._deadline is None:
            return
        now = time.monotonic()
        for slot in list(self._slots):
            if slot.calls and now - slot.calls[0][1].since > self._deadline:
                why = f"no answer within the deadline of {self._deadline:g} s"
                yield from self._bury(slot, why, counted=True)

    def stop(self) -> None:
        """Kill every actor now; what they were writing is either whole or absent."""
        for slot in list(self._slots):
            self._retire(slot)

    def _greet(self, slot: Slot[Item]) -> None:
        """Take note that an actor is ready, or that it died while it started."""
        try:
            slot.node = ray.get(slot.birth)
            self._stillborn = 0
        except RayError as error:
            self._retire(slot)
            if _blameless(error):
                return
            self._stillborn += 1
            logger.warning("a worker died while it started: %s", _cause(error))
            if self._stillborn >= _STILLBORN:
                self._limit = sum(other.node is not None for other in self._slots)
            if not self._limit:
                raise EngineError(
                    f"{self._stillborn} workers in a row died while they started;"
                    f" the last one: {_cause(error)}"
                ) from error

    def _settle(self, slot: Slot[Item]) -> Iterator[Outcome[Any]]:
        """Take the answers of an actor, in the order in which it worked."""
        while slot.calls:
            ref, job = slot.calls[0]
            if not ray.wait([ref], timeout=0)[0]:
                return
            try:
                result, seconds = ray.get(ref)
            except RayTaskError as error:
                if isinstance(error.cause, StopRun):
                    raise error.cause from None
                yield from self._bury(slot, _cause(error), counted=True)
                return
            except RayError as error:
                why = f"its worker died ({_cause(error)})"
                yield from self._bury(slot, why, counted=not _blameless(error))
                return
            slot.calls.popleft()
            if slot.calls:
                slot.calls[0][1].since = time.monotonic()
            yield self._queue.done(job, result, seconds)

    def _bury(self, slot: Slot[Item], why: str, *, counted: bool) -> Iterator[Outcome[Any]]:
        """Let an actor go, take its jobs back, and charge the first one if it is to blame."""
        calls = list(slot.calls)
        self._retire(slot)
        for _, job in reversed(calls[1:]):
            self._queue.lost(job)
        if not calls:
            return
        job = calls[0][1]
        if not counted:
            logger.warning("%s: taken back, %s", job.key, why)
            self._queue.lost(job)
            return
        outcome: Outcome[Any] | None = self._queue.failed(job, why)
        if outcome is not None:
            yield outcome

    def _retire(self, slot: Slot[Item]) -> None:
        self._slots.remove(slot)
        slot.calls.clear()
        ray.kill(slot.actor)


def _blameless(error: RayError) -> bool:
    """Whether an actor went because its node did, whatever it was doing."""
    gone = "node has died" in str(error) or "node was removed" in str(error)
    return isinstance(error, RayActorError) and (error.preempted or gone)


def _cause(error: RayError) -> str:
    """Put the reason of a Ray error into one line, without Ray's pages around it.

    >>> _cause(RayError("Header\\n Worker exit detail: End of file. Some common causes are: x"))
    'End of file.'
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return describe(cause)
    detail = re.search(r"Worker exit detail: (.*?)(?: Some common causes|\n|$)", str(error))
    if detail:
        return detail[1]
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    told = [text for text in lines if "Error: " in text]
    return (told or lines or [type(error).__name__])[-1]
