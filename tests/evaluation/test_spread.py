"""Spread and error of ensembles: by hand, and where they must agree."""

import numpy as np
import pytest

from longwang_ray.evaluation.spread import Spread

ONE = np.ones((1, 1))


@pytest.mark.parametrize("realizations", [2, 8])
def test_a_truth_like_the_realizations_gives_one(realizations):
    rng = np.random.default_rng(1)
    rain = rng.gamma(2, 3, (realizations + 1, 50, 40, 40))
    assert Spread.of(rain[1:], rain[0], np.ones((40, 1))).ratio == pytest.approx(1, abs=0.01)


def test_by_hand():
    found = Spread.of(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), np.full((1, 1, 1), 5.0), ONE)
    assert (found.variance, found.error) == (3, 9)  # 3/2 · 2 and (2 − 5)²
    assert found.rmse == 3
    assert found.ratio == pytest.approx(3**-0.5)


def test_rows_count_by_their_area():
    ensemble = np.zeros((2, 1, 2, 1))
    truth = np.array([2.0, 0.0]).reshape(1, 2, 1)
    assert Spread.of(ensemble, truth, np.array([[1.0], [3.0]])).rmse == 1


def test_a_deterministic_method_has_an_error_and_no_spread():
    found = Spread.of(np.zeros((1, 1, 1, 1)), np.full((1, 1, 1), 5.0), ONE)
    assert found.rmse == 5
    assert np.isnan(found.ratio)
    assert np.isnan(Spread.of(np.zeros((2, 1, 1, 1)), np.zeros((1, 1, 1)), ONE).ratio)
