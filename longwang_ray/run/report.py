"""What a run tells while it goes on, and to whom: a screen, machines, the store, Ray's metrics.

    with Report(prepared, already) as report:
        for outcome in report.watch(executor.map(…), health):
            …
        seal(…)

The record on the store begins with the block and ends with it, whatever ends it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from longwang_ray.engine import Health, Measure, Outcome, Snapshot, Viewer, watch
from longwang_ray.engine.screens import JsonLines, duration, screen, size
from longwang_ray.run.planning import Prepared
from longwang_ray.run.worker import TileReport
from longwang_ray.store.journal import EVERY, MOST_GIVEN_UP, Journal, RunRecord

if TYPE_CHECKING:  # it imports this module
    from longwang_ray.run.ensemble import RunSummary

__all__ = ["Events", "Report", "duration", "is_stop", "measures_of", "size"]

DAYS_A_YEAR = {"360_day": 360.0, "noleap": 365.0, "julian": 365.25}
GREGORIAN = 365.2425
_FAREWELL = 20.0
"""Seconds that the store gets to take the last word."""


class Events(JsonLines):
    """A run for machines: one JSON object a line, each with ``event`` and ``time`` (UTC).

    ========  ==================================================================================
    event     keys
    ========  ==================================================================================
    plan      plan: name → value, as ``longwang plan`` prints them
    started   run, groups, total, already
    progress  done (``already`` included), already, failed, total, retried, elapsed, rate,
              seconds_left, waiting, workers_alive, workers_wanted, realization_years,
              bytes_written; seconds, tiles a second, null where unknown
    retried   key, attempts: a tile that was done at last
    given_up  key, attempts, error
    finished  store, complete, tiles, already, given_up (key → why), seconds, and of each of
              groups: path, done, asked (shards), complete
    stopped   none: by SIGINT or SIGTERM
    failed    error
    ========  ==================================================================================

    The last event is ``finished``, ``stopped`` or ``failed``; no other may follow.
    """

    def add(self, outcome: Outcome[Any]) -> None:
        """Tell of a tile that did not go as it should."""
        if not outcome.ok:
            known = {"key": outcome.key, "attempts": outcome.attempts, "error": outcome.error}
            self.tell("given_up", **known)
        elif outcome.attempts > 1:
            self.tell("retried", key=outcome.key, attempts=outcome.attempts)

    def finished(self, summary: RunSummary) -> None:
        """Tell what a run has done."""
        names = ("path", "done", "asked", "complete")
        self.tell(
            "finished",
            store=summary.store,
            complete=summary.complete,
            tiles=summary.tiles,
            already=summary.already,
            given_up=dict(summary.failed),
            seconds=round(summary.seconds, 3),
            groups=[{name: getattr(group, name) for name in names} for group in summary.groups],
        )


class Report:
    """One run, told to everybody who watches.

    Args:
        prepared: The run; its store has its groups already.
        already: Tiles that earlier runs had done.
        viewers: Who watches besides the store and Ray's metrics; None: who reads standard error.
    """

    def __init__(
        self, prepared: Prepared, already: int, viewers: Sequence[Viewer] | None = None
    ) -> None:
        config, plan = prepared.config, prepared.plan
        self._total, self._already = plan.n_tiles, already
        self._measures = measures_of(prepared)
        if viewers is None:
            viewers = [screen(sys.stderr, "tile", self._measures)]
        groups = [group.group.path for group in plan.groups]
        record = RunRecord.begin(groups, about(prepared), self._total, already)
        self._keeper = _Keeper(Journal(config.output.path, record))
        self._told = viewers
        self._viewers: list[Viewer] = [*viewers, self._keeper]
        if config.engine.kind == "ray":
            from longwang_ray.engine.metrics import Metrics

            self._viewers.append(Metrics(lambda report: report.seconds))
        self._watched: Iterator[Outcome[TileReport]] | None = None

    @property
    def record(self) -> RunRecord:
        """What the store was told last."""
        return self._keeper.journal.record

    def __enter__(self) -> Self:
        self._keeper.start()
        record = self.record
        facts = {"run": record.run, "groups": list(record.groups), "total": record.total}
        for viewer in self._told:
            if isinstance(viewer, Events):
                viewer.tell("started", **facts, already=record.already)
        return self

    def watch(
        self, outcomes: Iterable[Outcome[TileReport]], health: Callable[[], Health]
    ) -> Iterator[Outcome[TileReport]]:
        """Pass outcomes through, and show them.

        Args:
            outcomes: What an executor's ``map`` yields.
            health: Asked for workers and retries, for example ``lambda: executor.health``.
        """
        self._watched = watch(
            outcomes,
            self._total,
            already=self._already,
            measures=self._measures,
            viewers=self._viewers,
            health=health,
        )
        return self._watched

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watched is not None:  # ends the line on the terminal before anything is said
            self._watched.close()  # type: ignore[attr-defined]  # it is a generator
        self._keeper.stop(error)


class _Keeper(Viewer):
    """Keeps a run's record on the store, from its first moment to its last, also while it seals.

    A thread writes every quarter of a minute, so a slow bucket holds nobody up.
    """

    every = 2.0

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._given_up: dict[str, str] = {}
        self._failed = 0
        self._news: dict[str, Any] = {}
        self._end: dict[str, Any] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, outcome: Outcome[Any]) -> None:
        """Remember what was given up."""
        self._failed += not outcome.ok
        if not outcome.ok and len(self._given_up) < MOST_GIVEN_UP:
            self._given_up[outcome.key] = str(outcome.error)

    def show(self, shot: Snapshot, final: bool) -> None:
        """Remember how far it is; the thread writes it when it is time."""
        self._news = {
            "done": shot.done,
            "failed": shot.failed,
            "retried": shot.retried,
            "rate": shot.rate,
            "seconds_left": shot.seconds_left,
            "realization_years": shot.amounts["realization_years"],
            "bytes_written": int(shot.amounts["bytes_written"]),
            "workers_alive": shot.alive,
            "workers_wanted": shot.wanted,
        }

    def stop(self, error: BaseException | None) -> None:
        """Say how it ended."""
        end: dict[str, Any] = {"workers_alive": 0, "workers_wanted": 0, "seconds_left": None}
        if error is None:
            end["state"] = "incomplete" if self._failed else "complete"
        elif is_stop(error):
            end["state"] = "stopped"
        else:
            end |= {"state": "failed", "message": f"{type(error).__name__}: {error}"}
        self._end = end
        self._stop.set()
        self._thread.join(_FAREWELL)

    def _keep(self) -> None:
        self._write()
        while not self._stop.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        news = self._news | self._end
        self.journal.write(**news, given_up=dict(self._given_up))


def is_stop(error: BaseException) -> bool:
    """Whether a signal ended a run; Python wraps what a handler raises within a C extension."""
    cause = error.__cause__
    return not isinstance(error, Exception) or not (cause is None or isinstance(cause, Exception))


def about(prepared: Prepared) -> Mapping[str, Any]:
    """What was asked, for a record that anybody may read: no paths, no machines."""
    config = prepared.config
    region = config.region
    return {
        "period": list(config.period) if config.period else None,
        "region": region.model_dump(mode="json") if region else None,
        "realizations": config.realizations,
        "engine": config.engine.kind,
    }


def measures_of(prepared: Prepared) -> tuple[Measure, ...]:
    """What a run has more and more of besides tiles: years of the whole region, and bytes."""
    a_year = {
        group.group.path: group.layout.shape[1]
        * group.layout.shape[2]
        * DAYS_A_YEAR.get(group.record.calendar, GREGORIAN)
        for group in prepared.plan.groups
    }

    def years(outcome: Outcome[TileReport]) -> float:
        path = outcome.key.rsplit("~", 1)[0].replace("~", "/")
        return 0.0 if outcome.result is None else outcome.result.cells / a_year[path]

    def written(outcome: Outcome[TileReport]) -> float:
        return 0.0 if outcome.result is None else outcome.result.bytes

    return (
        Measure("realization_years", years, lambda n: f"{n:.3g} realization-years"),
        Measure("bytes_written", written, size),
    )
