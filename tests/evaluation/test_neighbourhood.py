"""Fractions skill: the same, apart, and one cell off."""

import numpy as np
import pytest

from longwang_ray.evaluation.neighbourhood import SCALES, THRESHOLDS, Neighbourhood
from tests.fakes.scenes import showers


def drop(column, amount=50.0):
    """One wet cell in a dry domain, ``(day, lat, lon)``."""
    rain = np.zeros((1, 60, 80), dtype=np.float32)
    rain[0, 30, column] = amount
    return rain


def test_the_same_field_is_perfect():
    rain = showers(np.random.default_rng(1), 4, 40, 40, width=2)
    np.testing.assert_array_equal(Neighbourhood.of(rain[None], rain).skill, 1)


def test_fields_far_apart_have_no_skill():
    np.testing.assert_allclose(Neighbourhood.of(drop(15)[None], drop(60)).skill, 0, atol=1e-6)


def test_one_cell_off_is_forgiven_by_the_scale():
    skill = Neighbourhood.of(drop(40)[None], drop(41)).skill
    # squares of side s that are one column apart share s − 1 of s columns
    asked = [(side - 1) / side for side in SCALES]
    for row in skill:
        assert row == pytest.approx(asked, abs=1e-5)


def test_an_ensemble_is_judged_by_its_probability():
    ensemble = np.stack([drop(20), drop(60)])
    skill = Neighbourhood.of(ensemble, drop(20)).skill[0, 0]
    assert skill == pytest.approx(1 - 0.5 / 1.5)  # P is ½ in each of two cells


def test_a_threshold_that_nobody_passes_has_no_score():
    skill = Neighbourhood.of(drop(20, 15.0)[None], drop(20, 15.0)).skill
    assert [np.isnan(row).all() for row in skill] == [limit > 15 for limit in THRESHOLDS]
    assert np.isnan(skill).sum() == len(SCALES)
