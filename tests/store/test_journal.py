"""A run's record on the store: seen from anywhere, silent to Zarr, and never in the run's way."""

from __future__ import annotations

import json
import threading
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import xarray as xr
import zarr

from longwang_ray.store import create_store, finished, journal, seal, verify
from longwang_ray.store.journal import Journal, RunRecord, discreet, given_up, read_runs, running
from tests.fakes.gcs import FakeGcs, Fault

GROUP = "CMCC-CM2-SR5/historical/r1i1p1f1"
KEY = "CMCC-CM2-SR5~historical~r1i1p1f1~r0.t0-1.y0.x0"


def begun(**changes):
    record = RunRecord.begin([GROUP], {"engine": "ray", "realizations": 2}, total=8, already=3)
    return replace(record, **changes)


@pytest.fixture
def store(url, spec):
    create_store(url, [spec])
    return url


def test_what_is_written_is_read_elsewhere(store):
    book = Journal(store, begun())
    book.write()
    (seen,) = read_runs(store)
    assert (seen.state, seen.done, seen.already, seen.total) == ("running", 3, 3, 8)
    assert seen.about == {"engine": "ray", "realizations": 2}
    book.write(
        done=7, failed=1, rate=0.5, given_up={KEY: "ValueError: bad rain"}, bytes_written=2**40
    )
    book.write(state="incomplete")
    (seen,) = read_runs(store)
    assert seen == book.record
    assert (seen.state, seen.rate, seen.bytes_written, seen.groups) == (
        "incomplete",
        0.5,
        2**40,
        (GROUP,),
    )
    assert given_up([seen]) == {KEY: "ValueError: bad rain"}


def test_runs_come_newest_first_and_stay(store):
    for number in range(4):
        record = replace(begun(), run=f"2026010{number}T000000Z-aaaaaa")
        Journal(store, record).write(state="complete")
    assert [run.run[7] for run in read_runs(store)] == ["3", "2", "1", "0"]
    assert [run.run[7] for run in read_runs(store, most=2)] == ["3", "2"]
    path = next(Path(store).rglob("20260103T*.json"))
    path.write_text("{")
    assert [run.run[7] for run in read_runs(store)] == ["2", "1", "0"]
    path.write_text(json.dumps(json.loads(record.to_json()) | {"run": "x", "later": 1}))
    assert read_runs(store)[0].run == "x"


def test_neither_zarr_nor_xarray_nor_verify_sees_it(store, spec, kit):
    kit.write(store, spec)
    Journal(store, begun()).write()
    seal(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = zarr.open_group(store, mode="r", use_consolidated=False)
        assert not any("runs" in name for name, _ in root.members(max_depth=None))
        with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
            assert f"/{GROUP}" in tree.groups
        with xr.open_zarr(store, group=GROUP, consolidated=False) as opened:
            assert "pr" in opened
    assert finished(store, GROUP).all()
    assert verify(store).ok


def test_a_driver_that_was_killed_is_silent():
    record = begun()
    later = datetime.now(UTC) + timedelta(seconds=3 * record.every + 40)
    assert not record.is_silent()
    assert record.is_silent(later)
    assert not replace(record, state="complete").is_silent(later)


def test_runs_that_write_now_are_known_to_others(store):
    Journal(store, begun()).write(state="stopped")
    assert running(store) == []
    book = Journal(store, begun())
    book.write()
    assert [run.run for run in running(store)] == [book.record.run]


def test_a_later_run_that_wrote_a_tile_does_not_name_it():
    other = "CMCC-CM2-SR5~ssp585~r1i1p1f1~r0.t0-1.y0.x0"
    both = (GROUP, GROUP.replace("historical", "ssp585"))
    old = begun(groups=both, given_up={KEY: "old", other: "old"})
    new = begun(given_up={})
    assert given_up([old]) == {KEY: "old", other: "old"}
    assert given_up([new, old]) == {other: "old"}
    assert given_up([begun(given_up={KEY: "new"}), old]) == {KEY: "new", other: "old"}


def test_nothing_private_gets_onto_the_store(store):
    secret = (
        "OSError: /home/me/out.zarr at gs://bucket/x?X-Goog-Signature=abc from 10.1.2.3:6379 "
        "(node-17.internal) password=hunter2 Authorization: Bearer ya29.x"
    )
    book = Journal(store, begun())
    book.write(message=secret, given_up={f"{KEY}{n}": secret for n in range(500)}, failed=500)
    (seen,) = read_runs(store)
    raw = next(Path(store).rglob("runs/*.json")).read_text()
    for word in ("home", "bucket", "abc", "10.1", "node-17", "hunter2", "ya29"):
        assert word not in raw
    assert len(seen.given_up) == journal.MOST_GIVEN_UP
    assert seen.failed == 500
    kept = f"{GROUP}: 3 mm/day (r1i1p1f1) is not finite; 2000-01/2000-02, 10:30"
    assert discreet(kept) == kept
    assert len(discreet("x" * 5000)) == 300


def test_a_store_that_refuses_is_told_once_and_stops_nothing(store, caplog):
    folder = Path(store) / GROUP / "pr"
    (folder / "runs").write_text("a file in the way")
    book = Journal(store, begun())
    book.write()
    book.write(state="complete")
    assert len(caplog.records) == 1
    assert "journal is not written" in caplog.text


def test_a_write_that_hangs_does_not_hold_up_the_last_one(store, monkeypatch, caplog):
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    book, hung, released = Journal(store, begun()), threading.Event(), threading.Event()

    def hang(*_):
        hung.set()
        released.wait(60)

    monkeypatch.setattr(book._place, "replace", hang)
    thread = threading.Thread(target=book.write)
    thread.start()
    try:
        assert hung.wait(30)
        book.write(state="complete")
    finally:
        released.set()
        thread.join()
    assert "has not come back" in caplog.text


def test_in_a_bucket(spec, caplog):
    with FakeGcs() as gcs:
        gcs.put("bucket", "other", b"")
        options = {"endpoint_url": gcs.url, "token": "anon", "skip_instance_cache": True}
        url = "gs://bucket/out.zarr"
        create_store(url, [spec], options)
        book = Journal(url, begun(), options)
        book.write()
        book.write(done=5)
        (seen,) = read_runs(url, storage_options=options)
        assert (seen.state, seen.done) == ("running", 5)
        gcs.faults.append(Fault(match="POST .*upload", status=403))
        book.write(state="complete")
        assert len(caplog.records) == 1
        gcs.faults.clear()
        book.write(state="complete")
        assert read_runs(url, storage_options=options)[0].state == "complete"


def test_runs_of_one_second_are_told_in_their_order(url, spec):
    create_store(url, [spec])
    names = []
    for _ in range(8):
        record = RunRecord.begin([spec.group.path], {}, total=1)
        Journal(url, record).write()
        names.append(record.run)
    assert [run.run for run in read_runs(url)] == names[::-1]
