"""What a run says of itself, on the store that it fills: one small object, replaced now and then.

    {first group of the run}/pr/runs/{run}.json

Only the run's driver writes it, so runs never meet, and a bucket's one update a second is kept.
It stands inside the array, like the receipts, where Zarr looks for no nodes. It says how far the
run is and what it gave up, and nothing of machines, paths or people. It may be wrong about a run
whose driver was killed; what is on the store, it never decides.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from longwang_ray.store.groups import group_paths
from longwang_ray.store.objects import Place

log = logging.getLogger(__name__)
State = Literal["running", "complete", "incomplete", "stopped", "failed"]
EVERY = 15.0
"""Seconds between two replacements of a run's object."""
MOST_GIVEN_UP = 100
"""Tiles whose reason is kept; the number of all is ``failed``."""
_RECENT = 20
_LONGEST = 300
_PATIENCE = 30.0
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_PRIVATE = (
    (r"\b[a-zA-Z][\w+.-]*://\S+", "<url>"),
    (r"(?<![\w.~-])(?:~|[A-Za-z]:)?[/\\][^\s'\":,;()]+", "<path>"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\b[a-zA-Z][\w.-]*:\d{4,5}\b", "<address>"),
    (r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|io|local|internal)\b", "<host>"),
    (r"(?i)\b(\w*(?:token|secret|password|key|signature)\s*[=:]|bearer)\s*\S+", r"\1 …"),
)


@dataclass(frozen=True)
class RunRecord:
    """How one run is, or how it ended.

    Attributes:
        run: Its name: when it began, and a few random letters.
        started: When it began, UTC.
        updated: When it last said anything, UTC.
        every: Seconds after which it says something again while it is running.
        state: ``running``, or how it ended: ``complete``, ``incomplete`` (tiles were given up),
            ``stopped`` (by a signal) or ``failed``.
        message: Why it failed.
        groups: Paths of the groups that it fills.
        about: What was asked: period, region, realizations, engine.
        done: Tiles done, those of earlier runs included.
        already: Tiles that earlier runs had done.
        failed: Tiles given up.
        total: Tiles in all.
        retried: Attempts that had to be repeated.
        rate: Tiles a second.
        seconds_left: Until all are done.
        realization_years: Years of the whole region that this run has written.
        bytes_written: By this run.
        workers_alive: Workers that have started.
        workers_wanted: Workers that the work left asks for.
        given_up: Keys of tiles given up, and why; the first hundred.
    """

    run: str
    started: str
    updated: str
    every: float = EVERY
    state: State = "running"
    message: str = ""
    groups: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0
    already: int = 0
    failed: int = 0
    total: int = 0
    retried: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    realization_years: float = 0.0
    bytes_written: int = 0
    workers_alive: int = 0
    workers_wanted: int = 0
    given_up: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, groups: Iterable[str], about: Mapping[str, Any], total: int, already: int = 0
    ) -> RunRecord:
        """A run that begins now."""
        now = datetime.now(UTC)
        run = f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}"  # sorts by time, to the moment
        at = now.strftime(_TIME)
        return cls(
            run, at, at, groups=tuple(groups), about=dict(about),
            done=already, already=already, total=total,
        )  # fmt: skip

    @classmethod
    def from_json(cls, data: bytes) -> RunRecord:
        """Read a record back; what a later version added is left out.

        Raises:
            ValueError: It is no record.
        """
        values = json.loads(data)
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"run", "started", "updated"} <= values.keys():
            raise ValueError("not the record of a run")
        record = cls(**{name: value for name, value in values.items() if name in known})
        if record.state not in get_args(State):
            raise ValueError(f"unknown state {record.state!r}")
        return replace(record, groups=tuple(record.groups))

    def to_json(self) -> bytes:
        """The object's bytes."""
        return json.dumps(asdict(self)).encode()

    def is_silent(self, now: datetime | None = None) -> bool:
        """Whether it should be running and says nothing: its driver was killed or is cut off."""
        if self.state != "running":
            return False
        updated = datetime.strptime(self.updated, _TIME).replace(tzinfo=UTC)
        return ((now or datetime.now(UTC)) - updated).total_seconds() > 3 * self.every + 30


class Journal:
    """Keeps a run's record on the store; if it cannot, that is told once and stops nothing.

    Args:
        url: The store; it has the run's groups.
        record: How the run begins.
        storage_options: For the filesystem.
    """

    def __init__(
        self, url: str, record: RunRecord, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self.record = record
        self._place = Place(url, storage_options)
        self._key = f"{_folder(record.groups[0])}/{record.run}.json"
        self._lock = threading.Lock()
        self._well = True

    def write(self, **changes: Any) -> None:  # noqa: ANN401 - fields of RunRecord
        """Change the record and replace the object.

        Args:
            changes: Fields of :class:`RunRecord`; of messages only what may be told is kept.
        """
        if not self._lock.acquire(timeout=_PATIENCE):  # the last write hangs in a bucket
            self._tell("the last write has not come back")
            return
        try:
            self.record = _told(replace(self.record, updated=_now(), **changes))
            self._place.replace(self._key, self.record.to_json())
        except Exception as error:  # each filesystem has its own
            self._tell(f"{type(error).__name__}: {error}")
        finally:
            self._lock.release()

    def _tell(self, why: str) -> None:
        if self._well:
            log.warning("the run's journal is not written, so status elsewhere is old: %s", why)
        self._well = False


def read_runs(
    url: str, most: int | None = None, storage_options: Mapping[str, Any] | None = None
) -> list[RunRecord]:
    """Read what runs say of themselves, the newest first.

    Args:
        url: The store.
        most: How many at most; None: all.
        storage_options: For the filesystem.

    Raises:
        StoreError: There is no store of ours.
    """
    place = Place(url, storage_options)
    keys = [key for path in group_paths(place) for key in place.listing(_folder(path))]
    keys.sort(key=lambda key: key.rsplit("/", 1)[-1], reverse=True)
    runs = []
    for key in keys[:most]:
        try:
            runs.append(RunRecord.from_json(place.read(key) or b""))
        except (ValueError, TypeError) as error:
            log.debug("%s: %s", key, error)
    return runs


def running(url: str, storage_options: Mapping[str, Any] | None = None) -> list[RunRecord]:
    """Read the records of the runs that write to a store now, by their own word.

    One whose driver was killed a minute ago may still be among them.
    """
    runs = read_runs(url, most=_RECENT, storage_options=storage_options)
    return [run for run in runs if run.state == "running" and not run.is_silent()]


def given_up(runs: Iterable[RunRecord]) -> dict[str, str]:
    """Tiles that are given up, and why: of each group as its newest run says.

    Args:
        runs: The newest first; a later run that tried and wrote a tile does not name it.
    """
    found: dict[str, str] = {}
    told: set[str] = set()
    for run in runs:
        news = tuple(path.replace("/", "~") + "~" for path in run.groups if path not in told)
        found |= {key: why for key, why in run.given_up.items() if key.startswith(news)}
        told |= set(run.groups)
    return found


def discreet(text: str) -> str:
    """Leave out of a message what a shared store need not know: paths, hosts, secrets.

    >>> discreet("OSError: /home/me/x: token=abc from 10.0.0.1:80")
    'OSError: <path>: token= … from <address>'
    """
    for pattern, instead in _PRIVATE:
        text = re.sub(pattern, instead, text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _told(record: RunRecord) -> RunRecord:
    few = list(record.given_up.items())[:MOST_GIVEN_UP]
    reasons = {key: discreet(why) for key, why in few}
    return replace(record, message=discreet(record.message), given_up=reasons)


def _folder(path: str) -> str:
    return f"{path}/pr/runs"


def _now() -> str:
    return datetime.now(UTC).strftime(_TIME)
