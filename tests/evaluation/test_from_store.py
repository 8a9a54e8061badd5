"""Pictures and scores of a store as a run leaves it: across 0°E, partly sampled."""

import numpy as np
import pytest
import xarray as xr

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.evaluation.from_store import draw_store, score_store
from longwang_ray.evaluation.opened import open_group
from longwang_ray.store.ensemble import create_store
from longwang_ray.store.metadata import GroupSpec
from longwang_ray.store.objects import Place
from longwang_ray.store.shards import ShardStore

ROWS, COLUMNS = (160, 24), (1424, 48)  # 50° … 44.25° N, 4° W … 7.75° E
GROUP = Group("GCM", "historical", "r1i1p1f1")


@pytest.fixture(scope="module")
def rain():
    """Two realizations of the 59 days of January and February."""
    return np.random.default_rng(9).gamma(0.3, 8, (2, 59, 24, 48)).astype(np.float32)


@pytest.fixture(scope="module")
def url(rain, tmp_path_factory):
    """A store with three months, of which the shards of the first 64 days were asked for."""
    record = month_record("noleap", (2001, 1), 4)
    shard = (32, 24, 48)
    layout = Layout(record.start, record.n_days, ROWS, COLUMNS, shard)
    gcm = RectilinearGrid.from_centres(np.arange(89, -90, -2.0), np.arange(0, 360, 2.0))
    observed = np.random.default_rng(10).gamma(1, 2, (4, *gcm.shape)).astype(np.float32)
    about = {"intended_use": "demonstration"}
    spec = GroupSpec(
        GROUP, layout, era5_grid(), record, 2, {"seed": 1}, observed, gcm, about, (0, 2)
    )
    path = str(tmp_path_factory.mktemp("store") / "out.zarr")
    create_store(path, [spec])
    shards = ShardStore(Place(path), GROUP.path)
    for realization, days in enumerate(rain):
        padded = np.concatenate([days, days[:5]])
        for t in range(2):
            shards.put((realization, t, 0, 0), padded[32 * t : 32 * t + 32], "a tile")
    return path


@pytest.fixture
def truth(rain, tmp_path):
    """The first realization's January as a daily file, south first, longitudes −180 … 180."""
    lat = 50 - 0.25 * np.arange(24)
    lon = -4 + 0.25 * np.arange(48)
    time = xr.date_range("2001-01-01", periods=31, calendar="standard", use_cftime=True)
    data = xr.Dataset(
        {"rain": (("time", "lat", "lon"), rain[0, :31, ::-1], {"units": "mm/day"})},
        {
            "time": time,
            "lat": ("lat", lat[::-1], {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
    file = tmp_path / "truth.nc"
    data.to_netcdf(file)
    return str(file)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_the_picture_shows_the_middle_of_the_first_whole_month(url, tmp_path):
    figure = draw_store(url)
    assert "the GCM's month, 2001-01" in titles(figure)
    assert {f"realization 1, 2001-01-{day}" for day in (15, 16, 17)} <= set(titles(figure))
    assert "demonstration" in figure.get_suptitle()
    assert "GCM historical r1i1p1f1" in figure.get_suptitle()
    figure.savefig(tmp_path / "picture.png", dpi=30)


def test_another_month_may_be_asked_for(url):
    assert "the GCM's month, 2001-02" in titles(draw_store(url, month="2001-02"))


def test_months_that_are_not_there_are_refused(url):
    with pytest.raises(ValueError, match="1999-01 is not among"):
        draw_store(url, month="1999-01")


def test_only_what_is_done_is_opened(url):
    opened = open_group(url)
    assert opened.sampled().sizes["time"] == 64
    assert opened.sampled(whole=True).sizes == opened.sampled().sizes
    assert opened.monthly.sizes["month"] == 4


def test_scores_against_the_days_that_are_shared(url, truth):
    table = score_store(url, truth, variable="rain").as_dict()
    assert table["wet days (> 1 mm)"]["reference"] == pytest.approx(
        table["wet days (> 1 mm)"]["ensemble"], rel=0.1
    )
    assert table["dry days (< 0.1 mm)"]["interpolation"] < 0.01
    assert 0 < table["fair CRPS"]["ensemble"] < table["fair CRPS"]["interpolation"]
    assert table["R² of monthly totals"]["ensemble"] < 1


def test_a_store_with_nothing_in_it_says_so(tmp_path):
    record = month_record("360_day", (2001, 1), 1)
    layout = Layout(record.start, record.n_days, ROWS, COLUMNS, (32, 24, 48))
    gcm = RectilinearGrid.from_centres(np.arange(80, -81, -10.0), np.arange(0, 360, 10.0))
    observed = np.ones((1, *gcm.shape), np.float32)
    path = str(tmp_path / "empty.zarr")
    create_store(path, [GroupSpec(GROUP, layout, era5_grid(), record, 1, {}, observed, gcm)])
    with pytest.raises(ValueError, match="no day has been sampled"):
        draw_store(path)
