"""The meter against a clock of its own; viewers on streams that are read back."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import pty
import struct
import termios
import threading
import time

import pytest

from longwang_ray.engine import Health, Measure, Meter, Outcome, Snapshot, Viewer, progress, watch
from longwang_ray.engine.screens import JsonLines, Lines, Terminal, bar, line

YEARS = Measure("years", lambda outcome: outcome.result / 2, lambda years: f"{years:g} years")


def outcome(ok=True, attempts=1, seconds=1.0):
    return Outcome("k", 1 if ok else None, None if ok else "why", attempts, seconds)


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_rate_and_time_left():
    clock = Clock()
    meter = Meter(total=10, already=4, clock=clock)
    assert meter.snapshot().seconds_left is None
    for clock.now in (10.0, 20.0):
        meter.add(outcome(seconds=10.0))
    shot = meter.snapshot()
    assert (shot.done, shot.already, shot.rate) == (6, 4, 0.1)
    assert (shot.seconds_left, shot.elapsed) == (40.0, 20.0)
    clock.now = 25.0
    assert meter.snapshot().seconds_left == 35.0
    clock.now = 90.0  # nothing for seventy seconds, where an item takes ten: it got slower
    assert meter.snapshot().rate == 2 / 80


def test_the_start_of_workers_is_not_part_of_the_rate():
    clock = Clock()
    meter = Meter(total=4, clock=clock)
    for clock.now in (610.0, 620.0):
        meter.add(outcome(seconds=10.0))
    assert (meter.snapshot().rate, meter.snapshot().seconds_left) == (0.1, 20.0)


def test_rate_follows_the_last_outcomes():
    clock = Clock()
    meter = Meter(total=None, clock=clock)
    for step in [10.0] * 100 + [1.0] * 100:
        clock.now += step
        meter.add(outcome())
    assert meter.snapshot().rate == 1.0
    assert meter.snapshot().seconds_left is None


def test_rate_looks_beyond_a_burst():
    """A thousand workers, tiles of 600 s that end within a second of each other."""
    clock = Clock()
    meter = Meter(total=None, clock=clock)
    for begin in range(600, 6001, 600):
        for number in range(1000):
            clock.now = begin + number / 1000
            meter.add(outcome(seconds=600.0))
    assert meter.snapshot().rate == pytest.approx(1000 / 600, rel=0.3)


def test_amounts_are_added_up_from_what_succeeded():
    meter = Meter(total=None, measures=[YEARS], health=lambda: Health(3, 4, 5))
    for ok in (True, True, False):
        meter.add(outcome(ok))
    shot = meter.snapshot()
    assert shot.amounts == {"years": 1.0}
    assert (shot.alive, shot.wanted, shot.retried, shot.failed) == (3, 4, 5, 1)


def test_one_line_says_it_all():
    clock = Clock()
    health = Health(alive=1, wanted=2, retries=3)
    meter = Meter(total=4, clock=clock, measures=[YEARS], health=lambda: health)
    assert (
        line(meter.snapshot(), "tile", [YEARS]) == "0/4 tiles · 0 s gone · 1/2 workers · 3 retried"
    )
    clock.now = 120.0
    meter.add(outcome(attempts=2, seconds=120.0))
    meter.add(outcome(ok=False, seconds=120.0))
    assert line(meter.snapshot(), "tile", [YEARS]) == (
        "1/4 tiles · 0.5 years · 1 tiles/min · 2 min 0 s gone · 2 min 0 s left · 1/2 workers"
        " · 3 retried · 1 FAILED"
    )
    assert bar(meter.snapshot()).count("█") == 6


def test_watch_passes_everything_through_and_ends_with_a_line():
    stream = io.StringIO()
    given = [outcome(), outcome(ok=False)]
    assert list(watch(iter(given), total=2, stream=stream)) == given
    assert stream.getvalue().splitlines()[-1].startswith("1/2 tiles")


def test_adding_costs_little_however_many_there_were():
    meter = Meter(total=None, measures=[YEARS, YEARS])
    began = time.perf_counter()
    for _ in range(20_000):
        meter.add(outcome())
    assert time.perf_counter() - began < 4, "1,000 outcomes a second are a fifth of this at most"


class Recorder(Viewer):
    """Keeps what it is shown."""

    every = 0.01

    def __init__(self, looks=1):
        self.shots, self.added, self.enough = [], [], threading.Event()
        self.looks = looks

    def add(self, outcome):
        self.added.append(outcome)

    def show(self, shot, final):
        self.shots.append((shot.done, final))
        if len(self.shots) >= self.looks:
            self.enough.set()


def test_a_viewer_hears_each_outcome_and_sees_the_end_once():
    viewer = Recorder()

    def slow():
        yield outcome()
        assert viewer.enough.wait(30)
        yield outcome()

    list(watch(slow(), 2, viewers=[viewer]))
    assert len(viewer.added) == 2
    assert viewer.shots[0] == (1, False)
    assert viewer.shots[-1] == (2, True)
    assert [final for _, final in viewer.shots].count(True) == 1


def test_a_viewer_that_hangs_or_fails_stops_neither_run_nor_others(monkeypatch, caplog):
    monkeypatch.setattr(progress, "_LAST_LOOK", 0.2)
    released = threading.Event()

    class Hanging(Viewer):
        every = 0.01

        def show(self, shot, final):
            released.wait(60)

    class Failing(Viewer):
        every = 0.01

        def show(self, shot, final):
            raise OSError("bucket is gone")

    well = Recorder(looks=3)

    def slow():
        yield outcome()
        assert well.enough.wait(30)

    began = time.monotonic()
    try:
        assert len(list(watch(slow(), 1, viewers=[Hanging(), Failing(), well]))) == 1
    finally:
        released.set()
    assert time.monotonic() - began < 30
    assert well.shots[-1] == (1, True)
    assert [record.message for record in caplog.records] == [
        "progress is not shown (Failing): bucket is gone"
    ]


def test_the_end_is_shown_whatever_ends_the_run():
    viewer = Recorder()

    def stopped():
        yield outcome()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(watch(stopped(), 2, viewers=[viewer]))
    assert viewer.shots[-1] == (1, True)


def test_plain_lines_only_where_something_changed_and_fewer_in_long_runs():
    stream = io.StringIO()
    lines = Lines(stream, "tile")
    for second in range(0, 100, 10):
        lines.show(Snapshot(done=second // 50, total=2, elapsed=second), False)
    assert lines.every == 10
    lines.show(Snapshot(done=2, total=2, elapsed=3600), False)
    lines.show(Snapshot(done=2, total=2, elapsed=3601), True)
    assert lines.every == 60
    assert [text[:9] for text in stream.getvalue().splitlines()] == [
        "0/2 tiles",
        "1/2 tiles",
        "2/2 tiles",
    ]


class Screen(io.StringIO):
    """A terminal that never was."""

    def isatty(self):
        return True


def test_a_terminal_gets_one_line_drawn_over_itself():
    stream = Screen()
    list(watch(iter([outcome()]), total=1, stream=stream))
    assert stream.getvalue().count("\n") == 1
    assert "\r\x1b[K" + "█" * 24 in stream.getvalue()


def test_a_log_line_stands_above_the_line_of_a_terminal():
    stream = Screen()
    handler = logging.StreamHandler(stream)
    log = logging.getLogger("longwang_ray")
    log.addHandler(handler)
    try:
        terminal = Terminal(stream, "tile")
        terminal.show(Snapshot(done=1, total=2), False)
        before = stream.tell()
        log.warning("t001: taken back")
        drawn = stream.getvalue()[before:]
        terminal.show(Snapshot(done=2, total=2), True)
        before = stream.tell()
        log.warning("after")
    finally:
        log.removeHandler(handler)
    assert drawn == f"\r\x1b[Kt001: taken back\n{'█' * 12}{'░' * 12} 1/2 tiles · 0 s gone"
    assert stream.getvalue()[before:] == "after\n"
    assert handler.stream is stream


def test_the_line_keeps_to_one_row():
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(follower, "w") as stream:
        shot = Snapshot(done=1, total=2, elapsed=1, alive=4, wanted=4)
        Terminal(stream, "tile").show(shot, True)
        Terminal(stream, "realization").show(shot, True)
        drawn = b""
        while drawn.count(b"\n") < 2:  # a terminal gives what it has
            drawn += os.read(leader, 4096)
    os.close(leader)
    rows = [row.replace("\r\x1b[K", "") for row in drawn.decode().split("\n") if row.strip()]
    assert [row.strip() for row in rows] == [
        "1/2 tiles · 1 s gone · 4/4 workers",
        "1/2 realizations · 1 s gone · 4/4 work…",
    ]


def test_json_lines_have_the_same_keys_each_time():
    stream = io.StringIO()
    shown = JsonLines(stream, every=0.01)
    list(watch(iter([outcome()]), None, viewers=[shown], measures=[YEARS]))
    shown.show(Snapshot(done=1, total=4, rate=1 / 3, seconds_left=float("inf")), True)
    shown.tell("given_up", key="t1", error="why")
    first, *_, last, told = map(json.loads, stream.getvalue().splitlines())
    assert first.keys() - last.keys() == {"years"}
    assert (first["event"], first["done"], first["total"], first["years"]) == (
        "progress",
        1,
        None,
        0.5,
    )
    assert (last["rate"], last["seconds_left"]) == (0.333333, None)
    assert told == {"event": "given_up", "time": told["time"], "key": "t1", "error": "why"}


def test_events_that_nobody_reads_any_more_stop_nothing(caplog):
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    events = JsonLines(stream)
    events.tell("started")
    events.tell("finished")
    assert len(caplog.records) == 1
    assert "the run goes on" in caplog.text
    with pytest.raises(BrokenPipeError):
        stream.close()
