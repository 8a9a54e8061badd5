"""Where an assessment looks: inside what was held out, whatever its box and however short."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.domain.grid import era5_grid
from longwang_ray.evaluation.views import (
    BAND,
    DAYS,
    LONGEST,
    MOST_RUNS,
    REGIONS,
    Region,
    held_out_of,
    regions_of,
    views_of,
)
from longwang_ray.training.days import DayBlock
from longwang_ray.training.settings import DailyData

GRID = era5_grid()


def prior(window=(4, 48, 48), compression=(1, 4, 4)):
    """What views ask of a prior."""
    return SimpleNamespace(window=window, compression=compression, grid=GRID, grid_step=0.25)


def block(shape, corner=(0, 0), first=738_000):
    return DayBlock(np.broadcast_to(np.float32(1), shape), first, "standard", corner)


def test_the_globe_has_the_regions_that_it_always_had():
    assert regions_of(prior(), block((10, 720, 1440))) is REGIONS


def test_a_box_gets_belts_named_by_their_places():
    regions = regions_of(prior(), block((12, 368, 271), (232, 961)))
    assert [region.name for region in regions] == [
        "2.25N–32.25N 258–290E", "28.75S–1.25N 258–290E", "59.75S–29.75S 258–290E",
    ]  # fmt: skip


def test_a_narrow_band_gets_narrow_belts():
    views = views_of(prior(), [block((12, 368, 64), (232, 1232))])
    assert len(views) == 3
    assert all(view.columns == (1232, 64) for view in views)
    assert all(view.rows[1] - view.rows[0] == 120 for view in views)


@given(
    days=st.integers(1, 80),
    rows=st.integers(20, 400),
    columns=st.integers(20, 400),
    row=st.integers(0, 300),
    column=st.integers(0, 1439),
    length=st.sampled_from([4, 8]),
)
@settings(deadline=None, max_examples=60)
def test_no_view_leaves_what_was_held_out(days, rows, columns, row, column, length):
    asked, held = prior((length, 48, 48), (4, 4, 4)), block((days, rows, columns), (row, column))
    if days < length or rows < 48 or columns < 48:
        with pytest.raises(ValueError, match=f"held out are {days} × {rows} × {columns}"):
            views_of(asked, [held])
        return
    for view in views_of(asked, [held]):
        assert 738_000 <= view.days[0] < view.days[1] <= 738_000 + days
        assert length <= view.days[1] - view.days[0] <= LONGEST
        assert (view.days[1] - view.days[0]) % 4 == 0
        reach = view.margins((48, 48), (4, 4))
        shape = view.read(reach).shape[2:]
        assert shape[0] % 4 == shape[1] % 4 == 0
        assert min(shape) >= 48
        assert row <= view.rows[0] - reach[0]
        assert view.rows[1] + reach[1] <= row + rows
        west = (view.columns[0] - reach[2] - column) % 1440
        assert west + shape[1] <= columns


def test_truth_is_read_from_its_place_across_greenwich():
    field = np.arange(720 * 1440, dtype=np.float32).reshape(1, 720, 1440)
    globe = DayBlock(np.repeat(field, 8, axis=0), 738_000, "standard", (0, 0))
    across = (np.arange(1400, 1500)) % 1440
    box = DayBlock(globe.rain[:, 100:220][:, :, across], 738_000, "standard", (100, 1400))
    (view,) = views_of(prior(), [box])
    same = views_of(prior(), [globe], [_region_of(view)])[0]
    assert np.array_equal(view.read(), same.read())
    assert np.array_equal(same.read((4, 8, 4, 4))[..., 4:-8, 4:-4], view.read())
    assert view.read()[0, 0, 0, 0] == view.rows[0] * 1440 + view.columns[0]


def _region_of(view):
    half = 0.125
    return Region(
        view.name,
        (view.lat[-1] - half, view.lat[0] + half),
        (view.lon[0] - half, view.lon[-1] + half),
    )


def test_years_of_days_are_looked_at_here_and_there():
    views = views_of(prior(), [block((1826, 96, 96))])
    starts = [view.days[0] - 738_000 for view in views]
    assert len(views) == MOST_RUNS
    assert starts[0] > 100
    assert min(np.diff(starts)) > 300


def test_series_of_the_same_days_are_one_truth():
    two = [block((8, 96, 96)), block((8, 96, 96)), block((8, 96, 96), first=738_100)]
    assert [len(view.blocks) for view in views_of(prior(), two)] == [2, 1]


@pytest.fixture
def daily(tmp_path):
    """Forty days of 60 × 120 cells of the prior's grid in a file."""
    lat, lon = GRID.lat[300:360][::-1], GRID.lon[1000:1120]
    rain = np.random.default_rng(3).gamma(0.3, 8, (40, 60, 120)).astype("f4")
    time = np.datetime64("2023-03-01", "ns") + np.arange(40).astype("timedelta64[D]")
    data = xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain, {"units": "mm/day"})},
        {
            "time": time,
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
    data.to_netcdf(tmp_path / "daily.nc")
    return tmp_path / "daily.nc", rain[:, ::-1]


def test_what_a_training_holds_out_is_looked_at_in_its_two_parts(daily, tmp_path):
    path, rain = daily
    data = DailyData(
        kind="daily", path=str(path), train=(("2023-03-01", "2023-03-20"),),
        held_out=(("2023-03-21", "2023-04-05"),), held_out_lon=(265.0, 278.0),
    )  # fmt: skip
    sizes = SimpleNamespace(compression=(1, 4, 4))
    config = SimpleNamespace(data=data, days_folder=tmp_path / "kept", autoencoder=sizes)
    parts = held_out_of(config)
    assert list(parts) == [DAYS, BAND]
    views = {name: views_of(prior(), blocks) for name, blocks in parts.items()}
    assert {view.columns[0] for view in views[DAYS]} == {1000}
    (inside,) = views[DAYS]
    assert inside.period == ("2023-03-21", "2023-04-05")
    assert sum(inside.columns) <= 1060
    assert all(1060 <= v.columns[0] and sum(v.columns) <= 1112 for v in views[BAND])
    assert {v.period for v in views[BAND]} == {("2023-03-01", "2023-03-31")}
    first, count = inside.columns
    asked = rain[20:36, :, first - 1000 : first - 1000 + count]
    assert inside.read()[0] == pytest.approx(
        asked[:, : inside.read().shape[2]], rel=1e-3, abs=1e-6
    )
