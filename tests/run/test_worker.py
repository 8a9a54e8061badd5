"""What a worker tells, what it does not do twice, and what it says when it cannot go on."""

from __future__ import annotations

import errno
import os
import pickle
import re
import weakref
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from longwang_ray.domain.layout import SHARD_DAYS
from longwang_ray.engine import StopRun
from longwang_ray.posterior.decoding import DecodedMonth, MonthLedger
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.run import plan_ensemble, worker
from longwang_ray.run.planning import sampling_of
from longwang_ray.run.recipe import group_spec
from longwang_ray.run.worker import OutOfMemory, TileReport, WorkerFactory, cut
from longwang_ray.store import ShardWriter, StoreError, StoreUnreachable, create_store
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import receipt_key

GIB = 2**30
STAGES = {"read", "sample", "decode", "close", "encode", "put"}


@pytest.fixture
def work(config):
    """A worker's factory on a store that is made, and a tile of two shards."""
    made = config(realizations=1, tiling={"halo_strides": 0, "shards_per_tile": 2})
    prepared = plan_ensemble(made)
    create_store(made.output.path, [group_spec(prepared, plan) for plan in prepared.plan.groups])
    job = WorkerFactory(
        prior=made.prior,
        sources={
            path: MonthlyRain(source.rain, source.grid, source.record)
            for path, source in prepared.sources.items()
        },
        sampling=sampling_of(made),
        seed=made.seed,
        store=made.output.path,
        device="cpu",
        threads=1,
        memory=3 * GIB,
    )
    (tile,) = prepared.plan.tiles()
    return job, tile


@pytest.fixture
def start(work):
    """Start workers, and close them in the end."""
    started = []

    def one():
        started.append(work[0]())
        return started[-1]

    yield one
    for each in started:
        with suppress(StoreError):  # what the last shard met, if nobody has heard of it yet
            each.close()


def never(*_):
    raise AssertionError("the tile is there and was sampled again")


def test_a_report_says_what_a_tile_took_in_few_bytes(work, start, shards):
    job, tile = work
    report = start()(tile)
    written = shards(job.store)
    assert (report.shards, len(written), report.rejected) == (2, 2, 0)
    assert report.bytes == sum(map(len, written.values()))
    assert report.cells == prod(tile.core_shape) == 59 * 8 * 16
    assert set(report.seconds) == STAGES
    assert all(seconds >= 0 for seconds in report.seconds.values())
    assert len(pickle.dumps(report)) < 1024
    large = TileReport(10**9, 10**15, 10**9, 10**18, dict.fromkeys(STAGES, 12345.678))
    assert len(pickle.dumps(large)) < 1024


def test_what_is_there_is_not_sampled_again(work, start, shards, monkeypatch):
    job, tile = work
    start()(tile)
    before = shards(job.store)
    monkeypatch.setattr(worker, "sample_months", never)
    assert start()(tile) == TileReport(0, 0, 0, prod(tile.core_shape), {})
    assert shards(job.store) == before


def receipt(job, tile, number):
    return Path(job.store) / receipt_key(tile.group.path, tile.shard_indices[number])


def shard(job, tile, number):
    name = "/".join(map(str, tile.shard_indices[number]))
    return Path(job.store) / tile.group.path / "pr" / "c" / name


@pytest.mark.parametrize("part", [receipt, shard])
@pytest.mark.parametrize("number", [0, 1])
def test_what_lacks_a_shard_or_a_receipt_is(work, start, shards, part, number):
    job, tile = work
    start()(tile)
    before = shards(job.store)
    part(job, tile, number).unlink()
    report = start()(tile)
    assert (report.shards, report.rejected) == (2, 0)
    assert shards(job.store) == before


def test_a_fresh_tile_is_asked_for_once(work, start, monkeypatch):
    _, tile = work
    asked, read = [], Place.read

    def counted(place, key):
        asked.append(key)
        return read(place, key)

    def sampled(*_):
        raise ZeroDivisionError

    one = start()
    monkeypatch.setattr(Place, "read", counted)
    monkeypatch.setattr(worker, "sample_months", sampled)
    with pytest.raises(ZeroDivisionError):
        one(tile)
    assert len(asked) == 1


def months_of(tile, lengths, alive=None):
    """Random months of these lengths from the core's first day on; the first is not told."""
    day, random = tile.days[0], np.random.default_rng(0)
    for number, n in enumerate(lengths):
        if alive is not None:
            assert not [known for known in alive if known() is not None], "a month is still held"
        rain = random.random((n, *tile.core_shape[1:]), dtype=np.float32)
        factor = random.random(tile.core_shape[1:], dtype=np.float32)
        if alive is not None:
            alive.append(weakref.ref(rain))
        told = MonthLedger(number, *(np.zeros((1, 1)),) * 4) if number else None
        month = DecodedMonth(number, day, rain, factor, told)
        del rain, factor
        yield month
        del month
        day += n


@pytest.mark.parametrize("lengths", [(31, 28), (1, 31, 27), (32, 27), (59,), (28, 5, 26)])
def test_shards_are_cut_from_months(work, lengths):
    _, tile = work
    whole = np.concatenate([month.closed for month in months_of(tile, lengths)])
    ledger, days = [], 0
    for index, rain in cut(tile, months_of(tile, lengths), ledger, Stopwatch()):
        assert index == tile.shard_indices[days // SHARD_DAYS]
        assert np.array_equal(rain, whole[days : days + SHARD_DAYS])
        days += len(rain)
    assert days == 59
    assert [entry.month for entry in ledger] == list(range(1, len(lengths)))


def test_the_ledger_is_whole_before_the_last_shard(work):
    _, tile = work
    ledger = []
    for index, _ in cut(tile, months_of(tile, (1, 31, 20, 7)), ledger, Stopwatch()):
        assert len(ledger) == (1 if index[1] == 0 else 3)


def test_no_month_is_held_while_the_next_one_is_decoded(work):
    _, tile = work
    taken = sum(len(rain) for _, rain in cut(tile, months_of(tile, (31, 28), []), [], Stopwatch()))
    assert taken == 59


def numpy_has_none(*_):
    np.empty(2**57)


def torch_has_none(*_):
    torch.empty(2**60, dtype=torch.uint8)


def a_graphics_card_has_none(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")


@pytest.mark.parametrize("reason", [numpy_has_none, torch_has_none, a_graphics_card_has_none])
def test_out_of_memory_says_what_was_foreseen_and_what_to_change(work, start, monkeypatch, reason):
    _, tile = work
    monkeypatch.setattr(worker, "sample_months", reason)
    with pytest.raises(OutOfMemory) as caught:
        start()(tile)
    said = str(caught.value)
    assert "\n" not in said
    assert tile.key in said
    assert (
        "with 1 thread and batches of 16 windows; the plan foresaw 3.00 GiB for a worker" in said
    )
    for change in (
        "tiling.shards_per_tile", "tiling.shard_cells", "engine.workers",
    ):  # fmt: skip
        assert change in said
    assert str(pickle.loads(pickle.dumps(caught.value))) == said


def test_other_errors_are_left_as_they_are(work, start, monkeypatch):
    _, tile = work

    def wrong(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(worker, "sample_months", wrong)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        start()(tile)
    assert not isinstance(caught.value, OutOfMemory)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_more_stops_the_run(work, start, monkeypatch, number):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    work_now = start()
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(StopRun, match=re.escape(os.strerror(number))):
        work_now(work[1])


def test_a_store_that_does_not_answer_stops_the_run(work, start, monkeypatch):
    def silent(*_):
        raise StoreUnreachable("gs://b/o: not reachable since 600 s")

    monkeypatch.setattr(ShardWriter, "flush", silent)
    with pytest.raises(StopRun, match="not reachable since 600 s"):
        start()(work[1])


def test_a_shard_in_the_way_that_is_torn_does_not(work, start, monkeypatch):
    def torn(*_):
        raise StoreError("pr/c/0/0/0/0 is corrupt")

    monkeypatch.setattr(ShardWriter, "flush", torn)
    with pytest.raises(StoreError, match="is corrupt"):
        start()(work[1])
