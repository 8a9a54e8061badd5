"""Scores against closed forms, and against the published evaluation's own numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from longwang_ray.evaluation import scores

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "longwang_official"
VALUES = st.floats(0, 200, width=32)


@pytest.fixture
def rain():
    return np.random.default_rng(1).gamma(0.3, 8.0, (3, 30, 6, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip("shared/golden is not here")
    from safetensors.numpy import load_file

    fields = load_file(GOLDEN / "golden_io.safetensors")
    numbers = json.loads((GOLDEN / "golden_metrics.json").read_text())
    return fields["metrics.pred"], fields["metrics.gt"], numbers


def _share_above(percent):
    def share(prediction, truth):
        return scores.heavy_rain_fraction(prediction, scores.wet_percentile(truth, percent))

    return share


LIKE = {
    "wet_day_fraction": lambda x, _: scores.wet_day_fraction(x),
    "dry_day_fraction": lambda x, _: scores.dry_day_fraction(x),
    "domain_mean_lag1": lambda x, _: scores.domain_lag1(x),
    "extreme_p95": lambda x, _: scores.percentile(x, 95),
    "r95p_frac": _share_above(95),
    "r99p_frac": _share_above(99),
}
NEAR = {
    "crps_pointwise": scores.fair_crps,
    "monthly_r2": scores.monthly_r2,
    "monthly_consistency": scores.monthly_consistency,
    "marginal_wasserstein": lambda x, y: [scores.wasserstein1(each, y) for each in x],
}


def test_every_score_of_the_published_code_is_compared(golden):
    assert set(golden[2]) == {*LIKE, *NEAR}


@pytest.mark.parametrize("name", LIKE)
def test_reproduces_what_the_published_code_says_the_rain_is_like(golden, name):
    prediction, truth, numbers = golden
    found = [np.mean(LIKE[name](field, truth)) for field in (prediction, truth)]
    assert found == pytest.approx(numbers[name], rel=1e-5)


@pytest.mark.parametrize("name", NEAR)
def test_reproduces_how_near_the_published_code_says_it_is(golden, name):
    prediction, truth, numbers = golden
    assert np.mean(NEAR[name](prediction, truth)) == pytest.approx(numbers[name], rel=1e-5)


def test_equal_areas_change_no_score(rain):
    area = np.full((6, 1), 7.0)
    for score in (scores.wet_day_fraction, scores.dry_day_fraction, scores.domain_lag1,
                  scores.cell_lag1):  # fmt: skip
        assert score(rain, area=area) == pytest.approx(score(rain), rel=1e-6)
    assert scores.heavy_rain_fraction(rain, 5.0, area=area) == pytest.approx(
        scores.heavy_rain_fraction(rain, 5.0), rel=1e-6
    )


def test_area_decides_what_a_cell_counts():
    rain = np.array([[[5.0], [0.0]]])  # one day, two rows
    area = np.array([[1.0], [3.0]])
    assert scores.wet_day_fraction(rain, area=area) == 0.25
    assert scores.dry_day_fraction(rain, area=area) == 0.75
    assert scores.percentile(rain, 70, area=area) == 0
    assert scores.percentile(rain, 80, area=area) == 5


def test_a_list_of_cells_scores_as_the_grid_does(rain):
    cells = rain.reshape(3, 30, 48)
    assert scores.cell_lag1(cells, cells=1) == pytest.approx(scores.cell_lag1(rain))
    assert scores.monthly_r2(cells, cells[0], cells=1) == pytest.approx(
        scores.monthly_r2(rain, rain[0])
    )


def test_wet_and_dry_days_leave_drizzle_between():
    rain = np.array([[[0.05]], [[0.5]], [[5.0]], [[0.0]]])
    assert scores.wet_day_fraction(rain) == 0.25
    assert scores.dry_day_fraction(rain) == 0.5


def test_wet_percentile_of_no_rain_is_nan():
    assert np.isnan(scores.wet_percentile(np.zeros((2, 3))))


def test_lag1_of_an_autoregressive_series_is_its_coefficient():
    noise = np.random.default_rng(2).standard_normal((2, 20000))
    series = np.empty_like(noise)
    series[:, 0] = noise[:, 0]
    for t in range(1, noise.shape[1]):
        series[:, t] = 0.6 * series[:, t - 1] + noise[:, t]
    assert scores.lag1_autocorrelation(series) == pytest.approx([0.6, 0.6], abs=0.02)


def test_lag1_leaves_out_cells_that_never_change(rain):
    dry = rain.copy()
    dry[..., 0] = 0
    assert np.isfinite(scores.cell_lag1(dry)).all()
    assert np.isnan(scores.cell_lag1(np.zeros((5, 2, 2))))


def test_fair_crps_of_exchangeable_truth_does_not_depend_on_the_ensemble_size():
    rng = np.random.default_rng(3)
    truth = rng.standard_normal(200_000)
    for m in (2, 8):  # E CRPS of a standard normal against itself is 1/√π
        ensemble = rng.standard_normal((m, truth.size))
        assert scores.fair_crps(ensemble, truth).mean() == pytest.approx(np.pi**-0.5, rel=0.01)


def test_fair_crps_is_what_all_pairs_say(rain):
    ensemble, truth = rain, rain[0, ::-1]
    pairs = np.abs(ensemble[:, None] - ensemble[None]).sum(axis=(0, 1)) / (2 * 3 * 2)
    np.testing.assert_allclose(
        scores.fair_crps(ensemble, truth), np.abs(ensemble - truth).mean(axis=0) - pairs, atol=1e-4
    )


def test_fair_crps_refuses_one_realization(rain):
    with pytest.raises(ValueError, match="2 or more, found 1"):
        scores.fair_crps(rain[:1], rain[0])


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, 12, elements=VALUES), st.floats(0, 10, width=16))
def test_wasserstein_of_a_shift_is_the_shift(values, shift):
    assert scores.wasserstein1(values, values.astype(np.float64) + shift) == pytest.approx(
        shift, abs=1e-6
    )


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, 7, elements=VALUES), arrays(np.float32, 5, elements=VALUES))
def test_wasserstein_of_unlike_sizes_is_that_of_their_repeats(first, second):
    repeated = scores.wasserstein1(np.repeat(first, 5), np.repeat(second, 7))
    assert scores.wasserstein1(first, second) == pytest.approx(repeated, abs=1e-4)
    assert scores.wasserstein1(second, first) == pytest.approx(repeated, abs=1e-4)


@pytest.mark.parametrize("size", [960, 700])
def test_wasserstein_is_that_of_scipy(rain, size):
    first, second = rain[0].ravel(), rain[1].ravel()[:size]
    asked = wasserstein_distance(first, second)
    assert scores.wasserstein1(first, second) == pytest.approx(asked, rel=1e-9)


def test_monthly_scores_of_the_truth_itself_are_perfect(rain):
    assert scores.monthly_r2(rain, rain[1])[1] == 1
    assert scores.monthly_consistency(rain, rain[1])[1] == 0
    assert scores.monthly_consistency(2 * rain, rain[1])[1] == pytest.approx(1)


def test_the_spectrum_finds_a_wave():
    wave = np.sin(2 * np.pi * np.arange(64) / 8) + 2
    wavenumber, power = scores.power_spectrum(np.tile(wave, (64, 1)))
    assert wavenumber[np.argmax(power)] == pytest.approx(1 / 8, abs=0.5 / 32)


def test_the_spectrum_of_white_noise_is_flat_at_its_variance():
    noise = 3 * np.random.default_rng(4).standard_normal((40, 48, 64))
    wavenumber, power = scores.power_spectrum(noise)
    assert power[2:].mean() == pytest.approx(9, rel=0.03)
    assert abs(scores.spectral_slope(wavenumber, power, 0.05, 0.45)) < 0.05


def test_the_slope_of_a_power_law_is_its_exponent():
    wavenumber = np.linspace(0.01, 0.5, 30)
    assert scores.spectral_slope(wavenumber, wavenumber**-2.5, 0.02, 0.4) == pytest.approx(-2.5)


def test_spatial_correlation_of_smoothed_noise_falls_linearly():
    noise = np.random.default_rng(4).standard_normal((20, 80, 80))
    smooth = sum(np.roll(noise, (i, j), (1, 2)) for i in range(8) for j in range(8))
    for distance in (1, 2, 4):
        found = scores.spatial_correlation(smooth, distance)
        assert found == pytest.approx(1 - distance / 8, abs=0.03)
    length = scores.correlation_length(smooth)
    assert length == pytest.approx(8 * (1 - np.exp(-1)), abs=0.3)


def test_spatial_correlation_counts_both_directions():
    stripes = np.tile([0.0, 1.0], (1, 8, 4))
    assert scores.spatial_correlation(stripes, 1) == pytest.approx(0)  # −1 along, 1 across
    assert np.isnan(scores.spatial_correlation(np.ones((1, 8, 8)), 1))
    assert np.isnan(scores.correlation_length(np.zeros((1, 8, 8))))
    assert np.isnan(scores.spatial_correlation(stripes, 8))


def test_a_gradient_belongs_together_as_far_as_one_looks():
    gradient = np.add.outer(np.arange(16.0), np.arange(16.0))[None]
    assert scores.correlation_length(gradient) == 8


def test_slope_of_nothing_is_unknown():
    assert np.isnan(scores.spectral_slope(np.linspace(0.1, 0.5, 5), np.zeros(5), 0.1, 0.5))
