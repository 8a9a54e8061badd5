"""Objects appear whole, once, and what dead writers leave is swept."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from longwang_ray.store.objects import Place


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    if request.param == "disk":
        yield Place(str(tmp_path / "s"))
        return
    yield Place(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").store.clear()


def test_the_first_writer_wins(place):
    assert place.put_once("a/b/c", b"first")
    assert not place.put_once("a/b/c", b"second")
    assert place.read("a/b/c") == b"first"
    assert place.read("a/b/d") is None
    assert place.read("a/b/c/d") is None
    assert list(place.listing("a")) == ["a/b/c"]
    assert list(place.listing("nothing")) == []


def test_the_driver_may_replace_its_own(place):
    place.replace("k", b"one")
    place.replace("k", b"two")
    assert place.read("k") == b"two"


def test_of_many_writers_one_wins_and_no_temporary_file_stays(tmp_path):
    place = Place(str(tmp_path))
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: place.put_once("x", b"%d" % n * 10000), range(32)))
    assert sum(won) == 1
    assert place.read("x") == b"%d" % won.index(True) * 10000
    assert os.listdir(tmp_path) == ["x"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Place(str(tmp_path)).put_once("x", b"data")
    assert os.listdir(tmp_path) == []


def test_a_disk_without_links_still_keeps_the_first(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    place = Place(str(tmp_path))
    assert place.put_once("x", b"first")
    assert not place.put_once("x", b"second")
    assert place.read("x") == b"first"
    assert os.listdir(tmp_path) == ["x"]


def test_only_what_dead_writers_left_is_swept(tmp_path):
    place, host = Place(str(tmp_path)), socket.gethostname()
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    dead = tmp_path / "c" / f".0~{host}~{int(gone.stdout)}~ab.part"
    alive = tmp_path / f".1~{host}~{os.getpid()}~ab.part"
    fresh = tmp_path / ".2~another.host~1~ab.part"
    stale = tmp_path / ".3~another.host~1~ab.part"
    foreign = tmp_path / "thesis.part"
    dead.parent.mkdir()
    for path in (dead, alive, fresh, stale, foreign):
        path.touch()
    os.utime(stale, (time.time() - 7200,) * 2)
    assert list(place.listing("")) == []
    assert place.sweep() == 2
    left = {path for path in Path(tmp_path).rglob("*") if path.is_file()}
    assert left == {alive, fresh, foreign}


class Bucket:
    """A filesystem that takes what gcsfs takes, and loses the answer of a put when told to."""

    def __init__(self):
        self.calls, self.held, self.lose = [], {}, False

    def pipe_file(self, path, data, mode="overwrite", metadata=None):
        self.calls.append((path, mode, metadata))
        if mode == "create" and path in self.held:
            raise FileExistsError(path)
        self.held[path] = data
        if self.lose:  # the client sends again after the connection broke, and finds its own write
            raise FileExistsError(path)

    def cat_file(self, path):
        if path not in self.held:
            raise FileNotFoundError(path)
        return self.held[path]


def test_buckets_are_asked_to_create_with_metadata(monkeypatch):
    bucket = Bucket()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_: (bucket, "b/o"))
    place = Place("gs://b/o")
    assert place.put_once("k", b"data", {"sha256": "1"})
    assert bucket.calls == [("b/o/k", "create", {"sha256": "1"})]
    bucket.lose = True
    assert not place.put_once("l", b"data")
    assert place.read("l") == b"data"
