"""Where a run is shown: one line drawn over itself, plain lines, or JSON for machines.

12/64 tiles · 2.1 tiles/min · 5 min 3 s gone · 24 min 45 s left · 4/4 workers · 1 retried
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from longwang_ray.engine.executor import Outcome, logger
from longwang_ray.engine.meter import Measure, Snapshot

_BAR = 24
_CLEAR = "\r\x1b[K"
_SELDOM = 60.0


class Viewer:
    """Shows a run to somebody; this one to nobody.

    Attributes:
        every: Seconds between two looks; asked anew each time.
    """

    every: float = 10.0

    def add(self, outcome: Outcome[Any]) -> None:
        """Take note of one outcome, in the thread that consumes them: be quick."""

    def show(self, shot: Snapshot, final: bool) -> None:
        """Show how the run stands, in a thread of the viewer's own; ``final``: it has ended."""


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


def size(count: float) -> str:
    """Put a number of bytes into words.

    >>> [size(n) for n in (12, 1200, 1.3e9)]
    ['12 B', '1.17 KiB', '1.21 GiB']
    """
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1000:
            break
        count, unit = count / 2**10, larger
    return f"{count:.3g} {unit}"


def line(shot: Snapshot, unit: str, measures: Sequence[Measure] = ()) -> str:
    """Describe a snapshot in one line, for logs and terminals."""
    parts = [f"{shot.done}/{shot.total if shot.total is not None else '?'} {unit}s"]
    parts += [m.shown(shot.amounts[m.name]) for m in measures if shot.amounts.get(m.name)]
    if shot.rate:
        per, rate = ("s", shot.rate) if shot.rate >= 1 else ("min", shot.rate * 60)
        parts.append(f"{rate:.3g} {unit}s/{per}")
    parts.append(f"{duration(shot.elapsed)} gone")
    if shot.seconds_left:
        parts.append(f"{duration(shot.seconds_left)} left")
    if shot.wanted:
        parts.append(f"{shot.alive}/{shot.wanted} workers")
    parts += [f"{shot.retried} retried"] if shot.retried else []
    parts += [f"{shot.failed} FAILED"] if shot.failed else []
    return " · ".join(parts)


def bar(shot: Snapshot) -> str:
    """Draw the share that is done."""
    share = 0.0 if not shot.total else min(shot.done / shot.total, 1.0)
    full = int(share * _BAR)
    return "█" * full + "░" * (_BAR - full)


def screen(
    stream: TextIO, unit: str, measures: Sequence[Measure] = (), every: float = 10.0
) -> Viewer:
    """What suits a stream: a line drawn over itself on a terminal, plain lines elsewhere."""
    if stream.isatty():
        return Terminal(stream, unit, measures)
    return Lines(stream, unit, measures, every)


class Terminal(Viewer):
    """One line, drawn over itself each second; what is logged meanwhile stands above it.

    Args:
        stream: A terminal.
        unit: What an item is called, singular.
        measures: What else was added up.
    """

    every = 1.0

    def __init__(self, stream: TextIO, unit: str, measures: Sequence[Measure] = ()) -> None:
        self._stream, self._unit, self._measures = stream, unit, measures
        self._drawn = ""
        self._lock = threading.Lock()
        self._logs: list[logging.StreamHandler[Any]] = []

    def show(self, shot: Snapshot, final: bool) -> None:
        """Draw the line again; the last one stays."""
        if not self._logs:
            self._logs = [log for log in _handlers() if log.stream is self._stream]
            for log in self._logs:
                log.setStream(_Above(self))
        text = self._fitted(bar(shot), line(shot, self._unit, self._measures))
        with self._lock:
            self._stream.write(f"{_CLEAR}{text}" + ("\n" if final else ""))
            self._stream.flush()
            self._drawn = "" if final else text
        if final:
            for log in self._logs:
                log.setStream(self._stream)

    def above(self, text: str) -> None:
        """Write something where the line is, and the line anew below it."""
        with self._lock:
            again = self._drawn if text.endswith("\n") else ""
            self._stream.write(f"{_CLEAR if self._drawn else ''}{text}{again}")
            self._stream.flush()

    def _fitted(self, share: str, text: str) -> str:
        """Keep to one row: a line that is broken cannot be drawn over."""
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns - 1
        except (OSError, ValueError):
            width = 0
        if width <= 0 or len(text) + len(share) < width:
            return f"{share} {text}"
        return text if len(text) <= width else f"{text[: width - 1]}…"


class _Above:
    """What a log writes to while a terminal shows a line."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> None:
        self._terminal.above(text)

    def flush(self) -> None:
        """Nothing waits."""


def _handlers() -> list[logging.StreamHandler[Any]]:
    found = [*logging.getLogger().handlers, *logging.getLogger("longwang_ray").handlers]
    return [handler for handler in found if isinstance(handler, logging.StreamHandler)]


class Lines(Viewer):
    """Plain lines for logs: fewer as a run gets longer, and none where nothing has changed.

    Args:
        stream: Where.
        unit: What an item is called, singular.
        measures: What else was added up.
        every: Seconds between the first lines; later up to a minute.
    """

    def __init__(
        self,
        stream: TextIO,
        unit: str,
        measures: Sequence[Measure] = (),
        every: float = 10.0,
    ) -> None:
        self._stream, self._unit, self._measures = stream, unit, measures
        self.every = self._first = every
        self._last: tuple[int, ...] | None = None

    def show(self, shot: Snapshot, final: bool) -> None:
        """Write a line, if there is news."""
        self.every = max(self._first, min(shot.elapsed / 10, _SELDOM))
        news = (shot.done, shot.failed, shot.retried, *(() if final else (shot.alive,)))
        if self._last is not None and news == self._last[: len(news)]:
            return
        self._last = news
        self._stream.write(f"{line(shot, self._unit, self._measures)}\n")
        self._stream.flush()


class JsonLines(Viewer):
    """Events for machines: one JSON object a line, with ``event`` and ``time`` (UTC).

    A snapshot is the event ``progress``, with all keys of :func:`values_of` each time. When
    nobody reads any more, no more is written; the run goes on.

    Args:
        stream: Where.
        every: Seconds between two looks.
    """

    def __init__(self, stream: TextIO, every: float = 10.0) -> None:
        self.every, self._stream = every, stream
        self._lock = threading.Lock()
        self._open = True

    def show(self, shot: Snapshot, final: bool) -> None:
        """Write the event ``progress``."""
        self.tell("progress", **values_of(shot))

    def tell(self, event: str, **values: Any) -> None:  # noqa: ANN401 - anything that JSON holds
        """Write an event."""
        text = json.dumps({"event": event, "time": now(), **values}, default=str)
        with self._lock:
            if not self._open:
                return
            try:
                self._stream.write(f"{text}\n")
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._open = False
                logger.warning("events are not read any more (%s); the run goes on", error)


def values_of(shot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON holds it: numbers, and None for what is unknown.

    >>> sorted(values_of(Snapshot(done=3, amounts={"bytes": 7.0})))
    ['already', 'bytes', 'done', 'elapsed', 'failed', 'rate', 'retried', 'seconds_left', 'total', \
'waiting', 'workers_alive', 'workers_wanted']
    """
    values = asdict(shot)
    workers = {f"workers_{name}": values.pop(name) for name in ("alive", "wanted")}
    flat = {**values.pop("amounts"), **values, **workers}
    return {key: _rounded(value) for key, value in flat.items()}


def _rounded(value: float | None) -> float | None:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.6g}")


def now() -> str:
    """The time in UTC, to the second.

    >>> len(now())
    20
    """
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
