"""A crew on a simulated clock: a thousand workers that start, work and vanish within seconds.

It is driven by the very pool that drives Ray's actors: what is tried here is what decides there.
Whatever happens is drawn from a seeded generator and put on a heap of events; listening moves the
clock to the next one.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from longwang_ray.engine.crew import CALL_SECONDS, Answer, Answered, Event, Lost, Started

NEVER = float("inf")


@dataclass(frozen=True)
class Numbered:
    """An item."""

    number: int

    @property
    def key(self) -> str:
        return f"i{self.number}"


class Deadly(Exception):
    """Raised by a simulated item that kills its worker."""


@dataclass(eq=False)
class Simulated:
    """One worker: on a node of its own, which may be taken away."""

    number: int
    calls: deque[Sequence[Any]] = field(default_factory=deque)
    alive: bool = True
    started: float = NEVER
    ended: float = NEVER
    busy: float = 0.0
    wasted: float = 0.0
    since: float = 0.0

    @property
    def node(self) -> str:
        return f"n{self.number}"


class Clockwork:
    """A crew whose every happening is an argument.

    Args:
        work: Seconds and result of an item for a worker; may raise (the item fails) or raise
            `Deadly` (its worker dies).
        count: How many workers there may be at a time, ``seconds → workers``.
        start: Seconds until a worker has started.
        life: Seconds that a worker lives once it has started, ``inf`` for ever.
        notice: Seconds of warning before that; 0: none.
        seed: Of the generator that `work`, `start`, `life` and `notice` are given.
    """

    def __init__(
        self,
        work: Callable[[Simulated, Any, random.Random], tuple[float, Any]],
        *,
        count: Callable[[float], int] = lambda _: 1,
        start: Callable[[random.Random], float] = lambda _: 1.0,
        life: Callable[[random.Random], float] = lambda _: NEVER,
        notice: Callable[[random.Random], float] = lambda _: 0.0,
        seed: int = 0,
    ) -> None:
        self._work, self._count, self._start, self._life = work, count, start, life
        self._notice, self._random = notice, random.Random(seed)
        self._clock, self._numbers = 0.0, itertools.count()
        self._heap: list[tuple[float, int, Callable[[], Event | None]]] = []
        self._leaving: set[str] = set()
        self.hired: list[Simulated] = []
        self.given: list[tuple[float, Simulated, Sequence[Any]]] = []

    def now(self) -> float:
        return self._clock

    def limit(self) -> int:
        return self._count(self._clock)

    def leaving(self) -> set[str]:
        return self._leaving

    def hire(self) -> Simulated:
        worker = Simulated(len(self.hired))
        self.hired.append(worker)
        self._at(self._start(self._random), lambda: self._begin(worker))
        return worker

    def give(self, hand: Simulated, items: Sequence[Any]) -> None:
        self.given.append((self._clock, hand, items))
        hand.calls.append(items)
        if len(hand.calls) == 1:
            self._begin_call(hand)

    def dismiss(self, hand: Simulated) -> None:
        if hand.alive and hand.calls:
            hand.wasted += self._clock - hand.since
        if hand.alive:
            hand.ended = self._clock
        hand.alive = False

    def listen(self, timeout: float) -> list[Event]:
        events: list[Event] = []
        end = self._clock + timeout
        if not self._heap or self._heap[0][0] > end:
            self._clock = end
            return events
        while self._heap and self._heap[0][0] <= end:
            self._clock, _, happen = heapq.heappop(self._heap)
            event = happen()
            if event is not None:
                events.append(event)
        return events

    def _at(self, seconds: float, happen: Callable[[], Event | None]) -> None:
        if seconds < NEVER:
            heapq.heappush(self._heap, (self._clock + seconds, next(self._numbers), happen))

    def _begin(self, worker: Simulated) -> Event | None:
        if not worker.alive:
            return None
        worker.started = self._clock
        self._doom(worker, self._life(self._random))
        return Started(worker, worker.node)

    def _doom(self, worker: Simulated, life: float) -> None:
        """Take a worker away in so many seconds, after a notice if it is given one."""
        notice = self._notice(self._random)
        if notice:
            self._at(max(life - notice, 0.0), lambda: self._warn(worker))
        self._at(life, lambda: self._take_away(worker))

    def _warn(self, worker: Simulated) -> None:
        if worker.alive:
            self._leaving.add(worker.node)

    def _take_away(self, worker: Simulated) -> Event | None:
        self._leaving.discard(worker.node)
        if not worker.alive:
            return None
        self.dismiss(worker)
        return Lost(worker, "its node was taken away", blameless=True)

    def _begin_call(self, worker: Simulated) -> None:
        """Work out, at once, what the oldest call will come to, and when."""
        worker.since, items, done, took = self._clock, worker.calls[0], [], 0.0
        event: Event = Answered(worker, Answer(done))
        for item in items:
            if done and took >= CALL_SECONDS:
                break
            try:
                seconds, result = self._work(worker, item, self._random)
            except Deadly as error:
                event = Lost(worker, str(error))
                break
            except Exception as error:
                event = Answered(worker, Answer(done, f"{type(error).__name__}: {error}"))
                break
            done.append((result, seconds))
            took += seconds
        self._at(took, lambda: self._finish(worker, event))

    def _finish(self, worker: Simulated, event: Event) -> Event | None:
        if not worker.alive:
            return None
        if isinstance(event, Lost):
            self.dismiss(worker)
            return event
        worker.calls.popleft()
        worker.busy += self._clock - worker.since
        if worker.calls:
            self._begin_call(worker)
        return event
