"""The land fraction against places that everybody knows, and against ERA5's own mask."""

from pathlib import Path

import numpy as np
import pytest

from longwang_ray.data.land import land_fraction

SHARED = Path(__file__).parents[2].parent / "shared"


def at(lat: float, lon: float) -> float:
    return float(land_fraction()[round((90 - lat) * 4), round((lon % 360) * 4)])


def test_has_the_era5_grid_and_is_a_share():
    share = land_fraction()
    assert share.shape == (720, 1440)
    assert share.dtype == np.float32
    assert share.min() == 0
    assert share.max() == 1


def test_is_shared_hence_read_only():
    with pytest.raises(ValueError, match="read-only"):
        land_fraction()[0, 0] = 1


@pytest.mark.parametrize(
    ("lat", "lon"), [(47, 8), (25, 10), (-25, 135), (40, -100), (-10, -60), (-85, 90), (72, -40)]
)
def test_continents_are_land(lat, lon):
    assert at(lat, lon) == 1


@pytest.mark.parametrize(
    ("lat", "lon"), [(0, -30), (0, -150), (-40, 80), (50, -30), (90, 0), (35, 18), (89.75, 359.75)]
)
def test_oceans_are_sea(lat, lon):
    assert at(lat, lon) == 0


def test_coasts_have_shares():
    share = land_fraction()
    assert 0.02 < np.mean((share > 0) & (share < 1)) < 0.06


def test_the_globe_has_its_share_of_land():
    area = np.cos(np.deg2rad(90 - 0.25 * np.arange(720)))
    assert np.average(land_fraction().mean(axis=1), weights=area) == pytest.approx(0.29, abs=0.005)


def test_agrees_with_era5_between_the_ice_sheets():
    file = SHARED / "data" / "static" / "era5_land_sea_mask_0p25.nc"
    if not file.exists():
        pytest.skip("shared/data is not here")
    xr = pytest.importorskip("xarray")
    with xr.open_dataset(file) as data:
        era5 = data.lsm.values[0, :600]  # north of 60° S: ice shelves are land in ERA5
    assert np.corrcoef(era5.ravel(), land_fraction()[:600].ravel())[0, 1] > 0.98
