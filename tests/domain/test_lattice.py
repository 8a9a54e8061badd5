"""Windows stand at global places, cover every cell, and their weights sum to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwang_ray.domain.lattice import Lattice

DEMO = Lattice(window=(8, 12, 12), stride=(4, 8, 8), compression=(1, 4, 4), shape=(180, 360))


@st.composite
def lattices(draw):
    strides = [draw(st.integers(1, 6)) for _ in range(3)]
    windows = [draw(st.integers(stride, 3 * stride)) for stride in strides]
    n_lat = draw(st.integers(windows[1], 40))
    n_lon = strides[2] * draw(st.integers(-(-windows[2] // strides[2]), 12))
    compression = tuple(draw(st.integers(1, 4)) for _ in range(3))
    return Lattice(tuple(windows), tuple(strides), compression, (n_lat, n_lon))


@st.composite
def spans(draw):
    lattice, halo = draw(lattices()), draw(st.integers(0, 3))
    n_lat, n_lon = lattice.fine_shape
    axis = draw(st.sampled_from(["time", "lat", "lon"]))
    if axis == "time":
        first, count = draw(st.integers(-500, 10**6)), draw(st.integers(1, 40))
        return axis, lattice, first, count, lattice.time_span(first, first + count, halo)
    n = n_lat if axis == "lat" else n_lon
    first = draw(st.integers(0, n - 1))
    if axis == "lat":
        count = draw(st.integers(1, n - first))
        return axis, lattice, first, count, lattice.lat_span(first, first + count, halo)
    count = draw(st.integers(1, n))
    return axis, lattice, first, count, lattice.lon_span(first, count, halo)


def total_weight(span, fine=False):
    total = np.zeros(span.fine_size if fine else span.size)
    cells = span.window_fine_cells if fine else span.window_cells
    for k, weights in enumerate(span.weights(span.compression if fine else 1)):
        assert (weights > 0).all()
        np.add.at(total, cells(k), weights)
    return total


@given(spans())
def test_weights_sum_to_one_everywhere(case):
    span = case[-1]
    np.testing.assert_allclose(total_weight(span), 1, atol=1e-6)
    assert span.weights().shape == (span.count, span.window)
    np.testing.assert_allclose(total_weight(span, fine=True), 1, atol=1e-6)


@given(spans())
def test_a_span_holds_what_was_asked_and_no_window_twice(case):
    _, _, first, count, span = case
    local = span.local_fine(first, count)
    period = span.period and span.period * span.compression
    asked = np.arange(first, first + count)
    np.testing.assert_array_equal(span.fine_cells()[local], asked % period if period else asked)
    assert len(set(span.window_starts().tolist())) == span.count
    assert len(set(span.cells().tolist())) == span.size == len(span.cells())
    if span.period:
        assert span.size <= span.period
        assert span.wraps == (span.size == span.period)


@given(spans())
def test_window_cells_are_the_windows_global_cells(case):
    span = case[-1]
    for k in range(span.count):
        cells = span.window_starts()[k] + np.arange(span.window)
        expected = cells % span.period if span.period else cells
        np.testing.assert_array_equal(span.cells()[span.window_cells(k)], expected)
        fine = expected[:, None] * span.compression + np.arange(span.compression)
        np.testing.assert_array_equal(span.fine_cells()[span.window_fine_cells(k)], fine.ravel())


@given(spans(), st.integers(0, 3))
def test_a_cells_windows_and_weights_are_the_same_in_any_span(case, more):
    """The core's blending does not know how far the tile reaches."""
    axis, lattice, first, count, span = case
    wider = {
        "time": lambda: lattice.time_span(first, first + count, more),
        "lat": lambda: lattice.lat_span(first, first + count, more),
        "lon": lambda: lattice.lon_span(first, count, more),
    }[axis]()
    assert weights_by_place(span, first, count) == weights_by_place(wider, first, count)


def weights_by_place(span, first, count):
    """Weight of every (window, cell) at the latent cells of the asked fine cells."""
    asked = {first // span.compression + k for k in range(-(-count // span.compression))}
    asked = {cell % span.period for cell in asked} if span.period else asked
    weights, starts, cells = span.weights(), span.window_starts(), span.cells()
    return {
        (int(starts[k]), int(cells[c])): float(weights[k, d])
        for k in range(span.count)
        for d, c in enumerate(span.window_cells(k))
        if cells[c] in asked
    }


@given(lattices(), st.data())
def test_rolling_by_strides_rolls_the_windows(lattice, data):
    """0°E is a place like any other: move a region by k strides, and its windows move along."""
    n = lattice.fine_shape[1]
    first, count = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))
    step = data.draw(st.integers(0, 12)) * lattice.stride[2]
    here = lattice.lon_span(first, count, 1)
    there = lattice.lon_span((first + step * lattice.compression[2]) % n, count, 1)
    moved = (here.window_starts() + step) % lattice.shape[1]
    assert set(moved.tolist()) == set(there.window_starts().tolist())
    assert (here.size, here.wraps) == (there.size, there.wraps)


@given(lattices(), st.data())
def test_spans_are_exactly_the_windows_that_touch(lattice, data):
    n, compression = lattice.fine_shape[1], lattice.compression[2]
    first, count = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))
    span = lattice.lon_span(first, count)
    asked = {c // compression % lattice.shape[1] for c in range(first, first + count)}
    touching = {
        s
        for s in range(0, lattice.shape[1], lattice.stride[2])
        if asked & {(s + d) % lattice.shape[1] for d in range(lattice.window[2])}
    }
    found = set(span.window_starts().tolist())
    assert touching <= found
    assert found == touching or span.wraps  # a circle that has met is closed with all windows


@given(lattices())
def test_latitude_windows_reach_both_edges_without_gaps(lattice):
    starts = lattice.lat_starts()
    assert starts[0] == 0
    assert starts[-1] == lattice.shape[0] - lattice.window[1]
    gaps = np.diff(starts)
    assert (gaps > 0).all()
    assert (gaps <= lattice.stride[1]).all()


def test_the_demonstration_lattice():
    assert DEMO.stride_days == 4
    assert DEMO.lat_starts().tolist() == list(range(0, 169, 8))
    globe = DEMO.extent((0, 31), (0, 720), (0, 1440), halo=2)
    assert globe.shape == (40, 180, 360)
    assert globe.fine_shape == (40, 720, 1440)
    assert globe.n_windows == 9 * 22 * 45 == len(list(globe.windows()))
    assert globe.time.start == -4
    assert globe.lon.wraps


def test_a_halo_stops_at_the_pole_and_crosses_zero_east():
    extent = DEMO.extent((0, 1), (0, 128), (1400, 80), halo=2)
    assert extent.lat.start == 0
    assert extent.lat.blunt == (True, False)
    assert extent.lon.start == 328
    assert extent.lon.cells()[:40].tolist() == [*range(328, 360), *range(8)]
    assert not extent.lon.wraps


def test_a_window_s_outermost_cells_hardly_count():
    """Smooth to the second derivative: where a window ends, what it says fades out."""
    span = Lattice((4, 16, 16), (4, 12, 12), (1, 4, 4), (48, 48)).lon_span(48, 96)
    fine = span.weights(4)[1]
    assert fine[0] < 1e-3
    assert np.abs(np.diff(fine, 2)).max() < 0.025
    assert fine[16:48].min() == 1.0, "no neighbour reaches the middle"
    np.testing.assert_allclose(fine[:16] + fine[:16][::-1], 1, atol=1e-6)


def test_nothing_is_tapered_at_the_globes_edge():
    span = Lattice((4, 6, 6), (2, 2, 2), (1, 1, 1), (12, 12)).lat_span(0, 12)
    weights = span.weights()
    assert weights[0, 0] == weights[-1, -1] == 1
    np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-7)
    assert weights[0, 2] > weights[1, 0]


def test_impossible_lattices_are_refused():
    good = {
        "window": (8, 12, 12),
        "stride": (4, 8, 8),
        "compression": (1, 4, 4),
        "shape": (180, 360),
    }
    for change, message in [
        ({"stride": (9, 8, 8)}, "stride on time is 9, must be in 1 … 8"),
        ({"stride": (4, 8, 7)}, "stride on lon is 7, must divide the circle of 360"),
        ({"shape": (11, 360)}, "window on lat is 12 latent cells, the globe has 11"),
        ({"compression": (0, 4, 4)}, "must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            Lattice(**{**good, **change})


def test_places_off_the_globe_are_refused():
    with pytest.raises(ValueError, match=r"rows \[700, 721\) are not on the globe"):
        DEMO.lat_span(700, 721)
    with pytest.raises(ValueError, match="1441 columns asked"):
        DEMO.lon_span(0, 1441)
    with pytest.raises(ValueError, match="nothing to cover"):
        DEMO.time_span(5, 5)
    with pytest.raises(IndexError, match="are not all in the span"):
        DEMO.lon_span(0, 4).local_fine(200, 10)
