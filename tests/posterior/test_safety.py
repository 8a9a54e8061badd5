"""Nothing that may be observed breaks a sample: no NaN, no blow-up, nothing spread."""

from dataclasses import replace

import numpy as np
import pytest

from longwang_ray.data.synthetic import climate
from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, overlap_lat, overlap_lon
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import Sampling, sample_tile
from longwang_ray.prior.bundle import open_prior

KEY = NoiseKey(7, "gcm", "r1", 0)
MODES = {
    "fast": Sampling(3, "fast", batch=64, decode_batch=64),
    "detached": Sampling(2, "detached", batch=64, decode_batch=64),
    "exact": Sampling(2, "exact", batch=64, decode_batch=64),
}


def dry(rain):
    rain[:] = 0.0


def desert(rain):
    rain[:, 6:10, :4] = 0.0


def flood(rain):
    rain[:, 9, 1] = 500.0


def masked(rain):
    rain[:, 8:10, 1:3] = np.nan


CASES = {case.__name__: case for case in (dry, desert, flood, masked)}


@pytest.fixture(scope="module")
def place(make_prior, make_plan, make_monthly):
    prior = make_prior()
    plan = make_plan(prior, halo=0)
    return prior, next(plan.tiles()), make_monthly(plan.record)


def changed(monthly, case):
    rain = monthly.rain.copy()
    case(rain)
    return replace(monthly, rain=rain)


def is_safe(result, most):
    """Everything finite and of this world; what is not observed is NaN in the ledger alone."""
    assert np.isfinite(result.rain).all()
    assert result.rain.min() >= 0
    assert result.rain.max() < most
    assert all(np.isfinite(m.factor[np.isfinite(m.before)]).all() for m in result.ledger)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_no_observation_breaks_a_sample(place, mode, case):
    prior, tile, monthly = place
    result = sample_tile(prior, tile, changed(monthly, CASES[case]), KEY, MODES[mode])
    is_safe(result, most=1e5 if case == "flood" else 2e3)
    if case == "dry":
        assert result.rain.mean() < 1e-3


@pytest.mark.parametrize("realization", [0, 1, 99])
def test_any_realization_is_safe_and_its_own(place, realization):
    prior, tile, monthly = place
    key = replace(KEY, realization=realization)
    result = sample_tile(prior, tile, monthly, key, MODES["fast"])
    is_safe(result, most=2e3)
    assert result.rain.std() > 0.1


def test_a_masked_cell_is_not_spread():
    """Cells far from a masked one are as if nothing were missing; and next to it they are not."""
    from tests.fakes.gaussian import GaussianPrior

    prior, record = GaussianPrior(), month_record("noleap", "2001-04", 1)
    layout = Layout.of((record.start, record.stop), (16, 40), (100, 80), 144, 80)
    plan = GroupPlan(Group("gcm", "s", "r"), layout, record, prior.lattice, 1, Tiling(1, 1))
    tile = next(plan.tiles())
    gcm = RectilinearGrid.from_centres(np.arange(85, -90, -10.0), np.arange(5, 360, 10.0))
    monthly = MonthlyRain(np.full((1, *gcm.shape), 3.0, np.float32), gcm, record)
    whole = sample_tile(prior, tile, monthly, KEY, MODES["fast"]).rain
    holes = monthly.rain.copy()
    holes[:, 8, 28] = np.nan  # 5° N, 285° E
    rain = sample_tile(prior, tile, replace(monthly, rain=holes), KEY, MODES["fast"]).rain
    assert np.isfinite(rain).all()
    away = np.abs(rain - whole).mean(0)
    columns = (100 + np.arange(80)) % 144 * 2.5
    near = np.abs(columns - 285.0) <= 5
    far = np.abs(columns - 285.0) >= 40
    at_it = (prior.grid.lat[16:56] < 10) & (prior.grid.lat[16:56] > 0)
    assert away[at_it][:, near].mean() > 0.01
    assert away[:, far].max() < 1e-3


def small_place(months=(2001, 1), days=None):
    """A region of the embedded prior with one month: climatology, a desert, a flood and a mask."""
    prior, record = open_prior("demo"), month_record("noleap", months, 1)
    lat = RectilinearGrid.from_centres(np.linspace(90, -90, 121), np.arange(240) * 1.5)
    season = climate(0.04)
    weights = (overlap_lat(lat.lat_bounds, prior.grid.lat_bounds).weights,
               overlap_lon(lat.lon_bounds, prior.grid.lon_bounds).weights)  # fmt: skip
    rain = weights[0] @ (season.wet * season.amount) @ weights[1].T
    rows, columns = (208, 16), (1424, 16)
    layout = Layout.of((record.start, record.stop), rows, columns, prior.grid.n_lon, 16)
    plan = GroupPlan(Group("gcm", "s", "r"), layout, record, prior.lattice, 1, Tiling(1, 0))
    tile = next(plan.tiles())
    north = int(np.argmin(np.abs(lat.lat - prior.grid.lat[rows[0]])))
    west = int(np.argmin(np.abs(lat.lon - prior.grid.lon[columns[0]])))
    rain[north, west : west + 2] = 0.0
    rain[north + 1, west] = 500.0
    rain[north + 2, west + 1] = np.nan
    return prior, tile, MonthlyRain(rain[None].astype(np.float32), lat, record)


def test_the_embedded_prior_survives_the_worst_month():
    """A desert, 500 mm/day for a month, and a hole next to each other, with the default."""
    prior, tile, monthly = small_place()
    result = sample_tile(prior, tile, monthly, KEY, Sampling())
    is_safe(result, most=3e4)
    assert np.median(result.rain) < 50
