"""Passes outcomes through, and shows to several viewers at once how far they are.

Each viewer has a thread of its own, which looks at the meter now and then: whoever consumes the
outcomes never draws, and a viewer that hangs on a slow bucket holds up neither run nor others.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from longwang_ray.engine.executor import Health, Outcome, logger
from longwang_ray.engine.meter import Measure, Meter
from longwang_ray.engine.screens import Viewer, duration, screen

__all__ = ["duration", "watch"]

Result = TypeVar("Result")
_LAST_LOOK = 5.0
"""Seconds that all viewers together get to show the end."""


class _Ticker:
    """Shows a meter to one viewer until it is stopped, and then once more."""

    def __init__(self, viewer: Viewer, meter: Meter) -> None:
        self._viewer, self._meter = viewer, meter
        self._stop = threading.Event()
        self._well = True
        self._thread = threading.Thread(target=self._tick, name="viewer", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        while not self._stop.wait(self._viewer.every):
            self._show(final=False)
        self._show(final=True)

    def _show(self, final: bool) -> None:
        try:
            self._viewer.show(self._meter.snapshot(), final)
        except Exception as error:  # a run does not end because somebody cannot see it
            if self._well:
                name = type(self._viewer).__name__
                logger.warning("progress is not shown (%s): %s", name, error)
            self._well = False

    def stop(self) -> None:
        self._stop.set()

    def wait(self, until: float) -> None:
        self._thread.join(max(until - time.monotonic(), 0.0))


def watch(
    outcomes: Iterable[Outcome[Result]],
    total: int | None,
    *,
    already: int = 0,
    unit: str = "tile",
    measures: Sequence[Measure] = (),
    viewers: Sequence[Viewer] | None = None,
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
        measures: What else is added up, and shown.
        viewers: Who sees it; None: whoever reads ``stream``.
        stream: Where to show it if there are no viewers; standard error by default.
        every: Seconds between lines if the stream is not a terminal.
        health: Asked for workers and retries, for example ``lambda: executor.health``.
    """
    meter = Meter(total, already, measures=measures, health=health)
    if viewers is None:
        viewers = [screen(stream or sys.stderr, unit, measures, every)]
    tickers = [_Ticker(viewer, meter) for viewer in viewers]
    try:
        for outcome in outcomes:
            meter.add(outcome)
            for viewer in viewers:
                viewer.add(outcome)
            yield outcome
    finally:
        for ticker in tickers:
            ticker.stop()
        until = time.monotonic() + _LAST_LOOK
        for ticker in tickers:
            ticker.wait(until)
