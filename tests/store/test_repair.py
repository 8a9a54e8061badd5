"""What is damaged is moved aside with its receipt, and nothing else; a run then makes it again."""

from __future__ import annotations

import fsspec
import pytest

from longwang_ray.domain.lattice import Lattice
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.store import create_store, verify
from longwang_ray.store.backlog import open_backlog
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import digest, read_receipt, receipt_key
from longwang_ray.store.repair import repair
from longwang_ray.store.shards import ShardStore

SHARD = (1, 2, 0, 0)
LATTICE = Lattice((8, 12, 12), (4, 8, 8), (1, 4, 4), (180, 360))


@pytest.fixture(params=["disk", "memory"])
def url(request, tmp_path):
    if request.param == "disk":
        yield str(tmp_path / "out.zarr")
        return
    yield f"memory://{tmp_path.name}/out.zarr"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def plan(spec):
    return GroupPlan(spec.group, spec.layout, spec.record, LATTICE, 2, Tiling(shards_per_tile=1))


@pytest.fixture
def shards(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec)
    return ShardStore(Place(url), spec.group.path)


def contents(url):
    """All objects by key, but for what the driver replaces."""
    place = Place(url)
    return {key: place.read(key) for key in place.listing("")}


def harm(shards, how, shard=SHARD):
    key = shards.key(shard)
    data = bytearray(shards.place.read(key))
    data[100] ^= 1
    if how == "deleted":
        shards.place.move(key, "elsewhere")
    elif how == "emptied":
        shards.place.replace(key, b"")
    else:
        shards.place.replace(key, bytes(data if how == "corrupt" else data[: len(data) // 2]))


@pytest.mark.parametrize("how", ["corrupt", "truncated", "emptied", "deleted"])
def test_a_harmed_shard_is_made_again_and_nothing_else(url, spec, plan, kit, shards, how):
    sound, key = contents(url), shards.key(SHARD)
    harm(shards, how)
    harmed = contents(url)
    (problem,) = verify(url).problems
    assert problem.where == key
    assert ("missing" if how == "deleted" else "corrupt") in problem.what
    (found,) = repair(url, [plan])
    assert found.key == key
    assert str(found).startswith(f"{key}: {problem.what.split(':')[0].split(',')[0]}")
    assert f"; moved to {spec.group.path}/pr/damaged/1.2.0.0~" in str(found)
    moved = contents(url)
    assert sorted(moved.values()) == sorted(harmed.values()), "nothing is deleted or changed"
    (tile,) = open_backlog(url, [plan]).tiles()
    assert tile.shard_indices == (SHARD,)
    kit.write(url, spec, [tile])
    assert {k: v for k, v in contents(url).items() if k in sound and "receipts" not in k} == {
        k: v for k, v in sound.items() if "receipts" not in k
    }
    assert verify(url).ok
    assert repair(url, [plan]) == []


def test_a_sound_store_is_left_alone(url, plan, shards):
    before = contents(url)
    assert repair(url, [plan]) == []
    assert contents(url) == before


def test_only_what_the_plans_want_is_looked_at(url, spec, shards):
    harm(shards, "corrupt", (1, 0, 0, 0))
    harm(shards, "corrupt", (0, 2, 1, 0))
    first = spec.layout.first_day
    asked = (spec.group, spec.layout, spec.record, LATTICE, 1, Tiling(shards_per_tile=1))
    assert repair(url, [GroupPlan(*asked, period=(first, first + 32))]) == []
    assert [found.key for found in repair(url, [GroupPlan(*asked)])] == [shards.key((0, 2, 1, 0))]


def test_a_sound_shard_without_receipt_stays_and_a_torn_one_goes(url, plan, shards):
    for shard in (SHARD, (0, 0, 0, 0)):
        assert shards.place.move(receipt_key(shards.path, shard), f"lost/{shard}")
    harm(shards, "truncated")
    (found,) = repair(url, [plan])
    assert found.key == shards.key(SHARD)
    assert len(found.moved) == 1
    assert not shards.place.exists(shards.key(SHARD))
    assert shards.place.exists(shards.key((0, 0, 0, 0)))


def test_a_receipt_that_cannot_be_read_is_moved_and_the_shard_signed_again(
    url, spec, plan, kit, shards
):
    key = receipt_key(shards.path, SHARD)
    shards.place.replace(key, b'{"shard": [1,')
    data = shards.place.read(shards.key(SHARD))
    assert [str(p) for p in verify(url).problems] == [
        f"{shards.key(SHARD)}: its receipt cannot be read"
    ]
    (found,) = repair(url, [plan])
    assert found.moved[0].endswith(".json")
    (tile,) = open_backlog(url, [plan]).tiles()
    kit.write(url, spec, [tile])
    assert verify(url).ok
    assert shards.place.read(shards.key(SHARD)) == data


def test_repairing_twice_the_same_shard_keeps_both(url, spec, plan, kit, shards):
    for _ in range(2):
        harm(shards, "truncated")
        assert len(repair(url, [plan])) == 1
        kit.write(url, spec, open_backlog(url, [plan]).tiles())
    damaged = list(shards.place.listing(f"{shards.path}/pr/damaged"))
    assert len(damaged) == 4
    assert verify(url).ok


def test_a_shard_deleted_by_hand_and_made_otherwise_gets_a_receipt_of_its_own(
    url, spec, kit, shards
):
    before = read_receipt(shards.place, shards.path, SHARD)
    harm(shards, "deleted")
    rain = kit.rain_of(spec, 1)[spec.layout.slices_of(*SHARD[1:])]
    receipt = shards.put(SHARD, rain[::-1], "another")
    assert read_receipt(shards.place, shards.path, SHARD) == receipt
    assert receipt.sha256 == digest(shards.place.read(shards.key(SHARD))) != before.sha256
    (old,) = [k for k in shards.place.listing(f"{shards.path}/pr/receipts") if "superseded" in k]
    assert shards.place.read(old) == before.to_json()
