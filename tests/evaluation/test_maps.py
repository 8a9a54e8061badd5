"""Maps: the frame, the colours, and GCM cells cut to the frame wherever it stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from longwang_ray.evaluation import maps


def degrees(count, first=0.0):
    west = first + np.arange(count) * 360 / count - 180 / count
    return np.stack([west, west + 360 / count], axis=1)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1439), st.integers(2, 1440))
def test_any_run_of_columns_unrolls_to_one_ascending_run(first, count):
    lon = 0.25 * ((first + np.arange(count)) % 1440)
    run = maps.unrolled(lon)
    assert np.diff(run) == pytest.approx(0.25)
    assert -180 < (run[0] + run[-1]) / 2 <= 180
    assert np.mod(run - lon + 1, 360) == pytest.approx(1)


def test_the_frame_of_the_globe_stops_at_the_poles():
    frame = maps.Frame.of(90 - 0.25 * np.arange(720), 0.25 * np.arange(1440))
    assert (frame.south, frame.north) == (-89.875, 90)
    assert (frame.west, frame.east) == (-0.125, 359.875)
    assert frame.shape == pytest.approx(0.5, abs=0.01)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1439), st.integers(40, 1440), st.sampled_from([36, 128, 288]))
def test_coarse_columns_cover_the_frame_without_gaps(first, count, n_lon):
    frame = maps.Frame.of(np.array([0.0, 1.0]), 0.25 * ((first + np.arange(count)) % 1440))
    west, columns = maps._columns(degrees(n_lon), frame)
    step = 360 / n_lon
    assert west[0] <= frame.west + 1e-5
    assert west[-1] + step >= frame.east - 1e-5
    assert np.diff(west) == pytest.approx(step)
    assert np.mod(west - degrees(n_lon)[columns, 0] + 1, 360) == pytest.approx(1)


def test_colours_darken_with_every_level():
    colours, norm = maps.rain_colours()
    middle = np.sqrt(np.array(maps.LEVELS[:-1]) * np.array(maps.LEVELS[1:]))
    rgb = colours(norm(np.concatenate([[0.0], middle, [500.0]])))[:, :3]
    lightness = rgb @ [0.2126, 0.7152, 0.0722]
    assert lightness[0] == 1
    assert (np.diff(lightness) < -0.005).all()


def test_a_frame_without_gcm_cells_is_refused():
    frame = maps.Frame.of(np.array([0.0, 1.0]), np.array([100.0, 101.0]))
    with pytest.raises(ValueError, match="no cell of the GCM"):
        maps.draw_coarse(
            Figure().subplots(), np.ones((1, 1)), np.array([[0, 2]]), np.array([[5, 9]]), frame
        )


def test_the_land_outline_is_where_the_land_is():
    axes = Figure().subplots()
    lat, lon = 60 - 0.25 * np.arange(100), (345 + 0.25 * np.arange(100)) % 360
    maps.draw_fine(axes, np.zeros((100, 100)), lat, lon)
    (outline,) = axes.collections
    points = np.concatenate([path.vertices for path in outline.get_paths()])
    assert np.hypot(points[:, 0] + 5.7, points[:, 1] - 50.06).min() < 0.5  # Land's End
    assert axes.get_xlim() == (-15.125, 9.875)
