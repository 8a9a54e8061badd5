"""What a run tells: to machines, and to its store, from its first moment to its last."""

from __future__ import annotations

import io
import json
import time

import pytest

from longwang_ray.engine import Health, Outcome, Viewer
from longwang_ray.run import plan_ensemble, report
from longwang_ray.run.recipe import group_spec
from longwang_ray.run.report import Events, Report, is_stop, measures_of
from longwang_ray.run.worker import TileReport
from longwang_ray.store import create_store, read_runs

GROUP = "TEST/historical/r1i1p1f1"
HEALTH = Health(alive=1, wanted=2)


@pytest.fixture
def prepared(config):
    """Four tiles in a store that has its groups."""
    made = plan_ensemble(config())
    assert made.plan.n_tiles == 4
    create_store(made.config.output.path, [group_spec(made, one) for one in made.plan.groups])
    return made


def tile(n, error=None, attempts=1):
    done = None if error else TileReport(1, 1000, 0, 8 * 16 * 73, {"read": 0.1})
    return Outcome(f"TEST~historical~r1i1p1f1~r0.t{n}-{n}.y0.x0", done, error, attempts, 2.0)


def told(prepared, outcomes, viewers=(), already=1):
    """Run a report over outcomes; return what the store says then."""
    with Report(prepared, already, viewers) as shown:
        list(shown.watch(outcomes, lambda: HEALTH))
    return read_runs(prepared.config.output.path)[0]


def test_the_store_says_how_a_run_ended(prepared):
    run = told(prepared, iter([tile(1), tile(2, attempts=2), tile(3)]))
    assert (run.state, run.done, run.already, run.failed, run.total) == ("complete", 4, 1, 0, 4)
    assert run.realization_years == pytest.approx(3 * 73 / 365)
    assert (run.bytes_written, run.retried, run.groups) == (3000, 1, (GROUP,))
    assert run.about["region"] == {"lat": [10, 30], "lon": [340, 20]}
    assert (run.about["engine"], run.about["realizations"]) == ("serial", 2)
    assert not any("path" in key for key in run.about)


def test_what_was_given_up_stands_on_the_store(prepared):
    bad = tile(2, error="ValueError: poison", attempts=3)
    run = told(prepared, iter([tile(1), bad, tile(3)]))
    assert (run.state, run.failed, run.given_up) == ("incomplete", 1, {bad.key: bad.error})


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "stopped"), (ValueError("no such month"), "failed")],
)
def test_an_end_before_its_time(prepared, error, state):
    def outcomes():
        yield tile(1)
        raise error

    with pytest.raises(type(error)):
        told(prepared, outcomes())
    (run,) = read_runs(prepared.config.output.path)
    assert (run.state, run.done) == (state, 2)
    assert run.message == ("" if state == "stopped" else "ValueError: no such month")


def test_a_run_can_be_watched_from_elsewhere(prepared, monkeypatch):
    """Alive in the midst of a tile, and while it seals."""
    monkeypatch.setattr(report, "EVERY", 0.01)
    url, looks = prepared.config.output.path, []

    def look():
        for _ in range(1000):
            for run in read_runs(url):
                if run.done == 1 + len(looks):
                    return looks.append((run.state, run.done, run.workers_wanted))
            time.sleep(0.02)
        raise AssertionError("the store heard nothing")

    monkeypatch.setattr(report._Keeper, "every", 0.01)

    def outcomes():
        look()
        yield tile(1)
        look()

    with Report(prepared, 1, ()) as shown:
        list(shown.watch(outcomes(), lambda: HEALTH))
        assert read_runs(url)[0].state == "running", "it has not sealed yet"
    assert looks[1:] == [("running", 2, 2)]
    assert read_runs(url)[0].state == "complete"


def test_events_are_one_object_a_line(prepared):
    stream = io.StringIO()
    given = [tile(1), tile(2, error="ValueError: poison", attempts=3), tile(3, attempts=2)]
    run = told(prepared, iter(given), [Events(stream)])
    events = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [one["event"] for one in events] == ["started", "given_up", "retried", "progress"]
    started, given_up, retried, progress = events
    assert (started["run"], started["total"], started["already"]) == (run.run, 4, 1)
    assert (given_up["key"], given_up["error"]) == (given[1].key, "ValueError: poison")
    assert (retried["key"], retried["attempts"]) == (given[2].key, 2)
    assert (progress["done"], progress["failed"], progress["bytes_written"]) == (3, 1, 2000)


def test_a_run_with_nothing_to_do(prepared):
    with Report(prepared, 4, ()):
        pass
    (run,) = read_runs(prepared.config.output.path)
    assert (run.state, run.done, run.total) == ("complete", 4, 4)


def test_a_screen_ends_before_the_last_word(prepared):
    """A line on a terminal is finished when the block is left, whatever is raised within."""
    seen = []

    class Shown(Viewer):
        def show(self, shot, final):
            seen.append(final)

    def outcomes():
        yield tile(1)
        yield tile(2)

    def consume():
        with Report(prepared, 1, [Shown()]) as shown:
            for _ in shown.watch(outcomes(), lambda: HEALTH):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert seen == [True]


def test_a_signal_is_known_even_wrapped():
    wrapped = SystemError("returned a result with an exception set")
    wrapped.__cause__ = KeyboardInterrupt()
    assert is_stop(wrapped)
    assert is_stop(KeyboardInterrupt())
    assert not is_stop(ValueError())


def test_years_follow_the_calendar(config):
    years, _ = measures_of(plan_ensemble(config(calendar="360_day")))
    assert years.of(tile(1)) == pytest.approx(73 / 360)
    assert years.shown(3.1415) == "3.14 realization-years"
