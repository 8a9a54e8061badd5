"""A region-month's scores: closed forms, the published code's own numbers, deserts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longwang_ray.evaluation import scores
from longwang_ray.evaluation.pooled import pool_scene
from longwang_ray.evaluation.region_scores import score_scene
from longwang_ray.evaluation.scene import Scene
from longwang_ray.posterior.observation import MonthlyMean
from tests.fakes.scenes import scene, showers

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "longwang_official"
OF_TRUTH = {
    "mean", "wet_fraction", "dry_fraction", "r95p", "r99p", "lag1", "lag1_cells", "p99", "p999",
    "length",
}  # fmt: skip
OF_METHODS = OF_TRUTH | {
    "r2_monthly", "r2_monthly_mean", "wasserstein", "crps", "monthly_consistency",
    "spectrum_ratio_max", "spectrum_ratio_short", "fss",
}  # fmt: skip


def at_the_equator(truth, **methods):
    """A scene whose cells all count the same."""
    rows, columns = truth.shape[-2:]
    lat = np.zeros(rows)
    return Scene("2001-01 0N 0E", 1, lat, 0.25 * np.arange(columns), truth, methods)


def test_who_has_which_score():
    found = score_scene(scene())
    assert found["truth"].keys() == OF_TRUTH
    assert found["single"].keys() == OF_METHODS
    assert found["ensemble"].keys() == OF_METHODS | {"spread_skill", "reliability"}


def test_statistics_at_hand_change_nothing():
    place = scene()
    assert score_scene(place, pool_scene(place)) == score_scene(place)


def test_the_truth_itself_is_perfect():
    truth = showers(np.random.default_rng(1), 20, 32, 32, width=2)
    found = score_scene(at_the_equator(truth, same=truth[None]))
    perfect = {
        "r2_monthly": 1, "r2_monthly_mean": 1, "wasserstein": 0, "crps": 0,
        "monthly_consistency": 0, "spectrum_ratio_max": 1, "spectrum_ratio_short": 1, "fss": 1,
    }  # fmt: skip
    for name, value in (found["truth"] | perfect).items():
        assert found["same"][name] == pytest.approx(value, abs=1e-9), name


def test_scores_are_those_of_the_published_code():
    if not GOLDEN.exists():
        pytest.skip("shared/golden is not here")
    from safetensors.numpy import load_file

    fields = load_file(GOLDEN / "golden_io.safetensors")
    numbers = json.loads((GOLDEN / "golden_metrics.json").read_text())
    prediction, truth = fields["metrics.pred"], fields["metrics.gt"]
    truth = truth.reshape(truth.shape[-3:])
    found = score_scene(at_the_equator(truth, published=prediction))
    for name, theirs in {
        "wet_fraction": "wet_day_fraction", "dry_fraction": "dry_day_fraction",
        "lag1": "domain_mean_lag1", "r95p": "r95p_frac", "r99p": "r99p_frac",
    }.items():  # fmt: skip
        pair = [found["published"][name], found["truth"][name]]
        assert pair == pytest.approx(numbers[theirs], rel=1e-5), name
    for name, theirs in {
        "crps": "crps_pointwise", "r2_monthly": "monthly_r2",
        "wasserstein": "marginal_wasserstein", "monthly_consistency": "monthly_consistency",
    }.items():  # fmt: skip
        assert found["published"][name] == pytest.approx(numbers[theirs], rel=1e-5), name


def test_a_deterministic_crps_is_the_absolute_error():
    truth = showers(np.random.default_rng(1), 2, 4, 4)
    lat = np.array([60.0, 60.0, 0.0, 0.0])
    single = truth[None] + np.array([[3], [3], [0], [0]])  # off where a cell counts half
    place = Scene("2001-01 0N 0E", 1, lat, np.arange(4.0), truth, {"single": single})
    assert score_scene(place)["single"]["crps"] == pytest.approx(1)


def test_the_mean_of_many_follows_the_month_better_than_one_does():
    rng = np.random.default_rng(2)
    month = rng.gamma(2, 3, (16, 16))
    truth = month * rng.gamma(0.5, 2, (30, 16, 16))
    many = month * rng.gamma(0.5, 2, (8, 30, 16, 16))
    found = score_scene(at_the_equator(truth, many=many))["many"]
    assert found["r2_monthly_mean"] > found["r2_monthly"] + 0.1
    single = scores.monthly_r2(many.mean(axis=0), truth)
    assert found["r2_monthly_mean"] == pytest.approx(float(single))


def test_consistency_of_the_gcms_cells_is_that_of_those_inside():
    truth = np.ones((2, 4, 4), dtype=np.float32)
    rain = truth[None].copy()
    rain[..., :2] *= 1.5  # the western cell half too wet, the eastern one is not inside
    rain[..., 2:] *= 9
    columns = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    operator = MonthlyMean(
        torch.full((1, 2), 0.5), torch.full((1, 4), 0.25), columns, torch.tensor([[True, False]])
    )
    place = Scene("x 0N 0E", 1, np.zeros(4), np.arange(4.0), truth, {"wet": rain}, operator)
    assert score_scene(place)["wet"]["cell_consistency"] == pytest.approx(0.5)


def test_heavy_rain_is_what_the_truth_calls_heavy():
    truth = showers(np.random.default_rng(3), 30, 16, 16)
    found = score_scene(at_the_equator(truth, double=2 * truth[None], half=0.5 * truth[None]))
    assert found["half"]["r95p"] < found["truth"]["r95p"] < found["double"]["r95p"]
    assert found["double"]["wasserstein"] == pytest.approx(float(truth.mean()), rel=1e-5)


def test_a_desert_has_no_heavy_rain_and_no_relative_error():
    dry = np.zeros((5, 12, 12), dtype=np.float32)
    rain = showers(np.random.default_rng(4), 2, 5, 12, 12)
    found = score_scene(at_the_equator(dry, dry=dry[None], wet=rain))
    assert (found["truth"]["dry_fraction"], found["truth"]["wet_fraction"]) == (1, 0)
    for name in ("r95p", "r99p", "monthly_consistency", "r2_monthly", "spectrum_ratio_max"):
        assert np.isnan(found["wet"][name]), name
    assert found["dry"]["crps"] == found["dry"]["wasserstein"] == 0
    assert found["wet"]["crps"] > 0
