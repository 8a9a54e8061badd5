"""Between a training and whoever started it: lines one way, the wish to stop the other.

In one process the lines are logged and Ctrl-C and SIGTERM are the wish; over Ray the launcher
carries both.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

log = logging.getLogger(__name__)
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Channel(Protocol):
    """What a training loop needs of its surroundings."""

    def tell(self, line: str) -> None:
        """Show a line to the user."""

    def stop_asked(self) -> bool:
        """Whether the user wishes the training to stop; asked between steps."""


class Here:
    """The user's own process: its log, and its signals.

    Attributes:
        signals: Those that have arrived.
    """

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []

    def tell(self, line: str) -> None:
        """Log it."""
        log.info("%s", line)

    def stop_asked(self) -> bool:
        """Whether a signal has arrived."""
        return bool(self.signals)


@contextmanager
def signals_collected() -> Iterator[Here]:
    """Collect signals to stop instead of being torn out of a step; a second one is not waited for.

    Only the main thread is told of signals: elsewhere nothing changes.
    """
    here = Here()
    if threading.current_thread() is not threading.main_thread():
        yield here
        return
    found = {number: signal.getsignal(number) for number in STOPPING}
    # A signal that is ignored (nohup, a shell's background) stays ignored; None is not Python's.
    before = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}

    def ask(number: int, _frame: FrameType | None) -> None:
        here.signals.append(signal.Signals(number))
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield here
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
