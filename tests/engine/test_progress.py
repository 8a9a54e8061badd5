"""The meter against a clock of its own; the screen on a stream that is not a terminal."""

from __future__ import annotations

import io

from longwang_ray.engine import Health, Meter, Outcome, watch
from longwang_ray.engine.progress import bar, line


def outcome(ok=True, attempts=1):
    return Outcome("k", 1 if ok else None, None if ok else "why", attempts, 1.0)


def test_rate_and_time_left():
    now = [0.0]
    meter = Meter(total=10, already=4, clock=lambda: now[0])
    assert meter.snapshot().seconds_left is None
    for second in (10.0, 20.0):
        now[0] = second
        meter.add(outcome())
    shot = meter.snapshot()
    assert (shot.done, shot.rate, shot.seconds_left, shot.elapsed) == (6, 0.1, 40.0, 20.0)
    now[0] = 25.0
    assert meter.snapshot().seconds_left == 35.0


def test_rate_follows_the_last_outcomes():
    now = [0.0]
    meter = Meter(total=None, clock=lambda: now[0])
    for step in [10.0] * 100 + [1.0] * 100:
        now[0] += step
        meter.add(outcome())
    assert meter.snapshot().rate == 1.0
    assert meter.snapshot().seconds_left is None


def test_one_line_says_it_all():
    now = [0.0]
    meter = Meter(total=4, clock=lambda: now[0])
    now[0] = 120.0
    meter.add(outcome(attempts=2))
    meter.add(outcome(ok=False))
    text = line(meter.snapshot(), "tile", Health(alive=1, wanted=2, retries=3))
    assert text == (
        "1/4 tiles · 1 tiles/min · 2 min 0 s gone · 2 min 0 s left · 1/2 workers"
        " · 3 retried · 1 FAILED"
    )
    assert bar(meter.snapshot()).count("█") == 6


def test_watch_passes_everything_through_and_ends_with_a_line():
    stream = io.StringIO()
    given = [outcome(), outcome(ok=False)]
    assert list(watch(iter(given), total=2, stream=stream)) == given
    assert stream.getvalue().splitlines()[-1].startswith("1/2 tiles")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_drawn_over_itself():
    stream = Terminal()
    list(watch(iter([outcome()]), total=1, stream=stream))
    assert stream.getvalue().count("\n") == 1
    assert "\r\x1b[K" + "█" * 24 in stream.getvalue()
