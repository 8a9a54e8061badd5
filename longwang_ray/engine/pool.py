"""The workers of one run: who is alive, what each has before it, and what becomes of it.

One loop, without threads:

    start or stop workers → feed each ≤ 2 calls → hear what happened → let go who is overdue

A worker goes through its calls in order, so only the oldest can have done harm: when a worker
dies, that one is charged with an attempt (if it was a single item), and the calls behind it are
not. A node that was preempted or went away is nobody's fault. When nothing waits any more, an item
that takes much longer than others is given to an idle worker as well: whoever is first counts,
which is safe because an item is a pure function of its key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic

from longwang_ray.engine.crew import (
    CALL_SECONDS,
    Answer,
    Crew,
    Event,
    Hand,
    Lost,
    Started,
)
from longwang_ray.engine.executor import EngineError, Health, Item, Outcome, StopRun, logger
from longwang_ray.engine.jobs import Job, JobQueue

#: Calls a worker has before it: one it works on, and one so that it need not wait for the driver.
IN_FLIGHT = 2
#: Items of a call at most, however quick they are: its answer stays a few kB.
MOST_ITEMS = 64
#: Workers that may die in a row while they start before a pause is made.
STILLBORN = 3
#: Seconds of that pause, twice as long each time, up to the second number.
PAUSE = (60.0, 600.0)
#: Seconds without a single worker after which it is said, and said again.
LONELY = 60.0
#: An item is copied to an idle worker once it has taken so many times the usual time.
SLOW = 2.0


@dataclass(eq=False)
class Call(Generic[Item]):
    """Jobs sent together; ``since`` is when their turn came."""

    jobs: list[Job[Item]]
    since: float


@dataclass(eq=False)
class Slot(Generic[Item]):
    """One worker: on a node once it has started, with its calls, oldest first."""

    hand: Hand
    node: str | None = None
    calls: deque[Call[Item]] = field(default_factory=deque)

    @property
    def busy_with_suspect(self) -> bool:
        """Whether a suspect is among its jobs."""
        return any(job.suspect for call in self.calls for job in call.jobs)


class Pool(Generic[Item]):
    """Feeds and watches a crew.

    Args:
        crew: Who works.
        queue: What is left to do.
        deadline: Seconds an item may take; None: for ever.
    """

    def __init__(self, crew: Crew, queue: JobQueue[Item], deadline: float | None = None) -> None:
        self._crew, self._queue, self._deadline = crew, queue, deadline
        self._slots: dict[Hand, Slot[Item]] = {}
        self._stillborn, self._pause, self._paused_until = 0, PAUSE[0], 0.0
        self._lonely_since: float | None = None
        self._pace: float | None = None
        self.health = Health()

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do; a slow copy of what is finished may still run."""
        calls = (call for slot in self._slots.values() for call in slot.calls)
        under_way = any(not job.finished for call in calls for job in call.jobs)
        return not under_way and self._queue.exhausted

    def step(self, timeout: float) -> Iterator[Outcome[Any]]:
        """Go once round the loop, waiting ``timeout`` seconds at most; yield what was finished.

        Raises:
            StopRun: A worker said that no retry can help.
            EngineError: Workers do not start, or nothing succeeds.
        """
        leaving = self._crew.leaving()
        self._resize(leaving)
        self._feed(leaving)
        for event in self._crew.listen(timeout):
            yield from self._hear(event, leaving)
        yield from self._expire()

    def stop(self) -> None:
        """Stop every worker now; what they were writing is either whole or absent."""
        for slot in list(self._slots.values()):
            self._let_go(slot)

    def _resize(self, leaving: Collection[str]) -> None:
        """Start the workers that the work left asks for; let go those it does not.

        A copy keeps a worker too, so what is under way is counted by who is busy with it.
        """
        self._release()
        busy = sum(bool(slot.calls) for slot in self._slots.values())
        work = busy + self._queue.waiting + len(self._late())
        wanted = int(min(self._crew.limit(), max(work, 1)))
        staying = [slot for slot in self._slots.values() if slot.node not in leaving]
        if self._crew.now() >= self._paused_until:
            for _ in range(wanted - len(staying)):
                hand = self._crew.hire()
                self._slots[hand] = Slot(hand)
        for slot in [slot for slot in self._slots.values() if not slot.calls]:
            if slot.node in leaving or (slot in staying and len(staying) > wanted):
                if slot in staying:
                    staying.remove(slot)
                self._let_go(slot)
        self._tell(wanted)

    def _release(self) -> None:
        """Let those go who, near the end, only work on what another has finished already."""
        if self._queue.waiting:
            return
        for slot in [slot for slot in self._slots.values() if slot.calls]:
            if all(job.finished for call in slot.calls for job in call.jobs):
                self._let_go(slot)

    def _tell(self, wanted: int) -> None:
        """Keep the account of how the pool is; say it if nobody has worked for long."""
        health, now = self.health, self._crew.now()
        health.wanted, health.retries = wanted, self._queue.retries
        health.alive = sum(slot.node is not None for slot in self._slots.values())
        health.waiting = self._queue.waiting
        if health.alive or self._lonely_since is None:
            self._lonely_since = now
        elif now - self._lonely_since >= LONELY:
            self._lonely_since = now
            logger.warning("no worker has started for %g s; waiting for one", LONELY)

    def _feed(self, leaving: Collection[str]) -> None:
        """Give each worker a call, then a second one while there is plenty.

        A suspect has its worker for itself: one that dies at once takes the answer of the item
        before it along, which would be charged in its place.
        """
        ready = [
            slot
            for slot in self._slots.values()
            if slot.node is not None and slot.node not in leaving
        ]
        for depth in range(IN_FLIGHT):
            if depth and self._queue.waiting <= len(ready):
                return  # near the end a call in reserve would wait here while others idle
            most = self._items_in_a_call(len(ready))
            late = iter([] if depth else self._late())
            for slot in ready:
                if len(slot.calls) > depth or slot.busy_with_suspect:
                    continue
                jobs = self._queue.take_many(most, alone=not depth) or list(islice(late, 1))
                if not jobs:
                    break
                self._give(slot, jobs)

    def _items_in_a_call(self, workers: int) -> int:
        """Return how many items a call may hold: those of a second, and a fair share of the rest.

        The worker stops when the second is over, so a wrong guess costs nothing.
        """
        if self._pace is None:
            return 1
        fair = max(self._queue.waiting / max(IN_FLIGHT * workers, 1), 1.0)
        return max(1, int(min(CALL_SECONDS / max(self._pace, 1e-9), fair, MOST_ITEMS)))

    def _give(self, slot: Slot[Item], jobs: list[Job[Item]]) -> None:
        for job in jobs:
            if job.copies:
                logger.info("%s: late, another worker tries it too", job.key)
            job.copies += 1
        slot.calls.append(Call(jobs, self._crew.now()))
        self._crew.give(slot.hand, [job.item for job in jobs])

    def _late(self) -> list[Job[Item]]:
        """Return, once nothing waits, what stands behind another's item or has taken too long.

        Only what nobody else has a copy of, and nothing suspect.
        """
        if self._pace is None or self._pace < CALL_SECONDS or self._queue.waiting:
            return []
        busy = [slot.calls for slot in self._slots.values() if slot.calls]
        before = self._crew.now() - SLOW * self._pace
        slow = sorted((calls[0] for calls in busy if calls[0].since < before), key=_since)
        late = [*(calls[1] for calls in busy if len(calls) > 1), *slow]
        jobs = (call.jobs[0] for call in late if len(call.jobs) == 1)
        return [job for job in jobs if job.copies == 1 and not (job.suspect or job.finished)]

    def _hear(self, event: Event, leaving: Collection[str]) -> Iterator[Outcome[Any]]:
        slot = self._slots.get(event.hand)
        if slot is None:  # let go in the meantime
            return
        if isinstance(event, Started):
            slot.node = event.node
            self._stillborn, self._pause = 0, PAUSE[0]
        elif isinstance(event, Lost):
            yield from self._lose(slot, event)
        else:
            yield from self._settle(slot, event.answer)
            if slot.hand in self._slots and slot.node in leaving:
                self._hand_back(slot)

    def _settle(self, slot: Slot[Item], answer: Answer) -> Iterator[Outcome[Any]]:
        """Take the answer of a worker's oldest call."""
        call = slot.calls.popleft()
        if slot.calls:
            slot.calls[0].since = self._crew.now()
        for job, (result, seconds) in zip(call.jobs, answer.results, strict=False):
            job.copies -= 1
            self._keep_pace(seconds)
            if not job.finished:
                yield self._queue.done(job, result, seconds)
        rest = call.jobs[len(answer.results) :]
        if answer.stop is not None:
            raise StopRun(answer.stop)
        if answer.failure is not None:
            logger.debug("%s: %s", rest[0].key, answer.trace)
            yield from self._charge(rest.pop(0), answer.failure, self._crew.now() - call.since)
        self._return(rest)
        if answer.failure is not None:  # it raised, so it is not trusted again
            self._hand_back(slot)

    def _keep_pace(self, seconds: float) -> None:
        """Follow what an item usually takes."""
        self._pace = seconds if self._pace is None else 0.9 * self._pace + 0.1 * seconds

    def _return(self, jobs: list[Job[Item]]) -> None:
        """Take back jobs that were not begun; a copy is still with the other worker."""
        for job in jobs:
            job.copies -= 1
        self._queue.put_back([job for job in jobs if not job.copies])

    def _hand_back(self, slot: Slot[Item]) -> None:
        """Let a worker go whose calls have not begun, or have and are worth nothing."""
        self._return([job for call in slot.calls for job in call.jobs])
        self._let_go(slot)

    def _charge(self, job: Job[Item], why: str, seconds: float) -> Iterator[Outcome[Any]]:
        """Count a failure against a job, unless another worker had it done."""
        job.copies -= 1
        if job.finished:
            return
        outcome: Outcome[Any] | None = self._queue.failed(job, why, seconds)
        if outcome is not None:
            yield outcome

    def _lose(self, slot: Slot[Item], event: Lost) -> Iterator[Outcome[Any]]:
        """Take note of a worker that is gone."""
        if slot.node is None:
            self._let_go(slot)
            self._bear(event)
        else:
            yield from self._bury(slot, f"its worker died ({event.why})", event.blameless)

    def _bear(self, event: Lost) -> None:
        """Take note that a worker died while it started; after a few, wait before the next.

        Raises:
            EngineError: There is no other worker.
        """
        if event.blameless:
            return
        self._stillborn += 1
        logger.warning("a worker died while it started: %s", event.why)
        if self._stillborn < STILLBORN:
            return
        if not any(slot.node is not None for slot in self._slots.values()):
            raise EngineError(
                f"{self._stillborn} workers in a row died while they started;"
                f" the last one: {event.why}"
            )
        self._paused_until = self._crew.now() + self._pause
        self._pause = min(2 * self._pause, PAUSE[1])

    def _bury(self, slot: Slot[Item], why: str, blameless: bool) -> Iterator[Outcome[Any]]:
        """Let a worker go, take its jobs back, and charge the one that is to blame, if one is."""
        calls, now = list(slot.calls), self._crew.now()
        self._let_go(slot)
        for call in reversed(calls):
            if call is calls[0] and len(call.jobs) == 1 and not blameless:
                yield from self._charge(call.jobs[0], why, now - call.since)
                continue
            for job in reversed(call.jobs):
                job.copies -= 1
                if not job.finished and not job.copies:
                    logger.warning("%s: taken back, %s", job.key, why)
                    self._queue.lost(job)

    def _expire(self) -> Iterator[Outcome[Any]]:
        """Stop the workers whose call has passed the deadline."""
        if self._deadline is None:
            return
        now, allowed = self._crew.now(), self._deadline
        for slot in list(self._slots.values()):
            if slot.calls and now - slot.calls[0].since > allowed + CALL_SECONDS:
                yield from self._bury(
                    slot, f"no answer within the deadline of {allowed:g} s", blameless=False
                )

    def _let_go(self, slot: Slot[Item]) -> None:
        del self._slots[slot.hand]
        slot.calls.clear()
        self._crew.dismiss(slot.hand)


def _since(call: Call[Any]) -> float:
    return call.since
