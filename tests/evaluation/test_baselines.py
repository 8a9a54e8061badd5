"""Interpolation: exact on linear fields, periodic round the globe, constant beyond the ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.evaluation.baselines import bilinear, linear_weights, trilinear

LAT = np.array([60.0, 58.0, 56.0])
LON = np.arange(0.0, 360.0, 5.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-720, 720), min_size=1, max_size=9), st.integers(1, 12))
def test_weights_are_a_mean_round_the_circle(points, n):
    weights = linear_weights(np.arange(n) * 360.0 / n, np.array(points), period=360)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (weights >= 0).all()


def test_a_linear_field_is_met_exactly_whatever_the_order_of_the_rows():
    fine = np.array([57.0, 59.5, 60.0])
    for lat in (LAT, LAT[::-1]):
        field = np.broadcast_to(lat[:, None], (3, len(LON)))[None]
        assert bilinear(field, lat, LON, fine, np.array([3.0]))[0, :, 0] == pytest.approx(fine)


def test_the_globe_closes_at_the_prime_meridian():
    field = np.zeros((1, 3, len(LON)))
    field[..., -1] = 10  # 355° E
    assert bilinear(field, LAT, LON, LAT, np.array([357.5]))[0, 0, 0] == pytest.approx(5)
    assert bilinear(field, LAT, LON, LAT, np.array([-2.5]))[0, 0, 0] == pytest.approx(5)


def test_a_region_does_not_close():
    lon = np.array([350.0, 355.0, 360.0, 365.0])
    field = np.broadcast_to(np.array([0.0, 5.0, 10.0, 15.0]), (1, 3, 4))
    found = bilinear(field, LAT, lon, LAT, np.array([340.0, 352.5, 2.5, 20.0]))[0, 0]
    assert found == pytest.approx([0, 2.5, 12.5, 15])


def test_days_run_from_mid_month_to_mid_month():
    monthly = np.array([1.0, 3.0])[:, None, None] * np.ones((2, 3, len(LON)))
    days = trilinear(monthly, np.array([100, 131, 159]), LAT, LON, LAT[:1], LON[:2])
    assert days.shape == (59, 1, 2)
    assert days.dtype == np.float32
    assert days[:15, 0, 0] == pytest.approx(1)
    assert days[-14:, 0, 0] == pytest.approx(3)
    assert (np.diff(days[:, 0, 0]) >= -1e-6).all()


def test_one_month_is_constant():
    days = trilinear(np.full((1, 3, len(LON)), 2.0), np.array([0, 30]), LAT, LON, LAT, LON)
    assert days == pytest.approx(2)
