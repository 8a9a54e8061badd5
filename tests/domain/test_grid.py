"""Cells cover the sphere once; overlaps conserve area, at the poles and across 0°E."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwang_ray.domain.grid import (
    RectilinearGrid,
    columns_in,
    era5_grid,
    overlap_lat,
    overlap_lon,
    rows_in,
)


def pairs(edges):
    return np.stack([edges[:-1], edges[1:]], axis=1)


@st.composite
def lat_cells(draw):
    inner = draw(
        st.lists(st.floats(-89, 89), min_size=0, max_size=12, unique_by=lambda v: round(v))
    )
    cells = pairs(np.array([-90, *sorted(inner), 90]))
    return cells[::-1, ::-1] if draw(st.booleans()) else cells


@st.composite
def lon_cells(draw):
    inner = draw(
        st.lists(st.floats(1, 359), min_size=0, max_size=12, unique_by=lambda v: round(v))
    )
    return pairs(np.array([0, *sorted(inner), 360])) + draw(st.floats(-720, 720))


def heights(bounds):
    return np.abs(np.diff(np.sin(np.deg2rad(bounds)), axis=1))[:, 0]


@given(lat_cells(), lat_cells())
def test_rows_conserve_area(coarse, fine):
    overlap = overlap_lat(coarse, fine)
    np.testing.assert_allclose(overlap.weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(overlap.covered, 1, atol=1e-9)
    np.testing.assert_allclose(heights(coarse) @ overlap.weights, heights(fine), atol=1e-9)


@given(lon_cells(), lon_cells())
def test_columns_conserve_area_round_the_circle(coarse, fine):
    overlap = overlap_lon(coarse, fine)
    np.testing.assert_allclose(overlap.weights.sum(axis=1), 1, atol=1e-12)
    assert overlap.whole.all()
    np.testing.assert_allclose(
        np.diff(coarse)[:, 0] @ overlap.weights, np.diff(fine)[:, 0], atol=1e-6
    )


@given(lon_cells(), lon_cells(), st.floats(-720, 720))
def test_zero_east_is_a_place_like_any_other(coarse, fine, turn):
    here, there = overlap_lon(coarse, fine), overlap_lon(coarse + turn, fine + turn)
    np.testing.assert_allclose(here.weights, there.weights, atol=1e-8)


def test_global_mean_is_conserved_to_double_precision():
    fine, coarse = (
        era5_grid(),
        RectilinearGrid.from_centres(np.linspace(-89, 89, 96), np.arange(144) * 2.5),
    )
    rain = np.random.default_rng(0).gamma(0.3, 8, fine.shape)
    lat, lon = (
        overlap_lat(coarse.lat_bounds, fine.lat_bounds),
        overlap_lon(coarse.lon_bounds, fine.lon_bounds),
    )
    assert lat.whole.all()
    assert lon.whole.all()
    means = lat.weights @ rain @ lon.weights.T
    assert (coarse.areas() * means).sum() == pytest.approx((fine.areas() * rain).sum(), rel=1e-12)


def test_only_cells_wholly_inside_count_as_whole():
    fine = pairs(np.arange(350.0, 371.0))  # ten degrees on either side of 0°E
    coarse = np.array([[-5, 5], [348, 352], [9, 12], [100, 101]])
    overlap = overlap_lon(coarse, fine)
    np.testing.assert_allclose(overlap.covered, [1, 0.5, 1 / 3, 0])
    assert overlap.whole.tolist() == [True, False, False, False]
    assert overlap.weights[3].sum() == 0
    np.testing.assert_allclose(overlap.weights[0, 5:15], 0.1)


def test_bounds_in_single_precision_still_count_as_whole():
    coarse = np.array([[-90, -89.52879], [89.52879, 90]], np.float32)
    assert overlap_lat(coarse, era5_grid().lat_bounds).whole.all()


def test_era5_grid_covers_the_globe_once():
    grid = era5_grid()
    assert grid.shape == (720, 1440)
    assert (grid.lat[0], grid.lat[-1], grid.lon[-1]) == (90, -89.75, 359.75)
    assert grid.lat_bounds[-1].tolist() == [-89.625, -90]
    assert grid.lon_bounds[0].tolist() == [-0.125, 0.125]
    assert grid.is_global_lon
    assert (grid.areas() > 0).all()
    assert grid.areas().sum() == pytest.approx(1, rel=1e-12)


@given(st.integers(-400, 400), st.integers(3, 360))
def test_columns_are_those_with_centres_inside(low, width):
    grid = era5_grid(2.5)
    start, count = columns_in(grid, low, low + width)
    chosen = (start + np.arange(count)) % grid.n_lon
    expected = [j for j, lon in enumerate(grid.lon) if (lon - low) % 360 < width]
    assert sorted(chosen) == expected
    assert ((grid.lon[chosen] - low) % 360 == np.sort((grid.lon[chosen] - low) % 360)).all()


def test_region_may_be_named_across_zero_either_way():
    grid = era5_grid()
    assert columns_in(grid, 350, 10) == columns_in(grid, -10, 10) == (1400, 80)
    assert columns_in(grid, 0, 360) == (0, 1440)
    assert rows_in(grid, -10, 40) == (201, 200)
    assert rows_in(grid, -90, 90) == (0, 720)


def test_empty_or_torn_regions_are_refused():
    grid = era5_grid()
    with pytest.raises(ValueError, match=r"no cell centre has lat in \[10.01, 10.02\)"):
        rows_in(grid, 10.01, 10.02)
    with pytest.raises(ValueError, match="no cell centre has lon"):
        columns_in(grid, 5, 5)
    with pytest.raises(ValueError, match="enters it again in the west"):
        columns_in(grid.take(range(10), range(100, 200)), 40, 35)


@given(st.integers(2, 200), st.integers(2, 200), st.floats(0, 1))
def test_centres_alone_cover_the_globe(n_lat, n_lon, shift):
    lat = 90 - (np.arange(n_lat) + 0.5) * 180 / n_lat
    lon = (np.arange(n_lon) + shift) * 360 / n_lon
    grid = RectilinearGrid.from_centres(lat, lon)
    assert grid.is_global_lon
    assert grid.areas().sum() == pytest.approx(1, rel=1e-9)


def test_a_regional_grid_keeps_its_edge_cells():
    grid = RectilinearGrid.from_centres([10, 11, 12], [100, 102, 104])
    assert grid.lat_bounds.tolist() == [[9.5, 10.5], [10.5, 11.5], [11.5, 12.5]]
    assert grid.lon_bounds[-1].tolist() == [103, 105]
    assert not grid.is_global_lon


def test_wrong_cells_are_refused():
    with pytest.raises(ValueError, match=r"lat has shape \(2,\) and lat_bounds \(1, 2\)"):
        RectilinearGrid([1, 2], [1], [[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match="rise from west to east"):
        RectilinearGrid([1], [0], [[0, 1]], [[359, 1]])
    with pytest.raises(ValueError, match="pole is at 90"):
        RectilinearGrid([1], [0], [[0, 91]], [[0, 1]])
    with pytest.raises(ValueError, match="not finite"):
        RectilinearGrid([np.nan], [0], [[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match="must divide 180"):
        era5_grid(0.7)


def test_grids_compare_by_value():
    assert era5_grid(1) == era5_grid(1) != era5_grid(2)
    with pytest.raises(ValueError, match="read-only"):
        era5_grid(1).lat[0] = 0
