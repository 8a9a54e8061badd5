"""Ranks: flat where the truth is one of the ensemble, ties spread, chance told by the ensemble."""

import numpy as np
import pytest

from longwang_ray.evaluation.ranks import Ranks
from tests.fakes.scenes import showers


def test_a_reliable_ensemble_is_flat():
    rng = np.random.default_rng(1)
    n, cells = 8, 200_000
    ranks = Ranks.of(showers(rng, n, 1, cells), showers(rng, 1, cells))
    assert ranks.frequencies == pytest.approx(np.full(n + 1, 1 / (n + 1)), abs=0.004)
    assert ranks.reliability < 2 * ranks.by_chance


def test_independent_cells_give_the_chance_of_independent_ranks():
    rng = np.random.default_rng(2)
    n, cells = 8, 20_000
    ranks = Ranks.of(1 + rng.random((n, cells)), 1 + rng.random(cells))
    assert ranks.by_chance == pytest.approx(np.sqrt(2 * n / (np.pi * cells)), rel=0.35)
    assert 0.5 * cells < ranks.effective < 2.5 * cells


def test_cells_that_hang_together_leave_more_to_chance():
    rng = np.random.default_rng(3)
    ensemble = np.repeat(1 + rng.random((8, 400)), 100, axis=1)  # 400 blocks of 100 equal cells
    truth = np.repeat(1 + rng.random(400), 100)
    ranks = Ranks.of(ensemble, truth)
    assert 150 < ranks.effective < 1200
    assert ranks.reliability < 2 * ranks.by_chance


@pytest.mark.parametrize("realizations", [3, 8])
def test_chance_is_what_reliable_ensembles_have_on_average(realizations):
    rng = np.random.default_rng(4)
    fields = [1 + rng.random((realizations + 1, 2000)) for _ in range(300)]
    ranks = [Ranks.of(field[1:], field[0]) for field in fields]
    mean = np.mean([found.reliability for found in ranks])
    assert np.mean([found.by_chance for found in ranks]) == pytest.approx(mean, rel=0.08)


def test_chance_is_little_too_lenient_where_storms_are_wide_and_days_dry():
    rng = np.random.default_rng(5)
    fields = [showers(rng, 9, 6, 24, 24, width=2) for _ in range(100)]
    ranks = [Ranks.of(field[1:], field[0]) for field in fields]
    mean = np.mean([found.reliability for found in ranks])
    assert np.mean([found.by_chance for found in ranks]) == pytest.approx(mean, rel=0.2)


def test_a_truth_below_all_has_the_lowest_rank():
    ranks = Ranks.of(np.full((4, 10), 5.0), np.full(10, 1.0))
    assert ranks.counts.tolist() == [10, 0, 0, 0, 0]
    assert ranks.reliability == pytest.approx(2 * 4 / 5)


def test_ties_are_spread_evenly():
    ensemble = np.array([[1.0], [2.0], [2.0], [7.0]])
    assert Ranks.of(ensemble, np.array([2.0])).counts == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
    assert Ranks.of(np.zeros((4, 9)), np.zeros(9)).counts == pytest.approx([9 / 5] * 5)


def test_hardly_any_rain_is_none():
    drizzle = np.full((4, 9), 0.09)
    assert Ranks.of(drizzle, np.zeros(9)).reliability == pytest.approx(0)
    assert Ranks.of(drizzle + 0.02, np.zeros(9)).reliability == pytest.approx(2 * 4 / 5)


def test_each_realization_is_ranked_among_the_others():
    ranks = Ranks.of(np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0]]), np.array([9.0, 9.0]))
    assert ranks.chance.tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 1]]
    assert ranks.counts.tolist() == [0, 0, 0, 2]


def test_one_realization_has_no_ranks():
    with pytest.raises(ValueError, match="found 1"):
        Ranks.of(np.zeros((1, 3)), np.zeros(3))
