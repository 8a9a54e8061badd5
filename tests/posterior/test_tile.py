"""A tile is a pure function of its key: its core is the field's, however the work was cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from longwang_ray.domain.layout import Group
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.posterior import decoding
from longwang_ray.posterior.closure import Closed
from longwang_ray.posterior.observation import ErrorModel
from longwang_ray.posterior.tile import Sampling, contexts, sample_tile

KEY = NoiseKey(7, "gcm", "r1", 0)
SAMPLING = Sampling(steps=3, batch=64, decode_batch=64)


@pytest.fixture(scope="module")
def sampled(make_prior, make_plan, make_monthly):
    """Rain of a whole plan, put together from its tiles; and its tiles' results."""

    def run(prior=None, key=KEY, sampling=SAMPLING, factor=1.0, **plan):
        prior = prior or make_prior()
        plan = make_plan(prior, **plan)
        monthly = make_monthly(plan.record, factor)
        rain = np.full(plan.layout.shape, np.nan, np.float32)
        results = []
        for tile in plan.tiles():
            result = sample_tile(prior, tile, monthly, key, sampling)
            first = tile.days[0] - plan.layout.first_day
            i, j = tile.rows[0] - plan.layout.rows[0], tile.columns[0] - plan.layout.columns[0]
            days, rows, columns = tile.core_shape
            j %= plan.layout.n_lon
            rain[first : first + days, i : i + rows, j : j + columns] = result.rain
            results.append(result)
        assert np.isfinite(rain).all()
        return rain, results

    return run


@pytest.fixture(scope="module")
def once(sampled):
    return sampled()


def away(one, two):
    return np.abs(one - two).mean() / one.mean()


def test_rain_is_rain(once):
    rain, results = once
    assert rain.min() == 0
    assert 0.001 < (rain == 0).mean() < 0.9
    assert len(results) == 1
    assert len(results[0].ledger) == 1


def test_the_same_tile_twice_is_the_same_to_the_bit(once, sampled):
    again, results = sampled()
    assert np.array_equal(again, once[0])
    for name in ("before", "after", "conflict"):
        first, second = (getattr(r[0].ledger[0], name) for r in (once[1], results))
        assert np.array_equal(first, second, equal_nan=True)


def test_another_tiling_agrees_as_the_halo_gives(once, sampled):
    found = {halo: away(once[0], sampled(shard_cells=(8, 8), halo=halo)[0]) for halo in (0, 1, 2)}
    assert found[0] > 0.02
    assert found[1] < 0.2 * found[0]
    assert found[2] < 1e-3


def test_windows_of_the_other_kind_agree_too(make_prior, sampled):
    prior = make_prior("group", 2)
    whole, _ = sampled(prior)
    assert away(whole, sampled(prior, shard_cells=(8, 8), halo=0)[0]) > 0.02
    assert away(whole, sampled(prior, shard_cells=(8, 8), halo=2)[0]) < 1e-3


def test_cut_in_time(sampled, make_prior, make_plan, make_monthly):
    """The first shard of three months, with one month of halo and with none."""
    whole, results = sampled(months=3)
    assert [entry.month for r in results for entry in r.ledger] == [0, 1, 2]
    found = {}
    for halo in (0, 1):
        plan = make_plan(make_prior(), months=3, shards_per_tile=1, halo_months=halo)
        tile = next(plan.tiles())
        assert len(tile.months) == 1 + halo
        part = sample_tile(make_prior(), tile, make_monthly(plan.record), KEY, SAMPLING)
        found[halo] = away(whole[: len(part.rain)], part.rain)
    assert found[1] < 1e-3
    assert found[1] <= found[0]


def test_every_month_is_in_one_tile_s_ledger(sampled):
    _, pieces = sampled(
        months=2, shards_per_tile=2, halo=1, halo_months=0, sampling=replace(SAMPLING, steps=1)
    )
    assert [entry.month for r in pieces for entry in r.ledger] == [0, 1]


def test_batches_change_rounding_only(once, sampled):
    other, _ = sampled(sampling=replace(SAMPLING, batch=50, decode_batch=7))
    assert away(once[0], other) < 1e-5


def test_closed_to_the_observation(once, make_monthly, make_plan, make_prior):
    record = make_plan(make_prior()).record
    y = make_monthly(record).rain[0]
    entry = once[1][0].ledger[0]
    seen = np.isfinite(entry.before) & (entry.before > 0.05)
    assert seen.sum() > 25
    assert np.allclose(entry.after[seen], y[seen], rtol=1e-3)
    error = ErrorModel()
    expected = ((y - entry.before) / (error.relative * y + error.floor)) ** 2
    assert np.allclose(entry.conflict[seen], expected[seen], rtol=1e-3)


def test_scenarios_share_their_random_numbers(once, sampled):
    """The same observations: the same bits. Wetter ones: the same storms, wetter."""
    same, _ = sampled(scenario="ssp585")
    assert np.array_equal(same, once[0])
    wetter, _ = sampled(scenario="ssp585", factor=1.2)
    assert wetter.mean() == pytest.approx(1.2 * once[0].mean(), rel=0.05)
    other, _ = sampled(key=replace(KEY, realization=1))
    day = [r.mean(0).ravel() for r in (once[0], wetter, other)]
    shared, own = (np.corrcoef(day[0], d)[0, 1] for d in day[1:])
    assert away(once[0], wetter) < 0.6 * away(once[0], other)
    assert shared > own


def test_variants_and_realizations_are_independent(once, sampled):
    for key in (replace(KEY, realization=1), replace(KEY, variant="r2"), replace(KEY, seed=8)):
        assert away(once[0], sampled(key=key)[0]) > 0.1


@pytest.mark.parametrize("guidance", ["detached", "exact"])
def test_published_guidance_runs(sampled, guidance):
    error = ErrorModel(0.5, 2.0)  # about the published one: a smaller one makes its step unstable
    sampling = replace(SAMPLING, guidance=guidance, error=error, steps=1)
    rain, results = sampled(sampling=sampling)
    assert rain.mean() > 0
    assert np.isfinite(results[0].ledger[0].after).any()


def test_the_prior_alone_where_nothing_is_observed(make_prior, make_plan, make_monthly):
    """All of the source masked: what comes out is the prior, not closed to anything."""
    prior, plan = make_prior(), make_plan(make_prior())
    monthly = make_monthly(plan.record)
    masked = replace(monthly, rain=np.full_like(monthly.rain, np.nan))
    tile = next(plan.tiles())
    result = sample_tile(prior, tile, masked, KEY, SAMPLING)
    assert np.isnan(result.ledger[0].after).all()
    unguided = replace(tile, months=range(0))
    assert np.array_equal(result.rain, sample_tile(prior, unguided, masked, KEY, SAMPLING).rain)


def test_fast_guidance_needs_a_head(make_prior, make_plan, make_monthly):
    prior, plan = replace(make_prior(), head=None), make_plan(make_prior())
    with pytest.raises(ValueError, match="needs a coarse head, prior tiny has none"):
        sample_tile(prior, next(plan.tiles()), make_monthly(plan.record), KEY, SAMPLING)


def test_the_ledger_divides_the_globe(make_prior, make_plan, make_monthly):
    """Every GCM cell centre lies in exactly one core, the poles' rows included."""
    prior = make_prior()
    monthly = make_monthly(make_plan(prior).record)
    grid = monthly.grid.__class__.from_centres(np.linspace(90, -90, 19), np.arange(0, 360, 10.0))
    shape = torch.zeros(grid.shape)
    closed = Closed(shape, shape, shape, shape, shape)
    owned = np.zeros(grid.shape, int)
    tile = next(make_plan(prior).tiles())
    for rows in ((0, 30), (30, 72)):
        for columns in ((0, 100), (100, 44)):
            part = replace(tile, rows=rows, columns=columns)
            entry = decoding._ledger(0, closed, part, prior, grid)
            owned += np.isfinite(entry.before)
    assert (owned == 1).all()


def test_contexts_are_those_of_the_windows_centres(make_prior, make_plan):
    prior = make_prior()
    plan = make_plan(prior)
    extent = next(plan.tiles()).extent
    told = contexts(extent, prior, "noleap")
    assert told.shape == (extent.n_windows, 5)
    number = 5 * extent.lon.count + 3  # some window of the first days, if there are so many
    place = list(extent.windows())[number]
    rows, columns = (
        span.fine_cells()[span.window_fine_cells(k)]
        for span, k in zip(extent.spans[1:], place[1:], strict=True)
    )
    lat = prior.grid.lat[rows].mean()
    angles = np.deg2rad(np.unwrap(prior.grid.lon[columns], period=360)).mean()
    assert told[number, 0] == pytest.approx(lat / 90)
    assert told[number, 1:3] == pytest.approx([np.sin(angles), np.cos(angles)], abs=1e-6)


def test_group_has_no_part_in_the_field(make_prior, make_plan, make_monthly, once):
    prior, plan = make_prior(), make_plan(make_prior())
    renamed = replace(next(plan.tiles()), group=Group("another", "name", "r9"))
    result = sample_tile(prior, renamed, make_monthly(plan.record), KEY, SAMPLING)
    assert np.array_equal(result.rain, once[0])
