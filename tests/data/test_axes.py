"""Axes of files: inferred edges agree with published ones, wrong ones are refused with numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwang_ray.data.axes import find_axes, read_grid
from longwang_ray.data.source import SourceError


def grid_of(dataset):
    return read_grid(dataset, find_axes(dataset, "pr"))


def gaussian(n):
    return np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(n)[0]))


def refusal(dataset):
    with pytest.raises(SourceError) as caught:
        grid_of(dataset)
    return str(caught.value)


@pytest.mark.parametrize(
    "lat", [gaussian(32), np.linspace(-90, 90, 31), np.arange(-88.75, 90, 2.5)],
    ids=["gaussian", "poles", "regular"],
)  # fmt: skip
def test_inferred_edges_cover_the_globe_once(monthly, lat):
    grid = grid_of(monthly(lat=lat, bounds=False)).grid
    assert grid.areas().sum() == pytest.approx(1, abs=1e-12)
    assert grid.is_global_lon
    assert (grid.lat_bounds[1:, 0] == grid.lat_bounds[:-1, 1]).all()


def test_inferred_edges_are_the_published_ones_on_a_regular_grid(monthly):
    inferred, given_ = (grid_of(monthly(bounds=b)).grid for b in (False, True))
    np.testing.assert_allclose(inferred.lat_bounds, given_.lat_bounds)
    np.testing.assert_allclose(inferred.lon_bounds, given_.lon_bounds)


@given(
    st.integers(2, 12), st.floats(0.2, 20), st.floats(-180, 360), st.randoms(use_true_random=False)
)
def test_any_order_and_turn_of_longitudes_is_one_grid(count, step, west, random):
    from longwang_ray.data.axes import _beside, _once_round

    lon = west + step * np.arange(count)
    bounds = np.stack([lon - step / 2, lon + step / 2], axis=1)
    turn = np.array([360 * random.choice([-1, 0, 1]) for _ in lon])
    shuffle = np.array(random.sample(range(count), count))
    columns, east = _once_round((lon + turn)[shuffle])
    assert (np.diff(east) > 0).all()
    found = _beside(east, (bounds + turn[:, None])[shuffle][columns])
    np.testing.assert_allclose(found[1:, 0], found[:-1, 1], atol=1e-9)
    np.testing.assert_allclose((east - lon + 180) % 360 - 180, 0, atol=1e-9)


def test_bounds_across_greenwich_in_one_range(monthly):
    """(350, 10) and not (−10, 10): the cell is 20° wide and not 340°."""
    dataset = monthly()
    dataset["lon_bnds"] = dataset["lon_bnds"] % 360
    grid = grid_of(dataset).grid
    assert grid.lon_bounds[0].tolist() == [-10, 10]
    assert grid.is_global_lon


def test_bounds_in_float32_or_either_order_still_meet(monthly):
    dataset = monthly(lat=np.arange(-89.95, 90, 0.7) + 0.05)
    dataset["lat_bnds"] = dataset["lat_bnds"].astype("f4")[:, ::-1]
    grid = grid_of(dataset).grid
    assert (grid.lat_bounds[1:, 0] == grid.lat_bounds[:-1, 1]).all()


def test_bounds_beyond_the_pole_end_at_it(monthly):
    dataset = monthly(lat=np.linspace(-90, 90, 19))
    assert dataset["lat_bnds"].values.min() == -95
    grid = grid_of(dataset).grid
    assert grid.lat_bounds[[0, -1]].tolist() == [[90, 85], [-85, -90]]


def change(name, at, values):
    def apply(dataset):
        dataset[name].values[at] = values
        return dataset

    return apply


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (change("lat_bnds", 3, [0, 1]),
         "the bounds of lat at -55 are 0 to 1, which does not hold it"),
        (change("lat_bnds", 3, [-59, -50]),
         "the cells of lat at -55 and -65 do not follow each other: their bounds are "
         "-59 to -50 and -70 to -60"),
        (change("lat_bnds", 3, np.nan), "the bounds of lat at -55 are nan to nan"),
        (change("lon_bnds", 17, [330, 360]), "the bounds of lon go 370° round the circle"),
        (change("lon_bnds", slice(None), np.zeros((18, 2))), "the bounds of lon at"),
        (lambda d: d.assign(lat_bnds=(("lat", "b"), np.zeros((18, 3)))),
         "lat_bnds has shape (18, 3), expected (18, 2)"),
    ],
)  # fmt: skip
def test_wrong_bounds_are_refused_with_numbers(monthly, wrong, expected):
    message = refusal(wrong(monthly()))
    assert expected in message
    assert "leave" in message


def test_bounds_that_are_named_but_not_there_are_inferred(monthly):
    dataset = monthly().drop_vars(["lat_bnds", "lon_bnds"])
    assert grid_of(dataset).grid == grid_of(monthly(bounds=False)).grid


@pytest.mark.parametrize(
    ("lat", "lon", "expected"),
    [
        ([-95.0, 0, 85], None, "lat holds -95: a latitude lies within -90..90"),
        ([0.0, 10, 10], None, "lat holds 10 twice"),
        (None, [0.0, 180, 360, 540], "lon holds 0 twice"),
        ([0.0, np.nan, 10], None, "lat holds 1 values that are not numbers"),
        ([10.0], None, "lat has one value and no bounds"),
    ],
)
def test_wrong_axes(monthly, lat, lon, expected):
    assert expected in refusal(monthly(lat=lat, lon=lon, bounds=False))


def test_time_is_told_from_latitude(monthly):
    axes = find_axes(monthly().rename(time="t", lat="rows", lon="columns"), "pr")
    assert [str(a.name) for a in (axes.time, axes.lat, axes.lon)] == ["t", "rows", "columns"]
