"""Every executor keeps the same contract; the plain loop is tried here, faults included."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from longwang_ray.engine import EngineError, SerialExecutor, StopRun
from longwang_ray.engine.jobs import JobQueue


@dataclass(frozen=True)
class Number:
    value: int

    @property
    def key(self) -> str:
        return f"n{self.value}"


def squarer():
    return lambda item: item.value**2


def test_every_item_comes_back_once_in_order():
    outcomes = list(SerialExecutor().map(squarer, map(Number, range(5)), total=5))
    assert [(o.key, o.result) for o in outcomes] == [(f"n{i}", i * i) for i in range(5)]
    assert all(o.ok and o.attempts == 1 for o in outcomes)


def test_items_are_taken_lazily():
    taken = []
    items = (taken.append(i) or Number(i) for i in range(1000))
    outcomes = SerialExecutor().map(squarer, items)
    next(outcomes)
    assert len(taken) == 1


def test_no_items_no_worker():
    def refuse():
        raise AssertionError("nobody asked for a worker")

    assert list(SerialExecutor().map(refuse, [])) == []


class Moody:
    """Fails on item 2 until it has been made anew ``cures`` times."""

    made = closed = 0

    def __init__(self):
        Moody.made += 1

    def __call__(self, item):
        if item.value == 2 and Moody.made < 3:
            raise OSError("disk hiccup\nwith details")
        return item.value

    def close(self):
        Moody.closed += 1


def test_a_worker_that_raised_is_replaced_and_the_item_tried_again():
    Moody.made = Moody.closed = 0
    executor = SerialExecutor()
    outcomes = list(executor.map(Moody, map(Number, range(4))))
    assert [o.result for o in outcomes] == [0, 1, 2, 3]
    assert [o.attempts for o in outcomes] == [1, 1, 3, 1]
    assert Moody.made == Moody.closed == 3
    assert executor.health.retries == 2


def poisoned():
    def work(item):
        if item.value == 1:
            raise ValueError("poison\nmore lines")
        return item.value

    return work


def test_poison_is_quarantined_and_reported_and_the_rest_goes_on():
    good, bad, last = SerialExecutor(attempts=3).map(poisoned, map(Number, range(3)))
    assert (good.result, last.result) == (0, 2)
    assert not bad.ok
    assert (bad.error, bad.attempts) == ("ValueError: poison", 3)


def test_a_run_in_which_nothing_succeeds_stops():
    def broken():
        raise FileNotFoundError("no such prior")

    with pytest.raises(EngineError, match="no such prior"):
        list(SerialExecutor().map(broken, map(Number, range(10**6))))


def test_a_worker_can_stop_the_run():
    def full():
        def work(_):
            raise StopRun("disk full")

        return work

    with pytest.raises(StopRun, match="disk full"):
        list(SerialExecutor().map(full, map(Number, range(3))))


def test_the_queue_knows_what_is_left():
    queue = JobQueue(map(Number, range(3)), 3, attempts=2)
    first, second = queue.take(), queue.take()
    assert (queue.waiting, queue.open) == (1, 3)
    queue.done(first, None, 0.0)
    assert queue.failed(second, "why", 1.0) is None
    assert (queue.waiting, queue.open) == (2, 2)
    assert queue.take() is second
    assert queue.failed(second, "why", 1.0).attempts == 2
    assert (queue.waiting, queue.open, queue.exhausted) == (1, 1, False)
    queue.done(queue.take(), None, 0.0)
    assert (queue.open, queue.exhausted) == (0, True)


def test_loss_without_fault_counts_only_after_long():
    queue = JobQueue([Number(0)], 1, attempts=2)
    for _ in range(19):
        queue.lost(queue.take())
    job = queue.take()
    assert (job.attempts, job.losses) == (0, 19)
    queue.lost(job)
    assert queue.take().attempts == 1
