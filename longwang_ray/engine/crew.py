"""Those who do the work, as the pool sees them: they start, answer and die whenever they like.

The pool decides who does what; a crew only carries it out, and tells what happened:

    hire → Started → give → Answered …,    at any time → Lost

One crew is Ray's actors; another is a clock that simulates a thousand of them.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from longwang_ray.engine.executor import StopRun, describe

CALL_SECONDS = 1.0
"""A call should last so long: quick items go many to a call, or messages would be all the work."""

Hand: TypeAlias = Any
"""Whoever was hired: what the crew likes; hashable."""


@dataclass(frozen=True)
class Answer:
    """What came of a call: the first items' results, and why the next one has none.

    Attributes:
        results: Result and seconds of the items that were done, in their order.
        failure: Why the item behind them failed; None: what is behind them was not begun.
        stop: Why no retry can help, if that is what the worker said.
        trace: Where the failure came from, for those who look for a fault of ours.
    """

    results: Sequence[tuple[Any, float]] = ()
    failure: str | None = None
    stop: str | None = None
    trace: str | None = None


@dataclass(frozen=True)
class Started:
    """A worker is ready, on this node."""

    hand: Hand
    node: str


@dataclass(frozen=True)
class Answered:
    """A worker has answered its oldest call."""

    hand: Hand
    answer: Answer


@dataclass(frozen=True)
class Lost:
    """A worker is gone; ``blameless``: its node went away, whatever the worker was doing."""

    hand: Hand
    why: str
    blameless: bool = False


Event: TypeAlias = Started | Answered | Lost


class Crew(Protocol):
    """Starts, feeds, hears and stops workers; decides nothing."""

    def now(self) -> float:
        """Return seconds, monotonic."""

    def limit(self) -> int:
        """Return how many workers there may be now."""

    def leaving(self) -> Collection[str]:
        """Return the nodes that were told that they will be taken away."""

    def hire(self) -> Hand:
        """Begin to start a worker."""

    def give(self, hand: Hand, items: Sequence[Any]) -> None:
        """Send a worker a call; it works through its calls in order."""

    def dismiss(self, hand: Hand) -> None:
        """Stop a worker now, whatever it is doing."""

    def listen(self, timeout: float) -> Iterable[Event]:
        """Wait until something happens, ``timeout`` seconds at most; return all that has."""


@dataclass
class Shift:
    """A worker where it works: goes through the items of a call until the call is long enough.

    A worker that raised is not trusted again: the calls that follow come back not begun, and the
    pool starts another one.
    """

    worker: Any
    broken: bool = field(default=False, init=False)

    def work(self, items: Sequence[Any]) -> Answer:
        """Do as many items, in order, as fit into a call; at least one."""
        done: list[tuple[Any, float]] = []
        began = time.monotonic()
        for item in () if self.broken else items:
            start = time.monotonic()
            if done and start - began >= CALL_SECONDS:
                break
            try:
                result = self.worker(item)
            except StopRun as stop:
                self.broken = True
                return Answer(done, stop=str(stop))
            except Exception as error:
                self.broken = True
                return Answer(done, describe(error), trace=traceback.format_exc())
            done.append((result, time.monotonic() - start))
        return Answer(done)
