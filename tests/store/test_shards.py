"""Rounding by its error bound, encoding by reading it back, writing by injected faults."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numcodecs.blosc
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from longwang_ray.domain.layout import Layout
from longwang_ray.store import ShardWriter, StoreError, create_store, finished
from longwang_ray.store.metadata import group_objects
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import digest, read_receipt
from longwang_ray.store.shards import ShardCodec, ShardStore, round_mantissa

rains = arrays.arrays(
    np.float32, 64, elements=st.floats(0, 2**20, width=32, allow_subnormal=False)
)


@given(rains, st.integers(1, 23))
def test_rounding_is_to_nearest_within_its_bound(values, bits):
    rounded = round_mantissa(values, bits)
    assert (np.abs(rounded.astype(float) - values) <= values * 2.0 ** -(bits + 1)).all()
    assert (rounded[values == 0] == 0).all()
    np.testing.assert_array_equal(round_mantissa(rounded, bits), rounded)
    kept = rounded.view(np.int32) & ((1 << (23 - bits)) - 1)
    assert not kept.any()


def test_rounding_refuses_other_bits():
    with pytest.raises(ValueError, match="from 1 to 23"):
        round_mantissa(np.ones(1, np.float32), 0)


@pytest.fixture
def store(url, spec):
    create_store(url, [spec])
    return ShardStore(Place(url), spec.group.path)


def test_a_shard_reads_back_also_where_the_array_ends(store, spec, kit, url):
    last = spec.layout.slices_of(2, 1, 0)
    rain = kit.rain_of(spec, 1)[last]
    assert rain.shape == (28, 20, 48)
    shard = (1, 2, 1, 0)
    flux = store.codec.decode(shard, store.codec.encode(shard, rain))
    np.testing.assert_allclose(flux * 86400, rain, rtol=2**-10 * 1.01)
    store.put(shard, rain, "t")
    array = zarr.open_array(url, path=f"{spec.group.path}/pr", mode="r")
    np.testing.assert_array_equal(array[1][last], flux)
    assert np.isnan(array[0]).all(), "what is not written reads NaN"


def test_bytes_do_not_depend_on_threads(spec):
    """Chunks large enough for Blosc's threads, encoded in this thread and in another one."""
    layout = Layout.of((spec.record.start, spec.record.stop), (200, 256), (0, 256))
    large = replace(spec, layout=layout)
    codec = ShardCodec(group_objects(large)["pr/zarr.json"], 9)
    rain = np.random.default_rng(3).gamma(0.4, 8, (32, 256, 256)).astype(np.float32)
    made = [codec.encode((0, 0, 0, 0), rain)]
    other = threading.Thread(target=lambda: made.append(codec.encode((0, 0, 0, 0), rain)))
    other.start()
    other.join()
    assert made[0] == made[1]
    assert numcodecs.blosc.use_threads is False


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-3])
def test_impossible_rain_is_refused(store, bad):
    rain = np.zeros((32, 20, 48), np.float32)
    rain[3, 4, 5] = bad
    with pytest.raises(StoreError, match=r"\(0, 0, 0, 0\).*negative or not finite"):
        store.codec.encode((0, 0, 0, 0), rain)


def test_misplaced_rain_is_refused(store):
    with pytest.raises(StoreError, match="holds"):
        store.codec.encode((0, 2, 0, 0), np.zeros((32, 20, 48), np.float32))
    with pytest.raises(StoreError, match="outside"):
        store.codec.encode((0, 3, 0, 0), np.zeros((32, 20, 48), np.float32))


def test_again_is_the_same_and_another_is_rejected_and_told(store, spec, kit):
    shard, rain = (0, 0, 0, 0), kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    first = store.put(shard, rain, "t")
    assert store.put(shard, rain, "again").rejected is None
    other = store.put(shard, rain * 2, "t")
    assert other.sha256 == first.sha256
    assert other.rejected is not None
    assert digest(store.place.read(store.key(shard))) == first.sha256
    assert read_receipt(store.place, store.path, shard) == first


def test_a_put_whose_answer_was_lost_counts_as_done(store, spec, kit, monkeypatch):
    """The write landed, the client did not hear of it and asked again."""
    shard, rain = (0, 0, 0, 0), kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    put_once = store.place.put_once

    def deaf(key, data, metadata=None):
        put_once(key, data, metadata)
        return False

    monkeypatch.setattr(store.place, "put_once", deaf)
    receipt = store.put(shard, rain, "t")
    assert receipt.rejected is None
    assert finished(store.place.url, store.path)[shard]


def test_a_shard_without_receipt_is_checked_and_signed(store, spec, kit):
    shard, rain = (0, 0, 0, 0), kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    store.put(shard, rain, "t")
    Path(store.place.path(f"{store.path}/pr/receipts/0/0.0.0.json")).unlink()
    assert not finished(store.place.url, store.path)[shard]
    assert store.put(shard, rain, "t").rejected is None
    assert finished(store.place.url, store.path)[shard]


def test_a_torn_shard_is_not_overwritten(store, spec, kit):
    shard, rain = (0, 0, 0, 0), kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    path = Path(store.place.path(store.key(shard)))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torn")
    with pytest.raises(StoreError, match="is corrupt and nothing is overwritten"):
        store.put(shard, rain, "t")
    assert path.read_bytes() == b"torn"


def test_the_writer_works_behind_and_bounds_its_queue(url, spec, kit, monkeypatch):
    create_store(url, [spec])
    gate, began = threading.Event(), threading.Semaphore(0)
    put = ShardStore.put

    def slow(self, *args):
        began.release()
        gate.wait(10)
        return put(self, *args)

    monkeypatch.setattr(ShardStore, "put", slow)
    rain = kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    with ShardWriter(url, depth=2) as writer:
        for realization, t in ((0, 0), (0, 1), (1, 0)):
            writer.put(spec.group, (realization, t, 0, 0), rain, "t")
        began.acquire(timeout=10)
        fourth = threading.Thread(target=writer.put, args=(spec.group, (1, 1, 0, 0), rain, "t"))
        fourth.start()
        fourth.join(0.2)
        assert fourth.is_alive(), "two wait, one is being written, the fourth has to wait"
        gate.set()
        fourth.join(10)
        assert len(writer.flush()) == 4
        assert writer.flush() == []


def test_an_error_of_the_thread_reaches_the_caller_and_the_writer_lives_on(url, spec, kit):
    create_store(url, [spec])
    good = kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    with ShardWriter(url) as writer:
        writer.put(spec.group, (0, 0, 0, 0), -good - 1, "t")
        with pytest.raises(StoreError, match="negative"):
            writer.flush()
        writer.put(spec.group, (0, 0, 0, 0), good, "t")
        assert [receipt.shard for receipt in writer.flush()] == [(0, 0, 0, 0)]


def test_without_a_store_the_writer_says_so(url, spec):
    with ShardWriter(url) as writer:
        writer.put(spec.group, (0, 0, 0, 0), np.zeros((32, 20, 48), np.float32), "t")
        with pytest.raises(StoreError, match="create the store first"):
            writer.flush()


def test_the_writer_tells_the_seconds_of_a_flush_by_stage(url, spec, kit, monkeypatch):
    create_store(url, [spec])
    encode, put_once = ShardCodec.encode, Place.put_once

    def slow_encode(*args):
        time.sleep(0.2)
        return encode(*args)

    def slow_put(*args):
        time.sleep(0.05)
        return put_once(*args)

    monkeypatch.setattr(ShardCodec, "encode", slow_encode)
    monkeypatch.setattr(Place, "put_once", slow_put)
    rain = kit.rain_of(spec, 0)[spec.layout.slices_of(0, 0, 0)]
    with ShardWriter(url) as writer:
        assert writer.seconds == {"encode": 0, "put": 0}
        for realization in range(2):
            writer.put(spec.group, (realization, 0, 0, 0), rain, "t")
        writer.flush()
        assert 0.4 <= writer.seconds["encode"] < 0.6
        assert 0.2 <= writer.seconds["put"] < 0.4, "of shards and receipts, two each"
        writer.flush()
        assert writer.seconds == {"encode": 0, "put": 0}
