"""What is missing, found by one listing: the same as asking tile by tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longwang_ray.domain.lattice import Lattice
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.store import Backlog, create_store, open_backlog


def plan_of(spec, realizations=2, shards_per_tile=2, period=None):
    """Tiles of two time shards (and what is left) × two rows of shards."""
    lattice = Lattice((4, 16, 16), (2, 12, 12), (4, 4, 4), (180, 360))
    tiling = Tiling(shards_per_tile, 0)
    return GroupPlan(spec.group, spec.layout, spec.record, lattice, realizations, tiling, period)


def test_an_empty_store_wants_all_tiles_in_the_plans_order(url, spec):
    create_store(url, [spec])
    plan = plan_of(spec)
    backlog = open_backlog(url, [plan])
    assert (len(backlog), backlog.n_tiles, backlog.done) == (8, 8, 0)
    assert list(backlog.tiles()) == list(plan.tiles())


def test_a_tile_is_done_when_all_its_shards_are(url, spec, kit):
    create_store(url, [spec])
    plan = plan_of(spec)
    tiles = list(plan.tiles())
    pieces = [kit.pieces(spec)[0]]
    half = replace(kit.pieces(spec)[1], shard_indices=kit.pieces(spec)[1].shard_indices[:1])
    kit.write(url, spec, [*pieces, half])
    backlog = open_backlog(url, [plan])
    written = set(pieces[0].shard_indices)
    assert list(backlog.tiles()) == [t for t in tiles if not set(t.shard_indices) <= written]
    assert (len(backlog), backlog.done) == (6, 2)


def test_a_shorter_plan_asks_only_for_its_own(url, spec, kit):
    create_store(url, [spec])
    first = spec.layout.first_day
    kit.write(url, spec, [kit.pieces(spec)[0], kit.pieces(spec)[1]])
    backlog = open_backlog(url, [plan_of(spec, realizations=1, period=(first + 40, first + 50))])
    assert (len(backlog), backlog.n_tiles) == (0, 2)


def test_several_groups_are_one_backlog(url, spec):
    other = replace(spec, group=replace(spec.group, scenario="ssp245"))
    create_store(url, [spec, other])
    plans = [plan_of(spec), plan_of(other)]
    backlog = open_backlog(url, plans)
    assert len(backlog) == 16
    assert [t.key for t in backlog.tiles()] == [t.key for p in plans for t in p.tiles()]


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_pattern_of_missing_tiles(spec, data):
    plan = plan_of(spec)
    todo = np.array(data.draw(st.lists(st.booleans(), min_size=8, max_size=8))).reshape(2, 2, 2, 1)
    backlog = Backlog([plan], [todo])
    kept = [tile for tile, wanted in zip(plan.tiles(), todo.ravel(), strict=True) if wanted]
    assert list(backlog.tiles()) == kept
    assert len(backlog) == len(kept)
