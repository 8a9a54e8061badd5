"""The contract of an executor.

    map : (factory, items) → outcomes,    factory() = worker,    worker(item) = result

Every item comes back exactly once, as a result or as an error, in whatever order it was finished.
A worker that raised is not trusted with the next item: it is dropped and another is made. An item
that failed ``attempts`` times is *quarantined*: reported as an error while the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger("longwang_ray.engine")


class Keyed(Protocol):
    """An item: picklable, with a stable, human-readable name."""

    @property
    def key(self) -> str:
        """Return the item's name, unique in its run."""


Item = TypeVar("Item", bound=Keyed)
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]
"""Makes a worker, in the process where it will work. A worker may have a ``close()``."""


class EngineError(RuntimeError):
    """The run cannot go on: workers do not start, or nothing that they try succeeds."""


class StopRun(Exception):
    """Raised by a worker when no retry can help (disk full, no right to write): ends the run."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item.

    Attributes:
        key: The item's key.
        result: What the worker returned; None if it failed.
        error: Why it was quarantined, in one line; None if it succeeded.
        attempts: How often it was tried, the last time included.
        seconds: How long the last attempt took.
    """

    key: str
    result: Result | None
    error: str | None
    attempts: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None


@dataclass
class Health:
    """How a running ``map`` is.

    Attributes:
        alive: Workers that have started.
        wanted: Workers that the work left asks for.
        retries: Attempts that had to be repeated.
        waiting: Items that nobody works on, as far as is known.
    """

    alive: int = 0
    wanted: int = 0
    retries: int = 0
    waiting: float = 0


class Executor(Protocol):
    """Maps a worker over items; see the module for what is promised."""

    health: Health

    def map(
        self,
        factory: Factory[Item, Result],
        items: Iterable[Item],
        total: int | None = None,
    ) -> Iterator[Outcome[Result]]:
        """Yield one outcome for each item, as they finish; ``total`` is their number, if known."""


def describe(error: BaseException) -> str:
    """Put an error into one line: its kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def close_worker(worker: object) -> None:
    """Let a worker finish what it holds open, if it has a ``close``."""
    close = getattr(worker, "close", None)
    if callable(close):
        close()
