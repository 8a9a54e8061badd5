"""Objects appear whole, once, and what dead writers leave is swept."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from longwang_ray.store import create_store, finished, objects, verify
from longwang_ray.store.errors import StoreError, StoreRefused, StoreUnreachable
from longwang_ray.store.objects import Place, require_room


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
    with pytest.raises(StoreRefused, match=r"the disk is full; make room.*No space left"):
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


def test_a_fault_that_passes_is_waited_out_and_told_in_two_lines(tmp_path, monkeypatch, caplog):
    """A network disk whose server is away: asked again with growing pauses, then written."""
    place, fsync, pauses = Place(str(tmp_path)), os.fsync, []
    answers = iter([errno.ESTALE, errno.ETIMEDOUT, None])

    def away(file):
        if (number := next(answers)) is not None:
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", away)
    monkeypatch.setattr(objects.time, "sleep", pauses.append)
    assert place.put_once("a/x", b"data")
    assert pauses == [1, 2]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith(f"{tmp_path}/a/x: [Errno 116]")
    assert "asking again for up to 600 s" in said[0]
    assert "a/x: reached after" in said[1]


def test_patience_ends_with_what_is_safe(tmp_path, monkeypatch):
    def away(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", away)
    monkeypatch.setattr(objects, "FIRST_PAUSE", 0.01)
    with pytest.raises(StoreUnreachable, match=r"x: not reachable since .* the same command"):
        Place(str(tmp_path), patience=0.05).put_once("x", b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_cannot_pass_is_told_at_once(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreRefused, match=r"out: (the|this) .*; .*Errno"):
        Place(str(tmp_path / "out")).require_ready()
    assert os.listdir(tmp_path) == []


def test_a_probe_leaves_nothing_and_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    Place(str(tmp_path / "a/b/c")).require_ready()
    assert os.listdir(tmp_path) == ["file"]
    for place in ("file", "file/out.zarr"):
        with pytest.raises(StoreRefused, match=r"a part of the path is a file.*is a file.*/file"):
            Place(str(tmp_path / place)).require_ready()
    assert Place(str(tmp_path)).read("file/x") is None
    assert not Place(str(tmp_path)).exists("file/x")


@pytest.mark.parametrize(
    ("url", "said"),
    [("gopher://x/y", "gopher"), ("s3://x/y", r"pip install 'longwang-ray\[s3\]'")],
)
def test_a_filesystem_that_is_not_there_is_named(url, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    known = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(known, "s3", raising=False)  # another test may have used it
    with pytest.raises(StoreError, match=said):
        Place(url)


def test_room_is_asked_of_the_disk_where_the_store_will_be(tmp_path):
    require_room(str(tmp_path / "not/yet"), 1)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StoreRefused, match=r"will write .* GB and the disk has .* GB free"):
        require_room(str(tmp_path / "not/yet"), 2 * free)
    require_room("memory://x", 2 * free)


def test_what_is_moved_lies_under_its_new_name(place):
    place.put_once("a/b", b"data")
    assert place.move("a/b", "c/d")
    assert not place.move("a/b", "c/e")
    assert place.read("c/d") == b"data"
    assert (place.exists("a/b"), place.exists("c/d"), place.exists("c")) == (False, True, False)


WRITER = """
import sys
from tests.store.conftest import make_spec, write
write(sys.argv[1], make_spec(), change=lambda shard, rain: rain * float(sys.argv[2]))
"""


def test_of_two_processes_on_the_same_shards_one_wins_each(url, spec):
    create_store(url, [spec])
    commands = [[sys.executable, "-c", WRITER, url, factor] for factor in ("1", "2")]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert finished(url, spec.group.path).all()
    found = verify(url, tolerance=3.0)
    assert found.ok
    assert found.rejected == 12
