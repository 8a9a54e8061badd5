"""How far a run is, how fast, and how long it will take.

    rate = Δdone / Δtime over the last outcomes,    time left = (total − done) / rate

A terminal gets one line, drawn again each second; anything else gets a few plain lines.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO, TypeVar

from longwang_ray.engine.executor import Health, Outcome

Result = TypeVar("Result")
_WINDOW = 64
_BAR = 24


@dataclass(frozen=True)
class Snapshot:
    """One look at a run; ``rate`` in items a second and ``seconds_left`` are None until known."""

    done: int
    failed: int
    retried: int
    total: int | None
    elapsed: float
    rate: float | None
    seconds_left: float | None


class Meter:
    """Counts outcomes and tells the rate; the clock is an argument, so that tests need not wait.

    Args:
        total: Number of items in the whole run, those already done included; None if unknown.
        already: Items that an earlier run has done; shown, but not part of the rate.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        total: int | None,
        already: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._clock = total, clock
        self._done, self._failed, self._retried = already, 0, 0
        self._began = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=_WINDOW)

    def add(self, outcome: Outcome[Result]) -> None:
        """Count one outcome."""
        self._done += outcome.ok
        self._failed += not outcome.ok
        self._retried += outcome.attempts - 1
        self._marks.append((self._clock(), self._marks[-1][1] + 1))

    def snapshot(self) -> Snapshot:
        """Return how the run stands now."""
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        rate = (last - first) / (end - begin) if end > begin else None
        left = None if self._total is None else self._total - self._done - self._failed
        seconds_left = None if not rate or left is None else left / rate
        if seconds_left and left:  # the items under way have been worked on since the last mark
            seconds_left = max(seconds_left - (self._clock() - end), 0.0)
        elapsed = self._clock() - self._began
        return Snapshot(
            self._done, self._failed, self._retried, self._total, elapsed, rate, seconds_left
        )


def duration(seconds: float) -> str:
    """Put a duration into words of two units at most.

    >>> [duration(s) for s in (4.2, 61, 3700, 200000)]
    ['4 s', '1 min 1 s', '1 h 1 min', '2 d 7 h']
    """
    left = round(seconds)
    for name, size, small, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if left >= size:
            return f"{left // size} {name} {left % size // part} {small}"
    return f"{left // 60} min {left % 60} s" if left >= 60 else f"{left} s"


def line(shot: Snapshot, unit: str, health: Health | None = None) -> str:
    """Describe a snapshot in one line, for logs and terminals."""
    parts = [f"{shot.done}/{shot.total if shot.total is not None else '?'} {unit}s"]
    if shot.rate:
        per, rate = ("s", shot.rate) if shot.rate >= 1 else ("min", shot.rate * 60)
        parts.append(f"{rate:.3g} {unit}s/{per}")
    parts.append(f"{duration(shot.elapsed)} gone")
    if shot.seconds_left is not None:
        parts.append(f"{duration(shot.seconds_left)} left")
    if health is not None and health.wanted:
        parts.append(f"{health.alive}/{health.wanted} workers")
    retried = max(shot.retried, health.retries if health else 0)
    parts += [f"{retried} retried"] if retried else []
    parts += [f"{shot.failed} FAILED"] if shot.failed else []
    return " · ".join(parts)


def bar(shot: Snapshot) -> str:
    """Draw the share that is done."""
    share = 0.0 if not shot.total else min(shot.done / shot.total, 1.0)
    full = int(share * _BAR)
    return "█" * full + "░" * (_BAR - full)


class _Screen:
    """Shows a meter on a stream until closed: redrawn on a terminal, in plain lines elsewhere."""

    def __init__(
        self, meter: Meter, unit: str, stream: TextIO, every: float, health: Callable[[], Health]
    ) -> None:
        self._meter, self._unit, self._stream, self._health = meter, unit, stream, health
        self._tty = stream.isatty()
        self._every = 1.0 if self._tty else every
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        while not self._stop.wait(self._every):
            self.draw()

    def draw(self) -> None:
        shot = self._meter.snapshot()
        text = line(shot, self._unit, self._health())
        with self._lock:
            self._stream.write(f"\r\x1b[K{bar(shot)} {text}" if self._tty else f"{text}\n")
            self._stream.flush()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.draw()
        if self._tty:
            self._stream.write("\n")


def watch(
    outcomes: Iterable[Outcome[Result]],
    total: int | None,
    *,
    already: int = 0,
    unit: str = "tile",
    stream: TextIO | None = None,
    every: float = 10.0,
    health: Callable[[], Health] = Health,
) -> Iterator[Outcome[Result]]:
    """Pass outcomes through and show the progress on the way.

    Args:
        outcomes: What an executor's ``map`` yields.
        total: Number of items, those already done included; None if unknown.
        already: Number of items done by an earlier run.
        unit: What an item is called, singular.
        stream: Where to show it; standard error by default.
        every: Seconds between lines if the stream is not a terminal.
        health: Asked for workers and retries, for example ``lambda: executor.health``.
    """
    meter = Meter(total, already)
    screen = _Screen(meter, unit, stream or sys.stderr, every, health)
    try:
        for outcome in outcomes:
            meter.add(outcome)
            yield outcome
    finally:
        screen.close()
