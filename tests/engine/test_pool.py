"""The pool on a simulated clock: every item once, whatever happens to those who work."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwang_ray.engine import EngineError, StopRun
from longwang_ray.engine.crew import Answer, Answered
from longwang_ray.engine.jobs import JobQueue
from longwang_ray.engine.pool import IN_FLIGHT, MOST_ITEMS, Pool
from tests.fakes.clockwork import NEVER, Clockwork, Deadly, Numbered

LONG = 10**4


def drive(crew, count, *, attempts=3, deadline=None, total=None, poll=0.5):
    """Run to the end; returns the outcomes and the pool."""
    queue = JobQueue(map(Numbered, range(count)), count if total is None else total, attempts)
    pool, outcomes = Pool(crew, queue, deadline), []
    while not pool.idle:
        outcomes.extend(pool.step(poll))
        assert crew.now() < LONG, "it does not end"
    pool.stop()
    return outcomes, pool


def work(seconds=10.0):
    return lambda worker, item, random: (seconds, item.number)


def once_each(outcomes, count):
    assert sorted(o.key for o in outcomes) == sorted(f"i{n}" for n in range(count))
    return {o.key: o for o in outcomes}


@given(
    count=st.integers(0, 60),
    workers=st.integers(1, 12),
    mean_life=st.sampled_from([50.0, 200.0, NEVER]),
    notice=st.sampled_from([0.0, 5.0, 15.0]),
    poison=st.sets(st.integers(0, 59), max_size=2),
    hiccups=st.sets(st.integers(0, 59), max_size=5),
    quick=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_every_item_comes_back_once(
    count, workers, mean_life, notice, poison, hiccups, quick, seed
):
    seen = set()

    def once(worker, item, random):
        if item.number in poison:
            raise Deadly("killed")
        if item.number in hiccups and item.number not in seen:
            seen.add(item.number)
            raise OSError("hiccup")
        return random.uniform(0.01, 0.1) if quick else random.uniform(1, 40), item.number

    def life(random):
        return mean_life if mean_life == NEVER else random.expovariate(1 / mean_life) + 45

    crew = Clockwork(once, count=lambda _: workers, life=life, notice=lambda _: notice, seed=seed)
    outcomes, _ = drive(crew, count)
    found = once_each(outcomes, count)
    for key, outcome in found.items():
        assert outcome.ok == (int(key[1:]) not in poison)
        assert not outcome.ok or outcome.result == int(key[1:])
        assert outcome.ok or outcome.attempts == 3
        assert "killed" in (outcome.error or "killed")


def test_no_more_workers_than_work_and_none_idle_at_the_end():
    crew = Clockwork(work(), count=lambda _: 100)
    outcomes, _ = drive(crew, 7)
    once_each(outcomes, 7)
    assert len(crew.hired) == 7
    assert not any(worker.alive for worker in crew.hired)


def test_workers_are_let_go_as_the_work_runs_out():
    crew = Clockwork(lambda w, item, r: (10.0 + item.number * 100, 0), count=lambda _: 4)
    queue = JobQueue(map(Numbered, range(4)), 4, 3)
    pool = Pool(crew, queue)
    while sum(worker.alive for worker in crew.hired) != 1:
        list(pool.step(0.5))
    assert 200 < crew.now() < 320, "the last one alone is left while it works"


def test_the_limit_may_grow_and_new_workers_are_used():
    crew = Clockwork(work(), count=lambda now: 1 if now < 100 else 5)
    outcomes, _ = drive(crew, 60)
    once_each(outcomes, 60)
    assert len(crew.hired) == 5
    assert all(worker.busy > 50 for worker in crew.hired)


def test_calls_in_flight_are_bounded_and_items_taken_lazily():
    taken = itertools.count()
    items = (Numbered(next(taken)) for _ in range(10**6))
    crew = Clockwork(work(), count=lambda _: 3)
    pool = Pool(crew, JobQueue(items, 10**6, 3))
    for _ in range(100):
        list(pool.step(0.5))
        assert all(len(worker.calls) <= IN_FLIGHT for worker in crew.hired)
    assert next(taken) < 3 * (IN_FLIGHT + 50 / 10) + 1


def test_quick_items_go_many_to_a_call_and_slow_ones_one():
    crew = Clockwork(work(0.001), count=lambda _: 2)
    once_each(drive(crew, 20000)[0], 20000)
    assert max(len(items) for _, _, items in crew.given) == MOST_ITEMS
    crew = Clockwork(work(5.0), count=lambda _: 2)
    once_each(drive(crew, 50)[0], 50)
    assert max(len(items) for _, _, items in crew.given) == 1


def test_a_call_ends_after_a_second_though_more_was_expected_of_it():
    """First quick items, then slow ones: those that were not begun go to the other worker."""
    crew = Clockwork(
        lambda w, item, r: (0.001 if item.number < 5000 else 20.0, 0), count=lambda _: 4
    )
    outcomes, pool = drive(crew, 5100)
    once_each(outcomes, 5100)
    assert pool.health.retries == 0
    assert crew.now() < 1.15 * (100 * 20 / 4) + 20


def test_an_item_that_kills_costs_nobody_else_an_attempt():
    def deadly(worker, item, random):
        if item.number == 30:
            raise Deadly("End of file")
        return 0.01, item.number

    outcomes, _ = drive(Clockwork(deadly, count=lambda _: 2), 100)
    found = once_each(outcomes, 100)
    assert found["i30"].error == "its worker died (End of file)"
    assert found["i30"].attempts == 3
    assert {o.attempts for o in outcomes if o.ok} == {1}


def test_a_raised_error_is_told_in_its_own_words():
    def broken(worker, item, random):
        if item.number == 2:
            raise ValueError("bad rain")
        return 1.0, item.number

    outcomes, pool = drive(Clockwork(broken), 10)
    found = once_each(outcomes, 10)
    assert found["i2"].error == "ValueError: bad rain"
    assert pool.health.retries == 2


def test_a_node_that_goes_away_is_nobodys_fault_and_is_replaced():
    lives = iter([35.0, NEVER, NEVER])
    crew = Clockwork(work(), life=lambda _: next(lives))
    outcomes, pool = drive(crew, 10)
    once_each(outcomes, 10)
    assert all(o.attempts == 1 for o in outcomes)
    assert len(crew.hired) == 2
    assert pool.health.retries == 2, "the one that it worked on, and the one behind it"


def test_a_node_with_a_drain_notice_finishes_its_item_and_gets_no_other():
    lives = iter([60.0] + [NEVER] * 5)
    crew = Clockwork(work(20.0), life=lambda _: next(lives), notice=lambda _: 30.0)
    outcomes, pool = drive(crew, 8)
    once_each(outcomes, 8)
    first = crew.hired[0]
    # it starts at 1 s, is told at 31 s, finishes the item of 21 … 41 s, and is let go
    assert first.busy == pytest.approx(40.0)
    assert not any(worker is first for when, worker, _ in crew.given if when > 31.6)
    assert crew.hired[1].started < 34, "another one is hired as soon as the notice is there"
    assert pool.health.retries == 0, "what it had not begun is handed back, not lost"


def test_an_item_past_its_deadline_is_tried_elsewhere():
    hung = set()

    def hanging(worker, item, random):
        if item.number == 3 and not hung:
            hung.add(worker)
            return NEVER, None
        return 2.0, item.number

    outcomes, _ = drive(Clockwork(hanging, count=lambda _: 2), 60, deadline=30.0)
    found = once_each(outcomes, 60)
    assert found["i3"].attempts == 2
    assert {o.attempts for o in outcomes} == {1, 2}


def test_what_waits_behind_a_hanging_item_is_not_held_up_at_the_end():
    hung = set()

    def hanging(worker, item, random):
        if item.number == 3 and not hung:
            hung.add(worker)
            return NEVER, None
        return 2.0, item.number

    crew = Clockwork(hanging, count=lambda _: 2)
    once_each(drive(crew, 12)[0], 12)
    assert crew.now() < 40, "no deadline: a copy of the late item, and of the one behind it"


def test_an_item_that_always_hangs_is_given_up():
    def hanging(worker, item, random):
        return (NEVER, None) if item.number == 3 else (2.0, item.number)

    outcomes, _ = drive(Clockwork(hanging, count=lambda _: 2), 6, deadline=30.0)
    assert once_each(outcomes, 6)["i3"].error == "no answer within the deadline of 30 s"


def test_a_slow_item_at_the_end_is_copied_and_the_first_answer_counts():
    def slow_once(worker, item, random):
        slow = item.number == 17 and worker is crew.hired[0]
        return 1000.0 if slow else 10.0, (item.number, worker.number)

    crew = Clockwork(slow_once, count=lambda _: 2)
    crew.hire()  # takes number 0: its number is not used by the pool
    crew.hired.clear()
    outcomes, _ = drive(crew, 18)
    once_each(outcomes, 18)
    copies = [worker.number for _, worker, items in crew.given if items[0].number == 17]
    if copies[0] == 0:
        assert copies == [0, 1]
        assert crew.now() < 250


def test_an_item_that_is_lost_does_not_wait_until_a_useless_copy_is_over():
    tried = set()

    def slow_once(worker, item, random):
        usual = {0: 10.0, 6: 300.0}.get(item.number, 10.0)
        slow = item.number == 0 and not tried
        tried.add(item.number)
        return 1000.0 if slow else usual, item.number

    begun = itertools.count()

    def life(random):  # all but the first are taken away at 150 s
        return NEVER if next(begun) == 0 or crew.now() > 140 else 150.0 - crew.now()

    crew = Clockwork(slow_once, count=lambda _: 3, life=life)
    once_each(drive(crew, 7)[0], 7)
    assert 440 < crew.now() < 500, "at 150 s another worker is hired, though the first one works"


def test_workers_that_do_not_start_end_the_run_if_there_is_no_other():
    class Stillborn(Clockwork):
        def _begin(self, worker):
            from longwang_ray.engine.crew import Lost

            self.dismiss(worker)
            return Lost(worker, "no such prior")

    with pytest.raises(EngineError, match="3 workers in a row died while they started"):
        drive(Stillborn(work()), 3)


def test_one_bad_node_does_not_keep_the_others_from_growing():
    """Some die while they start: a pause is made, longer each time, and the rest go on."""

    class Flaky(Clockwork):
        def _begin(self, worker):
            from longwang_ray.engine.crew import Lost

            if worker.number and self._clock < 200:
                self.dismiss(worker)
                return Lost(worker, "no disk")
            return super()._begin(worker)

    crew = Flaky(work(), count=lambda _: 4)
    once_each(drive(crew, 200)[0], 200)
    assert sum(worker.busy > 100 for worker in crew.hired) == 4
    assert len(crew.hired) < 30


def test_a_worker_can_stop_the_run():
    class Full(Clockwork):
        def _finish(self, worker, event):
            return Answered(worker, Answer(stop="disk full"))

    with pytest.raises(StopRun, match="disk full"):
        drive(Full(work()), 3)
