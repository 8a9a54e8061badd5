"""Cores cover every cell of every selected shard once, and no tile passes the plan's bounds."""

import pickle
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.cost import PriorCost
from longwang_ray.domain.lattice import Lattice
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.plan import GroupPlan, Plan, Tiling, time_extent

GROUP = Group("CMCC-CM2-SR5", "historical", "r1i1p1f1")
DEMO = Lattice((8, 12, 12), (4, 8, 8), (1, 4, 4), (180, 360))
SMALL = Lattice((4, 6, 6), (2, 4, 4), (2, 2, 2), (14, 20))
PRIOR = PriorCost(channels=4, weights_bytes=10**7, window_bytes=10**8, batch=2, evaluations=8)


@st.composite
def plans(draw):
    record = month_record("noleap", "2000-01", draw(st.integers(1, 8)))
    first = draw(st.integers(0, record.n_days - 1))
    n_lat, n_lon = SMALL.fine_shape
    row, column = draw(st.integers(0, n_lat - 1)), draw(st.integers(0, n_lon - 1))
    rows, columns = draw(st.integers(1, n_lat - row)), draw(st.integers(1, n_lon))
    days = record.start + first, record.start + draw(st.integers(first + 1, record.n_days))
    layout = Layout.of(
        days,
        (row, rows),
        (column, columns),
        n_lon,
        shard_days=draw(st.sampled_from([7, 16, 32])),
        shard_cells=draw(st.sampled_from([None, (5, 8), (8, 8)])),
    )
    period = None
    if draw(st.booleans()):
        begin = draw(st.integers(days[0], days[1] - 1))
        period = begin, draw(st.integers(begin + 1, days[1]))
    tiling = Tiling(
        draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(st.sampled_from([None, 0, 1]))
    )
    return GroupPlan(GROUP, layout, record, SMALL, draw(st.integers(1, 2)), tiling, period)


@given(plans())
def test_cores_cover_every_selected_cell_exactly_once(plan):
    layout = plan.layout
    seen = Counter()
    for tile in plan.tiles():
        for row in range(*tile.rows):
            for column in range(tile.columns[0], sum(tile.columns)):
                seen[tile.realization, tile.days, row, column % layout.n_lon] += 1
    assert set(seen.values()) == {1}
    first, stop = layout.days_of(plan.shards.start, plan.shards.stop)
    cores = sorted({days for _, days, _, _ in seen})
    assert (cores[0][0], cores[-1][1]) == (first, stop)
    assert all(before[1] == after[0] for before, after in pairwise(cores))
    cells = layout.rows[1] * layout.columns[1]
    assert len(seen) == plan.realizations * len(cores) * cells
    if plan.period:
        assert first <= plan.period[0] < plan.period[1] <= stop


@given(plans())
def test_cores_are_whole_shards_and_each_shard_has_one_writer(plan):
    layout, written = plan.layout, Counter()
    for tile in plan.tiles():
        written.update(tile.shard_indices)
        boxes = [layout.slices_of(*index[1:]) for index in tile.shard_indices]
        days = boxes[0][0].start, boxes[-1][0].stop
        assert tile.days == (layout.first_day + days[0], layout.first_day + days[1])
        for _, rows, columns in boxes:
            assert tile.rows == (layout.rows[0] + rows.start, layout.rows[0] + rows.stop)
            start = (layout.columns[0] + columns.start) % layout.n_lon
            assert tile.columns == (start, columns.stop - columns.start)
        for box, size, n in zip(boxes[0], layout.shard, layout.shape, strict=True):
            assert box.start % size == 0
            assert box.stop % size == 0 or box.stop == n
    assert set(written.values()) == {1}
    assert len(written) == plan.n_shards


@given(plans())
def test_extents_hold_the_core_its_months_and_the_halo(plan):
    for tile in plan.tiles():
        time, lat, lon = tile.extent.spans
        assert time.fine_start <= tile.days[0] < tile.days[1] <= time.fine_stop
        assert lat.fine_start <= tile.rows[0] < tile.rows[1] <= lat.fine_stop
        lon.local_fine(*tile.columns)
        months = plan.record.months
        for index in tile.core_months:
            assert index in tile.months
        for index in tile.months:
            assert time.fine_start <= months[index].start
            assert months[index].stop <= time.fine_stop
        halo = plan.tiling.months(plan.lattice)
        assert tile.months.start <= max(tile.core_months.start - halo, 0)
        assert tile.months.stop >= min(tile.core_months.stop + halo, len(months))


@given(plans())
def test_no_tile_passes_its_bounds_and_totals_are_sums(plan):
    tiles = list(plan.tiles())
    total = Plan((plan,), PRIOR).cost()
    costs = [plan.tile_cost(tile, PRIOR) for tile in tiles]
    assert max(cost.memory for cost in costs) <= total.memory
    assert sum(cost.windows for cost in costs) == total.windows
    assert sum(cost.evaluations for cost in costs) == total.evaluations == 8 * total.windows
    assert sum(cost.values for cost in costs) == total.values
    assert len(tiles) == plan.n_tiles == len({tile.key for tile in tiles})


@given(plans(), st.integers(0, 19))
@settings(max_examples=50)
def test_zero_east_is_a_place_like_any_other(plan, strides):
    """The same region some strides further east is the same plan, moved."""
    period = plan.layout.n_lon
    step = strides * plan.lattice.stride[2] * plan.lattice.compression[2]
    start, count = plan.layout.columns
    moved = replace(plan, layout=replace(plan.layout, columns=((start + step) % period, count)))
    for here, there in zip(plan.tiles(), moved.tiles(), strict=True):
        assert there.key == here.key
        assert there.columns == ((here.columns[0] + step) % period, here.columns[1])
        assert there.extent.shape == here.extent.shape
        assert (there.extent.time, there.extent.lat) == (here.extent.time, here.extent.lat)


@given(plans())
@settings(max_examples=50)
def test_more_realizations_and_a_longer_period_only_add(plan):
    more = replace(plan, realizations=plan.realizations + 1)
    keys = {tile.key: tile for tile in more.tiles()}
    assert all(keys[tile.key] == tile for tile in plan.tiles())
    whole = replace(plan, period=None)
    shards = {index for tile in whole.tiles() for index in tile.shard_indices}
    assert shards >= {index for tile in plan.tiles() for index in tile.shard_indices}
    places = {tile.key: tile for tile in whole.tiles()}
    assert all(places.get(tile.key, tile) == tile for tile in plan.tiles())


def globe_month(**changes):
    record = month_record("noleap", "1960-11", 1)
    layout = Layout.of((record.start, record.stop), (0, 720), (0, 1440))
    return replace(GroupPlan(GROUP, layout, record, DEMO, 1), **changes)


def test_a_globe_month():
    plan = globe_month()
    (tile,) = plan.tiles()
    assert tile.key == "CMCC-CM2-SR5~historical~r1i1p1f1~r0.t0-0.y0.x0"
    assert tile.core_shape == (30, 720, 1440)
    assert tile.shard_indices == ((0, 0, 0, 0),)
    assert tile.months == range(1)
    assert tile.extent.lon.wraps
    cost = plan.tile_cost(tile, PRIOR)
    assert cost.windows == tile.extent.n_windows == 10 * 22 * 45
    assert cost.memory < 4 * 2**30
    assert pickle.loads(pickle.dumps(tile)) == tile


def test_twelve_shards_are_widened_to_months_and_one_of_halo():
    record = month_record("noleap", "2000-01", 48)
    layout = Layout.of((record.start, record.stop), (200, 128), (0, 128))
    plan = GroupPlan(GROUP, layout, record, DEMO, 1)
    assert plan.tiling.months(DEMO) == 1
    tiles = list(plan.tiles())
    assert [tile.time_shards for tile in tiles] == [(0, 12), (12, 24), (24, 36), (36, 46)]
    # days 384 … 767 lie in January 2001 … February 2002; their windows reach no further month
    assert tiles[1].core_months == range(12, 26)
    assert tiles[1].months == range(11, 27)
    assert tiles[0].months.start == 0
    assert tiles[-1].months.stop == 48


def test_published_windows_need_two_months_of_halo():
    published = Lattice((8, 32, 32), (4, 16, 15), (4, 4, 4), (180, 360))  # 16 divides no circle
    assert Tiling().months(published) == 2
    assert Tiling(halo_strides=0).months(published) == 0
    assert Tiling(halo_months=3).months(published) == 3


def test_an_ssp_stores_only_its_own_months_of_the_spliced_record():
    record = month_record("360_day", "2014-01", 24)
    own = record.days_of("2015-01", "2015-12")
    layout = Layout.of(own, (0, 128), (0, 128))
    first = next(GroupPlan(GROUP, layout, record, DEMO, 1).tiles())
    assert first.days[0] == own[0]
    assert first.months.start == record.index_of("2014-11")  # its windows reach into December


def test_what_cannot_be_planned_is_refused():
    plan = globe_month()
    cases = [
        ({"realizations": 0}, "realizations is 0"),
        ({"record": month_record("noleap", "1960-12", 1)}, "the record has"),
        ({"layout": replace(plan.layout, rows=(1, 720))}, "the lattice's globe is 720 × 1440"),
        ({"layout": replace(plan.layout, n_lon=2880)}, "circle of 2880 columns"),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            globe_month(**change)
    with pytest.raises(ValueError, match="more than once"):
        Plan((plan, plan), PRIOR)
    with pytest.raises(ValueError, match="no group"):
        Plan((), PRIOR)
    with pytest.raises(ValueError, match="at least one shard"):
        Tiling(shards_per_tile=0)
    with pytest.raises(ValueError, match="choose a period that the source has"):
        _ = globe_month(period=(0, 10)).shards
    with pytest.raises(ValueError, match="are not all in the record"):
        time_extent((0, 10), plan.record, DEMO, 1)


def test_a_plan_that_does_not_fit_says_what_to_do():
    plan = Plan((globe_month(),), PRIOR)
    plan.require_memory(plan.cost().memory)
    with pytest.raises(MemoryError, match=r"lower tiling\.shards_per_tile"):
        plan.require_memory(2**30)


def test_costs_add_up():
    prior = replace(PRIOR, evaluation_seconds=0.5, decode_seconds=2.0)
    one = globe_month()
    other = globe_month(group=Group("NorESM1-ME", "historical", "r1i1p1f1"), realizations=3)
    plan = Plan((one, other), prior)
    assert plan.n_tiles == plan.n_shards == len(list(plan.tiles())) == 4
    cost = plan.cost()
    assert cost.windows == 4 * one.cost(prior).windows
    assert cost.seconds == cost.windows * (8 * 0.5 + 2.0)
    assert cost.memory == one.cost(prior).memory
    assert cost.bytes_written == round(0.76 * 4 * 30 * 720 * 1440)


def test_a_million_tiles_are_counted_without_being_made():
    record = month_record("standard", "1850-01", 12 * 250)
    layout = Layout.of((record.start, record.stop), (0, 720), (0, 1440), shard_cells=(120, 120))
    plan = GroupPlan(GROUP, layout, record, DEMO, 60)
    assert plan.n_tiles == 60 * 238 * 6 * 12 > 10**6
    assert plan.cost(PRIOR).windows > 10**9


@pytest.mark.parametrize("name", ["", "..", "a/b", "a~b", ".zarr", "a b"])
def test_names_that_are_no_folder_are_refused(name):
    with pytest.raises(ValueError, match="names a folder of the store"):
        Group("CESM2", name, "r1")


def test_empty_layouts_are_refused():
    with pytest.raises(ValueError, match="empty on an axis"):
        Layout(0, 0, (0, 1), (0, 1), (1, 1, 1))
    with pytest.raises(ValueError, match="the circle has 1440"):
        Layout(0, 1, (0, 1), (1440, 1), (1, 1, 1))
    with pytest.raises(IndexError, match="there are 1"):
        Layout(0, 1, (0, 1), (0, 1), (1, 1, 1)).days_of(0, 2)
