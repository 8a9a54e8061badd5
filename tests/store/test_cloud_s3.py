"""A store in S3: real s3fs, moto's server on this machine, and what can go wrong."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time

import boto3
import fsspec
import numpy as np
import pytest

from longwang_ray.store import (
    StoreRefused,
    StoreUnreachable,
    create_store,
    finished,
    objects,
    open_ensemble,
    s3,
    seal,
    verify,
)
from longwang_ray.store.objects import Place
from tests.fakes.gcs import Fault
from tests.fakes.s3 import FakeS3

SECRET = "n0b0dyMayReadThis/In+AnyObjectOrLog"
PUT = "PUT /lake/"


@pytest.fixture(scope="module")
def running():
    with FakeS3() as server:
        yield server


@pytest.fixture
def bucket(running, monkeypatch):
    """The bucket as the server's owner sees it; the test sees it by the environment alone."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    kind = fsspec.get_filesystem_class("s3")
    kind.clear_instance_cache()
    running.faults.clear()
    made = boto3.resource("s3", endpoint_url=running.url).Bucket("lake")
    made.create()
    running.requests.clear()
    yield made
    running.faults.clear()
    made.objects.all().delete()
    kind.clear_instance_cache()


@pytest.fixture
def url(bucket):
    return "s3://lake/out.zarr"


def names(bucket, part):
    return [held.key for held in bucket.objects.all() if part in held.key]


def test_the_whole_life_of_a_store_and_no_secret_in_it(url, spec, kit, bucket, caplog):
    caplog.set_level(logging.DEBUG, "longwang_ray")
    assert create_store(url, [spec]) == {spec.group.path: "created"}
    pieces = kit.pieces(spec)
    assert len(kit.write(url, spec, pieces[:2])) == 6
    assert finished(url, spec.group.path).sum() == 6
    assert create_store(url, [spec]) == {spec.group.path: "resumed"}
    kit.write(url, spec, pieces[2:])
    (sealed,) = seal(url)
    assert sealed.complete
    found = verify(url)
    assert found.ok
    assert found.shards == 12
    with open_ensemble(url) as opened:
        flux = opened.pr[1].values
    np.testing.assert_allclose(flux * 86400, kit.rain_of(spec, 1), rtol=2**-10 * 1.01)
    shard = bucket.Object(f"out.zarr/{spec.group.path}/pr/c/0/0/0/0")
    assert set(shard.metadata) == {"recipe", "tile", "sha256"}
    held = [(item.key, item.get()) for item in bucket.objects.all()]
    assert not [key for key, got in held if SECRET.encode() in got["Body"].read()]
    assert SECRET not in str([(key, got["Metadata"]) for key, got in held]) + caplog.text


@pytest.mark.parametrize("match", [PUT, "GET /lake/out", "GET /lake.*list-type"])
@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429}, {"drop": True}, {"delay": 4.0}],
    ids=["503", "429", "dropped", "hung"],
)
def test_a_fault_that_passes_leaves_no_trace(
    url, spec, kit, running, bucket, monkeypatch, fault, match
):
    monkeypatch.setattr(s3, "READ_SECONDS", 1.5)
    create_store(url, [spec])
    running.faults.append(Fault(match, times=1, **fault))
    receipts = kit.write(url, spec, kit.pieces(spec)[:1])
    assert [receipt.rejected for receipt in receipts] == [None] * 3
    assert finished(url, spec.group.path).sum() == 3
    assert running.faults[0].times == 0, "the fault was met"
    assert len(names(bucket, "/pr/c/")) == 3
    assert not names(bucket, "rejected")


def test_an_answer_lost_after_the_write_landed_counts_as_done(url, spec, kit, running, bucket):
    create_store(url, [spec])
    running.faults.append(Fault(PUT, drop=True, after=True, times=2))
    receipts = kit.write(url, spec, kit.pieces(spec)[:1])
    assert running.faults[0].times == 0
    assert [receipt.rejected for receipt in receipts] == [None] * 3
    assert not names(bucket, "rejected")
    assert finished(url, spec.group.path).sum() == 3


WRITER = """
import sys
from tests.store.conftest import make_spec, write
write(sys.argv[1], make_spec(), change=lambda shard, rain: rain * float(sys.argv[2]))
"""


def test_of_two_processes_on_the_same_shards_one_wins_each(url, spec, bucket):
    create_store(url, [spec])
    commands = [[sys.executable, "-c", WRITER, url, factor] for factor in ("1", "2")]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(names(bucket, "/pr/c/")) == len(names(bucket, "rejected")) == 12
    assert finished(url, spec.group.path).all()
    found = verify(url, tolerance=3.0)
    assert found.ok
    assert found.rejected == 12


@pytest.mark.parametrize("status", [401, 403, None])
def test_a_place_that_refuses_is_told_at_once(
    url, spec, running, bucket, monkeypatch, caplog, status
):
    if status is None:
        url = "s3://nowhere/out.zarr"
    else:
        running.faults.append(Fault(status=status))
    said = (
        "there is no such bucket; create it" if status is None else "access is refused; it needs"
    )
    began = time.monotonic()
    with pytest.raises(StoreRefused, match=rf"{url}: {said}") as told:
        create_store(url, [spec])
    assert time.monotonic() - began < 10
    assert SECRET not in str(told.value) + caplog.text
    running.faults.clear()
    assert not names(bucket, "")


def test_a_place_that_does_not_answer_is_told_before_the_run(
    url, spec, running, bucket, monkeypatch
):
    monkeypatch.setattr(objects, "PROBE_SECONDS", 1.5)
    running.faults.append(Fault(delay=4.0))
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=r"s3://lake/out.zarr: not reachable since"):
        create_store(url, [spec])
    assert time.monotonic() - began < 10


def test_long_listings_come_in_pages(url, spec, kit, running, bucket, monkeypatch):
    create_store(url, [spec])
    kit.write(url, spec)
    monkeypatch.setattr(s3, "PAGE", 4)
    running.requests.clear()
    assert finished(url, spec.group.path).all()
    assert running.count("max-keys=4.*continuation-token") >= 2
    assert {f"out.zarr/{key}" for key in Place(url).listing("")} == set(names(bucket, ""))


def test_what_is_moved_lies_under_its_new_name(url, bucket):
    place = Place(url)
    place.put_once("a/b", b"data")
    assert place.move("a/b", "c/d")
    assert names(bucket, "") == ["out.zarr/c/d"]
    assert place.read("c/d") == b"data"
    assert not place.move("a/b", "c/e")


def test_a_place_where_nobody_listens_is_told_before_the_run(url, spec, bucket, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(objects, "PROBE_SECONDS", 1.5)
    with pytest.raises(StoreUnreachable, match=r"s3://lake/out.zarr: not reachable since"):
        create_store(url, [spec])


def test_a_large_object_is_one_conditional_request_too(url, running, bucket):
    """The filesystem would part it, and ask whether there is one only at the end."""
    place, data = Place(url), bytes(101 * 2**20)
    running.requests.clear()
    assert place.put_once("big", data)
    assert running.count("^(POST|PUT) ") == 1
    assert not place.put_once("big", b"other")
    assert len(place.read("big")) == len(data)
