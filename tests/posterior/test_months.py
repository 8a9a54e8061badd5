"""No jump where months meet, in any calendar, across a year's end too.

    index = mean |x(d) − x(d − 1)| over month borders / the same elsewhere

of samples, over that of truths drawn from the prior itself whose months are observed. The prior
is Gaussian with a memory of days and log-normal rain; decoding and closing are the real ones.
"""

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain, operator_on
from longwang_ray.posterior.tile import Sampling, sample_tile
from tests.fakes.gaussian import GaussianPrior, LogNormalRain

GCM = RectilinearGrid.from_centres(np.arange(85, -90, -10.0), np.arange(5, 360, 10.0))


def border_index(rain, record):
    """Over month borders against elsewhere; ``rain`` starts with the record."""
    jumps = np.abs(np.diff(rain.astype(np.float64), axis=0)).mean((1, 2))
    borders = np.array([month.start - record.start - 1 for month in record.months[1:]])
    elsewhere = np.setdiff1d(np.arange(len(jumps)), borders)
    return jumps[borders].mean() / jumps[elsewhere].mean()


def observed_truth(prior, plan, seed):
    """A truth on a tile's extent, its core's days and what a GCM sees of its months."""
    tile, record = next(plan.tiles()), plan.record
    latent = prior.draw(tile.extent, torch.Generator().manual_seed(seed))
    rain = prior.decode(latent[None])[0]
    blank = MonthlyRain(np.zeros((len(record.months), *GCM.shape), np.float32), GCM, record)
    operator = operator_on(tile.extent, prior.grid, blank, tile.months)
    seen = torch.where(operator.inside, operator(rain), torch.nan).numpy()
    spans = tile.extent
    days = spans.time.local_fine(tile.days[0], tile.days[1] - tile.days[0])
    rows = spans.lat.local_fine(tile.rows[0], tile.rows[1] - tile.rows[0])
    core = rain.numpy()[days][:, rows][..., spans.lon.local_fine(*tile.columns)]
    return tile, MonthlyRain(seen, GCM, record), core


@pytest.mark.parametrize("calendar", ["noleap", "standard", "360_day"])
def test_no_jump_where_months_meet(calendar):
    prior = GaussianPrior(LogNormalRain(3.0, 0.8), lengths=(2.0, 0.0, 0.0))
    record = month_record(calendar, "2003-11", 5)  # over a year's end and a leap February
    layout = Layout.of((record.start, record.stop), (16, 32), (124, 40), 144, 40)
    plan = GroupPlan(Group("g", "s", "r"), layout, record, prior.lattice, 1, Tiling(12, 0))
    found, truth = [], []
    for seed in range(10):
        tile, monthly, core = observed_truth(prior, plan, seed)
        key = NoiseKey(seed, "g", "r", 0)
        result = sample_tile(prior, tile, monthly, key, Sampling(batch=64, decode_batch=64))
        found.append(border_index(result.rain, record))
        truth.append(border_index(core, record))
    assert np.mean(found) / np.mean(truth) == pytest.approx(1.0, abs=0.05)


def test_a_jump_would_be_seen():
    record = month_record("360_day", "2003-11", 3)
    rain = np.random.default_rng(0).gamma(1.0, 3.0, (90, 20, 20))
    assert border_index(rain, record) == pytest.approx(1.0, abs=0.05)
    rain[30:60] *= 1.5
    assert border_index(rain, record) > 1.05
