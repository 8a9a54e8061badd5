"""Engine and store together: workers die between the shards of a tile, the bytes are the same."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from longwang_ray.engine import RayExecutor, SerialExecutor
from longwang_ray.store import ShardWriter, create_store, verify

cloudpickle = pytest.importorskip("ray.cloudpickle")
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Writer:
    """A worker that writes a piece's shards; it is killed once, with one shard written."""

    def __init__(self, url, spec, rain, fuse):
        self.spec, self.rain, self.fuse = spec, rain, fuse
        self.writer = ShardWriter(url)

    def __call__(self, piece):
        for r, t, i, j in piece.shard_indices:
            part = self.rain[r][self.spec.layout.slices_of(t, i, j)]
            self.writer.put(self.spec.group, (r, t, i, j), part, piece.key)
            if self.fuse is not None and piece.key == "t1.0.0.0":
                self.writer.flush()
                if not self.fuse.exists():
                    self.fuse.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        return [receipt.sha256 for receipt in self.writer.flush()]

    def close(self):
        self.writer.close()


def shards(url):
    return {
        p.relative_to(url): p.read_bytes() for p in Path(url).rglob("pr/c/**/*") if p.is_file()
    }


def test_kill_9_between_two_shards_leaves_the_bytes_of_a_serial_run(tmp_path, spec, kit):
    rain = [kit.rain_of(spec, realization) for realization in range(2)]
    cloudpickle.register_pickle_by_value(sys.modules[type(kit.pieces(spec)[0]).__module__])

    def run(executor, url, fuse):
        create_store(url, [spec])
        work = kit.missing(url, kit.pieces(spec))
        return list(executor.map(lambda: Writer(url, spec, rain, fuse), work, total=4))

    alone, many = str(tmp_path / "alone.zarr"), str(tmp_path / "many.zarr")
    run(SerialExecutor(), alone, None)
    with RayExecutor(workers=2) as executor:
        outcomes = {outcome.key: outcome for outcome in run(executor, many, tmp_path / "fuse")}
    assert outcomes["t1.0.0.0"].attempts == 2
    assert all(outcome.ok for outcome in outcomes.values())
    assert len(shards(alone)) == 12
    assert shards(many) == shards(alone)
    assert verify(many).ok
    assert list(kit.missing(many, kit.pieces(spec))) == []
