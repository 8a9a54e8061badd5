"""A store in Google Cloud Storage: real gcsfs, a server on this machine, and what can go wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest

from longwang_ray.store import (
    StoreRefused,
    StoreUnreachable,
    create_store,
    finished,
    gcs,
    objects,
    open_ensemble,
    seal,
    verify,
)
from longwang_ray.store.objects import Place
from tests.fakes.gcs import FakeGcs, Fault

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # before gcsfs is imported
UPLOAD = "POST .*/upload/"


@pytest.fixture(scope="module")
def running():
    with FakeGcs() as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    running.faults.clear()
    running.buckets.clear()
    running.requests.clear()
    running.buckets["lake"] = {}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    kind = fsspec.get_filesystem_class("gs")
    kind.clear_instance_cache()
    yield running
    running.faults.clear()
    kind.clear_instance_cache()


@pytest.fixture
def url(server):
    return "gs://lake/out.zarr"


def rain_objects(server):
    """The shards, and the names of receipts of rejections."""
    held = server.buckets["lake"].items()
    shards = {name: stored.content for name, stored in held if "/pr/c/" in name}
    return shards, [name for name, _ in held if "rejected" in name]


def test_the_whole_life_of_a_store(url, spec, kit, server):
    assert create_store(url, [spec]) == {spec.group.path: "created"}
    pieces = kit.pieces(spec)
    assert not finished(url, spec.group.path).any()
    assert len(kit.write(url, spec, pieces[:2])) == 6
    assert np.argwhere(finished(url, spec.group.path)).tolist() == [
        list(shard) for shard in sorted(pieces[0].shard_indices + pieces[1].shard_indices)
    ]
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
    shard = server.buckets["lake"][f"out.zarr/{spec.group.path}/pr/c/0/0/0/0"]
    assert set(shard.metadata) == {"recipe", "tile", "sha256"}


@pytest.mark.parametrize("match", [UPLOAD, "GET .*/o/", "GET .*/o\\?"])
@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429}, {"drop": True}, {"delay": 2.0}],
    ids=["503", "429", "dropped", "hung"],
)
def test_a_fault_that_passes_leaves_no_trace(url, spec, kit, server, monkeypatch, fault, match):
    """A hung request lands after all, later than the one that was sent in its place."""
    monkeypatch.setattr(gcs, "READ_SECONDS", 1.0)
    create_store(url, [spec])
    first = kit.pieces(spec)[0]
    server.faults.append(Fault(match, times=1, **fault))
    receipts = kit.write(url, spec, [first])
    assert [receipt.rejected for receipt in receipts] == [None] * 3
    done = finished(url, spec.group.path)
    assert done.sum() == 3
    assert server.faults[0].times == 0, "the fault was met"
    shards, rejected = rain_objects(server)
    assert len(shards) == 3
    assert not rejected


def test_an_answer_lost_after_the_write_landed_counts_as_done(url, spec, kit, server):
    create_store(url, [spec])
    server.faults.append(Fault(UPLOAD, drop=True, after=True, times=2))
    receipts = kit.write(url, spec, kit.pieces(spec)[:1])
    assert server.faults[0].times == 0
    assert [receipt.rejected for receipt in receipts] == [None] * 3
    assert not rain_objects(server)[1]
    assert finished(url, spec.group.path).sum() == 3


WRITER = """
import sys
from tests.store.conftest import make_spec, write
write(sys.argv[1], make_spec(), change=lambda shard, rain: rain * float(sys.argv[2]))
"""


def test_of_two_processes_on_the_same_shards_one_wins_each(url, spec, server):
    create_store(url, [spec])
    server.faults.append(Fault(UPLOAD, delay=0.05))
    commands = [[sys.executable, "-c", WRITER, url, factor] for factor in ("1", "2")]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    server.faults.clear()
    shards, rejected = rain_objects(server)
    assert len(shards) == len(rejected) == 12
    assert server.count(f"{UPLOAD}.*ifGenerationMatch=0") >= 24
    assert finished(url, spec.group.path).all()
    found = verify(url, tolerance=3.0)
    assert found.ok
    assert found.rejected == 12


@pytest.mark.parametrize("status", [401, 403, None])
def test_a_place_that_refuses_is_told_at_once(url, spec, server, status):
    if status is None:
        server.buckets.clear()
    else:
        server.faults.append(Fault(status=status))
    said = (
        "there is no such bucket; create it" if status is None else "access is refused; it needs"
    )
    began = time.monotonic()
    with pytest.raises(StoreRefused, match=rf"gs://lake/out.zarr: {said}"):
        create_store(url, [spec])
    assert time.monotonic() - began < 10
    assert not server.buckets.get("lake")


def test_credentials_that_do_not_work_are_told_without_them(
    url, spec, server, tmp_path, monkeypatch, caplog
):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "client_email": "someone@p.iam.gserviceaccount.com",
        "token_uri": f"{server.url}/token",
        "private_key": key.decode(),
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    began = time.monotonic()
    with pytest.raises(StoreRefused, match="access is refused; it needs credentials") as told:
        create_store(url, [spec])
    assert time.monotonic() - began < 10
    secret = key.decode().splitlines()[3]
    assert secret not in str(told.value) + caplog.text
    assert not server.buckets["lake"]


def test_a_place_that_does_not_answer_is_told_before_the_run(url, spec, server, monkeypatch):
    monkeypatch.setattr(objects, "PROBE_SECONDS", 1.5)
    server.faults.append(Fault(status=503))
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=r"gs://lake/out.zarr: not reachable since"):
        create_store(url, [spec])
    server.faults[:] = [Fault(delay=5.0)]
    with pytest.raises(StoreUnreachable, match=r"gs://lake/out.zarr: not reachable since"):
        create_store(url, [spec])
    assert time.monotonic() - began < 10


def test_long_listings_come_in_pages(url, spec, kit, server, monkeypatch):
    create_store(url, [spec])
    kit.write(url, spec)
    monkeypatch.setattr(gcs, "PAGE", 4)
    server.requests.clear()
    assert finished(url, spec.group.path).all()
    assert server.count("maxResults=4.*pageToken|pageToken.*maxResults=4") >= 2
    everything = {f"out.zarr/{key}" for key in Place(url).listing("")}
    assert everything == set(server.buckets["lake"])


@pytest.mark.parametrize("lost", ["POST .*rewriteTo", "DELETE "])
def test_a_move_whose_answer_is_lost_is_a_move(url, server, lost):
    place = Place(url)
    place.put_once("a/b", b"data")
    server.faults.append(Fault(lost, drop=True, after=True, times=1))
    assert place.move("a/b", "c/d")
    assert server.faults[0].times == 0
    assert {k: v.content for k, v in server.buckets["lake"].items()} == {"out.zarr/c/d": b"data"}
    assert not place.move("a/b", "c/e")


def test_a_place_where_nobody_listens_is_told_before_the_run(url, spec, server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(objects, "PROBE_SECONDS", 1.5)
    with pytest.raises(StoreUnreachable, match=r"gs://lake/out.zarr: not reachable since"):
        create_store(url, [spec])


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # as gcsfs does it
def test_a_large_object_is_one_conditional_request_too(url, server):
    """The filesystem would part it, and ask whether there is one only at the end."""
    place, data = Place(url), bytes(101 * 2**20)
    server.requests.clear()
    assert place.put_once("big", data)
    assert server.count("^(POST|PUT) ") == 1
    assert not place.put_once("big", b"other")
    assert len(place.read("big")) == len(data)
