"""Quantiles and return levels that are read from a histogram, against the sample's own."""

import numpy as np
import pytest

from longwang_ray.evaluation.distribution import DAYS_PER_YEAR, PROBABILITIES, Distribution

FLAT = np.ones((40, 1))


@pytest.fixture(scope="module")
def rain():
    return np.random.default_rng(1).gamma(0.3, 12.0, (400, 40, 50)).astype(np.float32)


def test_quantiles_are_the_samples_up_to_99_99_per_cent(rain):
    asked = np.quantile(rain, PROBABILITIES)
    found = Distribution.of(rain, FLAT).quantiles()
    counted = asked > 0.01
    assert PROBABILITIES[-1] == pytest.approx(0.9999)
    assert counted.sum() > 120
    np.testing.assert_allclose(found[counted], asked[counted], rtol=0.01)


def test_what_is_hardly_rain_is_none():
    found = Distribution.of(np.array([[[0.0, 0.004, 5.0, 5.0]]]), np.ones((1, 1)))
    assert found.quantile(np.array([0.1, 0.5])).tolist() == [0, 0]
    assert found.quantile(np.array([0.9])) == pytest.approx(5, rel=0.01)


def test_no_rain_is_too_strong_to_be_counted():
    found = Distribution.of(np.full((2, 3, 3), 5000.0), np.ones((3, 1)))
    assert found.counts.sum() == 18
    assert found.quantile(np.array(0.5)) == pytest.approx(2000, rel=0.01)


def test_cells_count_by_their_area():
    rain = np.stack([np.full((4, 5), 1.0), np.full((4, 5), 9.0)], axis=1)  # two rows
    found = Distribution.of(rain, np.array([[1.0], [3.0]]))
    assert found.quantile(np.array([0.2, 0.3])) == pytest.approx([1, 9], rel=0.01)
    assert found.days == 40


def test_a_return_level_is_passed_once_in_so_many_years(rain):
    years = np.array([1.0, 10.0, 100.0])
    found = Distribution.of(rain, FLAT).return_levels(years)
    passed = [(rain > level).sum() * DAYS_PER_YEAR * n / rain.size for level, n in
              zip(found, years, strict=True)]  # fmt: skip
    assert passed[:2] == pytest.approx([1, 1], abs=0.1)
    assert np.isfinite(found[2])


def test_a_return_level_needs_enough_days_above_it(rain):
    few = Distribution.of(rain[:1, :5], FLAT[:5])  # 250 cell-days, 68 to be above once in 0.01 a
    assert np.isfinite(few.return_levels((0.01, 0.1, 1.0))).tolist() == [True, False, False]
