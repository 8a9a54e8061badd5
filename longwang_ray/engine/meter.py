"""How far a run is, how fast, and how long it will take, counted as the outcomes pass.

    rate = Δdone / Δtime over the last outcomes,    time left = (total − done − failed) / rate

The last outcomes are at least 64, and at least those of the time that four items take: many
workers that start together finish together, and a shorter look would see only the burst.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longwang_ray.engine.executor import Health, Outcome

_MARKS = 64
_SHORTEST, _ROUNDS = 10.0, 4
"""The marks of the rate reach back so many seconds, and so many times what an item takes."""


@dataclass(frozen=True)
class Measure:
    """Something besides items that a run has more and more of.

    Attributes:
        name: What it is called in JSON, e.g. ``bytes``.
        of: How much of it a successful outcome adds.
        shown: Puts a sum into words.
    """

    name: str
    of: Callable[[Outcome[Any]], float]
    shown: Callable[[float], str]


@dataclass(frozen=True)
class Snapshot:
    """One look at a run.

    Attributes:
        done: Items done, those of earlier runs included.
        failed: Items given up.
        already: Items that earlier runs had done.
        total: Items in all; None: unknown.
        retried: Attempts that had to be repeated.
        elapsed: Seconds since the run began.
        rate: Items a second; None until known.
        seconds_left: Until all are done; None until known.
        amounts: Sums of the measures over this run, by name.
        alive: Workers that have started.
        wanted: Workers that the work left asks for.
        waiting: Items that nobody works on; None: unknown.
    """

    done: int
    failed: int = 0
    already: int = 0
    total: int | None = None
    retried: int = 0
    elapsed: float = 0.0
    rate: float | None = None
    seconds_left: float | None = None
    amounts: Mapping[str, float] = field(default_factory=dict)
    alive: int = 0
    wanted: int = 0
    waiting: int | None = None


class Meter:
    """Counts outcomes; adding one costs the same however many there were.

    Args:
        total: Number of items in the whole run, those already done included; None if unknown.
        already: Items that an earlier run has done; shown, but not part of the rate.
        clock: Seconds, monotonic; an argument, so that tests need not wait.
        measures: What else is added up.
        health: Asked for workers and retries.
    """

    def __init__(
        self,
        total: int | None,
        already: int = 0,
        clock: Callable[[], float] = time.monotonic,
        measures: Sequence[Measure] = (),
        health: Callable[[], Health] = Health,
    ) -> None:
        self._total, self._already, self._clock = total, already, clock
        self._measures, self._health = measures, health
        self._done = self._failed = self._retried = 0
        self._amounts = dict.fromkeys((measure.name for measure in measures), 0.0)
        self._seconds = 0.0
        self._began = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=_MARKS)
        self._lock = threading.Lock()

    def add(self, outcome: Outcome[Any]) -> None:
        """Count one outcome."""
        measured = [(m.name, m.of(outcome)) for m in self._measures] if outcome.ok else ()
        with self._lock:
            self._done += outcome.ok
            self._failed += not outcome.ok
            self._retried += outcome.attempts - 1
            for name, amount in measured:
                self._amounts[name] += amount
            self._mark(outcome.seconds)

    def _mark(self, seconds: float) -> None:
        count = self._done + self._failed
        self._seconds += (seconds - self._seconds) / min(count, _MARKS)
        now, mark = self._clock(), self._marks
        if count == 1:  # the time that workers took to start is not part of the rate
            mark[0] = (max(self._began, now - seconds), 0)
        spacing = max(_SHORTEST, _ROUNDS * self._seconds) / _MARKS
        if len(mark) > 1 and now - mark[-2][0] < spacing:
            mark[-1] = (now, count)
        else:
            mark.append((now, count))

    def snapshot(self) -> Snapshot:
        """Return how the run stands now."""
        with self._lock:
            (begin, first), (end, last) = self._marks[0], self._marks[-1]
            done, failed, retried = self._done + self._already, self._failed, self._retried
            amounts, seconds = dict(self._amounts), self._seconds
        now, health = self._clock(), self._health()
        end = max(end, now - seconds)  # nothing for longer than an item takes: it got slower
        rate = (last - first) / (end - begin) if last > first and end > begin else None
        left = None if self._total is None else self._total - done - failed
        seconds_left = None if rate is None or left is None else left / rate
        if seconds_left:  # the items under way have been worked on since the last mark
            seconds_left = max(seconds_left - (now - end), 0.0)
        return Snapshot(
            done=done,
            failed=failed,
            already=self._already,
            total=self._total,
            retried=max(retried, health.retries),
            elapsed=now - self._began,
            rate=rate,
            seconds_left=seconds_left,
            amounts=amounts,
            alive=health.alive,
            wanted=health.wanted,
            waiting=int(health.waiting) if health.waiting < float("inf") else None,
        )
